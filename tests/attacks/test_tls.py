"""Attacks inside TLS: found in the clear text of the library that the server uses, in whichever container and file it is."""
import contextlib
import pathlib
import shutil
import subprocess
import sys
import urllib.parse

import central_env
import docker_env
import pytest
from docker_env import wait_for
from test_web import findings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "web"))

import crs_live  # noqa: E402

PORT = 8443
ATTACK = "/items?id=" + urllib.parse.quote("1 UNION SELECT password FROM users--")
NGINX = """
user root;
worker_processes 2;
pid /tmp/nginx.pid;
error_log /dev/stderr;
events {}
http {
  access_log off;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server { listen %d ssl%s; ssl_certificate /srv/cert.pem; ssl_certificate_key /srv/cert.pem; location / { return 200 "fine\\n"; } }
}
"""


class Server:
    """A TLS server in a container; requests come from the host, within the container's network."""

    def __init__(self, docker, name, files, *command):
        self.docker, self.name = docker, name
        docker.run("-d", "--name", name, "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", "-v", f"{files}:/srv:ro", docker_env.BASE_IMAGE, *command)
        self.pid = docker.inspect(name)["State"]["Pid"]
        self.id = docker.inspect(name)["Id"]
        self.inside("ip", "link", "set", "lo", "up")
        wait_for(lambda: docker_env.listens(f"/proc/{self.pid}/ns/net", PORT), 30, f"{name} listens")

    def inside(self, *argv):
        return subprocess.run(["nsenter", "-t", str(self.pid), "-n", *argv], check=True, capture_output=True, text=True, timeout=60).stdout

    def ask(self, target, *options):
        return self.inside("curl", "-sSk", "--http1.1", *options, f"https://shop.example:{PORT}{target}", "--resolve", f"shop.example:{PORT}:127.0.0.1")

    def close(self):
        self.docker.remove(self.name)


@pytest.fixture(scope="module")
def files(build, tmp_path_factory):
    where = tmp_path_factory.mktemp("tls")
    where.chmod(0o755)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=shop.example", "-keyout", "key.pem", "-out", "crt.pem"], cwd=where, check=True, capture_output=True, timeout=60)
    (where / "cert.pem").write_text((where / "key.pem").read_text() + (where / "crt.pem").read_text())
    (where / "nginx.conf").write_text(NGINX % (PORT, ""))
    (where / "proxied.conf").write_text(NGINX % (PORT, " proxy_protocol"))
    for name in ("tls_gnutls", "tls_static"):
        if (build / "tests/attacks" / name).exists():
            shutil.copy(build / "tests/attacks" / name, where / name)
    if (where / "tls_static").exists():
        subprocess.run(["strip", "-s", "-o", where / "stripped", where / "tls_static"], check=True, timeout=60)
    if crs_live.NGINX_HERE:
        shutil.copy(crs_live.NGINX_HERE, where / "nginx")
    return where


@pytest.fixture(scope="module")
def servers():
    """By name, of containers that run before the sensor is started."""
    return {}


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend, files, servers):
    with contextlib.ExitStack() as stack:
        if (files / "nginx").exists():
            servers["nginx"] = stack.enter_context(contextlib.closing(Server(docker, "tls-nginx", files, "/srv/nginx", "-c", "/srv/nginx.conf", "-g", "daemon off;")))
        yield stack.enter_context(central_env.connected_sensor(build, docker, central, backend, web=True))


def tls_of(sensor, name):
    return next((c["tls"] for c in sensor.status()["web"]["tls"]["containers"] if c["container"] == name), None)


def wait_tls(sensor, name, text):
    wait_for(lambda: (tls_of(sensor, name) == text, sensor.status()["web"]["tls"]), 30, f"the status says of {name}: {text}")


def attack_is_found(root, sensor, server):
    server.ask("/items?id=1")
    server.ask(ATTACK)

    def found():
        got = [f for f in findings(root, server.name) if f["rule"].startswith("Web attack:") and f["output_fields"]["web.class"] == "sqli"]
        return (True, got) if len(got) == 1 else (False, ([f["output"] for f in findings(root, server.name)], sensor.status()["web"]))
    (finding,) = wait_for(found, 30, f"the attack on {server.name} is found")
    fields = finding["output_fields"]
    assert fields["web.path"] == "/items" and fields["web.host"] == f"shop.example:{PORT}" and fields["web.status"] == 200, fields
    assert finding["container_id"] == server.id, finding


def test_in_openssl_of_a_container_that_ran_before_the_sensor(root, sensor, servers):
    if "nginx" not in servers:
        pytest.skip("nginx is neither installed nor unpacked (dev test integration)")
    wait_tls(sensor, "tls-nginx", "clear: OpenSSL 3")
    attack_is_found(root, sensor, servers["nginx"])


def test_after_a_kill_probes_are_set_anew(root, sensor, docker, files):
    """None of before is left, which would tell everything twice."""
    if not (files / "nginx").exists():
        pytest.skip("nginx is neither installed nor unpacked (dev test integration)")
    with contextlib.closing(Server(docker, "tls-killed", files, "/srv/nginx", "-c", "/srv/nginx.conf", "-g", "daemon off;")) as server:
        server.ask("/")
        wait_tls(sensor, server.name, "clear: OpenSSL 3")
        sensor.kill()
        server.ask("/")
        sensor.start()
        wait_for(lambda: (sensor.status()["web"]["state"] == "ready" and sensor.status()["bus"]["state"] == "connected", sensor.status()["web"]), 60, "web traffic is looked at again")
        wait_tls(sensor, server.name, "clear: OpenSSL 3")
        attack_is_found(root, sensor, server)


def edge_of(root, server):
    """What the map says of the clients of a server."""
    answer = root.get("/api/v1/graph?" + urllib.parse.urlencode({"level": "container", "container": server.id}))
    assert answer.status == 200, answer
    return [e for e in answer.json["edges"] if e["port"] == PORT]


def test_behind_what_a_proxy_says(root, sensor, docker, files):
    """PROXY protocol: handshake and clear text are found behind the header."""
    if not (files / "nginx").exists():
        pytest.skip("nginx is neither installed nor unpacked (dev test integration)")
    with contextlib.closing(Server(docker, "tls-proxied", files, "/srv/nginx", "-c", "/srv/proxied.conf", "-g", "daemon off;")) as server:
        server.ask("/", "--haproxy-protocol")
        wait_tls(sensor, server.name, "clear: OpenSSL 3")
        server.ask("/items?id=1", "--haproxy-protocol", "--tls-max", "1.2")
        server.ask(ATTACK, "--haproxy-protocol", "--tls-max", "1.2")

        def found():
            got = [f["output_fields"] for f in findings(root, server.name)]
            return any(f["web.class"] == "sqli" and f["web.path"] == "/items" and f["web.status"] == 200 for f in got), (got, sensor.status()["web"])
        wait_for(found, 30, "the attack is found")
        wait_for(lambda: (any(e["tls_certificate"] == "CN=shop.example" for e in edge_of(root, server)), edge_of(root, server)), 30, "the map has the certificate of the handshake")


def test_in_gnutls(root, sensor, docker, files):
    with contextlib.closing(Server(docker, "tls-gnutls", files, "/srv/tls_gnutls", str(PORT), "/srv/cert.pem")) as server:
        wait_tls(sensor, server.name, "clear: GnuTLS")
        attack_is_found(root, sensor, server)


def test_in_a_program_that_has_the_library_in_it(root, sensor, docker, files):
    if not (files / "tls_static").exists():
        pytest.skip("OpenSSL's static library (libssl-dev) was not there when this was built")
    with contextlib.closing(Server(docker, "tls-static", files, "/srv/tls_static", str(PORT), "/srv/cert.pem")) as server:
        wait_tls(sensor, server.name, "clear: OpenSSL in the program")
        attack_is_found(root, sensor, server)
        assert {"library": "OpenSSL in the program", "containers": 1} in sensor.status()["web"]["tls"]["libraries"]
    # nobody runs it any more
    wait_for(lambda: (not any(x["library"] == "OpenSSL in the program" for x in sensor.status()["web"]["tls"]["libraries"]), sensor.status()["web"]["tls"]["libraries"]), 30,
             "the probes are taken away")


def test_what_stays_closed_is_said(root, sensor, docker, files):
    if not (files / "stripped").exists():
        pytest.skip("OpenSSL's static library (libssl-dev) was not there when this was built")
    with contextlib.closing(Server(docker, "tls-stripped", files, "/srv/stripped", str(PORT), "/srv/cert.pem")) as server:
        server.ask(ATTACK)
        wait_tls(sensor, server.name, "closed: the program stripped")
        assert "tls-stripped: closed: the program stripped" in sensor.cli("status").stdout
        # what the handshake says in clear is on the map all the same: who was asked for, how the client's library begins, whom the server says that it is
        docker.run("-d", "--name", "tls-client", "--network", f"container:{server.name}", "-v", "/usr:/usr:ro", "-v", "/lib:/lib:ro", "-v", "/lib64:/lib64:ro", docker_env.BASE_IMAGE, "/bin/sh", "-c",
                   f"while sleep 1; do /usr/bin/curl -sk --tls-max 1.2 --resolve shop.example:{PORT}:127.0.0.1 https://shop.example:{PORT}/; done")
        try:
            def on_the_map():
                edges = edge_of(root, server)
                return any(e["server_name"] == "shop.example" and e["tls_fingerprint"].startswith("t12d") and e["tls_certificate"] == "CN=shop.example" for e in edges), edges
            wait_for(on_the_map, 60, "the map has name, fingerprint and certificate of the handshake")
        finally:
            docker.remove("tls-client")
