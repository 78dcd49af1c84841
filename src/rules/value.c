/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/value.h"

#include <arpa/inet.h>
#include <linux/capability.h>
#include <stdio.h>

/* ---- names of calls ---- */

const struct bh_rule_call_info bh_rule_calls[BH_CALL_COUNT] = {
#define BH_RULE_CALL(ID, KIND, shown, names, category) { BH_EV_##KIND, shown, names, category },
#include "rules/calls.tbl.h"
};

static guint8 first_call[BH_EV_MAX];
_Static_assert(BH_CALL_COUNT < 255, "first_call holds a row in a byte");

__attribute__((constructor)) static void index_calls(void) {
        memset(first_call, 0xff, sizeof(first_call));
        for (guint i = BH_CALL_COUNT; i-- > 0;)
                first_call[bh_rule_calls[i].kind] = (guint8) i;
}

static enum bh_rule_call creds_call(const struct bh_event *e) {
        if (bh_event_has(e, BH_F_old_euid) && bh_event_has(e, BH_F_euid)) {
                if (e->old_euid != e->euid || (bh_event_has(e, BH_F_old_ruid) && e->old_ruid != e->ruid))
                        return BH_CALL_CREDS_UID;
                if (bh_event_has(e, BH_F_old_egid) && e->old_egid != e->egid)
                        return BH_CALL_CREDS_GID;
                if ((bh_event_has(e, BH_F_old_cap_effective) && e->old_cap_effective != e->cap_effective) ||
                    (bh_event_has(e, BH_F_old_cap_permitted) && e->old_cap_permitted != e->cap_permitted))
                        return BH_CALL_CREDS_CAP;
        }
        return BH_CALL_CREDS;
}

enum bh_rule_call bh_rule_call_of(const struct bh_event *e) {
        guint first = e->type < BH_EV_MAX ? first_call[e->type] : 0xff;

        switch (e->type) {
        case BH_EV_CREDS: return creds_call(e);
        case BH_EV_DNS: return bh_event_has(e, BH_F_outgoing) && !e->outgoing ? BH_CALL_DNS_IN : BH_CALL_DNS;
        case BH_EV_MODULE_LOAD: return bh_event_has(e, BH_F_fd) ? BH_CALL_MODULE_LOAD_FD : BH_CALL_MODULE_LOAD;
        }
        return first == 0xff ? BH_CALL_COUNT : (enum bh_rule_call) first;
}

static gboolean has_word(const char *words, const char *name, gsize len) {
        for (const char *p = words; *p;) {
                gsize n = strcspn(p, " ");

                if (n == len && memcmp(p, name, n) == 0)
                        return TRUE;
                p += n + (p[n] == ' ');
        }
        return FALSE;
}

gboolean bh_rule_call_named(enum bh_rule_call call, const char *name, gsize len) {
        return call < BH_CALL_COUNT && has_word(bh_rule_calls[call].names, name, len);
}

gboolean bh_rule_call_known(const char *name, gsize len) {
        for (guint i = 0; i < BH_CALL_COUNT; i++) {
                if (has_word(bh_rule_calls[i].names, name, len))
                        return TRUE;
        }
        return FALSE;
}

/* ---- the scene ---- */

void bh_scene_init(BhRuleScene *s) {
        *s = (BhRuleScene){ .ancestors = g_new(struct bh_lineage_process, BH_SCENE_ANCESTORS), .text = g_malloc(BH_SCENE_TEXT) };
}

void bh_scene_clear(BhRuleScene *s) {
        g_clear_pointer(&s->ancestors, g_free);
        g_clear_pointer(&s->text, g_free);
}

void bh_scene_reset(BhRuleScene *s, const struct bh_event *e, const struct bh_lineage *lineage) {
        s->event = e;
        s->lineage = lineage;
        s->call = bh_rule_call_of(e);
        s->has_self = s->has_ancestors = s->has_container = s->has_sides = 0;
        s->n_ancestors = 0;
        s->text_used = 0;
}

char *bh_scene_room(BhRuleScene *s, gsize n) {
        if (n > BH_SCENE_TEXT - s->text_used) {
                s->cut++;
                return NULL;
        }
        return s->text + s->text_used;
}

struct bh_str bh_scene_take(BhRuleScene *s, gsize n) {
        struct bh_str taken = { s->text + s->text_used, (guint32) n };

        s->text_used += (guint32) n;
        return taken;
}

struct bh_str bh_scene_print(BhRuleScene *s, const char *format, ...) {
        gsize room = BH_SCENE_TEXT - s->text_used;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(s->text + s->text_used, room, format, ap);
        va_end(ap);
        if (n < 0)
                n = 0;
        if ((gsize) n >= room) {
                s->cut++;
                n = room ? (int) room - 1 : 0;
        }
        return bh_scene_take(s, (gsize) n);
}

const struct bh_lineage_process *bh_scene_self(BhRuleScene *s) {
        if (!s->has_self) {
                const struct bh_event *e = s->event;
                gboolean found = s->lineage && bh_event_has(e, BH_F_pid) &&
                                 s->lineage->find(s->lineage->data, e->pid, bh_event_has(e, BH_F_proc_start) ? e->proc_start : 0, &s->self);

                s->has_self = found ? 1 : 2;
        }
        return s->has_self == 1 ? &s->self : NULL;
}

/* The next of a list of NUL-terminated texts; FALSE at its end. */
static gboolean next_text(struct bh_str *list, struct bh_str *text) {
        const char *nul;

        if (!list->len)
                return FALSE;
        nul = memchr(list->p, 0, list->len);
        text->p = list->p;
        text->len = nul ? (guint32) (nul - list->p) : list->len;
        list->len -= MIN(list->len, text->len + 1);
        list->p += text->len + 1;
        return TRUE;
}

/* What the event itself says of the ancestors. */
static void ancestors_of_event(BhRuleScene *s) {
        const struct bh_event *e = s->event;
        struct bh_str list = bh_event_has(e, BH_F_ancestors) ? e->ancestors : (struct bh_str){ NULL, 0 }, exe;
        gboolean parent = bh_event_has(e, BH_F_parent_comm) || bh_event_has(e, BH_F_parent_exe) || bh_event_has(e, BH_F_parent_args);

        if (parent || (bh_event_has(e, BH_F_ppid) && e->ppid)) {
                struct bh_lineage_process *p = &s->ancestors[s->n_ancestors++];

                *p = (struct bh_lineage_process){ .pid = e->ppid };
                if (bh_event_has(e, BH_F_parent_comm))
                        p->comm = e->parent_comm;
                if (bh_event_has(e, BH_F_parent_exe))
                        p->exe = e->parent_exe;
                if (bh_event_has(e, BH_F_parent_args))
                        p->args = e->parent_args;
                if (bh_event_has(e, BH_F_parent_start))
                        p->start = e->parent_start;
                /* the list begins with the parent where that is known */
                if (list.len && p->exe.len && !next_text(&list, &exe))
                        return;
        }
        while (s->n_ancestors < BH_SCENE_ANCESTORS && next_text(&list, &exe))
                s->ancestors[s->n_ancestors++] = (struct bh_lineage_process){ .exe = exe };
}

const struct bh_lineage_process *bh_scene_ancestor(BhRuleScene *s, guint n) {
        if (!s->has_ancestors) {
                const struct bh_lineage_process *self = bh_scene_self(s);

                s->has_ancestors = 1;
                if (self) {
                        const struct bh_lineage_process *of = self;

                        while (s->n_ancestors < BH_SCENE_ANCESTORS && s->lineage->parent(s->lineage->data, of, &s->ancestors[s->n_ancestors]))
                                of = &s->ancestors[s->n_ancestors++];
                }
                if (!s->n_ancestors)
                        ancestors_of_event(s);
        }
        return n >= 1 && n <= s->n_ancestors ? &s->ancestors[n - 1] : NULL;
}

const struct bh_lineage_container *bh_scene_container(BhRuleScene *s) {
        if (!s->has_container) {
                const struct bh_event *e = s->event;
                struct bh_str id = bh_event_has(e, BH_F_container_id) ? e->container_id : (struct bh_str){ NULL, 0 };
                gboolean found = id.len && s->lineage && s->lineage->container && s->lineage->container(s->lineage->data, id, &s->container);

                s->has_container = found ? 1 : 2;
        }
        return s->has_container == 1 ? &s->container : NULL;
}

/* ---- values ---- */

static gboolean one(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        guint32 id = f->id;

        if (id == BH_FLD_EVT_ARG)
                return bh_value_arg(s, f, FALSE, out);
        if (id == BH_FLD_EVT_RAWARG)
                return bh_value_arg(s, f, TRUE, out);
        if (id <= BH_FLD_EVT_INFRA_IMAGE || id == BH_FLD_UTIL_CNT)
                return bh_value_evt(s, f, out);
        if (id <= BH_FLD_THREAD_VMRSS_B || (id >= BH_FLD_USER_UID && id <= BH_FLD_GROUP_NAME))
                return bh_value_proc(s, f, out);
        if (id <= BH_FLD_FS_TARGETRAW || (id >= BH_FLD_KRSI_NAME && id <= BH_FLD_KRSI_SPORT))
                return bh_value_fd(s, f, out);
        if (id <= BH_FLD_K8SMETA_RC_LABELS)
                return bh_value_container(s, f, out);
        return bh_value_own(s, f, out);
}

gboolean bh_scene_value(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        return s->call < BH_CALL_COUNT && one(s, f, out);
}

static gboolean is_ancestors(const BhRuleField *row, const struct bh_field_ref *f) {
        return (row->flags & BH_FF_ANCESTORS) && !f->has_arg;
}

guint bh_scene_values(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value out[BH_VALUES_MAX]) {
        guint n;
        const BhRuleField *row = &bh_rule_fields(&n)[f->id];

        if (s->call >= BH_CALL_COUNT)
                return 0;
        if (row->flags & BH_FF_EITHER)
                return bh_value_fd_either(s, f, out);
        if (is_ancestors(row, f))
                return bh_value_proc_ancestors(s, f, out);
        if (f->id == BH_FLD_BH_DNS_ANSWERS || f->id == BH_FLD_BH_WEB_REQUESTS) {
                gboolean dns = f->id == BH_FLD_BH_DNS_ANSWERS, has = bh_event_has(s->event, dns ? BH_F_dns_answers : BH_F_web_requests);
                struct bh_str list = !has ? (struct bh_str){ NULL, 0 } : dns ? s->event->dns_answers : s->event->web_requests, text;

                for (n = 0; n < BH_VALUES_MAX && next_text(&list, &text); n++)
                        bh_value_str(&out[n], text);
                return n;
        }
        return one(s, f, out);
}

struct bh_str bh_value_caps(BhRuleScene *s, guint64 caps) {
        static const char *const names[] = {
                "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE",
                "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
                "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
                "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ",
                "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
        };
        char *p = bh_scene_room(s, G_N_ELEMENTS(names) * 24);
        gsize n = 0;

        for (guint i = 0; p && i < G_N_ELEMENTS(names); i++) {
                gsize len;

                if (!(caps >> i & 1))
                        continue;
                if (n)
                        p[n++] = ' ';
                len = strlen(names[i]);
                memcpy(p + n, names[i], len);
                n += len;
        }
        return p ? bh_scene_take(s, n) : (struct bh_str){ "", 0 };
}

void bh_value_show(const BhRuleField *f, const struct bh_value *v, GString *out) {
        char text[INET6_ADDRSTRLEN];

        switch ((enum bh_value_kind) v->kind) {
        case BH_VALUE_STR:
                g_string_append_len(out, v->s.p, v->s.len);
                break;
        case BH_VALUE_IP:
                g_string_append(out, inet_ntop(v->ip.len == 4 ? AF_INET : AF_INET6, v->ip.b, text, sizeof(text)) ? text : "");
                break;
        case BH_VALUE_SOME:
                g_string_append(out, "<NA>");
                break;
        case BH_VALUE_NUM:
                if (f->type == BH_RT_BOOL)
                        g_string_append(out, v->n ? "true" : "false");
                else if (f->flags & BH_FF_HEX)
                        g_string_append_printf(out, "0x%" G_GINT64_MODIFIER "x", (guint64) v->n);
                else if (f->id == BH_FLD_EVT_RAWTIME_NS || f->id == BH_FLD_EVT_DELTATIME_NS || f->id == BH_FLD_EVT_RELTIME_NS)
                        g_string_append_printf(out, "%09" G_GINT64_FORMAT, v->n);
                else
                        g_string_append_printf(out, "%" G_GINT64_FORMAT, v->n);
                break;
        }
}
