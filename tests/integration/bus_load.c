/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus-load ADDRESS SPOOL NODE MIB: a node that only speaks: the real publisher with a spool of MIB, driven by lines on standard input.
 *
 *     publish FIRST COUNT SIZE    that many observations, of executables /load/FIRST, /load/FIRST+1, …, with SIZE more bytes each, spooled then
 *     stats                       nothing
 *
 * Each line is answered with one JSON object: what a sensor's status says of the bus; the central is told the same as the node's status.
 */
#include <stdio.h>
#include <string.h>

#include "bus/body.h"
#include "bus/bus.h"
#include "bus/bus.pb-c.h"

#define CONTAINER "1010101010101010101010101010101010101010101010101010101010101010"

static void publish(BhBusPublisher *p, const char *node, guint64 n, const char *more) {
        Bulkhead__Bus__V1__Observation m;
        g_autofree char *subject = g_strdup_printf("/load/%" G_GUINT64_FORMAT "%s", n, more);
        g_autoptr(GBytes) body = NULL;

        bulkhead__bus__v1__observation__init(&m);
        m.node = (char *) node;
        m.container_id = bh_bus_text(CONTAINER);
        m.workload = bh_bus_text("load");
        m.application = bh_bus_text("load");
        m.kind = (char *) "exec";
        m.subject = bh_bus_text(subject);
        m.parent = bh_bus_text("/load");
        m.count = 1;
        m.first_ns = m.last_ns = g_get_real_time() * 1000;
        body = bh_bus_body_pack(&m.base);
        bh_bus_publish(p, "observation", body);
}

static void tell(BhBusPublisher *p, const char *node) {
        Bulkhead__Bus__V1__NodeStatus m;
        BhBusPublisherStats s;

        bh_bus_publisher_stats(p, &s);
        g_autofree char *bus = g_strdup_printf("{\"state\":\"%s\",\"published\":%" G_GUINT64_FORMAT ",\"acknowledged\":%" G_GUINT64_FORMAT ",\"lost\":%" G_GUINT64_FORMAT
                                               ",\"spool\":{\"messages\":%" G_GUINT64_FORMAT ",\"bytes\":%" G_GUINT64_FORMAT "}}",
                                               s.connected ? "connected" : "not connected", s.published, s.acknowledged, s.lost, s.spooled + s.queued, s.spooled_bytes);
        g_autofree char *status = g_strdup_printf("{\"ready\":true,\"node\":\"%s\",\"bus\":%s}", node, bus);
        bulkhead__bus__v1__node_status__init(&m);
        m.node = (char *) node;
        m.json = bh_bus_text(status);
        m.time_ns = g_get_real_time() * 1000;
        g_autoptr(GBytes) body = bh_bus_body_pack(&m.base);
        bh_bus_publish_latest(p, "status", body);
        puts(bus);
        fflush(stdout);
}

int main(int argc, char **argv) {
        BhBusPublisherOptions options;
        g_autoptr(GError) error = NULL;
        char line[256];

        if (argc != 5) {
                fprintf(stderr, "usage: bus-load ADDRESS SPOOL NODE MIB\n");
                return 2;
        }
        bh_bus_publisher_options_init(&options);
        options.node = argv[3];
        options.version = "load";
        options.spool_max_bytes = g_ascii_strtoull(argv[4], NULL, 10) << 20;
        g_autoptr(BhBusPublisher) p = bh_bus_publisher_new(argv[1], argv[2], &options, NULL, &error);
        if (!p) {
                fprintf(stderr, "bus-load: %s\n", error->message);
                return 1;
        }
        bh_bus_publisher_start(p);
        while (fgets(line, sizeof(line), stdin)) {
                guint64 first, count, size;

                if (sscanf(line, "publish %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &first, &count, &size) == 3 && size < 4096) {
                        g_autofree char *more = g_strnfill(size, 'x');

                        for (guint64 i = 0; i < count; i++)
                                publish(p, argv[3], first + i, more);
                        if (!bh_bus_publisher_flush(p, 60000))
                                fprintf(stderr, "bus-load: not spooled within a minute\n");
                }
                tell(p, argv[3]);
        }
        return 0;
}
