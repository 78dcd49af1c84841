"""The shop's back end. It has holes, on purpose and of the usual kinds; docs/demo.md lists them. Never let a network reach it."""
import json
import os
import secrets
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import redis

import service
from service import Reply, text

FILES, UPLOADS = "/srv/files", "/srv/uploads"
PAYMENTS = f"http://{service.setting('PAYMENTS_HOST')}:8080"

cache = redis.Redis(host=service.setting("CACHE_HOST"), socket_connect_timeout=5, socket_timeout=10, health_check_interval=30)
service.until("the cache", cache.ping)
db = service.Database("api")


def session(request):
    sid = request.cookie("sid")
    if not sid or not cache.exists(f"session:{sid}"):
        sid = secrets.token_hex(12)
        cache.set(f"session:{sid}", json.dumps({"since": time.time()}), ex=3600)
        request.out_headers.append(("Set-Cookie", f"sid={sid}; Path=/"))
    return sid


def health(request):
    return Reply(200, "ok\n")


def ready(request):
    db("SELECT 1")
    cache.ping()
    with urllib.request.urlopen(f"{PAYMENTS}/healthz", timeout=5):
        return Reply(200, "ready\n")


def home(request):
    session(request)
    return {"products": [{"id": i, "name": n, "price": str(p)} for i, n, p in db("SELECT id, name, price FROM products ORDER BY id LIMIT 12")]}


def product(request):
    session(request)
    rows = db("SELECT id, name, price, stock FROM products WHERE id = %s", (request.number("id"),))
    if not rows:
        raise Reply(404, "no such product\n")
    i, name, price, stock = rows[0]
    return {"products": [{"id": i, "name": name, "price": str(price), "stock": stock}]}


def search(request):
    # Hole: SQL injection. The words go into the statement as they are.
    rows = db(f"SELECT id, name, price::text FROM products WHERE name ILIKE '%{request.value('q')}%' ORDER BY 1")
    return {"products": [{"id": i, "name": n, "price": p} for i, n, p in rows]}


def cart(request):
    lines = cache.hgetall(f"cart:{session(request)}")
    return {"cart": {k.decode(): int(v) for k, v in lines.items()}}


def cart_add(request):
    key = f"cart:{session(request)}"
    cache.hincrby(key, request.number("id", 1), request.number("n", 1, 99))
    cache.expire(key, 3600)
    return cart(request)


def checkout(request):
    sid = session(request)
    lines = {int(k): int(v) for k, v in cache.hgetall(f"cart:{sid}").items()}
    if not lines:
        raise Reply(409, "the cart is empty\n")
    prices = dict(db("SELECT id, price FROM products WHERE id = ANY(%s)", (list(lines),)))
    total = sum(prices[i] * n for i, n in lines.items())
    form = urllib.parse.parse_qs(request.body().decode(errors="replace"))
    charge = json.dumps({"card": form.get("card", [""])[0], "amount": str(total)}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{PAYMENTS}/charge", charge, {"Content-Type": "application/json"}), timeout=10) as r:
            payment = json.load(r)
    except urllib.error.HTTPError as e:
        if e.code == 402:
            raise Reply(402, "the card was declined\n") from None
        raise
    order, = db("INSERT INTO orders (email, total, payment, status) VALUES (%s, %s, %s, 'paid') RETURNING id",
                (form.get("email", [""])[0], total, payment["id"]))[0]
    for i, n in lines.items():
        db("INSERT INTO order_items (order_id, product_id, n) VALUES (%s, %s, %s)", (order, i, n))
    cache.delete(f"cart:{sid}")
    cache.lpush("jobs", json.dumps({"order": order}))
    return {"order": order, "total": str(total), "status": "paid"}


def order(request):
    rows = db("SELECT id, total::text, status FROM orders WHERE id = %s", (request.number("id", 1),))
    if not rows:
        raise Reply(404, "no such order\n")
    return dict(zip(("order", "total", "status"), rows[0]))


def login(request):
    form = urllib.parse.parse_qs(request.body().decode(errors="replace"))
    name, password = form.get("name", [""])[0], form.get("password", [""])[0]
    if not db("SELECT 1 FROM users WHERE name = %s AND password = md5(%s)", (name, password)):
        raise Reply(403, "wrong name or password\n")
    cache.set(f"admin:{session(request)}", name, ex=3600)
    return {"name": name}


def admin_orders(request):
    if not cache.exists(f"admin:{request.cookie('sid')}"):
        raise Reply(403, "log in first\n")
    return {"status": dict(db("SELECT status, count(*) FROM orders GROUP BY status"))}


def lookup(request):
    # Holes: command injection, and nobody is asked who he is. Meant for the operator, to see whether a supplier's name resolves.
    done = subprocess.run(f"getent hosts {request.value('host')}", shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    return Reply(200, done.stdout)


def download(request):
    # Hole: path traversal.
    try:
        with open(os.path.join(FILES, request.value("file")), "rb") as f:
            return Reply(200, f.read(8 << 20), "application/octet-stream")
    except OSError as e:
        raise Reply(404, f"{e}\n") from None


def upload(request):
    # Hole: any file of any name; what is uploaded is served, see below.
    name = os.path.basename(request.value("name")) or "picture"
    with open(os.path.join(UPLOADS, name), "wb") as f:
        f.write(request.body())
    return {"path": f"/uploads/{name}"}


def uploaded(request):
    path = os.path.join(UPLOADS, os.path.basename(request.plain_path))
    if not os.path.isfile(path):
        raise Reply(404, "not found\n")
    if path.endswith(".cgi"):  # Hole: a web shell is one upload away.
        done = subprocess.run(["sh", path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, QUERY_STRING=urllib.parse.urlsplit(request.path).query, REQUEST_METHOD="GET"))
        return Reply(200, done.stdout)
    with open(path, "rb") as f:
        return Reply(200, f.read(), "application/octet-stream")


def preview(request):
    # Hole: server-side request forgery. Meant for pictures of suppliers.
    try:
        with urllib.request.urlopen(request.value("url"), timeout=5) as r:
            return Reply(200, r.read(1 << 20), "application/octet-stream")
    except (OSError, ValueError) as e:
        raise Reply(502, f"{e}\n") from None


def page(request, value):
    rows = "".join(f"<li><a href='/product?id={p['id']}'>{text(p['name'])}</a> <b>{text(p['price'])}</b></li>" for p in value.pop("products", []))
    more = f"<pre>{text(json.dumps(value, indent=1))}</pre>" if value else ""
    return ("<!doctype html><meta charset=utf-8><title>Chandlery</title><style>body{font:16px/1.5 sans-serif;max-width:44em;margin:2em auto}"
            "b{float:right}li{border-bottom:1px solid #ddd;padding:.3em}</style><h1><a href='/'>The Chandlery</a></h1>"
            "<form action=/search><input name=q placeholder='rope, lamp, …'><button>Search</button></form>"
            f"<ul>{rows}</ul>{more}<p><a href='/cart'>cart</a> · <a href='/download?file=terms.txt'>terms</a>")


def heartbeat():  # replicas know of each other, as in many a small system
    while True:
        try:
            cache.set(f"replica:{service.HOST}", "1", ex=30)
        except redis.RedisError as e:
            service.log("the cache does not answer:", e)
        time.sleep(10)


threading.Thread(target=heartbeat, daemon=True).start()
service.serve(8000, {
    ("GET", "/healthz"): health, ("GET", "/readyz"): ready, ("GET", "/"): home, ("GET", "/product"): product, ("GET", "/search"): search,
    ("GET", "/cart"): cart, ("POST", "/cart"): cart_add, ("POST", "/checkout"): checkout, ("GET", "/order"): order,
    ("POST", "/login"): login, ("GET", "/admin/orders"): admin_orders, ("GET", "/tools/lookup"): lookup,
    ("GET", "/download"): download, ("POST", "/upload"): upload, ("GET", "/uploads/"): uploaded, ("GET", "/preview"): preview,
}, page)
