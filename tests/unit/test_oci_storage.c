/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What podman's and CRI-O's storage says of a container. CRI-O is no package of Debian's: its files are made here after its sources (names of annotations:
 * cri-o/cri-o internal/annotations/annotations.go; metadata, and that each container is created "volatile": internal/storage/runtime.go; files of the storage: containers/storage
 * containers.go, images.go). The same storage under a real podman: tests/integration/test_podman.py.
 */
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "container/oci_state.h"
#include "container/oci_storage.h"

#include "scratch.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define POD "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
#define IMAGE "aa00000000000000000000000000000000000000000000000000000000000000"

static char *root;

static void write_file(const char *path, const char *text) {
        g_autofree char *full = g_build_filename(root, path, NULL), *parent = g_path_get_dirname(full);

        g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
        g_assert_true(g_file_set_contents(full, text, -1, NULL));
}

static gboolean set_up(void) {
        if (geteuid() != 0) {
                g_test_skip("files count only if they are root's");
                return FALSE;
        }
        root = g_dir_make_tmp("bulkhead-storage-XXXXXX", NULL);
        return TRUE;
}

static void tear_down(void) {
        bh_test_remove(root);
        g_clear_pointer(&root, g_free);
}

static void write_image(const char *images) {
        g_autofree char *encoded = g_base64_encode((const guchar *) "sha256:" IMAGE, sizeof("sha256:" IMAGE) - 1);
        g_autofree char *list = g_strdup_printf("%s/images.json", images), *config = g_strdup_printf("%s/" IMAGE "/=%s", images, encoded);

        write_file(list, "[{\"id\":\"bb\",\"digest\":\"sha256:no\"},{\"id\":\"" IMAGE "\",\"digest\":\"sha256:77\",\"names\":[\"registry.example/shop/web:1\"],\"layer\":\"cc\"}]");
        write_file(config, "{\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:01\",7,\"sha256:02\"]}}");
}

static void a_container_of_crio_is_described(void) {
        if (!set_up())
                return;
        write_file("run/containers/storage/overlay-containers/" HEX "/userdata/config.json",
                   "{\"process\":{\"args\":[\"web\"]},\"mounts\":[{\"type\":\"bind\",\"source\":\"/run/containers/storage/overlay-containers/" HEX
                   "/userdata/resolv.conf\",\"destination\":\"/etc/resolv.conf\",\"options\":[\"bind\"]},{\"type\":\"bind\",\"source\":\"/var/lib/kubelet/pods/u/etc-hosts\",\"destination\":\"/etc/"
                   "hosts\",\"options\":[\"rbind\"]}],"
                   "\"annotations\":{\"io.container.manager\":\"cri-o\",\"io.kubernetes.cri-o.ContainerID\":\"" HEX "\",\"io.kubernetes.cri-o.ContainerName\":\"k8s_web_web-7d4b9c8f6d-x2x4k_prod_u_0\","
                   "\"io.kubernetes.cri-o.ContainerType\":\"container\",\"io.kubernetes.cri-o.SandboxID\":\"" POD "\",\"io.kubernetes.cri-o.ImageName\":\"registry.example/shop/web:1\","
                   "\"io.kubernetes.cri-o.ImageRef\":\"" IMAGE "\",\"io.kubernetes.cri-o.Labels\":\"{\\\"io.kubernetes.container.name\\\":\\\"web\\\",\\\"io.kubernetes.pod.name\\\":\\\"web-7d4b9c8f6d-x2x4k\\\","
                   "\\\"io.kubernetes.pod.namespace\\\":\\\"prod\\\",\\\"io.kubernetes.pod.uid\\\":\\\"u\\\"}\"},\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/var/run/netns/n\"}]}}");
        /* CRI-O's containers need not outlive a reboot, and are in the second list */
        write_file("var/lib/containers/storage/overlay-containers/containers.json", "[]");
        write_file("var/lib/containers/storage/overlay-containers/volatile-containers.json",
                   "[{\"id\":\"" HEX "\",\"names\":[\"k8s_web_web-7d4b9c8f6d-x2x4k_prod_u_0\"],\"image\":\"" IMAGE "\",\"layer\":\"dd\",\"metadata\":\"{\\\"pod-name\\\":\\\"k8s_web-7d4b9c8f6d-x2x4k_prod_u_0\\\","
                   "\\\"pod-id\\\":\\\"" POD "\\\",\\\"image-name\\\":\\\"registry.example/shop/web:1\\\",\\\"image-id\\\":\\\"" IMAGE "\\\",\\\"name\\\":\\\"k8s_web_web-7d4b9c8f6d-x2x4k_prod_u_0\\\","
                   "\\\"metadata-name\\\":\\\"web\\\",\\\"created-at\\\":1790000000}\",\"created\":\"2026-11-02T10:00:00Z\",\"flags\":{\"Volatile\":true}}]");
        write_image("var/lib/containers/storage/overlay-images");
        write_file("run/crun/" HEX "/status", "{\"pid\":78,\"process-start-time\":500,\"bundle\":\"/run/containers/storage/overlay-containers/" HEX "/userdata\",\"created\":\"2026-11-02T10:00:01Z\"}");

        g_autoptr(BhContainer) c = bh_container_new(HEX, "crio");
        g_assert_true(bh_oci_state_describe(root, c));
        g_assert_cmpstr(c->runtime, ==, "crio");
        g_assert_cmpstr(c->name, ==, "k8s_web_web-7d4b9c8f6d-x2x4k_prod_u_0");
        g_assert_cmpstr(c->image, ==, "registry.example/shop/web:1");
        g_assert_cmpstr(c->image_id, ==, "sha256:" IMAGE);
        g_assert_cmpstr(c->image_digest, ==, "registry.example/shop/web@sha256:77");
        g_autofree char *layers = g_strjoinv(" ", c->layers);
        g_assert_cmpstr(layers, ==, "sha256:01 sha256:02");
        g_assert_cmpstr(c->workload, ==, "web/web");
        g_assert_cmpstr(c->application, ==, "prod");
        g_assert_cmpstr(c->network_of, ==, POD);
        g_assert_true(c->init_pid == 78 && c->started_ns > 0 && !c->host_network);
        g_assert_cmpint(c->created_ns, ==, bh_time_parse("2026-11-02T10:00:00Z"));
        /* the runtime's own file is no mount that somebody asked for, kubelet's is */
        g_assert_cmpuint(c->mounts->len, ==, 1);
        g_assert_cmpstr(g_array_index(c->mounts, BhMount, 0).destination, ==, "/etc/hosts");
        tear_down();
}

static void a_storage_of_another_place_and_driver_is_found_by_the_bundle(void) {
        if (!set_up())
                return;
        write_file("srv/c/vfs-containers/" HEX "/userdata/config.json", "{\"process\":{\"args\":[\"sh\"]}}");
        write_file("srv/c/vfs-containers/containers.json",
                   "[{\"id\":\"" HEX "\",\"names\":[\"new-name\"],\"image\":\"" IMAGE "\",\"metadata\":\"{\\\"image-name\\\":\\\"registry.example/shop/web:1\\\",\\\"name\\\":\\\"old-name\\\"}\"}]");
        write_image("srv/c/vfs-images");
        write_file("run/runc/" HEX "/state.json", "{\"init_process_pid\":77,\"init_process_start\":100,\"config\":{\"labels\":[\"bundle=/srv/c/vfs-containers/" HEX "/userdata\"]}}");

        g_autoptr(BhContainer) c = bh_container_new(HEX, "podman");
        g_assert_true(bh_oci_state_describe(root, c));
        g_assert_cmpstr(c->name, ==, "new-name"); /* podman renames in the list alone */
        g_assert_cmpstr(c->image_digest, ==, "registry.example/shop/web@sha256:77");
        g_assert_cmpuint(g_strv_length(c->layers), ==, 2);
        tear_down();
}

static void hostile_lists_describe_nothing(void) {
        static const char *const lists[] = { "", "{}", "[7,[],{\"id\":7},{\"id\":\"" HEX "\",\"names\":7,\"image\":\"../../x\",\"metadata\":\"[\",\"created\":7}]", "[{\"id\":\"" HEX "\",\"metadata\":\"7\"}]" };

        if (!set_up())
                return;
        for (gsize i = 0; i < G_N_ELEMENTS(lists); i++) {
                g_autoptr(BhContainer) c = bh_container_new(HEX, "podman");

                write_file("var/lib/containers/storage/overlay-containers/containers.json", lists[i]);
                g_assert_cmpint(bh_oci_storage_describe(root, "", c), ==, i >= 2);
                g_assert_cmpstr(c->name, ==, "");
                g_assert_cmpstr(c->image_id, ==, "");
        }
        tear_down();
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/container/oci_storage/a_container_of_crio_is_described", a_container_of_crio_is_described);
        g_test_add_func("/container/oci_storage/a_storage_of_another_place_and_driver_is_found_by_the_bundle", a_storage_of_another_place_and_driver_is_found_by_the_bundle);
        g_test_add_func("/container/oci_storage/hostile_lists_describe_nothing", hostile_lists_describe_nothing);
        return g_test_run();
}
