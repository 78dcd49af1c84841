/* SPDX-License-Identifier: Apache-2.0 */
/* What block.c (what is refused to whom) and block_load.c (programs, their choice, their pins) share. */
#pragma once
#include <bpf/libbpf.h>

#include "block.h"

enum { BLOCK_SUBJECTS, BLOCK_NAMESPACES, BLOCK_FILES, BLOCK_CONFIG, BLOCK_COUNTS, BLOCK_ASKED, BLOCK_ACTS, BLOCK_ROOTS, BLOCK_MAPS };
typedef enum { NEED_RUN = 1, NEED_CAP = 2, NEED_MOUNT = 4, NEED_PTRACE = 8, NEED_MODULE = 16, NEED_ALL = 31 } BlockNeed;
#define BLOCK_PROGRAMS 11 /* the most of a backend */

typedef struct {
        guint64 id;
        char *cgroup;      /* NULL: found pinned, and not set yet */
        GHashTable *keys;  /* struct bh_block_key → struct bh_block_file */
        GHashTable *rules; /* numbers that are counted for it */
        GHashTable *seen;  /* char * (rule, path) → struct bh_block_key: what was there at the last look; its cgroup is 0: nothing */
        guint from;        /* so many paths had their turn in the last look */
        guint32 ns;        /* 0: none */
        guint needs;
} BlockSubject;

struct BhBlock {
        char *dir, *home, *v2, *proc; /* home: of this build, in dir */
        BhBlockBackend backend, chosen, wanted; /* loaded; found to work; by the test alone */
        char *problem; /* why there is no backend */
        gboolean pinned;
        int maps[BLOCK_MAPS], ask, programs[BLOCK_PROGRAMS];
        GHashTable *subjects; /* by id */
        struct ring_buffer *ring;
        GArray *left; /* int: rings of other builds, of whose acts nobody was told yet */
        BhBlockTold told;
        gpointer told_data;
};

/* Opens what an earlier process pinned. FALSE: there is nothing whole of this build. */
gboolean bh_block_open_pins(BhBlock *b);
/* Pins what is loaded, so that what is attached goes on without this process. */
gboolean bh_block_pin(BhBlock *b, GError **error);
/* Nothing is refused any more: nothing stays, and what was attached is closed. */
void bh_block_unpin(BhBlock *b);
void bh_block_close(BhBlock *b);
/* What another build remembers of this cgroup. FALSE: nothing. */
gboolean bh_block_root_of_others(const BhBlock *b, guint64 cgroup, struct bh_block_root *root);
/* Of this cgroup other builds' programs refuse nothing any more; where it was remembered stays. */
void bh_block_take_from_others(const BhBlock *b, guint64 cgroup);
/* What another build left in this folder goes; its counts are added to those that there are here, and its acts will be told. */
void bh_block_take_over(BhBlock *b, const char *home);
/* Attaches and pins what these need; what others needed stays until nothing is refused any more. FALSE with *error: some may be attached. */
gboolean bh_block_attach(BhBlock *b, guint needs, GError **error);
