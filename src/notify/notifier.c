/* SPDX-License-Identifier: Apache-2.0 */
#include "notify/notifier.h"

#include <string.h>

#define BATCH 64u
#define ACK_US (250 * 1000)
#define STORE_RETRY_US G_USEC_PER_SEC
#define IDLE_US (60 * G_USEC_PER_SEC)

typedef struct {
        BhNotifier *notifier;
        const BhOutput *output;
        BhSender *sender;
        GThread *thread;
        /* under the notifier's lock */
        const char *state;
        guint failures;
        char *problem;
        gint64 problem_ms, delivered_ms, next_ms;
        gboolean ended;
} Worker;

struct BhNotifier {
        GMutex lock;
        GCond moved;
        BhQueue *queue;
        const BhSendPlace *place;
        guint retry_ms;
        gboolean stopping;
        GPtrArray *workers;
};

static gint64 now_ms(void) {
        return g_get_real_time() / 1000;
}

guint64 bh_notifier_backoff_ms(guint base_ms, guint failures, guint retry_after_s, double chance) {
        guint64 full = base_ms;

        for (guint i = 1; i < failures && full < BH_NOTIFIER_RETRY_MAX_MS; i++)
                full *= 2;
        full = MIN(full, (guint64) BH_NOTIFIER_RETRY_MAX_MS);
        return MAX(full / 2 + (guint64) ((double) (full / 2) * chance), (guint64) retry_after_s * 1000);
}

static void set_state(Worker *w, const char *state) {
        g_mutex_lock(&w->notifier->lock);
        w->state = state;
        g_mutex_unlock(&w->notifier->lock);
}

static void note_problem(Worker *w, const GError *error) {
        g_mutex_lock(&w->notifier->lock);
        g_free(w->problem);
        w->problem = g_utf8_make_valid(error ? error->message : "unknown", -1);
        w->problem_ms = now_ms();
        g_mutex_unlock(&w->notifier->lock);
}

static gboolean is_stopping(Worker *w) {
        g_mutex_lock(&w->notifier->lock);
        gboolean stopping = w->notifier->stopping;
        g_mutex_unlock(&w->notifier->lock);
        return stopping;
}

/* FALSE: it is to stop. */
static gboolean rest(Worker *w, gint64 us) {
        gint64 until = g_get_monotonic_time() + us;
        BhNotifier *n = w->notifier;

        g_mutex_lock(&n->lock);
        while (!n->stopping && g_cond_wait_until(&n->moved, &n->lock, until))
                ;
        gboolean stopping = n->stopping;
        g_mutex_unlock(&n->lock);
        return !stopping;
}

/* Tells the queue, for as long as it takes: what was delivered must not be sent again only because the disk is full. */
static void done(Worker *w, GPtrArray *batch, const guint8 *ends, guint n) {
        for (;;) {
                g_autoptr(GError) error = NULL;

                if (bh_queue_done(w->notifier->queue, w->output, batch, ends, n, &error))
                        return;
                note_problem(w, error);
                if (!rest(w, STORE_RETRY_US))
                        return;
        }
}

/* How many of the batch were dealt with. *retry: the next one failed for now. */
static guint deliver(Worker *w, GPtrArray *batch, guint8 *ends, gboolean *retry, guint *retry_after_s) {
        gint64 until = g_get_monotonic_time() + ACK_US;
        g_autoptr(GError) error = NULL;
        guint n = 0;

        for (; n < batch->len && !*retry && g_get_monotonic_time() < until && !is_stopping(w); ) {
                const BhQueued *q = batch->pdata[n];
                g_autoptr(BhAlert) a = bh_alert_parse(q->json, q->len, q->told, NULL);
                BhSendNote note = { 0 };

                g_clear_error(&error);
                BhSendResult r = a ? bh_sender_send(w->sender, a, &note, &error) : BH_SEND_REFUSED;
                if (r != BH_SEND_OK)
                        note_problem(w, error);
                if (r == BH_SEND_RETRY) {
                        *retry = TRUE;
                        *retry_after_s = note.retry_after_s;
                } else {
                        ends[n++] = (guint8) (r == BH_SEND_REFUSED ? BH_QUEUE_REFUSED : note.cut ? BH_QUEUE_CUT : BH_QUEUE_DELIVERED);
                }
        }
        g_clear_error(&error);
        if (n && bh_sender_flush(w->sender, &error) != BH_SEND_OK) {
                note_problem(w, error);
                *retry = TRUE;
                return 0;
        }
        return n;
}

static void after_batch(Worker *w, const guint8 *ends, guint n, gboolean retry) {
        gboolean delivered = FALSE;

        for (guint i = 0; i < n; i++)
                delivered |= ends[i] != BH_QUEUE_REFUSED;
        g_mutex_lock(&w->notifier->lock);
        if (n)
                w->failures = 0;
        w->failures += retry;
        if (delivered) {
                w->delivered_ms = now_ms();
                if (!retry && ends[n - 1] != BH_QUEUE_REFUSED)
                        g_clear_pointer(&w->problem, g_free);
        }
        g_mutex_unlock(&w->notifier->lock);
}

/* FALSE: it is to stop. */
static gboolean back_off(Worker *w, guint retry_after_s) {
        guint64 ms = bh_notifier_backoff_ms(w->notifier->retry_ms, w->failures, retry_after_s, g_random_double());

        g_mutex_lock(&w->notifier->lock);
        w->state = "waiting";
        w->next_ms = now_ms() + (gint64) ms;
        g_mutex_unlock(&w->notifier->lock);
        gboolean go_on = rest(w, (gint64) ms * 1000);
        g_mutex_lock(&w->notifier->lock);
        w->next_ms = 0;
        g_mutex_unlock(&w->notifier->lock);
        return go_on;
}

static gpointer work(gpointer data) {
        Worker *w = data;
        BhNotifier *n = w->notifier;

        while (!is_stopping(w)) {
                g_autoptr(GError) error = NULL;
                g_autoptr(GPtrArray) batch = bh_queue_peek(n->queue, w->output, 0, BATCH, &error);
                guint8 ends[BATCH];
                guint retry_after_s = 0;
                gboolean retry = FALSE;

                if (!batch) {
                        note_problem(w, error);
                        rest(w, STORE_RETRY_US);
                        continue;
                }
                if (!batch->len) {
                        set_state(w, "idle");
                        bh_queue_wait(n->queue, w->output, 0, g_get_monotonic_time() + IDLE_US);
                        continue;
                }
                set_state(w, "delivering");
                guint count = deliver(w, batch, ends, &retry, &retry_after_s);
                if (count)
                        done(w, batch, ends, count);
                after_batch(w, ends, count, retry);
                if (retry && !back_off(w, retry_after_s))
                        break;
        }
        g_mutex_lock(&n->lock);
        w->ended = TRUE;
        g_cond_broadcast(&n->moved);
        g_mutex_unlock(&n->lock);
        return NULL;
}

/* ---- life ---- */

BhNotifier *bh_notifier_new(BhQueue *queue, GPtrArray *outputs, const BhSendPlace *place, guint retry_ms) {
        BhNotifier *n = g_new0(BhNotifier, 1);

        g_mutex_init(&n->lock);
        g_cond_init(&n->moved);
        n->queue = queue;
        n->place = place;
        n->retry_ms = retry_ms ? retry_ms : BH_NOTIFIER_RETRY_MS;
        n->workers = g_ptr_array_new_with_free_func(g_free);
        for (guint i = 0; i < outputs->len; i++) {
                Worker *w = g_new0(Worker, 1);

                w->notifier = n;
                w->output = outputs->pdata[i];
                w->state = w->output->enabled ? "idle" : "off";
                g_ptr_array_add(n->workers, w);
                if (!w->output->enabled) {
                        w->ended = TRUE;
                        continue;
                }
                w->sender = bh_sender_new(w->output, place);
                w->thread = g_thread_new("bh-output", work, w);
        }
        return n;
}

gboolean bh_notifier_stop(BhNotifier *n, guint grace_ms) {
        gint64 until = g_get_monotonic_time() + (gint64) grace_ms * 1000, last;
        gboolean all;

        g_mutex_lock(&n->lock);
        n->stopping = TRUE;
        g_cond_broadcast(&n->moved);
        g_mutex_unlock(&n->lock);
        bh_queue_wake(n->queue);
        /* half of the time for what is under way to end by itself, the other half after it was interrupted */
        for (guint i = 0; i < 2; i++) {
                last = i ? until : until - (gint64) grace_ms * 500;
                g_mutex_lock(&n->lock);
                do {
                        all = TRUE;
                        for (guint k = 0; k < n->workers->len; k++)
                                all &= ((Worker *) n->workers->pdata[k])->ended;
                } while (!all && g_cond_wait_until(&n->moved, &n->lock, last));
                g_mutex_unlock(&n->lock);
                for (guint k = 0; !all && !i && k < n->workers->len; k++) {
                        Worker *w = n->workers->pdata[k];

                        if (w->sender)
                                bh_sender_stop(w->sender);
                }
        }
        if (!all)
                return FALSE;
        for (guint k = 0; k < n->workers->len; k++) {
                Worker *w = n->workers->pdata[k];

                if (w->thread)
                        g_thread_join(w->thread);
                bh_sender_free(w->sender);
                g_free(w->problem);
        }
        g_ptr_array_unref(n->workers);
        g_mutex_clear(&n->lock);
        g_cond_clear(&n->moved);
        g_free(n);
        return TRUE;
}

/* ---- status ---- */

static void set_time(json_t *o, const char *name, gint64 ms) {
        g_autofree char *text = ms ? bh_format_time(ms * 1000000) : NULL;

        json_object_set_new(o, name, text ? json_string(text) : json_null());
}

static void set_number(json_t *o, const char *name, guint64 n) {
        json_object_set_new(o, name, json_integer((json_int_t) n));
}

json_t *bh_notifier_status(BhNotifier *n) {
        json_t *list = json_array();

        for (guint i = 0; i < n->workers->len; i++) {
                Worker *w = n->workers->pdata[i];
                BhQueueOutputStats s = { 0 };
                json_t *o = json_object();

                bh_queue_output_stats(n->queue, w->output, &s, NULL);
                json_object_set_new(o, "name", json_string(w->output->name));
                set_number(o, "queued", s.queued);
                set_number(o, "queued_bytes", s.queued_bytes);
                set_number(o, "delivered", s.delivered);
                set_number(o, "refused", s.refused);
                set_number(o, "cut", s.cut);
                set_number(o, "lost", s.lost);
                g_mutex_lock(&n->lock);
                json_object_set_new(o, "state", json_string(w->state));
                set_number(o, "failures", w->failures);
                json_object_set_new(o, "problem", json_string(w->problem ? w->problem : ""));
                set_time(o, "problem_at", w->problem ? w->problem_ms : 0);
                set_time(o, "delivered_at", w->delivered_ms);
                set_time(o, "next_try", w->next_ms);
                g_mutex_unlock(&n->lock);
                json_array_append_new(list, o);
        }
        return list;
}

char *bh_notifier_test(const BhOutput *o, const BhSendPlace *place, const BhAlert *a) {
        g_autoptr(BhSender) s = bh_sender_new(o, place);
        g_autoptr(GError) error = NULL;
        BhSendNote note;

        if (bh_sender_send(s, a, &note, &error) == BH_SEND_OK && bh_sender_flush(s, &error) == BH_SEND_OK)
                return NULL;
        return g_utf8_make_valid(error ? error->message : "unknown", -1);
}
