/* SPDX-License-Identifier: Apache-2.0 */
/* what rules, models and the sensors themselves found */
#include <string.h>

#include "json_out.h"
#include "routes.h"
#include "views.h"

static gboolean read_filter(BhCall *call, BhStoreFindingFilter *f) {
        const char *priority = bh_call_param(call, "priority");

        *f = (BhStoreFindingFilter){
                .node = bh_call_param(call, "node"),
                .container = bh_call_param(call, "container"),
                .application = bh_call_param(call, "application"),
                .workload = bh_call_param(call, "workload"),
                .rule = bh_call_param(call, "rule"),
                .rule_glob = bh_call_param(call, "rule_glob"),
                .kind = bh_call_param(call, "kind"),
                .source = bh_call_param(call, "source"),
                .tag = bh_call_param(call, "tag"),
                .search = bh_call_param(call, "search"),
        };
        if (!bh_call_time(call, "since", &f->since_ns) || !bh_call_time(call, "until", &f->until_ns))
                return FALSE;
        if (priority) {
                f->max_rank = bh_store_priority_rank(priority) + 1;
                if (f->max_rank > 8) {
                        bh_call_error(call, 400, "bad_priority", "\"priority\" must be emergency, alert, critical, error, warning, notice, informational or debug");
                        return FALSE;
                }
        }
        return TRUE;
}

static void view_row(GString *out, gconstpointer row, G_GNUC_UNUSED gpointer data) {
        bh_view_finding(out, NULL, row);
}

void bh_api_findings(BhCall *call) {
        BhStoreFindingFilter f;
        gboolean count = FALSE;
        GError *error = NULL;
        guint64 total = 0;
        guint limit;

        if (!bh_call_limit(call, BH_STORE_LIMIT_MAX, &limit) || !bh_call_flag(call, "count", &count) || !read_filter(call, &f))
                return;
        BhStorePage *page = bh_store_findings(call->central->store, &f, bh_call_param(call, "cursor"), limit, &error);
        if (page && count)
                bh_store_findings_count(call->central->store, &f, &total, &error);
        bh_call_page(call, "findings", page, view_row, NULL, count ? &total : NULL, error);
}

void bh_api_finding(BhCall *call) {
        GError *error = NULL;
        g_autoptr(BhStoreFinding) f = bh_store_finding(call->central->store, call->captures[0], &error);

        if (!f) {
                bh_call_store_error(call, error);
                return;
        }

        GString *out = g_string_sized_new(4096);
        bh_view_finding_whole(out, NULL, f);
        bh_call_json(call, 200, out);
}
