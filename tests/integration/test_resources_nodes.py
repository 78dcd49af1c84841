"""A Swarm of two nodes: what the manager tells, what the worker tells, and that neither takes the other's away."""
import contextlib
import subprocess

import central_env
import docker_env
import pytest
import sensor_env
from docker_env import BASE_IMAGE, system_env, wait_for
from test_resources import container, in_netns, one, resources

ADDRESSES = ("10.253.2.1", "10.253.2.2")


@contextlib.contextmanager
def joined(prepare=lambda engine: None):
    """(manager, worker): two engines, each in a network namespace of its own, joined by a cable, that are a Swarm. prepare(engine) runs before that."""
    with docker_env.DockerEnv(netns=True) as manager, docker_env.DockerEnv(netns=True) as worker:
        engines = (manager, worker)
        ends = [f"c{e.tag}" for e in engines]
        in_netns(manager, "ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        with subprocess.Popen(["nsenter", f"--net={worker.netns}", "sh", "-c", "echo there; exec sleep 60"], env=system_env(), stdout=subprocess.PIPE) as inside:
            inside.stdout.readline()
            in_netns(manager, "ip", "link", "set", ends[1], "netns", str(inside.pid))
            inside.kill()
        for engine, end, address in zip(engines, ends, ADDRESSES):
            in_netns(engine, "ip", "addr", "add", f"{address}/24", "dev", end)
            in_netns(engine, "ip", "link", "set", end, "up")
            prepare(engine)
        manager.docker("swarm", "init", "--advertise-addr", ADDRESSES[0], "--listen-addr", f"{ADDRESSES[0]}:2377", "--data-path-addr", ADDRESSES[0])
        token = manager.docker("swarm", "join-token", "-q", "worker").stdout.strip()
        worker.docker("swarm", "join", "--token", token, "--advertise-addr", ADDRESSES[1], "--listen-addr", f"{ADDRESSES[1]}:2377", "--data-path-addr", ADDRESSES[1],
                      f"{ADDRESSES[0]}:2377")
        yield engines
        worker.docker("swarm", "leave", "--force", check=False)
        manager.docker("swarm", "leave", "--force", check=False)
    left = manager.leftovers() + worker.leftovers()
    assert not left, f"expected the engines to leave nothing behind, saw {left}"


@pytest.fixture(scope="module")
def nodes(build):
    with joined(lambda engine: engine.import_base_image(build)) as engines:
        yield engines


class NamedSensor(sensor_env.Sensor):
    """A sensor on a machine of another name: the node's."""

    def __init__(self, name, *args, netns=None, **options):
        super().__init__(*args, **options)
        self.name, self.netns = name, netns

    def argv(self):
        inside = ["nsenter", f"--net={self.netns}"] if self.netns else []
        return [*inside, "unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name, *map(str, super().argv())]


@pytest.mark.deadline(300)
def test_manager_and_worker_tell_one_swarm(build, nodes):
    manager, worker = nodes
    with central_env.Central(build) as central:
        bus = ["--bus", f"unix:{central.run_dir}/central/bus.sock", "--no-containerd"]
        with NamedSensor("one", build, docker_host=manager.host, args=bus) as _, NamedSensor("two", build, docker_host=worker.host, args=bus) as _:
            admin = central.root()
            manager.docker("network", "create", "-d", "overlay", "both")
            manager.docker("service", "create", "--detach", "--no-resolve-image", "--name", "everywhere", "--mode", "global", "--endpoint-mode", "dnsrr", "--network", "both",
                           BASE_IMAGE, "sleep", "1000")
            try:
                service = one(admin, 60, kind="service", until=lambda r: r["detail"]["running"] == 2)
                assert service["detail"]["mode"] == "global" and service["node"] == "one", service
                known = {r["id"]: r for r in resources(admin, kind="node", scope=service["scope"])}
                assert sorted((n["detail"]["role"], n["detail"]["address"]) for n in known.values()) == [("manager", ADDRESSES[0]), ("worker", ADDRESSES[1])], known
                own = one(admin, kind="node", scope="node", source="docker", node="two", until=lambda r: r["detail"]["swarm"].get("role") == "worker")
                # a worker does not know its cluster's id, but which of its nodes it is
                assert known[own["id"]]["detail"]["role"] == "worker" and "cluster_id" not in own["detail"]["swarm"], own

                # each node tells the container that it runs, and its own part of the network
                tasks = [t for t in resources(admin, kind="task") if t["detail"]["state"] == "running"]
                assert {t["detail"]["node"] for t in tasks} == set(known), tasks
                for t in tasks:
                    # both sensors see all control groups of this machine; the container's engine is known to one
                    name = "two" if t["detail"]["node"] == own["id"] else "one"
                    c = container(admin, f"{t['detail']['container']}?node={name}", lambda c: c["level"] == "full" and c["networks"])
                    assert c["workload"] == "everywhere", c
                    assert c["networks"][0]["ip"] in t["detail"]["networks"][0]["addresses"], (c["networks"], t)
                both = wait_for(lambda: (lambda found: len(found) == 3 and found)(resources(admin, kind="network", search="both")), 15, "the network of the Swarm and of two nodes")
                assert sorted((r["scope"] == "node", r["node"]) for r in both) == [(False, "one"), (True, "one"), (True, "two")], both
                assert len({r["id"] for r in both}) == 1 and all(r["detail"]["subnets"] for r in both), both
                assert all(ADDRESSES[0] in r["detail"]["peers"] and ADDRESSES[1] in r["detail"]["peers"] for r in both if r["scope"] == "node"), both
                assert not [r for r in resources(admin, node="two") if r["source"] == "swarm"]

                # the worker goes away and comes back: the manager's word stands
                worker.docker("swarm", "leave", "--force")
                worker.docker("volume", "create", "left")
                one(admin, 30, kind="node", scope="node", source="docker", node="two", until=lambda r: r["detail"]["swarm"] == {"state": "inactive"})
                assert one(admin, kind="service")["name"] == "everywhere"
                one(admin, 90, kind="node", scope=service["scope"], until=lambda r: r["detail"]["role"] == "worker" and r["detail"]["state"] == "down")
            finally:
                manager.docker("service", "rm", "everywhere", check=False)
                wait_for(lambda: manager.docker("network", "rm", "both", check=False).returncode == 0, 30, "the network can be removed")
