/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/passwd.h"

#include <string.h>

struct BhPasswd {
        gatomicrefcount refs;
        GArray *entries;     /* BhPasswdEntry, in the order of the file */
        GHashTable *by_id;   /* id → entry's place + 1: the first with that id */
        GHashTable *by_name; /* name (of the entry) → the same */
        GStringChunk *text;
        gsize text_used;
        guint32 skipped, dropped;
};

static BhPasswd *new_table(void) {
        BhPasswd *p = g_new0(BhPasswd, 1);

        g_atomic_ref_count_init(&p->refs);
        p->entries = g_array_new(FALSE, FALSE, sizeof(BhPasswdEntry));
        p->by_id = g_hash_table_new(NULL, NULL);
        p->by_name = g_hash_table_new(g_str_hash, g_str_equal);
        p->text = g_string_chunk_new(1024);
        return p;
}

BhPasswd *bh_passwd_ref(BhPasswd *p) {
        g_atomic_ref_count_inc(&p->refs);
        return p;
}

void bh_passwd_unref(BhPasswd *p) {
        if (!p || !g_atomic_ref_count_dec(&p->refs))
                return;
        g_array_unref(p->entries);
        g_hash_table_unref(p->by_id);
        g_hash_table_unref(p->by_name);
        g_string_chunk_free(p->text);
        g_free(p);
}

static gboolean name_is_sound(const char *name, gsize len) {
        if (len == 0 || len > BH_PASSWD_NAME_MAX)
                return FALSE;
        for (gsize i = 0; i < len; i++)
                if ((guchar) name[i] <= 0x20 || name[i] == 0x7f)
                        return FALSE;
        return TRUE;
}

/* FALSE when there is no room. */
static gboolean add(BhPasswd *p, guint32 id, guint32 group, const char *name, gsize len) {
        if (p->entries->len >= BH_PASSWD_ENTRIES_MAX || p->text_used + len + 1 > BH_PASSWD_TEXT_MAX)
                return FALSE;
        p->text_used += len + 1;

        BhPasswdEntry e = { .id = id, .group = group, .name = g_string_chunk_insert_len(p->text, name, (gssize) len) };
        g_array_append_val(p->entries, e);
        gpointer place = GUINT_TO_POINTER(p->entries->len);
        if (!g_hash_table_contains(p->by_id, GUINT_TO_POINTER(id)))
                g_hash_table_insert(p->by_id, GUINT_TO_POINTER(id), place);
        if (!g_hash_table_contains(p->by_name, e.name))
                g_hash_table_insert(p->by_name, (gpointer) e.name, place);
        return TRUE;
}

/* Digits only, and not the id that means "none". */
static gboolean take_id(const char *s, gsize len, guint32 *id) {
        guint64 v = 0;

        if (len == 0 || len > 10)
                return FALSE;
        for (gsize i = 0; i < len; i++) {
                if (!g_ascii_isdigit(s[i]))
                        return FALSE;
                v = v * 10 + (guint64) (s[i] - '0');
        }
        if (v >= G_MAXUINT32)
                return FALSE;
        *id = (guint32) v;
        return TRUE;
}

/* The next field; the last one ends with the line. FALSE when there is none. */
static gboolean take_field(const char **at, const char *end, const char **field, gsize *len) {
        if (!*at)
                return FALSE;
        const char *colon = memchr(*at, ':', (gsize) (end - *at));

        *field = *at;
        *len = (gsize) ((colon ? colon : end) - *at);
        *at = colon ? colon + 1 : NULL;
        return TRUE;
}

static void take_line(BhPasswd *p, BhPasswdFormat format, const char *line, const char *end) {
        guint fields = format == BH_PASSWD_USERS ? 4 : 3;
        const char *field[4] = { 0 };
        gsize len[4] = { 0 };
        guint32 id, group;

        if (line == end || *line == '#' || *line == '+' || *line == '-')
                return;
        for (guint i = 0; i < fields; i++)
                if (!take_field(&line, end, &field[i], &len[i])) {
                        p->skipped++;
                        return;
                }
        if (!name_is_sound(field[0], len[0]) || !take_id(field[2], len[2], &id) || !take_id(field[fields - 1], len[fields - 1], &group))
                p->skipped++;
        else if (!add(p, id, group, field[0], len[0]))
                p->dropped++;
}

BhPasswd *bh_passwd_parse(BhPasswdFormat format, const char *bytes, gsize len, GError **error) {
        const char *at = bytes, *end = bytes + len;

        if (len > BH_PASSWD_FILE_MAX) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "the file of %s has %" G_GSIZE_FORMAT " bytes; at most %u are read",
                            format == BH_PASSWD_USERS ? "users" : "groups", len, BH_PASSWD_FILE_MAX);
                return NULL;
        }
        BhPasswd *p = new_table();
        while (at < end) {
                const char *stop = memchr(at, '\n', (gsize) (end - at));

                if (!stop)
                        stop = end;
                take_line(p, format, at, stop);
                at = stop < end ? stop + 1 : end;
        }
        return p;
}

BhPasswd *bh_passwd_new(const BhPasswdEntry *entries, guint n, guint32 skipped, guint32 dropped) {
        g_autoptr(BhPasswd) p = new_table();

        for (guint i = 0; i < n; i++) {
                const BhPasswdEntry *e = &entries[i];
                gsize len = strlen(e->name);

                if (!name_is_sound(e->name, len) || e->id == G_MAXUINT32 || e->group == G_MAXUINT32 || !add(p, e->id, e->group, e->name, len))
                        return NULL;
        }
        p->skipped = skipped;
        p->dropped = dropped;
        return g_steal_pointer(&p);
}

static const BhPasswdEntry *entry(const BhPasswd *p, gpointer place) {
        return place ? &g_array_index(p->entries, BhPasswdEntry, GPOINTER_TO_UINT(place) - 1) : NULL;
}

const char *bh_passwd_name(const BhPasswd *p, guint32 id) {
        const BhPasswdEntry *e = entry(p, g_hash_table_lookup(p->by_id, GUINT_TO_POINTER(id)));

        return e ? e->name : NULL;
}

gboolean bh_passwd_id(const BhPasswd *p, const char *name, guint32 *id, guint32 *group) {
        const BhPasswdEntry *e = entry(p, g_hash_table_lookup(p->by_name, name));

        if (!e)
                return FALSE;
        *id = e->id;
        if (group)
                *group = e->group;
        return TRUE;
}

const BhPasswdEntry *bh_passwd_entries(const BhPasswd *p, guint *n) {
        *n = p->entries->len;
        return (const BhPasswdEntry *) (const void *) p->entries->data;
}

guint32 bh_passwd_skipped(const BhPasswd *p) {
        return p->skipped;
}

guint32 bh_passwd_dropped(const BhPasswd *p) {
        return p->dropped;
}
