/* SPDX-License-Identifier: Apache-2.0 */
#include "pause.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "evidence/paused.h"
#include "hooks_private.h"
#include "loader.h"
#include "pause.skel.h"

#define BEAT_MS 500
#define BEHIND_NS 100000000u
#define END_MS 1000u
#define END_US (5 * G_USEC_PER_SEC)
#define NS_PER_S G_GUINT64_CONSTANT(1000000000)

struct BhPause {
        char *pin, *proc;
        pid_t guard;
        BhFd to_guard;
        struct bpf_object *object;
        struct bpf_link *link;
        struct ring_buffer *ring;
        struct bh_paused *slots;
        volatile struct bh_pause_wish *wish; /* mapped */
        BhPauseTake take;
        gpointer data;
        GThread *thread;

        GMutex lock; /* of all below */
        GCond changed;
        gboolean ends, ended;
        const char *why; /* nobody is stopped; NULL: they are. Static */
        guint64 continued, total_ns, max_ns;
};

static guint64 now_of(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (guint64) t.tv_sec * NS_PER_S + (guint64) t.tv_nsec;
}

static void set_why(BhPause *p, const char *why) {
        g_mutex_lock(&p->lock);
        p->why = why;
        g_mutex_unlock(&p->lock);
}

static char *pin_of(const char *pin_dir) {
        return g_build_filename(pin_dir, "paused", NULL);
}

guint bh_pause_recover(const char *pin_dir, const char *proc) {
        g_autofree char *pin = pin_of(pin_dir);
        struct bh_paused *left = bh_paused_map(pin);
        guint n = bh_paused_continue_all(left, proc);

        bh_paused_unmap(left);
        unlink(pin);
        return n;
}

/* ---- the guard: its process */

static struct bh_pause_wish *map_wish(int fd) {
        void *at = mmap(NULL, (gsize) sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        return at == MAP_FAILED ? NULL : at;
}

/* Two descriptors of maps come with one byte. -1: the other end is gone. 1: they came. */
static int receive(int from, int fds[2]) {
        union {
                char bytes[CMSG_SPACE(2 * sizeof(int))];
                struct cmsghdr align;
        } control;
        char byte;
        struct iovec part = { &byte, 1 };
        struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
        ssize_t n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
        struct cmsghdr *c = n == 1 ? CMSG_FIRSTHDR(&m) : NULL;

        if (n == 0 || (n < 0 && errno != EINTR))
                return -1;
        if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(2 * sizeof(int)))
                return 0;
        memcpy(fds, CMSG_DATA(c), 2 * sizeof(int));
        return 1;
}

static void keep_only_kill(void) {
        cap_value_t kill_only = CAP_KILL;
        cap_t c = cap_init();

        if (c && cap_set_flag(c, CAP_PERMITTED, 1, &kill_only, CAP_SET) == 0 && cap_set_flag(c, CAP_EFFECTIVE, 1, &kill_only, CAP_SET) == 0)
                (void) !cap_set_proc(c);
        cap_free(c);
}

static G_NORETURN void guard(int fd, const char *proc) {
        struct bh_paused *slots = NULL;
        struct bh_pause_wish *wish = NULL;

        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                int n = poll(&p, 1, slots ? (int) BH_PAUSE_MAX_MS : -1), fds[2], came = n > 0 ? receive(fd, fds) : 0;

                if (came < 0)
                        break;
                if (came > 0 && !slots) {
                        slots = bh_paused_map_fd(fds[0]);
                        wish = map_wish(fds[1]);
                }
                for (guint i = 0; came > 0 && i < G_N_ELEMENTS(fds); i++)
                        close(fds[i]);
                guint late = slots ? bh_paused_continue(slots, proc, BH_PAUSE_MAX_MS * G_GUINT64_CONSTANT(1000000)) : 0;
                if (late && wish) {
                        __atomic_fetch_add(&wish->overdue, late, __ATOMIC_RELAXED);
                        __atomic_store_n(&wish->quiet_until, now_of(CLOCK_BOOTTIME) + BH_PAUSE_QUIET_S * NS_PER_S, __ATOMIC_RELAXED);
                }
        }
        /* its link may be a moment behind */
        if (wish)
                __atomic_store_n(&wish->on, 0, __ATOMIC_RELEASE);
        bh_paused_continue_all(slots, proc);
        _exit(0);
}

/* ---- the guard: our side */

BhPause *bh_pause_new(const char *pin_dir, const char *proc) {
        BhPause *p = g_new0(BhPause, 1);
        int pair[2] = { -1, -1 };

        g_mutex_init(&p->lock);
        g_cond_init(&p->changed);
        p->pin = pin_of(pin_dir);
        p->proc = g_strdup(proc);
        p->to_guard = -1;
        p->why = "not started yet";
        p->guard = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ? -1 : fork();
        if (p->guard == 0) {
                setsid();
                for (int signal_number = 1; signal_number < 32; signal_number++)
                        if (signal_number != SIGKILL && signal_number != SIGSTOP && signal_number != SIGSEGV && signal_number != SIGBUS && signal_number != SIGCHLD)
                                signal(signal_number, SIG_IGN);
                prctl(PR_SET_NAME, "bulkhead-guard");
                keep_only_kill();
                if (dup2(pair[1], 3) != 3)
                        _exit(1);
                syscall(SYS_close_range, 4u, ~0u, 0);
                for (int fd = 0; fd < 3; fd++)
                        close(fd);
                guard(3, p->proc);
        }
        if (pair[1] >= 0)
                close(pair[1]);
        p->to_guard = pair[0];
        if (p->guard < 0)
                p->why = "no process can be had that continues what a sensor that hangs has stopped";
        return p;
}

static gboolean give_maps(BhPause *p, int slots, int wish) {
        union {
                char bytes[CMSG_SPACE(2 * sizeof(int))];
                struct cmsghdr align;
        } control = { { 0 } };
        char byte = 1;
        struct iovec part = { &byte, 1 };
        struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        int fds[2] = { slots, wish };

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(fds));
        memcpy(CMSG_DATA(c), fds, sizeof(fds));
        return sendmsg(p->to_guard, &m, MSG_NOSIGNAL) == 1;
}

static gboolean guard_lives(BhPause *p) {
        char byte;

        return p->to_guard >= 0 && recv(p->to_guard, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 0;
}

/* ---- the thread that copies */

static int on_record(void *data, void *bytes, size_t size) {
        BhPause *p = data;
        const struct bh_pause_record *r = bytes;

        if (size < sizeof(*r))
                return 0;
        if (!p->take(r, p->data))
                p->wish->quiet_until = now_of(CLOCK_BOOTTIME) + BEHIND_NS;
        guint64 held = now_of(CLOCK_BOOTTIME) - r->since;
        if (!bh_paused_continue_one(p->slots, r->slot, p->proc, r->since))
                return 0;
        g_mutex_lock(&p->lock);
        p->continued++;
        p->total_ns += held;
        p->max_ns = MAX(p->max_ns, held);
        g_mutex_unlock(&p->lock);
        return 0;
}

static gpointer run(gpointer data) {
        BhPause *p = data;

        g_mutex_lock(&p->lock);
        while (!p->ends) {
                g_mutex_unlock(&p->lock);
                p->wish->offset = now_of(CLOCK_REALTIME) - now_of(CLOCK_BOOTTIME);
                p->wish->alive = now_of(CLOCK_BOOTTIME);
                if (p->wish->on && !guard_lives(p)) {
                        p->wish->on = 0;
                        set_why(p, "the process that continues what a sensor that hangs has stopped was ended; it comes back with the next start of the sensor");
                        bh_error("programs are not stopped any more to be copied: the guard was ended", "process", "bulkhead-guard");
                }
                ring_buffer__poll(p->ring, BEAT_MS);
                g_mutex_lock(&p->lock);
        }
        p->ended = TRUE;
        g_cond_broadcast(&p->changed);
        g_mutex_unlock(&p->lock);
        return NULL;
}

static gboolean fail_start(BhPause *p, const char *why, GError **error) {
        set_why(p, why);
        return bh_hooks_fail(error, "%s: %s", why, g_strerror(errno));
}

gboolean bh_pause_start(BhPause *p, BhHooks *hooks, BhPauseTake take, gpointer data, GError **error) {
        size_t size;
        const void *bytes = bh_pause__elf_bytes(&size);

        if (p->guard < 0) {
                errno = EAGAIN;
                return fail_start(p, p->why, error);
        }
        if (!(p->object = bh_loader_load_apart(hooks, "pause", bytes, size, error))) {
                set_why(p, "this kernel refuses the program that stops");
                return FALSE;
        }
        int slots = bpf_object__find_map_fd_by_name(p->object, "paused"), wish = bpf_object__find_map_fd_by_name(p->object, "pause_wish");
        p->slots = bh_paused_map_fd(slots);
        p->wish = map_wish(wish);
        if (!p->slots || !p->wish)
                return fail_start(p, "cannot map what the kernel stops", error);
        unlink(p->pin);
        if (bpf_obj_pin(slots, p->pin))
                return fail_start(p, "cannot pin what the kernel stops", error);
        p->ring = ring_buffer__new(bpf_object__find_map_fd_by_name(p->object, "pause_ring"), on_record, p, NULL);
        if (!p->ring || !give_maps(p, slots, wish))
                return fail_start(p, "cannot tell the guard what is stopped", error);
        p->take = take;
        p->data = data;
        p->wish->window = BH_PAUSE_WINDOW_S * NS_PER_S;
        p->wish->per_container = BH_PAUSE_PER_CONTAINER;
        p->wish->per_node = BH_PAUSE_PER_NODE;
        g_mutex_lock(&p->lock);
        p->thread = g_thread_new("bh-pause", run, p);
        g_mutex_unlock(&p->lock);
        p->wish->on = 1;
        p->link = bpf_program__attach(bpf_object__find_program_by_name(p->object, "tp_pause"));
        if (!p->link) {
                p->wish->on = 0;
                return fail_start(p, "cannot stop programs at their start", error);
        }
        set_why(p, NULL);
        return TRUE;
}

guint bh_pause_guard(BhPause *p) {
        guint n = 0;

        if (!p)
                return 0;
        g_mutex_lock(&p->lock);
        if (p->thread && !p->ends && access(p->pin, F_OK))
                n = bpf_obj_pin(bpf_object__find_map_fd_by_name(p->object, "paused"), p->pin) == 0;
        g_mutex_unlock(&p->lock);
        return n;
}

gboolean bh_pause_stop(BhPause *p) {
        if (!p || !p->object)
                return TRUE;
        if (p->wish)
                p->wish->on = 0;
        if (p->link)
                bpf_link__destroy(g_steal_pointer(&p->link));
        if (p->thread) {
                g_mutex_lock(&p->lock);
                gint64 until = g_get_monotonic_time() + (p->ends ? 0 : END_US); /* it was waited for already */
                p->ends = TRUE;
                while (!p->ended && g_cond_wait_until(&p->changed, &p->lock, until))
                        ;
                gboolean ended = p->ended;
                p->why = "stopped";
                g_mutex_unlock(&p->lock);
                bh_paused_continue_all(p->slots, p->proc);
                if (!ended) /* a file system holds it up: what it uses stays, and the guard goes with this process */
                        return FALSE;
                g_thread_join(g_steal_pointer(&p->thread));
        }
        unlink(p->pin);
        if (p->ring)
                ring_buffer__free(g_steal_pointer(&p->ring));
        bh_paused_unmap(g_steal_pointer(&p->slots));
        g_mutex_lock(&p->lock); /* of the status */
        if (p->wish)
                munmap((void *) p->wish, (gsize) sysconf(_SC_PAGESIZE));
        p->wish = NULL;
        g_mutex_unlock(&p->lock);
        bpf_object__close(g_steal_pointer(&p->object));
        return TRUE;
}

void bh_pause_free(BhPause *p) {
        if (!p)
                return;
        bh_pause_stop(p);
        bh_fd_clear(&p->to_guard);
        for (guint i = 0; p->guard > 0 && i < END_MS && waitpid(p->guard, NULL, WNOHANG) == 0; i++)
                g_usleep(1000);
        if (p->thread) /* held up: see bh_pause_stop() */
                return;
        g_mutex_clear(&p->lock);
        g_cond_clear(&p->changed);
        g_free(p->pin);
        g_free(p->proc);
        g_free(p);
}

json_t *bh_pause_status(BhPause *p) {
        json_t *o = json_object();

        if (!p) {
                json_object_set_new(o, "state", json_string("off"));
                json_object_set_new(o, "why", json_string("--no-hold"));
                return o;
        }
        g_mutex_lock(&p->lock);
        struct bh_pause_wish none = { 0 };
        const volatile struct bh_pause_wish *w = p->wish ? p->wish : &none;
        const struct {
                const char *name;
                guint64 value;
        } numbers[] = {
                { "stopped", w->stopped }, { "continued", p->continued }, { "overdue", w->overdue }, { "over_rate", w->over_rate }, { "no_room", w->no_room }, { "behind", w->behind },
                { "refused", w->refused }, { "mean_us", p->continued ? p->total_ns / p->continued / 1000 : 0 }, { "max_us", p->max_ns / 1000 },
        };
        gboolean hangs = w->on && w->alive && now_of(CLOCK_BOOTTIME) > w->alive + BH_PAUSE_STALE_NS;
        const char *why = p->why ? p->why : hangs ? "what is copied comes from a file system that does not answer, or the sensor gets no turn: until then nobody is stopped" : NULL;
        json_object_set_new(o, "state", json_string(why ? "off" : "on"));
        json_object_set_new(o, "why", json_string(why ? why : ""));
        for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
                json_object_set_new(o, numbers[i].name, json_integer((json_int_t) numbers[i].value));
        g_mutex_unlock(&p->lock);
        return o;
}
