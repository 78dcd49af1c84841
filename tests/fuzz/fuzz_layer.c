/* SPDX-License-Identifier: Apache-2.0 */
/* The table of mounts of a container's first process, which may have made some of them: whole paths or nothing. */
#include <assert.h>
#include <stdint.h>

#include "evidence/layer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autofree char *text = g_strndup((const char *) data, size);
        g_auto(BhLayer) l = { 0 }, copy = { 0 };

        if (!bh_layer_parse(text, text, &l)) {
                assert(!l.upper && !l.lowers);
                return 0;
        }
        assert(*l.upper == '/');
        for (guint i = 0; l.lowers[i]; i++)
                assert(*l.lowers[i] == '/' && i <= BH_LAYER_LOWERS_MAX);
        bh_layer_copy(&l, &copy);
        assert(g_str_equal(l.upper, copy.upper) && g_strv_equal((const char *const *) l.lowers, (const char *const *) copy.lowers));
        return 0;
}
