/* SPDX-License-Identifier: Apache-2.0 */
#include "ui_files.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fdio.h"
#include "base/log.h"

#define DEPTH_MAX 8

typedef struct {
        GBytes *plain, *gzip;
        const char *type;
        char *etag;
        gboolean immutable;
} File;

struct BhUi {
        GHashTable *files; /* "/assets/app.js" -> File */
        gsize bytes;
        guint count;
};

static const struct {
        const char *suffix, *type;
} types[] = {
        { ".html", "text/html; charset=utf-8" }, { ".js", "text/javascript; charset=utf-8" }, { ".mjs", "text/javascript; charset=utf-8" },
        { ".css", "text/css; charset=utf-8" },   { ".json", "application/json" },             { ".svg", "image/svg+xml" },
        { ".png", "image/png" },                 { ".ico", "image/x-icon" },                  { ".woff2", "font/woff2" },
        { ".txt", "text/plain; charset=utf-8" }, { ".webmanifest", "application/manifest+json" },
};

static void file_free(gpointer data) {
        File *f = data;

        g_clear_pointer(&f->plain, g_bytes_unref);
        g_clear_pointer(&f->gzip, g_bytes_unref);
        g_free(f->etag);
        g_free(f);
}

static const char *type_of(const char *name) {
        for (guint i = 0; i < G_N_ELEMENTS(types); i++)
                if (g_str_has_suffix(name, types[i].suffix))
                        return types[i].type;
        return NULL; /* not a kind of file that a browser needs from here: not served */
}

/* A part of eight or more letters and digits, with a digit in it, between '.' or '-'. */
static gboolean has_hash(const char *name) {
        g_auto(GStrv) parts = g_strsplit_set(name, ".-", -1);

        for (guint i = 1; parts[i] && parts[i + 1]; i++) {
                gsize n = strlen(parts[i]), digits = 0, k;

                for (k = 0; k < n && g_ascii_isalnum(parts[i][k]); k++)
                        digits += (gsize) g_ascii_isdigit(parts[i][k]);
                if (n >= 8 && k == n && digits)
                        return TRUE;
        }
        return FALSE;
}

static char *etag_of(GBytes *bytes) {
        gsize len;
        const guint8 *data = g_bytes_get_data(bytes, &len);
        guint8 digest[16];
        char hex[33];

        crypto_generichash(digest, sizeof(digest), data ? data : (const guint8 *) "", len, NULL, 0);
        return g_strdup_printf("\"%s\"", sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest)));
}

static void add(BhUi *ui, int dirfd, const char *name, const char *path) {
        gboolean gzip = g_str_has_suffix(path, ".gz"), truncated = FALSE;
        g_autofree char *key = gzip ? g_strndup(path, strlen(path) - 3) : g_strdup(path);
        g_autoptr(GError) error = NULL;
        gsize len;

        if (!type_of(key))
                return;
        char *data = bh_file_read(dirfd, name, BH_UI_BYTES, &len, &truncated, &error);
        if (!data || truncated || ui->bytes + len > BH_UI_BYTES || ui->count >= BH_UI_FILES) {
                bh_warn("a file of the web interface is left out", "file", path, "error", error ? error->message : "there are too many, or too large ones");
                g_free(data);
                return;
        }
        ui->bytes += len;
        ui->count++;

        File *f = g_hash_table_lookup(ui->files, key);
        if (!f) {
                f = g_new0(File, 1);
                f->type = type_of(key);
                f->immutable = has_hash(name);
                g_hash_table_insert(ui->files, g_steal_pointer(&key), f);
        }
        GBytes *bytes = g_bytes_new_take(data, len);
        if (gzip) {
                f->gzip = bytes;
        } else {
                f->plain = bytes;
                f->etag = etag_of(bytes);
        }
}

static void walk(BhUi *ui, const char *dir, const char *prefix, guint depth) {
        g_autoptr(GDir) d = depth < DEPTH_MAX ? g_dir_open(dir, 0, NULL) : NULL;
        g_auto(BhFd) fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const char *name;

        while (d && fd >= 0 && (name = g_dir_read_name(d))) {
                g_autofree char *path = g_strconcat(prefix, "/", name, NULL), *below = g_build_filename(dir, name, NULL);
                struct stat st;

                if (name[0] == '.' || !g_utf8_validate(name, -1, NULL) || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
                        continue;
                if (S_ISDIR(st.st_mode))
                        walk(ui, below, path, depth + 1);
                else if (S_ISREG(st.st_mode))
                        add(ui, fd, name, path);
        }
}

BhUi *bh_ui_load(const char *dir) {
        BhUi *ui = g_new0(BhUi, 1);
        GHashTableIter it;
        File *f;

        ui->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, file_free);
        walk(ui, dir, "", 0);
        g_hash_table_iter_init(&it, ui->files);
        while (g_hash_table_iter_next(&it, NULL, (gpointer *) &f))
                if (!f->plain)
                        g_hash_table_iter_remove(&it); /* a .gz alone */
        if (!g_hash_table_contains(ui->files, "/index.html")) {
                static const char page[] = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Bulkhead</title>\n"
                                           "<h1>Bulkhead</h1>\n<p>The web interface is not installed here. The API is at /api/v1; the command line is "
                                           "<code>bulkhead</code>.</p></html>\n";

                f = g_new0(File, 1);
                f->plain = g_bytes_new_static(page, sizeof(page) - 1);
                f->type = type_of("index.html");
                f->etag = etag_of(f->plain);
                g_hash_table_insert(ui->files, g_strdup("/index.html"), f);
        }
        return ui;
}

void bh_ui_free(BhUi *ui) {
        if (!ui)
                return;
        g_hash_table_unref(ui->files);
        g_free(ui);
}

guint bh_ui_count(const BhUi *ui) {
        return ui->count;
}

/* "gzip" in the list, and not with q=0. */
static gboolean accepts_gzip(const char *header) {
        g_auto(GStrv) parts = header ? g_strsplit(header, ",", 32) : NULL;

        for (guint i = 0; parts && parts[i]; i++) {
                char *p = g_strstrip(parts[i]);

                if (g_ascii_strncasecmp(p, "gzip", 4) == 0 && (!p[4] || p[4] == ';' || p[4] == ' '))
                        return !strstr(p, "q=0") || strpbrk(strstr(p, "q=0"), "123456789");
        }
        return FALSE;
}

gboolean bh_ui_answer(const BhUi *ui, BhHttpRequest *r) {
        guint n = g_strv_length(r->target.segments);
        const char *last = n ? r->target.segments[n - 1] : "", *none_match = bh_http_header(r, "If-None-Match");
        const File *f = g_hash_table_lookup(ui->files, r->target.path);

        if (!f && !strchr(last, '.'))
                f = g_hash_table_lookup(ui->files, "/index.html");
        if (!f)
                return FALSE;

        bh_http_add_header(r, "Cache-Control", f->immutable ? "public, max-age=31536000, immutable" : "no-cache");
        bh_http_add_header(r, "ETag", f->etag);
        bh_http_add_header(r, "Vary", "Accept-Encoding");
        if (none_match && strstr(none_match, f->etag)) {
                bh_http_answer(r, 304, NULL, g_bytes_new_static("", 0));
                return TRUE;
        }

        GBytes *bytes = f->plain;
        if (f->gzip && accepts_gzip(bh_http_header(r, "Accept-Encoding"))) {
                bh_http_add_header(r, "Content-Encoding", "gzip");
                bytes = f->gzip;
        }
        bh_http_answer_shared(r, 200, f->type, g_bytes_ref(bytes));
        return TRUE;
}
