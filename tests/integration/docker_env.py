"""A Docker Engine of the tests' own: containerd and dockerd with their own state, socket and bridge.

Nothing is shared with an engine that the machine may already run, and any number of these can run side by side:
every name carries a random tag. dockerd runs without iptables here, because its start flushes the chains that all
engines of one network namespace share; this module adds two rules for its own bridge and takes them away again.
Containers reach each other and the host, and nothing beyond: the tests need no network.

    with DockerEnv() as docker:
        docker.import_base_image(build_dir)
        docker.run("--name", "a", "-d", BASE_IMAGE, "sleep", "60")

close() takes down containers, networks, daemons, mounts, bridge, rules, cgroup directories and files, also after a
failed start, and leftovers() names what is still there. The daemons get SIGTERM from the kernel when the test
process dies.
"""
import ctypes
import io
import json
import os
import pathlib
import random
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time

BASE_IMAGE = "bh-test/base:1"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CGROUP_ROOT = pathlib.Path("/sys/fs/cgroup")
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class DockerError(RuntimeError):
    """A docker command or daemon failed; the text says which, and what it printed."""


def system_env():
    """This process's environment with Debian's own programs first and without a foreign Docker context."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
    env["PATH"] = SYSTEM_PATH + ":" + env.get("PATH", "")
    return env


def patience():
    """How much longer than on a machine that is a test's alone things may take: how many want each processor, 1 to 4."""
    return min(4.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def wait_for(cond, deadline=10.0, what="condition", every=None, shown=repr):
    """Calls cond() until it gives something true, and returns that.

    A pair is (whether it is done, what was seen): what was seen is returned, and the last of it is in the AssertionError after `deadline` seconds, or as many times that as patience() says, as
    `shown` puts it.
    It asks each `every` seconds; None: soon at first and then less often, for what is asked is mostly a program that has to be started.
    """
    start = time.monotonic()
    seen, pause = None, 0.03 if every is None else every
    while True:
        value = cond()
        if isinstance(value, tuple) and len(value) == 2:
            done, seen = value
            if done:
                return seen
        elif value:
            return value
        else:
            seen = value
        waited = time.monotonic() - start
        if waited >= deadline * patience():
            raise AssertionError(f"expected within {deadline:g} s: {what}\nseen last, after {waited:.1f} s: {shown(seen)}")
        time.sleep(pause)
        if every is None:
            pause = min(0.15, pause * 1.25)


def listens(netns, port, proto="tcp"):
    """Whether something waits at this port in that network namespace (a path, as nsenter takes it), without connecting to it."""
    r = subprocess.run(["nsenter", f"--net={netns}", "cat", f"/proc/net/{proto}", f"/proc/net/{proto}6"], capture_output=True, text=True, env=system_env())
    rows = [line.split() for line in r.stdout.splitlines()]
    return any(len(row) > 3 and row[1].endswith(f":{port:04X}") and row[3] == ("0A" if proto == "tcp" else "07") for row in rows)


def tail(path, lines=40):
    """The last lines of a text file, or a sentence saying that there is none."""
    try:
        return "\n".join(pathlib.Path(path).read_text(errors="backslashreplace").splitlines()[-lines:])
    except OSError as e:
        return f"({path}: {e.strerror})"


def die_with_parent():
    """preexec_fn: a session of its own (no Ctrl-C from the terminal), SIGTERM when the starting thread dies."""
    os.setsid()
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def stop_process(proc, grace=15.0):
    """SIGTERM, then SIGKILL after `grace` seconds. Returns the exit status."""
    if proc.poll() is None:
        proc.terminate()
        try:
            proc.wait(grace)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait(10)
    return proc.returncode


def make_base_image_tar(files=()):
    """A tar of a root file system: static busybox under all its names, and (path in image, path here) files."""
    busybox = pathlib.Path("/bin/busybox")
    applets = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777), ("proc", 0o755), ("sys", 0o755),
                           ("dev", 0o755), ("root", 0o700), ("var", 0o755), ("run", 0o755), ("www", 0o755)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)

        def add(name, data, mode=0o644):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            tar.addfile(info, io.BytesIO(data))

        add("bin/busybox", busybox.read_bytes(), 0o755)
        for applet in applets:
            if applet != "busybox":
                info = tarfile.TarInfo(f"bin/{applet}")
                info.type, info.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(info)
        add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
        add("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        add("www/index.html", b"hello\n")
        for name, source in files:
            add(name.lstrip("/"), pathlib.Path(source).read_bytes(), 0o755)
    return out.getvalue()


PRIVILEGED_RUNTIME = "most-privileged"  # docker run --privileged --runtime PRIVILEGED_RUNTIME


class DockerEnv:
    """One engine. start() or `with`; .host is its unix:// address, .dir its state, .bridge None or its bridge's name.

    netns=True gives it a network namespace of its own (.netns is its path), without a way out: with iptables, NAT, several networks and
    overlays, as an engine that has the machine for itself. Its published ports are reached from within that namespace alone.
    """

    def __init__(self, keep_logs=None, netns=False):
        self.netns = netns
        self.pool = "10.251.0.0/16"  # of its networks
        self.tag = secrets.token_hex(3)
        self.keep_logs = keep_logs
        self.dir = None
        self.bridge = None
        self.subnet = None
        self.host = None
        self._containerd = None
        self._dockerd = None
        self._rules = []
        self._cgroups_before = set()
        self._shim_sockets = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *exc):
        self.close()

    # Start ----------------------------------------------------------------------------------------------------

    def start(self, deadline=60.0):
        if os.geteuid() != 0:
            raise DockerError("a Docker Engine needs root")
        for program in ("dockerd", "containerd", "docker"):
            if not shutil.which(program, path=SYSTEM_PATH):
                raise DockerError(f"{program} is not installed (Debian package docker.io)")
        # Short: container sockets below it must fit the 108 bytes of a Unix socket address.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"bht-{self.tag}-", dir=os.environ.get("BH_TEST_DIR", "/tmp")))
        self.host = f"unix://{self.dir}/docker.sock"
        self._cgroups_before = set(self._docker_cgroup_roots())
        try:
            self._make_netns() if self.netns else self._make_bridge()
            self._start_containerd(deadline)
            try:
                self._start_dockerd(deadline)
            except DockerError:
                if not self.bridge:
                    raise
                # A kernel that has bridges but refuses the rest of container networking: go on without.
                self._remove_bridge()
                self._start_dockerd(deadline)
        except BaseException:
            self.close()
            raise
        return self

    def _make_netns(self):
        """A namespace that lives as long as the mount on a file of ours, which close() takes away as any mount below its directory."""
        self.netns = self.dir / "netns"
        self.netns.touch()
        for argv in (["unshare", f"--net={self.netns}", "true"], ["nsenter", f"--net={self.netns}", "ip", "link", "set", "lo", "up"]):
            r = subprocess.run(argv, capture_output=True, text=True, env=system_env())
            if r.returncode != 0:
                raise DockerError(f"{' '.join(argv)}: {r.stderr.strip()}")

    def _make_bridge(self):
        name = f"bht{self.tag}"
        if self._ip("link", "add", name, "type", "bridge").returncode != 0:
            return
        self.bridge = name
        used = self._ip("-4", "addr").stdout + self._ip("-4", "route").stdout
        for _ in range(64):
            subnet = f"10.{random.randint(200, 250)}.{random.randint(0, 255)}"
            if f" {subnet}." not in used and f"\n{subnet}." not in used:
                break
        self.subnet = subnet + ".0/24"
        for args in (("addr", "add", f"{subnet}.1/24", "dev", name), ("link", "set", name, "up")):
            r = self._ip(*args)
            if r.returncode != 0:
                self._remove_bridge()
                raise DockerError(f"ip {' '.join(args)}: {r.stderr.strip()}")
        # Another engine may have set the FORWARD policy to DROP, which would cut our containers from each other.
        for rule in (["FORWARD", "-i", name, "-j", "ACCEPT"], ["FORWARD", "-o", name, "-j", "ACCEPT"]):
            if self._iptables("-I", *rule) == 0:
                self._rules.append(rule)

    def _start_containerd(self, deadline):
        config = self.dir / "containerd.toml"
        config.write_text(
            f'version = 2\nroot = "{self.dir}/containerd/root"\nstate = "{self.dir}/containerd/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\n  address = "{self.dir}/containerd.sock"\n'
            f'[debug]\n  address = "{self.dir}/containerd-debug.sock"\n')
        self._containerd = self._spawn("containerd", ["containerd", "--config", str(config)])
        wait_for(lambda: self._alive(self._containerd, "containerd") and (self.dir / "containerd.sock").is_socket(),
                 deadline, f"containerd listens on {self.dir}/containerd.sock")

    def _make_runtime(self):
        """A runtime for privileged containers where the machine's root has not every capability itself: runc refuses to give what it has not."""
        path = self.dir / "runtime"
        path.write_text("#!/bin/sh\nprev=\nfor a; do\n  [ \"$prev\" != --bundle ] || sed -i 's/\"CAP_SYS_RESOURCE\",//g' \"$a/config.json\"\n  prev=$a\ndone\nexec runc \"$@\"\n")
        path.chmod(0o755)
        return f"{PRIVILEGED_RUNTIME}={path}"

    def _start_dockerd(self, deadline):
        self._dockerd = self._spawn("dockerd", [
            "dockerd", "--data-root", f"{self.dir}/data", "--exec-root", f"{self.dir}/exec",
            "--config-file", f"{self.dir}/none.json",  # not the machine's /etc/docker/daemon.json
            "--pidfile", f"{self.dir}/docker.pid", "--host", self.host,
            "--containerd", f"{self.dir}/containerd.sock",
            *([] if self.netns else ["--bridge", self.bridge or "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]),
            "--userland-proxy=true", "--exec-opt", "native.cgroupdriver=cgroupfs",
            "--add-runtime", self._make_runtime(), "--shutdown-timeout", "2", "--default-address-pool", f"base={self.pool},size=26"])

        def up():
            self._alive(self._dockerd, "dockerd")
            if not (self.dir / "docker.sock").is_socket():
                return False
            return self.docker("version", "--format", "{{.Server.Version}}", check=False).returncode == 0
        try:
            wait_for(up, deadline, f"dockerd answers on {self.host}", every=0.1)
        except AssertionError as e:
            stop_process(self._dockerd)
            raise DockerError(f"{e}\n{tail(self.dir / 'dockerd.log')}") from e

    def _spawn(self, name, argv):
        path = self.dir / f"{name}.log"
        path.parent.mkdir(exist_ok=True)
        with open(path, "ab") as log, open(self.dir / "none.json", "w") as none:
            none.write("{}\n")
            if self.netns:
                argv = ["nsenter", f"--net={self.netns}", *argv]
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=system_env(),
                                    preexec_fn=die_with_parent, cwd="/")

    def _alive(self, proc, name):
        if proc.poll() is not None:
            raise DockerError(f"{name} ended with status {proc.returncode} at its start\n{tail(self.dir / (name + '.log'))}")
        return True

    # Use ------------------------------------------------------------------------------------------------------

    def docker(self, *args, check=True, timeout=120, **kwargs):
        """`docker ARGS` against this engine. Raises DockerError with its output unless check is False."""
        kwargs.setdefault("text", True)
        r = subprocess.run(["docker", "--host", self.host, *map(str, args)], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=system_env(), timeout=timeout, **kwargs)
        if check and r.returncode != 0:
            raise DockerError(f"docker {' '.join(map(str, args))}: status {r.returncode}\n{r.stdout}{r.stderr}")
        return r

    def run(self, *args, **kwargs):
        """`docker run ARGS`; gives what it printed (with -d: the container's full id)."""
        return self.docker("run", *args, **kwargs).stdout.strip()

    def inspect(self, name):
        return json.loads(self.docker("inspect", name).stdout)[0]

    def remove(self, *names):
        self.docker("rm", "-f", "-v", *names)

    def import_base_image(self, build_dir=None):
        """Makes BASE_IMAGE: static busybox, and /acts and /acts32 from the build directory where they are built."""
        files = []
        if build_dir:
            for name in ("acts", "acts32"):
                path = pathlib.Path(build_dir) / "tests" / "bpf" / name
                if path.exists():
                    files.append((name, path))
        self.docker("import", "--change", "ENV PATH=/bin", "--change", 'CMD ["/bin/sh"]', "-", BASE_IMAGE,
                    input=make_base_image_tar(files), text=False)
        return BASE_IMAGE

    def stop_daemon(self):
        """Ends dockerd alone, as an engine's restart does; the socket goes away."""
        return stop_process(self._dockerd, 20)

    def start_daemon(self, deadline=60.0):
        self._start_dockerd(deadline)

    # End ------------------------------------------------------------------------------------------------------

    def close(self):
        """Takes everything down. Never raises: what could not be removed is in leftovers()."""
        if not self.dir:
            return
        if self._dockerd and self._dockerd.poll() is None:
            self._quiet(self._remove_containers)
        for proc in (self._dockerd, self._containerd):
            if proc:
                self._quiet(stop_process, proc, 20)
        for pid in self._own_processes():  # shims and proxies of daemons that did not end cleanly
            self._quiet(os.kill, pid, signal.SIGKILL)
        self._quiet(wait_for, lambda: not self._own_processes(), 5, "this engine's processes end")
        ids = self._container_ids()
        self._shim_sockets = self._find_shim_sockets()
        for path in self._shim_sockets:  # no shim of ours lives any more
            self._quiet(os.unlink, path)
        self._quiet(wait_for, lambda: self._kill_container_processes(ids), 10, "processes of orphaned containers end")
        for mount in sorted(self._mounts(), reverse=True):
            subprocess.run(["umount", "-l", mount], stderr=subprocess.DEVNULL, env=system_env())
        self._remove_bridge()
        self._remove_cgroups(ids)
        if self.keep_logs:
            os.makedirs(self.keep_logs, exist_ok=True)
            for name in ("dockerd.log", "containerd.log"):
                if (self.dir / name).exists():
                    shutil.copy(self.dir / name, pathlib.Path(self.keep_logs) / name)
        if not self._mounts():  # never delete through a mount that would not go
            shutil.rmtree(self.dir, ignore_errors=True)

    def leftovers(self):
        """What of this engine is still on the machine: [] after a clean close()."""
        out = [f"process {p}" for p in self._own_processes()] + [f"mount {m}" for m in self._mounts()]
        if self.dir and self.dir.exists():
            out.append(f"directory {self.dir}")
        if self._ip("link", "show", f"bht{self.tag}").returncode == 0:
            out.append(f"bridge bht{self.tag}")
        out += [f"socket {p}" for p in self._shim_sockets if os.path.exists(p)]
        rules = subprocess.run(["iptables-save"], capture_output=True, text=True, env=system_env()).stdout
        out += [f"rule {r}" for r in rules.splitlines() if f"bht{self.tag}" in r]
        for root in self._docker_cgroup_roots():
            out += [f"cgroup {root}/{c}" for c in getattr(self, "_ids", ()) if (root / c).exists()]
            if root not in self._cgroups_before and not any(p.is_dir() for p in root.iterdir()):
                out.append(f"cgroup {root}")
        return out

    def _remove_containers(self):
        ids = self.docker("ps", "-aq", "--no-trunc").stdout.split()
        self._ids = set(ids) | self._container_ids()
        for c in ids:
            self.docker("unpause", c, check=False)
        if ids:
            self.docker("rm", "-f", "-v", *ids, check=False)
        networks = self.docker("network", "ls", "-q", "--filter", "type=custom").stdout.split()
        if networks:
            self.docker("network", "rm", *networks, check=False)

    def _container_ids(self):
        known = set(getattr(self, "_ids", ()))
        try:
            known |= set(os.listdir(self.dir / "data" / "containers"))
        except OSError:
            pass
        return known

    def _own_processes(self):
        """Processes with this engine's directory in their command line: the daemons, shims, proxies."""
        found = []
        needle = f"{self.dir}/".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                argv = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            program = os.path.basename(argv[0])
            if program in (b"dockerd", b"containerd", b"containerd-shim-runc-v2", b"containerd-shim", b"docker-proxy",
                           b"runc") and any(needle in a for a in argv):
                found.append(int(entry))
        return found

    def _find_shim_sockets(self):
        """Shims listen outside of the engine's directory, at an address that they write into it."""
        files = (self.dir / "containerd" / "state").glob("io.containerd.runtime.v2.task/*/*/address")
        return [f.read_text().strip().removeprefix("unix://") for f in files]

    def _kill_container_processes(self, ids):
        """Processes that outlived their shim. True when none is left."""
        left = False
        for root in self._docker_cgroup_roots():
            for c in ids:
                for procs in (root / c).glob("**/cgroup.procs"):
                    for pid in procs.read_text().split():
                        left = True
                        self._quiet(os.kill, int(pid), signal.SIGKILL)
                freezer = root / c / "freezer.state"
                if freezer.exists():
                    freezer.write_text("THAWED")
                elif (root / c / "cgroup.freeze").exists():
                    (root / c / "cgroup.freeze").write_text("0")
        return not left

    def _mounts(self):
        out = []
        with open("/proc/self/mountinfo") as f:
            for line in f:
                point = line.split()[4].encode().decode("unicode_escape")
                if point.startswith(f"{self.dir}/"):
                    out.append(point)
        return out

    def _docker_cgroup_roots(self):
        """Docker's default parents, in every hierarchy of a v1, v2 or hybrid machine."""
        candidates = [CGROUP_ROOT / "docker"] + [p / "docker" for p in CGROUP_ROOT.glob("*") if p.is_dir()]
        return [p for p in candidates if (p / "cgroup.procs").exists()]

    def _remove_cgroups(self, ids):
        self._ids = ids
        for root in self._docker_cgroup_roots():
            for c in ids:
                for path, _, _ in os.walk(root / c, topdown=False):
                    self._quiet(os.rmdir, path)
            if root not in self._cgroups_before:
                self._quiet(os.rmdir, root)  # refused by the kernel while another engine uses it

    def _remove_bridge(self):
        for rule in self._rules:
            self._iptables("-D", *rule)
        self._rules = []
        if self.bridge:
            self._ip("link", "del", self.bridge)
            self.bridge = None

    def _ip(self, *args):
        return subprocess.run(["ip", *args], capture_output=True, text=True, env=system_env())

    def _iptables(self, *args):
        return subprocess.run(["iptables", "-w", *args], capture_output=True, env=system_env()).returncode

    @staticmethod
    def _quiet(call, *args):
        try:
            call(*args)
        except (OSError, AssertionError, DockerError, subprocess.SubprocessError):
            pass
