/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.h"
#include "evidence/evidence.h"
#include "json_out.h"

#define DROP_AT_ONCE 256u
#define LOGGED_MAX 20u
#define PART_S 86400 /* age of bytes whose rest, or item, does not come any more: it was lost, or the node is gone */

static GMutex lock; /* of `stats` */
static BhEvidenceStats stats;

static void count(guint64 *what, guint64 n) {
        g_mutex_lock(&lock);
        *what += n;
        g_mutex_unlock(&lock);
}

static char *path_of(BhCentral *c, const char *sha256, const char *suffix) {
        return g_strdup_printf("%s/evidence/objects/%.2s/%s%s", c->dir, sha256, sha256, suffix);
}

static gboolean make_dirs(BhCentral *c, const char *sha256) {
        g_autofree char *dir = g_strdup_printf("%s/evidence/objects/%.2s", c->dir, sha256);

        return g_mkdir_with_parents(dir, 0700) == 0;
}

static void trouble(const char *what, const char *sha256) {
        count(&stats.failed, 1);
        if (stats.failed <= LOGGED_MAX)
                bh_error("bytes of evidence cannot be kept", "object", sha256, "what", what, "error", g_strerror(errno));
}

/* Whether the file's bytes are those that its name says. */
static gboolean is_right(int fd, const char *sha256) {
        crypto_hash_sha256_state state;
        guint8 buf[65536], h[crypto_hash_sha256_BYTES];
        char hex[BH_EVIDENCE_HEX];
        off_t at = 0;
        ssize_t n;

        crypto_hash_sha256_init(&state);
        while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
                crypto_hash_sha256_update(&state, buf, (gsize) n);
                at += n;
        }
        crypto_hash_sha256_final(&state, h);
        sodium_bin2hex(hex, sizeof(hex), h, sizeof(h));
        return n == 0 && !strcmp(hex, sha256);
}

static void put_piece(BhCentral *c, const Bulkhead__Bus__V1__Evidence *m) {
        g_autofree char *path = path_of(c, m->sha256, ""), *part = path_of(c, m->sha256, ".part"), *why = NULL;
        struct stat st;

        count(&stats.pieces, 1);
        if (stat(path, &st) == 0)
                return; /* it was whole already */
        if (!bh_store_evidence_is_dropped(c->store, m->sha256, &why, NULL) || why) {
                count(&stats.refused, 1);
                return;
        }
        g_auto(BhFd) fd = make_dirs(c, m->sha256) ? open(part, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
        if (fd < 0 || pwrite(fd, m->data.data, m->data.len, (off_t) m->offset) != (ssize_t) m->data.len) {
                trouble("write", m->sha256);
                return;
        }
        if (m->offset + m->data.len < m->total)
                return;
        if (ftruncate(fd, (off_t) m->total) || fsync(fd)) {
                trouble("sync", m->sha256);
        } else if (!is_right(fd, m->sha256)) {
                /* a piece before it was lost (the bus says so), or it is no node of ours that sends this */
                count(&stats.wrong, 1);
                unlink(part);
        } else if (rename(part, path)) {
                trouble("name", m->sha256);
        } else {
                g_mutex_lock(&lock);
                stats.objects++;
                stats.bytes += m->total;
                g_mutex_unlock(&lock);
        }
}

static char *take(GPtrArray *texts, const char *text) {
        char *copy = g_strdup(text ? text : "");

        g_ptr_array_add(texts, copy);
        return copy;
}

static gboolean refuse(GError **error, const char *why) {
        g_set_error(error, BH_BUS_ERROR, BH_BUS_ERROR_BODY, "%s", why);
        return FALSE;
}

gboolean bh_evidence_ingest(BhCentral *c, const char *node, const Bulkhead__Bus__V1__Evidence *m, BhStoreEvidence *out, GPtrArray *texts, GError **error) {
        g_auto(BhEvidenceLine) l = { 0 };

        *out = (BhStoreEvidence){ 0 };
        if (!m->line.len) {
                if (!bh_evidence_is_hash(m->sha256) || m->total > BH_CENTRAL_OBJECT_MAX || m->offset > m->total || m->data.len > m->total - m->offset || !m->data.len)
                        return refuse(error, "a piece of evidence has no place");
                put_piece(c, m);
                return TRUE;
        }
        if (!bh_evidence_read((const char *) m->line.data, m->line.len, &l, error))
                return FALSE;
        if (strcmp(l.node, node))
                return refuse(error, "an item of evidence is of another node than the one that sent it");

        json_t *container = json_object_get(l.facts, "container"), *process = json_object_get(l.facts, "process");
        g_autofree char *line = g_strndup((const char *) m->line.data, m->line.len);
        *out = (BhStoreEvidence){
                .chain = take(texts, l.chain),
                .node = take(texts, node),
                .kind = take(texts, l.kind),
                .container_id = take(texts, json_string_value(json_object_get(container, "id"))),
                .finding = take(texts, json_string_value(json_object_get(l.facts, "finding"))),
                .sha256 = take(texts, l.object),
                .line = take(texts, line),
                .hash = take(texts, l.hash),
                .next = take(texts, l.next),
                .prev = take(texts, l.prev),
                .key = take(texts, l.key),
                .seq = l.seq,
                .size = l.size,
                .time_ns = l.time_ns,
                .pid = (guint32) json_integer_value(json_object_get(process, "pid")),
                .start_ns = json_integer_value(json_object_get(process, "start_ns")),
        };
        return TRUE;
}

int bh_evidence_open(BhCentral *c, const char *sha256) {
        if (!bh_evidence_is_hash(sha256)) {
                errno = EINVAL;
                return -1;
        }
        g_autofree char *path = path_of(c, sha256, "");
        return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* ---- retention ---- */

/* What the directory holds. Parts that nothing was added to for long go: no item's age brings them to their end, and they would push whole ones out. */
static void measure(BhCentral *c, guint64 *bytes, guint64 *objects) {
        gint64 now_s = g_get_real_time() / G_USEC_PER_SEC;

        *bytes = *objects = 0;
        for (guint i = 0; i < 256; i++) {
                g_autofree char *path = g_strdup_printf("%s/evidence/objects/%02x", c->dir, i);
                DIR *d = opendir(path);
                struct dirent *e;
                struct stat st;

                while (d && (e = readdir(d))) {
                        if (*e->d_name == '.' || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW))
                                continue;
                        if (g_str_has_suffix(e->d_name, ".part") && now_s - (gint64) st.st_mtime > PART_S && !unlinkat(dirfd(d), e->d_name, 0))
                                continue;
                        *bytes += (guint64) st.st_size;
                        *objects += 1;
                }
                if (d)
                        closedir(d);
        }
}

typedef struct {
        GPtrArray *hashes;
        guint64 surplus, got, held;
} Choice;

static void choose(const char *sha256, guint64 size, gboolean held, gpointer data) {
        Choice *x = data;

        if (x->got >= x->surplus)
                return;
        g_ptr_array_add(x->hashes, g_strdup(sha256));
        x->got += size;
        x->held += held;
}

static void add_name(const char *sha256, gpointer data) {
        g_hash_table_add(data, g_strdup(sha256));
}

/* What no item names any more, or never did: nothing else would ever drop it. Young ones may have their item still to come. */
static void sweep(BhCentral *c) {
        g_autoptr(GHashTable) named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        gint64 now_s = g_get_real_time() / G_USEC_PER_SEC;
        g_autoptr(GError) error = NULL;
        guint64 gone = 0;

        if (!bh_store_evidence_objects(c->store, add_name, named, &error)) {
                bh_error("evidence that no item names cannot be told", "error", error->message);
                return;
        }
        for (guint i = 0; i < 256; i++) {
                g_autofree char *path = g_strdup_printf("%s/evidence/objects/%02x", c->dir, i);
                DIR *d = opendir(path);
                struct dirent *e;
                struct stat st;

                while (d && (e = readdir(d)))
                        if (bh_evidence_is_hash(e->d_name) && !g_hash_table_contains(named, e->d_name) && !fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
                            now_s - (gint64) st.st_mtime > PART_S && !unlinkat(dirfd(d), e->d_name, 0))
                                gone++;
                if (d)
                        closedir(d);
        }
        count(&stats.dropped, gone);
}

/* The store lets items go while it takes others, where nobody can be told. */
static void tell_items(BhCentral *c) {
        BhStoreStats store;

        bh_store_stats(c->store, &store);
        g_mutex_lock(&lock);
        gboolean more = store.evidence_dropped_open > stats.items_told;
        stats.items_told = store.evidence_dropped_open;
        g_mutex_unlock(&lock);
        if (more)
                bh_warn("items of evidence of open incidents were dropped: more of them are open than there is room for. Close what is done");
}

void bh_evidence_expire(BhCentral *c, guint64 max_bytes) {
        guint64 bytes, objects;

        tell_items(c);
        measure(c, &bytes, &objects);
        if (bytes > max_bytes) {
                sweep(c);
                measure(c, &bytes, &objects);
        }
        while (bytes > max_bytes) {
                Choice x = { .hashes = g_ptr_array_new_with_free_func(g_free), .surplus = bytes - max_bytes };
                g_autoptr(GPtrArray) owned = x.hashes;
                g_autoptr(GError) error = NULL;

                if (!bh_store_evidence_oldest(c->store, DROP_AT_ONCE, choose, &x, &error) || !owned->len ||
                    !bh_store_evidence_drop(c->store, (const char *const *) owned->pdata, owned->len, "bound of the central's evidence (setting evidence.mib)", &error)) {
                        if (error)
                                bh_error("old evidence cannot be dropped", "error", error->message);
                        break;
                }
                for (guint i = 0; i < owned->len; i++) {
                        g_autofree char *path = path_of(c, owned->pdata[i], "");

                        unlink(path);
                }
                if (x.held)
                        bh_warn("evidence of open incidents was dropped: evidence.mib is too small for what is open");
                g_mutex_lock(&lock);
                stats.dropped += owned->len;
                stats.dropped_open += x.held;
                g_mutex_unlock(&lock);
                bytes -= MIN(x.got, bytes);
                objects -= MIN(owned->len, objects);
        }
        g_mutex_lock(&lock);
        stats.bytes = bytes;
        stats.objects = objects;
        g_mutex_unlock(&lock);
}

void bh_evidence_stats(BhEvidenceStats *out) {
        g_mutex_lock(&lock);
        *out = stats;
        g_mutex_unlock(&lock);
}

void bh_evidence_append_json(BhCentral *c, GString *out) {
        BhEvidenceStats s;
        BhStoreStats store;

        bh_evidence_stats(&s);
        bh_store_stats(c->store, &store);
        bh_json_open(out, "evidence", '{');
        bh_json_uint(out, "objects", s.objects);
        bh_json_uint(out, "bytes", s.bytes);
        bh_json_uint(out, "pieces", s.pieces);
        bh_json_uint(out, "refused", s.refused);
        bh_json_uint(out, "wrong", s.wrong);
        bh_json_uint(out, "failed", s.failed);
        bh_json_uint(out, "dropped", s.dropped);
        bh_json_uint(out, "dropped_of_open_incidents", s.dropped_open);
        bh_json_uint(out, "items_dropped", store.evidence_dropped);
        bh_json_uint(out, "items_dropped_of_open_incidents", store.evidence_dropped_open);
        bh_json_close(out, '}');
}
