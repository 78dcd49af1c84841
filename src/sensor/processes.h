/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The living processes, as the bus carries them ("processes"). The process table belongs to the drain thread: a bounded copy is made there, and
 * packed in the caller's.
 */
#pragma once
#include "container/table.h"
#include "pipeline.h"

#define BH_PROCESSES_TEXT_BYTES (8u << 20) /* of executables and arguments; beyond it arguments are left out */
#define BH_PROCESSES_PIECE 256u            /* processes of a piece, and at most … */
#define BH_PROCESSES_PIECE_BYTES (256u << 10)

typedef struct {
        BhPipeline *pipeline;
        BhProcessTable *processes;
        BhContainerTable *containers;
        BhInspector *inspector; /* NULL: no names */
        struct bh_clock clock;
} BhProcessesConfig;

/*
 * At most `limit` processes of a container (name, id or its beginning, "host": of none; NULL: all): those that are in it, and those that came
 * from it. Packed ProcessLists: GBytes *, owned by the array. Waits for the drain thread. Any other thread.
 */
GPtrArray *bh_processes_list(const BhProcessesConfig *config, const char *container, guint limit);
