"""The two forms that the demo's applications take on an engine: Compose projects and Swarm stacks, from the same files (shop.yml, office.yml).

Everything that is made carries the label bulkhead.demo=1; clean() removes all that has it, whoever made it and whatever became of him.
"""
import concurrent.futures
import copy
import json
import os
import pathlib
import subprocess
import time

import yaml

from .engine import EngineError
from .images import LABEL

HERE = pathlib.Path(__file__).resolve().parent
APPLICATIONS = ("shop", "office")
LABELS = {LABEL: "1"}
GATEWAY = "docker_gwbridge"
INGRESS_ENDPOINT = "gateway_ingress-sbox"
LOOPBACK_ONLY = "com.docker.network.bridge.host_binding_ipv4"
KNOWN = {"image", "environment", "networks", "volumes", "deploy", "x-publish"}


class DemoError(RuntimeError):
    """The demo cannot go on; the text says why and what to do."""


def definition(application):
    """An application's file."""
    made = yaml.safe_load((HERE / f"{application}.yml").read_text())
    for name, service in made["services"].items():
        assert set(service) <= KNOWN, f"{application}.yml: {name}: {set(service) - KNOWN} is not known to {__file__}"
    return made


def networks_of(service):
    """network -> names of the service in it, besides its own."""
    wanted = service["networks"]
    if isinstance(wanted, list):
        return {n: [] for n in wanted}
    return {n: (more or {}).get("aliases", []) for n, more in wanted.items()}


def merge(into, more):
    """Values of `more` over those of `into`; dictionaries are merged, lists joined."""
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key] = into[key] + value
        else:
            into[key] = copy.deepcopy(value)
    return into


def refuse_foreign(engine):
    """DemoError when things of others have the names that ours would get: a volume of that name would be used, a stack changed."""
    names = set(APPLICATIONS)
    for application in APPLICATIONS:
        made = definition(application)
        names |= {f"{application}_{key}" for what in ("networks", "volumes", "services") for key in made[what]}
    there = [(f"container {c['Names'][0].lstrip('/')}", c["Labels"].get("com.docker.compose.project"))
             for c in engine.call("GET", "/containers/json", all=1)]
    there += [(f"network {n['Name']}", n["Name"]) for n in engine.call("GET", "/networks")]
    there += [(f"volume {v['Name']}", v["Name"]) for v in engine.call("GET", "/volumes")["Volumes"] or []]
    if _manager(engine):
        there += [(f"service {s['Spec']['Name']}", s["Spec"]["Labels"].get("com.docker.stack.namespace")) for s in engine.call("GET", "/services")]
    foreign = [text for text, name in there if name in names]
    if foreign:
        raise DemoError(f"the demo's applications are named {' and '.join(APPLICATIONS)}, and this engine has others of such names: "
                        f"{', '.join(foreign)}. Remove or rename those, or run the demo on another machine")


class Compose:
    """Labels, names and networks as `docker compose` makes them, through the engine's API: Debian 12 has no such command for its engine."""

    name = "compose"

    def __init__(self, engine, replicas, overrides, ports, given_up):
        self.engine, self.replicas, self.overrides, self.ports, self.given_up = engine, replicas, overrides, ports, given_up

    def up(self):
        containers = []
        for project in APPLICATIONS:
            made = definition(project)
            names = {}
            for key, options in made["networks"].items():
                names[key] = key if options.get("external") else f"{project}_{key}"
                if not options.get("external"):
                    self.engine.call("POST", "/networks/create", {
                        "Name": names[key], "Driver": "bridge", "CheckDuplicate": True, "Attachable": True,
                        "Labels": {**LABELS, "com.docker.compose.project": project, "com.docker.compose.network": key}})
            for key in made["volumes"]:
                self.engine.call("POST", "/volumes/create", {
                    "Name": f"{project}_{key}",
                    "Labels": {**LABELS, "com.docker.compose.project": project, "com.docker.compose.volume": key}})
            for key, service in made["services"].items():
                for number in range(1, self.replicas.get(key, service["deploy"].get("replicas", 1)) + 1):
                    containers.append((project, key, number, service, names))
        # Two at a time: starting one waits mostly for the kernel. The database first, it takes longest.
        containers.sort(key=lambda c: c[1] != "db")
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(self._run, *c) for c in containers]:
                done.result()

    def again(self, project, key):
        """A service's first container, which was removed, comes back, as whoever runs it would see to."""
        made = definition(project)
        self._run(project, key, 1, made["services"][key], {k: k if o.get("external") else f"{project}_{k}" for k, o in made["networks"].items()})

    def _run(self, project, key, number, service, names):
        if self.given_up.is_set():
            raise DemoError("given up")
        nets = networks_of(service)
        first, *others = nets
        body = {
            "Image": service["image"], "Env": [f"{k}={v}" for k, v in service.get("environment", {}).items()],
            "Labels": {**LABELS, "com.docker.compose.project": project, "com.docker.compose.service": key,
                       "com.docker.compose.container-number": str(number), "com.docker.compose.oneoff": "False",
                       "com.docker.compose.project.config_files": f"{project}.yml", "com.docker.compose.version": "2.0.0"},
            "HostConfig": {"Binds": [f"{project}_{v}" for v in service.get("volumes", [])], "NetworkMode": names[first],
                           "RestartPolicy": {"Name": "unless-stopped"}},
            "NetworkingConfig": {"EndpointsConfig": {names[first]: {"Aliases": [key, *nets[first]]}}}}
        if "x-publish" in service:
            port = self.ports.get(key, 0)
            body["HostConfig"]["PortBindings"] = {f"{service['x-publish']}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port or "")}]}
        merge(body, self.overrides.get(key, {}))
        ident = self.engine.call("POST", "/containers/create", body, name=f"{project}-{key}-{number}")["Id"]
        for name in others:
            self.engine.call("POST", f"/networks/{names[name]}/connect", {"Container": ident, "EndpointConfig": {"Aliases": [key, *nets[name]]}})
        self.engine.call("POST", f"/containers/{ident}/start")

    @staticmethod
    def service_label(application, service):
        return [f"com.docker.compose.project={application}", f"com.docker.compose.service={service}"]

    @staticmethod
    def workload(application, service):
        return service

    def restart(self, ident):
        self.engine.call("POST", f"/containers/{ident}/restart?t=10")


class Swarm:
    """`docker stack deploy` of the same files. Without IPVS no service has a virtual address: names lead to tasks (dnsrr)."""

    name = "swarm"

    def __init__(self, engine, replicas, overrides, ports, given_up, placement=None):
        if overrides:
            raise DemoError("a stack has no way to say what the overrides say: use the compose form")
        self.engine, self.replicas, self.ports, self.placement = engine, replicas, ports, placement or {}

    def up(self):
        self._join()
        node = self.engine.call("GET", "/info")["Swarm"]["NodeID"]
        # A stack cannot say which address a port is bound to; the bridge can. One that others made (or will make) may bind to all: no port, then.
        gateway = self.engine.find(f"/networks/{GATEWAY}")
        publish = gateway is not None and gateway["Options"].get(LOOPBACK_ONLY) == "127.0.0.1"
        for stack in APPLICATIONS:
            self._deploy(stack, self._stack(stack, publish, node))

    def _join(self):
        state = self.engine.call("GET", "/info")["Swarm"]
        if state["LocalNodeState"] == "active":
            if not state["ControlAvailable"]:
                raise DemoError("this engine is a worker of a swarm: run the demo on a manager, or without --swarm")
            return
        if self.engine.find(f"/networks/{GATEWAY}") is None:
            self.engine.call("POST", "/networks/create", {
                "Name": GATEWAY, "Driver": "bridge", "Labels": LABELS,
                "Options": {"com.docker.network.bridge.name": GATEWAY, "com.docker.network.bridge.enable_icc": "false",
                            "com.docker.network.bridge.enable_ip_masquerade": "true", LOOPBACK_ONLY: "127.0.0.1"}})
        self.engine.call("POST", "/swarm/init", {
            "ListenAddr": "127.0.0.1:2377", "AdvertiseAddr": "127.0.0.1", "DataPathAddr": "127.0.0.1",
            "DefaultAddrPool": ["10.253.0.0/16"], "SubnetSize": 24, "Spec": {"Labels": LABELS}})

    def _stack(self, stack, publish, node):
        made = definition(stack)
        for key, service in made["services"].items():
            service["labels"] = dict(LABELS)
            deploy = service["deploy"]
            deploy["labels"] = dict(LABELS)
            deploy["replicas"] = self.replicas.get(key, deploy.get("replicas", 1))
            deploy["restart_policy"] = {"condition": "any", "delay": "1s"}
            deploy["placement"] = {"constraints": [f"node.id == {self.placement.get(key, node)}"]}
            port = service.pop("x-publish", None)
            if port and publish:
                service["ports"] = [{"target": port, "published": self.ports.get(key, 0), "protocol": "tcp", "mode": "host"}]
        for options in made["networks"].values():
            if not options.get("external"):
                options.update(driver="overlay", labels=dict(LABELS))
        made["volumes"] = {key: {"labels": dict(LABELS)} for key in made["volumes"]}
        return made

    def _deploy(self, stack, made):
        r = subprocess.run(["docker", "--host", self.engine.host, "stack", "deploy", "--resolve-image", "never", "-c", "-", stack],
                           input=json.dumps(made), text=True, capture_output=True, timeout=120,
                           env={k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")})
        if r.returncode != 0:
            raise DemoError(f"docker stack deploy {stack}: {r.stderr.strip()}")

    @staticmethod
    def service_label(application, service):
        return [f"com.docker.stack.namespace={application}", f"com.docker.swarm.service.name={application}_{service}"]

    @staticmethod
    def workload(application, service):
        return f"{application}_{service}"

    def restart(self, ident):
        """The swarm starts another in its place."""
        self.engine.call("POST", f"/containers/{ident}/stop?t=10")


# ---- the end ----

def _labelled(engine, what):
    query = {"filters": {"label": [f"{LABEL}=1"]}}
    if what == "containers":
        return [c["Id"] for c in engine.call("GET", "/containers/json", all=1, **query)]
    if what == "volumes":
        return [v["Name"] for v in engine.call("GET", "/volumes", **query)["Volumes"] or []]
    if what == "images":
        return [i["Id"] for i in engine.call("GET", "/images/json", all=1, **query)]
    if what == "networks":
        return [n["Id"] for n in engine.call("GET", "/networks", **query)]
    return [s["ID"] for s in engine.call("GET", f"/{what}", **query)]


def _manager(engine):
    return engine.call("GET", "/info")["Swarm"].get("ControlAvailable", False)


def leftovers(engine):
    """What of the demo is in this engine: [] after clean()."""
    out = [f"{what[:-1]} {ident}" for what in ("containers", "networks", "volumes", "images") for ident in _labelled(engine, what)]
    if _manager(engine):
        out += [f"service {ident}" for ident in _labelled(engine, "services")]
        if engine.call("GET", "/swarm")["Spec"].get("Labels", {}).get(LABEL):
            out.append("swarm")
    return out


def clean(engine, images=True, deadline=90.0):
    """Removes everything of the demo, of this run and of earlier ones, and leaves a swarm that the demo made. Returns what would not go."""
    end = time.monotonic() + deadline
    problem = None
    while True:
        problem = None
        try:
            if _clean_once(engine, images):
                break
        except EngineError as e:  # in use still, mostly
            problem = e
        if time.monotonic() > end:
            break
        time.sleep(0.3)
    left = [x for x in leftovers(engine) if images or not x.startswith("image ")]
    return left + [str(problem)] * bool(left and problem)


def _clean_once(engine, images):
    """True when all is gone."""
    manager = _manager(engine)
    for ident in _labelled(engine, "services") if manager else ():
        engine.remove(f"/services/{ident}")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda c: engine.remove(f"/containers/{c}?force=1&v=1"), _labelled(engine, "containers")))
    if _labelled(engine, "containers"):
        return False  # a task that was on its way
    for ident in _labelled(engine, "networks"):
        if not _is_gateway(engine, ident):  # the swarm's own ones need it until the end
            engine.remove(f"/networks/{ident}")
    for name in _labelled(engine, "volumes"):
        engine.remove(f"/volumes/{name}")
    for ident in _labelled(engine, "images") if images else ():
        engine.remove(f"/images/{ident}?force=1")
    if manager and engine.call("GET", "/swarm")["Spec"].get("Labels", {}).get(LABEL):
        engine.call("POST", "/swarm/leave?force=1")
    for ident in _labelled(engine, "networks"):
        if _is_gateway(engine, ident):
            _free_gateway(engine, ident)
        engine.remove(f"/networks/{ident}")
    return not [x for x in leftovers(engine) if images or not x.startswith("image ")]


def _free_gateway(engine, ident):
    """An engine that leaves its swarm now and then forgets to take the ingress sandbox off the gateway bridge, which then cannot be removed."""
    found = engine.find(f"/networks/{ident}") or {}
    for endpoint in (found.get("Containers") or {}).values():
        if endpoint.get("Name") == INGRESS_ENDPOINT:
            engine.call("POST", f"/networks/{ident}/disconnect", {"Container": INGRESS_ENDPOINT, "Force": True})


def _is_gateway(engine, ident):
    found = engine.find(f"/networks/{ident}")
    return found is not None and found["Name"] == GATEWAY
