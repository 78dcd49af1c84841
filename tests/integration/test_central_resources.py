"""bulkhead-central and lists of resources that a node tells by hand, hostile ones among them; and what it keeps of a container beside its name."""
import re
import subprocess
import time

import pytest
from central_env import Central, container, inventory, proto
from sensor_env import REPO, build_dir, program

ID = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def central():
    with Central() as c:
        c.session = c.admin()
        yield c


def resource(kind, ident, name, application="", detail="{}", labels=()):
    return proto(f1=kind, f2=ident, f3=name, f4=[proto(f1=k, f2=v) for k, v in labels], f5=application, f6=detail, f7=1_700_000_000_000_000_000)


def resources(node, items, scope="node", source="docker"):
    return proto(f1=node, f2=source, f3=scope, f4=time.time_ns(), f5=list(items))


def test_a_list_is_shown_searched_and_streamed(central):
    admin = central.session
    node = central.node("r1")
    stream = admin.stream("/api/v1/stream")
    stream.wait(lambda i, e, d: e == "hello")
    node.publish("resources", resources("r1", [resource("network", "n1", "<img src=x onerror=alert(1)>", "shop", '{"driver":"bridge","subnets":[]}', [("a", b"\xff\"")]),
                                               resource("secret", "k1", "key")]))
    node.wait_acked()
    page = admin.get("/api/v1/resources?node=r1&count=true").json
    assert page["total"] == 2 and page["next"] is None, page
    net = admin.get("/api/v1/resources?kind=network&application=shop&search=onerror").json["resources"][0]
    assert (net["name"], net["detail"], net["created"], net["updated"]) == ("<img src=x onerror=alert(1)>", {"driver": "bridge", "subnets": []}, "2023-11-14T22:13:20.000000000Z", None), net
    assert net["labels"] == {"a": '\\xff"'}, net
    told = stream.wait(lambda i, e, d: e == "resource" and d["object"]["id"] == "n1", what="the network in the stream")
    assert told[-1][2]["key"] == str(net["serial"]) and told[-1][2]["object"] == net, told
    first = admin.get("/api/v1/resources?node=r1&limit=1").json
    second = admin.get(f"/api/v1/resources?node=r1&limit=1&cursor={first['next']}").json
    assert {first["resources"][0]["id"], second["resources"][0]["id"]} == {"n1", "k1"} and second["next"] is None

    # the same again is no news; less is
    node.publish("resources", resources("r1", [resource("secret", "k1", "key")]))
    node.wait_acked()
    stream.wait(lambda i, e, d: e == "resource" and d["key"] == str(net["serial"]) and "object" not in d, what="the network's end in the stream")
    assert [r["id"] for r in admin.get("/api/v1/resources?node=r1").json["resources"]] == ["k1"]
    node.close()


def test_a_cursor_that_no_page_gave_is_refused(central):
    for name in ("applications", "audit", "containers", "evidence", "findings", "incidents", "listeners", "observations", "resources", "responses", "workloads"):
        for what in ("cursor=x", "cursor=1.2.3", "limit=x"):
            answer = central.session.get(f"/api/v1/{name}?{what}")
            assert answer.status == 400, (name, what, answer.status)


def test_the_command_line_knows_every_kind(central):
    """Those of the inventory's documentation."""
    text = (REPO / "docs" / "inventory.md").read_text().split("## Resources", 1)[1].split("## Bounds", 1)[0]
    kinds = {k for cell in re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.M) for k in re.findall(r"\w+", cell)}
    assert {"service", "config", "secret", "pod"} <= kinds, kinds
    node = central.node("r4")
    node.publish("resources", resources("r4", [resource(k, f"{k}-1", f"a-{k}") for k in sorted(kinds)]))
    node.wait_acked()
    for kind in sorted(kinds):
        r = subprocess.run([program(build_dir(), "bulkhead"), "--run-dir", central.run_dir, "resources", kind, "--node", "r4"], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0 and f"a-{kind}" in r.stdout and len(r.stdout.splitlines()) == 2, (kind, r)
    node.close()


def test_hostile_lists_break_no_answer(central):
    admin = central.session
    node = central.node("r2")
    for detail in ("", "{", "[1]", '"x"', b"\xff\xfe", '{"a":"' + "x" * 300_000 + '"}', '{"a":1}{"b":2}', "nul\0l"):
        node.publish("resources", resources("r2", [resource("network", "n", "n", detail=detail), resource("network", "", "no id"), resource("", "x", "no kind")]))
        node.wait_acked()
        found = admin.get("/api/v1/resources?node=r2").json["resources"]
        assert [r["detail"] for r in found] == [{}], (detail[:20], found)
    node.publish("resources", b"\xff\xff\xff")
    node.publish("resources", resources("r2", [], source="", scope=""))
    node.wait_acked()
    assert len(admin.get("/api/v1/resources?node=r2").json["resources"]) == 1
    node.close()


def test_all_of_a_container_is_told(central):
    admin = central.session
    node = central.node("r3")
    node.publish("inventory", inventory("r3", [container(
        ID, f43=["sha256:1", "sha256:2"], f46="default", f47="apparmor:docker-default", f48="host", f49=1, f50=1, f51=1, f52=1 << 20, f53=500_000_000, f54=7, f55="always",
        f56=["sleep", "1"], f57=[proto(f1=1_700_000_000_000_000_000, f2=1_700_000_001_000_000_000, f3=3, f4=1, f5="why \"not\"")], f58=["CAP_CHOWN"], f59=["a way <b>"],
        f60=["/bin/sh", "-c", "x"], f61=4026531840, f62=ID[::-1])]))
    node.wait_acked()
    c = admin.get(f"/api/v1/containers/{ID}").json
    assert (c["layers"], c["seccomp"], c["lsm"], c["uts_mode"]) == (["sha256:1", "sha256:2"], "default", "apparmor:docker-default", "host"), c
    assert c["host_uts"] and c["host_cgroupns"] and c["no_new_privileges"], c
    assert (c["memory_limit"], c["cpu_limit"], c["pids_limit"], c["restart_policy"], c["command"]) == (1 << 20, 500_000_000, 7, "always", ["sleep", "1"]), c
    assert c["runs"] == [{"started": "2023-11-14T22:13:20.000000000Z", "finished": "2023-11-14T22:13:21.000000000Z", "exit_code": 3, "oom_killed": True, "error": 'why "not"'}], c
    assert (c["capabilities"], c["risks"], c["health_command"], c["net_ns"], c["network_of"]) == (["CAP_CHOWN"], ["a way <b>"], ["/bin/sh", "-c", "x"], 4026531840, ID[::-1]), c
    # of an older sensor: what it does not tell is empty, not missing
    node.publish("inventory", inventory("r3", [container("e" * 64)]))
    node.wait_acked()
    old = admin.get(f"/api/v1/containers/{'e' * 64}").json
    assert (old["layers"], old["runs"], old["seccomp"], old["memory_limit"], old["created_by"]) == ([], [], "", 0, ""), old
    node.close()
