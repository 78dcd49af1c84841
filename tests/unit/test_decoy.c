/* SPDX-License-Identifier: Apache-2.0 */
/* What a decoy writes down is bounded, and what is left out is counted; and what the sensor reads of it is what it wants, whatever is there. */
#include <arpa/inet.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container/container.h"
#include "decoy/privileges.h"
#include "decoy/recording.h"
#include "sensor/decoy_records.h"

typedef struct {
        char *dir;
} Place;

static void set_up(Place *p, gconstpointer unused) {
        p->dir = g_dir_make_tmp("bh-decoy-XXXXXX", NULL);
}

static void tear_down(Place *p, gconstpointer unused) {
        g_autofree char *command = g_strdup_printf("rm -r '%s'", p->dir);

        g_assert_true(g_spawn_command_line_sync(command, NULL, NULL, NULL, NULL));
        g_free(p->dir);
}

static BhRecording *opened_with(const Place *p, guint64 max, guint64 each, guint files) {
        g_autoptr(GError) error = NULL;
        BhRecording *r = bh_recording_open(p->dir, max, each, files, &error);

        g_assert_no_error(error);
        return r;
}

static BhRecording *opened(const Place *p, guint64 max, guint64 each) {
        return opened_with(p, max, each, 1 << 14);
}

static BhPart *part(BhRecording *r, const char *peer, guint16 port) {
        struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

        g_assert_cmpint(inet_pton(AF_INET6, peer, &a.sin6_addr), ==, 1);
        return bh_recording_begin(r, &a, 7000);
}

static void sends(BhRecording *r, const char *peer, guint16 port, const void *bytes, gsize len) {
        BhPart *p = part(r, peer, port);

        bh_recording_add(r, p, bytes, len);
        bh_recording_end(r, p, "closed");
}

static char *file_of(const Place *p, const char *name) {
        g_autofree char *path = g_build_filename(p->dir, name, NULL);
        char *text = NULL;

        g_file_get_contents(path, &text, NULL, NULL);
        return text;
}

static guint files_in(const Place *p, const char *name) {
        g_autofree char *path = g_build_filename(p->dir, name, NULL);
        g_autoptr(GDir) d = g_dir_open(path, 0, NULL);
        guint n = 0;

        while (d && g_dir_read_name(d))
                n++;
        return n;
}

/* What the files of a folder take of the disk. */
static guint64 blocks_in(const Place *p, const char *name) {
        g_autofree char *path = g_build_filename(p->dir, name, NULL);
        g_autoptr(GDir) d = g_dir_open(path, 0, NULL);
        guint64 bytes = 0;

        for (const char *one; d && (one = g_dir_read_name(d));) {
                g_autofree char *file = g_build_filename(path, one, NULL);
                struct stat st;

                g_assert_cmpint(lstat(file, &st), ==, 0);
                if (S_ISREG(st.st_mode))
                        bytes += (guint64) st.st_blocks * 512;
        }
        return bytes;
}

static gboolean is_kept(const Place *p, const void *bytes, gsize len) {
        g_autofree char *sha256 = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, len), *path = g_build_filename(p->dir, "bytes", sha256, NULL);

        return g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

static void connections_are_recorded_with_their_bytes(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 1 << 16);

        sends(r, "::ffff:172.17.0.3", 40000, "hello", 5);
        sends(r, "fd00::3", 40001, "hello", 5);
        bh_recording_end(r, part(r, "fd00::3", 40002), "idle");
        bh_recording_round(r);
        g_autofree char *lines = file_of(p, "connections.jsonl"), *bytes = file_of(p, "bytes/" HELLO), *counts = file_of(p, "counts.json");
        g_auto(GStrv) each = g_strsplit(lines, "\n", -1);
        g_assert_cmpuint(g_strv_length(each), ==, 4);
        g_assert_nonnull(strstr(each[0], "\"peer\":\"172.17.0.3:40000\",\"port\":7000,\"bytes\":5,\"left_out\":0,\"sha256\":\"" HELLO "\",\"end\":\"closed\""));
        g_assert_nonnull(strstr(each[1], "\"peer\":\"[fd00::3]:40001\""));
        g_assert_nonnull(strstr(each[2], "\"bytes\":0,\"left_out\":0,\"sha256\":\"\",\"end\":\"idle\""));
        g_assert_cmpstr(bytes, ==, "hello");
        g_assert_cmpuint(files_in(p, "bytes"), ==, 1);
        g_assert_cmpuint(files_in(p, "."), ==, 3); /* no part is left */
        g_assert_nonnull(strstr(counts, "\"connections\":3,\"refused\":0,\"bytes\":10,\"kept\":10,\"left_out\":0"));
}

static void beyond_its_bounds_the_oldest_go(Place *p, gconstpointer unused) {
        g_autofree char *much = g_malloc0(200000);
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 10000);
        const BhRecordingCounts *n = bh_recording_counts(r);

        sends(r, "fd00::3", 1, much, 200000);
        g_assert_cmpuint(n->kept, ==, 10000);
        g_assert_cmpuint(n->left_out, ==, 190000);
        for (guint i = 1; i <= 120; i++) { /* each another content, 12 KiB of blocks */
                memcpy(much, &i, sizeof(i));
                sends(r, "fd00::3", 2, much, 9000);
        }
        g_assert_cmpuint(n->connections, ==, 121);
        g_assert_cmpuint(n->kept, ==, 10000 + 120 * 9000);
        g_assert_cmpuint(n->kept + n->left_out, ==, n->bytes);
        g_assert_cmpuint(n->let_go, >=, 40);
        g_assert_true(is_kept(p, much, 9000));
        const guint first = 1, second = 2;
        memcpy(much, &first, sizeof(first));
        g_assert_false(is_kept(p, much, 9000));

        /* its successor has the same order, and knows what is there */
        g_clear_pointer(&r, bh_recording_free);
        const guint files = files_in(p, "bytes");
        g_assert_cmpuint(files, >, 60);
        r = opened(p, 1 << 20, 10000);
        g_assert_cmpuint(files_in(p, "bytes"), ==, files);
        memcpy(much, &second, sizeof(second));
        sends(r, "fd00::3", 3, much, 9000);
        g_assert_true(is_kept(p, much, 9000));
        g_assert_cmpuint(files_in(p, "bytes"), ==, files);
        g_assert_cmpuint(bh_recording_counts(r)->let_go, ==, 1);
        bh_recording_round(r);
        g_assert_cmpuint(blocks_in(p, ".") + blocks_in(p, "bytes"), <=, 1 << 20);

        /* and one with less room makes it */
        g_clear_pointer(&r, bh_recording_free);
        r = opened(p, 1 << 19, 10000);
        g_assert_cmpuint(blocks_in(p, ".") + blocks_in(p, "bytes"), <=, 1 << 19);
        g_assert_true(is_kept(p, much, 9000));
}

/* 4 bytes take a block and an inode. */
static void small_files_are_counted_in_blocks(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 1 << 19, 10000);

        for (guint i = 0; i < 200; i++)
                sends(r, "fd00::3", 1, &i, sizeof(i));
        bh_recording_round(r);
        g_assert_cmpuint(blocks_in(p, ".") + blocks_in(p, "bytes"), <=, 1 << 19);
        g_assert_cmpuint(files_in(p, "bytes"), <, 128);
        g_assert_cmpuint(files_in(p, "bytes"), >, 64);

        /* and so are those that a killed one left */
        for (guint i = 0; i < 250; i++) {
                g_autofree char *path = g_strdup_printf("%s/part-%u", p->dir, i), *text = g_strdup_printf("%u", i);

                g_assert_true(g_file_set_contents(path, text, -1, NULL));
        }
        g_clear_pointer(&r, bh_recording_free);
        r = opened(p, 1 << 19, 10000);
        g_assert_cmpuint(blocks_in(p, ".") + blocks_in(p, "bytes"), <=, 1 << 19);

        /* and their number has a bound by itself */
        g_clear_pointer(&r, bh_recording_free);
        r = opened_with(p, 1 << 19, 10000, 20);
        g_assert_cmpuint(files_in(p, "bytes"), ==, 20);
        BhPart *open[30];
        for (guint i = 0; i < G_N_ELEMENTS(open); i++) {
                open[i] = part(r, "fd00::3", (guint16) i);
                bh_recording_add(r, open[i], (const guint8 *) &i, sizeof(i));
        }
        g_assert_cmpuint(files_in(p, "bytes"), ==, 0);
        g_assert_cmpuint(bh_recording_counts(r)->kept, ==, 20 * sizeof(guint)); /* what is open does not go */
        g_assert_cmpuint(bh_recording_counts(r)->left_out, ==, 10 * sizeof(guint));
        for (guint i = 0; i < G_N_ELEMENTS(open); i++)
                bh_recording_end(r, open[i], "closed");
        g_assert_cmpuint(files_in(p, "bytes"), ==, 20);
        sends(r, "fd00::3", 1, "hello", 5);
        g_assert_true(is_kept(p, "hello", 5));
        g_assert_cmpuint(files_in(p, "bytes"), ==, 20);
}

/* What is sent again is as young as the others; and lines, too, make place. */
static void what_is_sent_again_stays_and_lines_go_on(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 1 << 19, 10000);

        for (guint i = 0; i < 400; i++) {
                if (i % 25 == 0)
                        sends(r, "fd00::9", 1, "hello", 5);
                sends(r, "fd00::3", 1, &i, sizeof(i));
        }
        g_assert_true(is_kept(p, "hello", 5));
        g_assert_cmpuint(bh_recording_counts(r)->left_out, ==, 0);
        g_assert_cmpuint(bh_recording_counts(r)->lost_lines, ==, 0);
        bh_recording_end(r, part(r, "fd00::77", 77), "the last");
        g_autofree char *now = file_of(p, "connections.jsonl"), *before = file_of(p, "connections.1.jsonl");
        g_assert_nonnull(strstr(now, "[fd00::77]:77"));
        g_assert_cmpuint(strlen(now), <=, 32 << 10);
        g_assert_cmpuint(strlen(before), <=, 32 << 10);
        g_assert_cmpuint(strlen(before), >, 30 << 10);
        g_assert_true(g_str_has_prefix(now, "{\"time\"") && g_str_has_prefix(before, "{\"time\"") && g_str_has_suffix(before, "}\n"));
        g_assert_cmpuint(blocks_in(p, ".") + blocks_in(p, "bytes"), <=, 1 << 19);
}

static void what_cannot_be_kept_is_not_said_to_be(Place *p, gconstpointer unused) {
        g_autofree char *bytes = g_build_filename(p->dir, "bytes", NULL);
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 1 << 16);
        const BhRecordingCounts *n = bh_recording_counts(r);

        g_assert_cmpint(rmdir(bytes), ==, 0); /* nothing can get a name in it */
        sends(r, "fd00::3", 1, "hello", 5);
        g_autofree char *line = file_of(p, "connections.jsonl");
        g_assert_nonnull(strstr(line, "\"bytes\":5,\"left_out\":5,\"sha256\":\"\","));
        g_assert_cmpuint(n->kept, ==, 0);
        g_assert_cmpuint(n->left_out, ==, 5);
        g_assert_cmpuint(n->write_errors, ==, 1);
        g_assert_cmpuint(files_in(p, "."), ==, 2); /* no part */
}

static void a_disk_that_takes_nothing_is_counted(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 1 << 16);
        g_autofree char *path = NULL;

        /* the name of the part is taken: no file can be made */
        BhPart *first = part(r, "fd00::3", 1), *second = part(r, "fd00::3", 2);
        bh_recording_add(r, first, (const guint8 *) "a", 1);
        g_autoptr(GDir) d = g_dir_open(p->dir, 0, NULL);
        guint64 number = 0;
        for (const char *name; (name = g_dir_read_name(d));)
                if (g_str_has_prefix(name, "part-"))
                        number = g_ascii_strtoull(name + 5, NULL, 10);
        path = g_strdup_printf("%s/part-%" G_GUINT64_FORMAT, p->dir, number + 1);
        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
        bh_recording_add(r, second, (const guint8 *) "bb", 2);
        bh_recording_add(r, second, (const guint8 *) "cc", 2);
        bh_recording_end(r, second, "closed");
        bh_recording_end(r, first, "closed");
        g_assert_cmpuint(bh_recording_counts(r)->left_out, ==, 4);
        g_assert_cmpuint(bh_recording_counts(r)->write_errors, ==, 1);
        g_assert_cmpuint(bh_recording_counts(r)->kept, ==, 1);
}

static void what_a_killed_one_left_is_kept(Place *p, gconstpointer unused) {
        g_autofree char *path = g_build_filename(p->dir, "part-1", NULL), *link = g_build_filename(p->dir, "part-2", NULL), *lines = g_build_filename(p->dir, "connections.jsonl", NULL);

        g_assert_true(g_file_set_contents(path, "hello", 5, NULL));
        g_assert_true(g_file_set_contents(lines, "{\"time\":\"2026", -1, NULL)); /* in the middle of a line */
        g_assert_cmpint(symlink("/etc/passwd", link), ==, 0);
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 1 << 16);
        sends(r, "fd00::3", 1, "hello", 5);
        g_autofree char *bytes = file_of(p, "bytes/" HELLO), *all = file_of(p, "connections.jsonl");
        g_auto(GStrv) each = g_strsplit(all, "\n", -1);
        g_assert_cmpstr(bytes, ==, "hello");
        g_assert_cmpuint(files_in(p, "bytes"), ==, 1);
        g_assert_cmpstr(each[0], ==, "{\"time\":\"2026");
        g_assert_nonnull(strstr(each[1], "\"end\":\"unfinished\""));
        g_assert_nonnull(strstr(each[2], "\"end\":\"closed\""));
        g_assert_null(strstr(all, "root:"));
}

/* ---- privileges */

/* A user with an ambient capability, as service managers start one. 77: cannot be had here. */
static int with_ambient(void) {
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
        const guint32 some = 1u << CAP_NET_BIND_SERVICE;

        if (geteuid() || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) || setresuid(65533, 65533, 65533))
                return 77;
        has[0] = (struct __user_cap_data_struct) { .effective = some, .permitted = some, .inheritable = some };
        if (syscall(SYS_capset, &head, has) || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0))
                return 77;
        if (!bh_decoy_give_up_privileges(65534))
                return 1;
        if (syscall(SYS_capget, &head, has) || has[0].effective || has[0].permitted || has[0].inheritable || has[1].effective || has[1].permitted || has[1].inheritable)
                return 2;
        if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_BIND_SERVICE, 0, 0) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
                return 3;
        return geteuid() == 65533 ? 0 : 4;
}

static int as_root(void) {
        struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct has[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

        if (geteuid())
                return 77;
        if (!bh_decoy_give_up_privileges(65534))
                return 1;
        if (syscall(SYS_capget, &head, has) || has[0].effective || has[0].permitted || has[0].inheritable)
                return 2;
        return geteuid() == 65534 && getegid() == 65534 && setuid(0) ? 0 : 3;
}

static void privileges_are_given_up(Place *p, gconstpointer unused) {
        int (*const as[])(void) = { with_ambient, as_root };

        for (guint i = 0; i < G_N_ELEMENTS(as); i++) {
                int status;
                pid_t pid = fork();

                if (pid == 0)
                        _exit(as[i]());
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                g_assert_true(WIFEXITED(status));
                if (WEXITSTATUS(status) == 77)
                        g_test_skip("needs root");
                else
                        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
        }
}

/* ---- the sensor's side */

static guint recorded;
static char *last;
static guint64 last_all;

static void on_recorded(const BhDecoyExpected *e, GBytes *bytes, guint64 all, const char *end, gpointer data) {
        g_free(last);
        last = g_strdup_printf("%s %s %.*s %s", e->from, e->asked, (int) g_bytes_get_size(bytes), (const char *) g_bytes_get_data(bytes, NULL), end);
        last_all = all;
        recorded++;
}

static void expect(BhDecoyRecords *s, const char *from, gint64 now_us) {
        const BhDecoyExpected e = { .from = g_strdup(from), .asked = g_strdup("10.0.0.9:6379"), .container = g_strdup("c"), .finding = g_strdup("f"), .time_ns = g_get_real_time() * 1000 };

        bh_decoy_records_expect(s, &e, now_us);
}

static void add_line(const Place *p, const char *line) {
        g_autofree char *path = g_build_filename(p->dir, "connections.jsonl", NULL);
        FILE *f = fopen(path, "a");

        g_assert_nonnull(f);
        fprintf(f, "%s\n", line);
        fclose(f);
}

static void recordings_are_found_by_the_containers_end(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 1 << 16);
        g_autoptr(BhDecoyRecords) s = bh_decoy_records_new(p->dir);
        BhDecoyRecordsStats n;

        recorded = 0;
        expect(s, "172.17.0.3:40000", 1);
        expect(s, "172.17.0.3:40001", 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 0);
        sends(r, "::ffff:172.17.0.9", 40000, "other", 5);
        sends(r, "::ffff:172.17.0.3", 40000, "hello", 5);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 1);
        g_assert_cmpstr(last, ==, "172.17.0.3:40000 10.0.0.9:6379 hello closed");
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 1);
        bh_recording_end(r, part(r, "::ffff:172.17.0.3", 40001), "idle");
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(n.sealed, ==, 1);
        g_assert_cmpuint(n.empty, ==, 1);
        g_assert_cmpuint(n.waiting, ==, 0);

        /* one that ended before it was expected; one that never comes */
        sends(r, "::ffff:172.17.0.3", 40002, "hello", 5);
        expect(s, "172.17.0.3:40002", 1);
        expect(s, "172.17.0.3:40003", 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 2);
        bh_decoy_records_turn(s, 1 + (gint64) BH_DECOY_WAIT_S * G_USEC_PER_SEC, on_recorded, NULL);
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(n.missing, ==, 1);
        for (guint i = 0; i <= BH_DECOY_EXPECTED; i++) {
                g_autofree char *from = g_strdup_printf("172.17.0.4:%u", i);

                expect(s, from, 1);
        }
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(n.waiting, ==, BH_DECOY_EXPECTED);
        g_assert_cmpuint(n.missing, ==, 2);
        g_clear_pointer(&last, g_free);
}

static void what_else_is_there_is_not_believed(Place *p, gconstpointer unused) {
        static const char *const hashes[] = { "../connections.jsonl", "../../etc/passwd", "/etc/passwd", "", "AAAA", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9825" };
        g_autofree char *bytes = g_build_filename(p->dir, "bytes", NULL), *link = g_build_filename(bytes, HELLO, NULL), *fifo = NULL;
        g_autoptr(BhDecoyRecords) s = bh_decoy_records_new(p->dir);
        g_autofree char *now = bh_time_format(g_get_real_time() * 1000);
        BhDecoyRecordsStats n;

        recorded = 0;
        g_assert_cmpint(g_mkdir(bytes, 0700), ==, 0);
        g_assert_cmpint(symlink("/etc/passwd", link), ==, 0);
        fifo = g_build_filename(bytes, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9825", NULL);
        g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
        for (guint i = 0; i <= G_N_ELEMENTS(hashes); i++) {
                g_autofree char *line = g_strdup_printf("{\"time\":\"%s\",\"peer\":\"1.2.3.4:5\",\"bytes\":5,\"sha256\":\"%s\",\"end\":\"closed\"}", now, i < G_N_ELEMENTS(hashes) ? hashes[i] : HELLO);

                expect(s, "1.2.3.4:5", 1);
                add_line(p, line);
                bh_decoy_records_turn(s, 1, on_recorded, NULL);
        }
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(recorded, ==, 0);
        g_assert_cmpuint(n.unread, ==, G_N_ELEMENTS(hashes) + 1);

        /* what is no line of ours; a line from before, of another who had the port; a file without an end of its line */
        expect(s, "1.2.3.4:5", 1);
        static const char *const lines[] = { "", "[]", "{\"peer\":[]}", "{\"peer\":\"1.2.3.4:5\",\"bytes\":-1}", "{\"time\":\"2020-01-01T00:00:00Z\",\"peer\":\"1.2.3.4:5\",\"bytes\":5}", "\xff\xfe{" };
        for (guint i = 0; i < G_N_ELEMENTS(lines); i++)
                add_line(p, lines[i]);
        g_autofree char *path = g_build_filename(p->dir, "connections.jsonl", NULL), *endless = g_malloc(BH_DECOY_LINES_MAX * 3 + 1);
        memset(endless, 'x', BH_DECOY_LINES_MAX * 3);
        endless[BH_DECOY_LINES_MAX * 3] = '\0';
        add_line(p, endless);
        for (guint i = 0; i < 6; i++)
                bh_decoy_records_turn(s, 1, on_recorded, NULL);
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(n.waiting, ==, 1);
        g_assert_cmpint(unlink(path), ==, 0);
        g_assert_cmpint(symlink("/etc/passwd", path), ==, 0);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 0);
}

/* The sensor learns of a connection after its packet, and of its line maybe before that, while it reads for another one. */
static void what_ended_before_it_was_expected_is_found(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 64 << 20, 1 << 16);
        g_autoptr(BhDecoyRecords) s = bh_decoy_records_new(p->dir);
        BhDecoyRecordsStats n;

        recorded = 0;
        expect(s, "172.17.0.3:40000", 1); /* open for long */
        sends(r, "::ffff:172.17.0.3", 40001, "hello", 5);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        expect(s, "172.17.0.3:40001", 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 1);
        g_assert_cmpstr(last, ==, "172.17.0.3:40001 10.0.0.9:6379 hello closed");

        /* two of one port, in their order; a line is one connection's */
        sends(r, "::ffff:172.17.0.3", 40002, "first", 5);
        sends(r, "::ffff:172.17.0.3", 40002, "second", 6);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        expect(s, "172.17.0.3:40002", 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpstr(last, ==, "172.17.0.3:40002 10.0.0.9:6379 first closed");
        expect(s, "172.17.0.3:40002", 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpstr(last, ==, "172.17.0.3:40002 10.0.0.9:6379 second closed");
        g_assert_cmpuint(recorded, ==, 3);

        /* not for ever, and not any number */
        sends(r, "::ffff:172.17.0.3", 40003, "hello", 5);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        bh_decoy_records_turn(s, 1 + (gint64) BH_DECOY_EARLY_S * G_USEC_PER_SEC, on_recorded, NULL);
        expect(s, "172.17.0.3:40003", 1);
        sends(r, "::ffff:172.17.0.3", 40004, "hello", 5);
        for (guint i = 0; i < BH_DECOY_EARLY; i++)
                bh_recording_end(r, part(r, "fd00::1", (guint16) i), "closed");
        for (guint i = 0; i < 8; i++)
                bh_decoy_records_turn(s, 1, on_recorded, NULL);
        expect(s, "172.17.0.3:40004", 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 3);
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(n.waiting, ==, 3);
        g_clear_pointer(&last, g_free);
}

static void lines_of_a_file_that_was_full_are_read(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 1 << 16);
        g_autoptr(BhDecoyRecords) s = bh_decoy_records_new(p->dir);
        g_autofree char *before = g_build_filename(p->dir, "connections.1.jsonl", NULL);

        recorded = 0;
        expect(s, "172.17.0.3:40000", 1);
        expect(s, "172.17.0.3:40001", 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        sends(r, "::ffff:172.17.0.3", 40000, "hello", 5);
        for (guint i = 0; i < 1000 && !g_file_test(before, G_FILE_TEST_EXISTS); i++)
                bh_recording_end(r, part(r, "fd00::1", 1), "closed");
        g_assert_true(g_file_test(before, G_FILE_TEST_EXISTS));
        sends(r, "::ffff:172.17.0.3", 40001, "hello", 5);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 2);
        g_clear_pointer(&last, g_free);
}

#define BIG 12u

static void hold_it(const BhDecoyExpected *e, GBytes *bytes, guint64 all, const char *end, gpointer data) {
        g_assert_cmpuint(g_bytes_get_size(bytes), ==, BH_DECOY_BYTES_MAX);
        g_ptr_array_add(data, g_bytes_ref(bytes));
}

static void memory_is_bounded(Place *p, gconstpointer unused) {
        g_autoptr(GPtrArray) held = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);
        g_autoptr(BhRecording) r = opened(p, 256 << 20, BH_DECOY_BYTES_MAX);
        g_autoptr(BhDecoyRecords) s = bh_decoy_records_new(p->dir);
        g_autofree char *much = g_malloc0(BH_DECOY_BYTES_MAX);
        const guint a_turn = BH_DECOY_TURN_MAX / BH_DECOY_BYTES_MAX, at_most = BH_DECOY_HELD_MAX / BH_DECOY_BYTES_MAX;
        BhDecoyRecordsStats n;

        for (guint i = 0; i < BIG; i++) {
                g_autofree char *from = g_strdup_printf("172.17.0.3:%u", i + 1);

                expect(s, from, 1);
                memcpy(much, &i, sizeof(i));
                sends(r, "::ffff:172.17.0.3", (guint16) (i + 1), much, BH_DECOY_BYTES_MAX);
        }
        bh_decoy_records_turn(s, 1, hold_it, held);
        g_assert_cmpuint(held->len, ==, a_turn);
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(n.waiting, ==, BIG - a_turn);
        for (guint i = 0; i < BIG; i++)
                bh_decoy_records_turn(s, 1, hold_it, held);
        g_assert_cmpuint(held->len, ==, at_most);
        guint got = held->len;
        for (guint i = 0; i < BIG && got < BIG; i++) {
                g_ptr_array_set_size(held, 0);
                bh_decoy_records_turn(s, 1, hold_it, held);
                got += held->len;
        }
        g_assert_cmpuint(got, ==, BIG);
        bh_decoy_records_stats(s, &n);
        g_assert_cmpuint(n.sealed, ==, BIG);
        g_assert_cmpuint(n.waiting, ==, 0);
        g_clear_pointer(&s, bh_decoy_records_free); /* what is held outlives it */
}

static gpointer expect_another(gpointer records) {
        BhDecoyRecordsStats n;

        expect(records, "172.17.0.3:2", 1);
        bh_decoy_records_stats(records, &n);
        return NULL;
}

static void while_it_is_read(const BhDecoyExpected *e, GBytes *bytes, guint64 all, const char *end, gpointer data) {
        g_thread_join(g_thread_new("expects", expect_another, data));
        recorded++;
}

static void to_expect_does_not_wait_for_files(Place *p, gconstpointer unused) {
        g_autoptr(BhRecording) r = opened(p, 1 << 20, 1 << 16);
        g_autoptr(BhDecoyRecords) s = bh_decoy_records_new(p->dir);

        recorded = 0;
        expect(s, "172.17.0.3:1", 1);
        sends(r, "::ffff:172.17.0.3", 1, "hello", 5);
        sends(r, "::ffff:172.17.0.3", 2, "hello", 5);
        bh_decoy_records_turn(s, 1, while_it_is_read, s);
        g_assert_cmpuint(recorded, ==, 1);
        bh_decoy_records_turn(s, 1, on_recorded, NULL);
        g_assert_cmpuint(recorded, ==, 2);
        g_clear_pointer(&last, g_free);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define TEST(name) g_test_add("/decoy/" #name, Place, NULL, set_up, name, tear_down)
        TEST(connections_are_recorded_with_their_bytes);
        TEST(beyond_its_bounds_the_oldest_go);
        TEST(small_files_are_counted_in_blocks);
        TEST(what_is_sent_again_stays_and_lines_go_on);
        TEST(what_cannot_be_kept_is_not_said_to_be);
        TEST(a_disk_that_takes_nothing_is_counted);
        TEST(what_a_killed_one_left_is_kept);
        TEST(privileges_are_given_up);
        TEST(recordings_are_found_by_the_containers_end);
        TEST(what_else_is_there_is_not_believed);
        TEST(what_ended_before_it_was_expected_is_found);
        TEST(lines_of_a_file_that_was_full_are_read);
        TEST(memory_is_bounded);
        TEST(to_expect_does_not_wait_for_files);
        return g_test_run();
}
