"""Where the map's tests happen: an engine in a network namespace of its own with Bulkhead beside it, and containers of known traffic.

    with Place(docker, platform.root(), "name") as place:
        a, b = place.box("a"), place.server("b", "tcp", 7000)
        place.client(a, b, "tcp", 7000, 100, request=200, reply=300)     # does it, and writes it into place.truth
        place.check()
"""
import contextlib
import json
import os
import pathlib
import random
import secrets
import shutil
import subprocess
import tempfile

from boxes import Box
from docker_env import DockerEnv, die_with_parent, make_base_image_tar, stop_process, system_env, wait_for
from map_truth import HOST, LEVELS, Truth, compare, fetch, wait_equal
from test_platform import Platform

IMAGE = "bh-test/map:1"
LOAD = "/map-load"
# What nobody is told of: datagrams have no connections.
UNCOUNTED = {"udp": ("connections",), "unixgram": ("connections",)}
RESULTS = ("refused", "timed_out", "unreachable", "failed", "reset")


def load_program(build):
    path = pathlib.Path(build) / "tests" / "integration" / "map-load"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built: run ./dev build")
    return path


@contextlib.contextmanager
def engine_of(build):
    """An engine that has NAT, several networks and a Swarm to itself, with the image of these tests."""
    env = DockerEnv(netns=True, keep_logs=os.environ.get("BH_TEST_LOGS"))
    # Other engines on this machine have namespaces of their own, too: where their containers had the same addresses, nobody could tell them apart.
    env.pool = f"10.{random.randint(130, 199)}.0.0/16"
    with env:
        env.docker("import", "--change", "ENV PATH=/bin", "-", IMAGE, input=make_base_image_tar([(LOAD, load_program(build))]), text=False)
        yield env
    left = env.leftovers()
    assert not left, f"expected the engine to leave nothing behind, saw {left}"


class NodePlatform(Platform):
    """`bulkhead up` in the engine's network namespace: the node of the engine's containers."""

    def __init__(self, build, docker, *args):
        # More walks over sockets than usual: what is to be seen in open connections is, sooner, and more of them meet what comes and goes.
        super().__init__(build, "--docker", docker.host, "--walk-ms", "1000", *args)
        self.docker, self._root = docker, None

    def argv(self, *more):
        return ["nsenter", f"--net={self.docker.netns}", *super().argv(*more)]

    def root(self):
        """One client, which asks again and again: each has a connection, and their number is bounded."""
        if self._root is None:
            self._root = super().root()
        return self._root

    def start(self, *args, **more):
        if self._root:
            self._root.close()
        return super().start(*args, **more)


class Server:
    """A container that serves, by map-load."""

    def __init__(self, ident, info):
        self.id, self.info = ident, info


def address_of(container, network=None, six=False):
    """Of a Server or a Box, in one of its networks (None: the only one)."""
    found = container.info["NetworkSettings"]["Networks"]
    one = found[network] if network else next(iter(found.values()))
    return one["GlobalIPv6Address" if six else "IPAddress"]


def gateway_of(container):
    return next(iter(container.info["NetworkSettings"]["Networks"].values()))["Gateway"]


class Place:
    def __init__(self, docker, client, tag, build=None):
        self.docker, self.api = docker, client
        self.tag = f"{tag}{secrets.token_hex(2)}"
        self.build = build
        self.truth = Truth()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bhplace-", dir=os.environ.get("BH_TEST_DIR", "/tmp")))
        self.dir.chmod(0o755)
        self.boxes, self.ids, self.networks, self.processes = [], [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        for p in self.processes:
            stop_process(p, 5)
        for box in self.boxes:
            box.close()
        if self.ids:
            self.docker.docker("rm", "-f", "-v", *self.ids, check=False)
        for n in self.networks:
            self.docker.docker("network", "rm", n, check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- what there is ----

    def network(self, name, *options):
        full = f"{self.tag}-{name}"
        self.docker.docker("network", "create", *options, full)
        self.networks.append(full)
        return full

    def _labels(self, name):
        return ["--label", f"com.docker.compose.project={self.tag}", "--label", f"com.docker.compose.service={name}"]

    def box(self, name, *options):
        """A container that does what it is told (boxes.Box)."""
        box = Box(self.docker, f"{self.tag}-{name}", *self._labels(name), *options, image=IMAGE)
        self.boxes.append(box)
        self.truth.container(box.id, self.tag, name, box.name)
        box.info = self.docker.inspect(box.id)
        return box

    def server(self, name, proto, *where, options=()):
        ident = self.docker.run("-d", "--name", f"{self.tag}-{name}", *self._labels(name), *options, IMAGE, LOAD, "serve", proto, *where)
        self.ids.append(ident)
        self.truth.container(ident, self.tag, name, f"{self.tag}-{name}")
        wait_for(lambda: "serves" in self.docker.docker("logs", ident).stdout, 20, f"{name} serves")
        return Server(ident, self.docker.inspect(ident))

    def remove(self, server):
        self.docker.docker("rm", "-f", "-v", server.id)
        self.ids.remove(server.id)

    def on_host(self, *args):
        """map-load as a process of the host, in the engine's namespace: what it printed."""
        r = subprocess.run(self._host_argv(*args), capture_output=True, text=True, timeout=120, env=system_env())
        assert r.returncode == 0, r.stderr
        return [json.loads(line) for line in r.stdout.splitlines()]

    def host_server(self, proto, *where):
        proc = subprocess.Popen(self._host_argv("serve", proto, *where), stdout=subprocess.PIPE, text=True, env=system_env(), preexec_fn=die_with_parent)
        self.processes.append(proc)
        assert "serves" in proc.stdout.readline()
        return proc

    def _host_argv(self, *args):
        return ["nsenter", f"--net={self.docker.netns}", load_program(self.build), *map(str, args)]

    def host_exe(self):
        return str(load_program(self.build).resolve())

    # ---- what is done ----

    def client(self, source, target, proto, where, count, *, address=None, port=None, rate=0, request=200, reply=300, flags=0, path=None, **more):
        """map-load client in `source` (a Box; HOST) to `target` (a Server or Box; HOST): done, and written down.
        where: the server's own port (or path); address and port: what is dialled, where that is another. Returns what the client counted."""
        dialled = path or port or where
        words = ("client", proto, address or ("-" if proto.startswith("unix") else address_of(target)), dialled, count, rate, request, reply, flags)
        got, = self.on_host(*words) if source == HOST else source.json(" ".join(map(str, (LOAD, *words))), deadline=150)
        self.wrote(source, target, proto, where, got, **more)
        return got

    def wrote(self, source, target, proto, where, got, **more):
        """Counts of map-load into the truth. A connection that was reset began as one."""
        results = {name: got[name] for name in RESULTS if got[name]}
        exes = {"client": self.host_exe() if source == HOST else LOAD, "server": (self.host_exe() if target == HOST else LOAD) if got["ok"] or got["reset"] else None}
        self.truth.add(self.end(source), self.end(target), "udp" if proto == "udp" else "unix" if proto.startswith("unix") else "tcp", where,
                       **{**exes, **{"connections": got["ok"] + got["reset"], "bytes_out": got["bytes_out"], "bytes_in": got["bytes_in"],
                                     "loose": UNCOUNTED.get(proto, ()), **results, **more}})

    @staticmethod
    def end(what):
        return what if isinstance(what, tuple) else Truth.of(what.id)

    # ---- what is seen ----

    def check(self, deadline=20.0, levels=LEVELS, **options):
        wait_equal(self.api, self.truth, levels, deadline, **options)

    def problems(self, level="container", **options):
        return compare(self.truth, level, fetch(self.api, level), **options)

    def edges(self, source=None, target=None, level="container", **filters):
        """Edges of the map between these (None: anybody)."""
        graph = fetch(self.api, level, **filters)

        def is_end(ident, what):
            node = graph.nodes[ident]
            return what is None or (node["kind"] == "host" if what == HOST else node.get("container") == what.id)
        mine = set(self.truth.containers)
        return [e for e in graph.edges if is_end(e["from"], source) and is_end(e["to"], target) and
                (graph.nodes[e["from"]].get("container") in mine or graph.nodes[e["to"]].get("container") in mine)]
