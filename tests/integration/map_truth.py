"""What truly talked to what, written down by who caused it, and its comparison with the map that Bulkhead draws.

    truth = Truth()
    truth.container(ident, "shop", "api", name="shop-api-1")
    truth.add(Truth.of(a), Truth.of(b), "tcp", 6379, connections=10, bytes_out=1200, bytes_in=9000, protocol="redis")
    wait_equal(client, truth)               # the whole graph at three levels, or an AssertionError with every difference

A truth is written at the level of containers; at(level) sums it up. The map may show more of this machine, where others work too: an edge of which no
end is one of the truth's containers (or a workload or application of theirs) is not looked at. Of the others none may be missing, none may be there more,
and none may end where nobody knows who it is. Counts are compared exactly, bytes within one per cent. `connections` are those that came about and have
ended; those that are open are in `open`, and those that never came about in `refused`, `timed_out`, `unreachable` or `failed`.
"""
import collections
import dataclasses
import json
import urllib.parse

from docker_env import wait_for

LEVELS = ("application", "workload", "container")
COUNTS = ("connections", "open", "half_open", "refused", "timed_out", "unreachable", "failed", "reset")
TOLERANCE = 0.01

HOST = ("host",)


@dataclasses.dataclass
class Fact:
    """Of one edge. loose: names of what is not compared ("connections" of UDP, say); maybe: it need not be there at all."""
    connections: int = 0
    open: int = 0
    half_open: int = 0
    refused: int = 0
    timed_out: int = 0
    unreachable: int = 0
    failed: int = 0
    reset: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    ports: int = 0
    addresses: int = 0
    protocols: set = dataclasses.field(default_factory=set)
    clients: set = dataclasses.field(default_factory=set)
    servers: set = dataclasses.field(default_factory=set)
    loose: set = dataclasses.field(default_factory=set)
    maybe: bool = False

    def add(self, other):
        for name in (*COUNTS, "bytes_out", "bytes_in"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ports, self.addresses = max(self.ports, other.ports), max(self.addresses, other.addresses)
        for name in ("protocols", "clients", "servers", "loose"):
            getattr(self, name).update(getattr(other, name))
        self.maybe = self.maybe and other.maybe


class Truth:
    def __init__(self):
        self.containers = {}  # id -> (application, workload, name)
        self.edges = {}       # (from, to, "tcp", port or path) -> Fact

    @staticmethod
    def of(ident):
        return "container", ident

    @staticmethod
    def name(text):
        return "name", text

    @staticmethod
    def network(text):
        return "network", text

    @staticmethod
    def runtime(text):
        return "runtime", text

    def container(self, ident, application="", workload="", name=""):
        self.containers[ident] = (application, workload, name)

    def add(self, source, target, proto, where, *, protocol=None, client=None, server=None, loose=(), maybe=False, **counts):
        key = (source, target, proto, where)
        new = key not in self.edges
        fact = Fact(protocols={protocol} - {None}, clients={client} - {None}, servers={server} - {None}, loose=set(loose), maybe=maybe, **counts)
        if new:
            self.edges[key] = fact
        else:
            self.edges[key].add(fact)

    def lift(self, end, level):
        if end[0] != "container" or level == "container":
            return end
        application, workload, _ = self.containers[end[1]]
        return ("workload", application, workload) if level == "workload" else ("application", application)

    def at(self, level):
        out = {}
        for (source, target, proto, where), fact in self.edges.items():
            key = (self.lift(source, level), self.lift(target, level), proto, where)
            if key in out:
                out[key].add(fact)
            else:
                out[key] = dataclasses.replace(fact, **{n: set(getattr(fact, n)) for n in ("protocols", "clients", "servers", "loose")})
        return out

    def ours(self, level):
        return {self.lift(("container", ident), level) for ident in self.containers}


# ---- the map ----

Graph = collections.namedtuple("Graph", "nodes edges counts")


def fetch(client, level, **filters):
    """The whole graph of one level, page by page. Fails when a page contradicts itself."""
    nodes, edges, cursor, counts = {}, {}, None, None
    while True:
        query = {"level": level, "limit": 500, **filters, **({"cursor": cursor} if cursor else {})}
        answer = client.get("/api/v1/graph?" + urllib.parse.urlencode(query))
        assert answer.status == 200, answer
        page = answer.json
        assert page["level"] == level, page["level"]
        nodes.update({n["id"]: n for n in page["nodes"]})
        for e in page["edges"]:
            assert e["id"] not in edges, f"edge {e['id']} is there twice"
            assert e["from"] in nodes and e["to"] in nodes, f"an end of {e} is not among the nodes"
            edges[e["id"]] = e
        counts = page["counts"]
        cursor = page.get("next")
        if not cursor:
            return Graph(nodes, list(edges.values()), counts)


def end_of(node):
    kind = node["kind"]
    if kind == "container":
        return "container", node["container"]
    if kind == "workload":
        return "workload", node.get("application") or "", node.get("workload") or node["name"]
    if kind == "application":
        return "application", node.get("application") or ""
    if kind == "host":
        return HOST
    return kind, node["name"]


def where_of(edge):
    return edge.get("path") if edge["proto"].startswith("unix") else edge.get("port")


def text_of(key, truth=None):
    def end(e):
        if e[0] == "container" and truth and e[1] in truth.containers:
            return truth.containers[e[1]][2] or e[1][:12]
        return ":".join(str(x)[:24] for x in e)
    source, target, proto, where = key
    return f"{end(source)} -> {end(target)} {proto}/{where}"


def compare(truth, level, graph, tolerance=TOLERANCE, protocols=False, programs=True):
    """Every difference, as a sentence; [] when the map is true."""
    problems, seen = [], {}
    wanted, ours = truth.at(level), truth.ours(level)
    for node in graph.nodes.values():
        if node["kind"] == "container" and node["container"] in truth.containers:
            application, workload, name = truth.containers[node["container"]]
            for field, value in (("application", application), ("workload", workload), ("name", name)):
                if value and node.get(field) != value:
                    problems.append(f"{level}: node {name or node['container'][:12]}: expected {field} {value!r}, saw {node.get(field)!r}")
    for e in graph.edges:
        key = (end_of(graph.nodes[e["from"]]), end_of(graph.nodes[e["to"]]), e["proto"], where_of(e))
        if key[0] not in ours and key[1] not in ours:
            continue
        if key in seen:
            problems.append(f"{level}: {text_of(key, truth)} is there twice")
        seen[key] = e
    for key in sorted(set(wanted) - set(seen), key=str):
        if not wanted[key].maybe:
            problems.append(f"{level}: {text_of(key, truth)} is missing: {brief(wanted[key])}")
    for key in sorted(set(seen) - set(wanted), key=str):
        problems.append(f"{level}: {text_of(key, truth)} is more than there was: {brief_edge(seen[key])}")
    for key in sorted(set(seen) & set(wanted), key=str):
        problems += [f"{level}: {text_of(key, truth)}: {p}" for p in differences(wanted[key], seen[key], tolerance, protocols, programs)]
    return problems


def differences(fact, edge, tolerance, protocols, programs):
    out = []
    for name in COUNTS:
        if name not in fact.loose and edge.get(name, 0) != getattr(fact, name):
            out.append(f"expected {name} {getattr(fact, name)}, saw {edge.get(name, 0)}")
    for name in ("bytes_out", "bytes_in"):
        want, saw = getattr(fact, name), edge.get(name, 0)
        if name not in fact.loose and abs(saw - want) > tolerance * want:
            out.append(f"expected {name} {want}, saw {saw}")
    for name in ("ports", "addresses"):
        if name not in fact.loose and getattr(fact, name) and edge.get(name, 0) != getattr(fact, name):
            out.append(f"expected a breadth of {getattr(fact, name)} {name}, saw {edge.get(name, 0)}")
    if protocols and fact.protocols and edge.get("protocol") not in fact.protocols:
        out.append(f"expected protocol {sorted(fact.protocols)}, saw {edge.get('protocol')!r}")
    for name in ("clients", "servers") if programs else ():
        wanted, saw = getattr(fact, name), set(edge.get(name) or ())
        if name not in fact.loose and wanted and saw != wanted:
            out.append(f"expected {name} {sorted(wanted)}, saw {sorted(saw)}")
    if not edge.get("first_seen") or edge["first_seen"] > edge["last_seen"]:
        out.append(f"first seen {edge.get('first_seen')!r}, last seen {edge.get('last_seen')!r}")
    return out


def brief(fact):
    return ", ".join(f"{n} {getattr(fact, n)}" for n in (*COUNTS, "bytes_out", "bytes_in") if getattr(fact, n))


def brief_edge(e):
    return json.dumps({k: v for k, v in e.items() if v and k not in ("id", "from", "to", "first_seen", "last_seen")})


def wait_equal(client, truth, levels=LEVELS, deadline=20.0, **options):
    """Until the map is true at all levels; the AssertionError has every difference that was left."""
    def look():
        problems = [p for level in levels for p in compare(truth, level, fetch(client, level), **options)]
        return not problems, f"{len(problems)} differences:\n  " + "\n  ".join(problems[:60])
    try:
        wait_for(look, deadline, "the map is the truth", every=0.5)
    except AssertionError as e:
        raise AssertionError(str(e).encode().decode("unicode_escape")) from None
