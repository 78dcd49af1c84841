"""Two applications of real services whose every connection is written down: as Compose projects on plain bridges, and as Swarm stacks on overlays.

    with World(docker, "compose") as world:         # docker: a DockerEnv(netns=True)
        world.work()
        wait_equal(client, world.truth())

`shop` has eleven services on two networks (front, back), three of them with two replicas; `office` uses the shop's database and pages. Servers are nginx,
redis, PostgreSQL (images of the demo) and map_service.py, which also makes the traffic. What each connection moved is told by who made it: nginx in its
access log, map_service.py from its own counts, libpq's connections by the kernel's, this process by its own.
"""
import collections
import concurrent.futures
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from docker_env import system_env, wait_for
from map_truth import HOST, Truth
from sensor_env import REPO

sys.path.insert(0, str(REPO))

from demo import images  # noqa: E402
from demo.engine import Engine, SocketMaker  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
IMAGES = ("front", "api", "cache", "db")
PYTHON = ["python3", "/map/service.py"]
NGINX = ["nginx", "-c", "/map/{}.conf"]
WEB_PORT, STATIC_PORT = 80, 80
CONF = """user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /dev/stderr warn;
daemon off;
events { worker_connections 256; }
http {
  log_format map escape=json '{"to":"$upstream_addr","out":"$upstream_bytes_sent","got":"$upstream_bytes_received","status":"$status"}';
  resolver 127.0.0.11 valid=1s ipv6=off;
  server {
    listen 80;
    location / { %s }
  }
}
"""
PROXY = "access_log /ctl/web.nginx map; set $api api; proxy_pass http://$api:8000; proxy_next_upstream off;"
STATIC = "access_log off; root /map/www;"

Service = collections.namedtuple("Service", "image command networks replicas env publish")


def service(image, command, networks, replicas=1, publish=None, **env):
    return Service(image, command, networks.split(), replicas, env, publish)


def python(networks, replicas=1, **env):
    return service("api", PYTHON, networks, replicas, DB_PASSWORD="keelhaul", **env)


SHOP = {
    "db": service("db", None, "back", DB_PASSWORD="keelhaul", OFFICE_PASSWORD="logbook"),
    "cache": service("cache", ["redis-server", "--bind", "*", "--protected-mode", "no", "--save", ""], "back"),
    "sessions": service("cache", ["redis-server", "--bind", "*", "--protected-mode", "no", "--save", ""], "back"),
    "pay": python("back", MAP_SERVES="http:8080"),
    "metrics": python("back", MAP_SERVES="udp:8125"),
    "mail": python("back", MAP_SERVES="sink:2525"),
    "api": python("front back", 2, MAP_SERVES="http:8000", MAP_DEPS="redis:cache pg:db http:pay:8080 udp:metrics:8125"),
    "cart": python("front back", 2, MAP_SERVES="http:8000", MAP_DEPS="redis:sessions sink:mail:2525"),
    "worker": python("back", 2),
    "static": service("front", [w.format("static") for w in NGINX], "front"),
    "web": service("front", [w.format("web") for w in NGINX], "front", publish=80),
}
OFFICE = {
    "reports": python("front back", MAP_SERVES="http:8080"),
    "archive": python("back", MAP_SERVES="sink:9000"),
}
PORTS = {"redis-server": 6379, "postgres": 5432}


def exe_of(pid):
    return os.readlink(f"/proc/{pid}/exe")


class World:
    def __init__(self, docker, form, tag="map"):
        self.docker, self.form = docker, form
        self.engine = Engine(docker.host)
        self.sockets = SocketMaker(docker.netns)
        self.shop, self.office = f"{tag}shop{form[0]}", f"{tag}office{form[0]}"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bhmap-", dir=os.environ.get("BH_TEST_DIR", "/tmp")))
        self.dir.chmod(0o755)
        self.ctl, self.map = self.dir / "ctl", self.dir / "map"
        self.ctl.mkdir()
        self.ctl.chmod(0o777)
        (self.map / "www").mkdir(parents=True)
        shutil.copy(HERE / "map_service.py", self.map / "service.py")
        (self.map / "web.conf").write_text(CONF % PROXY)
        (self.map / "static.conf").write_text(CONF % STATIC)
        (self.map / "www" / "page").write_bytes(b"p" * 20000)
        self.port = 18080 if form == "swarm" else 18081
        self.by_id, self.orders, self.mine = {}, collections.Counter(), []
        self.addresses = {}

    def __enter__(self):
        try:
            return self.up()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()

    # ---- life ----

    def up(self):
        made = [i for i in images.build(REPO / "build" / "demo") if i.name in IMAGES]
        images.load(self.engine, made)
        self.tags = {i.name: i.tag for i in made}
        self._compose() if self.form == "compose" else self._swarm()
        wanted = sum(s.replicas for s in (*SHOP.values(), *OFFICE.values()))

        def there():
            self._look()
            running = len(self.by_id)
            hands = [c for c in self.by_id.values() if c["image"] == "api"]
            ready = sum((self.ctl / f"{c['id'][:12]}.in").exists() for c in hands)
            return running == wanted and ready == len(hands), f"{running} of {wanted} containers, {ready} of {len(hands)} ready"
        wait_for(there, 90, "the applications are up", every=0.3)
        db, = self.of("db")
        # Its first server, which makes the database, listens on no address.
        wait_for(lambda: "ready to accept connections" in self.engine.logs(db["id"]).partition("listening on IPv4 address")[2], 60, "the database answers", every=0.5)
        self._look()
        return self

    def _binds(self):
        return [f"{self.ctl}:/ctl", f"{self.map}:/map:ro"]

    def _compose(self):
        for key in ("front", "back"):
            self.engine.call("POST", "/networks/create", {"Name": f"{self.shop}_{key}", "Driver": "bridge", "CheckDuplicate": True, "Labels": {
                "com.docker.compose.project": self.shop, "com.docker.compose.network": key}})

        def one(project, key, s, number):
            first, *others = (f"{self.shop}_{n}" for n in s.networks)
            body = {"Image": self.tags[s.image], "Env": [f"{k}={v}" for k, v in s.env.items()], "Healthcheck": {"Test": ["NONE"]},
                    **({"Cmd": s.command} if s.command else {}),
                    "Labels": {"com.docker.compose.project": project, "com.docker.compose.service": key, "com.docker.compose.container-number": str(number),
                               "com.docker.compose.oneoff": "False"},
                    "HostConfig": {"Binds": self._binds(), "NetworkMode": first},
                    "NetworkingConfig": {"EndpointsConfig": {first: {"Aliases": [key]}}}}
            if s.publish:
                body["HostConfig"]["PortBindings"] = {f"{s.publish}/tcp": [{"HostPort": str(self.port)}]}
            ident = self.engine.call("POST", "/containers/create", body, name=f"{project}-{key}-{number}")["Id"]
            for n in others:
                self.engine.call("POST", f"/networks/{n}/connect", {"Container": ident, "EndpointConfig": {"Aliases": [key]}})
            self.engine.call("POST", f"/containers/{ident}/start")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for job in [pool.submit(one, p, k, s, n + 1) for p, services in ((self.shop, SHOP), (self.office, OFFICE)) for k, s in services.items()
                        for n in range(s.replicas)]:
                job.result()

    def _swarm(self):
        if self.engine.call("GET", "/info")["Swarm"]["LocalNodeState"] != "active":
            self.engine.call("POST", "/swarm/init", {"ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1", "DataPathAddr": "127.0.0.1",
                                                     "DefaultAddrPool": ["10.253.0.0/16"], "SubnetSize": 24})
        for stack, services, external in ((self.shop, SHOP, False), (self.office, OFFICE, True)):
            networks = {n: {"external": True, "name": f"{self.shop}_{n}"} if external else {"driver": "overlay", "attachable": True} for n in ("front", "back")}
            made = {"version": "3.8", "networks": networks, "services": {}}
            for key, s in services.items():
                made["services"][key] = {
                    "image": self.tags[s.image], "environment": s.env, "networks": s.networks, "healthcheck": {"disable": True}, "volumes": self._binds(),
                    **({"command": s.command} if s.command else {}),
                    **({"ports": [{"target": s.publish, "published": self.port, "protocol": "tcp", "mode": "host"}]} if s.publish else {}),
                    "deploy": {"endpoint_mode": "dnsrr", "replicas": s.replicas, "restart_policy": {"condition": "any", "delay": "1s"}}}
            self.docker.docker("stack", "deploy", "--resolve-image", "never", "-c", "-", stack, input=json.dumps(made))

    def _look(self):
        """Which containers there are, and who has which address."""
        self.by_id, self.addresses = {}, {}
        for c in self.engine.call("GET", "/containers/json"):
            labels = c["Labels"]
            application = labels.get("com.docker.compose.project") or labels.get("com.docker.stack.namespace")
            if application not in (self.shop, self.office):
                continue
            key = labels.get("com.docker.compose.service") or labels["com.docker.swarm.service.name"].removeprefix(f"{application}_")
            workload = key if self.form == "compose" else f"{application}_{key}"
            s = SHOP.get(key) or OFFICE[key]
            self.by_id[c["Id"]] = {"id": c["Id"], "name": c["Names"][0].lstrip("/"), "service": key, "application": application, "workload": workload,
                                   "image": s.image}
        for ident, c in self.by_id.items():
            found = self.engine.call("GET", f"/containers/{ident}/json")
            c["pid"] = found["State"]["Pid"]
            c["exe"] = exe_of(c["pid"]) if c["pid"] else ""
            c["networks"] = {n: v["IPAddress"] for n, v in found["NetworkSettings"]["Networks"].items()}
        for n in self.engine.call("GET", "/networks"):
            for ident, e in (self.engine.call("GET", f"/networks/{n['Id']}")["Containers"] or {}).items():
                if ident in self.by_id:
                    self.addresses[e["IPv4Address"].split("/")[0]] = ident

    def of(self, key):
        return sorted((c for c in self.by_id.values() if c["service"] == key), key=lambda c: c["name"])

    def close(self):
        self.sockets.close()
        if self.form == "swarm":
            for stack in (self.office, self.shop):
                self.docker.docker("stack", "rm", stack, check=False)
        else:
            ids = [c["Id"] for c in self.engine.call("GET", "/containers/json", all=1)
                   if c["Labels"].get("com.docker.compose.project") in (self.shop, self.office)]
            if ids:
                self.docker.docker("rm", "-f", "-v", *ids, check=False)
            for key in ("front", "back"):
                self.docker.docker("network", "rm", f"{self.shop}_{key}", check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- traffic ----

    def order(self, container, **what):
        name = container["id"][:12]
        fd = os.open(self.ctl / f"{name}.in", os.O_WRONLY)
        os.write(fd, json.dumps(what).encode() + b"\n")
        os.close(fd)
        self.orders[name] += 1

    def records(self, container):
        path = self.ctl / f"{container['id'][:12]}.out"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line]

    def wait_done(self, deadline=60.0):
        def done():
            missing = {n: f"{k} ordered" for n, k in self.orders.items()
                       if sum("done" in r for r in self.records({"id": n})) < k}
            return not missing, missing
        wait_for(done, deadline, "the services have done their work")
        errors = [r["error"] for c in self.by_id.values() for r in self.records(c) if "error" in r]
        assert not errors, errors

    def visit(self, address, port, path, n=1):
        """HTTP requests of this process, a process of the host, each on a connection of its own."""
        for _ in range(n):
            head = f"GET {path} HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: a user of the host/1.0\r\nConnection: close\r\n\r\n".encode()
            s = self.sockets()
            s.settimeout(30)
            s.connect((address, port))
            s.sendall(head)
            got = 0
            while (data := s.recv(65536)):
                got += len(data)
            s.close()
            assert got > 300, got
            self.mine.append({"proto": "tcp", "target": "web", "port": WEB_PORT, "out": len(head), "got": got, "result": "ok", "protocol": "http/1"})

    def node_address(self):
        """One of the node's own addresses that is not the loopback: a bridge's."""
        out = subprocess.run(["nsenter", f"--net={self.docker.netns}", "ip", "-4", "-o", "addr"], capture_output=True, text=True, check=True, env=system_env()).stdout
        return next(line.split()[3].split("/")[0] for line in out.splitlines() if line.split()[1] != "lo")

    def work(self, n=1):
        """Some of everything."""
        for c in self.of("worker"):
            self.order(c, do="redis", host="sessions", n=10 * n, size=300)
            self.order(c, do="pg", host="db", n=3 * n)
            self.order(c, do="http", host="cart", port=8000, n=6 * n, path="/cart?size=2000", body=500)
            self.order(c, do="udp", host="metrics", port=8125, n=20 * n, size=120)
            self.order(c, do="udp", host="metrics", port=8125, n=5 * n, size=120, reply=400)
            self.order(c, do="http", host="pay", port=81, n=3 * n)  # refused
        reports, = self.of("reports")
        self.order(reports, do="pg", host="db", n=4 * n, rows=2000)
        self.order(reports, do="sink", host="archive", port=9000, n=3 * n, size=200000)
        self.order(reports, do="http", host="static", port=80, n=5 * n, path="/page")
        self.order(reports, do="http", host="web", port=80, n=4 * n, path="/?size=900")
        self.visit("127.0.0.1", self.port, "/home?size=4000", 8 * n)              # by docker-proxy
        self.visit(self.node_address(), self.port, "/home?size=3000", 6 * n)      # by DNAT
        web, = self.of("web")
        direct = web["networks"].get(f"{self.shop}_front")
        if self.form == "compose":
            self.visit(direct, 80, "/home?size=2000", 4 * n)                      # to the container's own address
        self.wait_done()

    def truth(self):
        """All that was done until now."""
        t = Truth()
        for c in self.by_id.values():
            t.container(c["id"], c["application"], c["workload"], c["name"])
        for c in self.by_id.values():
            for r in self.records(c):
                if "proto" in r:
                    self._add(t, Truth.of(c["id"]), c["exe"], r["ip"], r)
        web, = self.of("web")
        log = self.ctl / "web.nginx"
        for line in log.read_text().splitlines() if log.exists() else ():
            r = json.loads(line)
            assert r["status"] == "200", r
            ip, port = r["to"].split(":")
            self._add(t, Truth.of(web["id"]), web["exe"], ip, {"proto": "tcp", "port": int(port), "out": int(r["out"]), "got": int(r["got"]), "result": "ok",
                                                               "protocol": "http/1"})
        for r in self.mine:
            self._add(t, HOST, exe_of("self"), web["networks"].get(f"{self.shop}_front") or next(iter(web["networks"].values())), r)
        db, = self.of("db")
        for path in ("/var/run/postgresql/.s.PGSQL.5432", "/run/postgresql/.s.PGSQL.5432"):  # its own start
            t.add(Truth.of(db["id"]), Truth.of(db["id"]), "unix", path, maybe=True,
                  loose=("connections", "open", "bytes_out", "bytes_in", "refused", "failed", "clients", "servers"))
        return t

    def _add(self, truth, source, exe, ip, r):
        target = self.by_id[self.addresses[ip]]
        result = r["result"]
        counts = {"connections": 1} if result == "ok" else {} if result == "held" else {result: 1}
        served = result in ("ok", "held")
        truth.add(source, Truth.of(target["id"]), r["proto"], r["port"], protocol=r.get("protocol") if served else None, client=exe,
                  server=target["exe"] if served else None, bytes_out=r["out"], bytes_in=r["got"], open=r.get("open", 0),
                  loose=("connections",) if r["proto"] == "udp" else (), **counts)
