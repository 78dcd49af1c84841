"""Behaviour models over several nodes, without containers: what nodes tell is told here."""
import central_env
import pytest
from docker_env import wait_for

SCALE = {"models.slot_ms": 100, "models.bound_ppm": 10000, "models.starting_seconds": 1, "models.hold_seconds": 2}
IDS = [c * 64 for c in "abc"]


@pytest.fixture(scope="module")
def central():
    with central_env.Central() as c:
        c.set(SCALE)
        yield c


def models(root, path="/api/v1/models"):
    rows, cursor = [], None
    while True:
        answer = root.get(path + ("&" if "?" in path else "?") + "limit=2" + (f"&cursor={cursor}" if cursor else "")).json
        assert len(answer["models"]) <= 2, answer
        rows += answer["models"]
        cursor = answer["next"]
        if not cursor:
            return rows


def test_a_list_of_models_comes_in_pages(central):
    root, node = central.root(), central.node("pages")
    names = [f"w{n}" for n in range(5)] + ["odd /name"]
    for name in names:
        node.publish("observation", central_env.observation("pages", "/bin/true", workload=name, application="long"))
    wait_for(lambda: (len(models(root, "/api/v1/models?application=long")) == len(names), models(root, "/api/v1/models?application=long")), 15, "all models are there")
    assert [m["workload"] for m in models(root, "/api/v1/models?application=long")] == sorted(names), "in order, each once"
    assert [m["workload"] for m in models(root, "/api/v1/models?application=long&workload=w3")] == ["w3"]
    assert models(root, "/api/v1/models?application=lon") == []
    for bad in ("zz", "6", "00", "6161"):
        assert root.get(f"/api/v1/models?cursor={bad}").status == 400, bad


def test_what_one_replica_does_stays_an_anomaly_while_the_others_nodes_are_away(central):
    root, nodes = central.root(), [central.node(f"n{i}") for i in range(3)]

    def tell(i, subject, digest):
        nodes[i].publish("observation", central_env.observation(f"n{i}", subject, workload="db", container=IDS[i], digest=digest))

    def version():
        found = root.get("/api/v1/models?application=shop&workload=db").json["models"]
        return found[0]["versions"][0] if found else None

    def run(digest):
        for i, n in enumerate(nodes):
            n.publish("inventory", central_env.inventory(f"n{i}", [central_env.container(IDS[i], name=f"db-{i}", workload="db", f5=digest)], full=True))

    run("sha256:one")
    for i in range(3):
        tell(i, "/bin/db", "sha256:one")
    wait_for(lambda: (bool(version()) and version()["running"] == 3, version()), 15, "three replicas run")
    run("sha256:two")
    for i in range(3):
        tell(i, "/bin/db", "sha256:two")
    wait_for(lambda: (version()["shadow"] and version()["running"] == 3, version()), 15, "three replicas of the next version run")

    for n in nodes[1:]:
        n.close()
    wait_for(lambda: (sum(n["up"] for n in root.get("/api/v1/nodes").json["nodes"] if n["name"] in ("n0", "n1", "n2")) == 1, root.get("/api/v1/nodes").json), 30, "two nodes are away")
    # the analyzer looks for nodes each three seconds: what it makes of them must be in force
    anomalies = lambda: [f["output"] for f in root.get("/api/v1/findings?kind=model&application=shop&workload=db&limit=500").json["findings"]]
    for n in range(4):
        tell(0, f"/bin/odd-{n}", "sha256:two")
        wait_for(lambda n=n: (any(f"/bin/odd-{n}" in f for f in anomalies()), anomalies()), 20, f"odd-{n} is told")
    told = [f["rule"] for f in root.get("/api/v1/findings?kind=model&application=shop&workload=db&limit=500").json["findings"]]
    assert told == ["Model: new programs"] * 4, (told, anomalies())
    assert version()["running"] == 3, version()
