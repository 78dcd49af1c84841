/* SPDX-License-Identifier: Apache-2.0 */
/* Evidence on its way to the central: in the chain's order, each item's bytes before it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "evidence_private.h"

#define CHUNK (1u << 20)
#define SPOOL_MAX (64u << 20)  /* what waits for the central: findings must not go for evidence */
#define AGAIN_US (500 * 1000)
#define AT_ONCE 64u
#define FLUSH_MS 10000
#define MARKS 256u
#define HEADS_US (10 * G_USEC_PER_SEC)

static void publish(BhEvidence *v, const Bulkhead__Bus__V1__Evidence *m) {
        g_autoptr(GBytes) body = bh_bus_body_pack(&m->base);

        bh_report_publish(v->report, "evidence", body);
}

static gboolean stopping(BhEvidence *v) {
        g_mutex_lock(&v->lock);
        gboolean yes = v->stopping;
        g_mutex_unlock(&v->lock);
        return yes;
}

static void wait_a_while(BhEvidence *v) {
        gint64 until = g_get_monotonic_time() + AGAIN_US;

        g_mutex_lock(&v->lock);
        if (!v->stopping)
                g_cond_wait_until(&v->moved, &v->lock, until);
        g_mutex_unlock(&v->lock);
}

/* FALSE: the sensor stops. */
static gboolean wait_for_room(BhEvidence *v) {
        while (bh_report_waiting(v->report) > SPOOL_MAX) {
                if (stopping(v))
                        return FALSE;
                wait_a_while(v);
        }
        return !stopping(v);
}

/* What is gone for the bound is told all the same: the item says what it was. */
static gboolean send_object(BhEvidence *v, const char *sha256, guint64 size) {
        g_auto(BhFd) fd = bh_vault_object(v->vault, sha256);
        g_autofree guint8 *buf = g_malloc(CHUNK);
        guint64 at = 0;
        ssize_t n = 1;

        while (fd >= 0 && at < size && n > 0) {
                Bulkhead__Bus__V1__Evidence m = BULKHEAD__BUS__V1__EVIDENCE__INIT;

                if (!wait_for_room(v))
                        return FALSE;
                n = pread(fd, buf, MIN(CHUNK, size - at), (off_t) at);
                if (n <= 0)
                        break;
                m.sha256 = (char *) sha256;
                m.offset = at;
                m.total = size;
                m.data = (ProtobufCBinaryData){ .len = (size_t) n, .data = buf };
                publish(v, &m);
                at += (guint64) n;
        }
        return TRUE;
}

static gboolean send_line(BhEvidence *v, const char *line, GHashTable *had) {
        g_auto(BhEvidenceLine) l = { 0 };
        Bulkhead__Bus__V1__Evidence m = BULKHEAD__BUS__V1__EVIDENCE__INIT;

        if (bh_evidence_read(line, strlen(line), &l, NULL) && l.object && l.size && !g_hash_table_contains(had, l.object)) {
                if (!send_object(v, l.object, l.size))
                        return FALSE;
                if (g_hash_table_size(had) > 4096)
                        g_hash_table_remove_all(had);
                g_hash_table_add(had, g_strdup(l.object));
        }
        if (!wait_for_room(v))
                return FALSE;
        m.line = bh_bus_text(line);
        publish(v, &m);
        return TRUE;
}

/* ---- heads for the user ---- */

void bh_evidence_tell_heads(BhEvidence *v, gboolean now) {
        BhVaultStats s;
        gint64 now_us = g_get_monotonic_time();

        if (!v->heads)
                return;
        bh_vault_stats(v->vault, &s);
        if (s.seq == v->heads_seq || (!now && v->heads_us && now_us - v->heads_us < HEADS_US))
                return;
        json_auto_t *head = bh_vault_head(v->vault);
        char *text = head ? json_dumps(head, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
        g_autofree char *line = g_strdup_printf("%s\n", text ? text : "");
        g_autoptr(GError) error = NULL;
        g_auto(BhFd) fd = open(v->heads, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);

        free(text);
        if (fd < 0 || !bh_fd_write_all(fd, line, strlen(line), v->heads, &error)) {
                if (!v->busy_disk)
                        bh_warn("heads of the evidence cannot be appended to the file that was named; tried again", "file", v->heads, "why", error ? error->message : g_strerror(errno));
                v->busy_disk = TRUE;
                v->heads_us = now_us;
                return;
        }
        v->busy_disk = FALSE;
        v->heads_us = now_us;
        v->heads_seq = s.seq;
}

/* ---- what the central has ---- */

/* Items up to `seq` are in messages up to `message`. */
typedef struct {
        guint64 seq, message;
} Mark;

static void mark(GArray *marks, guint64 seq, guint64 message) {
        if (marks->len == MARKS) /* what is not acknowledged for so long is said with the rest */
                g_array_set_size(marks, MARKS - 1);
        g_array_append_val(marks, ((Mark){ seq, message }));
}

/* What is spooled may still be lost; what the central acknowledged is stored there. */
static void note_acknowledged(BhEvidence *v, GArray *marks) {
        guint64 last, acknowledged, seq = 0;
        guint n = 0;
        g_autoptr(GError) error = NULL;

        bh_report_positions(v->report, &last, &acknowledged);
        for (; n < marks->len && g_array_index(marks, Mark, n).message <= acknowledged; n++)
                seq = g_array_index(marks, Mark, n).seq;
        if (!n)
                return;
        if (bh_vault_sent(v->vault, seq, &error))
                g_array_remove_range(marks, 0, n);
        else
                v->send_failed++;
}

gpointer bh_evidence_send(gpointer data) {
        BhEvidence *v = data;
        g_autoptr(GHashTable) had = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GArray) marks = g_array_new(FALSE, FALSE, sizeof(Mark));
        BhVaultStats s;

        bh_vault_stats(v->vault, &s);
        guint64 given = s.sent; /* published; what is not acknowledged is so again by the next sensor */
        while (!stopping(v)) {
                guint64 seq, last, acknowledged, published = given;
                guint n = 0;

                for (char *line; v->report && n < AT_ONCE && (line = bh_vault_next(v->vault, published, &seq)); g_free(line)) {
                        if (!send_line(v, line, had)) {
                                g_free(line);
                                break;
                        }
                        published = seq;
                        n++;
                }
                if (n && bh_report_flush(v->report, FLUSH_MS)) {
                        bh_report_positions(v->report, &last, &acknowledged);
                        mark(marks, published, last);
                        given = published;
                }
                if (v->report)
                        note_acknowledged(v, marks);
                bh_evidence_tell_heads(v, FALSE);
                if (n < AT_ONCE)
                        wait_a_while(v);
        }
        if (v->report)
                note_acknowledged(v, marks);
        return NULL;
}
