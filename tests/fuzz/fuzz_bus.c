/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer on the bus sends. The first byte chooses:
 *   0  one frame: our decoder against protobuf-c's, and what we write of it against both
 *   1  a stream of frames through a connection, torn as the second byte says; torn otherwise it must give the same frames
 *   n  the body of a message
 */
#include <assert.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include "bus/body.h"
#include "bus/bus.h"
#include "bus/bus.pb-c.h"
#include "bus/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(BhBusSpan a, ProtobufCBinaryData b) {
        assert(a.len == b.len && (!a.len || memcmp(a.data, b.data, a.len) == 0));
}

static void frame(const uint8_t *data, size_t size) {
        BhBusFrame f, back;

        if (!bh_bus_frame_decode(data, size, &f))
                return;

        Bulkhead__Bus__V1__Frame *pb = bulkhead__bus__v1__frame__unpack(NULL, size, data);
        if (pb) { /* it refuses some things that we take, such as long tags */
                assert(pb->stream == f.stream && pb->seq == f.seq && pb->dropped == f.dropped && pb->credit == f.credit);
                same(f.subject, pb->subject);
                same(f.body, pb->body);
                same(f.error, pb->error);
                bulkhead__bus__v1__frame__free_unpacked(pb, NULL);
        }

        g_autoptr(GByteArray) out = g_byte_array_new();
        bh_bus_frame_append(out, &f);
        assert(bh_bus_frame_decode(out->data + 4, out->len - 4, &back));
        assert(back.kind == f.kind && back.stream == f.stream && back.seq == f.seq && back.dropped == f.dropped && back.credit == f.credit);
        assert(back.subject.len == f.subject.len && back.body.len == f.body.len && back.error.len == f.error.len);
        pb = bulkhead__bus__v1__frame__unpack(NULL, out->len - 4, out->data + 4);
        assert(pb);
        same(f.body, pb->body);
        bulkhead__bus__v1__frame__free_unpacked(pb, NULL);
}

static void tell(GString *log, const BhBusFrame *f) {
        g_string_append_printf(log, "%llu %llu %llu %zu %zu;", (unsigned long long) f->kind, (unsigned long long) f->stream, (unsigned long long) f->seq,
                               f->subject.len, f->body.len);
}

/* The frames of the stream, as text; it ends where the peer breaks the protocol. */
static GString *listen_to(const uint8_t *data, size_t size, size_t step) {
        GString *log = g_string_new(NULL);
        BhBusLink link;
        BhBusFrame f;
        const char *why;
        int fds[2], got = 0;

        assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
        bh_bus_link_init(&link, fds[0]);
        link.max_frame = 1024;
        while (size && got >= 0) {
                size_t n = MIN(step, size);

                assert(send(fds[1], data, n, 0) == (ssize_t) n);
                data += n;
                size -= n;
                assert(bh_bus_link_fill(&link, &why));
                while ((got = bh_bus_link_next(&link, &f)) > 0)
                        tell(log, &f);
                assert(link.in->len - link.in_at <= 1024 + 4 + step);
        }
        g_string_append(log, got < 0 ? "broken" : "");
        close(fds[1]);
        bh_bus_link_clear(&link);
        return log;
}

static void body(unsigned which, const uint8_t *data, size_t size) {
        static const ProtobufCMessageDescriptor *const known[] = {
                &bulkhead__bus__v1__hello__descriptor,      &bulkhead__bus__v1__welcome__descriptor,        &bulkhead__bus__v1__loss__descriptor,
                &bulkhead__bus__v1__inventory__descriptor,  &bulkhead__bus__v1__observation__descriptor,    &bulkhead__bus__v1__finding__descriptor,
                &bulkhead__bus__v1__node_status__descriptor, &bulkhead__bus__v1__events_request__descriptor, &bulkhead__bus__v1__process_list__descriptor,
        };
        const ProtobufCMessageDescriptor *d = known[which % G_N_ELEMENTS(known)];
        g_autoptr(GBytes) bytes = g_bytes_new(data, size);
        ProtobufCMessage *m = bh_bus_body_unpack(d, bytes, NULL);

        if (!m)
                return;
        g_autoptr(GBytes) packed = bh_bus_body_pack(m);
        protobuf_c_message_free_unpacked(m, NULL);
        m = bh_bus_body_unpack(d, packed, NULL);
        if (m)
                protobuf_c_message_free_unpacked(m, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        if (!size)
                return 0;
        if (data[0] == 0) {
                frame(data + 1, size - 1);
        } else if (data[0] == 1 && size > 1 && size <= 32768) {
                GString *torn = listen_to(data + 2, size - 2, 1u + data[1]), *whole = listen_to(data + 2, size - 2, 32768);

                assert(g_string_equal(torn, whole));
                g_string_free(torn, TRUE);
                g_string_free(whole, TRUE);
        } else {
                body(data[0], data + 1, size - 1);
        }
        return 0;
}
