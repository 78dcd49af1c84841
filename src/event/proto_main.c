/* SPDX-License-Identifier: Apache-2.0 */
/* bulkhead-proto > api/bulkhead.proto; bulkhead-proto --docs > docs/events.md */
#include <stdio.h>

#include "event/codec.h"

int main(int argc, char **argv) {
        gboolean docs = argc == 2 && strcmp(argv[1], "--docs") == 0;

        if (argc > 1 && !docs) {
                fprintf(stderr, "usage: bulkhead-proto [--docs]\n");
                return 2;
        }

        g_autofree char *text = docs ? bh_event_docs() : bh_event_proto();

        return fputs(text, stdout) == EOF || fflush(stdout) == EOF ? 1 : 0;
}
