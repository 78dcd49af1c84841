/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the sensor and bulkhead-inspect say to each other over their socket pair (SOCK_STREAM), and how results lie in an answer.
 *
 * A frame is a BhInspectHeader and `len` bytes of body, in the machine's byte order: both ends are of one build on one machine. The sensor
 * sends requests; the inspector sends one greeting (kind 0) when its sandbox is closed, or when it could not be, and then one answer for each
 * request, in order. A request for a kind with input FILE has its memfd attached (SCM_RIGHTS) to the header's first byte.
 *
 * The inspector works on attackers' bytes, so its answers count as written by one: bh_inspect_unpack_*() believe nothing, take exactly what
 * the pack functions make and refuse everything else. They are the only code with the sensor's privileges that reads such bytes.
 *
 * Pure functions, any thread.
 */
#pragma once
#include <glib.h>

#include "parse/dns.h"
#include "parse/elf.h"
#include "parse/passwd.h"
#include "parse/protocol.h"
#include "parse/web_facts.h"

#define BH_INSPECT_VERSION 1u
#define BH_INSPECT_FD 3                        /* where the inspector finds its end */
#define BH_INSPECT_REQUEST_MAX (1u << 20)      /* body */
#define BH_INSPECT_ANSWER_MAX (288u << 10)     /* body */
#define BH_INSPECT_FILE_MAX (G_GUINT64_CONSTANT(128) << 20)
#define BH_INSPECT_FILES_MAX 2u                /* requests with a file on their way at a time */
#define BH_INSPECT_GREETING 0
#define BH_INSPECT_REDACT_MAX (16u << 10)

typedef enum {
#define BH_INSPECT_KIND(ID, number, name, work_ms, input) BH_INSPECT_##ID = number,
#include "parse/inspect_kinds.tbl.h"
#undef BH_INSPECT_KIND
} BhInspectKind;
#define BH_INSPECT_KINDS 10 /* above the largest */

typedef enum {
        BH_INSPECT_OK,        /* the body is the result */
        BH_INSPECT_MALFORMED, /* not what the kind says; the body is a sentence, plain ASCII */
        BH_INSPECT_REFUSED,   /* unknown kind or missing file: a mistake of the asker; the body is a sentence */
        BH_INSPECT_LOST,      /* never sent: the client's own word when there is no answer */
        BH_INSPECT_STATUSES,
} BhInspectStatus;

typedef struct {
        guint32 len;  /* of the body */
        guint16 kind;
        guint16 status; /* requests: 0 */
        guint64 id;   /* the asker's; the answer has the same */
        guint64 file; /* bytes of the memfd; answers and other requests: 0 */
} BhInspectHeader;
G_STATIC_ASSERT(sizeof(BhInspectHeader) == 24);

/* Layers of the sandbox, as bits. The first four must hold or the inspector refuses to work (a sanitizer build: not SECCOMP). */
typedef enum {
        BH_INSPECT_UNPRIVILEGED = 1,   /* not root, no supplementary groups */
        BH_INSPECT_NO_CAPABILITIES = 2,
        BH_INSPECT_NO_NEW_PRIVS = 4,
        BH_INSPECT_SECCOMP = 8,
        BH_INSPECT_LANDLOCK = 16,
        BH_INSPECT_EMPTY_ROOT = 32,    /* its / is an empty directory that cannot be written */
        BH_INSPECT_NAMESPACES = 64,    /* network, IPC, mounts, host name of its own */
} BhInspectLayers;

/* The greeting's body. With an error the inspector ends after it. */
typedef struct {
        guint32 version;
        guint32 layers; /* BhInspectLayers */
        char error[248]; /* "" = ready; a sentence, NUL-terminated */
} BhInspectGreeting;
G_STATIC_ASSERT(sizeof(BhInspectGreeting) == 256);

/* "dns", …; NULL when there is no such kind. */
const char *bh_inspect_kind_name(guint kind);
/* From the table; 0 and FALSE when there is no such kind. */
guint bh_inspect_kind_work_ms(guint kind);
gboolean bh_inspect_kind_takes_file(guint kind);

/* Appends the result. Everything that a parser can return fits into BH_INSPECT_ANSWER_MAX. */
void bh_inspect_pack_dns(GByteArray *out, const BhDnsMessage *m);
void bh_inspect_pack_passwd(GByteArray *out, const BhPasswd *p);
void bh_inspect_pack_elf(GByteArray *out, const BhElf *e);
void bh_inspect_pack_protocol(GByteArray *out, const BhProtocolFacts *f);
/* The body of a request for an ELF file. NULL = nothing in particular. */
void bh_inspect_pack_wanted(GByteArray *out, const BhElfWanted *wanted);
/* The body of a request of kind PROTOCOL: of each direction at most BH_PROTOCOL_BYTES_MAX bytes. */
void bh_inspect_pack_look(GByteArray *out, const BhProtocolInput *in);

/* NULL, or FALSE, when the bytes are not exactly one well-formed result. */
BhDnsMessage *bh_inspect_unpack_dns(const guint8 *body, gsize len);
BhPasswd *bh_inspect_unpack_passwd(const guint8 *body, gsize len);
BhElf *bh_inspect_unpack_elf(const guint8 *body, gsize len);
/* With protocol UNKNOWN when nothing was recognised. Caller frees with g_free(). */
BhProtocolFacts *bh_inspect_unpack_protocol(const guint8 *body, gsize len);
/* *in points into the body. */
gboolean bh_inspect_unpack_look(const guint8 *body, gsize len, BhProtocolInput *in);
/* What an answer of kind REDACT is: printable ASCII, tabs and line ends, at most BH_INSPECT_ANSWER_MAX. */
gboolean bh_inspect_is_text(const guint8 *body, gsize len);
/* *names is an array of wanted->n_names strings that wanted->names points to; the caller frees it with g_strfreev(). */
gboolean bh_inspect_unpack_wanted(const guint8 *body, gsize len, BhElfWanted *wanted, char ***names);

/*
 * What the inspector does with one request: parses `body` (for kinds with a file: `file`) and appends the answer's body to `out`.
 * Never fails: the status says what `out` has. The whole of it that sees hostile bytes, so that it can be tested and fuzzed in one process.
 */
BhInspectStatus bh_inspect_answer(guint kind, const guint8 *body, gsize len, const guint8 *file, gsize file_len, GByteArray *out);
