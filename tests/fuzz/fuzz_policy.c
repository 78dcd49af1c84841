/* SPDX-License-Identifier: Apache-2.0 */
/* A policy's text: it is read, or told why not, with places in the text; what is read is within its bounds. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "policy/bounds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        g_autoptr(GPtrArray) problems = NULL;
        g_autoptr(BhPolicy) p = bh_policy_parse((const char *) data, size, &problems);
        guint lines = 1;

        for (size_t i = 0; i < size; i++)
                lines += data[i] == '\n';
        assert(!p == (problems->len > 0) && problems->len <= BH_POLICY_PROBLEMS_MAX);
        for (guint i = 0; i < problems->len; i++) {
                const BhPolicyProblem *x = problems->pdata[i];

                assert(x->line >= 1 && x->line <= lines && x->column >= 1 && *x->what);
        }
        if (!p)
                return 0;
        g_autofree char *when = bh_policy_say_when(p), *scope = bh_policy_say_scope(p);
        g_autoptr(BhPolicyLimits) l = bh_policy_limits_new();
        const BhPolicyPlace at = { "c", "w", 1 };
        const BhPolicyTarget t = { .node = "n", .container = "c", .name = scope, .workload = when, .image = scope };
        gboolean first;

        assert(bh_policy_name_valid(p->name) && p->rate >= 1 && p->rate <= BH_POLICY_RATE_MAX && p->rate_s >= 1 && p->rate_s <= BH_POLICY_TIME_MAX && p->percent >= 1 && p->percent <= 100);
        assert(p->max_containers >= 1 && p->max_containers <= BH_POLICY_CONTAINERS_MAX && p->ttl_s <= BH_RESPONSE_TTL_MAX_S);
        bh_policy_in_scope(p, &t);
        assert(bh_policy_limits_take(l, p, &at, 0, &first) == BH_POLICY_ACT);
        assert(bh_policy_limits_take(l, p, &at, 0, &first) == BH_POLICY_COOL_DOWN);
        return 0;
}
