"""A10 on two nodes: an attack goes from a container of one node into one of another, over an overlay network of both, and from there to that node itself. It is one incident.

Both nodes are engines in network namespaces of this machine's one kernel, so that each sensor sees all processes: what a node of its own would not have seen is taken out between sensor and central.
"""
import json
import subprocess

import central_env
import pytest
from boxes import Box
from central_env import parse
from docker_env import wait_for
from test_attacks import OUT, SHELL, World
from test_map_nodes import NAMES, Node, Relay, changed
from test_resources_nodes import ADDRESSES, NamedSensor, joined
from test_rules_default import IMAGE, KINDS, cgroup_mount, make_image

TAG = "a10n"
CONTAINER = 8  # of a Finding


class FindingRelay(Relay):
    """As for the map, and with the findings of this node's own containers alone, wherever their processes are."""

    def filtered(self, topic, body):
        if topic == "finding":
            fields = parse(body)
            # the container of what happened in one, and for what happened on the node the one that it came from, as the text says
            container = fields.get(CONTAINER, [b""])[0].decode()
            whole = json.dumps([v.decode(errors="replace") for values in fields.values() for v in values if isinstance(v, bytes)])
            foreign = {i for o in self.others for i in o.ids}
            if container in foreign or (not container and any(i in whole or i[:12] in whole for i in foreign)):
                return changed(body, 4, lambda _: b"debug")  # joins nothing that it does not belong to, and begins nothing
        return super().filtered(topic, body)


@pytest.fixture(scope="module")
def nodes(build):
    with joined(lambda engine: make_image(engine, build)) as engines:
        yield [Node(*row) for row in zip(NAMES, ADDRESSES, engines)]


@pytest.mark.deadline(300)
def test_an_attack_over_two_nodes_is_one_incident(build, nodes, tmp_path, backend):
    first, second = nodes
    scratch = "for d in /etc/cron.d; do mount -t tmpfs none $d; done; exec sleep 300"
    host = subprocess.Popen(["unshare", "-m", "sh", "-ec", f"mount -t tmpfs none /run; mkdir -p /run/e /run/w; mount -t overlay -o lowerdir=/etc,upperdir=/run/e,workdir=/run/w none /etc; {scratch}"])
    first.engine.docker("network", "create", "-d", "overlay", "--attachable", TAG)
    boxes = []
    try:
        with central_env.Central(build) as central:
            relays = [FindingRelay(tmp_path / f"{n.name}.sock", f"{central.run_dir}/central/bus.sock", n, [o for o in nodes if o is not n]) for n in nodes]
            sensors = [NamedSensor(n.name, build, netns=n.engine.netns, docker_host=n.engine.host, backend=backend, args=["--bus", f"unix:{r.path}", "--no-containerd", "--no-web", "--no-calls"])
                       for n, r in zip(nodes, relays)]
            with sensors[0], sensors[1]:
                root = central.root()
                place = {}
                for name, node, kind in (("front", first, "plain"), ("service", second, "plain"), ("db", second, "mighty")):
                    labels = ["--label", f"com.docker.compose.project={TAG}", "--label", f"com.docker.compose.service={name}"]
                    place[name] = Box(node.engine, f"{TAG}-{name}", "--network", TAG, *labels, *KINDS[kind], image=IMAGE)
                    boxes.append(place[name])
                    node.has(place[name].id, float("inf"))
                address = {n: b.docker.inspect(b.name)["NetworkSettings"]["Networks"][TAG]["IPAddress"] for n, b in place.items()}

                def known(name):
                    rows = [c for c in root.get("/api/v1/containers?limit=500").json["containers"] if c["name"] == f"{TAG}-{name}" and c["node"] == (NAMES[0] if name == "front" else NAMES[1])]
                    return any(n["ip"] == address[name] for c in rows for n in c["networks"]), rows
                for name in place:
                    wait_for(lambda name=name: known(name), 40, f"the address of {name} is known")
                words = {"node": host.pid, "cgroup": cgroup_mount(sensors[1]), **address}
                for name, command in (("front", SHELL), ("front", "cp /usr/bin/visit /opt/v; /opt/v far {service}:8080; true"), ("service", "cat /etc/shadow"),
                                      ("service", "cp /usr/bin/visit /opt/v; /opt/v far {db}:5432; true"), ("db", "cat /root/.ssh/id_rsa"), ("db", OUT % "echo x >/etc/cron.d/bh-nodes")):
                    place[name].run(command.format(**words) if "{" in command else command, ok=None)
                for box in boxes:
                    box.close()
                boxes = []

                def ours():
                    found = root.get("/api/v1/incidents?limit=100").json["incidents"]
                    wholes = [root.get(f"/api/v1/incidents/{i['id']}").json for i in found]
                    return [w for w in wholes if w["state"] != "merged" and any(c["name"].startswith(TAG) for c in w["containers"])]

                def told():
                    now = ours()
                    rules = {rule for w in now for rule in World.rules(w)}
                    return len(now) == 1 and {"Scheduled job written", "Password hashes read", "Server program started a shell"} <= rules, [(w["id"], w["title"], [(x["rule"], x["node"], x["container_name"], x["joined_by"]) for x in w["timeline"]]) for w in now]
                wait_for(told, 40, "one incident of three containers on two nodes")
                i = ours()[0]
                where = {c["name"]: c["node"] for c in i["containers"]}
                assert where == {f"{TAG}-front": NAMES[0], f"{TAG}-service": NAMES[1], f"{TAG}-db": NAMES[1]}, i["containers"]
                assert i["timeline"][0]["container_name"] == f"{TAG}-front", i["timeline"][0]
                reached = [x["container_name"] for x in i["timeline"] if x["joined_by"] == "reached"]
                assert reached, "the connections are what ties them"
                print(i["title"], i["story"], sep="\n")
            for r in relays:
                r.close()
    finally:
        for box in boxes:
            box.close()
        host.kill()
        host.wait()
        wait_for(lambda: first.engine.docker("network", "rm", TAG, check=False).returncode == 0, 40, "the network can be removed")
