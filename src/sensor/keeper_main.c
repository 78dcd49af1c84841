/* SPDX-License-Identifier: Apache-2.0 */
/* The guard of bulkhead-keeper (keeper_wire.h): holds the groups and the list, and sees to it that a worker answers. It reads no file of a container. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/fanotify.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fdio.h"
#include "keeper_worker.h"
#include "privileges.h"

#define TICK_MS 250
#define SEND_S 2 /* until somebody who does not read is given up */
#define ORDER_US (10 * G_USEC_PER_SEC) /* for the worker's answer to an order */
#define FAST_US (2 * G_USEC_PER_SEC)   /* a worker that lived for less ended fast */
#define FAST_MAX 5u                    /* in a row; then the guard gives up, and opens are free: nothing would answer them */
#define IDLE_US (5 * G_USEC_PER_SEC)   /* with nothing to hold and nobody connected it ends */

typedef struct {
        int group;
        guint slot;
        gboolean wide; /* more than single inodes is marked */
        json_t *set;
} Kept;

typedef struct {
        int listener, client, worker, ready, lock; /* ready: to whoever started it, until it is; lock: of the socket, for as long as the guard lives */
        pid_t pid;
        gint64 started_us, idle_us;
        guint fast, restarts;
        const char *socket, *proc;
        BhKeeperShared *shared;
        GHashTable *kept; /* Kept by container */
        /* the order that the worker has: of a "set" the new one */
        json_t *pending;
        char *container;
        Kept *fresh;
        gint64 pending_us;
        char *failed; /* why the worker could not begin, as it said */
} Guard;

static void kept_free(gpointer data) {
        Kept *k = data;

        if (!k)
                return;
        bh_fd_clear(&k->group);
        json_decref(k->set);
        g_free(k);
}

static void tell(Guard *g, json_t *answer) {
        if (g->client >= 0 && !bh_keeper_send_json(g->client, answer, -1))
                bh_fd_clear(&g->client);
}

static void refuse(Guard *g, const char *why) {
        json_auto_t *answer = json_pack("{s:s}", "error", why);

        tell(g, answer);
}

static void end_order(Guard *g) {
        g_clear_pointer(&g->pending, json_decref);
        g_clear_pointer(&g->container, g_free);
        g_clear_pointer(&g->fresh, kept_free);
}

/* ---- the worker ---- */

/* FALSE: the worker does not take it; it must not be left with a group that nobody answers. */
static gboolean send_kept(Guard *g, const Kept *k, gboolean revived) {
        json_auto_t *m = json_deep_copy(k->set);

        json_object_set_new(m, "slot", json_integer(k->slot));
        json_object_set_new(m, "revived", json_boolean(revived));
        json_object_set_new(m, "narrow", json_boolean(revived && !k->wide));
        return bh_keeper_send_json(g->worker, m, k->group);
}

static gboolean start_worker(Guard *g, gboolean revived) {
        GHashTableIter it;
        const struct timeval limit = { .tv_sec = SEND_S };
        gboolean ok = TRUE;
        int pair[2];
        Kept *k;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
                return FALSE;
        atomic_store(&g->shared->beat_us, g_get_monotonic_time());
        g->started_us = g_get_monotonic_time();
        g->pid = fork();
        if (g->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                prctl(PR_SET_NAME, "bh-keeper-work");
                close(pair[0]);
                bh_fd_clear(&g->listener);
                bh_fd_clear(&g->client);
                bh_fd_clear(&g->ready);
                bh_fd_clear(&g->lock); /* else a worker that takes a moment to end would keep the next guard away */
                g_hash_table_remove_all(g->kept); /* each comes with its order */
                _exit(bh_keeper_work(pair[1], g->shared, g->proc));
        }
        close(pair[1]);
        g->worker = pair[0];
        setsockopt(g->worker, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        if (g->pid < 0) {
                bh_fd_clear(&g->worker);
                return FALSE;
        }
        g_hash_table_iter_init(&it, g->kept);
        while (ok && g_hash_table_iter_next(&it, NULL, (gpointer *) &k))
                ok = send_kept(g, k, revived);
        return ok;
}

/* FALSE: no worker lives. */
static gboolean replace_worker(Guard *g) {
        kill(g->pid, SIGKILL);
        while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        bh_fd_clear(&g->worker);
        g->fast = g_get_monotonic_time() - g->started_us < FAST_US ? g->fast + 1 : 0;
        g->restarts++;
        if (g->pending) {
                g_autofree char *why = g->failed ? g_strdup_printf("the keeper's worker cannot begin: %s; nothing was changed", g->failed) : NULL;

                refuse(g, why ? why : "the keeper's worker ended while it looked the files up; nothing was changed");
                end_order(g);
        }
        g_clear_pointer(&g->failed, g_free);
        return g->fast < FAST_MAX && start_worker(g, TRUE);
}

static void hear_worker(Guard *g, json_t *m) {
        const char *gone = json_string_value(json_object_get(m, "gone")), *wide = json_string_value(json_object_get(m, "wide")), *container = json_string_value(json_object_get(m, "container"));
        const char *failed = json_string_value(json_object_get(m, "failed"));

        if (failed) {
                g_free(g->failed);
                g->failed = g_strdup(failed);
                return;
        }
        if (gone) {
                g_hash_table_remove(g->kept, gone);
                return;
        }
        if (wide) {
                Kept *k = g_hash_table_lookup(g->kept, wide);

                if (k)
                        k->wide = TRUE;
                return;
        }
        if (container && json_is_true(json_object_get(m, "revived"))) {
                if (json_object_get(m, "error")) /* nobody would answer: its opens are free, and the sensor finds it missing */
                        g_hash_table_remove(g->kept, container);
                return;
        }
        if (!g->pending || g_strcmp0(container, g->container))
                return;
        if (g->fresh && !json_object_get(m, "error")) {
                g->fresh->wide = json_is_true(json_object_get(m, "wide"));
                g_hash_table_replace(g->kept, g_strdup(g->container), g->fresh);
                g->fresh = NULL;
        }
        tell(g, m);
        end_order(g);
}

/* ---- orders ---- */

static gboolean free_slot(const Guard *g, guint *slot) {
        for (*slot = 0; *slot < BH_KEEPER_CONTAINERS; (*slot)++) {
                gboolean used = FALSE;
                GHashTableIter it;
                Kept *k;

                g_hash_table_iter_init(&it, g->kept);
                while (g_hash_table_iter_next(&it, NULL, (gpointer *) &k))
                        used |= k->slot == *slot;
                if (!used)
                        return TRUE;
        }
        return FALSE;
}

/*
 * Without a bound of its queue: it is one of threads that wait, and beyond a bound the kernel lets opens through. Files for its questions are opened without waiting, so that nobody's lease holds up the others.
 */
static int new_group(void) {
        return fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS | FAN_REPORT_TID, O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NONBLOCK);
}

static void order_set(Guard *g, json_t *m, const char *container) {
        Kept *before = g_hash_table_lookup(g->kept, container);
        Kept *k = g_new0(Kept, 1);

        k->group = before ? fcntl(before->group, F_DUPFD_CLOEXEC, 3) : new_group();
        k->set = json_incref(m);
        if (k->group < 0 || (!before && !free_slot(g, &k->slot))) {
                g_autofree char *why = k->group < 0 ? g_strdup_printf("the kernel gives no fanotify group: %s", g_strerror(errno))
                                                    : g_strdup_printf("files are denied to %u containers, which is as many as there may be: release others first", BH_KEEPER_CONTAINERS);

                refuse(g, why);
                kept_free(k);
                return;
        }
        if (before) {
                k->slot = before->slot;
        } else {
                atomic_store(&g->shared->slots[k->slot].opens, 0);
                atomic_store(&g->shared->slots[k->slot].denied, 0);
                atomic_store(&g->shared->slots[k->slot].unsure, 0);
                atomic_store(&g->shared->slots[k->slot].programs, 0);
                atomic_store(&g->shared->slots[k->slot].untold, 0);
        }
        g->pending = json_incref(m);
        g->container = g_strdup(container);
        g->fresh = k;
        g->pending_us = g_get_monotonic_time();
        if (!send_kept(g, k, FALSE)) {
                refuse(g, "the keeper's worker takes no orders at the moment: try again");
                end_order(g);
        }
}

static void order_list(Guard *g) {
        json_t *list = json_array();
        json_auto_t *answer = json_pack("{s:I,s:o}", "restarts", (json_int_t) g->restarts, "containers", list);
        GHashTableIter it;
        const char *container;
        Kept *k;

        g_hash_table_iter_init(&it, g->kept);
        while (g_hash_table_iter_next(&it, (gpointer *) &container, (gpointer *) &k))
                json_array_append_new(list, json_pack("{s:s,s:O,s:I,s:I,s:I,s:I,s:I}", "container", container, "cgroup", json_object_get(k->set, "cgroup"), "opens", (json_int_t) atomic_load(&g->shared->slots[k->slot].opens),
                                                      "denied", (json_int_t) atomic_load(&g->shared->slots[k->slot].denied), "unsure", (json_int_t) atomic_load(&g->shared->slots[k->slot].unsure), "programs",
                                                      (json_int_t) atomic_load(&g->shared->slots[k->slot].programs), "untold", (json_int_t) atomic_load(&g->shared->slots[k->slot].untold)));
        tell(g, answer);
}

static void hear_client(Guard *g, json_t *m) {
        const char *op = json_string_value(json_object_get(m, "op")), *container = json_string_value(json_object_get(m, "container"));

        if (g_strcmp0(op, "list") == 0) {
                order_list(g);
        } else if (container && g_strcmp0(op, "set") == 0) {
                order_set(g, m, container);
        } else if (container && g_strcmp0(op, "drop") == 0) {
                g_hash_table_remove(g->kept, container);
                g->pending = json_incref(m);
                g->container = g_strdup(container);
                g->pending_us = g_get_monotonic_time();
                bh_keeper_send_json(g->worker, m, -1);
        } else {
                refuse(g, "the keeper knows no such order: it is of another build than the sensor");
        }
}

/* ---- life ---- */

static void accept_client(Guard *g) {
        const struct timeval limit = { .tv_sec = SEND_S };
        struct ucred peer;
        socklen_t size = sizeof(peer);
        int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
                return;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || peer.uid != 0) {
                close(fd);
                return;
        }
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        bh_fd_clear(&g->client); /* the newest sensor */
        end_order(g);
        g->client = fd;
}

static int serve(Guard *g) {
        for (;;) {
                struct pollfd p[] = { { .fd = g->worker, .events = POLLIN }, { .fd = g->listener, .events = POLLIN }, { .fd = g->pending ? -1 : g->client, .events = POLLIN } };
                gint64 now;

                if (poll(p, G_N_ELEMENTS(p), TICK_MS) < 0 && errno != EINTR)
                        return 1;
                now = g_get_monotonic_time();
                if (p[0].revents) {
                        json_auto_t *m = bh_keeper_receive_json(g->worker, NULL);

                        if (m)
                                hear_worker(g, m);
                        else if (!replace_worker(g))
                                return 1;
                } else if (now - atomic_load(&g->shared->beat_us) > BH_KEEPER_STUCK_MS * 1000 || (g->pending && now - g->pending_us > ORDER_US)) {
                        if (!replace_worker(g))
                                return 1;
                } else if (p[1].revents) {
                        accept_client(g);
                } else if (p[2].revents) {
                        json_auto_t *m = bh_keeper_receive_json(g->client, NULL);

                        if (m)
                                hear_client(g, m);
                        else
                                bh_fd_clear(&g->client);
                }
                if (g->client >= 0 || g_hash_table_size(g->kept))
                        g->idle_us = now;
                else if (now - g->idle_us > IDLE_US)
                        return 0;
        }
}

/* One guard a run directory: who has the lock has the socket. */
static int listen_at(const char *path, int *held, char **problem) {
        g_autofree char *lock = g_strconcat(path, ".lock", NULL);
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        *held = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (strlen(path) >= sizeof(at.sun_path)) {
                *problem = g_strdup_printf("%s is too long for a socket", path);
                return -1;
        }
        if (*held < 0 || fd < 0 || flock(*held, LOCK_EX | LOCK_NB)) {
                *problem = g_strdup_printf("%s: %s", lock, errno == EWOULDBLOCK ? "another keeper has it" : g_strerror(errno));
                return -1;
        }
        memcpy(at.sun_path, path, strlen(path) + 1);
        unlink(path);
        if (bind(fd, (const void *) &at, sizeof(at)) || listen(fd, 4)) {
                *problem = g_strdup_printf("%s: %s", path, g_strerror(errno));
                return -1;
        }
        return fd;
}

/* As a process that nothing of its parent ends: a session of its own, nobody's child. What it says goes through `ready`. */
static int run(const char *socket_path, const char *proc, int ready) {
        static const int keep[] = { CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_OVERRIDE };
        g_autoptr(GError) error = NULL;
        g_autofree char *problem = NULL;
        Guard g = { .listener = -1, .client = -1, .worker = -1, .ready = ready, .lock = -1, .socket = socket_path, .proc = proc, .idle_us = g_get_monotonic_time() };
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);

        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_DFL);
        signal(SIGCHLD, SIG_DFL);
        for (int fd = 0; fd < 3; fd++)
                dup2(null, fd);
        umask(0077);
        prctl(PR_SET_DUMPABLE, 0);
        if (chdir("/") || null < 0)
                problem = g_strdup(g_strerror(errno));
        else if (!bh_privileges_keep(keep, G_N_ELEMENTS(keep), &error))
                problem = g_strdup(error->message);
        else
                g.listener = listen_at(socket_path, &g.lock, &problem);
        g.shared = problem ? NULL : mmap(NULL, sizeof(*g.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (!problem && g.shared == MAP_FAILED)
                problem = g_strdup(g_strerror(errno));
        g.kept = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, kept_free);
        if (!problem && !start_worker(&g, FALSE))
                problem = g_strdup(g_strerror(errno));
        if (problem) {
                (void) !write(ready, problem, strlen(problem));
                return 1;
        }
        bh_fd_clear(&g.ready);
        int rc = serve(&g);
        unlink(socket_path);
        g_hash_table_remove_all(g.kept);
        if (g.pid > 0)
                kill(g.pid, SIGKILL);
        return rc;
}

int main(int argc, char **argv) {
        int ready[2];
        char said[512];
        gsize len = 0;

        if (argc != 3) {
                fputs("usage: bulkhead-keeper SOCKET PROC\n\nDenies opens of files to containers. The sensor starts it; see docs/response.md.\n", stderr);
                return 2;
        }
        if (pipe2(ready, O_CLOEXEC)) {
                perror("bulkhead-keeper");
                return 1;
        }
        pid_t pid = fork();
        if (pid == 0) {
                close(ready[0]);
                setsid();
                if ((pid = fork()) != 0)
                        _exit(pid < 0);
                return run(argv[1], argv[2], ready[1]);
        }
        close(ready[1]);
        if (pid < 0) {
                perror("bulkhead-keeper");
                return 1;
        }
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        for (gssize n; len < sizeof(said) - 1 && (n = read(ready[0], said + len, sizeof(said) - 1 - len)) > 0;)
                len += (gsize) n;
        said[len] = '\0';
        if (len)
                fprintf(stderr, "%s\n", said);
        return len != 0;
}
