/* SPDX-License-Identifier: Apache-2.0 */
/* The web-attack engine inside the inspector's real sandbox: its rules loaded before it closes, and nothing that the system-call filter kills for afterwards. */
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "inspect/sandbox.h"
#include "parse/http1.h"
#include "parse/inspect_wire.h"
#include "parse/waf.h"
#include "parse/waf_filter.h"

typedef struct {
        guint32 layers, exchanges, matches, rules;
        gint64 load_us, judge_us;
} Report;

typedef struct {
        BhWaf *waf;
        BhWafFilter *filter;
        Report *report;
} Inside;

/* Each way to read a body that the engine has, and an answer with a leak. */
static const struct {
        const char *type, *body, *answer;
} cases[] = {
        { "application/x-www-form-urlencoded", "x=;cat+/etc/passwd&y=%zz&id=1%27%20or%20%271%27=%271",
          "HTTP/1.1 500 E\r\nContent-Type: text/html\r\n\r\nYou have an error in your SQL syntax; check the manual that corresponds to your MySQL server version" },
        { "application/json", "{\"a\":[{\"b\":\"<script>alert(1)\"}]}", "" },
        { "text/xml", "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\"><!ENTITY y SYSTEM \"http://192.0.2.3/\">]><a b=\"c\">&x;&y;<d>e</d></a>", "" },
        { "multipart/form-data; boundary=B",
          "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.php\"\r\nContent-Type: text/plain\r\n\r\n<?php system($_GET[1]);\r\n--B\r\nContent-Disposition: form-data; "
          "name=\"y\"\r\n\r\n../../etc/passwd\r\n--B--\r\n",
          "" },
        { "text/plain", "GET /../../etc/passwd", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" },
};

static void on_exchange(BhHttpExchange *x, gpointer data) {
        Inside *in = data;
        g_autoptr(BhWafResult) r = NULL;

        if (!x->request)
                return;
        (void) bh_waf_filter_wants(in->filter, x->request, TRUE, NULL);
        r = bh_waf_judge(in->waf, x->request, x->response, "192.0.2.1", "192.0.2.2", 80);
        in->report->exchanges++;
        in->report->matches += r->n_matches;
}

/* Never returns. */
static void work_inside(int fd, guint rounds) {
        Report report = { 0 };
        BhWafConfig config = { .level = 4, .responses = TRUE };
        gint64 begin = g_get_monotonic_time();
        BhWaf *waf = bh_waf_new(&config, NULL);
        BhWafFilter *filter = bh_waf_filter_new(NULL, NULL);
        Inside in = { waf, filter, &report };

        report.load_us = g_get_monotonic_time() - begin;
        if (!waf || !filter || !bh_sandbox_prepare(fd, NULL) || !bh_sandbox_confine(&report.layers, NULL) || !bh_sandbox_seal(fd, TRUE, &report.layers, NULL))
                _exit(3);
        report.rules = bh_waf_rules(waf);
        begin = g_get_monotonic_time();
        for (guint i = 0; i < rounds; i++)
                for (gsize k = 0; k < G_N_ELEMENTS(cases); k++) {
                        BhHttpSink sink = { .exchange = on_exchange, .data = &in };
                        BhHttp1 *p = bh_http1_new(0, &sink);
                        g_autofree char *request = g_strdup_printf("POST /?a=%%3Cscript%%3E HTTP/1.1\r\nHost: h\r\nUser-Agent: sqlmap\r\nCookie: a=b\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
                                                                   cases[k].type, strlen(cases[k].body), cases[k].body);

                        bh_http1_feed(p, TRUE, (const guint8 *) request, strlen(request), 0);
                        bh_http1_feed(p, FALSE, (const guint8 *) cases[k].answer, strlen(cases[k].answer), 0);
                        bh_http1_free(p);
                }
        report.judge_us = g_get_monotonic_time() - begin;
        if (write(fd, &report, sizeof(report)) != sizeof(report))
                _exit(4);
        /* until the test has looked at what this process has taken */
        char byte;
        struct iovec iov = { &byte, 1 };
        struct msghdr until = { .msg_iov = &iov, .msg_iovlen = 1 };
        (void) recvmsg(fd, &until, 0);
        _exit(0);
}

static guint64 kib_of(pid_t pid, const char *what) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int) pid), *text = NULL;
        const char *line = g_file_get_contents(path, &text, NULL, NULL) ? strstr(text, what) : NULL;

        return line ? g_ascii_strtoull(line + strlen(what) + 1, NULL, 10) : 0;
}

static void engine_works_in_the_sandbox(void) {
        const guint rounds = 20;
        int pair[2], status;
        Report report;

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
        pid_t pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                dup2(pair[1], 3);
                work_inside(3, rounds);
        }
        close(pair[1]);
        ssize_t n = read(pair[0], &report, sizeof(report));
        guint64 peak = kib_of(pid, "VmHWM:"), space = kib_of(pid, "VmPeak:");
        close(pair[0]);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        if (WIFSIGNALED(status))
                g_error("ended by signal %d (%s): a system call that the filter does not allow?", WTERMSIG(status), g_strsignal(WTERMSIG(status)));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
        g_assert_cmpint(n, ==, sizeof(report));
        g_assert_cmpuint(report.exchanges, ==, rounds * G_N_ELEMENTS(cases));
        g_assert_cmpuint(report.matches, >, report.exchanges * 2);
        g_test_message("%u rules loaded in %" G_GINT64_FORMAT " us; %u exchanges in %" G_GINT64_FORMAT " us; at most %" G_GUINT64_FORMAT " KiB resident, %" G_GUINT64_FORMAT " KiB of address space",
                       report.rules, report.load_us, report.exchanges, report.judge_us, peak, space);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/waf-sandbox/engine-works-in-the-sandbox", engine_works_in_the_sandbox);
        return g_test_run();
}
