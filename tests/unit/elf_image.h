/* SPDX-License-Identifier: Apache-2.0 */
/* A small shared library built byte by byte, in either class and byte order, that tests and their damage start from. */
#pragma once
#include <elf.h>
#include <glib.h>
#include <string.h>

typedef struct {
        GByteArray *bytes;
        gboolean wide, big;
} ElfImage;

static inline void elf_put(ElfImage *i, gsize at, guint64 v, guint n) {
        if (at + n > i->bytes->len) {
                gsize old = i->bytes->len;

                g_byte_array_set_size(i->bytes, (guint) (at + n));
                memset(i->bytes->data + old, 0, at + n - old);
        }
        for (guint k = 0; k < n; k++)
                i->bytes->data[at + k] = (guint8) (v >> (8 * (i->big ? n - 1 - k : k)));
}

static inline gsize elf_word(ElfImage *i, gsize at, guint64 v) {
        elf_put(i, at, v, i->wide ? 8 : 4);
        return at + (i->wide ? 8 : 4);
}

static inline void elf_text(ElfImage *i, gsize at, const char *text, gsize len) {
        elf_put(i, at + len - 1, 0, 1);
        memcpy(i->bytes->data + at, text, len);
}

static inline void elf_phdr(ElfImage *i, guint n, guint32 type, guint64 offset, guint64 vaddr, guint64 size) {
        gsize at = i->wide ? 64 + n * 56u : 52 + n * 32u;

        elf_put(i, at, type, 4);
        elf_word(i, at + (i->wide ? 8 : 4), offset);
        elf_word(i, at + (i->wide ? 16 : 8), vaddr);
        elf_word(i, at + (i->wide ? 32 : 16), size);
        elf_word(i, at + (i->wide ? 40 : 20), size);
        elf_word(i, at + (i->wide ? 48 : 28), type == PT_NOTE ? 4 : 4096);
}

static inline void elf_sym(ElfImage *i, gsize at, guint32 name, guint type, guint16 section, guint64 value, guint64 size) {
        elf_put(i, at, name, 4);
        elf_put(i, at + (i->wide ? 4 : 12), 1u << 4 | type, 1);
        elf_put(i, at + (i->wide ? 6 : 14), section, 2);
        elf_word(i, at + (i->wide ? 8 : 4), value);
        elf_word(i, at + (i->wide ? 16 : 8), size);
}

static inline void elf_shdr(ElfImage *i, guint n, guint32 type, guint64 offset, guint64 size, guint32 link) {
        gsize at = 0xa00 + n * (i->wide ? 64u : 40u);

        elf_put(i, at + 4, type, 4);
        elf_word(i, at + (i->wide ? 24 : 16), offset);
        elf_word(i, at + (i->wide ? 32 : 20), size);
        elf_put(i, at + (i->wide ? 40 : 24), link, 4);
        elf_put(i, at + (i->wide ? 63 : 39), 0, 1);
}

#define ELF_VADDR 0x10000u /* of the file's first byte */
#define ELF_DYNAMIC 0x300u
#define ELF_DYNSTR 0x400u
#define ELF_DYNSYM 0x500u
#define ELF_GNU_HASH 0x600u
#define ELF_HASH 0x680u
#define ELF_NOTE 0x700u
#define ELF_INTERP 0x740u
#define ELF_SYMTAB 0x800u
#define ELF_STRTAB 0x900u
#define ELF_SECTIONS 0xa00u

/* Places in the string tables. */
enum { NEED_C = 1, NEED_M = 11, SONAME = 21, SSL_READ = 34, SSL_WRITE = 43, IMPORTED = 53 };
static const char elf_dynstr[] = "\0libc.so.6\0libm.so.6\0libtest.so.1\0SSL_read\0SSL_write\0malloc";
static const char elf_strtab[] = "\0hidden\0SSL_read\0table";

/* Caller frees `bytes`. */
static inline ElfImage elf_image(gboolean wide, gboolean big) {
        ElfImage i = { .bytes = g_byte_array_new(), .wide = wide, .big = big };
        gsize sym = wide ? 24 : 16, at = ELF_DYNAMIC;

        elf_text(&i, 0, "\x7f" "ELF", 5);
        elf_put(&i, EI_CLASS, wide ? ELFCLASS64 : ELFCLASS32, 1);
        elf_put(&i, EI_DATA, big ? ELFDATA2MSB : ELFDATA2LSB, 1);
        elf_put(&i, EI_VERSION, 1, 1);
        elf_put(&i, 16, ET_DYN, 2);
        elf_put(&i, 18, wide ? EM_X86_64 : EM_386, 2);
        elf_word(&i, 24, 0x10abc);
        elf_word(&i, wide ? 32 : 28, wide ? 64 : 52); /* program headers */
        elf_word(&i, wide ? 40 : 32, ELF_SECTIONS);
        elf_put(&i, wide ? 54 : 42, wide ? 56 : 32, 2);
        elf_put(&i, wide ? 56 : 44, 4, 2);
        elf_put(&i, wide ? 58 : 46, wide ? 64 : 40, 2);
        elf_put(&i, wide ? 60 : 48, 4, 2);

        elf_phdr(&i, 0, PT_LOAD, 0, ELF_VADDR, 0xc00);
        elf_phdr(&i, 1, PT_DYNAMIC, ELF_DYNAMIC, ELF_VADDR + ELF_DYNAMIC, 9 * 2 * (wide ? 8u : 4u));
        elf_phdr(&i, 2, PT_NOTE, ELF_NOTE, ELF_VADDR + ELF_NOTE, 36);
        elf_phdr(&i, 3, PT_INTERP, ELF_INTERP, ELF_VADDR + ELF_INTERP, 15);

        const guint64 tags[][2] = {
                { DT_NEEDED, NEED_C }, { DT_NEEDED, NEED_M }, { DT_SONAME, SONAME }, { DT_STRTAB, ELF_VADDR + ELF_DYNSTR }, { DT_SYMTAB, ELF_VADDR + ELF_DYNSYM },
                { DT_GNU_HASH, ELF_VADDR + ELF_GNU_HASH }, { DT_HASH, ELF_VADDR + ELF_HASH }, { DT_SYMENT, sym }, { DT_NULL, 0 },
        };
        for (gsize k = 0; k < G_N_ELEMENTS(tags); k++)
                at = elf_word(&i, elf_word(&i, at, tags[k][0]), tags[k][1]);
        elf_text(&i, ELF_DYNSTR, elf_dynstr, sizeof(elf_dynstr));
        elf_sym(&i, ELF_DYNSYM + sym, IMPORTED, STT_FUNC, SHN_UNDEF, 0, 0);
        elf_sym(&i, ELF_DYNSYM + 2 * sym, SSL_READ, STT_FUNC, 1, ELF_VADDR + 0x123, 77);
        elf_sym(&i, ELF_DYNSYM + 3 * sym, SSL_WRITE, STT_GNU_IFUNC, 1, ELF_VADDR + 0x234, 0);
        /* one bucket; symbols from 2 on; one word of bloom filter; the chain of 2 and 3 ends at 3 */
        elf_put(&i, ELF_GNU_HASH, 1, 4);
        elf_put(&i, ELF_GNU_HASH + 4, 2, 4);
        elf_put(&i, ELF_GNU_HASH + 8, 1, 4);
        gsize bucket = ELF_GNU_HASH + 16 + (wide ? 8 : 4);
        elf_put(&i, bucket, 2, 4);
        elf_put(&i, bucket + 4, 0x10, 4);
        elf_put(&i, bucket + 8, 0x11, 4);
        elf_put(&i, ELF_HASH, 1, 4);
        elf_put(&i, ELF_HASH + 4, 4, 4);
        elf_put(&i, ELF_NOTE, 4, 4);
        elf_put(&i, ELF_NOTE + 4, 20, 4);
        elf_put(&i, ELF_NOTE + 8, NT_GNU_BUILD_ID, 4);
        elf_text(&i, ELF_NOTE + 12, "GNU\0abcdefghijklmnopqrst", 25);
        elf_text(&i, ELF_INTERP, "/lib64/ld.so.2", 15);

        elf_text(&i, ELF_STRTAB, elf_strtab, sizeof(elf_strtab));
        elf_sym(&i, ELF_SYMTAB + sym, 1, STT_FUNC, 1, ELF_VADDR + 0x345, 9);
        elf_sym(&i, ELF_SYMTAB + 2 * sym, 8, STT_FUNC, 1, ELF_VADDR + 0x123, 77); /* SSL_read again */
        elf_sym(&i, ELF_SYMTAB + 3 * sym, 17, STT_OBJECT, 1, ELF_VADDR + 0x400, 8);
        elf_shdr(&i, 0, SHT_NULL, 0, 0, 0);
        elf_shdr(&i, 1, SHT_SYMTAB, ELF_SYMTAB, 4 * sym, 2);
        elf_shdr(&i, 2, SHT_STRTAB, ELF_STRTAB, sizeof(elf_strtab), 0);
        elf_shdr(&i, 3, SHT_DYNSYM, ELF_DYNSYM, 4 * sym, 0);
        elf_put(&i, 0xbff, 0, 1);
        return i;
}
