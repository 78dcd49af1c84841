/* SPDX-License-Identifier: Apache-2.0 */
/* The notifier's enclosure from inside, the frames that it speaks, and what a finding becomes on its way into the store. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/body.h"
#include "central/ingest_private.h"
#include "central/notify_wire.h"
#include "central/sandbox.h"
#include "event/codec.h"

/* ---- enclosed ---- */

static guint16 open_port, closed_port;
static guint landlock;

static int listen_on(guint16 *port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(bind(fd, (struct sockaddr *) &a, sizeof(a)), ==, 0);
        g_assert_cmpint(listen(fd, 8), ==, 0);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *) &a, &len), ==, 0);
        *port = ntohs(a.sin_port);
        return fd;
}

/* errno of a connection, 0: it stands. */
static int connect_to(guint16 port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        return fd < 0 ? errno : connect(fd, (struct sockaddr *) &a, sizeof(a)) ? errno : 0;
}

/* How the attempt ended inside: its exit status, or 256 and the signal. */
static int enclosed(gboolean network, int (*attempt)(void)) {
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                const BhSandboxPath paths[] = { { network ? "/etc" : "/proc/self", FALSE }, { NULL, FALSE } };
                const guint16 ports[] = { open_port };
                g_autoptr(GError) error = NULL;

                prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
                if (!bh_sandbox_enclose_out(paths, ports, network, network, &landlock, &error)) {
                        fprintf(stderr, "# %s\n", error->message);
                        _exit(99);
                }
                _exit(attempt());
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int to_open(void) {
        return connect_to(open_port);
}
static int to_closed(void) {
        return connect_to(closed_port);
}
static int serve(void) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        return listen(fd, 1) ? errno : 0;
}
static int resolve(void) {
        struct addrinfo *all = NULL;

        return getaddrinfo("localhost", "514", NULL, &all) || !all;
}
static int datagram(void) {
        return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0 ? errno : 0;
}
static int raw(void) {
        return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) < 0 ? errno : 0;
}
static int outq(void) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), n;

        return ioctl(fd, TIOCOUTQ, &n) ? errno : 0;
}
static int passwords(void) {
        return open("/root", O_RDONLY | O_CLOEXEC) < 0 ? errno : 0;
}
static int run(void) {
        return execl("/bin/true", "true", NULL);
}

static void it_connects_to_the_ports_of_its_outputs_alone(void) {
        int a = listen_on(&open_port), b = listen_on(&closed_port);
        guint version = 0;
        long v = syscall(444 /* landlock_create_ruleset */, NULL, 0, 1);

        version = v > 0 ? (guint) v : 0;
        g_assert_cmpint(enclosed(TRUE, to_open), ==, 0);
        if (version >= 4)
                g_assert_cmpint(enclosed(TRUE, to_closed), ==, EACCES);
        else
                g_test_message("this kernel's Landlock (%u) knows no ports", version);
        g_assert_cmpint(enclosed(TRUE, serve), ==, EPERM);
        g_assert_cmpint(enclosed(TRUE, resolve), ==, 0);
        g_assert_cmpint(enclosed(TRUE, datagram), ==, 0);
        g_assert_cmpint(enclosed(TRUE, raw), ==, EPERM);
        g_assert_cmpint(enclosed(TRUE, outq), ==, 0);
        if (version)
                g_assert_cmpint(enclosed(TRUE, passwords), ==, EACCES);
        g_assert_cmpint(enclosed(TRUE, run), ==, 256 + SIGSYS);
        close(a);
        close(b);
}

static void without_outputs_of_the_network_it_has_none(void) {
        int a = listen_on(&open_port);

        g_assert_cmpint(enclosed(FALSE, to_open), ==, EPERM);
        g_assert_cmpint(enclosed(FALSE, datagram), ==, EPERM);
        g_assert_cmpint(enclosed(FALSE, outq), ==, 0);
        close(a);
}

/* ---- frames ---- */

static void frames_arrive_whole_or_not_at_all(void) {
        int pair[2];
        char what;
        gsize len;

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
        g_assert_true(bh_notify_write(pair[0], 'A', "a\0b", 3));
        g_assert_true(bh_notify_write(pair[0], 'P', "", 0));
        g_autofree char *a = bh_notify_read(pair[1], &what, &len);
        g_assert_cmpmem(a, len, "a\0b", 3);
        g_assert_cmpint(what, ==, 'A');
        g_autofree char *p = bh_notify_read(pair[1], &what, &len);
        g_assert_cmpuint(len, ==, 0);
        g_assert_cmpint(what, ==, 'P');
        g_autofree char *large = g_malloc0(BH_NOTIFY_FRAME_MAX);
        g_assert_false(bh_notify_write(pair[0], 'A', large, BH_NOTIFY_FRAME_MAX));
        /* half a frame, then the end */
        g_assert_cmpint(write(pair[0], "\x09\0\0\0Axx", 7), ==, 7);
        close(pair[0]);
        g_assert_null(bh_notify_read(pair[1], &what, &len));
        close(pair[1]);

        static const char *const bad[] = { "\0\0\0\0A", "\xff\xff\xff\xff" "A" };
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
                g_assert_cmpint(write(pair[0], bad[i], 5), ==, 5);
                close(pair[0]);
                g_assert_null(bh_notify_read(pair[1], &what, &len));
                close(pair[1]);
        }
}

/* ---- findings ---- */

typedef struct {
        BhIngestArena arena;
        BhStoreFinding row;
} Taken;

static void take(const Bulkhead__Bus__V1__Finding *m, Taken *t) {
        t->arena.texts = g_ptr_array_new_with_free_func(g_free);
        t->arena.messages = g_ptr_array_new();
        t->arena.arrays = g_ptr_array_new_with_free_func(g_free);
        bh_ingest_finding(&t->arena, "n1", m, &t->row);
}

static void taken_clear(Taken *t) {
        g_clear_pointer(&t->row.event, g_bytes_unref);
        g_ptr_array_unref(t->arena.texts);
        g_ptr_array_unref(t->arena.messages);
        g_ptr_array_unref(t->arena.arrays);
}

/* What makes a finding with this event equal to others. Caller frees. */
static char *key_of(const char *exe, const char *path, guint32 pid, guint16 lport, guint16 rport) {
        Bulkhead__Bus__V1__Finding m = BULKHEAD__BUS__V1__FINDING__INIT;
        g_autoptr(GByteArray) wire = g_byte_array_new();
        struct bh_event e = { 0 };
        Taken t;

        BH_SET(&e, id, 1 + pid);
        BH_SET(&e, type, BH_EV_EXEC);
        BH_SET(&e, pid, pid);
        BH_SET_STR(&e, exe, exe);
        BH_SET_STR(&e, path, path);
        if (rport) {
                struct bh_ip ip = { .b = { 10, 0, 0, 1 }, .len = 4 };

                BH_SET(&e, raddr, ip);
                BH_SET(&e, rport, rport);
                BH_SET(&e, lport, lport);
        }
        bh_event_encode(&e, wire);
        m.id = (char *) "x";
        m.source = (char *) "syscall";
        m.event.data = wire->data;
        m.event.len = wire->len;
        take(&m, &t);
        char *key = g_strdup(t.row.fold);
        taken_clear(&t);
        return key;
}

static void assert_equal_keys(char *a, char *b, gboolean equal) {
        g_assert_nonnull(a);
        g_assert_nonnull(b);
        if (equal)
                g_assert_cmpstr(a, ==, b);
        else
                g_assert_cmpstr(a, !=, b);
        g_free(a);
        g_free(b);
}

static void equal_is_the_executable_and_the_object(void) {
        assert_equal_keys(key_of("/bin/sh", "/etc/passwd", 1, 0, 0), key_of("/bin/sh", "/etc/passwd", 2, 0, 0), TRUE);
        assert_equal_keys(key_of("/bin/sh", "/etc/passwd", 1, 0, 0), key_of("/bin/sh", "/etc/shadow", 1, 0, 0), FALSE);
        assert_equal_keys(key_of("/bin/sh", "/etc/passwd", 1, 0, 0), key_of("/bin/ash", "/etc/passwd", 1, 0, 0), FALSE);
        assert_equal_keys(key_of("/bin/sh", NULL, 1, 4000, 80), key_of("/bin/sh", NULL, 1, 4001, 80), TRUE);
        assert_equal_keys(key_of("/bin/sh", NULL, 1, 4000, 80), key_of("/bin/sh", NULL, 1, 4000, 81), FALSE);
}

static void own_keys_are_taken_byte_by_byte(void) {
        static const guint8 a[] = { 1, 0, 2 }, b[] = { 1, 0, 3 };
        Bulkhead__Bus__V1__Finding m = BULKHEAD__BUS__V1__FINDING__INIT;
        Taken one, two, three, sensor;

        m.id = (char *) "x";
        m.source = (char *) "syscall";
        m.fold_key = (ProtobufCBinaryData){ 3, (guint8 *) a };
        take(&m, &one);
        m.fold_key.data = (guint8 *) b;
        take(&m, &two);
        g_assert_cmpstr(one.row.fold, !=, two.row.fold);
        /* no key and no event: equal to nothing */
        m.fold_key = (ProtobufCBinaryData){ 0, NULL };
        take(&m, &three);
        g_assert_null(three.row.fold);
        g_assert_cmpstr(three.row.kind, ==, "rule");
        /* what the sensor says of itself it has folded already */
        m.source = (char *) "sensor";
        m.event = (ProtobufCBinaryData){ 2, (guint8 *) "\x08\x01" };
        take(&m, &sensor);
        g_assert_null(sensor.row.fold);
        g_assert_cmpstr(sensor.row.kind, ==, "sensor");
        taken_clear(&one);
        taken_clear(&two);
        taken_clear(&three);
        taken_clear(&sensor);
}

static void set_field(Bulkhead__Bus__V1__OutputField *f, const char *name, Bulkhead__Bus__V1__OutputField__Type type) {
        bulkhead__bus__v1__output_field__init(f);
        f->name = (char *) name;
        f->type = type;
}

#define TYPE(t) BULKHEAD__BUS__V1__OUTPUT_FIELD__TYPE__TYPE_##t

static void output_fields_keep_their_types(void) {
        Bulkhead__Bus__V1__OutputField f[9], *list[9];
        Bulkhead__Bus__V1__KeyValue kv = BULKHEAD__BUS__V1__KEY_VALUE__INIT, *kvs[] = { &kv };
        Bulkhead__Bus__V1__Finding m = BULKHEAD__BUS__V1__FINDING__INIT;
        ProtobufCBinaryData items[] = { { 1, (guint8 *) "a" }, { 2, (guint8 *) "\xff\n" } };
        Taken t;

        set_field(&f[0], "text", TYPE(TEXT));
        f[0].text = (ProtobufCBinaryData){ 4, (guint8 *) "a\0\"\xff" };
        set_field(&f[1], "number", TYPE(NUMBER));
        f[1].number = G_MININT64;
        set_field(&f[2], "natural", TYPE(NATURAL));
        f[2].natural = G_MAXUINT64;
        set_field(&f[3], "truth", TYPE(TRUTH));
        f[3].truth = 1;
        set_field(&f[4], "real", TYPE(REAL));
        f[4].real = 0.5;
        set_field(&f[5], "nan", TYPE(REAL));
        f[5].real = (double) NAN;
        set_field(&f[6], "list", TYPE(LIST));
        f[6].list = items;
        f[6].n_list = 2;
        set_field(&f[7], "null", TYPE(NULL));
        set_field(&f[8], "text", TYPE(NULL)); /* twice: the first counts */
        for (guint i = 0; i < 9; i++)
                list[i] = &f[i];
        kv.key = bh_bus_text("number");
        kv.value = bh_bus_text("other");
        m.id = (char *) "x";
        m.output_fields = list;
        m.n_output_fields = 9;
        m.fields = kvs;
        m.n_fields = 1;
        m.output = (ProtobufCBinaryData){ 3, (guint8 *) "a\0b" };
        m.priority = (char *) "INFO";
        take(&m, &t);
        g_assert_cmpstr(t.row.fields, ==, "{\"text\":\"a\\u0000\\\"\\\\xff\",\"number\":-9223372036854775808,\"natural\":\"18446744073709551615\",\"truth\":true,\"real\":0.5,\"nan\":null,"
                                          "\"list\":[\"a\",\"\\\\xff\\u000a\"],\"null\":null}");
        g_assert_cmpstr(t.row.output, ==, "a\\x00b");
        g_assert_cmpstr(t.row.priority, ==, "informational");
        taken_clear(&t);
}

static void lineage_is_bounded_and_says_when_it_is_cut(void) {
        Bulkhead__Bus__V1__Process p[BH_INGEST_LINEAGE + 5], *list[BH_INGEST_LINEAGE + 5];
        Bulkhead__Bus__V1__Finding m = BULKHEAD__BUS__V1__FINDING__INIT;
        g_autofree char *args = g_malloc0(30000);
        json_error_t error;
        Taken t;

        memset(args, 'x', 29999);
        for (guint i = 0; i < G_N_ELEMENTS(p); i++) {
                bulkhead__bus__v1__process__init(&p[i]);
                p[i].pid = i;
                p[i].exe = bh_bus_text("/x");
                list[i] = &p[i];
        }
        m.id = (char *) "x";
        m.lineage = list;
        m.n_lineage = 3;
        take(&m, &t);
        json_t *l = json_loads(t.row.lineage, 0, &error);
        g_assert_cmpuint(json_array_size(l), ==, 3);
        json_decref(l);
        taken_clear(&t);

        m.n_lineage = G_N_ELEMENTS(p);
        take(&m, &t);
        l = json_loads(t.row.lineage, 0, &error);
        g_assert_cmpuint(json_array_size(l), ==, BH_INGEST_LINEAGE + 1);
        g_assert_true(json_is_null(json_array_get(l, BH_INGEST_LINEAGE)));
        json_decref(l);
        taken_clear(&t);

        /* long ones: as many as the store takes */
        for (guint i = 0; i < G_N_ELEMENTS(p); i++)
                p[i].args = (ProtobufCBinaryData){ 30000, (guint8 *) args };
        take(&m, &t);
        g_assert_cmpuint(strlen(t.row.lineage), <=, BH_STORE_JSON_MAX);
        l = json_loads(t.row.lineage, 0, &error);
        g_assert_cmpuint(json_array_size(l), >, 5);
        g_assert_true(json_is_null(json_array_get(l, json_array_size(l) - 1)));
        json_decref(l);
        taken_clear(&t);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/central/notify/it_connects_to_the_ports_of_its_outputs_alone", it_connects_to_the_ports_of_its_outputs_alone);
        g_test_add_func("/central/notify/without_outputs_of_the_network_it_has_none", without_outputs_of_the_network_it_has_none);
        g_test_add_func("/central/notify/frames_arrive_whole_or_not_at_all", frames_arrive_whole_or_not_at_all);
        g_test_add_func("/central/notify/equal_is_the_executable_and_the_object", equal_is_the_executable_and_the_object);
        g_test_add_func("/central/notify/own_keys_are_taken_byte_by_byte", own_keys_are_taken_byte_by_byte);
        g_test_add_func("/central/notify/output_fields_keep_their_types", output_fields_keep_their_types);
        g_test_add_func("/central/notify/lineage_is_bounded_and_says_when_it_is_cut", lineage_is_bounded_and_says_when_it_is_cut);
        return g_test_run();
}
