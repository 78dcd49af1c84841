"""bulkhead-central alone: who may do what, and that nobody may do more. Real TLS, real logins, no sensor."""
import concurrent.futures
import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import stat
import struct
import subprocess
import sys
import time

import central_env
import pytest
import sensor_env
from central_env import COOKIE, DEVICE_COOKIE, FALLBACK_UID, Central, container, finding, inventory, parameters, routes
from docker_env import patience, wait_for

ROLES = ("none", "viewer", "analyst", "admin")
PASSWORD = "a password of twelve"


@pytest.fixture(scope="module")
def central():
    with Central() as c:
        c.sessions = {"none": c.client(), "admin": c.admin()}
        for role in ("viewer", "analyst"):
            c.sessions[role] = c.user(c.sessions["admin"], role, role, PASSWORD)
        yield c


@pytest.fixture
def admin(central):
    return central.sessions["admin"]


def status_fields(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def audit(admin, **wanted):
    query = "&".join(f"{k}={v}" for k, v in {"limit": 1000, **wanted}.items())
    answer = admin.get(f"/api/v1/audit?{query}")
    assert answer.status == 200, answer
    return answer.json["audit"]


# What it is allowed --------------------------------------------------------------------------------------------------

def test_it_runs_as_its_own_user_without_capabilities_and_enclosed(central):
    fields = status_fields(central.pid)
    assert fields["Uid"].split() == [str(FALLBACK_UID)] * 4, fields["Uid"]
    assert 0 not in map(int, fields["Gid"].split()), fields["Gid"]
    assert not fields.get("Groups", "").split(), fields["Groups"]
    for cap in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[cap], 16) == 0, (cap, fields[cap])
    assert fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2", fields
    for task in os.listdir(f"/proc/{central.pid}/task"):
        with open(f"/proc/{central.pid}/task/{task}/status") as f:
            assert "Seccomp:\t2" in f.read(), f"thread {task} is outside the filter"


def test_its_files_are_its_own(central):
    for path, mode in ((central.data_dir / "central", 0o700), (central.run_dir / "central", 0o755)):
        st = path.stat()
        assert st.st_uid == FALLBACK_UID and stat.S_IMODE(st.st_mode) == mode, (path, st)
    assert stat.S_IMODE((central.run_dir / "central" / "api.sock").stat().st_mode) == 0o666
    assert stat.S_IMODE((central.run_dir / "central" / "bus.sock").stat().st_mode) == 0o600
    for path in (central.db, central.data_dir / "central" / "tls" / "key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_it_refuses_to_run_as_root():
    with_root = Central(args=["--user", "root"])
    try:
        r = with_root.run()
        assert r.returncode == 1 and "not run as root" in r.stderr, r
    finally:
        with_root.close()


# Every route, every role ------------------------------------------------------------------------------------------------

def call(client, route):
    """The status of the route called by this client with nothing that would change anything. Streams are opened and closed."""
    if route.stream:
        opened = client.stream(route.url())
        if isinstance(opened, central_env.Answer):
            return opened
        opened.close()
        return None
    return client.call(route.method, route.url(), {} if route.body else None)


@pytest.mark.parametrize("role", ROLES)
def test_every_route_refuses_whom_it_must(central, role):
    client = central.sessions[role]
    for route in routes():
        if route.path == "/api/v1/logout" and role != "none":
            continue
        answer = call(client, route)
        if answer is None:
            assert ROLES.index(role) >= ROLES.index(route.role), f"{route} opened a stream for {role}"
        elif route.role != "none" and role == "none":
            assert answer.status == 401 and answer.code == "unauthorized", (route, answer)
            assert "Set-Cookie" not in answer.headers
        elif ROLES.index(role) < ROLES.index(route.role):
            assert answer.status == 403 and answer.code == "forbidden", (route, role, answer)
        else:
            assert answer.status not in (401, 403, 405, 500), (route, role, answer)


@pytest.mark.parametrize("role", ROLES[1:])
def test_a_token_may_what_its_role_may(central, admin, role):
    token = central.token(admin, role=role)
    # what only a password may do
    in_session = {("POST", "/api/v1/me/password"), ("POST", "/api/v1/tokens")}
    for route in routes():
        answer = call(token, route)
        if (route.method, route.path) in in_session:
            assert answer.status == 403 and answer.code == "session_needed", (route, answer)
        elif answer is None or ROLES.index(role) >= ROLES.index(route.role):
            assert answer is None or answer.status not in (401, 403, 405, 500), (route, role, answer)
        else:
            assert answer.status == 403 and answer.code == "forbidden", (route, role, answer)


def test_a_revoked_token_opens_nothing(central, admin):
    token = central.token(admin)
    assert token.get("/api/v1/me").status == 200
    live = token.stream("/api/v1/stream")
    events = token.stream("/api/v1/events/live")
    live.wait(lambda i, e, d: e == "hello")
    assert admin.delete(f"/api/v1/tokens/{token.id}").status == 204
    for route in routes():
        if route.role != "none":
            answer = call(token, route)
            assert answer is not None and answer.status == 401, (route, answer)
    assert live.ended.wait(15) and events.ended.wait(3), "a stream went on after its token was revoked"
    assert admin.delete(f"/api/v1/tokens/{token.id}").status == 204, "revoking again is no mistake"
    listed = {t["id"]: t for t in admin.get("/api/v1/tokens").json["tokens"]}
    assert not listed[token.id]["valid"] and listed[token.id]["revoked"], listed[token.id]


def test_unknown_addresses_methods_and_parameters(central, admin):
    assert admin.get("/api/v1/nothing").status == 404
    assert admin.get("/api").status == 404
    answer = admin.delete("/api/v1/users")
    assert answer.status == 405 and answer.headers["Allow"] == "GET, POST", answer
    answer = admin.get("/api/v1/containers?nmae=x")
    assert answer.status == 400 and answer.code == "unknown_parameter", answer
    for query in ("limit=0", "limit=1001", "limit=x", "limit=-1", "since=yesterday", "living=maybe", "cursor=zzz", "limit=99999999999999999999"):
        answer = admin.get(f"/api/v1/containers?{query}")
        assert answer.status == 400, (query, answer)
    assert admin.get("/api/v1/findings?priority=big").status == 400
    assert admin.get("/api/v1/events?types=nothing").status == 400
    assert admin.get("/api/v1/stream?after=x").status == 400
    for url in ("/api/v1/events", "/api/v1/processes"):
        answer = admin.get(url)
        assert answer.status == 503 and answer.code == "no_sensor", answer


def test_errors_are_json_and_answers_carry_their_armour(central, admin):
    for answer in (admin.get("/api/v1/me"), admin.get("/api/v1/nothing"), central.client().get("/api/v1/me"), admin.get("/healthz"), admin.get("/")):
        h = answer.headers
        assert h["X-Content-Type-Options"] == "nosniff" and h["X-Frame-Options"] == "DENY" and h["Referrer-Policy"] == "no-referrer", h
        assert "frame-ancestors 'none'" in h["Content-Security-Policy"] and "default-src 'self'" in h["Content-Security-Policy"], h
        assert "unsafe" not in h["Content-Security-Policy"] and "Server" not in h, h
    assert admin.get("/api/v1/me").headers["Cache-Control"] == "no-store"
    assert set(admin.get("/api/v1/nothing").json["error"]) == {"code", "message"}


# Hostile bodies ------------------------------------------------------------------------------------------------------------

HOSTILE = [b"", b" ", b"{", b"null", b"[]", b"1", b'"x"', b"{}x", b'{"a":1}', b'{"user":"a","user":"b"}', b"\xff\xfe", b"\x00" * 100, b'{"user":"\\u0000"}',
           b"[" * 3000, b'{"a":' * 700, b'{"user":1,"password":[],"name":{},"role":false,"value":"x","current":1,"new":1,"disabled":"x","days":-1}',
           b'{"user":"\\ud800","password":"x"}', b'{"value":1e400}', b'{"value":99999999999999999999}', b"<xml/>", b"user=a&password=b"]


@pytest.mark.parametrize("role", ROLES)
def test_hostile_bodies_are_refused_by_every_route_that_takes_one(central, admin, role):
    """For what they are where the role may call it; else for the role, whatever they are."""
    taking = [r for r in routes() if r.body]
    assert len(taking) >= 7
    client = central.sessions[role]
    paced = {429} if role in ("viewer", "analyst") else set()  # who is no administrator fills the audit log at a pace: test_central_abuse.py
    for route in taking:
        expected = {400, 404, 413, 415, 422} | paced if ROLES.index(role) >= ROLES.index(route.role) else {401} if role == "none" else {403}
        for body in HOSTILE:
            answer = client.call(route.method, route.url(), body)
            assert answer.status in expected and answer.code, (route, role, body[:40], answer)
        if expected in ({401}, {403}):
            continue
        # no body can be read as a form, by a browser's simple request
        for kind in (None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            answer = client.call(route.method, route.url(), b"{}", {"Content-Type": kind} if kind else {"Content-Type": ""})
            assert answer.status in {400, 415} | paced, (route, kind, answer)
    assert central.alive and admin.get("/api/v1/me").status == 200


# Each is one segment of a path, or one value of a query.
HOSTILE_TEXTS = ["..%2f..%2f..%2fetc%2fpasswd", "%2e%2e", "..%5c..%5c", "%00", "a%00b", "%ff%fe", "%c0%ae%c0%ae", "%0d%0aSet-Cookie:%20a=b", "%1b%5b2J", "'%20OR%20'1'='1", "%22%3E%3Cscript%3E",
                 "%25n%25s", "*", "-1", "99999999999999999999", "1e999", "NaN", "a" * 1200, "%F0%9F%92%A9", "%E2%80%AE", "%2f", "?", "(" * 200]


def test_hostile_names_in_paths_are_refused_by_every_route(central, admin):
    named = [r for r in routes() if "{" in r.path]
    assert len(named) > 20, named
    for route in named:
        for text in HOSTILE_TEXTS:
            answer = admin.call(route.method, route.url(text), {} if route.body else None)
            assert 400 <= answer.status < 500 and answer.status not in (401, 403) and answer.code, (route, text, answer)
            assert "Set-Cookie" not in answer.headers and b"root:" not in answer.body, (route, text, answer)
    assert admin.get("/api/v1/me").status == 200


def test_hostile_values_in_queries_break_no_route(central, admin):
    """A search may find nothing with them; what must be a number or a name of a list is refused."""
    known, tried = parameters(), 0
    for route in routes():
        for name in known[route.method, route.path]:
            if route.method != "GET" or route.stream:
                continue
            tried += 1
            for text in HOSTILE_TEXTS[tried % 2::2]:
                answer = admin.get(f"{route.url()}?{name}={text}")
                assert answer.status in (200, 400, 404, 414) or answer.code in ("no_sensor", "node_away"), (route, name, text, answer)
                assert "Set-Cookie" not in answer.headers, (route, name, text)
            assert admin.get(f"{route.url()}?{name}=1&{name}=1").status >= 400, (route, name, "twice")
    assert tried > 100, tried
    assert central.alive and admin.get("/api/v1/me").status == 200


def test_oversized_bodies_are_refused_before_they_are_read(central, admin):
    for route in [r for r in routes() if r.body]:
        client = central.sessions["none"] if route.role == "none" else admin
        if route.path.startswith(("/api/v1/rules/", "/api/v1/policies/")) or route.path == "/api/v1/models/import":  # texts may have more, as JSON twice that: the announced length is enough to refuse
            connection = client.connect()
            connection.putrequest(route.method, route.url())
            for name, value in {**client._headers(route.method, None), "Content-Type": "application/json", "Content-Length": "1100000"}.items():
                connection.putheader(name, value)
            connection.endheaders()
            assert connection.getresponse().status == 413, route
            connection.close()
            continue
        answer = client.call(route.method, route.url(), b'{"a":"' + b"x" * 70000 + b'"}')
        assert answer.status == 413, (route, answer)
    head = f"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {10 ** 9}\r\n\r\n"
    began = time.monotonic()
    assert central_env.statuses(central.raw(head.encode())) == [413]
    assert time.monotonic() - began < 4 * patience(), "the answer waited for the body"


# Sessions --------------------------------------------------------------------------------------------------------------------

def test_the_cookie_is_for_this_host_https_and_no_script(central):
    answer = central.client().post("/api/v1/login", {"user": "viewer", "password": PASSWORD})
    cookie = answer.set_cookie()
    assert len(answer.cookie()) >= 43, cookie
    for attribute in ("Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age="):
        assert attribute in cookie, cookie
    assert "Domain" not in cookie


def test_a_session_id_from_before_the_login_is_worthless_after_it(central):
    planted = "A" * 43
    attacker, victim = central.client(cookie=planted), central.client(cookie=planted)
    answer = victim.post("/api/v1/login", {"user": "viewer", "password": PASSWORD})
    assert answer.status == 200 and answer.cookie() != planted
    assert attacker.get("/api/v1/me").status == 401
    # a real session that logs in again: the old id ends, its rights do not move on
    first = answer.cookie()
    again = central.client(cookie=first).post("/api/v1/login", {"user": "analyst", "password": PASSWORD})
    assert again.status == 200 and again.cookie() != first
    assert central.client(cookie=first).get("/api/v1/me").status == 401
    # two cookies of the name: neither counts
    doubled = central.client().get("/api/v1/me", headers={"Cookie": f"{COOKIE}={again.cookie()}; {COOKIE}={planted}"})
    assert doubled.status == 401, doubled


def test_logout_ends_the_session_and_its_streams(central):
    c = central.login("viewer", PASSWORD)
    live = c.stream("/api/v1/stream")
    live.wait(lambda i, e, d: e == "hello")
    answer = c.post("/api/v1/logout")
    assert answer.status == 204 and "Max-Age=0" in answer.set_cookie() and not answer.cookie(DEVICE_COOKIE), answer.headers
    assert c.get("/api/v1/me").status == 401
    assert live.ended.wait(15), "the stream went on"


def test_writes_of_a_session_need_its_own_csrf_value(central, admin):
    other = central.login("admin", central.password)
    for csrf in (None, "", "x", other.csrf, admin.csrf[:-1], admin.csrf + "0"):
        c = central.client(cookie=admin.cookie, csrf=csrf)
        answer = c.post("/api/v1/users", {"name": "forged", "role": "admin"})
        assert answer.status == 403 and answer.code == "csrf", (csrf, answer)
        assert c.delete("/api/v1/users/viewer").code == "csrf"
    # with everything right, but sent by another site's page
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}):
        answer = admin.post("/api/v1/users", {"name": "forged", "role": "admin"}, headers)
        assert answer.status == 403 and answer.code == "cross_site", (headers, answer)
        answer = central.client().post("/api/v1/login", {"user": "viewer", "password": PASSWORD}, headers)
        assert answer.status == 403, (headers, answer)
    own = {"Origin": f"https://127.0.0.1:{central.port}", "Host": f"127.0.0.1:{central.port}", "Sec-Fetch-Site": "same-origin"}
    assert central.client().post("/api/v1/login", {"user": "viewer", "password": PASSWORD}, own).status == 200
    assert admin.get("/api/v1/users/forged").status == 404
    assert admin.get("/api/v1/me").json["csrf"] == admin.csrf, "a page that is loaded anew gets the value again"


def test_every_write_of_a_session_needs_csrf(central, admin):
    bare = central.client(cookie=admin.cookie)
    writes = [r for r in routes() if r.method != "GET" and r.role != "none"]
    assert len(writes) > 25, writes
    for route in writes:
        body = {} if route.body else None
        answer = bare.call(route.method, route.url(), body)
        assert answer.status == 403 and answer.code == "csrf", (route, answer)
        answer = admin.call(route.method, route.url(), body, {"Origin": "https://evil.example"})
        assert answer.status == 403 and answer.code == "cross_site", (route, answer)
    assert admin.get("/api/v1/me").status == 200, "logged out by neither"


def test_a_changed_disabled_or_deleted_user_counts_at_once(central, admin):
    c = central.user(admin, "changing", "analyst")
    token = central.token(c)
    assert token.get("/api/v1/settings").status == 200
    assert admin.patch("/api/v1/users/changing", {"role": "viewer"}).json["user"]["role"] == "viewer"
    assert token.get("/api/v1/settings").status == 403, "the token's role fell with its user's"
    assert c.get("/api/v1/settings").status == 403
    live = c.stream("/api/v1/stream")
    assert admin.patch("/api/v1/users/changing", {"disabled": True}).status == 200
    assert c.get("/api/v1/me").status == 401 and token.get("/api/v1/me").status == 401
    assert live.ended.wait(15)
    assert central.login("changing", PASSWORD).status == 401
    assert admin.patch("/api/v1/users/changing", {"disabled": False}).status == 200
    assert c.get("/api/v1/me").status == 401, "its sessions ended"
    assert token.get("/api/v1/me").status == 200
    assert admin.delete("/api/v1/users/changing").status == 204
    assert token.get("/api/v1/me").status == 401
    assert central.login("changing", PASSWORD).status == 401


def test_nobody_locks_the_last_administrator_out(central, admin):
    for answer in (admin.patch("/api/v1/users/admin", {"role": "viewer"}), admin.patch("/api/v1/users/admin", {"disabled": True}), admin.delete("/api/v1/users/admin"),
                   central.root().delete("/api/v1/users/admin"), central.root().patch("/api/v1/users/admin", {"disabled": True})):
        assert answer.status == 409, answer
    assert admin.post("/api/v1/users", {"name": "admin", "role": "viewer"}).status == 409
    for name in ("", "Big", "a b", "../x", "a/b", "-x", "x" * 65, "ä"):
        assert admin.post("/api/v1/users", {"name": name, "role": "viewer"}).status == 400, name


def test_tokens_give_no_more_than_their_maker_has(central, admin):
    viewer = central.sessions["viewer"]
    assert viewer.post("/api/v1/tokens", {"name": "x", "role": "admin"}).status == 403
    assert viewer.post("/api/v1/tokens", {"name": "x", "user": "admin"}).status == 403
    assert viewer.get("/api/v1/tokens?all=true").status == 403
    mine, admins = central.token(viewer), central.token(admin)
    assert viewer.delete(f"/api/v1/tokens/{admins.id}").status == 404, "another's token is as good as none"
    assert admins.get("/api/v1/me").status == 200
    assert {t["id"] for t in viewer.get("/api/v1/tokens").json["tokens"]} == {mine.id}
    assert admin.delete(f"/api/v1/tokens/{mine.id}").status == 204
    assert mine.get("/api/v1/me").status == 401
    for bad in ("bh_", "bh_" + "A" * 43, mine.token + "x", mine.token[:-1], "Bearer", "'; DROP TABLE tokens; --"):
        assert central.client(token=bad).get("/api/v1/me").status == 401
    secret = admins.token.encode()
    assert not any(secret in p.read_bytes() for p in central.db.parent.glob("bulkhead.db*")), "a token's secret is on the disk"


# Passwords -------------------------------------------------------------------------------------------------------------------

def test_a_first_password_must_be_changed_before_anything_else(central, admin):
    made = admin.post("/api/v1/users", {"name": "fresh", "role": "admin"}).json
    c = central.login("fresh", made["password"])
    assert c.get("/api/v1/me").json["must_change_password"]
    for route in routes():
        if route.role == "none" or route.path in ("/api/v1/me", "/api/v1/me/password", "/api/v1/logout"):
            continue
        answer = call(c, route)
        assert answer is not None and answer.status == 403 and answer.code == "password_change_required", (route, answer)
    for bad in ("short", "a" * 20, made["password"], "x" * 257):
        assert c.post("/api/v1/me/password", {"current": made["password"], "new": bad}).status == 400, bad
    assert c.post("/api/v1/me/password", {"current": made["password"], "new": PASSWORD}).status == 204
    assert c.get("/api/v1/users").status == 200
    assert central.login("fresh", made["password"]).status == 401
    assert admin.delete("/api/v1/users/fresh").status == 204


def test_changing_and_resetting_a_password_ends_other_sessions(central, admin):
    here = central.user(admin, "mover", "viewer")
    there, token = central.login("mover", PASSWORD), central.token(here)
    assert here.post("/api/v1/me/password", {"current": "wrong wrong wrong", "new": "another password"}).status == 403
    assert here.post("/api/v1/me/password", {"current": PASSWORD, "new": "another password"}).status == 204
    assert there.get("/api/v1/me").status == 401 and here.get("/api/v1/me").status == 200
    assert token.get("/api/v1/me").status == 200, "the own change leaves the own tokens"
    reset = admin.post("/api/v1/users/mover/password")
    assert reset.status == 200 and len(reset.json["password"]) >= 24, reset
    assert here.get("/api/v1/me").status == 401
    assert token.get("/api/v1/me").status == 401, "who takes an account back takes its tokens, too"
    assert central.login("mover", "another password").status == 401
    assert central.login("mover", reset.json["password"]).get("/api/v1/me").json["must_change_password"]
    assert admin.post("/api/v1/users/admin/password").status == 409, "the own password needs the current one"


def test_the_command_line_resets_a_password_while_it_runs(central, admin):
    c = central.user(admin, "loser", "viewer")
    r = central.run("--set-password", "loser")
    assert r.returncode == 0, r
    said = json.loads(r.stdout)
    assert said["user"] == "loser"
    assert c.get("/api/v1/me").status == 401
    assert central.login("loser", said["password"]).get("/api/v1/me").json["must_change_password"]
    r = central.run("--set-password", "nobody-there")
    assert r.returncode == 1 and "no user" in r.stderr and not r.stdout, r
    assert any(row["action"] == "user.reset" and row["actor"] == "root (local)" for row in audit(admin, object="loser"))


def test_guessing_is_slowed_down_for_the_guesser_alone(central, admin):
    central.user(admin, "target", "viewer")
    c, seen = central.client(), []
    for i in range(12):
        answer = c.post("/api/v1/login", {"user": "target", "password": f"guess number {i}"})
        seen.append(answer.status)
        if answer.status == 429:
            assert int(answer.headers["Retry-After"]) >= 1 and answer.code == "too_many_attempts", answer
    assert seen[:4] == [401] * 4 and 429 in seen[4:8], seen
    # the right password does not open a closed door, and does not tell that it would
    right = [c.post("/api/v1/login", {"user": "target", "password": PASSWORD}).status for _ in range(2)]
    assert 429 in right, right
    assert central.root().get("/api/v1/me").status == 200
    unknown = c.post("/api/v1/login", {"user": "nobody-at-all", "password": PASSWORD})
    wrong = c.post("/api/v1/login", {"user": "viewer", "password": "wrong password"})
    assert (unknown.status, unknown.json) == (wrong.status, wrong.json), "an unknown user is told apart from a wrong password"
    rows = audit(admin, action="session.login", object="target")
    assert sum(row["outcome"] == "failed" for row in rows) >= 5 and any("must wait" in row["detail"] for row in rows), rows


def test_who_logged_in_before_is_not_locked_out_by_guesses_from_the_same_address():
    with Central() as central:
        admin = central.admin()
        central.user(admin, "other", "viewer")

        def login(user, password, device=None):
            return central.client().post("/api/v1/login", {"user": user, "password": password}, headers={"Cookie": f"{DEVICE_COOKIE}={device}"} if device else None)

        def shut(device=None):
            """Wrong guesses until one is refused unheard; how many were heard. The budget grows back while a slow machine hashes."""
            for heard in range(100):
                status = login("admin" if device else f"guess{heard}", f"guess number {heard}", device).status
                if status == 429:
                    return heard
                assert status == 401, status
            raise AssertionError("100 guesses, and none was refused")

        def refused(user, password, device=None):
            """While the door is shut, and shut again where a slow machine let one guess more grow back meanwhile."""
            return any(login(user, password, device).status == 429 or shut() < 0 for _ in range(5))
        known = login("admin", central.password)
        device = known.cookie(DEVICE_COOKIE)
        for attribute in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={180 * 86400}"):
            assert attribute in known.set_cookie(DEVICE_COOKIE), known.headers
        heard = shut()
        assert heard >= 29, heard
        assert refused("admin", central.password) and refused("other", PASSWORD), "the address is closed for who is not known there"
        again = login("admin", central.password, device)
        assert again.status == 200 and again.cookie(DEVICE_COOKIE) not in (None, device), again
        # it is the browser's own budget, for the one user that it was given to
        assert refused("other", PASSWORD, device)
        assert refused("admin", central.password, device[:-1] + ("0" if device[-1] != "0" else "1"))
        heard = shut(device)
        assert heard >= 5, heard
        assert login("admin", central.password, again.cookie(DEVICE_COOKIE)).status == 200, "another device of the user's goes on"
        # a session may change its password while the door is closed for others
        assert admin.post("/api/v1/me/password", {"current": central.password, "new": "yet another password"}).status == 204
        central.password = "yet another password"

        # the failures are forgotten with a restart, the devices are not
        central.restart()
        shut()
        assert refused("admin", central.password)
        assert login("admin", central.password, again.cookie(DEVICE_COOKIE)).status == 200


def test_many_guesses_at_once_leave_the_api_alive(central, admin):
    def guess(i):
        return central.client().post("/api/v1/login", {"user": f"crowd{i}", "password": "x" * 200}).status
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        guesses = [pool.submit(guess, i) for i in range(24)]
        began = time.monotonic()
        assert admin.get("/api/v1/me").status == 200
        waited = time.monotonic() - began
        seen = [g.result() for g in guesses]
    assert waited < 5 * patience(), waited
    assert set(seen) <= {401, 429}, seen


# The local socket ------------------------------------------------------------------------------------------------------------

def test_on_the_local_socket_root_is_administrator_and_others_log_in(central):
    root = central.root()
    me = root.get("/api/v1/me").json
    assert (me["user"], me["role"], me["by"], me["csrf"]) == ("root (local)", "admin", "local", None), me
    assert root.post("/api/v1/users", {"name": "by-root", "role": "viewer"}).status == 201
    made = root.post("/api/v1/tokens", {"name": "cli", "user": "by-root", "role": "viewer"})
    assert made.status == 201 and root.post("/api/v1/tokens", {"name": "cli"}).status == 400
    script = ("import sys; sys.path.insert(0, sys.argv[1]); import central_env, pathlib, os; os.setgid(65534); os.setuid(65534)\n"
              "class C: run_dir = pathlib.Path(sys.argv[2]); streams = []; log = None\n"
              "print(central_env.Client(C, local=True).get('/api/v1/users').status, "
              "central_env.Client(C, local=True, token=sys.argv[3]).get('/api/v1/me').json['user'])")
    r = subprocess.run([sys.executable, "-c", script, os.path.dirname(central_env.__file__), str(central.run_dir), made.json["secret"]],
                       capture_output=True, text=True, timeout=30)
    assert r.stdout.split() == ["401", "by-root"], (r.stdout, r.stderr)
    assert root.delete("/api/v1/users/by-root").status == 204


# The audit log ------------------------------------------------------------------------------------------------------------------

def test_every_write_has_its_row_and_the_chain_holds(central, admin):
    c = central.user(admin, "audited", "viewer")
    token = central.token(c)
    assert c.delete(f"/api/v1/tokens/{token.id}").status == 204
    assert admin.patch("/api/v1/users/audited", {"role": "analyst"}).status == 200
    assert admin.put("/api/v1/settings/backup.keep", {"value": 5}).status == 204
    assert admin.put("/api/v1/settings/backup.keep", {"value": 0}).status == 400
    assert admin.put("/api/v1/settings/nothing", {"value": 1}).status == 404
    assert c.post("/api/v1/users", {"name": "x", "role": "admin"}).status == 403
    assert c.post("/api/v1/logout").status == 204
    admin.post("/api/v1/users/audited/password")
    assert admin.delete("/api/v1/users/audited").status == 204
    seen = {(r["actor"], r["action"], r["object"], r["outcome"]) for r in audit(admin)}
    for expected in (("admin", "user.create", "audited", "ok"), ("audited", "session.login", "audited", "ok"), ("audited", "user.password", "audited", "ok"),
                     ("audited", "token.create", token.id, "ok"), ("audited", "token.revoke", token.id, "ok"), ("admin", "user.change", "audited", "ok"),
                     ("admin", "setting.set", "backup.keep", "ok"), ("audited", "user.create", "", "denied"), ("audited", "session.logout", "audited", "ok"),
                     ("admin", "user.reset", "audited", "ok"), ("admin", "user.delete", "audited", "ok"), ("system", "user.create", "admin", "ok")):
        assert expected in seen, (expected, sorted(seen))
    rows = audit(admin, object="audited")
    assert all(r["address"] == "127.0.0.1" for r in rows if r["actor"] == "admin"), rows
    verified = admin.get("/api/v1/audit/verify").json
    assert verified["intact"] and verified["rows"] > 10, verified
    assert {s["key"]: s["value"] for s in admin.get("/api/v1/settings").json["settings"]}["backup.keep"] == 5
    names = {r.audit for r in routes() if r.audit}
    assert {r["action"] for r in audit(admin)} <= names | {"user.create"}


def test_a_row_that_was_changed_behind_its_back_shows(central, admin):
    with sqlite3.connect(central.db, timeout=10) as db:
        table = next(n for (n,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'audit%'"))
        guards = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?", (table,)).fetchall()
        for name, _ in guards:
            db.execute(f"DROP TRIGGER {name}")
        row, = db.execute(f"SELECT max(id) FROM {table}").fetchone()
        before, = db.execute(f"SELECT actor FROM {table} WHERE id = ?", (row,)).fetchone()
        db.execute(f"UPDATE {table} SET actor = 'somebody' WHERE id = ?", (row,))
    try:
        verified = admin.get("/api/v1/audit/verify").json
        assert not verified["intact"] and verified["first_broken"] == row, verified
    finally:
        with sqlite3.connect(central.db, timeout=10) as db:
            db.execute(f"UPDATE {table} SET actor = ? WHERE id = ?", (before, row))
            for _, sql in guards:
                db.execute(sql)
    assert admin.get("/api/v1/audit/verify").json["intact"]


# Status and metrics ----------------------------------------------------------------------------------------------------------------

def test_status_and_metrics_say_how_it_is(central, admin):
    status = admin.get("/api/v1/status").json
    assert status["central"]["certificate"] == central.announced["certificate"] and status["overview"]["nodes_up"] == 0, status
    assert status["central"]["upkeep"]["problem"] is None and status["central"]["store"]["schema"] >= 1, status
    text = admin.get("/metrics").body.decode()
    values = dict(re.findall(r"^(bulkhead_\w+)(?:\{[^}]*\})? ([0-9.]+)$", text, re.M))
    assert int(values["bulkhead_http_requests_total"]) > 10 and 0 < int(values["bulkhead_resident_bytes"]) < 256 << 20, values
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) bulkhead_\w+ .+|bulkhead_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.]+', line), line
    nobody = central.client()
    assert nobody.get("/healthz").body == b"ok\n" and nobody.get("/readyz").status == 200
    head = nobody.call("HEAD", "/healthz")
    assert head.status == 200 and head.body == b""


# Start, stop, damage ------------------------------------------------------------------------------------------------------------------

def test_the_first_start_prints_a_password_and_no_later_one_does():
    with Central() as c:
        assert c.announced["user"] == "admin" and len(c.announced["password"]) >= 24 and c.announced["url"] == f"https://127.0.0.1:{c.port}/"
        admin = c.admin()
        certificate = c.announced["certificate"]
        c.restart()
        assert "password" not in c.announced and c.announced["certificate"] == certificate, c.announced
        assert admin.get("/api/v1/me").status == 200, "a session outlives a restart"
        c.kill()
        c.start()
        assert "password" not in c.announced
        assert admin.get("/api/v1/me").status == 200, "a session outlives SIGKILL"
        assert c.password.encode() not in c.log.read_bytes()


def test_a_first_start_that_fails_makes_no_user_whose_password_nobody_knows():
    c = Central()
    try:
        failed = c.run("--run-dir", str(c.dir / ("long" * 25)))
        assert failed.returncode == 1 and not failed.stdout and "too long" in failed.stderr, failed
        c.start()
        assert c.password and c.admin().get("/api/v1/me").json["role"] == "admin"
        c.stop()
    finally:
        c.close()


def test_sigterm_stops_it_with_streams_and_connections_open():
    with Central() as c:
        admin = c.admin()
        streams = [admin.stream("/api/v1/stream"), admin.stream("/api/v1/events/live")]
        idle = [c.client() for _ in range(5)]
        assert all(i.get("/healthz").status == 200 for i in idle)
        streams[0].wait(lambda i, e, d: e == "hello")
        began = time.monotonic()
        c.stop()
        assert time.monotonic() - began < 5 * patience()
        assert all(s.ended.wait(15) for s in streams)
        assert not (c.run_dir / "central" / "api.sock").exists() and not (c.run_dir / "central" / "bus.sock").exists()
        assert list((c.data_dir / "central" / "backup").glob("*.db")), "a clean stop leaves a backup"
        c.start()
        c.stop(signal.SIGINT)
        # a signal during the start is obeyed when it is over
        c.start()


def damage(path):
    with open(path, "r+b") as f:
        size = f.seek(0, 2)
        for at in range(0, size, 4096):
            f.seek(at + (100 if at == 0 else 0))
            f.write(os.urandom(512))


def test_a_clock_that_jumps_ends_sessions_and_nothing_else(tmp_path):
    """Ten years ahead while it runs, and back again: what is kept stays, what has an end in wall time is made good."""
    if sensor_env.sanitized(sensor_env.build_dir()):
        pytest.skip("a sanitizer must be the first library")
    tmp_path.chmod(0o755)
    shift = tmp_path / "shift"
    shift.write_bytes(struct.pack("=q", 0))
    shift.chmod(0o644)
    years = 10 * 365 * 86400

    def jump(seconds):
        with open(shift, "r+b") as f:  # in place: it is mapped
            f.write(struct.pack("=q", seconds))
    library = sensor_env.build_dir() / "tests" / "integration" / "clock-shift.so"
    with Central(env={"LD_PRELOAD": str(library), "BH_CLOCK_SHIFT": str(shift)}) as c:
        admin = c.admin()
        token, node = c.token(admin), c.node("here")
        node.publish("inventory", inventory("here", [container("a" * 64)]))
        node.publish("finding", finding("before", "here"))
        node.wait_acked()
        first = served(c)

        jump(years)
        assert c.client(cookie=admin.cookie).get("/api/v1/me").status == 401, "a session of ten years ago is over"
        assert token.get("/api/v1/me").status == 401, "so is a token, which has an end unless one says otherwise"
        admin = c.login("admin", c.password)
        assert admin.get("/api/v1/me").status == 200
        node.publish("finding", finding("while", "here"))
        node.wait_acked()
        wait_for(lambda: (served(c) != first, served(c)), 30, "a certificate that is valid in ten years")
        later = served(c)

        jump(0)
        wait_for(lambda: (served(c) != later, served(c)), 30, "a certificate that is valid now")
        assert c.client().get("/readyz").status == 200, "which is what clients check"
        assert token.get("/api/v1/me").status == 200, "the token was not thrown away"
        admin = c.login("admin", c.password)
        assert {f["id"] for f in admin.get("/api/v1/findings").json["findings"]} == {"before", "while"}
        assert [x["id"] for x in admin.get("/api/v1/containers").json["containers"]] == ["a" * 64]
        assert admin.get("/api/v1/audit/verify").json["intact"] is True
        c.restart()
        assert c.login("admin", c.password).get("/api/v1/findings").json["findings"], "and what a start checks is sound"


def test_a_backup_is_restored_by_hand():
    with Central() as c:
        c.admin()
        c.stop()
        backup = next((c.data_dir / "central" / "backup").glob("*.db"))
        c.start()
        admin = c.login("admin", c.password)
        c.user(admin, "later", "viewer")
        r = c.run("--restore", str(backup))
        assert r.returncode == 1 and not r.stdout and "bulkhead.db" in r.stderr, r
        assert "later" in [u["name"] for u in admin.get("/api/v1/users").json["users"]], "nothing was touched"
        c.stop()
        r = c.run("--restore", str(backup.parent / "none.db"))
        assert r.returncode == 1 and "none.db" in r.stderr, r
        (c.dir / "rubbish").write_bytes(os.urandom(8192))
        r = c.run("--restore", str(c.dir / "rubbish"))
        assert r.returncode == 1 and "rubbish" in r.stderr, r

        r = c.run("--restore", str(backup))
        said = json.loads(r.stdout)
        assert r.returncode == 0 and said["restored_from"] == str(backup) and ".damaged-" in said["kept_as"], r
        c.start()
        admin = c.login("admin", c.password)
        assert [u["name"] for u in admin.get("/api/v1/users").json["users"]] == ["admin"], "as it was then"
        assert any(row["action"] == "store.restored" for row in audit(admin)), "and that is in the log"


def test_a_damaged_database_is_restored_or_refused_never_emptied():
    with Central() as c:
        c.admin()
        c.stop()
        backups = list((c.data_dir / "central" / "backup").glob("*.db"))
        damage(c.db)
        c.start()
        assert "password" not in c.announced, "the users are gone"
        status = c.root().get("/api/v1/status").json["central"]["store"]
        assert status["restored_from"] == str(backups[0]) and ".damaged-" in status["damaged_kept_as"], status
        assert "restored from a backup" in c.log_text()
        assert not isinstance(c.login("admin", c.password), central_env.Answer)
        c.kill()

        for b in (c.data_dir / "central" / "backup").glob("*.db"):
            b.unlink()
        for extra in c.db.parent.glob("bulkhead.db-*"):
            extra.unlink()
        damage(c.db)
        before = c.db.read_bytes()
        r = c.run()
        assert r.returncode == 1 and not r.stdout, r
        assert "damaged" in r.stderr and str(c.db) in r.stderr, r.stderr
        assert c.db.read_bytes() == before, "the damaged file was changed"


def test_clear_errors_for_a_busy_port_a_second_central_and_wrong_arguments(central):
    other = Central(args=["--listen", f"127.0.0.1:{central.port}"])
    try:
        r = other.run()
        assert r.returncode == 1 and "Address already in use" in r.stderr and "--listen" in r.stderr, r
        for wrong, words in ((["--listen", "nonsense"], "--listen must be"), (["--listen", "192.0.2.1:1"], "no interface"), (["--user", "nobody-there"], "no user")):
            other.args = wrong
            r = other.run()
            assert r.returncode == 1 and words in r.stderr, r
        other.args = ["--nonsense"]
        assert other.run().returncode == 2
        other.args = ["stray"]
        assert other.run().returncode == 2
    finally:
        other.close()
    r = subprocess.run([central_env.program(), "--run-dir", central.run_dir, "--data-dir", central.data_dir, "--listen", "127.0.0.1:0"], capture_output=True, text=True,
                       timeout=30, stdin=subprocess.DEVNULL)
    assert r.returncode == 1 and "another central" in r.stderr and str(central.pid) in r.stderr, r
    assert central.client().get("/healthz").status == 200, "the first one goes on"


def test_clear_errors_without_rights():
    c = Central(as_uid=12345)
    try:
        os.chown(c.dir, 0, 0)
        r = c.run()
        assert r.returncode == 1 and "cannot make" in r.stderr and "Permission denied" in r.stderr, r
        r = c.run("--user", "54321")
        assert r.returncode == 1 and "root" in r.stderr, r
    finally:
        c.close()
    closed = Central()
    try:
        closed.dir.chmod(0o700)
        r = closed.run()
        assert r.returncode == 1 and "closed to others" in r.stderr, r
    finally:
        closed.close()


def test_it_runs_without_root_as_whoever_starts_it():
    with Central(as_uid=12345) as c:
        fields = status_fields(c.pid)
        assert fields["Uid"].split() == ["12345"] * 4 and fields["Seccomp"] == "2" and fields["NoNewPrivs"] == "1", fields
        assert c.admin().get("/api/v1/status").status == 200


def make_certificate(tls, days, organisation, name):
    """A pair beside the central's, as openssl makes it, then moved into its place one after the other, as tools that renew do."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tls / "new.key", "-out", tls / "new.pem", "-days", str(days),
                    "-subj", f"/O={organisation}/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)
    owner = (tls / "cert.pem").stat()
    for f in ("new.key", "new.pem"):
        os.chown(tls / f, owner.st_uid, owner.st_gid)
    (tls / "new.key").rename(tls / "key.pem")
    (tls / "new.pem").rename(tls / "cert.pem")


def served(central):
    """What a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", central.port), timeout=10) as plain, context.wrap_socket(plain) as s:
        return ":".join(f"{b:02X}" for b in hashlib.sha256(s.getpeercert(True)).digest())


def test_a_certificate_is_replaced_while_it_runs_and_connections_go_on():
    with Central() as c:
        tls, admin = c.data_dir / "central" / "tls", c.admin()
        first = c.announced["certificate"]
        assert served(c) == first
        stream = admin.stream("/api/v1/stream")
        stream.wait(lambda _id, event, _data: event == "hello")
        connection = admin._connection.sock

        # our own, near its end: it is made anew
        make_certificate(tls, 30, "Bulkhead, made at first start", "near its end")
        near = hashlib.sha256(ssl.PEM_cert_to_DER_cert((tls / "cert.pem").read_text())).hexdigest()
        wait_for(lambda: (served(c) != first, served(c)), 30, "another certificate is served")
        second = served(c)
        assert second.replace(":", "").lower() != near
        shown = c.root().get("/api/v1/status").json["central"]
        assert shown["certificate"] == second and shown["certificate_expires"] > time.strftime("%Y", time.gmtime(time.time() + 700 * 86400)), shown
        assert c.client().get("/readyz").status == 200, "clients that trust the file trust what is served"
        assert stat.S_IMODE((tls / "key.pem").stat().st_mode) == 0o600

        # a user's own is taken over and left alone, and one that is no pair is not
        make_certificate(tls, 30, "Shop Ltd", "shop")
        wait_for(lambda: (served(c) != second, served(c)), 30, "the user's certificate is served")
        third, theirs = served(c), (tls / "cert.pem").read_bytes()
        assert hashlib.sha256(ssl.PEM_cert_to_DER_cert(theirs.decode())).hexdigest() == third.replace(":", "").lower()
        (tls / "key.pem").write_text("rubbish")
        wait_for(lambda: "is not replaced" in c.log_text(), 30, "it says that the new pair is none")
        assert served(c) == third and (tls / "cert.pem").read_bytes() == theirs

        # what was open all the time is open
        assert admin.get("/api/v1/me").status == 200 and admin._connection.sock is connection
        seen = len(stream.events)
        c.user(admin, "newcomer", "viewer")
        wait_for(lambda: len(stream.events) > seen and not stream.ended.is_set(), 10, "the stream goes on")


def test_a_certificate_of_the_users_own_is_used_and_a_wrong_one_refused():
    with Central() as c:
        tls = c.data_dir / "central" / "tls"
        c.stop()
        own = c.announced["certificate"]
        (tls / "key.pem").unlink()
        (tls / "cert.pem").unlink()
        c.start()
        assert c.announced["certificate"] != own, "a certificate that is gone is made anew"
        c.stop()
        good = (tls / "key.pem").read_bytes()
        (tls / "key.pem").write_text("rubbish")
        r = c.run()
        assert r.returncode == 1 and "key.pem" in r.stderr, r
        (tls / "key.pem").write_bytes(good)
        c.start()
        wait_for(lambda: c.client().get("/readyz").status == 200, 5, "ready")
