"""Findings from the bus to whoever is told: store, API, command line, and outputs against real servers."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import time

import pytest
import sensor_env
from central_env import FALLBACK_UID, Central, Client, Node
from docker_env import die_with_parent, patience, wait_for
from output_env import HOSTILE, Hook, Syslog, certificate, falco_alerts, rule_finding, server_tls, set_output, status_of, wait_status

SUMMARY_S = 2


@pytest.fixture
def central():
    with Central(args=["--alert-summary", str(SUMMARY_S)]) as c:
        yield c


@pytest.fixture
def root(central):
    return central.root()


@pytest.fixture
def node(central):
    return central.node("node-1")


@pytest.fixture
def servers():
    """servers(object): closed at the end."""
    made = []

    def keep(server):
        made.append(server)
        return server
    yield keep
    for s in made:
        s.close()


def cli(central, *args, check=True, stdin=None):
    done = subprocess.run([sensor_env.program(sensor_env.build_dir(), "bulkhead"), "--run-dir", central.run_dir, *map(str, args)], capture_output=True, text=True, timeout=60, input=stdin)
    assert not check or done.returncode == 0, (args, done)
    return done


def publish(node, *bodies):
    """One message each, within the bus's window."""
    for i, body in enumerate(bodies, 1):
        node.publish("finding", body)
        if i % 500 == 0:
            node.wait_acked(deadline=60)
    node.wait_acked(deadline=60)


def notifier_of(central):
    """The pid of the process that delivers."""
    keeper = pathlib.Path(f"/proc/{central.pid}/task/{central.pid}/children").read_text().split()
    for pid in keeper:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
    return None


# Store, API, command line --------------------------------------------------------------------------------------------

def test_a_finding_is_kept_whole_and_shown(central, root, node):
    publish(node, rule_finding("n-1", output=b"A shell " + HOSTILE))
    row = root.get("/api/v1/findings").json["findings"][0]
    assert row["priority"] == "critical" and row["hostname"] == "host.example" and row["node"] == "node-1" and row["kind"] == "rule" and row["count"] == 1, row
    assert row["container_name"] == "web" and row["workload"] == "web" and row["application"] == "shop" and row["image"] == "shop/web:1", row
    assert row["output_fields"] == {"proc.name": "sh", "proc.pid": 42, "fd.name": None, "proc.is_vpgid_leader": True, "proc.aexepath": ["/bin/sh", "/sbin/init"]}, row
    assert row["tags"] == ["T1059", "mitre_execution"] and row["time"] == row["last"], row
    assert "lineage" not in row and "event" not in row

    one = root.get("/api/v1/findings/n-1").json
    assert one["description"].startswith("A shell") and one["advice"].startswith("Look")
    assert [(p["pid"], p["exe"], p["args"]) for p in one["lineage"]] == [(42, "/bin/sh", ["sh", "-c", "id"]), (41, "/usr/sbin/nginx", ["nginx"])], one["lineage"]
    assert one["container"]["labels"] == {"tier": "front"} and one["container"]["image"] == "shop/web:1"
    assert one["event"]["id"] and one["event"]["node"] == "node-1"

    table = cli(central, "findings").stdout
    assert "critical" in table and "Terminal shell in container" in table and "\x1b" not in table and len(table.splitlines()) == 2, table
    text = cli(central, "findings", "n-1").stdout
    for words in ("A shell in a container that has none", "What to do", "Look at who started it", "/usr/sbin/nginx", "shop/web:1", "proc.aexepath", "<NA>"):
        assert words in text, (words, text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\x9b]", text), text
    lines = cli(central, "findings", "--json").stdout.splitlines()
    assert len(lines) == 1 and {"time", "rule", "priority", "source", "hostname", "output", "output_fields", "tags"} <= set(json.loads(lines[0])), lines
    assert json.loads(cli(central, "findings", "--json", "n-1").stdout) == one
    done = cli(central, "findings", "nothing", check=False)
    assert done.returncode == 1 and "nothing" in done.stderr


def test_filters_of_api_and_command_line_agree(central, root, node):
    publish(node, rule_finding("a"), rule_finding("b", rule="Write below etc", priority="Warning"), rule_finding("c", rule="Odd", priority="notice", f12=["x"], f8="d" * 64, f9="db", f22=b""))

    def ids(query, *options):
        by_api = [f["id"] for f in root.get(f"/api/v1/findings?{query}").json["findings"]]
        if options:
            by_cli = [json.loads(line)["id"] for line in cli(central, "findings", "--json", *options).stdout.splitlines()]
            assert by_cli == by_api, (query, by_cli, by_api)
        return "".join(sorted(by_api))
    assert ids("") == "abc"
    assert ids("priority=warning", "-p", "warning") == "ab"
    assert ids("rule_glob=*shell*", "--rule", "*shell*") == "a"
    assert ids("container=web", "-c", "web") == "ab"
    assert ids("container=dddd", "-c", "dddd") == "c"
    assert ids("workload=web", "--workload", "web") == "ab"
    assert ids("tag=T1059") == "ab"
    assert ids("search=BELOW", "--search", "BELOW") == "b"
    assert ids("kind=rule&source=syscall") == "abc"
    assert ids("since=1h", "--since", "1h") == "abc"
    assert root.get("/api/v1/findings?rule_glob=*****").status == 400
    assert root.get("/api/v1/findings?count=true&limit=1").json["total"] == 3
    assert cli(central, "findings", "-p", "huge", check=False).returncode == 2


def test_a_storm_of_equal_findings_is_one_row(central, root, node):
    """10,000, each a message of its own."""
    began = time.time_ns()
    stream = root.stream("/api/v1/stream")
    stream.wait(lambda i, e, d: e == "hello")
    publish(node, *(rule_finding(f"s-{i}", key="the same", when=began + i * 1000) for i in range(10_000)))
    rows = root.get("/api/v1/findings").json["findings"]
    assert [(r["id"], r["count"]) for r in rows] == [("s-0", 10_000)], rows
    hits = stream.wait(lambda i, e, d: e == "finding" and d["object"]["count"] == 10_000, 20, "the whole count in the stream")
    assert hits[0][2]["object"]["time"] < hits[0][2]["object"]["last"]
    assert root.get("/api/v1/status").json["overview"]["findings"] == 1
    assert "10000" in cli(central, "findings").stdout


def test_findings_are_followed(central, root, node):
    publish(node, rule_finding("old"))
    with subprocess.Popen([sensor_env.program(sensor_env.build_dir(), "bulkhead"), "--run-dir", central.run_dir, "findings", "-f", "--since", "1h", "--rule", "Term*", "--json"],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            assert json.loads(p.stdout.readline())["id"] == "old"
            publish(node, rule_finding("other", rule="Odd"), rule_finding("new", key="k"))
            assert json.loads(p.stdout.readline())["id"] == "new"
            publish(node, *(rule_finding(f"again-{i}", key="k") for i in range(20)), rule_finding("next"))
            assert json.loads(p.stdout.readline())["id"] == "next", "one that grows is not shown again within the minute"
        finally:
            p.terminate()
        assert p.wait(10) == 0, p.stderr.read()


# Outputs -----------------------------------------------------------------------------------------------------------------

def test_a_file_gets_every_alert_once_in_order_across_rotation(central, root, node):
    set_output(root, "f", type="file", file="alerts.json")
    path = central.data_dir / "central" / "alerts" / "alerts.json"
    publish(node, *(rule_finding(f"a-{i}", output=HOSTILE + b"%d" % i) for i in range(50)))
    wait_status(root, "f", lambda s: s["delivered"] == 50)
    assert path.stat().st_mode & 0o7777 == 0o640 and path.stat().st_uid == FALLBACK_UID
    os.rename(path, path.with_suffix(".1"))
    publish(node, *(rule_finding(f"b-{i}") for i in range(5)))
    wait_status(root, "f", lambda s: s["delivered"] == 55)
    old, new = falco_alerts(path.with_suffix(".1").read_text()), falco_alerts(path.read_text())
    assert [a["output_fields"]["bulkhead.id"] for a in old + new] == [f"a-{i}/1" for i in range(50)] + [f"b-{i}/1" for i in range(5)]
    for a in old:
        assert a["priority"] == "Critical" and a["source"] == "syscall" and a["hostname"] == "host.example", a
        assert a["output"].startswith(f"{a['time']}: Critical ") and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", a["time"]), a
        assert a["output_fields"]["fd.name"] is None and a["output_fields"]["proc.pid"] == 42, a


def test_what_grows_is_told_at_once_and_then_as_its_number(central, root, node):
    set_output(root, "f", type="file", file="all.json", format="bulkhead")
    path = central.data_dir / "central" / "alerts" / "all.json"
    total, sent, begin = 0, 0, time.monotonic()
    while time.monotonic() < begin + 3 * SUMMARY_S:
        publish(node, *(rule_finding(f"g-{sent + i}", key="grows") for i in range(20)))
        sent += 20
        time.sleep(0.1)

    def told():
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return sum(a["delivery"]["more"] for a in lines), lines
    total, lines = wait_for(lambda: ((t := told())[0] == sent, t), 20, "everything is told")
    assert total == sent and lines[0]["delivery"]["first"] and not any(a["delivery"]["first"] for a in lines[1:])
    assert all(a["schema"] == "bulkhead.finding.v1" and a["id"] == "g-0" and a["event"] and a["lineage"] and a["container"] for a in lines)
    assert len({a["delivery"]["id"] for a in lines}) == len(lines) and lines[-1]["count"] == sent
    # at once, and then not more often than the summaries come
    took = time.monotonic() - begin
    assert 3 <= len(lines) <= 3 + took / SUMMARY_S, (took, [a["delivery"] for a in lines])


RFC5424 = re.compile(rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z|-) ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) (-) (.*)", re.S)


@pytest.mark.parametrize("kind", ("udp", "tcp", "tls"))
def test_syslog_servers_take_whole_messages(central, root, node, servers, tmp_path, kind):
    cert, key = certificate(tmp_path) if kind == "tls" else (None, None)
    server = servers(Syslog(kind, tls=server_tls(cert, key) if cert else None))
    set_output(root, "s", type="syslog", transport=kind, host="localhost", port=server.port, facility="local5", **({"ca": cert.read_text()} if cert else {}))
    publish(node, *(rule_finding(f"a-{i}", output=b"%d " % i + HOSTILE) for i in range(40)), rule_finding("big", output="x" * 60_000))
    wait_status(root, "s", lambda s: s["delivered"] == 41)
    got = wait_for(lambda: (len(server.messages) == 41, len(server.messages)), 10, "all arrive") and server.messages
    assert not server.problems, server.problems
    for i, m in enumerate(got[:40]):
        parts = RFC5424.fullmatch(m)
        assert parts and int(parts[1]) == 21 * 8 + 2 and parts[3] == b"host.example" and parts[4] == b"bulkhead", m
        text = parts[8]
        assert text.startswith(b"\xef\xbb\xbf"), m
        assert f": Critical {i} ".encode() in text and not re.search(rb"[\x00-\x1f\x7f]", text), m
        text.decode()
    assert len(got[40]) <= (8192 if kind == "udp" else 1 << 18)
    assert status_of(root, "s")["cut"] == (1 if kind == "udp" else 0)


class WithDevLog(Central):
    """In a mount namespace whose /dev is the test's own, with a daemon's socket in it."""

    def start(self, deadline=30.0):
        dev = self.dir / "dev"
        if not dev.exists():
            dev.mkdir(mode=0o755)
            for name in ("null", "urandom"):
                os.mknod(dev / name, 0o666 | stat.S_IFCHR, os.stat(f"/dev/{name}").st_rdev)
                os.chmod(dev / name, 0o666)
        return super().start(deadline)

    def argv(self, *more):
        return ["unshare", "--mount", "sh", "-c", f'mount --bind "{self.dir}/dev" /dev && exec "$@"', "sh", *super().argv(*more)]


def test_the_local_daemon_is_reached_from_the_sandbox():
    with WithDevLog() as central, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        root, node = central.root(), central.node("node-1")
        set_output(root, "l", type="syslog", transport="local", facility="authpriv")
        publish(node, rule_finding("early"))
        s = wait_status(root, "l", lambda s: s["failures"] >= 1)
        assert "/dev/log" in s["problem"] and s["queued"] == 1, s
        daemon.bind(str(central.dir / "dev" / "log"))
        os.chmod(central.dir / "dev" / "log", 0o666)
        daemon.settimeout(20)
        got = daemon.recv(70000)
        assert re.fullmatch(rb"<82>[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d bulkhead\[\d+\]: \S+: Critical A shell was started", got), got
        wait_status(root, "l", lambda s: s["delivered"] == 1 and s["queued"] == 0)


def test_a_syslog_server_that_is_not_trusted_gets_nothing(central, root, node, servers, tmp_path):
    cert, key = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other")
    server = servers(Syslog("tls", tls=server_tls(cert, key)))
    set_output(root, "s", type="syslog", transport="tls", host="localhost", port=server.port, ca=other.read_text())
    publish(node, rule_finding("a"))
    s = wait_status(root, "s", lambda s: s["failures"] >= 2)
    assert "not trusted" in s["problem"] and s["queued"] == 1 and not server.messages, s
    assert "ALERTS do not reach the output s" in cli(central, "status").stdout
    # mended, it goes on
    set_output(root, "s", type="syslog", transport="tls", host="localhost", port=server.port, ca=cert.read_text())
    wait_status(root, "s", lambda s: s["delivered"] == 1 and not s["problem"])


def test_servers_may_ask_for_a_certificate(central, root, node, servers, tmp_path):
    cert, key = certificate(tmp_path)
    own, own_key = certificate(tmp_path, "client")

    def asking():
        context = server_tls(cert, key)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(own)
        return context
    log, hook = servers(Syslog("tls", tls=asking())), servers(Hook(tls=asking()))
    both = {"log": {"type": "syslog", "transport": "tls", "host": "localhost", "port": log.port, "ca": cert.read_text()},
            "hook": {"type": "webhook", "url": f"https://localhost:{hook.port}/", "ca": cert.read_text()}}
    for name, config in both.items():
        set_output(root, name, **config)
    publish(node, rule_finding("a"))
    for name in both:
        assert wait_status(root, name, lambda s: s["failures"] >= 1)["queued"] == 1
    assert not log.messages and not hook.all
    for name, config in both.items():
        shown = set_output(root, name, **config, certificate=own.read_text(), key=own_key.read_text())
        assert shown["config"]["key"] is True and "PRIVATE" not in json.dumps(shown)
        wait_status(root, name, lambda s: s["delivered"] == 1)
    assert len(log.messages) == 1 and hook.ids == ["a/1"]


def test_a_webhook_that_is_not_trusted_gets_nothing(central, root, node, servers, tmp_path):
    cert, key = certificate(tmp_path)
    wrong, wrong_key = certificate(tmp_path, "elsewhere.example")
    hook = servers(Hook(tls=server_tls(cert, key)))
    set_output(root, "w", type="webhook", url=f"https://localhost:{hook.port}/", headers={"Authorization": "s3cr3t"})  # the system's list
    publish(node, rule_finding("a"))
    s = wait_status(root, "w", lambda s: s["failures"] >= 1)
    assert "certificate" in s["problem"] and s["queued"] == 1 and not hook.all, s
    other = servers(Hook(tls=server_tls(wrong, wrong_key)))  # trusted, but another's name
    set_output(root, "v", type="webhook", url=f"https://localhost:{other.port}/", ca=wrong.read_text())
    publish(node, rule_finding("b"))
    s = wait_status(root, "v", lambda s: s["failures"] >= 1)
    assert s["queued"] == 1 and not other.all, s


def test_a_syslog_server_that_restarts_loses_nothing_that_it_had_not_taken(central, root, node, servers):
    server = servers(Syslog("tcp"))
    set_output(root, "s", type="syslog", transport="tcp", host="127.0.0.1", port=server.port)
    publish(node, *(rule_finding(f"a-{i}") for i in range(20)))
    wait_status(root, "s", lambda s: s["delivered"] == 20)
    server.close()
    publish(node, *(rule_finding(f"b-{i}") for i in range(20)))
    wait_status(root, "s", lambda s: s["problem"] and s["queued"] == 20)
    again = servers(Syslog("tcp", port=server.port))
    wait_status(root, "s", lambda s: s["delivered"] == 40)
    wait_for(lambda: (len(again.messages) == 20, len(again.messages)), 10, "the rest arrives")


@pytest.mark.parametrize("secure", (False, True))
def test_a_webhook_that_fails_and_recovers_gets_all_with_the_same_ids(central, root, node, servers, tmp_path, secure):
    cert, key = certificate(tmp_path) if secure else (None, None)
    hook = servers(Hook([200, 500, "drop", (429, {"Retry-After": "3"}), 200, 404, (302, {"Location": "http://127.0.0.1:1/"}), "hang", 200], tls=server_tls(cert, key) if cert else None))
    set_output(root, "w", type="webhook", url=f"http{'s' if secure else ''}://localhost:{hook.port}/in", url_secret="?token=s3cr3t", headers={"Authorization": "Bearer s3cr3t"}, timeout=2,
               **({"ca": cert.read_text()} if cert else {}))
    publish(node, *(rule_finding(f"a-{i}") for i in range(10)))
    s = wait_status(root, "w", lambda s: s["delivered"] + s["refused"] == 10, 60)
    assert s["refused"] == 2 and s["queued"] == 0 and s["lost"] == 0 and "302" not in s["problem"], s
    # one after the other; what failed came again with its id, what was refused did not
    assert [e[1] for e in hook.all] == ["a-0/1", "a-1/1", "a-1/1", "a-1/1", "a-1/1", "a-2/1", "a-3/1", "a-4/1", "a-4/1", *(f"a-{i}/1" for i in range(5, 10))], [e[1] for e in hook.all]
    waited = hook.all[4][0] - hook.all[3][0]
    assert waited >= 2.9, f"Retry-After: 3 was answered after {waited:.2f} s"
    for _, ident, body, headers, path in hook.all:
        alert = json.loads(body)
        assert alert["delivery"]["id"] == ident and headers["Authorization"] == "Bearer s3cr3t" and path == "/in?token=s3cr3t", headers
    for text in (root.get("/api/v1/outputs").body, root.get("/api/v1/audit?limit=1000").body, central.log_text().encode(), cli(central, "output", "show", "w").stdout.encode()):
        assert b"s3cr3t" not in text


def test_an_output_that_hangs_holds_up_no_other(central, root, node, servers):
    hook = servers(Hook(["hang"] * 100))
    set_output(root, "hangs", type="webhook", url=f"http://127.0.0.1:{hook.port}/", timeout=60)
    set_output(root, "f", type="file", file="f.json")
    publish(node, *(rule_finding(f"a-{i}") for i in range(30)))
    wait_status(root, "f", lambda s: s["delivered"] == 30, 15)
    assert status_of(root, "hangs")["queued"] == 30
    # and the end not either
    began = time.monotonic()
    central.stop()
    assert time.monotonic() - began < 10 * patience(), "the stop waited for the server"


def test_filters_choose_what_an_output_gets(central, root, node):
    set_output(root, "urgent", type="file", file="urgent.txt", format="text", minimum_priority="critical")
    set_output(root, "etc", type="file", file="etc.txt", format="text", rules=["*etc*"])
    set_output(root, "off", type="file", file="off.txt", enabled=False)
    publish(node, rule_finding("a"), rule_finding("b", rule="Write below etc", priority="notice", output="etc was written"), rule_finding("c", rule="Odd", priority="debug"))
    wait_status(root, "urgent", lambda s: s["delivered"] == 1)
    wait_status(root, "etc", lambda s: s["delivered"] == 1)
    alerts = central.data_dir / "central" / "alerts"
    assert re.fullmatch(r"\S{30}: Notice etc was written\n", (alerts / "etc.txt").read_text())
    assert not (alerts / "off.txt").exists() and status_of(root, "off")["state"] == "off"


def test_an_incident_is_told_to_a_webhook_and_to_syslog_and_findings_are_not(central, root, node, servers):
    hook, log = servers(Hook()), servers(Syslog("tcp"))
    set_output(root, "w", type="webhook", url=f"http://127.0.0.1:{hook.port}/", format="bulkhead", sources=["incident"])
    set_output(root, "s", type="syslog", transport="tcp", host="127.0.0.1", port=log.port, facility="local5", sources=["incident"])

    def told():
        return [json.loads(e[2]) for e in hook.taken]

    def told_as(state, n):
        wait_for(lambda: (any((f := x["output_fields"])["incident.state"] == state and f["incident.findings"] == n for x in told()), told()), 20, f"the webhook is told of {n} findings, {state}")
        return told()[-1], root.get(f"/api/v1/incidents/{told()[-1]['output_fields']['incident.id']}").json

    def logged(alert, i, severity):
        """The message of the alert: its priority, its title or story."""
        wait_for(lambda: (any(m.startswith(b"<%d>1 " % (21 * 8 + severity)) and i["title"].encode() in m for m in log.messages), log.messages), 20, f"syslog is told of {alert['output']}")

    publish(node, rule_finding("a"))
    opened, i = told_as("open", 1)
    fields = opened["output_fields"]
    assert fields["incident.id"] == i["id"] and fields["incident.title"] == i["title"] and i["title"] in opened["output"] and i["story"] in opened["output"], (opened, i)
    severities = {"low": ("warning", 4), "medium": ("error", 3), "high": ("critical", 2), "critical": ("alert", 1)}
    assert fields["incident.severity"] == i["severity"] and opened["priority"].lower() == severities[i["severity"]][0], (opened, i)
    logged(opened, i, severities[i["severity"]][1])

    publish(node, rule_finding("b", rule="Password hashes read", output="cat read /etc/shadow", f12=["T1003", "mitre_credential_access"]))
    grown, i = told_as("open", 2)
    assert grown["output_fields"]["incident.id"] == fields["incident.id"] and i["findings"] == 2 and "credential-access" in grown["tags"], (grown, i)
    assert grown["output_fields"]["incident.title"] == i["title"] and i["story"] in grown["output"] and "Password hashes read" in i["story"], (grown, i)
    logged(grown, i, severities[i["severity"]][1])

    answer = root.post(f"/api/v1/incidents/{i['id']}/close", {"verdict": "false_positive"})
    # no model spoke of it: there is nothing to teach, and nothing that was not taught
    assert answer.status == 200 and answer.json["taught"] == {"accepted": 0, "known": 0, "forbidden": 0, "gone": 0, "failed": 0, "more": False}, answer
    closed, i = told_as("closed", 2)
    assert closed["output_fields"]["incident.id"] == i["id"] and closed["priority"].lower() == "notice" and i["title"] in closed["output"], (closed, i)
    logged(closed, i, 5)
    # each once, whatever is told on the way, and no finding by itself
    assert {x["rule"] for x in told()} == {"Incident"} and len({x["delivery"]["id"] for x in told()}) == len(told()), told()
    assert [x["output_fields"]["incident.state"] for x in told()].count("closed") == 1, told()
    wait_status(root, "s", lambda s: s["delivered"] == len(told()) and not s["queued"])
    assert len(log.messages) == len(told()) and not log.problems, (log.messages, log.problems)


# Killed ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.deadline(300)
def test_central_killed_ten_times_with_a_full_queue_loses_nothing(central, root, servers):
    """While findings come in and a receiver that is away, slow and back takes what waits; duplicates have the same id and the same body."""
    hook = servers(Hook([500] * 3))
    set_output(root, "w", type="webhook", url=f"http://127.0.0.1:{hook.port}/", timeout=5)
    sent, ident = 0, None
    for kill in range(10):
        node = central.node("node-1", ident=ident)
        ident = node.ident
        if kill == 3:
            hook.server.server_close()  # nobody is there for three lives
        for _ in range(60):
            node.publish("finding", rule_finding(f"k-{sent}"))
            sent += 1
        node.wait_acked(deadline=60)
        if kill == 6:
            port = hook.port
            first = hook
            hook.server.shutdown()
            hook = servers(Hook([503, "drop", 503], port=port))
            hook.all, hook.taken = first.all, first.taken
        time.sleep(0.02 * kill)
        central.kill()
        node.close()
        central.start()
    root = central.root()
    wait_for(lambda: (len(set(hook.ids)) == sent, (len(set(hook.ids)), sent)), 90, "all are delivered")
    assert set(hook.ids) == {f"k-{i}/1" for i in range(sent)}
    bodies = {}
    for _, ident, body, *_ in hook.taken:
        assert bodies.setdefault(ident, body) == body, "the same id with another body"
    first_seen = list(dict.fromkeys(hook.ids))
    assert first_seen == [f"k-{i}/1" for i in range(sent)], "the order of first deliveries"
    s = wait_status(root, "w", lambda s: s["queued"] == 0)
    assert s["lost"] == 0 and s["refused"] == 0, s
    print(f"{sent} alerts, {len(hook.taken)} deliveries, {len(hook.all)} tries, 10 kills")


def test_a_killed_notifier_is_started_again_and_goes_on(central, root, node, servers):
    hook = servers(Hook())
    set_output(root, "w", type="webhook", url=f"http://127.0.0.1:{hook.port}/")
    for i in range(3):
        publish(node, *(rule_finding(f"n-{i}-{k}") for k in range(20)))
        pid = wait_for(lambda: ((p := notifier_of(central)) is not None, p), 20, "a notifier runs")
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: (len(set(hook.ids)) == 60, len(set(hook.ids))), 60, "all are delivered")
    assert root.get("/api/v1/outputs").json["notifier"]["restarts"] >= 3
    # nothing is left of them after the central
    pids = [notifier_of(central), *map(int, pathlib.Path(f"/proc/{central.pid}/task/{central.pid}/children").read_text().split())]
    central.kill()
    wait_for(lambda: (not any(p and pathlib.Path(f"/proc/{p}").exists() for p in pids), pids), 15, "keeper and notifier end with a killed central")


def test_a_full_queue_drops_the_oldest_and_says_so(central, root, node):
    """The bound of the queue, with a receiver that is not there."""
    set_output(root, "w", type="webhook", url="http://127.0.0.1:9/", timeout=1)
    publish(node, *(rule_finding(f"q-{i}", f13=b"", f22=b"", f23=[]) for i in range(10_050)))
    s = wait_status(root, "w", lambda s: s["lost"] == 50, 60)
    assert s["queued"] == 10_000, s
    assert "ALERTS were lost: 50" in cli(central, "status").stdout
    assert 'bulkhead_alerts_lost_total{output="w"} 50' in root.get("/metrics").body.decode()


def test_what_the_log_of_changes_has_forgotten_is_counted(central, root, node):
    """As if the notifier had been away for longer than 100,000 changes."""
    set_output(root, "f", type="file", file="f.json")
    publish(node, rule_finding("before"))
    wait_status(root, "f", lambda s: s["delivered"] == 1)
    node.close()
    central.stop()
    with sqlite3.connect(central.db) as db:
        (last,), = db.execute("SELECT max(id) FROM changes")
        db.execute("DELETE FROM changes")
        db.execute("INSERT INTO changes (id, time_ns, kind, key) VALUES (?, 1, 1, 'long gone')", (last + 100_001,))
    central.start()
    root = central.root()
    s = wait_status(root, "f", lambda s: s["lost"] == 1)
    assert root.get("/api/v1/outputs").json["notifier"]["gaps"] == 1, s
    assert "ALERTS were lost" in cli(central, "status").stdout and "alerts were lost" in central.log_text()
    node = central.node("node-1", ident=node.ident)
    publish(node, rule_finding("after"))
    wait_status(root, "f", lambda s: s["delivered"] == 2)


# Rights -------------------------------------------------------------------------------------------------------------------------

def test_the_notifier_has_no_rights_and_no_database(central, root):
    set_output(root, "f", type="file", file="f.json")
    pid = notifier_of(central)
    fields = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    assert fields["Uid"].split() == [str(FALLBACK_UID)] * 4 and fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2", fields
    assert all(int(fields[c], 16) == 0 for c in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")), fields
    opened = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not any("bulkhead.db" in p or "tls" in p for p in opened), opened
    for task in os.listdir(f"/proc/{pid}/task"):
        assert "Seccomp:\t2" in pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
    keeper = int(pathlib.Path(f"/proc/{central.pid}/task/{central.pid}/children").read_text().split()[0])
    opened = [os.readlink(f"/proc/{keeper}/fd/{fd}") for fd in os.listdir(f"/proc/{keeper}/fd")]
    assert not any("bulkhead.db" in p or p.startswith("/proc") for p in opened) and sum(p.startswith("socket:") for p in opened) == 1, opened


def test_outputs_are_made_changed_tested_and_removed(central, root, servers):
    assert cli(central, "output", "list").stdout.startswith("no outputs")
    hook = servers(Hook([200, 503]))
    cli(central, "output", "set", "hook", "-t", "webhook", "--url", f"http://127.0.0.1:{hook.port}/a", "--header", "X-Key: k3y")
    assert cli(central, "output", "test", "hook").stdout == "the test was taken\n"
    alert = json.loads(hook.all[0][2])
    assert alert["rule"] == "Test of an output" and "root (local)" in alert["output"] and hook.all[0][3]["X-Key"] == "k3y"
    done = cli(central, "output", "test", "hook", check=False)
    assert done.returncode == 1 and "503" in done.stderr, done
    # a change keeps what was not given, secrets too
    cli(central, "output", "set", "hook", "-p", "error", "--rule", "A*")
    shown = json.loads(cli(central, "output", "show", "hook", "--json").stdout)["config"]
    assert shown["minimum_priority"] == "error" and shown["rules"] == ["A*"] and shown["headers"] == {"X-Key": True} and shown["url"].endswith("/a"), shown
    cli(central, "output", "test", "hook")
    assert hook.all[-1][3]["X-Key"] == "k3y"
    assert "k3y" not in cli(central, "output", "show", "hook").stdout
    cli(central, "output", "set", "other", "--config", "-", stdin='{"type":"file","file":"x.json"}')
    assert [line.split()[0] for line in cli(central, "output", "list").stdout.splitlines()] == ["NAME", "hook", "other"]
    for args, words in (((("set", "bad", "-t", "file", "--file", "../x")), "must be a name"), (("set", "Bad", "-t", "stdout"), "an output's name"), (("set", "console", "-t", "stdout"), "--alerts"),
                        (("test", "none"), "none"), (("remove", "none"), "none"), (("set", "bad", "-t", "webhook", "--url", "https://u:p@h/"), "Authorization")):
        done = cli(central, "output", *args, check=False)
        assert done.returncode == 1 and words in done.stderr, (args, done)
    cli(central, "output", "remove", "hook")
    assert root.get("/api/v1/outputs/hook").status == 404
    actions = [(r["action"], r["object"], r["outcome"]) for r in root.get("/api/v1/audit?action=output.*&limit=100").json["audit"]]
    assert actions[::-1] == [("output.set", "hook", "ok"), ("output.test", "hook", "ok"), ("output.test", "hook", "failed"), ("output.set", "hook", "ok"), ("output.test", "hook", "ok"),
                             ("output.set", "other", "ok"), ("output.remove", "hook", "ok")], actions
    for i in range(20):
        answer = root.put(f"/api/v1/outputs/n{i}", {"type": "stdout", "enabled": False})
        assert answer.status == (201 if i < 15 else 409), (i, answer)


# Standard output ------------------------------------------------------------------------------------------------------------------

def test_alerts_come_on_standard_output():
    central = Central(args=["--alerts", "falco"])
    try:
        central.start()
        node, root = central.node("node-1"), central.root()
        wait_for(lambda: (bool(root.get("/api/v1/outputs").json["outputs"][0]["status"]), None), 10, "the notifier runs")
        publish(node, *(rule_finding(f"a-{i}", output=HOSTILE) for i in range(30)))
        alerts = falco_alerts("".join(central.proc.stdout.readline().decode() for _ in range(30)))
        assert [a["output_fields"]["bulkhead.id"] for a in alerts] == [f"a-{i}/1" for i in range(30)]
        assert root.post("/api/v1/outputs/console/test").json["ok"]
        assert falco_alerts(central.proc.stdout.readline().decode())[0]["rule"] == "Test of an output"
        central.stop()
    finally:
        central.close()
    done = Central(args=["--alerts", "xml"])
    try:
        assert done.run().returncode == 2
    finally:
        done.close()


@pytest.mark.deadline(240)
def test_up_prints_alerts_and_nothing_else(build):
    """The whole platform; the alert is a node's of the test's own. Alerts that nobody reads for a while wait, a central that is killed loses none."""
    place = sensor_env.Sensor(build)
    place.dir.chmod(0o711)
    argv = place.cli_argv("up", "--quiet", "--no-docker", "--alerts", "falco", "--listen", "127.0.0.1:0")
    with open(place.dir / "up.err", "wb") as err, subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, preexec_fn=die_with_parent) as up:
        try:
            client = Client(place, local=True)

            def ready():
                with contextlib.suppress(OSError, ValueError, KeyError):
                    o = [o for o in client.get("/api/v1/outputs").json["outputs"] if o["name"] == "console"][0]
                    return bool(o["status"]), o
                client.close()
                return False, (place.dir / "up.err").read_text()[-2000:]
            wait_for(ready, 90, "the notifier of up runs")
            node = Node(place.run_dir / "central" / "bus.sock", "other")
            publish(node, *(rule_finding(f"u-{i}", node="other", output="x" * 2000) for i in range(200)))  # more than a pipe holds
            node.close()
            wait_for(lambda: ((s := client.get("/api/v1/outputs").json["outputs"][0]["status"])["queued"] > 0 and s["state"] == "delivering", s), 20, "alerts wait for a reader")
            seen = []
            while len([a for a in seen if a["source"] == "syscall"]) < 200:
                line = up.stdout.readline()
                assert line, (place.dir / "up.err").read_text()[-2000:]
                seen += falco_alerts(line.decode())
            rules = [a for a in seen if a["source"] == "syscall"]
            assert [a["output_fields"]["bulkhead.id"] for a in rules] == [f"u-{i}/1" for i in range(200)]
            pids = [int(p) for p in pathlib.Path(f"/proc/{up.pid}/task/{up.pid}/children").read_text().split()]
            central = [p for p in pids if "bulkhead-central" in pathlib.Path(f"/proc/{p}/cmdline").read_text()][0]
            os.kill(central, signal.SIGKILL)
            client.close()
            wait_for(ready, 60, "the central is back")
            node = Node(place.run_dir / "central" / "bus.sock", "other", ident=node.ident)
            publish(node, rule_finding("last", node="other"))
            node.close()
            while seen[-1]["output_fields"]["bulkhead.id"] != "last/1":
                seen += falco_alerts(up.stdout.readline().decode())
            client.close()
        finally:
            up.send_signal(signal.SIGTERM)
            rest = up.stdout.read()
            status = up.wait(60)
            place.close()
        assert status == 0
        falco_alerts(rest.decode())
