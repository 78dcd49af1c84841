"""Web-attack tests of the Core Rule Set's format through a real server: a client sends each request to nginx or Apache in a container, which passes it to a back end in another, and what
Bulkhead tells of it is compared with what the test asks for. Each request comes from an address of its own, which is how its finding is known. For run_crs.py and tests/attacks.
"""
import base64
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import docker_env  # noqa: E402
from docker_env import wait_for  # noqa: E402

FRONT, FRONT_TLS, FRONT_H2, BACK = 8000, 8443, 8002, 8001
AT_ONCE = 64  # requests between two looks at how far the inspector is
SERVERS = ("nginx", "apache")
LABELS = ("bulkhead.web.level=4", "bulkhead.web.threshold=1")
NGINX_COMMON = "daemon off; master_process off; pid /tmp/nginx.pid; error_log /tmp/error.log; events {}\n"
TEMP = "".join(f"{name}_temp_path /tmp/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def nginx_conf():
    return (NGINX_COMMON + "http { access_log off; " + TEMP + f"server {{ listen 127.0.0.1:{FRONT}; listen 127.0.0.1:{FRONT_H2} http2; listen 127.0.0.1:{FRONT_TLS} ssl; ssl_certificate /conf/cert.pem; ssl_certificate_key /conf/key.pem;"
            f" location / {{ proxy_pass http://127.0.0.1:{BACK}; }} location /unix-socket {{ proxy_pass http://unix:/tmp/back.sock:; }} }} server {{ listen unix:/tmp/back.sock; return 200 taken; }} }}\n")


def back_conf(port=BACK):
    return NGINX_COMMON + "http { access_log off; " + TEMP + f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 taken; }} }} }}\n"


def apache_conf():
    modules = ("mpm_event", "authz_core", "proxy", "proxy_http", "ssl", "socache_shmcb")
    return "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in modules) + f"""
ServerName localhost
PidFile /tmp/apache.pid
ErrorLog /tmp/error.log
DefaultRuntimeDir /tmp
Mutex file:/tmp
User nobody
Group nogroup
StartServers 1
Listen 127.0.0.1:{FRONT}
Listen 127.0.0.1:{FRONT_TLS}
ProxyPass / http://127.0.0.1:{BACK}/ nocanon
AllowEncodedSlashes NoDecode
<VirtualHost 127.0.0.1:{FRONT_TLS}>
SSLEngine on
SSLCertificateFile /conf/cert.pem
SSLCertificateKeyFile /conf/key.pem
ProxyPass / http://127.0.0.1:{BACK}/ nocanon
AllowEncodedSlashes NoDecode
</VirtualHost>
"""


# The package would start a service: where it is not installed, `dev test` has unpacked it, into build/ for every build that is tested.
UNPACKED = HERE.parents[1] / "build" / "bench" / "packages"
NGINX_HERE = next((p for p in (pathlib.Path("/usr/sbin/nginx"), UNPACKED / "usr/sbin/nginx") if p.exists()), None)
UNPACKED_NGINX = NGINX_HERE is not None and UNPACKED in NGINX_HERE.parents
NGINX = "/unpacked/usr/sbin/nginx" if UNPACKED_NGINX else "/usr/sbin/nginx"
PROGRAMS = {
    "nginx": ("nginx", nginx_conf, [NGINX, "-c", "/conf/nginx.conf", "-e", "/tmp/error.log"]),
    "apache": ("apache2", apache_conf, ["/usr/sbin/apache2", "-d", "/tmp", "-f", "/conf/apache.conf", "-DFOREGROUND"]),
}


def installed(server):
    return NGINX_HERE is not None if server == "nginx" else shutil.which(PROGRAMS[server][0], path="/usr/sbin:/usr/bin") is not None


class Front:
    """The server in a container, and its back end in another that shares its network; `alone`: nginx without one."""

    def __init__(self, docker, server, tls=False, labels=LABELS, alone=False):
        self.docker, self.server, self.port, self.name = docker, server, FRONT_TLS if tls else FRONT, f"crs-{server}{'-tls' if tls else ''}"
        self.tls, self.alone, self.back = tls, alone, f"{self.name}-back"
        self.conf = pathlib.Path(tempfile.mkdtemp(prefix="bhcrs-"))
        self.conf.chmod(0o755)
        try:
            self._start(labels)
        except BaseException:
            self.close()
            raise

    def _start(self, labels):
        program, conf, argv = PROGRAMS[self.server]
        (self.conf / f"{self.server}.conf").write_text(back_conf(FRONT) if self.alone else conf())
        (self.conf / "back.conf").write_text(back_conf())
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-days", "2", "-keyout", self.conf / "key.pem",
                        "-out", self.conf / "cert.pem"], check=True, capture_output=True, timeout=60)
        mounts = [arg for m in ("/usr:/usr:ro", "/lib:/lib:ro", "/lib64:/lib64:ro", f"{self.conf}:/conf:ro", *([f"{UNPACKED}:/unpacked:ro"] if UNPACKED_NGINX else [])) for arg in ("-v", m)]
        self.docker.run("-d", "--name", self.name, *(arg for label in labels for arg in ("--label", label)), *mounts, docker_env.BASE_IMAGE, *argv)
        self.pid = self.docker.inspect(self.name)["State"]["Pid"]
        self.net = ["nsenter", "-t", str(self.pid), "-n"]
        subprocess.run([*self.net, "ip", "link", "set", "lo", "up"], check=True, timeout=30)
        if not self.alone:
            self.docker.run("-d", "--name", self.back, "--network", f"container:{self.name}", "--label", "bulkhead.web=off", *mounts, docker_env.BASE_IMAGE, NGINX, "-c", "/conf/back.conf",
                            "-e", "/tmp/error.log")
        for port in (self.port,) if self.alone else (self.port, BACK):
            wait_for(lambda: (docker_env.listens(f"/proc/{self.pid}/ns/net", port), self.docker.docker("logs", self.name, check=False)), 60, f"{self.server} and its back end listen on port {port}")

    @contextlib.contextmanager
    def client(self):
        client = subprocess.Popen([*self.net, "/usr/bin/python3", str(HERE / "crs_client.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield client
        finally:
            client.kill()
            client.wait()
            client.stdin.close()
            client.stdout.close()

    def close(self):
        for name in (self.name, self.back):
            self.docker.docker("rm", "-f", "-v", name, check=False)
        shutil.rmtree(self.conf, ignore_errors=True)


def source_of(i):
    return f"127.{1 + i // 62500}.{i // 250 % 250}.{1 + i % 250}"


def send_all(front, requests, sensor):
    """The status of each answer. Never more under way than the inspector can take: nothing here is about load."""
    statuses = []
    with front.client() as client:
        for at in range(0, len(requests), AT_ONCE):
            for i in range(at, min(at + AT_ONCE, len(requests))):
                one = {"source": source_of(i), "port": front.port, "tls": front.tls, "request": base64.b64encode(requests[i]).decode()}
                client.stdin.write(json.dumps(one) + "\n")
                client.stdin.flush()
                line = client.stdout.readline()
                assert line, f"the client ended at request {i}"
                statuses.append(int(line))
            wait_for(lambda: (sensor.status()["web"]["waiting"] < AT_ONCE, sensor.status()["web"]), 60, "the inspector takes what was sent")
    return statuses


def rules_found(root, container, count=1):
    """Of each address that sent something: the rules of the findings."""
    found, before = {}, None
    while True:
        query = {"limit": 500, "kind": "web", "container": container} | ({"cursor": before} if before else {})
        answer = root.get("/api/v1/findings?" + urllib.parse.urlencode(query))
        assert answer.status == 200, answer
        for f in answer.json["findings"]:
            fields = f["output_fields"]
            if f["rule"].startswith("Web attack:"):
                found.setdefault(fields["web.source"], set()).update(int(r) for r in fields["web.rules"])
        before = answer.json["next"]
        if not before:
            return found


def run(docker, sensor, root, server, requests, tls=False):
    """[(status, rules)] of all requests, through this server."""
    before = sensor.status()["web"]
    with contextlib.closing(Front(docker, server, tls)) as front:
        # a last one, so that what came before it is known to be told
        last = b"GET /?last=/etc/passwd HTTP/1.1\r\nHost: localhost\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"
        statuses = send_all(front, [*requests, last], sensor)
        assert statuses[-1] == 200, f"expected {server} to answer the last request, saw {statuses[-1]}"
        wait_for(lambda: (source_of(len(requests)) in (found := rules_found(root, front.name)), len(found)), 60, "the last request is found")
        settled = {"n": -1}

        def quiet():
            n, waiting = len(rules_found(root, front.name)), sensor.status()["web"]["waiting"]
            same, settled["n"] = n == settled["n"] and not waiting, n
            return same, (n, waiting)
        wait_for(quiet, 60, "no more findings come", every=2.5)  # one without an answer is told after two seconds
        found = rules_found(root, front.name)
    after = sensor.status()["web"]
    lost = {k: after["lost"][k] - before["lost"][k] for k in after["lost"] if after["lost"][k] != before["lost"][k]}
    skipped = after["skipped"]["requests"] - before["skipped"]["requests"]
    coarse = after["findings"]["coarse"] - before["findings"]["coarse"]  # told together with others, and not by their address
    return [(statuses[i], found.get(source_of(i), set())) for i in range(len(requests))], {"lost": lost, "skipped": skipped, "coarse": coarse}


@contextlib.contextmanager
def platform():
    """An engine, a central and a sensor of their own: (docker, sensor, the central's API)."""
    import central_env
    import sensor_env

    build = sensor_env.build_dir()
    with docker_env.DockerEnv() as docker, central_env.Central() as central:
        docker.import_base_image(build)
        with central_env.connected_sensor(build, docker, central, "auto", web=True) as sensor:
            yield docker, sensor, central.root()
