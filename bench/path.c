/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-path: kernel records through the sensor's own code, from the ring buffers to the flight recorder, with no kernel program behind them.
 *
 *     bench-path [--events N] [--rounds N] [--cpu N] [--dir D] [--counting] [--without-flows]
 *
 * Everything from ring.c to the recorder's files is what the sensor runs (ring, merge by time, decode, process table, container table, encode,
 * recorder, feed without a listener, observations, flows). Stood in for: the rings, which are files in memory of the same layout, filled before the clock
 * starts; the kernel's other maps, which are empty; no container waits for its description, no payload goes to the inspector.
 *
 * All threads run on one CPU (--cpu, the last one allowed), and their time is added up: `cpu_ns_per_event` is what an event costs, whoever does it;
 * `drain_ns_per_event` is the part of the one thread that cannot be spread. A round ends when the recorder has written all. Prints one JSON line.
 * --counting: for a run under an instruction counter: one round, no pinning, nothing that depends on the time of day.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "records.h"
#include "event/kinds.h"
#include "graph/flow_table.h"
#include "sensor/observe.h"
#include "sensor/pipeline.h"

#define RING_HDR 8u
#define PAGE 4096u
#define STUCK_NS (G_GUINT64_CONSTANT(60) * 1000000000u)
#define FIRST_NS (G_GUINT64_CONSTANT(10) * 1000000000u) /* before now */

/* ---- the kernel's side ---- */

struct ring {
        int fd;
        guint64 size, produced;
        guint8 *map; /* consumer page, producer page, data */
};

struct BhHooks {
        struct ring rings[BH_RING_MAX];
        struct bh_config config;
        BhHookState state;
};

static BhHooks hooks;
static const char *const ring_names[BH_RING_MAX] = { "ring_life", "ring_key", "ring_bulk" };

int bh_hooks_map(const BhHooks *h, const char *name) {
        for (guint i = 0; i < BH_RING_MAX; i++)
                if (g_str_equal(name, ring_names[i]))
                        return h->rings[i].fd;
        return -1;
}

volatile struct bh_config *bh_hooks_config(BhHooks *h) {
        return &h->config;
}

guint64 bh_hooks_epoch(const BhHooks *h) {
        return h->config.build_id;
}

const BhHookState *bh_hooks_state(const BhHooks *h, guint32 type) {
        return &h->state;
}

guint64 bh_hooks_recursion_misses(BhHooks *h) {
        return 0;
}

/* There are no programs that remember anything. */
void bh_hooks_judge_anew(BhHooks *h) {
}

/* libbpf's, which ring.c asks for the size of a ring. */
int bpf_obj_get_info_by_fd(int fd, void *info, __u32 *len) {
        for (guint i = 0; i < BH_RING_MAX; i++)
                if (hooks.rings[i].fd == fd) {
                        ((struct bpf_map_info *) info)->max_entries = (__u32) hooks.rings[i].size;
                        return 0;
                }
        errno = EBADF;
        return -errno;
}

/* The other maps: there, and empty. */
int bpf_map_get_next_key(int fd, const void *key, void *next_key) {
        errno = ENOENT;
        return -errno;
}

int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, __u32 *count, const struct bpf_map_batch_opts *opts) {
        *count = 0;
        errno = ENOENT;
        return -errno;
}

static void die(const char *what) {
        fprintf(stderr, "bench-path: %s: %s\n", what, g_strerror(errno));
        exit(1);
}

static void make_ring(struct ring *r, const char *name, guint64 size) {
        r->size = size;
        r->fd = memfd_create(name, MFD_CLOEXEC);
        if (r->fd < 0 || ftruncate(r->fd, (off_t) (2 * PAGE + size)))
                die("cannot make a ring");
        r->map = mmap(NULL, 2 * PAGE + size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
        if (r->map == MAP_FAILED)
                die("cannot map a ring");
}

static void copy_in(struct ring *r, guint64 at, const void *data, guint64 len) {
        guint8 *base = r->map + 2 * PAGE;
        guint64 from = at & (r->size - 1), first = MIN(len, r->size - from);

        memcpy(base + from, data, first);
        memcpy(base, (const guint8 *) data + first, len - first);
}

static gboolean has_room(const struct ring *r, guint32 len) {
        guint64 used = r->produced - __atomic_load_n((const guint64 *) (void *) r->map, __ATOMIC_ACQUIRE);

        return used + RING_HDR + len + 8 <= r->size;
}

static void produce(struct ring *r, const struct bh_rec *rec) {
        guint32 header[2] = { rec->size, 0 };

        copy_in(r, r->produced, header, sizeof(header));
        copy_in(r, r->produced + RING_HDR, rec, rec->size);
        r->produced += (RING_HDR + rec->size + 7) & ~7ull;
}

/* Runs in the drain thread, so that it never sees an act before the lifecycle records that came before it. */
static void show(gpointer data) {
        for (guint i = 0; i < BH_RING_MAX; i++)
                __atomic_store_n((guint64 *) (void *) (hooks.rings[i].map + PAGE), hooks.rings[i].produced, __ATOMIC_RELEASE);
}

/* The sensor gives room back when the recorder has written the records. */
static gboolean all_released(void) {
        for (guint i = 0; i < BH_RING_MAX; i++)
                if (__atomic_load_n((const guint64 *) (void *) hooks.rings[i].map, __ATOMIC_ACQUIRE) < hooks.rings[i].produced)
                        return FALSE;
        return TRUE;
}

/* ---- time ---- */

static guint64 now(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return (guint64) t.tv_sec * 1000000000u + (guint64) t.tv_nsec;
}

/* CPU time of the threads of that name, ns; of all but this one for NULL. */
static guint64 thread_time(const char *name) {
        guint64 sum = 0;
        struct dirent *e;
        DIR *d = opendir("/proc/self/task");

        while (d && (e = readdir(d))) {
                g_autofree char *comm_path = g_strdup_printf("/proc/self/task/%s/comm", e->d_name), *stat_path = g_strdup_printf("/proc/self/task/%s/schedstat", e->d_name);
                g_autofree char *comm = NULL, *text = NULL;

                if (e->d_name[0] == '.' || atoi(e->d_name) == getpid() || !g_file_get_contents(comm_path, &comm, NULL, NULL))
                        continue;
                if ((!name || g_str_equal(g_strchomp(comm), name)) && g_file_get_contents(stat_path, &text, NULL, NULL))
                        sum += g_ascii_strtoull(text, NULL, 10);
        }
        if (d)
                closedir(d);
        return sum;
}

/* ---- the sensor's side ---- */

static BhObserve *observe;
static BhFlowTable *flows; /* NULL: left out */
static GMutex flows_lock;
static guint64 incomplete; /* events that were not enriched: then this would measure something else */

static void seen(const struct bh_event *e, const guint8 *wire, guint32 wire_len, const struct bh_lineage *lineage, gpointer data) {
        if (e->source == BH_SOURCE_KERNEL && (!bh_event_has(e, BH_F_container_name) || (!bh_event_has(e, BH_F_exe) && e->pid >= BH_RECORDS_FIRST_PID)))
                incomplete++;
        bh_observe_event(observe, e, NULL, (gint64) (e->boottime / 1000));
        /* as in the sensor's flows.c */
        if (flows && bh_flow_table_wants(e->type) && !((e->type == BH_EV_EXEC || e->type == BH_EV_EXIT) && bh_event_has(e, BH_F_container_id))) {
                g_mutex_lock(&flows_lock);
                bh_flow_table_event(flows, e);
                g_mutex_unlock(&flows_lock);
        }
}

static BhContainerTable *make_containers(const char *empty) {
        BhCgroupLayout layout = { .mode = BH_CGROUP_V2, .version = 2, .mount = (char *) empty, .mount_root = (char *) "/" };
        BhContainerTableConfig config = { .host_root = empty, .layout = &layout };
        BhContainerTable *t = bh_container_table_new(&config);

        for (guint i = 0; i < BH_RECORDS_CONTAINERS; i++) {
                g_autofree char *id = g_strdup_printf("%064x", 0xabc000 + i), *path = g_strdup_printf("/docker/%s", id), *name = g_strdup_printf("shop-images-%u", i);
                BhContainer *c = bh_container_new(id, "docker");

                bh_container_set(c, &c->name, name);
                bh_container_set(c, &c->image, "registry.example/shop/images:4.2");
                bh_container_set(c, &c->image_digest, "registry.example/shop/images@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
                bh_container_add_label(c, "com.docker.compose.project", "shop");
                bh_container_add_label(c, "com.docker.compose.service", "images");
                c->level = BH_CONTAINER_FULL;
                c->state = BH_CONTAINER_RUNNING;
                bh_container_finish(c);
                bh_container_table_bind(t, BH_RECORDS_CGROUP(i), path, 1);
                bh_container_table_upsert(t, c, 1);
                bh_container_unref(c);
        }
        return t;
}

static void remove_dir(const char *path) {
        GDir *d = g_dir_open(path, 0, NULL);

        for (const char *n; d && (n = g_dir_read_name(d)); ) {
                g_autofree char *p = g_build_filename(path, n, NULL);

                unlink(p);
        }
        if (d)
                g_dir_close(d);
        rmdir(path);
}

typedef struct {
        guint64 events, wall, cpu, drain;
} Round;

static int compare(const void *a, const void *b) {
        const double *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

static double median(double *v, guint n) {
        qsort(v, n, sizeof(*v), compare);
        return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* Prints the figures; returns how many events were not decoded, enriched, or recorded. */
static guint64 print(const Round *rounds, guint n, const BhPipelineStats *p, const BhRecorderStats *r, guint64 given, const guint64 *mix, int cpu) {
        double *wall = g_newa(double, n), *busy = g_newa(double, n), *drain = g_newa(double, n);
        guint64 lost = p->undecodable, given_not_read = given;

        for (guint i = 0; i < n; i++) {
                wall[i] = (double) rounds[i].wall / (double) rounds[i].events;
                busy[i] = (double) rounds[i].cpu / (double) rounds[i].events;
                drain[i] = (double) rounds[i].drain / (double) rounds[i].events;
        }
        for (guint i = 0; i < BH_RECORDER_LOST_REASONS; i++)
                lost += r->lost[i];
        for (guint i = 0; i < BH_RING_MAX; i++)
                given_not_read -= p->read[i];
        lost += given_not_read;
        if (r->appended < p->events) /* must have been offered to the recorder, too */
                lost += p->events - r->appended;
        printf("{\"events\":%" G_GUINT64_FORMAT ",\"lost\":%" G_GUINT64_FORMAT ",\"cpu\":%d,\"rounds\":%u,\"bytes_per_event\":%.1f,\"disk_bytes_per_event\":%.2f,", given, lost, cpu, n,
               (double) r->raw_bytes / (double) p->events, (double) r->stored_bytes / (double) p->events);
        double low = G_MAXDOUBLE, high = 0;
        for (guint i = 0; i < n; i++) {
                low = MIN(low, busy[i]);
                high = MAX(high, busy[i]);
        }
        printf("\"cpu_ns_per_event\":%.1f,\"cpu_ns_min\":%.1f,\"cpu_ns_max\":%.1f,\"drain_ns_per_event\":%.1f,\"wall_ns_per_event\":%.1f,\"mix\":{", median(busy, n), low, high,
               median(drain, n), median(wall, n));
        for (guint i = 0, first = 1; i < BH_EV_KERNEL_MAX; i++)
                if (mix[i]) {
                        printf("%s\"%s\":%" G_GUINT64_FORMAT, first ? "" : ",", bh_event_type_name(i), mix[i]);
                        first = 0;
                }
        printf("}}\n");
        if (lost)
                fprintf(stderr, "bench-path: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " events were lost or refused: the figures are of fewer\n", lost, given);
        return lost;
}

static guint64 number(const char *text, const char *option, guint64 min, guint64 max) {
        guint64 v;
        g_autoptr(GError) error = NULL;

        if (!g_ascii_string_to_unsigned(text, 10, min, max, &v, &error)) {
                fprintf(stderr, "bench-path: --%s: %s\n", option, error->message);
                exit(2);
        }
        return v;
}

static int last_cpu(void) {
        cpu_set_t set;
        int last = 0;

        sched_getaffinity(0, sizeof(set), &set);
        for (int i = 0; i < CPU_SETSIZE; i++)
                if (CPU_ISSET(i, &set))
                        last = i;
        return last;
}

int main(int argc, char **argv) {
        static const struct option options[] = { { "events", 1, NULL, 'e' }, { "rounds", 1, NULL, 'r' }, { "cpu", 1, NULL, 'c' }, { "dir", 1, NULL, 'd' },
                                                 { "counting", 0, NULL, 'n' }, { "without-flows", 0, NULL, 'f' }, { NULL, 0, NULL, 0 } };
        guint64 events = 1000000, given = 0;
        guint rounds = 5;
        int cpu = last_cpu();
        gboolean counting = FALSE, without_flows = FALSE;
        const char *top = g_get_tmp_dir();

        for (int o; (o = getopt_long(argc, argv, "", options, NULL)) >= 0; )
                switch (o) {
                case 'e': events = number(optarg, "events", 1000, 1000000000); break;
                case 'r': rounds = (guint) number(optarg, "rounds", 1, 1000); break;
                case 'c': cpu = (int) number(optarg, "cpu", 0, CPU_SETSIZE - 1); break;
                case 'd': top = optarg; break;
                case 'n': counting = TRUE; break;
                case 'f': without_flows = TRUE; break;
                default: return 2;
                }
        if (optind != argc) {
                fprintf(stderr, "usage: bench-path [--events N] [--rounds N] [--cpu N] [--dir D] [--counting] [--without-flows]\n");
                return 2;
        }
        if (counting) {
                rounds = 1;
        } else {
                cpu_set_t set;

                CPU_ZERO(&set);
                CPU_SET(cpu, &set);
                if (sched_setaffinity(0, sizeof(set), &set))
                        die("cannot run on that CPU alone");
        }

        g_autofree char *dir = g_strdup_printf("%s/bulkhead-path-XXXXXX", top), *recorder_dir = NULL, *empty = NULL;
        if (!g_mkdtemp(dir))
                die(dir);
        recorder_dir = g_build_filename(dir, "recorder", NULL);
        empty = g_build_filename(dir, "empty", NULL);
        g_mkdir_with_parents(empty, 0700);
        for (guint i = 0; i < BH_RING_MAX; i++)
                make_ring(&hooks.rings[i], ring_names[i], i == BH_RING_LIFE ? 128u << 20 : 64u << 20);
        hooks.config.build_id = 1;
        hooks.config.fold_window = 1000000000;
        observe = bh_observe_new();
        if (!without_flows)
                flows = bh_flow_table_new(&(BhFlowTableConfig){ 0 });

        guint64 boot = now(CLOCK_BOOTTIME), wall = now(CLOCK_REALTIME) - boot, ts = boot - FIRST_NS;
        BhRecorderLimits limits;
        BhRecorderRecovery found;
        g_autoptr(GError) error = NULL;
        bh_recorder_limits_init(&limits);
        limits.reserve_bytes = 0;
        limits.wait_ms = 10000;
        limits.hold_ms = 10000;
        if (counting)
                limits.flush_ms = 1000000; /* blocks are cut where they are full, however slow the run is */
        g_autoptr(BhRecorder) recorder = bh_recorder_open(recorder_dir, &limits, &found, &error);
        if (!recorder) {
                fprintf(stderr, "bench-path: %s\n", error->message);
                return 1;
        }
        BhCgroupLayout layout = { .mode = BH_CGROUP_V2, .version = 2, .mount = empty, .mount_root = (char *) "/" };
        g_autoptr(BhContainerTable) containers = make_containers(empty);
        BhCgroups *cgroups = bh_cgroups_new(&hooks, containers, &layout);
        struct bh_clock clock = { .now = wall, .start = wall };
        struct bh_process_config table = { .proc_path = empty, .clock = clock };
        g_autoptr(BhProcessTable) processes = bh_process_table_new(&table);
        g_autoptr(BhFeed) feed = bh_feed_new();
        BhPipelineConfig config = {
                .hooks = &hooks, .containers = containers, .cgroups = cgroups, .processes = processes, .recorder = recorder, .feed = feed, .found = &found, .clock = clock,
                .node = "bench", .proc_path = empty, .recorded = bh_kinds_all(), .seen = seen,
        };
        BhPipeline *pipeline = bh_pipeline_new(&config, &error);
        if (!pipeline || !bh_pipeline_start(pipeline, 0, &error)) {
                fprintf(stderr, "bench-path: %s\n", error->message);
                return 1;
        }

        g_autoptr(BhRecords) records = bh_records_new();
        g_autofree Round *done = g_new0(Round, rounds);
        BhRecorderStats stats;
        for (guint k = 0; k < rounds; k++) {
                guint64 left = events;

                while (left) {
                        guint64 n = 0;
                        enum bh_ring ring;

                        /* filled, and only then shown to the reader */
                        while (left && has_room(&hooks.rings[0], 8192) && has_room(&hooks.rings[1], 8192) && has_room(&hooks.rings[2], 8192)) {
                                const struct bh_rec *rec = bh_records_next(records, ts, &ring);

                                ts += 1000;
                                produce(&hooks.rings[ring], rec);
                                n++;
                                left--;
                        }
                        given += n;
                        done[k].events += n;
                        guint64 drain0 = thread_time("bh-drain"), all0 = thread_time(NULL), wall0 = now(CLOCK_MONOTONIC);
                        bh_pipeline_call(pipeline, show, NULL);
                        guint64 moved = 0, moved_at = wall0;
                        while (!all_released()) {
                                g_usleep(counting ? 20000 : 1000);
                                bh_recorder_stats(recorder, &stats);
                                if (stats.appended + stats.written != moved) {
                                        moved = stats.appended + stats.written;
                                        moved_at = now(CLOCK_MONOTONIC);
                                } else if (now(CLOCK_MONOTONIC) - moved_at > STUCK_NS) {
                                        fprintf(stderr, "bench-path: nothing moved for a minute: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " events are recorded\n", stats.written, given);
                                        return 3;
                                }
                                if (stats.appended >= given)
                                        bh_recorder_flush(recorder, FALSE); /* what is left over makes no whole block */
                        }
                        done[k].wall += now(CLOCK_MONOTONIC) - wall0;
                        done[k].drain += thread_time("bh-drain") - drain0;
                        done[k].cpu += thread_time(NULL) - all0;
                }
        }
        BhPipelineStats p;
        bh_pipeline_stop(pipeline);
        bh_pipeline_stats(pipeline, &p);
        bh_recorder_stats(recorder, &stats);
        guint64 lost = print(done, rounds, &p, &stats, given, bh_records_mix(records), counting ? -1 : cpu);
        bh_pipeline_free(pipeline);
        bh_cgroups_free(cgroups);
        g_clear_pointer(&recorder, bh_recorder_free);
        bh_observe_free(observe);
        bh_flow_table_free(flows);
        remove_dir(recorder_dir);
        remove_dir(empty);
        remove_dir(dir);
        if (incomplete)
                fprintf(stderr, "bench-path: %" G_GUINT64_FORMAT " events came out without container or executable\n", incomplete);
        return incomplete || lost ? 3 : 0;
}
