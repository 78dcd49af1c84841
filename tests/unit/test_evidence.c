/* SPDX-License-Identifier: Apache-2.0 */
/* The chain of evidence, the vault that keeps it, and that each way to tamper with it is found. */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fdio.h"
#include "evidence/vault.h"

#include "scratch.h"

#define MIB (1u << 20)

typedef struct {
        char *dir;
} Fixture;

static void set_up(Fixture *f, gconstpointer unused) {
        g_autoptr(GError) error = NULL;

        f->dir = g_dir_make_tmp("bh-evidence-XXXXXX", &error);
        g_assert_no_error(error);
}

static void tear_down(Fixture *f, gconstpointer unused) {
        bh_test_remove(f->dir);
        g_free(f->dir);
}

static char *in(const Fixture *f, const char *name) {
        return g_build_filename(f->dir, "v", name, NULL);
}

static BhVault *vault_of(const Fixture *f, guint64 max, char **broken) {
        g_autofree char *dir = g_build_filename(f->dir, "v", NULL);
        g_autoptr(GError) error = NULL;
        BhVault *v = bh_vault_open(dir, "node1", max, broken, &error);

        g_assert_no_error(error);
        g_assert_nonnull(v);
        return v;
}

static guint64 keep(BhVault *v, const char *text) {
        g_autoptr(GError) error = NULL;
        BhObject o;
        guint64 seq;

        g_assert_true(bh_vault_put_bytes(v, text, strlen(text), &o, &error));
        g_assert_true(bh_vault_add(v, "file", 1000, json_pack("{s:s}", "path", text), &o, &seq, &error));
        g_assert_true(bh_vault_commit(v, &error));
        g_assert_no_error(error);
        return seq;
}

/* Item 1 is the chain's beginning, 2 to n + 1 have objects. */
static void fill(const Fixture *f, guint n) {
        g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);

        for (guint i = 0; i < n; i++) {
                g_autofree char *text = g_strdup_printf("object %u", i);

                g_assert_cmpuint(keep(v, text), ==, i + 2);
        }
}

static char *read_log(const Fixture *f, gsize *len) {
        g_autofree char *path = in(f, "log");
        char *text;

        g_assert_true(g_file_get_contents(path, &text, len, NULL));
        return text;
}

static void write_log(const Fixture *f, const char *text) {
        g_autofree char *path = in(f, "log");

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

/* The problems of the directory, "what" by "what"; `heads` may be NULL. */
static char *problems(const Fixture *f, const char *heads) {
        g_autoptr(BhEvidenceVerifier) v = bh_evidence_verifier_new();
        g_autofree char *dir = g_build_filename(f->dir, "v", NULL);
        g_autoptr(GString) out = g_string_new(NULL);
        g_autoptr(GError) error = NULL;
        const BhEvidenceReport *r;

        if (heads)
                g_assert_true(bh_evidence_verifier_heads(v, heads, strlen(heads), &error));
        g_assert_true(bh_evidence_verify_dir(v, dir, &r, &error));
        g_assert_no_error(error);
        for (guint i = 0; i < r->told->len; i++)
                g_string_append_printf(out, "%s%s", i ? " " : "", ((BhEvidenceProblem *) r->told->pdata[i])->what);
        return g_strdup(out->str);
}

static char *head_of(const Fixture *f) {
        g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);
        json_auto_t *head = bh_vault_head(v);
        char *text = json_dumps(head, JSON_COMPACT), *out = g_strdup(text);

        free(text);
        return out;
}

static void assert_problems(const Fixture *f, const char *heads, const char *wanted) {
        g_autofree char *found = problems(f, heads);

        g_assert_cmpstr(found, ==, wanted);
}

/* ---- what is whole ---- */

static void whole_chain_verifies_and_goes_on_after_a_restart(Fixture *f, gconstpointer unused) {
        fill(f, 3);
        {
                g_autofree char *broken = NULL;
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, &broken);

                g_assert_null(broken);
                g_assert_cmpuint(keep(v, "later"), ==, 5);
        }
        g_autofree char *head = head_of(f);
        assert_problems(f, head, "");
        assert_problems(f, NULL, "");
}

static void object_is_named_by_its_hash_and_equal_ones_are_kept_once(Fixture *f, gconstpointer unused) {
        g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);
        BhObject a, b;
        BhVaultStats s;
        char buf[8] = { 0 };

        g_assert_true(bh_vault_put_bytes(v, "abc", 3, &a, NULL));
        g_assert_cmpstr(a.sha256, ==, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"); /* FIPS 180-2, B.1 */
        g_assert_true(bh_vault_put_bytes(v, "abc", 3, &b, NULL));
        g_assert_true(b.known);
        bh_vault_stats(v, &s);
        g_assert_cmpuint(s.objects, ==, 1);
        g_assert_cmpuint(s.equal, ==, 1);
        g_auto(BhFd) fd = bh_vault_object(v, a.sha256);
        g_assert_cmpint(read(fd, buf, sizeof(buf)), ==, 3);
        g_assert_cmpstr(buf, ==, "abc");
        g_assert_cmpint(bh_vault_object(v, "../../key"), ==, -1);
}

static void file_over_the_bound_is_cut_and_says_so(Fixture *f, gconstpointer unused) {
        g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);
        g_autofree char *path = g_build_filename(f->dir, "big", NULL);
        BhObject o;

        g_assert_true(g_file_set_contents(path, "0123456789", 10, NULL));
        g_auto(BhFd) fd = open(path, O_RDONLY);
        g_assert_true(bh_vault_put_file(v, fd, 4, &o, NULL));
        g_assert_true(o.cut);
        g_assert_cmpuint(o.size, ==, 4);
        g_assert_true(bh_vault_put_file(v, fd, 10, &o, NULL));
        g_assert_false(o.cut);
        g_assert_cmpuint(o.size, ==, 10);
}

static void lines_are_given_in_order_from_any_number_on(Fixture *f, gconstpointer unused) {
        fill(f, 4);
        g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);
        guint64 seq = 0, last = 2;

        for (char *line; (line = bh_vault_next(v, last, &seq)); g_free(line)) {
                g_auto(BhEvidenceLine) l = { 0 };

                g_assert_true(bh_evidence_read(line, strlen(line), &l, NULL));
                g_assert_cmpuint(l.seq, ==, last + 1);
                g_assert_cmpuint(seq, ==, l.seq);
                last = seq;
        }
        g_assert_cmpuint(last, ==, 5);
        g_assert_true(bh_vault_sent(v, 5, NULL));
        g_assert_null(bh_vault_next(v, 5, &seq));
        keep(v, "new");
        g_autofree char *line = bh_vault_next(v, 5, &seq);
        g_assert_nonnull(line);
        g_assert_cmpuint(seq, ==, 6);
        g_clear_pointer(&v, bh_vault_free);
        v = vault_of(f, 64 * MIB, NULL);
        BhVaultStats s;
        bh_vault_stats(v, &s);
        g_assert_cmpuint(s.sent, ==, 5);
        g_assert_cmpuint(s.seq, ==, 6);
}

static void oldest_objects_go_at_the_bound_and_the_chain_says_which(Fixture *f, gconstpointer unused) {
        g_autofree char *big = g_strnfill(400 * 1024, 'x');
        {
                g_autoptr(BhVault) v = vault_of(f, MIB, NULL);
                BhVaultStats s;

                for (guint i = 0; i < 5; i++) {
                        big[0] = (char) ('a' + i);
                        BhObject o;
                        g_assert_true(bh_vault_put_bytes(v, big, strlen(big), &o, NULL));
                        g_assert_true(bh_vault_add(v, "file", 1, NULL, &o, NULL, NULL));
                        g_assert_true(bh_vault_commit(v, NULL));
                }
                bh_vault_stats(v, &s);
                g_assert_cmpuint(s.bytes, <=, MIB);
                g_assert_cmpuint(s.dropped, ==, 3);
                g_assert_cmpuint(s.dropped, ==, s.dropped_unsent); /* nobody took them */
        }
        assert_problems(f, NULL, "");
}

/* Other threads' items come between an object and its own. */
static void object_whose_item_is_to_come_stays(Fixture *f, gconstpointer unused) {
        g_autofree char *big = g_strnfill(400 * 1024, 'x');
        {
                g_autoptr(BhVault) v = vault_of(f, MIB, NULL);
                BhObject first, again, o;
                BhVaultStats s;

                g_assert_true(bh_vault_put_bytes(v, big, strlen(big), &first, NULL));
                for (guint i = 0; i < 5; i++) {
                        big[0] = (char) ('a' + i);
                        g_assert_true(bh_vault_put_bytes(v, big, strlen(big), &o, NULL));
                        g_assert_true(bh_vault_add(v, "file", 1, NULL, &o, NULL, NULL));
                        g_assert_true(bh_vault_commit(v, NULL));
                }
                big[0] = 'x';
                g_assert_true(bh_vault_put_bytes(v, big, strlen(big), &again, NULL));
                g_assert_true(again.known);
                g_assert_true(bh_vault_add(v, "file", 1, NULL, &first, NULL, NULL));
                g_assert_true(bh_vault_add(v, "file", 1, NULL, &again, NULL, NULL));
                g_assert_true(bh_vault_commit(v, NULL));
                bh_vault_stats(v, &s);
                g_assert_cmpuint(s.bytes, <=, MIB);
                g_assert_cmpuint(s.dropped, ==, 4);
        }
        assert_problems(f, NULL, "");
}

static gpointer keep_many(gpointer data) {
        for (guint i = 0; i < 20; i++) {
                g_autofree char *text = g_strdup_printf("%u of all threads", i);

                keep(data, text);
        }
        return NULL;
}

static void several_threads_keep_at_once(Fixture *f, gconstpointer unused) {
        g_autofree char *left = in(f, "objects/new7");
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);
                GThread *threads[4];
                BhVaultStats s;

                for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
                        threads[i] = g_thread_new("keep", keep_many, v);
                for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
                        g_thread_join(threads[i]);
                bh_vault_stats(v, &s);
                g_assert_cmpuint(s.objects, ==, 20);
                g_assert_cmpuint(s.added, ==, 20);
                g_assert_cmpuint(s.equal, ==, 60);
                g_assert_cmpuint(s.seq, ==, 81);
        }
        assert_problems(f, NULL, "");
        /* of a process that was killed */
        g_assert_true(g_file_set_contents(left, "half", 4, NULL));
        g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);
        g_assert_false(g_file_test(left, G_FILE_TEST_EXISTS));
}

static void disk_that_takes_nothing_has_a_bound_of_what_waits(Fixture *f, gconstpointer unused) {
        g_autofree char *text = g_strnfill(8000, 'x');
        g_autoptr(GError) error = NULL;
        struct rlimit before, none;
        guint taken = 0;
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);

                keep(v, "before");
                signal(SIGXFSZ, SIG_IGN);
                g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
                none = (struct rlimit){ .rlim_cur = 1, .rlim_max = before.rlim_max };
                g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &none), ==, 0);
                while (taken < 10000 && bh_vault_add(v, "events", 1, json_pack("{s:s}", "text", text), NULL, NULL, &error)) {
                        g_assert_false(bh_vault_commit(v, NULL));
                        taken++;
                }
                g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &before), ==, 0);
                g_assert_error(error, BH_EVIDENCE_ERROR, BH_EVIDENCE_ERROR_IO);
                g_assert_cmpuint(taken, >, BH_VAULT_WAITING_MAX / 10000);
                g_assert_cmpuint(taken, <=, BH_VAULT_WAITING_MAX / 8000 + 1);
                g_assert_true(bh_vault_commit(v, NULL));
                keep(v, "behind");
        }
        assert_problems(f, NULL, "");
}

/* A process that is killed between what it wrote of the log and of the key. */
static void key_that_lags_behind_the_log_catches_up(Fixture *f, gconstpointer unused) {
        fill(f, 2);
        g_autofree char *key = in(f, "key"), *old = NULL, *broken = NULL;
        gsize len;

        g_assert_true(g_file_get_contents(key, &old, &len, NULL));
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);

                keep(v, "one more");
                keep(v, "and another");
        }
        g_assert_true(g_file_set_contents(key, old, (gssize) len, NULL));
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, &broken);

                g_assert_null(broken);
                g_assert_cmpuint(keep(v, "goes on"), ==, 6);
        }
        g_autofree char *head = head_of(f);
        assert_problems(f, head, "");
}

static void half_a_line_of_a_crash_is_cut_off_and_counted(Fixture *f, gconstpointer unused) {
        fill(f, 2);
        gsize len;
        g_autofree char *text = read_log(f, &len), *more = g_strconcat(text, "{\"v\":1,\"cha", NULL), *broken = NULL;
        write_log(f, more);
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, &broken);
                BhVaultStats s;

                g_assert_null(broken);
                bh_vault_stats(v, &s);
                g_assert_cmpuint(s.torn_bytes, ==, 11);
                keep(v, "behind it");
        }
        assert_problems(f, NULL, "");
}

static void what_was_committed_outlives_a_kill(Fixture *f, gconstpointer unused) {
        int ready[2];
        char byte;

        g_assert_cmpint(pipe(ready), ==, 0);
        pid_t pid = fork();
        if (!pid) {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);

                keep(v, "the payload");
                if (write(ready[1], "x", 1) != 1)
                        _exit(1);
                for (guint i = 0;; i++) {
                        g_autofree char *text = g_strdup_printf("more %u", i);

                        keep(v, text);
                }
        }
        close(ready[1]);
        g_assert_cmpint(read(ready[0], &byte, 1), ==, 1);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(ready[0]);
        g_autofree char *broken = NULL;
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, &broken);
                guint64 seq;
                g_autofree char *line = bh_vault_next(v, 1, &seq);
                g_auto(BhEvidenceLine) l = { 0 };

                g_assert_null(broken);
                g_assert_true(bh_evidence_read(line, strlen(line), &l, NULL));
                g_assert_cmpstr(json_string_value(json_object_get(l.facts, "path")), ==, "the payload");
        }
        assert_problems(f, NULL, "");
}

/* ---- tampering: each form by itself ---- */

static void changed_byte_of_an_item_is_found(Fixture *f, gconstpointer unused) {
        fill(f, 4);
        gsize len;
        g_autofree char *text = read_log(f, &len);
        char *at = strstr(text, "object 1");

        g_assert_nonnull(at);
        at[7] = '9';
        write_log(f, text);
        g_autofree char *found = problems(f, NULL);
        g_assert_true(g_str_has_prefix(found, "changed"));
}

static void changed_byte_of_an_object_is_found(Fixture *f, gconstpointer unused) {
        fill(f, 2);
        char hash[BH_EVIDENCE_HEX];
        bh_evidence_hash("object 1", 8, hash);
        g_autofree char *name = g_strdup_printf("objects/%.2s/%s", hash, hash), *path = in(f, name);

        g_chmod(path, 0600);
        g_assert_true(g_file_set_contents(path, "object 7", -1, NULL));
        assert_problems(f, NULL, "object_changed");
        g_unlink(path);
        assert_problems(f, NULL, "object_missing");
}

static char *without_line(const char *text, guint which) {
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        GString *out = g_string_new(NULL);

        for (guint i = 0; lines[i] && *lines[i]; i++)
                if (i != which)
                        g_string_append_printf(out, "%s\n", lines[i]);
        return g_string_free(out, FALSE);
}

static void removed_item_is_found(Fixture *f, gconstpointer unused) {
        fill(f, 4);
        gsize len;
        g_autofree char *text = read_log(f, &len), *less = without_line(text, 2), *first = without_line(text, 0);

        write_log(f, less);
        assert_problems(f, NULL, "removed");
        write_log(f, first);
        assert_problems(f, NULL, "removed");
}

static void swapped_items_are_found(Fixture *f, gconstpointer unused) {
        fill(f, 4);
        gsize len;
        g_autofree char *text = read_log(f, &len);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        char *line = lines[2];

        lines[2] = lines[3];
        lines[3] = line;
        g_autofree char *swapped = g_strjoinv("\n", lines);
        write_log(f, swapped);
        assert_problems(f, NULL, "order removed removed");
}

static void chain_cut_short_is_found_by_the_head_that_is_elsewhere_and_by_the_key(Fixture *f, gconstpointer unused) {
        fill(f, 4);
        gsize len;
        g_autofree char *head = head_of(f), *text = read_log(f, &len), *less = without_line(text, 4), *broken = NULL;

        write_log(f, less);
        assert_problems(f, head, "truncated");
        g_autoptr(BhVault) v = vault_of(f, 64 * MIB, &broken);
        g_assert_nonnull(broken);
        g_assert_nonnull(strstr(broken, "ends at item 4"));
        /* a new chain goes on, and says what was there before */
        guint64 seq;
        g_autofree char *line = bh_vault_next(v, 0, &seq);
        g_auto(BhEvidenceLine) l = { 0 };
        g_assert_true(bh_evidence_read(line, strlen(line), &l, NULL));
        g_assert_cmpint(json_integer_value(json_object_get(l.facts, "before_seq")), ==, 5);
}

/* Root has the node, and the key of the item that comes next. */
static void chain_rewritten_by_root_with_the_current_key_is_found(Fixture *f, gconstpointer unused) {
        g_autoptr(GString) forged = g_string_new(NULL);
        g_autofree char *head = NULL, *text = NULL;
        BhEvidenceKey k, current;
        gsize len;

        /* the node's chain, with a copy of each key as it was */
        g_assert_true(bh_evidence_init());
        bh_evidence_key_new(&k);
        g_autoptr(GString) real = g_string_new(NULL);
        char prev_of_3[BH_EVIDENCE_HEX] = "";
        for (guint i = 0; i < 5; i++) {
                json_auto_t *facts = json_pack("{s:i}", "n", (int) i);
                g_autofree char *line = bh_evidence_sign(&k, "node1", "note", 1, facts);

                g_string_append_printf(real, "%s\n", line);
                if (i < 2)
                        g_string_append_printf(forged, "%s\n", line);
                if (i == 1)
                        g_strlcpy(prev_of_3, k.prev, sizeof(prev_of_3));
        }
        head = g_strdup_printf("{\"chain\":\"%s\",\"seq\":5,\"sha256\":\"%s\"}", k.chain, k.prev);
        g_autofree char *dir = g_build_filename(f->dir, "v", NULL);
        g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
        write_log(f, real->str);
        assert_problems(f, head, "");

        /* items 3 to 5 told otherwise, signed with what he has: the key of item 6 */
        current = k;
        current.seq = 3;
        g_strlcpy(current.prev, prev_of_3, sizeof(current.prev));
        for (guint i = 2; i < 5; i++) {
                json_auto_t *facts = json_pack("{s:s}", "n", "nothing happened");
                g_autofree char *line = bh_evidence_sign(&current, "node1", "note", 1, facts);

                g_string_append_printf(forged, "%s\n", line);
        }
        write_log(f, forged->str);
        assert_problems(f, NULL, "rewritten");
        assert_problems(f, head, "rewritten rewritten");

        /* or everything anew, with a chain of his own: whole by itself, and not the one that was known */
        BhEvidenceKey own;
        bh_evidence_key_new(&own);
        g_string_truncate(forged, 0);
        for (guint i = 0; i < 5; i++) {
                g_autofree char *line = bh_evidence_sign(&own, "node1", "note", 1, NULL);

                g_string_append_printf(forged, "%s\n", line);
        }
        write_log(f, forged->str);
        assert_problems(f, NULL, "");
        assert_problems(f, head, "rewritten");
        text = read_log(f, &len);
}

static void key_does_not_tell_the_ones_before_it(Fixture *f, gconstpointer unused) {
        g_autofree char *path = in(f, "key"), *one = NULL, *two = NULL;
        gsize n, m;

        /* what the file held before is nowhere in it afterwards */
        fill(f, 1);
        g_assert_true(g_file_get_contents(path, &one, &n, NULL));
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, NULL);

                keep(v, "next");
        }
        g_assert_true(g_file_get_contents(path, &two, &m, NULL));
        guint8 blank[BH_EVIDENCE_SEED] = { 0 };
        guint seeds = 0;
        for (gsize i = 0; i + BH_EVIDENCE_SEED <= n; i += 2) {
                if (!memcmp(one + i, blank, sizeof(blank)) || i % 512 < 24 + 2 * BH_EVIDENCE_HEX || i % 512 > 24 + 2 * BH_EVIDENCE_HEX)
                        continue;
                seeds++;
                g_assert_null(memmem(two, m, one + i, BH_EVIDENCE_SEED));
        }
        g_assert_cmpuint(seeds, ==, 1);
}

static void removed_log_is_told_by_the_key_that_is_left(Fixture *f, gconstpointer unused) {
        fill(f, 2);
        g_autofree char *path = in(f, "log"), *broken = NULL, *head = head_of(f);
        g_unlink(path);
        {
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, &broken);

                g_assert_nonnull(broken);
        }
        assert_problems(f, head, "begun_anew rewritten");
}

/* ---- archives ---- */

static void archive_is_read_as_it_was_written(void) {
        g_autoptr(GByteArray) tar = g_byte_array_new();
        char name[256];
        const guint8 *data;
        gsize at = 0, size;

        bh_tar_add(tar, "a", "hello", 5, 0);
        bh_tar_add(tar, "empty", "", 0, 1);
        bh_tar_add(tar, NULL, NULL, 0, 0);
        g_assert_true(bh_tar_next(tar->data, tar->len, &at, name, &data, &size));
        g_assert_cmpstr(name, ==, "a");
        g_assert_cmpmem(data, size, "hello", 5);
        g_assert_true(bh_tar_next(tar->data, tar->len, &at, name, &data, &size));
        g_assert_cmpstr(name, ==, "empty");
        g_assert_cmpuint(size, ==, 0);
        g_assert_false(bh_tar_next(tar->data, tar->len, &at, name, &data, &size));
        at = 0;
        tar->data[3] = 'x'; /* the sum does not fit */
        g_assert_false(bh_tar_next(tar->data, tar->len, &at, name, &data, &size));
}

static void archive_is_one_that_tar_reads(Fixture *f, gconstpointer unused) {
        g_autoptr(GByteArray) tar = g_byte_array_new();
        g_autofree char *path = g_build_filename(f->dir, "x.tar", NULL), *out = NULL, *program = g_find_program_in_path("tar");
        int status;

        if (!program) {
                g_test_skip("there is no tar");
                return;
        }
        bh_tar_add(tar, "objects/ab/abc", "hello", 5, 1700000000);
        bh_tar_add(tar, NULL, NULL, 0, 0);
        g_assert_true(g_file_set_contents(path, (const char *) tar->data, tar->len, NULL));
        const char *argv[] = { program, "-xOf", path, "objects/ab/abc", NULL };
        g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, &status, NULL));
        g_assert_cmpint(status, ==, 0);
        g_assert_cmpstr(out, ==, "hello");
}

static guint set_aside_of(const Fixture *f, const char *first, gboolean *has_first) {
        g_autofree char *path = in(f, "");
        g_autoptr(GDir) d = g_dir_open(path, 0, NULL);
        guint n = 0;

        *has_first = FALSE;
        for (const char *name; (name = g_dir_read_name(d));) {
                if (!g_str_has_prefix(name, "log.broken-"))
                        continue;
                g_autofree char *at = in(f, name), *text = NULL;
                g_assert_true(g_file_get_contents(at, &text, NULL, NULL));
                *has_first |= g_str_equal(text, first);
                n++;
        }
        return n;
}

static void chains_that_are_set_aside_have_a_bound_and_the_first_stays(Fixture *f, gconstpointer unused) {
        g_autofree char *first = NULL;
        gboolean has_first;

        for (guint i = 0; i < BH_VAULT_BROKEN_MAX + 4; i++) {
                g_autofree char *broken = NULL, *text = NULL;
                gsize len;
                g_autoptr(BhVault) v = vault_of(f, 64 * MIB, &broken);

                g_assert_true(i ? broken != NULL : broken == NULL);
                keep(v, "something");
                g_clear_pointer(&v, bh_vault_free);
                text = read_log(f, &len);
                *strchr(text, '\n') = 0; /* all but the first item are gone */
                g_autofree char *cut = g_strconcat(text, "\n", NULL);
                write_log(f, cut);
                if (!first)
                        first = g_steal_pointer(&cut);
                g_usleep(2000); /* their names are milliseconds */
        }
        g_assert_cmpuint(set_aside_of(f, first, &has_first), ==, BH_VAULT_BROKEN_MAX);
        g_assert_true(has_first);
}

/* The central lets the oldest items go for its bound, and its heads say so. */
static void chain_that_was_trimmed_in_order_is_no_removed_one(Fixture *f, gconstpointer unused) {
        fill(f, 5);
        gsize len;
        g_autofree char *text = read_log(f, &len);
        char *third = text;

        for (guint i = 0; i < 2; i++)
                third = strchr(third, '\n') + 1;
        g_auto(BhEvidenceLine) l = { 0 };
        g_assert_true(bh_evidence_read(third, (gsize) (strchr(third, '\n') - third), &l, NULL));
        g_assert_cmpuint(l.seq, ==, 3);
        for (guint said = 0; said < 3; said++) {
                g_autoptr(BhEvidenceVerifier) v = bh_evidence_verifier_new();
                g_autofree char *heads = g_strdup_printf("nonsense\n{\"chain\":\"%s\",\"first\":%u}\n", l.chain, said == 2 ? 2 : 3);

                for (char *at = third, *end; (end = strchr(at, '\n')); at = end + 1)
                        bh_evidence_verifier_line(v, at, (gsize) (end - at));
                if (said)
                        bh_evidence_verifier_firsts(v, heads, strlen(heads));
                g_assert_cmpuint(bh_evidence_verifier_end(v, NULL, NULL)->problems, ==, said == 1 ? 0 : 1);
        }
}

static void malformed_lines_are_refused(void) {
        static const char *const bad[] = { "", "{}", "{} 00", "not JSON at all", "[1,2,3] 0000" };

        g_assert_true(bh_evidence_init());
        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_auto(BhEvidenceLine) l = { 0 };
                g_autoptr(GError) error = NULL;

                g_assert_false(bh_evidence_read(bad[i], strlen(bad[i]), &l, &error));
                g_assert_nonnull(error);
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define FIXTURE(name) g_test_add("/evidence/" #name, Fixture, NULL, set_up, name, tear_down)
        FIXTURE(whole_chain_verifies_and_goes_on_after_a_restart);
        FIXTURE(object_is_named_by_its_hash_and_equal_ones_are_kept_once);
        FIXTURE(file_over_the_bound_is_cut_and_says_so);
        FIXTURE(lines_are_given_in_order_from_any_number_on);
        FIXTURE(oldest_objects_go_at_the_bound_and_the_chain_says_which);
        FIXTURE(object_whose_item_is_to_come_stays);
        FIXTURE(several_threads_keep_at_once);
        FIXTURE(disk_that_takes_nothing_has_a_bound_of_what_waits);
        FIXTURE(key_that_lags_behind_the_log_catches_up);
        FIXTURE(half_a_line_of_a_crash_is_cut_off_and_counted);
        FIXTURE(what_was_committed_outlives_a_kill);
        FIXTURE(changed_byte_of_an_item_is_found);
        FIXTURE(changed_byte_of_an_object_is_found);
        FIXTURE(removed_item_is_found);
        FIXTURE(swapped_items_are_found);
        FIXTURE(chain_cut_short_is_found_by_the_head_that_is_elsewhere_and_by_the_key);
        FIXTURE(chain_rewritten_by_root_with_the_current_key_is_found);
        FIXTURE(key_does_not_tell_the_ones_before_it);
        FIXTURE(removed_log_is_told_by_the_key_that_is_left);
        FIXTURE(archive_is_one_that_tar_reads);
        FIXTURE(chains_that_are_set_aside_have_a_bound_and_the_first_stays);
        FIXTURE(chain_that_was_trimmed_in_order_is_no_removed_one);
        g_test_add_func("/evidence/archive_is_read_as_it_was_written", archive_is_read_as_it_was_written);
        g_test_add_func("/evidence/malformed_lines_are_refused", malformed_lines_are_refused);
        return g_test_run();
}
