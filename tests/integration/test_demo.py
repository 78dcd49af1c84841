"""The demo shop, in both of its forms: it works, its holes are there, its traffic is what it says it was, and nothing of it stays."""
import collections
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

import pytest

import docker_env
import map_truth
from docker_env import wait_for
from sensor_env import REPO
from test_platform import Platform

sys.path.insert(0, str(REPO))

from demo import forms, topology, traffic  # noqa: E402
from demo.engine import Engine  # noqa: E402
from demo.shop import APPLICATION, Shop  # noqa: E402

pytestmark = pytest.mark.deadline(400)
JSON = {"Accept": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", **JSON}


@pytest.fixture(scope="module")
def engine():
    """An engine with a network of its own: the shop has several bridges, and overlays, which iptables of other engines would cut."""
    env = docker_env.DockerEnv(netns=True)
    with env:
        yield env
    assert env.leftovers() == []


@pytest.fixture(scope="module")
def platform(build, engine):
    """Bulkhead beside it, through both forms."""
    p = Platform(build, "--docker", engine.host)
    try:
        yield p.start()
        p.stop()
    finally:
        p.close()


@pytest.fixture(scope="module", params=["compose", "swarm"])
def shop(request, engine, platform):
    made = Shop(engine.host, request.param, netns=engine.netns)
    made.before = inventory(engine)
    made.stopped = False
    try:
        yield made.start()
    finally:
        if not made.stopped:
            made.stop(check=False, images=False)


def inventory(engine):
    """All that a demo could leave in an engine or, through it, on the machine: compared by name, so that a failure says what it is."""
    api = Engine(engine.host)
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return {
        "containers": sorted(c["Names"][0] for c in api.call("GET", "/containers/json", all=1)),
        "networks": sorted(n["Name"] for n in api.call("GET", "/networks")),
        "volumes": sorted(v["Name"] for v in api.call("GET", "/volumes")["Volumes"] or []),
        "swarm": api.call("GET", "/info")["Swarm"]["LocalNodeState"],
        "mounts": sorted(m for m in engine._mounts()),
        "processes": sorted(p for p in processes if str(engine.dir) in p and not re.search(r"dockerd|containerd |bulkhead|nsenter", p)),
        "links": sorted(re.findall(r"^\d+: ([^:@]+)", subprocess.run(["nsenter", f"--net={engine.netns}", "ip", "link"], capture_output=True, text=True,
                                                                       check=True).stdout, re.M)),
    }


class Visitor:
    """A user with a session."""

    def __init__(self, shop):
        self.shop, self.cookie = shop, ""

    def __call__(self, method, path, body=None, status=200, **more):
        answer = self.shop.request(method, path, body, {**(FORM if body else JSON), "Cookie": self.cookie}, **more)
        assert answer.status == status, f"expected {status} for {method} {path}, saw {answer.status}: {answer.text[-500:]}"
        self.cookie = answer.headers.get("Set-Cookie", self.cookie).split(";")[0]
        return answer.json if "json" in answer.headers["Content-Type"] else answer.body


def test_a_customer_buys_and_the_order_is_shipped_and_reported(shop):
    visit = Visitor(shop)
    products = visit("GET", "/")["products"]
    assert [p["name"] for p in products[:2]] == ["Brass lamp", "Brass rope"] and len(products) == 12
    found = visit("GET", "/search?q=anchor")["products"]
    assert len(found) == 5 and all("anchor" in p["name"] for p in found), found
    assert visit("GET", "/search?q=submarine")["products"] == []
    one = visit("GET", f"/product?id={found[0]['id']}")["products"][0]
    assert one == {**found[0], "stock": 100}
    visit("GET", "/product?id=1000", status=404)
    visit("POST", "/checkout", "card=4111111111111111", status=409)  # nothing in the cart

    assert visit("POST", f"/cart?id={one['id']}&n=2")["cart"] == {str(one["id"]): 2}
    visit("POST", "/cart?id=1&n=1")
    assert visit("GET", "/cart")["cart"] == {str(one["id"]): 2, "1": 1}
    visit("POST", "/checkout", "email=a@example.com&card=4111111111111112", status=402)
    order = visit("POST", "/checkout", "email=a@example.com&card=4111111111111111")
    assert order["total"] == f"{2 * float(one['price']) + float(products[0]['price']):.2f}"
    assert visit("GET", "/cart")["cart"] == {}
    wait_for(lambda: (visit("GET", f"/order?id={order['order']}")["status"] == "shipped", "not shipped"), 20, "the worker ships the order")

    def reported():
        sales = visit("GET", "/sales", service="reports")
        return sales["told_shipped"] >= 1 and "shipped" in sales["sales"], sales
    wait_for(reported, 20, "the report knows it from the database, and was told by the broker", every=0.5)

    visit("GET", "/admin/orders", status=403)
    visit("POST", "/login", "name=harbourmaster&password=wrong", status=403)
    visit("POST", "/login", "name=harbourmaster&password=fair-winds")
    assert visit("GET", "/admin/orders")["status"]["shipped"] >= 1
    assert b"The Chandlery: terms" in visit("GET", "/download?file=terms.txt")
    assert "<a href='/product?id=1'>Brass lamp</a>" in shop.get("/").text


def test_both_replicas_answer_and_all_are_healthy(shop):
    ids = {c.id[:12] for c in shop.containers("api")}
    assert len(ids) == 2
    wait_for(lambda: ({shop.get("/").headers["X-Served-By"] for _ in range(6)} == ids, "not both"), 20, "both replicas answer")

    def healthy():
        states = {c.name: shop.engine.call("GET", f"/containers/{c.id}/json")["State"].get("Health", {}).get("Status", "none") for c in shop.containers()}
        return set(states.values()) <= {"healthy", "none"} and "healthy" in states.values(), states
    wait_for(healthy, 60, "every container with a health check is healthy", every=0.5)


def test_the_holes_work_as_documented(shop):
    hit = shop.exploit_command_injection("id; cat /etc/hostname")
    assert hit.text.split() == ["uid=0(root)", "gid=0(root)", "groups=0(root)", hit.container[:12]]
    assert hit.container in {c.id for c in shop.containers("api")}
    assert "root:*:0:0:" in shop.exploit_path_traversal("/etc/passwd").text
    assert b"DB_PASSWORD=keelhaul" in shop.exploit_path_traversal("/proc/self/environ").output
    rows = shop.exploit_sql_injection().rows
    assert len(rows) == 50 and ("7", "Customer 7 4111-1111-1111-0007", "customer7@example.com") in rows
    assert shop.exploit_sql_injection("1, name, password", "users").rows[0][1] == "harbourmaster"
    shop.exploit_upload("note.txt", b"\0\1 anything")
    assert wait_for(lambda: shop.get("/uploads/note.txt").body, 5) == b"\0\1 anything"
    assert shop.exploit_web_shell("echo \"a  b%c\" | cat; id -u").text == "a  b%c\n0\n"
    assert json.loads(shop.exploit_request_forgery("http://payments:8080/internal/keys").output)["key"].startswith("sk_demo_")
    assert shop.exploit_request_forgery("http://127.0.0.1:9/").status == 502


def test_the_holes_are_reached_through_the_loopback_address_alone(shop, engine):
    for service in ("front", "reports"):
        ports = shop.engine.call("GET", f"/containers/{shop.container(service).id}/json")["NetworkSettings"]["Ports"]
        published = [p["HostIp"] for bindings in ports.values() for p in bindings or []]
        assert published == ["127.0.0.1"], ports
    assert shop.address("front")[0] == "127.0.0.1"
    out = subprocess.run(["nsenter", f"--net={engine.netns}", "ss", "-Hltn"], capture_output=True, text=True, check=True).stdout
    mine = [line.split()[3] for line in out.splitlines() if line.split()[3].rsplit(":", 1)[1] == str(shop.address("front")[1])]
    assert mine == [f"127.0.0.1:{shop.address('front')[1]}"], out


def by_route(lines, run):
    """(method, path without query) -> lines of this run in an access log."""
    counts = collections.Counter()
    for line in lines:
        if f"run={run}" in line and (m := re.search(r'"(GET|POST) ([^ ?"]+)[^"]*" (\d+)', line)):
            counts[m[1], m[2]] += 1
    return counts


def test_the_traffic_is_what_the_servers_saw(shop):
    before = int(shop.execute("db", ["psql", "-U", "postgres", "-d", "shop", "-Atc", "SELECT count(*) FROM orders"])[1])
    run = traffic.Traffic(shop, 12, seed=3, rate=2.0, restarts=1)
    truth = run.run()
    assert not truth.failed, truth.failed
    assert truth.actions == traffic.planned(run.plan)
    assert {"exec", "job", "restart"} == {kind for _, kind, _ in truth.acts}, truth.acts
    assert sum(truth.requests.values()) == sum(truth.actions.values()) + sum(" 50" in r for r in truth.repeated)

    front = shop.logs("front")
    assert by_route(front, truth.run) == {(m, p): n for (s, m, p), n in truth.requests.items() if s == "front"}
    assert by_route(shop.logs("reports"), truth.run) == {(m, p): n for (s, m, p), n in truth.requests.items() if s == "reports"}
    # Behind the front: what it could pass on was answered once, by whichever replica, also by the one that is gone.
    passed = [line for line in front if not re.search(r'" 50[24] ', line)]
    if truth.restarted[0].service != "api" or shop.form.name == "compose":
        assert by_route(shop.logs("api"), truth.run) == by_route(passed, truth.run)
    after = shop.execute("db", ["psql", "-U", "postgres", "-d", "shop", "-Atc", f"SELECT count(*) FROM orders WHERE id IN ({','.join(map(str, truth.orders))})"])[1]
    assert int(after) == len(truth.orders) == len(set(truth.orders)) >= 1 and before + len(truth.orders) >= int(after)
    wait_for(lambda: (shop.execute("db", ["psql", "-U", "postgres", "-d", "shop", "-Atc", "SELECT count(*) FROM orders WHERE status <> 'shipped'"])[1] == "0\n",
                      "orders that are not shipped"), 20, "all orders are shipped")

    # Edges: what the actions say, and only such as the applications have.
    assert set(truth.edges) == {e for a in truth.actions for e in topology.ACTIONS[a]} | set(topology.ACTIONS["job"])
    assert truth.edges[topology.edge("outside", "front")] == sum(n for a, n in truth.actions.items() if a != "sales")
    assert truth.edges[topology.edge("api", "payments")] == truth.actions["checkout"] + truth.actions["declined"]
    assert not set(truth.edges) & topology.NEVER
    known = {c.id[:12]: c.service for c in [*shop.containers(all=True), *truth.restarted]}
    assert {known[i] for i in truth.served} == {"api", "reports"} and len(truth.served) >= 3, truth.served
    shop.wait_ready(60)  # the replica is there again


def test_the_map_shows_the_topology_and_nothing_else(shop, platform):
    """All that the demo does, in workloads: each edge of the traffic is there with its port, and none that the applications do not have."""
    truth = traffic.Traffic(shop, 8, seed=4, rate=2.0, restarts=0).run()
    assert not truth.failed, truth.failed
    services = {shop.workload(s): s for s in APPLICATION}
    known = {e for some in (topology.BACKGROUND, *topology.ACTIONS.values(), *topology.JOBS.values()) for e in some}

    def name(node):
        if node["kind"] == "workload" and not node["application"] and "demo/cron" in (node["image"] or ""):
            return "cron"  # its job, which a stack has as a container of its own
        return topology.OUTSIDE if node["kind"] == "host" else services.get((node["application"], node["workload"]), node["id"])

    def seen():
        graph = map_truth.fetch(platform.root(), "workload")
        edges = {(name(graph.nodes[e["from"]]), name(graph.nodes[e["to"]]), e["port"], e["proto"]) for e in graph.edges}
        return {topology.Edge(*e) for e in edges if e[0] != e[1] and {e[0], e[1]} & set(services.values())}

    def look():
        edges = seen()
        return set(truth.edges) | topology.BACKGROUND <= edges <= known, {"missing": (set(truth.edges) | topology.BACKGROUND) - edges, "more": edges - known}
    wait_for(look, 30, "the map is the topology", every=1)
    assert not seen() & topology.NEVER


def test_jobs_and_log_rotation_go_on_by_themselves(shop):
    wait_for(lambda: (any("backup /backup/shop-" in line for line in shop.logs("cron")), shop.logs("cron")), 45, "a backup was made", every=0.5)
    status, dump = shop.execute("cron", ["sh", "-c", "zcat $(ls /backup/*.gz | tail -n 1)"])
    assert status == 0 and "CREATE TABLE public.orders" in dump
    wait_for(lambda: (shop.execute("front", ["zgrep", "-c", "GET", "/var/log/nginx/access.log.1.gz"])[0] == 0, "none"), 45, "the front's log was rotated", every=0.5)


def test_bulkhead_names_workloads_and_applications(shop, platform):
    expected = {(*shop.workload(s), shop.replicas[s]) for s in APPLICATION}

    def seen():
        rows = [(w["application"], w["workload"], w["running"]) for w in platform.rows("workloads", "--living")]
        return set(rows) == expected, sorted(rows)
    wait_for(seen, 20, f"workloads {sorted(expected)}", every=0.3)
    images = {c["name"]: c["image"] for c in platform.rows("containers")}
    assert {images[c.name] for c in shop.containers()} == {f"bulkhead-demo/{s}:1.0" for s in APPLICATION}


def test_stopped_or_abandoned_it_leaves_nothing(shop, engine):
    """The last test of each form: it stops the shop."""
    last = shop.form.name == "swarm"
    shop.stop(images=last)
    shop.stopped = True
    assert inventory(engine) == shop.before
    # Of a demo that was killed at its start: containers half made, tasks on their way.
    if last:
        shop.load()
    else:
        shop.form.replicas, shop.form.overrides = {"api": 1}, {"api": {"HostConfig": {"CapAdd": ["SYS_ADMIN"], "Binds": ["/:/host:ro"]}}}
    shop.form.up()
    assert forms.leftovers(shop.engine)
    if not last:
        one, = shop.containers("api")
        config = shop.engine.call("GET", f"/containers/{one.id}/json")["HostConfig"]
        assert config["CapAdd"] == ["SYS_ADMIN"] and config["Binds"] == ["shop_uploads:/srv/uploads", "/:/host:ro"], config
    assert forms.clean(shop.engine, images=last) == []
    assert inventory(engine) == shop.before
    if last:
        assert shop.leftovers() == []


def test_what_others_have_of_the_same_names_is_not_touched(engine):
    engine.docker("volume", "create", "shop_data")
    try:
        with pytest.raises(forms.DemoError, match="volume shop_data"):
            Shop(engine.host).start()
        assert engine.docker("volume", "ls", "-q").stdout == "shop_data\n"
    finally:
        engine.docker("volume", "rm", "shop_data")


@pytest.fixture
def program(build, engine):
    """demo/run, as ./dev demo starts it, with directories of its own."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="bhd-", dir=os.environ.get("BH_TEST_DIR", "/tmp")))
    base.chmod(0o755)
    started = []

    def run(*args, words=None):
        log = base / "log"
        with open(log, "ab") as out:
            proc = subprocess.Popen(["nsenter", f"--net={engine.netns}", REPO / "demo" / "run", "--docker", engine.host, "--build", build,
                                     "--run-dir", base / "run", "--data-dir", base / "data", *args],
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=docker_env.system_env(), preexec_fn=docker_env.die_with_parent)
        started.append(proc)
        if words:
            wait_for(lambda: (words in log.read_text(), f"{proc.poll()} {docker_env.tail(log)}"), 200, f"the demo says {words!r}")
        return proc, log
    run.base = base
    yield run
    for proc in started:
        docker_env.stop_process(proc, 60)
    subprocess.run([REPO / "demo" / "run", "--clean", "--docker", engine.host, "--build", build, "--run-dir", base / "run", "--data-dir", base / "data"],
                   check=True, stdout=subprocess.DEVNULL, env=docker_env.system_env())
    docker_env.shutil.rmtree(base)


def bulkhead_of(base):
    return subprocess.run(["pgrep", "-f", f"^[^ ]*bulkhead.* {base}/run"], capture_output=True, text=True).stdout.split()


def test_the_demo_introduces_itself_and_ends_at_ctrl_c(program, engine):
    before = inventory(engine)
    # Also while it starts.
    proc, log = program(words="loaded")
    proc.send_signal(signal.SIGINT)
    assert proc.wait(150) == 0 and "all is up" not in log.read_text(), log.read_text()
    assert inventory(engine) == before and forms.leftovers(Engine(engine.host)) == []

    proc, log = program("--seed", "5", "--attack", words="acts of the operator")
    text = log.read_text()
    # the attack, told after its container is gone
    number = re.search(r"In the web interface: https://127\.0\.0\.1:\d+/incidents/(\d+)\n", text)[1]
    told = text[text.index(f"Incident {number}: "):]
    assert "Program run by a web attack" in told and "Scheduled job written" in told and "Process outside of the container traced or written to" in told and "shop-api-1" in told, told
    url, password = re.search(r"Bulkhead +(https://127\.0\.0\.1:\d+/)\n +log in as +admin / (\S{20,})\n", text).groups()
    shop_url = re.search(r"The shop +(http://127\.0\.0\.1:\d+/) ", text)[1]

    def fetch(*args):
        return subprocess.run(["nsenter", f"--net={engine.netns}", "curl", "-fsSk", *args], capture_output=True, text=True, check=True).stdout
    # the api that was killed is there again soon
    wait_for(lambda: (subprocess.run(["nsenter", f"--net={engine.netns}", "curl", "-fsSk", shop_url], capture_output=True).returncode == 0, "the shop"), 60, "the shop answers")
    assert "The Chandlery" in fetch(shop_url)
    assert json.loads(fetch(f"{url}api/v1/login", "-H", "Content-Type: application/json", "-d", json.dumps({"user": "admin", "password": password})))
    # A second one is refused, and does not touch the first.
    second, _ = program()
    assert second.wait(30) == 1 and "another demo runs" in log.read_text()

    proc.send_signal(signal.SIGINT)
    assert proc.wait(150) == 0, log.read_text()
    assert inventory(engine) == before and forms.leftovers(Engine(engine.host)) == []
    assert not bulkhead_of(program.base) and [p.name for p in program.base.iterdir()] == ["log"]


def test_what_a_killed_demo_left_is_removed(program, engine):
    before = inventory(engine)
    proc, log = program("--no-traffic", words="loaded")
    wait_for(lambda: (sum(x.startswith("container") for x in forms.leftovers(Engine(engine.host))) > 3, log.read_text()), 60, "some containers are there")
    assert bulkhead_of(program.base)
    proc.kill()
    proc.wait()
    clean, _ = program("--clean")
    assert clean.wait(150) == 0 and "removed what there was" in log.read_text(), log.read_text()
    assert inventory(engine) == before and forms.leftovers(Engine(engine.host)) == []
    assert not bulkhead_of(program.base) and [p.name for p in program.base.iterdir()] == ["log"]


def test_a_plan_is_the_seed_s():
    a, b, c = traffic.plan(120, "x"), traffic.plan(120, "x"), traffic.plan(120, "y")
    assert a == b and a != c
    assert {s.kind for s in a.sessions} == set(traffic.KINDS)
    assert set(traffic.planned(a)) <= set(topology.ACTIONS)
    # Waves: twice as busy in the middle of a minute as at its ends.
    starts = [s.start % 60 for seed in range(8) for s in traffic.plan(120, seed).sessions]
    assert sum(15 < t < 45 for t in starts) > 1.3 * sum(t < 15 or 45 < t < 60 for t in starts)
