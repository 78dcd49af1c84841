"""The office's reports: sales out of the shop's database, kept in the memo for a while, and what the shop tells through the broker."""
import json
import threading

import paho.mqtt.client
from pymemcache.client.base import PooledClient

import service
from service import Reply

db = service.Database("reports", 2)
memo = PooledClient((service.setting("MEMO_HOST"), 11211), connect_timeout=5, timeout=5, max_pool_size=4)
service.until("the memo", memo.version)
shipped = 0
lock = threading.Lock()


def told(client, data, message):
    global shipped
    with lock:
        shipped += 1


def connected(client, data, flags, result):
    client.subscribe("shop/#", qos=1)


broker = paho.mqtt.client.Client(f"reports-{service.HOST}")
broker.on_connect, broker.on_message = connected, told
broker.connect_async(service.setting("BROKER_HOST"), keepalive=30)
broker.reconnect_delay_set(1, 5)
broker.loop_start()


def sales(request):
    """Sums, at most five seconds old."""
    kept = memo.get("sales")
    if not kept:
        rows = db("SELECT status, count(*), coalesce(sum(total), 0)::text FROM orders GROUP BY status ORDER BY status")
        kept = json.dumps({status: {"orders": n, "total": total} for status, n, total in rows}).encode()
        memo.set("sales", kept, expire=5)
    return {"sales": json.loads(kept), "told_shipped": shipped}


def ready(request):
    db("SELECT 1")
    memo.version()
    if not broker.is_connected():
        raise Reply(503, "no broker\n")
    return Reply(200, "ready\n")


service.serve(8080, {("GET", "/healthz"): lambda r: Reply(200, "ok\n"), ("GET", "/readyz"): ready, ("GET", "/"): sales, ("GET", "/sales"): sales})
