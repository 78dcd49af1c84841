"""Containers that no daemon tells of: real podman over runc and over crun, plain runc and plain crun.

CRI-O is not among Debian's packages. What it writes is checked in tests/unit/test_oci_storage.c with files made after its own sources
(cri-o/cri-o: internal/annotations, internal/storage/runtime.go, which makes every container "volatile") and after containers/storage;
podman, which keeps its containers in the same storage and under the same conmon, is real here.
"""
import datetime
import json
import os
import pathlib
import shutil
import subprocess

import central_env
import docker_env
import pytest
import sensor_env
from docker_env import system_env, wait_for
from test_resources import CAPABILITIES, container

IMAGE = "localhost/bh-test/base:1"
# What this machine may not give (a hard limit above its own, CAP_SYS_RESOURCE) is not asked for.
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=2048:2048")
TAG = f"bh{os.getpid()}"


class Podman:
    """podman with a storage of its own. State of the runtimes is where root's is: /run/runc, /run/crun."""

    def __init__(self, path):
        self.dir = path
        self.crun = path / "crun"
        # crun refuses to run where version 2 has controllers beside version 1; it is shown none. Its command line starts with options, so that it stays what is executed.
        self.crun.write_text("#!/bin/sh\nexec unshare --mount sh -c 'umount -l /sys/fs/cgroup/unified 2>/dev/null; exec crun \"$@\"' sh \"$@\"\n")
        self.crun.chmod(0o755)

    def argv(self, *args, runtime="runc"):
        return ["podman", "--root", self.dir / "root", "--runroot", self.dir / "run", "--tmpdir", self.dir / "tmp", "--storage-driver", "overlay", "--cgroup-manager", "cgroupfs",
                "--events-backend", "file", "--runtime", self.crun if runtime == "crun" else runtime, *args]

    def __call__(self, *args, check=True, **options):
        argv = list(map(str, self.argv(*args, **options)))
        r = subprocess.run(argv, capture_output=True, text=True, timeout=90, env=system_env())
        if check and r.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: status {r.returncode}\n{r.stdout}{r.stderr}")
        return r.stdout.strip()

    def run(self, name, *options, runtime="runc", command=("sleep", "1000")):
        return self("run", "--detach", "--name", name, "--cgroup-parent", f"/{TAG}", *LIMITS, *options, IMAGE, *command, runtime=runtime)

    def inspect(self, name):
        return json.loads(self("inspect", name))[0]


def cgroups_of(name):
    return [p for root in ("/sys/fs/cgroup", *pathlib.Path("/sys/fs/cgroup").iterdir()) for p in [pathlib.Path(root) / name] if p.is_dir()]


def remove_cgroups(name):
    for top in cgroups_of(name):
        for own in sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True):
            wait_for(lambda: not own.exists() or removed(own), 10, f"{own} can be removed")
        wait_for(lambda: removed(top), 10, f"{top} can be removed")


def removed(path):
    try:
        path.rmdir()
        return True
    except FileNotFoundError:
        return True
    except OSError as e:
        return False, e


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    path = tmp_path_factory.mktemp("podman")
    p = Podman(path)
    (path / "base.tar").write_bytes(docker_env.make_base_image_tar())
    p("import", "--change", "ENV PATH=/bin", path / "base.tar", IMAGE)
    yield p
    p("rm", "--force", "--all", "--time", "0", check=False)
    p("pod", "rm", "--force", "--all", check=False)
    p("rmi", "--force", "--all", check=False)
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()[::-1]:
        if line.split()[4].startswith(f"{path}/"):
            subprocess.run(["umount", "-l", line.split()[4]], check=True, env=system_env())
    remove_cgroups(TAG)
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def platform(build, podman, tmp_path_factory):
    """(central's administrator, sensor): neither Docker nor containerd is asked."""
    with central_env.Central(build) as central:
        with sensor_env.Sensor(build, args=["--bus", f"unix:{central.run_dir}/central/bus.sock", "--no-docker", "--no-containerd"]) as sensor:
            yield central.root(), sensor


def bounding(pid):
    names = CAPABILITIES.split()
    status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return {f"CAP_{names[i]}" for i in range(len(names)) if int(status["CapBnd"], 16) >> i & 1}


def docker_time(text):
    """Seconds since the epoch; what is written after the microseconds does not count."""
    head, _, rest = text.replace("Z", "+00:00").partition(".")
    zone = "+" + rest.partition("+")[2] if "+" in rest else "-" + rest.partition("-")[2] if "-" in rest else ""
    return datetime.datetime.fromisoformat(f"{head}.{rest[:6].rstrip('+-:'):0<6}{zone}" if rest else head).timestamp()


def full(c):
    return c["level"] == "full" and c["state"] == "running" and c["net_ns"] and c["started_by"]


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_container_of_podman_is_described_and_its_acts_are_its(podman, platform, runtime):
    admin, sensor = platform
    name = f"shop-web-{runtime}"
    ident = podman.run(name, "--network", "none", "--env", "PASSWORD=hunter7", "--volume", "/etc:/host-etc:ro", "--memory", "48m", "--cpus", "0.5", "--pids-limit", "77", "--cap-add", "SYS_PTRACE",
                       "--cap-drop", "KILL", runtime=runtime)
    try:
        c = container(admin, ident, full)
        seen = podman.inspect(name)
        assert (c["runtime"], c["name"], c["image"], c["image_id"]) == ("podman", name, IMAGE, "sha256:" + seen["Image"].removeprefix("sha256:")), c
        image = json.loads(podman("image", "inspect", IMAGE))[0]
        assert c["layers"] == image["RootFS"]["Layers"] and c["image_digest"] == f"{IMAGE.removesuffix(':1')}@{image['Digest']}", (c["layers"], c["image_digest"], image)
        assert c["workload"] == f"localhost/bh-test/base/{name}" and c["application"] == "", c
        assert c["command"] == ["sleep", "1000"] and "PASSWORD" in c["env_names"] and "hunter7" not in json.dumps(c), c
        # what podman itself puts there (hosts, resolv.conf, …) is no mount that somebody asked for
        assert c["mounts"] == [{"type": "bind", "source": "/etc", "destination": "/host-etc", "rw": False, "sensitive": True}], c["mounts"]
        assert any("host's /etc" in r for r in c["risks"]), c["risks"]
        assert (c["memory_limit"], c["cpu_limit"], c["pids_limit"]) == (48 << 20, 500_000_000, 77), c
        assert c["init_pid"] == seen["State"]["Pid"] and set(c["capabilities"]) == bounding(c["init_pid"]), (c["init_pid"], c["capabilities"])
        assert "CAP_SYS_PTRACE" in c["capabilities"] and "CAP_KILL" not in c["capabilities"] and not c["privileged"], c
        assert c["seccomp"] == "filter" and not (c["host_network"] or c["host_pid"] or c["host_ipc"] or c["host_uts"]), c
        assert c["net_ns"] == os.stat(f"/proc/{c['init_pid']}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino, c
        assert c["created"] and abs(docker_time(c["started"]) - docker_time(seen["State"]["StartedAt"])) < 2, (c["started"], seen["State"]["StartedAt"])
        for by in (c["created_by"], c["started_by"]):
            assert by.startswith("/usr/bin/podman (") and "pid " in by and "container" not in by, (c["created_by"], c["started_by"])

        podman("exec", name, "cat", "/etc/os-release", check=False, runtime=runtime)
        sensor.wait_events(lambda events: [e for e in events if "/etc/os-release" in json.dumps(e)], 10, "the exec in the container", type="exec", container=name)
    finally:
        podman("rm", "--force", "--time", "0", name, runtime=runtime)
    gone = container(admin, ident, lambda c: c["state"] == "exited")
    assert gone["ended"] and len(gone["runs"]) == 1 and gone["name"] == name, gone


def test_privileged_host_network_and_a_volatile_container(podman, platform):
    admin, _ = platform
    # podman gives all of its own capabilities, which may be fewer than all there are
    wide = podman.run("wide", "--network", "host", "--pid", "host", "--privileged", "--volume", "/proc:/host-proc")
    rm = podman.run("passing", "--rm", "--network", "none", "--read-only", "--security-opt", "no-new-privileges", runtime="crun")
    try:
        c = container(admin, wide, full)
        assert c["privileged"] and c["host_network"] and c["host_pid"] and c["seccomp"] == "unconfined", c
        assert c["net_ns"] == os.stat("/proc/self/ns/net").st_ino and set(c["capabilities"]) == bounding(c["init_pid"]), c
        risks = "\n".join(c["risks"])
        assert "host's network namespace" in risks and "host's process" in risks and "it is privileged" in risks and "/proc" in risks and "/dev/" not in risks, risks
        assert [m["sensitive"] for m in c["mounts"] if m["source"] == "/proc" and m["type"] == "bind"] == [True], c["mounts"]
        v = container(admin, rm, full)
        assert (v["name"], v["image"], v["runtime"]) == ("passing", IMAGE, "podman") and v["readonly_rootfs"] and v["no_new_privileges"] and not v["privileged"], v
    finally:
        podman("rm", "--force", "--time", "0", "wide")
        podman("rm", "--force", "--time", "0", "passing", runtime="crun")


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_restart_and_recreation_keep_workload_and_history(podman, platform, runtime):
    admin, _ = platform
    name = f"again-{runtime}"
    ident = podman.run(name, "--network", "none", runtime=runtime)
    try:
        first = container(admin, ident, full)
        podman("restart", "--time", "0", name, runtime=runtime)
        second = container(admin, ident, lambda c: full(c) and c["init_pid"] not in (0, first["init_pid"]), 20)
        assert second["init_pid"] == podman.inspect(name)["State"]["Pid"] and len(second["runs"]) == 1, second
        assert docker_time(second["started"]) > docker_time(first["started"]) and second["created"] == first["created"] and second["created_by"] == first["created_by"], (first, second)
        assert second["started_by"].startswith("/usr/bin/podman (") and second["started_by"] != first["started_by"], second
        podman("rm", "--force", "--time", "0", name, runtime=runtime)
        other = podman.run(f"{name}-7f", "--network", "none", runtime=runtime)
        podman("rename", f"{name}-7f", name, runtime=runtime)
        podman("stop", "--time", "0", name, runtime=runtime)
        podman("start", name, runtime=runtime)
        third = container(admin, other, lambda c: full(c) and c["name"] == name, 20)
        assert (third["workload"], third["application"]) == (first["workload"], first["application"]), (first, third)
    finally:
        podman("rm", "--force", "--time", "0", "--all", runtime=runtime)


@pytest.mark.parametrize("runtime", ["runc", "crun"])
@pytest.mark.parametrize("path", ["", "deep"])
def test_a_bundle_run_by_hand_is_described(podman, platform, tmp_path, runtime, path):
    admin, sensor = platform
    program = podman.crun if runtime == "crun" else runtime
    name = f"{TAG}-{runtime}{path}-1"
    root = tmp_path / "rootfs"
    root.mkdir()
    subprocess.run(["tar", "-x", "-C", root], input=docker_env.make_base_image_tar(), check=True)
    subprocess.run([runtime, "spec"], cwd=tmp_path, check=True, env=system_env())
    spec = json.loads((tmp_path / "config.json").read_text())
    spec["process"].update(terminal=False, args=["sh", "-c", "sleep 1000; exit 3"], env=["PATH=/bin", "TOKEN=hunter6"])
    spec["process"]["capabilities"] = {kind: ["CAP_NET_RAW", "CAP_KILL"] for kind in ("bounding", "effective", "permitted")}
    spec["process"].pop("rlimits", None)
    spec["mounts"].append({"type": "bind", "source": "/etc", "destination": "/host-etc", "options": ["rbind", "ro"]})
    spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "uts"]
    spec.pop("hostname", None)
    spec["linux"]["resources"] = {"memory": {"limit": 32 << 20}, "pids": {"limit": 9}}
    if path:
        spec["linux"]["cgroupsPath"] = f"/{TAG}/{name}"
    else:
        spec["linux"].pop("cgroupsPath", None)
    (tmp_path / "config.json").write_text(json.dumps(spec))
    subprocess.run([program, "run", "-d", name], cwd=tmp_path, check=True, env=system_env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        c = container(admin, name, full)
        assert (c["runtime"], c["name"], c["command"][0], c["image"]) == (runtime, name, "sh", ""), c
        assert c["workload"] == f"{TAG}-{runtime}{path}" and c["env_names"] == ["PATH", "TOKEN"] and "hunter6" not in json.dumps(c), c
        assert set(c["capabilities"]) == {"CAP_KILL", "CAP_NET_RAW"} == bounding(c["init_pid"]) and c["readonly_rootfs"], c
        assert c["mounts"] == [{"type": "bind", "source": "/etc", "destination": "/host-etc", "rw": False, "sensitive": True}], c["mounts"]
        assert c["host_uts"] and not c["host_network"] and c["seccomp"] == "unconfined" and (c["memory_limit"], c["pids_limit"]) == (32 << 20, 9), c
        assert os.path.basename(c["created_by"].split(" (")[0]) == runtime and c["started"], (c["created_by"], c["started"])
        subprocess.run([program, "exec", name, "cat", "/etc/hello"], env=system_env(), stdin=subprocess.DEVNULL, capture_output=True)
        sensor.wait_events(lambda events: [e for e in events if "/etc/hello" in json.dumps(e)], 10, "the exec in the container", type="exec", container=name)
    finally:
        subprocess.run([program, "delete", "-f", name], check=True, env=system_env())
        if not path and runtime == "crun":
            for parent in cgroups_of("crun"):  # crun's own parent stays behind
                removed(parent)
    gone = container(admin, name, lambda c: c["state"] == "exited")
    assert gone["ended"] and [r["exit_code"] for r in gone["runs"]] == [-1], gone
