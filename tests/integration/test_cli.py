"""The command line, with the real sensor: up, status, events, containers, record, replay, and what each says when it cannot."""
import contextlib
import json
import os
import pathlib
import pty
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

import docker_env
import sensor_env
from docker_env import BASE_IMAGE, wait_for

UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def live(request, build, docker):
    """One sensor for the tests that only ask."""
    with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend")) as s:
        yield s


@pytest.fixture
def place(build):
    """A Sensor object that is not started: its directories and its cli() are used to run `bulkhead up`."""
    s = sensor_env.Sensor(build)
    yield s
    s.close()


class Up:
    """`bulkhead up` with its output in files."""

    def __init__(self, place, *args):
        self.place = place
        self.out, self.err = place.dir / "up.out", place.dir / "up.err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.proc = subprocess.Popen(place.cli_argv("up", *args), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                         env=place._environment(), preexec_fn=docker_env.die_with_parent)

    def wait_text(self, text, deadline=60):
        def there():
            seen = self.out.read_text()
            assert self.proc.poll() is None, f"bulkhead up ended with {self.proc.returncode}: {self.err.read_text()}"
            return text in seen, seen
        return wait_for(there, deadline, f"bulkhead up prints {text!r}")

    def end(self, sig, deadline=30):
        self.proc.send_signal(sig)
        return self.proc.wait(deadline)

    def close(self):
        docker_env.stop_process(self.proc, 30)


@contextlib.contextmanager
def running_up(place, *args):
    up = Up(place, *args)
    try:
        yield up
    finally:
        up.close()


def alive(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def bulkhead(build, *args, **how):
    return subprocess.run([sensor_env.program(build, "bulkhead"), *map(str, args)], stdin=subprocess.DEVNULL, text=True, timeout=60,
                          **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how})


# up -------------------------------------------------------------------------------------------------------------------


def test_up_says_what_it_found_shows_live_events_and_stops_in_order(place, docker):
    running = docker.run("-d", "--name", "cli-early", BASE_IMAGE, "sleep", "1000")
    try:
        with running_up(place, "--docker", docker.host) as up:
            start = up.wait_text("Live events follow")
            for words in ("Bulkhead ", f"kernel Linux {os.uname().release}", "hooks  ", "cgroups  ", "Docker Engine ", "cli-early",
                          f"{place.data_dir}/recorder", "Ctrl-C stops"):
                assert words in start, f"expected {words!r} in the start, saw:\n{start}"
            pid = place.status()["pid"]

            docker.run("--rm", "--name", "cli-live", BASE_IMAGE, "/bin/echo", "marker-of-up")
            line = next(x for x in up.wait_text("marker-of-up").splitlines() if "marker-of-up" in x and " cli-live " in x)
            assert " exec " in line and BASE_IMAGE in line, f"expected the exec with name and image, saw {line!r}"

            second = place.cli("up", check=False)
            assert second.returncode == 1 and f"pid {pid}" in second.stderr and "bulkhead events -f" in second.stderr, second.stderr

            assert up.end(signal.SIGINT) == 0, up.err.read_text()
        last = up.out.read_text().splitlines()[-1]
        assert re.fullmatch(rf"Stopped after .*: [1-9]\d* events recorded in {place.data_dir}/recorder, \d+ lost in the kernel, 0 not kept\.",
                            last), f"expected a summary, saw {last!r}"
        assert not alive(pid), f"expected sensor {pid} to have ended with bulkhead up"
        assert f"{place.run_dir}/bpf" not in pathlib.Path("/proc/self/mountinfo").read_text()
    finally:
        docker.remove(running)


def test_up_quiet_prints_nothing_and_sigterm_stops_it(place):
    with running_up(place, "--no-docker", "--quiet") as up:
        place.proc = up.proc
        place.wait_ready(60)
        pid = place.status()["pid"]
        assert pid != up.proc.pid
        assert up.end(signal.SIGTERM) == 0, up.err.read_text()
    assert up.out.read_text() == ""
    assert not alive(pid)


def test_up_says_how_the_sensor_died_and_the_next_one_takes_over(place):
    with running_up(place, "--no-docker", "--no-feed") as up:
        up.wait_text("Running; Ctrl-C stops")
        pid = place.status()["pid"]
        os.kill(pid, signal.SIGKILL)
        assert up.proc.wait(20) == 1
        assert f"pid {pid}" in up.err.read_text() and "killed by signal 9" in up.err.read_text(), up.err.read_text()
    with running_up(place, "--no-docker", "--no-feed") as up:
        start = up.wait_text("Running; Ctrl-C stops")
        assert "the sensor was away for" in start, start
        assert "took over the kernel programs" in place.cli("status").stdout
        assert up.end(signal.SIGTERM) == 0, up.err.read_text()


def test_up_reports_a_sensor_that_cannot_start(place):
    (place.dir / "file").write_text("")
    r = place.cli("up", "--no-docker", "--data-dir", place.dir / "file", check=False)
    assert r.returncode == 1 and "ended with status 1 before it was ready" in r.stderr, r.stderr
    r = place.cli("up", "--no-docker", "--backend", "best", check=False)
    assert r.returncode == 2 and "--backend must be" in r.stderr, r.stderr


@pytest.mark.parametrize("kernel", ["without type information", "too old"])
def test_up_says_what_the_kernel_lacks(place, kernel):
    """Type information is hidden in a mount namespace; the kernel says that it is a 2.6 where a process asks for that (setarch)."""
    hide = "mount -t tmpfs none /sys/kernel/btf && for d in /boot /lib/modules /usr/lib/debug; do [ ! -d $d ] || mount -t tmpfs none $d; done && exec \"$@\""
    old = ["setarch", "--uname-2.6"] if kernel == "too old" else []
    r = subprocess.run(["unshare", "--mount", "sh", "-c", hide, "sh", *old, *place.cli_argv("up", "--no-docker", "--no-central")], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=60, env=place._environment())
    assert r.returncode == 1 and "no type information (/sys/kernel/btf/vmlinux)" in r.stderr and "CONFIG_DEBUG_INFO_BTF" in r.stderr, r
    assert "before it was ready; its message above says why" in r.stderr, r
    assert ("this kernel is Linux 2.6" in r.stderr and "needs 5.10 or later" in r.stderr) == (kernel == "too old"), r.stderr


def test_up_says_that_no_docker_answers_and_goes_on(place):
    """Nothing at the socket; then something that is no engine."""
    gone = place.dir / "gone.sock"
    with running_up(place, "--docker", gone, "--no-central", "--no-feed") as up:
        start = up.wait_text("Ctrl-C stops")
        assert "none answers; containers are told by their cgroups" in start, start
        assert f"there is no Docker socket at {gone}" in start and "--no-docker" in start, start
        assert f"there is no Docker socket at {gone}" in place.cli("status").stdout
        assert place.status()["ready"] is True and up.end(signal.SIGTERM) == 0, up.err.read_text()
    with socket.socket(socket.AF_UNIX) as dumb:
        dumb.bind(str(place.dir / "dumb.sock"))
        dumb.listen(8)
        with running_up(place, "--docker", place.dir / "dumb.sock", "--no-central", "--no-feed") as up:
            assert "none answers; containers are told by their cgroups" in up.wait_text("Ctrl-C stops"), up.out.read_text()
            assert "Docker has not answered yet at" in place.cli("status").stdout
            assert up.end(signal.SIGTERM) == 0, up.err.read_text()


def test_up_goes_on_when_nobody_reads_its_events(place):
    read, write = os.pipe()
    proc = subprocess.Popen(place.cli_argv("up", "--no-docker"), stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.PIPE,
                            env=place._environment(), preexec_fn=docker_env.die_with_parent)
    os.close(write)
    try:
        place.proc = proc
        place.wait_ready(60)
        os.close(read)
        for _ in range(20):
            place.cli("status")
        assert proc.poll() is None, proc.stderr.read()
        proc.send_signal(signal.SIGTERM)
        assert proc.wait(30) == 0
    finally:
        docker_env.stop_process(proc, 30)


def test_up_stops_though_its_terminal_is_stopped(place):
    read, write = os.pipe()
    proc = subprocess.Popen(place.cli_argv("up", "--no-docker"), stdin=subprocess.DEVNULL, stdout=write, stderr=subprocess.DEVNULL,
                            env=place._environment(), preexec_fn=docker_env.die_with_parent)
    os.close(write)
    try:
        place.proc = proc
        place.wait_ready(60)
        pid = place.status()["pid"]

        def full():  # the pipe that nobody reads
            place.cli("status")
            return int.from_bytes(fionread(read), "little") > 40000
        wait_for(full, 60, "the feed fills its pipe")
        proc.send_signal(signal.SIGINT)
        assert wait_for(lambda: not alive(pid), 14, "the sensor stops in order")
    finally:
        os.close(read)
        assert docker_env.stop_process(proc, 30) == 0


def fionread(fd):
    import array
    import fcntl
    import termios
    buf = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, buf)
    return buf.tobytes()


def test_up_needs_root(build):
    with tempfile.TemporaryDirectory() as where:
        os.chmod(where, 0o755)
        copy = shutil.copy(sensor_env.program(build, "bulkhead"), where)
        os.chmod(copy, 0o755)
        r = subprocess.run([copy, "up"], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=30, cwd="/")
    assert r.returncode == 1 and "sudo" in r.stderr and r.stdout == "", r


# asking ---------------------------------------------------------------------------------------------------------------


def test_status_has_every_hook_and_is_one_object(live):
    status = live.status()
    assert status["ready"] is True and status["pid"] == live.pid
    text = live.cli("status").stdout
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.split()[1:2] and line.split()[1] in
            ("preferred", "fallback", "tracepoint", "none")}
    for hook in status["hooks"]:
        row = rows.get(hook["type"])
        assert row, f"expected a row for {hook['type']}:\n{text}"
        expected = "untested" if hook["effective"] and not hook["tested"] else "seen" if hook["effective"] else "NOT"
        assert row[1:3] == [hook["backend"], expected], f"{hook} is shown as {row}"
    for words in (f"pid {live.pid}", "Kernel hooks", "Flight recorder", "Engine "):
        assert words in text, f"expected {words!r} in:\n{text}"


def test_containers_tell_names_and_ways_to_the_host(live, docker):
    ways = ("--pid", "host", "--cap-add", "CHOWN", "-v", "/etc:/host-etc:ro")
    running = docker.run("-d", "--name", "cli-ways", *ways, BASE_IMAGE, "sleep", "1000")
    # not started: not every machine may give all capabilities
    created = docker.docker("create", "--name", "cli-priv", "--privileged", BASE_IMAGE, "true").stdout.strip()
    try:
        def known():
            mine = {c["name"]: c for c in live.containers()}
            return mine.get("cli-ways", {}).get("init_pid", 0) > 0 and mine.get("cli-priv", {}).get("privileged") is True, mine
        mine = wait_for(known, 20, "both containers are described")
        assert mine["cli-ways"]["id"] == running and mine["cli-ways"]["image"] == BASE_IMAGE
        text = live.cli("containers").stdout
        rows = {line.split()[0]: line for line in text.splitlines()}
        for words in (running[:12], BASE_IMAGE, " running ", f" {mine['cli-ways']['init_pid']} ", "host pid", "CHOWN", "mount /etc (ro)"):
            assert words in rows["cli-ways"], f"expected {words!r} in {rows['cli-ways']!r}"
        for words in (created[:12], " created ", "PRIVILEGED"):
            assert words in rows["cli-priv"], f"expected {words!r} in {rows['cli-priv']!r}"
    finally:
        docker.remove(running)
        docker.remove(created)


def test_events_are_chosen_by_container_and_kind(live, docker):
    for name in ("cli-one", "cli-two"):
        docker.run("--rm", "--name", name, BASE_IMAGE, "/bin/echo", f"marker-of-{name}")
    seen = live.wait_events(lambda evs: any("marker-of-cli-one" in e.get("proc.args", []) for e in evs), container="cli-one", type="exec,exit")
    assert {e["type"] for e in seen} <= {"exec", "exit"}
    assert not [e for e in seen if "marker-of-cli-two" in e.get("proc.args", [])]
    assert len(live.events(limit=5)) == 5
    last = live.cli("events", "-c", "cli-one", "-t", "exec", "-n", "1").stdout.splitlines()
    assert len(last) == 1 and " cli-one " in last[0] and " exec " in last[0], last


def test_hostile_names_reach_no_terminal(live, docker):
    word = "cli-hostile\x1b]0;owned\x07\x1b[2J\r\n\u202egpj.exe\\x41"
    docker.run("--rm", "--name", "cli-hostile", "--label", f"x={word}", BASE_IMAGE, "/bin/echo", word)
    seen = live.wait_events(lambda evs: any(len(e.get("proc.args", [])) == 2 for e in evs), container="cli-hostile", type="exec")
    assert any("cli-hostile\x1b]0;owned" in a for e in seen for a in e["proc.args"])
    for command in (("events", "-c", "cli-hostile"), ("containers",), ("status",)):
        hit = UNSAFE.search(live.cli(*command).stdout)
        assert not hit, f"expected no control character in bulkhead {' '.join(command)}, saw {hit!r}"
    r = live.cli("events", "-t", "\x1b[2J", check=False)
    assert r.returncode == 2 and not UNSAFE.search(r.stderr), r.stderr
    r = live.cli("replay", "/nonexistent\x1b[2J", check=False)
    assert r.returncode == 1 and not UNSAFE.search(r.stderr), r.stderr


def on_terminal(live, env, *args):
    """What a command prints to a terminal."""
    master, slave = pty.openpty()
    proc = subprocess.Popen(live.cli_argv(*args), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env={**live._environment(), **env})
    os.close(slave)
    out = b""
    with contextlib.suppress(OSError):  # EIO: the other end is closed
        while chunk := os.read(master, 65536):
            out += chunk
    os.close(master)
    assert proc.wait(30) == 0, out
    return out.decode()


def test_colours_only_on_a_terminal_that_wants_them(live):
    env = {"TERM": "xterm", "NO_COLOR": ""}
    assert "\x1b[" in on_terminal(live, env, "status")
    assert "\x1b[2m" in on_terminal(live, env, "events", "-n", "5")
    assert "\x1b" not in on_terminal(live, {**env, "NO_COLOR": "1"}, "status")
    assert "\x1b" not in on_terminal(live, {**env, "TERM": "dumb"}, "events", "-n", "5")
    assert "\x1b" not in live.cli("status").stdout


# record and replay ----------------------------------------------------------------------------------------------------


def busy(docker, name, seconds=3):
    """A container that acts for some time: its capture has several blocks."""
    script = f"i=0; while [ $i -lt {seconds * 5} ]; do i=$((i+1)); /bin/echo act-$i; sleep 0.2; done"
    return docker.run("-d", "--name", name, BASE_IMAGE, "sh", "-c", script)


def start_record(live, *args):
    proc = subprocess.Popen(live.cli_argv("record", *args), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            env=live._environment(), preexec_fn=docker_env.die_with_parent)
    assert proc.stderr.readline().startswith(b"bulkhead: recording to ")
    return proc


@pytest.fixture(scope="module")
def capture(live, docker, tmp_path_factory):
    """A capture of one container's whole life."""
    path = tmp_path_factory.mktemp("capture") / "a.bhcap"
    proc = start_record(live, "-o", str(path), "--container", "cli-busy")
    cid = busy(docker, "cli-busy")
    try:
        docker.docker("wait", cid)
        live.wait_events(lambda evs: any(e.get("action") == "die" or e["type"] == "exit" for e in evs), container="cli-busy")
    finally:
        proc.send_signal(signal.SIGINT)
        _, err = proc.communicate(timeout=30)
        docker.remove(cid)
    assert proc.returncode == 0, err
    assert b"missing" not in err, err
    return path


def test_replay_gives_what_was_recorded_in_the_same_order(live, capture):
    recorded = live.events(container="cli-busy")
    replayed = live.replay(capture)
    assert len(replayed) > 30
    first, last = replayed[0]["id"], replayed[-1]["id"]
    ids = [e["id"] for e in recorded]
    assert replayed == recorded[ids.index(first):ids.index(last) + 1]
    assert [e["proc.args"][1] for e in replayed if e["type"] == "exec" and e.get("proc.args", [""])[0] == "/bin/echo"] == [f"act-{i}" for i in range(1, 16)]

    text = live.cli("replay", capture).stdout.splitlines()
    assert len(text) == len(replayed)
    assert text == live.cli("events", "-c", "cli-busy").stdout.splitlines()[ids.index(first):ids.index(last) + 1]
    assert [e for e in replayed if e["type"] == "exec"] == [json.loads(x) for x in live.cli("replay", capture, "--json", "-t", "exec").stdout.splitlines()]
    assert live.cli("replay", capture, "-c", "somebody-else").stdout == ""


def test_recorder_directory_and_segments_replay_like_events(live):
    ids = [e["id"] for e in live.events(type="exec")]
    for path in (live.data_dir / "recorder", live.data_dir):
        again = [json.loads(x)["id"] for x in live.cli("replay", path, "--json", "-t", "exec").stdout.splitlines()]
        assert again[:len(ids)] == ids, f"replay of {path} gives other events than bulkhead events"
    segment = sorted((live.data_dir / "recorder").glob("*.bhr"))[0]
    r = live.cli("replay", segment, "--json", "-t", "exec", check=False)
    assert [json.loads(x)["id"] for x in r.stdout.splitlines()][:5] == ids[:5]


def test_record_stops_after_its_duration_and_writes_to_a_pipe(live, docker):
    proc = start_record(live, "-o", "-", "--duration", "3", "--container", "cli-piped", "--type", "exec")
    docker.run("--rm", "--name", "cli-piped", BASE_IMAGE, "/bin/echo", "through-a-pipe")
    out, err = proc.communicate(timeout=30)
    assert proc.returncode == 0, err
    r = subprocess.run(live.cli_argv("replay", "-", "--json"), input=out, capture_output=True, timeout=30, env=live._environment())
    assert r.returncode == 0, r.stderr
    events = [json.loads(x) for x in r.stdout.splitlines()]
    assert {e["type"] for e in events} == {"exec"} and any("through-a-pipe" in e["proc.args"] for e in events)
    assert f"{len(events)} events".encode() in err, err


def test_record_ends_in_order_when_the_sensor_stops(new_sensor, tmp_path):
    own = new_sensor()
    proc = start_record(own, "-o", str(tmp_path / "c"))
    own.cli("status")
    own.stop()
    _, err = proc.communicate(timeout=30)
    assert proc.returncode == 0 and b"the sensor ended" in err, err
    r = own.cli("replay", tmp_path / "c", "--json")
    assert r.stdout.count("\n") > 0


def test_damaged_captures_are_printed_as_far_as_they_are_readable(live, capture, tmp_path):
    whole = capture.read_bytes()
    lines = live.cli("replay", capture, "--json").stdout.splitlines()
    bad = tmp_path / "bad"
    printed = set()
    for cut in (len(whole) - 1, len(whole) * 3 // 4, len(whole) // 2, len(whole) // 4):
        bad.write_bytes(whole[:cut])
        r = live.cli("replay", bad, "--json", check=False)
        out = r.stdout.splitlines()
        assert r.returncode == 1 and "truncated" in r.stderr, f"cut at {cut}: {r.returncode} {r.stderr}"
        assert out == lines[:len(out)], f"expected the first events only, cut at {cut} of {len(whole)}"
        printed.add(len(out))
    assert len(printed) > 1 and max(printed) > 0, f"expected more events of longer beginnings, saw {printed} of {len(lines)}"

    body = bytearray(whole)
    body[len(whole) // 2] ^= 0xff
    bad.write_bytes(body)
    r = live.cli("replay", bad, "--json", check=False)
    assert r.returncode == 1 and ("damaged" in r.stderr or "truncated" in r.stderr), r.stderr
    it = iter(lines)
    assert all(x in it for x in r.stdout.splitlines()), "expected nothing but recorded events, in order"

    for content, words in ((b"", "it is empty"), (b"root:x:0:0:root:/root:/bin/sh\n" * 40, "not a Bulkhead capture")):
        bad.write_bytes(content)
        r = live.cli("replay", bad, check=False)
        assert r.returncode == 1 and r.stdout == "" and words in r.stderr, (content[:10], r.stderr)
    for path, words in ((tmp_path / "none", "No such file"), (tmp_path, "no recording")):
        r = live.cli("replay", path, check=False)
        assert r.returncode == 1 and words in r.stderr, r.stderr


# what goes wrong ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("status", "--json"), ("containers",), ("containers", "--json"), ("events",), ("events", "-f")])
def test_without_a_sensor_commands_say_how_to_start_one(build, tmp_path, command):
    r = bulkhead(build, "--run-dir", tmp_path, *command)
    assert r.returncode == 1 and r.stdout == "", r
    assert f"no sensor answers at {tmp_path}/sensor.sock" in r.stderr and "sudo bulkhead up" in r.stderr, r.stderr


def test_record_without_a_sensor_leaves_an_older_capture_alone(build, tmp_path):
    (tmp_path / "old").write_bytes(b"precious")
    r = bulkhead(build, "--run-dir", tmp_path, "record", "-o", tmp_path / "old")
    assert r.returncode == 1 and "no sensor answers" in r.stderr, r.stderr
    assert (tmp_path / "old").read_bytes() == b"precious"


@pytest.mark.parametrize("args", [
    (), ("dance",), ("--dance", "status"), ("--run-dir",), ("status", "--dance"), ("status", "extra"), ("events", "-t", "nonsense"),
    ("events", "--since", "yesterday"), ("events", "--limit", "-1"), ("events", "-c", ""), ("containers", "x", "y"), ("record",), ("record", "-o", "f", "--duration", "0"),
    ("record", "-o", "f", "--duration", "-5"), ("record", "-o", "f", "-t", "nonsense"), ("replay",), ("replay", "a", "b"), ("replay", "a", "-t", "nonsense"), ("up", "x")])
def test_wrong_usage_is_status_2_and_says_where_help_is(build, tmp_path, args):
    r = bulkhead(build, *args, cwd=tmp_path)
    assert r.returncode == 2 and r.stdout == "" and "--help" in r.stderr, r
    assert not list(tmp_path.iterdir()), "expected nothing to be written"


@pytest.mark.parametrize("command", ["", "up", "status", "events", "containers", "record", "replay"])
def test_help_is_on_standard_output(build, command):
    r = bulkhead(build, *filter(None, [command]), "--help")
    assert r.returncode == 0 and "Usage:" in r.stdout and r.stderr == "", r
    assert "--run-dir" in r.stdout


@pytest.mark.parametrize("command", ["evidence", "incident", "model", "output", "policy", "respond", "rules", "setting", "token", "user"])
def test_help_of_what_has_commands_of_its_own_names_them(build, command):
    r = bulkhead(build, command, "--help")
    assert r.returncode == 0 and "Usage:" in r.stdout and "(null)" not in r.stdout and r.stderr == "", r


def test_an_output_that_cannot_be_written_is_a_failure_and_a_closed_pipe_is_not(live, capture):
    for command in (("status",), ("status", "--json"), ("containers",), ("containers", "--json"), ("events",), ("replay", capture)):
        with open("/dev/full", "w") as full:
            r = subprocess.run(live.cli_argv(*command), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=live._environment())
        assert r.returncode == 1 and "No space left" in r.stderr, (command, r)
        read, write = os.pipe()
        os.close(read)
        r = subprocess.run(live.cli_argv(*command), stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, env=live._environment())
        os.close(write)
        assert r.returncode == 0 and r.stderr == "", (command, r)


def test_a_capture_that_cannot_be_written_is_a_failure(live, tmp_path):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    proc = subprocess.Popen(live.cli_argv("record", "-o", str(tmp_path / "c"), "--duration", "30"), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True, env=live._environment(), preexec_fn=small_files)

    def ended():
        live.cli("status")
        return proc.poll() is not None
    wait_for(ended, 40, "record ends")
    err = proc.stderr.read()
    assert proc.returncode == 1 and "File too large" in err, err
    r = live.cli("record", "-o", tmp_path / "no" / "such", check=False)
    assert r.returncode == 1 and "No such file" in r.stderr, r.stderr
