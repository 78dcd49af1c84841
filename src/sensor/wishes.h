/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who needs which events, and what that means for the kernel side: the sums over all consumers, which kinds are generated (`off` in the configuration),
 * which programs are attached. For hooks.c; the caller holds the lock of BhHooks.
 */
#pragma once
#include <glib.h>

#include "hooks.h"

/* At the beginning: the sensor's own wish. */
void bh_wishes_begin(BhHooks *h);

/* Another wish, and what follows from it. */
void bh_wishes_set(BhHooks *h, BhConsumer who, const BhKinds *kinds);

/* `wanted` and `needed` anew, from the wishes and the backends that the hooks have now, and the states that show them. */
void bh_wishes_sum(BhHooks *h);

/* What nobody wants is generated no more. What is wanted stays as it is. */
void bh_wishes_stop(BhHooks *h);

/* What is wanted is generated: after its programs are attached. */
void bh_wishes_go(BhHooks *h);

/* Puts `off` back into the configuration. */
void bh_wishes_hold(BhHooks *h);
