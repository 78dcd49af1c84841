/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, descriptions, workloads, the table. The runtime's client is in test_container_docker.c. */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

#include "container/cgroup.h"
#include "container/container.h"
#include "container/docker_diff.h"
#include "container/docker_json.h"
#include "container/table.h"
#include "container/workload.h"

#include "scratch.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define SECOND G_USEC_PER_SEC

/* ---- paths ---- */

static void path_shapes(void) {
        static const struct {
                const char *path, *runtime, *id, *outer;
                guint depth;
        } yes[] = {
                { "/docker/" A, "docker", A, A, 0 },
                { "/swm-1/" A, "docker", A, A, 0 },
                { "/my/own/parent/" A, "docker", A, A, 0 },
                { "/system.slice/docker-" A ".scope", "docker", A, A, 0 },
                { "/system.slice/docker-" A ".scope/init.scope", "docker", A, A, 0 },
                { "/docker/" A "/system.slice/ssh.service", "docker", A, A, 0 },
                { "/kubepods/burstable/pod0b4-1/" A, "unknown", A, A, 0 },
                { "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-" A ".scope", "containerd", A, A, 0 },
                { "/kubepods.slice/kubepods-pod1_2.slice/crio-" A ".scope", "crio", A, A, 0 },
                { "/kubepods.slice/kubepods-pod1_2.slice/docker-" A ".scope", "docker", A, A, 0 },
                { "/kubepods/besteffort/podx/crio-" A, "crio", A, A, 0 },
                { "/system.slice/containerd.service/kubepods-burstable-pod12.slice:cri-containerd:" A, "containerd", A, A, 0 },
                { "/machine.slice/libpod-" A ".scope/container", "podman", A, A, 0 },
                { "/libpod_parent/libpod-" A, "podman", A, A, 0 },
                { "/k8s.io/" A, "containerd", A, A, 0 },
                { "/default/" A, "containerd", A, A, 0 },
                { "/docker/buildkit/0123456789abcdefghijklmno", "buildkit", "0123456789abcdefghijklmno", "0123456789abcdefghijklmno", 0 },
                { "/docker/" A "/docker/" B, "docker", B, A, 1 },
                { "/kubepods.slice/x.slice/cri-containerd-" A ".scope/docker/" B "/sub", "docker", B, A, 1 },
                { "/docker/" A "/docker/" A, "docker", A, A, 0 },
        };
        static const char *const no[] = {
                "", "/", "/system.slice/ssh.service", "/user.slice/user-0.slice/session-1.scope", "/init.scope", "/docker", "/docker/short",
                "/docker/AAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "/docker/" A "a", "/machine.slice/libpod-conmon-" A ".scope",
                "/system.slice/crio-conmon-" A ".scope", "/kubepods/burstable/pod1234", "/docker/buildkit", "/docker-.scope", "/system.slice/docker-" A "x.scope",
                "/buildkit/0123456789abcdefghijklmno", "/default/nginx", "/myrunc", "////", "/docker-" A ".scop/..",
        };
        BhCgroupContainer got;

        for (gsize i = 0; i < G_N_ELEMENTS(yes); i++) {
                g_test_message("%s", yes[i].path);
                g_assert_true(bh_cgroup_parse(yes[i].path, &got));
                g_assert_cmpstr(got.runtime, ==, yes[i].runtime);
                g_assert_cmpstr(got.id, ==, yes[i].id);
                g_assert_cmpstr(got.outer_id, ==, yes[i].outer);
                g_assert_cmpuint(got.depth, ==, yes[i].depth);
        }
        g_assert_true(bh_cgroup_parse("/docker/" A "/x/y", &got));
        g_assert_cmpuint(got.own_len, ==, strlen("/docker/" A));
        for (gsize i = 0; i < G_N_ELEMENTS(no); i++) {
                g_test_message("%s", no[i]);
                g_assert_false(bh_cgroup_parse(no[i], &got));
        }
}

static BhCgroupLayout *layout_of(const char *text) {
        return bh_cgroup_parse_mountinfo(text, strlen(text), NULL);
}

static void hierarchy_choice(void) {
        g_autoptr(BhCgroupLayout) v2 = layout_of("25 24 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
        g_autoptr(BhCgroupLayout) v1 = layout_of("32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
                                                 "36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
        g_autoptr(BhCgroupLayout) hybrid = layout_of("36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
                                                     "39 31 0:36 / /sys/fs/cgroup/my\\040pids rw master:1 shared:2 - cgroup cgroup rw,pids\n"
                                                     "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        /* systemd's named hierarchy does not make a host a version 1 host */
        g_autoptr(BhCgroupLayout) named = layout_of("40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
                                                    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        g_autoptr(GError) error = NULL;

        g_assert_cmpint(v2->mode, ==, BH_CGROUP_V2);
        g_assert_cmpint(v2->version, ==, 2);
        g_assert_cmpstr(v2->mount, ==, "/sys/fs/cgroup");
        g_assert_cmpint(v1->mode, ==, BH_CGROUP_V1);
        g_assert_cmpstr(v1->controller, ==, "memory");
        g_assert_null(v1->v2_mount);
        g_assert_cmpint(hybrid->mode, ==, BH_CGROUP_HYBRID);
        g_assert_cmpint(hybrid->version, ==, 1);
        g_assert_cmpstr(hybrid->controller, ==, "pids");
        g_assert_cmpstr(hybrid->mount, ==, "/sys/fs/cgroup/my pids");
        g_assert_cmpstr(hybrid->v2_mount, ==, "/sys/fs/cgroup/unified");
        g_assert_cmpint(named->version, ==, 2);
        g_assert_null(bh_cgroup_parse_mountinfo("no mountinfo - at all\n\n- - -", 28, &error));
        g_assert_nonnull(error);
}

static gboolean find_root(guint64 id, const char *path, gpointer data) {
        guint64 *root = data;

        g_assert_cmpuint(id, !=, 0);
        g_assert_cmpint(path[0], ==, '/');
        if (!strcmp(path, "/"))
                *root = id;
        return TRUE;
}

static void walk_of_this_host(void) {
        g_autoptr(GError) error = NULL;
        g_autoptr(BhCgroupLayout) l = bh_cgroup_detect("/", &error);
        BhCgroupWalkStats stats;
        guint64 root = 0;

        if (!l) {
                g_test_skip(error->message);
                return;
        }
        g_assert_true(bh_cgroup_walk(l, find_root, &root, &stats, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(stats.visited, >=, 1);
        if (!strcmp(l->mount_root, "/")) {
                struct stat st;

                g_assert_cmpint(stat(l->mount, &st), ==, 0);
                g_assert_cmpuint(root, ==, st.st_ino);
        }

        /* the same host seen through another root */
        g_autoptr(BhCgroupLayout) through = bh_cgroup_detect("/proc/self/root", &error);
        g_assert_no_error(error);
        g_autofree char *mount = g_strconcat("/proc/self/root", l->mount, NULL);
        g_assert_cmpint(through->mode, ==, l->mode);
        g_assert_cmpstr(through->controller, ==, l->controller);
        g_assert_cmpstr(through->mount, ==, mount);
        g_assert_cmpuint(bh_cgroup_id(AT_FDCWD, through->mount), ==, bh_cgroup_id(AT_FDCWD, l->mount));
}

static void write_file(const char *root, const char *path, const char *text) {
        g_autofree char *file = g_build_filename(root, path, NULL);
        g_autofree char *dir = g_path_get_dirname(file);

        g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
        g_assert_true(g_file_set_contents(file, text, -1, NULL));
}

static void named_containers_need_proof(void) {
        g_autofree char *root = g_dir_make_tmp("bulkhead-cgroup-XXXXXX", NULL);
        static const char *const namespaces[] = { "prod", NULL };
        g_autofree char *seen = g_strconcat(root, "/sys/fs/cgroup/pids", NULL);
        BhCgroupLayout v1 = { .mode = BH_CGROUP_V1, .version = 1, .controller = "pids", .mount = seen, .mount_root = (char *) "/" };
        BhCgroupLayout v2 = { .mode = BH_CGROUP_V2, .version = 2, .mount = (char *) "/sys/fs/cgroup", .mount_root = (char *) "/" };
        BhCgroupLayout part = { .mode = BH_CGROUP_V2, .version = 2, .mount = (char *) "/sys/fs/cgroup", .mount_root = (char *) "/system.slice" };
        BhCgroupContainer got;

        write_file(root, "run/runc/web/state.json", "{\"cgroup_paths\":{\"pids\":\"/sys/fs/cgroup/pids/user.slice/web\"}}");
        write_file(root, "run/runc/torn/state.json", "{\"cgroup_paths\":{\"pids\":\"/sys/fs/cgroup/pids/torn\"");
        write_file(root, "run/runc/unit/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/system.slice/runc-unit.scope\"}}");
        write_file(root, "run/containerd/io.containerd.runtime.v2.task/default/job/config.json", "{}");

        g_assert_true(bh_cgroup_probe(root, &v1, NULL, "/user.slice/web", &got));
        g_assert_cmpstr(got.id, ==, "web");
        g_assert_cmpstr(got.runtime, ==, "runc");
        g_assert_false(bh_cgroup_probe(root, &v1, NULL, "/elsewhere/web", &got));
        /* the same end, another hierarchy, another mount: not this cgroup */
        g_assert_false(bh_cgroup_probe(root, &v1, NULL, "/web", &got));
        g_assert_false(bh_cgroup_probe(root, &v2, NULL, "/user.slice/web", &got));
        g_assert_false(bh_cgroup_probe(root, &v2, NULL, "/pids/user.slice/web", &got));
        g_assert_false(bh_cgroup_probe(root, NULL, NULL, "/user.slice/web", &got));
        write_file(root, "run/runc/lib/state.json", "{\"cgroup_paths\":{\"memory\":\"/sys/fs/cgroup/pids/lib\",\"pids\":\"/sys/fs/cgroup/pids/a/lib\"}}");
        g_assert_false(bh_cgroup_probe(root, &v1, NULL, "/lib", &got));
        g_assert_true(bh_cgroup_probe(root, &v1, NULL, "/a/lib", &got));
        write_file(root, "run/runc/cut/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/cut\"}}");
        g_assert_true(bh_cgroup_probe(root, &part, NULL, "/system.slice/cut", &got));
        g_assert_false(bh_cgroup_probe(root, &part, NULL, "/system.slices/cut", &got));
        g_assert_false(bh_cgroup_probe(root, &v1, NULL, "/torn", &got));
        g_assert_true(bh_cgroup_probe(root, &v2, NULL, "/system.slice/runc-unit.scope", &got));
        g_assert_cmpstr(got.id, ==, "unit");
        g_assert_true(bh_cgroup_probe(root, &v1, NULL, "/default/job", &got));
        g_assert_cmpstr(got.runtime, ==, "containerd");
        g_assert_false(bh_cgroup_probe(root, &v1, NULL, "/x/default/job", &got));
        g_assert_false(bh_cgroup_probe(root, &v1, NULL, "/prod/job", &got));
        g_assert_true(bh_cgroup_probe(root, &v1, namespaces, "/prod/job", &got));
        g_assert_false(bh_cgroup_probe(root, &v1, namespaces, "/prod/..", &got));
        g_assert_false(bh_cgroup_probe(root, &v1, namespaces, "prod", &got));
        g_assert_false(bh_cgroup_probe(root, &v1, namespaces, "/", &got));

        write_file(root, "run/crun/box/status", "{\"cgroup-path\":\"/user.slice/box\"}");
        write_file(root, "run/crun/unit/status", "{\"cgroup-path\":\"/system.slice/crun-unit.scope\"}");
        g_assert_true(bh_cgroup_probe(root, &v1, NULL, "/user.slice/box", &got));
        g_assert_cmpstr(got.id, ==, "box");
        g_assert_cmpstr(got.runtime, ==, "crun");
        g_assert_false(bh_cgroup_probe(root, &v1, NULL, "/box", &got));
        g_assert_true(bh_cgroup_probe(root, &v2, NULL, "/system.slice/crun-unit.scope", &got));
        g_assert_cmpstr(got.id, ==, "unit");
        g_assert_false(bh_cgroup_probe(root, &v2, NULL, "/system.slice/crun-..scope", &got));
        bh_test_remove(root);
}

/* ---- descriptions ---- */

static BhContainer *described(const char *id, const char *name, BhContainerState state) {
        BhContainer *c = bh_container_new(id, "docker");

        c->level = BH_CONTAINER_FULL;
        c->state = state;
        bh_container_set(c, &c->name, name);
        bh_container_set(c, &c->image, "registry:5000/team/app:1");
        bh_container_finish(c);
        return c;
}

static const char inspect_text[] =
        "{\"Id\":\"" A "\",\"Name\":\"/shop_web_1\",\"Image\":\"sha256:12\",\"Created\":\"2026-11-24T03:52:57.654198055Z\",\"RestartCount\":3,"
        "\"State\":{\"Status\":\"running\",\"Pid\":77,\"ExitCode\":0,\"OOMKilled\":false,\"StartedAt\":\"2026-11-24T03:53:00.1Z\","
        "\"FinishedAt\":\"0001-01-01T00:00:00Z\",\"Health\":{\"Status\":\"healthy\"}},"
        "\"HostConfig\":{\"Privileged\":true,\"CapAdd\":[\"NET_ADMIN\",5],\"CapDrop\":null,\"NetworkMode\":\"host\",\"PidMode\":\"host\",\"IpcMode\":\"private\","
        "\"Devices\":[{\"PathOnHost\":\"/dev/kvm\"}],\"SecurityOpt\":[\"seccomp=unconfined\"],\"UsernsMode\":\"host\",\"ReadonlyRootfs\":true,\"CgroupParent\":\"/p\"},"
        "\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/var/run/docker.sock\",\"Destination\":\"/s\",\"RW\":true},{\"Type\":\"volume\",\"Source\":\"/etc\",\"Destination\":\"/a\",\"RW\":false}],"
        "\"Config\":{\"Image\":\"shop/web:2\",\"User\":\"1000\",\"Env\":[\"TOKEN=hunter2\",\"EMPTY\"],"
        "\"Labels\":{\"com.docker.compose.service\":\"web\",\"com.docker.compose.project\":\"shop\",\"nul\\u0000key\":\"a\\u0000b\",\"slash\\\\u0000\":\"x\"}},"
        "\"NetworkSettings\":{\"Networks\":{\"net\":{\"NetworkID\":\"n1\",\"IPAddress\":\"10.0.0.2\",\"GlobalIPv6Address\":\"\",\"MacAddress\":\"02:42:00:00:00:02\"}},"
        "\"Ports\":{\"80/tcp\":[{\"HostIp\":\"0.0.0.0\",\"HostPort\":\"8080\"}],\"53/udp\":null,\"99999/tcp\":null}}}";

static BhContainer *inspect(const char *text, gsize len) {
        g_autofree char *copy = g_memdup2(text, len + 1);
        json_t *doc = bh_docker_json_load(copy, len, NULL);
        BhContainer *c = doc ? bh_docker_json_inspect(doc, NULL) : NULL;

        json_decref(doc);
        return c;
}

static void inspect_gives_everything(void) {
        g_autoptr(BhContainer) c = inspect(inspect_text, strlen(inspect_text));

        g_assert_nonnull(c);
        g_assert_cmpstr(c->name, ==, "shop_web_1");
        g_assert_cmpstr(c->image, ==, "shop/web:2");
        g_assert_cmpstr(c->workload, ==, "web");
        g_assert_cmpstr(c->application, ==, "shop");
        g_assert_cmpint(c->state, ==, BH_CONTAINER_RUNNING);
        g_assert_cmpint(c->init_pid, ==, 77);
        g_assert_cmpuint(c->restart_count, ==, 3);
        g_assert_cmpint(c->created_ns, ==, 1795492377654198055);
        g_assert_cmpint(c->finished_ns, ==, 0);
        g_assert_cmpstr(c->health, ==, "healthy");
        g_assert_true(c->privileged && c->host_network && c->host_pid && c->host_userns && c->readonly_rootfs && !c->host_ipc);
        g_assert_cmpstr(c->cap_add[0], ==, "NET_ADMIN");
        g_assert_null(c->cap_add[1]);
        g_assert_cmpstr(c->devices[0], ==, "/dev/kvm");
        g_assert_cmpstr(c->env_names[0], ==, "TOKEN");
        g_assert_cmpstr(c->env_names[1], ==, "EMPTY");
        g_assert_cmpuint(c->mounts->len, ==, 2);
        g_assert_cmpstr(g_array_index(c->mounts, BhMount, 1).destination, ==, "/s");
        g_assert_true(g_array_index(c->mounts, BhMount, 1).sensitive);
        g_assert_false(g_array_index(c->mounts, BhMount, 0).sensitive);
        g_assert_cmpstr(g_array_index(c->networks, BhContainerNetwork, 0).ip, ==, "10.0.0.2");
        g_assert_cmpuint(c->ports->len, ==, 2);
        g_assert_cmpuint(g_array_index(c->ports, BhPort, 0).container_port, ==, 53);
        g_assert_cmpuint(g_array_index(c->ports, BhPort, 1).host_port, ==, 8080);
        g_assert_cmpuint(c->refused, ==, 2); /* the capability that is a number, the port over 65535 */
        /* a NUL neither hides a label nor cuts it; an escaped backslash before u0000 is no NUL */
        g_assert_cmpstr(bh_container_label(c, "nul\xe2\x90\x80key"), ==, "a\xe2\x90\x80" "b");
        g_assert_cmpstr(bh_container_label(c, "slash\\u0000"), ==, "x");
        g_assert_null(bh_container_label(c, "absent"));
}

static void copy_and_json_have_every_field(void) {
        static const gsize rest[] = { G_STRUCT_OFFSET(BhContainer, created_by), G_STRUCT_OFFSET(BhContainer, started_by), G_STRUCT_OFFSET(BhContainer, ended_by), G_STRUCT_OFFSET(BhContainer, lsm),
                                      G_STRUCT_OFFSET(BhContainer, uts_mode), G_STRUCT_OFFSET(BhContainer, restart_policy), G_STRUCT_OFFSET(BhContainer, network_of) };
        g_autoptr(BhContainer) c = inspect(inspect_text, strlen(inspect_text));
        bh_container_set(c, &c->image_digest, "shop/web@sha256:34");
        bh_container_set(c, &c->outer_id, B);
        for (gsize i = 0; i < G_N_ELEMENTS(rest); i++)
                bh_container_set(c, &G_STRUCT_MEMBER(char *, c, rest[i]), "x");
        bh_container_set_list(c, &c->layers, (const char *[]) { "sha256:1", NULL }, -1);
        bh_container_add_run(c, 1, 2 * SECOND, 3, TRUE, "why", FALSE);
        bh_container_add_cgroup(c, "/docker/" A);
        g_autoptr(BhContainer) d = bh_container_dup(c);
        json_t *jc = bh_container_to_json(c), *jd = bh_container_to_json(d), *v;
        char *text = json_dumps(jc, 0);
        const char *key;

        g_assert_true(json_equal(jc, jd));
        /* but for the two lists that are empty here, no field is left at its default: a copy that forgot one would differ */
        json_object_foreach(jd, key, v)
                if (json_is_string(v))
                        g_assert_cmpuint(json_string_length(v), >, 0);
        g_assert_null(strstr(text, "hunter2"));
        g_assert_nonnull(strstr(text, "\"TOKEN\""));
        g_assert_true(c->name != d->name && c->labels != d->labels && c->cap_add != d->cap_add);
        free(text);
        json_decref(jc);
        json_decref(jd);

        /* bytes that are not UTF-8, as a cgroup's name may hold */
        g_autoptr(BhContainer) raw = bh_container_new("a\xff\"b", "runc");
        json_t *j = bh_container_to_json(raw);
        g_assert_cmpstr(json_string_value(json_object_get(j, "id")), ==, "a\\xff\"b");
        json_decref(j);
}

static void truncated_and_hostile_json(void) {
        static const char *const hostile[] = {
                "", "null", "[]", "{}", "7", "\"x\"", "{\"Id\":5}", "{\"Id\":\"\"}", "{\"Id\":\"../../etc\"}", "{\"Id\":\"a b\"}", "{\"Id\":\"a?x=1\"}",
        };
        static const char *const odd[] = {
                "{\"Id\":\"a\",\"State\":[],\"Config\":7,\"HostConfig\":\"x\",\"Mounts\":{\"a\":1},\"NetworkSettings\":null,\"Name\":{}}",
                "{\"Id\":\"a\",\"Config\":{\"Labels\":{\"a\":1,\"b\":null,\"c\":[\"x\"]},\"Env\":[1,null,{}]},\"Mounts\":[1,\"x\",null]}",
                "{\"Id\":\"a\",\"State\":{\"Pid\":-5,\"ExitCode\":99999999999999,\"StartedAt\":\"not a time\"},\"RestartCount\":-1}",
                "{\"Id\":\"a\",\"NetworkSettings\":{\"Networks\":{\"n\":1},\"Ports\":{\"x\":null,\"\":[1],\"80/tcp\":[{\"HostPort\":\"70000\"}]}}}",
        };

        for (gsize n = 0; n < strlen(inspect_text); n++) {
                g_autoptr(BhContainer) c = inspect(inspect_text, n);
                g_assert_null(c);
        }
        for (gsize i = 0; i < G_N_ELEMENTS(hostile); i++) {
                g_autoptr(BhContainer) c = inspect(hostile[i], strlen(hostile[i]));
                g_assert_null(c);
        }
        for (gsize i = 0; i < G_N_ELEMENTS(odd); i++) {
                g_autoptr(BhContainer) c = inspect(odd[i], strlen(odd[i]));
                g_assert_nonnull(c);
                g_assert_cmpint(c->init_pid, ==, 0);
                g_assert_cmpint(c->started_ns, ==, 0);
                g_assert_cmpuint(c->labels->len + c->mounts->len + c->ports->len, ==, 0);
        }
}

static void label_flood_keeps_the_deciding_ones(void) {
        g_autoptr(GString) s = g_string_new("{\"Id\":\"a\",\"Config\":{\"Labels\":{");
        for (int i = 0; i < 1000; i++)
                g_string_append_printf(s, "\"a%04d\":\"v\",", i);
        g_string_append_printf(s, "\"long\":\"%0*d\",\"com.docker.swarm.service.name\":\"shop_web\",\"com.docker.stack.namespace\":\"shop\"}}}", 100000, 7);
        g_autoptr(BhContainer) c = inspect(s->str, s->len);

        g_assert_cmpuint(c->labels->len, ==, BH_CONTAINER_MAX_LABELS);
        g_assert_cmpuint(c->refused, ==, 1003 - BH_CONTAINER_MAX_LABELS);
        g_assert_cmpstr(c->workload, ==, "shop_web");
        g_assert_cmpstr(c->application, ==, "shop");

        /* cut between characters, not inside one */
        g_autoptr(BhContainer) cut = bh_container_new("a", "docker");
        g_autoptr(GString) wide = g_string_new(NULL);
        while (wide->len < BH_CONTAINER_MAX_TEXT + 10)
                g_string_append(wide, "\xe2\x82\xac");
        bh_container_set(cut, &cut->name, wide->str);
        g_assert_cmpuint(strlen(cut->name), <=, BH_CONTAINER_MAX_TEXT);
        g_assert_true(g_utf8_validate(cut->name, -1, NULL));
        g_assert_cmpuint(cut->refused, ==, 1);
}

static BhRuntimeEvent *event(const char *text) {
        g_autofree char *copy = g_strdup(text);
        json_t *doc = bh_docker_json_load(copy, strlen(copy), NULL);
        BhRuntimeEvent *ev = doc ? bh_docker_json_event(doc, NULL) : NULL;

        json_decref(doc);
        return ev;
}

static void events_are_decoded(void) {
        g_autoptr(BhRuntimeEvent) exec = event("{\"Type\":\"container\",\"Action\":\"exec_start: sh -c 'a: b'\",\"Actor\":{\"ID\":\"" A "\",\"Attributes\":"
                                               "{\"execID\":\"e1\",\"image\":\"i\",\"name\":\"n\",\"k\":\"v\"}},\"time\":5,\"timeNano\":5000000001}");
        g_autoptr(BhRuntimeEvent) die = event("{\"Type\":\"container\",\"Action\":\"die\",\"Actor\":{\"ID\":\"" A "\",\"Attributes\":{\"exitCode\":\"137\",\"name\":\"n\"}},\"time\":5}");
        g_autoptr(BhRuntimeEvent) image = event("{\"Type\":\"image\",\"Action\":\"pull\",\"Actor\":{\"ID\":\"x:1\",\"Attributes\":{\"a\":1}},\"timeNano\":\"x\"}");

        g_assert_cmpstr(exec->action, ==, "exec_start");
        g_assert_cmpstr(exec->exec_command, ==, "sh -c 'a: b'");
        g_assert_cmpstr(exec->exec_id, ==, "e1");
        g_assert_cmpint(exec->time_ns, ==, 5000000001);
        g_autoptr(BhContainer) c = bh_docker_event_container(exec);
        g_assert_cmpstr(c->name, ==, "n");
        g_assert_cmpuint(c->labels->len, ==, 1);
        g_assert_cmpstr(bh_container_label(c, "k"), ==, "v");
        g_assert_cmpint(die->exit_code, ==, 137);
        g_assert_cmpint(die->time_ns, ==, 5000000000);
        g_assert_cmpint(image->kind, ==, BH_RUNTIME_IMAGE);
        g_assert_cmpuint(image->refused, ==, 1);
        g_assert_null(event("{\"Type\":\"container\"}"));
        g_assert_null(event("{\"Type\":3,\"Action\":[]}"));
        g_assert_null(event("[]"));
}

static void workload_and_application(void) {
        static const struct {
                const char *name, *image, *labels[5], *workload, *application;
        } cases[] = {
                { "web-1", "nginx:1.25", { NULL }, "nginx/web", "" },
                { "web_12", "nginx@sha256:00", { NULL }, "nginx/web", "" },
                { "quirky_hopper", "nginx", { NULL }, "nginx", "" },
                { "quirky_hopper3", "reg:5000/team/app:2", { NULL }, "reg:5000/team/app", "" },
                { "my_app", "x", { NULL }, "x/my_app", "" },
                { "redis", "redis:7", { NULL }, "redis", "" },
                { "redis-2", "library/redis:7", { NULL }, "library/redis", "" },
                { "job-x7f3k", "job", { NULL }, "job", "" },
                { "worker-0123abcdef", "w", { NULL }, "w/worker", "" },
                { "run-123e4567-e89b-12d3-a456-426614174000", "w", { NULL }, "w/run", "" },
                { "api-v2", "w", { NULL }, "w/api-v2", "" },
                { "app-python3", "w", { NULL }, "w/app-python3", "" },
                { "7", "sha256:0123", { NULL }, "7", "" },
                { "-1", "w", { NULL }, "w/-1", "" },
                { "x", "0123456789ab", { NULL }, "x", "" },
                { "shop_web.1.k3j", "i", { "com.docker.swarm.service.name", "shop_web", "com.docker.stack.namespace", "shop" }, "shop_web", "shop" },
                { "shop-web-1", "i", { "com.docker.compose.project", "shop", "com.docker.compose.service", "web" }, "web", "shop" },
                { "k8s_a", "i", { "io.kubernetes.pod.name", "front-7d4b9c8f6d-x2x4k", "io.kubernetes.pod.namespace", "prod" }, "front/POD", "prod" },
                { "k8s_b", "i", { "io.kubernetes.pod.name", "db-0", "io.kubernetes.container.name", "pg" }, "db/pg", "" },
                { "k8s_c", "i", { "io.kubernetes.pod.name", "db-0", "app.kubernetes.io/part-of", "store" }, "db/POD", "store" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhContainer) c = bh_container_new(A, "docker");

                g_test_message("%s", cases[i].name);
                c->level = BH_CONTAINER_FROM_EVENT;
                bh_container_set(c, &c->name, cases[i].name);
                bh_container_set(c, &c->image, cases[i].image);
                for (int j = 0; cases[i].labels[j]; j += 2)
                        bh_container_add_label(c, cases[i].labels[j], cases[i].labels[j + 1]);
                bh_container_finish(c);
                g_assert_cmpstr(c->workload, ==, cases[i].workload);
                g_assert_cmpstr(c->application, ==, cases[i].application);
        }
}

static void sensitive_mounts(void) {
        static const char *const yes[] = { "/", "//", "/proc", "/proc/1/root", "/etc", "/etc/../etc/shadow", "/dev/sda", "/var/run", "/run", "/var/run/docker.sock",
                                           "/tmp/x/docker.sock", "/var//lib/docker/volumes", "/var", "/usr/bin", "/sys/fs/cgroup", "/var/run/containerd/containerd.sock" };
        static const char *const no[] = { "/srv/data", "/mnt/app", "/opt/app", "/etcetera", "/var/lib/mysql", "/var/run/app.sock", "relative" };

        for (gsize i = 0; i < G_N_ELEMENTS(yes); i++) {
                g_test_message("%s", yes[i]);
                g_assert_true(bh_mount_is_sensitive("bind", yes[i], FALSE));
        }
        for (gsize i = 0; i < G_N_ELEMENTS(no); i++) {
                g_test_message("%s", no[i]);
                g_assert_false(bh_mount_is_sensitive("bind", no[i], TRUE));
        }
        g_assert_false(bh_mount_is_sensitive("bind", "/etc/localtime", FALSE));
        g_assert_true(bh_mount_is_sensitive("bind", "/etc/localtime", TRUE));
        g_assert_false(bh_mount_is_sensitive("volume", "/etc", TRUE));
}

static void times(void) {
        g_assert_cmpint(bh_time_parse("1970-01-01T00:00:01.000000001Z"), ==, 1000000001);
        g_assert_cmpint(bh_time_parse("2026-11-24T05:00:00.5+01:00"), ==, 1795492800500000000);
        g_assert_cmpint(bh_time_parse("0001-01-01T00:00:00Z"), ==, 0);
        g_assert_cmpint(bh_time_parse(""), ==, 0);
        g_assert_cmpint(bh_time_parse("2026-99-99T00:00:00Z"), ==, 0);
        g_assert_cmpint(bh_time_parse("....."), ==, 0);
        g_autofree char *s = bh_time_format(1795492800500000007);
        g_assert_cmpstr(s, ==, "2026-11-24T04:00:00.500000007Z");
}

/* ---- what a gap swallowed ---- */

static char *diff_text(const BhContainer *before, BhContainer *now, gint64 cutoff) {
        g_autoptr(GPtrArray) evs = bh_docker_diff(before, now, cutoff, 999);
        GString *s = g_string_new(NULL);

        for (guint i = 0; i < evs->len; i++) {
                const BhRuntimeEvent *ev = evs->pdata[i];
                g_assert_true(ev->synthetic && ev->container == now);
                g_string_append_printf(s, "%s%s@%d", i ? " " : "", ev->action, (int) (ev->time_ns / 1000000000));
        }
        return g_string_free(s, FALSE);
}

static void lost_events_are_concluded(void) {
        static const struct {
                BhContainerState before, now; /* STATE_UNKNOWN before: new */
                gint64 started_before, started, finished; /* seconds */
                const char *expected;
        } cases[] = {
                { BH_CONTAINER_RUNNING, BH_CONTAINER_RUNNING, 10, 10, 0, "" },
                { BH_CONTAINER_RUNNING, BH_CONTAINER_EXITED, 10, 10, 20, "die@20" },
                { BH_CONTAINER_RUNNING, BH_CONTAINER_RUNNING, 10, 30, 20, "die@20 start@30" },
                { BH_CONTAINER_EXITED, BH_CONTAINER_RUNNING, 10, 30, 20, "start@30" },
                { BH_CONTAINER_EXITED, BH_CONTAINER_EXITED, 10, 30, 40, "start@30 die@40" },
                { BH_CONTAINER_EXITED, BH_CONTAINER_EXITED, 10, 10, 20, "" },
                { BH_CONTAINER_CREATED, BH_CONTAINER_RUNNING, 0, 30, 0, "start@30" },
                { BH_CONTAINER_STATE_UNKNOWN, BH_CONTAINER_CREATED, 0, 0, 0, "create@5" },
                { BH_CONTAINER_STATE_UNKNOWN, BH_CONTAINER_EXITED, 0, 30, 40, "create@5 start@30 die@40" },
                { BH_CONTAINER_RUNNING, BH_CONTAINER_PAUSED, 10, 10, 0, "pause@0" },
                { BH_CONTAINER_PAUSED, BH_CONTAINER_RUNNING, 10, 10, 0, "unpause@0" },
                /* after the cutoff: the stream brings it */
                { BH_CONTAINER_RUNNING, BH_CONTAINER_EXITED, 10, 10, 200, "" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhContainer) before = described(A, "n", cases[i].before), now = described(A, "n", cases[i].now);
                g_test_message("%zu", i);
                before->started_ns = cases[i].started_before * 1000000000;
                now->created_ns = 5000000000;
                now->started_ns = cases[i].started * 1000000000;
                now->finished_ns = cases[i].finished * 1000000000;
                g_autofree char *got = diff_text(cases[i].before == BH_CONTAINER_STATE_UNKNOWN ? NULL : before, now, 100000000000);
                g_assert_cmpstr(got, ==, cases[i].expected);
        }
}

/* ---- the table ---- */

static guint changes;

static void on_change(gpointer data) {
        changes++;
}

static BhContainerTable *table_new(guint max_ended) {
        BhContainerTableConfig config = { .host_root = "/nonexistent", .max_ended = max_ended, .changed = on_change };

        changes = 0;
        return bh_container_table_new(&config);
}

static void metadata_joins_cgroup_in_any_order(void) {
        g_autoptr(BhContainerTable) t = table_new(0);
        g_autoptr(BhContainer) a = described(A, "a", BH_CONTAINER_RUNNING), b = described(B, "b", BH_CONTAINER_RUNNING);

        {
                g_auto(BhContainerLookup) l = { 0 };
                bh_container_table_lookup(t, 1, &l);
                g_assert_false(l.known || l.is_container || l.container);
        }
        bh_container_table_bind(t, 1, "/docker/" A, 0);
        {
                g_auto(BhContainerLookup) l = { 0 };
                char buf[BH_CONTAINER_ID_SHORT + 1];
                bh_container_table_lookup(t, 1, &l);
                g_assert_true(l.known && l.is_container && !l.described && !l.complete);
                g_assert_cmpint(l.container->level, ==, BH_CONTAINER_FROM_CGROUP);
                g_assert_cmpstr(bh_container_display_name(l.container, buf), ==, "aaaaaaaaaaaa");
                g_assert_cmpuint(changes, ==, 0);
        }
        bh_container_table_upsert(t, a, 0);
        g_assert_cmpuint(changes, ==, 1);
        bh_container_table_upsert(t, b, 0);
        bh_container_table_bind(t, 2, "/docker/" B, 0);
        bh_container_table_bind(t, 3, "/system.slice/ssh.service", 0);
        for (guint64 id = 1; id <= 2; id++) {
                g_auto(BhContainerLookup) l = { 0 };
                bh_container_table_lookup(t, id, &l);
                g_assert_true(l.described && l.complete);
                g_assert_cmpstr(l.container->name, ==, id == 1 ? "a" : "b");
                g_assert_cmpstr(l.container->cgroup_paths[0], ==, id == 1 ? "/docker/" A : "/docker/" B);
        }
        g_auto(BhContainerLookup) host = { 0 };
        bh_container_table_lookup(t, 3, &host);
        g_assert_true(host.known && !host.is_container && !host.container);
        /* a client that starts anew must not take away what was known */
        g_autoptr(BhContainer) less = described(A, "a", BH_CONTAINER_PAUSED);
        less->level = BH_CONTAINER_FROM_EVENT;
        bh_container_set(less, &less->image, "");
        bh_container_table_upsert(t, less, 0);
        g_autoptr(BhContainer) now = bh_container_table_get(t, A);
        g_assert_cmpstr(now->image, ==, "registry:5000/team/app:1");
        g_assert_cmpint(now->state, ==, BH_CONTAINER_PAUSED);
}

static void assert_is(BhContainerTable *t, guint64 cgroup, const char *id, const char *outer) {
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(t, cgroup, &l);
        g_assert_true(l.is_container);
        g_assert_nonnull(l.container);
        g_assert_cmpstr(l.container->id, ==, id);
        g_assert_cmpstr(l.container->outer_id, ==, outer);
}

static void nested_cgroups(void) {
        g_autoptr(BhContainerTable) t = table_new(0);
        g_autoptr(BhContainer) b = described(B, "victim", BH_CONTAINER_RUNNING);
        BhContainerTableStats stats;

        bh_container_table_bind(t, 1, "/docker/" A, 0);
        bh_container_table_bind(t, 2, "/docker/" A "/init.scope", 0);
        bh_container_table_bind(t, 3, "/docker/" A "/docker/cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", 0);
        assert_is(t, 1, A, "");
        assert_is(t, 2, A, "");
        assert_is(t, 3, "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", A);

        /* container A dresses up as B, which the host's runtime runs */
        bh_container_table_upsert(t, b, 0);
        bh_container_table_bind(t, 4, "/docker/" A "/docker/" B, 0);
        bh_container_table_bind(t, 5, "/docker/" A "/docker/" B "/deeper", 0);
        assert_is(t, 4, A, "");
        assert_is(t, 5, A, "");
        bh_container_table_bind(t, 6, "/docker/" B, 0);
        assert_is(t, 6, B, "");
        bh_container_table_get_stats(t, &stats);
        g_assert_cmpuint(stats.impostors, ==, 2);
}

static void restart_is_the_same_container(void) {
        g_autoptr(BhContainerTable) t = table_new(0);
        g_autoptr(BhContainer) a = described(A, "a", BH_CONTAINER_RUNNING);
        BhContainerTableStats stats;

        bh_container_table_upsert(t, a, 0);
        bh_container_table_bind(t, 1, "/docker/" A, 0);
        bh_container_table_unbind(t, 1, SECOND);
        bh_container_table_bind(t, 9, "/docker/" A, 2 * SECOND);
        bh_container_table_bind(t, 10, "/docker/" A "/sub", 2 * SECOND);
        assert_is(t, 1, A, "");
        assert_is(t, 9, A, "");
        assert_is(t, 10, A, "");
        /* the first run's cgroup goes after its time, the second's and the container stay */
        bh_container_table_expire(t, SECOND + BH_CONTAINER_TABLE_KEEP_US);
        assert_is(t, 9, A, "");
        g_auto(BhContainerLookup) l = { 0 };
        bh_container_table_lookup(t, 1, &l);
        g_assert_false(l.known);
        bh_container_table_get_stats(t, &stats);
        g_assert_cmpuint(stats.expired, ==, 1);
        g_assert_cmpuint(stats.containers, ==, 1);
}

static void the_ended_are_kept_and_bounded(void) {
        g_autoptr(BhContainerTable) t = table_new(10);
        BhContainerTableStats stats;

        for (guint64 i = 1; i <= 100; i++) {
                g_autofree char *path = g_strdup_printf("/docker/%064" G_GINT64_MODIFIER "x", i);

                bh_container_table_bind(t, i, path, 0);
                bh_container_table_unbind(t, i, SECOND);
        }
        bh_container_table_get_stats(t, &stats);
        g_assert_cmpuint(stats.ended, ==, 10);
        g_assert_cmpuint(stats.evicted, ==, 90);
        g_assert_cmpuint(stats.containers, ==, 10);
        {
                g_auto(BhContainerLookup) l = { 0 };
                bh_container_table_lookup(t, 100, &l);
                g_assert_true(l.ended && l.is_container);
                g_assert_cmpint(l.container->state, ==, BH_CONTAINER_EXITED);
        }

        /* removed by its runtime, its cgroup gone: kept for the time, then gone */
        g_autoptr(BhContainer) a = described(A, "a", BH_CONTAINER_RUNNING);
        bh_container_table_upsert(t, a, SECOND);
        bh_container_table_bind(t, 500, "/docker/" A, SECOND);
        bh_container_table_unbind(t, 500, 2 * SECOND);
        g_autoptr(BhContainer) removed = described(A, "a", BH_CONTAINER_REMOVED);
        bh_container_table_upsert(t, removed, 2 * SECOND);
        assert_is(t, 500, A, "");
        g_autoptr(BhContainer) found = bh_container_table_find(t, "a");
        g_assert_nonnull(found);
        bh_container_table_expire(t, 3 * SECOND + BH_CONTAINER_TABLE_KEEP_US);
        bh_container_table_get_stats(t, &stats);
        g_assert_cmpuint(stats.containers, ==, 0);
        g_assert_cmpuint(stats.cgroups, ==, 0);
        g_assert_cmpuint(stats.ended, ==, 0);
}

static void sync_ends_what_is_not_there(void) {
        g_autoptr(BhContainerTable) t = table_new(0);
        const guint64 there[] = { 2 };

        bh_container_table_bind(t, 1, "/docker/" A, 0);
        bh_container_table_bind(t, 2, "/docker/" B, 0);
        bh_container_table_bind(t, 3, "/young", 5 * SECOND);
        g_assert_cmpuint(bh_container_table_sync(t, there, 1, 5 * SECOND, 6 * SECOND), ==, 1);
        g_auto(BhContainerLookup) one = { 0 }, two = { 0 };
        bh_container_table_lookup(t, 1, &one);
        bh_container_table_lookup(t, 2, &two);
        g_assert_true(one.ended && !two.ended);
}

static void table_is_bounded(void) {
        BhContainerTableConfig config = { .host_root = "/nonexistent", .max_cgroups = 3, .max_containers = 1 };
        g_autoptr(BhContainerTable) t = bh_container_table_new(&config);
        g_autoptr(BhContainer) c = described("c", "c", BH_CONTAINER_RUNNING);
        BhContainerTableStats stats;

        bh_container_table_bind(t, 1, "/docker/" A, 0);
        bh_container_table_bind(t, 2, "/docker/" B, 0);
        bh_container_table_bind(t, 3, "/x", 0);
        bh_container_table_bind(t, 4, "/y", 0);
        bh_container_table_upsert(t, c, 0);
        bh_container_table_get_stats(t, &stats);
        g_assert_cmpuint(stats.cgroups_refused, ==, 1);
        g_assert_cmpuint(stats.containers_refused, ==, 2);
        g_auto(BhContainerLookup) l = { 0 };
        bh_container_table_lookup(t, 2, &l);
        g_assert_true(l.is_container && !l.container);
}

static void late_runc_state_is_found(void) {
        g_autofree char *root = g_dir_make_tmp("bulkhead-table-XXXXXX", NULL);
        BhCgroupLayout v2 = { .mode = BH_CGROUP_V2, .version = 2, .mount = (char *) "/sys/fs/cgroup", .mount_root = (char *) "/" };
        BhContainerTableConfig config = { .host_root = root, .layout = &v2, .changed = on_change };
        g_autoptr(BhContainerTable) t = bh_container_table_new(&config);

        changes = 0;
        bh_container_table_bind(t, 1, "/box", 0);
        bh_container_table_bind(t, 2, "/box/inside", 0);
        {
                g_auto(BhContainerLookup) l = { 0 };
                bh_container_table_lookup(t, 1, &l);
                g_assert_true(l.undecided && !l.is_container);
        }
        g_assert_false(bh_container_table_recheck(t, SECOND));
        write_file(root, "run/runc/box/state.json", "{\"cgroup_paths\":{\"\":\"/sys/fs/cgroup/box\"}}");
        g_assert_true(bh_container_table_recheck(t, 2 * SECOND));
        g_assert_cmpuint(changes, ==, 1);
        assert_is(t, 1, "box", "");
        assert_is(t, 2, "box", "");
        bh_container_table_bind(t, 3, "/never", 0);
        g_assert_false(bh_container_table_recheck(t, BH_CONTAINER_TABLE_UNDECIDED_US));
        g_auto(BhContainerLookup) l = { 0 };
        bh_container_table_lookup(t, 3, &l);
        g_assert_false(l.undecided);
        bh_test_remove(root);
}

static void find_by_what_people_type(void) {
        g_autoptr(BhContainerTable) t = table_new(0);
        g_autoptr(BhContainer) a = described("abc1" A, "web", BH_CONTAINER_REMOVED), b = described("abd2" A, "web", BH_CONTAINER_RUNNING);

        bh_container_table_upsert(t, a, 0);
        bh_container_table_upsert(t, b, 0);
        g_autoptr(BhContainer) by_name = bh_container_table_find(t, "web"), by_id = bh_container_table_find(t, "abc1" A), by_start = bh_container_table_find(t, "abc");
        g_assert_true(by_name == b && by_id == a && by_start == a);
        g_assert_null(bh_container_table_find(t, "ab"));
        g_assert_null(bh_container_table_find(t, ""));
        g_autoptr(GPtrArray) all = bh_container_table_snapshot(t);
        g_assert_cmpuint(all->len, ==, 2);
}

static gpointer writer(gpointer data) {
        BhContainerTable *t = data;

        for (int i = 0; i < 3000; i++) {
                g_autoptr(BhContainer) a = described(A, "a", i % 2 ? BH_CONTAINER_RUNNING : BH_CONTAINER_REMOVED);
                bh_container_table_upsert(t, a, (gint64) i * SECOND);
        }
        return NULL;
}

static void readers_and_writers(void) {
        g_autoptr(BhContainerTable) t = table_new(4);
        GThread *thread = g_thread_new("writer", writer, t);

        for (guint64 i = 1; i < 3000; i++) {
                g_auto(BhContainerLookup) l = { 0 };
                bh_container_table_bind(t, i, "/docker/" A, (gint64) i * SECOND);
                bh_container_table_lookup(t, i, &l);
                g_assert_true(l.is_container);
                g_assert_cmpstr(l.container->id, ==, A);
                bh_container_table_unbind(t, i, (gint64) i * SECOND);
        }
        g_thread_join(thread);
}

static void changes_are_told_once_and_in_order(void) {
        BhContainerTableConfig config = { .host_root = "/nonexistent" };
        g_autoptr(BhContainerTable) t = bh_container_table_new(&config);
        guint64 version = 0;

        bh_container_table_bind(t, 1, "/docker/" A, 1);
        bh_container_table_bind(t, 2, "/docker/" B, 1);
        g_autoptr(GPtrArray) first = bh_container_table_changes(t, version, 100, &version);
        g_assert_cmpuint(first->len, ==, 2);
        g_assert_cmpstr(((BhContainer *) first->pdata[0])->id, ==, A);
        g_autoptr(GPtrArray) none = bh_container_table_changes(t, version, 100, &version);
        g_assert_cmpuint(none->len, ==, 0);

        /* described twice and ended: told once, as it is in the end */
        g_autoptr(BhContainer) c = bh_container_new(A, "docker");
        c->level = BH_CONTAINER_FROM_EVENT;
        c->state = BH_CONTAINER_RUNNING;
        bh_container_table_upsert(t, c, 2);
        bh_container_table_unbind(t, 2, 3);
        g_autoptr(BhContainer) better = bh_container_dup(c);
        bh_container_set(better, &better->name, "web");
        bh_container_table_upsert(t, better, 4);
        g_autoptr(GPtrArray) one = bh_container_table_changes(t, version, 1, &version);
        g_assert_cmpuint(one->len, ==, 1);
        g_assert_cmpstr(((BhContainer *) one->pdata[0])->id, ==, B);
        g_assert_cmpint(((BhContainer *) one->pdata[0])->state, ==, BH_CONTAINER_EXITED);
        g_autoptr(GPtrArray) two = bh_container_table_changes(t, version, 1, &version);
        g_assert_cmpstr(((BhContainer *) two->pdata[0])->name, ==, "web");
        g_autoptr(GPtrArray) all = bh_container_table_changes(t, 0, 100, &version);
        g_assert_cmpuint(all->len, ==, 2);

        /* what is gone leaves no trace */
        bh_container_table_expire(t, 5 + 2 * BH_CONTAINER_TABLE_KEEP_US);
        g_autoptr(GPtrArray) rest = bh_container_table_changes(t, 0, 100, &version);
        g_assert_cmpuint(rest->len, ==, 1);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/container/cgroup/path_shapes", path_shapes);
        g_test_add_func("/container/cgroup/hierarchy_choice", hierarchy_choice);
        g_test_add_func("/container/cgroup/walk_of_this_host", walk_of_this_host);
        g_test_add_func("/container/cgroup/named_containers_need_proof", named_containers_need_proof);
        g_test_add_func("/container/inspect_gives_everything", inspect_gives_everything);
        g_test_add_func("/container/copy_and_json_have_every_field", copy_and_json_have_every_field);
        g_test_add_func("/container/truncated_and_hostile_json", truncated_and_hostile_json);
        g_test_add_func("/container/label_flood_keeps_the_deciding_ones", label_flood_keeps_the_deciding_ones);
        g_test_add_func("/container/events_are_decoded", events_are_decoded);
        g_test_add_func("/container/workload_and_application", workload_and_application);
        g_test_add_func("/container/sensitive_mounts", sensitive_mounts);
        g_test_add_func("/container/times", times);
        g_test_add_func("/container/lost_events_are_concluded", lost_events_are_concluded);
        g_test_add_func("/container/table/metadata_joins_cgroup_in_any_order", metadata_joins_cgroup_in_any_order);
        g_test_add_func("/container/table/nested_cgroups", nested_cgroups);
        g_test_add_func("/container/table/restart_is_the_same_container", restart_is_the_same_container);
        g_test_add_func("/container/table/the_ended_are_kept_and_bounded", the_ended_are_kept_and_bounded);
        g_test_add_func("/container/table/sync_ends_what_is_not_there", sync_ends_what_is_not_there);
        g_test_add_func("/container/table/table_is_bounded", table_is_bounded);
        g_test_add_func("/container/table/late_runc_state_is_found", late_runc_state_is_found);
        g_test_add_func("/container/table/find_by_what_people_type", find_by_what_people_type);
        g_test_add_func("/container/table/changes_are_told_once_and_in_order", changes_are_told_once_and_in_order);
        g_test_add_func("/container/table/readers_and_writers", readers_and_writers);
        return g_test_run();
}
