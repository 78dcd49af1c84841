"""Models that are enforced: a learned workload is locked, observed, and then nothing runs in any of its containers but what its model has; by real containers, on whichever backend the kernel is given."""
import json
import secrets
import time

import central_env
import pytest
from boxes import Box
from docker_env import BASE_IMAGE, wait_for
from test_models import SCALE, Service
from test_response import block_leftovers

WORK = "(while :; do /tools/cat /www/index.html; sleep 0.2; done) >/dev/null 2>&1 &"


@pytest.fixture(scope="module")
def central():
    with central_env.Central() as c:
        c.set(SCALE)
        yield c


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--no-calls", "--no-web") as s:
        yield s


@pytest.fixture(scope="module")
def image(docker):
    """Programs that are files of their own: in the base image all are one."""
    name, made = f"bh-test/tools-{secrets.token_hex(3)}:1", f"tools-{secrets.token_hex(3)}"
    docker.run("--name", made, BASE_IMAGE, "sh", "-c", "mkdir /tools; for t in cat head tail; do cp /bin/busybox /tools/$t; done")
    docker.docker("commit", made, name)
    docker.docker("rm", "-f", made)
    yield name
    docker.docker("rmi", "-f", name, check=False)


class Enforced(Service):
    def __init__(self, central, docker, replicas, image):
        self.image = image
        super().__init__(central, docker, replicas, image)

    def grow(self, replicas, image=None):
        new = [Box(self.docker, f"{self.name}-{len(self.boxes) + i}", "--label", f"com.docker.compose.project={self.name}", "--label", "com.docker.compose.service=web", image=self.image) for i in range(replicas)]
        self.boxes += new
        for box in new:
            box.run(WORK)
        return new

    def ask(self, what, status=200, **body):
        answer = self.root.post(f"/api/v1/models/{what}", {"application": self.name, "workload": "web", **body})
        assert answer.status == status, answer
        return answer.json

    def told(self):
        return next((e for e in self.root.get("/api/v1/models/enforced").json["enforced"] if e["application"] == self.name), None)

    def wait_active(self, n, mode):
        def look():
            e = self.told()
            open_ones = self.ledger(open="true")
            return bool(e) and e["mode"] == mode and e["containers"]["active"] == e["containers"]["running"] == n == len(open_ones) and all(("observe" in r["deny"]) == (mode == "observe") for r in open_ones), (e, open_ones)
        wait_for(look, 30, f"{n} containers are {mode}d", 0.1)

    def ledger(self, **more):
        query = "".join(f"&{k}={v}" for k, v in more.items())
        return self.root.get(f"/api/v1/responses?actor=model:{self.name}/web&limit=500{query}").json["responses"]

    def sensor_findings(self, rule):
        return [f for f in self.root.get(f"/api/v1/findings?limit=500&kind=sensor&search={self.name}").json["findings"] if f["rule"] == rule]


@pytest.fixture
def service(request, central, sensor, docker, image):
    s = Enforced(central, docker, getattr(request, "param", 1), image)
    yield s
    s.root.post("/api/v1/models/unenforce", {"application": s.name, "workload": "web"})
    s.close()


def is_program(path, standing=("learned", "accepted")):
    return lambda i: i["family"] == "exec" and i["object"] == path and i["standing"] in standing


def runs(box, program):
    """Whether an instruction of it ran: it prints what is in the file."""
    return "ran" in box.run(f"echo ran >/tmp/said; {program} /tmp/said", ok=None)


def assert_refused(box, *programs):
    for p in programs:
        assert not runs(box, p), f"expected that {p} does not run in {box.name}"


def learn(service):
    service.wait_item("the work is learned", is_program("/tools/cat"))
    service.wait_item("the shell is learned", lambda i: i["family"] == "exec" and i["object"].startswith("/bin/busybox") and i["standing"] == "learned")


def test_it_is_refused_where_not_enough_is_known_or_nobody_confirmed(service, central):
    learn(service)
    assert service.ask("enforce", 409, observe=True)["error"]["code"] == "not_strict"
    assert service.ask("enforce", 409, family="peer", observe=True)["error"]["code"] == "not_possible"
    assert service.ask("enforce", 400, family="nothing")["error"]["code"] == "bad_request"
    service.post("lock", family="exec")
    assert service.ask("enforce", 400)["error"]["code"] == "not_confirmed"
    assert service.ask("enforce", 400, confirm="other")["error"]["code"] == "not_confirmed"
    assert service.ask("unenforce", 404)["error"]["code"] == "not_found"
    viewer = central.user(central.admin(), "enforcedlooks", "viewer")
    assert viewer.post("/api/v1/models/enforce", {"workload": "web", "application": service.name, "observe": True}).status == 403
    assert service.ledger() == [] and service.told() is None


def test_a_model_is_observed_then_enforced_in_all_replicas_and_follows_what_people_accept(service, central, sensor, docker):
    learn(service)
    box = service.boxes[0]
    box.run("cp /tools/cat /tmp/cat; printf '#!/tools/tail\\n' >/tmp/counts; printf '#!/bin/sh\\n/tools/cat $1\\n' >/tmp/shows; chmod 755 /tmp/counts /tmp/shows")
    service.post("lock", family="exec")

    # observed: all of it runs, and is told
    service.ask("enforce", observe=True, reason="first look")
    service.wait_active(1, "observe")
    assert runs(box, "/tools/head") and runs(box, "/tmp/cat") and runs(box, "/tools/cat")
    wait_for(lambda: (service.told()["observed"] >= 2 and service.sensor_findings("Would be blocked"), (service.told(), service.sensor_findings("Would be blocked"))), 30, "what would have been refused is told")
    said = [f["output"] for f in service.sensor_findings("Would be blocked")]
    assert any("head" in t or "cat" in t for t in said) and all(box.name in t and f"model:{service.name}/web" in t for t in said), said
    assert service.told()["refused"] == 0 and not service.sensor_findings("Blocked")

    # enforced
    service.ask("enforce", confirm="web", reason="for good")
    service.wait_active(1, "enforce")
    assert_refused(box, "/tools/tail", "/tools/head", "/tmp/cat", "/tmp/counts")
    for _ in range(20):
        assert runs(box, "/tools/cat"), "expected that what the model has runs each time"
    assert runs(box, "/tmp/shows"), "expected that a script runs as what it is a script for"
    assert docker.docker("exec", box.name, "/tools/cat", "/www/index.html").stdout and docker.docker("exec", box.name, "/tools/head", "/www/index.html", check=False).returncode != 0
    wait_for(lambda: (any("not among those that alone may run" in f["output"] and box.name in f["output"] for f in service.sensor_findings("Blocked")), service.sensor_findings("Blocked")), 30, "what was refused is a finding")
    wait_for(lambda: (service.told()["refused"] >= 5, service.told()), 30, "what was refused is counted")
    assert service.ask("relearn", 409)["error"]["code"] == "enforced"

    # another replica
    begin = time.monotonic()
    other = service.grow(1)[0]
    service.wait_active(2, "enforce")
    print(f"a new replica is under it after {time.monotonic() - begin:.1f} s")
    assert_refused(other, "/tools/head")
    assert runs(other, "/tools/cat")
    # one that is started again keeps its list
    docker.docker("restart", "-t", "0", other.name)
    wait_for(lambda: (not runs(other, "/tools/head"), "it ran"), 20, "the list is in force again", 0.2)
    assert docker.inspect(other.name)["State"]["Running"] and runs(other, "/tools/cat")

    # a person accepts one of the image, and one that is not
    service.wait_item("it stands in the model", is_program("/tools/head", ("novel", "observed", "refused", "drift", "held")), outstanding="true")
    for program in ("/tools/head", "/tmp/cat"):
        item = next(i for i in service.items(family="exec") if i["object"] == program)
        service.post("judge", item=item["item"], verdict="accept")
    for b in (box, other):
        wait_for(lambda b=b: (runs(b, "/tools/head"), service.ledger(open="true")), 20, "what was accepted runs", 0.2)
    service.wait_active(2, "enforce")
    assert runs(box, "/tmp/cat") and runs(box, "/tools/cat")
    assert_refused(box, "/tools/tail", "/tmp/counts")

    # without the sensor
    sensor.kill()
    assert_refused(box, "/tools/tail")
    assert runs(box, "/tools/cat")
    sensor.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 30, "the sensor is connected again")
    assert_refused(box, "/tools/tail")

    # a program of the image that somebody changes is not the image's any more
    other.run("echo x >>/tools/head")
    assert_refused(other, "/tools/head")
    assert runs(box, "/tools/head")

    # what a person releases stays so
    row = next(r for r in service.ledger(open="true") if r["container_name"] == other.name)
    assert service.root.post(f"/api/v1/responses/{row['id']}/release", {}).status == 200
    assert runs(other, "/tools/tail")
    wait_for(lambda: (service.told()["containers"]["released"] == 1, service.told()), 20, "it is counted")
    assert_refused(box, "/tools/tail")

    service.ask("unenforce", reason="enough")
    wait_for(lambda: (runs(box, "/tools/tail"), service.ledger(open="true")), 20, "all runs again", 0.2)
    wait_for(lambda: (not service.ledger(open="true"), service.ledger(open="true")), 20, "nothing goes on")
    assert block_leftovers(sensor) == [] and service.told() is None
    rows = service.root.get("/api/v1/audit?limit=500").json
    rows = rows[next(k for k in rows if isinstance(rows[k], list))]
    assert {"model.enforce", "model.unenforce"} <= {r["action"] for r in rows} and any(r["actor"] == f"model:{service.name}/web" and r["action"] == "response.create" for r in rows)


def test_the_command_line_enforces_and_an_end_is_kept(service, central):
    def cli(*args, status=0):
        return central.cli("model", *args, "--application", service.name, status=status).stdout

    learn(service)
    cli("enforce", "web", "--observe", status=1)
    cli("lock", "web", "--family", "exec")
    cli("enforce", "web", status=1)
    assert "observed" in cli("enforce", "web", "--observe", "--ttl", "1h")
    service.wait_active(1, "observe")
    shown = json.loads(central.cli("model", "enforced", "--json").stdout)["enforced"]
    assert [(e["mode"], bool(e["until"]), e["programs"] >= 2) for e in shown if e["application"] == service.name] == [("observe", True, True)]
    assert "enforced" in cli("enforce", "web", "--confirm", "web", "--ttl", "4s", "--reason", "a moment")
    box = service.boxes[0]
    wait_for(lambda: (not runs(box, "/tools/tail"), service.told()), 4, "it is refused", 0.1)
    wait_for(lambda: (runs(box, "/tools/tail"), service.told()), 20, "its time is over", 0.2)
    wait_for(lambda: (service.told() is None, service.told()), 20, "it is over")
    cli("unenforce", "web", status=1)


def test_a_list_is_ordered_by_hand(service, central, sensor):
    box = service.boxes[0]

    def order(deny, status=200):
        answer = service.root.post("/api/v1/responses", {"action": "block", "container": box.name, "deny": deny})
        assert answer.status == status, answer
        return answer.json

    wait_for(lambda: (service.root.get(f"/api/v1/containers/{box.id}").status == 200, "not there"), 15, "the container is known")
    assert order("exec-only:/no/such")["state"] == "failed"
    order("exec-only:/tools/cat\nmount\nobserve", 400)
    tried = order("exec-only:/tools/cat\nexec-only:/tools/none\nobserve")
    assert any("/bin/busybox runs and is not on the list" in n for n in tried["detail"]["notes"]) and any("/tools/none is not there" in n for n in tried["detail"]["notes"]), tried["detail"]
    assert runs(box, "/tools/tail")
    assert service.root.post(f"/api/v1/responses/{tried['id']}/release", {}).json["state"] == "released"
    r = order("exec-only:/bin/busybox\nexec-only:/tools/cat\nexec-only:any:/tmp/cat")
    assert r["state"] == "active", r
    assert runs(box, "/tools/cat")
    assert_refused(box, "/tools/tail", "/bin/busybox cp /tools/cat /tmp/other && /tmp/other")
    assert runs(box, "/bin/busybox cp /tools/cat /tmp/cat && /tmp/cat")
    assert service.root.post(f"/api/v1/responses/{r['id']}/release", {}).json["state"] == "released"
    assert runs(box, "/tools/tail") and block_leftovers(sensor) == []
