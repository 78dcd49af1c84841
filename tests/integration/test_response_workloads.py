"""Single processes and trees of them are killed by order, and services of Compose and of a Swarm are scaled to zero and back."""
import contextlib
import json
import os
import pathlib
import signal

import central_env
import pytest
from docker_env import BASE_IMAGE, patience, wait_for
from test_resources import one
from test_resources_nodes import NamedSensor, joined
from test_response import PYTHON, becomes, box, release, respond  # noqa: F401 (box is a fixture)


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--no-web") as s:
        yield s


def alive(*args):
    """Processes of the machine with these last arguments, by pid."""
    found = []
    for p in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if p.name.isdigit() and tuple((p / "cmdline").read_bytes().decode(errors="replace").split("\0")[1:-1]) == args and ") Z " not in (p / "stat").read_text():
                found.append(int(p.name))
    return sorted(found)


class Family:
    """A root, a child of it, a grandchild that forked twice, began a session and left its control group, and a process beside them, in a container."""

    def __init__(self, a):
        self.name = a.name
        (a.dir / "leaf").write_text("while :; do sleep 0.1; done\n")
        (a.dir / "away").write_text("for g in /cg/cgroup.procs /cg/*/cgroup.procs; do [ ! -e $g ] || echo $$ >$g; done 2>/dev/null\nwhile :; do sleep 0.1; done\n")
        (a.dir / "root").write_text(f"sh /ctl/leaf child {a.name} &\n(setsid sh -c 'sh /ctl/away far {a.name} & exit' &)\nwhile :; do sleep 0.1; done\n")
        a.run(f"sh /ctl/leaf beside {a.name} & sh /ctl/root {a.name} & true")
        for who in ("root", "child", "far", "beside"):
            wait_for(lambda who=who: (len(self.of(who)) == 1, self.of(who)), 20, f"the process {who}")

    def of(self, who):
        return alive("/ctl/root", self.name) if who == "root" else alive("/ctl/away" if who == "far" else "/ctl/leaf", who, self.name)

    def there(self):
        return {who for who in ("root", "child", "far", "beside") if self.of(who)}


def told(central, name, pid):
    """What the list of processes says of it: the name by which it is killed."""
    def look():
        found = [p for p in central.root().get(f"/api/v1/processes?container={name}").json["processes"] if p["pid"] == pid]
        return len(found) == 1, found
    return wait_for(look, 20, f"process {pid} in the list")[0]


@pytest.fixture
def family(box):
    a = box("family", "--pid=host", "--security-opt", "apparmor=unconfined", "-v", "/sys/fs/cgroup:/cg")
    f = Family(a)
    yield f
    for who in ("root", "child", "far", "beside"):
        for pid in f.of(who):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_one_process_is_killed_and_no_other(central, sensor, docker, box, family):
    other, guarded = box("elsewhere"), box("guarded", "--label", "bulkhead.protected=true")
    guarded.run("sleep 1000 & true")
    p = told(central, family.name, family.of("root")[0])
    this = {"pid": p["pid"], "started": p["started"]}
    for wrong, code in (({"pid": p["pid"], "confirm": family.name}, "bad_process"), ({**this}, "not_confirmed"), ({**this, "confirm": other.name}, "not_confirmed"),
                        ({**this, "pid": 1, "confirm": family.name}, "bad_process"), ({**this, "started": "yesterday", "confirm": family.name}, "bad_process")):
        answer = respond(central, "kill-process", family.name, **wrong)
        assert answer.status == 400 and answer.json["error"]["code"] == code, (wrong, answer.json)
    assert respond(central, "kill", family.name, confirm=family.name, **this).json["error"]["code"] == "bad_process"
    later = p["started"][:-4] + "001Z"
    for target, process in ((family.name, {**this, "started": later}), (other.name, this)):
        refused = respond(central, "kill-process", target, confirm=target, **process).json
        assert refused["state"] == "failed" and "no such process" in refused["result"], refused
    g = next(g for g in central.root().get(f"/api/v1/processes?container={guarded.name}").json["processes"] if g["comm"] == "sleep")
    refused = respond(central, "kill-process", guarded.name, confirm=guarded.name, pid=g["pid"], started=g["started"]).json
    assert refused["state"] == "failed" and "protected" in refused["result"], refused
    tried = respond(central, "kill-process", family.name, pid=p["pid"], dry_run=True).json
    assert tried["state"] == "dry_run" and [q["started"] for q in tried["detail"]["process_list"]] == [p["started"]], tried
    # its runtime's process, from which all of it descends, is none of it
    init = next(int(line.split()[1]) for line in pathlib.Path(f"/proc/{docker.inspect(family.name)['State']['Pid']}/status").read_text().splitlines() if line.startswith("PPid:"))
    refused = respond(central, "kill-tree", family.name, pid=init, dry_run=True).json
    assert refused["state"] == "failed" and "no such process" in refused["result"], refused
    assert family.there() == {"root", "child", "far", "beside"}

    answer = respond(central, "kill-process", family.name, confirm=family.name, reason="it beacons", **this)
    assert answer.status == 200 and answer.json["state"] == "done" and answer.json["detail"]["processes"] == 1, answer.json
    assert family.there() == {"child", "far", "beside"}
    r = answer.json
    row = central.root().get(f"/api/v1/responses/{r['id']}").json
    assert row["subject"] == f"{p['pid']}@{p['started']}" and row["reason"] == "it beacons", row
    assert central.root().post(f"/api/v1/responses/{r['id']}/release", {}).status == 409
    audit = [x["detail"] for x in central.root().get("/api/v1/audit?search=" + r["id"]).json["audit"]]
    assert any(str(p["pid"]) in d for d in audit), audit
    again = respond(central, "kill-process", family.name, confirm=family.name, **this).json
    assert again["state"] == "failed" and "ended already" in again["result"], again

    # its root is gone, and the tree is still named by it
    answer = respond(central, "kill-tree", family.name, confirm=family.name, **this)
    assert answer.json["state"] == "done" and answer.json["detail"]["processes"] >= 2 and family.there() == {"beside"}, (answer.json, family.there())


def test_a_tree_is_killed_with_who_escaped_by_a_command(central, sensor, family):
    def cli(*args, status=0):
        r = central.cli(*args, status=status)
        return r.stdout + r.stderr
    pid = family.of("root")[0]
    p = told(central, family.name, pid)
    far = family.of("far")[0]
    assert f"docker/{central.root().get(f'/api/v1/containers/{family.name}').json['id']}" not in pathlib.Path(f"/proc/{far}/cgroup").read_text(), "expected it to have left: else this proves nothing"
    shown = cli("respond", "kill-tree", family.name, "--pid", str(pid), "--dry-run")
    assert f"process {pid} started {p['started']}" in shown and f"process {far} " in shown, shown
    assert "started" in cli("respond", "kill-tree", family.name, "--pid", str(pid), "--confirm", family.name, status=1)
    assert family.there() == {"root", "child", "far", "beside"}
    assert "done" in cli("respond", "kill-tree", family.name, "--pid", str(pid), "--started", p["started"], "--confirm", family.name, "--reason", "by hand")
    assert family.there() == {"beside"}
    row = json.loads(cli("responses", "--json", "--container", family.name).splitlines()[0])
    assert row["action"] == "kill-tree" and row["subject"].startswith(f"{pid}@"), row


def test_who_forks_and_ends_again_and_again_does_not_get_away(central, sensor, box):
    """Each lives for a moment; all descend from the first, which ended long ago."""
    a = box("comet", *PYTHON)
    (a.dir / "comet").write_text("import os\nimport time\nif os.fork():\n    time.sleep(1000)\nfd = os.open('/ctl/flies', os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
                                 "while True:\n    os.write(fd, b'x')\n    if os.fork():\n        os._exit(0)\n")
    a.run(f"/usr/bin/python3 /ctl/comet {a.name} & true")
    # the first, which does not end: all the others come and go
    first = wait_for(lambda: (lambda found: (found[:1], found))(alive("/ctl/comet", a.name)), 20, "the first")[0]
    p = told(central, a.name, first)

    def size():
        return (a.dir / "flies").stat().st_size
    wait_for(lambda: ((a.dir / "flies").exists() and size() > 500, True), 20, "it forks")
    answer = respond(central, "kill-tree", a.name, confirm=a.name, pid=p["pid"], started=p["started"])
    assert answer.json["state"] == "done", answer.json
    before = size()
    a.run("for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.1; done")
    assert size() == before, "expected nobody of the tree to go on, and the container not to be frozen"


def compose(project, service):
    return ("--stop-timeout", "1", "--label", f"com.docker.compose.project={project}", "--label", f"com.docker.compose.service={service}")


def running(docker, *boxes):
    return [docker.inspect(b.name)["State"]["Running"] for b in boxes]


def test_a_service_of_compose_is_scaled_to_zero_and_back(central, sensor, docker, box):
    project = f"p{docker.tag}"
    a, b, db, lone = box("a", *compose(project, "web")), box("b", *compose(project, "web")), box("db", *compose(project, "db")), box("lone")
    wait_for(lambda: (lambda w: (w == "web", w))(central.root().get(f"/api/v1/containers/{a.id}").json["workload"]), 10, "its workload")
    for target, more, status, code in ((lone.name, {"confirm": "x"}, 400, "not_scalable"), (a.name, {}, 400, "not_confirmed"), (a.name, {"confirm": a.name}, 400, "not_confirmed"),
                                       (a.name, {"confirm": "web"}, 409, "blast_radius"), (lone.name, {"project": True}, 400, "not_scalable")):
        answer = respond(central, "scale-to-zero", target, **more)
        assert answer.status == status and answer.json["error"]["code"] == code, (target, more, answer.json)
    tried = respond(central, "scale-to-zero", a.name, dry_run=True, force=True).json
    assert tried["state"] == "dry_run" and "2 containers" in tried["result"], tried
    assert running(docker, a, b, db) == [True] * 3

    answer = respond(central, "scale-to-zero", a.name, confirm="web", force=True, reason="leaks")
    assert answer.status == 200 and answer.json["state"] == "active" and sorted(answer.json["detail"]["stopped"]) == sorted([a.id, b.id]), answer.json
    r = answer.json
    assert r["subject"] == f"compose:{project}/web" and running(docker, a, b, db) == [False, False, True]
    sensor.kill()
    sensor.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")
    assert sensor.status()["responses"]["held"] == 1
    docker.docker("rm", "-f", "-v", b.name)
    # by force: no less is tried
    answer = central.root().post(f"/api/v1/responses/{r['id']}/release", {"force": True})
    assert answer.status == 200 and answer.json["state"] == "released", answer.json
    assert running(docker, a, db) == [True, True]
    row = central.root().get(f"/api/v1/responses/{r['id']}").json
    assert "1 of 2" in row["result"], row

    # the whole project, until its time is over
    ttl = round(10 * patience())
    answer = respond(central, "scale-to-zero", db.name, confirm=project, project=True, force=True, ttl=ttl)
    assert answer.json["state"] == "active", answer.json
    row = becomes(central, answer.json, "released")
    assert "its time was over" in row["result"] and "2 of 2" in row["result"], row
    assert running(docker, a, db) == [True, True]

    # one that is protected protects them all
    guarded = box("guarded", *compose(project, "web"), "--label", "bulkhead.protected=true")
    answer = respond(central, "scale-to-zero", a.name, confirm="web", force=True)
    assert answer.status == 409 and answer.json["error"]["code"] == "protected" and running(docker, a, guarded) == [True, True], answer.json


@pytest.mark.deadline(400)
def test_a_service_of_a_swarm_is_scaled_by_its_manager(build):
    with joined(lambda engine: engine.import_base_image(build)) as (manager, worker), central_env.Central(build) as central:
        bus = ["--bus", f"unix:{central.run_dir}/central/bus.sock", "--no-containerd", "--no-default-rules", "--no-web"]
        admin = central.root()

        def replicas(name="web"):
            return json.loads(manager.docker("service", "inspect", name).stdout)[0]["Spec"]["Mode"]["Replicated"]["Replicas"]

        def tasks():
            return [e.docker("ps", "-q", "--filter", "label=com.docker.swarm.service.name=web").stdout.split() for e in (manager, worker)]

        def task_of(name):
            """(container, node) of a running task. Both sensors see all control groups of this machine, so that the node has to be said."""
            for engine, node in ((worker, "two"), (manager, "one"))[:sensors]:
                for found in engine.docker("ps", "-q", "--no-trunc", "--filter", f"label=com.docker.swarm.service.name={name}").stdout.split():
                    c = admin.get(f"/api/v1/containers/{found}?node={node}")
                    if c.status == 200 and c.json["level"] == "full" and c.json["state"] == "running" and c.json["workload"] == name:
                        return found, node
            return None

        def scaled(name="web", **more):
            target, node = wait_for(lambda: (lambda t: (t, t))(task_of(name)), 60, f"a task of {name}")
            return respond(central, "scale-to-zero", target, node=node, **more)
        sensors = 1
        manager.docker("service", "create", "--detach", "--no-resolve-image", "--name", "web", "--replicas", "3", "--stop-grace-period", "1s", "--endpoint-mode", "dnsrr", "--label", "kept=yes", BASE_IMAGE, "sleep", "1000")
        manager.docker("service", "create", "--detach", "--no-resolve-image", "--name", "all", "--mode", "global", "--endpoint-mode", "dnsrr", BASE_IMAGE, "sleep", "1000")
        try:
            wait_for(lambda: (lambda t: (sum(map(len, t)) == 3 and t[1], t))(tasks()), 60, "three tasks, at the worker too")
            with NamedSensor("two", build, docker_host=worker.host, args=bus):
                answer = scaled(confirm="web", force=True)
                assert answer.status == 409 and answer.json["error"]["code"] == "no_manager" and "manager" in answer.json["error"]["message"], answer.json
                assert replicas() == 3
                with NamedSensor("one", build, docker_host=manager.host, args=bus):
                    sensors = 2
                    one(admin, 60, kind="service", search="web")
                    refused = scaled(confirm="web")
                    assert refused.status == 409 and refused.json["error"]["code"] == "blast_radius", refused.json
                    tried = scaled(dry_run=True, force=True).json
                    assert tried["state"] == "dry_run" and tried["node"] == "one" and "from 3 replicas" in tried["result"] and replicas() == 3, tried
                    answer = scaled(confirm="web", force=True)
                    assert answer.json["state"] == "active" and answer.json["detail"]["replicas"] == 3 and replicas() == 0, answer.json
                    wait_for(lambda: (not any(tasks()), tasks()), 60, "no task runs")
                    release(central, answer.json)
                    assert replicas() == 3 and json.loads(manager.docker("service", "inspect", "web").stdout)[0]["Spec"]["Labels"] == {"kept": "yes"}
                    wait_for(lambda: (sum(map(len, tasks())) == 3, tasks()), 60, "three tasks run again")

                    # whoever scales it up meanwhile keeps what they want
                    answer = scaled(confirm="web", force=True)
                    assert answer.json["state"] == "active", answer.json
                    manager.docker("service", "scale", "--detach", "web=1")
                    release(central, answer.json)
                    row = admin.get(f"/api/v1/responses/{answer.json['id']}").json
                    assert replicas() == 1 and "somebody scaled it to 1" in row["result"], row

                    refused = scaled("all", confirm="all", force=True).json
                    assert refused["state"] == "failed" and "global" in refused["result"], refused
                    manager.docker("service", "update", "--detach", "--no-resolve-image", "--label-add", "bulkhead.protected=true", "web")
                    refused = scaled(confirm="web", force=True).json
                    assert refused["state"] == "failed" and "protected" in refused["result"] and replicas() == 1, refused
        finally:
            manager.docker("service", "rm", "web", "all", check=False)
            wait_for(lambda: (not any(tasks()), tasks()), 60, "no task is left")
