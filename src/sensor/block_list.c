/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what alone may run in a container: see block.h. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/escape.h"
#include "base/fdio.h"
#include "block_private.h"
#include "cgroup_pids.h"
#include "enforce_pin.h"
#include "keeper_walk.h"

#define NOT_LISTED_TOLD 8u   /* programs of a list that are not there, by name */
#define PIDS 64u            /* asked for the root of a container whose first process is not known */

/* The bit of a rule's list stays while the rule does, and none is another's before the kernel has forgotten whose it was. */
gboolean bh_block_take_list(BlockMaking *m, const BhBlockRule *rule, GError **error) {
        gboolean listed = FALSE, observe = FALSE, overlay;
        guint free_one = BH_BLOCK_LISTS;

        for (guint i = 0; i < rule->denies->len; i++) {
                listed |= ((const BhDeny *) rule->denies->pdata[i])->kind == BH_DENY_EXEC_ONLY;
                observe |= ((const BhDeny *) rule->denies->pdata[i])->kind == BH_DENY_OBSERVE;
        }
        m->list = BH_BLOCK_LISTS;
        m->found = m->left_out = 0;
        if (!listed)
                return TRUE;
        for (guint i = BH_BLOCK_LISTS; i-- > 0;) {
                if (m->was.list_rules[i] == rule->number)
                        m->list = i;
                else if (!m->was.list_rules[i] && !m->v.list_rules[i])
                        free_one = i;
        }
        if (m->list == BH_BLOCK_LISTS && (m->list = free_one) == BH_BLOCK_LISTS)
                return bh_enforce_fail(error, "the container has as many lists of programs that alone may run as there may be (%u): release one first", BH_BLOCK_LISTS);
        m->v.list_rules[m->list] = rule->number;
        m->v.lists |= 1u << m->list;
        m->v.observed |= (guint32) observe << m->list;
        return bh_block_know_root(m, &overlay, error);
}

static void list_key(BlockMaking *m, const struct bh_block_key *key, guint32 generation, gboolean image) {
        const struct bh_block_file *known = g_hash_table_lookup(m->keys, key);
        struct bh_block_file file = known ? *known : (struct bh_block_file){ .generation = generation };

        file.listed |= (__u8) (1u << m->list);
        file.image = image;
        bh_block_add_key(m->keys, key, &file);
        m->found++;
}

static void not_listed(BlockMaking *m, const char *path, const char *why) {
        if (m->left_out++ < NOT_LISTED_TOLD)
                bh_block_note(m->done->notes, "%s %s", path, why);
}

/* What was on the list by this key stays so. */
void bh_block_keep_listed(BlockMaking *m, const struct bh_block_key *key) {
        const struct bh_block_file *was = g_hash_table_lookup(m->s->keys, key);

        if (was && was->listed & m->was.lists & 1u << m->list)
                list_key(m, key, was->generation, was->image);
}

/* Why this file is not what was listed, though the path leads to it: to be said behind the path. NULL: it is. */
static const char *is_foreign(const BlockMaking *m, const BhDeny *d, const struct bh_block_asked *asked, const BhFileMount *on) {
        if (!m->is.overlay)
                return NULL;
        if (asked->overlay && asked->dev == m->is.dev)
                return !asked->lower ? "is not as the image has it: it is refused" : m->changed_links || m->other_links ? "is led to by a link that is not the image's: it is refused" : NULL;
        g_autofree char *path = m->top ? g_strconcat(g_str_equal(m->top, "/") ? "" : m->top, d->path, NULL) : NULL;
        return m->root_links || !path || !bh_file_below(path, on->point) ? "leads to another file system by a link: it is refused" : NULL;
}

/*
 * What is written since is not the image's: a list names programs as they were, and not what an intruder makes of them, nor where he leads their paths. What is not there is no error, for images differ.
 */
void bh_block_add_only(BlockMaking *m, const BhDeny *d, guint32 rule) {
        g_autofree char *folder = g_path_get_dirname(d->path), *base = g_path_get_basename(d->path);
        struct bh_block_key key = { .cgroup = m->s->id };
        __u64 name[BH_BLOCK_NAME / 8] = { 0 };
        const struct bh_block_key *before;
        const BhFileMount *on = NULL;
        struct bh_block_asked asked;
        struct stat st;

        if (bh_block_is_postponed(m, d, rule, &before)) {
                bh_block_keep_listed(m, before);
                return;
        }
        g_auto(BhFd) fd = bh_block_open_on(m, d->any ? folder : d->path, &on, NULL);
        const gboolean there = fd >= 0 && bh_block_ask(m->b, fd, &asked) && (d->any || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)));
        const char *why = !there ? "is not there, or cannot be looked at: it is on the list when it is found there" : d->any ? NULL : is_foreign(m, d, &asked, on);

        if (!why && !d->any && before && before->cgroup && m->is.overlay && before->dev == m->is.dev && asked.dev != m->is.dev) { /* somebody who may has mounted over it */
                not_listed(m, d->path, "lies on another file system than when it was listed: what is there is refused");
                bh_block_keep_listed(m, before);
                bh_block_see(m, d, rule, before);
                return;
        }
        if (why) {
                bh_block_see(m, d, rule, NULL);
                not_listed(m, d->path, why);
                return;
        }
        key.ino = asked.ino;
        key.dev = asked.dev;
        memcpy(name, base, MIN(strlen(base), sizeof(name) - 1));
        if (d->any)
                key.name = bh_block_hash(name, (guint32) strlen(base));
        list_key(m, &key, d->any ? 0 : asked.generation, !d->any && m->is.overlay && asked.overlay && asked.dev == m->is.dev);
        bh_block_see(m, d, rule, &key);
}

static gboolean names_path(const BhBlockRule *rule, const char *path) {
        for (guint i = 0; path && i < rule->denies->len; i++) {
                const BhDeny *d = rule->denies->pdata[i];

                if (d->any && g_str_equal(d->path, path))
                        return TRUE;
        }
        return FALSE;
}

/* What runs goes on, and is not started again: who orders a list that lacks its container's own program should know. */
static void note_running(BlockMaking *m, const char *cgroup, const BhBlockRule *rule) {
        g_autoptr(GArray) pids = bh_cgroup_pids(m->b->v2, cgroup, PIDS, G_MAXUINT, NULL);
        g_autoptr(GHashTable) said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (guint i = 0; i < pids->len && g_hash_table_size(said) < NOT_LISTED_TOLD; i++) {
                g_autofree char *link = g_strdup_printf("%s/%d/exe", m->b->proc, g_array_index(pids, gint, i)), *path = g_file_read_link(link, NULL), *shown = path ? bh_escape_cell(path, -1) : NULL;
                g_auto(BhFd) fd = open(link, O_PATH | O_CLOEXEC);
                struct bh_block_key key = { .cgroup = m->s->id };
                struct bh_block_asked asked;

                if (fd < 0 || !bh_block_ask(m->b, fd, &asked) || (m->v.root_dev && asked.dev != m->v.root_dev)) /* a runtime's own program on its way is on the host's file system */
                        continue;
                key.ino = asked.ino;
                key.dev = asked.dev;
                const struct bh_block_file *f = g_hash_table_lookup(m->keys, &key);
                if ((!f || !(f->listed >> m->list & 1)) && !names_path(rule, path) && shown && g_hash_table_add(said, g_strdup(shown)))
                        bh_block_note(m->done->notes, "%s runs and is not on the list: it goes on, and is refused when it is started again", shown);
        }
}

gboolean bh_block_end_list(BlockMaking *m, const char *cgroup, const BhBlockRule *rule, GError **error) {
        if (m->list == BH_BLOCK_LISTS)
                return TRUE;
        if (m->was.list_rules[m->list] != rule->number)
                note_running(m, cgroup, rule);
        if (m->left_out > NOT_LISTED_TOLD)
                bh_block_note(m->done->notes, "%u more programs of the list are not there, or not as the image has them", m->left_out - NOT_LISTED_TOLD);
        if (!m->found && !rule->fresh)
                bh_block_note(m->done->notes, "nothing of the list is in the container as it was listed: every program is refused");
        return m->found || !rule->fresh || bh_enforce_fail(error, "none of the programs that alone may run is in the container");
}
