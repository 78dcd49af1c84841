/* SPDX-License-Identifier: Apache-2.0 */
/* What the findings of an incident know beyond its timeline: processes as a forest across containers and nodes, files, flows, credentials. Made when somebody looks, from the finding of each line. */
#include "incident_detail.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <jansson.h>

#include "incident_row.h"
#include "json_out.h"

typedef struct {
        GString *processes, *files, *flows, *credentials;
        GHashTable *seen; /* char * of what is told already */
        guint missing;
} Detail;

/* FALSE: it is told already. Takes the key. */
static gboolean fresh(Detail *d, char *key) {
        return g_hash_table_add(d->seen, key);
}

static const char *text_of(json_t *o, const char *key) {
        const char *t = json_string_value(json_object_get(o, key));

        return t ? t : "";
}

/* What an act is of: where it was, and the finding that tells it. */
static void place(GString *out, const BhStoreFinding *f) {
        bh_json_text(out, "finding", f->id);
        bh_json_time(out, "time", f->time_ns);
        bh_json_text(out, "node", f->node);
        bh_json_text(out, "container_id", f->container_id);
        bh_json_text(out, "container_name", f->container_name);
}

/* Each with its parent's number and start, null for the first one that is known: where that is in the list, it hangs there. */
static void add_processes(Detail *d, const BhStoreFinding *f) {
        json_auto_t *lineage = f->lineage && *f->lineage ? json_loads(f->lineage, 0, NULL) : NULL;
        json_t *p, *parent;
        size_t n;

        json_array_foreach(lineage, n, p) {
                json_t *args = json_object_get(p, "args"), *a;
                size_t i;

                if (!json_is_object(p) || !fresh(d, g_strdup_printf("p%s\1%" JSON_INTEGER_FORMAT "\1%s\1%s", f->node, json_integer_value(json_object_get(p, "pid")), text_of(p, "started"), text_of(p, "exe"))))
                        continue;
                parent = json_array_get(lineage, n + 1);
                bh_json_open(d->processes, NULL, '{');
                bh_json_text(d->processes, "finding", n ? NULL : f->id);
                bh_json_text(d->processes, "node", f->node);
                bh_json_int(d->processes, "pid", json_integer_value(json_object_get(p, "pid")));
                bh_json_text(d->processes, "started", json_string_value(json_object_get(p, "started")));
                if (json_is_object(parent))
                        bh_json_int(d->processes, "parent_pid", json_integer_value(json_object_get(parent, "pid")));
                else
                        bh_json_raw(d->processes, "parent_pid", NULL);
                bh_json_text(d->processes, "parent_started", json_is_object(parent) ? json_string_value(json_object_get(parent, "started")) : NULL);
                bh_json_text(d->processes, "exe", text_of(p, "exe"));
                bh_json_open(d->processes, "args", '[');
                json_array_foreach(args, i, a)
                        if (json_is_string(a))
                                bh_json_text(d->processes, NULL, json_string_value(a));
                bh_json_close(d->processes, ']');
                bh_json_int(d->processes, "uid", json_integer_value(json_object_get(p, "uid")));
                bh_json_text(d->processes, "container_id", text_of(p, "container_id"));
                bh_json_text(d->processes, "origin_id", text_of(p, "origin_id"));
                bh_json_close(d->processes, '}');
        }
}

static const char *act_on_file(const struct bh_event *e) {
        switch (e->type) {
        case BH_EV_EXEC: return "run";
        case BH_EV_OPEN: return bh_event_has(e, BH_F_open_flags) && ((e->open_flags & O_ACCMODE) != O_RDONLY || e->open_flags & (O_CREAT | O_TRUNC)) ? "written" : "read";
        case BH_EV_CLOSE_WRITE: return "written";
        default: return bh_event_type_name(e->type);
        }
}

static char *path_of(const struct bh_event *e) {
        if (bh_event_has(e, BH_F_path2) && e->path2.len)
                return g_strndup(e->path2.p, e->path2.len);
        if (bh_event_has(e, BH_F_path) && e->path.len)
                return g_strndup(e->path.p, e->path.len);
        return NULL;
}

static void add_file(Detail *d, const BhStoreFinding *f, const struct bh_event *e, gboolean secret) {
        g_autofree char *path = path_of(e);
        const char *act = act_on_file(e);

        if (!path || !fresh(d, g_strdup_printf("f%s\1%s\1%s\1%s", f->node, f->container_id, path, act)))
                return;
        for (guint both = 0; both < (secret ? 2u : 1u); both++) {
                GString *out = both ? d->credentials : d->files;

                bh_json_open(out, NULL, '{');
                place(out, f);
                bh_json_text(out, "path", path);
                bh_json_text(out, "act", act);
                bh_json_close(out, '}');
        }
}

static void add_flow(Detail *d, const BhStoreFinding *f, const struct bh_event *e) {
        char address[INET6_ADDRSTRLEN] = "";
        guint port = bh_event_has(e, BH_F_rport) ? e->rport : 0;
        gboolean in = e->type == BH_EV_ACCEPT || (bh_event_has(e, BH_F_outgoing) && !e->outgoing);

        if (!bh_event_has(e, BH_F_raddr))
                return;
        inet_ntop(e->raddr.len == 16 ? AF_INET6 : AF_INET, e->raddr.b, address, sizeof(address));
        if (!fresh(d, g_strdup_printf("n%s\1%s\1%s\1%u\1%d", f->node, f->container_id, address, port, in)))
                return;
        bh_json_open(d->flows, NULL, '{');
        place(d->flows, f);
        bh_json_text(d->flows, "direction", in ? "in" : "out");
        bh_json_text(d->flows, "peer", address);
        bh_json_uint(d->flows, "port", port);
        bh_json_close(d->flows, '}');
}

static void add_finding(Detail *d, const BhStoreFinding *f) {
        g_auto(BhIncidentInput) in = { 0 };

        bh_incident_input_init(&in, f);
        add_processes(d, f);
        if (!in.finding.event)
                return;
        add_file(d, f, in.finding.event, (in.finding.tactics >> BH_TACTIC_CREDENTIAL_ACCESS & 1) != 0);
        add_flow(d, f, in.finding.event);
}

static GString *list_of(const char *name) {
        GString *out = g_string_new(NULL);

        bh_json_open(out, name, '[');
        return out;
}

static void append_list(GString *out, GString *list) {
        bh_json_close(list, ']');
        g_string_append_len(out, list->str, (gssize) list->len);
        g_string_free(list, TRUE);
}

void bh_incident_detail(BhStore *s, GString *out, const char *lines) {
        json_auto_t *list = *lines ? json_loads(lines, 0, NULL) : NULL;
        Detail d = { list_of("processes"), list_of("files"), list_of("flows"), list_of("credentials"), g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL), 0 };
        json_t *line;
        size_t n;

        json_array_foreach(list, n, line) {
                g_autoptr(BhStoreFinding) f = bh_store_finding(s, text_of(line, "finding"), NULL);

                if (f)
                        add_finding(&d, f);
                else
                        d.missing++;
        }
        append_list(out, d.processes);
        append_list(out, d.files);
        append_list(out, d.flows);
        append_list(out, d.credentials);
        bh_json_uint(out, "missing", d.missing);
        g_hash_table_unref(d.seen);
}
