"""Evidence: what a container dropped or ran from memory is kept with its bytes, whatever is done to the container, the sensor and the chain."""
import hashlib
import io
import json
import pathlib
import secrets
import subprocess
import tarfile
import urllib.parse

import central_env
import docker_env
import pytest
import sensor_env
from boxes import Box
from docker_env import wait_for

IMAGE = "bh-test/evidence:1"


@pytest.fixture(scope="module")
def image(docker, build):
    docker.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=docker_env.make_base_image_tar([("acts", build / "tests" / "bpf" / "acts")]), text=False)
    return IMAGE


@pytest.fixture
def central():
    with central_env.Central() as c:
        yield c


@pytest.fixture
def sensor(build, docker, central, backend, image, tmp_path):
    with central_env.connected_sensor(build, docker, central, backend, "--evidence-heads", str(tmp_path / "heads")) as s:
        yield s


def root(central):
    """One connection for all questions, but after a restart."""
    if getattr(central, "evidence_pid", None) != central.pid:
        central.evidence_pid, central.evidence_root = central.pid, central.root()
    return central.evidence_root


def get(central, path, **query):
    return root(central).get(f"/api/v1/evidence{path}?" + urllib.parse.urlencode(query))


def items(central, **query):
    answer = get(central, "", limit=500, **query)
    assert answer.status == 200, answer
    return answer.json["evidence"]


def cli(central, *argv, status=0):
    r = subprocess.run([sensor_env.program(sensor_env.build_dir(), "bulkhead"), "evidence", *argv], capture_output=True, text=True, check=False, timeout=60)
    assert r.returncode == status, f"bulkhead evidence {' '.join(argv)}: {r.returncode}\n{r.stdout}{r.stderr}"
    return r.stdout


def of_central(central):
    return ["--run-dir", str(central.run_dir), "--data-dir", str(central.data_dir)]


def wait_file(central, sha256, deadline=30):
    """The item with these bytes, once they are there."""
    wait_for(lambda: (any(e["sha256"] == sha256 and e["data"] == "here" for e in items(central)), [(e["kind"], e["path"], e["sha256"], e["data"]) for e in items(central)]), deadline,
             f"evidence with the bytes {sha256}")
    return next(e for e in items(central) if e["sha256"] == sha256 and e["data"] == "here")


def test_what_is_dropped_and_run_is_kept_whatever_becomes_of_container_and_sensor(central, sensor, docker, tmp_path):
    name, mark = f"bh-evid-{secrets.token_hex(3)}", secrets.token_hex(16)
    dropped = pathlib.Path("/bin/busybox").read_bytes() + mark.encode() + b"\n"
    script = f"#{mark}\ntrue\n".encode()
    box = Box(docker, name, image=IMAGE)
    try:
        box.run(f"cat /bin/busybox >/tmp/busybox; echo {mark} >>/tmp/busybox; chmod 755 /tmp/busybox; /tmp/busybox sleep 0.2")
        box.run(f"echo '#{mark}' >/tmp/script; echo true >>/tmp/script; sh /tmp/script")
        # a program from memory that ends at once is gone before the sensor can open it, and counted as missed; this one stays, and is run until one was held
        def in_memory():
            box.run("ACTS_STAY=0.5 /acts --dir /tmp exec.execveat_memfd", ok=None)
            return any(e["why"] == "program run from memory" for e in items(central)), (sensor.status()["evidence"], [(e["kind"], e["why"], e["path"], e["exe"], e["args"]) for e in items(central)])
        wait_for(in_memory, 30, "a program run from memory is kept", every=1)
        # the sensor is killed when the node has the other two, before it could tell more; what it had kept must do
        wait_for(lambda: (sensor.status()["evidence"]["files"] >= 3, sensor.status()["evidence"]), 20, "three files are kept, the one from memory among them")
        docker.docker("rm", "-f", name)
        sensor.kill()
    finally:
        box.close()
    # on the node, with nobody running
    node = pathlib.Path(sensor.data_dir) / "evidence"
    kept = {p.name: p for p in node.glob("objects/*/*")}
    want = hashlib.sha256(dropped).hexdigest()
    assert want in kept and kept[want].read_bytes() == dropped, sorted(kept)
    assert hashlib.sha256(script).hexdigest() in kept, sorted(kept)
    assert json.loads(cli(central, "verify", str(node), "--json"))["ok"]

    # and at the central, after a restart of everything
    sensor.start()
    central.restart()
    e = wait_file(central, want)
    assert e["container_name"] == name or e["container_id"], e
    assert e["kind"] == "file" and e["path"] == "/tmp/busybox" and not e["cut"], e
    assert get(central, f"/{e['id']}/data").body == dropped
    wait_file(central, hashlib.sha256(script).hexdigest())
    memory = [x for x in items(central) if x["why"] == "program run from memory"]
    assert memory and memory[0]["data"] == "here", items(central)
    assert get(central, f"/{memory[0]['id']}/data").body[:4] == b"\x7fELF"
    assert want[:12] in cli(central, "list", *of_central(central)), "the list for people names it"
    assert "whole" in cli(central, "verify", *of_central(central))

    # an archive that a stranger can verify
    answer = get(central, "/export", container=e["container_id"])
    tar = tarfile.open(fileobj=io.BytesIO(answer.body))
    assert tar.extractfile(f"objects/{want[:2]}/{want}").read() == dropped
    (tmp_path / "x.tar").write_bytes(answer.body)
    assert "whole" in cli(central, "verify", str(tmp_path / "x.tar"))
    (tmp_path / "bad.tar").write_bytes(answer.body.replace(mark.encode(), mark[::-1].encode()))
    assert "object_changed" in cli(central, "verify", str(tmp_path / "bad.tar"), status=1)

    # root on the node rewrites the chain: what is elsewhere tells
    wait_for(lambda: (sensor.status()["evidence"]["sent"] == sensor.status()["evidence"]["last"], sensor.status()["evidence"]), 20, "all is sent")
    sensor.stop()
    heads = tmp_path / "heads"
    assert heads.read_text().strip(), "heads are appended to the file of the user"
    assert "whole" in cli(central, "verify", str(node), "--heads", str(heads))
    log = (node / "log").read_text().splitlines(keepends=True)
    (node / "log").write_text("".join(log[:-1]))
    assert "truncated" in cli(central, "verify", str(node), "--heads", str(heads), status=1)
    sensor.start()
    wait_for(lambda: (sensor.status()["evidence"]["broken"], sensor.status()["evidence"]), 10, "the sensor says that its chain was tampered with")
    text = cli(central, "verify", *of_central(central), status=1)
    assert "begun_anew" in text, text


def test_a_finding_brings_the_process_the_container_and_the_events_around_it(central, sensor, docker):
    name = f"bh-evid-{secrets.token_hex(3)}"
    box = Box(docker, name, image=IMAGE)
    try:
        box.run("LD_PRELOAD=/tmp/none.so SECRET=do-not-tell sh -c 'cat /etc/shadow; cp /bin/busybox /tmp/busybox; exec /tmp/busybox sleep 3'", ok=None)
        docker.docker("rm", "-f", name)
    finally:
        box.close()

    def kinds():
        found = {e["kind"] for e in items(central) if e["container_name"] == name}
        return {"file", "process", "container", "events"} <= found, found
    wait_for(kinds, 30, "file, process, container and events are kept")
    found = [e for e in items(central) if e["container_name"] == name]
    process = next(e for e in found if e["kind"] == "process" and e["exe"] == "/tmp/busybox")
    text = get(central, f"/{process['id']}/data").body.decode(errors="replace")
    assert "LD_PRELOAD=/tmp/none.so" in text and "SECRET" in text and "do-not-tell" not in text, text[:2000]
    assert "==== maps" in text and "==== fd" in text and process["finding"], process
    container = next(e for e in found if e["kind"] == "container")
    assert json.loads(get(central, f"/{container['id']}/data").body)["name"] == name
    events = [json.loads(line) for e in found if e["kind"] == "events" for line in get(central, f"/{e['id']}/data").body.splitlines()]
    assert any(e["type"] == "exec" and e["proc.exe"] == "/tmp/busybox" for e in events), events[:3]
    incident = root(central).get("/api/v1/incidents?" + urllib.parse.urlencode({"container": name})).json["incidents"]
    if incident: # joined by findings and by the container
        assert {e["id"] for e in found} <= {e["id"] for e in items(central, incident=incident[0]["id"])}


def test_a_file_planted_on_the_node_is_told_with_the_container_that_wrote_it(central, sensor, docker):
    name = f"bh-evid-{secrets.token_hex(3)}"
    planted, text = pathlib.Path(f"/etc/cron.d/{name}"), f"# {name}: nothing is run\n"
    pathlib.Path("/etc/cron.d").mkdir(exist_ok=True)
    wait_for(lambda: (sensor.status()["integrity"]["looks"] >= 1, sensor.status()["integrity"]), 30, "the node was looked at once")
    box = Box(docker, name, "-v", "/etc:/hostetc", image=IMAGE)
    try:
        box.run(f"echo '{text.strip()}' >/hostetc/cron.d/{name}")
        docker.docker("rm", "-f", name)

        def told():
            found = [f for f in root(central).get("/api/v1/findings?limit=500&kind=integrity").json["findings"] if name in f["output"]]
            return len(found) == 1, found
        finding = wait_for(told, 60, "the planted file is told")[0]
        assert finding["priority"] == "critical" and finding["container_name"] == name, finding
        assert "mitre_persistence" in finding["tags"] and finding["rule"] == "Host integrity: cron is new", finding
        wait_file(central, hashlib.sha256(text.encode()).hexdigest())
        hidden = [f for f in root(central).get("/api/v1/findings?limit=500&kind=integrity").json["findings"] if "hidden" in f["rule"]]
        assert not hidden, hidden
    finally:
        planted.unlink(missing_ok=True)
        box.close()
