/* SPDX-License-Identifier: Apache-2.0 */
/* As trace.c, with a loader: the trace is left by what runs before main(). */
#include <unistd.h>

static volatile char mark[] = "BHMARK=x";

__attribute__((constructor)) static void leave(void) {
        (void) !write(9, (const char *) mark + 7, 1);
}

int main(void) {
        return 0;
}
