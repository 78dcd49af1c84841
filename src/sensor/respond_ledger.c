/* SPDX-License-Identifier: Apache-2.0 */
#include "respond_ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fdio.h"
#include "base/log.h"
#include "cgroup_pids.h"
#include "enforce.h"

#define FILE_MAX (1u << 20)
#define SNAPSHOT_MAX (768u << 10) /* what goes over the bus with its answer */
#define ARGUMENTS_MAX 4096u

static char *text_of(const char *text) {
        return g_utf8_make_valid(text ? text : "", -1);
}

static char **texts_of(const char *const *texts, gsize n) {
        char **copy = g_new0(char *, n + 1);

        for (gsize i = 0; i < n; i++)
                copy[i] = text_of(texts[i]);
        return copy;
}

BhEntry *bh_entry_new(const BhOrder *o, BhResponseAction action, const BhContainer *c, const char *cgroup, guint64 serial, gint64 now_ns) {
        BhEntry *e = g_new0(BhEntry, 1);

        e->id = g_strdup(o->id);
        e->container = text_of(c->id);
        e->name = text_of(c->name);
        e->reason = text_of(o->reason);
        e->actor = text_of(o->actor);
        e->result = g_strdup("");
        e->cgroup = g_strdup(cgroup);
        e->subject = text_of(o->subject);
        e->action = action;
        e->allow = texts_of(o->allow, o->n_allow);
        e->deny = texts_of(o->deny, o->n_deny);
        e->until_ns = o->until_ns;
        e->time_ns = now_ns;
        e->serial = serial;
        e->best_effort = o->best_effort;
        e->detail = json_object();
        return e;
}

void bh_entry_free(BhEntry *e) {
        if (!e)
                return;
        char *texts[] = { e->id, e->container, e->name, e->reason, e->actor, e->result, e->cgroup, e->subject };

        for (guint i = 0; i < G_N_ELEMENTS(texts); i++)
                g_free(texts[i]);
        g_strfreev(e->allow);
        g_strfreev(e->deny);
        json_decref(e->detail);
        g_clear_pointer(&e->bound, g_array_unref);
        g_free(e);
}

json_t *bh_entry_tell(const BhEntry *e) {
        return json_pack("{s:s,s:s,s:s,s:o,s:I,s:s}", "id", e->id, "state", bh_response_state_name(e->state), "result", e->result, "detail", json_deep_copy(e->detail), "time_ns", (json_int_t) e->time_ns,
                         "container", e->container);
}

/* ---- files ---- */

static char *path_of(const char *dir, const char *id, const char *what) {
        return g_strdup_printf("%s/%s%s.json", dir, id, what);
}

static json_t *list_of(char **texts) {
        json_t *list = json_array();

        for (guint i = 0; texts[i]; i++)
                json_array_append_new(list, json_string(texts[i]));
        return list;
}

/* [text, address in hexadecimal digits, until when] each. */
static json_t *list_bound(const GArray *bound) {
        json_t *list = json_array();

        for (guint i = 0; bound && i < bound->len; i++) {
                const BhBound *b = &g_array_index(bound, BhBound, i);
                char hex[2 * sizeof(b->addr) + 1];

                for (guint k = 0; k < sizeof(b->addr); k++)
                        g_snprintf(hex + 2 * k, 3, "%02x", b->addr[k]);
                json_array_append_new(list, json_pack("[i,s,I]", (int) b->text, hex, (json_int_t) b->until_ns));
        }
        return list;
}

static GArray *read_bound(json_t *list) {
        g_autoptr(GArray) bound = g_array_new(FALSE, TRUE, sizeof(BhBound));
        json_t *one;
        size_t i;

        json_array_foreach(list, i, one) {
                const char *hex = json_string_value(json_array_get(one, 1));
                BhBound b = { .text = (guint) json_integer_value(json_array_get(one, 0)), .until_ns = json_integer_value(json_array_get(one, 2)) };

                if (!hex || strlen(hex) != 2 * sizeof(b.addr) || strspn(hex, "0123456789abcdef") != strlen(hex) || bound->len >= BH_RESPOND_BOUND)
                        continue;
                for (guint k = 0; k < sizeof(b.addr); k++)
                        b.addr[k] = (guint8) (g_ascii_xdigit_value(hex[2 * k]) << 4 | g_ascii_xdigit_value(hex[2 * k + 1]));
                g_array_append_val(bound, b);
        }
        return bound->len ? g_steal_pointer(&bound) : NULL;
}

static gboolean put_file(const char *path, json_t *content) {
        g_autofree char *text = json_dumps(content, JSON_COMPACT);
        g_autoptr(GError) error = NULL;

        if (text && g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &error))
                return TRUE;
        bh_error("cannot write the ledger of responses", "path", path, "error", error ? error->message : "no JSON");
        return FALSE;
}

/* Caller frees. */
static char *this_boot(void) {
        char *id = bh_file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, NULL, NULL, NULL);

        return id ? g_strchomp(id) : g_strdup("");
}

gboolean bh_entry_save(const char *dir, const BhEntry *e) {
        g_autofree char *path = path_of(dir, e->id, "");
        g_autofree char *boot = this_boot();
        json_auto_t *o = json_pack("{s:s,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:I,s:I,s:b,s:O,s:o,s:[I,I],s:s}", "boot", boot, "cgroup_id", (json_int_t) e->cgroup_id, "id", e->id, "action", bh_response_action_name(e->action), "state", bh_response_state_name(e->state),
                                   "container", e->container, "name", e->name, "reason", e->reason, "actor", e->actor, "result", e->result, "cgroup", e->cgroup, "allow", list_of(e->allow), "deny",
                                   list_of(e->deny), "until_ns", (json_int_t) e->until_ns, "time_ns", (json_int_t) e->time_ns, "serial", (json_int_t) e->serial, "best_effort", (int) e->best_effort, "detail",
                                   e->detail, "bound", list_bound(e->bound), "before", (json_int_t) e->before.programs, (json_int_t) e->before.untold, "subject", e->subject);

        return o && put_file(path, o);
}

static char *member(json_t *o, const char *name) {
        const char *v = json_string_value(json_object_get(o, name));

        return g_strdup(v ? v : "");
}

static char **members(json_t *o, const char *name) {
        json_t *list = json_object_get(o, name), *v;
        GPtrArray *texts = g_ptr_array_new();
        size_t i;

        json_array_foreach(list, i, v)
                if (json_is_string(v))
                        g_ptr_array_add(texts, g_strdup(json_string_value(v)));
        g_ptr_array_add(texts, NULL);
        return (char **) g_ptr_array_free(texts, FALSE);
}

static BhEntry *read_entry(const char *dir, const char *name) {
        g_autofree char *path = g_build_filename(dir, name, NULL), *expected = NULL;
        gsize len = 0;
        g_autofree char *text = bh_file_read(AT_FDCWD, path, FILE_MAX, &len, NULL, NULL);
        json_auto_t *o = text ? json_loadb(text, len, 0, NULL) : NULL;
        BhEntry *e = g_new0(BhEntry, 1);
        json_t *detail = json_object_get(o, "detail");

        e->id = member(o, "id");
        e->container = member(o, "container");
        e->name = member(o, "name");
        e->reason = member(o, "reason");
        e->actor = member(o, "actor");
        e->result = member(o, "result");
        e->cgroup = member(o, "cgroup");
        e->subject = member(o, "subject");
        e->allow = members(o, "allow");
        e->deny = members(o, "deny");
        e->until_ns = json_integer_value(json_object_get(o, "until_ns"));
        e->time_ns = json_integer_value(json_object_get(o, "time_ns"));
        e->serial = (guint64) json_integer_value(json_object_get(o, "serial"));
        e->best_effort = json_is_true(json_object_get(o, "best_effort"));
        e->detail = json_is_object(detail) ? json_incref(detail) : json_object();
        e->bound = read_bound(json_object_get(o, "bound"));
        e->before.programs = (guint64) json_integer_value(json_array_get(json_object_get(o, "before"), 0));
        e->before.untold = (guint64) json_integer_value(json_array_get(json_object_get(o, "before"), 1));
        g_autofree char *boot = this_boot();
        e->cgroup_id = (guint64) json_integer_value(json_object_get(o, "cgroup_id"));
        if (e->cgroup_id && g_strcmp0(json_string_value(json_object_get(o, "boot")), boot))
                e->cgroup_id = BH_ENTRY_ELSEWHERE;
        if (g_strcmp0(json_string_value(json_object_get(o, "boot")), boot))
                json_object_del(e->detail, BH_ENTRY_HALTED); /* such numbers are others' now */
        expected = g_strdup_printf("%s.json", e->id);
        if (bh_response_id_valid(e->id) && g_str_equal(expected, name) && bh_response_action_parse(json_string_value(json_object_get(o, "action")), &e->action) &&
            bh_response_state_parse(json_string_value(json_object_get(o, "state")), &e->state))
                return e;
        bh_error("a file of the ledger of responses cannot be read; what it held is taken away", "path", path);
        bh_entry_free(e);
        return NULL;
}

gboolean bh_entries_load(const char *dir, GHashTable *entries, guint64 *serial, GError **error) {
        if (g_mkdir_with_parents(dir, 0700)) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "cannot make %s: %s", dir, g_strerror(errno));
                return FALSE;
        }
        g_autoptr(GDir) d = g_dir_open(dir, 0, error);
        if (!d)
                return FALSE;
        for (const char *name; (name = g_dir_read_name(d));) {
                BhEntry *e;

                if (!g_str_has_suffix(name, ".json") || g_str_has_suffix(name, ".snapshot.json") || !(e = read_entry(dir, name)))
                        continue;
                *serial = MAX(*serial, e->serial);
                g_hash_table_insert(entries, e->id, e);
        }
        return TRUE;
}

static int oldest_first(gconstpointer pa, gconstpointer pb) {
        const BhEntry *a = *(const BhEntry *const *) pa, *b = *(const BhEntry *const *) pb;

        return a->time_ns != b->time_ns ? (a->time_ns < b->time_ns ? -1 : 1) : (a->serial > b->serial) - (a->serial < b->serial);
}

void bh_entries_prune(const char *dir, GHashTable *entries, guint max) {
        g_autoptr(GPtrArray) ended = g_ptr_array_new();
        GHashTableIter it;
        BhEntry *e;

        g_hash_table_iter_init(&it, entries);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &e))
                if (e->state != BH_RESPONSE_STATE_ACTIVE && e->state != BH_RESPONSE_STATE_PENDING && !e->busy)
                        g_ptr_array_add(ended, e);
        g_ptr_array_sort(ended, oldest_first);
        for (guint i = 0; i + max < ended->len; i++) {
                g_autofree char *path = NULL, *snapshot = NULL;

                e = ended->pdata[i];
                path = path_of(dir, e->id, "");
                snapshot = path_of(dir, e->id, ".snapshot");
                unlink(path);
                unlink(snapshot);
                g_hash_table_remove(entries, e->id);
        }
}

/* ---- snapshots ---- */

/* `room`: bytes that the snapshot may still have of foreign texts. */
static json_t *text_within(const char *bytes, gsize len, gsize *room) {
        g_autofree char *text = len <= *room ? g_utf8_make_valid(bytes, (gssize) len) : NULL;

        *room -= MIN(len, *room);
        return text ? json_string(text) : json_null();
}

static json_t *link_of(const char *path, gsize *room) {
        char target[4096];
        gssize n = readlink(path, target, sizeof(target) - 1);

        return n > 0 ? text_within(target, (gsize) n, room) : json_null();
}

static json_t *process(const char *proc_path, gint pid, gsize *room) {
        g_autofree char *base = g_strdup_printf("%s/%d", proc_path, pid), *exe = g_build_filename(base, "exe", NULL), *cwd = g_build_filename(base, "cwd", NULL), *fds = g_build_filename(base, "fd", NULL);
        g_autofree char *cmdline = g_build_filename(base, "cmdline", NULL), *status = g_build_filename(base, "status", NULL), *text = NULL, *args = NULL;
        g_autoptr(GDir) d = g_dir_open(fds, 0, NULL);
        json_t *o = json_object(), *list = json_array(), *files = json_object();
        gsize len = 0;
        guint n = 0;

        json_object_set_new(o, "pid", json_integer(pid));
        if ((text = bh_file_read(AT_FDCWD, status, 16384, NULL, NULL, NULL))) {
                const char *parent = strstr(text, "\nPPid:"), *uid = strstr(text, "\nUid:");

                json_object_set_new(o, "parent", json_integer(parent ? atoi(parent + 6) : 0));
                json_object_set_new(o, "uid", json_integer(uid ? atoll(uid + 5) : -1));
        }
        json_object_set_new(o, "exe", link_of(exe, room));
        json_object_set_new(o, "directory", link_of(cwd, room));
        if ((args = bh_file_read(AT_FDCWD, cmdline, ARGUMENTS_MAX, &len, NULL, NULL)))
                for (gsize at = 0, n_bytes; at < len; at += n_bytes + 1) {
                        n_bytes = strnlen(args + at, len - at);
                        json_array_append_new(list, text_within(args + at, n_bytes, room));
                }
        json_object_set_new(o, "arguments", list);
        for (const char *name; d && (name = g_dir_read_name(d));)
                if (n++ < BH_SNAPSHOT_FILES) {
                        g_autofree char *path = g_build_filename(fds, name, NULL);

                        json_object_set_new(files, name, link_of(path, room));
                }
        json_object_set_new(o, "files", files);
        if (n > BH_SNAPSHOT_FILES)
                json_object_set_new(o, "more_files", json_integer(n - BH_SNAPSHOT_FILES));
        return o;
}

guint bh_entry_snapshot(const char *dir, const BhEntry *e, const BhContainer *c, const char *v2_mount, const char *proc_path) {
        g_autofree char *path = path_of(dir, e->id, ".snapshot");
        g_autoptr(GArray) pids = bh_cgroup_pids(v2_mount, e->cgroup, G_MAXUINT16, G_MAXUINT, NULL);
        json_auto_t *o = json_object();
        json_t *list = json_array();
        gsize room = BH_SNAPSHOT_BYTES;
        guint n = 0;

        for (; n < pids->len && n < BH_SNAPSHOT_PROCESSES && room; n++)
                json_array_append_new(list, process(proc_path, g_array_index(pids, gint, n), &room));
        json_object_set_new(o, "container", bh_container_to_json(c));
        json_object_set_new(o, "processes", list);
        json_object_set_new(o, "left_out", json_integer(pids->len - n));
        put_file(path, o);
        return pids->len;
}

void bh_entry_add_snapshot(const char *dir, const BhEntry *e, json_t *told) {
        g_autofree char *path = path_of(dir, e->id, ".snapshot");
        gsize len = 0;
        gboolean cut = FALSE;

        if (!g_file_test(path, G_FILE_TEST_EXISTS))
                return;
        g_autofree char *text = bh_file_read(AT_FDCWD, path, SNAPSHOT_MAX, &len, &cut, NULL);
        json_t *snapshot = text && !cut ? json_loadb(text, len, 0, NULL) : NULL;
        json_object_set_new(json_object_get(told, "detail"), "snapshot", snapshot ? snapshot : json_string("larger than what is sent: it is on the node, in the folder responses of its data"));
}
