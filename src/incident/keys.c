/* SPDX-License-Identifier: Apache-2.0 */
#include "incident/keys.h"

#include <fcntl.h>

static char *key_of(char kind, const char *node, const char *what) {
        return g_strdup_printf("%c%s\1%s", kind, node ? node : "", what);
}

char *bh_incident_container_key(const char *node, const char *id) {
        return key_of('c', node, id);
}

static char *process_key(const char *node, guint32 pid, gint64 start_ns) {
        g_autofree char *what = g_strdup_printf("%u\1%" G_GINT64_FORMAT, pid, start_ns);

        return key_of('p', node, what);
}

static char *file_key(const char *node, guint32 dev, guint64 ino) {
        g_autofree char *what = g_strdup_printf("%u\1%" G_GUINT64_FORMAT, dev, ino);

        return key_of('f', node, what);
}

static void key_clear(gpointer p) {
        g_free(((BhIncidentKey *) p)->key);
}

static void add_key(GArray *keys, char *key, BhBasis basis, gboolean look, gboolean leave) {
        BhIncidentKey k = { key, basis, look, leave, 0 };

        g_array_append_val(keys, k);
}

/* Below these everything on a node begins: to have them in common says nothing. */
static gboolean is_root(const BhIncidentProcess *p) {
        static const char *const names[] = { "systemd", "init", "sshd", "cron", "crond", "dockerd", "containerd", "runc", "crun", "conmon", "crio", "kubelet", "agetty", "login", "atd", "supervisord",
                /* what keeps sessions and containers apart */
                "tmux", "tmux: server", "screen", "SCREEN", "tini", "tini-static", "dumb-init", "catatonit", "s6-svscan", "s6-supervise", "runsv", "runsvdir", "openrc", "anacron", "fcron", "dcron", "busybox-init",
                "systemd-executor", "systemd-logind", "gdm", "lightdm", "sddm", "xrdp", "mosh-server", "ttyd", "podman", "cri-dockerd", "youki", "kata-runtime", "buildkitd", "k3s", "k0s", "rke2", "nomad",
                /* what starts everybody's jobs */
                "Runner.Listener", "Runner.Worker", "gitlab-runner", "buildkite-agent", "agent-runner", "jenkins-agent", "act_runner", "forgejo-runner", "woodpecker-agent", "drone-runner", "concourse",
                "slurmd", "slurmstepd", "pbs_mom", "salt-minion", "puppet", "chef-client", "amazon-ssm-agent", "waagent", "teleport" };
        static const char *const others[] = { "/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/", "/home/", "/root/" };
        g_autofree char *base = p->exe && *p->exe ? g_path_get_basename(p->exe) : NULL;

        if (p->pid <= 2)
                return TRUE;
        if (!base)
                return FALSE;
        /* whoever writes there may call a program what he likes */
        for (guint n = 0; n < G_N_ELEMENTS(others); n++)
                if (g_str_has_prefix(p->exe, others[n]))
                        return FALSE;
        for (guint n = 0; n < G_N_ELEMENTS(names); n++)
                if (g_str_equal(base, names[n]))
                        return TRUE;
        return g_str_has_prefix(base, "containerd-shim") || g_str_has_prefix(base, "systemd-");
}

static gboolean has_text(const char *text) {
        return text && *text;
}

gboolean bh_incident_wrote(const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_OPEN: return bh_event_has(e, BH_F_open_flags) && ((e->open_flags & O_ACCMODE) != O_RDONLY || e->open_flags & (O_CREAT | O_TRUNC));
        case BH_EV_CLOSE_WRITE:
        case BH_EV_RENAME:
        case BH_EV_LINK:
        case BH_EV_CHMOD:
        case BH_EV_CHOWN:
        case BH_EV_SETXATTR:
        case BH_EV_MKNOD: return TRUE;
        default: return FALSE;
        }
}

/* Who writes a file takes nothing from who wrote it before: two who change the same one are two. */
static gboolean takes(const struct bh_event *e) {
        return !bh_incident_wrote(e) || !(e->type == BH_EV_OPEN || e->type == BH_EV_CLOSE_WRITE || e->type == BH_EV_MKNOD);
}

static void keys_of_event(GArray *keys, const BhIncidentFinding *f) {
        const struct bh_event *e = f->event;

        if (bh_event_has(e, BH_F_origin_id) && e->origin_id.len) {
                g_autofree char *origin = g_strndup(e->origin_id.p, e->origin_id.len);

                add_key(keys, bh_incident_container_key(f->node, origin), BH_BASIS_CONTAINER, TRUE, TRUE);
        }
        if (bh_event_has(e, BH_F_dev) && bh_event_has(e, BH_F_ino) && e->ino)
                add_key(keys, file_key(f->node, e->dev, e->ino), BH_BASIS_FILE, takes(e), bh_incident_wrote(e));
        if (bh_event_has(e, BH_F_exe_dev) && bh_event_has(e, BH_F_exe_ino) && e->exe_ino)
                add_key(keys, file_key(f->node, e->exe_dev, e->exe_ino), BH_BASIS_FILE, TRUE, FALSE);
        if (bh_event_has(e, BH_F_target_container_id) && e->target_container_id.len) {
                g_autofree char *target = g_strndup(e->target_container_id.p, e->target_container_id.len);

                add_key(keys, bh_incident_container_key(f->node, target), BH_BASIS_TARGET, TRUE, TRUE);
        } else if (bh_event_has(e, BH_F_target_pid) && bh_event_has(e, BH_F_target_start) && e->target_pid > 2) {
                add_key(keys, process_key(f->node, e->target_pid, (gint64) e->target_start), BH_BASIS_TARGET, TRUE, TRUE);
        }
}

/* The container on which a process of the node acts. Agents go into each, one after the other: that ties no two of them. */
static guint target_of(const struct bh_event *e) {
        if (!e || !bh_event_has(e, BH_F_target_container_id) || !e->target_container_id.len)
                return 0;
        g_autofree char *id = g_strndup(e->target_container_id.p, e->target_container_id.len);
        guint hash = g_str_hash(id);

        return hash ? hash : 1;
}

GArray *bh_incident_keys_of(const BhIncidentFinding *f) {
        GArray *keys = g_array_new(FALSE, FALSE, sizeof(BhIncidentKey));
        gboolean inside = has_text(f->container_id), from = FALSE;

        g_array_set_clear_func(keys, key_clear);
        if (inside)
                add_key(keys, bh_incident_container_key(f->node, f->container_id), BH_BASIS_CONTAINER, TRUE, TRUE);
        for (guint n = 0; n < f->n_lineage; n++)
                if (has_text(f->lineage[n].origin_id)) {
                        add_key(keys, bh_incident_container_key(f->node, f->lineage[n].origin_id), BH_BASIS_CONTAINER, TRUE, TRUE);
                        from = TRUE;
                }
        if (f->event)
                keys_of_event(keys, f);
        if (!inside && !from && !(f->event && bh_event_has(f->event, BH_F_origin_id))) {
                guint target = target_of(f->event);

                for (guint n = 0; n < f->n_lineage && !is_root(&f->lineage[n]); n++) {
                        add_key(keys, process_key(f->node, f->lineage[n].pid, f->lineage[n].start_ns), BH_BASIS_PROCESS, TRUE, TRUE);
                        g_array_index(keys, BhIncidentKey, keys->len - 1).target = target;
                }
        }
        /* what a process that is known on the node did by its number: a target before */
        else if (f->n_lineage)
                add_key(keys, process_key(f->node, f->lineage[0].pid, f->lineage[0].start_ns), BH_BASIS_TARGET, TRUE, FALSE);
        return keys;
}
