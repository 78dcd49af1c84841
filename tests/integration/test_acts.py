"""Each act of the acts program, in real containers and on the host, gives an event that tells it rightly.

The acts are performed once a session: natively and as i386, in a container with Docker's default privileges on its own
overlay root, in one with added capabilities and without seccomp on a tmpfs, and on the host. One case per act and form
looks at all three; an act that none of them can perform is skipped with the reason that the act gave.
"""
import json
import os
import pathlib
import platform
import re
import subprocess

import acts_match
import docker_env
import pytest
import sensor_env

PROGRAMS = ("acts", "acts32")
CAPABILITIES = ("SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "SYS_BOOT", "NET_ADMIN", "DAC_READ_SEARCH", "IPC_LOCK")
HOST_CGROUPS = ("/sys/fs/cgroup/pids", "/sys/fs/cgroup")


def program(name):
    return sensor_env.build_dir() / "tests" / "bpf" / name


def listed():
    """(program, title) of every act. Without a build there is one case, which says so."""
    out = []
    for name in PROGRAMS:
        if program(name).exists():
            r = subprocess.run([program(name), "--list", "--json"], capture_output=True, text=True, check=True)
            out += [(name, acts_match.title(json.loads(line))) for line in r.stdout.splitlines()]
    return out or [("acts", "not built")]


class Performed:
    """What was done in the three places and what the sensor said: by (program, title) a list of (place, act, matcher)."""

    def __init__(self, sensor):
        self.sensor = sensor
        self.acts = {}
        self.said = []
        self.kernel = tuple(int(n) for n in re.findall(r"\d+", platform.release())[:2])

    def note(self, place, name, text, **how):
        for line in text.splitlines():
            act = json.loads(line)
            title = acts_match.title(act)
            # an act's second line, about the other half of what it did, belongs to its case
            listed_as = "open.tmpfile_linkat" if title == "link.tmpfile" else title
            self.acts.setdefault((name, listed_as), []).append((place, act, how))

    def match(self, container_ids):
        events = self.sensor.events()
        self.matchers = {None: acts_match.Matcher(events)}
        for c in container_ids:
            self.matchers[c] = acts_match.Matcher(events, container=c, namespace=True)
        self.events = events
        self.hooks = {h["type"]: h for h in self.sensor.status()["hooks"]}


def in_container(performed, docker, place, options, extra):
    ids = []
    for name in PROGRAMS:
        if not program(name).exists():
            continue
        cid = docker.docker("create", *options, docker_env.BASE_IMAGE, f"/{name}", "--all", *extra).stdout.strip()
        r = docker.docker("start", "-a", cid, check=False)
        assert r.returncode == 0, f"expected {name} to perform its acts {place}, saw status {r.returncode}: {r.stderr[-2000:]}"
        performed.note(place, name, r.stdout, container=cid)
        ids.append(cid)
    return ids


def on_host(performed, tmp_path):
    root = next((pathlib.Path(p) for p in HOST_CGROUPS if (pathlib.Path(p) / "cgroup.procs").exists()), None)
    cgroup = root / f"bh-acts-{os.getpid()}" if root else None
    if cgroup:
        cgroup.mkdir()
    try:
        for name in PROGRAMS:
            if not program(name).exists():
                continue
            where = tmp_path / name
            where.mkdir()
            r = subprocess.run([program(name), "--all", "--dir", where, *(["--cgroup", cgroup] if cgroup else [])], stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, errors="replace", timeout=120)
            assert r.returncode == 0, f"expected {name} to perform its acts on the host, saw status {r.returncode}: {r.stderr[-2000:]}"
            performed.note("on the host", name, r.stdout, container=None)
    finally:
        if cgroup:
            docker_env.wait_for(lambda: remove_cgroup(cgroup), 10, f"{cgroup} can be removed")


def remove_cgroup(path):
    for root, dirs, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(root)
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
def performed(request, build, docker, tmp_path_factory):
    with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend"),
                           args=["--host-events", "--fold-ms", "0", "--budget", "0"]) as sensor:
        p = Performed(sensor)
        ids = in_container(p, docker, "in a default container", [], [])
        ids += in_container(p, docker, "in a capable container", ["--security-opt", "seccomp=unconfined", "--tmpfs", "/w:rw,exec,dev,suid",
                                                                  *(f"--cap-add={c}" for c in CAPABILITIES)], ["--dir", "/w"])
        on_host(p, tmp_path_factory.mktemp("acts"))
        p.match(ids)
        p.container_ids = ids
        yield p
        docker.remove(*ids)


@pytest.mark.parametrize("name,title", listed(), ids=lambda v: v)
@pytest.mark.deadline(240)
def test_act_is_told(performed, name, title):
    if title == "not built":
        pytest.skip("tests/bpf/acts is not built")
    problems, skips, told = [], [], 0
    done = performed.acts.get((name, title))
    assert done, f"expected {name} to report {title} in every place, saw no line"
    for place, act, how in done:
        if not act.get("crashed") and not act["supported"]:
            skips.append(f"{place}: {act.get('why')}")
            continue
        known = [] if act.get("crashed") else acts_match.known_differences(act, performed.hooks[act["type"]]["backend"],
                                                                          {"kernel": performed.kernel, "overlay": place == "in a default container"})
        wrong = performed.matchers[how["container"]].check(act, known)
        problems += [f"{place}: {wrong[0]}", *wrong[1:]] if wrong else []
        told += not wrong
    assert not problems, "\n".join(problems)
    if not told:
        pytest.skip("; ".join(skips))


@pytest.mark.deadline(240)
def test_every_event_of_the_containers_is_attributed(performed):
    bad = [e for e in performed.events if e.get("container.id") in performed.container_ids
           and (not e.get("container.name") or e.get("container.image") != docker_env.BASE_IMAGE or "no_metadata" in e.get("flags", ()))]
    assert not bad, f"expected name and image on every event, saw {len(bad)} without, the first: {json.dumps(bad[0])[:1500]}"


@pytest.mark.deadline(240)
def test_nothing_of_the_acts_is_lost(performed):
    lost = {h["type"]: h["lost"] for h in performed.sensor.status()["hooks"] if any(h["lost"].values())}
    assert not lost, f"expected no loss in a quiet run, saw {lost}"


@pytest.mark.deadline(240)
def test_every_known_difference_names_an_act():
    titles = {f"{title}/{'i386' if n == 'acts32' else arch}" for n, title in listed() for arch in ("x86_64", "i386")} | {"link.tmpfile/x86_64"}
    stale = [d.acts for d in acts_match.DIFFERENCES for p in d.acts if not any(acts_match.fnmatch.fnmatchcase(t, p) for t in titles)]
    assert not stale, f"expected each row of DIFFERENCES to match an act, saw none for {stale}"
