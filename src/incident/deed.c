/* SPDX-License-Identifier: Apache-2.0 */
#include "incident/deed.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/domain.h"
#include "incident/group.h"
#include "record.h"

#define BPF_LOAD 5 /* enum bpf_cmd: BPF_PROG_LOAD */

static const char *const names[BH_DEEDS] = { "", "wrote", "module", "kernel", "bpf", "read", "sent" };

const char *bh_deed_name(BhDeed d) {
        return d < BH_DEEDS ? names[d] : "";
}

BhDeed bh_deed_of_name(const char *name) {
        for (BhDeed d = BH_DEED_NONE; d < BH_DEEDS; d++)
                if (g_strcmp0(name, names[d]) == 0)
                        return d;
        return BH_DEED_NONE;
}

gboolean bh_deed_plants(BhDeed d) {
        return d == BH_DEED_WROTE || d == BH_DEED_MODULE || d == BH_DEED_KERNEL || d == BH_DEED_BPF;
}

/* Behind one "/proc/7/root", "/proc/self/task/9/root"; NULL: there is none. */
static const char *behind_root(const char *path) {
        static const char *const own[] = { "self", "thread-self" };
        const char *at = path;

        for (guint task = 0; task < 2; task++) {
                gsize n;

                if (!g_str_has_prefix(at, task ? "/task/" : "/proc/"))
                        break;
                at += strlen("/proc/"); /* as long as the other */
                n = strspn(at, "0123456789");
                for (guint k = 0; !task && !n && k < G_N_ELEMENTS(own); k++)
                        if (g_str_has_prefix(at, own[k]) && at[strlen(own[k])] == '/')
                                n = strlen(own[k]);
                if (!n)
                        return NULL;
                at += n;
        }
        return at != path && g_str_has_prefix(at, "/root/") ? at + strlen("/root") : NULL;
}

const char *bh_deed_path(const char *path) {
        for (const char *behind; (behind = behind_root(path));)
                path = behind;
        return path;
}

static char *text_of(const struct bh_event *e, enum bh_field field, struct bh_str s) {
        return bh_event_has(e, field) ? g_strndup(s.p, MIN(s.len, BH_INCIDENT_TEXT_MAX)) : g_strdup("");
}

static gboolean may(const BhIncidentFinding *f, guint tactic) {
        return f->tactics >> tactic & 1;
}

static gboolean refused(const struct bh_event *e) {
        return bh_event_has(e, BH_F_ret) && e->ret < 0;
}

/* Kept by the kernel, one for the whole node. */
static gboolean of_kernel(const char *path) {
        return g_str_has_prefix(path, "/proc/sys/") || g_str_has_prefix(path, "/sys/");
}

/* What is opened for writing on the way out of a container, and stays as it was written: no device, no memory of a process. */
static gboolean stays(const char *path) {
        return !g_str_has_prefix(path, "/dev/") && (!g_str_has_prefix(path, "/proc/") || of_kernel(path) || strstr(path, "/root/") || strstr(path, "/cwd/"));
}

/* By way of another process's root it is that one's file, which its path inside does not say. */
static char *opened_path(const BhIncidentFinding *f) {
        g_autofree char *asked = text_of(f->event, BH_F_name, f->event->name);

        if (f->escape && g_str_has_prefix(asked, "/proc/"))
                return g_steal_pointer(&asked);
        return text_of(f->event, BH_F_path, f->event->path);
}

static gboolean gives_rights(const BhIncidentFinding *f) {
        const struct bh_event *e = f->event;

        return f->rights && (e->type == BH_EV_SETXATTR || (e->type == BH_EV_CHMOD && bh_event_has(e, BH_F_mode) && e->mode & (S_ISUID | S_ISGID)));
}

/* The path of what was written; NULL: nothing was. */
static char *written(const BhIncidentFinding *f) {
        const struct bh_event *e = f->event;
        gboolean about = may(f, BH_TACTIC_PERSISTENCE);
        g_autofree char *path = NULL;

        switch (e->type) {
        case BH_EV_OPEN:
        case BH_EV_CLOSE_WRITE:
                path = opened_path(f);
                return bh_incident_wrote(e) && (about || (f->escape && stays(path))) ? g_steal_pointer(&path) : NULL;
        case BH_EV_RENAME:
        case BH_EV_LINK:
                return about ? text_of(e, BH_F_path2, e->path2) : NULL;
        case BH_EV_SYMLINK:
                return about ? text_of(e, BH_F_path, e->path) : NULL;
        case BH_EV_MKNOD:
                return about || f->escape ? text_of(e, BH_F_path, e->path) : NULL;
        case BH_EV_CHMOD:
        case BH_EV_SETXATTR:
                return gives_rights(f) ? text_of(e, BH_F_path, e->path) : NULL;
        case BH_EV_EXEC:
                path = text_of(e, BH_F_exe, e->exe);
                /* in the layer that is written to, or in shared memory, of which an image has nothing */
                return f->tool && bh_event_has(e, BH_F_flags) && (e->flags & BH_RF_EXE_UPPER || (g_str_has_prefix(path, "/dev/shm/") && !(e->flags & BH_RF_EXE_LOWER))) ? g_steal_pointer(&path) : NULL;
        default:
                return NULL;
        }
}

static gboolean is_read(const BhIncidentFinding *f, const char *path) {
        const struct bh_event *e = f->event;

        return e->type == BH_EV_OPEN && may(f, BH_TACTIC_CREDENTIAL_ACCESS) && *path && bh_event_has(e, BH_F_open_flags) && (e->open_flags & O_ACCMODE) != O_WRONLY && !(e->open_flags & O_PATH) &&
               !g_str_has_suffix(path, "/etc/passwd") && !g_str_has_suffix(path, "/etc/group");
}

static char *sent(const BhIncidentFinding *f) {
        const struct bh_event *e = f->event;

        if (!may(f, BH_TACTIC_EXFILTRATION) && !may(f, BH_TACTIC_COMMAND_AND_CONTROL))
                return NULL;
        if (e->type == BH_EV_NET_CLOSE && bh_event_has(e, BH_F_raddr) && bh_event_has(e, BH_F_bytes_out) && e->bytes_out && bh_event_has(e, BH_F_outgoing) && e->outgoing) {
                g_autofree char *peer = bh_incident_object(f);

                return g_strdup_printf("at least %" G_GUINT64_FORMAT " bytes to %s", e->bytes_out, peer); /* more connections may have been the same line */
        }
        if (e->type == BH_EV_DNS && may(f, BH_TACTIC_EXFILTRATION) && bh_event_has(e, BH_F_dns_question)) {
                g_autofree char *name = text_of(e, BH_F_dns_question, e->dns_question);
                char domain[BH_DOMAIN_MAX + 1];

                /* whoever answers for it gets the rest */
                bh_domain_of(name, strlen(name), domain);
                return *name ? g_strdup_printf("data in DNS names below %s", *domain ? domain : name) : NULL;
        }
        return NULL;
}

/* That an attempt did not fail must be known here: the attempts are events. */
static BhDeed of_the_kernel(const struct bh_event *e) {
        if (!bh_event_has(e, BH_F_ret))
                return BH_DEED_NONE;
        switch (e->type) {
        case BH_EV_MODULE_LOAD: return BH_DEED_MODULE;
        case BH_EV_KEXEC: return BH_DEED_KERNEL;
        case BH_EV_BPF: return bh_event_has(e, BH_F_operation) && e->operation == BPF_LOAD ? BH_DEED_BPF : BH_DEED_NONE;
        default: return BH_DEED_NONE;
        }
}

static BhDeed of_event(const BhIncidentFinding *f, char **thing) {
        const struct bh_event *e = f->event;
        BhDeed deed = of_the_kernel(e);
        g_autofree char *path = NULL;

        if (refused(e))
                return BH_DEED_NONE;
        if (deed) {
                *thing = text_of(e, BH_F_path, e->path);
                return deed;
        }
        path = written(f);
        if (path && *path) {
                *thing = g_steal_pointer(&path);
                return BH_DEED_WROTE;
        }
        g_clear_pointer(&path, g_free);
        path = opened_path(f);
        if (is_read(f, path)) {
                *thing = g_steal_pointer(&path);
                return BH_DEED_READ;
        }
        *thing = sent(f);
        return *thing ? BH_DEED_SENT : BH_DEED_NONE;
}

BhDeed bh_incident_deed(const BhIncidentFinding *f, char **thing, char **origin) {
        BhDeed deed = BH_DEED_NONE;
        gboolean on_node = FALSE, inside = f->container_id && *f->container_id;

        *thing = *origin = NULL;
        if (f->event) {
                deed = of_event(f, thing);
                on_node = deed == BH_DEED_WROTE ? of_kernel(*thing) : bh_deed_plants(deed);
                if (deed && !inside)
                        *origin = text_of(f->event, BH_F_origin_name, f->event->origin_name);
        } else if (f->planted && *f->planted) {
                deed = BH_DEED_WROTE;
                on_node = TRUE;
                *thing = g_strndup(f->planted, BH_INCIDENT_TEXT_MAX);
        } else if (f->sent && *f->sent) {
                deed = BH_DEED_SENT;
                *thing = g_strndup(f->sent, BH_INCIDENT_TEXT_MAX);
        }
        if (on_node && inside)
                *origin = g_strndup(f->container_name && *f->container_name ? f->container_name : f->container_id, BH_INCIDENT_TEXT_MAX);
        *thing = *thing ? *thing : g_strdup("");
        *origin = *origin ? *origin : g_strdup("");
        return deed;
}
