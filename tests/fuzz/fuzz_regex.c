/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pattern, a NUL, a text: as regular expression, glob, path prefix and literals. What is accepted must match within its bounds; what the different ways of
 * looking for a literal say must agree.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "rules/pattern.h"
#include "rules/strset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void tell(guint32 atom, gpointer told) {
        assert(atom < 5);
        ((gboolean *) told)[atom] = TRUE;
}

static void literals(const char *pattern, gsize n, const char *text, gsize len) {
        g_autoptr(BhStrSet) s = bh_strset_new();
        gboolean told[5] = { FALSE };

        for (guint k = 0; k < BH_SS_KINDS; k++)
                bh_strset_add(s, (enum bh_strset_kind) k, pattern, n, k);
        bh_strset_build(s);
        bh_strset_match(s, text, len, tell, told);
        assert(told[BH_SS_WHOLE] == (n == len && memcmp(pattern, text, n) == 0));
        assert(told[BH_SS_BEGIN] == (n <= len && memcmp(pattern, text, n) == 0));
        assert(told[BH_SS_END] == (n <= len && memcmp(pattern, text + len - n, n) == 0));
        assert(told[BH_SS_PART] == (!n || memmem(text, len, pattern, n) != NULL));
        assert(!told[BH_SS_PART] || told[BH_SS_PART_FOLD]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static BhMatcher *matcher;
        const char *pattern = (const char *) data, *nul = size ? memchr(data, 0, size) : NULL, *text = nul ? nul + 1 : "";
        gsize n = nul ? (gsize) (nul - pattern) : size, len = nul ? size - n - 1 : 0;
        g_autoptr(GError) error = NULL;
        g_autoptr(BhRegex) regex = NULL;
        g_autoptr(BhPrefixes) prefixes = bh_prefixes_new();
        gboolean limit = FALSE, hit;

        if (!matcher)
                matcher = bh_matcher_new();
        regex = bh_regex_new(pattern ? pattern : "", n, &error);
        assert((regex == NULL) == (error != NULL));
        if (regex)
                bh_regex_match(regex, matcher, text, len, &limit);

        limit = FALSE;
        hit = bh_glob_steps(pattern, n, text, len, FALSE, &limit);
        assert(!hit || bh_glob(pattern, n, text, len, TRUE) || memchr(pattern, '[', n)); /* a class may lose by folding, nothing else */
        assert(!n || memchr(pattern, '\\', n) || memchr(pattern, '[', n) || bh_glob(pattern, n, pattern, n, FALSE)); /* each other pattern matches itself */
        bh_prefixes_add(prefixes, pattern ? pattern : "", n);
        bh_prefixes_add(prefixes, text, len);
        assert(bh_prefixes_match(prefixes, text, len, &limit) || memchr(text, '[', len) || memchr(text, '\\', len));
        literals(pattern ? pattern : "", n, text, len);
        return 0;
}
