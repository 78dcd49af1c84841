"""What a sensor tells of connections, against what was really done: between containers, the host and itself, through NAT and docker-proxy, while it is killed."""
import os
import pathlib
import secrets
import signal
import subprocess
import time

import docker_env
import flow_env
import pytest
import sensor_env
from boxes import Box
from docker_env import listens, system_env, wait_for


@pytest.fixture(scope="module")
def load(build):
    path = pathlib.Path(build) / "tests" / "integration" / "flow-load"
    assert path.exists(), f"{path} is not built: run ./dev build"
    return path


@pytest.fixture(scope="module")
def engine(build):
    """An engine that has a network namespace for itself: with NAT, docker-proxy and several networks."""
    with docker_env.DockerEnv(netns=True) as env:
        env.import_base_image(build)
        env.docker("network", "create", "front")
        env.docker("network", "create", "back")
        yield env


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with flow_env.Hub(tmp_path_factory.mktemp("bus") / "bus.sock") as h:
        yield h
        assert not h.problems, f"expected batches one after the other, saw {h.problems}"


def bus_of(hub):
    """With more walks over sockets than usual: what only they tell comes sooner."""
    return ["--bus", f"unix:{hub.path}", "--walk-ms", "1000"]


@pytest.fixture(scope="module")
def sensor(request, build, engine, hub):
    with sensor_env.Sensor(build, docker_host=engine.host, backend=request.config.getoption("--backend"), args=bus_of(hub)) as s:
        yield s


class Boxes:
    def __init__(self, engine, load):
        self.engine, self.load, self.open = engine, load, []

    def __call__(self, *options, network="front"):
        name = f"bh-flow-{secrets.token_hex(3)}"
        box = Box(self.engine, name, "--network", network, "-v", f"{self.load}:/load:ro", *options)
        self.open.append(box)
        box.ip = box_ip(self.engine, box.id, network)
        return box


def box_ip(engine, ident, network):
    return engine.inspect(ident)["NetworkSettings"]["Networks"][network]["IPAddress"]


@pytest.fixture
def box(engine, load):
    boxes = Boxes(engine, load)
    yield boxes
    for b in boxes.open:
        engine.remove(b.id)
        b.close()


def serve(box, port, how="serve"):
    netns = f"/proc/{box.docker.inspect(box.id)['State']['Pid']}/ns/net"
    box.run(f"/load {how} {port} >/dev/null 2>&1 &")
    wait_for(lambda: listens(netns, port, "udp" if how == "userve" else "tcp"), 10, f"{box.name} serves at {port}")


def connect(box, ip, port, n=1, rate=0, size=100):
    made = box.run(f"/load connect {ip} {port} {n} {rate} {size}", deadline=120).split()
    assert int(made[0]) == n, f"expected {n} connections to be made, saw {made}"


def in_engine(engine, *argv, **kwargs):
    """A process of the host in the engine's network namespace."""
    return subprocess.run(["nsenter", f"--net={engine.netns}", *map(str, argv)], check=True, capture_output=True, text=True, env=system_env(), timeout=60, **kwargs)


# ---- between containers

def test_tcp_between_containers_is_told_by_both_ends(sensor, hub, box):
    web, db = box(), box()
    serve(db, 5432)
    connect(web, db.ip, 5432, n=7, size=1000)
    hub.wait_sum("connections", 7, container=web.id, role="client", port=5432)
    hub.wait_sum("connections", 7, container=db.id, role="server", port=5432)
    client, server = hub.wait_flow(container=web.id, role="client"), hub.wait_flow(container=db.id, role="server")
    assert (client["peer"], client["peer_container"], client["exe"], client["bytes_out"], client["bytes_in"]) == (db.ip, db.id, "/load", 7000, 7000), client
    assert (server["peer"], server["peer_container"], server["exe"], server["bytes_out"], server["bytes_in"]) == (web.ip, web.id, "/load", 7000, 7000), server
    assert client["network"] == server["network"] != "", f"expected the network of both, saw {client} {server}"
    assert client["packets_out"] >= 7 * 3 and client["duration_ns"] > 0 and client["first"] <= client["last"], client
    assert len(hub.find(container=web.id)) == 1 and len(hub.find(container=db.id)) == 1, f"expected a flow each, saw {hub.find(container=web.id)} {hub.find(container=db.id)}"
    listener = hub.wait_listener(container=db.id, port=5432)
    assert (listener["exe"], listener["proto"], listener["ip"]) == ("/load", 6, "0.0.0.0"), listener


def test_new_flow_is_told_soon(sensor, hub, box):
    web, db = box(), box()
    serve(db, 7000)
    connect(web, db.ip, 7000)  # whatever is slow the first time
    hub.wait_sum("connections", 1, container=web.id)
    slowest = 0
    for port in (7001, 7002, 7003):
        serve(db, port)
        begun = time.time()
        connect(web, db.ip, port)
        hub.wait_flow(container=web.id, port=port)
        slowest = max(slowest, time.time() - begun)
    assert slowest < 2, f"expected new flows within a fraction of a second, saw {slowest:.2f} s"


def test_datagrams(sensor, hub, box):
    app, stats = box(), box()
    serve(stats, 8125, "userve")
    assert app.run(f"/load usend {stats.ip} 8125 20 50").strip() == "20"
    hub.wait_sum("bytes_out", 1000, container=app.id, role="client", proto=17)
    hub.wait_sum("bytes_in", 1000, container=stats.id, role="server", proto=17)
    hub.wait_sum("bytes_in", 1000, container=app.id, role="client", proto=17)
    hub.wait_sum("bytes_out", 1000, container=stats.id, role="server", proto=17)
    client, server = hub.wait_flow(container=app.id, proto=17), hub.wait_flow(container=stats.id, proto=17)
    assert (client["bytes_in"], client["packets_out"], client["packets_in"], client["peer_container"]) == (1000, 20, 20, stats.id), client
    assert (server["bytes_out"], server["packets_out"], server["packets_in"], server["peer_container"]) == (1000, 20, 20, app.id), server


def test_datagrams_by_write_and_read(sensor, hub, box):
    """No hook of the fallback sees these: they are counted while there is such a socket, and nothing is paid while there is none."""
    app, stats = box(), box()
    serve(stats, 8125, "userve")

    def counting():
        return sensor.status()["flows"]["written_datagrams"]
    sending = app.start(f"/load wsend {stats.ip} 8125 20 50 /ctl/go")
    wait_for(lambda: (counting()["followed"] > 0 and counting()["state"] == "on", counting()), 20, "the socket is followed")
    (app.dir / "go").write_text("")
    assert app.wait(sending).strip() == "20"
    for name in ("bytes_out", "bytes_in"):
        hub.wait_sum(name, 1000, container=app.id, role="client", proto=17)
        hub.wait_sum(name, 1000, container=stats.id, role="server", proto=17)
    hub.wait_sum("packets_out", 20, container=app.id, role="client", proto=17)
    assert hub.find(container=app.id, proto=17)[0]["open"] == 0
    wait_for(lambda: (counting()["state"] == "off", counting()), 20, "nothing is attached")


def test_unix_socket_in_a_shared_volume(sensor, hub, engine, box):
    volume = f"bh-vol-{secrets.token_hex(3)}"
    engine.docker("volume", "create", volume)
    try:
        fpm, web = box("-v", f"{volume}:/shared"), box("-v", f"{volume}:/shared")
        fpm.run("/load serveunix /shared/fpm.sock >/dev/null 2>&1 & sleep 0.3")
        web.run("/load unix /shared/fpm.sock 9")
        hub.wait_sum("connections", 9, container=web.id, role="client", proto=0)
        hub.wait_sum("connections", 9, container=fpm.id, role="server", proto=0)
        client, server = hub.wait_flow(container=web.id, proto=0), hub.wait_flow(container=fpm.id, proto=0)
        assert (client["path"], client["peer_container"]) == ("/shared/fpm.sock", fpm.id), client
        assert (server["path"], server["peer_container"]) == ("/shared/fpm.sock", web.id), server
        hub.wait_listener(container=fpm.id, path="/shared/fpm.sock")
    finally:
        for b in list(box.open):
            engine.remove(b.id)
        engine.docker("volume", "rm", "-f", volume, check=False)


def test_docker_socket_in_a_container_leads_to_the_host(sensor, hub, engine, box):
    tool = box("-v", f"{engine.dir}/docker.sock:/var/run/docker.sock")
    tool.run("/load unix /var/run/docker.sock 3")
    hub.wait_sum("connections", 3, container=tool.id, role="client", proto=0)
    flow = hub.wait_flow(container=tool.id, proto=0)
    assert flow["peer_host"] and flow["peer_exe"].endswith("/dockerd") and flow["path"] == f"{engine.dir}/docker.sock", flow


def test_name_by_which_a_container_was_found(sensor, hub, engine, box):
    alias = f"redis-{secrets.token_hex(3)}"
    web, redis = box(), box("--network-alias", alias)
    serve(redis, 6379)
    found = web.run(f"/load resolve 127.0.0.11 {alias}").strip()
    assert found == redis.ip, f"expected {redis.ip} as the answer, saw {found}"
    connect(web, redis.ip, 6379)
    flow = hub.wait_flow(container=web.id, port=6379, match=lambda f: f["name"])
    assert flow["name"] == alias, flow
    dns = hub.wait_flow(container=web.id, port=53)
    assert (dns["name"], dns["peer_host"], dns["protocol"]) == ("docker-dns", True, "dns"), dns


# ---- failures

def test_refused_reset_and_unreachable(sensor, hub, box):
    web, db = box(), box()
    serve(db, 5432)
    web.run(f"/load scan {db.ip} 81 83")
    web.run(f"/load reset {db.ip} 5432 3")
    web.run("/load connect 240.0.0.1 80 2 0 1")
    hub.wait_sum("refused", 3, container=web.id)
    hub.wait_sum("reset", 3, container=web.id, port=5432)
    hub.wait_sum("reset", 3, container=db.id, port=5432)
    assert sum(f["connections"] for f in hub.find(container=web.id)) == 3, f"expected refused ones not to count as connections, saw {hub.find(container=web.id)}"
    assert {f["port"] for f in hub.find(container=web.id) if f["refused"]} == {81, 82, 83}
    lost = lambda: sum(f["unreachable"] + f["failed"] + f["timed_out"] for f in hub.find(container=web.id, peer="240.0.0.1"))  # noqa: E731
    wait_for(lambda: (lost() == 2, hub.find(container=web.id, peer="240.0.0.1")), 20, "two failures")


def test_half_open_connections_are_seen(sensor, hub, engine, box):
    web = box()
    bridge = "br-" + engine.docker("network", "inspect", "-f", "{{.Id}}", "back").stdout[:12]
    in_engine(engine, "ip", "route", "replace", "198.51.100.77/32", "dev", bridge)
    in_engine(engine, "iptables", "-I", "FORWARD", "-s", web.ip, "-d", "198.51.100.77", "-j", "DROP")
    web.start("/load connect 198.51.100.77 443 1 0 1")
    flow = hub.wait_flow(container=web.id, port=443, deadline=20, match=lambda f: f["half_open"])
    assert (flow["open"], flow["half_open"], flow["connections"]) == (1, 1, 0), flow


def test_scan_of_a_thousand_ports_is_one_flow(sensor, hub, box):
    bad, target = box(), box()
    serve(target, 500)
    assert bad.run(f"/load scan {target.ip} 1 1000").strip() == "1"
    scan = hub.wait_flow(container=bad.id, scan=True, match=lambda f: f["refused"] == 999)
    assert (scan["ports"], scan["port"], scan["peer_container"]) == (999, 0, target.id), scan
    hub.wait_sum("connections", 1, container=bad.id, port=500)
    assert len(hub.find(container=bad.id)) == 2, f"expected the scan and the port that is open, saw {hub.find(container=bad.id)}"


# ---- the host

def test_host_to_container_and_back(sensor, hub, engine, load, box):
    web = box()
    serve(web, 8000)
    in_engine(engine, load, "connect", web.ip, 8000, 5, 0, 300)
    hub.wait_sum("connections", 5, container="", role="client", peer_container=web.id, port=8000)
    server = hub.wait_flow(container=web.id, role="server", port=8000)
    hub.wait_sum("connections", 5, container=web.id, role="server", port=8000)
    assert server["peer_host"] and len(hub.find(container=web.id)) == 1, f"expected the host as the one peer, saw {hub.find(container=web.id)}"

    gateway = engine.inspect(web.id)["NetworkSettings"]["Networks"]["front"]["Gateway"]
    daemon = subprocess.Popen(["nsenter", f"--net={engine.netns}", str(load), "serve", "9100"])
    try:
        wait_for(lambda: listens(engine.netns, 9100), 10, "the host's process listens")
        connect(web, gateway, 9100, n=4, size=10)
        hub.wait_sum("connections", 4, container="", role="server", port=9100, peer_container=web.id)
        hub.wait_sum("connections", 4, container=web.id, role="client", port=9100)
    finally:
        daemon.kill()
        daemon.wait()


def test_container_in_the_hosts_network(sensor, hub, engine, load, box):
    """It shares addresses and loopback with the host's own processes; the other end of each connection tells who it was."""
    web = box(network="host")
    serve(web, 9300)
    hub.wait_listener(container=web.id, port=9300)
    in_engine(engine, load, "connect", "127.0.0.1", 9300, 3, 0, 100)
    connect(web, "127.0.0.1", 9300, n=2, size=10)
    hub.wait_sum("connections", 3, container="", role="client", port=9300, peer_container=web.id)
    hub.wait_sum("connections", 3, container=web.id, role="server", port=9300, peer_host=True)
    hub.wait_sum("connections", 2, container=web.id, role="server", port=9300, peer_container=web.id)
    hub.wait_sum("connections", 2, container=web.id, role="client", port=9300, peer_container=web.id)


def test_loopback_of_a_container_is_a_flow_with_itself(sensor, hub, box):
    web = box()
    serve(web, 9000)
    connect(web, "127.0.0.1", 9000, n=3)
    hub.wait_sum("connections", 3, container=web.id, role="client", port=9000)
    hub.wait_sum("connections", 3, container=web.id, role="server", port=9000)
    assert all(f["peer_container"] == web.id for f in hub.find(container=web.id)), hub.find(container=web.id)


# ---- published ports

def test_published_port_through_docker_proxy_and_nat(sensor, hub, engine, load, box):
    web = box("-p", "18080:80", "-p", "127.0.0.1:18081:81")
    serve(web, 80)
    serve(web, 81)
    gateway = engine.inspect(web.id)["NetworkSettings"]["Networks"]["front"]["Gateway"]
    in_engine(engine, load, "connect", "127.0.0.1", 18080, 6, 0, 200)  # docker-proxy
    in_engine(engine, load, "connect", gateway, 18080, 5, 0, 300)      # NAT
    in_engine(engine, load, "connect", "127.0.0.1", 18081, 2, 0, 100)
    peer = box()
    connect(peer, gateway, 18080, n=4, size=400)                       # from a container, back into its own network
    hub.wait_sum("connections", 11, container="", role="client", peer_container=web.id, port=80)
    hub.wait_sum("connections", 2, container="", role="client", peer_container=web.id, port=81)
    hub.wait_sum("connections", 4, container=peer.id, role="client")
    hub.wait_sum("connections", 15, container=web.id, role="server", port=80)
    client = hub.wait_flow(container=peer.id)
    assert (client["peer"], client["port"], client["dialled"], client["dialled_port"], client["peer_container"]) == (web.ip, 80, gateway, 18080, web.id), client
    by_peer = {}
    for f in hub.find(container=web.id, role="server", port=80):
        who = "host" if f["peer_host"] else f["peer_container"]
        by_peer[who] = by_peer.get(who, 0) + f["bytes_in"]
    assert by_peer == {"host": 6 * 200 + 5 * 300, peer.id: 4 * 400}, f"expected each client's bytes, saw {by_peer} of {hub.find(container=web.id)}"
    assert not [f for f in hub.flows.values() if f["exe"].endswith("docker-proxy")], "expected docker-proxy's own connections not to be told"


def test_translation_by_the_kernel(request, build, docker, load, tmp_path):
    """In the node's own network namespace, where the sensor listens to connection tracking."""
    if not docker.bridge:
        pytest.skip("the kernel refuses bridges")
    name, virtual = f"bh-nat-{secrets.token_hex(3)}", f"198.18.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
    with flow_env.Hub(tmp_path / "bus.sock") as hub, \
            sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend"), args=bus_of(hub)) as sensor, \
            Box(docker, name, "-v", f"{load}:/load:ro") as web:
        ip = docker.inspect(web.id)["NetworkSettings"]["IPAddress"]
        rule = ["OUTPUT", "-p", "tcp", "-d", virtual, "--dport", "8080", "-j", "DNAT", "--to-destination", f"{ip}:80"]
        added = subprocess.run(["iptables", "-w", "-t", "nat", "-A", *rule], capture_output=True, text=True, env=system_env())
        assert added.returncode == 0, added.stderr
        try:
            assert sensor.status()["flows"]["conntrack"]["state"] == "on", sensor.status()["flows"]
            serve(web, 80)
            subprocess.run([load, "connect", virtual, "8080", "3", "0", "50"], check=True, capture_output=True)
            hub.wait_sum("connections", 3, container="", exe=str(load), role="client")
            flow = hub.wait_flow(container="", exe=str(load), role="client")
            assert (flow["peer"], flow["port"], flow["dialled"], flow["dialled_port"], flow["peer_container"]) == (ip, 80, virtual, 8080, web.id), flow
            server = hub.wait_flow(container=web.id, role="server", port=80)
            assert server["peer_host"] and (server["dialled"], server["dialled_port"]) == (virtual, 8080), server
        finally:
            subprocess.run(["iptables", "-w", "-t", "nat", "-D", *rule], capture_output=True, env=system_env())
            docker.remove(web.id)


# ---- from before, and across a restart

def test_connections_from_before_the_start_and_their_bytes(request, build, engine, load, box, tmp_path):
    web, db = box(), box()
    serve(db, 5432)
    holding = web.start(f"(sleep 60) | /load hold {db.ip} 5432 5000 > /ctl/held")
    wait_for(lambda: (web.dir / "held").exists() and (web.dir / "held").read_text() == "open\n", 10, "a connection is open")
    with flow_env.Hub(tmp_path / "bus.sock") as hub, \
            sensor_env.Sensor(build, docker_host=engine.host, backend=request.config.getoption("--backend"), args=bus_of(hub)) as sensor:
        client = hub.wait_flow(container=web.id, role="client", port=5432, match=lambda f: f["open"] == 1 and f["peer_container"])
        server = hub.wait_flow(container=db.id, role="server", port=5432, match=lambda f: f["open"] == 1 and f["peer_container"])
        assert (client["open_bytes_out"], client["open_bytes_in"], client["peer_container"], client["exe"]) == (5000, 5000, db.id, "/load"), client
        assert (server["open_bytes_out"], server["open_bytes_in"], server["peer_container"]) == (5000, 5000, web.id), server
        assert hub.batches and any(full for *_, full, _ in hub.batches), f"expected a full batch, saw {hub.batches}"
        hub.wait_listener(container=db.id, port=5432)
        engine.remove(web.id)
        hub.wait_sum("connections", 1, container=web.id, role="client", port=5432)
        ended = hub.wait_flow(container=web.id, role="client", port=5432, match=lambda f: not f["open"])
        assert (ended["bytes_out"], ended["bytes_in"]) == (5000, 5000), ended
        assert sensor.alive and holding


@pytest.mark.deadline(240)
def test_a_thousand_connections_a_second_while_the_sensor_is_killed(request, build, engine, box, tmp_path):
    """10 s of them, and the sensor killed four times at any moment: in the end both ends have told each connection once."""
    web, db = box(), box()
    serve(db, 80)
    with flow_env.Hub(tmp_path / "bus.sock") as hub, \
            sensor_env.Sensor(build, docker_host=engine.host, backend=request.config.getoption("--backend"), args=bus_of(hub)) as sensor:
        began = time.monotonic()
        running = web.start(f"/load connect {db.ip} 80 10000 1000 10")
        for n in range(4):
            time.sleep(0.9 + 0.31 * n)
            os.kill(sensor.pid, signal.SIGKILL)
            sensor.proc.wait()
            sensor.start()
        made, took = web.wait(running, deadline=120).split()
        assert int(made) == 10000, f"expected 10,000 connections, saw {made} in {took} s"
        try:
            hub.wait_sum("connections", 10000, container=web.id, role="client", deadline=30)
            hub.wait_sum("connections", 10000, container=db.id, role="server", deadline=30)
        finally:
            print(f"{time.monotonic() - began:.1f} s, {len(hub.batches)} batches, {sum(r for *_, r in hub.batches)} of them again, status {sensor.status()['flows']}")
        for box_, role in ((web, "client"), (db, "server")):
            flows = hub.find(container=box_.id, role=role)
            differ = {k: [f[k] for f in flows] for k in flow_env.Flow.IDENTITY if len({f[k] for f in flows}) > 1}
            assert len(flows) == 1, f"expected one flow, saw {len(flows)} of {[f['connections'] for f in flows]} connections that differ in {differ}"
            assert (flows[0]["bytes_out"], flows[0]["bytes_in"]) == (100000, 100000), flows
        assert not hub.problems, hub.problems
        assert sensor.status()["lost"] == 0, sensor.status()["losses"]


def test_numbers_of_events_go_on_behind_what_was_told_when_the_recorder_lost_it(request, build, engine, box, tmp_path):
    """As after a full disk: the events that were told of are not there. What comes then must not look like what was told before."""
    web, db = box(), box()
    serve(db, 80)
    with flow_env.Hub(tmp_path / "bus.sock") as hub, \
            sensor_env.Sensor(build, docker_host=engine.host, backend=request.config.getoption("--backend"), args=["--bus", f"unix:{hub.path}"]) as sensor:
        connect(web, db.ip, 80, n=5)
        hub.wait_sum("connections", 5, container=web.id, role="client", deadline=30)
        os.kill(sensor.pid, signal.SIGKILL)
        sensor.proc.wait()
        for segment in (sensor.data_dir / "recorder").iterdir():
            if segment.is_file():
                segment.unlink()
        # as it is written while the recorder's disk is full
        mark = sensor.data_dir / "flows.mark"
        mark.write_text(mark.read_text().split("\n")[0] + " gone\n")
        sensor.start()
        connect(web, db.ip, 80, n=7)
        hub.wait_sum("connections", 12, container=web.id, role="client", deadline=30)
        assert not hub.problems, hub.problems


# ---- protocols

def test_protocol_of_connections_is_recognised(sensor, hub, box):
    web, client = box(), box()
    web.run("busybox httpd -p 8088 -h /www; sleep 0.3")

    def ask():
        client.run(f"for i in 1 2 3; do wget -q -O /dev/null http://{web.ip}:8088/; done")
        return bool(hub.find(container=web.id, port=8088, protocol="http/1") and hub.find(container=client.id, port=8088, protocol="http/1")), (
            hub.find(container=web.id, port=8088), hub.find(container=client.id, port=8088), sensor.status()["flows"]["protocols"])
    wait_for(ask, 30, "both ends are told as http/1", every=0.5)


def conntrack_sockets(pid):
    """Sockets of NETLINK_NETFILTER that the process holds."""
    rows = [line.split() for line in pathlib.Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]]
    netfilter = {f"socket:[{r[-1]}]" for r in rows if r[1] == "12"}
    links = set()
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(os.readlink(fd))
        except FileNotFoundError:
            pass
    return netfilter & links


def test_a_sensor_that_can_tell_nobody_does_not_listen_to_the_kernel_s_connection_tracking(request, build, tmp_path):
    backend = request.config.getoption("--backend")
    with flow_env.Hub(tmp_path / "bus.sock") as hub:
        with sensor_env.Sensor(build, backend=backend, args=bus_of(hub)) as s:
            assert len(conntrack_sockets(s.pid)) == 2
        broken = sensor_env.Sensor(build, backend=backend, args=bus_of(hub))
        (broken.data_dir / "spool").write_text("no directory")
        with broken as s:
            assert conntrack_sockets(s.pid) == set()
