"""The whole platform as `bulkhead up` starts it: sensor, inspector, central, and what survives when they are killed.

What is compared in the end: the recorder's exec events (one for each exec, whoever was killed) with the central's observations (their counts).
Observations that a killed sensor had not yet spooled may be missing, nothing may be there twice, and what was in the spool must have arrived.
"""
import collections
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error

import pytest

import central_env
import sensor_env
from boxes import Box
from central_env import Central
from docker_env import BASE_IMAGE, die_with_parent, patience, stop_process, tail, wait_for

KILLS = 20
RECOVERY_S = 5.0


def assert_recovered(platform, took):
    """
    Each kill, of each program: within five seconds. Where the machine is so busy that this run's first start of the whole platform, with nobody
    killed, took longer than that, within what it took: it does all that a recovery does, and loads the kernel programs besides; and as with each wait
    more where others want the processors. Sanitizers are let
    three times as long: they are not what users run.
    """
    bound = max(RECOVERY_S, platform.first_start_s) * (3 if sensor_env.sanitized(platform.build) else 1) * patience()
    late = {what: [round(s, 2) for s in seconds if s >= bound] for what, seconds in took.items()}
    assert not any(late.values()), f"later than {bound:.1f} s (the first start took {platform.first_start_s:.1f} s): {late}, of {took}"


def free_port():
    """
    None that the kernel gives to outgoing connections: such a one cannot be listened at while it is used, and for a minute after it, in the network namespace where the platform
    is to run, which may be another one than this.
    """
    first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", random.randrange(first // 2, first)))
            return s.getsockname()[1]
    raise AssertionError(f"no port between {first // 2} and {first} is free")


class Platform(Central):
    """`bulkhead up`, with a Central's clients for what it starts."""

    def __init__(self, build, *args):
        super().__init__(build, args=args)
        self.out, self.log = self.dir / "up.out", self.dir / "up.err"
        self.port = free_port()
        self.text = ""
        self.first_start_s = None
        self.needs_central = True

    def argv(self, *more):
        return [sensor_env.program(self.build, "bulkhead"), "up", "--run-dir", str(self.run_dir), "--data-dir", str(self.data_dir), *self.args, *more]

    def start(self, deadline=60.0, words="Ctrl-C stops"):
        self.started = time.monotonic()
        with open(self.out, "wb") as out, open(self.log, "ab") as err:
            self.proc = subprocess.Popen(self.argv("--no-feed", "--listen", f"127.0.0.1:{self.port}"), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                         env=self._environment(), preexec_fn=die_with_parent, cwd="/")

        def there():
            self.text = self.out.read_text()
            assert self.alive, f"bulkhead up ended with {self.proc.returncode}:\n{tail(self.log)}"
            return words in self.text, self.text + tail(self.log, 10)
        wait_for(there, deadline, f"bulkhead up says {words!r}")
        if self.needs_central:
            self.check_central()
        if self.first_start_s is None:
            self.first_start_s = time.monotonic() - self.started
        if m := re.search(r"web +(https://\S+)", self.text):
            self.url = m[1]
        if m := re.search(r"log in as (\S+) with the password (\S+),", self.text):
            self.password = m[2]
        return self

    def check_central(self):
        """The platform starts without a central, too; a test that goes on then fails much later, somewhere else."""
        assert "does not run" not in self.text, f"expected the central to run, `bulkhead up` says:\n{self.text}\nlog {self.log}:\n{tail(self.log)}"

    def stop(self, sig=signal.SIGTERM, deadline=40.0, status=0):
        self.proc.send_signal(sig)
        got = self.proc.wait(deadline)
        assert got == status, f"expected exit status {status}, saw {got}\n{tail(self.log)}"

    def kill(self):
        raise NotImplementedError("its children would stay")

    def close(self):
        for s in [*self.streams, *self.nodes, *self.clients]:
            s.close()
        if self.alive:
            stop_process(self.proc, 40)
        for pid in (self.pid_of("sensor"), self.pid_of("central")):
            if pid and living(pid):
                os.kill(pid, signal.SIGKILL)
        for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
            if line.split()[4].startswith(f"{self.dir}/"):
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)
        logs = os.environ.get("BH_TEST_LOGS")
        if logs:
            os.makedirs(logs, exist_ok=True)
            shutil.copy(self.log, pathlib.Path(logs) / f"{self.dir.name}.log")
        if f"{self.dir}/" not in pathlib.Path("/proc/self/mountinfo").read_text():
            shutil.rmtree(self.dir, ignore_errors=True)

    def pid_of(self, what):
        """Of this platform's own processes, from their own files."""
        path = {"sensor": self.run_dir / "sensor.pid", "central": self.run_dir / "central" / "central.pid"}.get(what)
        if path:
            return int(path.read_text() or 0) if path.exists() and path.read_text().strip().isdigit() else None
        sensor = self.pid_of("sensor")
        for task in pathlib.Path(f"/proc/{sensor}/task").glob("*/children"):
            for child in task.read_text().split():
                if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "bulkhead-inspect"[:15]:
                    return int(child)
        return None

    def cli(self, *args, check=True):
        r = subprocess.run([sensor_env.program(self.build, "bulkhead"), "--run-dir", str(self.run_dir), "--data-dir", str(self.data_dir), *map(str, args)],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=self._environment())
        if check:
            assert r.returncode == 0, f"bulkhead {args}: {r.returncode} {r.stderr}{r.stdout}\n{tail(self.log)}"
        return r

    def rows(self, *args):
        return [json.loads(line) for line in self.cli(*args, "--json").stdout.splitlines()]

    def recorded(self, container):
        return recorded_by(self.cli, self.data_dir, container)

    def observed(self, container):
        """The same as it was told: in the central's database, which must be sound, and in the spool. After the end of both."""
        return told_of(self.db, self.data_dir, container)


def recorded_by(cli, data_dir, container):
    """(executable, parent's executable) -> execs, from the flight recorder itself."""
    counts = collections.Counter()
    for line in cli("replay", data_dir / "recorder", "--type", "exec", "--container", container, "--json").stdout.splitlines():
        e = json.loads(line)
        counts[e.get("proc.exe", ""), e.get("parent.exe", "")] += e.get("count", 1)
    return counts


def told_of(path, data_dir, container):
    """The same as the sensor told it. What it tells at its end may wait in the spool for the next start."""
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = db.execute("SELECT subject, parent, sum(count) FROM observations WHERE container_id = ? AND kind = 'exec' GROUP BY subject, parent", (container,)).fetchall()
        position = db.execute("SELECT max(position) FROM publishers").fetchone()[0]
    counts = collections.Counter({(s, p): n for s, p, n in rows})
    with sqlite3.connect(data_dir / "spool" / "bus.db") as db:
        for body, in db.execute("SELECT body FROM message WHERE topic = 'observation' AND seq > ?", (position,)):
            m = central_env.parse(body)
            if m[2][0].decode() == container and m[6][0] == b"exec":
                counts[m[7][0].decode(), m.get(8, [b""])[0].decode()] += m[9][0]
    return counts


def living(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.fixture
def platform(request, build, docker):
    with Platform(build, "--docker", docker.host, "--backend", request.config.getoption("--backend")) as p:
        yield p


def load(box, n, names=800, pause=""):
    """Begins n rounds of execs, of ever other names: box.wait() with what this gave. Without a pause it takes all there is of two processors."""
    return box.start(f"i=0; while [ $i -lt {n} ] && [ ! -e /ctl/stop ]; do k=$((i%{names})); ln -f /bin/busybox /tmp/t$k; /tmp/t$k; /acts true; {pause} i=$((i+1)); done")


# ---- up ----------------------------------------------------------------------------------------------------------------


def test_up_gives_a_platform_and_restarts_onto_its_data(platform, docker):
    name = f"plat-{random.randrange(1 << 32):x}"
    running = docker.run("-d", "--name", name, "--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web", BASE_IMAGE, "sleep", "1000")
    try:
        root = platform.root()
        assert platform.password and platform.url == f"https://127.0.0.1:{platform.port}/", platform.text
        assert platform.password not in platform.log.read_text()
        session = platform.login("admin", platform.password)
        assert session.get("/api/v1/me").json["must_change_password"] is True
        admin = platform.admin()
        assert admin.get("/api/v1/me").json["role"] == "admin"

        def known():
            mine = [c for c in platform.rows("containers") if c["id"] == running and c["level"] == "full" and c["state"] == "running"]
            return bool(mine), platform.rows("containers")
        wait_for(known, 15, "the container is known to the central")
        assert platform.rows("containers") == root.get("/api/v1/containers?living=true&limit=1000").json["containers"]
        def mine(*args):  # other engines' containers come and go
            return [{k: c[k] for k in ("name", "image", "state", "workload", "application", "labels", "mounts", "init_pid")} for c in platform.rows("containers", *args)
                    if c["id"] == running]
        assert mine() == mine("--sensor") and mine()[0]["workload"] == "web", (mine(), mine("--sensor"))
        assert all(c["state"] == "running" and c["name"] == name and c["application"] == "shop" for c in mine()), mine()
        assert "shop" in platform.cli("applications").stdout and "web" in platform.cli("workloads").stdout

        docker.run("--rm", "--name", "plat-live", BASE_IMAGE, "/bin/echo", "marker")
        wait_for(lambda: any(e.get("action") == "destroy" for e in platform.rows("events", "-t", "container", "-c", "plat-live")), 10, "the container's end is recorded")
        assert any("marker" in e.get("proc.args", []) for e in platform.rows("events", "-c", "plat-live"))
        # the central puts the events of several nodes in the order of time; a node has them in the order in which they came
        for args in (("-c", "plat-live"), ("-c", name), ("-t", "exec,exit,container", "-c", "plat-live", "-n", "5")):
            def number(event):
                return int(event["id"])
            assert sorted(platform.rows("events", *args), key=number) == sorted(platform.rows("events", "--sensor", *args), key=number), args
            assert sorted(platform.cli("events", *args).stdout.splitlines()) == sorted(platform.cli("events", "--sensor", *args).stdout.splitlines()), args

        text = platform.cli("status").stdout
        for words in ("central    Bulkhead", "1 of 1 connected", "Kernel hooks", "bus        connected, spool: ", "inspector  ready", "Flight recorder"):
            assert words in text, f"{words!r} is not in\n{text}"
        second = platform.cli("up", check=False)
        assert second.returncode == 1 and "runs here already" in second.stderr, second

        sensor, central = platform.pid_of("sensor"), platform.pid_of("central")
        platform.stop()
        assert not living(sensor) and not living(central)
        assert "events recorded in" in platform.out.read_text().splitlines()[-1]
        platform.start()
        assert "log in as" not in platform.text and platform.url in platform.text, platform.text
        assert platform.login("admin", platform.password).get("/api/v1/me").json["must_change_password"] is False
        wait_for(known, 15, "the container is there again")
        made = [c for c in platform.rows("containers", "--all") if c["name"] == "plat-live"]
        assert len(made) == 1 and made[0]["ended"], made
    finally:
        docker.remove(running)


def test_a_central_that_cannot_start_is_said_and_the_sensor_goes_on(build):
    """A busy port, then a damaged database."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        p = Platform(build, "--no-docker")
        p.port = taken.getsockname()[1]
        p.needs_central = False
        with p:
            with pytest.raises(AssertionError, match="choose another --listen"):
                p.check_central()
            said = p.log_text()
            assert "another program" in said and "choose another --listen" in said and "goes on without it" in said, said
            assert "does not run" in p.text and p.rows("status")[0]["ready"] is True, "status is the sensor's own"
            r = p.cli("findings", check=False)
            assert r.returncode == 1 and "no central answers" in r.stderr, r
            p.stop()
            p.port = free_port()
            damaged = b"SQLite format 3\0" + os.urandom(20000)
            p.db.write_bytes(damaged)
            os.chown(p.db, p.db.parent.stat().st_uid, p.db.parent.stat().st_gid)
            p.start()
            said = p.log_text()[len(said):]
            assert "does not run" in p.text and "goes on without it" in said and "damaged" in said, said
            assert p.rows("events", "-n", "1") and p.db.read_bytes() == damaged, "the sensor works, the database was not emptied"
            assert p.cli("events", "-n", "1", "--sensor").stdout


def test_a_full_disk_is_said_and_the_sensor_goes_on_by_itself_when_there_is_room(build):
    """Full from the first start on, so that nothing could be prepared. Large, as the recorder leaves 256 MiB of a disk to others."""
    p = Platform(build, "--no-docker", "--no-web")
    p.needs_central = False
    p.data_dir.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600m,mode=0755", "bulkhead-test", p.data_dir], check=True)
    ballast = p.data_dir / "ballast"
    with open(ballast, "wb", buffering=0) as f, contextlib.suppress(OSError):
        while f.write(b"x" * (1 << 20)):
            pass
    with p:
        assert "does not run" in p.text, p.text
        assert "full" in p.log_text() and "start \"bulkhead up\" again when that is mended" in p.log_text(), p.log_text()

        def said():
            subprocess.run(["/bin/true"], check=True)  # which is to be recorded
            text = p.cli("status", "--sensor").stdout
            return "RECORDER disk-full" in text and "make room" in text and "NOT KEPT since the start" in text, text
        wait_for(said, 20, "the status says that the disk is full, and counts what is not kept")
        ballast.unlink()
        wait_for(lambda: (p.rows("status", "--sensor")[0]["recorder"]["state"] == "ok", p.rows("status", "--sensor")[0]["recorder"]), 20, "the recorder goes on by itself")
        p.stop()
        p.needs_central = True
        p.start()
        wait_for(lambda: central_works(p), 20, "the central runs, and has the sensor")


# ---- killed ------------------------------------------------------------------------------------------------------------


def kill_after(platform, what, pid, works):
    """Of a killed process: the seconds until another one `works`."""
    start = time.monotonic()
    wait_for(lambda: not living(pid), 5, f"{what} is dead", every=0.005)
    wait_for(lambda: platform.pid_of(what) not in (None, pid) and works(platform), 60, f"{what} works again", every=0.02)
    return time.monotonic() - start


def kill(platform, what, works):
    """SIGKILL; the seconds until `works`."""
    pid = platform.pid_of(what)
    assert pid, f"no {what} runs\n{tail(platform.log)}"
    os.kill(pid, signal.SIGKILL)
    return kill_after(platform, what, pid, works)


def central_works(platform):
    """It serves over TLS, and the sensor is there again."""
    client = platform.client()
    try:
        try:
            return client.get("/readyz").status == 200 and platform.root().get("/api/v1/status").json["overview"]["nodes_up"] == 1
        finally:
            client.close()
    except (OSError, KeyError, ValueError, urllib.error.URLError):
        return False


def sensor_works(platform):
    """The central has it again, and it answers."""
    client = platform.root()
    try:
        answer = client.get("/api/v1/processes?limit=1")
        return answer.status == 200 and len(answer.json["processes"]) == 1 and answer.json["nodes"][0]["error"] is None
    except (OSError, KeyError, IndexError, ValueError):
        return False
    finally:
        client.close()  # asked fifty times a second, and a central holds so many connections and no more


def web_of(platform):
    return platform.rows("status", "--sensor")[0]["web"]


def inspector_works(platform):
    i = platform.rows("status", "--sensor")[0]["inspector"]
    return i["state"] == "ready" and i["pid"] == platform.pid_of("inspector")


def assert_equal(seen, told):
    wrong = {k: (seen[k], told[k]) for k in set(seen) | set(told) if seen[k] != told[k]}
    assert not wrong, f"{len(wrong)} of {len(seen)} facts differ, as (recorded, told): {dict(list(wrong.items())[:8])}"


@pytest.mark.deadline(180)
def test_killed_centrals_and_inspectors_lose_and_double_nothing(platform, docker):
    rng, took, trouble = random.Random(os.urandom(8)), {"central": [], "inspector": []}, []
    with Box(docker, f"plat-kill-{rng.randrange(1 << 32):x}") as box:
        running = load(box, 1_000_000, pause="sleep 0.01;")

        def kill_inspectors():
            try:
                for _ in range(KILLS):
                    time.sleep(rng.uniform(0, 0.4))
                    took["inspector"].append(kill(platform, "inspector", inspector_works))
            except AssertionError as e:
                trouble.append(e)
        thread = threading.Thread(target=kill_inspectors, daemon=True)
        thread.start()
        for _ in range(KILLS):
            time.sleep(rng.uniform(0, 0.4))
            took["central"].append(kill(platform, "central", central_works))
        thread.join(60)
        assert not trouble and not thread.is_alive(), trouble
        (box.dir / "stop").write_text("")
        box.wait(running, ok=None)
        losses = platform.root().get("/api/v1/losses").json["losses"]
        platform.stop()
        seen, told = platform.recorded(box.id), platform.observed(box.id)
    print({k: (f"max {max(v):.2f} s", f"mean {sum(v) / len(v):.2f} s") for k, v in took.items()}, sum(seen.values()), "execs,", len(seen), "facts")
    assert sum(seen.values()) > 500, f"expected a load, saw {sum(seen.values())} execs"
    assert_equal(seen, told)
    assert losses == [], losses
    assert_recovered(platform, took)


def spooled(platform, where):
    """[(seq, topic, body)] of the spool as a killed sensor left it."""
    where.mkdir()
    for f in (platform.data_dir / "spool").glob("bus.db*"):
        shutil.copy(f, where)
    with sqlite3.connect(where / "bus.db") as db:
        return db.execute("SELECT seq, topic, body FROM message ORDER BY seq").fetchall()


def ends_told(platform):
    """The ends of sensors that findings tell of."""
    with sqlite3.connect(f"file:{platform.db}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT fields, count FROM findings WHERE kind = 'sensor' AND json_extract(fields, '$.end') IS NOT NULL").fetchall()
    assert all(count == 1 for _, count in rows), rows
    return [json.loads(fields)["end"] for fields, _ in rows]


@pytest.mark.deadline(180)
def test_killed_sensors_lose_nothing_that_was_spooled_and_double_nothing(platform, docker, tmp_path):
    rng, took, waiting = random.Random(os.urandom(8)), [], []
    with Box(docker, f"plat-sens-{rng.randrange(1 << 32):x}") as box:
        running = load(box, 1_000_000, names=1_000_000)  # each name is there once: what is told twice has a count of two
        for n in range(KILLS):
            time.sleep(rng.uniform(0, 0.4))
            if n % 2:  # so that there is something in the spool
                os.kill(platform.pid_of("central"), signal.SIGKILL)
                time.sleep(rng.uniform(0, 0.3))
            pid = platform.pid_of("sensor")
            start = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not living(pid), 5, "the sensor is dead", every=0.002)
            waiting += spooled(platform, tmp_path / str(n))
            wait_for(lambda: platform.pid_of("sensor") not in (None, pid) and sensor_works(platform), 60, "the sensor works again", every=0.02)
            took.append(time.monotonic() - start)
        # its programs are attached behind all else
        wait_for(lambda: (web_of(platform)["capture"]["started"], web_of(platform)), 20, "web traffic is looked at again", every=0.02)
        inspected = time.monotonic() - start
        wait_for(lambda: (web_of(platform)["state"] == "ready", web_of(platform)), 20, "its inspector is ready", every=0.02)
        ready, adopted = time.monotonic() - start, web_of(platform)["capture"]["adopted"]
        print(f"after the last kill the sensor works after {took[-1]:.2f} s, web traffic is looked at after {inspected:.2f} s, its inspector is ready after {ready:.2f} s")
        (box.dir / "stop").write_text("")
        box.wait(running, ok=None)
        losses = platform.root().get("/api/v1/losses").json["losses"]
        wait_for(lambda: (len(ends_told(platform)) >= KILLS, ends_told(platform)), 20, f"findings tell of {KILLS} ends")
        platform.stop()
        seen, told = platform.recorded(box.id), platform.observed(box.id)

    assert not (platform.data_dir / "running").exists(), f"expected no end left to tell, saw {(platform.data_dir / 'running').read_text()!r}"
    print(f"max {max(took):.2f} s, mean {sum(took) / len(took):.2f} s; {sum(seen.values())} execs recorded, {sum(told.values())} told; {len(waiting)} messages were in spools")
    assert losses == [], losses
    rest = told.pop(("*", ""), 0)  # of a sensor that lived to see more names than are told apart
    doubled = {k: (seen[k], told[k]) for k in told if told[k] > seen[k]}
    assert not doubled, f"told more often than recorded, as (recorded, told): {doubled}"
    assert sum(told.values()) + rest <= sum(seen.values()), f"told {sum(told.values())} and {rest} more, recorded {sum(seen.values())}"
    with sqlite3.connect(platform.db) as db:
        findings = {i for i, in db.execute("SELECT id FROM findings")}
        rows = db.execute("SELECT rule, container_id, time_ns, last_ns FROM findings WHERE count > 1").fetchall()
        position = db.execute("SELECT max(position) FROM publishers").fetchone()[0]
        facts = {(c, s.encode()) for c, s in db.execute("SELECT container_id, subject FROM observations")}
        # a workload has so many facts and no more; those that are beyond are counted
        refused = dict(db.execute("SELECT workload, refused FROM workloads"))
    missing = []
    for seq, topic, body in waiting:
        m = central_env.parse(body)
        assert seq <= position, f"message {seq} never arrived: the central is at {position}"
        if topic == "finding":
            # by itself, or in the number of one that is equal to it: of the same rule and container, around that time
            equal = [r for r in rows if r[:2] == (m[3][0].decode(), m.get(8, [b""])[0].decode()) and r[2] <= m[2][0] <= r[3]]
            assert m[1][0].decode() in findings or (20 in m and equal), f"finding {m[1]} was spooled and is not there"
        elif topic == "observation" and m[2][0].decode() == box.id and (box.id, m[7][0]) not in facts:  # others' may be of one workload, which is one row
            missing.append(m)
    assert not missing or len({m[7][0] for m in missing}) <= refused[missing[0][3][0].decode()], f"{len(missing)} observations were spooled and are not there, {refused} were refused; the first {missing[0]}"
    # each kill once, whoever lived to tell it: also one whose successor was killed before it could
    ends = ends_told(platform)
    assert len(ends) == KILLS and len(set(ends)) == KILLS, f"expected {KILLS} kills to be told, each once, saw {len(ends)}: {ends}"
    assert adopted or tuple(int(n) for n in os.uname().release.split(".")[:2]) < (5, 13), "the web programs of the killed sensor were loaded anew"
    assert_recovered(platform, {"sensor": took, "web": [inspected, ready]})


@pytest.mark.deadline(180)
def test_killed_again_and_again_while_starting_it_is_back_within_seconds_of_the_last(platform):
    """At random moments of its start, so that it is not ready in between: `up` must not take that for a program that cannot start."""
    rng, took = random.Random(os.urandom(8)), {"sensor": [], "central": []}
    for what, works in (("sensor", sensor_works), ("central", central_works)):
        last = None
        for _ in range(8):
            pid = wait_for(lambda: (living(platform.pid_of(what) or 0) and platform.pid_of(what) != last, platform.pid_of(what)), 20, f"a {what} was started", every=0.002)
            time.sleep(rng.uniform(0, 0.1))
            os.kill(pid, signal.SIGKILL)
            last = pid
        took[what].append(kill_after(platform, what, last, works))
    print(took)
    assert_recovered(platform, took)
    platform.stop()


# ---- away --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(request, build, docker):
    """pair(): a central, and a sensor of its own on its bus."""
    made = []

    def make():
        central = Central()
        made.append(central)
        central.start()
        sensor = sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend"),
                                   args=["--bus", f"unix:{central.run_dir}/central/bus.sock"])
        made.append(sensor)
        sensor.start()
        wait_for(lambda: sensor.status()["bus"]["state"] == "connected", 10, "the sensor is connected")
        return central, sensor
    yield make
    for x in reversed(made):
        x.close()


@pytest.mark.deadline(120)
def test_a_central_that_was_away_for_an_hour_is_caught_up_with(pair, docker):
    """As many messages as a node with twenty busy executables sends in an hour: each of them is told twice a minute."""
    central, sensor = pair()
    with Box(docker, f"plat-away-{random.randrange(1 << 32):x}") as box:
        before = sensor.status()["bus"]
        central.kill()
        running = [load(box, 1250, names=1250)]
        with Box(docker, f"plat-away2-{random.randrange(1 << 32):x}") as other:
            running.append(load(other, 1250, names=1250))
            box.wait(running[0], ok=None)
            other.wait(running[1], ok=None)
            bus = wait_for(lambda: (sensor.status()["bus"]["spool"]["messages"] >= 2400, sensor.status()["bus"]), 20, "an hour's messages are in the spool")
            assert bus["lost"] == 0 and bus["spool"]["bytes"] < 256 << 20, bus
            assert "wait for it" in sensor.cli("status", "--sensor").stdout
            start = time.monotonic()
            central.start()
            wait_for(lambda: (sensor.status()["bus"]["spool"]["messages"] < 50, sensor.status()["bus"]), 30, "all is told")
            took = time.monotonic() - start
            sensor.stop()  # tells the rest
            for b in (box, other):
                assert_equal(recorded_by(sensor.cli, sensor.data_dir, b.id), told_of(central.db, sensor.data_dir, b.id))
        print(f"{bus['spool']['messages']} messages, {bus['spool']['bytes']} bytes, caught up in {took:.2f} s; before: {before['published']} published")
        assert central.root().get("/api/v1/losses").json["losses"] == []


class Load:
    """bus-load: a node with a spool of one MiB that only speaks."""

    def __init__(self, build, central, where):
        path = pathlib.Path(build) / "tests" / "integration" / "bus-load"
        self.proc = subprocess.Popen([path, f"unix:{central.run_dir}/central/bus.sock", where / "bus.db", "loaded", "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     preexec_fn=die_with_parent)

    def __call__(self, line):
        self.proc.stdin.write(f"{line}\n".encode())
        self.proc.stdin.flush()
        return json.loads(self.proc.stdout.readline())

    def close(self):
        self.proc.stdin.close()
        self.proc.wait(10)


@pytest.mark.deadline(120)
def test_beyond_the_spools_bound_the_loss_is_counted_and_shown(build, tmp_path):
    """With the real publisher: a sensor's spool has 256 MiB, which a test does not fill."""
    total = 20_000
    with Central() as central:
        load, root = Load(build, central, tmp_path), central.root()

        def status():
            return subprocess.run([sensor_env.program(build, "bulkhead"), "--run-dir", central.run_dir, "status"], capture_output=True, text=True, timeout=30).stdout
        try:
            load("publish 0 100 10")
            wait_for(lambda: load("stats")["acknowledged"] == 100, 10, "the first are there")
            central.kill()
            bus = load(f"publish 100 {total - 100} 400")
            assert bus["lost"] > total / 2 and bus["spool"]["bytes"] <= 1 << 20, bus
            central.start()
            bus = wait_for(lambda: ((b := load("stats"))["spool"]["messages"] == 0 and b["state"] == "connected", b), 20, "what is left is told")
            wait_for(lambda: (sum(x["count"] for x in root.get("/api/v1/losses").json["losses"]) == bus["lost"], root.get("/api/v1/losses").json), 10, "the central counts the same loss")
            wait_for(lambda: ("LOST before the central had them" in status(), status()), 10, "the node's status is there")
        finally:
            load.close()
        text = status()
        for words in (f"LOST on the way from loaded: {bus['lost']} observation messages (spool_full)", f"{bus['lost']} messages lost on the way", "NODE loaded is away"):
            assert words in text, f"expected {words!r} in\n{text}"
        central.stop()
        with sqlite3.connect(central.db) as db:
            there = [(int(re.match(r"/load/(\d+)", s)[1]), n) for s, n in db.execute("SELECT subject, count FROM observations")]
    print(f"{bus['lost']} of {total} lost and counted, {len(there)} there")
    assert all(n == 1 for _, n in there) and len(there) + bus["lost"] == total, (len(there), bus)
    assert {n for n, _ in there} >= set(range(100)) | set(range(total - 1000, total)), "the oldest went"
