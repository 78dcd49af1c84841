/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A YAML file as trees whose every node knows where it stands, read with libyaml's events.
 *
 * Rule files are hostile input: the file's size, the depth, and the number of nodes are bounded. An alias is the node that it names, so that a file full
 * of aliases takes no more memory than its text; readers count what they visit. Only UTF-8 is read.
 *
 * After a syntax error reading goes on with the next element of the top sequence (a line that begins with "- "), so that one broken rule hides no other.
 *
 * A file owns its text and all nodes; they live until bh_yaml_file_free(). One thread at a time.
 */
#pragma once
#include <glib.h>

typedef enum { BH_YAML_NULL, BH_YAML_SCALAR, BH_YAML_SEQUENCE, BH_YAML_MAP } BhYamlKind;

typedef struct BhYaml BhYaml;
struct BhYaml {
        guint8 kind;        /* BhYamlKind */
        guint8 style;       /* of a scalar: ' ' plain, '\'', '"', '|', '>' */
        guint32 start, end; /* bytes of the file */
        guint32 n;          /* scalar: bytes of text; sequence: nodes; map: nodes, key and value in turn */
        union {
                const char *text; /* scalar: NUL-terminated, but may hold NULs */
                BhYaml **nodes;
        };
};

typedef struct BhYamlFile BhYamlFile;

typedef struct {
        void (*item)(gpointer user, const BhYaml *node);     /* an element of a document's top sequence */
        void (*document)(gpointer user, const BhYaml *node); /* a document that is no sequence */
        void (*problem)(gpointer user, guint32 at, const char *code, const char *what);
} BhYamlCalls;

/* Copies the text. `name` is for messages, `number` the file's in the set. */
BhYamlFile *bh_yaml_file_new(const char *name, guint number, const char *text, gsize len);
void bh_yaml_file_free(BhYamlFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhYamlFile, bh_yaml_file_free)

void bh_yaml_read(BhYamlFile *f, const BhYamlCalls *calls, gpointer user);

guint bh_yaml_file_number(const BhYamlFile *f);
/* Line and column of a byte, both from 1; the column in bytes. */
void bh_yaml_place(const BhYamlFile *f, guint32 at, guint32 *line, guint32 *column);

/* Value of the map's first such key; NULL: none, or no map. *key (may be NULL): the key's node. */
const BhYaml *bh_yaml_get(const BhYaml *map, const char *key, const BhYaml **key_node);
gboolean bh_yaml_is(const BhYaml *scalar, const char *text);

/*
 * Where each byte of a scalar's value stands in the file, as runs: from byte `at` of the value on, the bytes stand at `off` and after. Exact for all that is not
 * white space; a line break that was folded stands where the line ends.
 */
typedef struct {
        guint32 at, off;
} BhYamlRun;
GArray *bh_yaml_runs(const BhYamlFile *f, const BhYaml *scalar);
