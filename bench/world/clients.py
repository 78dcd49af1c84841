# SPDX-License-Identifier: Apache-2.0
"""Who uses the services: everything at changing rates, seeded, for ever. /peers/NAME holds the addresses of a service; a service that is away is asked again later."""
import math
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.request

RATE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
begin = time.monotonic()


def address(name):
    return random.choice(open(f"/peers/{name}").read().split())


def get(name, port, path, data=None, headers={}):
    req = urllib.request.Request(f"http://{address(name)}:{port}{path}", data=data, headers=headers)
    with urllib.request.urlopen(req, timeout=3) as r:
        r.read()


def talk(name, port, *lines):
    with socket.create_connection((address(name), port), 2) as s:
        for line in lines:
            s.sendall(line.encode())
            s.recv(4096)


def upload(name, port, path):
    get(name, port, path, data=random.randbytes(random.randint(10, 20000)))


def php_upload():
    name = f"pic-{random.randint(1, 99999)}.jpg"
    body = (f'--b\r\nContent-Disposition: form-data; name="up"; filename="{name}"\r\nContent-Type: image/jpeg\r\n\r\n').encode() + random.randbytes(300) + b"\r\n--b--\r\n"
    get("apache", 80, "/index.php", data=body, headers={"Content-Type": "multipart/form-data; boundary=b"})


def dns():
    name = random.choice(("www", "mail", "db", "cache")).encode()
    q = random.randbytes(2) + b"\1\0\0\1\0\0\0\0\0\0" + bytes([len(name)]) + name + b"\4shop\4test\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.sendto(q, (address("dnsmasq"), 53))
        s.recv(512)


def run(*argv):
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=10)


n = lambda: random.randint(1, 30)
WORK = [  # weight, what
    (6, lambda: get("nginx", 80, f"/page-{n()}.html")), (1, lambda: get("nginx", 80, f"/missing-{n()}")),
    (5, lambda: get("apache", 80, f"/index.php?f=page-{n()}.html")), (2, lambda: get("apache", 80, f"/page-{n()}.html")), (1, php_upload),
    (1, lambda: get("apache", 80, "/index.php?e=1%2B2")),
    (4, lambda: get("haproxy", 8080, f"/page-{n()}.html")),
    (4, lambda: get("python", 8000, f"/doc?name=doc-{n()}.txt")), (2, lambda: get("python", 8000, f"/cache?n={n()}")), (1, lambda: upload("python", 8000, "/up")),
    (2, lambda: get("python", 8000, "/calc?e=1%2B2")), (1, lambda: get("python", 8000, "/key")),
    (4, lambda: get("node", 3000, f"/cache?n={n()}")), (2, lambda: get("node", 3000, "/calc?e=1%2B2")),
    (3, lambda: talk("redis", 6379, f"SET k{n()} v\r\n", f"GET k{n()}\r\n")), (1, lambda: talk("redis", 6379, "BGSAVE\r\n")),
    (3, lambda: talk("memcached", 11211, f"set k{n()} 0 60 2\r\nhi\r\n", f"get k{n()}\r\n")),
    (2, dns),
    (1, lambda: talk("nats", 4222, 'CONNECT {"verbose":true}\r\n', f"PUB shop.{n()} 2\r\nhi\r\n")),
    (1, lambda: run("mosquitto_pub", "-h", address("mosquitto"), "-t", f"shop/{n()}", "-m", "hi")),
    (1, lambda: run("psql", "-h", address("postgres"), "-U", "postgres", "-qc", f"INSERT INTO orders VALUES ({n()}, now()); SELECT count(*) FROM orders")),
]


def worker(seed):
    random.seed(seed)
    weights = [w for w, _ in WORK]
    while True:
        busy = 1.2 + math.sin((time.monotonic() - begin) / 40)
        time.sleep(random.expovariate(RATE * busy))
        try:
            random.choices(WORK, weights)[0][1]()
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            pass


for i in range(3):
    threading.Thread(target=worker, args=(i,)).start()
