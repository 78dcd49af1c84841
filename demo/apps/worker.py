"""Takes jobs from the cache, writes the invoice, marks the order as shipped, and tells the office."""
import json
import os
import subprocess
import threading

import paho.mqtt.client
import redis

import service

stop = threading.Event()
service.on_end(stop.set)
db = service.Database("worker", 1)
cache = redis.Redis(host=service.setting("CACHE_HOST"), socket_connect_timeout=5)
service.until("the cache", cache.ping)
office = paho.mqtt.client.Client(f"worker-{service.HOST}")
office.connect_async(service.setting("BROKER_HOST"), keepalive=30)
office.reconnect_delay_set(1, 5)
office.loop_start()
service.log("works")

while not stop.is_set():
    try:
        cache.set(f"worker:{service.HOST}", "1", ex=30)
        job = cache.brpop("jobs", 1)
    except redis.RedisError as e:
        service.log("the cache does not answer:", e)
        stop.wait(1)
        continue
    if not job:
        continue
    order = json.loads(job[1])["order"]
    path = f"/srv/invoices/{order}.txt"
    with open(path, "w") as f:
        for name, n, price in db("SELECT p.name, i.n, p.price FROM order_items i JOIN products p ON p.id = i.product_id WHERE i.order_id = %s", (order,)):
            print(f"{n:4} x {name:30} {price:10}", file=f)
    subprocess.run(["gzip", "-f", path], check=True)
    size = os.stat(path + ".gz").st_size
    db("UPDATE orders SET status = 'shipped' WHERE id = %s", (order,))
    db("INSERT INTO shipments (order_id, worker, invoice_bytes) VALUES (%s, %s, %s)", (order, service.HOST, size))
    office.publish("shop/shipped", json.dumps({"order": order}), qos=1)
    service.log("shipped order", order)

office.loop_stop()
office.disconnect()
service.log("ends")
