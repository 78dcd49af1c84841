"""Whose event it is: containers of every age and kind, what becomes of their processes, what the runtime says of them."""
import json
import os
import pathlib
import secrets
import subprocess
import tarfile
import time

import docker_env
import pytest
import sensor_env
from docker_env import BASE_IMAGE, wait_for

LABELS = {"com.example.tier": "front", "quoted\"key": "new\nline, \"quoted\""}
HIERARCHIES = ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")
SHORT_LIVED = 100
SHORT_LIVED_FULL = 1000
# Containers started at a time: each is a chain of docker, dockerd, containerd, shim and runc on two cores.
AT_ONCE = 4


def hierarchy():
    """The directory of the hierarchy that tells containers apart: version 1 pids where it is mounted, else version 2."""
    return next(pathlib.Path(p) for p in HIERARCHIES if (pathlib.Path(p) / "cgroup.procs").exists())


def labels():
    return [a for k, v in LABELS.items() for a in ("--label", f"{k}={v}")]


@pytest.fixture
def start(docker):
    """start(*options, command): a detached container with a random name, removed at the end. Gives (id, name)."""
    made = []

    def run(*args, options=(), command=("sleep", "1000")):
        name = f"bh-{secrets.token_hex(4)}"
        cid = docker.run("-d", "--name", name, *options, BASE_IMAGE, *(args or command))
        made.append(cid)
        return cid, name
    yield run
    for cid in made:
        docker.docker("unpause", cid, check=False)
        docker.docker("rm", "-f", "-v", cid, check=False)


@pytest.fixture(scope="module")
def older(docker):
    """A container that runs before the sensor does."""
    name = f"bh-old-{secrets.token_hex(3)}"
    cid = docker.run("-d", "--name", name, *labels(), BASE_IMAGE, "sh", "-c", "sleep 4242 & while :; do sleep 0.5; /bin/true old-one; done")
    yield cid, name
    docker.remove(cid)


@pytest.fixture(scope="module")
def sensor(request, build, docker, older):
    """One sensor for this module's tests: its start takes seconds."""
    with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend")) as s:
        yield s


def of(events, **fields):
    wanted = {k.replace("__", "."): v for k, v in fields.items()}
    return [e for e in events if all(e.get(k) == v for k, v in wanted.items())]


def execs_of(events, *argv):
    return [e for e in events if e["type"] == "exec" and e.get("proc.args") == list(argv)]


def wait_exec(sensor, *argv, count=1, deadline=15):
    events = sensor.wait_events(lambda evs: len(execs_of(evs, *argv)) >= count, deadline, f"{count} exec of {argv}", type="exec")
    return execs_of(events, *argv)


def expect_container(event, cid, name, image=BASE_IMAGE):
    seen = {k: event.get(k) for k in ("container.id", "container.name", "container.image")}
    assert seen == {"container.id": cid, "container.name": name, "container.image": image}, f"expected the container {name} ({cid[:12]}), saw {seen} on {json.dumps(event)[:1500]}"
    assert "no_metadata" not in event.get("flags", ()), f"expected metadata in time, saw {event['flags']}"


# ---- containers older than the sensor, short-lived ones, docker exec ----

def test_container_started_before_the_sensor_is_known_with_its_processes(sensor, older):
    cid, name = older
    found = [e for e in of(sensor.events(type="process"), container__id=cid) if e["proc.args"][0] != "/bin/true"]
    args = sorted(" ".join(e["proc.args"][:2]) for e in found)
    assert args[0] == "sh -c" and "sleep 4242" in args, f"expected the processes of the container, saw {args}"
    for event in found:
        expect_container(event, cid, name)
        assert event["container.labels"].items() >= LABELS.items(), f"expected the labels, saw {event['container.labels']}"
    listed = of(sensor.containers(), id=cid)
    assert listed and listed[0]["name"] == name, f"expected {name} in the list of containers, saw {listed}"


def test_container_started_before_the_sensor_gives_live_events(sensor, older):
    cid, name = older
    for event in wait_exec(sensor, "/bin/true", "old-one", count=3)[:3]:
        expect_container(event, cid, name)
        assert event["parent.args"][0] == "sh", f"expected the shell from before the sensor as the parent, saw {event['parent.args']}"


@pytest.mark.deadline(900)
def test_each_exec_of_short_lived_containers_has_name_image_and_labels(sensor, docker, full):
    tag = secrets.token_hex(3)
    count = SHORT_LIVED_FULL if full else SHORT_LIVED
    running = {}
    ids = {}
    try:
        for n in list(range(count)) + [None] * AT_ONCE:
            while len(running) >= (AT_ONCE if n is not None else 1):
                done = wait_for(lambda: [i for i, p in running.items() if p.poll() is not None] or not running, 60, "containers end")
                for i in done if done is not True else ():
                    out, err = running.pop(i).communicate()
                    assert err == b"", f"expected container {i} to run, saw {err}"
                    ids[i] = out.decode().strip()
            if n is not None:
                running[n] = subprocess.Popen(["docker", "--host", docker.host, "run", "--rm", "--net=none", "--name", f"s{tag}-{n}", *labels(), "--label", f"n={n}",
                                               BASE_IMAGE, "sh", "-c", f"/bin/true short-{tag}-{n}; sleep 0.05"],
                                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=docker_env.system_env())
    finally:
        for p in running.values():
            p.kill()
            p.wait()

    def mine(events):
        return [e for e in events if e["type"] == "exec" and e.get("proc.args", [""])[-1].startswith(f"short-{tag}-")]
    events = sensor.wait_events(lambda evs: len(mine(evs)) >= count, 30, f"{count} execs", type="exec")
    seen = {}
    for e in mine(events):
        n = e["proc.args"][-1].rsplit("-", 1)[1]
        assert n not in seen, f"expected one exec of container {n}, saw two"
        seen[n] = e
        expect_container(e, e.get("container.id"), f"s{tag}-{n}")
        assert len(e["container.id"]) == 64
        assert e["container.labels"].items() >= {**LABELS, "n": n}.items(), f"expected the labels of container {n}, saw {e['container.labels']}"
    assert len({e["container.id"] for e in seen.values()}) == count
    # the other programs of those containers too: sh and sleep
    ids = {e["container.id"] for e in seen.values()}
    others = [e for e in events if e.get("container.id") in ids]
    names = {e["proc.exe"] for e in others if not e.get("container.name")}
    assert len(others) >= 3 * count and not names, f"expected {3 * count} attributed execs, saw {len(others)}, nameless {names}"


def test_docker_exec_belongs_to_its_container(sensor, docker, start):
    cid, name = start()
    docker.docker("exec", name, "/bin/true", "by-exec")
    event = wait_exec(sensor, "/bin/true", "by-exec")[0]
    expect_container(event, cid, name)
    assert "origin.id" not in event
    said = sensor.wait_events(lambda evs: {"exec_create", "exec_start", "exec_die"} <= {e["action"].split(":")[0] for e in of(evs, actor=cid)}, 15,
                              "exec_create, exec_start and exec_die", type="container")
    start_event = [e for e in of(said, actor=cid) if e["action"].startswith("exec_start")][0]
    assert "by-exec" in json.dumps(start_event["attributes"]), f"expected the command in the runtime's event, saw {start_event['attributes']}"


def test_hostile_labels_and_arguments_come_out_whole(sensor, docker):
    name = f"bh-{secrets.token_hex(4)}"
    value = 'la"bel\nwith\x1b[31m colour é'
    docker.run("--rm", "--name", name, "--label", f"x={value}", BASE_IMAGE, "/bin/true", value)
    event = wait_exec(sensor, "/bin/true", value)[0]
    assert event["container.name"] == name and event["container.labels"]["x"] == value, f"expected {value!r}, saw {event['container.labels']}"


# ---- what the runtime says ----

def test_life_of_a_container_is_told_in_order_recorded_and_streamed(sensor, docker, start):
    follow = sensor.events(follow=True, type="container")
    cid, name = start(options=labels())
    docker.docker("pause", cid)
    docker.docker("unpause", cid)
    docker.docker("rename", cid, name + "-renamed")
    docker.docker("restart", "-t", "0", cid)
    docker.docker("kill", "--signal", "KILL", cid)
    docker.docker("wait", cid)
    docker.docker("rm", cid)
    expected = ["create", "start", "pause", "unpause", "rename", "kill", "die", "start", "restart", "kill", "die", "destroy"]

    def actions(events):
        out = [e["action"] for e in events if e.get("actor") == cid and e["action"] in set(expected)]
        return [a for i, a in enumerate(out) if not (a == "kill" and out[i - 1:i] == ["kill"])]  # a restart may ask twice, first kindly
    recorded = sensor.wait_events(lambda evs: "destroy" in actions(evs), 15, f"{name} is destroyed", type="container")
    seen = actions(recorded)
    assert seen == expected, f"expected {expected}, saw {seen}"
    streamed = follow.wait(lambda e: e.get("actor") == cid and e["action"] == "destroy", 10, "the end of the stream")
    assert streamed and actions(follow.snapshot()) == expected, f"expected the same in the stream, saw {actions(follow.snapshot())}"
    for e in of(recorded, actor=cid):
        assert e["container.id"] == cid and e["container.image"] == BASE_IMAGE and e["source"] == "runtime", f"expected container fields, saw {json.dumps(e)[:800]}"
    names = [e["container.name"] for e in of(recorded, actor=cid)]
    assert names[0] == name and names[-1] == name + "-renamed", f"expected the name to change on the way, saw {names}"
    death = [e for e in of(recorded, actor=cid) if e["action"] == "die"][-1]
    assert death["attributes"]["exit_code"] == "137", f"expected the status of a killed container, saw {death['attributes']}"


def test_new_name_is_on_the_events_that_follow(sensor, docker, start):
    cid, name = start("sh", "-c", "while :; do sleep 0.1; /bin/true renamed; done")
    wait_exec(sensor, "/bin/true", "renamed")
    docker.docker("rename", cid, name + "-b")
    sensor.wait_events(lambda evs: any(e.get("container.name") == name + "-b" for e in execs_of(evs, "/bin/true", "renamed")), 15, "execs with the new name", type="exec")


def test_out_of_memory_kill_is_told(sensor, docker, start):
    cid, name = start("sh", "-c", "dd if=/dev/zero of=/dev/null bs=200M count=1", options=("--memory=20m", "--memory-swap=20m"))
    docker.docker("wait", cid)
    if not docker.inspect(cid)["State"]["OOMKilled"]:
        pytest.skip("this kernel or engine does not bound a container's memory")
    events = sensor.wait_events(lambda evs: "oom" in {e["action"] for e in of(evs, actor=cid)}, 15, "oom", type="container")
    assert of(events, actor=cid, action="oom")[0]["container.name"] == name


# ---- engines that come and go ----

@pytest.fixture
def own_docker(build):
    with docker_env.DockerEnv(keep_logs=os.environ.get("BH_TEST_LOGS")) as env:
        env.import_base_image(build)
        yield env


def actions_of(sensor, *actions):
    return lambda: (lambda seen: (all(a in seen for a in actions), seen))([e.get("action") for e in sensor.events(type="sensor")])


@pytest.mark.deadline(240)
def test_engine_that_dies_and_returns_is_said_and_events_go_on(build, own_docker):
    cid = own_docker.run("-d", "--name", "stays", BASE_IMAGE, "sleep", "1000")
    init = own_docker.inspect(cid)["State"]["Pid"]
    with sensor_env.Sensor(build, docker_host=own_docker.host) as sensor:
        own_docker._dockerd.kill()  # not in order: its containers stay
        own_docker._dockerd.wait()
        wait_for(actions_of(sensor, "runtime_lost"), 15, "the sensor says that the engine is lost")
        assert os.path.exists(f"/proc/{init}"), "expected the container to survive its engine"
        enter(init, "/bin/true", "without-engine")
        event = wait_exec(sensor, "/bin/true", "without-engine")[0]
        expect_container(event, cid, "stays")  # known from before
        # one that nobody describes: told by its cgroup
        orphan = made_up_container()
        try:
            run_in(orphan, "/bin/true", "by-cgroup-alone")
            event = wait_exec(sensor, "/bin/true", "by-cgroup-alone")[0]
            assert event["container.id"] == orphan.name and "container.name" not in event or not event["container.name"], f"expected the id alone, saw {json.dumps(event)[:800]}"
            assert "no_metadata" not in event.get("flags", ()), "no runtime was there to wait for"
        finally:
            remove(orphan)
        os.unlink(own_docker.dir / "docker.pid")
        own_docker.start_daemon()
        # it was connected before too, so the state is what tells
        wait_for(lambda: (lambda d: (d["state"] == "connected", d))(sensor.status()["runtimes"]["docker"]), 20, "the sensor says that the engine is back")
        # live-restore is off: the engine may have ended what it found. A new container is known.
        own_docker.run("--rm", "--name", "after", BASE_IMAGE, "/bin/true", "after-return")
        expect_container(wait_exec(sensor, "/bin/true", "after-return")[0], wait_exec(sensor, "/bin/true", "after-return")[0]["container.id"], "after")


def test_machine_without_an_engine_tells_containers_by_their_cgroup(build):
    with sensor_env.Sensor(build, args=["--no-docker"]) as sensor:
        box = made_up_container()
        try:
            run_in(box, "/bin/true", "no-engine")
            event = wait_exec(sensor, "/bin/true", "no-engine")[0]
            assert event["container.id"] == box.name, f"expected the id from the cgroup, saw {json.dumps(event)[:800]}"
            assert "no_metadata" not in event.get("flags", ())
        finally:
            remove(box)


def test_events_of_a_container_that_no_runtime_knows_wait_and_are_released_marked(sensor):
    box = made_up_container()
    try:
        before = time.monotonic()
        run_in(box, "/bin/true", "unknown")
        event = wait_exec(sensor, "/bin/true", "unknown")[0]
        assert event["container.id"] == box.name and "no_metadata" in event["flags"], f"expected it marked, saw {json.dumps(event)[:800]}"
        assert time.monotonic() - before < 10 * docker_env.patience(), "expected a bounded wait"
        run_in(box, "/bin/true", "unknown-again")
        assert "no_metadata" in wait_exec(sensor, "/bin/true", "unknown-again")[0]["flags"]
    finally:
        remove(box)


# ---- made by hand: runc, cgroups, namespaces ----

def made_up_container(parent="docker"):
    """A cgroup named as Docker names a container's."""
    path = hierarchy() / parent / secrets.token_hex(32)
    path.mkdir(parents=True)
    return path


def run_in(cgroup, *argv):
    r = subprocess.run(argv, preexec_fn=lambda: (cgroup / "cgroup.procs").write_text("0"), stdin=subprocess.DEVNULL)
    assert r.returncode == 0, f"expected {argv} to succeed, saw {r.returncode}"


def remove(cgroup):
    def gone():
        for root, _, _ in os.walk(cgroup, topdown=False):
            try:
                os.rmdir(root)
            except OSError as e:
                return False, str(e)
        return True, None
    wait_for(gone, 10, f"{cgroup} can be removed")


def enter(pid, *argv):
    """Runs argv inside the container of that process, cgroup included, without the runtime's help."""
    procs = [hierarchy() / line.split(":", 2)[2].strip("/\n") / "cgroup.procs" for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()
             if hierarchy().name in line.split(":")[1].split(",") or (hierarchy().name == "cgroup" and line.startswith("0:"))]
    assert procs, f"expected a cgroup of process {pid} in {hierarchy()}"

    def move():
        procs[0].write_text("0")
    subprocess.run(["nsenter", "-t", str(pid), "-m", "-p", "-n", "-u", "-i", *argv], check=True, preexec_fn=move, env=docker_env.system_env())


@pytest.fixture
def bundle(tmp_path):
    """An OCI bundle of the base image's files; gives its directory and a function that starts it with runc."""
    root = tmp_path / "rootfs"
    root.mkdir()
    with tarfile.open(fileobj=__import__("io").BytesIO(docker_env.make_base_image_tar())) as tar:
        tar.extractall(root)
    subprocess.run(["runc", "spec"], cwd=tmp_path, check=True, env=docker_env.system_env())
    state = tmp_path / "state"

    def run(cid, *argv):
        config = json.loads((tmp_path / "config.json").read_text())
        config["process"].update(terminal=False, args=list(argv), env=["PATH=/bin"])
        config["linux"]["cgroupsPath"] = f"/bh-runc/{cid}"
        (tmp_path / "config.json").write_text(json.dumps(config))
        return subprocess.run(["runc", "--root", str(state), "run", "--bundle", str(tmp_path), cid], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              env=docker_env.system_env(), timeout=30)
    yield run
    for base in list(pathlib.Path("/sys/fs/cgroup").glob("*/bh-runc")) + [pathlib.Path("/sys/fs/cgroup/bh-runc")]:
        if base.exists():
            remove(base)


def test_plain_runc_container_is_a_container(sensor, bundle):
    cid = secrets.token_hex(32)
    r = bundle(cid, "/bin/true", "plain-runc")
    assert r.returncode == 0, f"expected runc to run it, saw {r.stderr}"
    event = wait_exec(sensor, "/bin/true", "plain-runc")[0]
    assert event.get("container.id") == cid, f"expected the id that runc was given, saw {json.dumps(event)[:800]}"


def test_namespaces_made_inside_stay_in_the_container(sensor, docker, start):
    cid, name = start("sh", "-c", "unshare -m -p -f /bin/sh -c '/bin/true nested; /bin/true nested'; sleep 100", options=("--cap-add=SYS_ADMIN", "--security-opt", "seccomp=unconfined"))
    events = wait_exec(sensor, "/bin/true", "nested", count=2)
    init = [e for e in sensor.events(type="exec", container=name) if e["proc.args"][:2] == ["sh", "-c"]][0]
    for e in events:
        expect_container(e, cid, name)
        assert e["ns.pid"] != init["ns.pid"] and e["ns.mnt"] != init["ns.mnt"], "expected namespaces of its own"
        assert e["proc.vpid"] <= 4, f"expected a small process id in the new namespace, saw {e['proc.vpid']}"
        assert "origin.id" not in e


def test_user_namespace_made_inside_stays_in_the_container(sensor, docker, start):
    cid, name = start("sh", "-c", "unshare -U -r -m -p -f /bin/true in-user-ns; sleep 100", options=("--security-opt", "seccomp=unconfined"))
    event = wait_exec(sensor, "/bin/true", "in-user-ns")[0]
    expect_container(event, cid, name)
    assert event["ns.user"] != os.stat("/proc/self/ns/user").st_ino, "expected a user namespace of its own"


def test_cgroup_made_below_a_container_belongs_to_it(sensor, docker, start):
    """As Docker in Docker nests them: the inner container's cgroup lies below the outer's."""
    cid, name = start()
    below = hierarchy() / pathlib.Path(cgroup_of(docker.inspect(cid)["State"]["Pid"])).relative_to("/") / "own-group"
    below.mkdir()
    try:
        run_in(below, "/bin/true", "in-sub-group")
        expect_container(wait_exec(sensor, "/bin/true", "in-sub-group")[0], cid, name)
        inner = below / "docker" / secrets.token_hex(32)
        inner.mkdir(parents=True)
        run_in(inner, "/bin/true", "in-inner")
        event = wait_exec(sensor, "/bin/true", "in-inner")[0]
        assert event.get("container.id") in (cid, inner.name), f"expected the inner or the outer container, saw {json.dumps(event)[:800]}"
    finally:
        remove(below)


def cgroup_of(pid):
    lines = [line.split(":", 2) for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    name = hierarchy().name
    return next(path for _, controllers, path in lines if name in controllers.split(",") or (name == "cgroup" and controllers == ""))


# ---- origin ----

def expect_origin(event, cid, name):
    seen = {k: event.get(k) for k in ("container.id", "origin.id", "origin.name", "origin.image")}
    assert seen == {"container.id": None, "origin.id": cid, "origin.name": name, "origin.image": BASE_IMAGE}, f"expected the origin {name}, saw {seen} on {json.dumps(event)[:1200]}"
    assert "host_from_container" in event["flags"], f"expected the flag host_from_container, saw {event.get('flags')}"


def test_process_moved_out_of_its_container_keeps_its_origin(sensor, docker, start):
    """From the host side: echo PID > cgroup.procs. Its children and their children come from the container too."""
    cid, name = start("sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; /bin/true left; sh -c '(/bin/true grandchild) & wait; exit 0'; sleep 100")
    init = docker.inspect(cid)["State"]["Pid"]
    wait_for(lambda: any("/tmp/go" in " ".join(e["proc.args"]) for e in sensor.events(type="exec", container=name)), 15, "the shell's exec is seen")
    (hierarchy() / "cgroup.procs").write_text(str(init))
    subprocess.run(["touch", f"/proc/{init}/root/tmp/go"], check=True)
    for argument in ("left", "grandchild"):
        expect_origin(wait_exec(sensor, "/bin/true", argument)[0], cid, name)


def test_process_that_enters_the_host_keeps_its_origin(sensor, docker, start):
    """With the host's pid namespace and CAP_SYS_ADMIN: into the host's namespaces by nsenter, out of the cgroup by a mount of its own."""
    host = subprocess.Popen(["sleep", "1000"], preexec_fn=docker_env.die_with_parent)
    place = f"/run/bh-escape-{os.getpid()}"
    mount = "cgroup2" if hierarchy() == pathlib.Path("/sys/fs/cgroup") else "cgroup -o " + hierarchy().name
    script = (f"nsenter -t {host.pid} -m -n -u -i /bin/sh -c 'mkdir -p {place} && mount -t {mount} none {place} && echo $$ > {place}/cgroup.procs; "
              f"/bin/true on-host; (( /bin/true double-fork & ) & ) ; sleep 0.5; umount {place}; rmdir {place}'; sleep 100")
    cid, name = start("sh", "-c", script, options=("--pid=host", "--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "--cap-add=SYS_CHROOT", "--security-opt", "seccomp=unconfined"))
    try:
        events = sensor.wait_events(lambda evs: execs_of(evs, "/bin/true", "on-host") and execs_of(evs, "/bin/true", "double-fork"), 20, "execs on the host", type="exec")
    except AssertionError as e:
        raise AssertionError(f"{e}\ncontainer: {docker.docker('logs', cid).stderr}") from None
    finally:
        host.kill()
        host.wait()
        if os.path.ismount(place):  # the container was ended before it could
            subprocess.run(["umount", place], check=True)
        if os.path.isdir(place):
            os.rmdir(place)
    for argument in ("on-host", "double-fork"):
        event = execs_of(events, "/bin/true", argument)[0]
        expect_origin(event, cid, name)
        assert event["ns.mnt"] == os.stat("/proc/self/ns/mnt").st_ino, "expected it in the host's mount namespace"
    setns = [e for e in sensor.events(type="setns") if e.get("container.id") == cid]
    assert setns, "expected the setns calls of nsenter as events of the container"


def test_exec_from_a_thread_that_is_not_the_leader(sensor, docker, start):
    cid, name = start("/acts", "exec.thread")
    events = sensor.wait_events(lambda evs: [e for e in evs if e.get("container.id") == cid and e["proc.args"][:2] == ["acts", "true"]], 15, "the exec of a thread", type="exec")
    event = [e for e in events if e.get("container.id") == cid and e["proc.args"][:2] == ["acts", "true"]][0]
    expect_container(event, cid, name)
    act = json.loads(docker.docker("logs", cid).stdout.splitlines()[0])
    assert event["proc.vpid"] == act["pid"] and event["proc.tid"] == event["proc.pid"], "expected the thread to have become the leader"
    said = [e for e in sensor.events(container=name) if e["type"] in ("exec", "exit", "fork") and e.get("proc.pid") == event["proc.pid"]]
    assert [e["type"] for e in said][-2:] == ["exec", "exit"], f"expected one exec and one exit, saw {[e['type'] for e in said]}"


def test_process_id_used_twice_is_two_processes(sensor, docker, start):
    cid, name = start("/acts", "pidreuse", options=("--cap-add=SYS_ADMIN", "--security-opt", "seccomp=unconfined"))
    docker.docker("wait", cid)
    lines = [json.loads(line) for line in docker.docker("logs", cid).stdout.splitlines()]
    done = [a for a in lines if a["supported"]]
    if len(done) < 2:
        pytest.skip(f"no process id can be used again here: {lines[-1].get('why')}")
    first, second = (wait_exec(sensor, *a["argv"])[0] for a in done[-2:])
    for e in (first, second):
        expect_container(e, cid, name)
    assert done[-1]["pid"] == done[-2]["pid"], "expected the act to use one process id twice"
    assert first["proc.pid"] != second["proc.pid"] or first["proc.start"] < second["proc.start"] or first["time"] < second["time"]
    exits = [e for e in sensor.events(type="exit", container=name) if e["proc.pid"] in (first["proc.pid"], second["proc.pid"])]
    assert {tuple(e["proc.args"]) for e in exits} == {tuple(a["argv"]) for a in done[-2:]}, f"expected each exit with its own arguments, saw {[e['proc.args'] for e in exits]}"


# ---- the sensor in a container ----

def libraries(*programs):
    """Shared libraries that the programs need, by ldd."""
    out = set()
    for p in programs:
        for line in subprocess.run(["ldd", p], capture_output=True, text=True, check=True).stdout.splitlines():
            words = line.replace("=>", " ").split()
            out |= {w for w in words if w.startswith("/")}
    return sorted(out)


@pytest.mark.deadline(240)
def test_sensor_in_a_container_sees_the_others(build, docker, tmp_path):
    programs = [sensor_env.program(build, "bulkhead-sensor"), sensor_env.program(build, "bulkhead")]
    image = docker_env.make_base_image_tar([("usr/bin/bulkhead-sensor", programs[0]), ("usr/bin/bulkhead", programs[1]),
                                            *((p, p) for p in libraries(*programs))])
    docker.docker("import", "--change", "ENV PATH=/usr/bin:/bin", "-", "bh-test/sensor:1", input=image, text=False)
    caps = ["SYS_ADMIN", "SYS_PTRACE", "SYS_RESOURCE", "DAC_READ_SEARCH", "NET_ADMIN", "IPC_LOCK"]
    have = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapBnd:")), 16)
    numbers = {"SYS_ADMIN": 21, "SYS_PTRACE": 19, "SYS_RESOURCE": 24, "DAC_READ_SEARCH": 2, "NET_ADMIN": 12, "IPC_LOCK": 14}
    cid = docker.run("-d", "--name", "sensor-inside", "--pid=host", "--cgroupns=host", "--net=none", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
                     *(f"--cap-add={c}" for c in caps if have >> numbers[c] & 1), "-v", "/:/host:ro", "-v", "/sys/kernel/btf:/sys/kernel/btf:ro",
                     "-v", f"{docker.dir}/docker.sock:/docker.sock", "--tmpfs", "/run/bulkhead:rw,mode=700", "--tmpfs", "/var/lib/bulkhead:rw,mode=700",
                     "bh-test/sensor:1", "bulkhead-sensor", "--host-root", "/host", "--docker", "/docker.sock")
    try:
        def ready():
            r = docker.docker("exec", cid, "bulkhead", "status", "--json", check=False)
            if r.returncode:
                return False, r.stderr + docker.docker("logs", cid).stderr[-1500:]
            return json.loads(r.stdout).get("ready") is True, r.stdout[:500]
        wait_for(ready, 40, "the sensor in the container is ready", every=0.3)
        docker.run("--rm", "--name", "seen-from-inside", *labels(), BASE_IMAGE, "/bin/true", "seen-from-inside")

        def seen():
            out = docker.docker("exec", cid, "bulkhead", "events", "--json", "--type", "exec").stdout
            return execs_of([json.loads(line) for line in out.splitlines()], "/bin/true", "seen-from-inside")
        event = wait_for(seen, 15, "the exec of the other container")[0]
        expect_container(event, event.get("container.id"), "seen-from-inside")
        assert event["container.labels"].items() >= LABELS.items()
    finally:
        logs = docker.docker("logs", cid, check=False)
        docker.docker("stop", "-t", "10", cid, check=False)
        status = docker.inspect(cid)["State"]["ExitCode"]
        docker.remove(cid)
    assert status == 0, f"expected it to stop in order, saw status {status}: {logs.stderr[-1500:]}"
