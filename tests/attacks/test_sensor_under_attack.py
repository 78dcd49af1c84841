"""B15: the sensor is killed, stopped, detached, robbed of its maps, its disk, its socket; hostile names. What was missed is counted and said."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import docker_env
import pytest
import sensor_env
from boxes import Box, dump, lost_steps, missing_steps, sensor_events
from docker_env import system_env, wait_for

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


def bpftool(*args):
    r = subprocess.run(["bpftool", "-j", *map(str, args)], capture_output=True, text=True, env=system_env())
    assert r.returncode == 0, f"bpftool {' '.join(map(str, args))}: {r.stdout}{r.stderr}"


def lost_total(sensor):
    return sum(sum(h["lost"].values()) for h in sensor.status()["hooks"])


def said(sensor, action):
    return sensor_events(sensor.events(type="sensor"), action)


def wait_said(sensor, action, deadline=8.0, count=1):
    """The sensor's own events of that action."""
    def enough():
        events = said(sensor, action)
        return len(events) >= count, events if len(events) >= count else sensor.log_tail(8)
    return wait_for(enough, deadline, f"{count} x sensor event {action}\nlog {sensor.log}", every=0.2)


def wait_hook_said(sensor, action, kind, deadline):
    wait_for(lambda: any(e["attributes"].get("type") == kind for e in said(sensor, action)), deadline, f"{action} {kind}\n{sensor.log_tail()}", every=0.2)


def all_steps_arrive(sensor, box, steps):
    def arrived():
        missing, twice = missing_steps(steps, sensor.events(container=box.name))
        assert not twice, f"expected each step once, saw again {twice}"
        return not missing, f"missing {missing}"
    wait_for(arrived, 10, f"all numbered steps of {box.name} are recorded\nlog {sensor.log}", every=0.3)
    time.sleep(1.2)  # repeats come when their window is swept
    arrived()


def hook(sensor, kind):
    return next(h for h in sensor.status()["hooks"] if h["type"] == kind)


def test_stopped_sensor_says_so_and_loses_nothing_uncounted(new_sensor, docker):
    sensor = new_sensor()
    with Box(docker, "stop") as box:
        n = box.start("/acts flood exec --seconds 4 >/ctl/flood & /acts steps --count 30 --interval-ms 100; wait")
        time.sleep(0.3)
        os.kill(sensor.pid, signal.SIGSTOP)
        time.sleep(3)
        back = time.time()
        os.kill(sensor.pid, signal.SIGCONT)
        events = wait_said(sensor, "was_stopped")
        long = [e for e in events if int(e["attributes"]["milliseconds"]) >= 2000]
        assert long, f"expected was_stopped with 2 to 3 s, saw {events}"
        at = time.strptime(long[-1]["time"][:19], "%Y-%m-%dT%H:%M:%S")
        late = time.mktime(at) - time.timezone - back
        assert late <= docker_env.patience(), f"expected was_stopped within a second of the return, saw {late:.1f} s"
        steps = [json.loads(line) for line in box.wait(n).splitlines()]
        if lost_total(sensor) == 0:
            all_steps_arrive(sensor, box, steps)
        else:
            missing, twice = missing_steps(steps, sensor.events(container=box.name))
            assert not twice, f"expected each step once, saw again {twice}"
            unexplained = lost_steps(sensor, box.cgroup(sensor), missing)
            assert not unexplained, f"missing {missing}, of which {unexplained} are not among the losses of their kind in {box.name}"
            wait_said(sensor, "lost")


def test_killed_sensor_returns_without_a_gap(new_sensor, docker):
    sensor = new_sensor()
    with Box(docker, "kill") as box:
        n = box.start("/acts steps --count 40 --interval-ms 60")
        time.sleep(0.5)
        sensor.kill()
        time.sleep(1.2)
        sensor.start()
        events = wait_said(sensor, "returned")
        assert int(events[-1]["attributes"]["away_ms"]) >= 1000, events
        assert sensor.status()["adopted"] is True
        all_steps_arrive(sensor, box, [json.loads(line) for line in box.wait(n).splitlines()])
        assert lost_total(sensor) == 0


def test_kernel_side_removed_while_the_sensor_was_dead_is_a_gap(new_sensor, docker):
    sensor = new_sensor()
    sensor.kill()
    for pin in (sensor.run_dir / "bpf").iterdir():
        if not pin.name.endswith(".debug"):
            pin.unlink()
    subprocess.run(["umount", sensor.run_dir / "bpf"], check=True, env=system_env())
    sensor.start()
    wait_said(sensor, "gap")
    assert sensor.status()["adopted"] is False
    with Box(docker, "after-gap") as box:
        all_steps_arrive(sensor, box, box.json("/acts steps --count 3"))


@pytest.mark.parametrize("adopted", [False, True], ids=["own", "adopted"])
def test_table_entries_deleted_are_noticed_and_repaired(new_sensor, docker, adopted):
    sensor = new_sensor()
    if adopted:
        sensor.kill()
        sensor.start()
        assert sensor.status()["adopted"] is True
    if hook(sensor, "chmod")["backend"] != "fallback":
        pytest.skip("the preferred backend has no table of system calls")
    # chmod's family, of which the canary uses fchmod, and one that it does not use: 32-bit connect
    at = time.monotonic()
    for nr in (90, 91, 268, 452, 512 + 362):
        bpftool("map", "delete", "pinned", sensor.run_dir / "bpf" / "syscalls", "key", *nr.to_bytes(4, "little"))
    for kind in ("chmod", "connect"):
        wait_hook_said(sensor, "hook_lost", kind, 6)
    noticed = time.monotonic() - at
    for kind in ("chmod", "connect"):
        wait_hook_said(sensor, "hook_back", kind, 20)
    with Box(docker, f"table-{adopted}") as box:
        box.run("touch /tmp/x; chmod 751 /tmp/x")
        wait_for(lambda: [e for e in sensor.events(container=box.name, type="chmod") if e.get("path") == "/tmp/x"], 5, "the chmod after the repair")
    assert noticed < 4 * docker_env.patience(), f"expected the loss to be noticed within about 2 s, took {noticed:.1f}"


@pytest.mark.parametrize("how", ["nobody watches", "bulk alone"])
def test_dispatcher_told_to_look_away_is_noticed_and_repaired(new_sensor, docker, how):
    sensor = new_sensor()
    if hook(sensor, "connect")["backend"] != "fallback":
        pytest.skip("the preferred backend has no table of system calls")
    watch = bytearray(int(b, 16) for b in dump(sensor, "watch")[0]["value"])
    assert watch[42] & 1 and not watch[42] & 2, "connect is watched, and not for bulk events alone"
    assert watch[257] & 1 and watch[257] & 2, "openat is watched for bulk events alone"
    # connect is told of host processes too, which look like nobody's for bulk events
    watch = bytearray(len(watch)) if how == "nobody watches" else bytearray(b | 2 if b & 1 else b for b in watch)
    bpftool("map", "update", "pinned", sensor.run_dir / "bpf" / "watch", "key", 0, 0, 0, 0, "value", *watch)
    wait_hook_said(sensor, "hook_lost", "connect", 6)
    wait_hook_said(sensor, "hook_back", "connect", 20)
    with Box(docker, "look-away") as box:
        all_steps_arrive(sensor, box, box.json("/acts steps --count 3"))


def test_every_table_entry_and_cgroup_key_deleted(new_sensor, docker):
    sensor = new_sensor()
    bpf = sensor.run_dir / "bpf"
    with Box(docker, "robbed") as box:
        for row in dump(sensor, "cgroups"):
            bpftool("map", "delete", "pinned", bpf / "cgroups", "key", *[int(b, 16) for b in row["key"]])
        wait_said(sensor, "cgroups_restored")
        if hook(sensor, "open")["backend"] == "fallback":
            for row in dump(sensor, "syscalls"):
                if "error" not in str(row.get("value", "")):
                    bpftool("map", "delete", "pinned", bpf / "syscalls", "key", *[int(b, 16) for b in row["key"]])
            wait_said(sensor, "hook_lost")

            def whole():
                bad = [h["type"] for h in sensor.status()["hooks"] if h["backend"] != "none" and not h["effective"]]
                return not bad, bad
            wait_for(whole, 40, "all hooks are back", every=0.3)
        box.run("cat /etc/passwd")
        wait_for(lambda: [e for e in sensor.events(container="robbed", type="open") if e.get("path") == "/etc/passwd"], 5, "an open after the repair")
        all_steps_arrive(sensor, box, box.json("/acts steps --count 3"))


def test_hooks_taken_away_while_the_sensor_was_dead(new_sensor, docker):
    sensor = new_sensor()
    bpf = sensor.run_dir / "bpf"
    fallback = hook(sensor, "chmod")["backend"] == "fallback"
    other = next((k for k in ("setns", "chmod", "connect", "open") if hook(sensor, k)["backend"] == "preferred"), None)
    sensor.kill()
    gone = {"exec": ["link_tp_exec"], "cgroup_create": ["link_tp_cgroup_create"]}
    if other:
        gone[other] = [p.name for p in bpf.iterdir() if other in p.name and p.name.startswith(("link_fx_", "link_fe_"))][:1]
    for pins in gone.values():
        for pin in pins:
            (bpf / pin).unlink()
    # another program under its name is not it
    bpftool("link", "pin", "pinned", bpf / "link_tp_fork", bpf / "link_tp_exec")
    if fallback:
        for nr in (90, 512 + 362):  # chmod, of which the canary uses fchmod, and 32-bit connect
            bpftool("map", "delete", "pinned", bpf / "syscalls", "key", *nr.to_bytes(4, "little"))
    sensor.start()
    assert sensor.status()["adopted"] is True
    for kind in [*gone, *(["chmod", "connect"] if fallback else [])]:
        wait_hook_said(sensor, "hook_lost", kind, 5)
        wait_hook_said(sensor, "hook_back", kind, 5)
    bad = [h["type"] for h in sensor.status()["hooks"] if h["backend"] != "none" and not h["effective"]]
    assert not bad, f"expected all hooks to be effective, saw {bad}"
    with Box(docker, "dead-robbed") as box:
        box.run("touch /tmp/x; chmod 751 /tmp/x")
        wait_for(lambda: [e for e in sensor.events(container=box.name, type="chmod") if e.get("path") == "/tmp/x"], 5, "the chmod after the repair")
        all_steps_arrive(sensor, box, box.json("/acts steps --count 3"))
    sensor.kill()  # a map that programs share: nothing of it can be taken over
    (bpf / "acct").unlink()
    sensor.start()
    assert sensor.status()["adopted"] is False
    wait_said(sensor, "gap")
    with Box(docker, "map-robbed") as box:
        all_steps_arrive(sensor, box, box.json("/acts steps --count 3"))


def test_hook_that_cannot_become_effective_costs_nothing(build):
    class NoLoopback(sensor_env.Sensor):
        def argv(self):
            return ["unshare", "-n", *super().argv()]

    def held(sensor):
        fds = pathlib.Path(f"/proc/{sensor.pid}/fd")
        with open(f"/proc/{sensor.pid}/stat", encoding="ascii") as f:
            ticks = f.read().rsplit(")", 1)[1].split()
        return len(list(fds.iterdir())), sum(map(int, ticks[11:13])) / os.sysconf("SC_CLK_TCK")

    with NoLoopback(build, args=["--no-docker"]) as sensor:
        assert not hook(sensor, "accept")["effective"], "expected no accept without a loopback interface"
        time.sleep(2)
        before, cpu = held(sensor)
        time.sleep(6)
        after, cpu = held(sensor)[0], held(sensor)[1] - cpu
        assert after <= before + 2, f"expected no descriptors to pile up, saw {before}, then {after}"
        if not sensor_env.sanitized(sensor.build):
            assert cpu < 0.6, f"expected repairs to be rare, saw {cpu:.1f} s of processor time in 6 s"
        with open("/proc/%d/limits" % sensor.pid, encoding="ascii") as f:
            soft, hard = re.search(r"Max open files\s+(\d+)\s+(\d+)", f.read()).groups()
        assert soft == hard or int(soft) >= 65536, f"expected the bound of descriptors to be raised, saw {soft} of {hard}"


def test_cgroups_that_come_and_go_are_no_attack(new_sensor):
    sensor = new_sensor(args=["--no-docker"])
    base = pathlib.Path(sensor.status()["cgroup"]["mount"]) / "bulkhead-churn"
    base.mkdir()
    try:
        end, made = time.monotonic() + 8, set()
        while time.monotonic() < end:
            group = base / f"{len(made):064x}"
            group.mkdir()
            made.add(group.stat().st_ino.to_bytes(8, "little"))
            time.sleep(0.012)
            group.rmdir()
    finally:
        base.rmdir()
    time.sleep(2.5)
    assert not said(sensor, "cgroups_restored"), f"{len(made)} short-lived cgroups: {said(sensor, 'cgroups_restored')}"
    left = made & {bytes(int(b, 16) for b in row["key"]) for row in dump(sensor, "cgroups")}
    assert not left, f"expected the map to hold no cgroup of {len(made)} that are gone, saw {len(left)}"


def test_configuration_changed_is_put_back(new_sensor, docker):
    sensor = new_sensor()
    config = bytearray(int(b, 16) for b in dump(sensor, "config")[0]["value"])
    with Box(docker, "config") as box:
        # another process declared to be the sensor, every kind switched off
        config[0:4] = os.getpid().to_bytes(4, "little")
        config[48:64] = b"\xff" * 16
        bpftool("map", "update", "pinned", sensor.run_dir / "bpf" / "config", "key", 0, 0, 0, 0, "value", *config)
        wait_said(sensor, "config_restored")
        all_steps_arrive(sensor, box, box.json("/acts steps --count 3"))


def test_pins_removed_while_running_are_made_again(new_sensor, docker):
    sensor = new_sensor()
    pins = sensor.run_dir / "bpf"
    before = {p.name for p in pins.iterdir()}
    for p in pins.iterdir():
        if not p.name.endswith(".debug"):
            p.unlink()
    wait_said(sensor, "pins_restored")
    assert {p.name for p in pins.iterdir()} == before
    subprocess.run(["umount", "-l", pins], check=True, env=system_env())
    wait_said(sensor, "pins_restored", count=2)
    with Box(docker, "pins") as box:
        n = box.start("/acts steps --count 20 --interval-ms 100")
        sensor.kill()
        sensor.start()
        assert sensor.status()["adopted"] is True
        all_steps_arrive(sensor, box, [json.loads(line) for line in box.wait(n).splitlines()])


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_canary_is_missed_and_replaced(new_sensor, sig):
    sensor = new_sensor()
    pid = sensor.status()["canary"]["pid"]
    os.kill(pid, sig)
    wait_said(sensor, "canary_lost", 10)
    wait_said(sensor, "canary_back", 10)
    now = sensor.status()["canary"]
    assert now["pid"] != pid and not pathlib.Path(f"/proc/{pid}").exists()
    wait_for(lambda: sensor.status()["canary"]["error"] == "", 5, "the canary's trouble is over")
    bad = [h["type"] for h in sensor.status()["hooks"] if h["backend"] != "none" and not h["effective"]]
    assert not bad, f"expected all hooks to see the new canary, saw {bad}"


def test_socket_removed_is_made_again(new_sensor):
    sensor = new_sensor()
    socket = sensor.run_dir / "sensor.sock"
    socket.unlink()
    wait_for(socket.is_socket, 3, "the socket is there again")
    assert (socket.stat().st_mode & 0o777) == 0o600
    wait_said(sensor, "socket_restored")
    socket.unlink()
    os.mkfifo(socket)  # something else in its place
    wait_for(socket.is_socket, 3, "the socket is there again")
    wait_said(sensor, "socket_restored", count=2)
    socket.unlink()
    (socket / "not empty").mkdir(parents=True)  # what unlink() and rmdir() refuse
    wait_for(socket.is_socket, 3, "the socket is there again")
    wait_said(sensor, "socket_restored", count=3)


def test_full_disk_is_said_counted_and_survived(build, docker):
    sensor = sensor_env.Sensor(build, docker_host=docker.host, args=["--recorder-mib", "4"])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", sensor.data_dir], check=True, env=system_env())
    filler = sensor.data_dir / "filler"
    try:
        sensor.start()
        live = sensor.events(follow=True)
        with Box(docker, "disk") as box, open(filler, "wb", buffering=0) as f:
            def degraded():
                room = os.statvfs(filler)
                with contextlib.suppress(OSError):
                    os.posix_fallocate(f.fileno(), 0, os.fstat(f.fileno()).st_size + room.f_bavail * room.f_frsize)
                box.run("/acts flood paths --max 200 >/dev/null")
                r = sensor.status()["recorder"]
                # it may have found room again, by giving up old segments, by the time that it is asked
                said = any(e.get("action") == "recorder_degraded" for e in live.snapshot())
                return (r["state"] != "ok" or said) and sum(r["lost"].values()) > 0, r
            wait_for(degraded, 20, "status says that the recorder is degraded and counts its losses")
            live.wait(lambda e: e.get("action") == "recorder_degraded", 8, "live event recorder_degraded")
            filler.unlink()
            os.ftruncate(f.fileno(), 0)

            def recovered():
                r = sensor.status()["recorder"]
                return r["state"] == "ok", r
            wait_for(recovered, 15, "the recorder recovers when there is room")
            wait_said(sensor, "recorder_recovered", 10)
            all_steps_arrive(sensor, box, box.json("/acts steps --count 5"))
        sensor.stop()
        sensor.check_sanitizers()
    finally:
        sensor.close()
        subprocess.run(["umount", "-l", sensor.data_dir], stderr=subprocess.DEVNULL, env=system_env())
        shutil.rmtree(sensor.dir, ignore_errors=True)


def test_hostile_names_do_no_harm(new_sensor, docker):
    sensor = new_sensor()
    evil = "\x1b[2J\x1b]0;owned\x07<script>alert(1)</script>\"'\\\u202e\u009b31m"
    file = "/tmp/$(printf '\\033[31m<b>\\n\\377x')"
    docker.docker("tag", docker_env.BASE_IMAGE, "bh-test/evil:latest-stable")
    c = docker.run("-d", "--name", "hostile", "--label", f"evil={evil}", "--label", f"{evil}=x", "bh-test/evil:latest-stable", "/acts", "sleep", "100")
    try:
        docker.docker("exec", c, "/acts", "true", f"a{evil}\nb\r\tc")
        docker.docker("exec", c, "sh", "-c", f'cp /acts "{file}"; exec "{file}" true hostile-name')
        wait_for(lambda: any("hostile-name" in e.get("proc.args", []) for e in sensor.events(container="hostile", type="exec")), 5, "the exec of the hostile name")
        for args in (("events", "--container", "hostile"), ("events", "--container", "hostile", "--json"), ("containers",), ("containers", "--json"),
                     ("status",), ("status", "--json")):
            out = sensor.cli(*args).stdout
            bad = CONTROL.search(out)
            assert not bad, f"expected no control bytes in bulkhead {' '.join(args)}, saw {out[max(0, bad.start() - 60):bad.start() + 60]!r}"
        events = sensor.events(container="hostile", type="exec")
        told = f"a{evil}\nb\r\tc".replace("\\", "\\\\")  # backslashes are doubled, so that none can pass for an escaped byte
        assert any(told in e.get("proc.args", []) for e in events), f"expected the hostile argument whole in JSON, saw {[e.get('proc.args') for e in events]}"
    finally:
        docker.remove("hostile")
