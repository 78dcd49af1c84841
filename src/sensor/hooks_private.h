/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of BhHooks, for the modules that it is made of and nobody else: backends (what this kernel can do, what each hook is made of), dispatcher
 * (the table of system calls), loader (programs and maps), hooks (life cycle, checks, repair).
 *
 * hooks.c makes it and frees it; it owns everything in it, save `canary` and the strings of `options`. Threads as in hooks.h; while loader.c's jobs run, nobody changes it.
 */
#pragma once
#include <bpf/btf.h>
#include <glib.h>

#include "hooks.h"

#define BH_HOOKS_OBJECTS 5 /* BPF objects that the programs come in */

struct BhHooks {
        char *pin_dir;
        GPtrArray *links;     /* struct bpf_link * of this process */
        GHashTable *attached; /* name of each program that is attached or in the dispatcher's table */
        GHashTable *maps;     /* name → fd + 1 */
        GMutex kept_lock;     /* of the next */
        GHashTable *kept;     /* name of each pin of others → fd + 1: see bh_hooks_keep() */
        GHashTable *shared;   /* names of the maps that the objects share by pins */
        char *lost[BH_EV_KERNEL_MAX]; /* programs that were missing when this sensor took over; NULL: none */
        GPtrArray *names[BH_HOOKS_OBJECTS]; /* programs of each object */
        GHashTable *targets;  /* program → kernel function that it wants (preferred ones) */
        GHashTable *lacking;  /* programs that need a tracepoint or helper which this kernel does not have; others stand for them, or nothing can */
        GHashTable *bad;      /* program → why this kernel refuses it, though it should not */
        struct btf *btf;
        gint64 btf_used_us;
        BhCanary *canary;
        BhHookState state[BH_EV_KERNEL_MAX];
        GRecMutex lock;       /* of everything here that changes after open */
        GMutex wish_lock;     /* of the next two, which are changed under both: who asks is not to wait for a test of the hooks */
        BhKinds wishes[BH_CONSUMERS];
        BhKinds wanted;       /* all of them together */
        BhKinds needed;       /* wanted, and what those need: these are attached */
        guint64 off[2];       /* as it is to be in the configuration: kinds whose events are not generated */
        struct {
                gint64 due_us;   /* no repair before; 0: none was needed lately */
                gint64 pause_us; /* until the next one, if this one does not help */
                guint excused;   /* checks in a row whose result was not believed */
        } repair[BH_EV_KERNEL_MAX];
        guint64 recursion; /* as last read by a check */
        gboolean adopted;
        gint judged; /* calls of bh_hooks_judge_anew() */
        gint recursion_shown; /* misses as last read by a check, up to G_MAXINT */
        volatile struct bh_config *config;
        volatile guint64 *hits;
        BhHooksOptions options;
        gint32 subsys, hierarchy;
        gint32 uring_cqe; /* see net.bpf.c */
        guint64 page_offset_base, vmemmap_base; /* addresses of the kernel's variables; 0: not known */
        guint64 build_id;
        gboolean fexit_tried, fexit_ok;
        char *no_fexit; /* why not; may be NULL */
};

/* Sets `error` and returns FALSE. */
gboolean bh_hooks_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
