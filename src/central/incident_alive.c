/* SPDX-License-Identifier: Apache-2.0 */
#include "incident_alive.h"

#include <string.h>

#include "ask.h"
#include "bus/body.h"
#include "bus/bus.pb-c.h"
#include "incident_ends.h"
#include "incident_row.h"
#include "store/store_inventory.h"

#define DELETED " (deleted)"

typedef struct {
        const char *node, *container, *name, *path; /* the lines'; container "": the node itself */
        gboolean ran;
        guint32 pid;
        guint n;
} Program;

/* Where processes are asked for; several programs may be there. */
typedef struct {
        const char *node, *container;
        gboolean goes_on; /* who is not among its processes has ended */
        char *failed;     /* NULL: all of it was told */
} Place;

static void place_free(gpointer p) {
        g_free(((Place *) p)->failed);
        g_free(p);
}

/* What the kernel shows as files runs nowhere. */
static gboolean may_run(const char *path) {
        return *path && !g_str_has_prefix(path, "/proc/") && !g_str_has_prefix(path, "/sys/");
}

static Program *find_program(GPtrArray *all, const char *node, const char *container, const char *path) {
        for (guint n = 0; n < all->len; n++) {
                Program *p = all->pdata[n];

                if (g_str_equal(p->path, path) && g_str_equal(p->node, node) && g_str_equal(p->container, container))
                        return p;
        }
        return NULL;
}

static GPtrArray *planted(const GPtrArray *lines) {
        GPtrArray *all = g_ptr_array_new_with_free_func(g_free);

        for (guint n = 0; n < lines->len; n++) {
                const BhIncidentLine *l = lines->pdata[n];
                const char *path = bh_deed_path(l->thing), *container = *l->origin ? "" : l->container_id;

                if (l->deed != BH_DEED_WROTE || !may_run(path) || all->len >= BH_INCIDENT_PROGRAMS || find_program(all, l->node, container, path))
                        continue;
                const Program p = { .node = l->node, .container = container, .name = *l->container_name ? l->container_name : l->container_id, .path = path };
                g_ptr_array_add(all, g_memdup2(&p, sizeof(p)));
        }
        for (guint n = 0; n < lines->len; n++) {
                const BhIncidentLine *l = lines->pdata[n];
                Program *p = find_program(all, l->node, l->container_id, l->exe);

                if (p)
                        p->ran = TRUE;
        }
        return all;
}

static gboolean goes_on(BhStore *s, const char *node, const char *container) {
        g_autoptr(BhStoreContainer) c = *container ? bh_store_container(s, node, container, NULL) : NULL;

        return !*container || (c && !bh_incident_container_ended(c));
}

static GPtrArray *places_of(BhStore *s, const GPtrArray *programs) {
        GPtrArray *places = g_ptr_array_new_with_free_func(place_free);

        for (guint n = 0; n < programs->len && places->len < BH_INCIDENT_PROGRAMS_PLACES; n++) {
                const Program *p = programs->pdata[n];
                gboolean known = FALSE;

                for (guint k = 0; k < places->len && !known; k++) {
                        const Place *x = places->pdata[k];

                        known = g_str_equal(x->node, p->node) && g_str_equal(x->container, p->container);
                }
                if (known)
                        continue;
                const Place one = { p->node, p->container, goes_on(s, p->node, p->container), NULL };
                g_ptr_array_add(places, g_memdup2(&one, sizeof(one)));
        }
        return places;
}

/* ---- what nodes say */

static void take_process(GPtrArray *programs, const Place *place, const Bulkhead__Bus__V1__Process *p) {
        g_autofree char *exe = bh_bus_text_dup(p->exe);

        if (g_str_has_suffix(exe, DELETED))
                exe[strlen(exe) - strlen(DELETED)] = 0;
        Program *found = find_program(programs, place->node, place->container, exe);
        if (found && !found->n++)
                found->pid = p->pid;
}

static void take_answer(GPtrArray *programs, Place *place, const BhAnswer *a) {
        gsize n = 0;
        gboolean bad = FALSE;

        for (guint k = 0; k < a->chunks->len; k++) {
                Bulkhead__Bus__V1__ProcessList *list = (void *) bh_bus_body_unpack(&bulkhead__bus__v1__process_list__descriptor, a->chunks->pdata[k], NULL);

                bad |= !list;
                for (gsize i = 0; list && i < list->n_processes; i++)
                        take_process(programs, place, list->processes[i]);
                n += list ? list->n_processes : 0;
                if (list)
                        bulkhead__bus__v1__process_list__free_unpacked(list, NULL);
        }
        if (a->error)
                place->failed = g_strdup_printf("node %s %s", place->node, g_str_has_prefix(a->error, "did not") ? a->error : "is not connected");
        else if (bad || a->cut || a->dropped || n >= BH_INCIDENT_PROGRAMS_PROCESSES)
                place->failed = g_strdup_printf("node %s did not tell of all its processes", place->node);
}

/* As what the API asks of nodes: who is silent holds no more of the workers than that. */
static gboolean may_ask(BhCentral *c) {
        if (g_atomic_int_add(&c->event_queries, 1) < BH_ASK_QUERIES)
                return TRUE;
        g_atomic_int_add(&c->event_queries, -1);
        return FALSE;
}

static void ask(BhCentral *c, GPtrArray *programs, const GPtrArray *places) {
        g_autoptr(GPtrArray) nodes = g_ptr_array_new(), bodies = g_ptr_array_new_with_free_func((GDestroyNotify) g_bytes_unref);

        for (guint n = 0; n < places->len; n++) {
                const Place *p = places->pdata[n];
                Bulkhead__Bus__V1__ProcessesRequest wanted = BULKHEAD__BUS__V1__PROCESSES_REQUEST__INIT;

                wanted.container = bh_bus_text(*p->container ? p->container : "host");
                wanted.limit = BH_INCIDENT_PROGRAMS_PROCESSES;
                g_ptr_array_add(nodes, (gpointer) p->node);
                g_ptr_array_add(bodies, bh_bus_body_pack(&wanted.base));
        }
        g_ptr_array_add(nodes, NULL);
        if (!may_ask(c)) {
                for (guint n = 0; n < places->len; n++)
                        ((Place *) places->pdata[n])->failed = g_strdup("too many questions are asked of the nodes at once; look again");
                return;
        }
        g_autoptr(BhAsk) q = bh_ask_nodes_each(c, (const char *const *) nodes->pdata, "processes", bodies, BH_INCIDENT_PROGRAMS_S);
        g_atomic_int_add(&c->event_queries, -1);
        for (guint n = 0; n < places->len; n++)
                take_answer(programs, places->pdata[n], q->answers->pdata[n]);
}

static void add_row(BhIncidentPrograms *out, const Program *p, const Place *place) {
        g_autofree char *where = *p->container ? g_strconcat("container ", p->name, NULL) : g_strconcat("node ", p->node, NULL);
        BhStoryProgram row = { .path = g_string_chunk_insert_const(out->texts, p->path), .place = g_string_chunk_insert_const(out->texts, where), .pid = p->pid, .more = p->n ? p->n - 1 : 0, .why = "" };

        if (p->n) {
                row.life = BH_STORY_RUNS;
        } else if (!p->ran || !place->goes_on) {
                return;
        } else if (place->failed) {
                row.life = BH_STORY_NOT_KNOWN;
                row.why = g_string_chunk_insert_const(out->texts, place->failed);
        } else {
                row.life = BH_STORY_ENDED;
        }
        g_array_append_val(out->rows, row);
}

BhIncidentPrograms *bh_incident_programs(BhCentral *c, const BhStoreIncident *i) {
        BhIncidentPrograms *out = g_new0(BhIncidentPrograms, 1);
        g_autoptr(GPtrArray) lines = bh_incident_row_read(i->lines), programs = planted(lines), places = places_of(c->store, programs);

        out->rows = g_array_new(FALSE, FALSE, sizeof(BhStoryProgram));
        out->texts = g_string_chunk_new(512);
        if (places->len)
                ask(c, programs, places);
        for (guint n = 0; n < programs->len; n++) {
                const Program *p = programs->pdata[n];

                for (guint k = 0; k < places->len; k++) {
                        const Place *x = places->pdata[k];

                        if (g_str_equal(x->node, p->node) && g_str_equal(x->container, p->container))
                                add_row(out, p, x);
                }
        }
        return out;
}

void bh_incident_programs_free(BhIncidentPrograms *p) {
        if (!p)
                return;
        g_array_unref(p->rows);
        g_string_chunk_free(p->texts);
        g_free(p);
}
