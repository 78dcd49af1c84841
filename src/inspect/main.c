/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bulkhead-inspect: parses attackers' bytes for the sensor, in a sandbox. It is handed one end of a socket pair as descriptor 3 and speaks
 * inspect_wire.h over it until the other end is closed. It needs no file (with the web-attack engine: its rules, which it reads before the sandbox closes), says nothing but answers, and may die at any moment: the
 * sensor's side (inspect_client.h) counts what it had and starts another.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "parse/inspect_wire.h"
#include "inspect/sandbox.h"
#ifdef BH_INSPECT_WEB_ENGINE
#include "parse/redact.h"
#include "parse/web.h"
#endif

/* A test's build answers with something else, and leaves the filter out to see what the other layers hold. */
#ifdef BH_INSPECT_ANSWER
BhInspectStatus BH_INSPECT_ANSWER(guint kind, const guint8 *body, gsize len, const guint8 *file, gsize file_len, GByteArray *out);
#else
#define BH_INSPECT_ANSWER answer_one
#endif
#ifndef BH_INSPECT_SEAL
#define BH_INSPECT_SEAL bh_sandbox_seal
#endif

#define IN_ROOM (sizeof(BhInspectHeader) + BH_INSPECT_REQUEST_MAX + (64u << 10)) /* a whole request always fits */
#define OUT_FLUSH (64u << 10)

typedef struct {
        guint8 *in;
        gsize in_len;
        GByteArray *out;
        int files[BH_INSPECT_FILES_MAX]; /* that came and whose requests did not yet, oldest first */
        guint n_files;
} Server;

static gboolean write_all(const guint8 *p, gsize len) {
        while (len) {
                ssize_t n = write(BH_INSPECT_FD, p, len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return FALSE;
                p += n;
                len -= (gsize) n;
        }
        return TRUE;
}

static gboolean flush(Server *s) {
        gboolean ok = write_all(s->out->data, s->out->len);

        g_byte_array_set_size(s->out, 0);
        return ok;
}

static void greet(guint32 layers, const char *problem) {
        struct {
                BhInspectHeader h;
                BhInspectGreeting g;
        } frame = { .h = { .len = sizeof(BhInspectGreeting), .kind = BH_INSPECT_GREETING }, .g = { .version = BH_INSPECT_VERSION, .layers = layers } };

        g_strlcpy(frame.g.error, problem, sizeof(frame.g.error));
        write_all((const guint8 *) &frame, sizeof(frame));
}

/* Maps the oldest file that came. NULL when there is none or it cannot be mapped; an empty one is "". */
static const guint8 *take_file(Server *s, guint64 len) {
        if (!s->n_files)
                return NULL;
        int fd = s->files[0];
        void *map = (void *) "";

        memmove(s->files, s->files + 1, --s->n_files * sizeof(*s->files));
        if (len)
                map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
        close(fd);
        return map == MAP_FAILED ? NULL : map;
}

#ifdef BH_INSPECT_WEB_ENGINE
#define WITH_ENGINE TRUE
static BhWeb *web;
#else
#define WITH_ENGINE FALSE
#endif

#ifdef BH_INSPECT_WEB_ENGINE
/* The first byte: whether they are not the first of their stream. */
static BhInspectStatus answer_redact(const guint8 *body, gsize len, GByteArray *out) {
        static const char much[] = "nothing, or more bytes than are made text of at a time";

        if (!len || len > BH_INSPECT_REDACT_MAX) {
                g_byte_array_append(out, (const guint8 *) much, sizeof(much) - 1);
                return BH_INSPECT_REFUSED;
        }
        g_autofree char *text = bh_redact_bytes(body + 1, len - 1, *body != 0);
        g_byte_array_append(out, (const guint8 *) text, (guint) strlen(text));
        return BH_INSPECT_OK;
}
#endif

/* bulkhead-inspect-web is this program with the engine: it answers what the other one does, and kinds WEB and REDACT. */
G_GNUC_UNUSED static BhInspectStatus answer_one(guint kind, const guint8 *body, gsize len, const guint8 *file, gsize file_len, GByteArray *out) {
#ifdef BH_INSPECT_WEB_ENGINE
        if (kind == BH_INSPECT_WEB)
                return bh_web_answer(web, body, len, out);
        if (kind == BH_INSPECT_REDACT)
                return answer_redact(body, len, out);
#endif
        return bh_inspect_answer(kind, body, len, file, file_len, out);
}

static gboolean load(GError **error) {
#ifdef BH_INSPECT_WEB_ENGINE
        web = bh_web_new(NULL, error);
        return web != NULL;
#else
        (void) error;
        return TRUE;
#endif
}

static void answer(Server *s, const BhInspectHeader *request, const guint8 *body) {
        BhInspectHeader h = { .kind = request->kind, .id = request->id };
        gsize at = s->out->len;
        const guint8 *file = NULL;

        g_byte_array_append(s->out, (const guint8 *) &h, sizeof(h));
        if (bh_inspect_kind_takes_file(request->kind))
                file = take_file(s, request->file);
        h.status = (guint16) BH_INSPECT_ANSWER(request->kind, body, request->len, file, request->file, s->out);
        if (file && request->file)
                munmap((void *) file, request->file);
        h.len = (guint32) (s->out->len - at - sizeof(h));
        memcpy(s->out->data + at, &h, sizeof(h));
}

/* More bytes, and the descriptors that came with them. FALSE at the end. */
static gboolean receive(Server *s) {
        union {
                char bytes[CMSG_SPACE(BH_INSPECT_FILES_MAX * sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec iov = { s->in + s->in_len, IN_ROOM - s->in_len };
        struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes) };
        ssize_t n;

        do
                n = recvmsg(BH_INSPECT_FD, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
                return FALSE;
        s->in_len += (gsize) n;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
                gsize count = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

                /* the sensor has at most so many on their way: more is a sensor gone wrong, and the end */
                if (count > BH_INSPECT_FILES_MAX - s->n_files)
                        return FALSE;
                memcpy(s->files + s->n_files, CMSG_DATA(c), count * sizeof(int));
                s->n_files += (guint) count;
        }
        return TRUE;
}

static void serve(Server *s) {
        while (receive(s)) {
                gsize at = 0;

                while (s->in_len - at >= sizeof(BhInspectHeader)) {
                        BhInspectHeader h;

                        memcpy(&h, s->in + at, sizeof(h));
                        if (h.len > BH_INSPECT_REQUEST_MAX || h.file > BH_INSPECT_FILE_MAX)
                                return;
                        if (s->in_len - at < sizeof(h) + h.len)
                                break;
                        /* what may take long does not hold back the answers that are there */
                        if ((bh_inspect_kind_takes_file(h.kind) || s->out->len >= OUT_FLUSH) && !flush(s))
                                return;
                        answer(s, &h, s->in + at + sizeof(h));
                        at += sizeof(h) + h.len;
                }
                s->in_len -= at;
                memmove(s->in, s->in + at, s->in_len);
                if (!flush(s))
                        return;
        }
}

int main(int argc, char **argv) {
        g_autoptr(GError) error = NULL;
        Server s = { 0 };
        guint32 layers = 0;
        int type = 0;
        socklen_t len = sizeof(type);

        if (argc > 1 || getsockopt(BH_INSPECT_FD, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM) {
                fputs("bulkhead-inspect parses captured bytes in a sandbox. The sensor starts it with a socket as descriptor 3;\n"
                      "it takes no arguments and is not meant to be started by hand.\n", stderr);
                return 2;
        }
        if (!bh_sandbox_prepare(BH_INSPECT_FD, &error) || !load(&error) || !bh_sandbox_confine(&layers, &error) || !BH_INSPECT_SEAL(BH_INSPECT_FD, WITH_ENGINE, &layers, &error)) {
                greet(layers, error->message);
                _exit(1);
        }
        s.in = g_malloc(IN_ROOM);
        s.out = g_byte_array_new();
        greet(layers, "");
        serve(&s);
        /* exit(3) would run handlers that the filter has no mercy with */
        _exit(0);
}
