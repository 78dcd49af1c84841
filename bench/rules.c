/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-rules: enriched events through the rule engine, on one CPU.
 *
 *     bench-rules [--events N] [--rounds N] [--vary N] [--naive] [--limit N] [--counting] --rules FILE...
 *
 * The events are those of containers and a host at work (opens, execs, connections, …), made by a generator with a fixed seed: the same in each run. Processes have
 * ancestors in a table. --vary N: the rules N times, each time with other literals (names, paths, arguments) and the same shape. --limit N: at most so many rules.
 * --naive: each rule compiled by itself and run one after the other until one matches, instead of all together. --counting: one round, nothing that depends on the clock, for
 * a run under an instruction counter. Prints one JSON line.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/escape.h"
#include "rules/engine.h"

#define POOL 8192u
#define PROCESSES 64u
#define CONTAINERS 12u

/* ---- events ---- */

static guint64 seed = 88172645463325252ull;

static guint32 rnd(guint32 n) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return (guint32) (seed >> 33) % n;
}

static struct bh_str str(const char *text) {
        return (struct bh_str){ text, (guint32) strlen(text) };
}

/* Arguments as one text with NULs between: what stands between bars. */
static struct bh_str list(const char *text) {
        char *copy = g_strdup(text);
        guint32 n = (guint32) strlen(copy);

        g_strdelimit(copy, "|", '\0');
        return (struct bh_str){ copy, n + 1 };
}

static const struct program {
        const char *comm, *exe, *args;
        gboolean host;
} programs[] = {
        { "nginx", "/usr/sbin/nginx", "nginx: worker process", FALSE },
        { "postgres", "/usr/lib/postgresql/15/bin/postgres", "postgres: checkpointer", FALSE },
        { "redis-server", "/usr/bin/redis-server", "redis-server *:6379", FALSE },
        { "python3", "/usr/bin/python3.11", "python3|-m|gunicorn|shop.wsgi:application|--bind|0.0.0.0:8000|--workers|4", FALSE },
        { "node", "/usr/local/bin/node", "node|--max-old-space-size=512|/app/server.js", FALSE },
        { "java", "/usr/lib/jvm/java-17/bin/java", "java|-Xmx512m|-jar|/opt/app/orders.jar|--spring.profiles.active=prod", FALSE },
        { "sh", "/usr/bin/dash", "/bin/sh|-c|wget -q -O /dev/null http://127.0.0.1:8000/health || exit 1", FALSE },
        { "wget", "/usr/bin/wget", "wget|-q|-O|/dev/null|http://127.0.0.1:8000/health", FALSE },
        { "bash", "/usr/bin/bash", "bash|/usr/local/bin/docker-entrypoint.sh|postgres", FALSE },
        { "date", "/usr/bin/date", "date|+%s", FALSE },
        { "grep", "/usr/bin/grep", "grep|-c|processor|/proc/cpuinfo", FALSE },
        { "cat", "/usr/bin/cat", "cat|/proc/meminfo", FALSE },
        { "systemd", "/usr/lib/systemd/systemd", "/sbin/init", TRUE },
        { "dockerd", "/usr/bin/dockerd", "/usr/bin/dockerd|-H|fd://|--containerd=/run/containerd/containerd.sock", TRUE },
        { "containerd-shim", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/containerd-shim-runc-v2|-namespace|moby|-id|abc", TRUE },
        { "runc", "/usr/bin/runc", "runc|--root|/var/run/docker/runtime-runc/moby|exec", TRUE },
        { "sshd", "/usr/sbin/sshd", "sshd: deploy@pts/0", TRUE },
        { "cron", "/usr/sbin/cron", "/usr/sbin/cron|-f", TRUE },
        { "apt-get", "/usr/bin/apt-get", "apt-get|update", TRUE },
        { "systemd-journal", "/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald", TRUE },
};

static const char *const read_files[] = {
        "/etc/ld.so.cache", "/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libssl.so.3", "/etc/passwd", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf", "/proc/self/stat",
        "/proc/meminfo", "/proc/sys/kernel/pid_max", "/app/node_modules/express/lib/router/index.js", "/app/node_modules/lodash/lodash.js", "/usr/lib/python3.11/encodings/utf_8.py",
        "/usr/lib/python3.11/__pycache__/json.cpython-311.pyc", "/var/lib/postgresql/data/base/16384/2619", "/var/lib/postgresql/data/global/pg_control", "/opt/app/orders.jar",
        "/usr/share/zoneinfo/Europe/Berlin", "/usr/share/locale/locale.alias", "/sys/fs/cgroup/memory.max", "/dev/null", "/dev/urandom", "/srv/www/static/css/site.css", "/srv/www/static/js/app.js",
        "/srv/www/static/img/logo.png", "/var/lib/redis/dump.rdb", "/etc/ssl/certs/ca-certificates.crt", "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/default.conf", "/tmp/cache/7f/3a/page.html",
        "/srv/app/settings.py", "/usr/bin/dash", "/etc/localtime", "/etc/group", "/run/secrets/db_password", "/var/run/nscd/socket", "/proc/1/cgroup", "/lib/x86_64-linux-gnu/libm.so.6",
};

static const char *const written_files[] = {
        "/var/log/nginx/access.log", "/var/log/nginx/error.log", "/var/lib/postgresql/data/pg_wal/000000010000000000000001", "/tmp/tmpa8f3k2", "/dev/null", "/var/lib/redis/temp-1.rdb",
        "/app/uploads/8831.png", "/var/cache/nginx/client_temp/0000000012", "/dev/pts/0", "/var/lib/docker/containers/abc/abc-json.log", "/run/systemd/journal/streams/9:1234",
        "/tmp/hsperfdata_app/1", "/var/tmp/session_82ff", "/dev/tty",
};

struct process {
        const struct program *program;
        struct bh_str args;
        guint32 pid, ppid, vpid, container; /* container CONTAINERS: the host */
        guint64 start;
};

static struct process processes[PROCESSES];
static char ids[CONTAINERS][65], names[CONTAINERS][24], images[CONTAINERS][48];

static void make_processes(void) {
        for (guint c = 0; c < CONTAINERS; c++) {
                for (guint i = 0; i < 64; i++)
                        ids[c][i] = "0123456789abcdef"[rnd(16)];
                g_snprintf(names[c], sizeof(names[c]), "shop_%s_%u", programs[c % 6].comm, c / 6 + 1);
                g_snprintf(images[c], sizeof(images[c]), "registry.local:5000/shop/%s:1.%u", programs[c % 6].comm, c);
        }
        for (guint i = 0; i < PROCESSES; i++) {
                struct process *p = &processes[i];

                /* 0 to 3 are the host's: init, engine, shim, sshd; a container's first process is the shim's child, others are children of what came before */
                static const guint firsts[] = { 12, 13, 14, 16 };
                p->program = &programs[i < 4 ? firsts[i] : i < 4 + CONTAINERS ? (i - 4) % 6 : rnd(G_N_ELEMENTS(programs))];
                p->container = i < 4 || p->program->host ? CONTAINERS : (i - 4) % CONTAINERS;
                p->pid = i == 0 ? 1 : 1000 + i;
                p->ppid = i == 0 ? 0 : i < 4 ? 1 : i < 4 + CONTAINERS ? 1002 : p->container == CONTAINERS ? 1003 : 1000 + 4 + p->container;
                p->vpid = p->container == CONTAINERS ? p->pid : i < 4 + CONTAINERS ? 1 : 10 + i;
                p->args = list(p->program->args);
                p->start = 1700000000000000000ull + i * 1000000000ull;
        }
}

static const struct process *process_of(guint32 pid) {
        guint i = pid == 1 ? 0 : pid - 1000;

        return pid && (pid == 1 || (pid > 1000 && i < PROCESSES)) ? &processes[i] : NULL;
}

static gboolean find(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        const struct process *p = process_of(pid);

        if (!p)
                return FALSE;
        *out = (struct bh_lineage_process){ .pid = p->pid, .vpid = p->vpid, .ppid = p->ppid, .start = p->start, .comm = str(p->program->comm), .exe = str(p->program->exe), .args = p->args,
                                            .sid = p->pid, .pgid = p->pid, .loginuid = G_MAXUINT32, .flags = BH_LP_SESSION | BH_LP_LOGIN | BH_LP_CRED, .ref = p };
        return TRUE;
}

static gboolean parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        return of->ppid && find(data, of->ppid, 0, out);
}

static void set_ip(struct bh_event *e, gboolean local, const char *text, guint32 port) {
        struct bh_ip ip = { .len = 4 };

        inet_pton(AF_INET, text, ip.b);
        if (local) {
                BH_SET(e, laddr, ip);
                BH_SET(e, lport, port);
        } else {
                BH_SET(e, raddr, ip);
                BH_SET(e, rport, port);
        }
}

static void make_socket(struct bh_event *e, gboolean datagram) {
        static const char *const peers[] = { "172.18.0.3", "172.18.0.4", "10.0.3.7", "93.184.216.34", "127.0.0.1", "192.168.1.10" };
        gboolean accepts = e->type == BH_EV_ACCEPT;

        BH_SET(e, family, AF_INET);
        BH_SET(e, sock_type, datagram ? SOCK_DGRAM : SOCK_STREAM);
        BH_SET(e, proto, datagram ? IPPROTO_UDP : IPPROTO_TCP);
        BH_SET(e, fd, 5 + (gint32) rnd(40));
        set_ip(e, TRUE, "172.18.0.9", accepts ? 8000 : 40000 + rnd(20000));
        set_ip(e, FALSE, peers[rnd(G_N_ELEMENTS(peers))], accepts ? 40000 + rnd(20000) : datagram ? 53 : (guint32[]){ 5432, 6379, 443, 8000 }[rnd(4)]);
}

static void make_event(struct bh_event *e, guint n) {
        static const struct {
                guint32 kind, weight;
        } mix[] = {
                { BH_EV_OPEN, 520 },  { BH_EV_EXEC, 40 },    { BH_EV_FORK, 45 },     { BH_EV_EXIT, 45 },     { BH_EV_CONNECT, 60 }, { BH_EV_ACCEPT, 45 }, { BH_EV_NET_CLOSE, 60 },
                { BH_EV_SEND, 20 },   { BH_EV_RECV, 20 },    { BH_EV_CLOSE_WRITE, 60 }, { BH_EV_SOCKET, 20 }, { BH_EV_MMAP_EXEC, 30 }, { BH_EV_RENAME, 8 }, { BH_EV_UNLINK, 10 },
                { BH_EV_MKDIR, 3 },   { BH_EV_CHMOD, 5 },    { BH_EV_CREDS, 5 },     { BH_EV_SIGNAL, 3 },    { BH_EV_SETNS, 1 },
        };
        const struct process *p = &processes[rnd(PROCESSES)], *up = process_of(p->ppid);
        guint32 at = rnd(1000), kind = BH_EV_OPEN;

        for (guint i = 0; i < G_N_ELEMENTS(mix); i++) {
                if (at < mix[i].weight) {
                        kind = mix[i].kind;
                        break;
                }
                at -= mix[i].weight;
        }
        *e = (struct bh_event){ 0 };
        BH_SET(e, id, n + 1);
        BH_SET(e, type, kind);
        BH_SET(e, time, 1700001000000000000ull + n * 1000ull);
        BH_SET(e, count, 1);
        BH_SET(e, pid, p->pid);
        BH_SET(e, tid, p->pid);
        BH_SET(e, ppid, p->ppid);
        BH_SET(e, vpid, p->vpid);
        BH_SET(e, proc_start, p->start);
        BH_SET(e, comm, str(p->program->comm));
        BH_SET(e, exe, str(p->program->exe));
        BH_SET(e, args, p->args);
        BH_SET(e, uid, p->container == CONTAINERS ? 0 : 1000);
        BH_SET(e, gid, p->container == CONTAINERS ? 0 : 1000);
        if (up) {
                BH_SET(e, parent_comm, str(up->program->comm));
                BH_SET(e, parent_exe, str(up->program->exe));
                BH_SET(e, parent_start, up->start);
        }
        if (p->container < CONTAINERS) {
                BH_SET(e, container_id, str(ids[p->container]));
                BH_SET(e, container_name, str(names[p->container]));
                BH_SET(e, container_image, str(images[p->container]));
                BH_SET(e, container_privileged, FALSE);
                BH_SET(e, proc_user, str("app"));
        }
        BH_SET(e, ret, 0);
        switch (kind) {
        case BH_EV_OPEN: {
                gboolean writes = rnd(100) < 15;

                BH_SET(e, path, str(writes ? written_files[rnd(G_N_ELEMENTS(written_files))] : read_files[rnd(G_N_ELEMENTS(read_files))]));
                BH_SET(e, open_flags, writes ? O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC : rnd(100) < 5 ? O_RDONLY | O_DIRECTORY : O_RDONLY | O_CLOEXEC);
                if (rnd(100) < 12) {
                        BH_SET(e, ret, -2);
                        BH_SET(e, error, str("ENOENT"));
                }
                break;
        }
        case BH_EV_EXEC:
                BH_SET(e, env, list("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|HOSTNAME=shop|LANG=C.UTF-8|PYTHON_VERSION=3.11.2|HOME=/root|POSTGRES_DB=shop|TZ=UTC"));
                BH_SET(e, cwd, str("/app"));
                BH_SET(e, tty, 0);
                BH_SET(e, sid, p->pid);
                BH_SET(e, pgid, p->pid);
                BH_SET(e, loginuid, G_MAXUINT32);
                BH_SET(e, cap_effective, 0xa80425fbull);
                BH_SET(e, cap_permitted, 0xa80425fbull);
                BH_SET(e, flags, BH_RF_EXE_LOWER);
                break;
        case BH_EV_CONNECT:
        case BH_EV_ACCEPT:
        case BH_EV_NET_CLOSE: make_socket(e, FALSE); break;
        case BH_EV_SEND:
        case BH_EV_RECV: make_socket(e, TRUE); break;
        case BH_EV_SOCKET:
                BH_SET(e, family, AF_INET);
                BH_SET(e, sock_type, SOCK_STREAM);
                BH_SET(e, fd, 9);
                break;
        case BH_EV_CLOSE_WRITE:
        case BH_EV_UNLINK:
        case BH_EV_MKDIR:
        case BH_EV_CHMOD:
                BH_SET(e, path, str(written_files[rnd(G_N_ELEMENTS(written_files))]));
                BH_SET(e, mode, 0644);
                break;
        case BH_EV_RENAME:
                BH_SET(e, path, str("/var/lib/redis/temp-1.rdb"));
                BH_SET(e, path2, str("/var/lib/redis/dump.rdb"));
                break;
        case BH_EV_MMAP_EXEC: BH_SET(e, path, str("/usr/lib/x86_64-linux-gnu/libssl.so.3")); break;
        case BH_EV_CREDS:
                BH_SET(e, euid, 33);
                BH_SET(e, old_euid, 0);
                break;
        case BH_EV_SIGNAL:
                BH_SET(e, signal, 15);
                BH_SET(e, target_pid, 1005);
                break;
        default: break;
        }
}

/* ---- rules ---- */

/* Fields whose values are a few known words: a rule with others would not be of the same shape. */
static gboolean of_few_words(const BhRuleField *f) {
        static const char *const few[] = { "evt.", "fd.type", "fd.typechar", "fd.l4proto", "fd.sockfamily", "container.id", "thread.cap", "user.", "k8s.ns" };

        for (guint i = 0; i < G_N_ELEMENTS(few); i++) {
                if (g_str_has_prefix(f->name, few[i]) && !g_str_has_prefix(f->name, "evt.arg.") && !g_str_equal(f->name, "evt.arg"))
                        return TRUE;
        }
        return FALSE;
}

/* Words that are not a name or path of somebody: flags, requests, families, errors. */
static gboolean is_constant(const char *text) {
        return text[0] && (!g_ascii_islower(text[0]) && g_ascii_isupper(text[0]) && strcspn(text, "abcdefghijklmnopqrstuvwxyz") == strlen(text));
}

static void write_operand(GString *out, const BhOperand *o);

static void write_text(GString *out, const BhOperand *o) {
        for (gsize i = 0; i < o->len; i++) {
                if (o->text[i] == '"' || o->text[i] == '\\')
                        g_string_append_printf(out, "\\x%02x", o->text[i]);
                else
                        g_string_append_c(out, o->text[i]);
        }
}

static void write_operands(GString *out, const GPtrArray *operands) {
        g_string_append_c(out, '(');
        for (guint i = 0; operands && i < operands->len; i++) {
                if (i)
                        g_string_append(out, ", ");
                write_operand(out, g_ptr_array_index(operands, i));
        }
        g_string_append_c(out, ')');
}

static void write_operand(GString *out, const BhOperand *o) {
        static const char *const transformers[] = {
#define X(id, text) text,
                BH_TRANSFORMERS(X)
#undef X
        };

        switch (o->kind) {
        case BH_OPERAND_LITERAL:
                g_string_append_c(out, '"');
                write_text(out, o);
                g_string_append_c(out, '"');
                return;
        case BH_OPERAND_FIELD: g_string_append(out, o->field->name); break;
        case BH_OPERAND_TRANSFORM:
                g_string_append(out, transformers[o->transformer]);
                write_operands(out, o->args);
                break;
        case BH_OPERAND_LIST: write_operands(out, o->args); break;
        }
        if (o->arg)
                g_string_append_printf(out, "[%s]", o->arg);
}

/* A literal as the language writes it, another one in each variant. */
static void write_literal(GString *out, const BhCond *c, const BhOperand *o, guint n) {
        gboolean other = n && c->left->kind == BH_OPERAND_FIELD && c->left->field->type == BH_RT_STRING && !of_few_words(c->left->field) && o->len && o->text[0] != '<' && !is_constant(o->text);

        if (c->op >= BH_OP_LT && c->op <= BH_OP_GE) {
                g_string_append_len(out, o->text, (gssize) o->len);
                return;
        }
        if (o->kind != BH_OPERAND_LITERAL) {
                write_operand(out, o);
                return;
        }
        g_string_append_c(out, '"');
        write_text(out, o);
        if (other)
                g_string_append_printf(out, ".v%u", n);
        g_string_append_c(out, '"');
}

static void write_condition(GString *out, const BhCond *c, guint n) {
        static const char *const modifiers[] = { "", " oneof", " anyof", " allof" };
        gboolean many;

        if (c->kind != BH_COND_CHECK) {
                g_string_append(out, c->kind == BH_COND_NOT ? "(not " : "(");
                for (guint i = 0; i < c->kids->len; i++) {
                        if (i)
                                g_string_append(out, c->kind == BH_COND_AND ? " and " : " or ");
                        write_condition(out, g_ptr_array_index(c->kids, i), n);
                }
                g_string_append_c(out, ')');
                return;
        }
        write_operand(out, c->left);
        g_string_append_printf(out, " %s%s", bh_op_text(c->op), modifiers[c->modifier]);
        many = c->modifier || c->op == BH_OP_IN || c->op == BH_OP_INTERSECTS || c->op == BH_OP_PMATCH;
        g_string_append(out, many ? " (" : " ");
        for (guint i = 0; c->values && i < c->values->len; i++) {
                if (i)
                        g_string_append(out, ", ");
                write_literal(out, c, g_ptr_array_index(c->values, i), n);
        }
        if (many)
                g_string_append_c(out, ')');
}

static void write_rule(GString *out, const BhRule *rule, guint n) {
        g_autoptr(GString) condition = g_string_new(NULL);
        g_autofree char *name = g_strdup_printf("%s %u", rule->name, n);

        write_condition(condition, rule->condition, n);
        g_string_append(out, "- rule: ");
        bh_escape_append_json(out, name, -1);
        g_string_append(out, "\n  desc: x\n  condition: ");
        bh_escape_append_json(out, condition->str, -1);
        g_string_append(out, "\n  output: ");
        bh_escape_append_json(out, rule->output, -1);
        g_string_append_printf(out, "\n  source: %s\n  priority: %s\n", rule->source, bh_priority_name(rule->priority));
}

static BhRuleSet *load(char **files, guint n, guint variants, guint limit) {
        g_autofree BhRuleSource *sources = g_new0(BhRuleSource, n);
        g_autoptr(BhRuleSet) set = NULL;
        g_autoptr(GString) text = g_string_new(NULL);
        BhRuleSource varied = { .name = "varied" };
        guint written = 0;

        for (guint i = 0; i < n; i++)
                sources[i].name = files[i];
        set = bh_rule_set_load(sources, n, NULL);
        for (guint v = 0; v < variants; v++) {
                for (guint i = 0; i < bh_rule_set_rules(set)->len && written < limit; i++) {
                        const BhRule *rule = g_ptr_array_index(bh_rule_set_rules(set), i);

                        if (!rule->enabled || !rule->condition)
                                continue;
                        write_rule(text, rule, v);
                        written++;
                }
        }
        if (!written)
                g_string_append(text, "[]");
        varied.text = text->str;
        varied.len = text->len;

        BhRuleSet *all = bh_rule_set_load(&varied, 1, NULL);
        for (guint i = 0; i < bh_rule_set_problems(all)->len; i++) {
                const BhRuleProblem *p = g_ptr_array_index(bh_rule_set_problems(all), i);
                g_autofree char *line = bh_rule_problem_text(all, p);

                if (p->error)
                        fprintf(stderr, "bench-rules: %s\n", line);
        }
        return all;
}

/* ---- measuring ---- */

static guint64 cpu_ns(void) {
        struct timespec ts;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return (guint64) ts.tv_sec * 1000000000u + (guint64) ts.tv_nsec;
}

struct load {
        BhRuleEngine *engine;
        GPtrArray *singles, *runs; /* naive */
        BhRuleRun *run;
        const struct bh_lineage *lineage;
        const struct bh_event *events;
        guint64 matches;
};

/* A function of its own, so that a profiler can tell it. */
static __attribute__((noinline)) void run_events(struct load *l, guint64 n) {
        for (guint64 i = 0; i < n; i++) {
                const struct bh_event *e = &l->events[i % POOL];
                const guint32 *matches;

                if (!l->singles) {
                        l->matches += bh_rule_run_event(l->run, l->engine, e, l->lineage, &matches);
                        continue;
                }
                for (guint k = 0; k < l->singles->len; k++) {
                        if (bh_rule_run_event(g_ptr_array_index(l->runs, k), g_ptr_array_index(l->singles, k), e, l->lineage, &matches)) {
                                l->matches++;
                                break;
                        }
                }
        }
}

static void compile_singly(struct load *l, BhRuleSet *set) {
        l->singles = g_ptr_array_new();
        l->runs = g_ptr_array_new();
        for (guint i = 0; i < bh_rule_set_rules(set)->len; i++) {
                const BhRule *rule = g_ptr_array_index(bh_rule_set_rules(set), i);
                BhRuleEngine *e = rule->condition ? bh_rule_engine_new_filter(bh_cond_copy(rule->condition), NULL) : NULL;

                if (e) {
                        g_ptr_array_add(l->singles, e);
                        g_ptr_array_add(l->runs, bh_rule_run_new());
                }
        }
}

static int by_number(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                { "events", required_argument, NULL, 'e' }, { "rounds", required_argument, NULL, 'r' }, { "vary", required_argument, NULL, 'v' },   { "naive", no_argument, NULL, 'n' },
                { "limit", required_argument, NULL, 'l' },  { "counting", no_argument, NULL, 'c' },     { "rules", required_argument, NULL, 'R' }, { NULL, 0, NULL, 0 },
        };
        guint64 events = 2000000;
        guint rounds = 5, variants = 1, limit = G_MAXUINT;
        gboolean naive = FALSE, counting = FALSE;
        g_autoptr(GPtrArray) files = g_ptr_array_new();
        struct bh_lineage lineage = { .find = find, .parent = parent };
        struct load l = { .lineage = &lineage };
        g_autoptr(BhRuleSet) set = NULL;
        g_autoptr(GError) error = NULL;
        double ns[64], compile_ms;
        int c;

        while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
                switch (c) {
                case 'e': events = g_ascii_strtoull(optarg, NULL, 10); break;
                case 'r': rounds = (guint) CLAMP(g_ascii_strtoull(optarg, NULL, 10), 1, 63); break;
                case 'v': variants = (guint) g_ascii_strtoull(optarg, NULL, 10); break;
                case 'l': limit = (guint) g_ascii_strtoull(optarg, NULL, 10); break;
                case 'n': naive = TRUE; break;
                case 'c': counting = TRUE; break;
                case 'R': g_ptr_array_add(files, optarg); break;
                default: return 2;
                }
        }
        while (optind < argc)
                g_ptr_array_add(files, argv[optind++]);
        if (!events) {
                fprintf(stderr, "bench-rules: --events needs a number above 0\n");
                return 2;
        }

        make_processes();
        g_autofree struct bh_event *pool = g_new(struct bh_event, POOL);
        for (guint i = 0; i < POOL; i++)
                make_event(&pool[i], i);
        l.events = pool;
        set = load((char **) files->pdata, files->len, variants, limit);
        l.run = bh_rule_run_new();

        guint64 start = cpu_ns();
        if (naive)
                compile_singly(&l, set);
        else if (!(l.engine = bh_rule_engine_new(set, NULL, NULL, &error))) {
                fprintf(stderr, "bench-rules: %s\n", error->message);
                return 1;
        }
        compile_ms = (double) (cpu_ns() - start) / 1e6;

        if (counting)
                rounds = 1;
        else
                run_events(&l, POOL); /* the caches as they are when it goes on */
        l.matches = 0;
        for (guint r = 0; r < rounds; r++) {
                start = cpu_ns();
                run_events(&l, events);
                ns[r] = (double) (cpu_ns() - start) / (double) events;
        }
        qsort(ns, rounds, sizeof(double), by_number);
        printf("{\"rules\":%u,\"naive\":%s,\"events\":%" G_GUINT64_FORMAT ",\"matches\":%" G_GUINT64_FORMAT, bh_rule_set_rules(set)->len, naive ? "true" : "false", events, l.matches / rounds);
        if (!counting)
                printf(",\"rounds\":%u,\"ns_per_event\":%.1f,\"ns_min\":%.1f,\"ns_max\":%.1f,\"events_per_second\":%.0f,\"compile_ms\":%.1f", rounds, ns[rounds / 2], ns[0], ns[rounds - 1],
                       1e9 / ns[rounds / 2], compile_ms);
        printf("}\n");
        g_clear_pointer(&l.engine, bh_rule_engine_unref);
        for (guint i = 0; l.singles && i < l.singles->len; i++) {
                bh_rule_engine_unref(g_ptr_array_index(l.singles, i));
                bh_rule_run_free(g_ptr_array_index(l.runs, i));
        }
        bh_rule_run_free(l.run);
        return 0;
}
