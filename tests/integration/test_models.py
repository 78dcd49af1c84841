"""Behaviour models end to end: a service's normal work is learned from live containers, and what is not normal is told, once, by name."""
import json
import secrets
import time
import urllib.parse

import central_env
import pytest
from boxes import Box
from docker_env import wait_for

# Trials of 100 ms, of which fewer than 1 % may be expected to show something new: what takes hours takes seconds.
SCALE = {"models.slot_ms": 100, "models.bound_ppm": 10000, "models.starting_seconds": 1, "models.hold_seconds": 3}
WORK = "(while :; do cat /www/index.html; sleep 0.2; done) >/dev/null 2>&1 &"


@pytest.fixture(scope="module")
def central():
    with central_env.Central() as c:
        c.set(SCALE)
        yield c


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    # system calls have tests of their own: a model that is locked after seconds has not seen all of them
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--no-calls") as s:
        yield s


class Service:
    """Replicas of one workload that do the same all the time."""

    def __init__(self, central, docker, replicas, image=None):
        self.central, self.docker = central, docker
        self.name = f"svc-{secrets.token_hex(3)}"
        self.root = central.root()
        self.boxes = []
        self.grow(replicas, image)

    def grow(self, replicas, image=None):
        more = {"image": image} if image else {}
        new = [Box(self.docker, f"{self.name}-{len(self.boxes) + i}", "--label", f"com.docker.compose.project={self.name}", "--label", "com.docker.compose.service=web", **more)
               for i in range(replicas)]
        self.boxes += new
        for box in new:
            box.run(WORK)
        return new

    def close(self):
        for box in self.boxes:
            box.close()

    def get(self, path, **params):
        query = urllib.parse.urlencode({"application": self.name, "workload": "web", **params})
        return self.root.get(f"/api/v1/models{path}?{query}")

    def post(self, path, **body):
        answer = self.root.post(f"/api/v1/models/{path}", {"application": self.name, "workload": "web", **body})
        assert answer.status == 200, answer
        return answer.json

    def version(self):
        models = self.get("").json["models"]
        return models[0]["versions"][0] if models else None

    def state(self, family):
        v = self.version()
        return next(f["state"] for f in v["families"] if f["family"] == family) if v else None

    def items(self, **params):
        answer = self.get("/items", **params)
        return answer.json["items"] if answer.status == 200 else []

    def findings(self, **filters):
        query = urllib.parse.urlencode({"limit": 500, "kind": "model", "application": self.name, **filters})
        return self.root.get("/api/v1/findings?" + query).json["findings"]

    def wait_item(self, what, match, **params):
        wait_for(lambda: (any(match(i) for i in self.items(**params)), [i["says"] for i in self.items(**params)]), 15, what)

    def wait_common(self, box):
        """Until what shells of the image start was seen at three times: beside what was seen at one or two, another new one is expected and is no finding of its own (bh_facets_expected()). Repeats are told each 30 s."""
        def seen():
            box.run(":")
            items = [i for i in self.items(family="exec") if i["actor"] == "/bin/busybox"]
            return len(items) >= 3 and all(i["trials"] >= 3 for i in items), items
        wait_for(seen, 120, "what shells start is common", 0.5)

    def wait_finding(self, what, match, **filters):
        """Within what is promised (5 s) on a machine that has nothing else to do."""
        begin = time.monotonic()
        wait_for(lambda: (any(match(f) for f in self.findings(**filters)), ([f["output"] for f in self.findings(**filters)], self.version(), [(i["says"], i["standing"], i["trials"]) for i in self.items(family="exec")])), 20, what)
        print(f"{what}: {time.monotonic() - begin:.1f} s")
        return next(f for f in self.findings(**filters) if match(f))


@pytest.fixture
def service(request, central, sensor, docker):
    s = Service(central, docker, getattr(request, "param", 1))
    yield s
    s.close()


def learned(item):
    return item["family"] == "exec" and item["object"].endswith(" cat") and item["standing"] in ("learned", "accepted")


def test_what_is_locked_by_a_person_tells_each_new_act_by_name(service):
    service.wait_item("the work is learned", learned)
    service.wait_item("its file is learned", lambda i: i["family"] == "file" and i["object"] == "/www/index.html" and i["detail"] == "read")
    assert service.findings() == []
    service.post("lock")
    box = service.boxes[0]

    box.run("wget -h", ok=None)
    found = service.wait_finding("a new program", lambda f: "busybox wget" in f["output"])
    assert found["rule"] == "Model: new programs" and found["priority"].lower() in ("critical", "error") and found["container_name"] == box.name, found
    assert "cat" in found["output"] or "sleep" in found["output"], "expected alternatives to be named: " + found["output"]

    # learned for seconds, little is known of what it reads: what it writes in such a place is told all the same
    box.run("echo odd > /etc/odd")
    found = service.wait_finding("a new file", lambda f: "did create /etc/odd" in f["output"])
    fields = service.root.get(f"/api/v1/findings/{found['id']}").json["output_fields"]
    assert fields["model.family"] == "file" and fields["model.object"] == "/etc/odd" and fields["container.name"] == box.name, fields

    # normal work goes on, and is no finding
    assert all("/www/index.html" not in f["output"].split(". ")[0] for f in service.findings()), [f["output"] for f in service.findings()]

    # a person takes it for normal; then it is
    item = next(i for i in service.items(outstanding="true") if i["family"] == "file" and i["object"] == "/etc/odd" and i["detail"] == "create")
    service.post("judge", item=item["item"], verdict="accept")
    assert any(i["item"] == item["item"] and i["standing"] == "accepted" for i in service.items())


def test_the_command_line_shows_judges_and_carries_a_model(service, central, tmp_path):
    def cli(*args, status=0):
        return central.cli("model", *args, status=status).stdout

    service.wait_item("the work is learned", learned)
    assert service.name in cli("list") and "learning" in cli("list")
    shown = cli("show", "web", "--application", service.name)
    assert "/bin/busybox started /bin/busybox cat" in shown and "container-hours" in shown, shown
    whole = json.loads(cli("show", "web", "--application", service.name, "--family", "exec", "--json"))
    item = next(i for i in whole["items"] if i["object"].endswith(" cat"))
    cli("forbid", "web", item["item"], "--application", service.name)
    assert next(i["standing"] for i in service.items(family="exec") if i["item"] == item["item"]) == "forbidden"
    cli("accept", "web", item["item"], "--application", service.name)
    cli("accept", "web", "0123456789abcdef", "--application", service.name, status=1)
    cli("accept", "web", "--application", service.name, status=2)

    text = cli("export", "web", "--application", service.name)
    (tmp_path / "model").write_text(text)
    assert json.loads(text.splitlines()[0])["bulkhead_model"] == 1 and len(text.splitlines()) > 4, text
    other = f"{service.name}-copy"
    cli("import", "web", str(tmp_path / "model"), "--application", other)
    copied = json.loads(cli("show", "web", "--application", other, "--json"))
    assert {i["item"] for i in copied["items"] if i["family"] == "exec"} == {i["item"] for i in service.items(family="exec") if i["standing"] in ("learned", "accepted")}
    (tmp_path / "wrong").write_text("nonsense\n")
    cli("import", "web", str(tmp_path / "wrong"), "--application", other, status=1)
    assert "NetworkPolicy" in cli("export", "web", "--application", service.name, "--format", "networkpolicy")
    assert "/bin/busybox cat" in cli("export", "web", "--application", service.name, "--format", "allow")
    cli("lock", "web", "--application", service.name)
    assert service.version()["locked"]
    cli("relearn", "web", "--application", service.name)
    assert not service.version()["locked"]
    answer = service.root.get("/api/v1/audit?limit=100").json
    assert {"model.lock", "model.relearn", "model.judge", "model.import"} <= {row["action"] for row in answer[next(k for k in answer if isinstance(answer[k], list))]}, answer


def test_an_attack_while_learning_is_told_and_not_learned(service):
    service.wait_item("the work is learned", learned)
    service.boxes[0].run("cp /bin/busybox /tmp/cat; /tmp/cat /www/index.html")
    found = service.wait_finding("a dropped program", lambda f: "/tmp/cat" in f["output"])
    assert found["rule"] == "Model: never learned programs" and found["priority"].lower() == "critical", found
    standing = {i["object"]: i["standing"] for i in service.items(family="exec")}
    assert standing["/tmp/cat"] == "refused", standing
    # also when it comes again, for as long as nobody accepts it
    service.boxes[0].run("/tmp/cat /www/index.html; /tmp/cat /www/index.html")
    assert service.state("exec") == "learning" or service.version()["shadow"]
    assert next(i["standing"] for i in service.items(family="exec") if i["object"] == "/tmp/cat") == "refused"


@pytest.mark.parametrize("service", [3], indirect=True)
def test_convergence_a_restart_anomalies_and_peers(service, central, sensor, docker):
    service.wait_item("the work is learned", learned)
    wait_for(lambda: (service.state("exec") == "scored" and service.state("file") == "scored" and service.state("peer") in ("scored", "learning"), service.version()), 120, "programs and files are scored", 0.5)
    before = {i["item"] for i in service.items() if i["standing"] == "learned"}

    # a restart loses nothing learned, also one that could not say farewell
    central.kill()
    central.start()
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 30, "the sensor is connected again")
    assert before <= {i["item"] for i in service.items() if i["standing"] == "learned"}
    assert service.state("exec") == "scored"

    wait_for(lambda: (service.version()["running"] == 3, service.version()), 20, "three replicas run")

    # what one replica does is an anomaly, told for that container; but not while something else that is new is being learned
    wait_for(lambda: (service.state("exec") == "scored", service.version()), 120, "programs are still scored", 0.5)
    one = service.boxes[1]
    service.wait_common(one)
    one.run("gzip -h", ok=None)
    found = service.wait_finding("an anomaly", lambda f: "busybox gzip" in f["output"])
    assert found["container_name"] == one.name and "1 of 3 replicas" in found["output"], found["output"]
    one.run("cp /bin/busybox /tmp/wget; /tmp/wget -h", ok=None)
    service.wait_finding("a dropped program", lambda f: "/tmp/wget" in f["output"])

    # a peer that nobody of this workload had
    wait_for(lambda: (service.state("peer") == "scored" or not any(f["observed"] for f in service.version()["families"] if f["family"] == "peer"), service.version()), 60, "peers are scored", 0.5)
    service.post("lock", family="peer")
    with Box(docker, f"{service.name}-db", "--label", f"com.docker.compose.project={service.name}", "--label", "com.docker.compose.service=db") as db:
        db.run("(nc -ll -p 5432 -e cat) >/dev/null 2>&1 &")
        address = docker.inspect(db.id)["NetworkSettings"]["IPAddress"]
        assert address, "the engine gave the container no address"
        one.run(f"echo hello | nc -w 2 {address} 5432", ok=None)
        found = service.wait_finding("a new peer", lambda f: f["rule"] == "Model: new peers")
        assert f"workload {service.name}/db" in found["output"] and "tcp/5432" in found["output"], found["output"]


def exec_of(program):
    return lambda i: i["family"] == "exec" and i["object"].endswith(program)


@pytest.mark.parametrize("service", [3], indirect=True)
def test_an_upgrade_is_one_notice_and_its_odd_replica_an_anomaly(service, docker):
    service.wait_item("the work is learned", learned)
    service.post("lock")
    old, image = service.boxes, f"bh-test/{service.name}:2"
    docker.docker("commit", old[0].name, image)
    try:
        service.boxes = []
        new = [Box(docker, f"{service.name}-new-{i}", "--label", f"com.docker.compose.project={service.name}", "--label", "com.docker.compose.service=web", image=image) for i in range(3)]
        service.boxes = new + old
        for box in new:
            box.run(WORK.replace("sleep", "gzip -c /www/index.html; sleep"))
        wait_for(lambda: (service.version()["shadow"] and service.version()["running"] == 3, service.version()), 20, "a version in the old one's shadow")
        wait_for(lambda: (any(exec_of(" cat")(i) and not i["inherited"] for i in service.items()), service.items()), 20, "the old work is known")
        notice = service.wait_finding("a notice", lambda f: f["rule"] == "Model: drift" and "busybox gzip" in f["output"])
        assert notice["priority"].lower() == "notice", notice

        new[1].run("ping -h", ok=None)
        found = service.wait_finding("an anomaly", lambda f: "busybox ping" in f["output"] and f["rule"] != "Model: drift")
        assert found["container_name"] == new[1].name, found

        # the old one was locked within its first minute, so that what it does in a minute is new to it, and told for itself
        drift = [f for f in service.findings() if f["rule"] == "Model: drift" and "a new version" in f["output"]]
        assert len(drift) == 1, [f["output"] for f in drift]
        assert not [f for f in service.findings() if "busybox gzip" in f["output"] and f["rule"] != "Model: drift"], "the storm that the notice is told instead of"
        added = service.get("/diff").json["added"]
        assert any(exec_of(" gzip")(i) and i["standing"] == "drift" for i in added), added
        service.post("judge", verdict="accept_drift")
        assert any(exec_of(" gzip")(i) and i["standing"] == "accepted" for i in service.items())
    finally:
        for box in service.boxes:
            box.close()
        service.boxes = []
        docker.docker("rmi", "-f", image, check=False)
