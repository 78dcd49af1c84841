"""What the sensor tells a real central over the bus, and how it answers its questions."""
import os
import secrets
import signal
import time

import central_env
import pytest
import sensor_env
from boxes import Box
from docker_env import BASE_IMAGE, patience, wait_for


@pytest.fixture(scope="module")
def central():
    with central_env.Central() as c:
        yield c


@pytest.fixture(scope="module")
def sensor(request, build, docker, central):
    """One sensor for this module, on that central's bus."""
    with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend"), args=bus_of(central)) as s:
        s.central = central
        yield s


def bus_of(central):
    return ["--bus", f"unix:{central.run_dir}/central/bus.sock"]


@pytest.fixture(scope="module")
def root(central):
    return central.root()


@pytest.fixture
def box(docker):
    """A workload of its own: the central adds up what the containers of one do."""
    name = f"bh-rep-{secrets.token_hex(3)}"
    with Box(docker, name, "--label", f"com.docker.compose.project=shop-{name}", "--label", "com.docker.compose.service=web") as b:
        yield b


def pages(client, url, key):
    out, cursor = [], None
    while True:
        answer = client.get(url + ("&" if "?" in url else "?") + "limit=500" + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status == 200, answer
        out += answer.json[key]
        cursor = answer.json.get("next")
        if not cursor:
            return out


def known(client, cid):
    """What the central has of a container, or None."""
    answer = client.get(f"/api/v1/containers/{cid}")
    return answer.json if answer.status == 200 else None


def observed(client, container, subject):
    """Sum of the counts, and how many facts."""
    hits = [o for o in pages(client, "/api/v1/observations?kind=exec", "observations") if o["container_id"] == container and o["subject"] == subject]
    return sum(o["count"] for o in hits), hits


def bus_status(sensor):
    return sensor.status()["bus"]


def wait_connected(sensor, deadline=10):
    wait_for(lambda: (bus_status(sensor)["state"] == "connected", bus_status(sensor)), deadline, "the sensor is connected to the central")


# ---- inventory ----

def test_containers_of_the_api_equal_those_of_the_sensor(sensor, root, docker):
    name = f"bh-{secrets.token_hex(4)}"
    cid = docker.run("-d", "--name", name, "--label", "tier=front", "--cap-add", "NET_ADMIN", BASE_IMAGE, "sleep", "1000")
    try:
        def described():
            c = known(root, cid)
            return bool(c) and c["level"] == "full" and c["state"] == "running", c
        wait_for(described, 10, f"the central knows {name}")
        told = known(root, cid)
        own = next(c for c in sensor.containers() if c["id"] == cid)
        for key in ("id", "name", "image", "image_id", "runtime", "state", "workload", "application", "labels", "cap_add", "privileged", "init_pid", "cgroup_paths"):
            assert told[key] == own[key], f"expected {key} {own[key]!r} as the sensor has it, saw {told[key]!r}"
        assert {c["id"] for c in sensor.containers() if c["state"] == "running"} <= {c["id"] for c in pages(root, "/api/v1/containers", "containers")}
    finally:
        docker.remove(cid)
    wait_for(lambda: known(root, cid)["state"] in ("removed", "exited"), 10, "the central hears of its end")


def test_central_that_comes_back_gets_a_full_list(sensor, root, central, docker):
    wait_connected(sensor)
    before = bus_status(sensor)["inventory"]["full_lists"]
    central.kill()
    cid = docker.run("-d", BASE_IMAGE, "sleep", "1000")
    try:
        central.start()
        wait_for(lambda: (bus_status(sensor)["inventory"]["full_lists"] > before, bus_status(sensor)), 10, "a full list")
        wait_for(lambda: known(root, cid), 10, "the container that was started meanwhile")
    finally:
        docker.remove(cid)


# ---- observations ----

def test_execs_are_observed_once_told_at_once_and_counted(sensor, root, box):
    start = time.monotonic()
    box.run("/acts true")
    wait_for(lambda: (observed(root, box.id, "/acts")[0] == 1, observed(root, box.id, "/acts")), 10, "an observation of the container's exec")
    took = time.monotonic() - start
    facts = [o for o in pages(root, "/api/v1/observations?kind=exec", "observations") if o["container_id"] == box.id]
    assert all(o["workload"] == "web" and o["application"] == f"shop-{box.name}" for o in facts), f"expected the box's workload, saw {facts}"
    assert took < 3 * patience(), f"expected to be told within a second or two, saw {took:.1f} s"
    box.run("for i in 1 2 3 4 5; do /acts true; done")
    wait_for(lambda: (observed(root, box.id, "/acts")[0] == 6, observed(root, box.id, "/acts")), 45, "the repeats")


@pytest.mark.deadline(300)
def test_killed_centrals_lose_and_double_no_observation(sensor, root, central, box):
    """Execs go on while the central is killed again and again: in the end the counts are what the sensor recorded."""
    for n in range(5):
        running = box.start("i=0; while [ $i -lt 100 ]; do /acts true; i=$((i+1)); done")
        time.sleep(0.05 * n)
        central.kill()
        central.start()
        box.wait(running, ok=None)
    wait_connected(sensor)
    recorded = [e for e in sensor.events(type="exec", container=box.id) if e.get("proc.exe") == "/acts"]
    acted = sum(e["count"] for e in recorded)
    assert acted >= 500, f"expected 500 execs in the recorder, saw {acted}"
    def counted():
        return observed(root, box.id, "/acts")[0] == acted, observed(root, box.id, "/acts")
    wait_for(counted, 60, f"{acted} execs in the central")
    assert bus_status(sensor)["lost"] == 0


# ---- findings ----

def findings(client, rule):
    return [f for f in pages(client, "/api/v1/findings", "findings") if f["rule"] == rule]


def test_killed_canary_is_a_finding_with_its_event(sensor, root):
    rule = "Canary of the sensor ended or stopped"
    before = len(findings(root, rule))
    canary = next(p for p in os.listdir("/proc") if p.isdigit() and parent(p) == sensor.pid and comm(p) == "bulkhead-canary")
    os.kill(int(canary), signal.SIGKILL)
    found = wait_for(lambda: (len(findings(root, rule)) > before, findings(root, rule)), 10, "a finding") and findings(root, rule)[0]
    assert found["priority"] == "critical" and found["source"] == "sensor" and found["output"], f"saw {found}"
    one = root.get(f"/api/v1/findings/{found['id']}").json
    assert one["event"]["type"] == "sensor" and one["event"]["action"] == "canary_lost", f"expected the event, saw {one}"
    recorded = [e for e in sensor.events(type="sensor") if e.get("action") == "canary_lost"]
    assert one["event"]["id"] in [e["id"] for e in recorded], f"expected an event of the recorder, saw {one['event']['id']}"


def test_equal_findings_are_one_with_a_number(sensor, root):
    rule = "Control socket removed"
    for n in range(3):
        os.unlink(sensor.run_dir / "sensor.sock")
        wait_for(lambda: (sensor.run_dir / "sensor.sock").exists(), 5, "the socket is made again")
        wait_for(lambda: len([e for e in sensor.events(type="sensor") if e.get("action") == "socket_restored"]) > n, 5, "the event")
    wait_for(lambda: findings(root, rule), 10, "a finding")
    time.sleep(1)
    assert len(findings(root, rule)) == 1, f"expected one finding, saw {findings(root, rule)}"
    assert sensor.status()["bus"]["findings"]["events"] >= 3


def parent(pid):
    with open(f"/proc/{pid}/stat") as f:
        return int(f.read().rsplit(")", 1)[1].split()[1])


def comm(pid):
    with open(f"/proc/{pid}/comm") as f:
        return f.read().strip()


# ---- status and questions ----

def test_status_of_the_node_is_the_sensors_own(sensor, root):
    def fresh():
        node = root.get(f"/api/v1/nodes/{sensor.status()['node']}")
        status = node.json.get("status") if node.status == 200 else None
        return bool(status) and status["pid"] == sensor.pid, node
    wait_for(fresh, 10, "the node's status")
    status = root.get(f"/api/v1/nodes/{sensor.status()['node']}").json["status"]
    assert status["bus"]["state"] == "connected" and status["hooks"] and status["ready"], f"saw {status}"


def test_events_of_the_api_equal_those_of_the_sensor(sensor, root, box):
    tag = f"tag-{secrets.token_hex(4)}"
    box.run(f"for i in 1 2 3 4 5 6 7 8 9 10; do /acts {tag}-$i >/dev/null 2>&1; done", ok=None)
    own = [e for e in sensor.events(type="exec", container=box.id) if e["proc.args"][-1].startswith(tag)]
    answer = root.get(f"/api/v1/events?types=exec&container={box.id}&limit=1000")
    assert answer.status == 200, answer
    told = [e for e in answer.json["events"] if e["proc.args"][-1].startswith(tag)]
    assert len(own) == 10 and told == own, f"expected the sensor's {len(own)} events, saw {len(told)}"
    assert answer.json["dropped"] == 0 and answer.json["nodes"][0]["error"] is None, f"saw {answer.json['nodes']}"
    last = root.get(f"/api/v1/events?types=exec&container={box.id}&limit=3").json["events"]
    assert [e["id"] for e in last] == [e["id"] for e in sensor.events(type="exec", container=box.id)][-3:]
    shells = root.get(f"/api/v1/events?container={box.id}&filter=proc.name%3Dsh").json["events"]
    assert shells and all(e["proc.name"] == "sh" for e in shells), shells
    assert root.get("/api/v1/events?filter=proc.name%3D").status == 400


def test_live_events_pass_through_the_central(sensor, root, box):
    live = root.stream(f"/api/v1/events/live?types=exec&container={box.id}")
    tag = f"live-{secrets.token_hex(4)}"

    def flows():
        box.run(f"/acts ready-{tag} >/dev/null 2>&1", ok=None)
        return any(kind == "event" and d.get("proc.args", [""])[-1] == f"ready-{tag}" for _, kind, d in list(live.events)), live.events[-3:]
    wait_for(flows, 20, "live events flow", every=0.2)
    box.run(f"for i in 1 2 3; do /acts {tag}-$i >/dev/null 2>&1; done", ok=None)
    live.wait(lambda i, kind, data: kind == "event" and data.get("proc.args", [""])[-1] == f"{tag}-3", 10, "the live exec")
    seen = [d["proc.args"][-1] for _, kind, d in live.events if kind == "event" and d.get("proc.args", [""])[-1].startswith(tag)]
    assert seen == [f"{tag}-{n}" for n in (1, 2, 3)], f"expected each once and in order, saw {seen}"
    live.close()


def test_processes_of_a_container_are_listed(sensor, root, docker):
    cid = docker.run("-d", "--user", "1234:4321", BASE_IMAGE, "sh", "-c", "sleep 7654 & exec sleep 7655")
    try:
        def listed():
            answer = root.get(f"/api/v1/processes?container={cid[:20]}")
            return answer.status == 200 and len(answer.json["processes"]) == 2, answer
        wait_for(listed, 10, "two processes")
        processes = root.get(f"/api/v1/processes?container={cid}").json["processes"]
        assert sorted(p["args"] for p in processes) == [["sleep", "7654"], ["sleep", "7655"]], f"saw {processes}"
        assert all(p["container_id"] == cid and p["uid"] == 1234 and p["gid"] == 4321 and p["vpid"] for p in processes), f"saw {processes}"
        assert any(p["pid"] == docker.inspect(cid)["State"]["Pid"] for p in processes)
        everything = root.get("/api/v1/processes?limit=10000").json
        assert any(p["pid"] == sensor.pid for p in everything["processes"]), "expected the sensor's own process among the host's"
        assert not any(p["container_id"] for p in root.get("/api/v1/processes?container=host&limit=10000").json["processes"])
    finally:
        docker.remove(cid)


def test_slow_reader_of_live_events_holds_up_nobody(sensor, root, box):
    """A stream that nobody reads: the sensor records on, and its drops are counted."""
    connection = root.connect(timeout=60)
    connection.request("GET", "/api/v1/events/live")
    box.run("/acts flood exec --seconds 2 --threads 1 >/dev/null 2>&1", ok=None)
    status = sensor.status()
    assert status["events"]["stalls"] == 0 or status["rings"]["life"]["used"] < status["rings"]["life"]["bytes"], f"saw {status['rings']}"
    connection.close()


# ---- alone ----

def test_sensor_without_a_central_goes_on_and_spools(new_sensor):
    s = new_sensor()
    status = bus_status(s)
    assert status["state"] == "not connected" and status["problem"], f"expected a sentence, saw {status}"
    wait_for(lambda: bus_status(s)["spool"]["messages"] > 0, 10, "messages in the spool")
    assert (s.data_dir / "spool" / "bus.db").stat().st_mode & 0o777 == 0o600


def test_sensor_without_a_bus_makes_no_spool(new_sensor):
    s = new_sensor(args=["--no-bus"])
    assert bus_status(s) == {"state": "off"}
    assert not (s.data_dir / "spool").exists()


def test_spooled_messages_outlive_a_killed_sensor(new_sensor, central, root, docker):
    """Messages of a sensor that had no central and was killed reach it from the next one, once."""
    s = new_sensor()
    name = f"bh-{secrets.token_hex(4)}"
    cid = docker.run("-d", "--name", name, "--label", f"com.docker.compose.project={name}", "--label", "com.docker.compose.service=one", BASE_IMAGE, "sh", "-c",
                     "/acts true; sleep 1000")
    try:
        s.wait_events(lambda evs: [e for e in evs if e.get("proc.exe") == "/acts"], type="exec", container=cid)
        time.sleep(2)
        s.kill()
        s.args = bus_of(central)
        s.start()
        wait_connected(s)
        count = sum(e["count"] for e in s.events(type="exec", container=cid) if e.get("proc.exe") == "/acts")
        wait_for(lambda: (observed(root, cid, "/acts")[0] >= count, observed(root, cid, "/acts")), 15, "the observation of the killed sensor")
        time.sleep(1)
        # the module's own sensor, on the same node, saw the same
        assert observed(root, cid, "/acts")[0] in (count, 2 * count), f"expected {count}, saw {observed(root, cid, '/acts')}"
    finally:
        docker.remove(cid)
