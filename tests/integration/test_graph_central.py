"""The connection map over a real central: synthetic nodes tell flows, and the API and the command line say exactly what they told."""
import collections
import contextlib
import json
import os
import re
import sqlite3
import statistics
import threading
import time

import pytest
from central_env import Central, container, inventory
from docker_env import wait_for
from map_synthetic import CLIENT, MINUTE, SERVER, Synthetic, flow, flow_batch, listener, listener_list, network, proto, published, resource, resource_list

HOSTILE = ['<img src=x onerror=alert(1)>', '"];evil[', "a'; DROP TABLE flow_halves;--", "\x1b[31mred\x1b[0m", "..%2f/..", "name\nwith\tcontrols", "\u202ertl", "%s%n", "x" * 5000]


@pytest.fixture
def central():
    with Central() as c:
        yield c


@pytest.fixture
def root(central):
    return central.root()


def graph(root, **query):
    """All pages."""
    url = "/api/v1/graph?" + "&".join(f"{k}={v}" for k, v in query.items())
    answer = root.get(url)
    assert answer.status == 200, answer
    out, nodes, edges = answer.json, {}, {}
    page = out
    while True:
        nodes.update({n["id"]: n for n in page["nodes"]})
        for e in page["edges"]:
            assert e["id"] not in edges, f"an edge came twice: {e}"
            edges[e["id"]] = e
        if not page["next"]:
            break
        answer = root.get(f"{url}{'&' if query else ''}cursor={page['next']}")
        assert answer.status == 200, answer
        page = answer.json
    assert len(edges) == out["counts"]["edges"], (len(edges), out["counts"])
    for e in edges.values():
        assert e["from"] in nodes and e["to"] in nodes, f"an end that is no node: {e}"
    return nodes, edges


def drawn(edges):
    return sorted(f"{e['from']} > {e['to']} {e['proto']}/{e['port']}{e['path']}" for e in edges.values())


def only(edges):
    assert len(edges) == 1, drawn(edges)
    return next(iter(edges.values()))


def settled(root, wanted, **query):
    """Waits until the map has so many edges: the inventory comes to it by another way than flows."""
    def look():
        _, edges = graph(root, **query)
        return drawn(edges) == sorted(wanted), drawn(edges)
    wait_for(look, 10, f"the map shows {wanted}")
    return graph(root, **query)


# Exactly what was told -----------------------------------------------------------------------------------------------

def test_a_synthetic_environment_is_shown_as_it_is_and_stays_over_a_restart(central):
    s = Synthetic(seed=3, applications=6, workloads=60, containers=150, flows=250, nodes=3)
    s.fill(central)
    root = central.root()

    def whole():
        return [graph(root, level=level, hidden=1) for level in ("application", "workload", "container")]

    def resolved():
        nodes, _ = graph(root, level="workload", hidden=1)
        unknown = [n for n in nodes.values() if n["kind"] == "container"]
        return len([n for n in nodes.values() if n["kind"] == "workload"]) == 60 and not unknown, f"{len(nodes)} nodes, unknown {unknown[:3]}"
    wait_for(resolved, 10, "60 workloads")
    before = whole()

    # who talks to whom, from the generator's own list
    inside = {(f"w:{a.workload.application}/{a.workload.name}", f"w:{b.workload.application}/{b.workload.name}", b.workload.port or 9000)
              for kind, a, b, *_ in s.edges if kind == "inside"}
    inside |= {(f"w:{a.workload.application}/{a.workload.name}", f"w:{b.workload.application}/{b.workload.name}", b.workload.port)
               for kind, a, b, *_ in s.edges if kind == "published"}
    inside |= {(f"w:{a.workload.application}/{a.workload.name}", f"w:{b.workload.application}/{b.workload.name}", 8081) for kind, a, b, *_ in s.edges if kind == "refused"}
    _, edges = before[1]
    shown = {(e["from"], e["to"], e["port"]) for e in edges.values() if e["from"].startswith("w:") and e["to"].startswith("w:")}
    assert shown == inside, f"missing {sorted(inside - shown)[:5]}, too many {sorted(shown - inside)[:5]}"

    # connections, counted again from what was told: the client's side of each, else the server's
    told = collections.Counter()
    for _, batch in s.steps():
        for node, flows in batch.items():
            told[node] += len(flows)
    connections = sum(max(1, int(edge[3] * (0.3 + (step * 7 + edge[3]) % 5 / 5))) if edge[0] not in ("scan",) else 1000
                      for edge in s.edges for step in range(6)
                      if (edge[5] < 0.9 or step >= 3) and (edge[6] < 0.97 or step < 3))
    for nodes, edges in before:
        assert sum(e["connections"] for e in edges.values()) == connections
    assert {n["kind"] for n in before[0][0].values()} <= {"application", "host", "name", "network", "runtime"}
    assert all(n["level"] == 0 for n in before[1][0].values() if n["kind"] == "network" and any(e["from"] == n["id"] for e in before[1][1].values()))

    central.restart()
    root = central.root()
    after = whole()
    for (nodes, edges), (nodes_after, edges_after) in zip(before, after):
        assert edges_after == edges
        assert nodes_after == nodes


def test_a_batch_that_comes_twice_counts_once_also_after_a_restart(central, root):
    def tell(node, through, boot="boot-1", n=5):
        node.publish("flow", flow_batch(node.name, [flow("c" * 64, "/bin/a", peer="8.8.8.8", port=53, connections=n, into=100)], through, boot=boot))
        node.wait_acked()
    node = central.node("n1")
    tell(node, 100)
    tell(node, 100)
    tell(node, 90)
    _, edges = graph(root, level="container")
    assert only(edges)["connections"] == 5
    # a sensor that was killed says it again, under a new number of the bus
    again = central.node("n1", ident=os.urandom(16))
    tell(again, 100)
    central.restart()
    root = central.root()
    third = central.node("n1", ident=os.urandom(16))
    tell(third, 100)
    tell(third, 101, n=2)
    tell(third, 1, boot="boot-2", n=1)
    _, edges = graph(root, level="container")
    assert (only(edges)["connections"], only(edges)["bytes_in"]) == (8, 300)


def test_windows_and_differences_are_exact(central, root):
    now = time.time_ns() // MINUTE * MINUTE
    node = central.node("n1")
    through = 0
    for minute in range(120):
        through += 1
        when = now - (120 - minute) * MINUTE + 1
        flows = [flow("a" * 64, "/bin/a", peer="8.8.8.8", port=1, connections=1, into=10, last=when, first=when)]
        if minute >= 60:
            flows.append(flow("a" * 64, "/bin/a", peer="8.8.8.8", port=2, connections=1, last=when, first=when))
            flows.append(flow("a" * 64, "/bin/a", peer="8.8.8.8", port=4, connections=8, into=80, last=when, first=when))
        else:
            flows.append(flow("a" * 64, "/bin/a", peer="8.8.8.8", port=3, connections=1, last=when, first=when))
            flows.append(flow("a" * 64, "/bin/a", peer="8.8.8.8", port=4, connections=2, into=20, last=when, first=when))
        node.publish("flow", flow_batch("n1", flows, through, when=when))
    node.wait_acked()

    def counts(since, until):
        _, edges = graph(root, level="container", since=since, until=until)
        return {e["port"]: (e["connections"], e["bytes_in"], e["new"]) for e in edges.values()}
    assert counts(now - 60 * MINUTE, now) == {1: (60, 600, False), 2: (60, 0, True), 4: (480, 4800, False)}
    assert counts(now - 120 * MINUTE, now - 60 * MINUTE) == {1: (60, 600, True), 3: (60, 0, True), 4: (120, 1200, True)}
    assert counts(now - 61 * MINUTE, now - 59 * MINUTE) == {1: (2, 20, False), 2: (1, 0, True), 3: (1, 0, False), 4: (10, 100, False)}
    assert counts(now - 240 * MINUTE, now - 120 * MINUTE) == {}

    answer = root.get(f"/api/v1/graph/diff?level=container&since={now - 60 * MINUTE}&until={now}")
    assert answer.status == 200, answer
    diff = answer.json
    assert [e["port"] for e in diff["new"]] == [2] and [e["port"] for e in diff["gone"]] == [3]
    assert [(e["port"], e["bytes_ratio"], e["connections_ratio"]) for e in diff["changed"]] == [(4, 4, 4)]
    same = root.get(f"/api/v1/graph/diff?level=container&since={now - 30 * MINUTE}&until={now}&base_since={now - 60 * MINUTE}&base_until={now - 30 * MINUTE}").json
    assert (same["new"], same["gone"], same["changed"]) == ([], [], [])

    bins = root.get(f"/api/v1/graph/histogram?level=container&since={now - 120 * MINUTE}&until={now}&buckets=4").json["buckets"]
    assert [(b["connections"], b["bytes"], b["new_edges"]) for b in bins] == [(120, 900, 3), (120, 900, 0), (300, 2700, 1), (300, 2700, 0)]

    edge = next(e for e in graph(root, level="container")[1].values() if e["port"] == 4)
    one = root.get(f"/api/v1/graph/edges/{edge['id']}?level=container&since={now - 60 * MINUTE}&until={now}").json
    assert one["edge"]["connections"] == 480 and sum(b["connections"] for b in one["histogram"]) == 480
    assert root.get(f"/api/v1/graph/edges/{'0' * 16}?level=container").status == 404


def test_both_sides_published_ports_and_ended_containers(central, root):
    a, b = central.node("n1"), central.node("n2")
    a.publish("inventory", inventory("n1", [container("a" * 64, name="web-1", workload="web", f15=[network("bridge", "b1", "172.17.0.2")])]))
    db = dict(name="db-1", workload="db", f15=[network("bridge", "b2", "172.17.0.2")], f16=[published(5432, 15432)])
    b.publish("inventory", inventory("n2", [container("b" * 64, **db)]))
    b.publish("flow", flow_batch("n2", [flow("", "/usr/bin/agent", local="192.168.7.2", peer="8.8.8.8", port=443, connections=1),
                                        flow("b" * 64, "/bin/db", SERVER, local="172.17.0.2", peer="192.168.7.1", port=5432, connections=4, out=500, into=50)], 1))
    a.publish("flow", flow_batch("n1", [flow("", "/usr/bin/agent", local="192.168.7.1", peer="8.8.8.8", port=443, connections=1),
                                        flow("a" * 64, "/bin/web", CLIENT, local="172.17.0.2", peer="192.168.7.2", port=15432, protocol="postgresql", connections=4, out=50, into=500)], 1))
    wanted = ["h:n1 > net:8.8.8.0/24 tcp/443", "h:n2 > net:8.8.8.0/24 tcp/443", "w:shop/web > w:shop/db tcp/5432"]
    _, edges = settled(root, wanted)
    edge = next(e for e in edges.values() if e["port"] == 5432)
    assert {k: edge[k] for k in ("connections", "bytes_out", "bytes_in", "sides", "protocol", "clients", "servers", "dialled")} == {
        "connections": 4, "bytes_out": 50, "bytes_in": 500, "sides": "both", "protocol": "postgresql", "clients": ["/bin/web"], "servers": ["/bin/db"],
        "dialled": ["192.168.7.2:15432"]}
    # the database ends and another one takes its place: the past stays with the first
    b.publish("inventory", inventory("n2", [container("b" * 64, state="exited", **db)]))

    def ended():
        db_node = graph(root)[0]["w:shop/db"]
        return (db_node["running"], db_node["containers"], db_node["state"]) == (0, 1, "exited"), db_node
    wait_for(ended, 10, "the database has ended")
    settled(root, wanted)
    _, edges = graph(root, level="container", container="b" * 64)
    assert drawn(edges) == [f"c:n1/{'a' * 64} > c:n2/{'b' * 64} tcp/5432"]
    parts = root.get(f"/api/v1/graph/edges/{edge['id']}?level=workload").json
    assert drawn({e["id"]: e for e in parts["parts"]}) == [f"c:n1/{'a' * 64} > c:n2/{'b' * 64} tcp/5432"]


def test_a_services_address_in_a_stack_leads_to_its_workload(central, root):
    node = central.node("n1")
    node.publish("resources", resource_list("n1", [proto(f1="node", f2="m", f3="n1", f6=json.dumps({"role": "manager", "state": "ready"})),
                                                   proto(f1="service", f2="s", f3="shop_web", f5="shop", f6=json.dumps({"vips": [{"network": "ov", "address": "10.0.9.2"}]}))], "swarm", "swarm:c"))
    node.publish("inventory", inventory("n1", [container("a" * 64, name="shop_web.1.x", workload="shop_web", application="shop", f15=[network("shop_ov", "ov", "10.0.9.3")]),
                                               container("b" * 64, name="shop_job.1.x", workload="shop_job", application="shop", f15=[network("shop_ov", "ov", "10.0.9.4")])]))
    node.publish("flow", flow_batch("n1", [flow("b" * 64, "/bin/job", CLIENT, local="10.0.9.4", peer="10.0.9.2", port=80, network="ov", connections=2)], 1))
    settled(root, ["w:shop/shop_job > w:shop/shop_web tcp/80"])


def test_named_networks_are_a_setting(central):
    admin = central.admin()
    node = central.node("n1")
    node.publish("flow", flow_batch("n1", [flow("a" * 64, peer="10.200.3.4", port=80, connections=1)], 1))
    node.wait_acked()
    assert drawn(graph(admin, level="container")[1]) == [f"c:n1/{'a' * 64} > net:10.200.3.0/24 tcp/80"]
    for bad in ("{", "[1]", '[{"name":"x","cidr":"10.0.0.0/40"}]', '[{"name":"a/b","cidr":"10.0.0.0/8"}]'):
        answer = admin.put("/api/v1/settings/graph.networks", {"value": bad})
        assert (answer.status, answer.code) == (400, "bad_networks"), answer
    assert admin.put("/api/v1/settings/graph.networks", {"value": 5}).status == 400
    value = json.dumps([{"name": "the <office>", "cidr": "10.200.0.0/16"}])
    assert admin.put("/api/v1/settings/graph.networks", {"value": value}).status == 204
    settled(admin, [f"c:n1/{'a' * 64} > net:the <office> tcp/80"], level="container")
    assert next(s for s in admin.get("/api/v1/settings").json["settings"] if s["key"] == "graph.networks")["value"] == value
    central.restart()
    admin = central.login("admin", central.password)
    assert drawn(graph(admin, level="container")[1]) == [f"c:n1/{'a' * 64} > net:the <office> tcp/80"]
    assert admin.put("/api/v1/settings/graph.networks", {"value": ""}).status == 204
    settled(admin, [f"c:n1/{'a' * 64} > net:10.200.3.0/24 tcp/80"], level="container")


def test_the_stream_tells_of_changes_together(central):
    admin = central.admin()
    stream = admin.stream("/api/v1/stream")
    node = central.node("n1")
    begun = time.monotonic()
    for i in range(50):
        node.publish("flow", flow_batch("n1", [flow("a" * 64, peer="8.8.8.8", port=i + 1, connections=1)], i + 1))
        time.sleep(0.02)
    node.wait_acked()
    took = time.monotonic() - begun

    def told():
        return [d for _, kind, d in stream.events if kind == "graph"]
    last = admin.get("/api/v1/graph").json["generation"]
    wait_for(lambda: (told() and told()[-1]["generation"] >= last, told()), 10, "the last generation is told")
    assert all(t["kind"] == "graph" for t in told())
    generations = [t["generation"] for t in told()]
    assert generations == sorted(set(generations))
    assert len(generations) <= took + 3, (generations, took)


def test_wrong_questions_get_a_clear_answer(central, root):
    for url, code in (("graph?level=node", "bad_level"), ("graph?limit=0", "bad_limit"), ("graph?limit=10001", "bad_limit"), ("graph?cursor=x", "invalid"), ("graph?hidden=2", "bad_flag"),
                      ("graph?since=tomorrow", "bad_time"), ("graph?since=1h&until=2h", "bad_time"), ("graph/diff", "bad_time"), ("graph/diff?until=1h", "bad_time"),
                      ("graph/histogram?buckets=0", "bad_number"), ("graph/histogram?buckets=1001", "bad_number"), ("listeners?port=0", "bad_number"), ("listeners?port=70000", "bad_number"),
                      ("graph?x=1", "unknown_parameter")):
        answer = root.get(f"/api/v1/{url}")
        assert (answer.status, answer.code) == (400, code), (url, answer)
    assert root.get("/api/v1/graph").json["counts"] == {"nodes": 0, "edges": 0, "hidden": 0}
    assert root.get("/api/v1/listeners?container=nothing-of-that-name").status == 404


# Hostile -------------------------------------------------------------------------------------------------------------

def test_hostile_names_come_out_as_text_and_nothing_else(central, root):
    node = central.node("n1")
    boxes = [container(f"{i:064x}", name=h, workload=h, application=h, image=h) for i, h in enumerate(HOSTILE)]
    flows = [flow(f"{i:064x}", h, peer="8.8.8.8", port=80 + i, name=h, protocol=h, server_name=h, network=h, connections=1) for i, h in enumerate(HOSTILE)]
    flows += [flow(f"{i:064x}", b"/bin/\xff\xfe", proto_=0, path=h, peer_is_host=True, connections=1) for i, h in enumerate(HOSTILE)]
    node.publish("inventory", inventory("n1", boxes))
    node.publish("flow", flow_batch("n1", flows, 1))
    node.publish("listeners", listener_list("n1", [listener(f"{i:064x}", h, proto_=0, ip=None, path=h) for i, h in enumerate(HOSTILE)]))
    node.wait_acked()

    def look():
        nodes, _ = graph(root)
        return sum(n["kind"] == "workload" for n in nodes.values()) == len(HOSTILE), list(nodes)
    wait_for(look, 10, "all workloads")
    nodes, edges = graph(root)
    names = {n["workload"] for n in nodes.values()}
    for h in HOSTILE:
        assert h[:512] in names, h
    assert len(edges) == 2 * len(HOSTILE)
    for e in edges.values():
        assert root.get(f"/api/v1/graph/edges/{e['id']}").status == 200
    for level in ("application", "container"):
        assert len(graph(root, level=level)[1]) == 2 * len(HOSTILE)
    for how in ([], ["--json"], ["--dot"], ["--level", "container"]):
        out = cli(central, "graph", *how)
        assert "\x1b" not in out and "\u202e" not in out and "\r" not in out
        if how == ["--dot"]:
            assert out.count("->") >= len(edges)
            unquoted = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", out)
            assert re.fullmatch(r'digraph bulkhead \{\n(?:[ \w=;,\[\]{}>\-\n]|Q)*\}\n', unquoted), unquoted[:500]
            assert "evil" not in unquoted
    assert "\x1b" not in cli(central, "listeners")
    rows = [json.loads(line) for line in cli(central, "listeners", "--json").splitlines()]
    assert {r["path"] for r in rows} == {h[:4096] for h in HOSTILE}


def test_malformed_flows_are_passed_over_or_kept_sane(central, root):
    node = central.node("n1")
    node.publish("flow", b"\xff\xff\xff")
    node.publish("listeners", b"\x22\x7f")
    huge = (1 << 64) - 1
    node.publish("flow", flow_batch("n1", [flow("a" * 64, peer="8.8.8.8", port=70000, connections=huge, into=huge, duration_ns=huge, open_=huge, open_into=huge, first=huge, last=huge, ports=huge,
                                                samples=range(1000))] * 3 + [flow(proto_=999, role=77)], huge, when=huge))
    node.publish("flow", flow_batch("n1", [flow("b" * 64, peer="8.8.8.8", port=53, connections=1)], huge, boot="another"))
    node.wait_acked()
    _, edges = graph(root, level="container")
    assert any(e["port"] == 53 for e in edges.values())
    for e in edges.values():
        assert len(e["port_samples"]) <= 16
        assert all(v < 1 << 63 for v in e.values() if isinstance(v, int)), e
    assert root.get("/api/v1/graph?since=1h").status == 200
    assert len(cli(central, "graph", "--level", "container", "--json").splitlines()) == len(edges)


def test_very_many_long_names_come_in_pages_that_end(central, root):
    """8 MiB of nodes that no edge of the page has are enough; the others come with theirs."""
    node = central.node("n1")
    for c in "abc":
        node.publish("flow", flow_batch("n1", [flow(c * 64, peer="8.8.8.8", port=i + 1, name=f"{c}{i:04d}" + '"' * 500, connections=1) for i in range(2000)], ord(c)))
        node.wait_acked()
    first = root.get("/api/v1/graph?level=container&limit=500")
    assert 8 << 20 < len(first.body) < 12 << 20, len(first.body)
    assert first.json["counts"] == {"nodes": 6003, "edges": 6000, "hidden": 0} and len(first.json["edges"]) == 500
    nodes, edges = graph(root, level="container", limit=500)
    assert len(edges) == 6000 and len(nodes) == 6003


# The command line ----------------------------------------------------------------------------------------------------

def cli(central, *args, status=0):
    r = central.cli(*args, status=status)
    return r.stdout if status == 0 else r.stderr


def test_the_command_line_shows_the_same(central, root):
    assert cli(central, "graph") == "no connections\n"
    assert cli(central, "listeners") == "nothing listens\n"
    s = Synthetic(seed=5, applications=4, workloads=30, containers=60, flows=80, nodes=2)
    s.fill(central)
    wait_for(lambda: (not any(n["kind"] == "container" for n in graph(root)[0].values()), "unknown containers"), 10, "all is resolved")
    for level in ("application", "workload", "container"):
        nodes, edges = graph(root, level=level)
        lines = [json.loads(line) for line in cli(central, "graph", "--level", level, "--json").splitlines()]
        assert {e["id"] for e in lines} == set(edges)
        assert all(e["from_name"] and e["to_name"] for e in lines)
        dot = cli(central, "graph", "--level", level, "--dot")
        assert dot.count(" -> ") == len(edges) and dot.count("shape=") == len(nodes)
        table = cli(central, "graph", "--level", level)
        assert len(table.splitlines()) == len(edges) + 1
    some = next(w.application for w in s.workloads)
    assert {e["id"] for e in map(json.loads, cli(central, "graph", "--application", some, "--json").splitlines())} == set(graph(root, application=some)[1])
    changes = cli(central, "graph", "--diff", "90m")
    assert changes.startswith("CHANGE") and " new " in f" {' '.join(changes.split())} "
    assert {json.loads(line)["change"] for line in cli(central, "graph", "--diff", "90m", "--json").splitlines()} <= {"new", "gone", "changed"}
    web = [json.loads(line) for line in cli(central, "listeners", "--port", "80", "--json").splitlines()]
    assert web and all(w["port"] == 80 for w in web) and any(w["reached_by"] for w in web)
    assert "sshd" in cli(central, "listeners", "--host")
    for wrong in (["--level", "x"], ["--json", "--dot"], ["--diff", "x"], ["--diff", "1h", "--since", "1h"], ["extra"]):
        assert "see \"bulkhead graph --help\"" in cli(central, "graph", *wrong, status=2)


# Load ----------------------------------------------------------------------------------------------------------------

def test_a_batch_of_twenty_thousand_flows_does_not_hold_up_others(central, root):
    """Another node's message is stored while large batches come; the ratio to an idle central is bounded, not the time."""
    big, small = central.node("big"), central.node("small")

    def ask():
        begun = time.monotonic()
        small.publish("inventory", inventory("small", [container("e" * 64)]))
        small.wait_acked(deadline=60)
        return time.monotonic() - begun
    batch = [flow(f"{i % 200:064x}", "/bin/x", peer=f"9.{i >> 16}.{i >> 8 & 255}.{i & 255}", port=443, connections=1, into=10) for i in range(20000)]
    begun = time.monotonic()
    big.publish("flow", flow_batch("big", batch, 1))
    big.wait_acked(deadline=120)
    alone = time.monotonic() - begun
    waits = []
    for i in range(3):
        big.publish("flow", flow_batch("big", batch, i + 2))
        waits.append(ask())
    big.wait_acked(deadline=120)
    assert max(waits) < 3 * alone + 1, f"a message waited {max(waits):.2f} s; one batch takes {alone:.2f} s"
    _, edges = graph(root, level="container", limit=10000)
    assert sum(e["connections"] for e in edges.values()) == 4 * 20000


@pytest.mark.deadline(300)
def test_what_nodes_tell_does_not_wait_for_questions_under_way(central, root):
    """Three ask for all of a large map without a pause; a batch is acknowledged in a fraction of what one answer takes, and the next answer has it."""
    big, small = central.node("big"), central.node("small")
    for n in range(3):
        big.publish("flow", flow_batch("big", [flow(f"{i % 500:064x}", f"/bin/x{n}", peer=f"{n + 20}.{i >> 16}.{i >> 8 & 255}.{i & 255}", port=443, connections=1, into=10) for i in range(20000)], n + 1))
        big.wait_acked(deadline=120)

    def tell(through):
        begun = time.monotonic()
        small.publish("flow", flow_batch("small", [flow("f" * 64, "/bin/small", peer="9.9.9.9", port=1, connections=1)], through))
        small.wait_acked(deadline=60)
        return time.monotonic() - begun
    quiet = statistics.median(tell(n) for n in range(1, 8))
    answers, ended = [], threading.Event()

    def ask():
        client = central.root()
        while not ended.is_set():
            begun = time.monotonic()
            assert client.get("/api/v1/graph?level=container&limit=10000").status == 200
            answers.append(time.monotonic() - begun)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for t in threads:
        t.start()
    wait_for(lambda: len(answers) >= 3, 60, "three answers")
    waits = []
    for n in range(8, 38):
        waits.append(tell(n))
        time.sleep(0.05)
    _, edges = graph(root, level="container", container="f" * 64)
    ended.set()
    for t in threads:
        t.join()
    print(f"acknowledged after {quiet * 1000:.0f} ms without questions, {statistics.median(waits) * 1000:.0f} ms (at most {max(waits) * 1000:.0f} ms) with; an answer takes {statistics.median(answers) * 1000:.0f} ms")
    assert only(edges)["connections"] == 37
    assert statistics.median(waits) - quiet < statistics.median(answers) / 4, (quiet, waits, answers)


def test_an_address_that_two_nodes_call_theirs_stays_the_first_one_s_over_a_restart(central, root):
    """And the status says so. An address in a node's bridge, which many have alike, is none of these."""
    def host(name, *addresses):
        return resource_list(name, [resource("node", name, name, {"addresses": list(addresses)})], source="host")
    first, second, asker = (central.node(n) for n in ("first", "second", "asker"))
    bridge = resource_list("first", [resource("network", "b1", "bridge", {"driver": "bridge", "scope": "local", "subnets": [{"gateway": "172.17.0.1"}]})])
    first.publish("resources", host("first", "192.0.2.7", "172.17.0.1"))
    first.publish("resources", bridge)
    asker.publish("flow", flow_batch("asker", [flow("a" * 64, "/bin/a", peer="192.0.2.7", port=22, connections=1)], 1))
    for n in (first, asker):
        n.wait_acked()
    wanted = [f"c:asker/{'a' * 64} > h:first tcp/22"]
    wait_for(lambda: drawn(graph(root, level="container")[1]) == wanted, 20, "the address is the first one's")
    second.publish("resources", host("second", "192.0.2.7", "172.17.0.1"))
    second.publish("resources", resource_list("second", [resource("network", "b2", "bridge", {"driver": "bridge", "scope": "local", "subnets": [{"gateway": "172.17.0.1"}]})]))
    second.wait_acked()

    def contested():
        m = root.get("/api/v1/status").json["central"]["map"]
        return m["contested"] == 1 and m["contested_addresses"] == [{"address": "192.0.2.7", "node": "first", "rival": "second", "rivals": 1}], m
    wait_for(contested, 20, "the status names what is contested")
    assert "CONTESTED: 1 addresses" in cli(central, "status")
    def kept():
        with contextlib.closing(sqlite3.connect(f"file:{central.db}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT node FROM node_addresses WHERE ip = ? ORDER BY id", (bytes((192, 0, 2, 7)),)).fetchall()
        return rows == [("first",), ("second",)], rows
    wait_for(kept, 20, "who was first is kept")
    # the second one's list is the older row now
    first.publish("resources", resource_list("first", [], source="host"))
    first.wait_acked()
    first.publish("resources", host("first", "192.0.2.7", "172.17.0.1"))
    first.wait_acked()
    central.restart()
    root = central.root()
    assert drawn(graph(root, level="container")[1]) == wanted
    wait_for(lambda: root.get("/api/v1/status").json["central"]["map"]["contested"] == 1, 20, "it is contested still")
