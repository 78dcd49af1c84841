"""bulkhead-central and what nodes tell it: inventory, findings, observations, events. The node is a few lines that speak the bus by hand."""
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import time

import central_env
import pytest
from central_env import Central, batch, container, event, finding, inventory, observation, proto
from docker_env import patience, wait_for

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.fixture(scope="module")
def central():
    with Central() as c:
        c.session = c.admin()
        yield c


@pytest.fixture
def admin(central):
    return central.session


def test_what_a_node_tells_is_shown(central, admin):
    node = central.node("alpha", version="1.2")
    node.publish("inventory", inventory("alpha", [
        container(ID, "web", labels=[("team", "a\"b"), ("bad", b"\xff\xfe")], f14=[proto(f1="bind", f2="/var/run/docker.sock", f3="/sock", f4=1, f5=1)],
                  f16=[proto(f2="tcp", f3=80, f4=8080)], f17=["NET_ADMIN"], f29=1, f37=1_700_000_000_000_000_001),
        container(OTHER, "<script>alert(1)</script>", application="", workload="odd")], full=True))
    node.publish("finding", finding("alpha-1", "alpha", f8=ID, f9="web", f10="web", f11="shop", f12=["shell", "T1059"], f14=[proto(f1="proc.name", f2="sh")], f13=event(7)))
    node.publish("observation", observation("alpha", "/bin/sh", count=3))
    node.publish("observation", observation("alpha", "/bin/sh", count=4))
    node.latest("status", proto(f1="alpha", f2=json.dumps({"ready": True, "kernel": "Linux"}), f3=time.time_ns()))
    node.wait_acked()

    page = admin.get("/api/v1/containers?node=alpha&count=true").json
    assert page["total"] == 2 and page["next"] is None, page
    web = admin.get(f"/api/v1/containers/{ID[:12]}").json
    assert web == admin.get("/api/v1/containers/web").json == admin.get(f"/api/v1/containers/{ID}?node=alpha").json
    assert web["labels"]["team"] == 'a"b' and "xff" in web["labels"]["bad"], web["labels"]
    assert web["mounts"] == [{"type": "bind", "source": "/var/run/docker.sock", "destination": "/sock", "rw": True, "sensitive": True}], web["mounts"]
    assert web["ports"] == [{"container_port": 80, "protocol": "tcp", "host_ip": "", "host_port": 8080}] and web["cap_add"] == ["NET_ADMIN"] and web["privileged"], web
    assert web["created"] == "2023-11-14T22:13:20.000000001Z" and web["finished"] is None and web["state"] == "running", web
    assert admin.get("/api/v1/containers?search=script").json["containers"][0]["name"] == "<script>alert(1)</script>"
    assert len(admin.get("/api/v1/containers?application=").json["containers"]) == 1
    first = admin.get("/api/v1/containers?limit=1").json
    second = admin.get(f"/api/v1/containers?limit=1&cursor={first['next']}").json
    assert {first["containers"][0]["id"], second["containers"][0]["id"]} == {ID, OTHER} and second["next"] is None

    found = admin.get("/api/v1/findings?priority=warning&count=true").json
    assert found["total"] == 1 and found["findings"][0]["output_fields"] == {"proc.name": "sh"} and found["findings"][0]["tags"] == ["shell", "T1059"], found
    assert admin.get("/api/v1/findings?priority=error").json["findings"] == []
    assert admin.get("/api/v1/findings/alpha-1").json["event"]["id"] == "7", admin.get("/api/v1/findings/alpha-1")
    seen = admin.get("/api/v1/observations?application=shop&workload=web").json["observations"]
    assert [(o["subject"], o["count"]) for o in seen] == [("/bin/sh", 7)], seen
    workload = admin.get("/api/v1/workloads?application=shop&workload=web").json["workloads"][0]
    assert (workload["running"], workload["executables"], workload["findings"]) == (1, 1, 1), workload
    assert admin.get("/api/v1/workloads?application=shop&workload=none").json["workloads"] == []
    assert {a["application"] for a in admin.get("/api/v1/applications").json["applications"]} == {"", "shop"}
    wait_for(lambda: admin.get("/api/v1/nodes/alpha").json.get("status", {}).get("kernel") == "Linux", 5, "the node's status")
    listed = admin.get("/api/v1/nodes").json["nodes"]
    assert [(n["name"], n["up"], n["version"]) for n in listed] == [("alpha", True, "1.2")], listed
    assert admin.get("/api/v1/status").json["overview"]["running"] == 2
    node.close()
    wait_for(lambda: not admin.get("/api/v1/nodes/alpha").json["up"], 5, "the node is told to be gone")


def test_what_is_told_twice_is_kept_once(central, admin):
    node = central.node("beta")
    for n in range(1, 51):
        node.publish("finding", finding(f"beta-{n}", "beta", rule=f"rule {n}"))
        node.publish("observation", observation("beta", "/bin/beta", workload="beta"))
    node.wait_acked()
    node.close()
    again = central.node("beta", ident=node.ident)
    assert again.have == 100, "a returning node is told what is here"
    again.seq = 0
    for n in range(1, 51):
        again.publish("finding", finding(f"beta-{n}", "beta", rule=f"rule {n}"))
        again.publish("observation", observation("beta", "/bin/beta", workload="beta"))
    again.publish("finding", finding("beta-51", "beta"))
    again.wait_acked(101)
    assert admin.get("/api/v1/findings?node=beta&count=true").json["total"] == 51
    assert admin.get("/api/v1/observations?workload=beta").json["observations"][0]["count"] == 50


def test_losses_are_shown(central, admin):
    node = central.node("lossy")
    node.publish("lost", proto(f1=[proto(f1="finding", f2=1, f3=17, f4=1000, f5=1, f6=2)]))
    node.publish("lost", proto(f1=[proto(f1="finding", f2=1, f3=3, f4=10), proto(f1="observation", f2=1, f3=5, f4=20)]))
    node.wait_acked()
    losses = [x for x in admin.get("/api/v1/losses").json["losses"] if x["node"] == "lossy"]
    assert sum(x["count"] for x in losses) == 25 and sum(x["bytes"] for x in losses) == 1030, losses
    assert {x["reason"] for x in losses} == {"spool_full"} and any("observation" in x["topic"] for x in losses), losses
    assert admin.get("/api/v1/status").json["overview"]["lost"] == 25


def test_what_cannot_be_read_is_counted_and_passed_over(central, admin):
    def undecodable():
        text = admin.get("/metrics").body.decode()
        return int(text.split("\nbulkhead_bus_undecodable_total ")[1].split("\n")[0])
    before = undecodable()
    node = central.node("rubbish")
    for topic in ("inventory", "finding", "observation", "lost"):
        node.publish(topic, os.urandom(200))
        node.publish(topic, b"\x0a\xff\xff\xff\xff\x0f")
    node.publish("inventory", inventory("rubbish", [container("", name="without an id")]))
    node.publish("news", b"of a newer sensor")
    node.publish("finding", finding("rubbish-1", "rubbish", f13=b"\xff\xff"))
    node.latest("status", os.urandom(100))
    node.latest("status", proto(f1="rubbish", f2=b"not json \xff", f3=1))
    node.wait_acked()
    assert undecodable() >= before + 4
    assert admin.get("/api/v1/findings/rubbish-1").json["event"] is None
    assert admin.get("/api/v1/nodes/rubbish").json["status"] == {}, "a status that is not JSON breaks nothing"
    assert admin.get("/api/v1/status").status == 200
    assert admin.get("/api/v1/containers?node=rubbish").json["containers"] == []


def test_the_stream_shows_changes_and_resumes_without_gap_or_double(central, admin):
    viewer = central.user(admin, "watcher", "viewer")
    streams = {"admin": admin.stream("/api/v1/stream"), "viewer": viewer.stream("/api/v1/stream")}
    for s in streams.values():
        s.wait(lambda i, e, d: e == "hello")
    node = central.node("gamma")
    node.publish("finding", finding("gamma-1", "gamma", rule="first"))
    node.publish("inventory", inventory("gamma", [container("a" * 64, "streamed")]))
    node.wait_acked()
    for s in streams.values():
        hit = s.wait(lambda i, e, d: e == "finding" and d["key"] == "gamma-1", 5, "the finding")
        assert hit[0][2]["object"]["rule"] == "first" and hit[0][0] > 0, hit
        hit = s.wait(lambda i, e, d: e == "container" and d["object"]["name"] == "streamed", 5, "the container")
    admin.put("/api/v1/settings/backup.keep", {"value": 7})
    streams["admin"].wait(lambda i, e, d: e == "audit", 5, "the audit row")
    assert not [x for x in streams["viewer"].events if x[1] == "audit"], "a viewer saw the audit log"
    last = max(i for i, _, _ in streams["viewer"].events if i)  # what is not of the change log has none
    streams["viewer"].close()
    for n in range(2, 40):
        node.publish("finding", finding(f"gamma-{n}", "gamma"))
    node.wait_acked()
    resumed = viewer.stream("/api/v1/stream", {"Last-Event-ID": str(last)})
    resumed.wait(lambda i, e, d: e == "finding" and d["key"] == "gamma-39", 5, "the last finding")
    keys = [d["key"] for _, e, d in resumed.events if e == "finding"]
    assert keys == [f"gamma-{n}" for n in range(2, 40)], keys
    ids = [i for i, e, _ in resumed.events if e not in ("hello", "reset", "graph")]
    assert ids == sorted(set(ids)) and ids[0] > last, ids
    beyond = viewer.stream("/api/v1/stream?after=999999999")
    beyond.wait(lambda i, e, d: e == "reset", 5, "reset for an id that was never given out")
    admin.delete("/api/v1/users/watcher")
    assert resumed.ended.wait(15) and beyond.ended.wait(15)


def test_a_finding_is_on_the_stream_within_a_tenth_of_a_second(central, admin):
    stream = admin.stream("/api/v1/stream")
    stream.wait(lambda i, e, d: e == "hello")
    node = central.node("quick")
    took = []
    for n in range(30):
        began = time.monotonic()
        node.publish("finding", finding(f"quick-{n}", "quick"))
        while not any(d.get("key") == f"quick-{n}" for _, _, d in stream.events[-5:]):
            assert time.monotonic() - began < 5 * patience()
            time.sleep(0.001)
        took.append(time.monotonic() - began)
    took.sort()
    print(f"finding to stream: median {took[15] * 1000:.1f} ms, slowest {took[-1] * 1000:.1f} ms")
    assert took[15] < 0.1 * patience(), took


def test_events_are_asked_of_the_nodes(central, admin):
    asked = []

    def serve(node, stream, body):
        asked.append(central_env.parse(body))
        node.chunk(stream, batch(event(1), event(3)))
        node.chunk(stream, batch(event(5)) + b"\x05\x00\x00\x00\xff\xff", dropped=2)
        node.end(stream)

    def serve_other(node, stream, body):
        node.chunk(stream, batch(event(2, node="epsilon"), event(4, node="epsilon")))
        node.end(stream, "the recorder is away")
    nodes = [central.node("delta", serve={"events": serve}), central.node("epsilon", serve={"events": serve_other})]
    answer = admin.get("/api/v1/events?node=delta&types=exec,open&container=web&limit=50&since=1700000000000000000&filter=proc.name%3Dx").json
    assert [e["id"] for e in answer["events"]] == ["1", "3", "5"] and answer["dropped"] == 2 and answer["undecodable"] == 1, answer
    request = asked[0]
    assert request[1] == [b"exec", b"open"] and request[2] == [b"web"] and request[3] == [1700000000000000000] and request[5] == [50] and request[7] == [b"proc.name=x"], request
    both = [c for c in ("delta", "epsilon")]
    answer = admin.get("/api/v1/events?limit=4").json
    assert [e["id"] for e in answer["events"]] == ["2", "3", "4", "5"], answer
    assert {n["node"]: n["error"] for n in answer["nodes"] if n["node"] in both} == {"delta": None, "epsilon": "the recorder is away"}, answer["nodes"]
    lines = admin.get("/api/v1/events?node=delta&format=ndjson").body.decode().splitlines()
    assert [json.loads(x).get("id") for x in lines] == ["1", "3", "5", None] and json.loads(lines[-1])["end"]["dropped"] == 2, lines
    assert admin.get("/api/v1/events?node=zeta").code == "node_away"
    # a node that ends in the middle
    broken = central.node("broken", serve={"events": lambda node, stream, body: (node.chunk(stream, batch(event(9))), node.close())})
    answer = admin.get("/api/v1/events?node=broken").json
    assert [e["id"] for e in answer["events"]] == ["9"] and answer["nodes"][0]["error"], answer
    for n in [*nodes, broken]:
        n.close()


def test_what_a_rule_file_would_have_matched_is_tried_on_recorded_events(central, admin):
    """Only the file's own rules count, each on every event; what a node did not give is said; a file with errors is tried on nothing."""
    asked = []

    def named(n, comm):
        return event(n, node="preview") + proto(f25=comm)

    def serve(node, stream, body):
        asked.append(central_env.parse(body))
        node.chunk(stream, batch(named(1, "sh"), named(2, "cat")))
        node.chunk(stream, batch(named(3, "sh"), event(4, kind=30, node="preview")) + b"\x05\x00\x00\x00\xff\xff", dropped=2)
        node.end(stream)
    node = central.node("preview", serve={"events": serve})
    rule = '- rule: {}\n  desc: d\n  condition: evt.type = execve and proc.name {}\n  output: "ran %proc.name"\n  priority: INFO\n'
    text = rule.format("Shells", "= sh") + rule.format("All of them", "exists") + rule.format("Switched off", "exists") + "  enabled: false\n"
    answer = admin.post("/api/v1/rules/preview?node=preview", {"name": "try.yaml", "text": text, "hours": 48}).json
    assert {m["rule"]: (m["matches"], m["runs"]) for m in answer["matches"]} == {"Shells": (2, True), "All of them": (3, True), "Switched off": (0, False)}, answer
    assert answer["errors"] == 0 and answer["not_looked_at"] == 0 and answer["looked_at"] == 4 and answer["matched"] == 3 and answer["dropped"] == 2 and answer["undecodable"] == 1, answer
    assert [(e["rule"], e["event"]["id"], e["output"]) for e in answer["events"]][:2] == [("Shells", "3", "ran sh"), ("All of them", "3", "ran sh")], answer["events"]
    assert [m["line"] for m in answer["matches"]] == [1, 6, 11]
    request = asked[-1]
    assert b"exec" in request[1] and b"connect" not in request[1] and request[5] == [answer["bound"]], request
    assert abs(request[3][0] - (time.time() - 48 * 3600) * 1e9) < 60e9, request

    before = len(asked)
    bad = admin.post("/api/v1/rules/preview?node=preview", {"name": "try.yaml", "text": text.replace("evt.type", "evt.typo", 1)}).json
    assert bad["errors"] >= 1 and bad["problems"][0]["line"] == 3 and "matches" not in bad and len(asked) == before, bad
    assert admin.post("/api/v1/rules/preview", {"name": "../x", "text": text}).code == "bad_name"
    assert admin.post("/api/v1/rules/preview?node=nobody", {"name": "try.yaml", "text": text}).code == "node_away"
    assert not admin.get("/api/v1/rules/files").json["files"]
    node.close()


def test_a_node_that_comes_back_at_once_is_sent_the_rules_anew(central):
    """Faster than the central looks whether nodes are there: what connects may be another sensor, which lacks them."""
    asked = []

    def serve(node, stream, body):
        asked.append(body)
        node.end(stream)
    for n in range(5):
        node = central.node("hasty", serve={"rules_set": serve})
        wait_for(lambda n=n: (len(asked) > n, len(asked)), 10, f"the rules are sent to connection {n + 1}")
        node.close()


def test_processes_are_asked_of_the_nodes(central, admin):
    def serve(node, stream, body):
        node.chunk(stream, proto(f1=[proto(f1=42, f2=1, f3=1, f5=1_700_000_000_000_000_000, f6=ID, f8=b"sh\xff", f9="/bin/sh", f10=b"sh\0-c\0echo \"x\"\0", f11=1000, f13="app")]))
        node.chunk(stream, b"\xff\xff")
        node.end(stream)
    node = central.node("eta", serve={"processes": serve})
    answer = admin.get("/api/v1/processes?node=eta&container=web").json
    p = answer["processes"][0]
    assert (p["pid"], p["vpid"], p["exe"], p["args"], p["user"], p["node"]) == (42, 1, "/bin/sh", ["sh", "-c", 'echo "x"'], "app", "eta"), p
    assert answer["undecodable"] == 1, answer
    node.close()


def test_live_events_flow_under_credit_and_drops_are_told(central, admin):
    state, go_on = {"sent": 0}, threading.Event()

    def serve(node, stream, body):
        state["request"], state["stream"] = central_env.parse(body), stream
        node.chunk(stream, batch(event(1), event(2)))
        node.chunk(stream, batch(event(3)), dropped=5)
        go_on.wait(10)
        for n in range(4, 2000):
            if not node.chunk(stream, batch(event(n)), timeout=10):
                break
            state["sent"] += 1
        state["over"] = True
    node = central.node("theta", serve={"events": serve})
    live = admin.stream("/api/v1/events/live?node=theta&types=exec")
    live.wait(lambda i, e, d: e == "event" and d["id"] == "3", 10, "the events")
    assert state["request"][6] == [1] and state["request"][8] == [1] and state["request"][1] == [b"exec"], state
    assert [(d["node"], d["count"]) for _, e, d in live.events if e == "dropped"] == [("theta", 5)], live.events
    order = [d["id"] if e == "event" else e for _, e, d in live.events]
    assert order == ["node", "1", "2", "dropped", "3"], order
    go_on.set()
    live.wait(lambda i, e, d: e == "event" and d["id"] == "1999", 20, "all events")
    assert [d["id"] for _, e, d in live.events if e == "event"] == [str(n) for n in range(1, 2000)]
    node.close()
    live.wait(lambda i, e, d: e == "node" and d["state"] == "down", 5, "the node went")
    back = central.node("theta", ident=node.ident, serve={"events": lambda n, s, b: n.chunk(s, batch(event(5000)))})
    live.wait(lambda i, e, d: e == "event" and d["id"] == "5000", 5, "events after the node came back")
    live.close()
    # the node hears that nobody listens any more
    wait_for(lambda: back.cancelled, 3, "the request is cancelled")
    back.close()


def test_a_listener_that_does_not_read_makes_the_node_wait(central, admin):
    state = {"sent": 0}
    big = b"x" * 3000

    def serve(node, stream, body):
        while node.chunk(stream, batch(*[event(n) + proto(f27=big) for n in range(50)]), timeout=3):
            state["sent"] += 1
        state["over"] = True
    node = central.node("iota", serve={"events": serve})
    connection = admin.connect()
    connection.request("GET", "/api/v1/events/live?node=iota", headers={"Cookie": f"{central_env.COOKIE}={admin.cookie}"})
    wait_for(lambda: state.get("over"), 20, "the node runs out of credit")
    assert state["sent"] < 200, f"{state['sent']} pieces of 150 KB were taken for a client that reads nothing"
    assert admin.get("/api/v1/me").status == 200
    connection.close()
    node.close()


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_killed_under_load_nothing_acknowledged_is_lost_or_doubled(how):
    """At moments that nobody chose. The node sends again what was not acknowledged."""
    with Central() as c:
        admin = c.admin()
        ident, sent, rounds = os.urandom(16), 0, 5
        for round_ in range(rounds):
            node = c.node("load", ident=ident)
            have = node.have
            assert have <= sent
            stop = threading.Event()

            def send():
                try:
                    for n in range(have + 1, have + 2000):
                        if stop.is_set():
                            return
                        node.publish("finding", finding(f"load-{n}", "load"), seq=n)
                except OSError:
                    pass
            thread = threading.Thread(target=send)
            thread.start()
            time.sleep(0.05 + 0.07 * round_)
            if how == "SIGKILL":
                c.kill()
            else:
                c.stop()
            stop.set()
            node.close()
            thread.join(10)
            sent, acked = max(sent, node.seq), node.acked
            began = time.monotonic()
            c.start()
            again = c.node("load", ident=ident)
            assert again.have >= acked, f"acknowledged up to {acked}, kept up to {again.have}"
            assert time.monotonic() - began < 5 * patience()
            kept = again.have
            again.close()
            total = admin.get("/api/v1/findings?node=load&count=true&limit=1").json["total"]
            assert total == kept, f"{kept} messages were taken, {total} findings are kept"
        assert admin.get("/api/v1/audit/verify").json["intact"]
        assert sent > 100, "the load was no load"


def test_others_than_root_may_not_be_a_node(central):
    path = central.run_dir / "central" / "bus.sock"
    os.seteuid(65534)
    try:
        with pytest.raises(OSError):
            central_env.Node(path, "intruder")
    finally:
        os.seteuid(0)


def test_a_stop_while_a_question_is_open_does_not_wait_for_the_node():
    with Central() as c:
        admin = c.admin()
        c.node("mute", serve={"events": lambda node, stream, body: None})

        def ask():
            with contextlib.suppress(OSError):
                admin.get("/api/v1/events")
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(0.3)
        began = time.monotonic()
        c.stop(signal.SIGTERM)
        assert time.monotonic() - began < 5 * patience()


def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost():
    tmp_path = pathlib.Path(tempfile.mkdtemp(prefix="bhc-disk-", dir=os.environ.get("BH_TEST_DIR", "/tmp")))  # pytest's own is closed to others
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0711", "tmpfs", tmp_path], check=True)
    try:
        with Central(base_dir=tmp_path) as c:
            admin = c.admin()
            ballast = tmp_path / "ballast"
            node, kept = c.node("full"), 0
            ballast.write_bytes(b"x" * (os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize - 300_000))
            with contextlib.suppress(OSError):
                for n in range(1, 400):
                    node.publish("finding", finding(f"full-{n}", "full", f13=os.urandom(4000)), seq=n)
                    time.sleep(0.002)
            wait_for(lambda: node.closed, 10, "the node is told to come again")
            kept = node.acked
            assert kept < 399 and "cannot store what a node sent" in c.log_text(), (kept, c.log_text()[-800:])
            assert "full" in c.log_text().rsplit("cannot store what a node sent", 1)[1].split("\n")[0]
            assert admin.get("/api/v1/findings?node=full&count=true&limit=1").json["total"] == kept
            refused = admin.post("/api/v1/users", {"name": "x", "role": "viewer"})
            assert refused.status in (201, 507), refused
            ballast.unlink()
            again = c.node("full", ident=node.ident)
            assert again.have == kept
            for n in range(kept + 1, kept + 11):
                again.publish("finding", finding(f"full-{n}", "full"), seq=n)
            again.wait_acked(kept + 10)
            assert admin.get("/api/v1/findings?node=full&count=true&limit=1").json["total"] == kept + 10
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
        tmp_path.rmdir()
