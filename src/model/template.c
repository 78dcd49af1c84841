/* SPDX-License-Identifier: Apache-2.0 */
#include "model/template.h"

#include <string.h>

/* FNV-1a: to tell apart what was cut off; nothing depends on its being hard to invert, as a collision only makes two long texts one item. */
#define HASH_BEGIN 0xcbf29ce484222325ull
#define HASH_TEXT 17 /* "#" and 16 digits */

typedef struct {
        char *out;
        gsize len;     /* of the whole template, beyond the bound too */
        guint64 hash;
        gboolean cut;  /* more was read than is written */
} Writer;

static void put(Writer *w, char c) {
        if (w->len < BH_TEMPLATE_MAX - 1)
                w->out[w->len] = c ? c : '?';
        w->len++;
        w->hash = (w->hash ^ (guint8) c) * 0x100000001b3ull;
}

static void put_text(Writer *w, const char *text) {
        for (; *text; text++)
                put(w, *text);
}

static void put_raw(Writer *w, const char *p, gsize n) {
        gsize i = 0, room = w->len < BH_TEMPLATE_MAX - 1 ? BH_TEMPLATE_MAX - 1 - w->len : 0, plain = MIN(n, room);
        guint64 hash = w->hash;
        char *out = w->out + (room ? w->len : 0);

        /* nearly all there is: it fits, and nothing in it is to be marked */
        for (; i < plain && p[i] && p[i] != '{' && p[i] != '}'; i++) {
                out[i] = p[i];
                hash = (hash ^ (guint8) p[i]) * 0x100000001b3ull;
        }
        w->len += i;
        w->hash = hash;
        for (; i < n; i++) {
                put(w, p[i]);
                if (p[i] == '{' || p[i] == '}')
                        put(w, p[i]);
        }
}

static gsize finish(Writer *w) {
        if (w->len < BH_TEMPLATE_MAX && !w->cut) {
                w->out[w->len] = '\0';
                return w->len;
        }
        gsize at = MIN(w->len, BH_TEMPLATE_MAX - 1 - HASH_TEXT);
        g_snprintf(w->out + at, HASH_TEXT + 1, "#%016" G_GINT64_MODIFIER "x", w->hash);
        return at + HASH_TEXT;
}

/* ---- shapes ---- */

static gboolean is_hex(char c) {
        return g_ascii_isdigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static gboolean is_uuid(const char *p, gsize n) {
        if (n < 36 || (n > 36 && is_hex(p[36])))
                return FALSE;
        for (gsize i = 0; i < 36; i++)
                if (i == 8 || i == 13 || i == 18 || i == 23 ? p[i] != '-' : !is_hex(p[i]))
                        return FALSE;
        return TRUE;
}

/* 2026-11-27, with '-', '_' or '.' between. */
static gboolean is_date(const char *p, gsize n) {
        if (n < 10 || (p[4] != '-' && p[4] != '_' && p[4] != '.') || p[7] != p[4] || (n > 10 && g_ascii_isdigit(p[10])))
                return FALSE;
        for (gsize i = 0; i < 10; i++)
                if (i != 4 && i != 7 && !g_ascii_isdigit(p[i]))
                        return FALSE;
        return (p[0] == '1' && p[1] == '9') || (p[0] == '2' && p[1] == '0');
}

typedef struct {
        gsize digits, lower, upper, hex, changes;
} Shape;

static Shape shape_of(const char *p, gsize n) {
        Shape s = { 0 };
        int last = 0;

        for (gsize i = 0; i < n; i++) {
                int kind = g_ascii_isdigit(p[i]) ? 1 : g_ascii_islower(p[i]) ? 2 : 3;

                s.digits += kind == 1;
                s.lower += kind == 2;
                s.upper += kind == 3;
                s.hex += is_hex(p[i]);
                s.changes += i && kind != last;
                last = kind;
        }
        return s;
}

/* Letters and digits in an order that no word has. In temporary places less is enough: mkstemp(3) makes six. */
static gboolean is_random(const Shape *s, gsize n, gboolean temporary) {
        gsize letters = s->lower + s->upper;

        if (temporary && n >= 6 && n <= 32)
                return (s->digits && letters && s->changes >= 2) || (s->lower && s->upper && s->changes >= 3);
        /* a session's number has few digits now and then, but it is long */
        if (n >= 20 && s->digits >= 2 && letters >= 2 && s->changes >= 2)
                return TRUE;
        return n >= 8 && s->digits >= 2 && letters >= 2 && s->changes >= 4;
}

typedef struct {
        gboolean sensitive, temporary;
} Place;

static gboolean private_address(const guint a[4]) {
        return a[0] == 10 || a[0] == 127 || (a[0] == 172 && a[1] >= 16 && a[1] < 32) || (a[0] == 192 && a[1] == 168);
}

/* Length of an IPv4 address at p, 0: there is none. */
static gsize address_at(const char *p, gsize n, guint a[4]) {
        gsize i = 0;

        for (guint part = 0; part < 4; part++) {
                gsize begin = i;

                a[part] = 0;
                while (i < n && i - begin < 4 && g_ascii_isdigit(p[i]))
                        a[part] = a[part] * 10 + (guint) (p[i++] - '0');
                if (i == begin || i - begin > 3 || a[part] > 255)
                        return 0;
                if (part < 3 && (i >= n || p[i++] != '.'))
                        return 0;
        }
        return i < n && (g_ascii_isalnum(p[i]) || p[i] == '.') ? 0 : i;
}

/* A run of letters and digits. */
static void put_run(Writer *w, const char *p, gsize n, Place place) {
        Shape s = shape_of(p, n);

        if (s.hex == n && n >= 8 && s.digits && (s.digits < n || n >= 32) && !(s.lower && s.upper)) {
                put_text(w, "{hex}");
        } else if (place.sensitive) {
                put_raw(w, p, n);
        } else if (s.digits == n) {
                put_text(w, "{n}");
        } else if (is_random(&s, n, place.temporary)) {
                put_text(w, "{tmp}");
        } else {
                for (gsize i = 0; i < n;) {
                        gsize begin = i;

                        while (i < n && g_ascii_isdigit(p[i]))
                                i++;
                        /* one digit is mostly part of a name: utf8, h2, x86 */
                        if (i - begin > 1)
                                put_text(w, "{n}");
                        else
                                put_raw(w, p + begin, i - begin);
                        while (i < n && !g_ascii_isdigit(p[i]))
                                put_raw(w, p + i++, 1);
                }
        }
}

/* mkstemp(3) behind a word: of six letters and digits, some are small and some not, nearly always. */
static gboolean is_made(const char *p, gsize n) {
        const Shape s = shape_of(p, n);

        return n == 6 && s.lower + s.upper + s.digits == n && (s.lower > 0) + (s.upper > 0) + (s.digits > 0) >= 2 && s.changes >= 2;
}

/* Names that run-times make for temporary files: eight of [a-z0-9_] of Python's, with tmp before them or nothing; PHP's php and six. Words before them stay. */
static gboolean put_temporary(Writer *w, const char *p, gsize n) {
        gsize i = 3;

        if (n == 11 && memcmp(p, "tmp", 3) == 0) {
                while (i < n && (g_ascii_islower(p[i]) || g_ascii_isdigit(p[i]) || p[i] == '_'))
                        i++;
                if (i == n) {
                        put_text(w, "tmp{tmp}");
                        return TRUE;
                }
        }
        if (n == 8 && memchr(p, '_', n)) {
                const Shape s = shape_of(p, n);

                /* in an order that no word has; without a '_' it is told by the run's letters and digits alone */
                for (i = 0; i < n && (g_ascii_islower(p[i]) || g_ascii_isdigit(p[i]) || p[i] == '_'); i++) {
                }
                if (i == n && s.digits >= 2 && s.lower >= 2 && s.changes >= 4) {
                        put_text(w, "{tmp}");
                        return TRUE;
                }
        }
        if (n == 9 && memcmp(p, "php", 3) == 0) {
                for (i = 3; i < n && g_ascii_isalnum(p[i]); i++) {
                }
                if (i == n) {
                        put_text(w, "{tmp}");
                        return TRUE;
                }
        }
        return FALSE;
}

/* What is renewed by itself, in places where else each name counts: "cert12.pem" of certbot, "..2026_11_27_10_00_00.123456789" of a secret that Kubernetes mounts. */
static gboolean put_renewed(Writer *w, const char *p, gsize n) {
        static const char *const stems[] = { "cert", "chain", "fullchain", "privkey" };
        gsize digits = 0;

        if (n > 12 && p[0] == '.' && p[1] == '.' && is_date(p + 2, 10)) {
                for (gsize i = 12; i < n; i++)
                        if (!g_ascii_isdigit(p[i]) && p[i] != '_' && p[i] != '.')
                                return FALSE;
                put_text(w, "..{date}");
                return TRUE;
        }
        if (n < 6 || memcmp(p + n - 4, ".pem", 4) != 0)
                return FALSE;
        while (digits + 4 < n && g_ascii_isdigit(p[n - 5 - digits]))
                digits++;
        for (guint i = 0; digits && i < G_N_ELEMENTS(stems); i++)
                if (n - 4 - digits == strlen(stems[i]) && memcmp(p, stems[i], n - 4 - digits) == 0) {
                        put_text(w, stems[i]);
                        put_text(w, "{n}.pem");
                        return TRUE;
                }
        return FALSE;
}

/* No '/' in it. */
static void put_part(Writer *w, const char *p, gsize n, Place place) {
        if (place.sensitive && put_renewed(w, p, n))
                return;
        if (place.temporary && !place.sensitive && put_temporary(w, p, n))
                return;
        for (gsize i = 0; i < n;) {
                gboolean begins = !i || !g_ascii_isalnum(p[i - 1]);
                guint a[4];
                gsize len;

                if (begins && is_uuid(p + i, n - i)) {
                        put_text(w, "{uuid}");
                        i += 36;
                } else if (begins && !place.sensitive && is_date(p + i, n - i)) {
                        put_text(w, "{date}");
                        i += 10;
                } else if (begins && (len = address_at(p + i, n - i, a))) {
                        if (private_address(a))
                                put_text(w, "{ip}");
                        else
                                put_raw(w, p + i, len);
                        i += len;
                } else if (g_ascii_isalnum(p[i])) {
                        gsize begin = i;

                        while (i < n && g_ascii_isalnum(p[i]))
                                i++;
                        /* also of a hidden file: ".ZendSem." stays */
                        if (place.temporary && begin && p[begin - 1] == '.' && i == n && is_made(p + begin, i - begin))
                                put_text(w, "{tmp}");
                        else if (i == n && begin > 5 && memcmp(p + begin - 5, ".pyc.", 5) == 0 && shape_of(p + begin, i - begin).digits == i - begin)
                                put_text(w, "{n}"); /* Python writes its cache so, and renames it, wherever the program is */
                        else
                                put_run(w, p + begin, i - begin, place);
                } else {
                        put_raw(w, p + i++, 1);
                }
        }
}

/* ---- places ---- */

static gboolean begins_with(const char *p, gsize n, const char *with) {
        gsize len = strlen(with);

        return n >= len && memcmp(p, with, len) == 0;
}

static gboolean has_part(const char *p, gsize n, const char *part) {
        return memmem(p, n, part, strlen(part)) != NULL;
}

static gboolean ends_with(const char *p, gsize n, const char *end) {
        gsize len = strlen(end);

        return n >= len && memcmp(p + n - len, end, len) == 0;
}

static gboolean credential(const char *path, gsize len, gboolean hidden);

gboolean bh_template_sensitive(const char *path, gsize len) {
        static const char *const trees[] = { "/etc/", "/root/", "/usr/", "/bin/", "/sbin/", "/lib", "/boot/", "/dev/", "/proc/", "/sys/", "/run/secrets/",
                                             "/var/run/secrets/", "/var/spool/cron", "/host/", "/home/" };

        /* the second letter tells most of them apart */
        for (guint i = 0; i < G_N_ELEMENTS(trees); i++)
                if (len > 1 && path[1] == trees[i][1] && begins_with(path, len, trees[i]))
                        return TRUE;
        return has_part(path, len, "/.") || ends_with(path, len, ".sock") || credential(path, len, FALSE);
}

gboolean bh_template_writable(const char *path, gsize len) {
        static const char *const trees[] = { "/tmp/", "/var/tmp/", "/dev/shm/", "/run/", "/var/run/", "/dev/mqueue/", "/var/lock/" };

        for (guint i = 0; i < G_N_ELEMENTS(trees); i++)
                if (len > 1 && path[1] == trees[i][1] && begins_with(path, len, trees[i]))
                        return TRUE;
        return FALSE;
}

/* hidden: there is "/." in it. */
static gboolean credential(const char *path, gsize len, gboolean hidden) {
        static const char *const parts[] = { "/secrets/kubernetes.io/", "/run/secrets/", "/.ssh/id_", "/.aws/credentials", "/.config/gcloud/", "/.azure/", "/.kube/config",
                                             "/.docker/config.json", "/.git-credentials", "/.netrc", "/.pgpass", "/.vault-token" };
        static const char *const ends[] = { "/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-", "/environ", "_rsa", "_ed25519", "_ecdsa", "ssh_host_rsa_key", "ssh_host_ed25519_key" };
        static const char last[] = { 'w', 'w', '-', '-', 'n', 'a', '9', 'a', 'y', 'y' }; /* letters of those */

        G_STATIC_ASSERT(sizeof(last) == G_N_ELEMENTS(ends));

        /* one look tells for most paths that none of the parts is there */
        if (hidden || has_part(path, len, "secrets/"))
                for (guint i = 0; i < G_N_ELEMENTS(parts); i++)
                        if (has_part(path, len, parts[i]))
                                return TRUE;
        for (guint i = 0; i < G_N_ELEMENTS(ends); i++)
                if (len && path[len - 1] == last[i] && ends_with(path, len, ends[i]))
                        return TRUE;
        return FALSE;
}

gboolean bh_template_credential(const char *path, gsize len) {
        return credential(path, len, has_part(path, len, "/."));
}

static void put_path(Writer *w, const char *path, gsize len) {
        gboolean proc = begins_with(path, len, "/proc/"), pts = begins_with(path, len, "/dev/pts/") || begins_with(path, len, "/dev/fd/");
        Place place = { .sensitive = bh_template_sensitive(path, len), .temporary = bh_template_writable(path, len) };

        for (gsize i = 0, part = 0; i < len;) {
                gsize begin = i;

                if (path[i] == '/') {
                        put(w, '/');
                        i++;
                        part++;
                        continue;
                }
                while (i < len && path[i] != '/')
                        i++;

                gsize digits = 0;
                for (gsize k = begin; k < i; k++)
                        digits += path[k] >= '0' && path[k] <= '9';
                gboolean number = digits == i - begin;
                gboolean one = i - begin == 1 && path[begin] == '1';

                /* /proc/1 is whoever begins a namespace: often not oneself */
                if (number && ((proc && !(part == 2 && one)) || pts))
                        put_text(w, "{n}");
                else if (!digits && !place.temporary)
                        put_raw(w, path + begin, i - begin); /* nothing without a digit is generalised, but there */
                else
                        put_part(w, path + begin, i - begin, place);
        }
}

gsize bh_template_path(const char *path, gsize len, char out[BH_TEMPLATE_MAX]) {
        Writer w = { .out = out, .hash = HASH_BEGIN };

        put_path(&w, path, len);
        return finish(&w);
}

static gsize base_of(const char *path, gsize len) {
        gsize i = len;

        while (i && path[i - 1] != '/')
                i--;
        return i;
}

gboolean bh_template_wild(const char *path, gsize len, char out[BH_TEMPLATE_MAX]) {
        /* what runs when somebody asks for it must each be known by name */
        static const char *const never[] = { ".php", ".phtml", ".phar", ".jsp", ".jspx", ".war", ".jar", ".class", ".asp", ".aspx", ".py", ".pyc", ".pl", ".cgi", ".rb", ".sh", ".bash", ".js", ".mjs", ".lua", ".so", ".ko", ".exe", ".service", ".htaccess" };
        gsize base = base_of(path, len), dot = len, slashes = 0;
        Writer w = { .out = out, .hash = HASH_BEGIN };

        for (gsize i = 0; i < base; i++)
                slashes += path[i] == '/';
        if (slashes < 2 || base == len || bh_template_sensitive(path, len))
                return FALSE;
        for (guint i = 0; i < G_N_ELEMENTS(never); i++)
                if (has_part(path + base, len - base, never[i]))
                        return FALSE;
        for (gsize i = len; i > base + 1; i--)
                if (path[i - 1] == '.') {
                        dot = i - 1;
                        break;
                }
        if (len - dot > 12)
                dot = len;
        for (gsize i = 0; i < base; i++)
                put(&w, path[i]);
        put(&w, '*');
        for (gsize i = dot; i < len; i++)
                put(&w, path[i]);
        finish(&w);
        return TRUE;
}

/* ---- arguments and names ---- */

static void put_arg(Writer *w, const char *p, gsize n) {
        const char *value = memchr(p, '=', n);

        if (p[0] == '/') {
                put_path(w, p, n);
        } else if (value && value + 1 < p + n && value[1] == '/') {
                put_part(w, p, (gsize) (value + 1 - p), (Place){ 0 });
                put_path(w, value + 1, n - (gsize) (value + 1 - p));
        } else {
                put_part(w, p, n, (Place){ 0 });
        }
}

gsize bh_template_args(const char *exe, gsize exe_len, const char *args, gsize len, char out[BH_TEMPLATE_MAX]) {
        Writer w = { .out = out, .hash = HASH_BEGIN };
        gsize exe_base = base_of(exe, exe_len);
        guint k = 0;

        for (gsize i = 0; i < len; k++) {
                gsize n = strnlen(args + i, len - i);

                if (k == 0) {
                        gsize base = i + base_of(args + i, n), m = i + n - base;

                        if (m != exe_len - exe_base || memcmp(args + base, exe + exe_base, m) != 0) {
                                put_text(&w, "[");
                                put_raw(&w, args + base, m);
                                put_text(&w, "]");
                        }
                } else if (k <= BH_TEMPLATE_ARGS) {
                        if (w.len)
                                put(&w, ' ');
                        if (n)
                                put_arg(&w, args + i, n);
                        else
                                put_text(&w, "''");
                } else {
                        if (k == BH_TEMPLATE_ARGS + 1)
                                put_text(&w, " …");
                        for (gsize j = 0; j <= n && i + j < len; j++)
                                w.hash = (w.hash ^ (guint8) args[i + j]) * 0x100000001b3ull;
                        w.cut = TRUE;
                }
                i += n + 1;
        }
        return finish(&w);
}

gsize bh_template_name(const char *name, gsize len, char out[BH_TEMPLATE_MAX]) {
        Writer w = { .out = out, .hash = HASH_BEGIN };
        gsize begin[4] = { 0 }; /* of the last four labels, last first */
        guint labels = 0;

        while (len && name[len - 1] == '.')
                len--;
        for (gsize i = len; i > 0 && labels < 4; i--)
                if (i == 1 || name[i - 2] == '.')
                        begin[labels++] = i - 1;
        if (labels == 4)
                put_text(&w, "*.");
        for (guint k = MIN(labels, 3); k-- > 0;) {
                gsize end = k ? begin[k - 1] - 1 : len;
                char label[64];
                gsize n = MIN(end - begin[k], sizeof(label));

                for (gsize i = 0; i < n; i++)
                        label[i] = g_ascii_tolower(name[begin[k] + i]);
                if (k >= 2)
                        put_part(&w, label, n, (Place){ 0 });
                else
                        put_raw(&w, label, n);
                if (k)
                        put(&w, '.');
        }
        return finish(&w);
}
