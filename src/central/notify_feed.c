/* SPDX-License-Identifier: Apache-2.0 */
#include "notify_feed.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "incidents.h"
#include "json_out.h"
#include "keeper.h"
#include "notify/output.h"
#include "notify_wire.h"
#include "store/store_inventory.h"
#include "store/store_outputs.h"
#include "views.h"

#define IDLE_US (2 * G_USEC_PER_SEC) /* changes by other processes are not told */
#define FAILED_US G_USEC_PER_SEC
#define SETTLE_US (10 * G_USEC_PER_SEC) /* a notifier that is away for less is being started */

typedef struct {
        char *problem; /* the answer; "" = it was taken */
        gboolean answered;
} Test;

struct BhNotifyFeed {
        BhCentral *central;
        char *console;
        int keeper;
        GThread *thread;
        GMutex lock;
        GCond moved;
        /* under the lock */
        gboolean stopping, woken, running;
        int fd;             /* of the notifier; -1: none. Closed by the feed's thread alone */
        gint64 position;    /* that it said; -2: nothing yet */
        gboolean ended;     /* its stream */
        guint starts;
        guint64 gaps, sent;
        guint generation, configured; /* of the configuration: wanted, and given to the notifier */
        char *config_problem;
        json_t *status;     /* its last */
        gint64 away_us;     /* since when there is none */
        GHashTable *tests;  /* number -> Test */
        gint64 calls;
        GMutex writing;     /* frames to the notifier */
};

/* ---- configuration ---- */

static void add_output(json_t *list, const char *name, gint64 created_ns, const char *config) {
        g_autofree char *id = g_strdup_printf("%s@%" G_GINT64_FORMAT, name, created_ns);

        json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "name", name, "id", id, "config", config));
}

/* NULL: the store cannot be read; the store's error is logged. */
static char *configuration(BhNotifyFeed *f) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GPtrArray) outputs = bh_store_outputs(f->central->store, &error);
        g_autofree char *console = f->console ? g_strdup_printf("{\"type\":\"stdout\",\"format\":\"%s\"}", f->console) : NULL;
        json_t *list = json_array();

        if (!outputs) {
                bh_error("cannot read the outputs of alerts", "error", error->message);
                json_decref(list);
                return NULL;
        }
        for (guint i = 0; i < outputs->len; i++) {
                const BhStoreOutput *o = outputs->pdata[i];

                add_output(list, o->name, o->created_ns, o->config);
        }
        if (console)
                add_output(list, BH_CONSOLE_OUTPUT, 0, console);
        json_auto_t *config = json_pack("{s:s, s:o}", "hostname", g_get_host_name(), "outputs", list);
        return json_dumps(config, JSON_COMPACT);
}

/* ---- what the notifier says ---- */

static void on_status(BhNotifyFeed *f, const char *text, gsize len) {
        json_t *status = json_loadb(text, len, 0, NULL);

        if (!json_is_object(status)) {
                json_decref(status);
                return;
        }
        g_mutex_lock(&f->lock);
        json_decref(f->status);
        f->status = status;
        g_mutex_unlock(&f->lock);
}

static void on_tested(BhNotifyFeed *f, const char *text, gsize len) {
        json_auto_t *answer = json_loadb(text, len, 0, NULL);
        gint64 call = json_integer_value(json_object_get(answer, "call"));
        const char *problem = json_string_value(json_object_get(answer, "problem"));

        g_mutex_lock(&f->lock);
        Test *t = g_hash_table_lookup(f->tests, &call);
        if (t && !t->answered) {
                t->problem = g_strdup(problem ? problem : "the notifier's answer could not be read");
                t->answered = TRUE;
                g_cond_broadcast(&f->moved);
        }
        g_mutex_unlock(&f->lock);
}

static gpointer listen_to(gpointer data) {
        BhNotifyFeed *f = data;
        int fd = f->fd; /* its own until it ends: the feed's thread joins this one before it closes */
        gsize len;
        char what;

        for (char *text; (text = bh_notify_read(fd, &what, &len)); g_free(text)) {
                if (what == 'H') {
                        g_mutex_lock(&f->lock);
                        f->position = g_ascii_strtoll(text, NULL, 10);
                        f->running = TRUE;
                        g_cond_broadcast(&f->moved);
                        g_mutex_unlock(&f->lock);
                } else if (what == 'S') {
                        on_status(f, text, len);
                } else if (what == 'R') {
                        on_tested(f, text, len);
                }
        }
        g_mutex_lock(&f->lock);
        f->ended = TRUE;
        g_cond_broadcast(&f->moved);
        g_mutex_unlock(&f->lock);
        return NULL;
}

/* ---- what it is told ---- */

static gboolean tell(BhNotifyFeed *f, char what, const char *data, gsize len) {
        g_mutex_lock(&f->writing);
        gboolean ok = f->fd >= 0 && bh_notify_write(f->fd, what, data, len);
        g_mutex_unlock(&f->writing);
        return ok;
}

static gboolean tell_position(BhNotifyFeed *f, guint64 position) {
        char text[32];

        g_snprintf(text, sizeof(text), "%" G_GUINT64_FORMAT, position);
        return tell(f, 'P', text, strlen(text));
}

static gboolean tell_finding(BhNotifyFeed *f, const char *id) {
        g_autoptr(BhStoreFinding) x = bh_store_finding(f->central->store, id, NULL);
        g_autoptr(GString) text = g_string_sized_new(4096);

        if (!x)
                return TRUE; /* retention was faster */
        bh_view_finding_whole(text, NULL, x);
        bh_json_end(text);
        if (text->len > BH_ALERT_MAX) {
                /* an event of the largest kind with escapes: it is in the store, the alert goes without */
                g_clear_pointer(&x->event, g_bytes_unref);
                g_string_truncate(text, 0);
                bh_view_finding_whole(text, NULL, x);
                bh_json_end(text);
        }
        g_mutex_lock(&f->lock);
        f->sent++;
        g_mutex_unlock(&f->lock);
        return tell(f, 'A', text->str, text->len);
}

/* What an incident is about, told as an alert: opened, and as it grows, once a minute as findings that grow; its end by itself. */
static gboolean tell_incident(BhNotifyFeed *f, const char *number) {
        g_autoptr(BhStoreIncident) i = bh_store_incident(f->central->store, g_ascii_strtoull(number, NULL, 10), NULL);
        g_autoptr(GString) text = NULL;

        if (!i)
                return TRUE;
        text = g_string_sized_new(4096);
        bh_view_incident_alert(f->central->store, text, i);
        g_mutex_lock(&f->lock);
        f->sent++;
        g_mutex_unlock(&f->lock);
        return tell(f, 'A', text->str, text->len);
}

/* The findings and incidents among the changes, each once, in the order of their last change. FALSE: the notifier is gone. */
static gboolean tell_changes(BhNotifyFeed *f, GPtrArray *changes) {
        g_autoptr(GHashTable) newest = g_hash_table_new(g_str_hash, g_str_equal);

        for (guint i = 0; i < changes->len; i++) {
                BhStoreChange *c = changes->pdata[i];

                if (c->kind == BH_STORE_CHANGE_FINDING || c->kind == BH_STORE_CHANGE_INCIDENT)
                        g_hash_table_insert(newest, c->key, c); /* an incident's key is a number, a finding's has its node in it */
        }
        for (guint i = 0; i < changes->len; i++) {
                const BhStoreChange *c = changes->pdata[i];

                if (g_hash_table_lookup(newest, c->key) != c)
                        continue;
                if (c->kind == BH_STORE_CHANGE_FINDING ? !tell_finding(f, c->key) : !tell_incident(f, c->key))
                        return FALSE;
        }
        return tell_position(f, ((const BhStoreChange *) changes->pdata[changes->len - 1])->id);
}

/* FALSE: this notifier is to be left: it ended, its configuration is old, or all stops. */
static gboolean rest(BhNotifyFeed *f, gint64 us) {
        gint64 until = g_get_monotonic_time() + us;

        g_mutex_lock(&f->lock);
        while (!f->stopping && !f->ended && f->configured == f->generation && !f->woken && g_cond_wait_until(&f->moved, &f->lock, until))
                ;
        f->woken = FALSE;
        gboolean go_on = !f->stopping && !f->ended && f->configured == f->generation;
        g_mutex_unlock(&f->lock);
        return go_on;
}

static void feed(BhNotifyFeed *f) {
        guint64 at;

        g_mutex_lock(&f->lock);
        while (!f->stopping && !f->ended && f->position == -2)
                g_cond_wait(&f->moved, &f->lock);
        gboolean fresh = f->position == -1;
        at = fresh ? 0 : (guint64) MAX(f->position, 0);
        gboolean ok = !f->ended && !f->stopping;
        g_mutex_unlock(&f->lock);

        /* a notifier without a past begins now */
        while (ok && fresh && !bh_store_changes_last(f->central->store, &at, NULL))
                ok = rest(f, FAILED_US);
        ok = ok && (!fresh || tell_position(f, at));
        while (ok && rest(f, 0)) {
                g_autoptr(GError) error = NULL;
                gboolean gap = FALSE;
                g_autoptr(GPtrArray) changes = bh_store_changes_after(f->central->store, at, BH_FEED_BATCH, &gap, &error);

                if (!changes) {
                        bh_error("cannot read what changed", "error", error->message);
                        ok = rest(f, FAILED_US);
                        continue;
                }
                if (gap) {
                        f->gaps++;
                        ok = tell(f, 'G', "", 0);
                        if (ok && !changes->len && bh_store_changes_last(f->central->store, &at, NULL))
                                ok = tell_position(f, at);
                }
                if (ok && changes->len && (ok = tell_changes(f, changes)))
                        at = ((const BhStoreChange *) changes->pdata[changes->len - 1])->id;
                if (ok && changes->len < BH_FEED_BATCH)
                        ok = rest(f, IDLE_US);
        }
}

static void fail_tests(BhNotifyFeed *f) {
        GHashTableIter it;
        gpointer t;

        g_hash_table_iter_init(&it, f->tests);
        while (g_hash_table_iter_next(&it, NULL, &t))
                if (!((Test *) t)->answered) {
                        ((Test *) t)->problem = g_strdup("the notifier ended meanwhile; try again");
                        ((Test *) t)->answered = TRUE;
                }
        g_cond_broadcast(&f->moved);
}

/* With one notifier, to its end. */
static void serve(BhNotifyFeed *f, int fd) {
        g_autofree char *config = NULL;

        g_mutex_lock(&f->lock);
        f->fd = fd;
        f->position = -2;
        f->ended = FALSE;
        f->starts++;
        g_clear_pointer(&f->status, json_decref); /* it was another one's */
        f->configured = f->generation; /* before it is read: what changes meanwhile is another generation */
        gboolean stopping = f->stopping;
        g_mutex_unlock(&f->lock);

        GThread *listener = g_thread_new("bh-notified", listen_to, f);
        if (!stopping && (config = configuration(f)) && tell(f, 'C', config, strlen(config)))
                feed(f);
        else if (!config)
                g_usleep(FAILED_US);
        if (config)
                memset(config, 0, strlen(config));
        /* its word that it ends is heard */
        shutdown(fd, SHUT_WR);
        g_thread_join(listener);
        g_mutex_lock(&f->lock);
        f->running = FALSE;
        f->away_us = g_get_monotonic_time();
        fail_tests(f);
        g_mutex_unlock(&f->lock);
        /* nobody may write to a number that has become somebody else's */
        g_mutex_lock(&f->writing);
        g_mutex_lock(&f->lock);
        f->fd = -1;
        g_mutex_unlock(&f->lock);
        close(fd);
        g_mutex_unlock(&f->writing);
}

static gpointer work(gpointer data) {
        BhNotifyFeed *f = data;

        for (int fd; (fd = bh_keeper_receive(f->keeper)) >= 0; )
                serve(f, fd);
        g_mutex_lock(&f->lock);
        if (!f->stopping)
                bh_error("the process that keeps the notifier ended: alerts wait until the central is started again");
        g_mutex_unlock(&f->lock);
        return NULL;
}

/* ---- life ---- */

static void test_free(gpointer p) {
        g_free(((Test *) p)->problem);
        g_free(p);
}

BhNotifyFeed *bh_notify_feed_new(BhCentral *c, int keeper, const char *console) {
        BhNotifyFeed *f = g_new0(BhNotifyFeed, 1);

        g_mutex_init(&f->lock);
        g_mutex_init(&f->writing);
        g_cond_init(&f->moved);
        f->central = c;
        f->keeper = keeper;
        f->console = g_strdup(console);
        f->fd = -1;
        f->away_us = g_get_monotonic_time();
        f->tests = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, test_free);
        return f;
}

void bh_notify_feed_start(BhNotifyFeed *f) {
        if (f->keeper >= 0)
                f->thread = g_thread_new("bh-notify", work, f);
}

void bh_notify_feed_free(BhNotifyFeed *f) {
        if (!f)
                return;
        g_mutex_lock(&f->lock);
        f->stopping = TRUE;
        if (f->fd >= 0)
                shutdown(f->fd, SHUT_WR); /* a write that waits for a notifier that hangs ends */
        g_cond_broadcast(&f->moved);
        g_mutex_unlock(&f->lock);
        if (f->keeper >= 0) {
                struct pollfd p = { .fd = f->keeper, .events = POLLIN };

                shutdown(f->keeper, SHUT_WR);
                /* the keeper's end is the notifier's as well */
                if (poll(&p, 1, BH_KEEPER_GRACE_MS + 2000) == 0)
                        shutdown(f->keeper, SHUT_RDWR);
                if (f->thread)
                        g_thread_join(f->thread);
                close(f->keeper);
        }
        json_decref(f->status);
        g_hash_table_unref(f->tests);
        g_free(f->console);
        g_mutex_clear(&f->lock);
        g_mutex_clear(&f->writing);
        g_cond_clear(&f->moved);
        g_free(f);
}

void bh_notify_feed_wake(BhNotifyFeed *f) {
        g_mutex_lock(&f->lock);
        f->woken = TRUE;
        g_cond_broadcast(&f->moved);
        g_mutex_unlock(&f->lock);
}

void bh_notify_feed_reconfigure(BhNotifyFeed *f) {
        g_mutex_lock(&f->lock);
        f->generation++;
        g_cond_broadcast(&f->moved);
        g_mutex_unlock(&f->lock);
}

/* ---- questions ---- */

char *bh_notify_feed_test(BhNotifyFeed *f, const char *name, const char *who) {
        gint64 until = g_get_monotonic_time() + BH_FEED_TEST_MS * 1000;
        char *problem = NULL;

        g_mutex_lock(&f->lock);
        /* one that has the newest configuration */
        while (f->keeper >= 0 && !f->stopping && !(f->running && f->configured == f->generation) && g_cond_wait_until(&f->moved, &f->lock, until))
                ;
        if (!f->running || f->configured != f->generation) {
                g_mutex_unlock(&f->lock);
                return g_strdup("the notifier does not run: the central's log says why");
        }
        gint64 call = ++f->calls;
        Test *t = g_new0(Test, 1);
        g_hash_table_insert(f->tests, g_memdup2(&call, sizeof(call)), t);
        g_mutex_unlock(&f->lock);

        json_auto_t *asked = json_pack("{s:I, s:s, s:s}", "call", (json_int_t) call, "name", name, "who", who);
        g_autofree char *text = json_dumps(asked, JSON_COMPACT);
        gboolean told = text && tell(f, 'T', text, strlen(text));
        g_mutex_lock(&f->lock);
        if (!told && !t->answered) {
                t->problem = g_strdup("the notifier ended meanwhile; try again");
                t->answered = TRUE;
        }
        while (!t->answered && !f->stopping && g_cond_wait_until(&f->moved, &f->lock, until))
                ;
        problem = t->answered ? g_steal_pointer(&t->problem) : g_strdup("no answer in time");
        g_hash_table_remove(f->tests, &call);
        g_mutex_unlock(&f->lock);
        if (!*problem)
                g_clear_pointer(&problem, g_free);
        return problem;
}

json_t *bh_notify_feed_status(BhNotifyFeed *f) {
        g_mutex_lock(&f->lock);
        json_t *s = f->status ? json_deep_copy(f->status) : json_object();
        json_object_set_new(s, "running", json_boolean(f->running));
        json_object_set_new(s, "away", json_boolean(!f->running && g_get_monotonic_time() - f->away_us > SETTLE_US));
        json_object_set_new(s, "restarts", json_integer(f->starts ? f->starts - 1 : 0));
        json_object_set_new(s, "gaps", json_integer((json_int_t) f->gaps));
        json_object_set_new(s, "sent", json_integer((json_int_t) f->sent));
        g_mutex_unlock(&f->lock);
        return s;
}
