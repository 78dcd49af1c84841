/* SPDX-License-Identifier: Apache-2.0 */
/* What the Docker Engine's API and cgroup names carry: the first byte chooses the decoder, the rest is its input. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "container/cgroup.h"
#include "container/docker_diff.h"
#include "container/docker_json.h"
#include "container/table.h"
#include "container/workload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(BhContainer *c) {
        g_autoptr(BhContainer) copy = bh_container_dup(c);
        json_t *a = bh_container_to_json(c), *b = bh_container_to_json(copy);
        g_autoptr(GPtrArray) lost = bh_docker_diff(NULL, c, G_MAXINT64, 1);

        assert(json_equal(a, b) && lost->len <= 8);
        assert(c->labels->len <= BH_CONTAINER_MAX_LABELS && c->mounts->len <= BH_CONTAINER_MAX_MOUNTS);
        json_decref(a);
        json_decref(b);
}

static void fuzz_json(int which, const char *text, size_t size) {
        g_autofree char *copy = g_malloc(size + 1);

        memcpy(copy, text, size);
        copy[size] = '\0';
        json_t *doc = bh_docker_json_load(copy, size, NULL);
        if (!doc)
                return;
        if (which == 0) {
                g_autoptr(BhContainer) c = bh_docker_json_inspect(doc, NULL);

                if (c)
                        use(c);
        } else if (which == 1) {
                g_autoptr(BhRuntimeEvent) ev = bh_docker_json_event(doc, NULL);

                if (ev) {
                        g_autoptr(BhContainer) c = bh_docker_event_container(ev);

                        bh_docker_apply_event(c, ev);
                        use(c);
                }
        } else {
                g_autoptr(BhContainer) c = bh_docker_json_list_entry(doc, NULL);
                g_autofree char *digest = bh_docker_json_image_digest(doc, c ? c->image : "i");
                BhDockerVersion v = { 0 };
                gint32 pid;
                gboolean running;
                char api[16];

                assert(digest);
                if (c)
                        use(c);
                if (bh_docker_json_version(doc, &v, NULL))
                        bh_docker_pick_api(&v, api);
                bh_docker_json_exec(doc, &pid, &running, NULL);
        }
        json_decref(doc);
}

/* Lines "PATH" bind and, each third, unbind. */
static void fuzz_table(const char *text, size_t size) {
        BhContainerTableConfig config = { .host_root = "/nonexistent", .max_ended = 4, .max_cgroups = 32, .max_containers = 16 };
        g_autoptr(BhContainerTable) t = bh_container_table_new(&config);
        g_autofree char *copy = g_strndup(text, size);
        g_auto(GStrv) paths = g_strsplit(copy, "\n", 64);

        for (guint i = 0; paths[i]; i++) {
                g_auto(BhContainerLookup) l = { 0 };
                BhCgroupContainer shape;

                bh_container_table_bind(t, i % 24, paths[i], i);
                bh_container_table_lookup(t, i % 24, &l);
                if (bh_cgroup_parse(paths[i], &shape)) {
                        g_autoptr(BhContainer) c = bh_container_new(shape.id, shape.runtime);

                        assert(shape.own_len <= strlen(paths[i]) && shape.outer_len <= shape.own_len && strlen(shape.id) < BH_CGROUP_ID_MAX);
                        c->level = i % 2 ? BH_CONTAINER_FULL : BH_CONTAINER_FROM_EVENT;
                        c->state = i % 5 ? BH_CONTAINER_RUNNING : BH_CONTAINER_REMOVED;
                        bh_container_finish(c);
                        bh_container_table_upsert(t, c, i);
                }
                if (l.container)
                        use(l.container);
                if (i % 3 == 2)
                        bh_container_table_unbind(t, (i * 7) % 24, i);
        }
        bh_container_table_expire(t, G_MAXINT64 / 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data + 1;

        if (size < 1)
                return 0;
        switch (data[0] % 5) {
        case 3:
                fuzz_table(text, size - 1);
                break;
        case 4: {
                g_autofree char *copy = g_strndup(text, size - 1);
                g_autofree char *pattern = bh_workload_name_pattern(copy);
                g_autofree char *repository = bh_workload_image_repository(copy);
                g_autoptr(BhCgroupLayout) l = bh_cgroup_parse_mountinfo(copy, strlen(copy), NULL);

                assert((!*copy || *pattern) && strlen(repository) <= size && (!l || l->mount));
                bh_mount_is_sensitive("bind", copy, TRUE);
                bh_time_parse(copy);
                break;
        }
        default:
                fuzz_json(data[0] % 5, text, size - 1);
        }
        return 0;
}
