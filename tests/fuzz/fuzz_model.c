/* SPDX-License-Identifier: Apache-2.0 */
/* A stored model, an exported one, and templates of whatever. What is taken must be within its bounds and judge without harm. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "model/model.h"
#include "model/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(BhModel *m) {
        const BhAct a = { .family = BH_FAMILY_EXEC, .actor = "/a", .object = "/bin/sh", .detail = "", .count = 1, .first_ns = 1, .last_ns = 2, .replica = 3 };

        m->seen = BH_MODEL_ALL;
        bh_model_converge(m);
        BhVerdict v = bh_model_observe(m, "digest", &a);
        g_autofree char *said = bh_verdict_say(m, &v, &a);
        assert(said);
        g_autoptr(GBytes) packed = bh_model_pack(m);
        g_autoptr(BhModel) again = bh_model_unpack(g_bytes_get_data(packed, NULL), g_bytes_get_size(packed), &bh_model_scale_default, NULL);
        assert(again);
        for (guint i = 0; i < m->versions->len; i++) {
                g_autofree char *text = bh_model_export(m, m->versions->pdata[i]), *allow = bh_model_allow_list(m, m->versions->pdata[i]), *policy = bh_model_network_policy(m, m->versions->pdata[i]);

                assert(text && allow && policy);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        char out[BH_TEMPLATE_MAX];

        if (size < 1)
                return 0;
        char *exact = g_malloc(size - 1 ? size - 1 : 1);
        memcpy(exact, data + 1, size - 1);
        if (data[0] == 0) {
                g_autoptr(BhModel) m = bh_model_unpack(exact, size - 1, &bh_model_scale_default, NULL);

                if (m)
                        use(m);
        } else if (data[0] == 1) {
                g_autoptr(BhModel) m = bh_model_new("a", "w", &bh_model_scale_default);

                if (bh_model_import(m, exact, size - 1, NULL, 1, NULL) >= 0)
                        use(m);
        } else {
                assert(bh_template_path(exact, size - 1, out) == strlen(out));
                assert(bh_template_args("/bin/x", 6, exact, size - 1, out) == strlen(out));
                assert(bh_template_name(exact, size - 1, out) == strlen(out));
                if (bh_template_wild(exact, size - 1, out))
                        assert(!bh_template_sensitive(exact, size - 1));
                (void) bh_template_credential(exact, size - 1);
        }
        g_free(exact);
        return 0;
}
