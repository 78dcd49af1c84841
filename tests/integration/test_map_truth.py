"""The comparison of a map with the truth finds each way in which a map can be wrong."""
import copy

import pytest

from map_truth import HOST, Graph, Truth, compare

A, B, C = "a" * 64, "b" * 64, "c" * 64
TIMES = {"first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:00:01Z"}


@pytest.fixture
def truth():
    t = Truth()
    t.container(A, "shop", "api", "shop-api-1")
    t.container(B, "shop", "api", "shop-api-2")
    t.container(C, "shop", "cache", "shop-cache-1")
    for ident, n in ((A, 10), (B, 20)):
        t.add(Truth.of(ident), Truth.of(C), "tcp", 6379, connections=n, bytes_out=100 * n, bytes_in=1000 * n, protocol="redis", client="/usr/bin/python3")
    t.add(HOST, Truth.of(A), "tcp", 8000, connections=1, refused=2, bytes_out=200, bytes_in=300)
    t.add(Truth.of(A), Truth.of(C), "unix", "/run/x", connections=1, bytes_out=5, loose=["bytes_in"])
    return t


def container(ident, workload, name):
    return {"id": f"c:n/{ident}", "kind": "container", "container": ident, "name": name, "application": "shop", "workload": workload}


def edge(ident, source, target, proto="tcp", **more):
    return {"id": ident, "from": source, "to": target, "proto": proto, **TIMES, **more}


@pytest.fixture
def graph():
    nodes = {n["id"]: n for n in (container(A, "api", "shop-api-1"), container(B, "api", "shop-api-2"), container(C, "cache", "shop-cache-1"),
                                  {"id": "h:n", "kind": "host", "name": "n"}, {"id": "net:x", "kind": "network", "name": "10.0.0.0/24"},
                                  {"id": "c:n/other", "kind": "container", "container": "other", "name": "other"})}
    edges = [edge("1", f"c:n/{A}", f"c:n/{C}", port=6379, connections=10, bytes_out=1000, bytes_in=10000, protocol="redis", clients=["/usr/bin/python3"]),
             edge("2", f"c:n/{B}", f"c:n/{C}", port=6379, connections=20, bytes_out=2000, bytes_in=20000, protocol="redis", clients=["/usr/bin/python3"]),
             edge("3", "h:n", f"c:n/{A}", port=8000, connections=1, refused=2, bytes_out=200, bytes_in=300),
             edge("4", f"c:n/{A}", f"c:n/{C}", "unix", path="/run/x", connections=1, bytes_out=5, bytes_in=7),
             edge("5", "h:n", "c:n/other", port=1, connections=9)]
    return Graph(nodes, edges, {})


def test_a_true_map_has_no_difference(truth, graph):
    assert compare(truth, "container", graph, protocols=True) == []


def test_levels_sum_up(truth):
    nodes = {n["id"]: n for n in ({"id": "w:shop/api", "kind": "workload", "name": "api", "application": "shop", "workload": "api"},
                                  {"id": "w:shop/cache", "kind": "workload", "name": "cache", "application": "shop", "workload": "cache"},
                                  {"id": "a:shop", "kind": "application", "name": "shop", "application": "shop"}, {"id": "h:n", "kind": "host", "name": "n"})}
    edges = [edge("1", "w:shop/api", "w:shop/cache", port=6379, connections=30, bytes_out=3000, bytes_in=30000, clients=["/usr/bin/python3"]),
             edge("2", "h:n", "w:shop/api", port=8000, connections=1, refused=2, bytes_out=200, bytes_in=300),
             edge("3", "w:shop/api", "w:shop/cache", "unix", path="/run/x", connections=1, bytes_out=5, bytes_in=7)]
    assert compare(truth, "workload", Graph(nodes, edges, {})) == []
    for e in edges:
        e["from"], e["to"] = ("h:n" if e["from"] == "h:n" else "a:shop"), "a:shop"
    assert compare(truth, "application", Graph(nodes, edges, {})) == []


@pytest.mark.parametrize("change, words", [
    (lambda e: e.pop(0), "missing"),
    (lambda e: e.append(edge("6", f"c:n/{A}", f"c:n/{B}", port=1, connections=1)), "more than there was"),
    (lambda e: e.append(edge("6", f"c:n/{A}", "net:x", port=6379, connections=1)), "more than there was"),
    (lambda e: e.append({**e[0], "id": "6"}), "twice"),
    (lambda e: e[0].update({"from": e[0]["to"], "to": e[0]["from"]}), "missing"),
    (lambda e: e[0].update(port=6380), "missing"),
    (lambda e: e[0].update(proto="udp"), "missing"),
    (lambda e: e[0].update(connections=11), "expected connections 10, saw 11"),
    (lambda e: e[0].update(open=1), "expected open 0, saw 1"),
    (lambda e: e[2].update(refused=1), "expected refused 2, saw 1"),
    (lambda e: e[0].update(bytes_out=1011), "expected bytes_out 1000, saw 1011"),
    (lambda e: e[0].update(bytes_in=9899), "expected bytes_in 10000, saw 9899"),
    (lambda e: e[0].update(protocol="http/1"), "expected protocol ['redis'], saw 'http/1'"),
    (lambda e: e[0].update(clients=["/usr/bin/python3", "/bin/sh"]), "expected clients"),
    (lambda e: e[0].update(first_seen=""), "first seen"),
    (lambda e: e[3].update(path="/run/y"), "missing"),
])
def test_each_wrong_map_is_found(truth, graph, change, words):
    edges = copy.deepcopy(graph.edges)
    change(edges)
    problems = compare(truth, "container", graph._replace(edges=edges), protocols=True)
    assert any(words in p for p in problems), problems


def test_a_node_of_another_workload_is_found(truth, graph):
    nodes = copy.deepcopy(graph.nodes)
    nodes[f"c:n/{A}"]["workload"] = "cache"
    assert compare(truth, "container", graph._replace(nodes=nodes)) == ["container: node shop-api-1: expected workload 'api', saw 'cache'"]


def test_within_one_per_cent_is_equal(truth, graph):
    graph.edges[0].update(bytes_out=1010, bytes_in=9900)
    assert compare(truth, "container", graph) == []
