#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A synthetic environment for the map: nodes that never were tell a real central of containers, connections and listeners.

    with Central() as central:
        truth = Synthetic(seed=1).fill(central)         # 30 applications, 1,000 workloads, 5,000 containers, 6,000 flows on 5 nodes

The same seed and numbers give the same environment; only its times are counted back from `now`. Most flows are told from both sides, between nodes over
networks that have the same id everywhere, through published ports, from and to the outside, by host processes, over docker.sock; some fail, some are
scans, some go to Docker's resolver, which the map hides.

Alone it starts a central, fills it, says as one line of JSON where it is and who may log in, and goes on telling of changes until its standard input ends:

    tests/integration/map_synthetic.py [--seed N] [--applications N] [--workloads N] [--containers N] [--flows N] [--nodes N] [--still]
"""
import argparse
import hashlib
import json
import random
import socket
import sys
import time

from central_env import container, inventory, proto

TCP, UDP = 6, 17
CLIENT, SERVER = 1, 2
MINUTE, HOUR = 60 * 10**9, 3600 * 10**9

# kind of workload: (names, image, executable, port, protocol)
KINDS = {
    "web": (("web", "frontend", "portal", "gateway"), "nginx:1.27", "/usr/sbin/nginx", 80, "http/1"),
    "api": (("api", "orders", "cart", "users", "search", "pricing", "billing", "catalog", "auth", "media"), "shop/api:3.2", "/usr/bin/node", 3000, "http/1"),
    "rpc": (("inventory", "ledger", "quota", "routing", "profile"), "shop/rpc:1.9", "/app/server", 50051, "http/2"),
    "worker": (("worker", "mailer", "indexer", "reports", "sync"), "shop/worker:3.2", "/usr/bin/python3", 0, ""),
    "cache": (("redis", "cache", "sessions"), "redis:7", "/usr/bin/redis-server", 6379, "redis"),
    "queue": (("rabbitmq", "kafka", "events"), "rabbitmq:4", "/usr/lib/erlang/bin/beam.smp", 5672, "amqp"),
    "db": (("postgres", "db", "accounts-db"), "postgres:16", "/usr/lib/postgresql/16/bin/postgres", 5432, "postgresql"),
}
SHARES = (("web", 8), ("api", 34), ("rpc", 18), ("worker", 16), ("cache", 9), ("queue", 4), ("db", 11))
CALLS = {"web": ("api", "rpc", "cache"), "api": ("api", "rpc", "cache", "db", "queue"), "rpc": ("rpc", "db", "cache"), "worker": ("queue", "db", "api", "cache")}
APPLICATIONS = ("shop", "bank", "forum", "maps", "mail", "video", "crm", "wiki", "build", "metrics", "games", "travel", "health", "news", "pay", "chat", "docs", "photos",
                "fleet", "school", "library", "events", "jobs", "house", "garden", "energy", "water", "music", "radio", "stock")
OUTSIDE = ("api.stripe.com", "s3.eu-central-1.amazonaws.com", "hooks.slack.com", "smtp.sendgrid.net", "deb.debian.org", "registry-1.docker.io", "sentry.io", "api.github.com",
           "login.microsoftonline.com", "fonts.gstatic.com", "api.twilio.com", "ocsp.digicert.com")


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def flow(container="", exe="", role=CLIENT, proto_=TCP, local=None, peer=None, port=0, path="", dialled=None, peer_container="", peer_is_host=False, peer_exe="", name="",
         network="", protocol="", server_name="", connections=0, refused=0, timed_out=0, unreachable=0, failed=0, reset=0, out=0, into=0, packets_out=0, packets_in=0,
         duration_ns=0, first=0, last=0, open_=0, half_open=0, open_out=0, open_into=0, ports=0, addresses=0, samples=()):
    """A Flow of api/bus.proto."""
    fields = {1: container, 2: exe, 3: role, 4: proto_, 5: address(local) if local else b"", 6: address(peer) if peer else b"", 7: port, 8: path,
              11: address(dialled[0]) if dialled else b"", 12: dialled[1] if dialled else 0, 13: peer_container, 14: int(peer_is_host), 15: peer_exe, 16: name, 17: network,
              18: protocol, 19: server_name, 30: connections, 31: refused, 32: timed_out, 33: unreachable, 34: failed, 35: reset, 36: out, 37: into, 38: packets_out,
              39: packets_in, 40: duration_ns, 41: first, 42: last, 50: open_, 51: half_open, 52: open_out, 53: open_into, 60: ports, 61: addresses, 62: list(samples)}
    return proto(**{f"f{n}": v for n, v in fields.items() if v})


def flow_batch(node, flows, through, after=0, full=False, when=None, boot="boot-1", rest_connections=0, rest_bytes=0):
    fields = {1: node, 2: boot, 3: after, 4: through, 5: int(full), 6: when or time.time_ns(), 8: rest_connections, 9: rest_bytes}
    # joined at once: one after the other they would be copied as often as there are flows
    return proto(**{f"f{n}": v for n, v in fields.items() if v}) + b"".join(proto(f7=f) for f in flows)


def listener(container="", exe="", pid=1, proto_=TCP, ip="0.0.0.0", port=0, path="", started=0, first=0, net_ns=0):
    fields = {1: container, 2: exe, 3: pid, 4: proto_, 5: address(ip) if ip else b"", 6: port, 7: path, 8: started, 9: first, 10: net_ns}
    return proto(**{f"f{n}": v for n, v in fields.items() if v})


def listener_list(node, listeners, boot="boot-1"):
    return proto(f1=node, f2=boot, f3=time.time_ns(), f4=list(listeners))


def network(name, ident, ip, ip6=""):
    return proto(f1=name, f2=ident, f3=ip, f4=ip6)


def published(container_port, host_port, host_ip="0.0.0.0", protocol="tcp"):
    return proto(f1=host_ip, f2=protocol, f3=container_port, f4=host_port)


def ident(*parts):
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def resource(kind, ident_, name, detail):
    return proto(f1=kind, f2=ident_, f3=name, f6=json.dumps(detail))


def resource_list(node, resources, source="docker", scope="node"):
    return proto(f1=node, f2=source, f3=scope, f4=time.time_ns(), f5=list(resources))


class Box:
    """A container."""

    def __init__(self, workload, number, node, index):
        self.workload, self.node = workload, node
        self.id = ident("container", workload.application, workload.name, number)
        self.name = f"{workload.application}-{workload.name}-{number + 1}"
        self.ip = f"10.{100 + workload.app_index % 100}.{index // 250}.{2 + index % 250}"
        self.host_port = 0

    def message(self, created):
        w = self.workload
        more = {"f15": [network(f"{w.application}_default", w.network, self.ip)], "f37": created, "f38": created}
        if self.host_port:
            more["f16"] = [published(w.port, self.host_port)]
        return container(self.id, name=self.name, image=w.image, application=w.application, workload=w.name,
                         labels=[("com.docker.compose.project", w.application), ("com.docker.compose.service", w.name)], **more)


class Workload:
    def __init__(self, application, app_index, kind, number):
        names, self.image, self.exe, self.port, self.protocol = KINDS[kind]
        self.application, self.app_index, self.kind = application, app_index, kind
        self.name = names[number % len(names)] + (f"-{number // len(names) + 1}" if number >= len(names) else "")
        self.network = ident("network", application)
        self.boxes = []


class Synthetic:
    def __init__(self, seed=1, applications=30, workloads=1000, containers=5000, flows=6000, nodes=5, hours=3, now=None):
        self.random = random.Random(seed)
        self.now = now or time.time_ns()
        self.begin = self.now - hours * HOUR
        self.nodes = [f"node-{i + 1}" for i in range(nodes)]
        self.through = dict.fromkeys(self.nodes, 0)
        self.workloads, self.edges = [], []
        self._make_workloads(applications, workloads)
        self._make_boxes(containers)
        self._make_edges(flows)

    def node_address(self, node):
        return f"192.168.7.{10 + self.nodes.index(node)}"

    # What there is ---------------------------------------------------------------------------------------------

    def _make_workloads(self, applications, workloads):
        weights = [1 + self.random.random() * 4 for _ in range(applications)]
        kinds, shares = zip(*SHARES)
        counts = [{} for _ in range(applications)]
        order = list(range(applications)) * 4 + self.random.choices(range(applications), weights, k=workloads)
        for n, app in enumerate(order[:workloads]):
            # each begins with what any application has
            kind = ("web", "api", "db", "cache")[n // applications] if n < 4 * applications else self.random.choices(kinds, shares)[0]
            counts[app][kind] = counts[app].get(kind, 0) + 1
            name = APPLICATIONS[app] if app < len(APPLICATIONS) else f"{APPLICATIONS[app % len(APPLICATIONS)]}-{app // len(APPLICATIONS) + 1}"
            self.workloads.append(Workload(name, app, kind, counts[app][kind] - 1))

    def _make_boxes(self, containers):
        index, ports = {}, {}
        extra = max(0, containers - len(self.workloads))
        copies = dict.fromkeys(range(len(self.workloads)), 1)
        scalable = [i for i, w in enumerate(self.workloads) if w.kind not in ("db", "cache", "queue")] or list(copies)
        for i in self.random.choices(scalable, k=extra):
            copies[i] += 1
        for i, w in enumerate(self.workloads):
            for n in range(copies[i]):
                number = index[w.app_index] = index.get(w.app_index, -1) + 1
                box = Box(w, n, self.nodes[(i + n) % len(self.nodes)], number)
                if w.kind == "web":
                    box.host_port = 20000 + ports.setdefault(box.node, 0)
                    ports[box.node] += 1
                w.boxes.append(box)

    def _make_edges(self, flows):
        """(client, server, port, …) once each; what is told of them follows."""
        seen, r = set(), self.random
        by_app = {}
        for w in self.workloads:
            by_app.setdefault(w.application, []).append(w)
        callers, serving = [w for w in self.workloads if w.kind in CALLS], [w for w in self.workloads if w.port]
        webs = [w for w in self.workloads if w.kind == "web"]
        kinds = ["inside"] * 80 + ["published"] * 5 + ["name"] * 7 + ["outside"] * 4 + ["host"] * 2 + ["office"] * 2
        special = [("scan", None), ("refused", None), ("timeout", None), ("dns", None), ("socket", None)] * max(1, flows // 300)
        tries = 0
        while len(self.edges) < flows and tries < flows * 50:
            tries += 1
            kind = special.pop()[0] if special else r.choice(kinds)
            client = r.choice(callers)
            box = r.choice(client.boxes)
            if kind in ("inside", "refused"):
                wanted = [w for w in by_app[client.application] if w.kind in CALLS[client.kind] and w is not client]
                if not wanted:
                    continue
                server = r.choice(wanted)
                key, edge = (box.id, server.name, kind), (kind, box, r.choice(server.boxes))
            elif kind == "published":
                target = r.choice(r.choice(webs).boxes)
                if target.workload.application == client.application:
                    continue
                key, edge = (box.id, target.id, kind), (kind, box, target)
            elif kind in ("name", "timeout"):
                name = r.choice(OUTSIDE)
                key, edge = (box.id, name, kind), (kind, box, name)
            elif kind in ("outside", "office"):
                target = r.choice(r.choice(webs).boxes)
                ip = f"10.200.{r.randrange(8)}.{r.randrange(1, 250)}" if kind == "office" else f"{r.choice((81, 93, 151, 188, 203))}.{r.randrange(8)}.{r.randrange(40)}.{r.randrange(1, 250)}"
                key, edge = (ip.rsplit(".", 1)[0], target.id, kind), (kind, ip, target)
            elif kind == "host":
                target = r.choice(r.choice(serving).boxes)
                key, edge = (target.node, target.id, kind), (kind, target.node, target)
            else:
                key, edge = (box.id, kind), (kind, box, None)
            if key in seen:
                continue
            seen.add(key)
            born, dies = r.random(), r.random()
            self.edges.append((*edge, r.randrange(1, 400), r.choice((200, 1500, 12000, 250000)), born, dies if born < 0.9 else 0))

    # What is told ----------------------------------------------------------------------------------------------

    def flows_of(self, edge, share, last):
        """[(node, flow)] for a part of what the edge did."""
        kind, a, b, count, size, _, _ = edge
        n = max(1, int(count * share))
        out, into = n * size // 4, n * size
        common = {"first": last - MINUTE // 2, "last": last}
        moved = {"connections": n, "out": out, "into": into, "packets_out": n * 4, "packets_in": n * 6, "duration_ns": n * 3_000_000, **common}
        turned = {"connections": n, "out": into, "into": out, "packets_out": n * 6, "packets_in": n * 4, "duration_ns": n * 3_000_000, **common}
        if kind == "inside":
            w = b.workload
            same = a.node == b.node
            open_ = {"open_": 1 + n % 3, "open_out": 10, "open_into": 20} if w.kind in ("db", "queue") else {}
            client = flow(a.id, a.workload.exe, CLIENT, local=a.ip, peer=b.ip, port=w.port or 9000, name=w.name, network=w.network, protocol=w.protocol,
                          peer_container=b.id if same else "", **moved, **open_)
            server = flow(b.id, w.exe, SERVER, local=b.ip, peer=a.ip, port=w.port or 9000, network=w.network, peer_container=a.id if same else "", **turned,
                          **({"open_": open_["open_"], "open_out": 20, "open_into": 10} if open_ else {}))
            return [(a.node, client), (b.node, server)]
        if kind == "published":
            w = b.workload
            where = self.node_address(b.node)
            seen = self.node_address(a.node) if a.node != b.node else None
            client = flow(a.id, a.workload.exe, CLIENT, local=a.ip, peer=where if seen else b.ip, port=b.host_port if seen else w.port, protocol=w.protocol,
                          dialled=None if seen else (where, b.host_port), peer_container="" if seen else b.id, **moved)
            server = flow(b.id, w.exe, SERVER, local=b.ip, peer=seen or a.ip, port=w.port, peer_container="" if seen else a.id, **turned)
            return [(a.node, client), (b.node, server)]
        if kind == "name":
            ip = "198.51.%d.%d" % (100 + OUTSIDE.index(b) // 4, 1 + OUTSIDE.index(b))
            return [(a.node, flow(a.id, a.workload.exe, CLIENT, local=a.ip, peer=ip, port=443, name=b, protocol="tls", server_name=b, **moved))]
        if kind in ("outside", "office"):
            return [(b.node, flow(b.id, b.workload.exe, SERVER, local=b.ip, peer=a, port=b.workload.port, protocol=b.workload.protocol, **turned))]
        if kind == "host":
            port = b.workload.port
            return [(a, flow("", "/usr/bin/prometheus", CLIENT, local=self.node_address(a), peer=b.ip, port=port, peer_container=b.id, **moved)),
                    (a, flow(b.id, b.workload.exe, SERVER, local=b.ip, peer=self.node_address(a), port=port, peer_is_host=True, peer_exe="/usr/bin/prometheus", **turned))]
        if kind == "refused":
            return [(a.node, flow(a.id, a.workload.exe, CLIENT, local=a.ip, peer=b.ip, port=8081, name=b.workload.name, network=b.workload.network, connections=n, refused=n, **common))]
        if kind == "timeout":
            return [(a.node, flow(a.id, a.workload.exe, CLIENT, local=a.ip, peer="203.0.113.7", port=8443, connections=n, timed_out=n, half_open=1, open_=1, **common))]
        if kind == "scan":
            return [(a.node, flow(a.id, "/tmp/.x/scan", CLIENT, local=a.ip, peer="10.99.0.1", ports=1000, connections=1000, refused=990, failed=10,
                                  samples=[21, 22, 23, 80, 443, 3306, 5432, 6379], **common))]
        if kind == "dns":
            return [(a.node, flow(a.id, a.workload.exe, CLIENT, UDP, local="127.0.0.1", peer="127.0.0.11", port=53, peer_is_host=True, name="docker-dns", protocol="dns", **moved))]
        path = "/var/run/docker.sock"
        return [(a.node, flow(a.id, a.workload.exe, CLIENT, 0, path=path, peer_is_host=True, peer_exe="/usr/bin/dockerd", protocol="http/1", **moved)),
                (a.node, flow("", "/usr/bin/dockerd", SERVER, 0, path=path, peer_container=a.id, peer_exe=a.workload.exe, **turned))]

    def inventories(self):
        """{node: [container message, …]}"""
        out = {n: [] for n in self.nodes}
        for w in self.workloads:
            for b in w.boxes:
                out[b.node].append(b.message(self.begin))
        return out

    def steps(self, n=6):
        """{node: [flow, …]} for each of n times, the oldest first, and the time. Some edges begin late, some end early."""
        for step in range(n):
            when = self.begin + (self.now - self.begin) * (step + 1) // n - MINUTE
            told = {node: [] for node in self.nodes}
            for edge in self.edges:
                born, dies = edge[5], edge[6]
                if (born < 0.9 or step >= n // 2) and (dies < 0.97 or step < n // 2):
                    for node, f in self.flows_of(edge, 0.3 + (step * 7 + edge[3]) % 5 / 5, when):
                        told[node].append(f)
            yield when, told

    def listeners(self):
        out = {n: [] for n in self.nodes}
        for w in self.workloads:
            for i, b in enumerate(w.boxes):
                if w.port:
                    out[b.node].append(listener(b.id, w.exe, 100 + i, port=w.port, started=self.begin, first=self.begin))
        for n in self.nodes:
            out[n].append(listener("", "/usr/sbin/sshd", 700, port=22, started=self.begin, first=self.begin))
            out[n].append(listener("", "/usr/bin/dockerd", 800, 0, ip=None, path="/var/run/docker.sock", started=self.begin, first=self.begin))
        return out

    def publish(self, speakers, told, when, full=False):
        """A batch of each node, in pieces that a frame has room for."""
        for node, flows in told.items():
            for i in range(0, max(len(flows), 1), 10000):
                after, self.through[node] = self.through[node], self.through[node] + 100
                speakers[node].publish("flow", flow_batch(node, flows[i:i + 10000], self.through[node], after, full and i == 0, when))
                if len(flows) > 2000:  # the bus has a window of 4 MiB
                    speakers[node].wait_acked(deadline=300)

    def fill(self, central, steps=6, deadline=120):
        """Tells it all, from the speakers (central_env.Node by name) that it returns, and waits until it is stored."""
        speakers = {n: central.node(n) for n in self.nodes}
        for node, boxes in self.inventories().items():
            for i in range(0, len(boxes), 1000):
                speakers[node].publish("inventory", inventory(node, boxes[i:i + 1000]))
                speakers[node].wait_acked(deadline=300)
        for node in self.nodes:
            speakers[node].publish("resources", resource_list(node, [resource("node", node, node, {"engine": "29.0", "swarm": {"address": self.node_address(node)}})]))
        for node, listeners in self.listeners().items():
            speakers[node].publish("listeners", listener_list(node, listeners))
        for step, (when, told) in enumerate(self.steps(steps)):
            self.publish(speakers, told, when, full=step == 0)
        for s in speakers.values():
            s.wait_acked(deadline=deadline)
        return speakers

    def live(self, speakers):
        """What happens in a second."""
        now = time.time_ns()
        told = {n: [] for n in self.nodes}
        for edge in self.random.sample(self.edges, min(len(self.edges), 200)):
            for node, f in self.flows_of(edge, 0.02, now):
                told[node].append(f)
        self.publish(speakers, told, now)


def main():
    from central_env import Central

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seed", 1), ("applications", 30), ("workloads", 1000), ("containers", 5000), ("flows", 6000), ("nodes", 5)):
        p.add_argument(f"--{name}", type=int, default=default)
    p.add_argument("--still", action="store_true", help="nothing happens after it is filled")
    o = p.parse_args()
    with Central() as central:
        admin = central.admin()
        answer = admin.put("/api/v1/settings/graph.networks", {"value": json.dumps([{"name": "office", "cidr": "10.200.0.0/16"}])})
        assert answer.status == 204, answer
        s = Synthetic(o.seed, o.applications, o.workloads, o.containers, o.flows, o.nodes)
        speakers = s.fill(central)
        print(json.dumps({"url": central.url, "user": "admin", "password": central.password, "data_dir": str(central.data_dir), "run_dir": str(central.run_dir),
                          "certificate": str(central.data_dir / "central" / "tls" / "cert.pem")}), flush=True)
        import select
        while not select.select([sys.stdin], [], [], 1)[0] or sys.stdin.readline():
            if not o.still:
                s.live(speakers)


if __name__ == "__main__":
    main()
