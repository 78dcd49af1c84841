/* SPDX-License-Identifier: Apache-2.0 */
#include "domain.h"

#include <string.h>

/* The beginning of a name's last n labels; NULL: it has fewer. */
static const char *last_labels(const char *name, gsize len, guint n) {
        for (const char *p = name + len; p > name; p--)
                if (p[-1] == '.' && (p - 1 == name || p[-2] != '\\') && !--n)
                        return p;
        return n == 1 ? name : NULL;
}

void bh_domain_of(const char *name, gsize len, char domain[BH_DOMAIN_MAX + 1]) {
        static const char *const inside[] = { "local", "internal", "lan", "home", "corp", "localdomain", "localhost", "cluster", "arpa", "test", "invalid", NULL };
        static const char *const second[] = { "co", "com", "net", "org", "gov", "edu", "ac", "or", "ne", "go", "gob", "nom", "sch", NULL };
        const char *end, *top, *two, *from;

        *domain = '\0';
        if (len && name[len - 1] == '.')
                len--;
        end = name + len;
        top = last_labels(name, len, 1);
        two = last_labels(name, len, 2);
        if (!two || two == top)
                return;
        g_autofree char *tld = g_ascii_strdown(top, end - top), *middle = g_ascii_strdown(two, top - 1 - two);
        if (g_strv_contains(inside, tld))
                return;
        from = strlen(tld) == 2 && g_strv_contains(second, middle) ? last_labels(name, len, 3) : two;
        if (!from || (gsize) (end - from) > BH_DOMAIN_MAX)
                return;
        for (gsize i = 0; from + i < end; i++) {
                domain[i] = g_ascii_tolower(from[i]);
                domain[i + 1] = '\0';
        }
}
