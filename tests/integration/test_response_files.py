"""Denials of files, in real containers: by the keeper, a process of its own that the sensor starts."""
import os
import pathlib
import signal

import central_env
import pytest
from docker_env import wait_for
from test_response import becomes, box, release, respond  # noqa: F401 (box is a fixture)


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--no-web") as s:
        yield s


def blocked(central, target, *files, **more):
    answer = respond(central, "block", target, deny="\n".join(files), best_effort=True, **more)
    assert answer.status == 200 and answer.json["state"] == "active", answer.json
    return answer.json


def keepers(sensor):
    """Processes of this sensor's keeper: the guard, then its worker."""
    parent = {}
    for p in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, of = (p / "stat").read_text().rsplit(") ", 1)[1].split()[:2]
            if state != "Z" and f"{sensor.run_dir}/keeper.sock".encode() in (p / "cmdline").read_bytes().split(b"\0"):
                parent[int(p.name)] = int(of)
        except OSError:
            continue
    return sorted(parent, key=lambda p: parent[p] in parent)


def opens(b, path, yes):
    b.run(f"cat {path}", ok=(0,) if yes else (1,))


def found(central, rule):
    return [f for f in central.root().get("/api/v1/findings?limit=200").json["findings"] if f["rule"] == rule]


def reconnected(sensor):
    wait_for(lambda: (sensor.status()["bus"]["state"] == "connected", sensor.status()["bus"]), 20, "the sensor is connected again")


def test_a_file_is_denied_by_each_of_its_names_and_outlives_the_sensor(central, sensor, box):
    a, neighbour = box("denied"), box("beside")
    for b in a, neighbour:
        b.run("mkdir -p /srv/d /tmp && echo secret >/srv/f && echo secret >/srv/d/g && ln -s /srv/f /tmp/link && ln /srv/f /tmp/hard")
    refused = respond(central, "block", a.name, deny="file:/srv/f").json
    assert refused["state"] == "failed" and "--best-effort" in refused["result"], refused
    opens(a, "/srv/f", True)
    wait_for(lambda: keepers(sensor) == [], 20, "nothing runs where nothing is denied")

    r = blocked(central, a.name, "file:/srv/f", "file:r:/srv/d/", reason="test")
    for path in ("/srv/f", "/tmp/hard", "/tmp/link", "/srv/d/g"):
        opens(a, path, False)
    a.run("mv /srv/f /srv/moved")
    opens(a, "/srv/moved", False)
    a.run("echo x >>/srv/moved", ok=(1,))
    a.run("echo x >>/srv/d/g")  # only to read is denied there
    a.run("ls /srv/d", ok=(1,))
    opens(a, "/etc/passwd", True)
    for path in ("/srv/f", "/tmp/hard", "/tmp/link", "/srv/d/g"):
        opens(neighbour, path, True)

    before = keepers(sensor)
    assert len(before) == 2
    sensor.kill()
    opens(a, "/srv/moved", False)
    opens(a, "/srv/d/g", False)
    opens(neighbour, "/srv/f", True)
    sensor.start()
    reconnected(sensor)
    assert keepers(sensor) == before and sensor.status()["responses"]["held"] == 1
    opens(a, "/srv/moved", False)
    release(central, r)
    opens(a, "/srv/moved", True)
    opens(a, "/srv/d/g", True)
    wait_for(lambda: keepers(sensor) == [], 20, "nothing is left that denies")
    assert found(central, "Denials of files were not in force") == []


def test_what_a_neighbour_has_too_is_denied_to_one(central, sensor, docker, box, tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "f").write_text("shared\n")
    a, neighbour = box("one", "-v", f"{tmp_path}:/data"), box("other", "-v", f"{tmp_path}:/data")
    r = blocked(central, a.name, "file:/data/", "file:/dev/shm/x")
    assert any("mount namespace" in w for w in r["detail"]["open"]) and any("/dev/shm/x is not there" in w for w in r["detail"]["open"]), r
    opens(a, "/data/deep/f", False)
    opens(neighbour, "/data/deep/f", True)
    assert (tmp_path / "deep" / "f").read_text() == "shared\n"
    a.run("echo x >/dev/shm/x", ok=None)
    wait_for(lambda: a.run("cat /dev/shm/x >/dev/null 2>&1; echo $?") == "1\n", 20, "what was made later is denied, too")
    second = blocked(central, a.name, "file:r:/etc/group")
    opens(a, "/etc/group", False)
    opens(a, "/data/deep/f", False)
    release(central, r)
    opens(a, "/data/deep/f", True)
    opens(a, "/etc/group", False)
    release(central, second)
    opens(a, "/etc/group", True)


def test_programs_are_refused_by_their_content_the_first_time_as_well(central, sensor, box):
    """/opt/busybox-tool is busybox with a line behind it: a content of its own. What is refused says nothing, and leaves no trace."""
    a, neighbour = box("hashed"), box("unhashed")
    for b in a, neighbour:
        b.run("mkdir -p /opt && cp /bin/busybox /opt/busybox-tool && echo tool >>/opt/busybox-tool && cp /opt/busybox-tool /opt/busybox-early && ln /opt/busybox-tool /opt/busybox-hard && ln -s busybox-tool /opt/busybox-link && "
              "printf '#!/opt/busybox-tool echo\\n' >/opt/script && chmod +x /opt/script")
    content = a.run("sha256sum /opt/busybox-tool").split()[0]
    refused = respond(central, "block", a.name, deny=f"exec-hash:sha256:{content}").json
    assert refused["state"] == "failed" and "memfd" in refused["result"], refused
    assert a.run("/opt/busybox-tool echo ran") == "ran\n"
    r = blocked(central, a.name, f"exec-hash:sha256:{content}")
    copies = ("/dev/shm/busybox-tool", "/ctl/busybox-tool", "/tmp/busybox-tool")
    ways = ["/opt/busybox-tool", "/opt/busybox-early", "/opt/busybox-hard", "/opt/busybox-link", "/opt/script", "mv /opt/busybox-early /opt/busybox-renamed; /opt/busybox-renamed"]
    ways += [f"mkdir -p /tmp; cp /opt/busybox-tool {copy}; {copy}" for copy in copies]

    def assert_refused(ways):
        for way in ways:
            assert a.run(f"{way} echo ran", ok=range(1, 256)) == "", f"expected that {way} is refused"
    assert_refused(ways)
    for way in ways[:5]:
        assert "ran" in neighbour.run(f"{way} echo ran"), f"expected that {way} runs in the other container"
    assert a.run("cp /opt/busybox-tool /opt/busybox-changed; echo more >>/opt/busybox-changed; /opt/busybox-changed echo another content") == "another content\n"
    assert a.run("cp /opt/busybox-changed /opt/busybox-turned; cat /opt/busybox-tool >/opt/busybox-turned; /opt/busybox-turned echo ran", ok=range(1, 256)) == "", "expected that a file which got the content is refused"
    wait_for(lambda: [f for f in found(central, "Blocked") if "content" in f["output"] and r["id"] in f["output"]], 20, "a finding that names the response")

    sensor.kill()
    assert_refused(ways[:3] + ["cp /opt/busybox-tool /opt/busybox-later; /opt/busybox-later"])
    worker = keepers(sensor)[1]
    os.kill(worker, signal.SIGKILL)
    assert_refused(ways[:2] + ["cp /opt/busybox-tool /opt/busybox-latest; /opt/busybox-latest"])
    sensor.start()
    reconnected(sensor)
    assert_refused(ways[:1])
    release(central, r)
    assert a.run("/opt/busybox-tool echo ran") == "ran\n"
    wait_for(lambda: keepers(sensor) == [], 20, "nothing is left that denies")


def test_no_open_passes_when_the_worker_ends_and_a_finding_says_when_they_did(central, sensor, box):
    a = box("guarded")
    a.run("mkdir -p /srv && echo secret >/srv/f")
    r = blocked(central, a.name, "file:r:/srv/f")
    a.run("mv /srv/f /srv/moved && echo secret >/srv/f")
    n = a.start("i=0; while [ ! -e /ctl/enough ]; do cat /srv/moved 2>/dev/null && echo passed; i=$((i+1)); echo $i >/ctl/tries; done")
    tries = a.dir / "tries"

    def more():
        text = tries.read_text() if tries.exists() else ""
        return int(text) if text.endswith("\n") else 0
    for _ in range(3):
        guard, worker = keepers(sensor)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: len(keepers(sensor)) == 2 and keepers(sensor) != [guard, worker], 10, "another worker")
        seen = more()
        wait_for(lambda: more() > seen + 5, 20, "opens are answered again")
    (a.dir / "enough").write_text("")
    assert a.wait(n) == "", "expected no open to pass while the worker was away"
    wait_for(lambda: found(central, "Keeper of file denials was started anew"), 20, "a finding about the worker")

    guard = keepers(sensor)[0]
    os.kill(guard, signal.SIGKILL)
    wait_for(lambda: found(central, "Denials of files were not in force"), 20, "a finding: opens passed for a moment")
    wait_for(lambda: len(keepers(sensor)) == 2 and a.run("cat /srv/f >/dev/null 2>&1; echo $?") == "1\n", 20, "it is in force again")
    a.docker.docker("restart", "-t", "0", a.name)
    wait_for(lambda: (a.docker.docker("exec", a.name, "sh", "-c", "cat /srv/f >/dev/null 2>&1; echo $?").stdout == "1\n", central.root().get("/api/v1/findings").json["findings"][:3]), 20, "a container that was started anew is held again")
    a.docker.docker("rm", "-f", "-v", a.name)
    becomes(central, r, "gone")
    wait_for(lambda: keepers(sensor) == [], 20, "nothing is left that denies")
