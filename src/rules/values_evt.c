/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of the event itself: evt.*, syscall.type. */
#include <fcntl.h>
#include <time.h>

#include "rules/value.h"

#define HAS(member) bh_event_has(e, BH_F_##member)
#define NSEC 1000000000u

enum { CLOCK_NS = 1, CLOCK_DATE = 2 };

static gboolean clock_text(BhRuleScene *s, guint form, struct bh_value *out) {
        time_t seconds = (time_t) (s->event->time / NSEC);
        guint ns = (guint) (s->event->time % NSEC);
        struct tm tm;
        char text[64];
        gsize n;

        if (!localtime_r(&seconds, &tm))
                return FALSE;
        n = strftime(text, sizeof(text), form & CLOCK_DATE ? "%Y-%m-%d %H:%M:%S" : "%H:%M:%S", &tm);
        if (form & CLOCK_NS)
                return bh_value_str(out, bh_scene_print(s, "%.*s.%09u", (int) n, text, ns));
        return bh_value_str(out, bh_scene_print(s, "%.*s", (int) n, text));
}

static gboolean iso_text(BhRuleScene *s, struct bh_value *out) {
        time_t seconds = (time_t) (s->event->time / NSEC);
        struct tm tm;

        if (!gmtime_r(&seconds, &tm))
                return FALSE;
        return bh_value_str(out, bh_scene_print(s, "%04d-%02d-%02dT%02d:%02d:%02d.%09u+0000", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                                               (guint) (s->event->time % NSEC)));
}

/* The part of a number of ns that the field's last letters name; fields of a family stand whole, seconds, rest. */
static gboolean part(guint64 ns, guint which, struct bh_value *out) {
        return bh_value_num(out, (gint64) (which == 0 ? ns : which == 1 ? ns / NSEC : ns % NSEC));
}

static gboolean is_read(const struct bh_event *e, enum bh_rule_call call) {
        return call == BH_CALL_RECV || call == BH_CALL_DNS_IN;
}

static gboolean is_write(const struct bh_event *e, enum bh_rule_call call) {
        return call == BH_CALL_SEND || call == BH_CALL_DNS || call == BH_CALL_CLOSE_WRITE || call == BH_CALL_MEM_WRITE;
}

static gboolean failed(const struct bh_event *e) {
        return HAS(ret) && e->ret < 0;
}

/* An open's result is its descriptor, where the hook knows it. */
static gboolean rawres(const struct bh_event *e, struct bh_value *out) {
        if (!HAS(ret))
                return FALSE;
        if (e->ret >= 0 && HAS(fd) && e->fd >= 0 && (e->type == BH_EV_OPEN || e->type == BH_EV_DUP_STDIO))
                return bh_value_num(out, e->fd);
        if (e->ret >= 0 && e->type == BH_EV_OPEN) {
                out->kind = BH_VALUE_SOME;
                return TRUE;
        }
        return bh_value_num(out, e->ret);
}

static gboolean open_is(BhRuleScene *s, guint id, struct bh_value *out) {
        const struct bh_event *e = s->event;
        guint64 flags = HAS(open_flags) ? e->open_flags : 0;
        gboolean is = FALSE;

        if (e->type == BH_EV_OPEN && HAS(open_flags)) {
                guint access = flags & O_ACCMODE;

                switch (id) {
                case BH_FLD_EVT_IS_OPEN_READ: is = !(flags & O_PATH) && (access == O_RDONLY || access == O_RDWR); break;
                case BH_FLD_EVT_IS_OPEN_WRITE: is = !(flags & O_PATH) && (access == O_WRONLY || access == O_RDWR); break;
                case BH_FLD_EVT_IS_OPEN_EXEC: is = ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) && HAS(mode) && (e->mode & 0111); break;
                case BH_FLD_EVT_IS_OPEN_CREATE: is = HAS(flags) && (e->flags & BH_RF_CREATED); break;
                }
        }
        return bh_value_num(out, is);
}

static gboolean error_count(BhRuleScene *s, const char *category, struct bh_value *out) {
        const char *of = bh_rule_calls[s->call].category;
        gboolean file = g_str_equal(of, "file") || g_str_equal(of, "IO"), net = g_str_equal(of, "net"), memory = g_str_equal(of, "memory");

        if (!failed(s->event))
                return FALSE;
        if ((g_str_equal(category, "file") && !file) || (g_str_equal(category, "net") && !net) || (g_str_equal(category, "memory") && !memory) ||
            (g_str_equal(category, "other") && (file || net || memory)))
                return FALSE;
        return bh_value_num(out, 1);
}

static gboolean abspath(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_event *e = s->event;
        gboolean dst = f->has_arg && f->arg.len == 3 && memcmp(f->arg.p, "dst", 3) == 0;

        if (f->has_arg && !dst && !(f->arg.len == 3 && memcmp(f->arg.p, "src", 3) == 0))
                return FALSE;
        /* a symbolic link's target is what it is, and mostly no path of the caller's */
        if (dst)
                return HAS(path2) && e->type != BH_EV_SYMLINK ? bh_value_str(out, e->path2) : FALSE;
        return HAS(path) ? bh_value_str(out, e->path) : FALSE;
}

static gboolean around(const struct bh_event *e, const struct bh_field_ref *f, struct bh_value *out) {
        guint64 at = 0;

        for (guint i = 0; i < f->arg.len; i++) {
                if (f->arg.p[i] < '0' || f->arg.p[i] > '9')
                        return FALSE;
                at = at * 10 + (guint64) (f->arg.p[i] - '0');
        }
        return bh_value_num(out, (gint64) ((e->time > at ? e->time - at : at - e->time) / 1000000u));
}

static gboolean io_bytes(BhRuleScene *s, guint id, struct bh_value *out) {
        const struct bh_event *e = s->event;
        gboolean in = is_read(e, s->call), writes = is_write(e, s->call), file = s->call == BH_CALL_CLOSE_WRITE;

        if (!HAS(bytes) || (!in && !writes))
                return FALSE;
        switch (id) {
        case BH_FLD_EVT_BUFLEN_IN:
                if (!in)
                        return FALSE;
                break;
        case BH_FLD_EVT_BUFLEN_OUT:
                if (!writes)
                        return FALSE;
                break;
        case BH_FLD_EVT_BUFLEN_FILE:
        case BH_FLD_EVT_BUFLEN_FILE_OUT:
                if (!file)
                        return FALSE;
                break;
        case BH_FLD_EVT_BUFLEN_NET:
                if (file || s->call == BH_CALL_MEM_WRITE)
                        return FALSE;
                break;
        case BH_FLD_EVT_BUFLEN_NET_IN:
                if (!in)
                        return FALSE;
                break;
        case BH_FLD_EVT_BUFLEN_NET_OUT:
                if (in || file || s->call == BH_CALL_MEM_WRITE)
                        return FALSE;
                break;
        }
        return bh_value_num(out, (gint64) e->bytes);
}

static const char *source_of(const struct bh_event *e) {
        return e->type == BH_EV_CONTAINER ? "container" : e->type == BH_EV_SENSOR ? "sensor" : "syscall";
}

gboolean bh_value_evt(BhRuleScene *s, const struct bh_field_ref *f, struct bh_value *out) {
        const struct bh_event *e = s->event;
        gboolean act = e->type < BH_EV_KERNEL_MAX;
        const struct bh_rule_call_info *call = &bh_rule_calls[s->call];

        switch ((enum bh_rule_field_id) f->id) {
        case BH_FLD_EVT_NUM: return bh_value_num(out, (gint64) (HAS(id) && e->id ? e->id : s->num));
        case BH_FLD_EVT_TIME:
        case BH_FLD_EVT_OUTPUTTIME: return clock_text(s, CLOCK_NS, out);
        case BH_FLD_EVT_TIME_S: return clock_text(s, 0, out);
        case BH_FLD_EVT_TIME_ISO8601: return iso_text(s, out);
        case BH_FLD_EVT_DATETIME: return clock_text(s, CLOCK_DATE | CLOCK_NS, out);
        case BH_FLD_EVT_DATETIME_S: return clock_text(s, CLOCK_DATE, out);
        case BH_FLD_EVT_RAWTIME:
        case BH_FLD_EVT_RAWTIME_S:
        case BH_FLD_EVT_RAWTIME_NS: return part(e->time, f->id - BH_FLD_EVT_RAWTIME, out);
        case BH_FLD_EVT_RELTIME:
        case BH_FLD_EVT_RELTIME_S:
        case BH_FLD_EVT_RELTIME_NS: return part(e->time > s->first_time ? e->time - s->first_time : 0, f->id - BH_FLD_EVT_RELTIME, out);
        case BH_FLD_EVT_DELTATIME:
        case BH_FLD_EVT_DELTATIME_S:
        case BH_FLD_EVT_DELTATIME_NS: return part(e->time > s->last_time ? e->time - s->last_time : 0, f->id - BH_FLD_EVT_DELTATIME, out);
        case BH_FLD_EVT_SOURCE: return bh_value_text(out, source_of(e));
        case BH_FLD_EVT_IS_ASYNC: return bh_value_num(out, e->type == BH_EV_CONTAINER || e->type == BH_EV_SENSOR);
        case BH_FLD_EVT_ASYNCTYPE: return e->type == BH_EV_CONTAINER || e->type == BH_EV_SENSOR ? bh_value_text(out, source_of(e)) : FALSE;
        case BH_FLD_EVT_HOSTNAME: return HAS(node) ? bh_value_str(out, e->node) : bh_value_text(out, g_get_host_name());
        case BH_FLD_EVT_DIR: return bh_value_text(out, "<");
        case BH_FLD_EVT_TYPE: return bh_value_text(out, call->shown);
        case BH_FLD_SYSCALL_TYPE: return act ? bh_value_text(out, call->shown) : FALSE;
        case BH_FLD_EVT_TYPE_IS: return bh_value_num(out, bh_rule_call_named(s->call, f->arg.p, f->arg.len));
        case BH_FLD_EVT_CATEGORY: return bh_value_text(out, call->category);
        case BH_FLD_EVT_ARGS:
        case BH_FLD_EVT_INFO: bh_value_args(s, out); return TRUE;
        case BH_FLD_EVT_BUFFER: return HAS(payload) ? bh_value_str(out, e->payload) : FALSE;
        case BH_FLD_EVT_BUFLEN:
        case BH_FLD_EVT_BUFLEN_IN:
        case BH_FLD_EVT_BUFLEN_OUT:
        case BH_FLD_EVT_BUFLEN_FILE:
        case BH_FLD_EVT_BUFLEN_FILE_OUT:
        case BH_FLD_EVT_BUFLEN_NET:
        case BH_FLD_EVT_BUFLEN_NET_IN:
        case BH_FLD_EVT_BUFLEN_NET_OUT: return io_bytes(s, f->id, out);
        case BH_FLD_EVT_RES:
                if (!HAS(ret))
                        return FALSE;
                if (e->ret >= 0)
                        return bh_value_text(out, "SUCCESS");
                return HAS(error) ? bh_value_str(out, e->error) : bh_value_str(out, bh_scene_print(s, "%" G_GINT64_FORMAT, e->ret));
        case BH_FLD_EVT_RAWRES: return rawres(e, out);
        case BH_FLD_EVT_FAILED: return act ? bh_value_num(out, failed(e)) : FALSE;
        case BH_FLD_EVT_IS_IO: return bh_value_num(out, is_read(e, s->call) || is_write(e, s->call));
        case BH_FLD_EVT_IS_IO_READ: return bh_value_num(out, is_read(e, s->call));
        case BH_FLD_EVT_IS_IO_WRITE: return bh_value_num(out, is_write(e, s->call));
        case BH_FLD_EVT_IO_DIR: return is_read(e, s->call) ? bh_value_text(out, "read") : is_write(e, s->call) ? bh_value_text(out, "write") : FALSE;
        case BH_FLD_EVT_IS_WAIT: return bh_value_num(out, 0);
        case BH_FLD_EVT_IS_SYSLOG:
                return bh_value_num(out, is_write(e, s->call) && HAS(path) && ((e->path.len == 8 && memcmp(e->path.p, "/dev/log", 8) == 0) ||
                                                                              (e->path.len == 28 && memcmp(e->path.p, "/run/systemd/journal/dev-log", 28) == 0)));
        case BH_FLD_EVT_COUNT:
        case BH_FLD_EVT_COUNT_EXIT: return bh_value_num(out, 1);
        case BH_FLD_EVT_COUNT_ERROR: return error_count(s, "", out);
        case BH_FLD_EVT_COUNT_ERROR_FILE: return error_count(s, "file", out);
        case BH_FLD_EVT_COUNT_ERROR_NET: return error_count(s, "net", out);
        case BH_FLD_EVT_COUNT_ERROR_MEMORY: return error_count(s, "memory", out);
        case BH_FLD_EVT_COUNT_ERROR_OTHER: return error_count(s, "other", out);
        case BH_FLD_EVT_AROUND: return around(e, f, out);
        case BH_FLD_EVT_ABSPATH: return abspath(s, f, out);
        case BH_FLD_EVT_IS_OPEN_READ:
        case BH_FLD_EVT_IS_OPEN_WRITE:
        case BH_FLD_EVT_IS_OPEN_EXEC:
        case BH_FLD_EVT_IS_OPEN_CREATE: return act ? open_is(s, f->id, out) : FALSE;
        case BH_FLD_EVT_INFRA_NAME: return e->type == BH_EV_CONTAINER && HAS(action) ? bh_value_str(out, e->action) : FALSE;
        case BH_FLD_EVT_INFRA_ID: return e->type == BH_EV_CONTAINER && HAS(container_id) ? bh_value_str(out, e->container_id) : FALSE;
        case BH_FLD_EVT_INFRA_CONTAINER: return e->type == BH_EV_CONTAINER && HAS(container_name) ? bh_value_str(out, e->container_name) : FALSE;
        case BH_FLD_EVT_INFRA_IMAGE: return e->type == BH_EV_CONTAINER && HAS(container_image) ? bh_value_str(out, e->container_image) : FALSE;
        case BH_FLD_UTIL_CNT: return bh_value_num(out, (gint64) s->util_cnt++);
        default: return FALSE;
        }
}
