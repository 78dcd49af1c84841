/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_serve PORT FILE: a server that answers each request over TLS with 200, one connection after the other. FILE has its key and certificate. Built twice: with GnuTLS, and with all of OpenSSL in
 * the program (static), so that the tests have what Debian's servers do not show.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef WITH_GNUTLS
#include <gnutls/gnutls.h>

static gnutls_certificate_credentials_t credentials;
typedef gnutls_session_t Session;

static int prepare(const char *file) {
        return gnutls_certificate_allocate_credentials(&credentials) == 0 && gnutls_certificate_set_x509_key_file(credentials, file, file, GNUTLS_X509_FMT_PEM) == 0;
}

static int begin(Session *s, int fd) {
        if (gnutls_init(s, GNUTLS_SERVER) || gnutls_set_default_priority(*s) || gnutls_credentials_set(*s, GNUTLS_CRD_CERTIFICATE, credentials))
                return 0;
        gnutls_transport_set_int(*s, fd);
        return gnutls_handshake(*s) == 0;
}

static long get(Session s, char *to, size_t n) {
        return gnutls_record_recv(s, to, n);
}

static void put(Session s, const char *text) {
        gnutls_record_send(s, text, strlen(text));
        gnutls_bye(s, GNUTLS_SHUT_WR);
}

static void end(Session s) {
        gnutls_deinit(s);
}
#else
#include <openssl/ssl.h>

static SSL_CTX *context;
typedef SSL *Session;

static int prepare(const char *file) {
        context = SSL_CTX_new(TLS_server_method());
        return context && SSL_CTX_use_certificate_file(context, file, SSL_FILETYPE_PEM) == 1 && SSL_CTX_use_PrivateKey_file(context, file, SSL_FILETYPE_PEM) == 1;
}

static int begin(Session *s, int fd) {
        *s = SSL_new(context);
        return *s && SSL_set_fd(*s, fd) == 1 && SSL_accept(*s) == 1;
}

static long get(Session s, char *to, size_t n) {
        return SSL_read(s, to, (int) n);
}

static void put(Session s, const char *text) {
        SSL_write(s, text, (int) strlen(text));
        SSL_shutdown(s);
}

static void end(Session s) {
        SSL_free(s);
}
#endif

static void serve(int fd) {
        char request[8192] = { 0 };
        size_t have = 0;
        Session s = 0;

        if (begin(&s, fd)) {
                while (have < sizeof(request) - 1 && !strstr(request, "\r\n\r\n")) {
                        long n = get(s, request + have, sizeof(request) - 1 - have);

                        if (n <= 0)
                                break;
                        have += (size_t) n;
                }
                if (strstr(request, "\r\n\r\n"))
                        put(s, "HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
        if (s)
                end(s);
}

int main(int argc, char **argv) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_ANY) };
        int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

        if (argc != 3 || listener < 0)
                return 2;
        signal(SIGPIPE, SIG_IGN);
        a.sin_port = htons((uint16_t) atoi(argv[1]));
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (!prepare(argv[2]) || bind(listener, (struct sockaddr *) &a, sizeof(a)) || listen(listener, 16)) {
                fprintf(stderr, "tls_serve: cannot serve on port %s with %s\n", argv[1], argv[2]);
                return 1;
        }
        for (;;) {
                int fd = accept(listener, NULL, NULL);

                if (fd < 0)
                        continue;
                serve(fd);
                close(fd);
        }
}
