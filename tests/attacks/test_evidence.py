"""Evidence: what a container dropped or ran from memory is kept with its bytes, whatever is done to the container, the sensor and the chain."""
import hashlib
import io
import json
import os
import pathlib
import secrets
import struct
import subprocess
import tarfile
import time
import urllib.parse

import central_env
import docker_env
import pytest
import sensor_env
from boxes import Box
from docker_env import wait_for

IMAGE = "bh-test/evidence:1"


def tiny_program():
    """The smallest one that ends with 0, for this machine's processor: one segment, one or two instructions. More bytes may follow."""
    code, machine = {"x86_64": (bytes.fromhex("31ffb83c0000000f05"), 62), "aarch64": (bytes.fromhex("000080d2a80b80d2010000d4"), 183)}[os.uname().machine]
    base, size = 0x400000, 64 + 56 + len(code)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, machine, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096) + code


@pytest.fixture(scope="module")
def image(docker, build, tmp_path_factory):
    tiny = tmp_path_factory.mktemp("image") / "tiny"
    tiny.write_bytes(tiny_program())
    files = [("acts", build / "tests" / "bpf" / "acts"), ("fleeting", build / "tests" / "attacks" / "fleeting"), ("tiny", tiny)]
    docker.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=docker_env.make_base_image_tar(files), text=False)
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
    script, beside, given = (f"#{mark}{what}\n{then}".encode() for what, then in (("", "true\n"), (" beside", ""), (" input", "sleep 300\n")))
    box = Box(docker, name, image=IMAGE)
    try:
        box.run(f"cat /bin/busybox >/tmp/busybox; echo {mark} >>/tmp/busybox; chmod 755 /tmp/busybox; /tmp/busybox sleep 0.2")
        box.run(f"echo '#{mark}' >/tmp/script; echo true >>/tmp/script; sh /tmp/script")
        box.run(f"cd /tmp; echo '#{mark} beside' >beside; sh ./beside")
        box.run("/acts --dir /tmp exec.execveat_memfd")
        box.start(f"echo '#{mark} input' >/tmp/input; echo 'sleep 300' >>/tmp/input; sh </tmp/input")
        # the sensor is killed when the node has them, before it could tell more; what it had kept must do
        log = pathlib.Path(sensor.data_dir) / "evidence" / "log"
        whys = ("program run from memory", "script that a container wrote was given to an interpreter", '"path":"/tmp/busybox"', '"path":"/tmp/beside"', hashlib.sha256(given).hexdigest())
        wait_for(lambda: (all(w in log.read_text() for w in whys), sensor.status()["evidence"]), 20, "all of them are kept")
        docker.docker("rm", "-f", name)
        sensor.kill()
    finally:
        box.close()
    # on the node, with nobody running
    node = pathlib.Path(sensor.data_dir) / "evidence"
    kept = {p.name: p for p in node.glob("objects/*/*")}
    want = hashlib.sha256(dropped).hexdigest()
    assert want in kept and kept[want].read_bytes() == dropped, sorted(kept)
    assert {hashlib.sha256(text).hexdigest() for text in (script, beside, given)} <= set(kept), sorted(kept)
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
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")
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
        # what is changed of the image: with a link out of it, and a name that would be lines of its own
        box.run("rm /tiny; echo x >>/fleeting; ln -s /etc /tmp/out; touch \"$(printf '/tmp/a\\n{}\\033[31m')\"")
        box.start("LD_PRELOAD=/tmp/none.so SECRET=do-not-tell sh -c 'cat /etc/shadow; cp /bin/busybox /tmp/busybox; exec /tmp/busybox sleep 300'")

        def kinds():
            found = {(e["kind"], e["why"]) for e in items(central) if e["container_name"] == name}
            return {"file", "process", "container", "events", "diff"} <= {kind for kind, _ in found}, found
        wait_for(kinds, 30, "file, process, container, events and what was changed of the image are kept")
        docker.docker("rm", "-f", name)
    finally:
        box.close()
    wait_for(lambda: (("container", "container with evidence ended") in kinds()[1], kinds()[1]), 30, "its end is kept")
    found = [e for e in items(central) if e["container_name"] == name]
    process = next(e for e in found if e["kind"] == "process" and e["exe"] == "/tmp/busybox")
    text = get(central, f"/{process['id']}/data").body.decode(errors="replace")
    assert "LD_PRELOAD=/tmp/none.so" in text and "SECRET" in text and "do-not-tell" not in text, text[:2000]
    assert "==== maps" in text and "==== fd" in text and process["finding"], process
    container = next(e for e in found if e["kind"] == "container")
    assert json.loads(get(central, f"/{container['id']}/data").body)["name"] == name
    events = [json.loads(line) for e in found if e["kind"] == "events" for line in get(central, f"/{e['id']}/data").body.splitlines()]
    assert any(e["type"] == "exec" and e["proc.exe"] == "/tmp/busybox" for e in events), events[:3]
    # the latest that there is: the runtime may have been faster than the last look
    diffs = [[json.loads(line) for line in get(central, f"/{e['id']}/data").body.splitlines()] for e in found if e["kind"] == "diff"]
    whole = max(diffs, key=len)
    changes = {x["path"]: x for x in whole[1:]}
    assert whole[0]["whole"] and whole[0]["deleted"] == 1 and whole[0]["added"] + whole[0]["changed"] + whole[0]["deleted"] == len(whole) - 1, whole
    assert changes["/tiny"]["change"] == "deleted" and changes["/fleeting"]["change"] == "changed" and changes["/tmp/busybox"]["change"] == "added", whole
    assert changes["/tmp/out"]["type"] == "link" and changes["/tmp/out"]["to"] == "/etc" and "/tmp/a\n{}\x1b[31m" in changes, whole
    assert not any(p.startswith("/tmp/out/") or p.startswith("/etc/") for p in changes), whole
    incident = root(central).get("/api/v1/incidents?" + urllib.parse.urlencode({"container": name})).json["incidents"]
    assert len(incident) == 1, incident
    # joined by findings and by the container
    assert {e["id"] for e in found} <= {e["id"] for e in items(central, incident=incident[0]["id"])}
    # and in the report that people read, with the number by which its bytes are had
    text = central.cli("incident", str(incident[0]["id"])).stdout
    rows = [line.split() for line in text.split("\nEvidence\n")[1].splitlines() if line]
    for e in found:
        if e["kind"] in ("file", "diff"):
            assert any(row[0] == str(e["id"]) and e["kind"] in row and e["sha256"][:12] in row for row in rows), text
    assert f"bulkhead evidence export --incident {incident[0]['id']} -o" in text, text


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


def test_what_ends_at_once_is_kept_all_the_same(central, sensor, docker):
    """100 programs from memory and 100 files that are unlinked as soon as they run: gone before anybody could look, were they not stopped for a moment."""
    name, each = f"bh-evid-{secrets.token_hex(3)}", 100
    tiny = tiny_program()
    with Box(docker, name, image=IMAGE) as box:
        for _ in range(10):
            mark, before = secrets.token_hex(8), sensor.status()["evidence"]
            took = {kind: box.json(f"/fleeting {kind} {each} {mark}-{kind}", ok=(0,))[0] for kind in ("memory", "unlinked")}
            hold = sensor.status()["evidence"]["hold"]
            if all(hold[k] == before["hold"][k] for k in ("overdue", "behind")):
                break
            time.sleep(5)  # on a machine that gives the sensor no turn for 250 ms the guard lets programs go on, and none is stopped for so long then: such a round says nothing
        else:
            pytest.fail(f"the sensor had no turn in time in any round: {hold}")
        # equal bytes once more: counted, and no item each
        equal = sensor.status()["evidence"]["equal_items"]
        for _ in range(3):
            box.run(f"/fleeting memory 1 {mark}-memory")
        wait_for(lambda: (sensor.status()["evidence"]["equal_items"] >= equal + 3, sensor.status()["evidence"]), 20, "equal ones are counted")
    want = {hashlib.sha256(tiny + f"{mark}-{kind}-{n}\n".encode()).hexdigest(): (kind, n) for kind in took for n in range(each)}
    node = pathlib.Path(sensor.data_dir) / "evidence"

    def missing():
        return sorted(want[h] for h in set(want) - {p.name for p in node.glob("objects/*/*")})
    wait_for(lambda: (not missing(), (missing(), sensor.status()["evidence"])), 60, "all of them are kept")
    status = sensor.status()["evidence"]
    print(took, status["hold"])
    assert status["missed"] == before["missed"] and status["hold"]["stopped"] >= before["hold"]["stopped"] + 2 * each, status
    wait_for(lambda: (len([e for e in items(central, container=name) if e["sha256"] in want]) == 2 * each, len(items(central, container=name))), 60, "each is one item")


def test_nothing_stays_stopped_when_the_sensor_is_killed(central, sensor, docker, tmp_path):
    """While programs of a container are stopped and go on all the time; the guard and the next sensor see to those that the killed one had stopped."""
    with Box(docker, f"bh-evid-{secrets.token_hex(3)}", image=IMAGE) as box:
        for n in range(2):
            running = box.start(f"/fleeting memory 400 kill-{n}")
            wait_for(lambda n=n: (sensor.status()["evidence"]["hold"]["stopped"] >= 20, sensor.status()["evidence"]["hold"]), 30, "programs are stopped")
            sensor.kill()
            box.wait(running, deadline=30)
            sensor.start()
            wait_for(lambda: (sensor.status()["evidence"]["hold"]["state"] == "on", sensor.status()["evidence"]["hold"]), 20, "the next sensor stops them as well")
