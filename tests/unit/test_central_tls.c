/* SPDX-License-Identifier: Apache-2.0 */
/* The certificate: when it is made anew, and what is served after its files changed. */
#include <glib.h>
#include <glib/gstdio.h>
#include <time.h>

#include "central/password.h"
#include "central/tls_live.h"

#define DAY 86400

static char *path_in(const char *dir, const char *name) {
        return g_build_filename(dir, name, NULL);
}

static void remove_dir(const char *dir) {
        g_autofree char *cert = path_in(dir, "cert.pem"), *key = path_in(dir, "key.pem");

        g_unlink(cert);
        g_unlink(key);
        g_rmdir(dir);
}

static void it_is_due_near_its_end_and_before_its_beginning(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-tls-XXXXXX", NULL);
        gint64 now = (gint64) time(NULL);
        g_auto(BhTls) first = { 0 }, again = { 0 };

        g_assert_true(bh_tls_load(dir, &first, NULL));
        g_assert_true(first.made && first.own);
        g_assert_false(bh_tls_is_due(&first, now));
        g_assert_false(bh_tls_is_due(&first, now + 759 * DAY));
        g_assert_true(bh_tls_is_due(&first, now + 761 * DAY));
        g_assert_true(bh_tls_is_due(&first, now - 2 * DAY));

        g_assert_true(bh_tls_load(dir, &again, NULL));
        g_assert_true(!again.made && again.own);
        g_assert_cmpstr(first.fingerprint, ==, again.fingerprint);
        again.own = FALSE; /* a user's is the user's to replace */
        g_assert_false(bh_tls_is_due(&again, now + 10000 * DAY));
        remove_dir(dir);
}

static void files_that_were_replaced_are_served(void) {
        g_autofree char *dir = g_dir_make_tmp("bh-tls-XXXXXX", NULL), *other = g_dir_make_tmp("bh-tls-XXXXXX", NULL), *first = NULL, *second = NULL, *third = NULL;
        g_autofree char *cert = path_in(dir, "cert.pem"), *key = path_in(dir, "key.pem"), *other_cert = path_in(other, "cert.pem"), *other_key = path_in(other, "key.pem");
        gnutls_pcert_st *chain, *before;
        unsigned n;
        gnutls_privkey_t k;
        g_auto(BhTls) tls = { 0 };

        g_assert_true(bh_tls_live_start(dir, NULL));
        bh_tls_live_check(); /* the files were made by the start */
        g_assert_false(bh_tls_live_check());
        bh_tls_live_describe(&first, NULL);
        g_assert_cmpint(bh_tls_live_retrieve(NULL, NULL, 0, NULL, 0, &before, &n, &k), ==, 0);
        g_assert_cmpuint(n, ==, 1);

        /* half of a pair changes nothing, nor does one that is gone */
        g_assert_true(bh_tls_load(other, &tls, NULL));
        g_assert_cmpint(g_rename(other_key, key), ==, 0);
        g_assert_false(bh_tls_live_check());
        bh_tls_live_describe(&second, NULL);
        g_assert_cmpstr(first, ==, second);
        g_unlink(cert);
        g_assert_false(bh_tls_live_check());
        g_assert_false(g_file_test(cert, G_FILE_TEST_EXISTS));
        g_assert_cmpint(g_rename(other_cert, cert), ==, 0);
        g_assert_true(bh_tls_live_check());
        bh_tls_live_describe(&third, NULL);
        g_assert_cmpstr(third, ==, tls.fingerprint);
        g_assert_cmpint(bh_tls_live_retrieve(NULL, NULL, 0, NULL, 0, &chain, &n, &k), ==, 0);
        g_assert_true(chain != before);
        g_assert_cmpint(before->type, ==, GNUTLS_CRT_X509); /* who has the old one may go on with it */
        bh_tls_live_stop();
        remove_dir(dir);
        remove_dir(other);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_assert_true(bh_password_init(NULL));
        g_test_add_func("/central/tls/it_is_due_near_its_end_and_before_its_beginning", it_is_due_near_its_end_and_before_its_beginning);
        g_test_add_func("/central/tls/files_that_were_replaced_are_served", files_that_were_replaced_are_served);
        return g_test_run();
}
