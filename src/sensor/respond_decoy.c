/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are led to a decoy: what may be ordered, and how they are told. */
#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "enforce_link.h"
#include "respond_private.h"

#define TOLD_MAX 16u /* connections that are told one by one, of a call */
#define TOLD_SECOND (TOLD_MAX * 1000 / BH_RESPOND_TICK_MS) /* and of a second: whoever asks for the list calls, too */
#define KEPT_MAX 16u /* the last ones in the detail */
#define LAST "last_led"
#define SAVE_US G_USEC_PER_SEC

/* ---- orders ---- */

static void address_text(const guint8 *addr, char text[INET6_ADDRSTRLEN]) {
        static const guint8 v4[12] = { [10] = 0xff, [11] = 0xff };

        if (memcmp(addr, v4, sizeof(v4)) == 0)
                inet_ntop(AF_INET, addr + 12, text, INET6_ADDRSTRLEN);
        else
                inet_ntop(AF_INET6, addr, text, INET6_ADDRSTRLEN);
}

static gboolean is_own(const BhContainer *c, const char *address) {
        for (guint i = 0; c->networks && i < c->networks->len; i++) {
                const BhContainerNetwork *n = &g_array_index(c->networks, BhContainerNetwork, i);

                if (g_strcmp0(n->ip, address) == 0 || g_strcmp0(n->ip6, address) == 0)
                        return TRUE;
        }
        return FALSE;
}

gboolean bh_respond_decoy_check(BhRespond *r, const BhOrder *o, const BhContainer *c, GError **error) {
        char address[INET6_ADDRSTRLEN];
        GHashTableIter it;
        BhPeer to;
        BhEntry *e;

        if (!bh_decoy_parse(o->subject ? o->subject : "", &to, error) || !bh_decoy_leads(&to, o->deny, o->n_deny, error))
                return FALSE;
        address_text(to.addr, address);
        if (is_own(c, address))
                return bh_enforce_fail(error, "%s is the container's own address: a decoy listens elsewhere", address);
        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->action == BH_RESPONSE_DECOY && bh_respond_holds_now(e, c->id))
                        return bh_enforce_fail(error, "response %s leads the container to a decoy already: release it first", e->id);
        return TRUE;
}

/* ---- telling ---- */

static void end_of(const guint8 *addr, guint16 port, char *text, gsize size) {
        char address[INET6_ADDRSTRLEN];

        address_text(addr, address);
        g_snprintf(text, (gulong) size, strchr(address, ':') ? "[%s]:%u" : "%s:%u", address, port);
}

static gint64 since_epoch(guint64 boot_ns) {
        struct timespec boot;

        clock_gettime(CLOCK_BOOTTIME, &boot);
        return g_get_real_time() * 1000 - ((gint64) boot.tv_sec * 1000000000 + boot.tv_nsec - (gint64) boot_ns);
}

/* The ledger has it within a second, and when it ends. */
static void keep(BhEntry *e, const BhLedConnection *l) {
        g_autofree char *comm = g_utf8_make_valid(l->comm, -1), *time = bh_time_format(l->time_ns);
        json_t *last = json_object_get(e->detail, LAST);

        if (!json_is_array(last))
                json_object_set_new(e->detail, LAST, last = json_array());
        if (json_array_size(last) >= KEPT_MAX)
                json_array_remove(last, 0);
        json_array_append_new(last, json_pack("{s:s,s:s,s:s,s:s,s:i,s:i,s:s}", "time", time, "asked", l->asked, "decoy", l->to, "from", l->from, "pid", (int) l->pid, "uid", (int) l->uid, "comm", comm));
        e->unsaved = TRUE;
}

typedef struct {
        BhRespond *r;
        guint told;
} Telling;

static void on_led(const struct bh_enforce_led *led, gpointer data) {
        BhLedConnection l = { .pid = led->tgid, .uid = led->uid, .time_ns = since_epoch(led->time) };
        Telling *t = data;
        BhRespond *r = t->r;
        BhEntry *e, *of = NULL;
        GHashTableIter it;

        g_hash_table_iter_init(&it, r->entries);
        while (!of && g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->action == BH_RESPONSE_DECOY && e->state == BH_RESPONSE_STATE_ACTIVE && e->cgroup_id == led->cgroup)
                        of = e;
        if (!of)
                return;
        memcpy(l.comm, led->comm, sizeof(led->comm));
        end_of(led->asked, led->asked_port, l.asked, sizeof(l.asked));
        end_of(led->to, led->to_port, l.to, sizeof(l.to));
        end_of(led->from, led->from_port, l.from, sizeof(l.from));
        keep(of, &l);
        if (!r->c.led || t->told >= TOLD_MAX || r->led_told >= TOLD_SECOND) /* more of them are in the count */
                return;
        t->told++;
        r->led_told++;
        r->c.led(of->id, of->container, &l, r->c.data);
}

void bh_respond_tell_led(BhRespond *r) {
        GHashTableIter it;
        BhEntry *e;

        Telling t = { .r = r };

        if (r->enforce)
                bh_enforce_tell(r->enforce, on_led, &t);
        if (g_get_monotonic_time() - r->led_saved_us < SAVE_US)
                return;
        r->led_saved_us = g_get_monotonic_time();
        r->led_told = 0;
        g_hash_table_iter_init(&it, r->entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->action == BH_RESPONSE_DECOY && e->unsaved) {
                        e->unsaved = FALSE;
                        bh_entry_save(r->dir, e);
                }
}

void bh_respond_add_led(BhRespond *r, const BhEntry *e, json_t *detail) {
        guint64 connections, untold;

        if (e->action == BH_RESPONSE_DECOY && r->enforce && bh_enforce_led(r->enforce, e->cgroup, &connections, &untold))
                json_object_set_new(detail, "led", json_pack("{s:I,s:I}", "connections", (json_int_t) connections, "untold", (json_int_t) untold));
}
