/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <jansson.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "bulkhead.pb-c.h"
#include "event/codec.h"
#include "event/record_decode.h"
#include "event_fill.h"

#define STR(text) ((struct bh_str){ text, sizeof(text) - 1 })
#define assert_str(s, text) g_assert_cmpmem((s).p, (s).len, text, sizeof(text) - 1)
#define NOW 1795489700123456789ull /* 2026-11-24T03:08:20.123456789Z */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(json_t, json_decref)

static char *json_of(const struct bh_event *e) {
        GString *s = g_string_new(NULL);

        bh_event_to_json(e, s);
        return g_string_free(s, FALSE);
}

static char *text_of(const struct bh_event *e) {
        GString *s = g_string_new(NULL);

        bh_event_to_text(e, s);
        return g_string_free(s, FALSE);
}

static gboolean is_text(guint kind) {
        return kind == BH_KIND_STR || kind == BH_KIND_LIST || kind == BH_KIND_PAIRS || kind == BH_KIND_BYTES;
}

static void assert_same(const struct bh_event *a, const struct bh_event *b) {
        for (guint i = 0; i < BH_F_COUNT; i++) {
                const void *va = (const char *) a + bh_fields[i].offset, *vb = (const char *) b + bh_fields[i].offset;

                g_assert_cmpint(bh_event_has(a, i), ==, bh_event_has(b, i));
                if (!bh_event_has(a, i))
                        continue;
                switch ((enum bh_kind) bh_fields[i].kind) {
                case BH_KIND_BOOL:
                case BH_KIND_U32:
                case BH_KIND_I32:
                case BH_KIND_ENUM:
                        g_assert_cmpuint(*(const guint32 *) va, ==, *(const guint32 *) vb);
                        break;
                case BH_KIND_IP:
                        g_assert_cmpmem(((const struct bh_ip *) va)->b, ((const struct bh_ip *) va)->len, ((const struct bh_ip *) vb)->b, ((const struct bh_ip *) vb)->len);
                        break;
                default:
                        if (is_text(bh_fields[i].kind))
                                g_assert_cmpmem(((const struct bh_str *) va)->p, ((const struct bh_str *) va)->len, ((const struct bh_str *) vb)->p, ((const struct bh_str *) vb)->len);
                        else
                                g_assert_cmpuint(*(const guint64 *) va, ==, *(const guint64 *) vb);
                }
        }
}

/* The event against protobuf-c's object, through the descriptor that protoc made of api/bulkhead.proto. */
static void assert_same_as_pb(const struct bh_event *e, const Bulkhead__V1__Event *m) {
        g_assert_cmpuint(bulkhead__v1__event__descriptor.n_fields, ==, BH_F_COUNT);
        for (guint i = 0; i < BH_F_COUNT; i++) {
                const ProtobufCFieldDescriptor *d = protobuf_c_message_descriptor_get_field(&bulkhead__v1__event__descriptor, bh_fields[i].number);
                const void *v = (const char *) e + bh_fields[i].offset;

                g_assert_nonnull(d);
                g_assert_cmpstr(d->name, ==, bh_fields[i].member);

                const void *pb = (const char *) m + d->offset;
                g_assert_cmpint(*(const protobuf_c_boolean *) ((const char *) m + d->quantifier_offset), ==, bh_event_has(e, i));
                if (!bh_event_has(e, i))
                        continue;
                switch (d->type) {
                case PROTOBUF_C_TYPE_BOOL:
                case PROTOBUF_C_TYPE_UINT32:
                case PROTOBUF_C_TYPE_SINT32:
                        g_assert_cmpuint(*(const guint32 *) pb, ==, *(const guint32 *) v);
                        break;
                case PROTOBUF_C_TYPE_UINT64:
                case PROTOBUF_C_TYPE_SINT64:
                case PROTOBUF_C_TYPE_FIXED64:
                        g_assert_cmpuint(*(const guint64 *) pb, ==, *(const guint64 *) v);
                        break;
                case PROTOBUF_C_TYPE_BYTES: {
                        const ProtobufCBinaryData *data = pb;

                        if (bh_fields[i].kind == BH_KIND_IP)
                                g_assert_cmpmem(data->data, data->len, ((const struct bh_ip *) v)->b, ((const struct bh_ip *) v)->len);
                        else
                                g_assert_cmpmem(data->data, data->len, ((const struct bh_str *) v)->p, ((const struct bh_str *) v)->len);
                        break;
                }
                default:
                        g_error("field %s has protobuf type %d", d->name, d->type);
                }
        }
}

static void wire_is_what_protobuf_c_reads_and_writes(void) {
        for (guint round = 0; round < 200; round++) {
                struct bh_event e, back;
                g_autoptr(GByteArray) ours = g_byte_array_new();
                g_autoptr(GError) error = NULL;

                bh_test_fill(&e, round);
                if (round > 2) {
                        for (guint w = 0; w < G_N_ELEMENTS(e.has); w++)
                                e.has[w] &= (guint64) g_random_int() << 32 | g_random_int();
                }
                bh_event_encode(&e, ours);

                Bulkhead__V1__Event *m = bulkhead__v1__event__unpack(NULL, ours->len, ours->data);
                g_assert_nonnull(m);
                assert_same_as_pb(&e, m);

                gsize size = bulkhead__v1__event__get_packed_size(m);
                g_autofree guint8 *theirs = g_malloc(size + 1);

                bulkhead__v1__event__pack(m, theirs);
                g_assert_true(bh_event_decode(&back, theirs, size, &error));
                g_assert_no_error(error);
                assert_same(&e, &back);
                bulkhead__v1__event__free_unpacked(m, NULL);

                g_assert_true(bh_event_decode(&back, ours->data, ours->len, &error));
                assert_same(&e, &back);
        }
}

static void check_file(const char *path, const char *text, const char *option) {
        g_autofree char *full = g_build_filename(BH_SOURCE_ROOT, path, NULL), *have = NULL;
        g_autoptr(GError) error = NULL;

        g_file_get_contents(full, &have, NULL, &error);
        g_assert_no_error(error);
        if (strcmp(have, text) != 0)
                g_error("%s is not what the tables say: run bulkhead-proto%s > %s", full, option, path);
}

static void contracts_follow_the_tables(void) {
        g_autofree char *proto = bh_event_proto(), *docs = bh_event_docs();

        check_file("api/bulkhead.proto", proto, "");
        check_file("docs/events.md", docs, " --docs");
}

static void field_names_and_numbers_are_unique(void) {
        g_autoptr(GHashTable) numbers = g_hash_table_new(NULL, NULL);

        for (guint i = 0; i < BH_F_COUNT; i++) {
                g_assert_true(bh_field_find(bh_fields[i].name) == &bh_fields[i]);
                g_assert_true(g_hash_table_add(numbers, GUINT_TO_POINTER(bh_fields[i].number)));
        }
        g_assert_null(bh_field_find("proc"));
        g_assert_null(bh_field_find(NULL));
        g_assert_cmpint(bh_event_type_from_name("net_close"), ==, BH_EV_NET_CLOSE);
        g_assert_cmpint(bh_event_type_from_name("nothing"), ==, -1);
        g_assert_null(bh_event_type_name(0));
        g_assert_null(bh_event_type_name(G_MAXUINT32));
        g_assert_cmpstr(bh_lost_reason_name(BH_LOST_BUSY), ==, "busy");
        g_assert_cmpstr(bh_errno_name(EPERM), ==, "EPERM");
        g_assert_cmpstr(bh_errno_name(512), ==, "ERESTARTSYS");
        g_assert_null(bh_errno_name(100000));
}

static void json_of_each_kind(void) {
        struct bh_event e = { 0 };
        g_autofree char *empty = json_of(&e);

        g_assert_cmpstr(empty, ==, "{}");
        BH_SET(&e, id, 18446744073709551615ull);
        BH_SET(&e, time, NOW);
        BH_SET(&e, type, BH_EV_OPEN);
        BH_SET(&e, source, 77);
        BH_SET(&e, flags, BH_RF_COMPAT | BH_RF_CREATED | 1ull << 40);
        BH_SET(&e, ret, -2);
        BH_SET(&e, pid, 0);
        BH_SET(&e, args, STR("sh\0-c\0\0a\"b\0last"));
        BH_SET(&e, env, STR(""));
        BH_SET(&e, cap_effective, 0x1ffffffffffull);
        BH_SET(&e, cap_permitted, 0);
        BH_SET(&e, container_labels, STR("k\0v\0odd\0"));
        BH_SET(&e, container_privileged, TRUE);
        BH_SET(&e, path, STR("/t\xff\n\\x"));
        BH_SET(&e, open_flags, O_WRONLY | O_CREAT | O_TMPFILE | O_SYNC | 1u << 30);
        BH_SET(&e, fd, -1);
        BH_SET(&e, prot, PROT_NONE);
        BH_SET(&e, ns_flags, CLONE_NEWNS | CLONE_NEWUSER);
        BH_SET(&e, clone_flags, CLONE_VM | CLONE_NEWPID | 17);
        BH_SET(&e, family, AF_INET6);
        BH_SET(&e, laddr, ((struct bh_ip){ { 10, 0, 255, 1 }, 4 }));
        BH_SET(&e, raddr, ((struct bh_ip){ { 0x20, 1, 0xd, 0xb8, [15] = 1 }, 16 }));
        BH_SET(&e, payload, STR("\0\1\2\xff"));

        g_autofree char *json = json_of(&e);
        g_assert_cmpstr(json, ==,
                        "{\"id\":\"18446744073709551615\",\"time\":\"2026-11-24T03:08:20.123456789Z\",\"type\":\"open\",\"source\":77,"
                        "\"flags\":[\"compat\",\"created\",\"0x10000000000\"],\"result\":-2,\"proc.pid\":0,\"proc.args\":[\"sh\",\"-c\",\"\",\"a\\\"b\",\"last\"],"
                        "\"proc.env\":[],\"cred.cap_effective\":\"0x1ffffffffff\",\"cred.cap_permitted\":\"0x0\",\"container.labels\":{\"k\":\"v\",\"odd\":\"\"},"
                        "\"container.privileged\":true,\"path\":\"/t\\\\xff\\u000a\\\\\\\\x\","
                        "\"open_flags\":[\"O_WRONLY\",\"O_TMPFILE\",\"O_SYNC\",\"O_CREAT\",\"0x40000000\"],\"fd\":-1,\"prot\":[\"PROT_NONE\"],"
                        "\"ns_flags\":[\"CLONE_NEWNS\",\"CLONE_NEWUSER\"],\"clone_flags\":[\"CLONE_NEWPID\",\"CLONE_VM\",\"SIGCHLD\"],"
                        "\"net.family\":\"ipv6\",\"net.laddr\":\"10.0.255.1\",\"net.raddr\":\"2001:db8::1\",\"payload\":\"AAEC/w==\"}");
}

static void json_time_is_the_calendar(void) {
        static const gint64 seconds[] = { 0, 951782399, 951782400, 951868800, 1709164800, 1735689599, 4102444800, 18446744073 };

        for (guint i = 0; i < G_N_ELEMENTS(seconds); i++) {
                struct bh_event e = { 0 };

                BH_SET(&e, time, (guint64) seconds[i] * 1000000000u + 7);

                g_autoptr(GDateTime) t = g_date_time_new_from_unix_utc(seconds[i]);
                g_autofree char *day = g_date_time_format(t, "%Y-%m-%dT%H:%M:%S"), *json = json_of(&e), *want = g_strdup_printf("{\"time\":\"%s.000000007Z\"}", day);

                g_assert_cmpstr(json, ==, want);
        }
}

static void json_of_any_bytes_is_json(void) {
        for (guint round = 0; round < 300; round++) {
                struct bh_event e;
                guint8 noise[64];
                json_error_t why;

                bh_test_fill(&e, round);
                for (guint i = 0; i < sizeof(noise); i++)
                        noise[i] = (guint8) g_random_int();
                BH_SET(&e, path, ((struct bh_str){ (const char *) noise, sizeof(noise) }));
                BH_SET(&e, args, ((struct bh_str){ (const char *) noise, sizeof(noise) }));
                BH_SET(&e, container_labels, ((struct bh_str){ (const char *) noise, round % sizeof(noise) }));

                g_autofree char *json = json_of(&e);
                g_autoptr(json_t) root = json_loads(json, JSON_ALLOW_NUL, &why);

                if (!root)
                        g_error("not JSON at %d: %s\n%s", why.position, why.text, json);
                g_assert_true(json_is_object(root));
                g_assert_cmpuint(json_object_size(root), ==, BH_F_COUNT);
        }
}

static void decode_refuses_what_is_malformed(void) {
        static const struct {
                const char *bytes;
                gsize len;
        } cases[] = {
                { "\x80", 1 },                                                  /* tag ends early */
                { "\x00\x00", 2 },                                              /* field 0 */
                { "\x08", 1 },                                                  /* number missing */
                { "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11 },         /* over 64 bits */
                { "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12 },     /* eleven bytes */
                { "\x11\x01\x02", 3 },                                          /* fixed64 cut */
                { "\x15\x01\x02\x03\x04", 5 },                                  /* time as fixed32 */
                { "\x2a\x05" "ab", 4 },                                         /* text over the end */
                { "\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11 },         /* length near 2^64 */
                { "\x28\x01", 2 },                                              /* text as number */
                { "\x0b\x0c", 2 },                                              /* group */
                { "\x0e", 1 },                                                  /* wire type 6 */
                { "\x18\x80\x80\x80\x80\x10", 6 },                              /* type over 32 bits */
                { "\xca\x09\x03" "abc", 6 },                                    /* address of three bytes */
                { "\xf8\xff\xff\xff\xff\x01\x00", 7 },                          /* tag over 32 bits */
        };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct bh_event e;
                g_autoptr(GError) error = NULL;
                g_autofree char *exact = g_memdup2(cases[i].bytes, cases[i].len); /* ASan sees a byte too far */

                if (bh_event_decode(&e, exact, cases[i].len, &error))
                        g_error("case %u was accepted", i);
                g_assert_error(error, BH_EVENT_ERROR, 0);
                g_assert_nonnull(strstr(error->message, "at byte"));
        }
}

static void decode_skips_fields_of_newer_versions(void) {
        static const char bytes[] = "\xc2\x3e\x02hi"   /* 1000: bytes */
                                    "\xc8\x3e\x05"     /* 1001: number */
                                    "\xd1\x3e" "12345678" /* 1002: fixed64 */
                                    "\xdd\x3e" "1234"  /* 1003: fixed32 */
                                    "\xa0\x01\x2a";    /* 20: pid 42 */
        struct bh_event e;
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_event_decode(&e, bytes, sizeof(bytes) - 1, &error));
        g_assert_no_error(error);
        g_assert_true(bh_event_has(&e, BH_F_pid));
        g_assert_cmpuint(e.pid, ==, 42);
        g_assert_true(bh_event_decode(&e, NULL, 0, &error));
        g_assert_false(bh_event_has(&e, BH_F_pid));

        g_autoptr(GByteArray) none = g_byte_array_new();
        bh_event_encode(&e, none);
        g_assert_cmpuint(none->len, ==, 0);
}

static void copy_stands_alone(void) {
        char path[] = "/etc/passwd", args[] = "a\0b";
        struct bh_event e = { 0 };

        BH_SET(&e, path, ((struct bh_str){ path, 11 }));
        BH_SET(&e, args, ((struct bh_str){ args, 4 }));
        BH_SET(&e, cwd, ((struct bh_str){ NULL, 0 }));
        BH_SET(&e, pid, 7);

        g_autofree struct bh_event *copy = bh_event_copy(&e);

        memset(path, 'x', sizeof(path));
        memset(args, 'x', sizeof(args));
        assert_str(copy->path, "/etc/passwd");
        assert_str(copy->args, "a\0b\0");
        g_assert_true(bh_event_has(copy, BH_F_cwd));
        g_assert_cmpuint(copy->pid, ==, 7);
}

/* --- kernel records --- */

struct record {
        union {
                struct bh_rec rec;
                guint8 raw[4096];
        };
};

static void record_init(struct record *r, enum bh_event_type type) {
        memset(r, 0, sizeof(*r));
        r->rec = (struct bh_rec){
                .size = sizeof(struct bh_rec), .type = (guint16) type, .ts = 5000, .cgroup = 99, .origin = 98, .start = 123456789012ull, .fold_key = 3, .tgid = 10, .tid = 11,
                .ppid = 9, .uid = 1000, .gid = 1001, .count = 1, .mnt_ns = 4026531840u, .comm = "nginx",
        };
}

static void record_put(struct record *r, enum bh_tag tag, const void *data, gsize len) {
        struct bh_chunk c = { (guint16) tag, (guint16) len };

        memcpy(r->raw + r->rec.size, &c, sizeof(c));
        memcpy(r->raw + r->rec.size + sizeof(c), data, len);
        r->rec.size += (guint32) (sizeof(c) + len);
}

static const struct bh_clock test_clock = { .now = NOW - 5000, .start = 1000000000000ull };

static void decode_ok(struct record *r, struct bh_decoded *d) {
        g_autoptr(GError) error = NULL;

        g_assert_true(bh_record_decode(&r->rec, r->rec.size, &test_clock, d, &error));
        g_assert_no_error(error);
}

static void record_of_open(void) {
        struct record r;
        struct bh_decoded d;
        const struct bh_event *e = &d.event;

        record_init(&r, BH_EV_OPEN);
        r.rec.ret = 5;
        r.rec.a[0] = 8u << 20 | 300;
        r.rec.a[1] = 4242;
        r.rec.a[2] = O_RDWR | O_CREAT;
        r.rec.a[3] = 0644;
        r.rec.a[4] = 5;
        r.rec.flags = BH_RF_CREATED;
        record_put(&r, BH_TAG_PATH, "/etc/x", 6);
        record_put(&r, BH_TAG_NAME, "../x", 4);
        decode_ok(&r, &d);
        g_assert_cmpuint(e->type, ==, BH_EV_OPEN);
        g_assert_cmpuint(e->time, ==, NOW);
        g_assert_cmpuint(e->boottime, ==, 5000);
        g_assert_cmpuint(e->proc_start, ==, 1123450000000ull);
        g_assert_cmpuint(d.start, ==, 123456789012ull);
        g_assert_cmpuint(d.origin, ==, 98);
        g_assert_cmpuint(d.fold_key, ==, 3);
        g_assert_cmpuint(e->dev, ==, makedev(8, 300));
        g_assert_cmpuint(e->ino, ==, 4242);
        g_assert_cmpuint(e->open_flags, ==, O_RDWR | O_CREAT);
        g_assert_cmpuint(e->mode, ==, 0644);
        g_assert_cmpint(e->fd, ==, 5);
        g_assert_cmpint(e->ret, ==, 5);
        g_assert_cmpuint(e->flags, ==, BH_RF_CREATED);
        g_assert_false(bh_event_has(e, BH_F_error));
        g_assert_false(bh_event_has(e, BH_F_ctime));
        assert_str(e->path, "/etc/x");
        assert_str(e->name, "../x");
        assert_str(e->comm, "nginx");
        g_assert_cmpuint(e->pid, ==, 10);
        g_assert_cmpuint(e->tid, ==, 11);
        g_assert_cmpuint(e->ppid, ==, 9);
        g_assert_cmpuint(e->uid, ==, 1000);
        g_assert_cmpuint(e->gid, ==, 1001);
        g_assert_cmpuint(e->mnt_ns, ==, 4026531840u);
        g_assert_cmpuint(e->cgroup, ==, 99);

        record_init(&r, BH_EV_OPEN);
        r.rec.ret = -EACCES;
        r.rec.a[4] = 0;
        decode_ok(&r, &d);
        assert_str(e->error, "EACCES");
        g_assert_cmpint(e->ret, ==, -EACCES);
        for (guint i = 0; i < 4; i++)
                g_assert_false(bh_event_has(e, ((guint[]){ BH_F_dev, BH_F_ino, BH_F_fd, BH_F_flags })[i]));
}

static void record_of_exec(void) {
        struct record r;
        struct bh_decoded d;
        const struct bh_event *e = &d.event;
        struct bh_cred cred = { .uid = 1, .euid = 2, .suid = 3, .fsuid = 4, .gid = 5, .egid = 6, .sgid = 7, .fsgid = 8, .cap_effective = 9, .cap_permitted = 10, .cap_inheritable = 11,
                                .cap_bounding = 12, .cap_ambient = 13, .user_ns = 14 };
        struct bh_exec_info exec = { .ino = 20, .ctime = 21, .dev = 253u << 20 | 1, .mode = 0100755, .owner_uid = 22, .pid_ns = 23, .net_ns = 24, .user_ns = 14, .ipc_ns = 25, .uts_ns = 26,
                                     .cgroup_ns = 27, .vpid = 28, .sid = 29, .pgid = 30, .loginuid = G_MAXUINT32 };

        record_init(&r, BH_EV_EXEC);
        record_put(&r, BH_TAG_EXE, "/bin/dash", 9);
        record_put(&r, BH_TAG_ARGV, "sh\0-c\0id\0", 9);
        record_put(&r, BH_TAG_ENVP, "A=b\0", 4);
        record_put(&r, BH_TAG_CWD, "/", 1);
        record_put(&r, BH_TAG_SCRIPT, "/bin/sh", 7);
        record_put(&r, BH_TAG_CRED, &cred, sizeof(cred));
        record_put(&r, BH_TAG_EXEC, &exec, sizeof(exec));
        decode_ok(&r, &d);
        assert_str(e->exe, "/bin/dash");
        assert_str(e->args, "sh\0-c\0id\0");
        assert_str(e->env, "A=b\0");
        assert_str(e->cwd, "/");
        assert_str(e->script, "/bin/sh");
        g_assert_true(d.has_cred && d.has_exec && !d.has_cred_old && !d.has_addr);
        g_assert_cmpmem(&d.cred, sizeof(cred), &cred, sizeof(cred));
        g_assert_cmpuint(e->ruid, ==, 1);
        g_assert_cmpuint(e->euid, ==, 2);
        g_assert_cmpuint(e->suid, ==, 3);
        g_assert_cmpuint(e->fsuid, ==, 4);
        g_assert_cmpuint(e->rgid, ==, 5);
        g_assert_cmpuint(e->egid, ==, 6);
        g_assert_cmpuint(e->sgid, ==, 7);
        g_assert_cmpuint(e->fsgid, ==, 8);
        g_assert_cmpuint(e->cap_effective, ==, 9);
        g_assert_cmpuint(e->cap_permitted, ==, 10);
        g_assert_cmpuint(e->cap_inheritable, ==, 11);
        g_assert_cmpuint(e->cap_bounding, ==, 12);
        g_assert_cmpuint(e->cap_ambient, ==, 13);
        g_assert_cmpuint(e->user_ns, ==, 14);
        g_assert_cmpuint(e->exe_dev, ==, makedev(253, 1));
        g_assert_cmpuint(e->exe_ino, ==, 20);
        g_assert_cmpuint(e->exe_ctime, ==, 21);
        g_assert_cmpuint(e->exe_mode, ==, 0100755);
        g_assert_cmpuint(e->vpid, ==, 28);
        g_assert_cmpuint(e->sid, ==, 29);
        g_assert_cmpuint(e->pgid, ==, 30);
        g_assert_cmpuint(e->tty, ==, 0);
        g_assert_true(bh_event_has(e, BH_F_tty));
        g_assert_cmpuint(e->loginuid, ==, G_MAXUINT32);
}

static void record_of_connections(void) {
        struct record r;
        struct bh_decoded d;
        const struct bh_event *e = &d.event;
        struct bh_addr a = { .family = AF_INET, .type = SOCK_STREAM, .proto = 6, .rport = 80, .raddr = { 10, 1, 2, 3 } };

        record_init(&r, BH_EV_CONNECT);
        r.rec.ret = -EINPROGRESS;
        r.rec.a[0] = 4;
        record_put(&r, BH_TAG_ADDR, &a, sizeof(a));
        decode_ok(&r, &d);
        g_assert_cmpuint(e->family, ==, AF_INET);
        g_assert_cmpuint(e->raddr.len, ==, 4);
        g_assert_cmpmem(e->raddr.b, 4, "\x0a\x01\x02\x03", 4);
        g_assert_cmpuint(e->rport, ==, 80);
        g_assert_cmpint(e->fd, ==, 4);
        g_assert_false(bh_event_has(e, BH_F_laddr));
        g_assert_false(bh_event_has(e, BH_F_lport));
        g_assert_false(bh_event_has(e, BH_F_target_pid));

        /* the wildcard address is said where it was chosen */
        a = (struct bh_addr){ .family = AF_INET6, .type = SOCK_STREAM, .proto = 6, .lport = 8080 };
        record_init(&r, BH_EV_BIND);
        record_put(&r, BH_TAG_ADDR, &a, sizeof(a));
        decode_ok(&r, &d);
        g_assert_cmpuint(e->laddr.len, ==, 16);
        g_assert_cmpuint(e->lport, ==, 8080);
        g_assert_false(bh_event_has(e, BH_F_raddr));

        a = (struct bh_addr){ .family = AF_UNIX, .type = SOCK_STREAM };
        record_init(&r, BH_EV_CONNECT);
        r.rec.a[1] = 77;
        record_put(&r, BH_TAG_ADDR, &a, sizeof(a));
        record_put(&r, BH_TAG_PATH, "@x", 2);
        decode_ok(&r, &d);
        g_assert_false(bh_event_has(e, BH_F_raddr));
        g_assert_cmpuint(e->target_pid, ==, 77);
}

static void record_of_fork_exit_and_creds(void) {
        struct record r;
        struct bh_decoded d;
        const struct bh_event *e = &d.event;
        struct bh_cred cred = { .euid = 0, .cap_effective = 5 }, old = { .uid = 33, .euid = 33, .egid = 34, .cap_effective = 1, .cap_permitted = 3 };

        record_init(&r, BH_EV_FORK);
        r.rec.a[0] = 500;
        r.rec.a[1] = 60000000001ull;
        r.rec.a[2] = CLONE_NEWPID | 17;
        r.rec.a[3] = 1;
        r.rec.a[4] = 99;
        r.rec.a[5] = 98;
        decode_ok(&r, &d);
        g_assert_cmpuint(e->child_pid, ==, 500);
        g_assert_cmpuint(e->child_start, ==, 1060000000000ull);
        g_assert_cmpuint(d.child_start, ==, 60000000001ull);
        g_assert_cmpuint(e->clone_flags, ==, CLONE_NEWPID | 17);
        g_assert_cmpuint(e->child_vpid, ==, 1);
        g_assert_cmpuint(e->child_cgroup, ==, 99);
        g_assert_cmpuint(d.child_origin, ==, 98);

        record_init(&r, BH_EV_CGROUP_CREATE);
        r.rec.a[0] = 7;
        record_put(&r, BH_TAG_PATH, "/docker/x", 9);
        decode_ok(&r, &d);
        assert_str(e->cgroup_path, "/docker/x");
        g_assert_false(bh_event_has(e, BH_F_path));
        g_assert_false(bh_event_has(e, BH_F_ret));

        record_init(&r, BH_EV_EXIT);
        r.rec.a[0] = 3 << 8;
        decode_ok(&r, &d);
        g_assert_cmpint(e->exit_code, ==, 3);
        g_assert_false(bh_event_has(e, BH_F_exit_signal));
        r.rec.a[0] = 9;
        decode_ok(&r, &d);
        g_assert_cmpuint(e->exit_signal, ==, 9);
        g_assert_false(bh_event_has(e, BH_F_exit_code));

        record_init(&r, BH_EV_CREDS);
        record_put(&r, BH_TAG_PATH, "odd", 3); /* what follows is not aligned */
        record_put(&r, BH_TAG_CRED_OLD, &old, sizeof(old));
        record_put(&r, BH_TAG_CRED, &cred, sizeof(cred));
        decode_ok(&r, &d);
        g_assert_cmpuint(e->euid, ==, 0);
        g_assert_cmpuint(e->old_euid, ==, 33);
        g_assert_cmpuint(e->old_ruid, ==, 33);
        g_assert_cmpuint(e->old_egid, ==, 34);
        g_assert_cmpuint(e->old_cap_effective, ==, 1);
        g_assert_cmpuint(e->old_cap_permitted, ==, 3);
        g_assert_cmpuint(e->cap_effective, ==, 5);
}

static void record_over_budget_has_no_particulars(void) {
        struct record r;
        struct bh_decoded d;

        record_init(&r, BH_EV_OPEN);
        r.rec.flags = BH_RF_OVER_BUDGET;
        r.rec.count = 1000;
        decode_ok(&r, &d);
        g_assert_cmpuint(d.event.count, ==, 1000);
        g_assert_false(bh_event_has(&d.event, BH_F_open_flags));
        g_assert_false(bh_event_has(&d.event, BH_F_fd));
}

static void record_of_unresolved_paths(void) {
        static const struct {
                const char *dir, *path, *want;
        } cases[] = {
                { "/var/lib", "x", "/var/lib/x" },
                { "/var/lib/", "./../log//a/", "/var/log/a" },
                { "/var", "../../..", "/" },
                { "/", "/etc/./passwd", "/etc/passwd" },
                { "/", "/plain", "/plain" },
                { NULL, "/etc/../../x..", "/x.." },
                { "/", ".hidden", "/.hidden" },
                { "/jail", "/plain", "/jail/plain" }, /* the directory of an absolute one is the root of its process */
                { "/jail/", "/a/../../../b", "/jail/b" },
                { NULL, "a/../b", "a/../b" },
        };

        for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct record r;
                struct bh_decoded d;
                const struct bh_event *e = &d.event;

                record_init(&r, BH_EV_RENAME);
                r.rec.flags = BH_RF_PATH_USER;
                record_put(&r, BH_TAG_PATH, cases[i].path, strlen(cases[i].path));
                record_put(&r, BH_TAG_PATH2, cases[i].path, strlen(cases[i].path));
                if (cases[i].dir) {
                        record_put(&r, BH_TAG_CWD, cases[i].dir, strlen(cases[i].dir));
                        record_put(&r, BH_TAG_CWD2, cases[i].dir, strlen(cases[i].dir));
                }
                decode_ok(&r, &d);
                g_assert_cmpmem(e->path.p, e->path.len, cases[i].want, strlen(cases[i].want));
                g_assert_cmpmem(e->path2.p, e->path2.len, cases[i].want, strlen(cases[i].want));
                g_assert_cmpint(bh_event_has(e, BH_F_name), ==, strcmp(cases[i].path, cases[i].want) != 0);
                g_assert_false(bh_event_has(e, BH_F_cwd));
                if (bh_event_has(e, BH_F_name))
                        g_assert_cmpmem(e->name.p, e->name.len, cases[i].path, strlen(cases[i].path));
        }

        /* kinds that act on a name have it in NAME, others something else; what a symbolic link says is no path of anybody's */
        for (guint i = 0; i < 2; i++) {
                struct record r;
                struct bh_decoded d;

                record_init(&r, i ? BH_EV_MODULE_UNLOAD : BH_EV_SYMLINK);
                r.rec.flags = BH_RF_PATH_USER;
                record_put(&r, BH_TAG_NAME, "link", 4);
                record_put(&r, BH_TAG_CWD, "/dir", 4);
                record_put(&r, BH_TAG_PATH2, "..//x", 5);
                decode_ok(&r, &d);
                g_assert_cmpint(bh_event_has(&d.event, BH_F_path), ==, !i);
                g_assert_cmpmem(d.event.name.p, d.event.name.len, "link", 4);
                if (!i)
                        g_assert_cmpmem(d.event.path.p, d.event.path.len, "/dir/link", 9);
                g_assert_cmpmem(d.event.path2.p, d.event.path2.len, "..//x", 5);
        }

        /* the longest that fit, and one that is too long to be put together */
        for (guint len = BH_PATH_MAX; len <= BH_PATH_MAX + 1; len++) {
                g_autofree struct bh_rec *rec = g_malloc0(sizeof(*rec) + 8 + 2 * len);
                g_autofree struct bh_decoded *d = g_new(struct bh_decoded, 1);
                guint8 *p = (guint8 *) (rec + 1);

                *rec = (struct bh_rec){ .size = (guint32) sizeof(*rec) + 8 + 2 * len, .type = BH_EV_OPEN, .flags = BH_RF_PATH_USER };
                for (guint k = 0; k < 2; k++) {
                        memcpy(p, &(struct bh_chunk){ k ? BH_TAG_CWD : BH_TAG_PATH, (guint16) len }, 4);
                        memset(p + 4, 'x', len);
                        if (k)
                                p[4] = '/';
                        p += 4 + len;
                }
                g_assert_true(bh_record_decode(rec, rec->size, &test_clock, d, NULL));
                g_assert_cmpuint(d->event.path.len, ==, len == BH_PATH_MAX ? 2 * BH_PATH_MAX + 1 : len);
        }
}

static void record_that_is_malformed_is_refused(void) {
        struct record good;
        struct bh_cred cred = { 0 };

        record_init(&good, BH_EV_CREDS);
        record_put(&good, BH_TAG_CRED, &cred, sizeof(cred));
        for (guint i = 0; i < 8; i++) {
                g_autofree struct record *r = g_memdup2(&good, sizeof(good));
                gsize size = r->rec.size;
                struct bh_decoded d;
                g_autoptr(GError) error = NULL;
                struct bh_chunk c;

                memcpy(&c, r->raw + sizeof(struct bh_rec), sizeof(c));
                switch (i) {
                case 0: size = sizeof(struct bh_rec) - 1; break;
                case 1: r->rec.size = sizeof(struct bh_rec) - 1; break;
                case 2: r->rec.size = (guint32) size + 1; break;
                case 3: r->rec.type = 0; break;
                case 4: r->rec.type = BH_EV_PROCESS; break;
                case 5: c.len++; break;
                case 6: c.tag = 99; break;
                case 7: r->rec.size = sizeof(struct bh_rec) + 3; break;
                }
                memcpy(r->raw + sizeof(struct bh_rec), &c, sizeof(c));

                g_autofree void *exact = g_memdup2(r, size);
                if (bh_record_decode(exact, size, &test_clock, &d, &error))
                        g_error("case %u was accepted", i);
                g_assert_nonnull(error);
        }
        /* a fixed chunk that is one byte short, though all fits */
        record_init(&good, BH_EV_CREDS);
        record_put(&good, BH_TAG_CRED, &cred, sizeof(cred) - 1);

        struct bh_decoded d;
        g_assert_false(bh_record_decode(&good.rec, good.rec.size, &test_clock, &d, NULL));
}

static void text_says_what_matters(void) {
        struct bh_event e = { 0 };

        BH_SET(&e, time, NOW);
        BH_SET(&e, type, BH_EV_EXEC);
        BH_SET(&e, pid, 123);
        BH_SET(&e, uid, 0);
        BH_SET(&e, comm, STR("nginx"));
        BH_SET(&e, exe, STR("/bin/sh"));
        BH_SET(&e, args, STR("sh\0-c\0id; \x1b[2J\0"));
        BH_SET(&e, parent_comm, STR("nginx"));
        BH_SET(&e, container_name, STR("web-1"));
        BH_SET(&e, container_image, STR("nginx:1.22"));

        g_autofree char *exec = text_of(&e);
        g_assert_cmpstr(exec, ==, "03:08:20.123456 web-1 (nginx:1.22) nginx[123] exec /bin/sh -c \"id; \\x1b[2J\"  uid=0 parent=nginx");

        e = (struct bh_event){ 0 };
        BH_SET(&e, type, BH_EV_CONNECT);
        BH_SET(&e, pid, 5);
        BH_SET(&e, family, AF_INET);
        BH_SET(&e, proto, 6);
        BH_SET(&e, raddr, ((struct bh_ip){ { 10, 0, 0, 9 }, 4 }));
        BH_SET(&e, rport, 443);
        BH_SET(&e, ret, -ECONNREFUSED);
        BH_SET(&e, error, STR("ECONNREFUSED"));
        g_autofree char *connect = text_of(&e);
        g_assert_cmpstr(connect, ==, "host [5] connect tcp 10.0.0.9:443 → ECONNREFUSED");

        e = (struct bh_event){ 0 };
        BH_SET(&e, type, BH_EV_OPEN);
        BH_SET(&e, pid, 5);
        BH_SET(&e, path, STR("/a b"));
        BH_SET(&e, open_flags, O_WRONLY | O_CREAT);
        BH_SET(&e, ret, 3);
        BH_SET(&e, count, 12);
        g_autofree char *open = text_of(&e);
        g_assert_cmpstr(open, ==, "host [5] open \"/a b\" O_WRONLY|O_CREAT ×12");
}

/* Whatever the bytes, a line has no control character in it. */
static void text_is_one_printable_line(void) {
        for (guint type = 0; type <= BH_EV_MAX; type++) {
                for (guint round = 0; round < 4; round++) {
                        struct bh_event e;

                        bh_test_fill(&e, round);
                        BH_SET(&e, type, type);

                        g_autofree char *text = text_of(&e);
                        g_assert_true(g_utf8_validate(text, -1, NULL));
                        for (const char *p = text; *p; p++)
                                g_assert_true((guchar) *p >= 0x20 && *p != 0x7f);
                }
        }
}

/* In us; other programs on the machine do not count. */
static gint64 cpu_time(void) {
        struct timespec ts;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void speed(void) {
        if (!g_test_perf()) {
                g_test_skip("figures only, with -m perf");
                return;
        }

        struct record r;
        struct bh_decoded d;
        enum { N = 1000000 };
        g_autoptr(GByteArray) wire = g_byte_array_new();
        g_autoptr(GString) json = g_string_new(NULL);
        struct bh_event e;

        record_init(&r, BH_EV_OPEN);
        r.rec.ret = 5;
        r.rec.a[0] = 8u << 20 | 1;
        r.rec.a[1] = 4242;
        r.rec.a[2] = O_RDWR | O_CREAT | O_CLOEXEC;
        r.rec.a[4] = 5;
        record_put(&r, BH_TAG_PATH, "/var/lib/nginx/tmp/client_body/0000000001", 41);

        gint64 t0 = cpu_time();
        for (guint i = 0; i < N; i++)
                bh_record_decode(&r.rec, r.rec.size, &test_clock, &d, NULL);
        gint64 t1 = cpu_time();
        BH_SET(&d.event, id, 12345678);
        BH_SET(&d.event, node, STR("node-1.example"));
        BH_SET(&d.event, exe, STR("/usr/sbin/nginx"));
        BH_SET(&d.event, container_id, STR("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
        BH_SET(&d.event, container_name, STR("web-1"));
        BH_SET(&d.event, container_image, STR("nginx:1.22"));
        gint64 t2 = cpu_time();
        for (guint i = 0; i < N; i++) {
                g_byte_array_set_size(wire, 0);
                bh_event_encode(&d.event, wire);
        }
        gint64 t3 = cpu_time();
        for (guint i = 0; i < N; i++)
                bh_event_decode(&e, wire->data, wire->len, NULL);
        gint64 t4 = cpu_time();
        for (guint i = 0; i < N; i++) {
                g_string_truncate(json, 0);
                bh_event_to_json(&d.event, json);
        }
        gint64 t5 = cpu_time();
        g_test_message("open event: record decode %" G_GINT64_FORMAT " ns, protobuf encode %" G_GINT64_FORMAT " ns (%u bytes), decode %" G_GINT64_FORMAT " ns, JSON %" G_GINT64_FORMAT
                       " ns (%zu bytes)",
                       (t1 - t0) * 1000 / N, (t3 - t2) * 1000 / N, wire->len, (t4 - t3) * 1000 / N, (t5 - t4) * 1000 / N, json->len);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/event/contracts_follow_the_tables", contracts_follow_the_tables);
        g_test_add_func("/event/field_names_and_numbers_are_unique", field_names_and_numbers_are_unique);
        g_test_add_func("/event/wire_is_what_protobuf_c_reads_and_writes", wire_is_what_protobuf_c_reads_and_writes);
        g_test_add_func("/event/decode_refuses_what_is_malformed", decode_refuses_what_is_malformed);
        g_test_add_func("/event/decode_skips_fields_of_newer_versions", decode_skips_fields_of_newer_versions);
        g_test_add_func("/event/json_of_each_kind", json_of_each_kind);
        g_test_add_func("/event/json_time_is_the_calendar", json_time_is_the_calendar);
        g_test_add_func("/event/json_of_any_bytes_is_json", json_of_any_bytes_is_json);
        g_test_add_func("/event/text_says_what_matters", text_says_what_matters);
        g_test_add_func("/event/text_is_one_printable_line", text_is_one_printable_line);
        g_test_add_func("/event/copy_stands_alone", copy_stands_alone);
        g_test_add_func("/event/record_of_open", record_of_open);
        g_test_add_func("/event/record_of_exec", record_of_exec);
        g_test_add_func("/event/record_of_connections", record_of_connections);
        g_test_add_func("/event/record_of_fork_exit_and_creds", record_of_fork_exit_and_creds);
        g_test_add_func("/event/record_over_budget_has_no_particulars", record_over_budget_has_no_particulars);
        g_test_add_func("/event/record_of_unresolved_paths", record_of_unresolved_paths);
        g_test_add_func("/event/record_that_is_malformed_is_refused", record_that_is_malformed_is_refused);
        g_test_add_func("/event/speed", speed);
        return g_test_run();
}
