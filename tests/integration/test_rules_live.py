"""Rules on a live node: matches become findings of the central, files change without a break, conditions filter events."""
import os
import pathlib
import re
import secrets
import signal
import subprocess
import time
import urllib.parse

import central_env
import pytest
import sensor_env
from boxes import Box
from docker_env import patience, wait_for

RULES = """
- list: marked_files
  items: [/tmp/marker, /tmp/marker2]
- macro: in_container
  condition: container.id != host
- rule: Marker opened
  desc: "A file of the test was opened. What to do: nothing."
  condition: evt.type in (open, openat) and in_container and fd.name in (marked_files)
  output: "marker %fd.name by %proc.name parent %proc.pname of %container.name missing %proc.env[NOT_THERE]"
  priority: WARNING
  tags: [test, T1005]
- rule: Marker program run
  desc: "A program of the test ran."
  condition: evt.type = execve and in_container and proc.args contains "the-mark"
  output: "ran %proc.cmdline (%proc.aname[2])"
  priority: Critical
  tags: [test]
"""

CHANGED = """
- rule: Marker opened
  desc: another text
  condition: evt.type in (open, openat) and container.id != host and fd.name = /tmp/marker3
  output: "third %fd.name"
  priority: Notice
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "own.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend, files):
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--rules", str(files)) as s:
        yield s


@pytest.fixture
def box(docker):
    name = f"bh-rule-{secrets.token_hex(3)}"
    with Box(docker, name, "--label", f"com.docker.compose.project=shop-{name}", "--label", "com.docker.compose.service=web") as b:
        b.name = name
        yield b


def findings(root, **filters):
    query = urllib.parse.urlencode({"limit": 500, "kind": "rule", **filters})
    answer = root.get("/api/v1/findings?" + query)
    assert answer.status == 200, answer
    return answer.json["findings"]


def wait_finding(root, deadline=10, what="a finding", **filters):
    wait_for(lambda: (len(findings(root, **filters)) > 0, findings(root)), deadline, what)
    return findings(root, **filters)


def test_a_match_is_a_finding_with_its_event_lineage_and_container(root, sensor, docker, box):
    docker.docker("exec", box.name, "sh", "-c", "echo secret > /tmp/marker; cat /tmp/marker; true")
    wait_for(lambda: (any("by cat" in f["output"] for f in findings(root, container=box.name)), findings(root, container=box.name)), 10, "cat's finding")
    one = next(f for f in findings(root, container=box.name, rule="Marker opened") if "by cat" in f["output"])
    assert one["output"] == f"marker /tmp/marker by cat parent sh of {box.name} missing <NA>", one
    assert one["priority"].lower() == "warning" and one["tags"] == ["test", "T1005"] and one["container_name"] == box.name and one["workload"] == "web", one
    whole = root.get(f"/api/v1/findings/{one['id']}").json
    assert whole["event"]["path"] == "/tmp/marker" and whole["event"]["type"] == "open", whole
    assert whole["output_fields"]["proc.env[NOT_THERE]"] is None and whole["output_fields"]["proc.name"] == "cat", whole["output_fields"]
    assert whole["lineage"][0]["exe"].endswith("cat") or "busybox" in whole["lineage"][0]["exe"], whole["lineage"]
    assert len(whole["lineage"]) >= 2 and whole["lineage"][0]["pid"] == whole["event"]["proc.pid"], whole["lineage"]
    assert whole["lineage"][1]["pid"] == whole["event"]["proc.ppid"] == whole["lineage"][0]["ppid"], whole["lineage"]
    assert whole["description"] == "A file of the test was opened." and whole["advice"] == "nothing.", whole
    assert whole["container"]["id"] == whole["container_id"], whole["container"]


def test_the_harmless_neighbour_is_no_finding(root, sensor, docker, box):
    docker.docker("exec", box.name, "sh", "-c", "echo x > /tmp/other; cat /tmp/other; echo mark")
    docker.docker("exec", box.name, "echo", "the-mark")
    wait_finding(root, container=box.name, rule="Marker program run")
    assert findings(root, container=box.name, rule="Marker opened") == []


def test_equal_matches_are_one_finding_with_their_number(root, sensor, docker, box):
    before = sensor.status()["rules"]["findings"]
    docker.docker("exec", box.name, "sh", "-c", "i=0; while [ $i -lt 300 ]; do cat /tmp/marker2 2>/dev/null; i=$((i+1)); done; true")

    def all_seen():
        now = sensor.status()["rules"]["findings"]
        return now["told"] - before["told"] + now["repeated"] - before["repeated"] >= 300, now
    wait_for(all_seen, 10, "300 matches")
    assert len([f for f in findings(root, container=box.name) if "by cat" in f["output"]]) == 1, findings(root, container=box.name)
    assert sensor.status()["rules"]["findings"]["refused"] == 0


def test_a_finding_is_told_at_once(root, sensor, docker, box, files):
    """From before the act to the API's answer, the median of nine, beside what a `docker exec` of nothing takes, which is part of it."""
    plain, times = [], []
    for _ in range(9):
        mark = f"/tmp/at-once-{secrets.token_hex(4)}"
        files.write_text(CHANGED.replace("/tmp/marker3", mark))
        assert root.post("/api/v1/rules/reload").status == 200
        begin = time.monotonic()
        docker.docker("exec", box.name, "true")
        plain.append(time.monotonic() - begin)
        begin = time.monotonic()
        docker.docker("exec", box.name, "sh", "-c", f"cat {mark}; true")
        while not any(mark in f["output"] for f in findings(root, container=box.name)):
            assert time.monotonic() - begin < 10 * patience(), "no finding in ten seconds"
            time.sleep(0.005)
        times.append(time.monotonic() - begin)
    files.write_text(RULES)
    assert root.post("/api/v1/rules/reload").status == 200
    assert sorted(times)[4] < sorted(plain)[4] + 0.5, (plain, times)


def test_events_are_filtered_by_a_condition(root, sensor, docker, box):
    docker.docker("exec", box.name, "sh", "-c", "cat /etc/hostname >/dev/null; cat /tmp/nothing-here 2>/dev/null; true")
    wait_for(lambda: (len(sensor.events(filter="fd.name = /etc/hostname and proc.name = cat", container=box.name)) >= 1, sensor.events(container=box.name)), 10, "the filtered event")
    hits = sensor.events(filter="fd.name = /etc/hostname and proc.name = cat", container=box.name)
    assert all(e["path"] == "/etc/hostname" for e in hits), hits
    assert sensor.events(filter="proc.name = no-such", container=box.name) == []
    answer = root.get(f"/api/v1/events?limit=100&container={box.name}&filter=proc.name%20%3D%20cat%20and%20evt.type%20in%20(open)")
    assert answer.status == 200 and answer.json["events"] and all(e["proc.name"] == "cat" if "proc.name" in e else True for e in answer.json["events"]), answer
    bad = root.get("/api/v1/events?filter=proc.nam%20%3D%20x")
    assert bad.status == 400 and "proc.nam" in bad.json["error"]["message"], bad
    refused = sensor.cli("events", "--sensor", "--filter", "proc.name = (", check=False)
    assert refused.returncode == 1 and "filter" in refused.stderr, refused


def test_reload_swaps_rules_and_a_bad_file_changes_nothing(root, sensor, docker, box, files):
    before = sensor.status()["rules"]
    files.write_text(RULES.replace("fd.name in (marked_files)", "fd.name in (no_such_list"))
    os.kill(sensor.pid, signal.SIGHUP)
    wait_for(lambda: (sensor.status()["rules"]["refused_loads"] > before["refused_loads"], sensor.status()["rules"]), 10, "the refusal")
    status = sensor.status()["rules"]
    assert str(files) in status["problem"] and status["rules"] == before["rules"], status
    docker.docker("exec", box.name, "echo", "the-mark still runs")
    wait_finding(root, container=box.name, rule="Marker program run")

    files.write_text(CHANGED)
    os.kill(sensor.pid, signal.SIGHUP)
    wait_for(lambda: (sensor.status()["rules"]["rules"] == 1, sensor.status()["rules"]), 10, "the new rules")
    docker.docker("exec", box.name, "sh", "-c", "cat /tmp/marker3; true")
    wait_for(lambda: (any(f["output"] == "third /tmp/marker3" for f in findings(root, container=box.name)), findings(root)), 10, "the changed rule matches")
    files.write_text(RULES)
    answer = root.post("/api/v1/rules/reload")
    assert answer.status == 200, answer
    assert sensor.status()["rules"]["rules"] == 2, sensor.status()["rules"]


def test_a_reload_under_load_loses_no_match(root, sensor, docker, box):
    """Each of 300 programs, run while the rules are swapped over and over, is matched exactly once: told by itself, or in a number."""
    tag = secrets.token_hex(4)
    before, status = execs(sensor, box, tag), sensor.status()["rules"]
    assert before == 0
    loop = f"i=0; while [ $i -lt 300 ]; do /bin/busybox echo the-mark-{tag} >/dev/null; i=$((i+1)); done"
    worker = subprocess.Popen(["docker", "--host", docker.host, "exec", box.name, "sh", "-c", loop], stdout=subprocess.DEVNULL)
    while worker.poll() is None:
        assert root.post("/api/v1/rules/reload").status == 200
    assert worker.returncode == 0
    wait_for(lambda: (execs(sensor, box, tag) >= 301, execs(sensor, box, tag)), 10, "300 programs and their shell")
    after = sensor.status()["rules"]
    told = after["findings"]["told"] + after["findings"]["repeated"] - status["findings"]["told"] - status["findings"]["repeated"]
    assert after["loads"] > status["loads"] and after["findings"]["refused"] == 0, after
    assert told == execs(sensor, box, tag) == 301, (told, execs(sensor, box, tag))


def execs(sensor, box, tag):
    return len([e for e in sensor.events(type="exec", container=box.name) if any(tag in a for a in e.get("proc.args", []))])


def test_managed_files_reach_the_node_and_bad_ones_do_not(root, sensor, docker, box):
    text = '- rule: Managed\n  desc: d\n  condition: evt.type = execve and container.id != host and proc.args contains managed-mark\n  output: "managed %proc.args"\n  priority: ERROR\n'
    bad = root.put("/api/v1/rules/files/site.yaml", {"text": text.replace("evt.type", "evt.typo")})
    assert bad.status == 422 and bad.json["errors"] >= 1 and bad.json["problems"][0]["line"] == 3, bad
    # what only the compiler can refuse is refused here as well, and not by the nodes afterwards
    dear = root.put("/api/v1/rules/files/site.yaml", {"text": text.replace("proc.args contains managed-mark", "proc.args regex '(a)\\\\1'")})
    assert dear.status == 422 and dear.json["errors"] == 1 and dear.json["problems"][0]["line"] == 3 and "back-references" in dear.json["problems"][0]["what"], dear
    assert dear.json["problems"][0]["object"] == "Managed" and dear.json["problems"][0]["severity"] == "error", dear
    checked = root.post("/api/v1/rules/check", {"name": "site.yaml", "text": text.replace("proc.args contains managed-mark", "proc.args regex '(a)\\\\1'")})
    assert checked.status == 200 and checked.json["errors"] == 1 and checked.json["problems"] == dear.json["problems"], checked
    assert root.get("/api/v1/rules/files").json["files"] == []
    good = root.put("/api/v1/rules/files/site.yaml", {"text": text})
    assert good.status == 200, good
    wait_for(lambda: (any(r["name"] == "Managed" for r in root.get("/api/v1/rules").json["rules"]), root.get("/api/v1/rules/files").json), 10, "the node has the managed rule")
    docker.docker("exec", box.name, "echo", "managed-mark")
    wait_finding(root, container=box.name, rule="Managed")
    assert root.get("/api/v1/rules/files/site.yaml").json["text"] == text
    for name in ("x", ".x.yaml", "a%20b.yaml", "x" * 200 + ".yaml", "x.json"):
        assert root.put("/api/v1/rules/files/" + name, {"text": text}).status == 400, name

    # the node keeps them for itself
    kept = pathlib.Path(sensor.data_dir) / "rules" / "site.yaml"
    assert kept.read_text() == text and kept.stat().st_mode & 0o777 == 0o600
    assert root.delete("/api/v1/rules/files/site.yaml").status == 200
    wait_for(lambda: (not any(r["name"] == "Managed" for r in root.get("/api/v1/rules").json["rules"]), root.get("/api/v1/rules/files").json), 10, "the rule is gone from the node")
    assert not kept.exists()


def test_rules_that_a_node_refuses_are_counted_there(root, sensor, files):
    """The central's file builds on a macro that it knows by its default rules, and this node, which runs without these, does not."""
    before = sensor.status()["rules"]
    text = "- rule: Built upon defaults\n  desc: d\n  condition: spawned and in_container and proc.args contains never-refused\n  output: x\n  priority: INFO\n"
    assert root.put("/api/v1/rules/files/site.yaml", {"text": text}).status == 200
    try:
        wait_for(lambda: (states(root) == ["refused"], root.get("/api/v1/rules/files").json), 10, "the node refuses them")
        status = sensor.status()["rules"]
        assert status["refused_loads"] == before["refused_loads"] + 1 and "spawned" in status["problem"] and status["rules"] == before["rules"], status
    finally:
        assert root.delete("/api/v1/rules/files/site.yaml").status == 200
    wait_for(lambda: (states(root) == ["current"], root.get("/api/v1/rules/files").json), 10, "the node has none again")


def test_a_pattern_that_takes_too_much_is_said_once_and_counted(root, sensor, box, files):
    files.write_text(RULES + "- rule: Too dear\n  desc: d\n  condition: evt.type = execve and container.id != host and proc.args regex '.*(a|aa)+[bc]'\n  output: x\n  priority: INFO\n")
    assert root.post("/api/v1/rules/reload").status == 200
    try:
        before = sensor.status()["rules"]["pattern_limits"]
        for _ in range(3):
            box.run(f"/bin/busybox true {'a' * 3000}")
        wait_for(lambda: (sensor.status()["rules"]["pattern_limits"] >= before + 3, sensor.status()["rules"]), 10, "the limits are counted")

        def said():
            answer = root.get("/api/v1/findings?" + urllib.parse.urlencode({"limit": 500, "rule": "Pattern of a rule takes more than it may"})).json["findings"]
            return len(answer) > 0, answer
        one, = wait_for(said, 10, "the finding of the sensor")
        assert one["count"] == 1 and '"Too dear"' in one["output"] and ".*(a|aa)+[bc]" in one["output"] and box.name in one["output"], one
        assert "RULES:" in sensor.cli("status").stdout
    finally:
        files.write_text(RULES)
        assert root.post("/api/v1/rules/reload").status == 200


def test_without_a_central_findings_of_the_users_rules_are_printed(build, docker, files, box):
    files.write_text(RULES)
    s = sensor_env.Sensor(build, docker_host=docker.host, args=["--no-bus", "--no-default-rules", "--rules", str(files)])
    try:
        s.start()
        box.run("echo x >/tmp/marker")
        box.run("/bin/busybox echo the-mark")
        wait_for(lambda: ("the-mark" in s.log.read_text(), s.log.read_text()), 10, "the finding is printed")
        lines = [line for line in s.log.read_text().splitlines() if "marker /tmp/marker" in line or "ran " in line]
        assert all(re.match(r"\d\d:\d\d:\d\d\.\d{9}: (Warning|Critical) ", line) for line in lines) and len(lines) >= 2, lines
        assert s.status()["rules"]["rules"] == 2 and s.status()["bus"]["state"] == "off", s.status()["rules"]
        s.stop()
        s.check_sanitizers()
    finally:
        s.close()


def states(root):
    return [n["state"] for n in root.get("/api/v1/rules/files").json["nodes"]]


def test_large_managed_files_reach_the_node(root, sensor):
    """Together more than any other request of the bus has; each change is answered well before the central would ask again (60 s)."""
    filler = "# nothing\n" * 30000
    for n in range(4):
        text = f'- rule: Large {n}\n  desc: d\n  condition: evt.type = execve and proc.args contains never-{n}\n  output: x\n  priority: INFO\n' + filler
        assert root.put(f"/api/v1/rules/files/large{n}.yaml", {"text": text}).status == 200
        wait_for(lambda n=n: (any(r["name"] == f"Large {n}" for r in root.get("/api/v1/rules").json["rules"]), root.get("/api/v1/rules/files").json), 15, f"the node has large file {n}")
        wait_for(lambda: (states(root) == ["current"], root.get("/api/v1/rules/files").json), 15, "the central knows that")
    for n in range(4):
        assert root.delete(f"/api/v1/rules/files/large{n}.yaml").status == 200
    wait_for(lambda: (not any("Large" in r["name"] for r in root.get("/api/v1/rules").json["rules"]), states(root)), 15, "they are gone again")


def test_the_command_line_does_the_same(root, sensor, central, docker, tmp_path):
    def cli(*args, check=True):
        return sensor.cli(*args, "--run-dir", str(central.run_dir), check=check)
    path = tmp_path / "a.yaml"
    path.write_text("- rule: By hand\n  desc: d\n  condition: evt.type = execve and proc.name = never\n  output: x\n  priority: INFO\n")
    assert "in force" in cli("rules", "set", "hand.yaml", str(path)).stdout
    assert "hand.yaml" in cli("rules", "files").stdout
    assert cli("rules", "show", "hand.yaml").stdout == path.read_text()
    wait_for(lambda: ("By hand" in cli("rules", "list").stdout, cli("rules", "list").stdout), 10, "the list has it")
    path.write_text("- rule: By hand\n  condition: evt.type = execve and\n")
    refused = cli("rules", "set", "hand.yaml", str(path), check=False)
    assert refused.returncode == 1 and "hand.yaml:" in refused.stderr and "nothing was changed" in refused.stderr, refused
    assert "By hand" in cli("rules", "show", "hand.yaml").stdout
    cli("rules", "remove", "hand.yaml")
    assert "no rule files" in cli("rules", "files").stdout


def test_what_matched_before_the_sensor_was_killed_is_told(central, root, build, docker, files, backend):
    """SIGKILL directly after the act, ten times: each is told at once, by itself or in the number of those that are equal to it."""
    files.write_text(RULES)
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--rules", str(files)) as s:
        name = f"bh-kill-{secrets.token_hex(3)}"
        with Box(docker, name):
            for n in range(10):
                mark = f"the-mark-{secrets.token_hex(4)}"
                docker.docker("exec", name, "sh", "-c", f": {mark} $(cat /tmp/marker 2>/dev/null)")
                s.kill()
                s.restart()
                wait_for(lambda: (any(mark in f["output"] for f in findings(root, container=name)) or
                                  sum(f["count"] for f in findings(root, container=name, rule="Marker program run")) > n, findings(root, container=name)), 15,
                         f"the finding of round {n}")


@pytest.mark.parametrize("option", [None, "--host-events"])
def test_rules_about_what_the_node_is_not_told_are_named(new_sensor, tmp_path, option):
    """File acts of processes outside of containers are events by an option only."""
    own = tmp_path / "own.yaml"
    own.write_text("".join(f"- rule: {name}\n  desc: d\n  condition: evt.type = {kind} and {where}\n  output: x\n  priority: INFO\n" for name, kind, where in (
        ("files of the node", "open", "container.id = host"), ("programs of the node", "execve", "container.id = host"), ("files of all", "open", "fd.name = /x"))))
    sensor = new_sensor(args=["--no-docker", "--no-default-rules", "--no-bus", "--rules", str(own), *([option] if option else [])])
    named = [line for line in sensor.log.read_text().splitlines() if "a rule asks for what this node does not have" in line]
    if option:
        assert named == []
    else:
        assert len(named) == 1 and 'rule="files of the node"' in named[0] and f'at="{own}:3:14"' in named[0] and "open; start it with --host-events" in named[0], named


def test_errors_in_the_users_own_file_refuse_the_start(build, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("- rule: X\n  desc: d\n  condition: proc.nam = x\n  output: x\n  priority: INFO\n")
    s = sensor_env.Sensor(build, args=["--rules", str(bad), "--no-docker"])
    try:
        out = subprocess.run(s.argv(), capture_output=True, text=True, timeout=60)
        assert out.returncode == 1 and f"{bad}:3:" in out.stderr and "proc.nam" in out.stderr, out
    finally:
        s.close()


def test_a_reload_and_a_stop_at_once(build, tmp_path):
    """The reload says how it went and asks for hooks: both must be there until it is over."""
    many, words = tmp_path / "many.yaml", " or ".join(f"proc.args contains never-{word}-{{0}}" for word in "abcdefgh")
    many.write_text("".join(f"- rule: R{n}\n  desc: d\n  condition: evt.type = execve and ({words.format(n)})\n  output: x\n  priority: INFO\n" for n in range(15000)))
    for _ in range(2):
        with sensor_env.Sensor(build, args=["--bus", f"unix:{tmp_path}/nobody.sock", "--no-docker", "--no-default-rules", "--rules", str(many)]) as s:
            s.proc.send_signal(signal.SIGHUP)
            time.sleep(0.05)
            s.proc.send_signal(signal.SIGTERM)
            assert s.proc.wait(60) == 0
            told = [e["action"] for e in s.replay(pathlib.Path(s.data_dir) / "recorder") if e["type"] == "sensor"]
            assert "rules_changed" in told, told


def test_managed_files_left_out_at_the_start_are_said(build, tmp_path):
    """The node says which state it has: not one that it could not load, so that the central's next word tells what is wrong."""
    own = tmp_path / "more.yaml"
    own.write_text("- macro: theirs\n  condition: evt.type = execve\n")
    text = "- rule: Built upon\n  desc: d\n  condition: theirs and proc.args contains never\n  output: x\n  priority: INFO\n"
    with sensor_env.Sensor(build, args=["--bus", f"unix:{tmp_path}/nobody.sock", "--no-docker", "--no-default-rules", "--rules", str(own)]) as s:
        managed = pathlib.Path(s.data_dir) / "rules"
        managed.mkdir(mode=0o700, exist_ok=True)
        (managed / "site.yaml").write_text(text)
        (managed / ".state").write_text("abc123")
        s.proc.send_signal(signal.SIGHUP)
        wait_for(lambda: (s.status()["rules"]["managed"] == "abc123", s.status()["rules"]), 10, "they are in force")
        own.write_text("[]")
        s.stop()
        s.restart()
        assert s.status()["rules"]["managed"] == "" and "theirs" in s.status()["rules"]["problem"], s.status()["rules"]
