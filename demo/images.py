"""The demo's images, made from Debian packages alone: no registry is asked, nothing is installed on the machine.

build(cache) resolves what the images need with apt, downloads the packages into `cache`, and writes one tar for each layer, taken straight
from the packages (documentation, translations and package management left out). The layers are kept there, named by what they are made of:
versions of packages, contents of our own files; what is not used any more is removed. load(engine, images) hands the engine what it has not
got. An image is what `docker save` would give, so that layers are shared, and its id says whether it is there already.
"""
import fcntl
import hashlib
import importlib.util
import io
import json
import marshal
import os
import pathlib
import re
import subprocess
import sys
import tarfile

APPS = pathlib.Path(__file__).resolve().parent / "apps"
LABEL = "bulkhead.demo"
PREFIX = "bulkhead-demo/"
TAG = "1.0"
FORMAT = 2  # of what is below: a change makes all layers anew

BASE = ["base-files", "base-passwd", "bash", "coreutils", "curl", "dash", "debianutils", "findutils", "grep", "gzip", "hostname",
        "libc-bin", "mawk", "mount", "procps", "sed", "tar", "tzdata", "util-linux"]
# Package management, and what only installing, compiling or another use than ours needs.
LEFT_OUT = re.compile(r"(adduser|debconf|dpkg|gcc-\d+-base|init-system-helpers|iproute2|libbpf1|libc-l10n|libelf1|libllvm.*|libmnl0|libperl.*|"
                      r"libsemanage.*|libsepol.*|libxtables12|libz3-4|.*-perl|locales|lsb-base|passwd|perl.*|postgresql-common|"
                      r"postgresql-client-common|readline-common|sensible-utils|ssl-cert|sysvinit-utils|ucf|usrmerge)$")
PRUNED = re.compile(r"usr/share/(doc|man|locale|info|lintian|bug|bash-completion|fish|zsh|menu|pixmaps|perl5|postgresql-common)(/|$)|"
                    r"usr/lib/[^/]+/(gconv|perl[^/]*)(/|$)|usr/lib/postgresql/[^/]+/lib/(bitcode|llvmjit)|(usr/)?lib/(systemd|udev)(/|$)|"
                    r"usr/lib/python3[^/]*/(ensurepip|idlelib|lib2to3|pydoc_data|test|tkinter|turtledemo)(/|$)|usr/(include|share/vim)(/|$)|"
                    r"etc/(init\.d|cron\.[a-z]+|logrotate\.d|default|ufw|systemd)(/|$)|var/(cache|lib/dpkg)(/|$)")
# The image's Python and the packages for it, if it is the version that runs this; what other versions find is not theirs, and not used.
PYTHON_SOURCE = re.compile(rf"(usr/lib/(?:python3\.{sys.version_info[1]}|python3/dist-packages)(?:/.*)?)/([^/]+)\.py$")
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
USERS = "postgres:x:101:101::/var/lib/postgresql:/bin/bash\nredis:x:102:102::/var/lib/redis:/usr/sbin/nologin\n" \
        "memcache:x:103:103::/nonexistent:/usr/sbin/nologin\nmosquitto:x:104:104::/var/lib/mosquitto:/usr/sbin/nologin\n" \
        "shop:x:1000:1000::/srv:/bin/sh\n"
GROUPS = "postgres:x:101:\nredis:x:102:\nmemcache:x:103:\nmosquitto:x:104:\nshop:x:1000:\n"

PYTHON = ["python3-minimal", "python3-psycopg2", "python3-redis", "python3-paho-mqtt", "python3-pymemcache"]


class ImageError(RuntimeError):
    """An image cannot be made; the text says why and what to do."""


class Image:
    """What one image is made of. files: path in the image -> path below apps/; health: (command, seconds between two)."""

    def __init__(self, name, packages, files, cmd, *, ports=(), env=(), user="", health=None, directories=(), stop="SIGTERM"):
        self.name, self.packages, self.files, self.cmd = name, list(packages), dict(files), list(cmd)
        self.ports, self.env, self.user, self.health = ports, dict(env), user, health
        self.directories, self.stop = dict(directories), stop
        self.tag = f"{PREFIX}{name}:{TAG}"
        self.path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.layers = []  # (digest of its tar, path of it)
        self.config = b""
        self.id = ""


def catalogue():
    """All images of the demo."""
    def python(name, cmd, **more):
        files = {f"/srv/{n}": n for n in ("service.py", f"{name}.py")}
        files.update(more.pop("files", {}))
        return Image(name, PYTHON, files, cmd, env={"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}, **more)

    def web(port):
        return (["CMD", "curl", "-fsS", "-m", "4", "-o", "/dev/null", f"http://127.0.0.1:{port}/healthz"], 6)
    return [
        Image("front", ["nginx"], {"/etc/nginx/nginx.conf": "nginx.conf", "/usr/local/bin/front": "front.sh"}, ["/usr/local/bin/front"],
              ports=(80,), health=web(80), directories={"/var/log/nginx": (0, 0o755), "/var/lib/nginx": (33, 0o755)}, stop="SIGQUIT"),
        python("api", ["python3", "/srv/api.py"], ports=(8000,), health=web(8000), directories={"/srv/uploads": (0, 0o755)},
               files={"/srv/files/terms.txt": "files/terms.txt", "/srv/files/sizes.csv": "files/sizes.csv"}),
        python("worker", ["python3", "/srv/worker.py"], directories={"/srv/invoices": (1000, 0o755)}, user="shop"),
        python("payments", ["python3", "/srv/payments.py"], ports=(8080,), health=web(8080), user="nobody"),
        Image("cache", ["redis-server"], {}, ["redis-server", "--bind", "*", "--protected-mode", "no", "--dir", "/var/lib/redis", "--save", "20", "1"],
              ports=(6379,), user="redis", health=(["CMD", "redis-cli", "ping"], 6), directories={"/var/lib/redis": (102, 0o750)}),
        Image("db", ["postgresql"], {"/usr/local/bin/db": "db.sh", "/srv/schema.sql": "schema.sql"}, ["/usr/local/bin/db"],
              ports=(5432,), health=(["CMD", "pg_isready", "-q", "-h", "127.0.0.1", "-U", "shop", "-d", "shop"], 6),
              directories={"/var/lib/postgresql": (101, 0o755), "/var/run/postgresql": (101, 0o755)}, stop="SIGINT"),
        python("reports", ["python3", "/srv/reports.py"], ports=(8080,), health=web(8080), user="shop"),
        Image("memo", ["memcached"], {}, ["memcached", "-u", "memcache", "-m", "16"], ports=(11211,)),
        Image("broker", ["mosquitto"], {"/etc/mosquitto/demo.conf": "mosquitto.conf"}, ["mosquitto", "-c", "/etc/mosquitto/demo.conf"],
              ports=(1883,), user="mosquitto", directories={"/var/lib/mosquitto": (104, 0o755)}),
        Image("cron", ["postgresql-client"], {"/usr/local/bin/cron": "cron.sh", "/srv/jobs/backup": "jobs/backup", "/srv/jobs/report": "jobs/report",
                                              "/srv/jobs/vacuum": "jobs/vacuum"},
              ["/usr/local/bin/cron"], directories={"/backup": (0, 0o755)}),
    ]


# ---- packages ----

def _apt(args, cwd=None):
    return subprocess.run(["apt-get", "-qq", "-o", "APT::Install-Recommends=0", "-o", "APT::Sandbox::User=root", *args], cwd=cwd, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, env=dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive"))


def _closure(packages, status):
    """name -> version of all that these packages need on a machine that has none."""
    r = _apt(["-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::pkgcache={status}.cache", "-o", f"Dir::Cache::srcpkgcache={status}.source",
              "-s", "install", *packages])
    if r.returncode != 0:
        raise ImageError(f"apt-get finds no set of packages for {' '.join(packages)}: {(r.stderr or r.stdout).strip()}")
    found = dict(re.findall(r"^Inst (\S+?)(?::\w+)? \((\S+)", r.stdout, re.M))
    return {n: v for n, v in found.items() if not LEFT_OUT.match(n)}


def _resolve(images, cache):
    """[(name, version)] of the base layer, and for each set of packages what it needs besides. Asked of apt when its lists have changed."""
    lists = sorted((e.name, e.stat().st_mtime_ns, e.stat().st_size) for e in os.scandir("/var/lib/apt/lists") if e.is_file())
    question = _key(BASE, [i.packages for i in images], LEFT_OUT.pattern, lists)
    kept = cache / "resolved.json"
    try:
        if json.loads(kept.read_text())["question"] == question:
            return _read(kept)
    except (OSError, ValueError, KeyError):
        pass
    base, more = _ask_apt(images, cache)
    if lists:  # else they have come just now
        _write(kept, base, more, question)
    return base, more


def _write(path, base, more, question=""):
    path.write_text(json.dumps({"question": question, "base": base, "more": list(more.items())}))


def _read(path):
    answer = json.loads(path.read_text())
    return [tuple(p) for p in answer["base"]], {tuple(k): [tuple(p) for p in v] for k, v in answer["more"]}


def _ask_apt(images, cache):
    status = cache / "no-packages"
    status.write_text("")
    try:
        base = _closure(BASE, status)
    except ImageError:
        r = _apt(["update"])  # no lists yet, or old ones
        if r.returncode != 0:
            raise ImageError(f"apt-get update failed: {r.stderr.strip()}") from None
        base = _closure(BASE, status)
    more = {}
    for image in images:
        key = tuple(image.packages)
        if key not in more:
            more[key] = sorted((n, v) for n, v in _closure(key, status).items() if n not in base)
    return sorted(base.items()), more


def _deb(cache, name, version):
    """The downloaded package, or None."""
    found = list((cache / "debs").glob(f"{name}_{version.replace(':', '%3a')}_*.deb"))
    return found[0] if found else None


def _download(cache, packages):
    missing = [f"{n}={v}" for n, v in packages if not _deb(cache, n, v)]
    if not missing:
        return
    directory = cache / "debs"
    directory.mkdir(exist_ok=True)
    for again in (True, False):
        r = _apt(["download", *missing], cwd=directory)
        if r.returncode == 0:
            break
        if again:  # lists that are older than the mirror
            _apt(["update"])
    absent = [f"{n} {v}" for n, v in packages if not _deb(cache, n, v)]
    if r.returncode != 0 or absent:
        some = ", ".join(absent[:3]) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
        raise ImageError(f"cannot download {some or 'packages'} from the Debian mirror: {r.stderr.strip()}\n"
                         "The demo's images are made of Debian packages: try 'apt-get update', and look at the network")


# ---- layers ----

def _merged(path):
    """The path on a system whose /bin, /lib … are links into /usr."""
    first = path.split("/", 1)[0]
    return f"usr/{path}" if first in MERGED else path


class _Layer:
    """A tar being written: later members of one path are left out, missing directories are added."""

    def __init__(self, out):
        self.tar = tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT)
        self.seen = set()

    def put(self, info, data=None):
        if info.name in self.seen:
            return
        self.seen.add(info.name)
        info.uname = info.gname = ""
        self.tar.addfile(info, data)

    def directory(self, path, uid=0, mode=0o755):
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.mode, info.uid, info.gid = tarfile.DIRTYPE, mode, uid, uid
        self.put(info)

    def file(self, path, data, mode=0o644):
        info = tarfile.TarInfo(path.strip("/"))
        info.size, info.mode, info.mtime = len(data), mode, 1700000000
        self.put(info, io.BytesIO(data))

    def link(self, path, target):
        info = tarfile.TarInfo(path.strip("/"))
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        self.put(info)

    def package(self, deb):
        """Adds a package's files; its control scripts are not run, but what is Python is compiled, as they would: a service starts in a third of the time."""
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as p:
            with tarfile.open(fileobj=p.stdout, mode="r|") as tar:
                for info in tar:
                    path = info.name.removeprefix("./").rstrip("/")
                    if path in ("", ".") or path in MERGED or PRUNED.match(path):
                        continue
                    data = tar.extractfile(info) if info.isreg() else None
                    info.name = _merged(path)
                    if info.islnk():
                        info.linkname = _merged(info.linkname.removeprefix("./"))
                    if data and (m := PYTHON_SOURCE.match(info.name)):
                        source = data.read()
                        data = io.BytesIO(source)
                        if (compiled := _compiled(source, info.name)):
                            self.directory(f"{m[1]}/__pycache__")
                            self.file(f"{m[1]}/__pycache__/{m[2]}.{sys.implementation.cache_tag}.pyc", compiled)
                    self.put(info, data)
        if p.returncode != 0:
            deb.unlink()
            raise ImageError(f"{deb.name} is damaged and was removed from the cache: try again")


def _compiled(source, path):
    """A .pyc that is not compared with its source (PEP 552); None for a Python that is not ours, or for what is no program."""
    try:
        code = compile(source, f"/{path}", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None
    return importlib.util.MAGIC_NUMBER + b"\1\0\0\0" + importlib.util.source_hash(source) + marshal.dumps(code)


def _write_layer(cache, key, fill):
    """(sha256 of the tar, path): a layer of the cache, made with fill(layer) if it is not there."""
    path = cache / "layers" / f"{key}.tar"
    digest = path.with_suffix(".sha256")
    if not (path.exists() and digest.exists()):
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        with open(part, "wb") as out:
            layer = _Layer(out)
            fill(layer)
            layer.tar.close()
        with open(part, "rb") as f:
            digest.write_text(hashlib.file_digest(f, "sha256").hexdigest())
        os.replace(part, path)
    return digest.read_text(), path


def _key(*parts):
    return hashlib.sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()[:24]


def _base_layer(cache, packages):
    def fill(layer):
        for name in MERGED:
            layer.directory(f"usr/{name}")
            layer.link(name, f"usr/{name}")
        for path, mode in (("tmp", 0o1777), ("var/tmp", 0o1777), ("root", 0o700), ("proc", 0o555), ("sys", 0o555), ("dev", 0o755), ("run", 0o755)):
            layer.directory(path, mode=mode)
        layer.link("var/run", "/run")
        for name, more in (("passwd", USERS), ("group", GROUPS)):
            layer.file(f"etc/{name}", _from_package(cache, packages, "base-passwd", f"usr/share/base-passwd/{name}.master") + more.encode())
        layer.file("etc/shadow", b"root:*:19000:0:99999:7:::\n", 0o640)
        layer.file("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n")
        layer.link("usr/bin/awk", "mawk")
        for n, v in packages:
            layer.package(_deb(cache, n, v))
    return _write_layer(cache, "base-" + _key(packages, USERS, GROUPS, LEFT_OUT.pattern, PRUNED.pattern), fill)


def _from_package(cache, packages, name, path):
    deb = _deb(cache, name, dict(packages)[name])
    out = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(deb)], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        return tar.extractfile(f"./{path}").read()


def _package_layer(cache, packages):
    def fill(layer):
        for n, v in packages:
            layer.package(_deb(cache, n, v))
    return _write_layer(cache, "packages-" + _key(packages, LEFT_OUT.pattern, PRUNED.pattern, PYTHON_SOURCE.pattern), fill)


def _own_layer(cache, image):
    contents = {path: (APPS / source).read_bytes() for path, source in sorted(image.files.items())}

    def fill(layer):
        for path in sorted({str(p) for f in contents for p in pathlib.PurePosixPath(f).parents} - {"/", "/usr", "/etc", "/srv", "/usr/local", "/usr/local/bin"}):
            layer.directory(path)
        for path, (uid, mode) in image.directories.items():
            layer.directory(path, uid, mode)
        for path, data in contents.items():
            layer.file(path, data, 0o755 if data.startswith(b"#!") else 0o644)
    digests = [(p, hashlib.sha256(d).hexdigest()) for p, d in contents.items()]
    return _write_layer(cache, f"{image.name}-" + _key(digests, sorted(image.directories.items())), fill)


def _config(image):
    """The image's configuration; its sha256 is the image's id."""
    config = {"Cmd": image.cmd, "Env": [f"PATH={image.path}", *(f"{k}={v}" for k, v in image.env.items())],
              "WorkingDir": "/", "User": image.user, "StopSignal": image.stop, "Labels": {LABEL: "1", "org.opencontainers.image.title": image.name,
                                                                "org.opencontainers.image.version": TAG},
              "ExposedPorts": {f"{p}/tcp": {} for p in image.ports}}
    if image.health:
        command, seconds = image.health
        config["Healthcheck"] = {"Test": command, "Interval": seconds * 10**9, "Timeout": 10 * 10**9, "Retries": 5, "StartPeriod": 90 * 10**9}
    return json.dumps({"architecture": "amd64", "os": "linux", "created": "2023-11-14T22:13:20Z", "config": config,
                       "rootfs": {"type": "layers", "diff_ids": [f"sha256:{d}" for d, _ in image.layers]},
                       "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "demo"} for _ in image.layers]}, sort_keys=True).encode()


def build(cache, say=lambda text: None):
    """All images, with their layers in `cache`. Raises ImageError."""
    cache = pathlib.Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(catalogue(), cache, say)


def _build(images, cache, say):
    made = cache / "made.json"  # the packages of the last time
    try:
        base, more = _resolve(images, cache)
        wanted = sorted({*base, *(p for packages in more.values() for p in packages)})
        missing = sum(not _deb(cache, n, v) for n, v in wanted)
        if missing:
            say(f"downloading {missing} Debian packages for the images")
        _download(cache, wanted)
    except ImageError as e:
        if not made.exists():
            raise
        base, more = _read(made)
        if not set(more) >= {tuple(i.packages) for i in images}:
            raise
        wanted = sorted({*base, *(p for packages in more.values() for p in packages)})
        say(f"using the packages of the last time: {str(e).splitlines()[0]}")
    ground = _base_layer(cache, base)
    for image in images:
        for name, _ in more[tuple(image.packages)]:
            if m := re.fullmatch(r"postgresql-client-(\d+)", name):  # Debian's own way there is a Perl program
                image.path += f":/usr/lib/postgresql/{m[1]}/bin"
        image.layers = [ground, _package_layer(cache, more[tuple(image.packages)]), _own_layer(cache, image)]
        image.config = _config(image)
        image.id = "sha256:" + hashlib.sha256(image.config).hexdigest()
    _write(made, base, more)
    used = {p for image in images for _, p in image.layers}
    for path in (cache / "layers").iterdir():
        if path.with_suffix(".tar") not in used:
            path.unlink(missing_ok=True)
    debs = {_deb(cache, n, v) for n, v in wanted}
    for path in (cache / "debs").iterdir():
        if path not in debs:
            path.unlink(missing_ok=True)
    return images


# ---- into an engine ----

def _write_archive(out, images):
    """What `docker save` of these images writes."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.GNU_FORMAT) as tar:
        def put(name, size, data):
            info = tarfile.TarInfo(name)
            info.size = size
            tar.addfile(info, data)
        done = set()
        for image in images:
            put(f"{image.id[7:]}.json", len(image.config), io.BytesIO(image.config))
            for digest, path in image.layers:
                if digest not in done:
                    done.add(digest)
                    with open(path, "rb") as f:
                        put(f"{digest}/layer.tar", path.stat().st_size, f)
        manifest = json.dumps([{"Config": f"{i.id[7:]}.json", "RepoTags": [i.tag], "Layers": [f"{d}/layer.tar" for d, _ in i.layers]}
                               for i in images]).encode()
        put("manifest.json", len(manifest), io.BytesIO(manifest))


def load(engine, images):
    """Gives the engine the images that it has not got; how many those were."""
    missing = [i for i in images if (engine.find(f"/images/{i.tag}/json") or {}).get("Id") != i.id]
    if missing:
        engine.upload("/images/load?quiet=1", lambda out: _write_archive(out, missing))
    return len(missing)
