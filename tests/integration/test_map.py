"""The connection map of real applications is the truth: who talked to whom, how often, how much, through whatever led there."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading

import pytest

import map_place
from docker_env import die_with_parent, listens, stop_process, system_env, wait_for
from map_outside import CLOSED, NETWORK, OPEN, REPLY, RESETTING, RESOLVER, SERVER, SILENT, ZONE, Outside
from map_place import IMAGE, LOAD, NodePlatform, Place, address_of, gateway_of
from map_truth import HOST, Truth, fetch, wait_equal
from map_world import OFFICE, SHOP, World

pytestmark = pytest.mark.deadline(300)


@pytest.fixture(scope="module")
def engine(build):
    with map_place.engine_of(build) as docker:
        yield docker


@pytest.fixture(scope="module")
def platform(request, build, engine):
    p = NodePlatform(build, engine, "--backend", request.config.getoption("--backend"))
    try:
        yield p.start()
        p.stop()
        p.check_sanitizers()
    finally:
        p.close()


@pytest.fixture
def place(request, build, engine, platform):
    tag = re.sub(r"\W", "", request.node.originalname.removeprefix("test_"))[:12]
    with Place(engine, platform.root(), tag, build) as p:
        yield p


# ---- applications of real services ----


@pytest.fixture(scope="module", params=["compose", "swarm"])
def world(request, engine, platform):
    with World(engine, request.param) as w:
        yield w


def test_the_map_of_two_applications_is_the_truth(world, platform):
    assert len(SHOP) + len(OFFICE) >= 10
    world.work()
    wait_equal(platform.root(), world.truth(), deadline=30)


def test_the_map_goes_on_being_the_truth(world, platform):
    """More of the same on connections that are there, and new ones: nothing is counted twice when flows are told again."""
    cache = {"do": "hold", "host": "cache"}
    one, other = world.of("worker")
    world.order(one, n=3, **cache)
    world.order(other, n=1, **cache)
    world.wait_done()
    wait_equal(platform.root(), world.truth(), deadline=30)
    world.order(one, do="use", n=4, size=3000)
    world.work()
    world.order(one, do="drop")
    world.wait_done()
    wait_equal(platform.root(), world.truth(), deadline=30)


def test_the_protocols_of_edges_are_recognised(world, platform):
    wait_equal(platform.root(), world.truth(), deadline=15, protocols=True)


def test_names_lead_to_docker_s_own_name_server_hidden(world, platform):
    """Who asked for a name asked the runtime: shown on demand alone."""
    graph = fetch(platform.root(), "workload", hidden=1)
    workloads = {c["service"]: c["workload"] for c in world.by_id.values()}
    asked = {graph.nodes[e["from"]].get("workload") for e in graph.edges if graph.nodes[e["to"]]["kind"] == "runtime" and e["hidden"]}
    assert {workloads[s] for s in ("worker", "api", "cart", "reports", "web")} <= asked, asked
    assert fetch(platform.root(), "workload").counts["hidden"] > 0


def test_filters_give_parts_of_the_same_map(world, platform):
    root, wanted = platform.root(), world.truth().at("workload")

    def pairs(**filters):
        graph = fetch(root, "workload", **filters)
        return {(graph.nodes[e["from"]].get("workload") or graph.nodes[e["from"]]["kind"], graph.nodes[e["to"]].get("workload"), e["port"]) for e in graph.edges}

    def expected(match):
        return {(k[0][2] if k[0][0] == "workload" else "host", k[1][2], k[3]) for k, f in wanted.items() if not f.maybe and match(k)}
    assert expected(lambda k: ("workload", world.office) in (k[0][:2], k[1][:2])) == pairs(application=world.office)
    db, = world.of("db")
    touches_db = ("workload", db["application"], db["workload"])
    assert expected(lambda k: touches_db in k[:2]) == {p for p in pairs(application=db["application"], workload=db["workload"]) if p[2]}


def test_listeners_with_what_leads_to_them(world, platform):
    def look():
        seen = {}
        for application in (world.shop, world.office):
            for row in platform.root().get(f"/api/v1/listeners?application={application}&limit=500").json["listeners"]:
                if row["proto"] in ("tcp", "udp") and not row["address"].startswith("127."):
                    seen.setdefault((row["container"], row["proto"], row["port"]), set()).update(row["reached_by"])
        return seen
    ports = {"db": ("tcp", 5432), "cache": ("tcp", 6379), "sessions": ("tcp", 6379), "pay": ("tcp", 8080), "metrics": ("udp", 8125), "mail": ("tcp", 2525),
             "api": ("tcp", 8000), "cart": ("tcp", 8000), "static": ("tcp", 80), "web": ("tcp", 80), "reports": ("tcp", 8080), "archive": ("tcp", 9000)}
    wanted = {(c["id"], *ports[c["service"]]) for c in world.by_id.values() if c["service"] in ports}
    def differ():
        seen = look()
        names = {c["id"]: c["service"] for c in world.by_id.values()}
        text = {what: [(names.get(i, i), proto, port) for i, proto, port in some] for what, some in (("missing", wanted - set(seen)), ("more", set(seen) - wanted))}
        return set(seen) == wanted, seen if set(seen) == wanted else text
    seen = wait_for(differ, 20, "each service listens where it does, and nothing else", every=0.5)
    web, = world.of("web")
    assert any(str(world.port) in r for r in seen[web["id"], "tcp", 80]), seen[web["id"], "tcp", 80]


# ---- single containers, the host, and the ways between them ----


def test_host_processes_and_containers_talk_through_every_way(place, engine):
    server = place.server("server", "tcp", 7000, 7001, options=["-p", "17000:7000", "-p", "127.0.0.1:17001:7001"])
    box = place.box("box")
    gateway = gateway_of(server)
    place.client(HOST, server, "tcp", 7000, 5)                                                  # to the container's address
    place.client(HOST, server, "tcp", 7000, 7, address="127.0.0.1", port=17000)                 # docker-proxy
    place.client(HOST, server, "tcp", 7001, 3, address="127.0.0.1", port=17001)                 # docker-proxy, loopback only
    place.client(HOST, server, "tcp", 7000, 6, address=gateway, port=17000)                     # DNAT of the node's own packets
    place.client(box, server, "tcp", 7000, 4)                                                   # on one bridge
    place.client(box, server, "tcp", 7000, 9, address=gateway, port=17000)                      # hairpin: docker-proxy, or DNAT and masquerade
    place.host_server("tcp", 7100)
    place.client(box, HOST, "tcp", 7100, 8, address=gateway)                                    # to a process of the host
    at_host = place.box("athost", "--network", "host")
    place.client(at_host, server, "tcp", 7000, 10)                                              # a container in the host's network
    place.client(at_host, HOST, "tcp", 7100, 2, address="127.0.0.1")
    place.client(HOST, at_host_server := place.server("hostserver", "tcp", 7200, options=["--network", "host"]), "tcp", 7200, 11, address="127.0.0.1")
    place.client(box, at_host_server, "tcp", 7200, 12, address=gateway)
    place.client(box, server, "tcp", 7000, 1, request=5_000_000, reply=3_000_000)
    place.check()
    dialled = {d for e in place.edges(HOST, server) for d in e["dialled"]}
    assert {"127.0.0.1:17000", "127.0.0.1:17001", f"{gateway}:17000"} <= dialled, dialled


def test_a_container_in_another_one_s_network(place):
    """They share an address: who has the socket is meant, from the first connection on."""
    server = place.server("server", "tcp", 7000)
    neighbour = place.server("neighbour", "tcp", 7300, options=["--network", f"container:{server.id}"])
    box = place.box("box")
    place.client(box, neighbour, "tcp", 7300, 13, address=address_of(server))
    place.client(box, server, "tcp", 7000, 2)
    # and who of them went somewhere says only its own side: the other sees the address
    other, friend = place.server("other", "tcp", 7400), place.box("friend", "--network", f"container:{server.id}")
    place.client(friend, other, "tcp", 7400, 9)
    place.check()


def test_udp_ipv6_and_loopback(place):
    net = place.network("six", "--ipv6", "--subnet", "fd00:6d61:70::/64")
    server = place.server("server", "tcp", 7000, options=["--network", net])
    datagrams = place.server("datagrams", "udp", 7001, options=["--network", net, "-p", "17002:7001/udp"])
    box = place.box("box", "--network", net)
    place.client(box, server, "tcp", 7000, 5)
    place.client(box, server, "tcp", 7000, 6, address=address_of(server, six=True))
    place.client(box, datagrams, "udp", 7001, 7, request=120, reply=480)
    place.client(box, datagrams, "udp", 7001, 8, request=120, reply=480, address=address_of(datagrams, six=True))
    # Datagrams of host processes are not recorded: the container's side tells of them, which does not know the program.
    place.client(HOST, datagrams, "udp", 7001, 9, request=100, reply=0, address="127.0.0.1", port=17002, client=None)
    place.client(HOST, datagrams, "udp", 7001, 4, request=100, reply=50, client=None)
    box.run(f"{LOAD} serve tcp 7300 >/ctl/serves 2>&1 &")
    wait_for(lambda: "serves" in (box.dir / "serves").read_text(), 10, "the box serves itself")
    place.client(box, box, "tcp", 7300, 3, address="127.0.0.1")
    place.check()


def test_unix_sockets_between_containers_and_docker_s_own(place, engine):
    shared = place.dir / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    server = place.server("server", "unix", "/srv/sock/s", "@abstract", options=["-v", f"{shared}:/srv/sock"])
    packets = place.server("packets", "unixpacket", "/srv/sock/p", options=["-v", f"{shared}:/srv/sock"])
    box = place.box("box", "-v", f"{shared}:/run/peer", "-v", f"{engine.dir}/docker.sock:/var/run/docker.sock")
    place.client(box, server, "unix", "/srv/sock/s", 20, path="/run/peer/s")
    place.client(box, packets, "unixpacket", "/srv/sock/p", 5, path="/run/peer/p")
    place.client(HOST, server, "unix", "/srv/sock/s", 4, path=f"{shared}/s")
    friend = place.box("friend", "--network", f"container:{server.id}")
    place.client(friend, server, "unix", "@abstract", 6)
    got, = box.json(f"{LOAD} client unix - /var/run/docker.sock 3 0 100 0")
    place.wrote(box, HOST, "unix", f"{engine.dir}/docker.sock", got, server="/usr/sbin/dockerd")
    place.check()
    # much at once; and connections that stay, whose bytes are told while they are open
    place.client(box, server, "unix", "/srv/sock/s", 3, path="/run/peer/s", request=3_000_000, reply=5_000_000)
    with held(place, box, server, 3, unix="/srv/sock/s", path="/run/peer/s") as more:
        place.check()
        more()
        place.check()
        more("end")
    place.check()


def test_failed_half_open_and_reset_connections_are_told_as_such(place, engine):
    server = place.server("server", "tcp", 7000)
    # Tries last 3 s, so that a walk over sockets, each second, meets them: the kernel folds equal tries into one event.
    box = place.box("box", "--sysctl", "net.ipv4.tcp_syn_retries=1")
    pid = server.info["State"]["Pid"]
    subprocess.run(["nsenter", "-t", str(pid), "-n", "iptables", "-A", "INPUT", "-p", "tcp", "--dport", "7999", "-j", "DROP"], check=True, env=system_env())
    place.client(box, server, "tcp", 7000, 10)
    place.client(box, server, "tcp", 7000, 4, flags=2)                   # reset by the server
    place.client(box, server, "tcp", 7000, 3, flags=4, reset=3)          # reset by the client
    place.client(box, server, "tcp", 7666, 7)                            # refused
    place.client(box, server, "tcp", 7999, 2)                            # timed out
    place.check()
    # Half open for longer than a walk over sockets takes to come around, and given up by the client: no answer came, so it never was one.
    patient = place.box("patient")
    half = patient.start(f"{LOAD} half {address_of(server)} 7999 3 10")
    wait_for(lambda: (any(e["half_open"] == 3 for e in place.edges(patient, server) if e["port"] == 7999), place.edges(patient, server)), 12, "three half-open connections")
    patient.wait(half)

    def gone():
        e, = [e for e in place.edges(patient, server) if e["port"] == 7999]
        return e["half_open"] == 0 and e["connections"] == 0 and e["timed_out"] + e["failed"] == 3, e
    wait_for(gone, 20, "given up, they count as failed")


def test_a_thousand_short_connections_a_second_are_counted_exactly(place, full):
    seconds = 60 if full else 10
    server = place.server("server", "tcp", 7000)
    box = place.box("box")
    got = place.client(box, server, "tcp", 7000, 1000 * seconds, rate=1000, request=64, reply=64, flags=1)
    assert got["ok"] == 1000 * seconds, got
    print(f"{got['ok'] / got['seconds']:.0f} connections a second")
    place.check(deadline=40)


def test_a_port_scan_is_one_fact_with_its_breadth(place):
    server = place.server("server", "tcp", 7000, 7500)
    box = place.box("box")
    place.client(box, server, "tcp", 7000, 5)
    got, = box.json(f"{LOAD} scan {address_of(server)} 7001 8000 3000")
    assert got["refused"] == 999 and got["ok"] == 1, got

    def one():
        edges = [e for e in place.edges(box, server) if e["port"] != 7000]
        broad = [e for e in edges if e["ports"] >= 999]
        refused, made = sum(e["refused"] for e in edges), sum(e["connections"] for e in edges)
        # The port that answered may be an edge of its own: it is a connection like any other.
        return len(broad) == 1 and broad[0]["port"] == 0 and len(edges) <= 2 and refused == 999 and made == 1, [len(edges), edges[:4]]
    wait_for(one, 20, "one edge of a thousand ports")
    before, = [e for e in place.edges(box, server) if e["port"] == 7000]
    assert before["connections"] == 5


def test_a_sweep_over_addresses_is_not_an_edge_for_each(place):
    """Where nobody answers it takes seconds until a try has failed. What was told before it showed that it is a sweep is one edge to their network."""
    net = place.network("wide", "--subnet", "10.241.7.0/24")
    box = place.box("box", "--network", net)
    got, = box.json(f"{LOAD} spray 10.241.7 5 254 22 9000")
    assert got["unreachable"] + got["timed_out"] == 250, got

    def few():
        edges = [e for e in place.edges(box) if e["port"] == 22]
        failed = sum(e["unreachable"] + e["timed_out"] + e["failed"] for e in edges)
        return len(edges) <= 2 and failed == 250 and not any(e["connections"] or e["open"] for e in edges), [failed, len(edges), edges[:3]]
    wait_for(few, 25, "at most one edge of many addresses and one of their network, of 250 failures")


def test_the_outside_by_name_and_by_network(place, platform, engine):
    server = place.server("server", "tcp", 7000, options=["-p", "17005:7000"])
    box = place.box("box", "--dns", RESOLVER, "--sysctl", "net.ipv4.tcp_syn_retries=1")
    with Outside(engine) as outside:
        def to(address, port, n, **more):
            got, = box.json(f"{LOAD} client tcp {address} {port} {n} 0 200 {REPLY if port == OPEN else 0} {1 if port == RESETTING else 0}")
            if port == RESETTING:  # what was reset before it was acknowledged has not been sent
                got["bytes_out"] = 0
            place.wrote(box, more.pop("end"), "tcp", port, got, server=None, **more)
        # No name was asked for: a network.
        nameless = Truth.network(f"internet {NETWORK}.0/24")
        to(f"{NETWORK}.90", OPEN, 5, end=nameless)
        to(f"{NETWORK}.90", CLOSED, 3, end=nameless)
        to(f"{NETWORK}.90", SILENT, 1, end=nameless)
        to(f"{NETWORK}.90", RESETTING, 2, end=nameless)
        # From outside to a published port: the visitor is a network, too.
        request = b"lpam" + (200).to_bytes(4, "little") + (300).to_bytes(4, "little") + (1).to_bytes(4, "little") + b"v" * 184
        for _ in range(4):
            assert len(outside.connect(f"{NETWORK}.1", 17005, request)) == 300
        place.truth.add(nameless, Truth.of(server.id), "tcp", 7000, connections=4, bytes_out=800, bytes_in=1200, server=LOAD)
        place.check(deadline=25)
        # By a name that the container asked for.
        assert box.run(f"{LOAD} resolve {RESOLVER} shop.{ZONE}") == f"{SERVER}\n"
        place.truth.add(Truth.of(box.id), nameless, "udp", 53, client=LOAD, connections=0, bytes_out=18 + len(f"shop.{ZONE}"), bytes_in=34 + len(f"shop.{ZONE}"),
                        loose=("connections",))
        to(SERVER, OPEN, 6, end=Truth.name(f"shop.{ZONE}"))
        place.check(deadline=25)


# ---- containerd alone ----


@contextlib.contextmanager
def containerd_of(place, docker):
    """A containerd that no Docker knows, and a function that runs `ctr` with it."""
    base = place.dir / "ctd"
    base.mkdir()
    sock = base / "containerd.sock"
    (base / "config.toml").write_text(f'version = 2\nroot = "{base}/root"\nstate = "{base}/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                                      f'[grpc]\n  address = "{sock}"\n[debug]\n  address = "{base}/debug.sock"\n')
    with open(base / "log", "ab") as log:
        proc = subprocess.Popen(["nsenter", f"--net={docker.netns}", "containerd", "--config", base / "config.toml"], stdout=log, stderr=log, env=system_env(),
                                preexec_fn=die_with_parent)

    def ctr(*args, check=True, **kwargs):
        r = subprocess.run(["ctr", "--address", sock, "--namespace", "maptest", *map(str, args)], capture_output=True, env=system_env(), timeout=60, **kwargs)
        assert r.returncode == 0 or not check, f"ctr {args}: {r.stderr.decode()}{r.stdout.decode()}"
        return r.stdout.decode()
    ctr.sock = sock
    try:
        wait_for(lambda: sock.is_socket() and "Server:" in ctr("version", check=False), 20, "containerd answers")
        yield ctr
    finally:
        for ident in ctr("tasks", "ls", "-q", check=False).split():
            ctr("tasks", "kill", "-s", "SIGKILL", ident, check=False)
            wait_for(lambda i=ident: f"{i} " not in ctr("tasks", "ls", check=False) or "STOPPED" in ctr("tasks", "ls", check=False), 10, "the task ends")
            ctr("tasks", "rm", "-f", ident, check=False)
        for ident in ctr("containers", "ls", "-q", check=False).split():
            ctr("containers", "rm", ident, check=False)
        stop_process(proc)
        for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
            if line.split()[4].startswith(f"{base}/"):
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def wired(docker, name, address, bridge):
    """A network namespace with one interface on a bridge of the node, as a CNI plug-in makes it."""
    def ip(*args):
        subprocess.run(["ip", *args], check=True, env=system_env(), capture_output=True)

    def node(*args):
        subprocess.run(["nsenter", f"--net={docker.netns}", "ip", *args], check=True, env=system_env(), capture_output=True)
    ip("netns", "add", name)
    try:
        node("link", "add", f"v{name}"[:15], "type", "veth", "peer", "name", "eth0", "netns", f"/run/netns/{name}")
        node("link", "set", f"v{name}"[:15], "master", bridge, "up")
        for args in (["addr", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"],
                     ["route", "add", "default", "via", address.rsplit(".", 1)[0] + ".1"]):
            ip("-n", name, *args)
        yield f"/run/netns/{name}"
    finally:
        ip("netns", "del", name)


def test_containers_started_by_containerd_itself(request, build, engine):
    with Place(engine, None, "ctd", build) as place:
        containers_of_containerd(request, build, engine, place)


def containers_of_containerd(request, build, engine, place):
    tag = place.tag[-4:]
    bridge = f"ctb{tag}"
    for args in (["link", "add", bridge, "type", "bridge"], ["addr", "add", "10.242.9.1/24", "dev", bridge], ["link", "set", bridge, "up"]):
        subprocess.run(["nsenter", f"--net={engine.netns}", "ip", *args], check=True, env=system_env())
    # as CNI plug-ins do: an engine lets nothing pass between interfaces that are not its own, and where frames between ports of a bridge count as such, nothing passes here either
    passes = ["FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"]
    subprocess.run(["nsenter", f"--net={engine.netns}", "iptables", "-w", "-I", *passes], check=True, env=system_env())
    image = subprocess.run(["docker", "--host", engine.host, "save", IMAGE], check=True, capture_output=True, env=system_env()).stdout
    try:
        with contextlib.ExitStack() as stack, containerd_of(place, engine) as ctr, wired(engine, f"cta{tag}", "10.242.9.2", bridge) as first, wired(engine, f"ctc{tag}", "10.242.9.3", bridge) as second:
            platform = NodePlatform(build, engine, "--containerd", str(ctr.sock), "--backend", request.config.getoption("--backend"))
            stack.callback(platform.close)
            place.api = platform.start().root()
            ctr("image", "import", "--snapshotter", "native", "-", input=image)
            ref = ctr("image", "ls", "-q").split()[0]
            run = ["run", "-d", "--snapshotter", "native"]
            ctr(*run, "--with-ns", f"network:{first}", ref, f"server-{tag}", LOAD, "serve", "tcp", "7000")
            ctr(*run, "--with-ns", f"network:{second}", ref, f"client-{tag}", "/bin/sh", "-c", "sleep 1000")
            server, client = (map_place.Server(f"{n}-{tag}", None) for n in ("server", "client"))
            for one in (server, client):
                place.truth.container(one.id)
            place.host_server("tcp", 7100)
            wait_for(lambda: listens(first, 7000), 20, "the server listens")

            pid = next(line.split()[1] for line in ctr("tasks", "ls").splitlines() if line.startswith(f"{client.id} "))

            def inside(n, *words):
                # detached, its words in a file: what an exec writes that ends at once sometimes never reaches a ctr that waits for it
                ctr("tasks", "exec", "--detach", "--exec-id", f"x{n}", client.id, "/bin/sh", "-c", f"{LOAD} {' '.join(map(str, words))} >/said.{n} 2>&1; echo >>/said.{n}.whole")
                said = pathlib.Path(f"/proc/{pid}/root/said.{n}")
                wait_for(said.with_name(f"said.{n}.whole").exists, 60, f"{words} in the client ends")
                return map_place.json.loads(said.read_text().splitlines()[0])
            place.wrote(client, server, "tcp", 7000, inside(1, "client", "tcp", "10.242.9.2", 7000, 25, 0, 200, 300))
            place.wrote(client, HOST, "tcp", 7100, inside(2, "client", "tcp", "10.242.9.1", 7100, 6, 0, 200, 300), server=place.host_exe())
            got, = place.on_host("client", "tcp", "10.242.9.2", 7000, 9, 0, 200, 300)
            place.wrote(HOST, server, "tcp", 7000, got)
            place.check(levels=("container",))
            platform.stop()
    finally:
        subprocess.run(["nsenter", f"--net={engine.netns}", "iptables", "-w", "-D", *passes], env=system_env())
        subprocess.run(["nsenter", f"--net={engine.netns}", "ip", "link", "del", bridge], env=system_env())


# ---- restarts ----


class Steady(threading.Thread):
    """Connections one after the other, until stop(); counts go to the place's truth."""

    def __init__(self, place, box, server, rate=50, batch=25):
        super().__init__(daemon=True)
        self.place, self.box, self.server, self.rate, self.batch = place, box, server, rate, batch
        self.ended = threading.Event()
        self.problem, self.made = None, 0
        self.start()

    def run(self):
        try:
            while not self.ended.is_set():
                self.made += self.place.client(self.box, self.server, "tcp", 7000, self.batch, rate=self.rate, flags=1)["ok"]
        except AssertionError as e:
            self.problem = e

    def stop(self):
        self.ended.set()
        self.join()
        assert not self.problem, self.problem


@contextlib.contextmanager
def held(place, box, server, count=4, unix=None, path=None):
    """Connections that stay, with one exchange; yields a function that makes another exchange on each ("end": ends them). unix: the server's name of its socket; path: the box's."""
    os.mkfifo(box.dir / "hold")
    (box.dir / "hold").chmod(0o666)
    n = box.start(f"{LOAD} hold unix - {path or unix} {count} 200 300 /ctl/hold" if unix else f"{LOAD} hold tcp {address_of(server)} 7000 {count} 200 300 /ctl/hold")
    # the beginning of one over a Unix socket is told when it begins, as nobody tells its end
    edge, begun = (Truth.of(box.id), Truth.of(server.id), *(("unix", unix) if unix else ("tcp", 7000))), count if unix else 0
    out = box.dir / f"out.{n}"
    control = os.open(box.dir / "hold", os.O_RDWR)
    lines = [1]

    def wait():
        wait_for(lambda: out.exists() and len(out.read_text().splitlines()) >= lines[0], 20, "the held connections have done their exchange")
    wait()
    place.truth.add(*edge, open=count, connections=begun, bytes_out=200 * count, bytes_in=300 * count)

    def more(word="more"):
        os.write(control, f"{word}\n".encode())
        lines[0] += 1
        wait()
        if word == "more":
            place.truth.add(*edge, bytes_out=200 * count, bytes_in=300 * count)
        else:
            place.truth.add(*edge, open=-count, connections=count - begun)
            box.wait(n)
    try:
        yield more
    finally:
        os.close(control)
        (box.dir / "hold").unlink()


@pytest.fixture
def own_platform(request, build, engine):
    """One that a test may kill."""
    p = NodePlatform(build, engine, "--backend", request.config.getoption("--backend"))
    try:
        yield p
        if p.alive:
            p.stop()
        p.check_sanitizers()
    finally:
        p.close()


def test_what_was_there_before_the_start_appears(build, engine, own_platform):
    with Place(engine, None, "before", build) as place:
        server, box, idle = place.server("server", "tcp", 7000), place.box("box"), place.box("idle")
        with held(place, idle, server) as more:
            own_platform.start()
            place.api = own_platform.root()
            place.check()                                              # open ones, with all that they moved
            more()
            place.client(box, server, "tcp", 7000, 10)
            place.check(deadline=30)
            rows = place.api.get(f"/api/v1/listeners?container={server.id}").json["listeners"]
            assert [(r["proto"], r["port"]) for r in rows] == [("tcp", 7000)], rows
            more("end")
            place.check(deadline=30)


@pytest.mark.parametrize("how", ["clean", "sensor", "central", "both"])
def test_a_restart_in_the_middle_neither_loses_nor_doubles(build, engine, own_platform, how):
    with Place(engine, None, f"re{how}", build) as place:
        server, box, idle = place.server("server", "tcp", 7000), place.box("box"), place.box("idle")
        own_platform.start()
        place.api = own_platform.root()
        with held(place, idle, server) as more:
            steady = Steady(place, box, server)
            wait_for(lambda: any(e["connections"] > 20 for e in place.edges(box, server)), 20, "the map shows the beginning")
            if how == "clean":
                steady.stop()                                         # nobody counts while there is no sensor
                own_platform.stop()
                own_platform.start()
                place.api = own_platform.root()
                steady = Steady(place, box, server)
            else:
                for what in ("sensor", "central") if how == "both" else (how,):
                    pid = own_platform.pid_of(what)
                    os.kill(pid, signal.SIGKILL)
                    wait_for(lambda w=what, p=pid: own_platform.pid_of(w) not in (None, p), 40, f"another {what}")
            more()
            before = steady.made
            wait_for(lambda: (steady.made >= before + 100 or bool(steady.problem), steady.made), 30, "traffic goes on")
            steady.stop()
            wait_for(lambda: own_platform.cli("status", check=False).returncode == 0, 60, "Bulkhead is back")
            place.api.close()
            place.check(deadline=40)
            more("end")
            place.check(deadline=30)
        assert steady.made > 50
