/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ELF files of containers: what an executable or a library is, what it loads, and where its functions are.
 *
 * 32- and 64-bit, both byte orders. What a loader would use is read the way the loader does (program headers, PT_DYNAMIC with its hash
 * tables), so that missing or lying section headers hide nothing of it; section headers serve for the static symbol table, which the
 * loader does not know. Every offset is checked against the file, every table is bounded, and the symbols looked at are bounded in
 * total, so overlapping tables cannot make work without end. What is beyond a bound or outside of the file is left out and `flags`
 * tells it.
 *
 * Strings are bytes that an attacker chose (without NUL): escape them. An object owns all that it points to. No globals, any thread.
 */
#pragma once
#include <glib.h>

#define BH_ELF_NAMES_MAX 64u        /* names asked for */
#define BH_ELF_NAME_MAX 1023u       /* bytes of a symbol's name, of a library's, of the interpreter's path */
#define BH_ELF_NEEDED_MAX 256u
#define BH_ELF_SYMBOLS_MAX 2048u    /* symbols in an answer */
#define BH_ELF_TEXT_MAX (128u << 10) /* of all strings of an answer with their NULs */
#define BH_ELF_BUILD_ID_MAX 64u
#define BH_ELF_SCAN_MAX (4u << 20)  /* symbols looked at */

enum {
        BH_ELF_DAMAGED = 1,  /* a table or string lies outside of the file; what could be read was */
        BH_ELF_BOUND = 2,    /* more than the bounds above: something was left out */
        BH_ELF_STATIC_SYMBOLS = 4, /* there is a static symbol table: it is not stripped */
        BH_ELF_DYNAMIC = 8,  /* there is a dynamic section */
};

typedef struct {
        const char *name;
        guint64 value;  /* virtual address */
        guint64 size;   /* bytes; 0 = unknown */
        guint64 offset; /* in the file: where a uprobe goes */
        gboolean dynamic; /* from the dynamic table; else from the static one */
} BhElfSymbol;

typedef struct {
        guint8 bits;         /* 32 or 64 */
        gboolean big_endian;
        guint16 type;        /* ET_EXEC 2, ET_DYN 3, … */
        guint16 machine;     /* EM_X86_64 62, EM_AARCH64 183, … */
        guint64 entry;
        guint32 flags;       /* BH_ELF_… */
        const char *interpreter; /* "" = none: a library or a static program */
        const char *soname;  /* "" = none */
        const char *const *needed;
        guint32 n_needed;
        guint8 build_id[BH_ELF_BUILD_ID_MAX];
        guint32 build_id_len; /* 0 = none */
        const BhElfSymbol *symbols; /* functions defined here, as asked for; dynamic ones first */
        guint32 n_symbols;
        guint32 n_functions; /* of all that were looked at, how many are functions defined here */
        GStringChunk *text;
} BhElf;

/* Which functions the caller wants. None at all is allowed. */
typedef struct {
        const char *const *names; /* exact names; at most BH_ELF_NAMES_MAX of at most BH_ELF_NAME_MAX bytes; NULL when n_names is 0 */
        guint32 n_names;
        guint32 list; /* and any others, up to so many in all (at most BH_ELF_SYMBOLS_MAX) */
} BhElfWanted;

/*
 * NULL with G_FILE_ERROR_INVAL when it is not an ELF file, or its header is of a kind that no loader takes. `wanted` may be NULL.
 * A name that is in both tables at the same address is told once.
 */
BhElf *bh_elf_parse(const guint8 *bytes, gsize len, const BhElfWanted *wanted, GError **error);
/* NULL is allowed. */
void bh_elf_free(BhElf *e);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhElf, bh_elf_free)

/* The function of this name, the dynamic one if there are two; NULL if there is none. */
const BhElfSymbol *bh_elf_symbol(const BhElf *e, const char *name);
