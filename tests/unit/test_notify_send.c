/* SPDX-License-Identifier: Apache-2.0 */
/* The ways out against small servers in a thread; larger ones are in tests/integration. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <gnutls/x509.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify_alerts.h"
#include "scratch.h"

static char *make_dir(void) {
        return g_dir_make_tmp("bh-send-XXXXXX", NULL);
}

static void remove_dir(char *dir) {
        bh_test_remove(dir);
        g_free(dir);
}

static void must_send(BhSender *s, const char *id) {
        g_autoptr(BhAlert) a = alert(id, 1, 0);
        g_autoptr(GError) error = NULL;
        BhSendNote note;

        g_assert_cmpint(bh_sender_send(s, a, &note, &error), ==, BH_SEND_OK);
        g_assert_no_error(error);
        g_assert_cmpint(bh_sender_flush(s, &error), ==, BH_SEND_OK);
        g_assert_no_error(error);
}

/* The result, and what the message must say. */
static BhSendResult fails(BhSender *s, const char *says, BhSendNote *note) {
        g_autoptr(BhAlert) a = alert("x", 1, 0);
        g_autoptr(GError) error = NULL;
        BhSendResult r = bh_sender_send(s, a, note, &error);

        if (r == BH_SEND_OK)
                r = bh_sender_flush(s, &error);
        g_assert_cmpint(r, !=, BH_SEND_OK);
        if (!strstr(error->message, says))
                g_error("expected \"%s\" in \"%s\"", says, error->message);
        return r;
}

/* ---- files ---- */

static guint lines_of(const char *path) {
        g_autofree char *text = NULL;
        guint n = 0;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        for (const char *p = text; *p; p++)
                n += *p == '\n';
        g_assert_true(!*text || text[strlen(text) - 1] == '\n');
        return n;
}

static void file_is_appended_rotated_and_0640(void) {
        char *dir = make_dir();
        g_autofree char *path = g_build_filename(dir, "a.json", NULL), *moved = g_build_filename(dir, "a.json.1", NULL);
        g_autoptr(BhOutput) o = output("f", "{\"type\":\"file\",\"file\":\"a.json\"}");
        const BhSendPlace place = { .alert_dir = dir, .version = "t" };
        struct stat st;
        BhSendNote note;

        BhSender *s = bh_sender_new(o, &place);
        must_send(s, "1");
        must_send(s, "2");
        g_assert_cmpint(stat(path, &st), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0640);
        /* rotated: the name leads to nothing, then to something else */
        g_assert_cmpint(g_rename(path, moved), ==, 0);
        must_send(s, "3");
        g_assert_cmpuint(lines_of(moved), ==, 2);
        g_assert_cmpuint(lines_of(path), ==, 1);
        bh_send_reopen();
        must_send(s, "4");
        bh_sender_free(s);
        s = bh_sender_new(o, &place);
        must_send(s, "5");
        g_assert_cmpuint(lines_of(path), ==, 3);
        bh_sender_free(s);

        /* what is no file of ours is not written to */
        g_assert_cmpint(g_unlink(path), ==, 0);
        g_assert_cmpint(symlink(moved, path), ==, 0);
        s = bh_sender_new(o, &place);
        g_assert_cmpint(fails(s, "cannot open", &note), ==, BH_SEND_RETRY);
        g_assert_cmpint(g_unlink(path), ==, 0);
        g_assert_cmpint(mkfifo(path, 0600), ==, 0);
        g_assert_cmpint(fails(s, path, &note), ==, BH_SEND_RETRY);
        bh_sender_free(s);
        g_assert_cmpuint(lines_of(moved), ==, 2);
        remove_dir(dir);
}

static void full_disk_is_said_and_no_half_line_stays(void) {
        char *dir = make_dir();
        g_autofree char *path = g_build_filename(dir, "a.json", NULL);
        g_autoptr(BhOutput) o = output("f", "{\"type\":\"file\",\"file\":\"a.json\"}");
        const BhSendPlace place = { .alert_dir = dir, .version = "t" };
        struct rlimit was, small;
        BhSendNote note;
        struct stat st;

        BhSender *s = bh_sender_new(o, &place);
        must_send(s, "1");
        g_assert_cmpint(stat(path, &st), ==, 0);
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &was);
        small = (struct rlimit){ (rlim_t) st.st_size + 100, was.rlim_max };
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
        BhSendResult r = fails(s, "cannot write to", &note);
        setrlimit(RLIMIT_FSIZE, &was);
        g_assert_cmpint(r, ==, BH_SEND_RETRY);
        g_assert_cmpuint(lines_of(path), ==, 1);
        must_send(s, "2");
        g_assert_cmpuint(lines_of(path), ==, 2);
        bh_sender_free(s);
        remove_dir(dir);
}

static void stdout_waits_for_no_reader_for_ever(void) {
        g_autoptr(BhOutput) o = output("c", "{\"type\":\"stdout\"}");
        int ends[2];
        char line[65536];

        g_assert_cmpint(pipe(ends), ==, 0);
        const BhSendPlace place = { .stdout_fd = ends[1], .version = "t" };
        BhSender *s = bh_sender_new(o, &place);
        must_send(s, "1");
        ssize_t n = read(ends[0], line, sizeof(line));
        g_assert_cmpint(n, >, 0);
        g_assert_cmpint(line[n - 1], ==, '\n');
        /* full */
        fcntl(ends[1], F_SETFL, O_NONBLOCK);
        while (write(ends[1], line, 4096) > 0)
                ;
        fcntl(ends[1], F_SETFL, 0);
        bh_sender_stop(s);
        BhSendNote note;
        g_assert_cmpint(fails(s, "nobody reads", &note), ==, BH_SEND_RETRY);
        bh_sender_free(s);
        close(ends[0]);
        close(ends[1]);
}

/* ---- servers ---- */

static int listen_tcp(guint16 *port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t len = sizeof(a);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(bind(fd, (struct sockaddr *) &a, sizeof(a)), ==, 0);
        g_assert_cmpint(listen(fd, 8), ==, 0);
        g_assert_cmpint(getsockname(fd, (struct sockaddr *) &a, &len), ==, 0);
        *port = ntohs(a.sin_port);
        return fd;
}

static void tcp_counts_octets_and_notices_a_peer_that_left(void) {
        guint16 port;
        int server = listen_tcp(&port);
        g_autofree char *json = g_strdup_printf("{\"type\":\"syslog\",\"transport\":\"tcp\",\"host\":\"127.0.0.1\",\"port\":%u}", port);
        g_autoptr(BhOutput) o = output("s", json);
        const BhSendPlace place = { .version = "t", .proc_id = 7 };
        BhSender *s = bh_sender_new(o, &place);
        char got[65536];
        BhSendNote note;

        must_send(s, "1");
        must_send(s, "2");
        int peer = accept(server, NULL, NULL);
        ssize_t n = 0;
        for (guint frames = 0, at = 0; frames < 2; frames++) {
                char *end;
                while (!memchr(got + at, ' ', (gsize) n - at))
                        n += read(peer, got + n, sizeof(got) - (gsize) n);
                guint64 size = g_ascii_strtoull(got + at, &end, 10);
                at = (guint) (end + 1 - got);
                while ((gsize) n < at + size)
                        n += read(peer, got + n, sizeof(got) - (gsize) n);
                g_assert_true(g_str_has_prefix(got + at, "<130>1 2026-11-26T19:13:07.123456Z node_one bulkhead 7 alert - "));
                at += (guint) size;
                if (frames == 1)
                        g_assert_cmpint(n, ==, at);
        }
        /* it leaves: the next is not given to nobody, and goes to its successor */
        close(peer);
        g_usleep(20000);
        g_assert_cmpint(fails(s, "closed the connection", &note), ==, BH_SEND_RETRY);
        must_send(s, "3");
        close(server);
        bh_sender_free(s);
        s = bh_sender_new(o, &place);
        g_assert_cmpint(fails(s, "cannot connect", &note), ==, BH_SEND_RETRY);
        bh_sender_free(s);
}

/* ---- TLS: a server that looks at the client's certificate late ---- */

/* For 127.0.0.1, signed by itself. */
static void make_certificate(gnutls_x509_crt_t *cert, gnutls_x509_privkey_t *key) {
        static const guint8 serial[] = { 1 }, address[] = { 127, 0, 0, 1 };

        g_assert_cmpint(gnutls_x509_privkey_init(key), ==, 0);
        g_assert_cmpint(gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), ==, 0);
        g_assert_cmpint(gnutls_x509_crt_init(cert), ==, 0);
        gnutls_x509_crt_set_version(*cert, 3);
        gnutls_x509_crt_set_key(*cert, *key);
        gnutls_x509_crt_set_serial(*cert, serial, sizeof(serial));
        gnutls_x509_crt_set_dn_by_oid(*cert, GNUTLS_OID_X520_COMMON_NAME, 0, "log", 3);
        gnutls_x509_crt_set_subject_alt_name(*cert, GNUTLS_SAN_IPADDRESS, address, sizeof(address), GNUTLS_FSAN_SET);
        gnutls_x509_crt_set_activation_time(*cert, time(NULL) - 3600);
        gnutls_x509_crt_set_expiration_time(*cert, time(NULL) + 3600);
        gnutls_x509_crt_set_basic_constraints(*cert, 1, -1);
        g_assert_cmpint(gnutls_x509_crt_sign2(*cert, *cert, *key, GNUTLS_DIG_SHA256, 0), ==, 0);
}

typedef struct {
        int fd;
        gnutls_certificate_credentials_t credentials;
        gnutls_certificate_request_t asks;
        gnutls_session_t session;
        gboolean waited;
        gssize got; /* bytes of records */
} Late;

/* Waits before it reads what the client says last, so that whatever it sends on is taken by the machine. */
static ssize_t pull_late(gnutls_transport_ptr_t to, void *data, size_t len) {
        Late *l = to;

        if (!l->waited && gnutls_handshake_get_last_out(l->session) == GNUTLS_HANDSHAKE_FINISHED) {
                l->waited = TRUE;
                g_usleep(100000);
        }
        return recv(l->fd, data, len, 0);
}

static ssize_t push(gnutls_transport_ptr_t to, const void *data, size_t len) {
        return send(GPOINTER_TO_INT(to), data, len, MSG_NOSIGNAL);
}

static gpointer serve_late(gpointer data) {
        Late *l = data;
        gnutls_datum_t ticket = { NULL, 0 };
        char got[4096];
        int server = l->fd;

        l->fd = accept(server, NULL, NULL);
        gnutls_init(&l->session, GNUTLS_SERVER);
        gnutls_priority_set_direct(l->session, "NORMAL:-VERS-ALL:+VERS-TLS1.3", NULL);
        gnutls_credentials_set(l->session, GNUTLS_CRD_CERTIFICATE, l->credentials);
        gnutls_certificate_server_set_request(l->session, l->asks);
        gnutls_session_ticket_key_generate(&ticket);
        gnutls_session_ticket_enable_server(l->session, &ticket);
        gnutls_transport_set_ptr2(l->session, l, GINT_TO_POINTER(l->fd));
        gnutls_transport_set_pull_function(l->session, pull_late);
        gnutls_transport_set_push_function(l->session, push);
        int r;
        do
                r = gnutls_handshake(l->session);
        while (r < 0 && !gnutls_error_is_fatal(r));
        /* until the client leaves, who else would take it for an end before its message was read */
        for (gssize n = r; r == 0 && (n = gnutls_record_recv(l->session, got, sizeof(got))) > 0;)
                l->got += n;
        if (r < 0)
                gnutls_alert_send_appropriate(l->session, r);
        gnutls_deinit(l->session);
        gnutls_free(ticket.data);
        close(l->fd);
        return NULL;
}

static void tls_1_3_waits_for_the_servers_word(void) {
        static const gnutls_certificate_request_t asks[] = { GNUTLS_CERT_REQUIRE, GNUTLS_CERT_REQUEST };
        const BhSendPlace place = { .version = "t", .proc_id = 7 };
        gnutls_x509_crt_t cert;
        gnutls_x509_privkey_t key;
        gnutls_datum_t pem = { NULL, 0 };
        BhSendNote note;

        make_certificate(&cert, &key);
        g_assert_cmpint(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &pem), ==, 0);
        for (gsize i = 0; i < G_N_ELEMENTS(asks); i++) {
                guint16 port;
                int server = listen_tcp(&port);
                Late l = { .fd = server, .asks = asks[i] };
                json_auto_t *config = json_pack("{s:s, s:s, s:s, s:i, s:s#}", "type", "syslog", "transport", "tls", "host", "127.0.0.1", "port", (int) port, "ca", (char *) pem.data, (int) pem.size);
                g_autofree char *json = json_dumps(config, 0);
                g_autoptr(BhOutput) o = output("s", json);

                gnutls_certificate_allocate_credentials(&l.credentials);
                g_assert_cmpint(gnutls_certificate_set_x509_key(l.credentials, &cert, 1, key), ==, 0);
                GThread *t = g_thread_new("late", serve_late, &l);
                BhSender *s = bh_sender_new(o, &place);
                if (asks[i] == GNUTLS_CERT_REQUIRE)
                        g_assert_cmpint(fails(s, "it asks for a \"certificate\"", &note), ==, BH_SEND_RETRY);
                else
                        must_send(s, "1");
                bh_sender_free(s);
                g_thread_join(t);
                g_assert_true((l.got > 0) == (asks[i] != GNUTLS_CERT_REQUIRE));
                gnutls_certificate_free_credentials(l.credentials);
                close(server);
        }
        gnutls_free(pem.data);
        gnutls_x509_crt_deinit(cert);
        gnutls_x509_privkey_deinit(key);
}

static void local_daemon_may_be_restarted(void) {
        char *dir = make_dir();
        g_autofree char *path = g_build_filename(dir, "log", NULL);
        g_autoptr(BhOutput) o = output("l", "{\"type\":\"syslog\",\"transport\":\"local\",\"facility\":\"authpriv\"}");
        const BhSendPlace place = { .dev_log = path, .version = "t", .proc_id = 7 };
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        BhSender *s = bh_sender_new(o, &place);
        BhSendNote note;
        char got[16384];

        g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
        g_assert_cmpint(fails(s, "cannot reach the local syslog", &note), ==, BH_SEND_RETRY);
        for (guint i = 0; i < 2; i++) {
                int daemon = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

                g_unlink(path);
                g_assert_cmpint(bind(daemon, (struct sockaddr *) &a, sizeof(a)), ==, 0);
                must_send(s, "1");
                ssize_t n = recv(daemon, got, sizeof(got) - 1, 0);
                got[n] = '\0';
                g_assert_true(g_str_has_prefix(got, "<82>"));
                g_assert_nonnull(strstr(got, " bulkhead[7]: 2026-11-26T"));
                g_assert_null(strchr(got, '\n'));
                close(daemon);
        }
        bh_sender_free(s);
        remove_dir(dir);
}

/* Answers each connection with the next of its answers; keeps what was asked. */
typedef struct {
        int fd;
        const char *const *answers;
        GPtrArray *asked;
} Http;

static gpointer serve(gpointer data) {
        Http *h = data;

        for (const char *const *answer = h->answers; *answer; answer++) {
                int peer = accept(h->fd, NULL, NULL);
                g_autoptr(GString) got = g_string_new(NULL);
                char piece[4096], *end;
                gsize need = G_MAXSIZE;

                while (got->len < need) {
                        ssize_t n = read(peer, piece, sizeof(piece));
                        if (n <= 0)
                                break;
                        g_string_append_len(got, piece, n);
                        char *length = strstr(got->str, "Content-Length: ");
                        if ((end = strstr(got->str, "\r\n\r\n")) && length)
                                need = (gsize) (end + 4 - got->str) + g_ascii_strtoull(length + 16, NULL, 10);
                }
                g_ptr_array_add(h->asked, g_strdup(got->str));
                if (**answer && write(peer, *answer, strlen(*answer)) < 0)
                        g_error("cannot answer");
                close(peer);
        }
        return NULL;
}

#define ANSWER(status, more) "HTTP/1.1 " status "\r\nContent-Length: 0\r\nConnection: close\r\n" more "\r\n"

static void webhook_judges_answers(void) {
        static const char *const answers[] = { ANSWER("200 OK", ""), ANSWER("204 No Content", ""), ANSWER("500 Oops", ""), ANSWER("503 Busy", "Retry-After: 7\r\n"),
                                               ANSWER("429 Many", "Retry-After: 999999999\r\n"), ANSWER("400 Bad", ""), ANSWER("404 Not", ""),
                                               ANSWER("301 Moved", "Location: http://127.0.0.1:1/\r\n"), "", "nonsense\r\n\r\n", ANSWER("200 OK", ""), NULL };
        guint16 port;
        Http h = { .fd = listen_tcp(&port), .answers = answers, .asked = g_ptr_array_new_with_free_func(g_free) };
        g_autofree char *json = g_strdup_printf("{\"type\":\"webhook\",\"url\":\"http://127.0.0.1:%u/in\",\"url_secret\":\"?s=1\",\"headers\":{\"X-Key\":\"k\",\"X-Empty\":\"\"},\"timeout\":5}", port);
        g_autoptr(BhOutput) o = output("w", json);
        const BhSendPlace place = { .version = "t" };
        BhSender *s = bh_sender_new(o, &place);
        GThread *server = g_thread_new("http", serve, &h);
        BhSendNote note;

        must_send(s, "node 1-\xc3\xa9");
        must_send(s, "2");
        g_assert_cmpint(fails(s, "500", &note), ==, BH_SEND_RETRY);
        g_assert_cmpuint(note.retry_after_s, ==, 0);
        g_assert_cmpint(fails(s, "503", &note), ==, BH_SEND_RETRY);
        g_assert_cmpuint(note.retry_after_s, ==, 7);
        g_assert_cmpint(fails(s, "429", &note), ==, BH_SEND_RETRY);
        g_assert_cmpuint(note.retry_after_s, ==, BH_SEND_RETRY_AFTER_MAX);
        g_assert_cmpint(fails(s, "400", &note), ==, BH_SEND_REFUSED);
        g_assert_cmpint(fails(s, "404", &note), ==, BH_SEND_REFUSED);
        g_assert_cmpint(fails(s, "redirects are not followed", &note), ==, BH_SEND_REFUSED);
        g_assert_cmpint(fails(s, "", &note), ==, BH_SEND_RETRY);
        g_assert_cmpint(fails(s, "", &note), ==, BH_SEND_RETRY);
        must_send(s, "3");
        g_thread_join(server);
        g_assert_cmpuint(h.asked->len, ==, 11);

        const char *first = h.asked->pdata[0];
        g_assert_true(g_str_has_prefix(first, "POST /in?s=1 HTTP/1.1\r\n"));
        g_assert_nonnull(strstr(first, "\r\nBulkhead-Delivery-Id: node%201-%c3%a9/1\r\n"));
        g_assert_nonnull(strstr(first, "\r\nContent-Type: application/json\r\n"));
        g_assert_nonnull(strstr(first, "\r\nX-Key: k\r\n"));
        g_assert_nonnull(strstr(first, "\r\nX-Empty:\r\n"));
        g_assert_nonnull(strstr(first, "\r\nUser-Agent: Bulkhead/t\r\n"));
        json_auto_t *body = json_loads(strstr(first, "\r\n\r\n") + 4, JSON_REJECT_DUPLICATES, NULL);
        g_assert_cmpstr(json_string_value(json_object_get(body, "schema")), ==, "bulkhead.finding.v1");
        /* each has its own id, once */
        for (guint i = 0; i < h.asked->len; i++) {
                const char *id = strstr(h.asked->pdata[i], "Bulkhead-Delivery-Id: ");
                g_assert_nonnull(id);
                g_assert_null(strstr(id + 1, "Bulkhead-Delivery-Id: "));
        }
        g_ptr_array_unref(h.asked);
        close(h.fd);
        bh_sender_free(s);
}

static void a_server_that_hangs_is_left_when_it_is_to_stop(void) {
        guint16 port;
        int server = listen_tcp(&port); /* takes connections and never answers */
        g_autofree char *json = g_strdup_printf("{\"type\":\"webhook\",\"url\":\"http://127.0.0.1:%u/\",\"timeout\":60}", port);
        g_autoptr(BhOutput) o = output("w", json);
        char *dir = make_dir();
        const BhSendPlace place = { .version = "t" };
        g_autoptr(GPtrArray) outputs = g_ptr_array_new();
        BhQueueFound found;
        gint64 began;

        g_ptr_array_add(outputs, o);
        BhQueue *q = bh_queue_open(dir, 60000, 1000, &found, NULL);
        bh_queue_set_outputs(q, outputs, NULL);
        g_autofree char *text = finding_text("a", 1);
        const BhQueueItem item = { text, strlen(text) };
        g_assert_true(bh_queue_add(q, &item, 1, 1, 1, NULL));
        BhNotifier *n = bh_notifier_new(q, outputs, &place, 0);
        int peer = accept(server, NULL, NULL);
        began = g_get_monotonic_time();
        g_assert_true(bh_notifier_stop(n, 10000));
        /* not its timeout of a minute */
        g_assert_cmpint(g_get_monotonic_time() - began, <, 20 * G_USEC_PER_SEC);
        BhQueueOutputStats st;
        g_assert_true(bh_queue_output_stats(q, o, &st, NULL));
        g_assert_cmpuint(st.queued, ==, 1);
        bh_queue_close(q);
        close(peer);
        close(server);
        remove_dir(dir);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        bh_send_global_init();
        signal(SIGPIPE, SIG_IGN);
        g_test_add_func("/notify/send/file_is_appended_rotated_and_0640", file_is_appended_rotated_and_0640);
        g_test_add_func("/notify/send/full_disk_is_said_and_no_half_line_stays", full_disk_is_said_and_no_half_line_stays);
        g_test_add_func("/notify/send/stdout_waits_for_no_reader_for_ever", stdout_waits_for_no_reader_for_ever);
        g_test_add_func("/notify/send/tcp_counts_octets_and_notices_a_peer_that_left", tcp_counts_octets_and_notices_a_peer_that_left);
        g_test_add_func("/notify/send/tls_1_3_waits_for_the_servers_word", tls_1_3_waits_for_the_servers_word);
        g_test_add_func("/notify/send/local_daemon_may_be_restarted", local_daemon_may_be_restarted);
        g_test_add_func("/notify/send/webhook_judges_answers", webhook_judges_answers);
        g_test_add_func("/notify/send/a_server_that_hangs_is_left_when_it_is_to_stop", a_server_that_hangs_is_left_when_it_is_to_stop);
        return g_test_run();
}
