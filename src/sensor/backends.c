/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <string.h>

#include "base/fdio.h"
#include "hooks_private.h"
#include "loader.h"

enum row_kind { ROW_COMMON, ROW_OBJECT, ROW_INSTEAD, ROW_FALLBACK, ROW_CALL, ROW_CALL_INSTEAD };

static const struct row {
        enum row_kind kind;
        guint32 type;
        const char *name; /* program; ROW_CALL, ROW_CALL_INSTEAD: handler */
        const char *of;   /* …_INSTEAD: program or handler that it stands in for */
} rows[] = {
#define BH_HOOK_COMMON(type, program) { ROW_COMMON, BH_EV_##type, #program, NULL },
#define BH_HOOK_OBJECT(type, program) { ROW_OBJECT, BH_EV_##type, #program, NULL },
#define BH_HOOK_INSTEAD(type, program, of) { ROW_INSTEAD, BH_EV_##type, #program, #of },
#define BH_HOOK_FALLBACK(type, program) { ROW_FALLBACK, BH_EV_##type, #program, NULL },
#define BH_HOOK_CALL(type, handler, native, compat) { ROW_CALL, BH_EV_##type, #handler, NULL },
#define BH_HOOK_CALL_INSTEAD(type, handler, of, native, compat) { ROW_CALL_INSTEAD, BH_EV_##type, #handler, #of },
#include "hooks.tbl.h"
};

static const struct {
        guint32 type, other;
        BhBackend backend;
} needs[] = {
#define BH_HOOK_NEEDS(type, other, backend) { BH_EV_##type, BH_EV_##other, BH_BACKEND_##backend },
#include "hooks.tbl.h"
};

void bh_backends_close(const BhHooks *h, BhKinds *kinds) {
        for (gboolean more = TRUE; more; ) {
                more = FALSE;
                for (guint i = 0; i < G_N_ELEMENTS(needs); i++)
                        if (bh_kinds_has(kinds, needs[i].type) && !bh_kinds_has(kinds, needs[i].other) &&
                            (needs[i].backend == BH_BACKEND_NONE || needs[i].backend == h->state[needs[i].type].backend)) {
                                bh_kinds_add(kinds, needs[i].other);
                                more = TRUE;
                        }
        }
}

/* ---- what this kernel can do ---- */

gint32 bh_backends_function_id(BhHooks *h, const char *name) {
        return btf__find_by_name_kind(bh_loader_btf(h), name, BTF_KIND_FUNC);
}

gboolean bh_backends_fexit_works(BhHooks *h, char **why) {
        struct bpf_insn code[] = {
                { .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
                { .code = BPF_JMP | BPF_EXIT },
        };
        gint32 id = bh_backends_function_id(h, "__x64_sys_setns");
        LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = BPF_TRACE_FEXIT, .attach_btf_id = (__u32) MAX(id, 0));

        if (id < 0) {
                *why = g_strdup("the kernel's type information lacks the system call functions");
                return FALSE;
        }

        g_auto(BhFd) prog = bpf_prog_load(BPF_PROG_TYPE_TRACING, "bh_probe", "GPL", code, G_N_ELEMENTS(code), &o);
        if (prog < 0) {
                *why = g_strdup_printf("the kernel refuses fexit programs: %s%s", g_strerror(errno), errno == EPERM ? " (lockdown?)" : "");
                return FALSE;
        }
        g_auto(BhFd) link = bpf_raw_tracepoint_open(NULL, prog);
        if (link < 0) {
                *why = g_strdup_printf("the kernel refuses to attach fexit programs: %s", g_strerror(errno));
                return FALSE;
        }
        return TRUE;
}

/* ---- choice ---- */

static gboolean has_rows(guint32 type, gboolean common_only) {
        gboolean any = FALSE;

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++)
                if (rows[i].type == type) {
                        if (common_only && rows[i].kind != ROW_COMMON)
                                return FALSE;
                        any = TRUE;
                }
        return any;
}

gboolean bh_backends_known(guint32 type) {
        return has_rows(type, FALSE);
}

gboolean bh_backends_common_only(guint32 type) {
        return has_rows(type, TRUE);
}

static gboolean usable(BhHooks *h, const char *program) {
        return !g_hash_table_contains(h->bad, program) && !g_hash_table_contains(h->lacking, program);
}

static gboolean can_prefer(BhHooks *h, const char *program) {
        const char *target = g_hash_table_lookup(h->targets, program);

        return target && usable(h, program) && bh_backends_function_id(h, target) >= 0;
}

/* The fallback's program of a row, if this kernel can have it and does not have what it stands in for. Caller frees. */
static char *fallback_call(BhHooks *h, const struct row *r) {
        g_autofree char *name = g_strconcat("sx_", r->name, NULL), *of = g_strconcat("sx_", r->of, NULL);

        return usable(h, name) && (r->kind == ROW_CALL || !usable(h, of)) ? g_steal_pointer(&name) : NULL;
}

guint bh_backends_programs(BhHooks *h, guint32 type, BhBackend backend, GHashTable *set) {
        guint n = 0;

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                const struct row *r = &rows[i];
                const char *const prefixes[] = { "fx_", "fc_" };

                if (r->type != type)
                        continue;
                if (r->kind == ROW_COMMON || (r->kind == ROW_FALLBACK && backend == BH_BACKEND_FALLBACK)) {
                        if (usable(h, r->name)) {
                                g_hash_table_add(set, g_strdup(r->name));
                                n += r->kind != ROW_COMMON;
                        }
                } else if (backend == BH_BACKEND_PREFERRED && can_prefer(h, r->name) &&
                           (r->kind == ROW_OBJECT || (r->kind == ROW_INSTEAD && !can_prefer(h, r->of)))) {
                        g_hash_table_add(set, g_strdup(r->name));
                        n++;
                } else if ((r->kind == ROW_CALL || r->kind == ROW_CALL_INSTEAD) && backend == BH_BACKEND_FALLBACK) {
                        char *name = fallback_call(h, r);

                        if (name) {
                                g_hash_table_add(set, name);
                                n++;
                        }
                } else if (r->kind == ROW_CALL && backend == BH_BACKEND_PREFERRED) {
                        for (guint k = 0; k < G_N_ELEMENTS(prefixes); k++) {
                                g_autofree char *name = g_strconcat(prefixes[k], r->name, NULL);

                                if (can_prefer(h, name)) {
                                        g_hash_table_add(set, g_steal_pointer(&name));
                                        n++;
                                }
                        }
                }
        }
        return n;
}

void bh_backends_choose(BhHooks *h, guint32 type, BhBackend wanted, const char *why_not) {
        g_autoptr(GHashTable) set = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        BhHookState *s = &h->state[type];

        if (bh_backends_common_only(type)) {
                s->backend = BH_BACKEND_TRACEPOINT;
                return;
        }
        if (wanted != BH_BACKEND_FALLBACK && bh_backends_programs(h, type, BH_BACKEND_PREFERRED, set)) {
                g_atomic_pointer_set(&s->why, NULL);
                s->backend = BH_BACKEND_PREFERRED;
                return;
        }
        /* interned: who reads the one before may go on */
        g_atomic_pointer_set(&s->why, g_intern_string(why_not ? why_not : "this kernel has none of the functions of the preferred hook"));
        if (bh_backends_programs(h, type, BH_BACKEND_FALLBACK, set)) {
                s->backend = BH_BACKEND_FALLBACK;
        } else {
                s->backend = BH_BACKEND_NONE;
        }
}

/* Whether another program of that hook stands in for a refused one. */
static gboolean replaced(BhHooks *h, guint32 type, enum row_kind kind, const char *of) {
        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                g_autofree char *call = g_strconcat("sx_", rows[i].name, NULL);

                if (rows[i].type == type && rows[i].kind == kind && g_str_equal(rows[i].of, of) &&
                    (kind == ROW_INSTEAD ? can_prefer(h, rows[i].name) : usable(h, call)))
                        return TRUE;
        }
        return FALSE;
}

/* What the kernel was given and refused. A function that it lacks is no reason: other rows stand for it. */
static void note_refused(BhHooks *h, const char *program, GString *names) {
        const char *reason = g_hash_table_lookup(h->bad, program);

        if (reason && !strstr(names->str, reason))
                g_string_append_printf(names, "%s%s", names->len ? "; " : "", reason);
}

void bh_backends_note_refused(BhHooks *h, guint32 type) {
        gboolean preferred = h->state[type].backend == BH_BACKEND_PREFERRED;
        g_autoptr(GString) names = g_string_new(NULL);

        for (guint i = 0; i < G_N_ELEMENTS(rows); i++) {
                const struct row *r = &rows[i];
                gboolean call = r->kind == ROW_CALL || r->kind == ROW_CALL_INSTEAD;
                const char *const prefixes[] = { preferred ? "fx_" : "sx_", preferred ? "fc_" : "sx_" };

                if (r->type != type || replaced(h, type, call ? ROW_CALL_INSTEAD : ROW_INSTEAD, r->name))
                        continue;
                if (r->kind == ROW_COMMON || (preferred ? r->kind == ROW_OBJECT || r->kind == ROW_INSTEAD : r->kind == ROW_FALLBACK))
                        note_refused(h, r->name, names);
                for (guint k = 0; call && k < G_N_ELEMENTS(prefixes) && !(preferred && r->kind == ROW_CALL_INSTEAD); k++) {
                        g_autofree char *name = g_strconcat(prefixes[k], r->name, NULL);

                        note_refused(h, name, names);
                }
        }
        g_atomic_pointer_set(&h->state[type].refused, names->len ? g_intern_string(names->str) : NULL);
}
