"""What a node tells beside containers, and all that it tells of a container: a real engine, alone in its Swarm, with a sensor and a central."""
import json
import re
import subprocess
import time

import central_env
import docker_env
import pytest
import sensor_env
from docker_env import BASE_IMAGE, system_env, wait_for

ADDRESS = "10.253.1.1"


def in_netns(engine, *argv):
    subprocess.run(["nsenter", f"--net={engine.netns}", *argv], check=True, capture_output=True, env=system_env())


@pytest.fixture(scope="module")
def swarm(build):
    """An engine in a network namespace of its own that is a Swarm of one node."""
    with docker_env.DockerEnv(netns=True) as engine:
        engine.import_base_image(build)
        in_netns(engine, "ip", "link", "add", "swarm0", "type", "bridge")
        in_netns(engine, "ip", "addr", "add", f"{ADDRESS}/24", "dev", "swarm0")
        in_netns(engine, "ip", "link", "set", "swarm0", "up")
        engine.docker("swarm", "init", "--advertise-addr", ADDRESS, "--listen-addr", f"{ADDRESS}:2377", "--data-path-addr", ADDRESS)
        yield engine
    left = engine.leftovers()
    assert not left, f"expected the engine to leave nothing behind, saw {left}"


@pytest.fixture(scope="module")
def platform(build, swarm):
    """(central's administrator, sensor) beside that engine."""
    with central_env.Central(build) as central:
        with sensor_env.Sensor(build, docker_host=swarm.host, args=["--bus", f"unix:{central.run_dir}/central/bus.sock"]) as sensor:
            yield central.root(), sensor


def resources(admin, **filters):
    query = "&".join(f"{k}={v}" for k, v in {"limit": 1000, **filters}.items())
    answer = admin.get(f"/api/v1/resources?{query}")
    assert answer.status == 200, answer
    return answer.json["resources"]


def one(admin, deadline=15.0, until=lambda r: True, **filters):
    """The resource that these filters leave, once `until` holds for it."""
    def look():
        found = [r for r in resources(admin, **filters) if until(r)]
        return (True, found[0]) if len(found) == 1 else (False, resources(admin, **filters))
    return wait_for(look, deadline, f"one resource {filters}")


def container(admin, ident, until=lambda c: True, deadline=15.0):
    def look():
        answer = admin.get(f"/api/v1/containers/{ident}")
        return (True, answer.json) if answer.status == 200 and until(answer.json) else (False, answer)
    return wait_for(look, deadline, f"container {ident} as expected")


def test_networks_volumes_images_of_the_engine(swarm, platform):
    admin, _ = platform
    swarm.docker("network", "create", "--subnet", "10.252.9.0/24", "--gateway", "10.252.9.7", "--label", "com.docker.compose.project=shop", "res-net")
    swarm.docker("volume", "create", "--label", "team=a", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=size=1m,uid=4711", "res-vol")
    network_id = swarm.docker("network", "inspect", "-f", "{{.Id}}", "res-net").stdout.strip()

    net = one(admin, kind="network", id=network_id)
    assert net["name"] == "res-net" and net["application"] == "shop" and net["scope"] == "node" and net["source"] == "docker", net
    assert net["detail"]["driver"] == "bridge" and net["detail"]["bridge"] == f"br-{network_id[:12]}", net
    assert net["detail"]["subnets"] == [{"subnet": "10.252.9.0/24", "gateway": "10.252.9.7"}], net

    volume = one(admin, kind="volume", id="res-vol")
    assert volume["labels"] == {"team": "a"} and volume["detail"]["driver"] == "local", volume
    assert volume["detail"]["option_names"] == ["device", "o", "type"] and "4711" not in json.dumps(volume), volume

    image = one(admin, kind="image", until=lambda r: BASE_IMAGE in r["detail"].get("tags", []))
    assert image["name"] == BASE_IMAGE and image["detail"]["size"] > 100_000, image
    # Each default network has a subnet and a gateway, which the map needs to know the node by.
    bridge = one(admin, kind="network", scope="node", search="bridge", until=lambda r: r["name"] == "bridge")
    assert bridge["detail"]["bridge"] == "docker0" and bridge["detail"]["subnets"][0]["gateway"], bridge

    swarm.docker("network", "rm", "res-net")
    swarm.docker("volume", "rm", "res-vol")
    wait_for(lambda: not resources(admin, kind="network", id=network_id) and not resources(admin, kind="volume", id="res-vol"), 15, "what was removed is gone")


def test_a_stack_with_its_services_tasks_configs_and_secrets_by_name(swarm, platform):
    admin, _ = platform
    swarm.docker("network", "create", "-d", "overlay", "--label", "com.docker.stack.namespace=shop", "shop_net")
    swarm.docker("config", "create", "--label", "com.docker.stack.namespace=shop", "shop_conf", "-", input="colour=vermilion")
    swarm.docker("secret", "create", "--label", "com.docker.stack.namespace=shop", "--label", "hint=the dog", "shop_secret", "-", input="hunter2")
    swarm.docker("service", "create", "--detach", "--no-resolve-image", "--name", "shop_web", "--label", "com.docker.stack.namespace=shop", "--container-label",
                 "com.docker.stack.namespace=shop", "--replicas", "2", "--endpoint-mode", "dnsrr", "--network", "shop_net", "--publish",
                 "mode=host,target=80,published=8099,protocol=tcp", "--env", "TOKEN=hunter3", "--config", "shop_conf", "--secret", "shop_secret", "--limit-memory", "64m",
                 BASE_IMAGE, "sleep", "1000")
    try:
        # the port on the node is taken by the first replica; the other one waits
        service = one(admin, 30, kind="service", until=lambda r: r["detail"]["running"] == 1)
        detail = service["detail"]
        assert service["name"] == "shop_web" and service["application"] == "shop" and service["source"] == "swarm" and service["scope"].startswith("swarm:"), service
        assert (detail["mode"], detail["replicas"], detail["image"], detail["endpoint_mode"]) == ("replicated", 2, BASE_IMAGE, "dnsrr"), detail
        assert detail["ports"] == [{"protocol": "tcp", "target": 80, "published": 8099, "mode": "host"}], detail
        assert detail["env_names"] == ["TOKEN"] and detail["memory_limit"] == 64 << 20, detail
        assert detail["configs"] == ["shop_conf"] and detail["secrets"] == ["shop_secret"], detail
        network_id = swarm.docker("network", "inspect", "-f", "{{.Id}}", "shop_net").stdout.strip()
        assert [n["network"] for n in detail["networks"]] == [network_id], detail

        task = one(admin, kind="task", application="shop", until=lambda r: r["detail"]["state"] == "running")
        running = swarm.docker("ps", "-q", "--no-trunc", "--filter", "label=com.docker.swarm.service.name=shop_web", "--filter", "status=running").stdout.split()
        assert [task["detail"]["container"]] == running and task["detail"]["service"] == service["id"] and task["name"].startswith("shop_web."), (task, running)
        assert task["detail"]["networks"][0]["network"] == network_id and task["detail"]["networks"][0]["addresses"], task
        mine = container(admin, running[0], lambda c: c["level"] == "full")
        assert (mine["workload"], mine["application"]) == ("shop_web", "shop") and mine["memory_limit"] == 64 << 20, mine

        node = one(admin, kind="node", scope=service["scope"])
        own = one(admin, kind="node", scope="node", source="docker")
        assert node["id"] == task["detail"]["node"] == own["detail"]["swarm"]["node_id"] == own["id"], (node, own)
        assert (node["detail"]["role"], node["detail"]["state"], node["detail"]["address"], node["detail"]["leader"]) == ("manager", "ready", ADDRESS, True), node
        assert own["detail"]["swarm"] == {"state": "active", "node_id": node["id"], "address": ADDRESS, "cluster_id": service["scope"][6:], "role": "manager"}, own

        stack = one(admin, kind="stack", id="swarm:shop")
        assert stack["detail"] == {"source": "swarm", "services": ["shop_web"], "networks": ["shop_net"], "configs": ["shop_conf"], "secrets": ["shop_secret"]}, stack
        for kind, name in (("config", "shop_conf"), ("secret", "shop_secret")):
            thing = one(admin, kind=kind)
            assert (thing["name"], thing["application"], thing["labels"], thing["detail"]) == (name, "shop", {}, {}), thing
        # in the Swarm's scope once, and for the node that has it
        overlay = resources(admin, kind="network", id=network_id)
        assert {r["scope"] for r in overlay} == {"node", service["scope"]}, overlay
        assert all(r["detail"]["driver"] == "overlay" and r["detail"]["subnets"] for r in overlay), overlay
        everything = json.dumps(resources(admin))
        for secret in ("hunter2", "hunter3", "vermilion", "the dog"):
            assert secret not in everything, secret

        table = subprocess.run(sensor_cli(platform, "resources", "service"), check=True, capture_output=True, text=True, env=system_env()).stdout
        assert "shop_web" in table and "replicated 1 of 2" in table and "8099→80/tcp on its node" in table, table

        # the name of what it belongs to stays through scaling and a new image
        swarm.docker("service", "update", "--detach", "--no-resolve-image", "--replicas", "1", "--env-add", "MORE=1", "shop_web")
        again = wait_for(lambda: [t for t in resources(admin, kind="task", application="shop")
                                  if t["detail"]["state"] == "running" and t["detail"].get("container") not in ("", None, running[0])], 60, "a task with another container")
        other = container(admin, again[0]["detail"]["container"], lambda c: c["level"] == "full")
        assert (other["workload"], other["application"]) == ("shop_web", "shop") and other["id"] != mine["id"], other
    finally:
        swarm.docker("service", "rm", "shop_web", check=False)
        swarm.docker("secret", "rm", "shop_secret", check=False)
        swarm.docker("config", "rm", "shop_conf", check=False)
        wait_for(lambda: swarm.docker("network", "rm", "shop_net", check=False).returncode == 0, 30, "the network can be removed")
    wait_for(lambda: not resources(admin, kind="service") and not resources(admin, kind="stack", id="swarm:shop"), 20, "the stack is gone")


def sensor_cli(platform, *args):
    admin, sensor = platform
    return [sensor_env.program(sensor.build, "bulkhead"), "--run-dir", str(admin.central.run_dir), *args]


def test_all_of_a_container(swarm, platform):
    admin, sensor = platform
    ident = swarm.run("-d", "--name", "res-all", "--cap-add", "SYS_PTRACE", "--cap-drop", "MKNOD", "--security-opt", "no-new-privileges", "--memory", "32m", "--cpus", "0.5",
                      "--pids-limit", "77", "--restart", "on-failure:3", "--uts", "host", "--pid", "host", "-v", "/etc:/host-etc:ro", "-v", f"{swarm.host[7:]}:/docker.sock",
                      "-e", "PASSWORD=hunter4", "--health-cmd", "test -e /etc/passwd", "--health-interval", "1s", "--label", "team=a", "--read-only", BASE_IMAGE, "sleep", "1000")
    try:
        c = container(admin, ident, lambda c: c["level"] == "full" and c["init_pid"] and c["layers"] and c["net_ns"] and c["health"] == "healthy", 20)
        seen = swarm.inspect(ident)
        assert c["command"] == ["sleep", "1000"] and c["env_names"][0] == "PASSWORD" and "hunter4" not in json.dumps(c), c
        assert (c["memory_limit"], c["cpu_limit"], c["pids_limit"], c["restart_policy"]) == (32 << 20, 500_000_000, 77, "on-failure"), c
        assert c["no_new_privileges"] and c["host_uts"] and c["host_pid"] and not c["host_network"], c
        assert c["health_command"] == ["/bin/sh", "-c", "test -e /etc/passwd"], c
        assert c["layers"] == json.loads(swarm.docker("image", "inspect", BASE_IMAGE).stdout)[0]["RootFS"]["Layers"], c
        # against the kernel's own words
        with open(f"/proc/{c['init_pid']}/status") as f:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        import os
        assert c["net_ns"] == os.stat(f"/proc/{c['init_pid']}/ns/net").st_ino, c
        names = [n.strip() for n in CAPABILITIES.split()]
        assert set(c["capabilities"]) == {f"CAP_{names[i]}" for i in range(len(names)) if int(status["CapBnd"], 16) >> i & 1}, (c["capabilities"], status["CapBnd"])
        assert c["seccomp"] == ("default" if status["Seccomp"].strip() == "2" else "unconfined"), (c["seccomp"], status["Seccomp"])
        assert c["lsm"] == (f"apparmor:{seen['AppArmorProfile']}" if seen["AppArmorProfile"] else "unconfined"), (c["lsm"], seen["AppArmorProfile"])
        risks = "\n".join(c["risks"])
        assert "docker.sock is mounted at /docker.sock" in risks and "CAP_SYS_PTRACE" in risks and "host's /etc is mounted at /host-etc (read only)" in risks and \
            "process namespace" in risks and "UTS" in risks, risks

        # rules see the check and its processes; live, because recorded events carry no more of a container than its name and image
        follow = sensor.events(follow=True, type="exec", container="res-all", filter="proc.is_container_healthcheck = true and container.healthcheck contains 'test -e'")
        check = follow.wait(lambda e: e["type"] == "exec", 10, "the health check's process")
        assert "test -e /etc/passwd" in json.dumps(check), check
        follow.close()

        sharing = swarm.run("-d", "--name", "res-sharing", "--network", f"container:{ident}", BASE_IMAGE, "sleep", "1000")
        s = container(admin, sharing, lambda s: s["net_ns"] > 0)
        assert s["network_of"] == ident and s["net_ns"] == c["net_ns"], s

        text = subprocess.run(sensor_cli(platform, "containers", "res-all"), check=True, capture_output=True, text=True, env=system_env()).stdout
        assert re.search(r"^layers +sha256:[0-9a-f]{64}$", text, re.M) and re.search(r"^labels +\S+=", text, re.M) and re.search(r"^file system +read only$", text, re.M), text
        assert "0.50 CPUs" in text and "Ways to the host:" in text and "no new ones" in text and "PASSWORD" in text and "hunter4" not in text, text
    finally:
        swarm.remove(ident)
        swarm.docker("rm", "-f", "res-sharing", check=False)


CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK
IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL
SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"""


def test_runs_that_ended_are_remembered_and_the_ended_container_stays(swarm, platform):
    admin, _ = platform
    ident = swarm.run("-d", "--name", "res-runs", BASE_IMAGE, "sh", "-c", "exit 3")
    c = container(admin, ident, lambda c: c["state"] == "exited" and len(c["runs"]) == 1)
    assert c["runs"][0]["exit_code"] == 3 and not c["runs"][0]["oom_killed"] and c["runs"][0]["started"] <= c["runs"][0]["finished"], c["runs"]
    for n in range(2, 5):
        swarm.docker("start", ident)
        c = container(admin, ident, lambda c: c["state"] == "exited" and len(c["runs"]) >= n)
    time.sleep(1.5)  # an inspect that comes late must not make another run of the last one
    c = container(admin, ident)
    ends = [r["finished"] for r in c["runs"]]
    assert len(ends) == 4 and ends == sorted(ends, reverse=True) and {r["exit_code"] for r in c["runs"]} == {3}, c["runs"]
    swarm.remove(ident)
    c = container(admin, ident, lambda c: c["state"] == "removed" and c["ended"])
    assert len(c["runs"]) == 4 and c["name"] == "res-runs", c


def test_who_asked_for_a_container_and_for_its_run(swarm, platform):
    admin, _ = platform
    client = subprocess.run(["readlink", "-f", "/usr/bin/docker"], check=True, capture_output=True, text=True).stdout.strip()
    own = swarm.run("-d", "--name", "res-asked", BASE_IMAGE, "sleep", "1000")
    boxed = swarm.run("-d", "--name", "res-asker", "-v", f"{swarm.host[7:]}:/the.sock", "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", BASE_IMAGE, "sleep", "1000")
    try:
        c = container(admin, own, lambda c: c["created_by"] and c["started_by"])
        for by in (c["created_by"], c["started_by"]):
            assert f"{client} (user root, pid " in by or f"{client} (uid 0, pid " in by, by
            assert " container " not in by, by
        swarm.docker("stop", "-t", "0", own)
        swarm.docker("start", own)
        again = container(admin, own, lambda d: d["started_by"] != c["started_by"] and d["started_by"])
        assert again["created_by"] == c["created_by"], (c["created_by"], again["created_by"])
        # one process after the other: it is never the one before, however late the kernel's word comes
        for i in range(3):
            with subprocess.Popen(["docker", "--host", swarm.host, "run", "-d", "--name", f"res-asked-{i}", BASE_IMAGE, "sleep", "1000"], stdout=subprocess.PIPE, text=True, env=system_env()) as p:
                ident = p.stdout.read().strip()
            d = container(admin, ident, lambda d: d["created_by"] and d["started_by"])
            assert f"pid {p.pid})" in d["created_by"] and f"pid {p.pid})" in d["started_by"], (p.pid, d["created_by"], d["started_by"])
        # by a process in a container that has the socket by another name
        swarm.docker("exec", "res-asker", client, "-H", "unix:///the.sock", "create", "--name", "res-inner", BASE_IMAGE, "true")
        inner = container(admin, "res-inner", lambda c: c["created_by"])
        assert f"{client} (" in inner["created_by"] and ") in container res-asker" in inner["created_by"], inner["created_by"]
    finally:
        swarm.remove(own, boxed)
        swarm.docker("rm", "-f", "res-inner", *(f"res-asked-{i}" for i in range(3)), check=False)


def test_who_asked_for_a_containers_end(swarm, platform):
    admin, _ = platform

    def client(*words):
        with subprocess.Popen(["docker", "--host", swarm.host, *words], stdout=subprocess.DEVNULL, env=system_env()) as p:
            pass
        assert p.returncode == 0, words
        return p.pid
    # it lives on after a hangup, and ends by itself when it is told so; the other way round it is stopped by the signal that its image wants
    own = swarm.run("-d", "--name", "res-ends", BASE_IMAGE, "sh", "-c", "trap : HUP; while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 4")
    asked = swarm.run("-d", "--name", "res-ended", "--stop-signal", "USR1", BASE_IMAGE, "sh", "-c", "trap 'exit 5' USR1; while :; do sleep 0.1; done")
    try:
        container(admin, asked, lambda c: c["state"] == "running")
        client("kill", "-s", "HUP", own)
        swarm.docker("exec", own, "touch", "/tmp/end")
        c = container(admin, own, lambda c: c["state"] == "exited")
        assert c["exit_code"] == 4 and c["ended_by"] == "", c
        pid = client("stop", asked)
        c = container(admin, asked, lambda c: c["state"] == "exited" and c["ended_by"])
        assert c["exit_code"] == 5 and f"pid {pid})" in c["ended_by"], (pid, c["ended_by"])
        swarm.docker("start", asked)
        assert container(admin, asked, lambda c: c["state"] == "running" and not c["ended_by"])
        pid = client("kill", asked)
        c = container(admin, asked, lambda c: c["state"] == "exited" and c["ended_by"])
        assert c["exit_code"] == 137 and f"pid {pid})" in c["ended_by"], (pid, c["ended_by"])
    finally:
        swarm.remove(own, asked)


def test_compose_projects_are_stacks(swarm, platform):
    admin, _ = platform
    ids = [swarm.run("-d", "--label", "com.docker.compose.project=till", "--label", f"com.docker.compose.service={name}", BASE_IMAGE, "sleep", "1000") for name in ("a", "b", "b")]
    stack = one(admin, kind="stack", id="compose:till", until=lambda r: r["detail"]["running"] == 3)
    assert stack["detail"] == {"source": "compose", "services": ["a", "b"], "containers": 3, "running": 3} and stack["application"] == "till", stack
    swarm.remove(*ids)
    wait_for(lambda: not resources(admin, kind="stack", id="compose:till"), 15, "the project is gone")


def test_a_workload_keeps_its_name_through_a_new_image_a_new_container_and_a_new_sensor(swarm, platform):
    admin, sensor = platform
    workloads = set()

    def note(ident, what):
        c = container(admin, ident, lambda c: c["level"] == "full" and c["state"] == "running")
        workloads.add((c["application"], c["workload"]))
        assert workloads == {("", "up/web")}, (what, workloads)
    swarm.docker("tag", BASE_IMAGE, "up:1")
    first = swarm.run("-d", "--name", "web-1", "up:1", "sleep", "1000")
    try:
        note(first, "the first one")
        # the tag goes on to another image: the engine lists the old container's image by its id from now on
        swarm.docker("import", "--change", "ENV PATH=/bin", "-", "up:1", input=docker_env.make_base_image_tar(), text=False)
        sensor.restart()
        note(first, "after a new image and a restart of the sensor")
        second = swarm.run("-d", "--name", "web-2", "up:1", "sleep", "1000")
        note(second, "another replica, of the new image")
        swarm.docker("restart", "-t", "0", second)
        note(second, "restarted")
        swarm.docker("rm", "-f", first)
        note(swarm.run("-d", "--name", "web-1", "up:1", "sleep", "1000"), "created anew")
        told = {w["workload"] for w in admin.get("/api/v1/workloads?search=web&limit=1000").json["workloads"]}
        assert "up/web" in told and "web" not in told, told
    finally:
        swarm.docker("rm", "-f", "web-1", "web-2", check=False)
        swarm.docker("rmi", "-f", "up:1", check=False)


def test_workloads_of_swarm_and_compose_keep_their_names_through_scaling_upgrades_and_re_creation(swarm, platform):
    admin, _ = platform
    label = "com.docker.stack.namespace=keep"
    swarm.docker("tag", BASE_IMAGE, "keep:1")
    swarm.docker("import", "--change", "ENV PATH=/bin", "-", "keep:2", input=docker_env.make_base_image_tar(), text=False)
    seen = set()

    def note(idents, expected, image):
        for ident in idents:
            c = container(admin, ident, lambda c: c["level"] == "full" and c["state"] == "running" and c["image"].startswith(image), 30)
            assert (c["application"], c["workload"]) == expected, c
            seen.add(ident)
        return list(idents)

    def tasks(n, image):
        def look():
            ids = swarm.docker("ps", "-q", "--no-trunc", "--filter", "label=com.docker.swarm.service.name=keep_web", "--filter", f"ancestor={image}", "--filter", "status=running").stdout.split()
            return (len(ids) == n, ids)
        return note(wait_for(look, 60, f"{n} tasks of {image}"), ("keep", "keep_web"), image)

    def compose(number, image):
        return swarm.run("-d", "--name", f"till-web-{number}", "--label", "com.docker.compose.project=till", "--label", "com.docker.compose.service=web", "--label",
                         f"com.docker.compose.container-number={number}", image, "sleep", "1000")
    swarm.docker("service", "create", "--detach", "--no-resolve-image", "--name", "keep_web", "--label", label, "--container-label", label, "--stop-grace-period", "1s", "--restart-delay", "100ms",
                 "keep:1", "sleep", "1000")
    try:
        first = tasks(1, "keep:1")
        swarm.docker("service", "scale", "--detach", "keep_web=2")
        tasks(2, "keep:1")
        swarm.docker("kill", *first)  # Swarm makes another one in its place
        wait_for(lambda: set(tasks(2, "keep:1")) - set(first) and first[0] not in tasks(2, "keep:1"), 60, "another task in its place")
        swarm.docker("service", "update", "--detach", "--no-resolve-image", "--image", "keep:2", "keep_web")
        tasks(2, "keep:2")
        assert len(seen) >= 5, seen

        expected = ("till", "web")
        one_, two = note([compose(1, "keep:1"), compose(2, "keep:1")], expected, "keep:1")
        swarm.docker("restart", "-t", "0", one_)
        note([one_], expected, "keep:1")
        swarm.remove(one_, two)
        note([compose(1, "keep:2"), compose(2, "keep:2"), compose(3, "keep:2")], expected, "keep:2")
        told = {(w["application"], w["workload"]) for w in admin.get("/api/v1/workloads?search=web&limit=1000").json["workloads"] if w["application"] in ("keep", "till")}
        assert told == {("keep", "keep_web"), ("till", "web")}, told
    finally:
        swarm.docker("service", "rm", "keep_web", check=False)
        swarm.docker("rm", "-f", *(f"till-web-{n}" for n in (1, 2, 3)), check=False)
        wait_for(lambda: not swarm.docker("ps", "-aq", "--filter", "label=com.docker.swarm.service.name=keep_web").stdout.split(), 40, "the tasks are gone")
        swarm.docker("rmi", "-f", "keep:1", "keep:2", check=False)


def test_a_listener_says_by_which_names_it_is_reached(swarm, platform):
    admin, _ = platform
    swarm.docker("network", "create", "-d", "overlay", "names-over")
    swarm.docker("network", "create", "names-front")
    listens = ["sh", "-c", "httpd -p 127.0.0.1:8081; exec httpd -f -p 8080"]
    # as a Compose project and a stack of Swarm name theirs
    made = swarm.run("-d", "--name", "shop-db-1", "--network", "names-front", "--network-alias", "db", "--network-alias", "postgres", "--label", "com.docker.compose.project=shop",
                     "--label", "com.docker.compose.service=db", BASE_IMAGE, *listens)
    beside = swarm.run("-d", "--name", "beside", "--network", "container:shop-db-1", BASE_IMAGE, "httpd", "-f", "-p", "9090")
    plain = swarm.run("-d", "--name", "plain", "--publish", "18080:8080", BASE_IMAGE, *listens)
    swarm.docker("service", "create", "--detach", "--no-resolve-image", "--name", "stack_api", "--endpoint-mode", "dnsrr", "--network", "name=names-over,alias=api", "--label",
                 "com.docker.stack.namespace=stack", "--container-label", "com.docker.stack.namespace=stack", BASE_IMAGE, *listens)
    try:
        def ways(port, **filters):
            query = "&".join(f"{k}={v}" for k, v in filters.items())
            rows = [r for r in admin.get(f"/api/v1/listeners?{query}").json["listeners"] if r["port"] == port]
            return rows[0]["reached_by"] if rows else None

        def says(port, expected, **filters):
            wait_for(lambda: (lambda seen: (seen == expected, seen))(ways(port, **filters)), 30, f"port {port} of {filters} is reached by {expected}")
        says(8080, ["shop-db-1:8080 (network names-front)", "db:8080 (network names-front)", "postgres:8080 (network names-front)"], container=made)
        says(8081, [], container=made)
        says(9090, ["shop-db-1:9090 (network names-front)", "db:9090 (network names-front)", "postgres:9090 (network names-front)"], container=beside)
        says(8080, [f"{line.split()[-1]}".replace(":::", "[::]:") for line in swarm.docker("port", plain).stdout.splitlines()], container=plain)
        says(8080, ["api:8080 (network names-over)", "stack_api:8080 (service)"], workload="stack_api", application="stack")
        # Docker's resolver answers these
        for name in ("db", "postgres", "shop-db-1"):
            swarm.run("--rm", "--network", "names-front", BASE_IMAGE, "nslookup", name)
    finally:
        swarm.docker("service", "rm", "stack_api", check=False)
        swarm.remove(made, beside, plain)
        for network in ("names-front", "names-over"):
            wait_for(lambda: swarm.docker("network", "rm", network, check=False).returncode == 0, 30, "the network can be removed")


def test_the_engine_leaves_its_swarm(swarm, platform):
    admin, _ = platform
    assert resources(admin, source="swarm")
    swarm.docker("swarm", "leave", "--force")
    swarm.docker("volume", "create", "res-leave")  # nothing tells of the leaving; anything else makes the sensor look before a minute is over
    wait_for(lambda: not resources(admin, source="swarm"), 30, "the only manager left: nothing of the Swarm stays")
    own = one(admin, kind="node", scope="node", source="docker")
    assert own["detail"]["swarm"] == {"state": "inactive"}, own
