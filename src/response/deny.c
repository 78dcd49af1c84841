/* SPDX-License-Identifier: Apache-2.0 */
#include "response/deny.h"

#include <string.h>

#include "response/response.h"

static const struct {
        const char *word;
        gboolean argument;
        const char *what;
} kinds[] = {
#define X(name, word, argument, what) { word, argument, what },
        BH_DENY_KINDS(X)
#undef X
};

/* By number: include/uapi/linux/capability.h */
static const char *const caps[] = {
        "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock",
        "ipc_owner", "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write",
        "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf", "checkpoint_restore",
};

static const struct {
        char letter;
        BhDenyOps op;
} letters[] = { { 'r', BH_DENY_READ }, { 'w', BH_DENY_WRITE }, { 'c', BH_DENY_CREATE }, { 'd', BH_DENY_DELETE } };

void bh_deny_free(BhDeny *d) {
        if (!d)
                return;
        g_free(d->path);
        g_free(d->text);
        g_free(d);
}

const char *bh_deny_word(BhDenyKind k) {
        return kinds[k].word;
}

const char *bh_deny_what(BhDenyKind k) {
        return kinds[k].what;
}

/* What is behind the word; NULL: the text is none of that kind. */
static const char *behind(const char *text, BhDenyKind k) {
        gsize n = strlen(kinds[k].word);

        if (strncmp(text, kinds[k].word, n) != 0 || (text[n] && text[n] != ':'))
                return NULL;
        return text + n;
}

gboolean bh_deny_is(const char *text) {
        for (guint k = 0; k < BH_DENY_N_KINDS; k++)
                if (behind(text, (BhDenyKind) k))
                        return TRUE;
        return FALSE;
}

static gboolean bad(GError **error, const char *text, const char *why) {
        g_autofree char *shown = g_utf8_make_valid(text, (gssize) MIN(strlen(text), 100));

        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "\"%s\" %s", shown, why);
        return FALSE;
}

/* Neither "//" nor "." nor ".." in it: what is meant must be what is written. */
static gboolean is_plain(const char *path) {
        for (const char *at = path; *at == '/'; at += 1 + strcspn(at + 1, "/")) {
                gsize n = strcspn(at + 1, "/");

                if ((!n && at[1]) || (n == 1 && at[1] == '.') || (n == 2 && at[1] == '.' && at[2] == '.'))
                        return FALSE;
        }
        return TRUE;
}

static gboolean take_path(BhDeny *d, const char *path, GError **error) {
        gsize n = strlen(path);

        if (*path != '/')
                return bad(error, d->text, "names no path: it begins with a slash, as the container sees it, like exec:/usr/bin/nc");
        if (n > BH_DENY_PATH_MAX || strpbrk(path, "\n\r"))
                return bad(error, d->text, "is no path that can be named here: it is too long, or has a line break");
        if (d->kind != BH_DENY_EXEC_ONLY && strpbrk(path, "*?[")) /* a list has each program by its name, and one of them is "[" */
                return bad(error, d->text, "looks like a pattern, and a path is meant as it is written: name each file, or a folder with a slash at its end (file:/srv/)");
        if (!is_plain(path))
                return bad(error, d->text, "is not a plain path: leave out \".\", \"..\" and double slashes");
        d->tree = n > 1 && path[n - 1] == '/';
        if (n == 1 || (d->kind != BH_DENY_FILE && d->tree))
                return bad(error, d->text, n == 1 ? "is the root of everything: name what is below" : "is a folder, and one program is named at a time");
        d->path = g_strndup(path, n - d->tree);
        return TRUE;
}

static gboolean take_only(BhDeny *d, const char *rest, GError **error) {
        static const char any[] = "any:";

        d->any = g_str_has_prefix(rest, any);
        return take_path(d, d->any ? rest + strlen(any) : rest, error);
}

static gboolean take_file(BhDeny *d, const char *rest, GError **error) {
        const char *colon = *rest == '/' ? NULL : strchr(rest, ':');

        if (!colon) {
                d->ops = BH_DENY_READ | BH_DENY_WRITE | BH_DENY_CREATE | BH_DENY_DELETE;
                return take_path(d, rest, error);
        }
        for (; rest < colon; rest++) {
                guint op = 0;

                for (guint i = 0; i < G_N_ELEMENTS(letters); i++)
                        op |= letters[i].letter == *rest ? letters[i].op : 0;
                if (!op)
                        return bad(error, d->text, "names an act that there is not: r (read), w (write), c (create) and d (delete) are, like file:wd:/srv/www/");
                d->ops |= op;
        }
        return d->ops ? take_path(d, colon + 1, error) : bad(error, d->text, "names no act: r, w, c and d, like file:wd:/srv/www/");
}

static gboolean take_hash(BhDeny *d, const char *text, GError **error) {
        const char *digits = text + strlen("sha256:");

        if (!g_str_has_prefix(text, "sha256:") || strlen(digits) != 2 * sizeof(d->hash) || strspn(digits, "0123456789abcdefABCDEF") != 2 * sizeof(d->hash))
                return bad(error, d->text, "names no content: it is exec-hash:sha256: and 64 hexadecimal digits, as sha256sum prints them");
        for (guint i = 0; i < sizeof(d->hash); i++)
                d->hash[i] = (guint8) (g_ascii_xdigit_value(digits[2 * i]) << 4 | g_ascii_xdigit_value(digits[2 * i + 1]));
        return TRUE;
}

static gboolean take_cap(BhDeny *d, const char *name, GError **error) {
        if (g_ascii_strncasecmp(name, "cap_", 4) == 0)
                name += 4;
        for (guint i = 0; i < G_N_ELEMENTS(caps); i++)
                if (g_ascii_strcasecmp(name, caps[i]) == 0) {
                        d->cap = i;
                        return TRUE;
                }
        return bad(error, d->text, "names no capability, like cap:net_raw");
}

BhDeny *bh_deny_parse(const char *text, GError **error) {
        g_autoptr(BhDeny) d = g_new0(BhDeny, 1);
        const char *rest = NULL;
        guint k = 0;
        gboolean ok;

        while (k < BH_DENY_N_KINDS && !(rest = behind(text, (BhDenyKind) k)))
                k++;
        d->text = g_strdup(text);
        if (!rest) {
                bad(error, text, "is nothing that can be refused: exec:PATH, exec-only:PATH, exec-not-in-image, exec-hash:sha256:HEX, file:PATH, cap:NAME, mount, ptrace, module or a peer");
                return NULL;
        }
        d->kind = (BhDenyKind) k;
        if (kinds[k].argument ? !*rest || !rest[1] : *rest) {
                bad(error, text, kinds[k].argument ? "names nothing behind its colon" : "takes nothing behind it");
                return NULL;
        }
        rest += kinds[k].argument;
        ok = d->kind == BH_DENY_EXEC ? take_path(d, rest, error) : d->kind == BH_DENY_FILE ? take_file(d, rest, error) : d->kind == BH_DENY_CAP ? take_cap(d, rest, error)
             : d->kind == BH_DENY_EXEC_HASH ? take_hash(d, rest, error) : d->kind == BH_DENY_EXEC_ONLY ? take_only(d, rest, error) : TRUE;
        return ok ? g_steal_pointer(&d) : NULL;
}

GPtrArray *bh_denies_parse(const char *const *texts, gsize n, GArray **peers, GError **error) {
        g_autoptr(GPtrArray) denies = g_ptr_array_new_with_free_func((GDestroyNotify) bh_deny_free), others = g_ptr_array_new();
        gsize listed = 0, observe = 0;

        for (gsize i = 0; i < n; i++) {
                BhDeny *d;

                if (!bh_deny_is(texts[i])) {
                        g_ptr_array_add(others, (gpointer) texts[i]);
                        continue;
                }
                if (!(d = bh_deny_parse(texts[i], error)))
                        return NULL;
                g_ptr_array_add(denies, d);
                listed += d->kind == BH_DENY_EXEC_ONLY;
                observe += d->kind == BH_DENY_OBSERVE;
                if (denies->len > BH_DENY_MAX) {
                        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "more than %u things to refuse", BH_DENY_MAX);
                        return NULL;
                }
        }
        if (observe && (!listed || listed + observe != n)) {
                bad(error, bh_deny_word(BH_DENY_OBSERVE), "goes with exec-only alone: nothing else can be tried");
                return NULL;
        }
        g_autoptr(GArray) found = bh_peers_parse((const char *const *) others->pdata, others->len, error);
        if (!found)
                return NULL;
        *peers = g_steal_pointer(&found);
        return g_steal_pointer(&denies);
}
