"""Policies end to end: what is set at the central, what nodes do by themselves and tell, what the central decides; limits and protection under one that matches everything; and that nothing stays behind."""
import json
import pathlib
import subprocess
import threading
import time

import central_env
import pytest
from boxes import Box
from central_env import Central, container, finding, inventory, parse, proto
from docker_env import system_env, wait_for
from test_response import block_leftovers, host_end, kernel_leftovers

RULE = """
- rule: Marked program
  desc: A program that a test marked.
  condition: evt.type in (execve, execveat) and container.id != host and proc.args contains policymark
  output: Marked (command=%proc.cmdline container=%container.name)
  priority: WARNING
  tags: [mitre_execution, T1059]
"""


def policy(name, action="isolate", when="{rules: Marked*}", **more):
    more = {"dry_run": "false", "rate": "100 per 1h", **more}
    return f"name: {name}\nwhen: {when}\naction: {action}\n" + "".join(f"{k}: {v}\n" for k, v in more.items())


def put(client, name, text, confirm=True, status=200):
    answer = client.put(f"/api/v1/policies/{name}", {"text": text, **({"confirm": name} if confirm else {})})
    assert answer.status == status, answer.json
    return answer.json


def ledger(client, name, **query):
    rows, cursor = [], ""
    more = "".join(f"&{k}={v}" for k, v in query.items())
    while cursor is not None:
        page = client.get(f"/api/v1/responses?actor=policy:{name}&limit=500{more}{cursor and '&cursor=' + cursor}").json
        rows += page["responses"]
        cursor = page["next"]
    return rows


# ---- the central, and nodes of a few lines

@pytest.fixture(scope="module")
def alone():
    with Central() as c:
        c.session = c.admin()
        yield c


def test_a_policy_is_checked_confirmed_kept_and_removed(alone):
    admin, text = alone.session, policy("shells", when="{rules: Shell*}")
    viewer, analyst = alone.user(admin, "looks", "viewer"), alone.user(admin, "thinks", "analyst")
    wrong = admin.put("/api/v1/policies/shells", {"text": "name: shells\nwhen: {rules: x, rule: y}\naction: explode\n"})
    assert wrong.status == 422 and [(p["line"], p["column"]) for p in wrong.json["problems"]] == [(2, 18), (3, 9)], wrong.json
    assert put(admin, "shells", text, confirm=False, status=400)["error"]["code"] == "not_confirmed"
    assert put(admin, "others", text, status=400)["error"]["code"] == "bad_name"
    assert viewer.put("/api/v1/policies/shells", {"text": text}).status == 403 and analyst.put("/api/v1/policies/shells", {"text": text}).status == 403
    assert admin.get("/api/v1/policies").json["policies"] == []
    with_stream = admin.stream("/api/v1/stream")
    kept = put(admin, "shells", text)
    assert (kept["action"], kept["decided"], kept["dry_run"], kept["when"], kept["text"]) == ("isolate", "node", False, "rule Shell*", text), kept
    with_stream.wait(lambda i, event, data: event == "policy" and data["object"]["name"] == "shells", what="the change is told")
    with_stream.close()
    assert [p["name"] for p in viewer.get("/api/v1/policies").json["policies"]] == ["shells"]
    assert "policy.set" in json.dumps(admin.get("/api/v1/audit?object=shells").json)
    assert admin.delete("/api/v1/policies/shells").status == 204 and admin.delete("/api/v1/policies/shells").status == 404


def test_a_check_says_what_it_would_have_done(alone):
    node = alone.node("past")
    ids = [f"{i:x}" * 64 for i in range(1, 5)]
    node.publish("inventory", inventory("past", [container(i, name=f"p-{i[0]}", workload=f"w{i[0]}", labels=[("bulkhead.protected", "true")] if i[0] == "4" else []) for i in ids]))
    for n, i in enumerate(ids):
        node.publish("finding", finding(f"past-{n}", "past", rule="Old trouble", f8=i, f15="rule"))
    node.wait_acked()
    text = policy("past", when="{rules: Old*}", blast_radius="{containers: 2}")
    thinks = alone.user(alone.session, "tries", "analyst")
    found = thinks.post("/api/v1/policies/check", {"text": text}).json
    assert found["errors"] == 0 and found["matched"] == 4, found
    assert sorted(w["decision"] for w in found["would"]) == ["act", "act", "containers", "protected"], found["would"]
    assert thinks.post("/api/v1/policies/check", {"text": "name: x"}).json["errors"] == 2
    assert ledger(alone.root(), "past") == []
    node.close()


def test_what_nodes_did_by_themselves_is_in_the_ledger_once(alone):
    """A hundred at once, each told twice; a node cannot speak in a person's name or change another node's."""
    node, ids = alone.node("doer"), [f"{i:064x}" for i in range(1, 101)]
    reports = [proto(f1=proto(f1=f"{i:012x}", f2="dry_run", f3="would be done", f4='{"cgroup":"/x"}', f6=c), f2="many", f3="isolate", f4="finding f-1: Marked", f5=f"c{i}", f6="w", f7="a")
               for i, c in enumerate(ids)]
    for r in reports + reports:
        node.publish("response", r)
    for bad in (proto(f2="many", f3="isolate"), proto(f1=proto(f1="00000000ff", f2="active"), f2="admin\nx", f3="isolate"), b"\xff\xff\xff"):
        node.publish("response", bad)
    node.wait_acked()
    rows = ledger(alone.root(), "many")
    assert sorted(r["container_id"] for r in rows) == ids and {r["state"] for r in rows} == {"dry_run"} and {r["node"] for r in rows} == {"doer"}, rows[:3]
    assert {r["reason"] for r in rows} == {"finding f-1: Marked"}
    other = alone.node("other")
    other.publish("response", proto(f1=proto(f1="000000000001", f2="failed", f3="mine now", f6="z" * 64), f2="many", f3="isolate"))
    other.wait_acked()
    assert alone.root().get("/api/v1/responses/000000000001").json["state"] == "dry_run"
    node.close()
    other.close()


def test_anomalies_are_decided_by_the_central(alone):
    """An anomaly of a container becomes an order for its node; one that is not known well enough does not where only strict models count."""
    asked = []

    def respond(node, stream, body):
        for one in parse(body).get(1, []):
            order = parse(one)
            asked.append({"id": order[1][0].decode(), "action": order[2][0].decode(), "container": order[3][0].decode(), "actor": order[10][0].decode()})
            node.chunk(stream, proto(f1=[proto(f1=order[1][0], f2="active", f3="done so")]))
        node.end(stream)
    root, node = alone.root(), alone.node("odd", serve={"respond": respond})
    ids = ["a" * 64, "b" * 64]
    node.publish("inventory", inventory("odd", [container(i, name=f"odd-{i[0]}", workload=f"odd{i[0]}") for i in ids]))
    node.wait_acked()
    refused = put(alone.session, "odd", policy("odd", when="{anomaly: {families: [exec], model: locked}}"), status=409)
    assert refused["error"]["code"] == "not_strict", refused
    put(alone.session, "odd", policy("odd", when="{anomaly: {families: [exec]}}"))
    put(alone.session, "odd-dry", policy("odd-dry", dry_run="true", when="{anomaly: {families: [exec], model: locked}}"), confirm=False)

    def tell(n, ident):  # until both policies have been read by who decides
        node.publish("finding", finding(f"model-{n}-{ident[0]}", "odd", rule="Model: new programs", f8=ident, f15="model",
                                        f25=[proto(f1="model.family", f2=1, f3="exec"), proto(f1="model.surprise", f2=2, f4=700), proto(f1="model.strict", f2=4, f6=int(ident[0] == "a"))]))
        node.wait_acked()
    for n, ident in enumerate(ids):
        tell(n, ident)

    def both():
        got = ledger(root, "odd")
        return [r["state"] for r in got] == ["active", "active"], (got, asked)
    rows, _ = wait_for(both, 20, "both are held")
    assert {r["container_id"] for r in rows} == set(ids) and {o["actor"] for o in asked} == {"policy:odd"}, asked
    dry = wait_for(lambda: (len(r := ledger(root, "odd-dry")) >= 1 and r, r), 20, "the dry run is in the ledger")
    assert [(r["container_id"], r["state"]) for r in dry] == [(ids[0], "dry_run")], dry
    alone.session.delete("/api/v1/policies/odd")
    alone.session.delete("/api/v1/policies/odd-dry")
    node.close()


def test_commands(alone, tmp_path):
    def cli(*args, status=0):
        r = alone.cli(*args, status=status)
        return r.stdout + r.stderr
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(policy("spoken"))
    bad.write_text("name: Spoken\nwhen: {rules: x}\naction: explode\n")
    said = cli("policy", "check", str(bad), status=1)
    assert f"{bad}:1:7: error:" in said and f"{bad}:3:9: error:" in said, said
    assert "0 matched" in cli("policy", "check", str(good))
    assert "confirm" in cli("policy", "set", str(good), status=1)
    assert "it acts from now on" in cli("policy", "set", str(good), "--confirm", "spoken")
    assert "spoken" in cli("policy", "list") and cli("policy", "show", "spoken") == good.read_text()
    assert cli("policy", "remove", "spoken") == "" and "no policies" in cli("policy", "list")
    assert "--confirm uninstall" in cli("uninstall", status=1)


# ---- a real node

@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "marked.yaml"
    path.write_text(RULE)
    return path


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend, rules):
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules", "--no-web", "--no-calls", "--rules", str(rules)) as s:
        yield s


@pytest.fixture(scope="module")
def boxes(docker, central, sensor):
    """Five that may be touched, and one that is protected."""
    root = central.root()
    made = [Box(docker, f"{name}-{docker.tag}", *(["--label", "bulkhead.protected=true"] if name == "precious" else [])) for name in ("ann", "bea", "cleo", "dora", "emma", "precious")]
    for b in made:
        wait_for(lambda b=b: root.get(f"/api/v1/containers/{b.id}").status == 200, 20, f"the central knows {b.name}")
    yield made
    for b in made:
        b.close()


def in_force(central, sensor, name):
    """The node has it."""
    root = central.root()

    def has():
        nodes = root.get("/api/v1/policies").json["nodes"]
        return nodes and all(n["state"] == "current" for n in nodes) and sensor.status()["policies"]["decided_here"] == has.wanted, (nodes, sensor.status()["policies"])
    has.wanted = len(root.get("/api/v1/policies").json["policies"])
    wait_for(has, 20, f"the node decides by {name}")


def mark(boxes):
    threads = [threading.Thread(target=b.run, args=("/bin/busybox echo policymark",)) for b in boxes]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def clear(central):
    root = central.root()
    for p in root.get("/api/v1/policies").json["policies"]:
        assert root.delete(f"/api/v1/policies/{p['name']}").status == 204


@pytest.fixture
def cleared(central):
    """A test that fails leaves no policy, and nothing held, to the next one."""
    yield
    if not central.alive:
        central.start()
    clear(central)
    for r in central.root().get("/api/v1/responses?open=true").json["responses"]:
        central.root().post(f"/api/v1/responses/{r['id']}/release", {})


def test_one_that_matches_everything_keeps_its_limits(central, sensor, boxes, cleared):
    root, free = central.root(), [b for b in boxes if not b.name.startswith("precious")]
    for n in range(20):
        put(root, f"dry-{n}", policy(f"dry-{n}", when="{rules: '*'}", dry_run="true", blast_radius="{containers: 50, percent: 100}"), confirm=False)
    in_force(central, sensor, "twenty dry runs")
    mark(boxes)
    # a hundred at once: each of the twenty about each of the five, and never about the protected one
    for n in range(20):
        rows = wait_for(lambda n=n: (len(r := ledger(root, f"dry-{n}")) >= 5 and r, r), 30, f"dry run {n} is in the ledger")
        assert sorted(r["container_id"] for r in rows) == sorted(b.id for b in free) and {r["state"] for r in rows} == {"dry_run"}, rows
    assert not root.get("/api/v1/responses?open=true").json["responses"]
    clear(central)

    put(root, "all", policy("all", action="pause", when="{rules: '*'}", ttl="1h", blast_radius="{containers: 3, percent: 100}"))
    in_force(central, sensor, "one that acts")
    for b in boxes:
        b.start("/bin/busybox echo policymark")
    limit, _ = wait_for(lambda: (found := root.get("/api/v1/findings?rule=Policy%20reached%20its%20limit").json["findings"], (found, sensor.status()["policies"])), 30, "that the limit was reached is a finding")
    held = wait_for(lambda: (len(r := ledger(root, "all", state="active")) >= 3 and r, r), 30, "three are held")
    status = wait_for(lambda: ((s := sensor.status()["policies"])["limited"] >= 2 and s["protected"] >= 1 and s, s), 20, "the others were decided, too")
    assert len(held) == 3 and {r["container_id"] for r in held} < {b.id for b in free} and all(r["until"] for r in held), held
    assert len(limit) == 1 and "containers" in limit[0]["output"] and status["failed"] == 0, (limit, status)
    assert all(r["reason"].startswith("finding ") and root.get("/api/v1/findings/" + r["reason"].split()[1].rstrip(":")).status == 200 for r in held), held
    clear(central)
    for r in held:
        assert root.post(f"/api/v1/responses/{r['id']}/release", {}).json["state"] == "released"


def test_a_node_decides_without_the_central_and_tells_it_later(build, docker, central, backend, rules, boxes, sensor, cleared):
    """The sensor is killed and started again; the policy is on its disk, and what it does reaches the ledger."""
    root, box = central.root(), next(b for b in boxes if b.name.startswith("ann"))
    put(root, "ends", policy("ends", action="isolate", scope="{containers: 'ann-*'}", best_effort="true"))
    in_force(central, sensor, "ends")
    central.stop()
    sensor.kill()
    sensor.start()
    assert sensor.status()["policies"]["decided_here"] == 1, sensor.status()["policies"]
    wait_for(lambda: (box.id in json.dumps(sensor.containers()), ""), 20, "the sensor knows the container")
    box.run("/bin/busybox echo policymark")
    wait_for(lambda: (sensor.status()["policies"]["acted"] == 1, sensor.status()["policies"]), 20, "it acts without the central")
    central.start()
    root = central.root()
    row, = wait_for(lambda: (len(r := ledger(root, "ends")) == 1, r), 30, "the ledger has it")
    assert row["state"] == "active" and row["container_id"] == box.id, row
    assert root.post(f"/api/v1/responses/{row['id']}/release", {}).json["state"] == "released"
    clear(central)


def test_uninstall_leaves_nothing(build, central, sensor, boxes):
    """Last: one container is cut off, one frozen, one refused programs, the sensor was killed. Afterwards neither kernel nor disk have anything of it."""
    cut, frozen, barred = boxes[1:4]
    link = host_end(cut)
    for b, order in ((cut, {"action": "isolate"}), (frozen, {"action": "pause"}), (barred, {"action": "block", "deny": "exec-not-in-image"})):
        answer = central.root().post("/api/v1/responses", {**order, "container": b.name})
        assert answer.status == 200 and answer.json["state"] == "active", answer.json
    assert kernel_leftovers(sensor, cut, link) and block_leftovers(sensor)
    program = [str(pathlib.Path(build) / "src/cli/bulkhead"), "--run-dir", str(sensor.run_dir), "--data-dir", str(sensor.data_dir), "uninstall"]

    def uninstall(*args):
        return subprocess.run(program + list(args), capture_output=True, text=True, env=system_env(), timeout=60)
    refused = uninstall("--confirm", "uninstall")
    assert refused.returncode == 1 and "stop it first" in refused.stderr, refused
    sensor.kill()
    mine = pathlib.Path(sensor.data_dir) / "somebody's own"
    mine.write_text("stays")
    assert uninstall().returncode == 1 and kernel_leftovers(sensor, cut, link)
    done = uninstall("--confirm", "uninstall")
    assert done.returncode == 0, done
    assert kernel_leftovers(sensor, cut, link) == [] and block_leftovers(sensor) == []
    mounts = pathlib.Path("/proc/self/mountinfo").read_text()
    assert f" {sensor.run_dir}" not in mounts, "no BPF file system is left"
    assert sorted(p.name for p in pathlib.Path(sensor.data_dir).iterdir()) == [mine.name] and not pathlib.Path(sensor.run_dir).exists()
    mount = next(line.split()[4] for line in mounts.splitlines() if " - cgroup2 " in line)
    assert pathlib.Path(f"{mount}/docker/{frozen.id}/cgroup.freeze").read_text() == "0\n"
    assert frozen.run("echo alive") == "alive\n"
    links = json.loads(subprocess.run(["bpftool", "-j", "link", "show"], capture_output=True, text=True, env=system_env()).stdout or "[]")
    cgroup = pathlib.Path(f"{mount}/docker/{cut.id}").stat().st_ino
    assert not [one for one in links if one.get("cgroup_id") == cgroup], links
    mine.unlink()
