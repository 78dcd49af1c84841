"""Orders at the central, and nodes that answer, do not know how, or stay silent. The nodes are a few lines that speak the bus by hand."""
import concurrent.futures

import pytest
from central_env import Central, container, inventory, parse, proto


@pytest.fixture(scope="module")
def central():
    with Central() as c:
        c.session = c.admin()
        yield c


def order(central, ident, **more):
    return central.root().post("/api/v1/responses", {"action": "isolate", "container": ident, **more})


def test_what_a_node_answers_is_in_the_ledger(central):
    ident = "d" * 64

    def respond(node, stream, body):
        asked = parse(parse(body)[1][0])
        node.chunk(stream, proto(f1=[proto(f1=asked[1][0], f2="active", f3="as it was told", f4='{"open":[]}')]))
        node.end(stream)
    node = central.node("answers", serve={"respond": respond})
    node.publish("inventory", inventory("answers", [container(ident, name="db", workload="db", application="alone")]))
    node.wait_acked()
    answer = order(central, ident)
    assert answer.status == 200 and (answer.json["state"], answer.json["result"], answer.json["detail"]) == ("active", "as it was told", {"open": []}), answer.json
    node.close()


def test_a_node_that_does_not_know_how_leaves_the_order_pending(central):
    ident = "e" * 64
    node = central.node("old")
    node.publish("inventory", inventory("old", [container(ident, name="old", workload="old", application="alone")]))
    node.wait_acked()
    answer = order(central, ident)
    assert answer.status == 202 and answer.json["state"] == "pending", answer.json
    tried = order(central, ident, dry_run=True)
    assert tried.status == 503 and "node old" in tried.json["error"]["message"], tried.json
    node.close()


def test_orders_that_come_at_once_share_the_bound(central):
    """Of eight containers of a workload no more than half are held, also when all are asked for at once."""
    ids = [f"{i:x}" * 64 for i in range(1, 9)]
    node = central.node("many")
    node.publish("inventory", inventory("many", [container(i, name=f"web-{i[0]}") for i in ids]))
    node.wait_acked()
    with concurrent.futures.ThreadPoolExecutor(len(ids)) as pool:
        answers = list(pool.map(lambda i: order(central, i), ids))
    refused = [a for a in answers if a.status == 409]
    assert sorted({a.status for a in answers}) == [202, 409] and len(refused) == 4, [a.status for a in answers]
    assert {a.json["error"]["code"] for a in refused} == {"blast_radius"}, refused
    assert len(central.session.get("/api/v1/responses?workload=web&open=true").json["responses"]) == 4
    node.close()
