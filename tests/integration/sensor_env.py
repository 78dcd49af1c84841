"""A real bulkhead-sensor with a run and data directory of its own, driven through the real command line.

    with Sensor(build_dir, docker_host=docker.host) as sensor:
        ...
        sensor.wait_events(lambda evs: any(...), container="web", type="exec")

Leaving the block stops the sensor with SIGTERM and fails when it did not end with status 0, or when a sanitizer
reported anything. What a killed sensor leaves behind (pinned programs in <run>/bpf) goes with close().
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from docker_env import die_with_parent, stop_process, system_env, tail, wait_for

REPO = pathlib.Path(__file__).resolve().parents[2]
SANITIZER_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer")


def build_dir():
    """The build to test: $BH_BUILD, or build/ of this tree."""
    return pathlib.Path(os.environ.get("BH_BUILD") or REPO / "build").resolve()


def program(build, name):
    """The built bulkhead or bulkhead-sensor."""
    path = pathlib.Path(build) / "src" / {"bulkhead": "cli", "bulkhead-sensor": "sensor"}[name] / name
    if not path.exists():
        raise FileNotFoundError(f"{path} is not built: run ./dev build")
    return str(path)


def sanitized(build):
    """Whether the programs are built with a sanitizer."""
    return "libasan" in subprocess.run(["ldd", program(build, "bulkhead-sensor")], capture_output=True, text=True, env=system_env()).stdout


class Follow:
    """`bulkhead events -f --json` in the background; .events grows as they come."""

    def __init__(self, argv, env):
        self.events = []
        self.errors = []
        self._lock = threading.Lock()
        self._proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=env, preexec_fn=die_with_parent)
        self._threads = [threading.Thread(target=self._read_out, daemon=True),
                         threading.Thread(target=self._read_err, daemon=True)]
        for t in self._threads:
            t.start()

    def _read_out(self):
        for line in self._proc.stdout:
            try:
                event = json.loads(line)
            except ValueError as e:
                self.errors.append(f"not JSON ({e}): {line[:400]!r}")
                continue
            with self._lock:
                self.events.append(event)

    def _read_err(self):
        for line in self._proc.stderr:
            self.errors.append(line.decode(errors="backslashreplace").rstrip())

    def snapshot(self):
        with self._lock:
            return list(self.events)

    def wait(self, match, deadline=10.0, what="an event", count=1):
        """Waits until `count` events satisfy match(event); returns them."""
        def enough():
            if self._proc.poll() is not None:
                raise AssertionError(f"bulkhead events -f ended with status {self._proc.returncode}: {self.errors[-5:]}")
            hits = [e for e in self.snapshot() if match(e)]
            return (True, hits) if len(hits) >= count else (False, f"{len(hits)} matching of {len(self.events)} events; "
                                                                   f"errors {self.errors[-3:]}")
        return wait_for(enough, deadline, f"{count} x {what}")

    def close(self):
        stop_process(self._proc, 5)
        for t in self._threads:
            t.join(5)


class Sensor:
    """One sensor process. .pid, .run_dir, .data_dir, .log are for tests that attack it."""

    def __init__(self, build=None, docker_host=None, host_root=None, backend="auto", base_dir=None, args=(), env=None):
        self.build = pathlib.Path(build or build_dir())
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bhs-", dir=base_dir or os.environ.get("BH_TEST_DIR", "/tmp")))
        self.run_dir = self.dir / "run"
        self.data_dir = self.dir / "data"
        self.log = self.dir / "sensor.log"
        self.docker_host = docker_host
        self.host_root = host_root
        self.backend = backend
        self.args = list(args)
        self.env = dict(env or {})
        self.proc = None
        self._follows = []
        for d in (self.run_dir, self.data_dir):
            d.mkdir(mode=0o700)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, exc_type, exc, tb):
        try:
            if exc_type is None:
                if self.alive:
                    self.stop()
                self.check_sanitizers()
        finally:
            self.close()

    # Process --------------------------------------------------------------------------------------------------

    @property
    def pid(self):
        return self.proc.pid

    @property
    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def argv(self):
        argv = [program(self.build, "bulkhead-sensor"), "--run-dir", str(self.run_dir), "--data-dir", str(self.data_dir)]
        if self.docker_host:
            argv += ["--docker", self.docker_host]
        if self.host_root:
            argv += ["--host-root", str(self.host_root)]
        if self.backend != "auto":
            argv += ["--backend", self.backend]
        return argv + self.args

    def _environment(self):
        env = system_env()
        env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:detect_stack_use_after_return=1")
        env.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1:exitcode=99")
        env["G_DEBUG"] = "fatal-criticals"
        env.update(self.env)
        return env

    def start(self, wait=True, deadline=90.0):
        if self.alive:
            raise RuntimeError("the sensor runs already")
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env=self._environment(), preexec_fn=die_with_parent, cwd="/")
        if wait:
            self.wait_ready(deadline)
        return self

    def wait_ready(self, deadline=90.0):
        """Until `status --json` says "ready": true."""
        def ready():
            if not self.alive:
                raise AssertionError(f"bulkhead-sensor ended with status {self.proc.returncode} before it was ready\n"
                                     f"log {self.log}:\n{tail(self.log)}")
            r = self.cli("status", "--json", check=False)
            if r.returncode != 0:
                return False, r.stderr.strip()
            status = json.loads(r.stdout)
            return status.get("ready") is True, status
        try:
            return wait_for(ready, deadline, "the sensor says that it is ready", every=0.1)
        except AssertionError as e:
            raise AssertionError(f"{e}\nlog {self.log}:\n{tail(self.log)}") from None

    def stop(self, sig=signal.SIGTERM, deadline=30.0, status=0):
        """Clean stop; fails when the exit status is not `status`."""
        self.proc.send_signal(sig)
        try:
            got = self.proc.wait(deadline)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait(10)
            raise AssertionError(f"expected the sensor to end within {deadline:g} s of signal {sig}, it did not\n"
                                 f"log {self.log}:\n{tail(self.log)}") from None
        assert got == status, f"expected exit status {status}, saw {got}\nlog {self.log}:\n{tail(self.log)}"

    def kill(self):
        """SIGKILL. The kernel side stays attached until a restart() adopts it or close() removes it."""
        self.proc.kill()
        self.proc.wait(10)

    def restart(self, deadline=90.0):
        """Starts again on the same directories, after a clean stop if it still runs."""
        if self.alive:
            self.stop()
        return self.start(deadline=deadline)

    def close(self):
        """Ends whatever is left and removes the directories and the pinned programs. Keeps no state."""
        for f in self._follows:
            f.close()
        self._follows = []
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self.proc.send_signal(signal.SIGCONT)
            stop_process(self.proc, 15)
        for line in reversed(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()):
            point = line.split()[4]
            if point.startswith(f"{self.dir}/"):
                subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, env=system_env())
        logs = os.environ.get("BH_TEST_LOGS")
        if logs and self.log.exists():
            os.makedirs(logs, exist_ok=True)
            shutil.copy(self.log, pathlib.Path(logs) / f"{self.dir.name}.log")
        if f"{self.dir}/" not in pathlib.Path("/proc/self/mountinfo").read_text():
            shutil.rmtree(self.dir, ignore_errors=True)

    def check_sanitizers(self):
        if not self.log.exists():
            return
        text = self.log.read_text(errors="backslashreplace")
        for mark in SANITIZER_MARKS:
            assert mark not in text, f"expected no sanitizer report, saw {mark!r}\nlog {self.log}:\n{tail(self.log, 80)}"

    def log_tail(self, lines=40):
        return tail(self.log, lines)

    # Command line ---------------------------------------------------------------------------------------------

    def cli_argv(self, *args):
        return [program(self.build, "bulkhead"), "--run-dir", str(self.run_dir), "--data-dir", str(self.data_dir),
                *map(str, args)]

    def cli(self, *args, check=True, timeout=120):
        """`bulkhead ARGS` for this sensor; output decoded strictly, it must be UTF-8 whatever went in."""
        r = subprocess.run(self.cli_argv(*args), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
                           env=self._environment())
        r.stdout = r.stdout.decode("utf-8")
        r.stderr = r.stderr.decode("utf-8", "backslashreplace")
        if check:
            assert r.returncode == 0, (f"expected bulkhead {' '.join(map(str, args))} to succeed, saw status "
                                       f"{r.returncode}: {r.stderr}{r.stdout[-2000:]}\nsensor log:\n{self.log_tail()}")
        return r

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def containers(self):
        return [json.loads(line) for line in self.cli("containers", "--json").stdout.splitlines()]

    @staticmethod
    def _filters(filters):
        return [a for k, v in filters.items() if v is not None for a in ("--" + k.replace("_", "-"), str(v))]

    def events(self, follow=False, **filters):
        """What is recorded, oldest first, as a list; with follow=True a running Follow. Filters: container=, type=."""
        if follow:
            f = Follow(self.cli_argv("events", "-f", "--json", *self._filters(filters)), self._environment())
            self._follows.append(f)
            return f
        out = self.cli("events", "--json", *self._filters(filters)).stdout
        return [json.loads(line) for line in out.split("\n") if line]

    def wait_events(self, enough, deadline=10.0, what="the events", **filters):
        """Asks events(**filters) until enough(list) is true; returns the list. Fails with a sample of what was seen."""
        def ask():
            seen = self.events(**filters)
            return bool(enough(seen)), seen
        return wait_for(ask, deadline, what, shown=self._sample)

    def _sample(self, seen):
        sample = "\n".join(json.dumps(e)[:300] for e in seen[-10:])
        return f"{len(seen)} events, the last:\n{sample}\nsensor log {self.log}:\n{self.log_tail()}"

    def replay(self, path):
        return [json.loads(line) for line in self.cli("replay", path, "--json").stdout.split("\n") if line]
