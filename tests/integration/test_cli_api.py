"""The command line over the central's API. The central is real; the nodes are a few lines that speak the bus by hand. No sensor, no Docker."""
import json
import os
import re
import subprocess
import threading

import pytest

import central_env
import sensor_env
from central_env import Central, batch, container, event, finding, inventory, observation, proto
from docker_env import system_env, wait_for

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SECRET = re.compile(r"bh_[A-Za-z0-9_-]{43}")


class Cli:
    """`bulkhead` for this central; options(…) are put before the command's own."""

    def __init__(self, central, build):
        self.central, self.build = central, build

    def argv(self, *args):
        return [sensor_env.program(self.build, "bulkhead"), "--run-dir", str(self.central.run_dir), "--data-dir", str(self.central.data_dir), *map(str, args)]

    def run(self, *args, check=True, env=None, as_uid=None, stdin="", program=None, cwd=None):
        argv = self.argv(*args)
        user = {"user": as_uid, "group": as_uid, "extra_groups": []} if as_uid else {}
        r = subprocess.run([program or argv[0], *argv[1:]], input=stdin.encode(), capture_output=True, timeout=60, env={**system_env(), **(env or {})}, cwd=cwd or "/", **user)
        r.stdout, r.stderr = r.stdout.decode("utf-8"), r.stderr.decode("utf-8")
        if check:
            assert r.returncode == 0, f"bulkhead {' '.join(map(str, args))}: {r.returncode} {r.stderr}{r.stdout}\n{self.central.log_text()[-2000:]}"
        assert not UNSAFE.search(r.stdout + r.stderr), f"bulkhead {args} prints control characters: {r.stdout + r.stderr!r}"
        return r

    def rows(self, *args, **how):
        return [json.loads(line) for line in self.run(*args, "--json", **how).stdout.splitlines()]


@pytest.fixture(scope="module")
def central():
    with Central() as c:
        c.session = c.admin()
        yield c


@pytest.fixture(scope="module")
def build():
    return sensor_env.build_dir()


@pytest.fixture(scope="module")
def cli(central, build):
    return Cli(central, build)


@pytest.fixture(scope="module")
def node(central):
    """A node with two containers, findings, an observation and a status."""
    n = central.node("alpha", version="1.2")
    n.publish("inventory", inventory("alpha", [
        container(ID, "web", f29=1, f17=["NET_ADMIN"]),
        container(OTHER, "evil\x1b[2J\u202e", image="x\x9b1m", application="", workload="odd")], full=True))
    n.publish("finding", finding("alpha-1", "alpha", f8=ID, f9="web", f10="web", f11="shop", f13=event(7)))
    n.publish("finding", finding("alpha-2", "alpha", rule="hook_lost", priority="critical"))
    n.publish("observation", observation("alpha", "/bin/sh", count=3))
    n.latest("status", proto(f1="alpha", f2=json.dumps({"ready": True, "kernel": "Linux 6.1", "node": "alpha", "version": "1.2", "recorder": {"state": "full", "dir": "/x"},
                                                       "bus": {"state": "connected", "spool": {"messages": 17, "bytes": 4096}},
                                                       "hooks": [{"type": "exec", "backend": "preferred", "effective": True, "tested": True, "generated": 5, "delivered": 5,
                                                                  "lost": {"ring_full": 3}}]}), f3=1))
    n.wait_acked()
    wait_for(lambda: central.session.get("/api/v1/nodes/alpha").json.get("status"), 5, "the status is there")
    return n


# lists ----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("node")
def test_lists_are_the_apis(central, cli):
    for command, path, member in (("containers", "/api/v1/containers?living=true", "containers"), ("workloads", "/api/v1/workloads", "workloads"),
                                  ("applications", "/api/v1/applications", "applications"), ("findings", "/api/v1/findings", "findings")):
        assert cli.rows(command) == central.session.get(path).json[member], command
        assert cli.run(command).stdout.count("\n") == 1 + len(cli.rows(command)), cli.run(command).stdout
    text = cli.run("containers").stdout
    assert "PRIVILEGED" in text and "+NET_ADMIN" in text and ID[:12] in text and r"\x1b" in text, text
    assert [c["id"] for c in cli.rows("containers", "--application", "")] == [OTHER]
    assert [c["id"] for c in cli.rows("containers", "--workload", "web", "--node", "alpha")] == [ID]
    assert cli.run("containers", "--node", "nobody").stdout == "no containers\n"
    assert [f["id"] for f in cli.rows("findings", "--priority", "critical")] == ["alpha-2"]
    assert [f["id"] for f in cli.rows("findings", "--since", "1h", "--container", ID)] == ["alpha-1"]
    r = cli.run("findings", "-n", "1")
    assert "--limit" in r.stderr and len(r.stdout.splitlines()) == 2, r
    one = cli.rows("findings", "alpha-1")[0]
    assert one["event"]["id"] == "7" and "a shell was started" in cli.run("findings", "alpha-1").stdout
    r = cli.run("findings", "a/../b", check=False)
    assert r.returncode == 1 and r.stderr.startswith("bulkhead: the central says"), r


@pytest.mark.usefixtures("node")
def test_endpoints_are_listed_with_their_parameters(central, cli):
    n = central.node("serving")
    sums = proto(f1=1, f2=10, f3=20, f4=2, f5=300, f6=200, f7=1)
    for _ in range(2):
        n.publish("observation", observation("serving", "GET /items/{n}", kind="http", workload="api", count=2, f12="server", f17=sums))
    n.publish("observation", observation("serving", "GET /items/{n} id", kind="parameter", workload="api", f12="server query number, up to 4 bytes"))
    n.publish("observation", observation("serving", "GET /", kind="http", workload="api", f12="client", f14="GET shop/"))
    n.wait_acked()
    (one,) = cli.rows("endpoints", "--workload", "api", "--side", "server")
    assert one == central.session.get("/api/v1/endpoints?workload=api&side=server").json["endpoints"][0]
    assert (one["method"], one["path"], one["program"], one["count"], one["latency_us"], one["latency_max_us"], one["request_bytes"]) == ("GET", "/items/{n}", "/sbin/init", 4, 600, 200, 20), one
    assert one["statuses"]["none"] == 2 and [(p["name"], p["what"]) for p in one["parameters"]] == [("id", "query number, up to 4 bytes")], one
    text = cli.run("endpoints", "--workload", "api").stdout
    assert "id (query number, up to 4 bytes)" in text and "none:2" in text and "client" in text, text
    assert cli.run("endpoints", "--side", "x", check=False).returncode == 2


def test_long_lists_come_whole(central, cli):
    n = central.node("many")
    n.publish("inventory", inventory("many", [container(f"{i:064x}", f"c-{i}", workload="many") for i in range(1, 2502)], full=True))
    n.wait_acked()
    assert len({c["id"] for c in cli.rows("containers", "--node", "many")}) == 2501
    n.publish("inventory", inventory("many", [], full=True))
    n.wait_acked()
    assert cli.rows("containers", "--node", "many") == []
    assert len(cli.rows("containers", "--node", "many", "--all")) == 2501
    n.close()


# status ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("node")
def test_status_shows_central_and_every_nodes_hooks_losses_and_spool(central, cli):
    lossy = central.node("lossy")
    lossy.publish("lost", proto(f1=[proto(f1="finding", f2=1, f3=17, f4=1000, f5=1, f6=2)]))
    lossy.wait_acked()
    lossy.close()
    wait_for(lambda: not central.session.get("/api/v1/nodes/lossy").json["up"], 5, "the node is away")
    text = cli.run("status").stdout
    for words in ("central    Bulkhead", "Node alpha", "connected", "exec", "RECORDER full", "ring_full 3", "17 messages", "NODE lossy is away",
                  "LOST on the way from lossy: 17 finding messages (spool_full)", "Flight recorder"):
        assert words in text, f"{words!r} is not in\n{text}"
    s = cli.rows("status")[0]
    assert {n["name"] for n in s["nodes"]} >= {"alpha", "lossy"} and s["losses"][0]["count"] == 17 and s["central"]["version"], s


# events ---------------------------------------------------------------------------------------------------------------


def test_events_recorded_and_live(central, cli):
    """A live event that the recorder had already is not shown twice."""
    asked, go_on = [], threading.Event()

    def serve(n, stream, body):
        request = central_env.parse(body)
        asked.append(request)
        if 6 in request:  # live: what is also recorded comes first
            n.chunk(stream, batch(*[event(i, node="beta") for i in range(4, 7)]))
            go_on.wait(20)
            n.chunk(stream, batch(event(7, node="beta")), dropped=2)
        else:
            n.chunk(stream, batch(*[event(i, node="beta") + proto(f25="sh", f26="/bin/sh\x1b") for i in range(1, 6)]))
            n.end(stream)
    n = central.node("beta", serve={"events": serve})
    rows = cli.rows("events", "--node", "beta", "-c", "web", "-t", "exec,open", "-s", "1h", "-n", "50")
    assert [e["id"] for e in rows] == ["1", "2", "3", "4", "5"], rows
    assert asked[0][1] == [b"exec", b"open"] and asked[0][2] == [b"web"] and asked[0][5] == [50] and asked[0][3][0] > 1_700_000_000_000_000_000, asked
    text = cli.run("events", "--node", "beta").stdout
    assert len(text.splitlines()) == 5 and r" exec " in text and r"\x1b" in text, text
    assert asked[-1][5] == [10000]

    follow = subprocess.Popen(cli.argv("events", "-f", "-n", "5", "--node", "beta", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=system_env())
    timer = threading.Timer(20, follow.kill)
    timer.start()
    seen = [json.loads(follow.stdout.readline())["id"] for _ in range(6)]
    go_on.set()
    seen.append(json.loads(follow.stdout.readline())["id"])
    assert seen == ["1", "2", "3", "4", "5", "6", "7"], seen
    n.close()
    err = follow.stderr.readline() + follow.stderr.readline()
    assert b"2 events of node beta are left out" in err and b"node beta is away" in err, err
    follow.kill()
    timer.cancel()
    follow.wait()


def test_events_that_a_node_cannot_give_are_said(central, cli):
    n = central.node("gamma", serve={"events": lambda n, s, b: (n.chunk(s, batch(event(2, node="gamma"))), n.end(s, "the recorder is away"))})
    r = cli.run("events", "--node", "gamma", check=False)
    assert r.returncode == 1 and len(r.stdout.splitlines()) == 1 and "node gamma are missing: the recorder is away" in r.stderr, r
    n.close()
    wait_for(lambda: not central.session.get("/api/v1/nodes/gamma").json["up"], 5, "it is away")
    r = cli.run("events", "--node", "gamma", check=False)
    assert r.returncode == 1 and "not connected" in r.stderr and "--sensor" in r.stderr, r
    assert cli.run("events", "-n", "10001", check=False).returncode == 2


def test_more_events_than_one_answer_takes_are_the_last_ones(central, cli):
    def serve(n, stream, body):
        limit = central_env.parse(body)[5][0]
        for i in range(20000 - limit, 20000, 100):
            if not n.chunk(stream, batch(*[event(k, node="delta") + proto(f26="x" * 2000) for k in range(i + 1, min(i + 101, 20001))])):
                return
        n.end(stream)
    n = central.node("delta", serve={"events": serve})
    r = cli.run("events", "--node", "delta", "--json")
    ids = [int(json.loads(line)["id"]) for line in r.stdout.splitlines()]
    assert ids[-1] == 20000 and ids == list(range(ids[0], 20001)) and len(ids) >= 2000, (len(ids), ids[:3], ids[-3:])
    assert f"only the last {len(ids)} are shown" in r.stderr, r.stderr
    n.close()


# users, tokens, audit -------------------------------------------------------------------------------------------------


def test_a_users_life(central, cli):
    first = cli.rows("user", "add", "ann", "--role", "analyst")[0]
    assert first["user"]["role"] == "analyst" and first["user"]["must_change_password"]
    session = central.login("ann", first["password"])
    assert session.get("/api/v1/me").json["must_change_password"]
    assert "ann" in cli.run("user", "list").stdout
    assert cli.rows("user", "role", "ann", "viewer")[0]["role"] == "viewer"
    assert cli.rows("user", "disable", "ann")[0]["disabled"] is True
    assert central.login("ann", first["password"]).status == 401
    assert cli.rows("user", "enable", "ann")[0]["disabled"] is False
    text = cli.run("user", "password", "ann", "--password-stdin", stdin="a password of twelve\n").stdout
    assert "new password" in text and "first password" not in text, text
    assert central.login("ann", "a password of twelve").name == "ann"
    new = cli.rows("user", "password", "ann")[0]["password"]
    assert central.login("ann", new).name == "ann"
    assert "removed" in cli.run("user", "remove", "ann").stdout
    for args in (("user", "role", "nobody", "viewer"), ("user", "add", "admin"), ("user", "add", "X y"), ("user", "password", "x", "--password-stdin")):
        r = cli.run(*args, check=False)
        assert r.returncode == 1 and len(r.stderr.splitlines()) == 1 and r.stderr.startswith("bulkhead: "), (args, r)
    for args in (("user",), ("user", "frob"), ("user", "add"), ("user", "role", "x"), ("user", "list", "x"), ("user", "password", "x", "--reset", "--password-stdin")):
        r = cli.run(*args, check=False)
        assert r.returncode == 2 and r.stdout == "", (args, r)
    rows = cli.rows("audit", "--since", "1h", "--object", "ann", "--action", "user.*")
    assert [r["action"] for r in rows] == [x["action"] for x in central.session.get("/api/v1/audit?object=ann&action=user.*").json["audit"]] and len(rows) >= 6, rows
    assert {r["actor"] for r in rows} == {"root (local)"}, rows
    assert "user.delete" in cli.run("audit", "--object", "ann").stdout
    assert "intact" in cli.run("audit", "--verify").stdout


def test_a_password_is_reset_without_the_api(central, cli):
    """Also while the central runs, and while it does not."""
    cli.run("user", "add", "lost")
    new = cli.rows("user", "password", "lost", "--reset")[0]
    assert new["user"] == "lost" and central.login("lost", new["password"]).name == "lost"
    text = cli.run("user", "password", "lost", "--reset").stdout
    assert "lost has a new password: " in text
    r = cli.run("user", "password", "nobody", "--reset", check=False)
    assert r.returncode == 1 and "there is no user" in r.stderr, r
    r = cli.run("--data-dir", "/nonexistent", "user", "password", "lost", "--reset", check=False)
    assert r.returncode == 1 and "--data-dir" in r.stderr, r


def test_tokens_and_another_machine(central, cli, tmp_path):
    r = cli.run("token", "create", "x", check=False)
    assert r.returncode == 2 and "--user" in r.stderr, r
    password = cli.rows("user", "add", "bob", "--role", "viewer")[0]["password"]
    made = cli.rows("token", "create", "for tests", "--user", "bob", "--days", "1")[0]
    text = cli.run("token", "create", "two", "--user", "bob", "--days", "0").stdout
    assert SECRET.match(text) and "until it is revoked" in text, text
    assert made["secret"] not in cli.run("token", "list").stdout and len(cli.rows("token", "list")) == 2

    remote = {"BULKHEAD_SERVER": central.url, "BULKHEAD_TOKEN": made["secret"]}
    r = cli.run("containers", check=False, env=remote)
    if r.returncode:  # bob must change the password first
        assert "password" in r.stderr, r
    session = central.login("bob", password)
    assert session.post("/api/v1/me/password", {"current": password, "new": "bob's own long one"}).status == 204
    here = cli.rows("containers")
    assert cli.rows("containers", env=remote) == here, "the own certificate is trusted on this machine"

    # elsewhere: the certificate is not there
    away = ("--data-dir", tmp_path)
    r = cli.run(*away, "containers", check=False, env=remote)
    assert r.returncode == 1 and "--cacert" in r.stderr, r
    cert = tmp_path / "cert.pem"
    cert.write_bytes((central.data_dir / "central" / "tls" / "cert.pem").read_bytes())
    assert cli.rows(*away, "containers", "--cacert", cert, env=remote) == here
    assert cli.rows(*away, "--server", central.url, "--token", made["secret"], "--cacert", cert, "containers") == here
    r = cli.run("user", "list", check=False, env=remote)
    assert r.returncode == 1 and "needs the role admin" in r.stderr, r
    r = cli.run("audit", check=False, env={**remote, "BULKHEAD_TOKEN": ""})
    assert r.returncode == 1 and "BULKHEAD_TOKEN" in r.stderr, r
    for server, words in (("http://127.0.0.1:1", "https://"), ("https://127.0.0.1:1", "no central answers"), ("https://x.invalid", "not known"), ("https://127.0.0.1/path", "address"),
                          (f"https://u@127.0.0.1:{central.port}", "address")):
        r = cli.run("containers", "--server", server, check=False)
        assert r.returncode == 1 and words in r.stderr, r
    r = cli.run("containers", "--token", "bad\ntoken", check=False)
    assert r.returncode == 1 and "token" in r.stderr, r

    cli.run("token", "revoke", made["token"]["id"])
    r = cli.run("containers", check=False, env=remote)
    assert r.returncode == 1 and "revoked" in r.stderr, r
    other = {**remote, "BULKHEAD_TOKEN": SECRET.match(text)[0]}
    assert cli.rows("containers", env=other) == here
    cli.run("user", "password", "bob")  # a password that somebody else gives takes the tokens, too
    r = cli.run("containers", check=False, env=other)
    assert r.returncode == 1 and "revoked" in r.stderr, r
    r = cli.run("token", "revoke", made["token"]["id"] + "0", check=False)
    assert r.returncode == 1 and "there is no token" in r.stderr, r


def test_who_is_not_root_is_told_what_to_do(central, cli):
    """Over the local socket."""
    copy = central.dir / "bulkhead"  # where others may pass
    copy.write_bytes(open(sensor_env.program(cli.build, "bulkhead"), "rb").read())
    copy.chmod(0o755)
    r = cli.run("status", check=False, as_uid=65534, program=str(copy))
    assert r.returncode == 1 and "sudo" in r.stderr and "BULKHEAD_TOKEN" in r.stderr, r
    r = cli.run("user", "password", "admin", "--reset", check=False, as_uid=65534, program=str(copy))
    assert r.returncode == 1 and "sudo" in r.stderr, r


def test_no_central_is_said(cli, tmp_path):
    for command in ("workloads", "applications", "findings", "audit"):
        r = cli.run("--run-dir", tmp_path, command, check=False)
        assert r.returncode == 1 and "no central answers" in r.stderr and "bulkhead up" in r.stderr, r
    r = cli.run("--run-dir", tmp_path, "status", check=False)
    assert r.returncode == 1 and "no sensor answers" in r.stderr, r
    r = cli.run("status", "--sensor", check=False)
    assert r.returncode == 1 and "no sensor answers" in r.stderr, r


# What they give has a form of its own: what a person watches, files, and lines of JSON in any case.
WITHOUT_JSON = {"up", "uninstall", "record", "evidence export", "evidence heads"}


def listed(help_text):
    """The commands that a help names."""
    return re.findall(r"^  ([a-z]+)\b", help_text.partition("\nCommands:\n")[2].partition("\n\n")[0], re.M)


def test_every_command_explains_itself(cli):
    names = listed(cli.run("--help").stdout)
    assert len(names) > 20 and {"up", "status", "user", "rules", "incident"} <= set(names), names
    told = []
    for name in names:
        r = cli.run(name, "--help")
        told += [(name, r)] + [(f"{name} {x}", cli.run(name, x, "--help")) for x in listed(r.stdout)]
    assert len(told) > 60, [c for c, _ in told]
    for command, r in told:
        assert "Usage" in r.stdout and r.stderr == "", (command, r)
    missing = {c for c, r in told if "\nCommands:\n" not in r.stdout and "--json" not in r.stdout}
    assert missing == WITHOUT_JSON, missing ^ WITHOUT_JSON


# what the pages can do as well -----------------------------------------------------------------------------------------


def test_settings_are_listed_and_changed_within_their_bounds(central, cli):
    def value(key):
        return next(s["value"] for s in central.session.get("/api/v1/settings").json["settings"] if s["key"] == key)

    assert cli.rows("setting", "list") == central.session.get("/api/v1/settings").json["settings"]
    assert "retention.days" in cli.run("setting", "list").stdout
    assert "retention.days is 14 now" in cli.run("setting", "set", "retention.days", "14").stdout and value("retention.days") == 14
    for wrong, says in (("0", "from 1 to 3650"), ("two", "from 1 to 3650"), ("-1", "")):
        done = cli.run("setting", "set", "retention.days", "--", wrong, check=False)
        assert done.returncode != 0 and says in done.stderr, done
    assert value("retention.days") == 14
    cli.run("setting", "set", "retention.days", "--default")
    assert value("retention.days") == 30
    networks = '[{"name":"office","cidr":"10.200.0.0/16"}]'
    cli.run("setting", "set", "graph.networks", networks)
    assert value("graph.networks") == networks
    cli.run("setting", "set", "graph.networks", "")
    assert value("graph.networks") == ""
    assert cli.run("setting", "set", "graph.networks", os.fsdecode(b"\xff"), check=False).returncode == 2
    done = cli.run("setting", "set", "nothing.such", "1", check=False)
    assert done.returncode == 2 and "setting list" in done.stderr, done
    assert cli.run("setting", "set", "retention.days", check=False).returncode == 2


def test_rules_preview_says_what_would_have_matched(central, cli, tmp_path):
    def events(node, stream, _body):
        node.chunk(stream, batch(event(1), event(2)))
        node.end(stream)

    n = central.node("previewed", serve={"events": events})
    file = tmp_path / "try.yaml"
    file.write_text("- rule: Program run\n  desc: d\n  condition: evt.type = execve\n  output: \"a program was run (%evt.type)\"\n  priority: WARNING\n")
    said = cli.run("rules", "preview", "--node", "previewed", "--since", "2d", file).stdout
    assert "recorded events would have matched" in said and "Program run" in said, said
    (found,) = cli.rows("rules", "preview", "--node", "previewed", file)
    assert found["errors"] == 0 and found["matches"][0]["rule"] == "Program run", found
    file.write_text("- rule: r\n  desc: d\n  condition: evt.typo = execve\n  output: o\n  priority: INFO\n")
    done = cli.run("rules", "preview", file, check=False)
    assert done.returncode == 1 and "try.yaml:3:" in done.stderr and "evt.typo" in done.stderr, done
    assert cli.run("rules", "preview", "--since", "x", file, check=False).returncode == 2
    n.close()


def test_a_reload_reaches_the_node_and_one_that_refuses_says_which_and_why(central, cli):
    willing = central.node("willing", serve={"rules_reload": lambda node, stream, _body: node.end(stream)})
    assert "read again" in cli.run("rules", "reload", "--node", "willing").stdout
    willing.close()
    n = central.node("stubborn", serve={"rules_reload": lambda node, stream, _body: node.end(stream, "line 3: no such field")})
    done = cli.run("rules", "reload", "--node", "stubborn", check=False)
    assert done.returncode == 1 and "stubborn has not said that it took its rules anew" in done.stderr and "line 3: no such field" in done.stderr, done
    n.close()


def test_fields_are_the_same_over_the_api(central, cli):
    told = central.session.get("/api/v1/rules/fields").json["fields"]
    own = [json.loads(line) for line in cli.run("rules", "fields", "--json").stdout.splitlines()]
    assert [(f["name"].split("[")[0], f["type"], f["list"], f["meaning"], f["why_not"]) for f in told] == [(f["name"], f["type"], f["list"], f["meaning"], f["why_not"]) for f in own]
