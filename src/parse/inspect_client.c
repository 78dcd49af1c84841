/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/inspect_client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "parse/inspect_child.h"

#define IN_ROOM (sizeof(BhInspectHeader) + BH_INSPECT_ANSWER_MAX + (64u << 10)) /* a whole answer always fits */
#define WELL_US G_USEC_PER_SEC /* a child that lived so long was not one that dies at its start */
#define WAIT_MS_DEFAULT 5000u
#define STALL 5 /* times work_ms on the clock, when the child uses no processor time */

typedef struct {
        guint kind;
        GBytes *body;
        gsize len;
        BhFd file;
        guint64 file_len, id;
        guint64 begin; /* where in the child's stream it begins */
        gint64 submitted_us, expires_us;
        BhInspectCallback callback;
        gpointer data;
} Request;

struct BhInspectClient {
        char *program;
        guint max_requests;
        gsize max_bytes;
        void (*on_problem)(const char *problem, gpointer data);
        gpointer data;
        GThread *thread;
        BhFd wake;

        GMutex lock;
        GCond changed; /* ready */
        /* under the lock */
        GQueue waiting; /* Request * */
        gsize waiting_bytes;
        guint waiting_files;
        gint64 next_expiry; /* no waiting request expires before */
        gboolean sleeping, stopping;
        BhInspectStats stats;

        /* the thread's own */
        BhInspectChild child;
        gboolean ready;
        gint64 started_us, restart_us;
        guint failures; /* children in a row that did not live well */
        GQueue sent; /* Request *, in the order that the answers come */
        gsize sent_bytes;
        guint sent_files;
        guint64 next_id;
        GByteArray *out; /* encoded, not yet written from out_done on */
        gsize out_done;
        int out_file;    /* goes with the first byte of out; the request's own */
        guint64 encoded, written; /* bytes of the child's stream */
        guint8 *in;
        gsize in_len;
        gint64 head_us, judge_us, cpu_us; /* of the request that the child works on: since when, when to look, processor time then (-1) */
};

const char *bh_inspect_lost_name(BhInspectLostReason reason) {
        static const char *const names[BH_INSPECT_LOST_REASONS] = {
                [BH_INSPECT_LOST_DIED] = "died",
                [BH_INSPECT_LOST_HUNG] = "hung",
                [BH_INSPECT_LOST_RUBBISH] = "rubbish",
                [BH_INSPECT_LOST_EXPIRED] = "expired",
                [BH_INSPECT_LOST_STOPPED] = "stopped",
        };

        return (guint) reason < BH_INSPECT_LOST_REASONS ? names[reason] : "?";
}

static void request_free(Request *r) {
        g_bytes_unref(r->body);
        bh_fd_clear(&r->file);
        g_free(r);
}

void bh_inspect_answer_clear(BhInspectAnswer *a) {
        g_clear_pointer(&a->dns, bh_dns_free);
        g_clear_pointer(&a->names, bh_passwd_unref);
        g_clear_pointer(&a->elf, bh_elf_free);
        g_clear_pointer(&a->protocol, g_free);
        g_clear_pointer(&a->web, bh_web_facts_free);
        g_clear_pointer(&a->owned, g_bytes_unref);
        a->body = NULL;
        a->len = 0;
}

/* ---- answers. Callbacks are called without the lock. */

/* The request, which waits or is sent no longer, is answered and freed. */
static void deliver(BhInspectClient *c, Request *r, BhInspectAnswer *a) {
        a->kind = r->kind;
        a->took_us = (guint64) MAX(g_get_monotonic_time() - r->submitted_us, 0);
        r->callback(a, r->data);
        bh_inspect_answer_clear(a);
        request_free(r);
}

static void deliver_lost(BhInspectClient *c, Request *r, BhInspectLostReason reason, const char *problem) {
        BhInspectAnswer a = { .status = BH_INSPECT_LOST, .lost = reason, .problem = problem };

        deliver(c, r, &a);
}

/* Under the lock. */
static Request *take_waiting(BhInspectClient *c, GList *link) {
        Request *r = link->data;

        g_queue_delete_link(&c->waiting, link);
        c->waiting_bytes -= r->len;
        c->waiting_files -= r->file >= 0;
        c->stats.waiting = c->waiting.length;
        return r;
}

static Request *take_sent(BhInspectClient *c) {
        Request *r = g_queue_pop_head(&c->sent);

        c->sent_bytes -= r->len;
        c->sent_files -= r->file >= 0;
        return r;
}

/* The child works on the head of `sent` from now on. */
static void head_begins(BhInspectClient *c) {
        const Request *r = g_queue_peek_head(&c->sent);

        if (!r)
                return;
        c->head_us = g_get_monotonic_time();
        c->judge_us = c->head_us + (gint64) bh_inspect_kind_work_ms(r->kind) * 1000;
        c->cpu_us = -1;
}

static void expire(BhInspectClient *c) {
        gint64 now = g_get_monotonic_time(), next = G_MAXINT64;
        GQueue expired = G_QUEUE_INIT;

        g_mutex_lock(&c->lock);
        if (now < c->next_expiry) {
                g_mutex_unlock(&c->lock);
                return;
        }
        for (GList *l = c->waiting.head, *after; l; l = after) {
                Request *r = l->data;

                after = l->next;
                if (r->expires_us <= now) {
                        g_queue_push_tail(&expired, take_waiting(c, l));
                        c->stats.lost[BH_INSPECT_LOST_EXPIRED]++;
                } else {
                        next = MIN(next, r->expires_us);
                }
        }
        c->next_expiry = next;
        g_mutex_unlock(&c->lock);
        for (Request *r; (r = g_queue_pop_head(&expired));)
                deliver_lost(c, r, BH_INSPECT_LOST_EXPIRED, "the inspector did not get to it in time");
}

/* ---- the child's life */

static void say_problem(BhInspectClient *c, const char *problem) {
        g_mutex_lock(&c->lock);
        g_strlcpy(c->stats.problem, problem, sizeof(c->stats.problem));
        g_mutex_unlock(&c->lock);
        if (c->on_problem)
                c->on_problem(problem, c->data);
}

static void set_ready(BhInspectClient *c, gboolean ready, pid_t pid) {
        c->ready = ready;
        g_mutex_lock(&c->lock);
        c->stats.ready = ready;
        c->stats.pid = pid;
        g_cond_broadcast(&c->changed);
        g_mutex_unlock(&c->lock);
}

static void plan_restart(BhInspectClient *c, gboolean lived_well) {
        guint delay_ms = 0;

        if (lived_well)
                c->failures = 0;
        if (c->failures)
                delay_ms = MIN(10u << MIN(c->failures - 1, 10u), BH_INSPECT_BACKOFF_MAX_MS);
        c->failures++;
        c->restart_us = g_get_monotonic_time() + (gint64) delay_ms * 1000;
}

static void start_child(BhInspectClient *c) {
        g_autoptr(GError) error = NULL;

        c->started_us = g_get_monotonic_time();
        g_mutex_lock(&c->lock);
        c->stats.starts++;
        g_mutex_unlock(&c->lock);
        if (!bh_inspect_child_start(&c->child, c->program, &error)) {
                g_mutex_lock(&c->lock);
                c->stats.start_failures++;
                g_mutex_unlock(&c->lock);
                plan_restart(c, FALSE);
                say_problem(c, error->message);
                return;
        }
        set_ready(c, FALSE, c->child.pid);
}

/* The requests of which the child has not seen a byte go back to the front of those that wait; the others are lost. */
static void give_up_sent(BhInspectClient *c, BhInspectLostReason reason, const char *problem) {
        GQueue lost = G_QUEUE_INIT;
        Request *r;

        g_mutex_lock(&c->lock);
        while ((r = g_queue_peek_tail(&c->sent)) && r->begin >= c->written && reason != BH_INSPECT_LOST_STOPPED) {
                g_queue_push_head(&c->waiting, g_queue_pop_tail(&c->sent));
                c->waiting_bytes += r->len;
                c->waiting_files += r->file >= 0;
                c->next_expiry = MIN(c->next_expiry, r->expires_us);
        }
        while ((r = g_queue_pop_head(&c->sent))) {
                g_queue_push_tail(&lost, r);
                c->stats.lost[reason]++;
        }
        c->stats.waiting = c->waiting.length;
        c->stats.sent = 0;
        g_mutex_unlock(&c->lock);

        c->sent_bytes = 0;
        c->sent_files = 0;
        g_byte_array_set_size(c->out, 0);
        c->out_done = c->in_len = 0;
        c->out_file = -1;
        c->encoded = c->written = 0;
        while ((r = g_queue_pop_head(&lost)))
                deliver_lost(c, r, reason, problem);
}

/* `why` NULL: it ended by itself. */
static void lose_child(BhInspectClient *c, BhInspectLostReason reason, const char *why) {
        gboolean was_ready = c->ready;
        pid_t pid = c->child.pid;
        guint had = c->sent.length;
        g_autofree char *end = bh_inspect_child_end(&c->child), *problem = NULL;

        if (!was_ready) {
                g_mutex_lock(&c->lock);
                c->stats.start_failures++;
                g_mutex_unlock(&c->lock);
        }
        set_ready(c, FALSE, 0);
        plan_restart(c, was_ready && g_get_monotonic_time() - c->started_us >= WELL_US);
        if (!was_ready)
                problem = g_strdup_printf("the inspector %s (process %d) did not start: it %s", c->program, (int) pid, why ? why : end);
        else
                problem = g_strdup_printf("the inspector (process %d) %s; requests with it: %u", (int) pid, why ? why : end, had);
        give_up_sent(c, reason, problem);
        say_problem(c, problem);
}

/* ---- to the child */

/* Under the lock: whether the next waiting request may go now. */
static gboolean can_send(const BhInspectClient *c) {
        const Request *r = g_queue_peek_head((GQueue *) &c->waiting);

        if (!c->ready || !r || c->sent.length >= BH_INSPECT_WINDOW)
                return FALSE;
        if (c->sent.length && c->sent_bytes + r->len > BH_INSPECT_WINDOW_BYTES)
                return FALSE;
        /* a file goes with the first byte of a write */
        return r->file < 0 || (c->sent_files < BH_INSPECT_FILES_MAX && c->out->len == 0);
}

static void encode(BhInspectClient *c, Request *r) {
        BhInspectHeader h = { .len = (guint32) r->len, .kind = (guint16) r->kind, .id = ++c->next_id, .file = r->file_len };

        r->id = h.id;
        r->begin = c->encoded;
        if (r->file >= 0)
                c->out_file = r->file;
        g_byte_array_append(c->out, (const guint8 *) &h, sizeof(h));
        if (r->len)
                g_byte_array_append(c->out, g_bytes_get_data(r->body, NULL), (guint) r->len);
        c->encoded += sizeof(h) + r->len;
}

/* Moves what the window allows from `waiting` into `out`. */
static void fill(BhInspectClient *c) {
        gboolean idle = c->sent.length == 0;

        g_mutex_lock(&c->lock);
        while (can_send(c)) {
                Request *r = take_waiting(c, c->waiting.head);

                encode(c, r);
                g_queue_push_tail(&c->sent, r);
                c->sent_bytes += r->len;
                c->sent_files += r->file >= 0;
        }
        c->stats.sent = c->sent.length;
        g_mutex_unlock(&c->lock);
        if (idle)
                head_begins(c);
}

/* Writes what the socket takes. An error is left to the reading side, which has the answers that came before it. */
static void write_out(BhInspectClient *c) {
        while (c->out_done < c->out->len) {
                union {
                        char bytes[CMSG_SPACE(sizeof(int))];
                        struct cmsghdr align;
                } control = { 0 };
                struct iovec iov = { c->out->data + c->out_done, c->out->len - c->out_done };
                struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

                if (c->out_file >= 0) {
                        msg.msg_control = control.bytes;
                        msg.msg_controllen = sizeof(control.bytes);
                        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
                        *cmsg = (struct cmsghdr) { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
                        memcpy(CMSG_DATA(cmsg), &c->out_file, sizeof(int));
                }
                ssize_t n = sendmsg(c->child.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return;
                c->out_file = -1;
                c->out_done += (gsize) n;
                c->written += (guint64) n;
        }
        g_byte_array_set_size(c->out, 0);
        c->out_done = 0;
}

/* ---- from the child */

static gboolean take_greeting(BhInspectClient *c, const BhInspectHeader *h, const guint8 *body) {
        BhInspectGreeting g;

        if (h->kind != BH_INSPECT_GREETING || h->status != BH_INSPECT_OK || h->id || h->file || h->len != sizeof(g)) {
                lose_child(c, BH_INSPECT_LOST_RUBBISH, "did not greet as an inspector does");
                return FALSE;
        }
        memcpy(&g, body, sizeof(g));
        g.error[sizeof(g.error) - 1] = '\0';
        if (*g.error) {
                g_autofree char *why = g_strdup_printf("could not close its sandbox: %s", g.error);

                lose_child(c, BH_INSPECT_LOST_DIED, why);
                return FALSE;
        }
        if (g.version != BH_INSPECT_VERSION) {
                g_autofree char *why = g_strdup_printf("is of another build: it speaks version %u, this program %u", g.version, BH_INSPECT_VERSION);

                lose_child(c, BH_INSPECT_LOST_DIED, why);
                return FALSE;
        }
        g_mutex_lock(&c->lock);
        c->stats.layers = g.layers;
        g_mutex_unlock(&c->lock);
        set_ready(c, TRUE, c->child.pid);
        return TRUE;
}

/* A sentence of the child's, made harmless. */
static char *take_sentence(const guint8 *body, gsize len) {
        char *s = g_strndup((const char *) body, MIN(len, (gsize) 255));

        for (char *p = s; *p; p++)
                if (*p < 0x20 || *p > 0x7e)
                        *p = '?';
        return s;
}

/* FALSE when it is not the answer to the request at the head. */
static gboolean take_result(const Request *r, const BhInspectHeader *h, const guint8 *body, BhInspectAnswer *a, char **sentence) {
        if (h->id != r->id || h->kind != r->kind || h->file)
                return FALSE;
        a->status = (BhInspectStatus) h->status;
        a->problem = "";
        if (h->status == BH_INSPECT_MALFORMED || h->status == BH_INSPECT_REFUSED) {
                a->problem = *sentence = take_sentence(body, h->len);
                return TRUE;
        }
        if (h->status != BH_INSPECT_OK)
                return FALSE;
        switch ((BhInspectKind) r->kind) {
        case BH_INSPECT_PING:
                a->body = body;
                a->len = h->len;
                return TRUE;
        case BH_INSPECT_REDACT:
                a->body = body;
                a->len = h->len;
                return bh_inspect_is_text(body, h->len);
        case BH_INSPECT_DNS:
        case BH_INSPECT_DNS_TCP:
                return (a->dns = bh_inspect_unpack_dns(body, h->len)) != NULL;
        case BH_INSPECT_USERS:
        case BH_INSPECT_GROUPS:
                return (a->names = bh_inspect_unpack_passwd(body, h->len)) != NULL;
        case BH_INSPECT_ELF:
                return (a->elf = bh_inspect_unpack_elf(body, h->len)) != NULL;
        case BH_INSPECT_PROTOCOL:
                return (a->protocol = bh_inspect_unpack_protocol(body, h->len)) != NULL;
        case BH_INSPECT_WEB:
                return (a->web = bh_inspect_unpack_web(body, h->len)) != NULL;
        }
        return FALSE;
}

/* FALSE when the child was lost over it. */
static gboolean take_frame(BhInspectClient *c, const BhInspectHeader *h, const guint8 *body) {
        g_autofree char *sentence = NULL;
        BhInspectAnswer a = { 0 };

        if (!c->ready)
                return take_greeting(c, h, body);
        const Request *head = g_queue_peek_head(&c->sent);
        if (!head || !take_result(head, h, body, &a, &sentence)) {
                lose_child(c, BH_INSPECT_LOST_RUBBISH, "said what no inspector says");
                return FALSE;
        }
        Request *r = take_sent(c);
        head_begins(c);
        g_mutex_lock(&c->lock);
        if (a.status == BH_INSPECT_OK)
                c->stats.answered++;
        else
                c->stats.malformed++;
        c->stats.sent = c->sent.length;
        g_mutex_unlock(&c->lock);
        deliver(c, r, &a);
        return TRUE;
}

static void read_answers(BhInspectClient *c) {
        ssize_t n = recv(c->child.fd, c->in + c->in_len, IN_ROOM - c->in_len, MSG_DONTWAIT);
        gsize at = 0;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n <= 0) {
                lose_child(c, BH_INSPECT_LOST_DIED, NULL);
                return;
        }
        c->in_len += (gsize) n;
        while (c->in_len - at >= sizeof(BhInspectHeader)) {
                BhInspectHeader h;

                memcpy(&h, c->in + at, sizeof(h));
                if (h.len > BH_INSPECT_ANSWER_MAX) {
                        lose_child(c, BH_INSPECT_LOST_RUBBISH, "sent an answer that is too long");
                        return;
                }
                if (c->in_len - at < sizeof(h) + h.len)
                        break;
                if (!take_frame(c, &h, c->in + at + sizeof(h)))
                        return; /* with the child went the buffer */
                at += sizeof(h) + h.len;
        }
        c->in_len -= at;
        memmove(c->in, c->in + at, c->in_len);
}

/*
 * Whether the child hangs. It does when it has used processor time enough on one request; the clock alone proves little on a busy or
 * suspended machine, so it must show several times as much.
 */
static void judge(BhInspectClient *c) {
        const Request *r = g_queue_peek_head(&c->sent);
        gint64 now = g_get_monotonic_time();

        if (c->child.pid && !c->ready && now - c->started_us >= (gint64) BH_INSPECT_START_MS * 1000) {
                lose_child(c, BH_INSPECT_LOST_HUNG, "did not greet in time");
                return;
        }
        if (!r || now < c->judge_us)
                return;

        gint64 work_us = (gint64) bh_inspect_kind_work_ms(r->kind) * 1000, cpu = bh_inspect_child_cpu_us(&c->child);
        gboolean busy = c->cpu_us >= 0 && cpu - c->cpu_us >= work_us / 2;
        if (busy || now - c->head_us >= STALL * work_us) {
                g_autofree char *why = g_strdup_printf("did not answer a request of kind %s within %" G_GINT64_FORMAT " ms and was killed",
                                                       bh_inspect_kind_name(r->kind), (now - c->head_us) / 1000);

                lose_child(c, BH_INSPECT_LOST_HUNG, why);
                return;
        }
        if (c->cpu_us < 0)
                c->cpu_us = cpu;
        c->judge_us = now + work_us / 2;
}

/* ---- the thread */

/* Milliseconds until something is due; 0 when there is something to send. Says under the lock that a submission must wake us. */
static int begin_sleep(BhInspectClient *c) {
        gint64 due = G_MAXINT64;

        if (!c->child.pid)
                due = c->restart_us;
        else if (!c->ready)
                due = c->started_us + (gint64) BH_INSPECT_START_MS * 1000;
        else if (c->sent.length)
                due = c->judge_us;
        g_mutex_lock(&c->lock);
        gboolean now = c->stopping || can_send(c);
        if (c->waiting.length)
                due = MIN(due, c->next_expiry);
        c->sleeping = !now;
        g_mutex_unlock(&c->lock);
        if (now)
                return 0;
        if (due == G_MAXINT64)
                return -1;
        return (int) CLAMP((due - g_get_monotonic_time() + 999) / 1000, 0, 60000);
}

static void end_sleep(BhInspectClient *c, gboolean woken) {
        guint64 count;

        g_mutex_lock(&c->lock);
        c->sleeping = FALSE;
        g_mutex_unlock(&c->lock);
        if (woken)
                (void) !read(c->wake, &count, sizeof(count));
}

static gpointer run(gpointer data) {
        BhInspectClient *c = data;

        while (TRUE) {
                g_mutex_lock(&c->lock);
                gboolean stopping = c->stopping;
                g_mutex_unlock(&c->lock);
                if (stopping)
                        break;
                expire(c);
                if (!c->child.pid && g_get_monotonic_time() >= c->restart_us)
                        start_child(c);
                if (c->ready) {
                        fill(c);
                        write_out(c);
                }
                struct pollfd p[2] = {
                        { .fd = c->wake, .events = POLLIN },
                        { .fd = c->child.fd, .events = (short) (POLLIN | (c->out->len ? POLLOUT : 0)) },
                };
                int n = poll(p, 2, begin_sleep(c));
                end_sleep(c, n > 0 && p[0].revents);
                if (n > 0 && (p[1].revents & (POLLIN | POLLHUP | POLLERR)))
                        read_answers(c);
                judge(c);
        }

        g_free(bh_inspect_child_end(&c->child));
        set_ready(c, FALSE, 0);
        give_up_sent(c, BH_INSPECT_LOST_STOPPED, "the inspector was stopped");
        while (TRUE) {
                g_mutex_lock(&c->lock);
                Request *r = c->waiting.head ? take_waiting(c, c->waiting.head) : NULL;
                if (r)
                        c->stats.lost[BH_INSPECT_LOST_STOPPED]++;
                g_mutex_unlock(&c->lock);
                if (!r)
                        return NULL;
                deliver_lost(c, r, BH_INSPECT_LOST_STOPPED, "the inspector was stopped");
        }
}

static void wake(BhInspectClient *c) {
        guint64 one = 1;

        (void) !write(c->wake, &one, sizeof(one));
}

/* ---- for other threads */

char *bh_inspect_find_program(const char *name, GError **error) {
        g_autofree char *self = g_file_read_link("/proc/self/exe", error);

        if (!self)
                return NULL;
        g_autofree char *dir = g_path_get_dirname(self), *beside = g_build_filename(dir, name, NULL);
        g_autofree char *built = g_build_filename(dir, "..", "inspect", name, NULL);

        if (access(beside, X_OK) == 0)
                return g_steal_pointer(&beside);
        if (access(built, X_OK) == 0)
                return g_steal_pointer(&built);
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "cannot find %s: neither %s nor %s can be executed", name, beside, built);
        return NULL;
}

static void client_destroy(BhInspectClient *c) {
        bh_fd_clear(&c->wake);
        g_mutex_clear(&c->lock);
        g_cond_clear(&c->changed);
        g_byte_array_unref(c->out);
        g_free(c->in);
        g_free(c->program);
        g_free(c);
}

BhInspectClient *bh_inspect_client_new(const BhInspectConfig *config, GError **error) {
        if (access(config->program, X_OK)) {
                g_set_error(error, G_FILE_ERROR, (gint) g_file_error_from_errno(errno), "cannot execute the inspector %s: %s", config->program, g_strerror(errno));
                return NULL;
        }

        BhInspectClient *c = g_new0(BhInspectClient, 1);
        c->program = g_strdup(config->program);
        c->max_requests = config->max_requests ? config->max_requests : 4096;
        c->max_bytes = config->max_bytes ? config->max_bytes : (gsize) 8 << 20;
        c->on_problem = config->on_problem;
        c->data = config->data;
        c->child.fd = c->out_file = -1;
        c->next_expiry = G_MAXINT64;
        c->out = g_byte_array_new();
        c->in = g_malloc(IN_ROOM);
        g_mutex_init(&c->lock);
        g_cond_init(&c->changed);
        c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->wake < 0)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot make an eventfd for the inspector's thread: %s", g_strerror(errno));
        else
                c->thread = g_thread_try_new("bh-inspect", run, c, error);
        if (!c->thread) {
                client_destroy(c);
                return NULL;
        }
        return c;
}

void bh_inspect_client_free(BhInspectClient *c) {
        if (!c)
                return;
        g_mutex_lock(&c->lock);
        c->stopping = TRUE;
        g_mutex_unlock(&c->lock);
        wake(c);
        g_thread_join(c->thread);
        client_destroy(c);
}

gboolean bh_inspect_client_wait(BhInspectClient *c, guint timeout_ms, GError **error) {
        gint64 until = g_get_monotonic_time() + (gint64) timeout_ms * 1000;

        g_mutex_lock(&c->lock);
        while (!c->stats.ready && g_cond_wait_until(&c->changed, &c->lock, until))
                ;
        gboolean ready = c->stats.ready;
        if (!ready)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "no inspector is ready after %u ms: %s", timeout_ms,
                            *c->stats.problem ? c->stats.problem : "it has not said a word yet");
        g_mutex_unlock(&c->lock);
        return ready;
}

/* A sealed file that an inspector can take; -1 when it is not. */
static int take_file(int file, guint64 *len) {
        struct stat st;
        int seals = fcntl(file, F_GET_SEALS);

        /* without these seals the file could shrink under the inspector's feet */
        if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_WRITE)) != (F_SEAL_SHRINK | F_SEAL_WRITE))
                return -1;
        if (fstat(file, &st) || (guint64) st.st_size > BH_INSPECT_FILE_MAX)
                return -1;
        *len = (guint64) st.st_size;
        return fcntl(file, F_DUPFD_CLOEXEC, 3);
}

gboolean bh_inspect_submit(BhInspectClient *c, guint kind, GBytes *body, int file, guint wait_ms, BhInspectCallback callback, gpointer data) {
        gboolean takes_file = bh_inspect_kind_takes_file(kind);
        gsize len = body ? g_bytes_get_size(body) : 0;
        guint64 file_len = 0;
        g_auto(BhFd) fd = -1;
        gboolean good = bh_inspect_kind_name(kind) && len <= BH_INSPECT_REQUEST_MAX && (file >= 0) == takes_file;

        if (good && takes_file)
                good = (fd = take_file(file, &file_len)) >= 0;

        g_mutex_lock(&c->lock);
        if (!good || c->stopping || c->waiting.length >= c->max_requests || c->waiting_bytes + len > c->max_bytes ||
            (takes_file && c->waiting_files >= BH_INSPECT_FILES_WAITING)) {
                c->stats.refused++;
                g_mutex_unlock(&c->lock);
                return FALSE;
        }

        Request *r = g_new0(Request, 1);
        r->kind = kind;
        r->body = body ? g_bytes_ref(body) : g_bytes_new_static("", 0);
        r->len = len;
        r->file = bh_fd_steal(&fd);
        r->file_len = file_len;
        r->submitted_us = g_get_monotonic_time();
        r->expires_us = r->submitted_us + (gint64) (wait_ms ? wait_ms : WAIT_MS_DEFAULT) * 1000;
        r->callback = callback;
        r->data = data;
        g_queue_push_tail(&c->waiting, r);
        c->waiting_bytes += len;
        c->waiting_files += takes_file;
        c->next_expiry = MIN(c->next_expiry, r->expires_us);
        c->stats.submitted++;
        c->stats.waiting = c->waiting.length;
        c->stats.waiting_max = MAX(c->stats.waiting_max, c->stats.waiting);
        gboolean sleeping = c->sleeping;
        c->sleeping = FALSE;
        g_mutex_unlock(&c->lock);
        if (sleeping)
                wake(c);
        return TRUE;
}

void bh_inspect_client_stats(BhInspectClient *c, BhInspectStats *stats) {
        g_mutex_lock(&c->lock);
        *stats = c->stats;
        g_mutex_unlock(&c->lock);
}

/* ---- asking and waiting */

typedef struct {
        GMutex lock;
        GCond done;
        gboolean answered;
        BhInspectAnswer answer;
        char *problem;
        GBytes *body;
} Ask;

static void asked(BhInspectAnswer *a, gpointer data) {
        Ask *ask = data;

        g_mutex_lock(&ask->lock);
        ask->answer = *a;
        ask->problem = g_strdup(a->problem);
        ask->body = g_bytes_new(a->body, a->len);
        a->dns = NULL;
        a->names = NULL;
        a->elf = NULL;
        a->protocol = NULL;
        a->web = NULL;
        ask->answered = TRUE;
        g_cond_signal(&ask->done);
        g_mutex_unlock(&ask->lock);
}

gboolean bh_inspect_ask(BhInspectClient *c, guint kind, GBytes *body, int file, guint wait_ms, BhInspectAnswer *answer, GError **error) {
        Ask ask = { 0 };

        g_mutex_init(&ask.lock);
        g_cond_init(&ask.done);
        gboolean accepted = bh_inspect_submit(c, kind, body, file, wait_ms, asked, &ask);
        g_mutex_lock(&ask.lock);
        while (accepted && !ask.answered)
                g_cond_wait(&ask.done, &ask.lock);
        g_mutex_unlock(&ask.lock);
        g_mutex_clear(&ask.lock);
        g_cond_clear(&ask.done);

        gboolean ok = accepted && ask.answer.status == BH_INSPECT_OK;
        if (!accepted)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN, "the inspector's queue is full, or the request is not one that it takes (kind %u)", kind);
        else if (!ok)
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s", ask.problem);
        if (ok) {
                *answer = ask.answer;
                answer->problem = "";
                answer->owned = g_steal_pointer(&ask.body);
                answer->body = g_bytes_get_data(answer->owned, NULL);
        }
        g_clear_pointer(&ask.body, g_bytes_unref);
        g_free(ask.problem);
        return ok;
}
