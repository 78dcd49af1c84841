/* SPDX-License-Identifier: Apache-2.0 */
/* containerd's messages, gRPC's framing, OCI specifications, and a client whose server is none. The real one is in tests/integration/test_containerd.py. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdio.h"
#include "container/containerd.h"
#include "container/containerd.pb-c.h"
#include "container/containerd_layers.h"
#include "container/containerd_messages.h"
#include "container/grpc.h"
#include "container/oci.h"
#include "container/oci_state.h"

#include "scratch.h"

#define HEX "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* ---- framing ---- */

static void messages_come_in_any_pieces(void) {
        const guint8 bytes[] = { 0, 0, 0, 0, 2, 'h', 'i', 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 'x' };
        const guint8 *data;
        gsize from = 0, len;

        g_assert_cmpint(bh_grpc_take(bytes, 0, &from, &data, &len), ==, BH_GRPC_MORE);
        for (gsize n = 0; n < 7; n++) {
                from = 0;
                g_assert_cmpint(bh_grpc_take(bytes, n, &from, &data, &len), ==, BH_GRPC_MORE);
                g_assert_cmpuint(from, ==, 0);
        }
        g_assert_cmpint(bh_grpc_take(bytes, 12, &from, &data, &len), ==, BH_GRPC_MESSAGE);
        g_assert_true(len == 2 && !memcmp(data, "hi", 2) && from == 7);
        g_assert_cmpint(bh_grpc_take(bytes, 12, &from, &data, &len), ==, BH_GRPC_MESSAGE);
        g_assert_true(len == 0 && from == 12);
        g_assert_cmpint(bh_grpc_take(bytes, sizeof(bytes), &from, &data, &len), ==, BH_GRPC_MORE);
        g_assert_cmpuint(from, ==, 12);

        const guint8 packed[] = { 1, 0, 0, 0, 0 }, huge[] = { 0, 0xff, 0xff, 0xff, 0xff, 1 };
        from = 0;
        g_assert_cmpint(bh_grpc_take(packed, sizeof(packed), &from, &data, &len), ==, BH_GRPC_BAD);
        g_assert_cmpint(bh_grpc_take(huge, sizeof(huge), &from, &data, &len), ==, BH_GRPC_BAD);
}

/* ---- messages ---- */

static ProtobufCBinaryData bin(const char *text) {
        return (ProtobufCBinaryData){ .len = strlen(text), .data = (uint8_t *) text };
}

static GByteArray *packed(const void *message) {
        gsize n = protobuf_c_message_get_packed_size(message);
        GByteArray *out = g_byte_array_sized_new((guint) n + 1);

        g_byte_array_set_size(out, (guint) n);
        protobuf_c_message_pack(message, out->data);
        return out;
}

static const char spec[] =
        "{\"process\":{\"user\":{\"uid\":1000,\"gid\":7},\"args\":[\"nginx\",\"-g\"],\"env\":[\"PATH=/bin\",\"TOKEN=hunter2\"],\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_SYS_PTRACE\",7]},"
        "\"noNewPrivileges\":true,\"apparmorProfile\":\"cri-containerd.apparmor.d\"},\"root\":{\"readonly\":true},"
        "\"mounts\":[{\"type\":\"proc\",\"source\":\"proc\",\"destination\":\"/proc\"},{\"type\":\"sysfs\",\"source\":\"sysfs\",\"destination\":\"/sys\",\"options\":[\"ro\"]},"
        "{\"type\":\"bind\",\"source\":\"/run/containerd/containerd.sock\",\"destination\":\"/c.sock\",\"options\":[\"rbind\",\"rw\"]},{\"destination\":\"/e\",\"source\":\"/etc\",\"options\":[\"bind\",\"ro\"]}],"
        "\"annotations\":{\"io.kubernetes.cri.sandbox-id\":\"pod1\",\"io.kubernetes.cri.sandbox-name\":\"web-7d4b9c8f6d-x2x4k\",\"io.kubernetes.cri.sandbox-namespace\":\"prod\",\"io.kubernetes.cri.container-name\":\"nginx\"},"
        "\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/var/run/netns/cni-1\"},{\"type\":\"mount\"},{\"type\":\"ipc\",\"path\":\"/proc/1/ns/ipc\"}],\"cgroupsPath\":\"/k8s.io/abc\","
        "\"resources\":{\"memory\":{\"limit\":1048576},\"cpu\":{\"quota\":50000,\"period\":100000},\"pids\":{\"limit\":9},\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":3}]},"
        "\"devices\":[{\"path\":\"/dev/kvm\"}],\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\"}}}";

static GByteArray *containers_answer(const char *id, const char *text) {
        Bulkhead__Containerd__ListContainersResponse list = BULKHEAD__CONTAINERD__LIST_CONTAINERS_RESPONSE__INIT;
        Bulkhead__Containerd__Container a = BULKHEAD__CONTAINERD__CONTAINER__INIT, b = BULKHEAD__CONTAINERD__CONTAINER__INIT, *both[] = { &a, &b };
        Bulkhead__Containerd__Any any = BULKHEAD__CONTAINERD__ANY__INIT;
        Bulkhead__Containerd__Timestamp at = BULKHEAD__CONTAINERD__TIMESTAMP__INIT;
        Bulkhead__Containerd__Pair label = BULKHEAD__CONTAINERD__PAIR__INIT, *labels[] = { &label };

        a.id = bin(id);
        a.image = bin("docker.io/library/nginx:1");
        at.seconds = 1700000000;
        at.nanos = 5;
        a.created_at = &at;
        any.value = bin(text);
        a.spec = &any;
        label.key = bin("team");
        label.value = bin("a\xff");
        a.labels = labels;
        a.n_labels = 1;
        b.id = bin("../etc");
        list.containers = both;
        list.n_containers = 2;
        return packed(&list);
}

static void containers_are_described(void) {
        g_autoptr(GByteArray) bytes = containers_answer("abc", spec);
        guint bad = 0;
        g_autoptr(GPtrArray) list = bh_containerd_containers(bytes->data, bytes->len, "k8s.io", FALSE, &bad);

        g_assert_nonnull(list);
        g_assert_cmpuint(list->len, ==, 1);
        g_assert_cmpuint(bad, ==, 1);
        const BhContainer *c = list->pdata[0];
        g_assert_cmpstr(c->id, ==, "abc");
        g_assert_cmpstr(c->name, ==, "nginx");
        g_assert_cmpstr(c->runtime, ==, "containerd");
        g_assert_cmpstr(c->workload, ==, "web/nginx");
        g_assert_cmpstr(c->application, ==, "prod");
        g_assert_cmpint(c->created_ns, ==, 1700000000 * G_GINT64_CONSTANT(1000000000) + 5);
        g_assert_cmpint(c->level, ==, BH_CONTAINER_FULL);
        g_assert_cmpstr(bh_container_label(c, "team"), ==, "a\xef\xbf\xbd");
        g_autofree char *command = g_strjoinv("|", c->command), *env = g_strjoinv("|", c->env_names), *caps = g_strjoinv("|", c->capabilities);
        g_assert_cmpstr(command, ==, "nginx|-g");
        g_assert_cmpstr(env, ==, "PATH|TOKEN");
        g_assert_cmpstr(caps, ==, "CAP_KILL|CAP_SYS_PTRACE");
        g_assert_cmpstr(c->user, ==, "1000:7");
        g_assert_cmpuint(c->mounts->len, ==, 2);
        g_assert_true(g_array_index(c->mounts, BhMount, 0).sensitive && !g_array_index(c->mounts, BhMount, 1).rw);
        g_assert_true(c->host_uts && c->host_cgroupns && c->host_ipc && !c->host_pid && !c->host_network && c->no_new_privileges && c->readonly_rootfs && !c->privileged);
        g_assert_cmpstr(c->network_mode, ==, "/var/run/netns/cni-1");
        g_assert_cmpstr(c->network_of, ==, "pod1");
        g_assert_cmpstr(c->seccomp, ==, "filter");
        g_assert_cmpstr(c->lsm, ==, "apparmor:cri-containerd.apparmor.d");
        g_assert_true(c->memory_limit == 1048576 && c->cpu_limit == 500000000 && c->pids_limit == 9);
        g_assert_cmpstr(c->devices[0], ==, "/dev/kvm");
        g_assert_cmpstr(c->cgroup_paths[0], ==, "/k8s.io/abc");
        json_t *json = bh_container_to_json(c);
        char *text = json_dumps(json, 0);
        g_assert_null(strstr(text, "hunter2"));
        free(text);
        json_decref(json);

        g_autoptr(GByteArray) odd = containers_answer("web", "{\"process\":[],\"linux\":7,\"mounts\":{}}");
        g_autoptr(GPtrArray) one = bh_containerd_containers(odd->data, odd->len, "default", FALSE, &bad);
        g_assert_cmpstr(((BhContainer *) one->pdata[0])->name, ==, "web");
        g_assert_false(((BhContainer *) one->pdata[0])->host_network);
        g_autoptr(GByteArray) broken = containers_answer("web", "{");
        g_autoptr(GPtrArray) none = bh_containerd_containers(broken->data, broken->len, "default", FALSE, &bad);
        g_assert_cmpuint(((BhContainer *) none->pdata[0])->refused, >, 0);
}

static void privileged_is_concluded(void) {
        static const char all[] = "{\"process\":{\"capabilities\":{\"bounding\":[\"CAP_SYS_ADMIN\"]}},\"linux\":{\"resources\":{\"devices\":[{\"allow\":false},{\"allow\":true,\"access\":\"rwm\"}]},\"namespaces\":[]}}";
        static const char only_devices[] = "{\"linux\":{\"resources\":{\"devices\":[{\"allow\":true,\"type\":\"a\"}]}}}";
        g_autoptr(GByteArray) a = containers_answer("a", all);
        g_autoptr(GByteArray) b = containers_answer("b", only_devices);
        guint bad = 0;
        g_autoptr(GPtrArray) x = bh_containerd_containers(a->data, a->len, "n", FALSE, &bad);
        g_autoptr(GPtrArray) y = bh_containerd_containers(b->data, b->len, "n", FALSE, &bad);

        g_assert_true(((BhContainer *) x->pdata[0])->privileged && ((BhContainer *) x->pdata[0])->host_network);
        g_assert_false(((BhContainer *) y->pdata[0])->privileged);
}

static GByteArray *event(const char *topic, const void *body) {
        Bulkhead__Containerd__Envelope m = BULKHEAD__CONTAINERD__ENVELOPE__INIT;
        Bulkhead__Containerd__Any any = BULKHEAD__CONTAINERD__ANY__INIT;
        Bulkhead__Containerd__Timestamp at = BULKHEAD__CONTAINERD__TIMESTAMP__INIT;
        g_autoptr(GByteArray) inner = packed(body);

        at.seconds = 9;
        m.timestamp = &at;
        m.namespace_ = bin("default");
        m.topic = bin(topic);
        any.value = (ProtobufCBinaryData){ inner->len, inner->data };
        m.event = &any;
        return packed(&m);
}

static void events_are_read_by_their_topic(void) {
        Bulkhead__Containerd__TaskExit gone = BULKHEAD__CONTAINERD__TASK_EXIT__INIT;
        Bulkhead__Containerd__TaskStart start = BULKHEAD__CONTAINERD__TASK_START__INIT;
        Bulkhead__Containerd__ExecEvent exec = BULKHEAD__CONTAINERD__EXEC_EVENT__INIT;

        gone.container_id = gone.id = bin("web");
        gone.exit_status = 137;
        start.container_id = bin("web");
        start.pid = 77;
        exec.container_id = bin("web");
        exec.exec_id = bin("look");
        exec.pid = 78;
        g_autoptr(GByteArray) a = event("/tasks/exit", &gone);
        g_autoptr(GByteArray) b = event("/tasks/start", &start);
        g_autoptr(GByteArray) c = event("/tasks/exec-started", &exec);
        g_autoptr(BhContainerdEvent) x = bh_containerd_event(a->data, a->len);
        g_autoptr(BhContainerdEvent) y = bh_containerd_event(b->data, b->len);
        g_autoptr(BhContainerdEvent) z = bh_containerd_event(c->data, c->len);
        g_assert_cmpstr(x->id, ==, "web");
        g_assert_cmpstr(x->exec_id, ==, "");
        g_assert_cmpint(x->exit_code, ==, 137);
        g_assert_cmpint(x->time_ns, ==, 9 * G_GINT64_CONSTANT(1000000000));
        g_assert_true(y->pid == 77 && z->pid == 78);
        g_assert_cmpstr(z->exec_id, ==, "look");
        for (guint n = 0; n < a->len; n++) {
                g_autoptr(BhContainerdEvent) cut = bh_containerd_event(a->data, n);

                g_assert_true(!cut || cut->topic);
        }
}

/* Two bytes an element there, a struct and a pointer each here. */
static void many_empty_elements_take_bounded_memory(void) {
        const gsize n = 16u << 20;
        g_autofree guint8 *bytes = g_malloc(n);
        guint bad = 0;

        for (gsize i = 0; i + 1 < n; i += 2) {
                bytes[i] = 1 << 3 | 2;
                bytes[i + 1] = 0;
        }
        g_autoptr(GPtrArray) list = bh_containerd_containers(bytes, n, "n", FALSE, &bad);
        g_assert_true(!list || list->len == 0);
}

/* ---- layers ---- */

static void frame(GByteArray *out, const char *piece) {
        Bulkhead__Containerd__ReadContentResponse m = BULKHEAD__CONTAINERD__READ_CONTENT_RESPONSE__INIT;

        m.data = bin(piece);
        g_autoptr(GByteArray) bytes = packed(&m);
        const guint8 head[5] = { 0, 0, 0, 0, (guint8) bytes->len };
        g_byte_array_append(out, head, sizeof head);
        g_byte_array_append(out, bytes->data, bytes->len);
}

static void a_blob_comes_in_pieces(void) {
        g_autoptr(GByteArray) body = g_byte_array_new();

        frame(body, "{\"a\":");
        frame(body, "");
        frame(body, "1}");
        for (guint n = 0; n <= body->len; n++) {
                g_autoptr(GByteArray) got = bh_containerd_content(body->data, n);

                g_assert_true(!got || n < body->len || (got->len == 7 && !memcmp(got->data, "{\"a\":1}", 7)));
                g_assert_true(got || n < body->len);
                g_assert_true(!got || got->len);
        }
        g_byte_array_set_size(body, 0);
        frame(body, "");
        g_assert_null(bh_containerd_content(body->data, body->len)); /* an empty one leads nowhere */
}

/* Where a blob leads: "> digest" or the layers. */
static void assert_leads(const char *blob, const char *expected) {
        g_autofree char *copy = g_strdup(blob), *next = NULL, *seen = NULL;
        g_auto(GStrv) layers = NULL;

        if (!bh_containerd_blob(copy, strlen(copy), "amd64", &next, &layers))
                seen = g_strdup("nowhere");
        else
                seen = next ? g_strconcat("> ", next, NULL) : g_strjoinv(" ", layers);
        g_assert_true(!next || !layers);
        g_assert_cmpstr(seen, ==, expected);
}

static void blobs_lead_from_an_image_to_its_layers(void) {
        assert_leads("{\"manifests\":[{\"digest\":\"sha256:1\",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}},"
                     "{\"digest\":\"sha256:2\",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}},{\"digest\":\"sha256:3\",\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}}]}",
                     "> sha256:2");
        assert_leads("{\"manifests\":[{\"digest\":\"sha256:1\"}]}", "> sha256:1");
        assert_leads("{\"manifests\":[{\"digest\":\"sha256:1\"},{\"digest\":\"sha256:2\"}]}", "nowhere"); /* for another platform, then */
        assert_leads("{\"schemaVersion\":2,\"config\":{\"digest\":\"sha256:4\"},\"layers\":[{\"digest\":\"sha256:z\"}]}", "> sha256:4");
        assert_leads("{\"config\":{\"Cmd\":[\"sh\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:5\",7,\"sha256:6\"]}}", "sha256:5 sha256:6");
        assert_leads("{\"config\":{\"digest\":\"../../x\"}}", "nowhere");
        assert_leads("{\"manifests\":7,\"config\":[],\"rootfs\":{\"diff_ids\":{}}}", "nowhere");
        assert_leads("[", "nowhere");
}

/* ---- state on disk ---- */

static void write_file(const char *dir, const char *path, const char *text) {
        g_autofree char *full = g_build_filename(dir, path, NULL), *parent = g_path_get_dirname(full);

        g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
        g_assert_true(g_file_set_contents(full, text, -1, NULL));
}

static void containers_of_files(void) {
        g_autofree char *root = g_dir_make_tmp("bulkhead-oci-XXXXXX", NULL);
        g_autofree char *podman = g_strdup_printf("var/lib/containers/storage/overlay-containers/%s/userdata/config.json", HEX);

        if (geteuid() != 0) {
                g_test_skip("files count only if they are root's");
                return;
        }
        write_file(root, "run/runc/web-1/state.json", "{\"id\":\"web-1\",\"init_process_pid\":77,\"created\":\"2026-11-01T10:00:00Z\",\"config\":{\"labels\":[\"x\",\"bundle=/bundles/web\"]}}");
        write_file(root, "bundles/web/config.json", spec);
        write_file(root, "run/crun/crunned/status", "{\"pid\":78,\"bundle\":\"/bundles/web\",\"created\":\"2026-11-01T10:00:00Z\"}");
        write_file(root, podman, spec);
        write_file(root, "var/lib/containers/storage/overlay-containers/containers.json",
                   "[{\"id\":\"" HEX "\",\"names\":[\"shop-web-3\"],\"image\":\"12\",\"metadata\":\"{\\\"image-name\\\":\\\"docker.io/library/nginx:1\\\",\\\"name\\\":\\\"shop-web-3\\\"}\",\"created\":\"2026-11-02T10:00:00Z\"}]");

        g_autoptr(BhContainer) c = bh_container_new("web-1", "runc");
        bh_container_add_cgroup(c, "/seen/here");
        g_assert_true(bh_oci_state_describe(root, c));
        g_assert_true(c->unattended && c->level == BH_CONTAINER_FULL && c->init_pid == 77);
        g_assert_cmpint(c->created_ns, ==, bh_time_parse("2026-11-01T10:00:00Z"));
        g_assert_cmpstr(c->name, ==, "web-1");
        g_assert_cmpstr(c->command[0], ==, "nginx");
        /* where it is has been seen; its own word about it counts less */
        g_assert_cmpstr(c->cgroup_paths[0], ==, "/seen/here");
        g_assert_null(c->cgroup_paths[1]);

        g_autoptr(BhContainer) d = bh_container_new("crunned", "unknown");
        g_assert_true(bh_oci_state_describe(root, d));
        g_assert_true(d->init_pid == 78 && !strcmp(d->runtime, "crun"));

        g_autoptr(BhContainer) p = bh_container_new(HEX, "podman");
        g_assert_true(bh_oci_state_describe(root, p));
        g_assert_cmpstr(p->name, ==, "shop-web-3");
        g_assert_cmpstr(p->image, ==, "docker.io/library/nginx:1");
        g_assert_cmpstr(p->image_id, ==, "sha256:12");

        /* what is not root's, a link, or no specification describes nothing */
        g_autofree char *bundle = g_build_filename(root, "bundles/web/config.json", NULL), *moved = g_strconcat(bundle, ".real", NULL);
        g_autoptr(BhContainer) e = bh_container_new("web-1", "runc");
        g_assert_cmpint(chown(bundle, 1000, 1000), ==, 0);
        g_assert_false(bh_oci_state_describe(root, e));
        g_assert_cmpint(chown(bundle, 0, 0), ==, 0);
        g_assert_cmpint(g_rename(bundle, moved), ==, 0);
        g_assert_cmpint(symlink(moved, bundle), ==, 0);
        g_assert_false(bh_oci_state_describe(root, e));
        g_assert_cmpint(unlink(bundle), ==, 0);
        g_assert_cmpint(mkfifo(bundle, 0600), ==, 0);
        g_assert_false(bh_oci_state_describe(root, e));
        g_autoptr(BhContainer) f = bh_container_new("../../bundles/web", "runc");
        g_assert_false(bh_oci_state_describe(root, f));
        g_assert_cmpint(e->level, ==, BH_CONTAINER_FROM_CGROUP);

        bh_test_remove(root);
}

static BhContainer *in_table(BhContainerTable *t, guint64 cgroup) {
        g_auto(BhContainerLookup) l = { 0 };

        bh_container_table_lookup(t, cgroup, &l);
        return g_steal_pointer(&l.container);
}

static void a_told_cgroup_becomes_the_containers(void) {
        BhContainerTableConfig config = { .host_root = "/nonexistent" };
        g_autoptr(BhContainerTable) t = bh_container_table_new(&config);
        g_autoptr(BhContainer) c = bh_container_new("web", "containerd");

        c->level = BH_CONTAINER_FULL;
        c->state = BH_CONTAINER_RUNNING;
        bh_container_add_cgroup(c, "/own/place");
        bh_container_finish(c);
        bh_container_table_bind(t, 1, "/own/place", 1);
        g_assert_null(in_table(t, 1));
        bh_container_table_upsert(t, c, 2);
        g_autoptr(BhContainer) a = in_table(t, 1);
        g_assert_cmpstr(a->id, ==, "web");
        /* what is below it as well; and one that comes later, as after a restart */
        bh_container_table_bind(t, 2, "/own/place/below", 3);
        g_autoptr(BhContainer) b = in_table(t, 2);
        g_assert_cmpstr(b->id, ==, "web");
        bh_container_table_unbind(t, 2, 4);
        bh_container_table_unbind(t, 1, 4);
        bh_container_table_bind(t, 3, "/own/place", 5);
        g_autoptr(BhContainer) d = in_table(t, 3);
        g_assert_cmpstr(d->id, ==, "web");
        bh_container_table_bind(t, 4, "/own", 6);
        g_assert_null(in_table(t, 4));
}

static void its_cgroup_ends_an_unattended_container(void) {
        BhContainerTableConfig config = { .host_root = "/nonexistent", .keep_us = 100 };
        g_autoptr(BhContainerTable) t = bh_container_table_new(&config);
        g_autoptr(BhContainer) c = bh_container_new(HEX, "podman");

        bh_container_table_bind(t, 1, "/machine.slice/libpod-" HEX ".scope", 1);
        c->level = BH_CONTAINER_FULL;
        c->state = BH_CONTAINER_RUNNING;
        c->unattended = TRUE;
        c->init_pid = 5;
        bh_container_finish(c);
        bh_container_table_upsert(t, c, 2);
        bh_container_table_unbind(t, 1, 3);
        g_autoptr(BhContainer) gone = bh_container_table_get(t, HEX);
        g_assert_true(gone->state == BH_CONTAINER_EXITED && gone->finished_ns && gone->exit_code == -1 && !gone->init_pid && gone->runs->len == 1);
        bh_container_table_expire(t, 1000);
        g_assert_null(bh_container_table_get(t, HEX));
}

/* ---- a server that is none ---- */

typedef struct {
        GMutex lock;
        GCond moved;
        char *error;
        gboolean absent, connected;
} Seen;

static void on_state(const BhContainerdState *s, gpointer data) {
        Seen *seen = data;

        g_mutex_lock(&seen->lock);
        g_free(seen->error);
        seen->error = g_strdup(s->error);
        seen->absent = s->absent;
        seen->connected |= s->connected;
        g_cond_signal(&seen->moved);
        g_mutex_unlock(&seen->lock);
}

static gint serve_stop;

static gpointer serve(gpointer data) {
        static const char *const words[] = { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "\x00\x00\x12\x04\x00\x00\x00\x00\x00garbage", "", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" };
        static const gsize len[] = { 40, 16, 0, 11 };
        int fd = GPOINTER_TO_INT(data);

        for (guint i = 0; !g_atomic_int_get(&serve_stop); i++) {
                char buffer[512];
                g_auto(BhFd) peer = accept(fd, NULL, NULL);

                if (peer < 0)
                        break;
                if (read(peer, buffer, sizeof(buffer)) > 0 && len[i % 4])
                        g_assert_cmpint(send(peer, words[i % 4], len[i % 4], MSG_NOSIGNAL), >, 0);
        }
        return NULL;
}

static void wait_error(Seen *seen, const char *part) {
        gint64 until = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

        g_mutex_lock(&seen->lock);
        while (!(seen->error && strstr(seen->error, part)) && g_cond_wait_until(&seen->moved, &seen->lock, until))
                ;
        if (!seen->error || !strstr(seen->error, part))
                g_error("expected \"%s\", saw \"%s\"", part, seen->error);
        g_mutex_unlock(&seen->lock);
}

static void what_is_no_containerd_is_said_and_tried_again(void) {
        g_autofree char *dir = g_dir_make_tmp("bulkhead-cd-XXXXXX", NULL), *path = g_build_filename(dir, "s", NULL);
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        Seen seen = { 0 };
        BhContainerdConfig config = { .socket_path = path, .on_state = on_state, .data = &seen };
        g_autoptr(BhContainerd) d = bh_containerd_new(&config);
        BhContainerdStats stats;

        /* nothing there */
        g_assert_true(bh_containerd_start(d, NULL));
        gint64 until = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
        g_mutex_lock(&seen.lock);
        while (!seen.absent && g_cond_wait_until(&seen.moved, &seen.lock, until))
                ;
        g_assert_true(seen.absent && !*seen.error);
        g_mutex_unlock(&seen.lock);
        /* something that speaks nonsense */
        g_strlcpy(sa.sun_path, path, sizeof(sa.sun_path));
        g_assert_cmpint(bind(fd, (struct sockaddr *) &sa, sizeof(sa)), ==, 0);
        wait_error(&seen, "is not running");
        g_assert_cmpint(listen(fd, 8), ==, 0);
        GThread *server = g_thread_new("nonsense", serve, GINT_TO_POINTER(fd));
        wait_error(&seen, "ended (");
        bh_containerd_stop(d);
        g_assert_false(seen.connected);
        bh_containerd_get_stats(d, &stats);
        g_assert_true(stats.calls >= 3 && stats.connects == 0);

        g_atomic_int_set(&serve_stop, 1);
        g_auto(BhFd) last = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        g_assert_cmpint(connect(last, (struct sockaddr *) &sa, sizeof(sa)), ==, 0);
        shutdown(last, SHUT_RDWR);
        g_thread_join(server);
        close(fd);
        g_unlink(path);
        g_rmdir(dir);
        g_free(seen.error);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/containerd/" #name, name)
        TEST(messages_come_in_any_pieces);
        TEST(containers_are_described);
        TEST(privileged_is_concluded);
        TEST(events_are_read_by_their_topic);
        TEST(a_blob_comes_in_pieces);
        TEST(blobs_lead_from_an_image_to_its_layers);
        TEST(many_empty_elements_take_bounded_memory);
        TEST(containers_of_files);
        TEST(a_told_cgroup_becomes_the_containers);
        TEST(its_cgroup_ends_an_unattended_container);
        TEST(what_is_no_containerd_is_said_and_tried_again);
        return g_test_run();
}
