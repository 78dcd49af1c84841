/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <fcntl.h>
#include <string.h>

#include "base/fdio.h"
#include "base/log.h"
#include "password.h"

#define TIME_LEN 12 /* hex digits */
#define COOKIE_LEN (TIME_LEN + 1 + BH_SECRET_LEN + 1 + BH_HASH_LEN)
#define EARLY_S 86400 /* a clock that was set back does not forget everybody */

struct BhDevices {
        char *key;
};

static gboolean is_key(const char *text) {
        return text && strlen(text) == BH_SECRET_LEN && strspn(text, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-_") == BH_SECRET_LEN;
}

BhDevices *bh_devices_load(const char *dir) {
        g_autofree char *path = g_build_filename(dir, "device.key", NULL);
        g_autoptr(GError) error = NULL;
        BhDevices *d = g_new0(BhDevices, 1);

        d->key = bh_file_read(AT_FDCWD, path, 256, NULL, NULL, NULL);
        if (is_key(d->key))
                return d;
        bh_secret_free(d->key);
        d->key = bh_secret_new("");
        if (!g_file_set_contents_full(path, d->key, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &error))
                bh_warn("cannot keep the key of device cookies; browsers will not be known again after the next start", "error", error->message);
        return d;
}

void bh_devices_free(BhDevices *d) {
        if (!d)
                return;
        bh_secret_free(d->key);
        g_free(d);
}

/* `stamp`: TIME.NONCE; it holds no line feed, so nothing else gives the same text. */
static char *mac_of(BhDevices *d, const char *stamp, const char *user) {
        g_autofree char *text = g_strconcat("device\n", stamp, "\n", user, NULL);

        return bh_secret_hash(text, d->key);
}

char *bh_device_new(BhDevices *d, const char *user, gint64 now_s) {
        g_autofree char *nonce = bh_secret_new(""), *stamp = g_strdup_printf("%012" G_GINT64_MODIFIER "x.%s", now_s, nonce), *mac = mac_of(d, stamp, user);

        return g_strconcat(stamp, ".", mac, NULL);
}

char *bh_device_known(BhDevices *d, const char *user, const char *cookie, gint64 now_s) {
        if (!cookie || strlen(cookie) != COOKIE_LEN || cookie[TIME_LEN] != '.' || cookie[TIME_LEN + 1 + BH_SECRET_LEN] != '.')
                return NULL;

        g_autofree char *stamp = g_strndup(cookie, TIME_LEN + 1 + BH_SECRET_LEN), *mac = mac_of(d, stamp, user);
        if (!bh_secret_equal(mac, cookie + TIME_LEN + 1 + BH_SECRET_LEN + 1))
                return NULL;

        /* it is ours: the digits are */
        gint64 given = (gint64) g_ascii_strtoull(stamp, NULL, 16);
        if (given > now_s + EARLY_S || now_s - given > (gint64) BH_DEVICE_DAYS * 86400)
                return NULL;
        return g_steal_pointer(&stamp);
}
