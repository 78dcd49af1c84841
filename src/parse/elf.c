/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/elf.h"

#include <elf.h>
#include <string.h>

#define HEADERS_MAX 65536u /* bytes of program headers that Linux takes */

typedef struct {
        guint64 vaddr, offset, bytes; /* bytes that come from the file */
} Load;

typedef struct {
        const guint8 *b;
        guint64 n;
        gboolean big, wide;
        BhElf *e;
        gsize text_used;
        GArray *loads;
        GArray *symbols;    /* BhElfSymbol, room for all of them from the start: addresses stay */
        GHashTable *seen;   /* BhElfSymbol *, set, by name and address */
        GHashTable *wanted; /* names, set */
        gsize wanted_len;   /* of the longest */
        guint32 named, list;
        guint64 work; /* see spend() */
} File;

typedef struct {
        guint64 symbols, n_symbols, strings;
} SymbolTable;

/* ---- bytes. Offsets come from the file: has() first. */

static gboolean has(const File *f, guint64 off, guint64 len) {
        return off <= f->n && len <= f->n - off;
}

static guint64 get(const File *f, guint64 off, guint bytes) {
        guint64 v = 0;

        for (guint i = 0; i < bytes; i++)
                v |= (guint64) f->b[off + i] << (8 * (f->big ? bytes - 1 - i : i));
        return v;
}

static guint16 u16(const File *f, guint64 off) {
        return (guint16) get(f, off, 2);
}

static guint32 u32(const File *f, guint64 off) {
        return (guint32) get(f, off, 4);
}

/* An address, offset or size of the file's class. */
static guint64 word(const File *f, guint64 off) {
        return get(f, off, f->wide ? 8 : 4);
}

static guint word_bytes(const File *f) {
        return f->wide ? 8 : 4;
}

/* One symbol or note, or as much effort. FALSE when the file has had its share: tables may overlap, so their sizes bound nothing. */
static gboolean spend(File *f, guint64 units) {
        f->work += units;
        if (f->work <= BH_ELF_SCAN_MAX)
                return TRUE;
        f->e->flags |= BH_ELF_BOUND;
        return FALSE;
}

/* Bytes of the string at `off`, up to `max`; -1 when it does not end there. */
static gssize string_len(const File *f, guint64 off, gsize max) {
        if (off >= f->n)
                return -1;
        gsize room = (gsize) MIN(f->n - off, (guint64) max + 1);
        const guint8 *nul = memchr(f->b + off, 0, room);

        return nul ? nul - (f->b + off) : -1;
}

/* A copy that the result keeps. NULL when it is damaged or there is no room; the flags then say so. */
static const char *keep(File *f, guint64 off) {
        gssize len = string_len(f, off, BH_ELF_NAME_MAX);

        if (len < 0) {
                f->e->flags |= off < f->n && f->n - off > BH_ELF_NAME_MAX ? BH_ELF_BOUND : BH_ELF_DAMAGED;
                return NULL;
        }
        if (f->text_used + (gsize) len + 1 > BH_ELF_TEXT_MAX) {
                f->e->flags |= BH_ELF_BOUND;
                return NULL;
        }
        f->text_used += (gsize) len + 1;
        return g_string_chunk_insert_len(f->e->text, (const char *) f->b + off, len);
}

/*
 * Where in the file the byte at a virtual address comes from; FALSE when it does not come from the file. Where segments overlap, the later
 * one lies over the earlier, as in memory.
 */
static gboolean offset_of(const File *f, guint64 vaddr, guint64 *off) {
        for (guint i = f->loads->len; i-- > 0;) {
                const Load *l = &g_array_index(f->loads, Load, i);

                if (vaddr >= l->vaddr && vaddr - l->vaddr < l->bytes) {
                        *off = l->offset + (vaddr - l->vaddr);
                        return *off < f->n;
                }
        }
        return FALSE;
}

/* ---- symbols */

static guint symbol_hash(gconstpointer key) {
        const BhElfSymbol *s = key;

        return g_str_hash(s->name) ^ (guint) (s->value * 2654435761u);
}

static gboolean symbol_equal(gconstpointer a, gconstpointer b) {
        const BhElfSymbol *x = a, *y = b;

        return x->value == y->value && g_str_equal(x->name, y->name);
}

/* A function that is defined here. */
static void take_function(File *f, guint64 sym, guint64 strings, gboolean dynamic) {
        guint64 name_at = strings + u32(f, sym), value = word(f, sym + (f->wide ? 8 : 4));
        gboolean listing = f->symbols->len - f->named < f->list;
        gssize len = string_len(f, name_at, listing ? BH_ELF_NAME_MAX : f->wanted_len);
        BhElfSymbol s = { .value = value, .size = word(f, sym + (f->wide ? 16 : 8)), .dynamic = dynamic };
        char name[BH_ELF_NAME_MAX + 1];

        f->e->n_functions++;
        if (len <= 0 || (!listing && !f->wanted))
                return;
        /* hashing a long name and searching many segments are more than a look */
        spend(f, (guint64) len / 32 + f->loads->len / 8);
        memcpy(name, f->b + name_at, (gsize) len + 1);
        gboolean wanted = f->wanted && g_hash_table_contains(f->wanted, name);
        if (!wanted && !listing)
                return;
        s.name = name;
        if (g_hash_table_contains(f->seen, &s) || !offset_of(f, value, &s.offset))
                return;
        if (f->symbols->len == BH_ELF_SYMBOLS_MAX) {
                f->e->flags |= BH_ELF_BOUND;
                return;
        }
        s.name = keep(f, name_at);
        if (!s.name)
                return;
        if (wanted)
                f->named++;
        g_array_append_val(f->symbols, s);
        g_hash_table_add(f->seen, &g_array_index(f->symbols, BhElfSymbol, f->symbols->len - 1));
}

static void take_symbols(File *f, const SymbolTable *t, gboolean dynamic) {
        guint bytes = f->wide ? 24 : 16;
        guint64 n = t->n_symbols;

        if (t->symbols >= f->n || n > (f->n - t->symbols) / bytes) {
                f->e->flags |= BH_ELF_DAMAGED;
                n = t->symbols < f->n ? (f->n - t->symbols) / bytes : 0;
        }
        for (guint64 i = 1; i < n; i++) {
                guint64 sym = t->symbols + i * bytes;
                guint8 type = f->b[sym + (f->wide ? 4 : 12)] & 15;
                guint16 section = u16(f, sym + (f->wide ? 6 : 14));

                if (!spend(f, 1))
                        return;
                if ((type == STT_FUNC || type == STT_GNU_IFUNC) && section != SHN_UNDEF && word(f, sym + (f->wide ? 8 : 4)) != 0)
                        take_function(f, sym, t->strings, dynamic);
        }
}

/* ---- section headers */

typedef struct {
        guint64 at, n; /* of the headers */
} Sections;

static Sections find_sections(File *f) {
        guint bytes = f->wide ? 64 : 40;
        guint64 at = word(f, f->wide ? 40 : 32), n = u16(f, f->wide ? 60 : 48);
        Sections none = { 0 };

        if (!at || u16(f, f->wide ? 58 : 46) != bytes)
                return none;
        if (!has(f, at, bytes)) {
                f->e->flags |= BH_ELF_DAMAGED;
                return none;
        }
        if (n == 0) /* too many for the field: the first header has the number */
                n = word(f, at + (f->wide ? 32 : 20));
        if (n > (f->n - at) / bytes) {
                f->e->flags |= BH_ELF_DAMAGED;
                n = (f->n - at) / bytes;
        }
        return (Sections) { .at = at, .n = n };
}

static guint64 section(const File *f, const Sections *s, guint64 i) {
        return s->at + i * (f->wide ? 64u : 40u);
}

static guint64 section_offset(const File *f, guint64 sh) {
        return word(f, sh + (f->wide ? 24 : 16));
}

static guint64 section_size(const File *f, guint64 sh) {
        return word(f, sh + (f->wide ? 32 : 20));
}

static SymbolTable section_symbols(const File *f, const Sections *s, guint64 sh) {
        guint64 link = u32(f, sh + (f->wide ? 40 : 24));
        SymbolTable t = { .symbols = section_offset(f, sh), .n_symbols = section_size(f, sh) / (f->wide ? 24 : 16) };

        if (link < s->n)
                t.strings = section_offset(f, section(f, s, link));
        else
                t.n_symbols = 0;
        return t;
}

/* ---- notes */

static void take_notes(File *f, guint64 at, guint64 bytes, guint64 align) {
        if (f->e->build_id_len)
                return;
        if (!has(f, at, bytes)) {
                f->e->flags |= BH_ELF_DAMAGED;
                return;
        }
        guint64 end = at + bytes, pad = align == 8 ? 7 : 3;

        while (end - at >= 12 && spend(f, 1)) {
                guint64 name = u32(f, at), desc = u32(f, at + 4);
                guint64 desc_at = at + ((12 + name + pad) & ~pad), next = at + ((desc_at - at + desc + pad) & ~pad);

                if (desc_at > end || desc > end - desc_at) {
                        f->e->flags |= BH_ELF_DAMAGED;
                        return;
                }
                if (u32(f, at + 8) == NT_GNU_BUILD_ID && name == 4 && memcmp(f->b + at + 12, "GNU", 4) == 0 && desc > 0 && desc <= BH_ELF_BUILD_ID_MAX) {
                        memcpy(f->e->build_id, f->b + desc_at, desc);
                        f->e->build_id_len = (guint32) desc;
                        return;
                }
                if (next > end)
                        return;
                at = next;
        }
}

/* ---- the dynamic section */

/* How many symbols a GNU hash table knows: the end of the chain that begins last. */
static guint64 gnu_hash_symbols(const File *f, guint64 at) {
        if (!has(f, at, 16))
                return 0;
        guint64 buckets = u32(f, at), first = u32(f, at + 4), bloom = u32(f, at + 8), last = 0;
        guint64 bucket_at = at + 16 + bloom * word_bytes(f), chain_at = bucket_at + buckets * 4;

        if (!has(f, bucket_at, buckets * 4))
                return 0;
        for (guint64 i = 0; i < buckets; i++)
                last = MAX(last, u32(f, bucket_at + 4 * i));
        if (last < first)
                return first;
        while (has(f, chain_at + (last - first) * 4, 4) && !(u32(f, chain_at + (last - first) * 4) & 1))
                last++;
        return last + 1;
}

typedef struct {
        guint64 strings, symbols, hash, gnu_hash, soname; /* addresses; soname: a place in the strings */
        gboolean has_strings, has_symbols, has_hash, has_gnu_hash, has_soname;
} Dynamic;

static void take_tag(Dynamic *d, guint64 tag, guint64 value) {
        switch (tag) {
        case DT_STRTAB:
                d->strings = value;
                d->has_strings = TRUE;
                break;
        case DT_SYMTAB:
                d->symbols = value;
                d->has_symbols = TRUE;
                break;
        case DT_HASH:
                d->hash = value;
                d->has_hash = TRUE;
                break;
        case DT_GNU_HASH:
                d->gnu_hash = value;
                d->has_gnu_hash = TRUE;
                break;
        case DT_SONAME:
                d->soname = value;
                d->has_soname = TRUE;
                break;
        default:
                break;
        }
}

/*
 * `sections` gives the number of symbols where a file has no hash table (or one that tells fewer): nothing that one of the tables shows is
 * left out.
 */
static void take_dynamic(File *f, guint64 at, guint64 bytes, const Sections *sections) {
        g_autoptr(GPtrArray) needed = g_ptr_array_new();
        guint64 entry = 2 * word_bytes(f), n = bytes / entry, strings = 0, off;
        SymbolTable t = { 0 };
        Dynamic d = { 0 };

        f->e->flags |= BH_ELF_DYNAMIC;
        if (at >= f->n || n > (f->n - at) / entry) {
                f->e->flags |= BH_ELF_DAMAGED;
                n = at < f->n ? (f->n - at) / entry : 0;
        }
        for (guint64 i = 0; i < n && word(f, at + i * entry) != DT_NULL; i++)
                take_tag(&d, word(f, at + i * entry), word(f, at + i * entry + word_bytes(f)));

        if (d.has_strings && offset_of(f, d.strings, &strings)) {
                const char *s;

                for (guint64 i = 0; i < n && word(f, at + i * entry) != DT_NULL; i++) {
                        if (word(f, at + i * entry) != DT_NEEDED)
                                continue;
                        if (needed->len == BH_ELF_NEEDED_MAX) {
                                f->e->flags |= BH_ELF_BOUND;
                                break;
                        }
                        if ((s = keep(f, strings + word(f, at + i * entry + word_bytes(f)))))
                                g_ptr_array_add(needed, (gpointer) s);
                }
                if (d.has_soname && (s = keep(f, strings + d.soname)))
                        f->e->soname = s;
        } else if (d.has_strings) {
                f->e->flags |= BH_ELF_DAMAGED;
        }
        f->e->n_needed = needed->len;
        f->e->needed = (const char *const *) g_ptr_array_steal(needed, NULL);

        if (!d.has_symbols || !strings || !offset_of(f, d.symbols, &t.symbols))
                return;
        t.strings = strings;
        if (d.has_gnu_hash && offset_of(f, d.gnu_hash, &off))
                t.n_symbols = gnu_hash_symbols(f, off);
        if (d.has_hash && offset_of(f, d.hash, &off) && has(f, off, 8))
                t.n_symbols = MAX(t.n_symbols, u32(f, off + 4));
        for (guint64 i = 0; i < sections->n; i++) {
                guint64 sh = section(f, sections, i);

                if (u32(f, sh + 4) == SHT_DYNSYM && section_offset(f, sh) == t.symbols)
                        t.n_symbols = MAX(t.n_symbols, section_symbols(f, sections, sh).n_symbols);
        }
        if (!t.n_symbols && t.strings > t.symbols)
                t.n_symbols = (t.strings - t.symbols) / (f->wide ? 24 : 16);
        take_symbols(f, &t, TRUE);
}

/* ---- program headers */

static void take_segments(File *f, const Sections *sections) {
        guint bytes = f->wide ? 56 : 32;
        guint64 at = word(f, f->wide ? 32 : 28), n = u16(f, f->wide ? 56 : 44), dynamic = 0, dynamic_bytes = 0;
        gboolean has_dynamic = FALSE, has_interpreter = FALSE;

        if (!at || !n || u16(f, f->wide ? 54 : 42) != bytes)
                return;
        if (n > HEADERS_MAX / bytes) {
                f->e->flags |= BH_ELF_BOUND;
                n = HEADERS_MAX / bytes;
        }
        if (at >= f->n || n > (f->n - at) / bytes) {
                f->e->flags |= BH_ELF_DAMAGED;
                n = at < f->n ? (f->n - at) / bytes : 0;
        }
        for (guint64 i = 0; i < n; i++) {
                guint64 ph = at + i * bytes, align = word(f, ph + (f->wide ? 48 : 28));
                Load l = { .offset = word(f, ph + (f->wide ? 8 : 4)), .vaddr = word(f, ph + (f->wide ? 16 : 8)), .bytes = word(f, ph + (f->wide ? 32 : 16)) };

                switch (u32(f, ph)) {
                case PT_LOAD:
                        if (l.bytes > G_MAXUINT64 - l.offset)
                                f->e->flags |= BH_ELF_DAMAGED;
                        else
                                g_array_append_val(f->loads, l);
                        break;
                case PT_DYNAMIC: /* the loader takes the last one that is not empty */
                        if (l.bytes) {
                                has_dynamic = TRUE;
                                dynamic = l.vaddr;
                                dynamic_bytes = l.bytes;
                        }
                        break;
                case PT_INTERP: /* the kernel takes the first */
                        if (!has_interpreter && has(f, l.offset, l.bytes) && l.bytes) {
                                const char *s = keep(f, l.offset);

                                f->e->interpreter = s ? s : "";
                        }
                        has_interpreter = TRUE;
                        break;
                case PT_NOTE:
                        take_notes(f, l.offset, l.bytes, align);
                        break;
                default:
                        break;
                }
        }
        if (!has_dynamic)
                return;
        if (offset_of(f, dynamic, &at))
                take_dynamic(f, at, dynamic_bytes, sections);
        else
                f->e->flags |= BH_ELF_DYNAMIC | BH_ELF_DAMAGED;
}

/* ---- the whole */

static gboolean take_header(File *f, GError **error) {
        const char *why = NULL;

        if (f->n < EI_NIDENT || memcmp(f->b, ELFMAG, SELFMAG) != 0)
                why = "it does not begin like one";
        else if (f->b[EI_CLASS] != ELFCLASS32 && f->b[EI_CLASS] != ELFCLASS64)
                why = "its class is neither 32 nor 64 bits";
        else if (f->b[EI_DATA] != ELFDATA2LSB && f->b[EI_DATA] != ELFDATA2MSB)
                why = "its byte order is unknown";
        else if (f->n < (f->b[EI_CLASS] == ELFCLASS64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
                why = "it ends within its header";
        if (why) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "not an ELF file: %s", why);
                return FALSE;
        }
        f->wide = f->b[EI_CLASS] == ELFCLASS64;
        f->big = f->b[EI_DATA] == ELFDATA2MSB;
        f->e->bits = f->wide ? 64 : 32;
        f->e->big_endian = f->big;
        f->e->type = u16(f, 16);
        f->e->machine = u16(f, 18);
        f->e->entry = word(f, 24);
        return TRUE;
}

static void take_sections(File *f, const Sections *s) {
        for (guint64 i = 0; i < s->n; i++) {
                guint64 sh = section(f, s, i);
                guint32 type = u32(f, sh + 4);

                if (type == SHT_SYMTAB) {
                        SymbolTable t = section_symbols(f, s, sh);

                        f->e->flags |= BH_ELF_STATIC_SYMBOLS;
                        take_symbols(f, &t, FALSE);
                } else if (type == SHT_NOTE) {
                        take_notes(f, section_offset(f, sh), section_size(f, sh), word(f, sh + (f->wide ? 48 : 32)));
                }
        }
}

BhElf *bh_elf_parse(const guint8 *bytes, gsize len, const BhElfWanted *wanted, GError **error) {
        g_autoptr(BhElf) e = g_new0(BhElf, 1);
        File f = { .b = bytes, .n = len, .e = e };

        e->text = g_string_chunk_new(512);
        e->interpreter = e->soname = "";
        if (!take_header(&f, error))
                return NULL;

        g_autoptr(GHashTable) names = NULL, seen = g_hash_table_new(symbol_hash, symbol_equal);
        g_autoptr(GArray) loads = g_array_new(FALSE, FALSE, sizeof(Load)), symbols = NULL;

        if (wanted && wanted->n_names) {
                g_assert(wanted->n_names <= BH_ELF_NAMES_MAX);
                names = g_hash_table_new(g_str_hash, g_str_equal);
                for (guint32 i = 0; i < wanted->n_names; i++) {
                        gsize n = strlen(wanted->names[i]);

                        g_assert(n <= BH_ELF_NAME_MAX);
                        g_hash_table_add(names, (gpointer) wanted->names[i]);
                        f.wanted_len = MAX(f.wanted_len, n);
                }
        }
        /* its memory never moves: `seen` points into it */
        symbols = g_array_sized_new(FALSE, FALSE, sizeof(BhElfSymbol), BH_ELF_SYMBOLS_MAX);
        f.list = wanted ? MIN(wanted->list, BH_ELF_SYMBOLS_MAX) : 0;
        f.wanted = names;
        f.seen = seen;
        f.loads = loads;
        f.symbols = symbols;

        Sections sections = find_sections(&f);
        take_segments(&f, &sections);
        take_sections(&f, &sections);
        e->n_symbols = symbols->len;
        e->symbols = g_memdup2(symbols->data, symbols->len * sizeof(BhElfSymbol));
        return g_steal_pointer(&e);
}

void bh_elf_free(BhElf *e) {
        if (!e)
                return;
        g_string_chunk_free(e->text);
        g_free((gpointer) e->needed);
        g_free((gpointer) e->symbols);
        g_free(e);
}

const BhElfSymbol *bh_elf_symbol(const BhElf *e, const char *name) {
        for (guint32 i = 0; i < e->n_symbols; i++)
                if (g_str_equal(e->symbols[i].name, name))
                        return &e->symbols[i];
        return NULL;
}
