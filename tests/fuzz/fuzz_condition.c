/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions by themselves, and fields as formats have them: a tree or an error with its place; a tree survives being written out. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "rules/ruleset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void whole(const char *text, gsize len) {
        GError *error = NULL;
        BhCond *c = bh_condition_parse(text, len, &error);

        assert(!c == !!error);
        if (error) {
                assert(error->domain == BH_RULES_ERROR && (g_ascii_isdigit(*error->message) || len > BH_RULES_FILTER_MAX));
                g_error_free(error);
                return;
        }
        char *once = bh_cond_to_text(c), *twice;
        BhCond *copy = bh_cond_copy(c);

        bh_cond_free(c);
        twice = bh_cond_to_text(copy);
        assert(strcmp(once, twice) == 0);
        bh_cond_free(copy);
        g_free(once);
        g_free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data;
        gsize used = 0;
        GError *error = NULL;

        if (!size)
                text = "";
        whole(text, size);
        BhOperand *o = bh_operand_parse(text, size, &used, &error);
        assert(!o == !!error);
        if (o)
                assert(used > 0 && used <= size);
        bh_operand_free(o);
        g_clear_error(&error);
        return 0;
}
