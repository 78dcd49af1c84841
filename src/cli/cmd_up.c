/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `bulkhead up`: starts the sensor as a child, says what it found, shows live events, stops it on SIGINT, SIGTERM or SIGHUP.
 *
 * The sensor gets a session of its own: the terminal's Ctrl-C reaches it through this program alone, and it outlives this program if that is
 * killed, because evidence matters more than a terminal.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/escape.h"
#include "commands.h"
#include "output.h"
#include "problems.h"
#include "signals.h"

#define READY_US (60 * G_USEC_PER_SEC)
#define SLOW_US (10 * G_USEC_PER_SEC)
#define STOP_US (15 * G_USEC_PER_SEC)
#define STUCK_US (1 * G_USEC_PER_SEC)
#define CHUNK 4096 /* a write of this much after POLLOUT does not block a pipe */

typedef struct {
        const BhCliPaths *paths;
        pid_t pid;
        BhFd pidfd, feed;
        int stop; /* readable once a signal came */
        gboolean ended;
        int how; /* as waitpid() tells it */
        gint64 started_us;
        gboolean feed_ended, reader_gone;
        GString *rest, *out; /* of the feed: begun line, lines to be written */
} Up;

/* ---- the child ---- */

static char *find_sensor(GError **error) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", NULL), *dir = self ? g_path_get_dirname(self) : NULL;
        char *beside = dir ? g_build_filename(dir, "bulkhead-sensor", NULL) : NULL;

        if (beside && access(beside, X_OK) == 0)
                return beside;
        g_free(beside);

        char *built = dir ? g_build_filename(dir, "..", "sensor", "bulkhead-sensor", NULL) : NULL;
        if (built && access(built, X_OK) == 0)
                return built;
        g_free(built);

        char *found = g_find_program_in_path("bulkhead-sensor");
        if (!found)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "there is no bulkhead-sensor beside this program (%s) nor in PATH; install it", dir ? dir : "?");
        return found;
}

static gboolean start(Up *up, char **argv, GError **error) {
        up->pid = fork();
        if (up->pid == 0) {
                int null = open("/dev/null", O_RDONLY);

                setsid();
                signal(SIGINT, SIG_DFL);
                signal(SIGTERM, SIG_DFL);
                signal(SIGHUP, SIG_DFL);
                if (null >= 0)
                        dup2(null, STDIN_FILENO);
                dup2(STDERR_FILENO, STDOUT_FILENO);
                execv(argv[0], argv);
                fprintf(stderr, "bulkhead: cannot run %s: %s\n", argv[0], g_strerror(errno));
                _exit(127);
        }
        up->pidfd = up->pid > 0 ? (int) syscall(SYS_pidfd_open, up->pid, 0) : -1;
        if (up->pidfd < 0) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot start the sensor: %s", g_strerror(errno));
                if (up->pid > 0)
                        kill(up->pid, SIGTERM);
                return FALSE;
        }
        return TRUE;
}

static gboolean reap(Up *up) {
        if (!up->ended && waitpid(up->pid, &up->how, WNOHANG) == up->pid)
                up->ended = TRUE;
        return up->ended;
}

static char *how_it_ended(const Up *up) {
        if (WIFSIGNALED(up->how))
                return g_strdup_printf("was killed by signal %d (%s)", WTERMSIG(up->how), strsignal(WTERMSIG(up->how)));
        return g_strdup_printf("ended with status %d", WEXITSTATUS(up->how));
}

/* Waits for the child's end. FALSE: not within the time. */
static gboolean wait_end(Up *up, gint64 us) {
        gint64 until = g_get_monotonic_time() + us;

        while (!reap(up)) {
                struct pollfd p = { .fd = up->pidfd, .events = POLLIN };
                gint64 left = until - g_get_monotonic_time();

                if (left <= 0)
                        return FALSE;
                poll(&p, 1, (int) (left / 1000) + 1);
        }
        return TRUE;
}

/* SIGTERM, SIGKILL when that does not help. */
static void end_sensor(Up *up) {
        kill(up->pid, SIGTERM);
        if (wait_end(up, STOP_US))
                return;
        fprintf(stderr, "bulkhead: the sensor does not stop within %d s and is killed; what it attached to the kernel is taken over or removed by the next \"bulkhead up\"\n",
                (int) (STOP_US / G_USEC_PER_SEC));
        kill(up->pid, SIGKILL);
        wait_end(up, STOP_US);
}

/* The sensor's status once it is ready. NULL: it never will be, and *code is the exit status; all is said. */
static json_t *wait_ready(Up *up, int *code) {
        gint64 until = g_get_monotonic_time() + READY_US;
        gboolean said = FALSE, slow = FALSE;

        *code = BH_EXIT_FAILED;
        for (;;) {
                struct pollfd p[] = { { .fd = up->pidfd, .events = POLLIN }, { .fd = bh_stop_asked() ? -1 : up->stop, .events = POLLIN } };
                g_autoptr(GError) error = NULL;

                poll(p, G_N_ELEMENTS(p), 100);
                if (reap(up)) {
                        g_autofree char *how = how_it_ended(up);

                        fprintf(stderr, "bulkhead: the sensor %s before it was ready; %s\n", how,
                                WIFSIGNALED(up->how) ? "see \"dmesg\", and start it again" : "its message above says why");
                        if (WIFEXITED(up->how) && WEXITSTATUS(up->how) == BH_EXIT_USAGE)
                                *code = BH_EXIT_USAGE;
                        return NULL;
                }

                json_t *status = bh_client_status(up->paths, 5, &error);
                if (status && bh_json_number(status, "pid") == (guint64) up->pid)
                        return status;
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
                        end_sensor(up);
                        return NULL;
                }
        }
}

/* ---- the start, for people ---- */

static void say_hooks(const json_t *status) {
        static const char *const backends[] = { "preferred", "fallback", "tracepoint" };
        guint n[G_N_ELEMENTS(backends)] = { 0 }, seen = 0, untested = 0;
        json_t *all = json_object_get(status, "hooks"), *h;
        g_autoptr(GPtrArray) why = g_ptr_array_new_with_free_func(g_free);
        size_t i;

        json_array_foreach(all, i, h) {
                const char *backend = bh_json_text(h, "backend"), *reason = bh_json_text(h, "why");

                for (guint b = 0; b < G_N_ELEMENTS(backends); b++)
                        n[b] += g_str_equal(backend, backends[b]);
                seen += bh_problems_hook_seen(h);
                untested += bh_problems_hook_seen(h) && !json_is_true(json_object_get(h, "tested"));
                if (g_str_equal(backend, "fallback") && *reason && !g_ptr_array_find_with_equal_func(why, reason, g_str_equal, NULL))
                        g_ptr_array_add(why, g_strdup(reason));
        }
        printf("  hooks       %u of %zu see their acts%s:", seen, json_array_size(all), untested == seen && seen ? " (untested)" : "");
        for (guint b = 0, some = 0; b < G_N_ELEMENTS(backends); b++)
                if (n[b])
                        printf("%s %u %s", some++ ? "," : "", n[b], backends[b]);
        putchar('\n');
        if (n[1]) {
                g_autofree char *reason = bh_escape_cell(why->len ? g_ptr_array_index(why, 0) : "", -1);

                printf("              fallback%s%s%s; it sees the same acts and costs more. \"bulkhead status\" has each hook\n", *reason ? ": " : "", reason,
                       why->len > 1 ? ", and other reasons" : "");
        }
}

static void say_containers(const Up *up) {
        g_autoptr(GError) error = NULL;
        json_auto_t *list = bh_client_containers(up->paths, 10, &error);
        json_t *c;
        size_t i;
        guint running = 0, shown = 0;

        if (!list) {
                printf("  containers  %s\n", error->message);
                return;
        }
        json_array_foreach(list, i, c)
                running += g_str_equal(bh_json_text(c, "state"), "running") || g_str_equal(bh_json_text(c, "state"), "unknown");
        printf("  containers  %zu found, %u running%s", json_array_size(list), running, running ? ": " : "; each new one is found when it starts");
        json_array_foreach(list, i, c) {
                g_autofree char *name = bh_json_cell(c, "name"), *image = bh_json_cell(c, "image");

                if (!g_str_equal(bh_json_text(c, "state"), "running") && !g_str_equal(bh_json_text(c, "state"), "unknown"))
                        continue;
                if (shown++ == 8) {
                        printf(", …");
                        break;
                }
                printf("%s%s%s%s%s", shown > 1 ? ", " : "", name, *image ? " (" : "", image, *image ? ")" : "");
        }
        putchar('\n');
}

static void say_start(const Up *up, const json_t *status, gboolean feed) {
        g_autoptr(GPtrArray) problems = bh_problems_of(status);
        json_t *cgroup = json_object_get(status, "cgroup"), *docker = json_object_get(json_object_get(status, "runtimes"), "docker");
        g_autofree char *node = bh_json_cell(status, "node"), *kernel = bh_json_cell(status, "kernel"), *version = bh_json_cell(status, "version");
        g_autofree char *mode = bh_json_cell(cgroup, "mode"), *controller = bh_json_cell(cgroup, "controller"), *mount = bh_json_cell(cgroup, "mount");
        g_autofree char *state = bh_json_cell(docker, "state"), *engine = bh_json_cell(docker, "version"), *socket = bh_json_cell(docker, "socket");
        g_autofree char *dir = bh_json_cell(json_object_get(status, "recorder"), "dir");

        printf("%sBulkhead %s%s watches %s, kernel %s (sensor pid %d)\n", bh_out_style(BH_STYLE_BOLD), version, bh_out_style(BH_STYLE_NONE), node, kernel, (int) up->pid);
        say_hooks(status);
        printf("  cgroups     %s%s%s at %s\n", mode, *controller ? ", controller " : "", controller, mount);
        if (g_str_equal(state, "connected"))
                printf("  runtimes    Docker Engine %s at %s\n", engine, socket);
        else if (g_str_equal(state, "off"))
                printf("  runtimes    not asked (--no-docker); containers are told by their cgroups\n");
        else
                printf("  runtimes    none answers; containers are told by their cgroups\n");
        say_containers(up);
        printf("  recorder    %s\n", dir);
        for (guint i = 0; i < problems->len; i++)
                printf("  %s!%s %s\n", bh_out_style(BH_STYLE_BAD), bh_out_style(BH_STYLE_NONE), (char *) g_ptr_array_index(problems, i));
        puts(feed ? "Live events follow; Ctrl-C stops.\n" : "Running; Ctrl-C stops.");
        fflush(stdout);
}

/* ---- the feed ---- */

static gboolean take_line(const char *line, gsize len, gpointer data) {
        Up *up = data;
        const char *space = memchr(line, ' ', len);
        gsize time = space ? (gsize) (space - line) : 0;

        if (g_str_has_prefix(line, "{\"dropped\"")) {
                json_auto_t *mark = json_loadb(line, len, 0, NULL);

                g_string_append_printf(up->out, "… %" G_GUINT64_FORMAT " events are left out here, because this terminal is too slow; they are recorded\n", bh_json_number(mark, "dropped"));
                return TRUE;
        }
        g_string_append(up->out, bh_out_style(BH_STYLE_DIM));
        g_string_append_len(up->out, line, (gssize) time);
        g_string_append(up->out, bh_out_style(BH_STYLE_NONE));
        g_string_append_len(up->out, line + time, (gssize) (len - time));
        g_string_append_c(up->out, '\n');
        return TRUE;
}

static void read_feed(Up *up) {
        g_autoptr(GError) error = NULL;
        BhClientState state = bh_client_read_lines(up->feed, up->rest, take_line, up, &error);

        if (state == BH_CLIENT_MORE)
                return;
        /* a sensor that ends says so by ending */
        if (state == BH_CLIENT_FAILED && !reap(up) && !bh_stop_asked())
                fprintf(stderr, "bulkhead: no more live events: %s\n", error->message);
        up->feed_ended = TRUE;
}

/* One piece of what waits; the reader may be slow, stopped or gone. */
static void write_feed(Up *up) {
        ssize_t n = write(STDOUT_FILENO, up->out->str, MIN(up->out->len, CHUNK));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return;
        if (n < 0) {
                if (!bh_stop_asked())
                        fprintf(stderr, "bulkhead: nobody takes the live events (%s); the sensor goes on without showing them\n", g_strerror(errno));
                up->reader_gone = TRUE;
                g_string_truncate(up->out, 0);
                return;
        }
        g_string_erase(up->out, 0, n);
}

/* Until the child ends or a signal comes. */
static void follow(Up *up) {
        while (!reap(up) && !bh_stop_asked()) {
                gboolean show = up->feed >= 0 && !up->feed_ended && !up->reader_gone;
                struct pollfd p[] = {
                        { .fd = up->pidfd, .events = POLLIN },
                        { .fd = up->stop, .events = POLLIN },
                        { .fd = show && !up->out->len ? up->feed : -1, .events = POLLIN },
                        { .fd = show && up->out->len ? STDOUT_FILENO : -1, .events = POLLOUT },
                };

                if (poll(p, G_N_ELEMENTS(p), 1000) <= 0)
                        continue;
                if (p[2].revents)
                        read_feed(up);
                if (p[3].revents)
                        write_feed(up);
        }
}

/* Stops the sensor; meanwhile shows the events that are left, if somebody takes them. */
static gboolean stop_in_order(Up *up) {
        gint64 until = g_get_monotonic_time() + STOP_US, stuck = g_get_monotonic_time() + STUCK_US;

        kill(up->pid, SIGTERM);
        while (!reap(up) && g_get_monotonic_time() < until) {
                gboolean show = up->feed >= 0 && !up->feed_ended && !up->reader_gone;
                struct pollfd p[] = {
                        { .fd = up->pidfd, .events = POLLIN },
                        { .fd = show && !up->out->len ? up->feed : -1, .events = POLLIN },
                        { .fd = show && up->out->len ? STDOUT_FILENO : -1, .events = POLLOUT },
                };

                /* a stopped terminal must not hold up the sensor, which waits for its readers */
                if (show && up->out->len && g_get_monotonic_time() > stuck) {
                        up->feed_ended = TRUE;
                        bh_fd_clear(&up->feed);
                }
                if (poll(p, G_N_ELEMENTS(p), 200) <= 0)
                        continue;
                if (p[1].revents)
                        read_feed(up);
                if (p[2].revents)
                        write_feed(up);
                stuck = g_get_monotonic_time() + STUCK_US;
        }
        if (!up->ended)
                end_sensor(up);
        for (struct pollfd p = { .fd = STDOUT_FILENO, .events = POLLOUT }; up->out->len && !up->reader_gone && poll(&p, 1, 200) == 1; )
                write_feed(up);
        return WIFEXITED(up->how) && WEXITSTATUS(up->how) == 0;
}

static void summary(const Up *up, const json_t *status) {
        guint64 lost = bh_json_number(status, "lost") + bh_json_number(status, "recursion_misses"), unkept;
        json_t *recorder = json_object_get(status, "recorder");
        g_autofree char *reasons = bh_problems_counts(json_object_get(recorder, "lost"), &unkept), *dir = bh_json_cell(recorder, "dir");
        g_autofree char *span = bh_out_span((guint64) (g_get_monotonic_time() - up->started_us) / G_USEC_PER_SEC);

        if (!status)
                printf("Stopped after %s.\n", span);
        else
                printf("Stopped after %s: %" G_GUINT64_FORMAT " events recorded in %s, %" G_GUINT64_FORMAT " lost in the kernel, %" G_GUINT64_FORMAT " not kept.\n", span,
                       bh_json_number(json_object_get(status, "events"), "recorded"), dir, lost, unkept);
        fflush(stdout);
}

static int run(Up *up, char **argv, gboolean quiet, gboolean feed) {
        g_autoptr(GError) error = NULL;
        int code;

        up->stop = bh_stop_install();
        up->started_us = g_get_monotonic_time();
        if (!start(up, argv, &error))
                return bh_cli_fail(error);

        json_auto_t *status = wait_ready(up, &code);
        if (!status)
                return code;
        if (feed) {
                guint64 all[BH_TYPE_WORDS] = { 0 };

                /* before the start is described, so that nothing between is missing */
                up->feed = bh_client_request(up->paths, bh_cli_events_request("text", TRUE, NULL, all), &error);
                if (up->feed < 0)
                        bh_cli_fail(error);
        }
        if (!quiet)
                say_start(up, status, up->feed >= 0);
        follow(up);
        if (up->ended) {
                g_autofree char *how = how_it_ended(up);

                fflush(stdout);
                fprintf(stderr, "bulkhead: the sensor (pid %d) %s, though nobody asked it here. %s\n", (int) up->pid, how,
                        WIFSIGNALED(up->how) ? "Its kernel programs go on and keep what fits: start it again now with \"bulkhead up\", and look for who did it"
                                             : "Its messages above may say why; start it again with \"bulkhead up\"");
                return BH_EXIT_FAILED;
        }

        json_auto_t *last = bh_client_status(up->paths, 3, NULL);
        gboolean ok = stop_in_order(up);
        if (!quiet)
                summary(up, last);
        if (!ok) {
                g_autofree char *how = how_it_ended(up);

                fprintf(stderr, "bulkhead: the sensor %s instead of stopping in order\n", how);
        }
        return ok ? BH_EXIT_OK : BH_EXIT_FAILED;
}

int bh_cmd_up(const BhCliPaths *paths, int argc, char **argv) {
        gboolean quiet = FALSE, no_feed = FALSE, host_events = FALSE, no_docker = FALSE, debug = FALSE;
        /* handed on as they are: the sensor checks them */
        g_autofree char *docker = NULL, *backend = NULL, *host_root = NULL, *mib = NULL, *budget = NULL, *fold = NULL, *rings = NULL;
        GOptionEntry entries[] = {
                { "docker", 0, 0, G_OPTION_ARG_FILENAME, &docker, "Docker Engine's socket (default HOST-ROOT/run/docker.sock)", "SOCK" },
                { "no-docker", 0, 0, G_OPTION_ARG_NONE, &no_docker, "tell containers by their cgroups alone", NULL },
                { "backend", 0, 0, G_OPTION_ARG_STRING, &backend, "kernel hooks: auto (default), preferred or fallback", "B" },
                { "host-events", 0, 0, G_OPTION_ARG_NONE, &host_events, "record file and datagram events of host processes too", NULL },
                { "no-feed", 0, 0, G_OPTION_ARG_NONE, &no_feed, "do not show live events", NULL },
                { "quiet", 'q', 0, G_OPTION_ARG_NONE, &quiet, "print nothing but errors", NULL },
                { "host-root", 0, 0, G_OPTION_ARG_FILENAME, &host_root, "where the host's / is, when this runs in a container (default /)", "DIR" },
                { "recorder-mib", 0, 0, G_OPTION_ARG_STRING, &mib, "bound of the flight recorder (default 4096)", "N" },
                { "budget", 0, 0, G_OPTION_ARG_STRING, &budget, "described events a second and cgroup; 0: no limit (default 20000)", "N" },
                { "fold-ms", 0, 0, G_OPTION_ARG_STRING, &fold, "window in which equal acts are one event; 0: none (default 1000)", "N" },
                { "ring-kib", 0, 0, G_OPTION_ARG_STRING, &rings, "sizes of the ring buffers, powers of two (default 16384,8192,16384)", "L,K,B" },
                { "debug", 0, 0, G_OPTION_ARG_NONE, &debug, "log more", NULL },
                G_OPTION_ENTRY_NULL,
        };
        g_autoptr(GError) error = NULL;

        if (!bh_cli_parse(&argc, &argv, entries, NULL, "Starts Bulkhead on this machine: finds every container and shows, live, what the processes in them do.",
                          "Runs until Ctrl-C or SIGTERM, which stop the sensor in order. Needs root. The sensor's log goes to standard error.\n"))
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

        g_autofree char *sensor = find_sensor(&error);
        if (!sensor)
                return bh_cli_fail(error);

        g_autoptr(GPtrArray) child = g_ptr_array_new();
        const struct {
                const char *name, *value;
        } options[] = {
                { "--run-dir", paths->run_dir }, { "--data-dir", paths->data_dir }, { "--docker", docker }, { "--backend", backend }, { "--host-root", host_root },
                { "--recorder-mib", mib }, { "--budget", budget }, { "--fold-ms", fold }, { "--ring-kib", rings },
        };
        g_ptr_array_add(child, sensor);
        for (guint i = 0; i < G_N_ELEMENTS(options); i++)
                if (options[i].value) {
                        g_ptr_array_add(child, (char *) options[i].name);
                        g_ptr_array_add(child, (char *) options[i].value);
                }
        if (no_docker)
                g_ptr_array_add(child, (char *) "--no-docker");
        if (host_events)
                g_ptr_array_add(child, (char *) "--host-events");
        if (debug)
                g_ptr_array_add(child, (char *) "--debug");
        g_ptr_array_add(child, NULL);

        g_autoptr(GString) rest = g_string_new(NULL), out = g_string_new(NULL);
        Up up = { .paths = paths, .pidfd = -1, .feed = -1, .rest = rest, .out = out };
        int code = run(&up, (char **) child->pdata, quiet, !quiet && !no_feed);

        bh_fd_clear(&up.pidfd);
        bh_fd_clear(&up.feed);
        return code;
}
