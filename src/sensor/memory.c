/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <malloc.h>

#define ARENAS 2 /* the drain thread's hot path allocates little, and small things come from its own cache in any case */
#define FREE_MAX (3u << 20)
#define PAUSE_US (3 * G_USEC_PER_SEC)

void bh_memory_init(void) {
        mallopt(M_ARENA_MAX, ARENAS);
        /* large blocks go back when they are freed: without this, the first large one that is freed raises the bound to its size */
        mallopt(M_MMAP_THRESHOLD, 256 * 1024);
}

void bh_memory_trim(void) {
        static gint64 next_us;
        gint64 now_us = g_get_monotonic_time();

        if (now_us < next_us)
                return;
        next_us = now_us + PAUSE_US;
        if (mallinfo2().fordblks > FREE_MAX)
                malloc_trim(0);
}
