# SPDX-License-Identifier: Apache-2.0
"""The services of bench/services: what each runs, from Debian packages, in containers of one image; and who uses them."""
import io
import pathlib
import shutil
import subprocess
import tarfile

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["nginx-light", "redis-server", "redis-tools", "postgresql-15", "postgresql-client-15", "memcached", "haproxy", "mosquitto", "mosquitto-clients", "nats-server", "apache2",
            "libapache2-mod-php", "php-cli", "nodejs", "python3-minimal", "libpython3-stdlib", "dnsmasq-base", "cron", "logrotate", "openssl", "busybox-static", "procps",
            "netcat-openbsd"]
NGINX = "daemon off; user www-data; events {} http { access_log /var/log/nginx/access.log; client_body_temp_path /tmp/body; server { listen 80; root /srv/www; } }"
HAPROXY = """defaults
  mode http
  timeout connect 2s
  timeout client 5s
  timeout server 5s
frontend web
  bind *:8080
  default_backend pages
backend pages
"""
MOSQUITTO = "listener 1883\nallow_anonymous true\nuser mosquitto\npersistence true\npersistence_location /var/lib/mosquitto/\nautosave_interval 30\n"
ROTATE = "/var/log/jobs/jobs.log {\n  size 1\n  rotate 3\n  compress\n  create\n}\n"
PAGES = {f"srv/www/page-{i}.html": "page " * i for i in range(1, 41)} | {f"var/www/html/page-{i}.html": "page " * i for i in range(1, 41)} | {f"var/www/html/pages/page-{i}.html": "page " * i for i in range(1, 41)}


def text(name):
    return (HERE / name).read_text()


# name → what it runs, its files, options of `docker run`, the command that an operator or a health check gives it
SERVICES = {
    "nginx": {"run": ["nginx", "-c", "/etc/nginx.conf"], "pages": True, "files": {"etc/nginx.conf": NGINX},
              "options": ["--health-cmd", "/bin/busybox wget -q -O /dev/null http://127.0.0.1/page-1.html", "--health-interval", "20s"]},
    "apache": {"run": ["sh", "-c", ". /etc/apache2/envvars; mkdir -p $APACHE_RUN_DIR; exec apache2 -DFOREGROUND"], "pages": True,
               "files": {"var/www/html/index.php": text("index.php")}, "dirs": {"var/www/html/up": 0o777}},
    "redis": {"run": ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--enable-protected-configs", "yes", "--dir", "/var/lib/redis", "--save", "30", "1"], "operator": ["redis-cli", "info"]},
    "postgres": {"run": ["sh", "/app/postgres.sh"], "files": {"app/postgres.sh": text("postgres.sh")}, "options": ["--user", "postgres"], "operator": ["psql", "-h", "127.0.0.1", "-c", "select 1"]},
    "memcached": {"run": ["memcached", "-u", "nobody", "-m", "16"]},
    "haproxy": {"run": ["sh", "-c", "n=0; (cat /etc/haproxy.start; for a in $(cat /peers/nginx); do n=$((n+1)); echo \"  server s$n $a:80\"; done) > /tmp/haproxy.cfg; exec haproxy -W -f /tmp/haproxy.cfg"],
                "files": {"etc/haproxy.start": HAPROXY}},
    "mosquitto": {"run": ["mosquitto", "-c", "/etc/mosquitto.conf"], "files": {"etc/mosquitto.conf": MOSQUITTO}},
    "nats": {"run": ["nats-server", "-a", "0.0.0.0", "-js", "-sd", "/var/lib/nats"]},
    "node": {"run": ["node", "/app/app.js"], "files": {"app/app.js": text("app.js")}},
    "python": {"run": ["python3", "/app/app.py"], "files": {"app/app.py": text("app.py")}},
    "dnsmasq": {"run": ["dnsmasq", "-k", "-u", "nobody", "--no-resolv", "--no-hosts", "--address=/shop.test/192.0.2.7", "--address=/#/192.0.2.8", "--log-facility=/var/log/dns.log"]},
    "worker": {"run": ["sh", "-c", "mkdir -p /var/log/jobs /backup; exec cron -f"],
               "files": {"app/worker.sh": text("worker.sh"), "etc/cron.d/shop": "* * * * * root /bin/sh /app/worker.sh\n", "etc/jobs.rotate": ROTATE}},
    "clients": {"run": ["python3", "/app/clients.py"], "files": {"app/clients.py": text("clients.py")}, "replicas": 1},
}

# A world of one busybox, for a run of less than a minute that needs no packages: --small.
SMALL = {
    "web": {"run": ["sh", "-c", "httpd -p 80 -h /www; while :; do cat /www/index.html > /tmp/page; rm /tmp/page; sleep 0.2; done"]},
    "cache": {"run": ["sh", "-c", "while :; do nc -l -p 6379 -e cat; done"]},
    "clients": {"run": ["sh", "-c", "while :; do for a in $(cat /peers/web); do wget -q -O /dev/null http://$a/index.html; done; for a in $(cat /peers/cache); do echo x | nc -w 1 $a 6379; done >/dev/null; sleep 0.2; done"],
                "replicas": 1},
}


def tar_of(files, dirs=()):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for name, mode in dict(dirs).items():
            i = tarfile.TarInfo(name)
            i.type, i.mode = tarfile.DIRTYPE, mode
            t.addfile(i)
        for name, body in files.items():
            i = tarfile.TarInfo(name)
            i.size, i.mode = len(body.encode()), 0o644
            t.addfile(i, io.BytesIO(body.encode()))
    return out.getvalue()


def make_root(path):
    """The root file system as a tar: Debian with these packages (mmdebstrap), some minutes."""
    if not shutil.which("mmdebstrap"):
        raise SystemExit("bench/services: a root file system is made with mmdebstrap: install that Debian package, or give one with --root TAR")
    subprocess.run(["mmdebstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), "--aptopt=Apt::Install-Recommends \"false\"", "--dpkgopt=path-exclude=/usr/share/doc/*",
                    "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "bookworm", str(path)], check=True)
