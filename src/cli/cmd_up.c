/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead up`: starts sensor and central as children, says what they found and where to look, shows live events, starts either one again when it
 * dies, and stops both on SIGINT, SIGTERM or SIGHUP.
 *
 * Both outlive this program if that is killed, because evidence matters more than a terminal (see child.h). A central that does not start at all
 * (its port is taken, its database damaged beyond what it can restore) is said once; the sensor then goes on as it does alone: it keeps what it
 * has to tell in its spool, and this program ends with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/escape.h"
#include "commands.h"
#include "evidence/paused.h"
#include "output.h"
#include "signals.h"
#include "up.h"

#define READY_US (60 * G_USEC_PER_SEC)
#define SLOW_US (10 * G_USEC_PER_SEC)
#define STOP_US (15 * G_USEC_PER_SEC)
#define STUCK_US (1 * G_USEC_PER_SEC)
#define LINE_MAX_BYTES (1u << 20) /* an announcement, or the longest line of an alert, with room */

#define SENSOR_KILLED "what it attached to the kernel is taken over or removed by the next \"bulkhead up\""
#define CENTRAL_KILLED "its database is as safe as after a power cut"

typedef struct {
        const BhCliPaths *paths;
        BhChild sensor, central;
        gboolean platform;   /* the central was ready once: both are kept running from then on */
        BhFd told;           /* the central's standard output: what it announces */
        GString *told_rest;
        char *url, *user, *password;
        int stop;            /* readable once a signal came */
        gint64 started_us, gone_us[2]; /* since when sensor and central are gone */
        gboolean quiet, feed_wanted;
        BhUpFeed feed;
} Up;

static const char *in_how_long(gint64 us, char text[32]) {
        if (us < G_USEC_PER_SEC)
                return "it is started again";
        g_snprintf(text, 32, "the next try is in %d s", (int) (us / G_USEC_PER_SEC));
        return text;
}

/* ---- the central ---- */

static gboolean start_central(Up *up, GError **error) {
        int ends[2];

        if (pipe2(ends, O_CLOEXEC)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot start the central: %s", g_strerror(errno));
                return FALSE;
        }
        bh_fd_clear(&up->told);
        g_string_truncate(up->told_rest, 0);

        gboolean ok = bh_child_start(&up->central, ends[1], error);
        close(ends[1]);
        up->told = ends[0];
        fcntl(up->told, F_SETFL, O_NONBLOCK);
        return ok;
}

static void forget(char **secret) {
        if (*secret)
                memset(*secret, 0, strlen(*secret));
        g_clear_pointer(secret, g_free);
}

/* Behind its announcement come the alerts of outputs that go to the standard output: whole lines are passed on. */
static void pass_alerts(Up *up) {
        const char *end = memrchr(up->told_rest->str, '\n', up->told_rest->len);
        gsize whole = end ? (gsize) (end + 1 - up->told_rest->str) : 0;

        if (!whole)
                return;
        g_string_append_len(up->feed.out, up->told_rest->str, (gssize) whole);
        g_string_erase(up->told_rest, 0, (gssize) whole);
}

/* What is to be polled of it: nothing while its alerts find no reader here. They wait in its queue then, on disk. */
static int told_source(Up *up) {
        if (up->central.ready && up->feed.reader_gone)
                bh_fd_clear(&up->told); /* it sees that nobody takes them */
        return up->central.ready && up->feed.out->len ? -1 : up->told;
}

/* The line that it prints once it serves: address, and at the very first start the password. TRUE when it has come with this call. */
static gboolean read_announcement(Up *up) {
        char chunk[4096];
        ssize_t n = read(up->told, chunk, sizeof(chunk));

        if (n < 0)
                return FALSE;
        if (n == 0 || up->told_rest->len > LINE_MAX_BYTES) {
                bh_fd_clear(&up->told);
                return FALSE;
        }
        g_string_append_len(up->told_rest, chunk, n);
        memset(chunk, 0, sizeof(chunk));
        if (up->central.ready)
                pass_alerts(up);
        char *end = strchr(up->told_rest->str, '\n');
        if (up->central.ready || !end)
                return FALSE;

        gsize len = (gsize) (end + 1 - up->told_rest->str);
        json_auto_t *line = json_loads(up->told_rest->str, JSON_DISABLE_EOF_CHECK, NULL);
        memset(up->told_rest->str, 0, len);
        g_string_erase(up->told_rest, 0, (gssize) len);
        if (!json_is_true(json_object_get(line, "ready")))
                return FALSE;
        up->central.ready = up->platform = TRUE;
        pass_alerts(up); /* what came in the same piece */
        g_free(up->url);
        up->url = g_strdup(bh_json_text(line, "url"));
        if (json_object_get(line, "password")) {
                forget(&up->password);
                g_free(up->user);
                up->user = g_strdup(bh_json_text(line, "user"));
                up->password = g_strdup(bh_json_text(line, "password"));
        }
        return TRUE;
}

/* The first start: until it serves, or will not. */
static void await_central(Up *up) {
        gint64 until = g_get_monotonic_time() + READY_US;

        while (!up->central.ready && !bh_stop_asked()) {
                struct pollfd p[] = { { .fd = up->told, .events = POLLIN }, { .fd = up->stop, .events = POLLIN } };
                gboolean ended = bh_child_reap(&up->central);

                if (up->told >= 0 && poll(p, G_N_ELEMENTS(p), ended ? 0 : 200) > 0 && p[0].revents && read_announcement(up))
                        return;
                if (ended) {
                        g_autofree char *how = up->central.pid > 0 ? bh_child_how(&up->central) : g_strdup("was not started");

                        fprintf(stderr, "bulkhead: the central %s before it was ready: %s. The sensor goes on without it, and keeps what it has to tell; start \"bulkhead up\" again when that is mended\n", how,
                                up->central.pid > 0 && WIFSIGNALED(up->central.how) ? "see \"dmesg\"" : "its message above says why and what to do");
                        return;
                }
                if (g_get_monotonic_time() > until) {
                        fprintf(stderr, "bulkhead: the central is not ready after %d s; it is stopped. Its messages above say what it was doing; --debug gives more. The sensor goes on without it\n",
                                (int) (READY_US / G_USEC_PER_SEC));
                        bh_child_end(&up->central, STOP_US, CENTRAL_KILLED);
                        return;
                }
        }
}

/* The password is shown by the start; without one it is not, because who reads standard error is not known. */
static void password_not_shown(Up *up) {
        if (up->password)
                fprintf(stderr, "bulkhead: the first password of %s is not shown here; \"bulkhead user password %s --reset\" makes one\n", up->user, up->user);
        forget(&up->password);
}

/* ---- the sensor ---- */

/* The sensor's status once it is ready. NULL: it never will be, and *code is the exit status; all is said. */
static json_t *wait_ready(Up *up, int *code) {
        BhChild *sensor = &up->sensor;
        gint64 until = g_get_monotonic_time() + READY_US;
        gboolean said = FALSE, slow = FALSE;

        *code = BH_EXIT_FAILED;
        for (;;) {
                struct pollfd p[] = { { .fd = sensor->pidfd, .events = POLLIN }, { .fd = bh_stop_asked() ? -1 : up->stop, .events = POLLIN } };
                g_autoptr(GError) error = NULL;

                poll(p, G_N_ELEMENTS(p), 100);
                if (bh_child_reap(sensor)) {
                        g_autofree char *how = bh_child_how(sensor);

                        fprintf(stderr, "bulkhead: the sensor %s before it was ready; %s\n", how,
                                WIFSIGNALED(sensor->how) ? "see \"dmesg\", and start it again" : "its message above says why");
                        if (WIFEXITED(sensor->how) && WEXITSTATUS(sensor->how) == BH_EXIT_USAGE)
                                *code = BH_EXIT_USAGE;
                        return NULL;
                }

                json_t *status = bh_client_status(up->paths, 5, &error);
                if (status && bh_json_number(status, "pid") == (guint64) sensor->pid) {
                        sensor->ready = TRUE;
                        return status;
                }
                json_decref(status);
                if (!slow && g_get_monotonic_time() > until - READY_US + SLOW_US) {
                        fprintf(stderr, "bulkhead: the sensor is still starting: the kernel checks its programs, which takes long on a busy machine\n");
                        slow = TRUE;
                }
                if (bh_stop_asked() && !said) {
                        fprintf(stderr, "bulkhead: stopping as soon as the sensor has started; again to end it at once\n");
                        said = TRUE;
                }
                if (bh_stop_asked() > 1 || g_get_monotonic_time() > until) {
                        if (bh_stop_asked() < 2)
                                fprintf(stderr, "bulkhead: the sensor is not ready after %d s; it is stopped. Its messages above say what it was doing; --debug gives more\n",
                                        (int) (READY_US / G_USEC_PER_SEC));
                        bh_child_end(sensor, STOP_US, SENSOR_KILLED);
                        return NULL;
                }
        }
}

static void open_feed(Up *up) {
        g_autoptr(GError) error = NULL;

        if (up->feed_wanted && !up->feed.reader_gone && !bh_up_feed_open(&up->feed, &error))
                bh_cli_fail(error);
}

/* ---- both, kept running ---- */

/* What a sensor that was killed was copying must not stay stopped, whatever becomes of its guard. */
static void let_run(Up *up) {
        g_autofree char *pin = g_build_filename(up->paths->run_dir, "bpf", "paused", NULL);
        struct bh_paused *left = bh_paused_map(pin);
        guint n = bh_paused_continue_all(left, "/proc");

        bh_paused_unmap(left);
        if (n)
                fprintf(stderr, "bulkhead: %u process%s that the sensor had stopped to copy what they run go on\n", n, n == 1 ? "" : "es");
}

/* A child that ended and is not planned yet: said, and planned. */
static void plan(Up *up, BhChild *c, gint64 *gone_us) {
        g_autofree char *how = bh_child_how(c);
        gint64 now = g_get_monotonic_time();
        gboolean worked = c->ready;
        pid_t pid = c->pid;
        char text[32];

        if (!*gone_us)
                *gone_us = now;
        if (c == &up->sensor)
                let_run(up);
        gint64 delay = bh_child_plan(c, now);
        fflush(stdout);
        if (!worked)
                fprintf(stderr, "bulkhead: the %s (pid %d) %s before it was ready again; %s\n", c->name, (int) pid, how, in_how_long(delay, text));
        else if (c == &up->sensor)
                fprintf(stderr, "bulkhead: the sensor (pid %d) %s, though nobody asked it here; %s. Its kernel programs go on and keep what fits: look for who did it\n", (int) pid, how, in_how_long(delay, text));
        else
                fprintf(stderr, "bulkhead: the central (pid %d) %s, though nobody asked it here; %s. The sensor keeps what it has to tell\n", (int) pid, how, in_how_long(delay, text));
}

static void back(BhChild *c, gint64 *gone_us) {
        fflush(stdout);
        fprintf(stderr, "bulkhead: the %s is back (pid %d) after %.1f s\n", c->name, (int) c->pid, (double) (g_get_monotonic_time() - *gone_us) / G_USEC_PER_SEC);
        *gone_us = 0;
}

static void start_again(Up *up, BhChild *c) {
        g_autoptr(GError) error = NULL;

        if (c == &up->central ? start_central(up, &error) : bh_child_start(c, -1, &error))
                return;
        bh_cli_fail(error);
        bh_child_plan(c, g_get_monotonic_time());
}

/* Ends the ones that do not become ready, tells of the ones that are back, starts the ones whose time it is. */
static void tend(Up *up) {
        BhChild *both[] = { &up->sensor, &up->central };
        gint64 now = g_get_monotonic_time();

        for (guint i = 0; i < G_N_ELEMENTS(both); i++) {
                BhChild *c = both[i];

                if (bh_child_reap(c) && !c->again_us)
                        plan(up, c, &up->gone_us[i]);
                else if (c->again_us && now >= c->again_us)
                        start_again(up, c);
                else if (bh_child_running(c) && !c->ready && now - c->started_us > READY_US)
                        bh_child_end(c, STOP_US, c == &up->sensor ? SENSOR_KILLED : CENTRAL_KILLED);
        }
        if (bh_child_running(&up->sensor) && !up->sensor.ready) {
                json_auto_t *status = bh_client_status(up->paths, 2, NULL);

                if (status && bh_json_number(status, "pid") == (guint64) up->sensor.pid) {
                        up->sensor.ready = TRUE;
                        back(&up->sensor, &up->gone_us[0]);
                        open_feed(up);
                }
        }
}

/* Until a signal comes; without a central also until the sensor ends. */
static void follow(Up *up) {
        while (!bh_stop_asked()) {
                gboolean waiting = up->platform && !(up->sensor.ready && up->central.ready && bh_child_running(&up->sensor) && bh_child_running(&up->central));
                struct pollfd p[] = {
                        { .fd = up->sensor.pidfd, .events = POLLIN },
                        { .fd = up->stop, .events = POLLIN },
                        { .fd = bh_up_feed_source(&up->feed), .events = POLLIN },
                        { .fd = bh_up_feed_sink(&up->feed), .events = POLLOUT },
                        { .fd = up->central.pidfd, .events = POLLIN },
                        { .fd = told_source(up), .events = POLLIN },
                };
                int n = poll(p, G_N_ELEMENTS(p), waiting ? 50 : 1000);

                if (n > 0 && p[2].revents)
                        bh_up_feed_read(&up->feed, bh_child_reap(&up->sensor) || up->platform);
                if (n > 0 && p[3].revents)
                        bh_up_feed_write(&up->feed);
                if (n > 0 && p[5].revents && read_announcement(up)) {
                        back(&up->central, &up->gone_us[1]);
                        password_not_shown(up);
                }
                if (up->platform)
                        tend(up);
                else if (bh_child_reap(&up->sensor)) {
                        let_run(up);
                        return;
                }
        }
}

/* Stops the sensor; meanwhile shows the events that are left, if somebody takes them. */
static gboolean stop_sensor(Up *up) {
        BhChild *sensor = &up->sensor;
        gint64 until = g_get_monotonic_time() + STOP_US, stuck = g_get_monotonic_time() + STUCK_US;

        if (bh_child_reap(sensor))
                return TRUE; /* it was about to be started again */
        kill(sensor->pid, SIGTERM);
        while (!bh_child_reap(sensor) && g_get_monotonic_time() < until) {
                struct pollfd p[] = {
                        { .fd = sensor->pidfd, .events = POLLIN },
                        { .fd = bh_up_feed_source(&up->feed), .events = POLLIN },
                        { .fd = bh_up_feed_sink(&up->feed), .events = POLLOUT },
                };

                /* a stopped terminal must not hold up the sensor, which waits for its readers */
                if (p[2].fd >= 0 && g_get_monotonic_time() > stuck) {
                        up->feed.ended = TRUE;
                        bh_fd_clear(&up->feed.fd);
                }
                if (poll(p, G_N_ELEMENTS(p), 200) <= 0)
                        continue;
                if (p[1].revents)
                        bh_up_feed_read(&up->feed, TRUE);
                if (p[2].revents)
                        bh_up_feed_write(&up->feed);
                stuck = g_get_monotonic_time() + STUCK_US;
        }
        bh_child_end(sensor, STOP_US, SENSOR_KILLED);
        let_run(up);
        bh_up_feed_drain(&up->feed);
        return WIFEXITED(sensor->how) && WEXITSTATUS(sensor->how) == 0;
}

static gboolean stop_central(Up *up) {
        BhChild *c = &up->central;

        if (bh_child_reap(c))
                return TRUE;
        bh_child_end(c, STOP_US, CENTRAL_KILLED);
        /* alerts that it handed over are not sent again: they must not stay in the pipe */
        for (struct pollfd p = { .events = POLLIN }; up->told >= 0 && !up->feed.reader_gone && !up->feed.out->len;) {
                p.fd = up->told;
                if (poll(&p, 1, 200) <= 0)
                        break;
                read_announcement(up);
                bh_up_feed_drain(&up->feed);
        }
        return WIFEXITED(c->how) && WEXITSTATUS(c->how) == 0;
}

static int stopped_badly(const BhChild *c) {
        g_autofree char *how = bh_child_how(c);

        fprintf(stderr, "bulkhead: the %s %s instead of stopping in order\n", c->name, how);
        return BH_EXIT_FAILED;
}

static int run(Up *up) {
        g_autoptr(GError) error = NULL;
        int code = BH_EXIT_OK;

        up->stop = bh_stop_install();
        up->started_us = g_get_monotonic_time();
        /* the central first: it takes its time to hash the first password, and the sensor has somebody to talk to */
        if (up->central.argv && !start_central(up, &error)) {
                bh_cli_fail(error);
                g_clear_error(&error);
        }
        if (!bh_child_start(&up->sensor, -1, &error)) {
                stop_central(up);
                return bh_cli_fail(error);
        }

        json_auto_t *status = wait_ready(up, &code);
        if (!status) {
                if (up->told >= 0 && read_announcement(up))
                        password_not_shown(up);
                stop_central(up);
                return code;
        }
        code = BH_EXIT_OK;
        if (up->central.argv)
                await_central(up);
        open_feed(up); /* before the start is described, so that nothing between is missing */
        if (!up->quiet) {
                const BhUpCentral central = { up->central.argv != NULL, up->central.ready, up->url, up->user, up->password, up->central.pid };

                bh_up_say_start(up->paths, up->sensor.pid, status, &central, up->feed.fd >= 0);
                forget(&up->password);
        }
        password_not_shown(up);
        follow(up);
        if (!up->platform && up->sensor.ended) {
                g_autofree char *how = bh_child_how(&up->sensor);

                fflush(stdout);
                fprintf(stderr, "bulkhead: the sensor (pid %d) %s, though nobody asked it here. %s\n", (int) up->sensor.pid, how,
                        WIFSIGNALED(up->sensor.how) ? "Its kernel programs go on and keep what fits: start it again now with \"bulkhead up\", and look for who did it"
                                                    : "Its messages above may say why; start it again with \"bulkhead up\"");
                return BH_EXIT_FAILED;
        }

        json_auto_t *last = bh_client_status(up->paths, 3, NULL);
        /* what the sensor tells at its end goes to the central that is still there */
        gboolean sensor_ok = stop_sensor(up), central_ok = stop_central(up);
        if (!up->quiet)
                bh_up_say_summary(last, g_get_monotonic_time() - up->started_us);
        if (!sensor_ok)
                code = stopped_badly(&up->sensor);
        if (!central_ok)
                code = stopped_badly(&up->central);
        return code;
}

static void add_option(GPtrArray *argv, const char *name, const char *value) {
        if (!value)
                return;
        g_ptr_array_add(argv, (char *) name);
        g_ptr_array_add(argv, (char *) value);
}

int bh_cmd_up(const BhCliPaths *paths, int argc, char **argv) {
        gboolean quiet = FALSE, no_feed = FALSE, no_default_rules = FALSE, host_events = FALSE, no_docker = FALSE, no_containerd = FALSE, no_calls = FALSE, no_hold = FALSE, no_web = FALSE, debug = FALSE, no_central = FALSE;
        /* handed on as they are: the sensor checks them */
        g_auto(GStrv) rules = NULL;
        g_autofree char *docker = NULL, *containerd = NULL, *backend = NULL, *host_root = NULL, *mib = NULL, *budget = NULL, *fold = NULL, *walk = NULL, *rings = NULL, *web = NULL, *listen = NULL, *alerts = NULL, *alert_dir = NULL, *alert_summary = NULL, *events = NULL;
        GOptionEntry entries[] = {
                { "listen", 0, 0, G_OPTION_ARG_STRING, &listen, "where the central serves web interface and API (default 127.0.0.1:8443)", "ADDR:PORT" },
                { "no-central", 0, 0, G_OPTION_ARG_NONE, &no_central, "start the sensor alone, which then tells nobody anything; what your --rules find is printed", NULL },
                { "rules", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &rules, "rule file, or directory of some, after the default rules; may be given several times", "F" },
                { "no-default-rules", 0, 0, G_OPTION_ARG_NONE, &no_default_rules, "leave out Bulkhead's own rules", NULL },
                { "alerts", 0, 0, G_OPTION_ARG_STRING, &alerts, "print findings, as text, falco (JSON as Falco's) or bulkhead (JSON with everything), and not live events; with --quiet nothing else", "FORMAT" },
                { "alert-dir", 0, 0, G_OPTION_ARG_FILENAME, &alert_dir, "where outputs of the type file write (default DATA-DIR/central/alerts)", "DIR" },
                { "alert-summary", 0, 0, G_OPTION_ARG_STRING, &alert_summary, "equal findings are told at once and then together, once in S seconds (default 60)", "S" },
                { "docker", 0, 0, G_OPTION_ARG_FILENAME, &docker, "Docker Engine's socket (default HOST-ROOT/run/docker.sock)", "SOCK" },
                { "containerd", 0, 0, G_OPTION_ARG_FILENAME, &containerd, "containerd's socket (default HOST-ROOT/run/containerd/containerd.sock)", "SOCK" },
                { "no-containerd", 0, 0, G_OPTION_ARG_NONE, &no_containerd, "do not ask containerd", NULL },
                { "web", 0, 0, G_OPTION_ARG_FILENAME, &web, "settings of the inspection of web traffic (docs/web.md)", "FILE" },
                { "no-calls", 0, 0, G_OPTION_ARG_NONE, &no_calls, "do not learn which system calls containers make", NULL },
                { "no-web", 0, 0, G_OPTION_ARG_NONE, &no_web, "look at no web traffic of containers", NULL },
                { "no-hold", 0, 0, G_OPTION_ARG_NONE, &no_hold, "do not stop what containers run from memory or wrote shortly before, until it is copied (docs/evidence.md)", NULL },
                { "no-docker", 0, 0, G_OPTION_ARG_NONE, &no_docker, "tell containers by their cgroups alone", NULL },
                { "backend", 0, 0, G_OPTION_ARG_STRING, &backend, "kernel hooks: auto (default), preferred or fallback", "B" },
                { "events", 0, 0, G_OPTION_ARG_STRING, &events, "kinds of events to record: names with commas between, all, none; -NAME: without (default all)", "LIST" },
                { "host-events", 0, 0, G_OPTION_ARG_NONE, &host_events, "record file and datagram events of host processes too", NULL },
                { "no-feed", 0, 0, G_OPTION_ARG_NONE, &no_feed, "do not show live events", NULL },
                { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "print nothing but errors", NULL },
                { "host-root", 0, 0, G_OPTION_ARG_FILENAME, &host_root, "where the host's / is, when this runs in a container (default /)", "DIR" },
                { "recorder-mib", 0, 0, G_OPTION_ARG_STRING, &mib, "bound of the flight recorder (default 4096)", "N" },
                { "budget", 0, 0, G_OPTION_ARG_STRING, &budget, "described events a second and cgroup; 0: no limit (default 20000)", "N" },
                { "fold-ms", 0, 0, G_OPTION_ARG_STRING, &fold, "window in which equal acts are one event; 0: none (default 1000)", "N" },
                { "walk-ms", 0, 0, G_OPTION_ARG_STRING, &walk, "how often all sockets are looked through for the map (default 5000)", "N" },
                { "ring-kib", 0, 0, G_OPTION_ARG_STRING, &rings, "sizes of the ring buffers, powers of two (default 16384,8192,16384)", "L,K,B" },
                { "debug", 0, 0, G_OPTION_ARG_NONE, &debug, "log more", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse(&argc, &argv, entries, NULL, "Starts Bulkhead on this machine, sensor and central: finds every container, serves web interface and API, and shows, live, what the processes do.",
                          "The first start prints address and password of the web interface, the password this once.\n"
                          "Runs until Ctrl-C or SIGTERM, which stop both in order; one that dies before is started again. Needs root. The logs go to standard error.\n"))
                return BH_EXIT_USAGE;
        if (argc > 1)
                return bh_cli_usage("it takes no arguments but options, not \"%s\"", argv[1]);
        if (geteuid() != 0) {
                fprintf(stderr, "bulkhead: up must be root to load kernel programs: run it with sudo\n");
                return BH_EXIT_FAILED;
        }

        json_auto_t *other = bh_client_status(paths, 5, NULL);
        if (other) {
                fprintf(stderr, "bulkhead: a sensor runs here already (pid %" G_GUINT64_FORMAT "): \"bulkhead events -f\" follows it, \"bulkhead status\" says how it is; another one needs its own --run-dir and --data-dir\n",
                        bh_json_number(other, "pid"));
                return BH_EXIT_FAILED;
        }

        g_autofree char *sensor = bh_child_find("bulkhead-sensor", &error);
        if (!sensor)
                return bh_cli_fail(error);
        g_autofree char *central = no_central ? NULL : bh_child_find("bulkhead-central", &error);
        if (!central && !no_central)
                return bh_cli_fail(error);
        if (listen && no_central)
                return bh_cli_usage("--listen and --no-central exclude each other");
        if ((alerts || alert_dir || alert_summary) && no_central)
                return bh_cli_usage("findings are told by the central: --alerts, --alert-dir and --alert-summary do not go with --no-central");

        g_autoptr(GPtrArray) sensor_argv = g_ptr_array_new(), central_argv = g_ptr_array_new();
        const struct {
                const char *name, *value;
        } of_sensor[] = {
                { "--run-dir", paths->run_dir }, { "--data-dir", paths->data_dir }, { "--docker", docker }, { "--containerd", containerd }, { "--backend", backend }, { "--host-root", host_root },
                { "--recorder-mib", mib }, { "--budget", budget }, { "--fold-ms", fold }, { "--walk-ms", walk }, { "--ring-kib", rings }, { "--events", events }, { "--web", web },
        }, of_central[] = { { "--run-dir", paths->run_dir }, { "--data-dir", paths->data_dir }, { "--listen", listen }, { "--alerts", alerts }, { "--alert-dir", alert_dir },
                         { "--alert-summary", alert_summary } };
        const struct {
                const char *name;
                gboolean sensor, central;
        } flags[] = { { "--no-docker", no_docker, FALSE }, { "--no-containerd", no_containerd, FALSE }, { "--no-calls", no_calls, FALSE }, { "--no-hold", no_hold, FALSE }, { "--no-web", no_web, FALSE }, { "--no-default-rules", no_default_rules, FALSE }, { "--host-events", host_events, FALSE }, { "--no-bus", no_central, FALSE }, { "--debug", debug, debug } };

        g_ptr_array_add(sensor_argv, sensor);
        g_ptr_array_add(central_argv, central);
        for (guint i = 0; i < G_N_ELEMENTS(of_sensor); i++)
                add_option(sensor_argv, of_sensor[i].name, of_sensor[i].value);
        for (char **rule = rules; rule && *rule; rule++)
                add_option(sensor_argv, "--rules", *rule);
        for (guint i = 0; i < G_N_ELEMENTS(of_central); i++)
                add_option(central_argv, of_central[i].name, of_central[i].value);
        for (guint i = 0; i < G_N_ELEMENTS(flags); i++) {
                if (flags[i].sensor)
                        g_ptr_array_add(sensor_argv, (char *) flags[i].name);
                if (flags[i].central)
                        g_ptr_array_add(central_argv, (char *) flags[i].name);
        }
        g_ptr_array_add(sensor_argv, NULL);
        g_ptr_array_add(central_argv, NULL);

        Up up = { .paths = paths, .sensor = BH_CHILD_INIT("sensor"), .central = BH_CHILD_INIT("central"), .told = -1, .told_rest = g_string_new(NULL), .quiet = quiet,
                  .feed_wanted = !quiet && !no_feed && !alerts };
        up.sensor.argv = (char **) sensor_argv->pdata;
        up.central.argv = central ? (char **) central_argv->pdata : NULL;
        bh_up_feed_init(&up.feed, paths);

        int code = run(&up);
        bh_up_feed_clear(&up.feed);
        bh_fd_clear(&up.sensor.pidfd);
        bh_fd_clear(&up.central.pidfd);
        bh_fd_clear(&up.told);
        g_string_free(up.told_rest, TRUE);
        forget(&up.password);
        g_free(up.url);
        g_free(up.user);
        return code;
}
