/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence/vault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "evidence/vault_private.h"

#define NEW_NAME 32

typedef struct {
        char sha256[BH_EVIDENCE_HEX];
        guint64 size, seq; /* seq: of the last item that names it */
        gint64 age_us;     /* when it was kept or named last, since the epoch */
        guint held;        /* puts of it whose item is still to come: it stays */
} Kept;

struct BhVault {
        GMutex lock;
        char *dir, *node;
        int fd, log, key;
        BhEvidenceKey k;
        guint64 generation;
        guint64 max_bytes, log_bytes;
        GString *waiting;    /* lines that are signed and not committed */
        guint64 committed;   /* number of the last one that is */
        guint64 first;       /* of `log`; 0: it is empty */
        guint64 cursor_seq;  /* bh_vault_next(): the line behind `cursor_seq` begins at `cursor` of `log` (in_old: of log.old) */
        gint64 cursor;
        gboolean in_old;
        GHashTable *objects; /* sha256 (of the Kept) → Kept */
        gint puts;           /* atomic: how many there were, for the names of new files */
        BhVaultStats stats;
};

static gboolean failed(GError **error, const char *what, const char *where) {
        g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_IO, "cannot %s the evidence in %s: %s", what, where, g_strerror(errno));
        return FALSE;
}

/* ---- objects ---- */

static void object_path(char out[128], const char *sha256) {
        g_snprintf(out, 128, "objects/%.2s/%s", sha256, sha256);
}

static Kept *note_object(BhVault *v, const char *sha256, guint64 size, guint64 seq) {
        Kept *k = g_hash_table_lookup(v->objects, sha256);

        if (!k) {
                k = g_new0(Kept, 1);
                g_strlcpy(k->sha256, sha256, sizeof(k->sha256));
                k->size = size;
                g_hash_table_insert(v->objects, k->sha256, k);
                v->stats.bytes += size;
        }
        k->age_us = g_get_real_time();
        k->seq = MAX(k->seq, seq);
        v->stats.objects = g_hash_table_size(v->objects);
        return k;
}

/* What puts did not come to the end of. */
static void remove_new(BhVault *v) {
        int fd = openat(v->fd, "objects", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

        if (!d && fd >= 0)
                close(fd);
        for (struct dirent *e; d && (e = readdir(d));)
                if (g_str_has_prefix(e->d_name, "new"))
                        unlinkat(dirfd(d), e->d_name, 0);
        if (d)
                closedir(d);
}

/* What is there without an item (a crash between the two) ages like all others. What is younger than the note of what was sent was not sent, as far as is known. */
static gboolean find_objects(BhVault *v, GError **error) {
        struct stat sent;
        gint64 sent_s = fstatat(v->fd, "sent", &sent, AT_SYMLINK_NOFOLLOW) == 0 ? (gint64) sent.st_mtime : 0;

        if ((mkdirat(v->fd, "objects", 0700) && errno != EEXIST))
                return failed(error, "make", v->dir);
        for (guint i = 0; i < 256; i++) {
                char name[16];
                struct dirent *e;

                g_snprintf(name, sizeof(name), "objects/%02x", i);
                int fd = openat(v->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

                if (!d) {
                        if (fd >= 0)
                                close(fd);
                        continue;
                }
                while ((e = readdir(d))) {
                        struct stat st;

                        if (!bh_evidence_is_hash(e->d_name) || fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
                                continue;
                        note_object(v, e->d_name, (guint64) st.st_size, (gint64) st.st_mtime >= sent_s ? G_MAXUINT64 : 0)->age_us = (gint64) st.st_mtime * G_USEC_PER_SEC;
                }
                closedir(d);
        }
        remove_new(v);
        return TRUE;
}

static gboolean sync_dir(BhVault *v, const char *path) {
        g_auto(BhFd) fd = openat(v->fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd >= 0 && fsync(fd) == 0;
}

/* Puts what the new file holds where its hash says. */
static gboolean settle_object(BhVault *v, int fd, const char *name, BhObject *out, GError **error) {
        char path[128], dir[16];

        object_path(path, out->sha256);
        g_snprintf(dir, sizeof(dir), "objects/%.2s", out->sha256);
        if ((out->known = g_hash_table_contains(v->objects, out->sha256))) {
                unlinkat(v->fd, name, 0);
                v->stats.equal++;
                note_object(v, out->sha256, out->size, 0)->held++;
                return TRUE;
        }
        gboolean made = mkdirat(v->fd, dir, 0700) == 0;
        if ((!made && errno != EEXIST) || fsync(fd) || renameat(v->fd, name, v->fd, path) || !sync_dir(v, dir) || (made && !sync_dir(v, "objects"))) {
                failed(error, "keep", v->dir);
                unlinkat(v->fd, name, 0);
                v->stats.failed++;
                return FALSE;
        }
        note_object(v, out->sha256, out->size, 0)->held++;
        v->stats.added++;
        return TRUE;
}

static int open_new(BhVault *v, char name[NEW_NAME]) {
        g_snprintf(name, NEW_NAME, "objects/new%u", (guint) g_atomic_int_add(&v->puts, 1));
        return openat(v->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0400);
}

/* `ok`: the file is written. */
static gboolean end_put(BhVault *v, int fd, const char *name, gboolean ok, BhObject *o, GError **error) {
        g_mutex_lock(&v->lock);
        if (ok) {
                ok = settle_object(v, fd, name, o, error);
        } else {
                v->stats.failed++;
                unlinkat(v->fd, name, 0);
        }
        g_mutex_unlock(&v->lock);
        return ok;
}

/* Without the lock while it is read: what is on a server that is away takes for ever, and nobody else waits for that. */
gboolean bh_vault_put_file(BhVault *v, int from, guint64 max, BhObject *out, GError **error) {
        g_autofree guint8 *buf = g_malloc(65536);
        guint8 h[crypto_hash_sha256_BYTES];
        crypto_hash_sha256_state state;
        BhObject o = { 0 };
        char name[NEW_NAME];
        ssize_t n = 0;
        gboolean ok;

        g_auto(BhFd) fd = open_new(v, name);
        ok = fd >= 0 || failed(error, "keep", v->dir);
        crypto_hash_sha256_init(&state);
        while (ok && o.size < max && (n = pread(from, buf, MIN(65536, max - o.size), (off_t) o.size)) > 0) {
                crypto_hash_sha256_update(&state, buf, (gsize) n);
                ok = bh_fd_write_all(fd, buf, (gsize) n, "evidence", error);
                o.size += (guint64) n;
        }
        if (ok && n < 0)
                ok = failed(error, "read the file for", v->dir);
        if (ok) {
                o.cut = pread(from, buf, 1, (off_t) o.size) == 1;
                crypto_hash_sha256_final(&state, h);
                sodium_bin2hex(o.sha256, sizeof(o.sha256), h, sizeof(h));
        }
        if (!end_put(v, fd, name, ok, &o, error))
                return FALSE;
        *out = o;
        return TRUE;
}

gboolean bh_vault_put_bytes(BhVault *v, const void *data, gsize len, BhObject *out, GError **error) {
        BhObject o = { .size = len };
        char name[NEW_NAME];

        bh_evidence_hash(data, len, o.sha256);
        g_auto(BhFd) fd = open_new(v, name);
        gboolean ok = (fd >= 0 || failed(error, "keep", v->dir)) && bh_fd_write_all(fd, data, len, "evidence", error);
        if (!end_put(v, fd, name, ok, &o, error))
                return FALSE;
        *out = o;
        return TRUE;
}

int bh_vault_object(BhVault *v, const char *sha256) {
        char path[128];

        if (!bh_evidence_is_hash(sha256)) {
                errno = EINVAL;
                return -1;
        }
        object_path(path, sha256);
        return openat(v->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* ---- items ---- */

static gboolean add_item(BhVault *v, const char *kind, gint64 time_ns, json_t *facts, GError **error) {
        if (v->waiting->len >= BH_VAULT_WAITING_MAX) {
                v->stats.failed++;
                g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_IO, "cannot keep evidence of kind %s in %s: the disk takes no more, and %u MiB wait for it", kind, v->dir, BH_VAULT_WAITING_MAX >> 20);
                return FALSE;
        }
        g_autofree char *line = bh_evidence_sign(&v->k, v->node, kind, time_ns, facts);
        if (!line) {
                v->stats.failed++;
                g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_LINE, "cannot keep evidence of kind %s: what is said of it is longer than an item may be", kind);
                return FALSE;
        }
        g_string_append(v->waiting, line);
        g_string_append_c(v->waiting, '\n');
        return TRUE;
}

gboolean bh_vault_add(BhVault *v, const char *kind, gint64 time_ns, json_t *facts, const BhObject *object, guint64 *seq, GError **error) {
        json_auto_t *f = facts ? facts : json_object();

        if (object) {
                json_t *o = json_object();

                json_object_set_new(o, "sha256", json_string(object->sha256));
                json_object_set_new(o, "size", json_integer((json_int_t) object->size));
                json_object_set_new(o, "cut", json_boolean(object->cut));
                json_object_set_new(f, "object", o);
        }
        g_mutex_lock(&v->lock);
        guint64 number = v->k.seq;
        gboolean ok = add_item(v, kind, time_ns, f, error);
        if (object) {
                Kept *k = ok ? note_object(v, object->sha256, object->size, number) : g_hash_table_lookup(v->objects, object->sha256);

                if (k && k->held)
                        k->held--;
        }
        g_mutex_unlock(&v->lock);
        if (ok && seq)
                *seq = number;
        return ok;
}

void bh_vault_let_go(BhVault *v, const BhObject *object) {
        g_mutex_lock(&v->lock);
        Kept *k = g_hash_table_lookup(v->objects, object->sha256);
        if (k && k->held)
                k->held--;
        g_mutex_unlock(&v->lock);
}

/* The chain on disk first, then its key: a crash between the two is caught up with. */
static gboolean write_out(BhVault *v, GError **error) {
        if (!v->waiting->len)
                return TRUE;
        if (!bh_fd_write_all(v->log, v->waiting->str, v->waiting->len, "evidence/log", error) || (fdatasync(v->log) && !failed(error, "sync", v->dir))) {
                /* what was written of it must not stand before what comes: the signed lines stay, and are tried again */
                if (ftruncate(v->log, (off_t) v->log_bytes))
                        failed(NULL, "cut", v->dir);
                v->stats.failed++;
                return FALSE;
        }
        v->log_bytes += v->waiting->len;
        if (!v->first)
                v->first = v->committed + 1;
        v->stats.items += v->k.seq - 1 - v->committed;
        v->committed = v->k.seq - 1;
        g_string_truncate(v->waiting, 0);
        return bh_vault_key_write(v->key, &v->k, &v->generation) || failed(error, "keep the key of", v->dir);
}

static gboolean open_log(BhVault *v, GError **error) {
        if (v->log >= 0)
                close(v->log);
        v->log = openat(v->fd, "log", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        return v->log >= 0 || failed(error, "open", v->dir);
}

/* The older half of the log goes. */
static gboolean rotate(BhVault *v, GError **error) {
        json_auto_t *facts = json_object();

        json_object_set_new(facts, "first", json_integer((json_int_t) v->first));
        if (!add_item(v, "rotated", g_get_real_time() * 1000, facts, error) || !write_out(v, error))
                return FALSE;
        if (renameat(v->fd, "log", v->fd, "log.old") || fsync(v->fd))
                return failed(error, "rotate", v->dir);
        v->log_bytes = v->first = 0;
        v->cursor = -1;
        return open_log(v, error);
}

static gint by_use(gconstpointer pa, gconstpointer pb, gpointer data) {
        const Kept *a = *(const Kept *const *) pa, *b = *(const Kept *const *) pb;
        guint64 sent = *(const guint64 *) data;
        gboolean new_a = a->seq > sent, new_b = b->seq > sent;

        if (new_a != new_b)
                return new_a ? 1 : -1;
        return a->age_us < b->age_us ? -1 : a->age_us > b->age_us;
}

static gboolean make_room(BhVault *v, GError **error) {
        while (v->stats.bytes > v->max_bytes && g_hash_table_size(v->objects) > 1) {
                g_autoptr(GPtrArray) all = g_ptr_array_new();
                GHashTableIter it;
                gpointer kept;
                guint64 bytes = v->stats.bytes;
                guint n = 0;

                g_hash_table_iter_init(&it, v->objects);
                while (g_hash_table_iter_next(&it, NULL, &kept))
                        if (!((Kept *) kept)->held)
                                g_ptr_array_add(all, kept);
                /* one stays at least */
                guint most = MIN(all->len, g_hash_table_size(v->objects) - 1);
                if (!most)
                        return TRUE;
                json_auto_t *facts = json_object();
                json_t *names = json_array();
                g_ptr_array_sort_with_data(all, by_use, &v->stats.sent);
                for (; n < most && n < BH_VAULT_DROP_AT_ONCE && bytes > v->max_bytes; n++) {
                        json_array_append_new(names, json_string(((Kept *) all->pdata[n])->sha256));
                        bytes -= ((Kept *) all->pdata[n])->size;
                }
                json_object_set_new(facts, "why", json_string("the node's bound of evidence"));
                json_object_set_new(facts, "dropped", names);
                if (!add_item(v, "dropped", g_get_real_time() * 1000, facts, error) || !write_out(v, error))
                        return FALSE;
                for (guint i = 0; i < n; i++) {
                        Kept *k = all->pdata[i];
                        char path[128];

                        object_path(path, k->sha256);
                        unlinkat(v->fd, path, 0);
                        v->stats.bytes -= k->size;
                        v->stats.dropped++;
                        v->stats.dropped_bytes += k->size;
                        v->stats.dropped_unsent += k->seq > v->stats.sent;
                        g_hash_table_remove(v->objects, k->sha256);
                }
                v->stats.objects = g_hash_table_size(v->objects);
        }
        return TRUE;
}

gboolean bh_vault_commit(BhVault *v, GError **error) {
        g_mutex_lock(&v->lock);
        gboolean ok = write_out(v, error) && make_room(v, error) && (v->log_bytes < BH_VAULT_LOG_MAX || rotate(v, error));
        g_mutex_unlock(&v->lock);
        return ok;
}

/* ---- reading ---- */

/* Its number, without looking at the rest; text that ends somewhere behind it. */
static guint64 number_of(const char *line) {
        static const char mark[] = "\"seq\":";
        const char *at = line;

        for (guint i = 0; i < 256 && *at && *at != '\n'; i++, at++)
                if (!strncmp(at, mark, sizeof(mark) - 1))
                        return g_ascii_strtoull(at + sizeof(mark) - 1, NULL, 10);
        return 0;
}

/* A line from `at` of the file on; NULL: none, or not whole. */
static char *line_at(int fd, gint64 at) {
        g_autofree char *buf = g_malloc(BH_EVIDENCE_LINE_MAX + 2);
        ssize_t n = pread(fd, buf, BH_EVIDENCE_LINE_MAX + 1, (off_t) at);
        char *end = n > 0 ? memchr(buf, '\n', (gsize) n) : NULL;

        return end ? g_strndup(buf, (gsize) (end - buf)) : NULL;
}

static char *search(BhVault *v, gboolean old, gint64 from, guint64 after, guint64 *seq) {
        g_auto(BhFd) fd = openat(v->fd, old ? "log.old" : "log", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        gint64 end = old ? G_MAXINT64 : (gint64) v->log_bytes;

        for (char *line; fd >= 0 && from < end && (line = line_at(fd, from)); g_free(line)) {
                guint64 n = number_of(line);

                from += (gint64) strlen(line) + 1;
                if (n <= after)
                        continue;
                *seq = v->cursor_seq = n;
                v->cursor = from;
                v->in_old = old;
                return line;
        }
        return NULL;
}

char *bh_vault_next(BhVault *v, guint64 after, guint64 *seq) {
        char *line = NULL;

        g_mutex_lock(&v->lock);
        gboolean goes_on = v->cursor >= 0 && v->cursor_seq == after;
        if (after < v->committed) {
                if (!goes_on || v->in_old)
                        line = search(v, TRUE, goes_on ? v->cursor : 0, after, seq);
                if (!line)
                        line = search(v, FALSE, goes_on && !v->in_old ? v->cursor : 0, after, seq);
        }
        g_mutex_unlock(&v->lock);
        return line;
}

gboolean bh_vault_sent(BhVault *v, guint64 seq, GError **error) {
        char text[128];
        gboolean ok;

        g_mutex_lock(&v->lock);
        g_snprintf(text, sizeof(text), "%s %" G_GUINT64_FORMAT "\n", v->k.chain, seq);
        g_auto(BhFd) fd = openat(v->fd, "sent.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        ok = fd >= 0 && bh_fd_write_all(fd, text, strlen(text), "evidence/sent", NULL) && fdatasync(fd) == 0 && renameat(v->fd, "sent.new", v->fd, "sent") == 0;
        if (ok)
                v->stats.sent = seq;
        else
                failed(error, "note what was sent of", v->dir);
        g_mutex_unlock(&v->lock);
        return ok;
}

void bh_vault_stats(BhVault *v, BhVaultStats *out) {
        g_mutex_lock(&v->lock);
        *out = v->stats;
        out->seq = v->committed;
        g_strlcpy(out->chain, v->k.chain, sizeof(out->chain));
        g_strlcpy(out->hash, v->k.prev, sizeof(out->hash));
        bh_evidence_key_public(&v->k, out->next);
        g_mutex_unlock(&v->lock);
}

json_t *bh_vault_head(BhVault *v) {
        BhVaultStats s;
        json_t *o;

        bh_vault_stats(v, &s);
        if (!s.seq)
                return NULL;
        o = json_object();
        json_object_set_new(o, "node", json_string(v->node));
        json_object_set_new(o, "chain", json_string(s.chain));
        json_object_set_new(o, "seq", json_integer((json_int_t) s.seq));
        json_object_set_new(o, "sha256", json_string(s.hash));
        json_object_set_new(o, "next", json_string(s.next));
        return o;
}

json_t *bh_vault_verify(BhVault *v, const char *heads, gsize len) {
        g_autoptr(BhEvidenceVerifier) check = bh_evidence_verifier_new();
        g_autoptr(GError) error = NULL;
        const BhEvidenceReport *r = NULL;
        char next[BH_EVIDENCE_HEX];
        json_t *out;

        g_mutex_lock(&v->lock);
        if (heads && !bh_evidence_verifier_heads(check, heads, len, &error))
                bh_evidence_verifier_problem(check, "unreadable", 0, g_strdup(error->message));
        g_clear_error(&error);
        if (v->committed)
                bh_evidence_verifier_head(check, v->k.chain, v->committed, v->k.prev);
        bh_evidence_key_public(&v->k, next);
        if (!bh_evidence_verify_dir(check, v->dir, &r, &error)) {
                bh_evidence_verifier_problem(check, "unreadable", 0, g_strdup(error->message));
                r = bh_evidence_verifier_end(check, NULL, NULL);
        }
        if (r->items && strcmp(r->next, next))
                bh_evidence_verifier_problem(check, "truncated", r->last_seq, g_strdup("the log does not end where the key stands"));
        out = bh_evidence_report_json(r);
        g_mutex_unlock(&v->lock);
        return out;
}

/* ---- opening ---- */

typedef struct {
        guint64 seq;        /* of the last whole line */
        char *why;          /* it does not fit the key */
        gint64 good;        /* up to where it does */
} Found;

/*
 * Finds the end of `log`, and follows the lines behind the key's state, which it has signed. What is older is looked at when it is verified: thousands of signatures would hold up each start.
 */
static void follow(BhVault *v, const char *text, gsize len, gboolean have_key, Found *f) {
        for (gsize at = 0; at < len;) {
                const char *end = memchr(text + at, '\n', len - at);
                g_auto(BhEvidenceLine) l = { 0 };
                g_autoptr(GError) error = NULL;

                if (!end)
                        break; /* torn */

                guint64 number = number_of(text + at);
                if (!v->first)
                        v->first = number;
                if (number && have_key && number + 1 < v->k.seq) {
                        f->seq = number;
                } else if (!bh_evidence_read(text + at, (gsize) (end - text) - at, &l, &error)) {
                        f->why = g_strdup(error->message);
                } else {
                        f->seq = l.seq;
                        if (l.object)
                                note_object(v, l.object, l.size, l.seq);
                        if (have_key && l.seq + 1 == v->k.seq && (strcmp(l.chain, v->k.chain) || strcmp(l.hash, v->k.prev)))
                                f->why = g_strdup_printf("its item %" G_GUINT64_FORMAT " is another one than the key knows", l.seq);
                        else if (have_key && l.seq >= v->k.seq && !bh_evidence_catch_up(&v->k, &l))
                                f->why = g_strdup_printf("its item %" G_GUINT64_FORMAT " is not signed with the node's key", l.seq);
                }
                if (f->why)
                        return;
                v->stats.items++;
                at = (gsize) (end - text) + 1;
                f->good = (gint64) at;
        }
}

#define BROKEN ".broken-"

static gint by_text(gconstpointer a, gconstpointer b) {
        const char *const *x = a, *const *y = b;
        gsize n = strlen(*x), m = strlen(*y);

        return n != m ? (n < m ? -1 : 1) : strcmp(*x, *y); /* numbers */
}

/* Chains that were set aside, by their time: of more than the bound those between the first ones and the last ones go. The first is what was there before anybody tampered. */
static void drop_broken(BhVault *v) {
        g_autoptr(GHashTable) times = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        int fd = openat(v->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        const char *at;

        if (!d && fd >= 0)
                close(fd);
        for (struct dirent *e; d && (e = readdir(d));)
                if ((at = strstr(e->d_name, BROKEN)))
                        g_hash_table_add(times, g_strdup(at + strlen(BROKEN)));
        if (d)
                closedir(d);
        g_autofree gpointer *keys = g_hash_table_get_keys_as_array(times, NULL);
        g_autoptr(GPtrArray) sorted = g_ptr_array_new();
        for (guint i = 0; keys[i]; i++)
                g_ptr_array_add(sorted, keys[i]);
        g_ptr_array_sort(sorted, by_text);
        for (guint i = BH_VAULT_BROKEN_MAX / 2; i + BH_VAULT_BROKEN_MAX / 2 < sorted->len; i++) {
                static const char *const names[] = { "log", "log.old", "key" };

                for (guint k = 0; k < G_N_ELEMENTS(names); k++) {
                        g_autofree char *name = g_strconcat(names[k], BROKEN, sorted->pdata[i], NULL);

                        unlinkat(v->fd, name, 0);
                }
        }
}

static void set_aside(BhVault *v) {
        static const char *const names[] = { "log", "log.old", "key" };
        gint64 now_ms = g_get_real_time() / G_TIME_SPAN_MILLISECOND;

        for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *to = g_strdup_printf("%s" BROKEN "%" G_GINT64_FORMAT, names[i], now_ms);

                renameat(v->fd, names[i], v->fd, to);
        }
        drop_broken(v);
}

static gboolean begin(BhVault *v, const char *why, const BhEvidenceKey *before, GError **error) {
        json_t *facts = json_object();

        if (why) {
                set_aside(v);
                json_object_set_new(facts, "why", json_string(why));
                json_object_set_new(facts, "before_chain", json_string(before->chain));
                json_object_set_new(facts, "before_seq", json_integer((json_int_t) (before->seq ? before->seq - 1 : 0)));
                json_object_set_new(facts, "before_sha256", json_string(before->prev));
        }
        bh_evidence_key_clear(&v->k);
        bh_evidence_key_new(&v->k);
        v->log_bytes = v->first = v->committed = v->stats.items = v->stats.sent = v->generation = 0;
        if (v->key >= 0)
                close(v->key);
        v->key = openat(v->fd, "key", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (v->key < 0 || !open_log(v, error))
                return v->key < 0 ? failed(error, "open the key of", v->dir) : FALSE;
        if (!bh_vault_key_write(v->key, &v->k, &v->generation) || fsync(v->fd))
                return failed(error, "keep the key of", v->dir);
        gboolean ok = add_item(v, "begin", g_get_real_time() * 1000, facts, error) && write_out(v, error);
        json_decref(facts);
        return ok;
}

static void read_sent(BhVault *v) {
        g_autofree char *text = bh_file_read(v->fd, "sent", 256, NULL, NULL, NULL);

        if (text && g_str_has_prefix(text, v->k.chain) && text[BH_EVIDENCE_HEX - 1] == ' ')
                v->stats.sent = g_ascii_strtoull(text + BH_EVIDENCE_HEX, NULL, 10);
}

static gboolean resume(BhVault *v, char **broken, GError **error) {
        gboolean have_key = bh_vault_key_read(v->key, &v->k, &v->generation);
        BhEvidenceKey before = v->k;
        Found f = { 0 };
        gsize len = 0;
        g_autofree char *text = bh_file_read(v->fd, "log", 2 * BH_VAULT_LOG_MAX, &len, NULL, NULL);
        g_autofree char *why = NULL;
        struct stat old;

        if (text)
                follow(v, text, len, have_key, &f);
        why = f.why;
        /* an empty log beside an older one: it was rotated last */
        if (!f.seq && have_key && v->k.seq > 1 && fstatat(v->fd, "log.old", &old, AT_SYMLINK_NOFOLLOW) == 0 && old.st_size > 0)
                f.seq = v->k.seq - 1;
        if (!why && have_key && f.seq + 1 < v->k.seq)
                why = g_strdup_printf("its log ends at item %" G_GUINT64_FORMAT ", and %" G_GUINT64_FORMAT " were kept", f.seq, v->k.seq - 1);
        if (!why && !have_key && f.seq)
                why = g_strdup("its key is gone");
        if (!why && have_key && v->k.seq > 1) {
                if ((gsize) f.good < len && ftruncate(v->log, f.good) == 0)
                        v->stats.torn_bytes = len - (gsize) f.good;
                v->log_bytes = (guint64) f.good;
                v->committed = v->k.seq - 1;
                read_sent(v);
                gboolean same = v->k.seq == before.seq;
                bh_evidence_key_clear(&before);
                return same || bh_vault_key_write(v->key, &v->k, &v->generation) || failed(error, "keep the key of", v->dir);
        }
        gboolean ok = begin(v, why, &before, error);
        bh_evidence_key_clear(&before);
        if (broken)
                *broken = g_steal_pointer(&why);
        return ok;
}

BhVault *bh_vault_open(const char *dir, const char *node, guint64 max_bytes, char **broken, GError **error) {
        g_autoptr(BhVault) v = g_new0(BhVault, 1);

        g_mutex_init(&v->lock);
        v->dir = g_strdup(dir);
        v->node = g_utf8_make_valid(node, -1);
        v->max_bytes = max_bytes;
        v->log = v->key = v->fd = -1;
        v->cursor = -1;
        v->waiting = g_string_new(NULL);
        v->objects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
        if (broken)
                *broken = NULL;
        if (!bh_evidence_init()) {
                g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_IO, "cannot open the evidence in %s: the library of cryptography does not start", dir);
                return NULL;
        }
        if (g_mkdir_with_parents(dir, 0700) || (v->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
                failed(error, "open", dir);
                return NULL;
        }
        v->key = openat(v->fd, "key", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (v->key < 0 || flock(v->fd, LOCK_EX | LOCK_NB)) {
                if (v->key >= 0 && errno == EWOULDBLOCK)
                        g_set_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_IO, "cannot open the evidence in %s: another sensor uses it", dir);
                else
                        failed(error, "open", dir);
                return NULL;
        }
        if (!open_log(v, error) || !find_objects(v, error) || !resume(v, broken, error))
                return NULL;
        return g_steal_pointer(&v);
}

void bh_vault_free(BhVault *v) {
        if (!v)
                return;
        if (v->waiting && v->waiting->len)
                write_out(v, NULL);
        for (guint i = 0; i < 3; i++) {
                int fd = i == 0 ? v->log : i == 1 ? v->key : v->fd;

                if (fd >= 0)
                        close(fd);
        }
        bh_evidence_key_clear(&v->k);
        g_string_free(v->waiting, TRUE);
        g_hash_table_unref(v->objects);
        g_mutex_clear(&v->lock);
        g_free(v->dir);
        g_free(v->node);
        g_free(v);
}
