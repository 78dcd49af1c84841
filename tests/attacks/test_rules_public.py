"""The public rule files, unchanged, on real acts: each rule that is on tells the act that its condition is about.

All acts are done once, in containers and on the node, while a sensor records; the recording is replayed through ../shared/falco/*.yaml. Some rules ask for what their owners are expected to fill in
(macros that are never true, lists without items): ADAPTED does it as users do, in a file of its own. Without the public files the tests are skipped.
"""
import json
import pathlib
import subprocess
import tempfile
import time

import docker_env
import pytest
import sensor_env
from boxes import Box

PUBLIC = [sensor_env.REPO.parent / "shared" / "falco" / name for name in ("falco_rules.yaml", "falco-incubating_rules.yaml")]
IMAGE = "bh-test/public:1"
ADAPTED = """
append_output:
- extra_fields: [container.name]
---
- macro: k8s_api_server
  condition: fd.sport = 6443
  override: {condition: replace}
- list: namespace_scope_network_only_subnet
  items: [shop]
  override: {items: replace}
"""
MIGHTY = ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--pid=host"]
PRIVILEGED = f"--privileged --runtime {docker_env.PRIVILEGED_RUNTIME}"
FAR = "203.0.113.9"  # documentation, RFC 5737: nobody is there

# Rule: (where, command). plain and mighty: in such a container, by the shell in it; node: on the node; run OPTIONS: a container of its own; exec OPTIONS: docker exec into plain
ACTS = {
    "Directory traversal monitored file read": ("plain", "/bin/find / -maxdepth 0 -exec /bin/cat /etc/../../etc/passwd ';'"),
    "Read sensitive file trusted after startup": ("plain", "/usr/sbin/nginx late /etc/shadow"),
    "Read sensitive file untrusted": ("plain", "cat /etc/shadow"),
    "Run shell untrusted": ("plain", "/usr/sbin/nginx sh 'true; true'"),
    "System user interactive": ("exec --user 33", "/usr/bin/login"),
    "Terminal shell in container": ("exec -t", "/bin/sh -c true"),
    "Contact K8S API Server From Container": ("plain", "/usr/bin/visit tcp 6443"),
    "Netcat Remote Code Execution in Container": ("plain", "/bin/nc -e /bin/true 127.0.0.1 9; true"),
    "Search Private Keys or Passwords": ("plain", "/bin/find /root -name id_rsa"),
    "Clear Log Activities": ("plain", ": >/var/log/app.log"),
    "Remove Bulk Data from Disk": ("plain", "touch /tmp/w; /bin/shred /tmp/w"),
    "Create Symlink Over Sensitive Files": ("plain", "ln -s /etc/shadow /tmp/soft"),
    "Create Hardlink Over Sensitive Files": ("plain", "ln /etc/shadow /tmp/hard"),
    "Packet socket created in container": ("plain", "/acts --dir /tmp socket.packet_raw"),
    "Redirect STDOUT/STDIN to Network Connection in Container": ("plain", "/usr/bin/visit listen 4711 & sleep 1; /usr/bin/visit shell 4711; wait"),
    "Linux Kernel Module Injection Detected": ("mighty", "/acts --dir /tmp module_load.init_module"),
    "Debugfs Launched in Privileged Container": ("run " + PRIVILEGED, "/sbin/debugfs"),
    "Detect release_agent File Container Escapes": ("mighty", "echo x >/tmp/release_agent"),
    "PTRACE attached to process": ("plain", "/acts --dir /tmp ptrace.attach"),
    "PTRACE anti-debug attempt": ("plain", "/acts --dir /tmp ptrace.traceme"),
    "Find AWS Credentials": ("plain", "/bin/find /root/.aws/credentials"),
    "Execution from /dev/shm": ("plain", "/bin/sh -c /dev/shm/nothing; true"),
    "Drop and execute new binary in container": ("plain", "cp /bin/busybox /opt/dropped; /opt/dropped true"),
    "Disallowed SSH Connection Non Standard Port": ("plain", f"/usr/bin/ssh far {FAR}"),
    "Fileless execution via memfd_create": ("plain", "/acts --dir /tmp exec.execveat_memfd"),
    "Modify Shell Configuration File": ("plain", "cp /etc/passwd /root/.bashrc"),
    "Schedule Cron Jobs": ("plain", "echo x >/etc/cron.d/x"),
    "Read ssh information": ("plain", "cat /root/.ssh/id_rsa"),
    "DB program spawned process": ("plain", "/usr/sbin/mysqld sh 'true; true'"),
    "Change thread namespace": ("mighty", "/bin/busybox nsenter -t {pid} -u /bin/busybox true"),
    "Change namespace privileges via unshare": ("plain", "unshare -U true; true"),
    "Launch Privileged Container": ("run " + PRIVILEGED, "/bin/true"),
    "Launch Excessively Capable Container": ("run --cap-add SYS_ADMIN", "/bin/true"),
    "System procs network activity": ("plain", f"/usr/bin/bash far {FAR}"),
    "Program run with disallowed http proxy env": ("plain", "HTTP_PROXY=http://127.0.0.1:9 /bin/wget -q -T 1 http://127.0.0.1:9/; true"),
    "Unexpected UDP Traffic": ("plain", f"/usr/bin/visit udp {FAR}"),
    "Non sudo setuid": ("node", "{visit} uid 0"),  # in a container the user must have a name, which a recording does not keep of the one before
    "User mgmt binaries": ("node", "{own}/useradd"),
    "Create files below dev": ("plain", "echo x >/dev/a-new-file"),
    "Contact EC2 Instance Metadata Service From Container": ("plain", "/usr/bin/visit far 169.254.169.254"),
    "Contact cloud metadata service from container": ("plain", "/usr/bin/visit far 169.254.169.254"),
    "Launch Package Management Process in Container": ("plain", "/usr/bin/apt-get install x; true"),
    "Launch Suspicious Network Tool in Container": ("plain", "/bin/nc -w 1 127.0.0.1 9; true"),
    "Launch Suspicious Network Tool on Host": ("node", "{own}/nmap"),
    "Delete or rename shell history": ("plain", "rm /root/.ash_history"),
    "Set Setuid or Setgid bit": ("plain", "touch /tmp/s; chmod 4755 /tmp/s"),
    "Launch Remote File Copy Tools in Container": ("plain", "/usr/bin/rsync; true"),
    "Network Connection outside Local Subnet": ("pod", f"/usr/bin/visit far {FAR}"),
    "Mount Launched in Privileged Container": ("run " + PRIVILEGED, "/bin/mount -t tmpfs none /mnt"),
    "Launch Ingress Remote File Copy Tools in Container": ("plain", "/bin/wget -q -T 1 http://127.0.0.1:9/; true"),
    "Read environment variable from /proc files": ("plain", "cat /proc/1/environ"),
    "Exfiltrating Artifacts via Kubernetes Control Plane": ("exec", "/bin/tar cf /dev/null /root/.profile"),
    "Adding ssh keys to authorized_keys": ("plain", "echo key >>/root/.ssh/authorized_keys"),
    "Potential Local Privilege Escalation via Environment Variables Misuse": ("plain", "GLIBC_TUNABLES=glibc.malloc.mxfast=8 /bin/busybox true"),
    "Backdoored library loaded into SSHD (CVE-2024-3094)": ("plain", "/usr/sbin/sshd read /opt/liblzma.so.5.6.0"),
    "BPF Program Not Profiled": ("mighty", "/acts --dir /tmp bpf.prog_load_junk"),
}
FILES = ["etc/shadow", "root/.ssh/id_rsa", "root/.ash_history", "root/.profile", "root/.aws/credentials", "var/log/app.log", "etc/cron.d/empty", "opt/liblzma.so.5.6.0", "mnt/empty"]

pytestmark = [pytest.mark.deadline(240), pytest.mark.skipif(not all(p.exists() for p in PUBLIC), reason="the public rule files are not there (../shared/falco)")]


def make_image(docker, build, some):
    busybox, visit = "/bin/busybox", build / "tests" / "attacks" / "visit"
    files = [("acts", build / "tests" / "bpf" / "acts"), ("usr/bin/visit", visit)]
    files += [(name, visit) for name in ("usr/bin/bash", "usr/bin/ssh", "usr/sbin/nginx", "usr/sbin/mysqld", "usr/sbin/sshd")]
    files += [(name, busybox) for name in ("usr/bin/apt-get", "usr/bin/rsync", "usr/bin/login", "sbin/debugfs")]
    (some / "text").write_text("some text\n")
    (some / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\nacts:x:12345:12345::/:/bin/false\n")
    files += [(name, some / "text") for name in FILES]
    docker.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=docker_env.make_base_image_tar(files), text=False)


class Played:
    """All acts, done once: .findings are what the rules say of the recording, .names which container each act was in."""

    def __init__(self, docker, build, backend, own):
        self.docker, self.own, self.failed, self.names, boxes = docker, own, {}, {}, {}
        for name in ("useradd", "nmap"):
            (own / name).symlink_to("/bin/busybox")
        other = subprocess.Popen(["sleep", "300"])
        try:
            with sensor_env.Sensor(build, docker_host=docker.host, backend=backend) as sensor:
                users = self.users = ["-v", f"{own}/passwd:/etc/passwd:ro"]
                boxes["plain"] = Box(docker, "public-plain", *users, image=IMAGE)
                boxes["mighty"] = Box(docker, "public-mighty", *users, *MIGHTY, image=IMAGE)
                boxes["pod"] = Box(docker, "public-pod", *users, "--label", "io.kubernetes.pod.namespace=shop", "--label", "io.kubernetes.pod.name=web-1", image=IMAGE)
                for n, (rule, (where, command)) in enumerate(ACTS.items()):
                    self.names[rule] = f"public-run-{n}" if where.startswith("run") else "public-plain" if where.startswith("exec") else f"public-{where}"
                    try:
                        self.play(boxes, where, self.names[rule], command.format(pid=other.pid, own=own, visit=build / "tests" / "attacks" / "visit"))
                    except (AssertionError, docker_env.DockerError) as e:
                        self.failed[rule] = str(e)
                time.sleep(1.2)  # repeats are told when their window is swept
                recording = sensor.data_dir / "recorder"
                sensor.stop()
                adapted = own / "adapted.yaml"
                adapted.write_text(ADAPTED)
                ours = sorted((sensor_env.REPO / "rules").glob("*.yaml"))
                self.findings = self.replay(sensor, recording, [*PUBLIC, adapted], "all")
                self.with_ours = self.replay(sensor, recording, [*ours, *PUBLIC, adapted], "all")
        finally:
            for box in boxes.values():
                box.close()
            other.kill()
            other.wait()

    def play(self, boxes, where, name, command):
        how, _, options = where.partition(" ")
        if how == "node":
            subprocess.run(command.split(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=docker_env.system_env(), timeout=30, check=False)
        elif how == "run":
            self.docker.docker("run", "--rm", "--name", name, *self.users, *options.split(), IMAGE, *command.split(), check="privileged" in options and command == "/bin/true")
        elif how == "exec":
            argv = ["docker", "--host", self.docker.host, "exec", *options.split(), "public-plain", *command.split()]
            if options == "-t":  # a terminal needs one on this side as well
                argv = ["script", "-qec", " ".join(argv), "/dev/null"]
            subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=docker_env.system_env(), timeout=30, check=False)
        else:
            boxes[how].run(command, deadline=30, ok=None)

    @staticmethod
    def replay(sensor, recording, files, matching):
        argv = [arg for path in files for arg in ("--rules", path)]
        out = sensor.cli("replay", recording, *argv, "--json", *(["--all"] if matching == "all" else [])).stdout
        return [json.loads(line) for line in out.split("\n") if line]


@pytest.fixture(scope="module")
def played(request, docker, build):
    with tempfile.TemporaryDirectory(prefix="bhp-") as own:
        make_image(docker, build, pathlib.Path(own))
        yield Played(docker, build, request.config.getoption("--backend"), pathlib.Path(own))


@pytest.mark.parametrize("rule", sorted(ACTS))
def test_public_rule_tells_the_act(played, rule):
    assert rule not in played.failed, f"expected the act to be done, saw {played.failed[rule]}"
    name = played.names[rule]
    mine = [f for f in played.findings if f["output_fields"].get("container.name") in ((None, "host", "<NA>") if name == "public-node" else (name,))]
    assert any(f["rule"] == rule for f in mine), f"expected a finding of {rule!r} in {name}, saw there\n" + "\n".join(sorted({f["rule"] for f in mine}))


def test_every_rule_of_the_public_files_has_an_act(build):
    import yaml
    on = [item["rule"] for path in PUBLIC for item in yaml.safe_load(path.read_text()) if "rule" in item and item.get("enabled", True)]
    assert len(on) == 56 and sorted(on) == sorted(ACTS)


def test_public_and_default_rules_go_together(played):
    names = {f["rule"] for f in played.with_ours}
    assert {f["rule"] for f in played.findings} <= names, {f["rule"] for f in played.findings} - names
    assert len(names) > len(ACTS)


def test_public_files_load_without_an_error(build):
    out = subprocess.run([sensor_env.program(build, "bulkhead"), "rules", "check", *PUBLIC], capture_output=True, text=True, timeout=60)
    assert out.returncode == 0 and "56 rules (56 enabled)" in out.stdout and "0 errors" in out.stdout, out
