# SPDX-License-Identifier: Apache-2.0
"""What the parts of `dev bench` share: the machine's facts, figures of repeats, a sensor of one's own, a container's cgroup, pinned programs."""
import ctypes
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("BH_BUILD") or ROOT / "build").resolve()
# Programs that are services with Debian are unpacked there, not installed: nothing starts by itself (see `dev`).
UNPACKED = BUILD / "bench" / "packages"
PATH = os.pathsep.join(["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", str(UNPACKED / "usr/sbin"), str(UNPACKED / "sbin"),
                        str(UNPACKED / "usr/bin"), os.environ.get("PATH", "")])
ENV = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}
SENSOR_DEADLINE_S = 600


class NotMeasured(Exception):
    """This cannot be measured here; the text says why, and what would change it."""


# ---- figures ----

def spread(values):
    """Median, smallest and largest of some repeats, as a dictionary."""
    if not values:
        raise ValueError("no values")
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def ratios(with_it, without):
    """Spread of the ratios of rates in the same rounds: 0.92 means that 92 % of the throughput is kept."""
    if len(with_it) != len(without):
        raise ValueError(f"{len(with_it)} rates cannot be held against {len(without)}")
    return spread([a / b for a, b in zip(with_it, without)])


def more(with_it, without):
    """By how much the median has grown."""
    return statistics.median(with_it) - statistics.median(without)


def table(head, rows, left=0):
    """Lines of a table: the first column to the left, and that of number `left`, all others to the right."""
    rows = [head] + [[str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return ["  ".join(c.ljust(w) if i in (0, left) else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip() for row in rows]


def human(n):
    """1234567 as 1,235 k: four digits are enough for people."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(n) >= 100 * size:
            return f"{n / size:,.0f} {unit}"
        if abs(n) >= 10 * size and size > 1:
            return f"{n / size:,.1f} {unit}"
    return f"{n:,.0f}" if abs(n) >= 100 else f"{n:.1f}"


# ---- the machine ----

def first_line(*command):
    """What a program says of its version; "" if there is none."""
    try:
        out = subprocess.run(command, capture_output=True, text=True, env=ENV, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return ((out.stdout or out.stderr).strip().splitlines() or [""])[0]


def read(path, default=""):
    try:
        return pathlib.Path(path).read_text(errors="replace").strip()
    except OSError:
        return default


def git(*args):
    return first_line("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *args)


def tracing_programs():
    """How many BPF programs trace this machine now; None where nobody can tell."""
    try:
        out = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, env=ENV, timeout=30).stdout
        return sum(p.get("type") in ("tracing", "raw_tracepoint", "tracepoint", "kprobe", "lsm") for p in json.loads(out))
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired):
        return None


def machine():
    """Facts without which a figure says nothing."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", read("/proc/cpuinfo"), re.M)
    vulnerabilities = pathlib.Path("/sys/devices/system/cpu/vulnerabilities")
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": git("rev-parse", "--short=12", "HEAD"), "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        "cpu": cpu[1] if cpu else platform.machine(), "cpus": len(os.sched_getaffinity(0)), "cpus_online": os.cpu_count(),
        "virtual": "hypervisor" in read("/proc/cpuinfo"),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(), "cmdline_mitigations": re.findall(r"\bmitigations=\S+", read("/proc/cmdline")),
        "mitigations": {p.name: read(p) for p in sorted(vulnerabilities.glob("*")) if read(p) != "Not affected"},
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "none (the host decides)"),
        "turbo": read("/sys/devices/system/cpu/cpufreq/boost", "unknown"),
        "tracing_programs_at_start": tracing_programs(), "audit": first_line("auditctl", "-s"),
        "load_average_at_start": os.getloadavg()[0],
        "compiler": first_line("cc", "--version"),
    }


def find(program, package):
    """Path of a program, or NotMeasured with what to install."""
    path = shutil.which(program, path=PATH)
    if not path:
        raise NotMeasured(f"there is no {program} here (Debian package {package}; `dev bench` gets it)")
    return path


def built(name):
    path = BUILD / name
    if not path.exists():
        sys.exit(f"bench: {path} is not there: run ./dev build first")
    return str(path)


# ---- processes ----

def place(cpu=None, cgroup=None):
    """A preexec_fn: pinned to one CPU, in a cgroup, ended with this program, and not by a Ctrl-C before it: that is for us to do, in order."""
    def enter():
        os.setsid()
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        if cgroup:
            with open(os.path.join(cgroup, "cgroup.procs"), "w") as f:
                f.write(str(os.getpid()))
    return enter


def cpus():
    """(server's CPU, client's CPU): the first two that are allowed; the same one twice where there is one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[min(1, len(allowed) - 1)]


def children(pid):
    """The process and all its descendants."""
    out = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in read(task).split():
            out += children(int(child))
    return out


def memory(pid):
    """RssKiB and PssKiB of each process below and with `pid`, by name."""
    out = {}
    for p in children(pid):
        rss, pss = re.search(r"VmRSS:\s*(\d+)", read(f"/proc/{p}/status")), re.search(r"^Pss:\s*(\d+)", read(f"/proc/{p}/smaps_rollup"), re.M)
        if rss:
            name = read(f"/proc/{p}/comm", "?")
            row = out.setdefault(name, {"rss_kib": 0, "pss_kib": 0})
            row["rss_kib"] += int(rss[1])
            row["pss_kib"] += int(pss[1]) if pss else 0
    return out


def cpu_seconds(pid):
    """CPU time of the process and its descendants, with that of ended children."""
    total = 0
    for p in children(pid):
        fields = read(f"/proc/{p}/stat").rpartition(")")[2].split()
        if len(fields) > 14:
            total += sum(int(f) for f in fields[11:15])
    return total / os.sysconf("SC_CLK_TCK")


def cpu_ns(pid):
    """CPU time of a process's living threads, exact."""
    return sum(int((read(p) or "0").split()[0]) for p in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def stop(process, seconds=120, sig=signal.SIGTERM):
    """Ends a process that was started here; killed when it does not go."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(sig)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# ---- the sensor ----

class Sensor:
    """A bulkhead-sensor with directories of its own below `base`. `options` are the sensor's."""

    def __init__(self, base, *options, build=BUILD):
        self.build = pathlib.Path(build)
        self.base = pathlib.Path(base)
        self.base.mkdir(parents=True, exist_ok=True)
        self.run_dir, self.data_dir = self.base / "run", self.base / "data"
        self.log = self.base / "sensor.log"
        begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [self.build / "src/sensor/bulkhead-sensor", "--run-dir", self.run_dir, "--data-dir", self.data_dir, "--no-docker", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=place(), env=ENV)
        try:
            while not (self.run_dir / "sensor.sock").exists():
                if self.process.poll() is not None or time.monotonic() - begin > SENSOR_DEADLINE_S:
                    sys.exit(f"bench: the sensor did not start:\n{read(self.log)[-2000:]}")
                time.sleep(0.01)
        except BaseException:  # also a Ctrl-C: nothing is left behind
            self.stop()
            raise
        self.ready_s = time.monotonic() - begin

    def status(self):
        out = subprocess.run([self.build / "src/cli/bulkhead", "--run-dir", self.run_dir, "status", "--sensor", "--json"], check=True, capture_output=True, text=True, env=ENV)
        return json.loads(out.stdout)

    def settled(self, seconds=4):
        """The status, once what was generated is delivered, folded or lost, and told as such."""
        until = time.monotonic() + seconds
        before = None
        while True:
            now = self.status()
            counts = (now["events"]["recorded"], sum(h["generated"] for h in now["hooks"]))
            if counts == before or time.monotonic() > until:
                return now
            before = counts
            time.sleep(1.1)  # the sensor adds up its counts each second

    def stop(self):
        stop(self.process, 600)
        subprocess.run(["umount", self.run_dir / "bpf"], capture_output=True)  # only there after a sensor that was killed
        shutil.rmtree(self.run_dir, ignore_errors=True)
        shutil.rmtree(self.data_dir, ignore_errors=True)


class Container:
    """A cgroup that looks like a container's, in the hierarchy that the sensor goes by: the kernel programs know it by its name."""

    def __init__(self):
        for controller in ("pids", "memory", "devices", "cpu", ""):
            base = pathlib.Path("/sys/fs/cgroup") / controller
            if (base / "cgroup.procs").exists():
                break
        self.parent = base / f"bulkhead-bench-{os.getpid()}"
        self.path = self.parent / ("be" * 32)

    def __enter__(self):
        self.path.mkdir(parents=True)
        return self.path

    def __exit__(self, *_):
        for path in (self.path, self.parent):
            for _ in range(100):  # the last process may still be on its way out
                try:
                    path.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.05)


def not_measured(name, why):
    """Ends a part that cannot be measured here, which is no failure."""
    print(f"not measured: {name}: {why}")
    sys.exit(77)


def begin(name):
    """Of a part that loads kernel programs: needs root, and clears up when it is told to end."""
    if os.geteuid() != 0:
        sys.exit(f"bench: {name} must be root to load kernel programs: run it with sudo")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def write_json(path, data):
    if path:
        pathlib.Path(path).write_text(json.dumps(data, indent=1) + "\n")
