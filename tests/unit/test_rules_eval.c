/* SPDX-License-Identifier: Apache-2.0 */
#include "rules_event.h"

static void types_have_all_names(void) {
        struct bh_event open = open_event(O_RDONLY), exec = exec_event();

        YES(&open, "evt.type = open");
        YES(&open, "evt.type = openat2");
        YES(&open, "evt.type in (creat, connect)");
        NO(&open, "evt.type != open");
        NO(&open, "evt.type != creat");
        YES(&open, "evt.type != execve");
        YES(&open, "not evt.type = execve");
        YES(&open, "evt.type startswith open");
        YES(&open, "evt.type exists");
        YES(&open, "evt.type.is.open = 1");
        NO(&open, "evt.type.is.execve = 1");
        YES(&exec, "evt.type in (execve, execveat)");
        YES(&exec, "evt.dir = <");
        NO(&exec, "evt.dir = >");
        YES(&exec, "evt.source = syscall");
        YES(&exec, "evt.category = process");
}

static void boolean_logic(void) {
        struct bh_event e = exec_event();

        YES(&e, "proc.name = bash and proc.pname = sshd");
        NO(&e, "proc.name = bash and proc.pname = cron");
        YES(&e, "proc.name = sh or proc.pname = sshd");
        YES(&e, "not (proc.name = sh or proc.pname = cron)");
        YES(&e, "proc.name = sh and proc.pname = x or proc.name = bash");
        NO(&e, "proc.name = sh and (proc.pname = x or proc.name = bash)");
        YES(&e, "(proc.name = bash or proc.name = sh) and (proc.pname = cron or proc.pname = sshd) and not proc.name = zsh");
}

/* A missing field makes any comparison false, != too. */
static void missing_is_false(void) {
        struct bh_event e = exec_event();

        NO(&e, "fd.name = x");
        NO(&e, "fd.name != x");
        NO(&e, "fd.name exists");
        NO(&e, "fd.num >= -1000000");
        NO(&e, "fd.num != 1");
        NO(&e, "fd.sip != 1.2.3.4");
        YES(&e, "not fd.name = x");
        YES(&e, "not fd.name exists");
        NO(&e, "fd.name startswith /");
        NO(&e, "fd.name contains ''");
        NO(&e, "container.healthcheck != x");
        NO(&e, "k8s.ns.name != kube-system");
        NO(&e, "proc.nthreads > 0");
}

static void operators_on_text(void) {
        struct bh_event e = open_event(O_RDONLY);

        YES(&e, "fd.name = /etc/pam.d/su");
        NO(&e, "fd.name = /etc/pam.d/s");
        YES(&e, "fd.name != /etc/pam.d/s");
        NO(&e, "fd.name != /etc/pam.d/su");
        YES(&e, "fd.name startswith /etc/");
        NO(&e, "fd.name startswith /etc/x");
        YES(&e, "fd.name startswith ''");
        YES(&e, "fd.name endswith /su");
        NO(&e, "fd.name endswith /sux");
        YES(&e, "fd.name endswith /etc/pam.d/su");
        NO(&e, "fd.name endswith x/etc/pam.d/su");
        YES(&e, "fd.name contains pam");
        NO(&e, "fd.name contains PAM");
        YES(&e, "fd.name icontains PAM");
        NO(&e, "fd.name icontains PAMM");
        YES(&e, "fd.name in (/a, /etc/pam.d/su, /b)");
        NO(&e, "fd.name in (/a, /b)");
        YES(&e, "fd.name intersects (/a, /etc/pam.d/su)");
        YES(&e, "fd.name glob '/etc/*/s?'");
        YES(&e, "fd.name glob '/etc*'");
        NO(&e, "fd.name glob '/etc'");
        NO(&e, "fd.name glob '/ETC*'");
        YES(&e, "fd.name iglob '/ETC/*/S[a-u]'");
        YES(&e, "fd.name regex '/etc/[a-z.]+/su'");
        NO(&e, "fd.name regex '/etc'");
        YES(&e, "fd.name pmatch (/etc)");
        YES(&e, "fd.name pmatch (/usr, /etc/pam.d)");
        NO(&e, "fd.name pmatch (/et)");
        YES(&e, "fd.name pmatch ('/etc/*.d')");
        YES(&e, "fd.directory = /etc/pam.d");
        YES(&e, "fd.filename = su");
        YES(&e, "fd.name startswith oneof (/etc, /usr)");
        NO(&e, "fd.name startswith oneof (/etc, /etc/pam)");
        YES(&e, "fd.name startswith anyof (/etc, /etc/pam)");
        YES(&e, "fd.name startswith allof (/etc, /etc/pam)");
        NO(&e, "fd.name contains allof (pam, xyz)");
        YES(&e, "fd.name contains anyof (pam, xyz)");
}

static void operators_on_numbers(void) {
        struct bh_event e = exec_event();

        YES(&e, "proc.pid = 100");
        YES(&e, "proc.pid != 101");
        YES(&e, "proc.pid < 101");
        YES(&e, "proc.pid <= 100");
        NO(&e, "proc.pid < 100");
        YES(&e, "proc.pid > 99");
        YES(&e, "proc.pid >= 0x64");
        NO(&e, "proc.pid > 100");
        YES(&e, "proc.pid in (1, 2, 100)");
        YES(&e, "proc.pid in (9, 8, 7, 6, 5, 4, 3, 2, 1, 100, 50)");
        NO(&e, "proc.pid in (9, 8, 7, 6, 5, 4, 3, 2, 1, 101, 50)");
        YES(&e, "proc.tty != 0");
        YES(&e, "user.loginuid = 1000");
        BH_SET(&e, loginuid, G_MAXUINT32);
        YES(&e, "user.loginuid = -1");
        YES(&e, "proc.is_sid_leader = true");
        NO(&e, "proc.is_sid_leader = false");
        YES(&e, "proc.is_exe_from_memfd = false");
        YES(&e, "evt.rawres = 0");
        YES(&e, "evt.num = 7");
        YES(&e, "proc.duration > 1000000000");
        NO(&e, "proc.duration > 2000000000");
}

static void open_without_number(void) {
        struct bh_event ok = open_event(O_RDONLY), known = open_event(O_RDONLY), failed = open_event(O_RDONLY);

        YES(&ok, "fd.num >= 0");
        YES(&ok, "evt.rawres >= 0");
        NO(&ok, "fd.num = 0");
        NO(&ok, "fd.num = -1");
        NO(&ok, "fd.num > 0");
        NO(&ok, "fd.num < 100");
        BH_SET(&known, fd, 5);
        YES(&known, "fd.num = 5");
        YES(&known, "evt.rawres = 5");
        BH_SET(&failed, ret, -13);
        ADD(&failed, error, "EACCES");
        YES(&failed, "fd.num = -1");
        NO(&failed, "fd.num >= 0");
        YES(&failed, "evt.res = EACCES");
        YES(&failed, "evt.res startswith E");
        YES(&failed, "evt.failed = true");
        YES(&failed, "fd.typechar = f and fd.num = -1");
}

static void opens_by_flags(void) {
        struct bh_event r = open_event(O_RDONLY), w = open_event(O_WRONLY | O_CREAT | O_TRUNC), rw = open_event(O_RDWR), d = open_event(O_RDONLY | O_DIRECTORY), exec = exec_event();

        BH_SET(&w, mode, 0755);
        BH_SET(&w, flags, BH_RF_CREATED);
        YES(&r, "evt.is_open_read = true and evt.is_open_write = false");
        YES(&w, "evt.is_open_write = true and evt.is_open_read = false and evt.is_open_create = true and evt.is_open_exec = true");
        YES(&rw, "evt.is_open_write = true and evt.is_open_read = true");
        YES(&d, "fd.typechar = d and fd.type = directory");
        YES(&r, "fd.typechar = 'f' and fd.type = file");
        YES(&exec, "evt.is_open_write = false");
        NO(&exec, "evt.is_open_write = true");
        YES(&w, "evt.arg.flags contains O_CREAT");
        YES(&w, "evt.arg.flags contains O_F_CREATED");
        YES(&w, "evt.arg.flags = 'O_WRONLY|O_CREAT|O_TRUNC|O_F_CREATED'");
        YES(&w, "evt.arg.mode = 0755");
        YES(&r, "evt.arg.flags = O_RDONLY");
        YES(&r, "evt.rawarg.flags = 0");
        YES(&w, "evt.rawarg.mode = 493");
}

static void addresses(void) {
        struct bh_event e = connect_event("10.0.0.5", 40000, "93.184.216.34", 443), six = connect_event("2001:db8::1", 40000, "2001:db8::2", 80);

        YES(&e, "fd.sip = 93.184.216.34");
        YES(&e, "fd.cip = 10.0.0.5");
        YES(&e, "fd.lip = 10.0.0.5 and fd.rip = 93.184.216.34");
        YES(&e, "fd.ip = 10.0.0.5");
        YES(&e, "fd.ip = 93.184.216.34");
        NO(&e, "fd.ip = 1.1.1.1");
        YES(&e, "fd.ip != 1.1.1.1");
        NO(&e, "fd.ip != 10.0.0.5");
        YES(&e, "fd.net = 10.0.0.0/8");
        YES(&e, "fd.cnet in (192.168.0.0/16, 10.0.0.0/8)");
        NO(&e, "fd.snet in (192.168.0.0/16, 10.0.0.0/8)");
        YES(&e, "fd.net != 127.0.0.0/8");
        NO(&e, "fd.net != 10.0.0.0/8");
        YES(&e, "fd.rnet = 93.184.216.0/23");
        NO(&e, "fd.rnet = 93.184.218.0/23");
        /* another family: only != is true */
        NO(&e, "fd.sip = 2001:db8::2");
        YES(&e, "fd.sip != 2001:db8::2");
        YES(&six, "fd.sip = 2001:db8::2");
        YES(&six, "fd.net != 127.0.0.0/8");
        YES(&six, "fd.cnet = 2001:db8::/32");
        NO(&six, "fd.cnet = 0.0.0.0/0");
        YES(&e, "fd.sport = 443");
        YES(&e, "fd.sport = https");
        YES(&e, "fd.sport >= 400 and fd.cport = 40000");
        YES(&e, "fd.port in (443, 80)");
        NO(&e, "fd.port in (80)");
        YES(&e, "fd.port != 80");
        NO(&e, "fd.port != 443");
        YES(&e, "fd.proto = https");
        YES(&e, "fd.sproto = https");
        YES(&e, "fd.typechar = 4 and fd.type = ipv4 and fd.sockfamily = ip and fd.l4proto = tcp");
        YES(&six, "fd.typechar = 6");
        YES(&e, "fd.name = '10.0.0.5:40000->93.184.216.34:443'");
        YES(&six, "fd.name = '2001:db8::1:40000->2001:db8::2:80'");
        YES(&e, "fd.is_server = false and fd.connected = true");
        YES(&e, "fd.num = 3");
        NO(&e, "fd.directory exists");
}

static void accepted_is_the_servers_side(void) {
        struct bh_event e = base_event(BH_EV_ACCEPT);

        set_ip(&e, TRUE, "10.0.0.5", 80);
        set_ip(&e, FALSE, "10.0.0.9", 50000);
        YES(&e, "evt.type = accept");
        YES(&e, "fd.sip = 10.0.0.5 and fd.cip = 10.0.0.9 and fd.sport = 80 and fd.rport = 50000");
        YES(&e, "fd.is_server = true");
        YES(&e, "fd.name = '10.0.0.9:50000->10.0.0.5:80'");
}

static void processes(void) {
        struct bh_event e = exec_event();

        YES(&e, "proc.exe = -bash");
        YES(&e, "proc.exepath = /usr/bin/bash");
        YES(&e, "proc.args = '-c id; ls'");
        YES(&e, "proc.args[0] = -c and proc.args[1] = 'id; ls'");
        NO(&e, "proc.args[2] exists");
        YES(&e, "proc.cmdline = 'bash -c id; ls'");
        YES(&e, "proc.exeline = '-bash -c id; ls'");
        YES(&e, "proc.cmdnargs = 2 and proc.cmdlenargs = 8");
        YES(&e, "proc.env[LD_PRELOAD] = /tmp/x.so");
        YES(&e, "proc.env[EMPTY] = ''");
        NO(&e, "proc.env[PRELOAD] exists");
        YES(&e, "proc.env icontains 'ld_preload=/tmp'");
        YES(&e, "proc.cwd = /root/");
        YES(&e, "proc.pname = sshd and proc.aname = sshd and proc.aname[1] = sshd and proc.aname[0] = bash");
        YES(&e, "proc.pcmdline = sshd");
        YES(&e, "proc.aexepath[2] = /usr/lib/systemd/systemd");
        NO(&e, "proc.aname[2] exists");
        YES(&e, "proc.apid[1] = 90 and proc.ppid = 90");
        YES(&e, "user.name = root and user.uid = 0 and group.name = root");
        YES(&e, "thread.cap_effective contains CAP_SYS_ADMIN and not thread.cap_effective contains CAP_SYS_PTRACE");
        YES(&e, "thread.cap_permitted = 'CAP_CHOWN CAP_SYS_ADMIN'");
        YES(&e, "proc.vpid = 5");
        BH_SET(&e, uid, 1234);
        YES(&e, "user.name = '<NA>'");
        ADD(&e, proc_user, "shop");
        YES(&e, "user.name = shop");
        BH_SET(&e, flags, BH_RF_EXE_UPPER);
        YES(&e, "proc.is_exe_upper_layer = true and evt.arg.flags contains EXE_UPPER_LAYER");

        struct bh_event bare = base_event(BH_EV_EXEC);
        ADD(&bare, args, "ls");
        YES(&bare, "proc.args = '' and proc.cmdline = bash and proc.cmdnargs = 0");
}

static void containers(void) {
        struct bh_event e = exec_event(), host = exec_event();

        host.has[BH_F_container_id / 64] &= ~(1ull << BH_F_container_id % 64);
        YES(&e, "container.id = 0123456789ab");
        YES(&e, "container.id != host");
        YES(&e, "container.name = web");
        YES(&e, "container.image = registry.local:5000/shop/web:1.2");
        YES(&e, "container.image.repository = registry.local:5000/shop/web and container.image.tag = 1.2");
        YES(&host, "container.id = host and container.name = host and container.type = host");
        NO(&host, "container.id != host");
        NO(&host, "container.image exists");
        ADD(&e, container_labels, "app\0shop\0io.kubernetes.pod.name\0web-1\0io.kubernetes.pod.namespace\0prod");
        YES(&e, "container.label[app] = shop and container.label.app = shop");
        NO(&e, "container.label[none] exists");
        YES(&e, "k8s.pod.name = web-1 and k8s.ns.name = prod");
        YES(&e, "container.labels contains app:shop");
        ADD(&e, container_image, "shop/web@sha256:aa");
        YES(&e, "container.image.repository = shop/web and container.image.digest = sha256:aa");
        NO(&e, "container.image.tag exists");
        BH_SET(&e, container_privileged, TRUE);
        YES(&e, "container.privileged = true");
}

static void two_paths(void) {
        struct bh_event ren = base_event(BH_EV_RENAME), sym = base_event(BH_EV_SYMLINK);

        ADD(&ren, path, "/a/old");
        ADD(&ren, path2, "/a/new");
        YES(&ren, "evt.type = renameat2 and evt.arg.oldpath = /a/old and evt.arg.newpath = /a/new");
        YES(&ren, "fs.path.source = /a/old and fs.path.target = /a/new and not fs.path.name exists");
        ADD(&sym, path, "/a/link");
        ADD(&sym, path2, "/etc/shadow");
        YES(&sym, "evt.arg.target = /etc/shadow and evt.arg.linkpath = /a/link");
        YES(&sym, "evt.arg.target in (/etc/passwd, /etc/shadow)");
        YES(&sym, "fs.path.target = /a/link and fs.path.source = /etc/shadow");
        NO(&sym, "evt.arg.newpath exists");
}

static void arguments(void) {
        struct bh_event p = base_event(BH_EV_PTRACE), m = base_event(BH_EV_CHMOD), s = base_event(BH_EV_SOCKET), u = base_event(BH_EV_UNSHARE), c = base_event(BH_EV_CREDS),
                        b = base_event(BH_EV_BPF);

        BH_SET(&p, operation, 16);
        BH_SET(&p, target_pid, 5);
        YES(&p, "evt.arg.request contains PTRACE_ATTACH and evt.arg.request in (PTRACE_ATTACH, PTRACE_SEIZE)");
        YES(&p, "evt.arg[0] = 0 and evt.rawarg.pid = 5");
        BH_SET(&m, mode, 04755);
        YES(&m, "evt.arg.mode contains S_ISUID and not evt.arg.mode contains S_ISGID");
        BH_SET(&s, family, AF_PACKET);
        YES(&s, "evt.arg.domain contains AF_PACKET and evt.arg[1] = AF_PACKET");
        BH_SET(&u, ns_flags, CLONE_NEWUSER);
        YES(&u, "evt.arg.flags contains CLONE_NEWUSER");
        BH_SET(&b, operation, 5);
        YES(&b, "evt.arg.cmd = BPF_PROG_LOAD");
        BH_SET(&c, old_euid, 1000);
        BH_SET(&c, euid, 0);
        BH_SET(&c, ruid, 0);
        BH_SET(&c, suid, 0);
        YES(&c, "evt.type = setuid and evt.type = setresuid and not evt.type = setgid and user.uid = 1000 and evt.arg.uid = root");
}

static void transformers(void) {
        struct bh_event e = exec_event();

        YES(&e, "toupper(proc.name) = BASH");
        YES(&e, "tolower(toupper(proc.name)) = bash");
        YES(&e, "basename(proc.exepath) = val(proc.name)");
        YES(&e, "proc.name = val(proc.name)");
        NO(&e, "proc.name = val(proc.pname)");
        YES(&e, "proc.exepath endswith val(proc.name)");
        YES(&e, "len(proc.name) = 4");
        YES(&e, "toupper(proc.name) in (BASH, SH)");
        YES(&e, "concat(proc.pname, '/', proc.name) = sshd/bash");
        NO(&e, "toupper(fd.name) exists");
        ADD(&e, comm, "aGFsbG8");
        YES(&e, "b64(proc.name) = hallo");
        ADD(&e, comm, "!");
        NO(&e, "b64(proc.name) != hallo");
}

/* ---- lineage ---- */

static struct bh_lineage_process chain[3];

static gboolean chain_find(gpointer data, guint32 pid, guint64 start, struct bh_lineage_process *out) {
        for (guint i = 0; i < G_N_ELEMENTS(chain); i++) {
                if (chain[i].pid == pid) {
                        *out = chain[i];
                        return TRUE;
                }
        }
        return FALSE;
}

static gboolean chain_parent(gpointer data, const struct bh_lineage_process *of, struct bh_lineage_process *out) {
        return of->ppid && chain_find(data, of->ppid, 0, out);
}

static gboolean chain_domain(gpointer data, const struct bh_ip *ip, struct bh_str *name) {
        *name = STR("example.com");
        return ip->b[0] == 93;
}

static void ancestors(void) {
        struct bh_lineage lineage = { .find = chain_find, .parent = chain_parent, .domain = chain_domain };
        struct bh_event e = base_event(BH_EV_OPEN), net = connect_event("10.0.0.5", 1, "93.184.216.34", 443);

        chain[0] = (struct bh_lineage_process){ .pid = 100, .ppid = 90, .comm = STR("bash"), .sid = 90, .pgid = 100, .tty = 7, .flags = BH_LP_SESSION | BH_LP_LOGIN, .loginuid = 33, .cwd = STR("/x") };
        chain[1] = (struct bh_lineage_process){ .pid = 90, .ppid = 1, .vpid = 2, .comm = STR("sshd"), .args = STR("sshd: a\0-D"), .exe = STR("/usr/sbin/sshd"), .sid = 90, .pgid = 90, .flags = BH_LP_SESSION };
        chain[2] = (struct bh_lineage_process){ .pid = 1, .vpid = 1, .comm = STR("systemd"), .args = STR("/sbin/init"), .exe = STR("/usr/lib/systemd/systemd"), .env = STR("A=b"), .start = 1 };
        ADD(&e, path, "/x/y");
        BH_SET(&e, open_flags, 0);
#define WITH(condition) g_assert_true(holds_with(&e, &lineage, condition))
#define WITHOUT(condition) g_assert_false(holds_with(&e, &lineage, condition))
        WITH("proc.aname = systemd");
        WITH("proc.aname in (cron, systemd)");
        WITHOUT("proc.aname in (cron, bash)"); /* not the process itself */
        WITH("proc.aname[2] = systemd");
        WITH("proc.aname[2] startswith sys");
        WITHOUT("proc.aname[3] exists");
        WITH("proc.aname contains yste");
        WITH("proc.aname != systemd"); /* of some ancestor */
        WITH("not proc.aname = cron");
        WITH("proc.pexe = 'sshd: a' and proc.pcmdline = 'sshd -D' and proc.acmdline[2] = systemd");
        WITH("proc.aexe[2] endswith init and proc.aexepath = /usr/sbin/sshd");
        WITH("proc.apid[2] = 1 and proc.pvpid = 2");
        WITH("proc.tty = 7 and proc.sid = 90 and user.loginuid = 33 and proc.cwd = /x/");
        WITH("proc.sname = sshd and proc.is_sid_leader = false and proc.is_pgid_leader = true");
        WITH("proc.aenv[2] = 'A=b' and proc.aenv[A] = b and proc.aenv contains 'A='");
        g_assert_true(holds_with(&net, &lineage, "fd.sip.name = example.com and not fd.cip.name exists"));
}

static void what_can_never_be_is_refused(void) {
        static const char *const bad[] = { "proc.pid = abc", "proc.is_sid_leader = maybe", "fd.sip = 1.2.3", "fd.net = 1.2.3.4/40", "fd.name regex '(a'", "fd.name regex '(a)\\1'", "fd.sport = nosuchservice" };

        for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_autoptr(GError) error = NULL;
                BhCond *c = bh_condition_parse(bad[i], strlen(bad[i]), &error);

                if (c) {
                        g_autoptr(BhRuleEngine) e = bh_rule_engine_new_filter(c, &error);

                        g_assert_null(e);
                }
                g_assert_nonnull(error);
        }
}

static void needs_are_the_kinds(void) {
        g_autoptr(BhRuleEngine) e = filter("(evt.type in (execve, openat) and fd.name = /x) or evt.type = connect");
        guint64 needs[2];

        bh_rule_engine_needs(e, needs);
        /* exec has no fd: only open and connect are left */
        g_assert_cmphex(needs[0], ==, 1ull << BH_EV_OPEN | 1ull << BH_EV_CONNECT);
        g_assert_cmphex(needs[1], ==, 0);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/rules/eval/types_have_all_names", types_have_all_names);
        g_test_add_func("/rules/eval/boolean_logic", boolean_logic);
        g_test_add_func("/rules/eval/missing_is_false", missing_is_false);
        g_test_add_func("/rules/eval/operators_on_text", operators_on_text);
        g_test_add_func("/rules/eval/operators_on_numbers", operators_on_numbers);
        g_test_add_func("/rules/eval/open_without_number", open_without_number);
        g_test_add_func("/rules/eval/opens_by_flags", opens_by_flags);
        g_test_add_func("/rules/eval/addresses", addresses);
        g_test_add_func("/rules/eval/accepted_is_the_servers_side", accepted_is_the_servers_side);
        g_test_add_func("/rules/eval/processes", processes);
        g_test_add_func("/rules/eval/containers", containers);
        g_test_add_func("/rules/eval/two_paths", two_paths);
        g_test_add_func("/rules/eval/arguments", arguments);
        g_test_add_func("/rules/eval/transformers", transformers);
        g_test_add_func("/rules/eval/ancestors", ancestors);
        g_test_add_func("/rules/eval/what_can_never_be_is_refused", what_can_never_be_is_refused);
        g_test_add_func("/rules/eval/needs_are_the_kinds", needs_are_the_kinds);
        return g_test_run();
}
