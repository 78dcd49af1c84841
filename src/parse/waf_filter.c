/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/waf_filter.h"

#include <string.h>

#include "parse/waf.h"

#define WORD_KEPT 8u /* of a word of the rule set's lists: its beginning finds it as well, in a tenth of the memory */

/* Made of characters that are harmless each; words with others need no place here, such a character is enough. One of these is enough, too. */
static const char *const strong[] = {
        "..", "://", "/etc/", "/proc/", "/dev/", "/bin/", "/root/", "/var/", "c:/", "//", "file:", "php:", "data:", "jar:", "ldap:", "ldaps:", "gopher:", "dict:", "phar:", "expect:", "zip:", "glob:", "ogg:", "ssh2:", "rar:",
        "ftp:", "javascript:", "vbscript:", "169.254.", "127.0.0.1", "localhost", "metadata.google", "wp-config", ".htaccess", ".htpasswd", ".git", ".svn", ".env", ".ssh", ".bash", "web.config", "web.xml", ".phtml", "boot.ini",
        "win.ini", "passwd", "/shadow", "id_rsa", "union select", "union all", "union distinct", "information_schema", "sysobjects", "syscolumns", "sysdatabases", "xp_cmdshell", "xp_", "sp_", "sql_", "xtype", "utl_", "errorlevel", "pg_sleep", "pg_", 
        "dbms_", "waitfor", "benchmark", "load_file", "outfile", "dumpfile", "openquery", "openrowset", "group_concat", "randomblob", "extractvalue", "updatexml", "autonomous_transaction", "soundex",
        "sounds like", "procedure analyse", "insert into", "drop table", "delete from", "select ", "exec ", "execute ", "declare ", "@@", "--", "alter table", "into ", "order by", "group by", " having ", "create table",
        "merge into", "truncate ", "having ", "collation", " collate", " or ", " and ", " xor ", " rlike", " regexp", " is null", "is not", " div ", " between ", "varchar", "version_compile", "msysaces", "msysobjects", "northwind", "tempdb",
        "cmd.exe", "/c ", "powershell", "whoami", "uname", "wget", "curl ", "netcat", "nmap", "ifconfig", "ipconfig", "cat ", "busybox", "mkfifo", "rundll", "msiexec", "certutil", "bitsadmin", "cscript", "wmic", "tasklist", "taskkill",
        "bash", "/sh", "chmod", "chown", "crontab", "passthru", "proc_open", "shell_exec", "popen", "<script", "onload", "onerror", "onmouse", "onclick", "document.", "window.", "fromcharcode", "constructor", "__proto__", "child_process",
        "process.env", "require.", "xmlns", "formaction", "vmlframe", "srcdoc", "xlink", "@import", "@charset", "behavior:", "binding", "phpinfo", "base64", "gzinflate", "str_rot", "php_uname", ".php", "php ", "processbuilder", "runtime", "classloader",
        "class.module", "java.", "javax.", "org.apache", "com.opensymphony", "com.sun", "jndi:", "ognl", "freemarker", "velocity", "ro0ab", "cs7qa", "h4si", "kztaau", "aced0005", "acedaa", "cnvudgltz", "hj1bnrpbw", "jvbnrpbw", "chjvy2vzc2", "hyb2nlc3", "wcm9jzx",
        "y2xhc3nsb2", "nsyxnzbg9", "bgfzc2xvyw", "interceptor", "tobytearray", "getparameter", "getruntime", "beanutils", "ysoserial", "commons.collections", "clonetransformer", "forclosure", "instantiatefactory", "instantiatetransformer", "invokertransformer",
        "prototypeclonefactory", "prototypeserializationfactory", "whileclosure", "xmldecoder", "filewriter", "unmarshaller", "base64data", "http/", "content-type:", "content-length:", "set-cookie:", "location:", "transfer-encoding", "phpsessid", "jsessionid",
        "aspsessionid", "asp.net_sessionid",
};

/* Two of these in one value, or in the same one twice. */
static const char *const weak[] = {
        "select", "union", "insert", "if ", "exist", "update ", "delete ", "drop ", "alter ", "create ", "replace ", "from ", "where ", "limit ", "values ", "exec", "cast", "convert", "char", "concat", "sleep", "delay", "user_", "all_", "master",
        "mysql", "sqlite", "mssql", "0x", " not ", " like ", " null", "version", "database", "schema", "substr", "ascii", "unhex", "case ", "when ", "then ", "else ", "exists", "rollup", "nextval", "isnull", "ifnull", "coalesce", " or",
        "or ", "and ", "not ", "xor ", "binary ", " by ", "print", "transaction", "current_", "session_user", "system_user", " is", "using ", "begin ", "shutdown", "count", "sys", "table", "password", "users", "user", 
        "cmd", "command", "nc ", "telnet", "ping ", "ls ", "ls", "echo ", "rm ", "mv ", "cp ", "kill", "python", "perl", "ruby", "node", "gcc", "tftp", "ssh ", "sh ", "net ", "dir ", "type ", "set ", "env", "sudo", "find ", "head ", "tail ",
        "less ", "more ", "grep ", "awk", "sed ", "sort ", "tar ", "gzip", "xargs", "reg ", "del ", "copy ", "start ", "time", "nice", "system", "shell", "diff ", "expr", "which ", "mail", "date ", "export", "id ", "ps ", "vi ", "su ", "host ",
        "script", "alert", "eval", "expression", "iframe", "object", "embed", "applet", "import", "style", "string", "function", "global", "this", "module", "buffer", "svg", "href", "cookie", "xss", "confirm", "prompt", "var",
        "php", "assert", "include", "fopen", "fwrite", "readfile", "chr", "preg_", "java", "class.", "spring", "struts", "invoke", "forname", "serial", "script.", "bsh", "clojure", "groovy", "scala", "http", "header", "session",
};

/* Of the rule set: what scanners call themselves is looked for in fields, the rest where values are. */
static const char *const lists[] = { "lfi-os-files.data", "restricted-files.data", "unix-shell.data", "windows-powershell-commands.data", "php-config-directives.data", "php-function-names-933150.data",
                                     "php-variables.data", "java-classes.data" };
static const char *const scanner_lists[] = { "scanners-user-agents.data", "scanners-urls.data", "scanners-headers.data" };

enum { STRONG = 1, WEAK = 2, SCANNER = 4 };

typedef struct {
        char *text;
        guint8 kind;
} Word;

struct BhWafFilter {
        guint8 class_of[256]; /* 0: in no word */
        guint classes;
        guint nodes;
        guint16 *next;        /* nodes × classes */
        guint8 *ends;         /* a word ends at the node */
};

/* ---- the automaton */

static guint32 walk(const BhWafFilter *f, guint32 node, guint8 c) {
        return f->next[node * f->classes + f->class_of[c]];
}

static void word_clear(gpointer p) {
        g_free(((Word *) p)->text);
}

static void add_word(GArray *all, const char *text, gsize most, guint8 kind) {
        Word w = { g_ascii_strdown(text, MIN((gssize) strlen(text), (gssize) most)), kind };

        /* a short one is in too many texts to be enough */
        if (!kind)
                w.kind = strlen(w.text) >= 6 ? STRONG : WEAK;
        if (strlen(w.text) < 2)
                word_clear(&w);
        else
                g_array_append_val(all, w);
}

static void read_list(const char *dir, const char *name, gsize most, guint8 kind, GArray *all) {
        g_autofree char *path = g_build_filename(dir, name, NULL), *text = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
                return; /* another version of the rule set may not have it */
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (char **l = lines; *l; l++) {
                g_strstrip(*l);
                if (**l && **l != '#')
                        add_word(all, *l, most, kind);
        }
}

static gboolean build(BhWafFilter *f, const GArray *all, GError **error) {
        gsize bytes = 1;

        f->classes = 1;
        for (guint i = 0; i < all->len; i++)
                for (const char *c = g_array_index(all, Word, i).text; *c; c++, bytes++)
                        if (!f->class_of[(guint8) *c])
                                f->class_of[(guint8) *c] = (guint8) f->classes++;
        if (all->len > BH_WAF_FILTER_WORDS_MAX || bytes > BH_WAF_FILTER_NODES_MAX || f->classes > 255) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "the rule set's word lists have %u words with %zu bytes, at most %u with %u are taken", all->len, bytes,
                            BH_WAF_FILTER_WORDS_MAX, BH_WAF_FILTER_NODES_MAX);
                return FALSE;
        }
        for (guint c = 'A'; c <= 'Z'; c++)
                f->class_of[c] = f->class_of[c + 32];
        f->next = g_new0(guint16, bytes * f->classes);
        f->ends = g_new0(guint8, bytes);
        f->nodes = 1;
        for (guint i = 0; i < all->len; i++) {
                guint32 at = 0;

                for (const char *c = g_array_index(all, Word, i).text; *c; c++) {
                        guint16 *to = &f->next[at * f->classes + f->class_of[(guint8) *c]];

                        if (!*to)
                                *to = (guint16) f->nodes++;
                        at = *to;
                }
                f->ends[at] |= g_array_index(all, Word, i).kind;
        }
        /* breadth first: where a word cannot go on, its longest end that begins another one does */
        g_autofree guint32 *queue = g_new(guint32, f->nodes), *fail = g_new0(guint32, f->nodes);
        guint head = 0, tail = 0;

        for (guint c = 1; c < f->classes; c++)
                if (f->next[c])
                        queue[tail++] = f->next[c];
        while (head < tail) {
                guint32 node = queue[head++];

                f->ends[node] |= f->ends[fail[node]];
                for (guint c = 1; c < f->classes; c++) {
                        guint16 *to = &f->next[node * f->classes + c], other = f->next[fail[node] * f->classes + c];

                        if (*to) {
                                fail[*to] = other;
                                queue[tail++] = *to;
                        } else {
                                *to = other;
                        }
                }
        }
        f->next = g_renew(guint16, f->next, (gsize) f->nodes * f->classes);
        return TRUE;
}

BhWafFilter *bh_waf_filter_new(const char *rules_dir, GError **error) {
        g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(Word));
        g_autoptr(BhWafFilter) f = g_new0(BhWafFilter, 1);
        const char *dir = rules_dir ? rules_dir : BH_WAF_RULES_DIR;

        g_array_set_clear_func(all, word_clear);
        for (gsize i = 0; i < G_N_ELEMENTS(lists); i++)
                read_list(dir, lists[i], WORD_KEPT, 0, all);
        for (gsize i = 0; i < G_N_ELEMENTS(scanner_lists); i++)
                read_list(dir, scanner_lists[i], 64, SCANNER, all);
        if (!all->len) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "no word lists of the OWASP Core Rule Set in %s (Debian package modsecurity-crs)", dir);
                return NULL;
        }
        for (gsize i = 0; i < G_N_ELEMENTS(strong); i++)
                add_word(all, strong[i], 64, STRONG);
        for (gsize i = 0; i < G_N_ELEMENTS(weak); i++)
                add_word(all, weak[i], 64, WEAK);
        return build(f, all, error) ? g_steal_pointer(&f) : NULL;
}

void bh_waf_filter_free(BhWafFilter *f) {
        if (!f)
                return;
        g_free(f->next);
        g_free(f->ends);
        g_free(f);
}

gsize bh_waf_filter_bytes(const BhWafFilter *f) {
        return (gsize) f->nodes * (f->classes * sizeof(guint16) + 1);
}

/* ---- looking */

/* Characters that a text may have; letters and digits always. */
#define IN_PATH "/_.-~+@,: "
#define IN_VALUE " _.-~+@,:/"
#define IN_VALUE_STRICT "_.,:-="
#define IN_JSON " _.-~+@,:/\r\n\t{}[]\""
#define IN_FIELD " _.-~+@,:/=;()*?\""

typedef struct {
        const BhWafFilter *f;
        guint8 kinds;         /* words that count here; two WEAK ones in one text */
        gboolean allowed[256];
} Look;

static Look look_for(const BhWafFilter *f, guint8 kinds, const char *also) {
        Look l = { .f = f, .kinds = kinds };

        for (guint c = 0; c < 256; c++)
                l.allowed[c] = g_ascii_isalnum(c);
        for (; *also; also++)
                l.allowed[(guint8) *also] = TRUE;
        return l;
}

static gboolean plain(const Look *l, const char *p, gsize n, gboolean *word) {
        guint32 node = 0;
        gboolean good = TRUE;
        guint8 found = 0;
        guint weaks = 0;

        for (gsize i = 0; i < n; i++) {
                good &= l->allowed[(guint8) p[i]];
                node = walk(l->f, node, (guint8) p[i]);
                found |= l->f->ends[node];
                weaks += l->f->ends[node] >> 1 & 1;
        }
        if (found & l->kinds & (STRONG | SCANNER) || (l->kinds & WEAK && weaks > 1))
                *word = TRUE;
        return good;
}

/* Percent-encoding taken off once; what is left of another one has a '%' that nothing allows. */
static gsize decode(const char *p, gsize n, gboolean plus, char *out) {
        gsize o = 0;

        for (gsize i = 0; i < n; i++) {
                if (p[i] == '%' && i + 2 < n && g_ascii_isxdigit(p[i + 1]) && g_ascii_isxdigit(p[i + 2])) {
                        out[o++] = (char) (g_ascii_xdigit_value(p[i + 1]) << 4 | g_ascii_xdigit_value(p[i + 2]));
                        i += 2;
                } else {
                        out[o++] = plus && p[i] == '+' ? ' ' : p[i];
                }
        }
        return o;
}

static gboolean plain_pairs(const Look *l, const char *p, gsize n, char separator, gboolean *word) {
        g_autofree char *copy = g_malloc(n + 1);
        gboolean good = TRUE;

        for (gsize i = 0; i <= n;) {
                const char *amp = i < n ? memchr(p + i, separator, n - i) : NULL;
                gsize end = amp ? (gsize) (amp - p) : n;
                const char *equals = end > i ? memchr(p + i, '=', end - i) : NULL;
                gsize middle = equals ? (gsize) (equals - p) : end;

                good &= plain(l, copy, decode(p + i, middle - i, TRUE, copy), word);
                if (equals)
                        good &= plain(l, copy, decode(p + middle + 1, end - middle - 1, TRUE, copy), word);
                i = end + 1;
        }
        return good;
}

/* Cookies are values; a Referer is the address of a page, with a scheme; of the others programs read little, and their form has more characters. */
static gboolean plain_field(const BhWafFilter *f, const BhHttpField *field, gboolean *word) {
        const char *v = field->value;
        gsize n = strlen(v);

        if (g_ascii_strcasecmp(field->name, "Cookie") == 0) {
                Look l = look_for(f, STRONG | WEAK, IN_VALUE);

                return plain_pairs(&l, v, n, ';', word);
        }
        if (g_ascii_strcasecmp(field->name, "Referer") == 0 || g_ascii_strcasecmp(field->name, "Origin") == 0) {
                gsize scheme = g_str_has_prefix(v, "https://") ? 8 : g_str_has_prefix(v, "http://") ? 7 : 0, host = scheme ? scheme + strcspn(v + scheme, "/?#") : 0;
                Look l = look_for(f, STRONG, IN_VALUE "?&=");
                g_autofree char *decoded = g_malloc(n + 1);

                return plain(&l, decoded, decode(v + host, n - host, FALSE, decoded), word);
        }
        if (g_ascii_strcasecmp(field->name, "Content-Type") == 0) {
                /* one type and at most one parameter */
                Look l = look_for(f, 0, "/-+.;= _");
                const char *slash = strchr(v, '/'), *semicolon = strchr(v, ';');

                return plain(&l, v, n, word) && !(slash && strchr(slash + 1, '/')) && !(semicolon && strchr(semicolon + 1, ';'));
        }
        if (g_ascii_strcasecmp(field->name, "Host") == 0 || g_ascii_strncasecmp(field->name, "Accept", 6) == 0) {
                Look l = look_for(f, 0, IN_FIELD);

                return plain(&l, v, n, word);
        }
        Look l = look_for(f, SCANNER | (g_ascii_strcasecmp(field->name, "User-Agent") == 0 ? 0 : STRONG), IN_FIELD);
        g_autofree char *decoded = g_malloc(n + 1);

        return plain(&l, decoded, decode(v, n, FALSE, decoded), word);
}

static gboolean content_is(const char *type, const char *what) {
        return g_ascii_strncasecmp(type, what, strlen(what)) == 0;
}

/* ---- what is unusual */

static gboolean one_of(const char *text, const char *const *list) {
        for (; *list; list++)
                if (g_ascii_strcasecmp(text, *list) == 0)
                        return TRUE;
        return FALSE;
}

/* The last segment has no extension, or one that pages and programs are made of. */
static gboolean usual_extension(const char *path) {
        static const char *const known[] = { "html", "htm", "js", "mjs", "css", "png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "woff", "woff2", "ttf", "json", "txt", "map", "pdf", "mp4", "webm", NULL };
        const char *slash = strrchr(path, '/'), *dot = slash ? strrchr(slash, '.') : NULL;

        return !dot || one_of(dot + 1, known);
}

static gboolean is_address(const char *host) {
        return *host == '[' || (*host && !host[strspn(host, "0123456789.:")]);
}

static gboolean usual_field(const BhHttpField *field, const BhHttpMessage *m) {
        static const char *const rare[] = { "Proxy", "Lock-Token", "Content-Range", "Translate", "If", "Range", "Request-Range", "Expect", "Content-Encoding", "x-up-devcap-post-charset", "Accept-Charset", NULL };
        static const char *const connection[] = { "keep-alive", "close", "upgrade", NULL };
        static const char *const cache[] = { "no-cache", "max-age=0", "no-store", NULL };
        static const char *const types[] = { "application/x-www-form-urlencoded", "application/json", NULL };
        const char *v = field->value;

        if (one_of(field->name, rare))
                return FALSE;
        if (g_ascii_strcasecmp(field->name, "Connection") == 0)
                return one_of(v, connection);
        if (g_ascii_strcasecmp(field->name, "Cache-Control") == 0)
                return one_of(v, cache);
        if (g_ascii_strcasecmp(field->name, "Content-Type") == 0)
                return one_of(v, types);
        if (g_ascii_strcasecmp(field->name, "Accept-Encoding") == 0)
                return strlen(v) <= 50;
        if (g_ascii_strcasecmp(field->name, "Accept") == 0)
                return !strstr(v, "charset");
        for (guint i = 0; &m->fields[i] != field; i++)
                if (g_ascii_strcasecmp(m->fields[i].name, field->name) == 0)
                        return FALSE;
        return TRUE;
}

static gboolean same_name_twice(const char *query) {
        g_auto(GStrv) pairs = g_strsplit(query, "&", 33);
        guint n = g_strv_length(pairs);

        if (n > 32)
                return TRUE;
        for (guint i = 0; i < n; i++)
                for (guint k = 0; k < i; k++) {
                        gsize len = strcspn(pairs[i], "=");

                        if (len == strcspn(pairs[k], "=") && memcmp(pairs[i], pairs[k], len) == 0)
                                return TRUE;
                }
        return FALSE;
}

static gboolean usual(const BhHttpMessage *m) {
        const char *agent = bh_http_field(m, "User-Agent"), *accept = bh_http_field(m, "Accept"), *length = bh_http_field(m, "Content-Length");

        if (!agent || !*agent || !accept || !*accept || !*m->authority || is_address(m->authority))
                return FALSE;
        if (strcmp(m->method, "POST") == 0 && !length && !bh_http_field(m, "Transfer-Encoding") && m->version != 20)
                return FALSE;
        for (guint i = 0; i < m->n_fields; i++)
                if (!usual_field(&m->fields[i], m))
                        return FALSE;
        return !same_name_twice(bh_http_query(m));
}

static gboolean plain_body(const BhWafFilter *f, const BhHttpMessage *m, gboolean strict, gboolean *word) {
        const char *type = bh_http_field(m, "Content-Type"), *body = (const char *) m->body->data;

        if (!m->body->len)
                return TRUE;
        if (!type || m->body_cut)
                return FALSE;
        if (content_is(type, "application/x-www-form-urlencoded")) {
                Look l = look_for(f, STRONG | WEAK, strict ? IN_VALUE_STRICT : IN_VALUE);

                return plain_pairs(&l, body, m->body->len, '&', word);
        }
        if (content_is(type, "application/json") && !strict) {
                Look l = look_for(f, STRONG, IN_JSON);

                return plain(&l, body, m->body->len, word);
        }
        return FALSE;
}

static gboolean say(const char **why, const char *what) {
        if (why)
                *why = what;
        return what != NULL;
}

gboolean bh_waf_filter_wants(const BhWafFilter *f, const BhHttpMessage *m, gboolean strict, const char **why) {
        static const char *const methods[] = { "GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS" };
        const char *query = bh_http_query(m);
        g_autofree char *path = bh_http_path(m), *decoded = g_malloc(strlen(path) + 1);
        Look segments = look_for(f, STRONG | SCANNER, IN_PATH), values = look_for(f, STRONG | WEAK, strict ? IN_VALUE_STRICT : IN_VALUE);
        gboolean known = FALSE, word = FALSE;

        for (gsize i = 0; i < G_N_ELEMENTS(methods); i++)
                known |= strcmp(m->method, methods[i]) == 0;
        if (!known)
                return say(why, "method");
        if (m->anomalies)
                return say(why, "anomaly");
        if (!plain(&segments, decoded, decode(path, strlen(path), FALSE, decoded), &word) || strchr(m->target, '#') || !usual_extension(path))
                return say(why, "path");
        if (strict && !usual(m))
                return say(why, "form");
        if (!plain_pairs(&values, query, strlen(query), '&', &word))
                return say(why, "query");
        for (guint i = 0; i < m->n_fields; i++)
                if (!plain_field(f, &m->fields[i], &word))
                        return say(why, "field");
        if (!plain_body(f, m, strict, &word))
                return say(why, "body");
        return say(why, word ? "word" : NULL);
}
