"""Containers of a real containerd, started by ctr: an engine of the tests' own, a sensor, a central."""
import json
import os
import pathlib
import shutil
import signal
import subprocess

import central_env
import docker_env
import pytest
import sensor_env
from docker_env import BASE_IMAGE, system_env, wait_for
from test_resources import CAPABILITIES, container, one

NAMESPACE = f"bh-test-{os.getpid()}"  # runc keeps what it runs in a place of the machine, by this name


def ctr(engine, *args, check=True, timeout=60, namespace=NAMESPACE):
    argv = ["ctr", "--address", str(engine.dir / "containerd.sock"), "--namespace", namespace, *map(str, args)]
    r = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=system_env())
    if check and r.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: status {r.returncode}\n{r.stdout}{r.stderr}")
    return r


def end(engine, *names, namespace=NAMESPACE):
    for name in names:
        ctr(engine, "tasks", "kill", "--signal", "SIGKILL", name, check=False, namespace=namespace)
        wait_for(lambda: name not in ctr(engine, "tasks", "ls", namespace=namespace).stdout.replace("RUNNING", "").split() or
                 ctr(engine, "tasks", "rm", "-f", name, check=False, namespace=namespace).returncode == 0, 20, f"the task of {name} ends")
        ctr(engine, "tasks", "rm", "-f", name, check=False, namespace=namespace)
        ctr(engine, "containers", "rm", name, check=False, namespace=namespace)


def quiet(call):
    try:
        call()
        return True
    except FileNotFoundError:
        return True
    except OSError as e:
        return False, e


@pytest.fixture(scope="module")
def engine(build):
    with docker_env.DockerEnv() as env:
        env.import_base_image(build)
        tar = env.dir / "base.tar"
        env.docker("save", "-o", tar, BASE_IMAGE)
        ctr(env, "images", "import", "--snapshotter", "native", tar)
        tar.unlink()
        yield env
        for task in ctr(env, "tasks", "ls", "-q", check=False).stdout.split():
            end(env, task)
        for name in ctr(env, "containers", "ls", "-q", check=False).stdout.split():
            ctr(env, "containers", "rm", name, check=False)
        ctr(env, "images", "rm", "--sync", *ctr(env, "images", "ls", "-q").stdout.split(), check=False)
    left = env.leftovers()
    assert not left, f"expected the engine to leave nothing behind, saw {left}"
    shutil.rmtree(f"/run/containerd/runc/{NAMESPACE}", ignore_errors=True)
    # runc leaves the parent of the containers that ctr starts; with nothing in it, an end that the kernel still works on apart
    for parent in [*pathlib.Path("/sys/fs/cgroup").glob(f"*/{NAMESPACE}"), *pathlib.Path("/sys/fs/cgroup").glob(NAMESPACE)]:
        for own in [*(p for p in parent.iterdir() if p.is_dir()), parent]:
            wait_for(lambda: quiet(own.rmdir), 10, f"{own} can be removed")


@pytest.fixture(scope="module")
def platform(build, engine):
    with central_env.Central(build) as central:
        with sensor_env.Sensor(build, docker_host=engine.host, args=["--bus", f"unix:{central.run_dir}/central/bus.sock", "--containerd", f"{engine.dir}/containerd.sock"]) as sensor:
            yield central.root(), sensor


def image_of(engine):
    return [n for n in ctr(engine, "images", "ls", "-q").stdout.split() if "base" in n][0]


def start(engine, name, *options, command=("sleep", "1000")):
    ctr(engine, "run", "-d", "--snapshotter", "native", *options, image_of(engine), name, *command)


def test_a_container_of_ctr_is_described_and_its_acts_are_its(engine, platform):
    admin, sensor = platform
    start(engine, "web-1", "--label", "team=a", "--env", "PASSWORD=hunter5", "--mount", "type=bind,src=/etc,dst=/host-etc,options=rbind:ro", "--memory-limit", str(48 << 20))
    try:
        c = container(admin, "web-1", lambda c: c["state"] == "running" and c["level"] == "full" and c["net_ns"])
        assert (c["runtime"], c["name"], c["id"], c["image"]) == ("containerd", "web-1", "web-1", image_of(engine)), c
        assert c["workload"].endswith("/web") and c["labels"]["team"] == "a", c
        assert c["command"] == ["sleep", "1000"] and "PASSWORD" in c["env_names"] and "hunter5" not in json.dumps(c), c
        assert c["mounts"] == [{"type": "bind", "source": "/etc", "destination": "/host-etc", "rw": False, "sensitive": True}], c["mounts"]
        assert c["memory_limit"] == 48 << 20 and c["seccomp"] == "unconfined" and not c["privileged"] and not c["host_network"], c
        # the image came from the Docker Engine, with whose word containerd's own store is compared
        c = container(admin, "web-1", lambda c: c["layers"])
        assert c["layers"] == json.loads(engine.docker("image", "inspect", BASE_IMAGE).stdout)[0]["RootFS"]["Layers"], c["layers"]
        assert c["image_digest"].endswith(ctr(engine, "images", "ls").stdout.split("sha256:")[1][:64]), c["image_digest"]
        with open(f"/proc/{c['init_pid']}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        names = CAPABILITIES.split()
        assert set(c["capabilities"]) == {f"CAP_{names[i]}" for i in range(len(names)) if int(status["CapBnd"], 16) >> i & 1}, (c["capabilities"], status["CapBnd"])
        assert c["net_ns"] == os.stat(f"/proc/{c['init_pid']}/ns/net").st_ino, c

        ctr(engine, "tasks", "exec", "--exec-id", "look", "web-1", "cat", "/etc/passwd")
        sensor.wait_events(lambda events: [e for e in events if "/etc/passwd" in json.dumps(e)], 10, "the exec in the container", type="exec", container="web-1")
    finally:
        end(engine, "web-1")
    gone = container(admin, "web-1", lambda c: c["state"] == "removed")
    assert len(gone["runs"]) == 1 and gone["runs"][0]["exit_code"] == 137 and gone["ended"], gone


def test_privileges_namespaces_and_exit_of_ctr_containers(engine, platform):
    admin, _ = platform
    start(engine, "net-1", "--net-host", "--cap-add", "CAP_SYS_PTRACE")
    start(engine, "short-1", command=("sh", "-c", "sleep 0.5; exit 7"))
    try:
        c = container(admin, "net-1", lambda c: c["state"] == "running" and c["level"] == "full" and c["net_ns"])
        assert c["host_network"] and not c["host_pid"] and "CAP_SYS_PTRACE" in c["capabilities"] and c["net_ns"] == os.stat("/proc/self/ns/net").st_ino, c
        risks = "\n".join(c["risks"])
        assert "host's network namespace" in risks and "CAP_SYS_PTRACE" in risks and "no seccomp profile" in risks, risks
        s = container(admin, "short-1", lambda c: c["state"] == "exited")
        assert [(r["exit_code"], r["oom_killed"]) for r in s["runs"]] == [(7, False)] and s["exit_code"] == 7, s
    finally:
        end(engine, "net-1", "short-1")


def test_images_and_containerd_itself_are_resources_and_docker_is_told_once(engine, platform):
    admin, sensor = platform
    image = one(admin, kind="image", source="containerd", until=lambda r: r["name"] == image_of(engine))
    assert image["id"].startswith("sha256:") and image["detail"]["namespace"] == NAMESPACE, image
    itself = one(admin, kind="node", source="containerd", id="containerd", until=lambda r: NAMESPACE in r["detail"]["namespaces"])
    assert "moby" not in itself["detail"]["namespaces"] and itself["detail"]["engine"], itself
    ident = engine.run("-d", "--name", "of-docker", BASE_IMAGE, "sleep", "1000")
    try:
        c = container(admin, ident, lambda c: c["level"] == "full")
        assert (c["runtime"], c["name"]) == ("docker", "of-docker"), c
    finally:
        engine.remove(ident)
    status = sensor.status()["runtimes"]["containerd"]
    assert (status["state"], status["error"], status["events_refused"], status["calls_failed"]) == ("connected", "", 0, 0), status


def test_containerd_ends_and_comes_back(engine, platform):
    admin, sensor = platform
    start(engine, "stays-1")
    start(engine, "goes-1")
    try:
        for name in ("stays-1", "goes-1"):
            container(admin, name, lambda c: c["state"] == "running" and c["level"] == "full")
        goes = container(admin, "goes-1")
        docker_env.stop_process(engine._containerd, 20)
        wait_for(lambda: "systemctl start containerd" in sensor.status()["runtimes"]["containerd"]["error"], 20, "the sensor says that containerd is gone")
        os.kill(goes["init_pid"], signal.SIGKILL)
        engine._start_containerd(60)
        wait_for(lambda: sensor.status()["runtimes"]["containerd"]["state"] == "connected", 20, "the sensor is connected again")
        c = container(admin, "goes-1", lambda c: c["state"] == "exited", 20)
        assert len(c["runs"]) == 1, c["runs"]
        container(admin, "stays-1", lambda c: c["state"] == "running")
        # events come again
        start(engine, "new-1")
        container(admin, "new-1", lambda c: c["state"] == "running" and c["level"] == "full")
    finally:
        if engine._containerd.poll() is not None:
            engine._start_containerd(60)
        end(engine, "stays-1", "goes-1", "new-1")


def test_a_workload_keeps_its_name_and_a_container_its_image_through_upgrades(engine, platform):
    admin, _ = platform
    name = image_of(engine)
    other = name.rsplit(":", 1)[0] + ":2"
    seen = {}

    def note(ident, image):
        c = container(admin, ident, lambda c: c["state"] == "running" and c["level"] == "full" and c["image"] == image and c["image_digest"])
        seen[c["id"], c["init_pid"]] = c
        assert (c["application"], c["workload"]) == ("", "docker.io/bh-test/base/front"), c
        return c
    start(engine, "front-1")
    tar = engine.dir / "other.tar"
    try:
        first = note("front-1", name)
        start(engine, "front-2")  # another replica
        note("front-2", name)
        # the task ends and is started again: one container, another process
        ctr(engine, "tasks", "kill", "--signal", "SIGKILL", "front-2")
        container(admin, "front-2", lambda c: c["state"] == "exited")
        wait_for(lambda: ctr(engine, "tasks", "rm", "front-2", check=False).returncode == 0, 20, "the task is gone")
        ctr(engine, "tasks", "start", "-d", "front-2")
        note("front-2", name)
        # the name comes to mean another image: who runs is still of the one before, with its layers
        engine.docker("import", "--change", "ENV PATH=/bin", "--change", "LABEL version=2", "-", BASE_IMAGE, input=docker_env.make_base_image_tar(), text=False)
        engine.docker("save", "-o", tar, BASE_IMAGE)
        ctr(engine, "images", "import", "--snapshotter", "native", tar)
        ctr(engine, "images", "tag", name, other)
        start(engine, "front-3")
        third = note("front-3", name)
        assert third["image_digest"] != first["image_digest"], third
        assert (note("front-1", name)["image_digest"], note("front-1", name)["layers"]) == (first["image_digest"], first["layers"]), first
        end(engine, "front-1")  # re-created, of another tag
        ctr(engine, "run", "-d", "--snapshotter", "native", other, "front-1", "sleep", "1000")
        note("front-1", other)
        assert len(seen) == 5, seen.keys()
    finally:
        tar.unlink(missing_ok=True)
        end(engine, "front-1", "front-2", "front-3")
