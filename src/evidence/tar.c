/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "evidence/evidence.h"

#define BLOCK 512u

/* IEEE Std 1003.1-1988, ustar. */
struct header {
        char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
G_STATIC_ASSERT(sizeof(struct header) == BLOCK);

static guint sum_of(const struct header *h) {
        struct header copy = *h;
        const guint8 *p = (const guint8 *) &copy;
        guint sum = 0;

        memset(copy.checksum, ' ', sizeof(copy.checksum));
        for (guint i = 0; i < BLOCK; i++)
                sum += p[i];
        return sum;
}

void bh_tar_add(GByteArray *out, const char *name, const void *data, gsize len, gint64 mtime_s) {
        static const guint8 zeros[2 * BLOCK];
        struct header h = { 0 };

        if (!name) {
                g_byte_array_append(out, zeros, sizeof(zeros));
                return;
        }
        g_assert(strlen(name) < sizeof(h.name)); /* names are ours */
        memcpy(h.name, name, strlen(name));
        g_snprintf(h.mode, sizeof(h.mode), "%07o", 0600u);
        g_snprintf(h.uid, sizeof(h.uid), "%07o", 0u);
        g_snprintf(h.gid, sizeof(h.gid), "%07o", 0u);
        g_snprintf(h.size, sizeof(h.size), "%011" G_GINT64_MODIFIER "o", (guint64) len);
        g_snprintf(h.mtime, sizeof(h.mtime), "%011" G_GINT64_MODIFIER "o", (guint64) CLAMP(mtime_s, 0, 077777777777));
        h.type = '0';
        memcpy(h.magic, "ustar", 6);
        memcpy(h.version, "00", 2);
        g_snprintf(h.checksum, sizeof(h.checksum), "%06o", sum_of(&h));
        h.checksum[7] = ' ';
        g_byte_array_append(out, (const guint8 *) &h, sizeof(h));
        g_byte_array_append(out, data, (guint) len);
        if (len % BLOCK)
                g_byte_array_append(out, zeros, (guint) (BLOCK - len % BLOCK));
}

static gboolean octal(const char *text, gsize n, guint64 *out) {
        *out = 0;
        for (gsize i = 0; i < n && text[i] && text[i] != ' '; i++) {
                if (text[i] < '0' || text[i] > '7')
                        return FALSE;
                *out = *out << 3 | (guint64) (text[i] - '0');
        }
        return TRUE;
}

gboolean bh_tar_next(const guint8 *tar, gsize len, gsize *at, char name[256], const guint8 **data, gsize *size) {
        struct header h;
        guint64 bytes, sum;

        if (*at > len || len - *at < BLOCK)
                return FALSE;
        memcpy(&h, tar + *at, sizeof(h));
        if (!h.name[0] || memcmp(h.magic, "ustar", 5) || !octal(h.size, sizeof(h.size), &bytes) || !octal(h.checksum, sizeof(h.checksum), &sum) || sum != sum_of(&h) || bytes > len - *at - BLOCK)
                return FALSE;
        g_snprintf(name, 256, "%.100s", h.name);
        *data = tar + *at + BLOCK;
        *size = (gsize) bytes;
        *at += BLOCK + (gsize) ((bytes + BLOCK - 1) / BLOCK * BLOCK);
        return TRUE;
}
