/* SPDX-License-Identifier: Apache-2.0 */
/* What block.c (what is refused to whom) and block_load.c (programs, their choice, their pins) share. */
#pragma once
#include <bpf/libbpf.h>

#include "block.h"
#include "keeper_walk.h"

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

/* What is made of what is refused to one container: one call of bh_block_set(). */
typedef struct {
        BhBlock *b;
        int root;
        GArray *mounts; /* of whose root it is */
        struct bh_block_root is; /* what that root is, or was the first time; empty: not known */
        char *barred; /* why nothing can be found through it now. NULL: it can */
        char *top; /* where it is mounted, as its mount namespace sees it; NULL: not known */
        GHashTable *seen; /* as of BlockSubject; by this look */
        guint steps, at, stopped; /* of this look: parts of paths; paths; how many had their turn when the steps were used up, 0: they are not */
        gboolean root_links, changed_links, other_links; /* crossed on the way to the path that is at hand: on the root overlay; of them, some that are not the image's; elsewhere */
        struct bh_block_subject v, was; /* was: in the kernel until now */
        GHashTable *keys; /* wanted */
        BlockSubject *s;
        BhBlockDone *done;
        guint kept, loaders; /* of the rule that is at hand, of before; of loaders the new ones, too */
        guint list, found, left_out; /* of the rule that is at hand: bit of its list, BH_BLOCK_LISTS: it has none; files of it that are there, and are not */
} BlockMaking;

/* block.c */
void bh_block_add_key(GHashTable *keys, const struct bh_block_key *key, const struct bh_block_file *file);
/* To `open` or `notes` of what was done. */
void bh_block_note(GPtrArray *to, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* What an open file is to the kernel programs. */
gboolean bh_block_ask(BhBlock *b, int fd, struct bh_block_asked *asked);
/* As the container sees it; *on may be NULL. */
int bh_block_open_on(BlockMaking *m, const char *path, const BhFileMount **on, GError **error);
/* `key` NULL: nothing was there. */
void bh_block_see(BlockMaking *m, const BhDeny *d, guint32 rule, const struct bh_block_key *key);
/* Whether this path has no turn in this look; *key: what was there in the one before. */
gboolean bh_block_is_postponed(BlockMaking *m, const BhDeny *d, guint32 rule, const struct bh_block_key **key);
gboolean bh_block_know_root(BlockMaking *m, gboolean *overlay, GError **error);

/* block_list.c: lists of what alone may run */
gboolean bh_block_take_list(BlockMaking *m, const BhBlockRule *rule, GError **error);
void bh_block_add_only(BlockMaking *m, const BhDeny *d, guint32 rule);
gboolean bh_block_end_list(BlockMaking *m, const char *cgroup, const BhBlockRule *rule, GError **error);
/* What was on the list by this key stays so. */
void bh_block_keep_listed(BlockMaking *m, const struct bh_block_key *key);
