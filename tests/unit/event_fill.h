/* SPDX-License-Identifier: Apache-2.0 */
/* Events with a value in every field, for tests of the codecs. */
#pragma once
#include "event/event.h"

/* Every field has a value that follows from its number; `round` 0 gives zeros and empty texts, 1 the largest. */
static inline void bh_test_fill(struct bh_event *e, guint round) {
        static const char text[] = "a\0b\xff\"\\\n\xc3\xa4\0";

        memset(e, 0, sizeof(*e));
        for (guint i = 0; i < BH_F_COUNT; i++) {
                void *v = (char *) e + bh_fields[i].offset;
                guint64 n = round == 0 ? 0 : round == 1 ? G_MAXUINT64 : (guint64) g_random_int() << 32 | g_random_int();

                switch ((enum bh_kind) bh_fields[i].kind) {
                case BH_KIND_BOOL:
                        *(gboolean *) v = n & 1;
                        break;
                case BH_KIND_U32:
                case BH_KIND_I32:
                case BH_KIND_ENUM:
                        *(guint32 *) v = (guint32) n;
                        break;
                case BH_KIND_IP: {
                        struct bh_ip *ip = v;

                        ip->len = n & 1 ? 16 : 4;
                        memset(ip->b, (int) n & 0xff, ip->len);
                        break;
                }
                case BH_KIND_STR:
                case BH_KIND_LIST:
                case BH_KIND_PAIRS:
                case BH_KIND_BYTES:
                        *(struct bh_str *) v = (struct bh_str){ text, round ? (guint32) (n % sizeof(text)) : 0 };
                        break;
                default:
                        *(guint64 *) v = n;
                }
                bh_event_mark(e, i);
        }
}
