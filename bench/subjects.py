# SPDX-License-Identifier: Apache-2.0
"""What bench/cost compares: each is started, watches the machine while the loads run, and is stopped with nothing left behind."""
import ctypes
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import time

import lib

# Kinds of events that auditd has no rule for at an equal price. Leaving them out is in auditd's favour.
NOT_AUDITED = {
    "FORK": "nobody logs each fork", "EXIT": "nobody logs each exit", "CGROUP_CREATE": "no such rule", "CGROUP_REMOVE": "no such rule",
    "CGROUP_ATTACH": "no such rule", "COMM": "no such rule", "CLOSE_WRITE": "it would be each write", "MEM_WRITE": "it would be each write",
    "SEND": "a rule cannot tell datagrams from streams", "RECV": "a rule cannot tell datagrams from streams", "DNS": "a rule cannot tell datagrams from streams",
    "NET_CLOSE": "no such rule", "MMAP_EXEC": "in a rule of its own", "MPROTECT_EXEC": "in a rule of its own"}
ALWAYS = {"b64": [59, 322, 62, 200, 234], "b32": [11, 358, 37, 238, 270]}  # execve, execveat, kill, tkill, tgkill
EXEC_MAPPINGS = {"b64": [9, 10, 329], "b32": [192, 125, 380]}               # mmap, mprotect, pkey_mprotect with PROT_EXEC


def table_rows(path, macro, count):
    """Arguments of each use of an X-macro."""
    text = (lib.ROOT / path).read_text()
    return [[a.strip() for a in m.split(",")][:count] for m in re.findall(rf"^{macro}\((.*?)\)", text, re.M)]


def audit_rules(container):
    """
    Rules for the system calls that the sensor's hooks watch, from its own tables: for processes on the host without the kinds that the sensor records
    in containers only (auditd itself cannot tell containers apart: its rules for them hold for the whole machine).
    """
    bulk = {row[1] for row in table_rows("bpf/include/event_types.tbl.h", "BH_EVENT_TYPE", 4) if row[3] == "BULK"}
    calls = {"b64": set(ALWAYS["b64"]), "b32": set(ALWAYS["b32"])}
    for kind, handler, native, compat in table_rows("src/sensor/hooks.tbl.h", "BH_HOOK_CALL", 4):
        if kind in NOT_AUDITED or (kind in bulk and not container) or handler == "fcntl":
            continue
        for arch, number in (("b64", native), ("b32", compat)):
            if re.fullmatch(r"\d+", number):
                calls[arch].add(int(number))
    rules = []
    for arch in ("b64", "b32"):
        rules.append(["-a", "always,exit", "-F", f"arch={arch}", "-S", ",".join(str(n) for n in sorted(calls[arch])), "-k", "bench"])
        if container:
            rules.append(["-a", "always,exit", "-F", f"arch={arch}", "-S", ",".join(str(n) for n in EXEC_MAPPINGS[arch]), "-F", "a2&4", "-k", "bench"])
    return rules


class Nothing:
    name = "none"
    about = "no sensor"
    on_request = False

    def available(self):
        pass

    def start(self, base):
        pass

    def before(self, container):
        """Called before each load with where it runs."""

    def stop(self):
        return {}

    def version(self):
        return ""


class Floor(Nothing):
    """
    What nobody who attaches to the exit of system calls gets below: one program there that returns at once. The kernel then takes its slow way out of each
    system call of the machine. What a sensor on the fallback costs above this is its own; where no hook needs that tracepoint (preferred backend) it costs less.
    """
    name = "floor"
    about = "an empty program at the exit of system calls"
    NUMBERS = {"x86_64": 321, "aarch64": 280}
    PROG_LOAD, RAW_TRACEPOINT_OPEN, RAW_TRACEPOINT = 5, 17, 17
    RETURN_0 = struct.pack("=BBhiBBhi", 0xb7, 0, 0, 0, 0x95, 0, 0, 0)  # r0 = 0; exit

    def _bpf(self, command, attr):
        libc = ctypes.CDLL(None, use_errno=True)
        fd = libc.syscall(self.NUMBERS[os.uname().machine], command, ctypes.create_string_buffer(attr, 128), 128)
        if fd < 0:
            raise lib.NotMeasured(f"the kernel takes no program at the exit of system calls: {os.strerror(ctypes.get_errno())}")
        return fd

    def start(self, base):
        code, text = ctypes.create_string_buffer(self.RETURN_0), ctypes.create_string_buffer(b"GPL")
        # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name
        program = self._bpf(self.PROG_LOAD, struct.pack("=IIQQIIQII16s", self.RAW_TRACEPOINT, 2, ctypes.addressof(code), ctypes.addressof(text), 0, 0, 0, 0, 0, b"bench_floor"))
        try:
            where = ctypes.create_string_buffer(b"sys_exit")
            self.link = self._bpf(self.RAW_TRACEPOINT_OPEN, struct.pack("=QI", ctypes.addressof(where), program))
        finally:
            os.close(program)

    def stop(self):
        os.close(self.link)
        return {}


class Bulkhead(Nothing):
    def __init__(self, name="bulkhead", about="the sensor as `bulkhead up` starts it", options=(), on_request=False):
        self.name, self.about, self.options, self.on_request = name, about, options, on_request

    def start(self, base):
        self.sensor = lib.Sensor(base, *self.options)
        self.busy = lib.cpu_seconds(self.sensor.process.pid)  # its start is not what watching costs

    def stop(self):
        s = self.sensor
        try:
            status = s.settled()
            hooks = status["hooks"]
            return {"ready_s": s.ready_s, "cpu_s": lib.cpu_seconds(s.process.pid) - self.busy, "start_cpu_s": self.busy, "memory": lib.memory(s.process.pid),
                    "log_bytes": sum(p.stat().st_size for p in (s.data_dir / "recorder").glob("*")), "events": status["events"]["recorded"],
                    "generated": sum(h["generated"] for h in hooks), "delivered": sum(h["delivered"] for h in hooks), "folded": sum(h["folded"] for h in hooks),
                    "lost": status["lost"], "backends": {h["type"]: h["backend"] for h in hooks}}
        finally:
            s.stop()

    def version(self):
        return lib.first_line(lib.built("src/cli/bulkhead"), "--version") or "of this build"


class Auditd(Nothing):
    """
    Debian's auditd with its default configuration and buffers, and a log of its own. Measured only where nobody else uses the kernel's audit. The kernel
    goes on preparing for audit in each process that starts after audit was on once, until it is told not to: without auditd a rule "never,task" does that,
    and it stays when all is over.
    """
    name = "auditd"
    about = "auditd, rules for the same system calls"
    NEVER = ["never,task"]

    def _ctl(self, *args, check=True):
        out = subprocess.run([self.auditctl, *args], capture_output=True, text=True, env=lib.ENV)
        if check and out.returncode:
            raise lib.NotMeasured(f"auditctl {' '.join(args[:3])} failed: {(out.stderr or out.stdout).strip()}")
        return out.stdout

    def _state(self):
        return dict(line.split(None, 1) for line in self._ctl("-s").splitlines() if " " in line)

    def available(self):
        self.auditd, self.auditctl = lib.find("auditd", "auditd"), lib.find("auditctl", "auditd")
        state = self._state()
        rules = self._ctl("-l").strip()
        if state.get("pid", "0") != "0":
            raise lib.NotMeasured(f"an audit daemon (pid {state['pid']}) runs on this machine already: stop it first, its rules would be measured with ours")
        if rules not in ("No rules", "-a never,task"):
            raise lib.NotMeasured("this machine has audit rules of its own; they are left alone (auditctl -l)")
        if state.get("enabled") == "2":
            raise lib.NotMeasured("the kernel's audit is locked until the next boot (auditctl -s: enabled 2)")
        self.was, self.used = state, False

    def quiet(self):
        """As if audit had never been on."""
        if self.used:
            self._ctl("-D")
            self._ctl("-a", *self.NEVER)

    def start(self, base):
        etc = pathlib.Path(base) / "audit"
        (etc / "plugins.d").mkdir(parents=True)
        self.log = etc / "audit.log"
        os.chmod(base, 0o700)
        (etc / "auditd.conf").write_text(f"""local_events = yes
write_logs = yes
log_file = {self.log}
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 8
num_logs = 5
max_log_file_action = ROTATE
priority_boost = 4
name_format = NONE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
plugin_dir = {etc / "plugins.d"}
q_depth = 2000
overflow_action = IGNORE
""")
        os.chmod(etc / "auditd.conf", 0o640)
        self.used = True
        self._ctl("-D")
        with open(etc / "auditd.out", "wb") as out:
            self.process = subprocess.Popen([self.auditd, "-n", "-c", etc], stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=lib.place(), env=lib.ENV)
        begin = time.monotonic()
        try:
            while self._state().get("pid") != str(self.process.pid):
                if self.process.poll() is not None or time.monotonic() - begin > 120:
                    raise lib.NotMeasured(f"auditd did not start: {lib.read(etc / 'auditd.out')[-500:] or 'it said nothing'}")
                time.sleep(0.02)
            self.ready_s = time.monotonic() - begin
            for args in (["-b", "8192"], ["--backlog_wait_time", "60000"], ["-f", "1"]):  # as Debian's audit.rules has it
                self._ctl(*args)
        except BaseException:
            lib.stop(self.process)
            self.quiet()
            raise
        self.lost = int(self._state().get("lost", "0"))
        self.container = None

    def before(self, container):
        if container == self.container:
            return
        self._ctl("-D")
        for rule in audit_rules(container):
            self._ctl(*rule)
        self.container = container

    def stop(self):
        try:
            state = self._state()
            return {"ready_s": self.ready_s, "cpu_s": lib.cpu_seconds(self.process.pid), "memory": lib.memory(self.process.pid),
                    "lost": int(state.get("lost", "0")) - self.lost, "log_bytes": sum(p.stat().st_size for p in self.log.parent.glob("audit.log*"))}
        finally:
            try:
                self.quiet()
            finally:
                lib.stop(self.process)
            # What the kernel had before; "never,task" stays, see above.
            for option, key in (("-b", "backlog_limit"), ("--backlog_wait_time", "backlog_wait_time"), ("-f", "failure"), ("-e", "enabled")):
                self._ctl(option, self.was.get(key, "0"), check=False)
            shutil.rmtree(self.log.parent, ignore_errors=True)

    def version(self):
        return lib.first_line("dpkg-query", "-W", "-f", "${Version}", "auditd") or "unpacked from Debian"


class Falco(Nothing):
    """Falco as its user has it installed, with the rules that it brings; its alerts go to a file."""
    name = "falco"
    about = "Falco, modern eBPF, the rules that it brings"

    def available(self):
        if not shutil.which("falco", path=lib.PATH):
            raise lib.NotMeasured("there is no falco in the PATH")

    def start(self, base):
        self.out = pathlib.Path(base) / "falco.out"
        begin = time.monotonic()
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen(["falco", "-o", "engine.kind=modern_ebpf", "-o", "json_output=true", "-o", "stdout_output.enabled=true",
                                             "-o", "syslog_output.enabled=false"], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=lib.place(),
                                            env=lib.ENV)
        # It says so when its engine is open ("Enabled event sources" before, "Opening 'syscall' source" then).
        try:
            while "Opening 'syscall' source" not in lib.read(self.out):
                if self.process.poll() is not None or time.monotonic() - begin > 60:
                    raise lib.NotMeasured(f"falco did not start: {lib.read(self.out)[-500:]}")
                time.sleep(0.05)
        except BaseException:
            lib.stop(self.process)
            raise
        time.sleep(1)  # its programs are attached after that line
        self.ready_s = time.monotonic() - begin

    def stop(self):
        out = {"ready_s": self.ready_s, "cpu_s": lib.cpu_seconds(self.process.pid), "memory": lib.memory(self.process.pid)}
        lib.stop(self.process, sig=signal.SIGINT)
        text = lib.read(self.out)
        dropped = re.search(r"Drop rate: *([\d.]+)|Syscall event drop.*?(\d+)", text)
        out.update(log_bytes=self.out.stat().st_size, lost=dropped[0] if dropped else None)
        return out

    def version(self):
        return lib.first_line("falco", "--version")


ALL = [Nothing(), Floor(), Bulkhead(), Bulkhead("no-web", "as `bulkhead up --no-web` starts it: web traffic is not inspected", ("--no-web",), True),
       Bulkhead("no-calls", "as `bulkhead up --no-calls` starts it: system calls are not counted", ("--no-calls",), True),
       Bulkhead("bulkhead-alone", "the sensor without bus and inspector", ("--no-bus", "--no-inspector")),
       Bulkhead("preferred", "the sensor, hooks on kernel functions", ("--backend", "preferred"), True),
       Bulkhead("fallback", "the sensor, system-call tracepoints", ("--backend", "fallback"), True), Auditd(), Falco()]
