/* SPDX-License-Identifier: Apache-2.0 */
/* What a container changed of its image: when that is looked at, and where its layer is. */
#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"
#include "container/container.h"
#include "evidence/layer.h"
#include "evidence_private.h"

#define MOUNTS_MAX (1u << 20)
#define HOST_MOUNTS_MAX (16u << 20)
#define GAP_MAX_US (60 * G_USEC_PER_SEC)

typedef struct {
        BhLayer layer;  /* upper NULL: not known yet */
        gint64 next_us; /* not looked at before, but at its end */
        gint64 gap_us;
        guint changes;  /* that it had when it was looked at last */
} Diff;

void bh_evidence_diff_free(gpointer p) {
        Diff *d = p;

        bh_layer_clear(&d->layer);
        g_free(d);
}

/* Under the lock. */
static Diff *diff_of(BhEvidence *v, const char *id) {
        Diff *d = g_hash_table_lookup(v->diffs, id);

        if (d)
                return d;
        if (g_hash_table_size(v->diffs) >= BH_EVIDENCE_DIFFS)
                g_hash_table_remove_all(v->diffs);
        d = g_new0(Diff, 1);
        d->gap_us = G_USEC_PER_SEC;
        g_hash_table_insert(v->diffs, g_strdup(id), d);
        return d;
}

gboolean bh_evidence_diff_due(BhEvidence *v, const char *id) {
        gint64 now_us = g_get_monotonic_time();

        if (!*id)
                return FALSE;
        g_mutex_lock(&v->lock);
        Diff *d = diff_of(v, id);
        gboolean due = now_us >= d->next_us;
        if (due) {
                d->next_us = now_us + d->gap_us;
                d->gap_us = MIN(2 * d->gap_us, GAP_MAX_US);
        }
        g_mutex_unlock(&v->lock);
        return due;
}

/* A number may be another process's by now: its control group says whose it is. */
static gboolean is_in(int dir, const char *id) {
        g_autofree char *cgroup = bh_file_read(dir, "cgroup", 65536, NULL, NULL, NULL);

        return cgroup && strstr(cgroup, id);
}

/* Whole lines of the host's table. */
static char *host_mounts(BhEvidence *v) {
        g_auto(BhFd) dir = bh_evidence_open_pid(v, 1);
        gboolean truncated = FALSE;
        char *text = dir >= 0 ? bh_file_read(dir, "mountinfo", HOST_MOUNTS_MAX, NULL, &truncated, NULL) : NULL;
        char *last = text && truncated ? strrchr(text, '\n') : NULL;

        if (last)
                last[1] = '\0';
        return text;
}

static gboolean find_layer(BhEvidence *v, const char *id, BhLayer *out) {
        g_autoptr(BhContainer) c = bh_evidence_container(v, id);

        if (!c || c->init_pid <= 0)
                return FALSE;
        g_auto(BhFd) dir = bh_evidence_open_pid(v, (guint32) c->init_pid);
        g_autofree char *mounts = dir >= 0 ? bh_file_read(dir, "mountinfo", MOUNTS_MAX, NULL, NULL, NULL) : NULL;

        /* asked afterwards: then it was there before */
        if (!mounts || !is_in(dir, id))
                return FALSE;
        g_autofree char *host = host_mounts(v);
        return host && bh_layer_parse(mounts, host, out);
}

GString *bh_evidence_diff(BhEvidence *v, const BhJob *j, BhLayerCounts *counts) {
        const char *id = bh_job_owner(j);
        g_auto(BhLayer) layer = { 0 };
        guint before = 0;

        g_mutex_lock(&v->lock);
        Diff *d = g_hash_table_lookup(v->diffs, id);
        if (d) {
                bh_layer_copy(&d->layer, &layer);
                before = d->changes;
        }
        g_mutex_unlock(&v->lock);
        if (!layer.upper) {
                if (!find_layer(v, id, &layer))
                        return NULL;
                g_mutex_lock(&v->lock);
                d = diff_of(v, id);
                if (!d->layer.upper)
                        bh_layer_copy(&layer, &d->layer);
                g_mutex_unlock(&v->lock);
        }
        g_auto(BhFd) root = open(v->host_root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        GString *text = root >= 0 ? bh_layer_diff(root, &layer, counts) : NULL;
        if (!text)
                return NULL;
        guint changes = counts->added + counts->changed + counts->deleted;
        /* the runtime takes it away at the end: what was seen before says more */
        if (j->last && changes < before) {
                g_string_free(text, TRUE);
                return NULL;
        }
        g_mutex_lock(&v->lock);
        if ((d = g_hash_table_lookup(v->diffs, id)))
                d->changes = changes;
        g_mutex_unlock(&v->lock);
        return text;
}
