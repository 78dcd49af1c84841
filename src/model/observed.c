/* SPDX-License-Identifier: Apache-2.0 */
#include "model/observed.h"

#include <string.h>

#include "base/escape.h"
#include "model/facet.h"

#define TEXT_MAX 900u

static char *clean(const char *text) {
        gsize len = text ? strlen(text) : 0;

        if (!len)
                return g_strdup("");
        char *out = g_utf8_validate(text, (gssize) len, NULL) ? g_strndup(text, len) : bh_escape_cell(text, (gssize) len);
        if (strlen(out) <= TEXT_MAX)
                return out;
        char *end = g_utf8_find_prev_char(out, out + TEXT_MAX), *cut = g_strdup_printf("%.*s#%08x", (int) (end - out), out, g_str_hash(out));
        g_free(out);
        return cut;
}

/* One file that is many programs is told by the name that it was called by, which its arguments' template begins with. */
static char *program_of(const char *exe, const char *args) {
        const char *slash = strrchr(exe, '/'), *base = slash ? slash + 1 : exe, *end = args[0] == '[' ? strchr(args, ']') : NULL;

        if (!end || (!g_str_equal(base, "busybox") && !g_str_equal(base, "toybox") && !g_str_equal(base, "coreutils")))
                return clean(exe);
        g_autofree char *both = g_strdup_printf("%s %.*s", exe, (int) (end - args - 1), args + 1);
        return clean(both);
}

void bh_observed_acts(const BhObserved *o, BhObservedActs *out) {
        const BhFamily family = bh_family_from_kind(o->kind);

        *out = (BhObservedActs){ 0 };
        /* peers are the connection map's to tell, arguments come with programs, and what is beyond a node's bound has no name */
        if (family == BH_FAMILY_NONE || family == BH_FAMILY_PEER || family == BH_FAMILY_ARGS || !o->subject || !*o->subject || g_str_equal(o->subject, "*"))
                return;
        gboolean exec = family == BH_FAMILY_EXEC;
        char *actor = out->texts[0] = clean(o->parent), *detail = out->texts[1] = clean(o->detail), *example = out->texts[2] = clean(o->example), *why = out->texts[3] = clean(o->why);
        char *object = out->texts[4] = exec ? program_of(o->subject, detail) : clean(o->subject);
        BhAct a = { .family = family, .actor = actor, .object = object, .detail = exec ? "" : detail, .uid = exec ? o->uid : 0, .count = MAX(o->count, 1), .first_ns = o->first_ns, .last_ns = o->last_ns,
                    .suspicious = o->suspicious, .example = example, .why = why };

        out->acts[out->n++] = a;
        if (!exec || g_str_equal(detail, BH_FACET_ANY))
                return;
        a.family = BH_FAMILY_ARGS;
        a.actor = object;
        a.object = detail;
        a.uid = 0;
        out->acts[out->n++] = a;
}

void bh_observed_clear(BhObservedActs *acts) {
        for (guint i = 0; i < G_N_ELEMENTS(acts->texts); i++)
                g_clear_pointer(&acts->texts[i], g_free);
        acts->n = 0;
}
