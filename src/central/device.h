/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device cookies: a browser in which a user has logged in before carries a signed mark of that, so that its attempts have a budget of their own
 * (limit.h) and guesses of others behind the same address do not lock it out (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
 *
 * A cookie is TIME.NONCE.MAC: when it was given, 256 random bits, and BLAKE2b of both and of the user's name, keyed by a secret of this central
 * in <data>/central/device.key. It lets nobody in: a thief of it gets the budget of one device for guesses at that one user. It counts for
 * BH_DEVICE_DAYS. Without a key that can be kept, cookies hold until the next start.
 *
 * Made once at the start; then every function may be called from any thread.
 */
#pragma once
#include <glib.h>

#define BH_DEVICE_COOKIE "__Host-bulkhead-device"
#define BH_DEVICE_DAYS 180

typedef struct BhDevices BhDevices;

/* Reads or makes the key; logs when it can do neither. Needs bh_password_init(). Never NULL. */
BhDevices *bh_devices_load(const char *dir);
void bh_devices_free(BhDevices *d);

/* A new cookie's value for this user. Caller frees. */
char *bh_device_new(BhDevices *d, const char *user, gint64 now_s);
/* The name of the device's budget if this cookie was given to this user, else NULL. `cookie` is hostile and may be NULL. Caller frees. */
char *bh_device_known(BhDevices *d, const char *user, const char *cookie, gint64 now_s);
