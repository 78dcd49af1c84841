/* SPDX-License-Identifier: Apache-2.0 */
#include "parse/waf_words.h"

#include <string.h>

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
        "bash", "chmod", "chown", "crontab", "passthru", "proc_open", "shell_exec", "popen", "<script", "onload", "onerror", "onmouse", "onclick", "document.", "window.", "fromcharcode", "constructor", "__proto__", "child_process",
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

typedef struct {
        char *text;
        guint8 kind;
} Word;

struct BhWafWords {
        guint8 class_of[256]; /* 0: in no word */
        guint8 plain[256];    /* letters and digits: looks begin with a copy, for each field of each request */
        guint classes;
        guint nodes;
        guint16 *next;        /* nodes × classes */
        guint8 *ends;         /* a word ends at the node */
};

/* ---- the automaton */

static guint32 walk(const BhWafWords *w, guint32 node, guint8 c) {
        return w->next[node * w->classes + w->class_of[c]];
}

static void word_clear(gpointer p) {
        g_free(((Word *) p)->text);
}

static void add_word(GArray *all, const char *text, gsize most, guint8 kind) {
        Word one = { g_ascii_strdown(text, MIN((gssize) strlen(text), (gssize) most)), kind };

        /* a short one is in too many texts to be enough */
        if (!kind)
                one.kind = strlen(one.text) >= 6 ? BH_WAF_STRONG : BH_WAF_WEAK;
        if (strlen(one.text) < 2)
                word_clear(&one);
        else
                g_array_append_val(all, one);
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

static gboolean build(BhWafWords *w, const GArray *all, GError **error) {
        gsize bytes = 1;

        w->classes = 1;
        for (guint i = 0; i < all->len; i++)
                for (const char *c = g_array_index(all, Word, i).text; *c; c++, bytes++)
                        if (!w->class_of[(guint8) *c])
                                w->class_of[(guint8) *c] = (guint8) w->classes++;
        if (all->len > BH_WAF_WORDS_WORDS_MAX || bytes > BH_WAF_WORDS_NODES_MAX || w->classes > 255) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "the rule set's word lists have %u words with %zu bytes, at most %u with %u are taken", all->len, bytes,
                            BH_WAF_WORDS_WORDS_MAX, BH_WAF_WORDS_NODES_MAX);
                return FALSE;
        }
        for (guint c = 'A'; c <= 'Z'; c++)
                w->class_of[c] = w->class_of[c + 32];
        w->next = g_new0(guint16, bytes * w->classes);
        w->ends = g_new0(guint8, bytes);
        w->nodes = 1;
        for (guint i = 0; i < all->len; i++) {
                guint32 at = 0;

                for (const char *c = g_array_index(all, Word, i).text; *c; c++) {
                        guint16 *to = &w->next[at * w->classes + w->class_of[(guint8) *c]];

                        if (!*to)
                                *to = (guint16) w->nodes++;
                        at = *to;
                }
                w->ends[at] |= g_array_index(all, Word, i).kind;
        }
        /* breadth first: where a word cannot go on, its longest end that begins another one does */
        g_autofree guint32 *queue = g_new(guint32, w->nodes), *fail = g_new0(guint32, w->nodes);
        guint head = 0, tail = 0;

        for (guint c = 1; c < w->classes; c++)
                if (w->next[c])
                        queue[tail++] = w->next[c];
        while (head < tail) {
                guint32 node = queue[head++];

                w->ends[node] |= w->ends[fail[node]];
                for (guint c = 1; c < w->classes; c++) {
                        guint16 *to = &w->next[node * w->classes + c], other = w->next[fail[node] * w->classes + c];

                        if (*to) {
                                fail[*to] = other;
                                queue[tail++] = *to;
                        } else {
                                *to = other;
                        }
                }
        }
        w->next = g_renew(guint16, w->next, (gsize) w->nodes * w->classes);
        return TRUE;
}

BhWafWords *bh_waf_words_new(const char *rules_dir, GError **error) {
        g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(Word));
        g_autoptr(BhWafWords) w = g_new0(BhWafWords, 1);
        const char *dir = rules_dir ? rules_dir : BH_WAF_RULES_DIR;

        for (guint c = 0; c < 256; c++)
                w->plain[c] = g_ascii_isalnum(c);
        g_array_set_clear_func(all, word_clear);
        for (gsize i = 0; i < G_N_ELEMENTS(lists); i++)
                read_list(dir, lists[i], WORD_KEPT, 0, all);
        for (gsize i = 0; i < G_N_ELEMENTS(scanner_lists); i++)
                read_list(dir, scanner_lists[i], 64, BH_WAF_SCANNER, all);
        if (!all->len) {
                g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOENT, "no word lists of the OWASP Core Rule Set in %s (Debian package modsecurity-crs)", dir);
                return NULL;
        }
        for (gsize i = 0; i < G_N_ELEMENTS(strong); i++)
                add_word(all, strong[i], 64, BH_WAF_STRONG);
        for (gsize i = 0; i < G_N_ELEMENTS(weak); i++)
                add_word(all, weak[i], 64, BH_WAF_WEAK);
        return build(w, all, error) ? g_steal_pointer(&w) : NULL;
}

void bh_waf_words_free(BhWafWords *w) {
        if (!w)
                return;
        g_free(w->next);
        g_free(w->ends);
        g_free(w);
}

gsize bh_waf_words_bytes(const BhWafWords *w) {
        return (gsize) w->nodes * (w->classes * sizeof(guint16) + 1);
}

/* ---- looking */

BhWafLook bh_waf_look_for(const BhWafWords *w, guint8 kinds, const char *also) {
        BhWafLook l = { .words = w, .kinds = kinds };

        memcpy(l.allowed, w->plain, sizeof(l.allowed));
        for (; *also; also++)
                l.allowed[(guint8) *also] = TRUE;
        return l;
}

gboolean bh_waf_look_plain(const BhWafLook *l, const char *p, gsize n, gboolean *word) {
        guint32 node = 0;
        gboolean good = TRUE;
        guint8 found = 0;
        guint weaks = 0;

        for (gsize i = 0; i < n; i++) {
                good &= l->allowed[(guint8) p[i]];
                node = walk(l->words, node, (guint8) p[i]);
                found |= l->words->ends[node];
                weaks += l->words->ends[node] >> 1 & 1;
        }
        if (found & l->kinds & (BH_WAF_STRONG | BH_WAF_SCANNER) || (l->kinds & BH_WAF_WEAK && weaks > 1))
                *word = TRUE;
        return good;
}

gboolean bh_waf_usual_extension(const char *path, gsize len) {
        static const char *const known[] = { "html", "htm", "js", "mjs", "css", "png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "woff", "woff2", "ttf", "json", "txt", "map", "pdf", "mp4", "webm" };
        gsize from = len;

        while (from > 0 && path[from - 1] != '.' && path[from - 1] != '/')
                from--;
        if (!from || path[from - 1] == '/')
                return TRUE;
        for (gsize i = 0; i < G_N_ELEMENTS(known); i++)
                if (strlen(known[i]) == len - from && g_ascii_strncasecmp(path + from, known[i], len - from) == 0)
                        return TRUE;
        return FALSE;
}
