/* SPDX-License-Identifier: Apache-2.0 */
#include "incident/incident.h"

static const struct {
        const char *name, *title, *tag;
} tactics[BH_TACTICS] = {
#define BH_TACTIC(id, name, title, tag) { name, title, tag },
#include "incident/stages.tbl.h"
};

const char *bh_tactic_name(BhTactic t) {
        return t < BH_TACTICS ? tactics[t].name : "";
}

const char *bh_tactic_title(BhTactic t) {
        return t < BH_TACTICS ? tactics[t].title : "";
}

guint32 bh_tactic_of_tag(const char *tag) {
        for (guint t = 0; t < BH_TACTICS; t++)
                if (g_str_equal(tag, tactics[t].tag))
                        return 1u << t;
        return 0;
}

const char *bh_basis_name(BhBasis b) {
        static const char *const names[BH_BASES] = { "", "container", "process", "file", "target", "asked", "reached", "credential" };

        return b < BH_BASES ? names[b] : "";
}

const char *bh_incident_state_name(BhIncidentState s) {
        static const char *const names[BH_INCIDENT_STATES] = { "forming", "open", "closed", "merged" };

        return s < BH_INCIDENT_STATES ? names[s] : "";
}

static const char *const assets[BH_ASSETS] = { "", "high", "critical" };

const char *bh_asset_name(BhAsset a) {
        return a < BH_ASSETS ? assets[a] : "";
}

BhAsset bh_asset_of_name(const char *name) {
        BhAsset a = BH_ASSETS - 1;

        while (a && g_strcmp0(name, assets[a]) != 0)
                a--;
        return a;
}

const char *bh_severity_name(BhSeverity s) {
        static const char *const names[BH_SEVERITIES] = { "low", "medium", "high", "critical" };

        return s < BH_SEVERITIES ? names[s] : "";
}
