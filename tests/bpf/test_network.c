/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel programs tell of sockets and connections, by both backends: ends of connections, the walks over all sockets and processes, first bytes, payloads, what moves over Unix sockets. */
#include <glib.h>

#include "kernel.h"
#include "network.h"

int main(int argc, char **argv) {
        static const BhBackend backends[] = { BH_BACKEND_PREFERRED, BH_BACKEND_FALLBACK };
        int status;

        g_test_init(&argc, &argv, NULL);
        for (guint i = 0; i < G_N_ELEMENTS(backends); i++) {
                connections_add(backends[i]);
                sockets_add(backends[i]);
                tasks_add(backends[i]);
                firstbytes_add(backends[i]);
                callers_add(backends[i]);
                payload_add(backends[i]);
                unixes_add(backends[i]);
        }
        status = g_test_run();
        sockets_end();
        tasks_end();
        firstbytes_end();
        payload_end();
        kernel_end();
        return status;
}
