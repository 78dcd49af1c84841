/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel side as the sensor sees it: loads the programs, chooses a backend for each hook, attaches, tests by effect, and takes over what an
 * earlier sensor left running.
 *
 * Programs and maps are pinned in a BPF file system of the sensor's own (`pin_dir`). When the sensor is killed they go on: ring buffers fill,
 * accounting counts. The next sensor of the same build adopts them and misses nothing; one of another build replaces them.
 * bh_hooks_remove() takes everything away.
 *
 * Made of backends.c, dispatcher.c and loader.c, which are for hooks.c alone.
 *
 * Backends (chosen per hook, see hooks.tbl.h): a hook is `preferred` if this kernel lets fentry/fexit programs run and has at least one of the
 * functions, and the canary's act was seen; else `fallback`; hooks that need no choice are `tracepoint`.
 *
 * A hook is attached while somebody needs its events: each consumer says which kinds it needs (bh_hooks_want()), at any time. What nobody needs is not
 * generated, so it is neither counted nor lost, and costs nothing: its programs are not attached, and on the fallback the tracepoint that taxes every
 * system call goes with the last of them.
 *
 * Threads: bh_hooks_want(), bh_hooks_check(), bh_hooks_repair() and bh_hooks_guard() may be called from any thread; they wait for each other. The
 * rest is not thread-safe, but bh_hooks_config(), the map descriptors and hook states may be read from any thread after open.
 */
#pragma once
#include <glib.h>

#include "canary.h"
#include "event/kinds.h"
#include "record.h"

typedef enum {
        BH_BACKEND_NONE,
        BH_BACKEND_TRACEPOINT,
        BH_BACKEND_PREFERRED,
        BH_BACKEND_FALLBACK,
} BhBackend;

/* Who can need events. What they need of the kernel is the union of their wishes. */
typedef enum {
        BH_CONSUMER_SENSOR,   /* itself: lifecycle, without which it knows neither processes nor containers; always */
        BH_CONSUMER_RECORDER, /* the flight recorder: --events */
        BH_CONSUMER_RULES,
        BH_CONSUMER_EVIDENCE,
        BH_CONSUMER_LIVE,     /* listeners who asked for kinds by name */
        BH_CONSUMERS,
} BhConsumer;

typedef struct {
        BhBackend backend;
        gboolean wanted;    /* somebody needs its events; else they are not generated. Written atomically */
        gboolean attached;  /* its programs are attached, because of that or because another wanted hook needs what they keep. Written atomically */
        gboolean effective; /* the canary's last act was seen, or the hook cannot be tested */
        guint64 hits;       /* canary acts seen */
        const char *why;     /* why not the preferred backend, or why none; may be NULL. Both texts stay as they are for ever: any thread may read them */
        const char *refused; /* programs that the kernel refuses, so that some acts are not seen; NULL: none */
} BhHookState;

typedef struct {
        const char *pin_dir;        /* made and mounted if need be */
        BhBackend force;            /* BH_BACKEND_NONE: choose */
        const char *cgroup_controller; /* v1 controller that names containers, NULL: cgroup v2 */
        guint64 ring_bytes[BH_RING_MAX]; /* powers of two; 0: default */
        BhKinds recorder;           /* what the recorder is going to need: kept if an earlier sensor has it attached, else see bh_hooks_open() */
} BhHooksOptions;

typedef struct BhHooks BhHooks;

/*
 * Loads or adopts. Where nothing is to be adopted only what the sensor needs itself is attached, the lifecycle of processes and containers, which takes a
 * fraction of the time: events can be read while the caller has the rest attached by bh_hooks_want(). On error nothing stays attached that was not
 * before, and the message says what this kernel lacks.
 */
BhHooks *bh_hooks_open(const BhHooksOptions *options, BhCanary *canary, GError **error);

/*
 * From now on `who` needs these kinds and no others (kinds that are not the kernel's are ignored). Returns when it is so: new kinds are loaded, attached
 * and tested, and only then generated, so that every event of them is counted from their first on; kinds that nobody needs any more are first not
 * generated and then detached. Events of kinds that were wanted and still are go on undisturbed. Takes up to some seconds when programs must be loaded,
 * else some microseconds; a caller who replaces one set of needs by another (a reload of rules) calls it once with the new set. On error the
 * former wish stands. A kind that this kernel cannot see is no error: its state says so.
 */
gboolean bh_hooks_want(BhHooks *h, BhConsumer who, const BhKinds *kinds, GError **error);

/* What `who` needs now, and what all need together. */
BhKinds bh_hooks_wish(BhHooks *h, BhConsumer who);
BhKinds bh_hooks_wanted(BhHooks *h);

/* "recorder", "rules", …: for people. */
const char *bh_consumer_name(BhConsumer who);

/*
 * Programs of a hook that an earlier sensor had attached and this one found gone when it took over, for people; NULL: none. They are attached again
 * (or refused, see BhHookState), but what happened in between was not seen.
 */
const char *bh_hooks_found_lost(const BhHooks *h, guint32 type);

/*
 * Loads again what hooks that the last check found without effect lack: at once, and while that does not help after 1 s, 2 s … 60 s. Any thread.
 */
void bh_hooks_repair(BhHooks *h);

/*
 * Pins again what somebody took out of the BPF file system (mounted again if need be): without its pins the kernel side would end with this process.
 * Returns how many pins were missing.
 */
guint bh_hooks_guard(BhHooks *h);

/* Detaches every program; maps stay readable until bh_hooks_free(). */
void bh_hooks_detach(BhHooks *h);

/* Leaves everything running in the kernel. */
void bh_hooks_free(BhHooks *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhHooks, bh_hooks_free)

/* Detaches and unpins everything and unmounts the BPF file system, also what an earlier sensor left there. `pin_dir` may not exist. */
void bh_hooks_remove(const char *pin_dir);

gboolean bh_hooks_adopted(const BhHooks *h);
const BhHookState *bh_hooks_state(const BhHooks *h, guint32 type);
const char *bh_backend_name(BhBackend b);

/* The kernel's configuration, mapped: writes take effect at once. */
volatile struct bh_config *bh_hooks_config(BhHooks *h);

/*
 * Says that something changed which the programs judge by whose acts are events: the configuration, `cgroups` or `procs`. They remember their judgement of
 * a process for up to a second. Any thread.
 */
void bh_hooks_judge_anew(BhHooks *h);

/* Descriptor of a pinned map, owned by `h`; -1 if there is none of that name. */
int bh_hooks_map(const BhHooks *h, const char *name);

/*
 * Pins what is no hook's beside them, for the sensor that takes them over: bh_hooks_guard() makes these pins again, and they go with all others. What has that name is replaced.
 * `fd` stays the caller's. Any thread.
 */
#define BH_HOOKS_KEPT "kept_" /* how names of such pins begin */
gboolean bh_hooks_keep(BhHooks *h, const char *name, int fd, GError **error);
/* Opens what a sensor before this one kept by that name, which goes on being kept; the descriptor is the caller's. -1: there is none. */
int bh_hooks_kept(BhHooks *h, const char *name);
/* Takes all of them away. */
void bh_hooks_keep_nothing(BhHooks *h);

/* Identity of this build's programs, as the configuration has it for the next sensor. */
guint64 bh_hooks_build_id(const BhHooks *h);

/* Identity of these rings: changes when they are made anew. */
guint64 bh_hooks_epoch(const BhHooks *h);

/*
 * Lets the canary act and sees which hooks have an effect. An act that went unseen while the kernel skipped programs (recursion misses) is not held
 * against its hook, at most ten checks in a row. Calls `changed` for each whose state differs from before. FALSE if the canary
 * cannot act.
 */
gboolean bh_hooks_check(BhHooks *h, void (*changed)(guint32 type, const BhHookState *now, gpointer data), gpointer data, GError **error);

/* Sum of the kernel's "recursion misses" of all programs at the last check: acts on one CPU while the same program ran there. Any thread. */
guint64 bh_hooks_recursion_misses(BhHooks *h);
