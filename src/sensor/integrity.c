/* SPDX-License-Identifier: Apache-2.0 */
#include "integrity.h"

#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"

static const struct {
        const char *path, *what;
        guint weight;
} watched[] = {
#define BH_WATCH(path, what, weight) { path, what, weight },
#include "integrity.tbl.h"
#undef BH_WATCH
};

typedef struct {
        char *state, *digest; /* digest "": not read */
        guint watch;
        guint64 dev, ino;
        guint look; /* in which it was seen last */
} Known;

struct BhIntegrity {
        char *root, *proc, *file;
        GHashTable *known; /* path → Known */
        guint look;
        gboolean moved;    /* what is known, since it was kept */
        gboolean first;    /* nothing is known yet: nothing is told */
        guint64 refused;
        void (*each)(const BhChange *change, gpointer data);
        gpointer data;
};

static void known_free(gpointer p) {
        Known *k = p;

        g_free(k->state);
        g_free(k->digest);
        g_free(k);
}

/* ---- what was known ---- */

/* Lines of "watch state digest path"; a path has no line end here, or it is left out. */
static void load(BhIntegrity *g) {
        gsize len = 0;
        g_autofree char *text = g->file ? bh_file_read(AT_FDCWD, g->file, 16u << 20, &len, NULL, NULL) : NULL;
        g_auto(GStrv) lines = text ? g_strsplit(text, "\n", -1) : NULL;

        g->first = !text;
        for (guint i = 0; lines && lines[i]; i++) {
                g_auto(GStrv) parts = g_strsplit(lines[i], " ", 4);

                if (g_strv_length(parts) != 4 || *parts[3] != '/' || g_hash_table_size(g->known) >= BH_INTEGRITY_FILES)
                        continue;
                Known *k = g_new0(Known, 1);
                k->watch = (guint) MIN(g_ascii_strtoull(parts[0], NULL, 10), G_N_ELEMENTS(watched) - 1);
                k->state = g_strdup(parts[1]);
                k->digest = g_strdup(g_str_equal(parts[2], "-") ? "" : parts[2]);
                g_hash_table_insert(g->known, g_strdup(parts[3]), k);
        }
}

static void save(BhIntegrity *g) {
        g_autoptr(GString) text = g_string_new(NULL);
        GHashTableIter it;
        gpointer path, value;

        if (!g->file || !g->moved)
                return;
        g_hash_table_iter_init(&it, g->known);
        while (g_hash_table_iter_next(&it, &path, &value)) {
                const Known *k = value;

                if (!strchr(path, '\n'))
                        g_string_append_printf(text, "%u %s %s %s\n", k->watch, k->state, *k->digest ? k->digest : "-", (const char *) path);
        }
        g->moved = !g_file_set_contents_full(g->file, text->str, (gssize) text->len, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL);
}

BhIntegrity *bh_integrity_new(const char *root, const char *proc, const char *state) {
        BhIntegrity *g = g_new0(BhIntegrity, 1);

        g->root = g_strdup(root);
        g->proc = g_strdup(proc);
        g->file = g_strdup(state);
        g->known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
        load(g);
        return g;
}

void bh_integrity_free(BhIntegrity *g) {
        if (!g)
                return;
        g_hash_table_unref(g->known);
        g_free(g->root);
        g_free(g->proc);
        g_free(g->file);
        g_free(g);
}

guint bh_integrity_files(const BhIntegrity *g) {
        return g_hash_table_size(g->known);
}

guint64 bh_integrity_refused(const BhIntegrity *g) {
        return g->refused;
}

/* ---- a look ---- */

/* What a program is made of is megabytes: its state must do. The files of /proc have none, so they are read. */
static char *digest_of(int dir, const char *path, guint watch) {
        gsize len = 0;

        if (g_str_equal(watched[watch].what, "program"))
                return g_strdup("");
        g_autofree char *text = bh_file_read(dir, path, BH_INTEGRITY_READ_MAX, &len, NULL, NULL);
        return text ? g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *) text, len) : g_strdup("");
}

static void tell(BhIntegrity *g, BhChangeKind kind, const char *path, const Known *k) {
        BhChange c = { .kind = kind, .path = path, .what = watched[k->watch].what, .weight = watched[k->watch].weight, .dev = k->dev, .ino = k->ino };

        if (!g->first && g->each)
                g->each(&c, g->data);
}

/* `here`: where it is; `name`: as the node calls it. */
static void look_at(BhIntegrity *g, const char *here, const char *name, guint watch) {
        gboolean live = g_str_has_prefix(watched[watch].path, "proc:");
        struct stat st;

        if (lstat(here, &st) || (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)))
                return;
        Known *k = g_hash_table_lookup(g->known, name);
        g_autofree char *state = live ? g_strdup("-") : g_strdup_printf("%lu:%lld:%lld.%09ld:%o:%u", (gulong) st.st_ino, (long long) st.st_size, (long long) st.st_ctim.tv_sec,
                                                                        st.st_ctim.tv_nsec, st.st_mode, st.st_uid);
        if (!k && g_hash_table_size(g->known) >= BH_INTEGRITY_FILES) {
                g->refused++;
                return;
        }
        gboolean fresh = !k, moved = fresh || live || strcmp(k->state, state);
        if (fresh) {
                k = g_new0(Known, 1);
                k->digest = g_strdup("");
                g_hash_table_insert(g->known, g_strdup(name), k);
        }
        k->look = g->look;
        k->watch = watch;
        k->dev = st.st_dev;
        k->ino = st.st_ino;
        if (!moved)
                return;
        g->moved |= fresh || !live;
        g_autofree char *digest = digest_of(AT_FDCWD, here, watch);
        gboolean other = strcmp(digest, k->digest) || (!*digest && !fresh);
        g_free(k->state);
        k->state = g_steal_pointer(&state);
        g_free(k->digest);
        k->digest = g_steal_pointer(&digest);
        g->moved |= other;
        if (fresh || other)
                tell(g, fresh ? BH_CHANGE_NEW : BH_CHANGE_CHANGED, name, k);
}

static void look_below(BhIntegrity *g, const char *base, const char *shown, const char *path, guint watch) {
        g_autofree char *here = g_build_filename(base, path, NULL), *name = g_build_filename(shown, path, NULL);
        struct stat st;

        /* a directory that is a link elsewhere (/bin on merged systems) is looked at where it is */
        if (lstat(here, &st) || !S_ISDIR(st.st_mode)) {
                look_at(g, here, name, watch);
                return;
        }
        g_autoptr(GDir) d = g_dir_open(here, 0, NULL);
        for (const char *one; d && (one = g_dir_read_name(d));) {
                g_autofree char *file = g_build_filename(here, one, NULL), *called = g_build_filename(name, one, NULL);

                look_at(g, file, called, watch);
        }
}

static void look_for(BhIntegrity *g, guint watch) {
        const char *path = watched[watch].path;

        if (g_str_has_prefix(path, "proc:")) {
                look_below(g, g->proc, "/proc", path + 5, watch);
                return;
        }
        if (!strchr(path, '*')) {
                look_below(g, g->root, "/", path, watch);
                return;
        }
        g_autofree char *pattern = g_build_filename(g->root, path, NULL);
        gsize skip = strlen(g->root);
        glob_t found = { 0 };

        while (skip && g->root[skip - 1] == '/')
                skip--;
        if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
                for (gsize i = 0; i < found.gl_pathc; i++)
                        look_at(g, found.gl_pathv[i], found.gl_pathv[i] + skip, watch);
        globfree(&found);
}

void bh_integrity_look(BhIntegrity *g, void (*each)(const BhChange *, gpointer), gpointer data) {
        GHashTableIter it;
        gpointer path, value;

        g->look++;
        g->each = each;
        g->data = data;
        for (guint i = 0; i < G_N_ELEMENTS(watched); i++)
                look_for(g, i);
        g_hash_table_iter_init(&it, g->known);
        while (g_hash_table_iter_next(&it, &path, &value)) {
                Known *k = value;

                if (k->look == g->look)
                        continue;
                g->moved = TRUE;
                k->dev = k->ino = 0;
                tell(g, BH_CHANGE_REMOVED, path, k);
                g_hash_table_iter_remove(&it);
        }
        g->first = FALSE;
        save(g);
}

/* ---- what should be seen ---- */

static GHashTable *words(const char *text) {
        GHashTable *out = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (guint i = 0; lines[i]; i++) {
                gsize n = strcspn(lines[i], " ");

                if (n)
                        g_hash_table_add(out, g_strndup(lines[i], n));
        }
        return out;
}

static void only_in(GPtrArray *out, GHashTable *a, GHashTable *b) {
        GHashTableIter it;
        gpointer name;

        g_hash_table_iter_init(&it, a);
        while (g_hash_table_iter_next(&it, &name, NULL))
                if (!g_hash_table_contains(b, name))
                        g_ptr_array_add(out, g_strdup(name));
}

GPtrArray *bh_integrity_modules(const char *proc_modules, const char *sys_modules) {
        g_autoptr(GHashTable) listed = words(proc_modules), there = words(sys_modules);
        GPtrArray *out = g_ptr_array_new_with_free_func(g_free);

        only_in(out, listed, there);
        only_in(out, there, listed);
        return out;
}
