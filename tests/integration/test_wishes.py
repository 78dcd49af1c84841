"""What nobody needs is not generated and not attached; needs change while the sensor runs, and nothing that is needed is lost meanwhile."""
import ctypes
import os
import pathlib
import subprocess
import sys
import time

import pytest
import sensor_env
from docker_env import wait_for

LIFECYCLE = {"exec", "fork", "exit", "cgroup_create", "cgroup_remove", "cgroup_attach"}
LIBC = ctypes.CDLL(None, use_errno=True)


def hooks(sensor):
    return {h["type"]: h for h in sensor.status()["hooks"]}


def links(sensor):
    return {p.name.removeprefix("link_") for p in (sensor.run_dir / "bpf").iterdir() if p.name.startswith("link_")}


def memfd(name):
    fd = LIBC.memfd_create(name.encode(), 0)
    assert fd >= 0
    os.close(fd)



def touch(directory, names):
    for n in names:
        os.close(os.open(directory / n, os.O_CREAT | os.O_WRONLY, 0o600))


class Toucher:
    """A process in a cgroup that looks like a container's, which opens numbered files when told."""
    CODE = """
import os, sys
n = 0
for line in sys.stdin:
    for _ in range(int(line)):
        os.close(os.open(os.path.join(sys.argv[1], "f%d" % n), os.O_CREAT | os.O_WRONLY, 0o600))
        n += 1
    print(n, flush=True)
"""

    def __init__(self, sensor, directory, inside=True):
        self.group = pathlib.Path(sensor.status()["cgroup"]["mount"]) / f"bh-wishes-{os.getpid()}" / ("d1" * 32)
        self.group.mkdir(parents=True)
        self.directory = directory
        self.child = subprocess.Popen([sys.executable, "-c", self.CODE, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      preexec_fn=(lambda: (self.group / "cgroup.procs").write_text(str(os.getpid()))) if inside else None)
        self.opened = 0

    def move(self, group):
        (group / "cgroup.procs").write_text(str(self.child.pid))

    def touch(self, n):
        self.child.stdin.write(f"{n}\n")
        self.child.stdin.flush()
        self.opened = int(self.child.stdout.readline())

    def paths(self):
        return {str(self.directory / f"f{i}") for i in range(self.opened)}

    def close(self):
        self.child.stdin.close()
        self.child.wait(10)
        self.group.rmdir()
        self.group.parent.rmdir()


def test_nobody_needs_anything_nothing_is_attached(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker", "--no-evidence", "--no-default-rules", "--host-events", "--events", "none"])
    touch(tmp_path, ["a", "b"])
    memfd("unseen")
    for kind, h in hooks(sensor).items():
        assert h["wanted"] == (kind in LIFECYCLE), h
        if kind not in LIFECYCLE:
            assert h["off"] == "nobody needs it" and h["generated"] == 0, h
    # neither the tax on each system call nor anything beyond processes and containers
    assert links(sensor) == {"tp_exec", "tp_fork", "tp_exit", "tp_cgroup_create", "tp_cgroup_remove", "tp_cgroup_attach"}
    assert "off" in sensor.cli("status").stdout
    assert "NOT SEEN" not in sensor.cli("status").stdout
    recorded = {e["type"] for e in sensor.events()}
    assert recorded <= {"sensor", "process", "container"}, f"expected no event that nobody needs to be recorded, saw {recorded}"


def test_only_what_is_needed_is_generated(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker", "--no-evidence", "--no-default-rules", "--host-events", "--events", "close_write,memfd_create"])
    memfd("seen")
    (tmp_path / "w").write_text("x")
    os.chdir("/")
    sensor.wait_events(lambda evs: any(e["type"] == "close_write" and e.get("path") == str(tmp_path / "w") for e in evs), what="close_write of the file")
    wait_for(lambda: (hooks(sensor)["memfd_create"]["generated"] >= 1, hooks(sensor)["memfd_create"]), 10, "the memfd is counted")
    got = hooks(sensor)
    assert "another hook" in got["open"]["off"] or got["close_write"]["backend"] == "preferred", got["open"]
    assert got["open"]["generated"] == got["chdir"]["generated"] == got["connect"]["generated"] == 0
    assert {e["type"] for e in sensor.events()} <= {"close_write", "memfd_create", "sensor", "process", "container"}


def test_a_listener_has_what_it_asks_for_and_no_longer(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker", "--no-evidence", "--no-default-rules", "--events", "none"])
    assert hooks(sensor)["memfd_create"]["wanted"] is False
    follow = sensor.events(follow=True, type="memfd_create")
    wait_for(lambda: (hooks(sensor)["memfd_create"]["wanted"], sensor.status()["events_wanted"]), 30, "the hook is wanted")
    assert sensor.status()["events_wanted"]["live"] == "memfd_create"

    def seen():
        memfd("asked-for")
        return bool(follow.snapshot()), follow.errors
    wait_for(seen, 20, "the listener sees a memfd")
    follow.close()
    wait_for(lambda: (not hooks(sensor)["memfd_create"]["wanted"], hooks(sensor)["memfd_create"]), 30, "the hook is off again")
    wait_for(lambda: ("dispatch" not in links(sensor), links(sensor)), 10, "the dispatcher is detached")
    time.sleep(2.5)  # counts are added up each second
    before = hooks(sensor)["memfd_create"]["generated"]
    memfd("nobody's")
    time.sleep(2.5)
    assert hooks(sensor)["memfd_create"]["generated"] == before
    assert not sensor.events(type="memfd_create"), "the recorder was not to keep it"


@pytest.mark.deadline(300)
def test_changing_needs_loses_nothing(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker", "--no-evidence", "--no-default-rules", "--budget", "0", "--events", "open"])
    toucher = Toucher(sensor, tmp_path)
    try:
        for kind in ("chdir", "unlink", "memfd_create", "close_write"):
            follow = sensor.events(follow=True, type=kind)
            for wanted in (True, False):
                end = time.monotonic() + 60
                while (sensor.status()["events_wanted"]["live"] != "none") != wanted:
                    toucher.touch(20)
                    assert time.monotonic() < end, f"expected {kind} to be {'wanted' if wanted else 'off'}, saw {hooks(sensor)[kind]}"
                if wanted:
                    toucher.touch(20)
                    follow.close()

        def arrived():
            missing = toucher.paths() - {e.get("path") for e in sensor.events(type="open")}
            return not missing, f"{len(missing)} of {toucher.opened} missing: {sorted(missing)[:5]}; {hooks(sensor)['open']}"
        wait_for(arrived, 20, f"all {toucher.opened} opens are recorded")
        h = hooks(sensor)["open"]
        assert h["generated"] == h["delivered"] + h["folded"] + sum(h["lost"].values()) and not any(h["lost"].values()), h
    finally:
        toucher.close()


def test_a_host_process_that_enters_a_container_is_heard_at_once(new_sensor, tmp_path):
    """The programs remember whose bulk acts are nobody's: no longer than that is so."""
    sensor = new_sensor(args=["--no-docker", "--no-evidence", "--no-default-rules", "--budget", "0"])
    toucher = Toucher(sensor, tmp_path, inside=False)
    try:
        for turn in range(10):
            toucher.touch(200)  # host: remembered on whichever CPU it runs
        before = toucher.paths()
        toucher.move(toucher.group)
        toucher.touch(50)
        inside = toucher.paths() - before
        toucher.move(toucher.group.parent.parent)  # back to where it came from: its origin stays with it
        toucher.touch(50)
        after = toucher.paths() - before - inside

        def told():
            seen = {e.get("path") for e in sensor.events(type="open")}
            missing = (inside | after) - seen
            return not missing, f"{len(inside - seen)} of {len(inside)} opened inside missing, {len(after - seen)} of {len(after)} after it left"
        wait_for(told, 15, "every open since the process entered the container")
        early = before & {e.get("path") for e in sensor.events(type="open")}
        assert not early, f"expected no open of a host process, saw {len(early)}"
    finally:
        toucher.close()


@pytest.mark.deadline(300)
def test_needs_of_the_next_sensor_are_its_own(new_sensor, tmp_path):
    sensor = new_sensor(args=["--no-docker", "--no-evidence", "--no-default-rules", "--events", "memfd_create"])
    sensor.kill()
    sensor.args = ["--no-docker", "--no-evidence", "--no-default-rules", "--events", "memfd_create,chdir,chroot"]
    sensor.start()
    assert sensor.status()["adopted"] is True
    got = hooks(sensor)
    assert got["chroot"]["wanted"] and got["chroot"]["effective"] and not got["chmod"]["wanted"]
    assert not [e for e in sensor.events(type="sensor") if e.get("action") == "hook_lost"], "what was not needed before was not lost"
    memfd("after")
    sensor.wait_events(lambda evs: any(e["type"] == "memfd_create" for e in evs), what="a memfd")
    sensor.kill()
    sensor.args = ["--no-docker", "--no-evidence", "--no-default-rules", "--events", "none"]
    sensor.start()
    wait_for(lambda: ("dispatch" not in links(sensor), links(sensor)), 10, "what the next sensor does not need is detached")


@pytest.mark.parametrize("wish,said", [("opne", "opne"), ("", "there is no kind"), ("open,,", "there is no kind"), ("-everything", "everything")])
def test_unknown_kinds_are_refused(build, tmp_path, wish, said):
    r = subprocess.run([sensor_env.program(build, "bulkhead-sensor"), "--run-dir", str(tmp_path / "r"), "--events", wish], capture_output=True, text=True)
    assert r.returncode == 2 and "--events" in r.stderr and said in r.stderr and "memfd_create" in r.stderr, r
    assert not pathlib.Path(tmp_path / "r").exists()
