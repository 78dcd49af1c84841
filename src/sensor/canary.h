/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canary: a child process that performs one harmless act for each hook when asked, so that the sensor can see whether the hook has an effect.
 * A program can load and attach and never be called (an LSM that is not active, a deleted map entry, a detached link); only an act that was
 * seen proves that it works. The kernel programs know the canary by its process id and only count its acts (map `canary_hits`).
 *
 * It dies with its parent; one that was killed or stopped is replaced with bh_canary_revive().
 */
#pragma once
#include <glib.h>
#include <sys/types.h>

typedef struct BhCanary BhCanary;

BhCanary *bh_canary_start(GError **error);
void bh_canary_free(BhCanary *c);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BhCanary, bh_canary_free)

/* Ends the process (without waiting long for it) and starts another, with another id. On error there is none: bh_canary_pid() is 0. */
gboolean bh_canary_revive(BhCanary *c, GError **error);

pid_t bh_canary_pid(const BhCanary *c);

/* Does all acts and waits for it, at most `timeout_ms`. FALSE with an error if the canary is gone or hangs. */
gboolean bh_canary_act(BhCanary *c, int timeout_ms, GError **error);

/* Whether the canary has an act for this kind of event; the others cannot be tested by effect. */
gboolean bh_canary_tests(guint32 type);
