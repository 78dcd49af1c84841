/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define SERVICE_PID BH_RECORDS_FIRST_PID /* of container i: SERVICE_PID + i */
#define FIRST_CHILD 1000u
#define CHILDREN 60000u /* pids after which they begin anew */
#define PATHS 64u

/* What one short-lived program does, in order. The service's own acts are between its child's, as they are in life. */
enum step {
        FORK, EXEC, MAP, OPEN_LIB, OPEN_MISSING, OPEN_READ, SOCKET, CONNECT, ACCEPT, OPEN_WRITE, CLOSE_WRITE, CHMOD, RENAME, UNLINK, NET_CLOSE, EXIT,
};
static const guint8 program[] = {
        FORK,      EXEC,        OPEN_LIB,  MAP,     OPEN_LIB,   MAP,         OPEN_MISSING, OPEN_READ,    OPEN_READ, OPEN_READ, ACCEPT,
        OPEN_READ, SOCKET,      CONNECT,   OPEN_READ, OPEN_WRITE, CLOSE_WRITE, CHMOD,        RENAME,       OPEN_READ, OPEN_READ, OPEN_MISSING,
        OPEN_READ, OPEN_WRITE,  CLOSE_WRITE, UNLINK, NET_CLOSE,  OPEN_READ,   OPEN_READ,    EXIT,
};

struct BhRecords {
        guint64 buf[1024]; /* 8-aligned */
        guint64 n;         /* records given */
        guint64 mix[BH_EV_KERNEL_MAX];
        guint step, container; /* where each container's program stands is the same: they take turns, a program at a time */
        guint32 child;
        guint64 started; /* of the child */
        guint64 unit;
        char paths[PATHS][64];
        guint32 path_len[PATHS];
        guint services; /* made so far, twice: fork and exec */
};

static const char environment[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0HOSTNAME=3f1c0e9a77b2\0LANG=C.UTF-8\0HOME=/root\0"
                                  "SHOP_DATABASE=postgres://shop@database:5432/shop\0SHOP_QUEUE=redis://queue:6379/0\0";
static const char arguments[] = "/usr/bin/convert\0-resize\000640x480\0/srv/shop/incoming/4711.png\0/srv/shop/images/4711.jpg\0";

BhRecords *bh_records_new(void) {
        BhRecords *r = g_new0(BhRecords, 1);

        for (guint i = 0; i < PATHS; i++) {
                g_autofree char *path = i % 4 == 0   ? g_strdup_printf("/srv/shop/images/%u.jpg", i)
                                        : i % 4 == 1 ? g_strdup_printf("/etc/shop/conf.d/%u.conf", i)
                                        : g_strdup_printf("/usr/lib/x86_64-linux-gnu/libshop%u.so.1", i);

                r->path_len[i] = (guint32) strlen(path);
                memcpy(r->paths[i], path, MIN(sizeof(r->paths[i]), r->path_len[i] + 1));
        }
        return r;
}

void bh_records_free(BhRecords *r) {
        g_free(r);
}

static struct bh_rec *begin(BhRecords *r, guint type, guint64 ts, guint32 pid, guint32 ppid, guint64 start, guint container) {
        struct bh_rec *rec = (struct bh_rec *) (void *) r->buf;

        memset(rec, 0, sizeof(*rec));
        rec->size = sizeof(*rec);
        rec->type = (guint16) type;
        rec->ts = ts;
        rec->cgroup = rec->origin = BH_RECORDS_CGROUP(container);
        rec->start = start;
        rec->fold_key = type == BH_EV_FORK || type == BH_EV_EXEC || type == BH_EV_EXIT ? 0 : (r->n * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15)) | 1;
        rec->tgid = rec->tid = pid;
        rec->ppid = ppid;
        rec->count = 1;
        rec->mnt_ns = 4026532000u + container;
        memcpy(rec->comm, pid < FIRST_CHILD ? "shop-server" : "convert", pid < FIRST_CHILD ? 11 : 7);
        return rec;
}

static void put(struct bh_rec *rec, guint16 tag, const void *data, gsize len) {
        struct bh_chunk chunk = { .tag = tag, .len = (guint16) len };
        guint8 *p = (guint8 *) rec + rec->size;

        memcpy(p, &chunk, sizeof(chunk));
        memcpy(p + sizeof(chunk), data, len);
        rec->size += (guint32) (sizeof(chunk) + len);
}

#define PUT_STR(rec, tag, text) put(rec, tag, text, strlen(text))
#define PUT_LIST(rec, tag, list) put(rec, tag, list, sizeof(list) - 1)

static void exec_record(struct bh_rec *rec, guint container, guint32 vpid, const char *exe) {
        struct bh_exec_info info = { .ino = 7000 + strlen(exe), .ctime = G_GUINT64_CONSTANT(1700000000000000000), .dev = 8u << 20 | 1, .mode = 0100755,
                                     .pid_ns = 4026532100u + container, .net_ns = 4026532200u + container, .user_ns = 4026531837u, .ipc_ns = 4026532300u + container,
                                     .uts_ns = 4026532400u + container, .cgroup_ns = 4026532500u + container, .vpid = vpid, .sid = 1, .pgid = 1,
                                     .loginuid = G_MAXUINT32, .argc = 5, .arg_len = sizeof(arguments) - 1, .env_len = sizeof(environment) - 1 };
        struct bh_cred cred = { .cap_permitted = 0xa80425fb, .cap_effective = 0xa80425fb, .cap_bounding = 0xa80425fb, .user_ns = 4026531837u };

        put(rec, BH_TAG_EXEC, &info, sizeof(info));
        put(rec, BH_TAG_CRED, &cred, sizeof(cred));
        PUT_STR(rec, BH_TAG_EXE, exe);
        PUT_STR(rec, BH_TAG_CWD, "/srv/shop");
        PUT_STR(rec, BH_TAG_SCRIPT, exe);
        PUT_LIST(rec, BH_TAG_ARGV, arguments);
        PUT_LIST(rec, BH_TAG_ENVP, environment);
}

static void fork_args(struct bh_rec *rec, guint32 child, guint64 start, guint container) {
        rec->a[0] = child;
        rec->a[1] = start;
        rec->a[2] = 17; /* SIGCHLD */
        rec->a[3] = child % 30000;
        rec->a[4] = rec->a[5] = BH_RECORDS_CGROUP(container);
        rec->ret = child;
}

static void address(struct bh_rec *rec, guint container, guint16 lport, guint16 rport) {
        struct bh_addr a = { .family = AF_INET, .type = SOCK_STREAM, .proto = 6, .lport = lport, .rport = rport,
                             .laddr = { 172, 18, 0, (guint8) (2 + container) }, .raddr = { 172, 18, 0, 250 } };

        put(rec, BH_TAG_ADDR, &a, sizeof(a));
}

static void file(BhRecords *r, struct bh_rec *rec, guint flags, gint64 ret) {
        guint k = (guint) ((r->unit * 7 + r->step * 5) % PATHS);

        rec->ret = ret;
        rec->a[0] = ret < 0 ? 0 : 8u << 20 | 1;
        rec->a[1] = ret < 0 ? 0 : 5000 + k;
        rec->a[2] = flags;
        rec->a[4] = (guint64) (ret < 0 ? -1 : 5);
        rec->a[5] = ret < 0 ? 0 : G_GUINT64_CONSTANT(1700000000000000000) + k;
        if (k % 4 == 3) { /* a cache names its files by hashes: these compress badly */
                guint64 h = (r->unit * G_N_ELEMENTS(program) + r->step) * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
                char path[64];

                put(rec, BH_TAG_PATH, path, (gsize) g_snprintf(path, sizeof(path), "/var/lib/shop/cache/%016" G_GINT64_MODIFIER "x/entry", h ^ h >> 29));
                return;
        }
        put(rec, BH_TAG_PATH, r->paths[k], r->path_len[k]);
}

/* The services: a fork by the runtime's process and an exec, each. */
static const struct bh_rec *service(BhRecords *r, guint64 ts) {
        guint container = r->services / 2;
        guint32 pid = SERVICE_PID + container;
        struct bh_rec *rec;

        if (r->services++ % 2 == 0) {
                rec = begin(r, BH_EV_FORK, ts, 50, 1, 1000, container);
                fork_args(rec, pid, 2000 + container, container);
        } else {
                rec = begin(r, BH_EV_EXEC, ts, pid, 50, 2000 + container, container);
                exec_record(rec, container, 1, "/usr/bin/shop-server");
        }
        return rec;
}

static struct bh_rec *act(BhRecords *r, guint64 ts) {
        guint c = r->container;
        guint32 pid = SERVICE_PID + c;
        enum step step = program[r->step];
        struct bh_rec *rec;

#define CHILD(type) begin(r, type, ts, r->child, pid, r->started, c)
        switch (step) {
        case FORK:
                r->child = FIRST_CHILD + (guint32) (r->unit % CHILDREN);
                r->started = ts;
                rec = begin(r, BH_EV_FORK, ts, pid, 50, 2000 + c, c);
                fork_args(rec, r->child, ts, c);
                return rec;
        case EXEC:
                rec = CHILD(BH_EV_EXEC);
                exec_record(rec, c, r->child % 30000, "/usr/bin/convert");
                return rec;
        case MAP:
                rec = CHILD(BH_EV_MMAP_EXEC);
                file(r, rec, 0, 0);
                rec->a[2] = rec->a[4] = 0;
                rec->a[3] = G_GUINT64_CONSTANT(0x7f3a12345000);
                rec->a[4] = 131072;
                rec->a[5] = 5;
                rec->a[6] = 2;
                return rec;
        case OPEN_LIB:
        case OPEN_READ:
                rec = CHILD(BH_EV_OPEN);
                file(r, rec, 02000000, 0);
                return rec;
        case OPEN_MISSING:
                rec = CHILD(BH_EV_OPEN);
                file(r, rec, 02000000, -ENOENT);
                return rec;
        case OPEN_WRITE:
                rec = CHILD(BH_EV_OPEN);
                file(r, rec, 0101, 0);
                rec->a[3] = 0100644;
                return rec;
        case CLOSE_WRITE:
                rec = CHILD(BH_EV_CLOSE_WRITE);
                file(r, rec, 0101, 0);
                rec->a[4] = 4096;
                return rec;
        case CHMOD:
                rec = CHILD(BH_EV_CHMOD);
                file(r, rec, 0, 0);
                rec->a[3] = 0100644;
                return rec;
        case RENAME:
                rec = CHILD(BH_EV_RENAME);
                file(r, rec, 0, 0);
                PUT_STR(rec, BH_TAG_PATH2, "/srv/shop/images/4711.jpg");
                return rec;
        case UNLINK:
                rec = CHILD(BH_EV_UNLINK);
                file(r, rec, 0, 0);
                return rec;
        case SOCKET:
                rec = CHILD(BH_EV_SOCKET);
                rec->a[0] = 6;
                address(rec, c, 0, 0);
                return rec;
        case CONNECT:
                rec = CHILD(BH_EV_CONNECT);
                rec->a[0] = 6;
                address(rec, c, (guint16) (32768 + r->unit % 20000), 5432);
                return rec;
        case NET_CLOSE:
                rec = CHILD(BH_EV_NET_CLOSE);
                rec->a[0] = 812;
                rec->a[1] = 4711;
                rec->a[2] = 3000000;
                rec->a[3] = 1;
                rec->a[5] = 9;
                rec->a[6] = 8;
                rec->a[7] = 4026531840u + c;
                address(rec, c, (guint16) (32768 + r->unit % 20000), 5432);
                return rec;
        case ACCEPT:
                rec = begin(r, BH_EV_ACCEPT, ts, pid, 50, 2000 + c, c);
                rec->a[0] = 7;
                rec->a[2] = 3;
                rec->ret = 7;
                address(rec, c, 8080, (guint16) (32768 + r->unit % 20000));
                return rec;
        case EXIT:
                rec = CHILD(BH_EV_EXIT);
                return rec;
        }
        g_assert_not_reached();
#undef CHILD
}

const struct bh_rec *bh_records_next(BhRecords *r, guint64 ts, enum bh_ring *ring) {
        static const guint8 rings[BH_EV_MAX] = {
#define BH_EVENT_TYPE(num, id, name, ring_, folds, doc) [num] = BH_RING_##ring_,
#include "event_types.tbl.h"
        };
        const struct bh_rec *rec;

        if (r->services < 2 * BH_RECORDS_CONTAINERS) {
                rec = service(r, ts);
        } else {
                rec = act(r, ts);
                if (++r->step == G_N_ELEMENTS(program)) {
                        r->step = 0;
                        r->unit++;
                        r->container = (guint) (r->unit % BH_RECORDS_CONTAINERS);
                }
        }
        r->n++;
        r->mix[rec->type]++;
        *ring = rings[rec->type];
        return rec;
}

const guint64 *bh_records_mix(const BhRecords *r) {
        return r->mix;
}
