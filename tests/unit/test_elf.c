/* SPDX-License-Identifier: Apache-2.0 */
#include <glib.h>
#include <string.h>

#include "elf_image.h"
#include "parse/elf.h"

static const char *const both[] = { "SSL_read", "SSL_write", "SSL_absent", "hidden" };
static const BhElfWanted want = { .names = both, .n_names = G_N_ELEMENTS(both) };

/* From exactly sized memory, so that a read beyond the end is seen. */
static BhElf *parse_exact(const guint8 *bytes, gsize len, const BhElfWanted *wanted) {
        g_autofree guint8 *exact = len ? g_memdup2(bytes, len) : g_malloc(1);

        return bh_elf_parse(exact, len, wanted, NULL);
}

static BhElf *parse(const ElfImage *i, const BhElfWanted *wanted) {
        return parse_exact(i->bytes->data, i->bytes->len, wanted);
}

static void each_class_and_byte_order_is_read(void) {
        for (int k = 0; k < 4; k++) {
                ElfImage i = elf_image(k & 1, k & 2);
                g_autoptr(GByteArray) owned = i.bytes;
                g_autoptr(BhElf) e = parse(&i, &want);

                g_assert_nonnull(e);
                g_assert_cmpuint(e->bits, ==, k & 1 ? 64 : 32);
                g_assert_cmpint(e->big_endian, ==, (k & 2) != 0);
                g_assert_cmpuint(e->type, ==, ET_DYN);
                g_assert_cmpuint(e->machine, ==, k & 1 ? EM_X86_64 : EM_386);
                g_assert_cmphex(e->entry, ==, 0x10abc);
                g_assert_cmphex(e->flags, ==, BH_ELF_DYNAMIC | BH_ELF_STATIC_SYMBOLS);
                g_assert_cmpstr(e->interpreter, ==, "/lib64/ld.so.2");
                g_assert_cmpstr(e->soname, ==, "libtest.so.1");
                g_assert_cmpuint(e->n_needed, ==, 2);
                g_assert_cmpstr(e->needed[0], ==, "libc.so.6");
                g_assert_cmpstr(e->needed[1], ==, "libm.so.6");
                g_assert_cmpmem(e->build_id, e->build_id_len, "abcdefghijklmnopqrst", 20);
                g_assert_cmpuint(e->n_symbols, ==, 3);
                const BhElfSymbol *s = bh_elf_symbol(e, "SSL_read");
                g_assert_true(s->dynamic);
                g_assert_cmphex(s->value, ==, ELF_VADDR + 0x123);
                g_assert_cmphex(s->offset, ==, 0x123);
                g_assert_cmpuint(s->size, ==, 77);
                g_assert_cmphex(bh_elf_symbol(e, "SSL_write")->offset, ==, 0x234);
                g_assert_false(bh_elf_symbol(e, "hidden")->dynamic);
                g_assert_null(bh_elf_symbol(e, "SSL_absent"));
                g_assert_cmpuint(e->n_functions, ==, 4);
        }
}

static void functions_are_listed_up_to_the_number_asked_for(void) {
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) owned = i.bytes;

        for (guint n = 0; n < 6; n++) {
                g_autoptr(BhElf) e = parse(&i, &(BhElfWanted) { .list = n });
                g_autoptr(BhElf) named = parse(&i, &(BhElfWanted) { .names = both + 3, .n_names = 1, .list = n });

                g_assert_cmpuint(e->n_symbols, ==, MIN(n, 3));
                g_assert_cmpuint(named->n_symbols, ==, MIN(n + 1, 3));
                g_assert_nonnull(bh_elf_symbol(named, "hidden"));
        }
        g_autoptr(BhElf) none = parse(&i, NULL);
        g_assert_cmpuint(none->n_symbols, ==, 0);
}

/* What a loader sees must be seen whatever section headers say. */
static void lying_section_headers_hide_nothing_dynamic(void) {
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) owned = i.bytes;

        elf_word(&i, 40, 0); /* no section headers */
        g_autoptr(BhElf) none = parse(&i, &want);
        g_assert_nonnull(bh_elf_symbol(none, "SSL_read"));
        g_assert_cmphex(none->flags, ==, BH_ELF_DYNAMIC);

        elf_word(&i, 40, G_MAXUINT64 - 8);
        g_autoptr(BhElf) far_off = parse(&i, &want);
        g_assert_nonnull(bh_elf_symbol(far_off, "SSL_write"));
        g_assert_cmphex(far_off->flags, ==, BH_ELF_DYNAMIC | BH_ELF_DAMAGED);

        /* only the old hash table, then only sections, then nothing but the order of the tables */
        elf_word(&i, 40, ELF_SECTIONS);
        elf_word(&i, ELF_DYNAMIC + 5 * 16, 0x6ffffff0);
        g_autoptr(BhElf) old_hash = parse(&i, &want);
        g_assert_nonnull(bh_elf_symbol(old_hash, "SSL_write"));
        elf_word(&i, ELF_DYNAMIC + 6 * 16, 0x6ffffff0);
        g_autoptr(BhElf) by_section = parse(&i, &want);
        g_assert_nonnull(bh_elf_symbol(by_section, "SSL_write"));
}

/* Segments that lie over others: the later one is what is in memory. The dynamic section is where its address is, not its offset. */
static void overlapping_segments_are_seen_as_in_memory(void) {
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) owned = i.bytes;

        elf_put(&i, 56, 5, 2);
        elf_phdr(&i, 4, PT_LOAD, 0xc00, ELF_VADDR + 0x100, 0x100);
        elf_put(&i, 0xcff, 0, 1);
        elf_word(&i, 64 + 56 + 8, 0x4); /* PT_DYNAMIC's offset lies */
        g_autoptr(BhElf) e = parse(&i, &want);
        g_assert_cmphex(bh_elf_symbol(e, "SSL_read")->offset, ==, 0xc23);
        g_assert_cmphex(bh_elf_symbol(e, "SSL_write")->offset, ==, 0x234);
        g_assert_cmpuint(e->n_needed, ==, 2);
}

static void symbol_outside_of_the_file_is_left_out(void) {
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) owned = i.bytes;

        elf_word(&i, ELF_DYNSYM + 2 * 24 + 8, 0xffffffff00000000);
        elf_word(&i, ELF_SYMTAB + 2 * 24 + 8, 0x5);
        g_autoptr(BhElf) e = parse(&i, &want);
        g_assert_null(bh_elf_symbol(e, "SSL_read"));
        g_assert_nonnull(bh_elf_symbol(e, "SSL_write"));
}

static void what_is_not_elf_is_refused(void) {
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) owned = i.bytes;
        g_autoptr(GError) error = NULL;

        g_assert_null(bh_elf_parse((const guint8 *) "", 0, NULL, &error));
        g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL);
        for (gsize n = 0; n < 64; n++)
                g_assert_null(parse_exact(i.bytes->data, n, NULL));
        elf_put(&i, EI_CLASS, 3, 1);
        g_assert_null(parse(&i, NULL));
        elf_put(&i, EI_CLASS, ELFCLASS64, 1);
        elf_put(&i, EI_DATA, 0, 1);
        g_assert_null(parse(&i, NULL));
}

/* Cut anywhere, and with each byte of its headers and tables set to each of some values: never more than what is there. */
static void damage_anywhere_is_survived(void) {
        static const guint8 values[] = { 0, 1, 0x7f, 0xff };

        for (int k = 0; k < 4; k++) {
                ElfImage i = elf_image(k & 1, k & 2);
                g_autoptr(GByteArray) owned = i.bytes;
                const BhElfWanted all = { .names = both, .n_names = 4, .list = 10 };

                for (gsize n = 52; n < i.bytes->len; n += 7) {
                        g_autoptr(BhElf) e = parse_exact(i.bytes->data, n, &all);

                        g_assert_true(!e || e->n_symbols <= 14);
                }
                for (gsize at = 16; at < i.bytes->len; at += at > 0x180 && at < 0x300 ? 8 : 1)
                        for (gsize v = 0; v < G_N_ELEMENTS(values); v++) {
                                guint8 old = i.bytes->data[at];

                                i.bytes->data[at] = values[v];
                                g_autoptr(BhElf) e = parse(&i, &all);
                                g_assert_nonnull(e);
                                i.bytes->data[at] = old;
                        }
        }
}

/* A thousand sections, each claiming the whole file as symbols, all with the wanted name: the work is bounded, not the file's to choose. */
static void overlapping_tables_do_not_make_endless_work(void) {
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) owned = i.bytes;
        const guint n = 1000, symbols = 40000;
        gsize base = 0x100000, sections = base + symbols * 24 + 0x1000;

        elf_put(&i, sections + n * 64, 0, 1);
        for (guint k = 0; k < symbols; k++)
                elf_sym(&i, base + k * 24, 8, STT_FUNC, 1, ELF_VADDR + k, 1);
        memcpy(i.bytes->data + sections, i.bytes->data + ELF_SECTIONS, 4 * 64);
        for (guint k = 4; k < n; k++) {
                gsize at = sections + k * 64;

                elf_put(&i, at + 4, k % 2 ? SHT_SYMTAB : SHT_NOTE, 4);
                elf_word(&i, at + 24, base);
                elf_word(&i, at + 32, symbols * 24);
                elf_put(&i, at + 40, 2, 4);
        }
        elf_word(&i, 40, sections);
        elf_put(&i, 60, n, 2);

        gint64 began = g_get_monotonic_time();
        g_autoptr(BhElf) e = parse(&i, &(BhElfWanted) { .names = both, .n_names = 1, .list = BH_ELF_SYMBOLS_MAX });
        g_test_message("%" G_GINT64_FORMAT " ms", (g_get_monotonic_time() - began) / 1000);
        g_assert_cmphex(e->flags & BH_ELF_BOUND, ==, BH_ELF_BOUND);
        g_assert_cmpuint(e->n_symbols, ==, BH_ELF_SYMBOLS_MAX);
        g_assert_cmpint(g_get_monotonic_time() - began, <, 5 * G_USEC_PER_SEC);
}

static void long_strings_are_bounded(void) {
        ElfImage i = elf_image(TRUE, FALSE);
        g_autoptr(GByteArray) owned = i.bytes;

        memset(i.bytes->data + ELF_DYNSTR + 1, 'x', 9); /* the first library's name now runs into the second's */
        elf_put(&i, 0x2000, 0, 1);
        memset(i.bytes->data + 0x1000, 'y', 0x1000);
        elf_phdr(&i, 0, PT_LOAD, 0, ELF_VADDR, 0x2001);
        elf_word(&i, ELF_DYNAMIC + 8, 0x1000 - ELF_DYNSTR);
        g_autoptr(BhElf) e = parse(&i, NULL);
        g_assert_cmphex(e->flags & BH_ELF_BOUND, ==, BH_ELF_BOUND);
        g_assert_cmpuint(e->n_needed, ==, 1);
        g_assert_cmpstr(e->needed[0], ==, "libm.so.6");
}

/* What the compiler and linker of this machine make. */
static void program_of_this_machine_is_read(void) {
        g_autofree char *self = NULL;
        gsize len;
        const char *main_only[] = { "main", "bh_elf_parse" };

        g_assert_true(g_file_get_contents("/proc/self/exe", &self, &len, NULL));
        g_autoptr(BhElf) e = bh_elf_parse((const guint8 *) self, len, &(BhElfWanted) { .names = main_only, .n_names = 2 }, NULL);
        g_assert_nonnull(e);
        g_assert_cmphex(e->flags & BH_ELF_DAMAGED, ==, 0);
        g_assert_true(*e->interpreter);
        gboolean glib = FALSE;
        for (guint i = 0; i < e->n_needed; i++)
                glib |= g_str_has_prefix(e->needed[i], "libglib-2.0.so");
        g_assert_true(glib);
        const BhElfSymbol *s = bh_elf_symbol(e, "bh_elf_parse");
        g_assert_nonnull(s);
        g_assert_cmpuint(s->offset, <, len);
        /* the bytes there are the ones that run */
        g_assert_cmpmem(self + s->offset, 16, (const void *) bh_elf_parse, 16);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/elf/" #name, name)
        TEST(each_class_and_byte_order_is_read);
        TEST(functions_are_listed_up_to_the_number_asked_for);
        TEST(lying_section_headers_hide_nothing_dynamic);
        TEST(overlapping_segments_are_seen_as_in_memory);
        TEST(symbol_outside_of_the_file_is_left_out);
        TEST(what_is_not_elf_is_refused);
        TEST(damage_anywhere_is_survived);
        TEST(overlapping_tables_do_not_make_endless_work);
        TEST(long_strings_are_bounded);
        TEST(program_of_this_machine_is_read);
#undef TEST
        return g_test_run();
}
