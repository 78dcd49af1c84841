/* SPDX-License-Identifier: Apache-2.0 */
#include "notifier.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "keeper.h"
#include "notify/notifier.h"
#include "notify_wire.h"
#include "sandbox.h"

#define LOCK_MS 20000    /* the one before may still be ending */
#define GRACE_MS 4000
#define STATUS_MS 2000
#define FOLD_MS 1000 /* looks for what is due so often, and not with each frame: there may be many that have grown */
#define STORE_RETRY_MS 1000
#define BATCH_MAX 256u
#define BATCH_BYTES (8u << 20)
#define TESTS_MAX 4

typedef struct {
        const BhNotifierConfig *config;
        int fd, signals;
        GMutex writing;
        GPtrArray *outputs; /* BhOutput */
        char *hostname, *queue_dir;
        BhSendPlace place;
        BhQueue *queue;
        BhNotifier *notifier;
        gboolean network;
        guint landlock;
        char *problem; /* of the queue; NULL: none */
        gint64 status_ms, fold_ms; /* when the last was sent; when to look for what is due */
        gint tests; /* atomic: under way */
        /* taken from the stream, not in the queue yet */
        GPtrArray *texts;
        GArray *items;
        gsize bytes;
} Run;

static gint64 now_ms(void) {
        return g_get_real_time() / 1000;
}

static gboolean tell(Run *r, char what, const char *data, gsize len) {
        g_mutex_lock(&r->writing);
        gboolean ok = bh_notify_write(r->fd, what, data, len);
        g_mutex_unlock(&r->writing);
        return ok;
}

/* ---- configuration ---- */

static gboolean read_config(Run *r) {
        g_autofree char *text = NULL;
        json_t *list, *one;
        char what = 0;
        gsize len, i;

        text = bh_notify_read(r->fd, &what, &len);
        if (!text || what != 'C')
                return FALSE;
        json_auto_t *config = json_loadb(text, len, 0, NULL);
        r->hostname = g_strdup(json_string_value(json_object_get(config, "hostname")));
        list = json_object_get(config, "outputs");
        json_array_foreach(list, i, one) {
                const char *name = json_string_value(json_object_get(one, "name")), *id = json_string_value(json_object_get(one, "id"));
                const char *body = json_string_value(json_object_get(one, "config"));
                g_autoptr(GError) error = NULL;

                if (!name || !id || !body || r->outputs->len > BH_OUTPUTS_MAX)
                        continue;
                BhOutput *o = bh_output_parse(name, id, body, strlen(body), NULL, &error);
                if (o)
                        g_ptr_array_add(r->outputs, o);
                else
                        bh_error("an output's configuration cannot be used: set it again", "output", name, "error", error->message);
        }
        memset(text, 0, len);
        return json_is_object(config);
}

static gboolean enclose(Run *r, GError **error) {
        g_autofree char *resolver = realpath("/etc/resolv.conf", NULL), *resolver_dir = resolver ? g_path_get_dirname(resolver) : NULL;
        const BhSandboxPath paths[] = {
                { r->queue_dir, TRUE }, { r->config->alert_dir, TRUE }, { "/dev/urandom", FALSE }, { "/etc/localtime", FALSE }, { "/usr/share/zoneinfo", FALSE },
                /* without a network the list ends here. Names and certificates; the directory, for resolv.conf is replaced by renaming */
                { r->network ? "/etc" : NULL, FALSE }, { "/usr/share/ca-certificates", FALSE }, { "/usr/local/share/ca-certificates", FALSE }, { "/usr/lib/ssl", FALSE }, { resolver_dir, FALSE }, { NULL, FALSE },
        };
        g_autoptr(GArray) ports = g_array_new(FALSE, FALSE, sizeof(guint16));
        gboolean any_name = FALSE;
        guint16 dns = 53;

        for (guint i = 0; i < r->outputs->len; i++) {
                gboolean name = FALSE;
                guint16 port = bh_output_tcp_port(r->outputs->pdata[i], &name);

                if (port)
                        g_array_append_val(ports, port);
                any_name |= name;
        }
        if (any_name)
                g_array_append_val(ports, dns);
        return bh_sandbox_enclose_out(paths, (const guint16 *) (void *) ports->data, ports->len, r->network, &r->landlock, error);
}

static gboolean prepare(Run *r, GError **error) {
        r->queue_dir = g_build_filename(r->config->dir, "notify", NULL);
        if (g_mkdir(r->queue_dir, 0700) && errno != EEXIST) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot make %s: %s", r->queue_dir, g_strerror(errno));
                return FALSE;
        }
        for (guint i = 0; i < r->outputs->len; i++)
                r->network |= bh_output_needs_network(r->outputs->pdata[i]);
        r->place = (BhSendPlace){ .alert_dir = r->config->alert_dir, .version = BH_VERSION, .dev_log = "/dev/log", .stdout_fd = STDOUT_FILENO, .proc_id = (int) getpid() };
        g_setenv("SQLITE_TMPDIR", r->queue_dir, TRUE);
        bh_send_global_init();
        return enclose(r, error);
}

static gboolean open_queue(Run *r, GError **error) {
        BhQueueFound found;

        if (!(r->queue = bh_queue_open(r->queue_dir, r->config->summary_s * 1000, LOCK_MS, &found, error)) || !bh_queue_set_outputs(r->queue, r->outputs, error))
                return FALSE;
        if (found.damaged_kept_as) {
                bh_error("the queue of alerts was damaged and is begun anew: what it held is lost", "kept_as", found.damaged_kept_as);
                bh_queue_lost(r->queue, "damaged", NULL);
                g_free(found.damaged_kept_as);
        }
        return TRUE;
}

/* ---- status ---- */

static void send_status(Run *r) {
        json_auto_t *status = json_object();
        BhQueueStats q;

        bh_queue_stats(r->queue, &q);
        json_object_set_new(status, "outputs", bh_notifier_status(r->notifier));
        json_object_set_new(status, "landlock", json_integer(r->landlock));
        json_object_set_new(status, "network", json_boolean(r->network));
        json_object_set_new(status, "pid", json_integer(getpid()));
        json_object_set_new(status, "problem", json_string(r->problem ? r->problem : ""));
        json_object_set_new(status, "folded", json_integer((json_int_t) q.folded));
        json_object_set_new(status, "unreadable", json_integer((json_int_t) q.unreadable));
        g_autofree char *text = json_dumps(status, JSON_COMPACT | JSON_ENSURE_ASCII);
        tell(r, 'S', text, strlen(text));
        r->status_ms = g_get_monotonic_time() / 1000;
}

static void set_problem(Run *r, const GError *error) {
        if (error && !r->problem)
                bh_error("alerts wait: the notifier cannot keep them", "error", error->message);
        else if (!error && r->problem)
                bh_info("the notifier keeps alerts again");
        g_free(r->problem);
        r->problem = error ? g_utf8_make_valid(error->message, -1) : NULL;
}

/* ---- tests ---- */

typedef struct {
        Run *run;
        const BhOutput *output;
        char *who;
        json_int_t call;
} Test;

static gpointer run_test(gpointer data) {
        Test *t = data;
        g_autoptr(BhAlert) a = bh_alert_test(t->run->hostname ? t->run->hostname : "", t->who);
        g_autofree char *problem = a ? bh_notifier_test(t->output, &t->run->place, a) : g_strdup("the test could not be made");
        json_auto_t *answer = json_pack("{s:I, s:s}", "call", t->call, "problem", problem ? problem : "");
        g_autofree char *text = json_dumps(answer, JSON_COMPACT | JSON_ENSURE_ASCII);

        tell(t->run, 'R', text, strlen(text));
        g_atomic_int_add(&t->run->tests, -1);
        g_free(t->who);
        g_free(t);
        return NULL;
}

static void test(Run *r, const char *text, gsize len) {
        json_auto_t *asked = json_loadb(text, len, 0, NULL);
        const char *name = json_string_value(json_object_get(asked, "name")), *who = json_string_value(json_object_get(asked, "who"));
        const BhOutput *output = NULL;

        for (guint i = 0; i < r->outputs->len; i++)
                if (g_strcmp0(name, ((const BhOutput *) r->outputs->pdata[i])->name) == 0)
                        output = r->outputs->pdata[i];
        if (!output || g_atomic_int_add(&r->tests, 1) >= TESTS_MAX) {
                json_auto_t *answer = json_pack("{s:I, s:s}", "call", json_integer_value(json_object_get(asked, "call")), "problem",
                                                output ? "too many tests are under way" : "this output cannot be used; set it again");
                g_autofree char *no = json_dumps(answer, JSON_COMPACT);

                if (output)
                        g_atomic_int_add(&r->tests, -1);
                tell(r, 'R', no, strlen(no));
                return;
        }
        Test *t = g_new0(Test, 1);
        t->run = r;
        t->output = output;
        t->who = g_strdup(who ? who : "somebody");
        t->call = json_integer_value(json_object_get(asked, "call"));
        g_thread_unref(g_thread_new("bh-test", run_test, t));
}

/* ---- the stream ---- */

static void forget_batch(Run *r) {
        g_ptr_array_set_size(r->texts, 0);
        g_array_set_size(r->items, 0);
        r->bytes = 0;
}

/* FALSE: the stream's end, or a signal, while the disk took nothing. */
static gboolean commit(Run *r, gint64 position) {
        for (;;) {
                g_autoptr(GError) error = NULL;

                if (bh_queue_add(r->queue, (const BhQueueItem *) (void *) r->items->data, r->items->len, position, now_ms(), &error)) {
                        set_problem(r, NULL);
                        forget_batch(r);
                        return TRUE;
                }
                set_problem(r, error);
                send_status(r);
                if (g_error_matches(error, BH_NOTIFY_ERROR, BH_NOTIFY_ERROR_DAMAGED))
                        return FALSE; /* the next one begins anew */
                struct pollfd p[] = { { .fd = r->fd, .events = POLLHUP }, { .fd = r->signals, .events = POLLIN } };
                if (poll(p, 2, STORE_RETRY_MS) > 0 && ((p[0].revents & (POLLHUP | POLLERR)) || p[1].revents))
                        return FALSE;
        }
}

static gboolean take_frame(Run *r) {
        gsize len;
        char what;
        g_autofree char *text = bh_notify_read(r->fd, &what, &len);

        if (!text)
                return FALSE;
        switch (what) {
        case 'A': {
                const BhQueueItem item = { text, len };

                g_array_append_val(r->items, item);
                r->bytes += len;
                g_ptr_array_add(r->texts, g_steal_pointer(&text));
                /* more than a batch can have: not our central */
                return r->items->len <= BATCH_MAX && r->bytes <= BATCH_BYTES;
        }
        case 'P':
                return commit(r, g_ascii_strtoll(text, NULL, 10));
        case 'G':
                bh_error("alerts were lost: the notifier was away for longer than the central's log of changes goes back");
                return bh_queue_lost(r->queue, "gap", NULL);
        case 'T':
                test(r, text, len);
                return TRUE;
        default:
                return TRUE;
        }
}

/* FALSE: it is to end. */
static gboolean take_signal(Run *r) {
        struct signalfd_siginfo s;

        if (read(r->signals, &s, sizeof(s)) != sizeof(s))
                return TRUE;
        if (s.ssi_signo != SIGHUP)
                return FALSE;
        bh_send_reopen();
        return TRUE;
}

static void follow(Run *r) {
        for (gboolean go_on = TRUE; go_on;) {
                struct pollfd p[] = { { .fd = r->fd, .events = POLLIN }, { .fd = r->signals, .events = POLLIN } };
                gint64 now = g_get_monotonic_time() / 1000;
                g_autoptr(GError) error = NULL;
                gint64 next_ms = FOLD_MS;

                if (now >= r->fold_ms) {
                        if (!bh_queue_fold(r->queue, now_ms(), &next_ms, &error))
                                set_problem(r, error);
                        r->fold_ms = now + CLAMP(next_ms, 20, FOLD_MS);
                }
                if (now - r->status_ms >= STATUS_MS)
                        send_status(r);
                if (poll(p, 2, (int) CLAMP(r->fold_ms - now, 1, FOLD_MS)) <= 0)
                        continue;
                go_on = (!p[1].revents || take_signal(r)) && (!p[0].revents || take_frame(r));
        }
}

static int signal_fd(void) {
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGHUP);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int bh_notifier_main(const BhNotifierConfig *config) {
        Run r = { .config = config, .fd = BH_KEEPER_FD, .signals = signal_fd() };
        g_autoptr(GError) error = NULL;
        gint64 position;
        struct stat st;

        if (fstat(r.fd, &st) || !S_ISSOCK(st.st_mode)) {
                fprintf(stderr, "bulkhead-central: --notifier is how the central starts a part of itself; it is of no use otherwise\n");
                return 2;
        }
        prctl(PR_SET_NAME, "bh-notifier");
        g_mutex_init(&r.writing);
        r.outputs = g_ptr_array_new_with_free_func((GDestroyNotify) bh_output_free);
        r.texts = g_ptr_array_new_with_free_func(g_free);
        r.items = g_array_new(FALSE, FALSE, sizeof(BhQueueItem));
        if (!read_config(&r))
                return 0; /* the central ended before it said anything */
        if (!prepare(&r, &error) || !open_queue(&r, &error) || !bh_queue_position(r.queue, &position, &error)) {
                bh_error("the notifier cannot start: alerts wait", "error", error->message);
                return 1;
        }
        g_autofree char *at = g_strdup_printf("%" G_GINT64_FORMAT, position);
        r.notifier = bh_notifier_new(r.queue, r.outputs, &r.place, 0);
        if (tell(&r, 'H', at, strlen(at)))
                follow(&r);
        /* nobody reads what is told from here on; a thread that hangs in the resolver is not waited for */
        shutdown(r.fd, SHUT_RDWR);
        if (bh_notifier_stop(r.notifier, GRACE_MS) && !g_atomic_int_get(&r.tests))
                bh_queue_close(r.queue);
        _exit(0);
}
