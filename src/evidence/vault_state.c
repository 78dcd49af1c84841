/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "evidence/vault_private.h"

#define MAGIC "bhevkey1"
#define SLOT_ROOM 512

/* Each in a sector of its own: a torn write harms one of them. */
struct slot {
        char magic[8];
        guint64 generation, seq;
        char chain[BH_EVIDENCE_HEX], prev[BH_EVIDENCE_HEX];
        guint8 seed[BH_EVIDENCE_SEED];
        guint8 pad[6];
        guint8 check[16];
};
G_STATIC_ASSERT(sizeof(struct slot) <= SLOT_ROOM);

static void check_of(const struct slot *s, guint8 out[16]) {
        crypto_generichash(out, 16, (const guint8 *) s, offsetof(struct slot, check), NULL, 0);
}

static gboolean read_slot(int fd, guint i, struct slot *s) {
        guint8 check[16];

        if (pread(fd, s, sizeof(*s), (off_t) i * SLOT_ROOM) != (ssize_t) sizeof(*s) || memcmp(s->magic, MAGIC, sizeof(s->magic)))
                return FALSE;
        check_of(s, check);
        return !sodium_memcmp(check, s->check, sizeof(check)) && !s->chain[BH_EVIDENCE_HEX - 1] && !s->prev[BH_EVIDENCE_HEX - 1];
}

gboolean bh_vault_key_read(int fd, BhEvidenceKey *out, guint64 *generation) {
        gboolean found = FALSE;

        *generation = 0;
        for (guint i = 0; i < 2; i++) {
                struct slot s;

                if (!read_slot(fd, i, &s) || s.generation <= *generation)
                        continue;
                *generation = s.generation;
                out->seq = s.seq;
                memcpy(out->chain, s.chain, sizeof(out->chain));
                memcpy(out->prev, s.prev, sizeof(out->prev));
                memcpy(out->seed, s.seed, sizeof(out->seed));
                sodium_memzero(&s, sizeof(s));
                found = TRUE;
        }
        return found;
}

static gboolean put(int fd, guint i, const void *data, gsize len) {
        ssize_t n = pwrite(fd, data, len, (off_t) i * SLOT_ROOM);

        if (n >= 0 && n != (ssize_t) len)
                errno = EIO;
        return n == (ssize_t) len && fdatasync(fd) == 0;
}

gboolean bh_vault_key_write(int fd, const BhEvidenceKey *k, guint64 *generation) {
        static const guint8 zeros[sizeof(struct slot)];
        struct slot s = { .magic = MAGIC, .generation = *generation + 1, .seq = k->seq };
        guint place = (guint) (s.generation % 2);

        memcpy(s.chain, k->chain, sizeof(s.chain));
        memcpy(s.prev, k->prev, sizeof(s.prev));
        memcpy(s.seed, k->seed, sizeof(s.seed));
        check_of(&s, s.check);
        gboolean ok = put(fd, place, &s, sizeof(s));
        sodium_memzero(&s, sizeof(s));
        if (!ok)
                return FALSE;
        ++*generation;
        return put(fd, 1 - place, zeros, sizeof(zeros));
}
