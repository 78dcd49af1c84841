/* SPDX-License-Identifier: Apache-2.0 */
/* What there is beside containers, and what a container may do: answers of an engine as they look, written for these tests. */
#include <glib.h>
#include <string.h>

#include "container/docker_diff.h"
#include "container/docker_things.h"
#include "container/privileges.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define S G_GINT64_CONSTANT(1000000000)

static json_t *parse(const char *text) {
        json_error_t why;
        json_t *doc = json_loads(text, 0, &why);

        if (!doc)
                g_error("%s at %d: %s", why.text, why.position, text);
        return doc;
}

static BhContainer *inspect(const char *host_config, const char *more) {
        g_autofree char *text = g_strdup_printf("{\"Id\":\"" A "\",\"Name\":\"/c\",\"Path\":\"/entry\",\"Args\":[\"-x\",\"a b\"],\"State\":{\"Status\":\"running\"},\"HostConfig\":{%s}%s}",
                                                host_config, more);
        json_t *doc = parse(text);
        BhContainer *c = bh_docker_json_inspect(doc, NULL);

        json_decref(doc);
        g_assert_nonnull(c);
        return c;
}

static gboolean has(char **list, const char *text) {
        return g_strv_contains((const char *const *) list, text);
}

static gboolean says(const BhContainer *c, const char *part) {
        for (char **r = c->risks; *r; r++)
                if (strstr(*r, part))
                        return TRUE;
        return FALSE;
}

static void capabilities_in_the_end(void) {
        static const struct {
                const char *config;
                guint n;
                const char *with, *without;
        } cases[] = {
                { "", 14, "CAP_MKNOD", "CAP_SYS_ADMIN" },
                { "\"CapAdd\":[\"sys_admin\"],\"CapDrop\":[\"CAP_MKNOD\"]", 14, "CAP_SYS_ADMIN", "CAP_MKNOD" },
                { "\"CapDrop\":[\"ALL\"]", 0, NULL, "CAP_CHOWN" },
                { "\"CapDrop\":[\"all\"],\"CapAdd\":[\"KILL\"]", 1, "CAP_KILL", "CAP_CHOWN" },
                { "\"CapAdd\":[\"ALL\"],\"CapDrop\":[\"SYS_ADMIN\"]", 40, "CAP_BPF", "CAP_SYS_ADMIN" },
                { "\"CapAdd\":[\"NONSENSE\"]", 14, "CAP_CHOWN", "NONSENSE" },
                { "\"Privileged\":true,\"CapDrop\":[\"ALL\"]", 41, "CAP_SYS_ADMIN", "" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(BhContainer) c = inspect(cases[i].config, "");

                g_test_message("%s", cases[i].config);
                g_assert_cmpuint(g_strv_length(c->capabilities), ==, cases[i].n);
                g_assert_true(!cases[i].with || has(c->capabilities, cases[i].with));
                g_assert_false(has(c->capabilities, cases[i].without));
        }
        g_assert_cmpstr(bh_capability_name(21), ==, "CAP_SYS_ADMIN");
        g_assert_cmpstr(bh_capability_name(40), ==, "CAP_CHECKPOINT_RESTORE");
        g_assert_null(bh_capability_name(41));
}

static void posture_limits_and_commands(void) {
        g_autoptr(BhContainer) c = inspect("\"SecurityOpt\":[\"seccomp={ \\\"defaultAction\\\": 1}\",\"no-new-privileges:true\",\"apparmor=mine\"],\"UTSMode\":\"host\",\"CgroupnsMode\":\"host\","
                                           "\"NetworkMode\":\"container:" A "\",\"Memory\":1048576,\"CpuQuota\":150000,\"CpuPeriod\":100000,\"PidsLimit\":null,\"RestartPolicy\":{\"Name\":\"always\"}",
                                           ",\"AppArmorProfile\":\"mine\",\"Config\":{\"Shell\":[\"/bin/bash\",\"-e\",\"-c\"],\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"curl -f x\"]}}");

        /* a profile's text is not dragged along */
        g_assert_cmpstr(c->seccomp, ==, "custom");
        g_assert_cmpstr(c->security_opt[0], ==, "seccomp=custom");
        g_assert_cmpstr(c->lsm, ==, "apparmor:mine");
        g_assert_true(c->no_new_privileges && c->host_uts && c->host_cgroupns);
        g_assert_cmpstr(c->network_of, ==, A);
        g_assert_cmpint(c->memory_limit, ==, 1048576);
        g_assert_cmpint(c->cpu_limit, ==, 1500000000);
        g_assert_cmpint(c->pids_limit, ==, 0);
        g_assert_cmpstr(c->restart_policy, ==, "always");
        g_autofree char *command = g_strjoinv("|", c->command), *health = g_strjoinv("|", c->health_command);
        g_assert_cmpstr(command, ==, "/entry|-x|a b");
        g_assert_cmpstr(health, ==, "/bin/bash|-e|-c|curl -f x");

        g_autoptr(BhContainer) none = inspect("", ",\"Config\":{\"Healthcheck\":{\"Test\":[\"NONE\"]}}");
        g_assert_cmpstr(none->health_command[0], ==, "NONE");
        g_autoptr(BhContainer) direct = inspect("\"NanoCpus\":250000000,\"PidsLimit\":-1", ",\"Config\":{\"Healthcheck\":{\"Test\":[\"CMD\",\"/check\",\"-v\"]}}");
        g_autofree char *check = g_strjoinv("|", direct->health_command);
        g_assert_cmpstr(check, ==, "/check|-v");
        g_assert_true(direct->cpu_limit == 250000000 && direct->pids_limit == 0 && !*direct->seccomp && !*direct->lsm);
        g_autoptr(BhContainer) hostile = inspect("\"SecurityOpt\":{\"a\":1},\"Memory\":\"x\",\"RestartPolicy\":7,\"CpuQuota\":9223372036854775807", ",\"Config\":{\"Healthcheck\":{\"Test\":[7,{}]}}");
        g_assert_true(!hostile->health_command[0] && !hostile->memory_limit && !hostile->cpu_limit);
}

static void what_is_left_to_the_engine(void) {
        json_t *doc = parse("{\"SecurityOptions\":[\"name=seccomp,profile=builtin\",\"name=cgroupns\"],\"Name\":\"host\",\"Swarm\":{\"LocalNodeState\":\"active\",\"NodeID\":\"n1\",\"NodeAddr\":\"10.0.0.1\","
                            "\"ControlAvailable\":true,\"Cluster\":{\"ID\":\"c1\"}}}");
        g_autoptr(BhContainer) c = inspect("", "");
        g_autoptr(BhContainer) own = inspect("\"SecurityOpt\":[\"seccomp=unconfined\"]", "");
        BhDockerInfo info, with_lsm;

        g_assert_true(bh_docker_json_info(doc, &info, NULL));
        json_decref(doc);
        g_assert_true(info.manager && !info.lsm);
        g_assert_cmpstr(info.cluster_id, ==, "c1");
        g_assert_true(bh_docker_apply_info(c, &info));
        g_assert_cmpstr(c->seccomp, ==, "default");
        g_assert_cmpstr(c->lsm, ==, "unconfined");
        g_assert_false(bh_docker_apply_info(c, &info));
        bh_docker_apply_info(own, &info);
        g_assert_cmpstr(own->seccomp, ==, "unconfined");
        g_assert_true(says(own, "no seccomp profile"));

        doc = parse("{\"SecurityOptions\":[\"name=apparmor\",\"name=seccomp,profile=/etc/p.json\",\"name=no-new-privileges\"]}");
        g_assert_true(bh_docker_json_info(doc, &with_lsm, NULL));
        json_decref(doc);
        g_autoptr(BhContainer) d = inspect("", "");
        bh_docker_apply_info(d, &with_lsm);
        /* what the LSM made of it is known when it runs, not before */
        g_assert_cmpstr(d->lsm, ==, "");
        g_assert_cmpstr(d->seccomp, ==, "/etc/p.json");
        g_assert_true(d->no_new_privileges);
        doc = parse("[]");
        g_assert_false(bh_docker_json_info(doc, &info, NULL));
        json_decref(doc);
}

static void ways_to_the_host_are_sentences(void) {
        g_autoptr(BhContainer) c = inspect("\"PidMode\":\"host\",\"NetworkMode\":\"host\",\"CapAdd\":[\"NET_ADMIN\"],\"Devices\":[{\"PathOnHost\":\"/dev/sda\"}]",
                                           ",\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/\",\"Destination\":\"/h\",\"RW\":true},{\"Type\":\"bind\",\"Source\":\"/run/docker.sock\",\"Destination\":\"/s\",\"RW\":false},"
                                           "{\"Type\":\"bind\",\"Source\":\"/proc\",\"Destination\":\"/p\",\"RW\":false},{\"Type\":\"bind\",\"Source\":\"/etc/localtime\",\"Destination\":\"/t\",\"RW\":false},"
                                           "{\"Type\":\"bind\",\"Source\":\"/data\",\"Destination\":\"/d\",\"RW\":true}]");

        g_assert_true(says(c, "whole file system is mounted at /h") && says(c, "/run/docker.sock is mounted at /s: whoever") && says(c, "/proc is mounted at /p (read only): through it every process"));
        g_assert_true(says(c, "process namespace") && says(c, "network namespace") && says(c, "the firewall of the host") && says(c, "/dev/sda"));
        g_assert_false(says(c, "/etc/localtime") || says(c, "/data") || says(c, "privileged"));
        g_autoptr(BhContainer) harmless = inspect("", "");
        g_assert_null(harmless->risks[0]);
        g_autoptr(BhContainer) privileged = inspect("\"Privileged\":true", "");
        g_assert_cmpuint(g_strv_length(privileged->risks), ==, 1);
        g_assert_cmpstr(privileged->seccomp, ==, "unconfined");
}

static void runs_are_told_once_and_the_latest_sixteen_stay(void) {
        g_autoptr(BhContainer) c = bh_container_new(A, "docker");

        /* the inspect was quicker than the event, and knows why it failed */
        bh_container_add_run(c, 10 * S, 20 * S, 0, FALSE, "no such file", TRUE);
        bh_container_add_run(c, 10 * S, 20 * S + 5, 127, FALSE, NULL, FALSE);
        g_assert_cmpuint(c->runs->len, ==, 1);
        g_assert_cmpint(g_array_index(c->runs, BhRun, 0).exit_code, ==, 127);
        g_assert_cmpstr(g_array_index(c->runs, BhRun, 0).error, ==, "no such file");
        /* and an inspect after the event adds none */
        bh_container_add_run(c, 10 * S, 20 * S + 7, 127, TRUE, NULL, TRUE);
        g_assert_cmpuint(c->runs->len, ==, 1);
        g_assert_true(g_array_index(c->runs, BhRun, 0).oom_killed);
        /* two runs of less than a second each, told by events, are two */
        bh_container_add_run(c, 21 * S, 21 * S + 1, 1, FALSE, NULL, FALSE);
        bh_container_add_run(c, 21 * S + 2, 21 * S + 3, 2, FALSE, NULL, FALSE);
        g_assert_cmpuint(c->runs->len, ==, 3);
        g_assert_cmpint(g_array_index(c->runs, BhRun, 0).exit_code, ==, 2);
        for (gint i = 0; i < 40; i++)
                bh_container_add_run(c, (100 + 10 * i) * S, (105 + 10 * i) * S, i, FALSE, NULL, FALSE);
        g_assert_cmpuint(c->runs->len, ==, BH_CONTAINER_MAX_RUNS);
        g_assert_cmpint(g_array_index(c->runs, BhRun, 0).exit_code, ==, 39);
        g_assert_cmpint(g_array_index(c->runs, BhRun, 15).exit_code, ==, 24);
        /* one older than all that are kept is not taken in */
        bh_container_add_run(c, 1, 2, 99, FALSE, NULL, FALSE);
        g_assert_cmpint(g_array_index(c->runs, BhRun, 15).exit_code, ==, 24);
}

/* ---- resources ---- */

static const char services[] =
        "[{\"ID\":\"s1\",\"CreatedAt\":\"2026-11-01T10:00:00Z\",\"UpdatedAt\":\"2026-11-02T10:00:00Z\",\"Spec\":{\"Name\":\"shop_web\",\"Labels\":{\"com.docker.stack.namespace\":\"shop\"},"
        "\"TaskTemplate\":{\"ContainerSpec\":{\"Image\":\"web:1\",\"Env\":[\"TOKEN=hunter2\"],\"Secrets\":[{\"SecretName\":\"key\"}],\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"/etc\",\"Target\":\"/e\"}]},"
        "\"Networks\":[{\"Target\":\"net1\",\"Aliases\":[\"web\"]}]},\"Mode\":{\"Replicated\":{\"Replicas\":3}}},"
        "\"Endpoint\":{\"Spec\":{\"Mode\":\"vip\"},\"Ports\":[{\"Protocol\":\"tcp\",\"TargetPort\":80,\"PublishedPort\":8080,\"PublishMode\":\"ingress\"}],\"VirtualIPs\":[{\"NetworkID\":\"net1\",\"Addr\":\"10.0.1.2/24\"}]}},"
        "{\"ID\":\"s2\",\"Spec\":{\"Name\":\"agent\",\"Mode\":{\"Global\":{}}}},{\"Spec\":{\"Name\":\"no id\"}},7,null]";
static const char tasks[] =
        "[{\"ID\":\"t1\",\"ServiceID\":\"s1\",\"Slot\":2,\"NodeID\":\"n1\",\"DesiredState\":\"running\",\"Status\":{\"State\":\"running\",\"Timestamp\":\"2026-11-01T10:00:00Z\",\"ContainerStatus\":{\"ContainerID\":\"" A "\"}},"
        "\"NetworksAttachments\":[{\"Network\":{\"ID\":\"net1\",\"Spec\":{\"Name\":\"shop_net\"}},\"Addresses\":[\"10.0.1.7/24\"]}]},"
        "{\"ID\":\"t2\",\"ServiceID\":\"s1\",\"Slot\":1,\"NodeID\":\"n1\",\"DesiredState\":\"shutdown\",\"Status\":{\"State\":\"failed\",\"Err\":\"task: non-zero exit (1)\",\"ContainerStatus\":{\"ExitCode\":1}}}]";
static const char networks[] =
        "[{\"Id\":\"net1\",\"Name\":\"shop_net\",\"Scope\":\"swarm\",\"Driver\":\"overlay\",\"IPAM\":{\"Config\":[{\"Subnet\":\"10.0.1.0/24\",\"Gateway\":\"10.0.1.1\"}]},\"Options\":{\"com.docker.network.driver.overlay.vxlanid_list\":\"4097\",\"encrypted\":\"\"}},"
        "{\"Id\":\"" A "\",\"Name\":\"bridge\",\"Scope\":\"local\",\"Driver\":\"bridge\",\"IPAM\":{\"Config\":[{\"Subnet\":\"172.17.0.0/16\"},{\"Subnet\":\"fd00::/64\"},{\"Subnet\":\"10.9.9.9/32\"},{\"Subnet\":\"nonsense\"}]},\"Options\":{\"com.docker.network.bridge.name\":\"docker0\"}}]";
static const char nodes[] =
        "[{\"ID\":\"n1\",\"Spec\":{\"Role\":\"manager\",\"Availability\":\"active\"},\"Description\":{\"Hostname\":\"alpha\",\"Engine\":{\"EngineVersion\":\"20.10\"}},\"Status\":{\"State\":\"ready\",\"Addr\":\"10.0.0.1\"},\"ManagerStatus\":{\"Leader\":true}}]";
static const char secrets[] = "[{\"ID\":\"k1\",\"CreatedAt\":\"2026-11-01T10:00:00Z\",\"Spec\":{\"Name\":\"key\",\"Data\":\"aHVudGVyMg==\",\"Labels\":{\"com.docker.stack.namespace\":\"shop\",\"hint\":\"the dog\"}}}]";
static const char volumes[] = "{\"Volumes\":[{\"Name\":\"v\",\"Driver\":\"local\",\"Mountpoint\":\"/v\",\"Options\":{\"o\":\"username=me,password=hunter2\",\"type\":\"cifs\"}}],\"Warnings\":null}";
static const char images[] = "[{\"Id\":\"sha256:1\",\"RepoTags\":[\"web:1\",\"web:latest\"],\"RepoDigests\":[\"web@sha256:2\"],\"Created\":1700000000,\"Size\":77,\"Labels\":null},{\"Id\":\"sha256:3\",\"RepoTags\":null}]";

static BhDockerThings things(void) {
        BhDockerThings t = { .info = { .known = TRUE, .manager = TRUE }, .engine_version = "20.10" };

        g_strlcpy(t.info.cluster_id, "c1", sizeof(t.info.cluster_id));
        g_strlcpy(t.info.node_id, "n1", sizeof(t.info.node_id));
        g_strlcpy(t.info.swarm_state, "active", sizeof(t.info.swarm_state));
        t.answers[BH_DOCKER_SERVICES] = parse(services);
        t.answers[BH_DOCKER_TASKS] = parse(tasks);
        t.answers[BH_DOCKER_NETWORKS] = parse(networks);
        t.answers[BH_DOCKER_NODES] = parse(nodes);
        t.answers[BH_DOCKER_SECRETS] = parse(secrets);
        t.answers[BH_DOCKER_CONFIGS] = parse("[]");
        t.answers[BH_DOCKER_VOLUMES] = parse(volumes);
        t.answers[BH_DOCKER_IMAGES] = parse(images);
        return t;
}

static const char *detail(const BhResourceSet *s, const char *kind, const char *id) {
        const BhResource *r = bh_resource_set_find(s, kind, id);

        if (!r)
                g_error("no %s %s", kind, id);
        return r->detail;
}

static gboolean anywhere(const BhResourceSet *s, const char *text) {
        for (guint i = 0; i < s->resources->len; i++) {
                const BhResource *r = s->resources->pdata[i];

                if (strstr(r->detail, text) || strstr(r->name, text))
                        return TRUE;
                for (guint j = 0; j < r->labels->len; j++)
                        if (strstr(g_array_index(r->labels, BhKeyValue, j).value, text))
                                return TRUE;
        }
        return FALSE;
}

static void a_swarm_is_told_whole_and_without_secrets(void) {
        BhDockerThings t = things();
        g_autoptr(BhResourceSet) s = bh_docker_swarm_set(&t, NULL);

        g_assert_cmpstr(s->scope, ==, "swarm:c1");
        g_assert_cmpstr(s->source, ==, "swarm");
        g_assert_cmpuint(s->refused, ==, 3); /* services without an id */
        g_assert_cmpstr(detail(s, "service", "s1"), ==,
                        "{\"mode\":\"replicated\",\"replicas\":3,\"running\":1,\"image\":\"web:1\",\"env_names\":[\"TOKEN\"],"
                        "\"mounts\":[{\"type\":\"bind\",\"source\":\"/etc\",\"destination\":\"/e\",\"rw\":true,\"sensitive\":true}],\"secrets\":[\"key\"],\"endpoint_mode\":\"vip\","
                        "\"ports\":[{\"protocol\":\"tcp\",\"target\":80,\"published\":8080,\"mode\":\"ingress\"}],\"vips\":[{\"network\":\"net1\",\"address\":\"10.0.1.2\"}],"
                        "\"networks\":[{\"network\":\"net1\",\"aliases\":[\"web\"]}]}");
        g_assert_cmpstr(bh_resource_set_find(s, "service", "s1")->application, ==, "shop");
        g_assert_cmpint(bh_resource_set_find(s, "service", "s1")->updated_ns, ==, bh_time_parse("2026-11-02T10:00:00Z"));
        g_assert_cmpstr(detail(s, "service", "s2"), ==, "{\"mode\":\"global\",\"running\":0}");
        g_assert_cmpstr(bh_resource_set_find(s, "task", "t1")->name, ==, "shop_web.2");
        g_assert_cmpstr(bh_resource_set_find(s, "task", "t1")->application, ==, "shop");
        g_assert_nonnull(strstr(detail(s, "task", "t1"), "\"container\":\"" A "\""));
        g_assert_nonnull(strstr(detail(s, "task", "t1"), "\"addresses\":[\"10.0.1.7\"]"));
        g_assert_nonnull(strstr(detail(s, "task", "t2"), "non-zero exit"));
        g_assert_nonnull(strstr(detail(s, "node", "n1"), "\"role\":\"manager\""));
        g_assert_nonnull(strstr(detail(s, "network", "net1"), "\"vxlan\":\"4097\""));
        g_assert_nonnull(strstr(detail(s, "network", "net1"), "\"encrypted\":true"));
        g_assert_null(bh_resource_set_find(s, "network", A));
        g_assert_cmpstr(detail(s, "stack", "swarm:shop"), ==, "{\"source\":\"swarm\",\"services\":[\"shop_web\"],\"secrets\":[\"key\"]}");
        g_assert_cmpstr(detail(s, "secret", "k1"), ==, "{}");
        g_assert_cmpstr(bh_resource_set_find(s, "secret", "k1")->application, ==, "shop");
        g_assert_false(anywhere(s, "hunter2") || anywhere(s, "aHVudGVy") || anywhere(s, "the dog"));

        g_assert_false(bh_docker_things_settling(&t));
        json_object_set_new(json_object_get(json_array_get(t.answers[BH_DOCKER_TASKS], 0), "Status"), "State", json_string("preparing"));
        g_assert_true(bh_docker_things_settling(&t));

        /* of a worker, nothing */
        t.info.manager = FALSE;
        g_assert_null(bh_docker_swarm_set(&t, s));
        bh_docker_things_clear(&t);
}

static void a_node_tells_its_own(void) {
        BhDockerThings t = things();
        g_autoptr(GPtrArray) containers = g_ptr_array_new_with_free_func((GDestroyNotify) bh_container_unref);

        for (guint i = 0; i < 3; i++) {
                g_autofree char *id = g_strdup_printf("c%u", i);
                BhContainer *c = bh_container_new(id, "docker");

                c->level = BH_CONTAINER_FULL;
                c->state = i ? BH_CONTAINER_RUNNING : BH_CONTAINER_EXITED;
                bh_container_add_label(c, "com.docker.compose.project", "till");
                bh_container_add_label(c, "com.docker.compose.service", i == 2 ? "a" : "b");
                bh_container_finish(c);
                g_ptr_array_add(containers, c);
        }
        g_autoptr(BhResourceSet) s = bh_docker_node_set(&t, containers, NULL);
        g_assert_cmpstr(s->scope, ==, "node");
        g_assert_cmpstr(detail(s, "stack", "compose:till"), ==, "{\"source\":\"compose\",\"services\":[\"a\",\"b\"],\"containers\":3,\"running\":2}");
        g_assert_cmpstr(detail(s, "network", A), ==,
                        "{\"driver\":\"bridge\",\"scope\":\"local\",\"subnets\":[{\"subnet\":\"172.17.0.0/16\",\"gateway\":\"172.17.0.1\"},{\"subnet\":\"fd00::/64\",\"gateway\":\"fd00::1\"},"
                        "{\"subnet\":\"10.9.9.9/32\"},{\"subnet\":\"nonsense\"}],\"bridge\":\"docker0\"}");
        g_assert_nonnull(bh_resource_set_find(s, "network", "net1"));
        g_assert_cmpstr(detail(s, "volume", "v"), ==, "{\"driver\":\"local\",\"mountpoint\":\"/v\",\"option_names\":[\"o\",\"type\"]}");
        g_assert_false(anywhere(s, "hunter2"));
        g_assert_cmpstr(bh_resource_set_find(s, "image", "sha256:1")->name, ==, "web:1");
        g_assert_cmpstr(bh_resource_set_find(s, "image", "sha256:3")->name, ==, "");
        g_assert_cmpstr(detail(s, "node", "n1"), ==, "{\"engine\":\"20.10\",\"swarm\":{\"state\":\"active\",\"node_id\":\"n1\",\"cluster_id\":\"c1\",\"role\":\"manager\"}}");

        /* the same in another order is the same; a question without an answer keeps what was known */
        json_t *other = json_array();
        json_array_append(other, json_array_get(t.answers[BH_DOCKER_NETWORKS], 1));
        json_array_append(other, json_array_get(t.answers[BH_DOCKER_NETWORKS], 0));
        json_decref(t.answers[BH_DOCKER_NETWORKS]);
        t.answers[BH_DOCKER_NETWORKS] = other;
        g_clear_pointer(&t.answers[BH_DOCKER_IMAGES], json_decref);
        g_autoptr(BhResourceSet) again = bh_docker_node_set(&t, containers, s);
        g_assert_true(bh_resource_set_equal(s, again));
        json_array_clear(t.answers[BH_DOCKER_NETWORKS]);
        g_autoptr(BhResourceSet) less = bh_docker_node_set(&t, containers, s);
        g_assert_false(bh_resource_set_equal(s, less));
        g_assert_null(bh_resource_set_find(less, "network", A));
        bh_docker_things_clear(&t);
}

static void the_nodes_part_of_a_network(void) {
        BhDockerThings t = things();

        t.inspected = g_ptr_array_new_with_free_func((GDestroyNotify) json_decref);
        g_ptr_array_add(t.inspected, parse("{\"Id\":\"net1\",\"Peers\":[{\"IP\":\"10.0.0.2\"},{\"IP\":\"10.0.0.1\"}],\"Containers\":{\"lb-shop_net\":{\"Name\":\"shop_net-endpoint\",\"IPv4Address\":\"10.0.1.3/24\"},"
                                           "\"" A "\":{\"Name\":\"lb-forged\",\"IPv4Address\":\"10.0.1.9/24\"}}}"));
        g_autoptr(BhResourceSet) s = bh_docker_node_set(&t, NULL, NULL);
        g_assert_nonnull(strstr(detail(s, "network", "net1"), "\"peers\":[\"10.0.0.1\",\"10.0.0.2\"],\"sandboxes\":[{\"name\":\"lb-shop_net\",\"address\":\"10.0.1.3\"}]"));
        bh_docker_things_clear(&t);
}

static void sets_and_details_are_bounded(void) {
        g_autoptr(BhResourceSet) s = bh_resource_set_new("docker", "node");
        json_t *list = json_array(), *doc;

        for (guint i = 0; i < BH_RESOURCE_MAX + 5; i++) {
                g_autofree char *id = g_strdup_printf("%u", i);

                bh_resource_set_add(s, bh_resource_new("image", id, ""));
        }
        g_assert_cmpuint(s->resources->len, ==, BH_RESOURCE_MAX);
        g_assert_cmpuint(s->refused, ==, 5);

        g_autoptr(BhResource) r = bh_resource_new("image", "1", "");
        g_autofree char *large = g_strnfill(BH_RESOURCE_DETAIL_MAX, 'x');
        bh_resource_set_detail(r, json_pack("{s:s}", "a", large));
        g_assert_cmpstr(r->detail, ==, "{\"refused\":true}");

        /* a list in a detail says what was left out of it */
        BhDockerThings t = { .info = { .known = FALSE } };
        for (guint i = 0; i < BH_RESOURCE_LIST_MAX + 9; i++)
                json_array_append_new(list, json_string("web:1"));
        doc = json_pack("[{s:s, s:o}]", "Id", "sha256:1", "RepoTags", list);
        t.answers[BH_DOCKER_IMAGES] = doc;
        g_autoptr(BhResourceSet) images_of = bh_docker_node_set(&t, NULL, NULL);
        g_assert_nonnull(strstr(detail(images_of, "image", "sha256:1"), "\"refused\":9"));
        bh_docker_things_clear(&t);
}

static void names_stay_through_new_images_and_instances(void) {
        static const struct {
                const char *a, *b;
        } same[] = {
                { "{\"Image\":\"shop/web:1\",\"Labels\":{}}", "{\"Image\":\"shop/web:2\",\"Labels\":{}}" },
                { "{\"Image\":\"shop/web:1\",\"Labels\":{}}", "{\"Image\":\"shop/web@sha256:1111111111111111111111111111111111111111111111111111111111111111\",\"Labels\":{}}" },
                { "{\"Image\":\"a:1\",\"Labels\":{\"com.docker.swarm.service.name\":\"s_w\",\"com.docker.stack.namespace\":\"s\",\"com.docker.swarm.task.name\":\"s_w.1.abc\"}}",
                  "{\"Image\":\"b:9\",\"Labels\":{\"com.docker.swarm.service.name\":\"s_w\",\"com.docker.stack.namespace\":\"s\",\"com.docker.swarm.task.name\":\"s_w.7.xyz\"}}" },
                { "{\"Image\":\"a:1\",\"Labels\":{\"com.docker.compose.service\":\"w\",\"com.docker.compose.project\":\"p\",\"com.docker.compose.container-number\":\"1\"}}",
                  "{\"Image\":\"sha256:77\",\"Labels\":{\"com.docker.compose.service\":\"w\",\"com.docker.compose.project\":\"p\",\"com.docker.compose.container-number\":\"12\"}}" },
        };

        for (gsize i = 0; i < G_N_ELEMENTS(same); i++) {
                g_autofree char *x = g_strdup_printf(",\"Config\":%s", same[i].a), *y = g_strdup_printf(",\"Config\":%s", same[i].b);
                g_autoptr(BhContainer) a = inspect("", x);
                g_autoptr(BhContainer) b = inspect("", y);

                g_assert_cmpstr(a->workload, ==, b->workload);
                g_assert_cmpstr(a->application, ==, b->application);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add_func("/container_things/" #name, name)
        TEST(capabilities_in_the_end);
        TEST(posture_limits_and_commands);
        TEST(what_is_left_to_the_engine);
        TEST(ways_to_the_host_are_sentences);
        TEST(runs_are_told_once_and_the_latest_sixteen_stay);
        TEST(a_swarm_is_told_whole_and_without_secrets);
        TEST(a_node_tells_its_own);
        TEST(the_nodes_part_of_a_network);
        TEST(sets_and_details_are_bounded);
        TEST(names_stay_through_new_images_and_instances);
        return g_test_run();
}
