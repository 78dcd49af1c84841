/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroups.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

struct BhCgroups {
        BhContainerTable *containers;
        const BhCgroupLayout *layout;
        BhHooks *hooks;
        int map;
        GHashTable *known; /* id → Known */
};

enum told { TOLD_NOTHING, TOLD_NO_CONTAINER, TOLD_CONTAINER };

typedef struct {
        enum told told;
        gboolean missing; /* in the last round */
} Known;

BhCgroups *bh_cgroups_new(BhHooks *hooks, BhContainerTable *containers, const BhCgroupLayout *layout) {
        BhCgroups *c = g_new0(BhCgroups, 1);

        c->containers = containers;
        c->layout = layout;
        c->hooks = hooks;
        c->map = bh_hooks_map(hooks, "cgroups");
        c->known = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
        return c;
}

void bh_cgroups_free(BhCgroups *c) {
        if (!c)
                return;
        g_hash_table_unref(c->known);
        g_free(c);
}

static Known *know(BhCgroups *c, guint64 id) {
        Known *k = g_hash_table_lookup(c->known, &id);

        if (!k) {
                k = g_new0(Known, 1);
                g_hash_table_insert(c->known, g_memdup2(&id, sizeof(id)), k);
        }
        return k;
}

/* What the container table says; TOLD_NOTHING while it does not know, or if the cgroup is gone. */
static enum told wanted(BhCgroups *c, guint64 id) {
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(c->containers, id, &l);
        if (!l.known || l.ended || l.undecided)
                return TOLD_NOTHING;
        return l.is_container ? TOLD_CONTAINER : TOLD_NO_CONTAINER;
}

/* Whether the file system has the cgroup now. */
static gboolean exists(BhCgroups *c, guint64 id) {
        g_autofree char *path = bh_container_table_path(c->containers, id), *at = NULL;
        const char *root = c->layout->mount_root, *below = path;

        if (!path)
                return FALSE;
        if (root && !g_str_equal(root, "/") && g_str_has_prefix(path, root))
                below += strlen(root);
        at = g_build_filename(c->layout->mount, below, NULL);
        return bh_cgroup_id(AT_FDCWD, at) == id;
}

/* Enters a cgroup that the map does not have. One that is removed meanwhile is taken out again: the kernel's own removal may have come first. */
static gboolean enter(BhCgroups *c, guint64 id, Known *k) {
        struct bh_cgroup cg = { 0 };

        k->told = wanted(c, id);
        cg.container = k->told == TOLD_CONTAINER ? id : 0;
        if (bpf_map_update_elem(c->map, &id, &cg, BPF_NOEXIST))
                return FALSE;
        bh_hooks_judge_anew(c->hooks);
        if (exists(c, id))
                return TRUE;
        bpf_map_delete_elem(c->map, &id);
        return FALSE;
}

void bh_cgroups_found(BhCgroups *c, guint64 id) {
        enter(c, id, know(c, id));
}

void bh_cgroups_adopt(BhCgroups *c) {
        guint64 id, next, *prev = NULL;

        for (; bpf_map_get_next_key(c->map, prev, &next) == 0; prev = &id) {
                id = next;
                know(c, id);
        }
}

/* TRUE if the entry, which is there, was wrong. An entry that goes at this moment stays gone. */
static gboolean correct(BhCgroups *c, guint64 id, struct bh_cgroup *now, enum told want) {
        if (want == TOLD_NOTHING || !!now->container == (want == TOLD_CONTAINER))
                return FALSE;
        now->container = want == TOLD_CONTAINER ? id : 0;
        if (bpf_map_update_elem(c->map, &id, now, BPF_EXIST))
                return FALSE;
        bh_hooks_judge_anew(c->hooks);
        return TRUE;
}

void bh_cgroups_tell(BhCgroups *c, guint64 id) {
        struct bh_cgroup now;
        enum told want = wanted(c, id);

        if (bpf_map_lookup_elem(c->map, &id, &now))
                return;
        correct(c, id, &now, want);
        if (want != TOLD_NOTHING)
                know(c, id)->told = want;
}

void bh_cgroups_made(BhCgroups *c, guint64 id) {
        know(c, id);
        bh_cgroups_tell(c, id);
}

void bh_cgroups_removed(BhCgroups *c, guint64 id) {
        g_hash_table_remove(c->known, &id);
        bpf_map_delete_elem(c->map, &id);
}

guint64 bh_cgroups_restore(BhCgroups *c) {
        GHashTableIter i;
        gpointer key, value;
        guint64 restored = 0;

        for (g_hash_table_iter_init(&i, c->known); g_hash_table_iter_next(&i, &key, &value); ) {
                guint64 id = *(guint64 *) key;
                struct bh_cgroup now;
                Known *k = value;

                if (bpf_map_lookup_elem(c->map, &id, &now) == 0) {
                        enum told want = wanted(c, id);

                        /* what the table has learned just now is no repair */
                        restored += correct(c, id, &now, want) && k->told == want;
                        k->told = want != TOLD_NOTHING ? want : k->told;
                        k->missing = FALSE;
                } else if (!k->missing) {
                        k->missing = TRUE;
                } else if (!exists(c, id)) {
                        g_hash_table_iter_remove(&i);
                } else if (enter(c, id, k)) {
                        k->missing = FALSE;
                        restored++;
                } else if (errno == E2BIG) {
                        break; /* the map is full: the kernel counts what it has no room for */
                }
        }
        return restored;
}
