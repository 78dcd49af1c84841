/* SPDX-License-Identifier: Apache-2.0 */
#include "container/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <jansson.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fdio.h"

#define MOUNTINFO_MAX (16u << 20)
#define STATE_MAX (4u << 20)
#define INIT_PID_NS_INODE 0xEFFFFFFCu /* PROC_PID_INIT_INO of include/linux/proc_ns.h */

static const char *const preferred[] = { "pids", "memory", "devices", "cpu" };

void bh_cgroup_layout_free(BhCgroupLayout *l) {
        if (!l)
                return;
        g_free(l->mount);
        g_free(l->mount_root);
        g_free(l->v2_mount);
        g_free(l);
}

BhCgroupLayout *bh_cgroup_layout_dup(const BhCgroupLayout *l) {
        BhCgroupLayout *out = g_memdup2(l, sizeof *l);

        out->mount = g_strdup(l->mount);
        out->mount_root = g_strdup(l->mount_root);
        out->v2_mount = g_strdup(l->v2_mount);
        return out;
}

/* mountinfo writes space, tab, newline and backslash as \040 and the like */
static char *unescape(const char *s) {
        GString *out = g_string_new(NULL);

        for (; *s; s++)
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
                        g_string_append_c(out, (char) ((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0')));
                        s += 3;
                } else {
                        g_string_append_c(out, *s);
                }
        return g_string_free(out, FALSE);
}

BhCgroupLayout *bh_cgroup_parse_mountinfo(const char *text, gsize len, GError **error) {
        g_autofree char *copy = g_strndup(text, len);
        g_auto(GStrv) lines = g_strsplit(copy, "\n", -1);
        g_autofree char *v2_root = NULL;
        g_autoptr(BhCgroupLayout) l = g_new0(BhCgroupLayout, 1);
        char *found[G_N_ELEMENTS(preferred)][2] = { { NULL } };
        gboolean any_v1 = FALSE;

        for (char **line = lines; *line; line++) {
                /* 41 31 0:38 / /sys/fs/cgroup/pids rw,relatime [tags…] - cgroup cgroup rw,pids */
                char *rest = strstr(*line, " - ");
                g_auto(GStrv) head = g_strsplit(*line, " ", 7);
                g_auto(GStrv) tail = rest ? g_strsplit(rest + 3, " ", 3) : NULL;

                if (!rest || g_strv_length(head) < 6 || g_strv_length(tail) < 3)
                        continue;
                if (!strcmp(tail[0], "cgroup2")) {
                        /* the first one that shows the whole hierarchy wins */
                        if (!l->v2_mount || (strcmp(v2_root, "/") && !strcmp(head[3], "/"))) {
                                g_free(l->v2_mount);
                                g_free(v2_root);
                                l->v2_mount = unescape(head[4]);
                                v2_root = unescape(head[3]);
                        }
                } else if (!strcmp(tail[0], "cgroup")) {
                        g_auto(GStrv) options = g_strsplit(tail[2], ",", -1);

                        /* systemd's name=systemd stands alone also beside a pure version 2 */
                        for (guint i = 0; i < G_N_ELEMENTS(preferred); i++) {
                                if (!g_strv_contains((const char *const *) options, preferred[i]))
                                        continue;
                                any_v1 = TRUE;
                                if (!found[i][0] || (strcmp(found[i][1], "/") && !strcmp(head[3], "/"))) {
                                        g_free(found[i][0]);
                                        g_free(found[i][1]);
                                        found[i][0] = unescape(head[4]);
                                        found[i][1] = unescape(head[3]);
                                }
                        }
                }
        }

        if (any_v1) {
                l->mode = l->v2_mount ? BH_CGROUP_HYBRID : BH_CGROUP_V1;
                l->version = 1;
                for (guint i = 0; i < G_N_ELEMENTS(preferred); i++)
                        if (found[i][0] && !l->mount) {
                                g_strlcpy(l->controller, preferred[i], sizeof l->controller);
                                l->mount = g_steal_pointer(&found[i][0]);
                                l->mount_root = g_steal_pointer(&found[i][1]);
                        }
        } else if (l->v2_mount) {
                l->mode = BH_CGROUP_V2;
                l->version = 2;
                l->mount = g_strdup(l->v2_mount);
                l->mount_root = g_steal_pointer(&v2_root);
        }
        for (guint i = 0; i < G_N_ELEMENTS(preferred); i++) {
                g_free(found[i][0]);
                g_free(found[i][1]);
        }
        if (!l->mount) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            "no cgroup hierarchy is mounted: mount cgroup2 at /sys/fs/cgroup, or give the host's root with --host-root");
                return NULL;
        }
        return g_steal_pointer(&l);
}

static gboolean is_cgroup_mount(const char *path, int version) {
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == (version == 2 ? CGROUP2_SUPER_MAGIC : CGROUP_SUPER_MAGIC);
}

static BhCgroupLayout *detect_from(const char *mountinfo, const char *prefix, GError **error) {
        gsize len;
        g_autofree char *text = bh_file_read(AT_FDCWD, mountinfo, MOUNTINFO_MAX, &len, NULL, error);
        g_autoptr(BhCgroupLayout) l = text ? bh_cgroup_parse_mountinfo(text, len, error) : NULL;

        if (!l)
                return NULL;
        if (*prefix) {
                g_autofree char *seen = g_steal_pointer(&l->mount);

                l->mount = g_strconcat(prefix, seen, NULL);
                if (l->v2_mount) {
                        g_autofree char *v2 = g_steal_pointer(&l->v2_mount);

                        l->v2_mount = g_strconcat(prefix, v2, NULL);
                        if (!is_cgroup_mount(l->v2_mount, 2))
                                g_clear_pointer(&l->v2_mount, g_free);
                }
        }
        if (!is_cgroup_mount(l->mount, l->version)) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "%s shows no cgroup hierarchy: mount the host's / there with its submounts (rbind, or rslave)",
                            l->mount);
                return NULL;
        }
        return g_steal_pointer(&l);
}

BhCgroupLayout *bh_cgroup_detect(const char *host_root, GError **error) {
        const char *prefix = !host_root || !strcmp(host_root, "/") ? "" : host_root;
        g_autofree char *host = g_strconcat(prefix, "/proc/1/mountinfo", NULL);
        g_autoptr(GError) first = NULL;
        struct stat ns;

        BhCgroupLayout *l = detect_from(host, prefix, &first);
        if (l)
                return l;
        if (*prefix && stat("/proc/self/ns/pid", &ns) == 0 && ns.st_ino == INIT_PID_NS_INODE)
                l = detect_from("/proc/1/mountinfo", prefix, NULL);
        if (!l)
                l = detect_from("/proc/self/mountinfo", "", NULL);
        if (!l)
                g_propagate_error(error, g_steal_pointer(&first));
        return l;
}

guint64 bh_cgroup_id(int dirfd, const char *path) {
        union {
                struct file_handle handle;
                char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
        } h = { .handle.handle_bytes = sizeof(guint64) };
        struct stat st;
        int mount;

        if (name_to_handle_at(dirfd, path, &h.handle, &mount, *path ? 0 : AT_EMPTY_PATH) == 0 && h.handle.handle_bytes == sizeof(guint64)) {
                guint64 id;

                memcpy(&id, h.handle.f_handle, sizeof id);
                return id;
        }
        return fstatat(dirfd, path, &st, *path ? 0 : AT_EMPTY_PATH) == 0 ? st.st_ino : 0;
}

typedef struct {
        BhCgroupVisit visit;
        gpointer data;
        BhCgroupWalkStats *stats;
        GString *path; /* without a final '/'; "" is the root */
} Walk;

/* FALSE: the visitor wants no more. */
static gboolean walk_dir(Walk *w, int fd, guint depth) {
        if (w->stats->visited >= BH_CGROUP_MAX_WALK || depth > BH_CGROUP_MAX_DEPTH) {
                w->stats->refused++;
                return TRUE;
        }
        guint64 id = bh_cgroup_id(fd, "");
        w->stats->visited++;
        if (!w->visit(id, w->path->len ? w->path->str : "/", w->data))
                return FALSE;

        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
        struct dirent *e;
        gboolean more = TRUE;

        if (!dir) {
                if (copy >= 0)
                        close(copy);
                w->stats->refused++;
                return TRUE;
        }
        while (more && (e = readdir(dir))) {
                if (e->d_type != DT_DIR || !strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
                        continue;
                g_auto(BhFd) child = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                if (child < 0) {
                        if (errno == ENOENT)
                                w->stats->vanished++;
                        else
                                w->stats->refused++;
                        continue;
                }
                gsize had = w->path->len;
                g_string_append_c(w->path, '/');
                g_string_append(w->path, e->d_name);
                more = walk_dir(w, child, depth + 1);
                g_string_truncate(w->path, had);
        }
        closedir(dir);
        return more;
}

gboolean bh_cgroup_walk(const BhCgroupLayout *l, BhCgroupVisit visit, gpointer data, BhCgroupWalkStats *stats, GError **error) {
        BhCgroupWalkStats own = { 0 };
        g_autoptr(GString) path = g_string_new(!strcmp(l->mount_root, "/") ? "" : l->mount_root);
        g_auto(BhFd) fd = open(l->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0) {
                int code = errno;

                g_set_error(error, G_IO_ERROR, (gint) g_io_error_from_errno(code), "cannot open the cgroup hierarchy %s: %s", l->mount, g_strerror(code));
                return FALSE;
        }
        Walk w = { visit, data, &own, path };
        walk_dir(&w, fd, 0);
        if (stats)
                *stats = own;
        return TRUE;
}

/* ---- paths ---- */

static gboolean is_hex64(const char *s, gsize n) {
        if (n != 64)
                return FALSE;
        for (gsize i = 0; i < n; i++)
                if (!g_ascii_isdigit(s[i]) && !(s[i] >= 'a' && s[i] <= 'f'))
                        return FALSE;
        return TRUE;
}

static gboolean eq(const char *s, gsize n, const char *word) {
        return n == strlen(word) && !memcmp(s, word, n);
}

static gboolean starts(const char *s, gsize n, const char *prefix) {
        return n >= strlen(prefix) && !memcmp(s, prefix, strlen(prefix));
}

static const struct {
        const char *prefix, *runtime; /* NULL runtime: a monitor, no container */
} scopes[] = {
        { "libpod-conmon-", NULL }, { "crio-conmon-", NULL },  { "docker-", "docker" }, { "cri-containerd-", "containerd" },
        { "nerdctl-", "containerd" }, { "crio-", "crio" }, { "libpod-", "podman" },
};

/* One component of a path, with the two before it: is it a container's own cgroup? */
static gboolean component(const char *s, gsize n, const char *up, gsize up_n, const char *up2, gsize up2_n, gboolean in_pods, const char **id, gsize *id_len,
                          const char **runtime) {
        const char *colon;

        for (gsize i = 0; i < G_N_ELEMENTS(scopes); i++) {
                gsize skip = strlen(scopes[i].prefix);

                if (!starts(s, n, scopes[i].prefix))
                        continue;
                if (!scopes[i].runtime)
                        return FALSE;
                gsize len = n - skip;
                if (len > 6 && !memcmp(s + n - 6, ".scope", 6))
                        len -= 6;
                if (!is_hex64(s + skip, len))
                        return FALSE;
                *id = s + skip;
                *id_len = len;
                *runtime = scopes[i].runtime;
                return TRUE;
        }
        /* the systemd driver's slice:prefix:name, taken literally by a runtime that uses the file system */
        if ((colon = g_strrstr_len(s, (gssize) n, ":")) && is_hex64(colon + 1, n - (gsize) (colon + 1 - s))) {
                gsize before = (gsize) (colon - s);

                *id = colon + 1;
                *id_len = 64;
                *runtime = g_strrstr_len(s, (gssize) before, ":cri-containerd") ? "containerd"
                         : g_strrstr_len(s, (gssize) before, ":crio")           ? "crio"
                         : g_strrstr_len(s, (gssize) before, ":docker")         ? "docker"
                         : g_strrstr_len(s, (gssize) before, ":libpod")         ? "podman"
                                                                                : "unknown";
                return TRUE;
        }
        if (is_hex64(s, n)) {
                *id = s;
                *id_len = n;
                *runtime = in_pods ? "unknown" : eq(up, up_n, "k8s.io") || eq(up, up_n, "default") || eq(up, up_n, "moby") ? "containerd" : "docker";
                if (in_pods && eq(up, up_n, "k8s.io"))
                        *runtime = "containerd";
                return TRUE;
        }
        /* BuildKit's ids: 25 characters of base 36 */
        if (n == 25 && eq(up, up_n, "buildkit") && eq(up2, up2_n, "docker")) {
                for (gsize i = 0; i < n; i++)
                        if (!g_ascii_isdigit(s[i]) && !g_ascii_islower(s[i]))
                                return FALSE;
                *id = s;
                *id_len = n;
                *runtime = "buildkit";
                return TRUE;
        }
        return FALSE;
}

gboolean bh_cgroup_parse(const char *path, BhCgroupContainer *out) {
        BhCgroupContainer found = { .depth = 0 };
        const char *up = "", *up2 = "", *p = path;
        gsize up_n = 0, up2_n = 0;
        gboolean any = FALSE, in_pods = FALSE;

        while (*p) {
                gsize n;

                if (*p == '/') {
                        p++;
                        continue;
                }
                n = strcspn(p, "/");
                const char *id, *runtime;
                gsize id_len;

                if (component(p, n, up, up_n, up2, up2_n, in_pods, &id, &id_len, &runtime)) {
                        memcpy(found.id, id, id_len);
                        found.id[id_len] = '\0';
                        g_strlcpy(found.runtime, runtime, sizeof found.runtime);
                        found.own_len = (gsize) (p - path) + n;
                        if (!any) {
                                memcpy(found.outer_id, found.id, sizeof found.outer_id);
                                found.outer_len = found.own_len;
                        } else if (strcmp(found.id, found.outer_id)) {
                                found.depth++;
                        }
                        any = TRUE;
                        in_pods = FALSE;
                } else if (starts(p, n, "kubepods")) {
                        in_pods = TRUE;
                }
                up2 = up;
                up2_n = up_n;
                up = p;
                up_n = n;
                p += n;
        }
        if (any)
                *out = found;
        return any;
}

/* A name that may be put into a path and that is short enough for an id. */
static gboolean usable_name(const char *s, gsize n) {
        return n && n < BH_CGROUP_ID_MAX && s[0] != '.' && !memchr(s, '/', n);
}

static gboolean take_named(BhCgroupContainer *out, const char *name, const char *runtime, gsize own_len) {
        *out = (BhCgroupContainer) { .own_len = own_len, .outer_len = own_len };
        g_strlcpy(out->id, name, sizeof out->id);
        g_strlcpy(out->outer_id, name, sizeof out->outer_id);
        g_strlcpy(out->runtime, runtime, sizeof out->runtime);
        return TRUE;
}

/* Where the host sees a cgroup of the chosen hierarchy; NULL if nowhere. Caller frees. */
static char *host_path(const BhCgroupLayout *l, const char *prefix, const char *path) {
        const char *mount = *prefix && g_str_has_prefix(l->mount, prefix) && l->mount[strlen(prefix)] == '/' ? l->mount + strlen(prefix) : l->mount;
        gsize skip = strcmp(l->mount_root, "/") ? strlen(l->mount_root) : 0;

        if (strncmp(path, l->mount_root, skip) || path[skip] != '/')
                return NULL;
        return g_strconcat(mount, path + skip, NULL);
}

/* Does the state of a runc container name this very cgroup? {"cgroup_paths": {"pids": "/sys/fs/cgroup/pids/NAME", "": "/sys/fs/…"}} */
static gboolean runc_state_names(const char *file, const char *controller, const char *path) {
        gsize len;
        g_autofree char *text = bh_file_read(AT_FDCWD, file, STATE_MAX, &len, NULL, NULL);
        json_t *doc = text ? json_loadb(text, len, 0, NULL) : NULL;
        /* version 2 stands under the empty name, as in layouts */
        gboolean named = !g_strcmp0(json_string_value(json_object_get(json_object_get(doc, "cgroup_paths"), controller)), path);

        json_decref(doc);
        return named;
}

/* crun's status names it as the hierarchy does: {"cgroup-path": "/NAME"} */
static gboolean crun_status_names(const char *file, const char *path) {
        gsize len;
        g_autofree char *text = bh_file_read(AT_FDCWD, file, STATE_MAX, &len, NULL, NULL);
        json_t *doc = text ? json_loadb(text, len, 0, NULL) : NULL;
        gboolean named = !g_strcmp0(json_string_value(json_object_get(doc, "cgroup-path")), path);

        json_decref(doc);
        return named;
}

/* A runtime's name for a cgroup whose last part is `name`: with systemd as its driver, PREFIX-NAME.scope. Caller frees. */
static char *name_of_scope(const char *name, const char *prefix) {
        return g_str_has_prefix(name, prefix) && g_str_has_suffix(name, ".scope") ? g_strndup(name + strlen(prefix), strlen(name) - strlen(prefix) - strlen(".scope")) : g_strdup(name);
}

gboolean bh_cgroup_probe(const char *host_root, const BhCgroupLayout *layout, const char *const *namespaces, const char *path, BhCgroupContainer *out) {
        const char *prefix = !host_root || !strcmp(host_root, "/") ? "" : host_root;
        gsize len = strlen(path);
        const char *name = strrchr(path, '/');
        struct stat st;

        if (!name || path[0] != '/' || !usable_name(name + 1, len - (gsize) (name + 1 - path)))
                return FALSE;
        name++;

        g_autofree char *named = name_of_scope(name, "runc-"), *crunned = name_of_scope(name, "crun-");
        if (!usable_name(named, strlen(named)))
                return FALSE;
        g_autofree char *state = g_strdup_printf("%s/run/runc/%s/state.json", prefix, named);
        g_autofree char *full = layout ? host_path(layout, prefix, path) : NULL;
        if (full && stat(state, &st) == 0 && S_ISREG(st.st_mode) && runc_state_names(state, layout->controller, full))
                return take_named(out, named, "runc", len);
        g_autofree char *status = usable_name(crunned, strlen(crunned)) ? g_strdup_printf("%s/run/crun/%s/status", prefix, crunned) : NULL;
        if (status && stat(status, &st) == 0 && S_ISREG(st.st_mode) && crun_status_names(status, path))
                return take_named(out, crunned, "crun", len);

        /* exactly /NAMESPACE/NAME */
        if (name - path < 3 || memchr(path + 1, '/', (gsize) (name - 1 - (path + 1))))
                return FALSE;
        g_autofree char *namespace = g_strndup(path + 1, (gsize) (name - 1 - (path + 1)));
        if (!usable_name(namespace, strlen(namespace)))
                return FALSE;
        if (namespaces && g_strv_contains(namespaces, namespace))
                return take_named(out, name, "containerd", len);
        g_autofree char *task = g_strdup_printf("%s/run/containerd/io.containerd.runtime.v2.task/%s/%s", prefix, namespace, name);
        if (stat(task, &st) == 0 && S_ISDIR(st.st_mode))
                return take_named(out, name, "containerd", len);
        return FALSE;
}
