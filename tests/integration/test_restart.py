"""The sensor comes and goes: killed at random moments nothing is lost or doubled, stopped in order nothing stays."""
import json
import os
import pathlib
import random
import subprocess
import time

import pytest
import sensor_env
from boxes import STEP_ACTS, Box, lost_steps, missing_steps
from docker_env import system_env, wait_for


def lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]


def own_cgroup(sensor):
    """Path of this process's cgroup in the hierarchy that the sensor goes by."""
    controller = sensor.status()["cgroup"]["controller"]
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if names == controller or controller and controller in names.split(","):
            return path
    raise AssertionError(f"no cgroup of controller {controller!r}")


@pytest.mark.deadline(600)
def test_killed_twenty_times_under_load_misses_and_doubles_nothing(new_sensor, docker, build, full, tmp_path, capsys):
    seed = int(os.environ.get("BH_TEST_SEED", random.randrange(1 << 32)))
    rng = random.Random(seed)
    sensor = new_sensor()
    kills = 100 if full else 20
    os.chmod(tmp_path, 0o755)
    # numbers of this run's own: the host's acts are everybody's, also those of another run of this test
    first = str(5001 + rng.randrange(60) * 100)  # their ports begin at 20000 and end below those that clients are given
    host = subprocess.Popen([build / "tests/bpf/acts", "driver", "--log", tmp_path / "host.log", "--until", tmp_path / "end", "--interval-ms", "40", "--first", first, "--dir", tmp_path])
    try:
        with Box(docker, "restarts") as box, Box(docker, "load") as load:
            n = box.start("/acts driver --log /ctl/driver.log --until /ctl/end --interval-ms 40")
            m = load.start("/acts flood exec,open,paths --threads 3 --seconds 10000 >/ctl/flood")
            down = 0.0
            for i in range(kills):
                time.sleep(rng.uniform(0, 0.6))
                sensor.kill()
                pause = rng.uniform(0, 2) if full else rng.uniform(0, 0.8)
                down += pause
                time.sleep(pause)
                sensor.start()
            (tmp_path / "end").touch()
            (box.dir / "end").touch()
            assert host.wait(20) == 0
            box.wait(n)
            load.docker.docker("exec", load.name, "sh", "-c", "kill -TERM $(pidof acts)", check=False)
            load.wait(m, ok=None)
            told = [("restarts", lines(box.dir / "driver.log")), (None, lines(tmp_path / "host.log"))]
            lost = lambda: sum(sum(h["lost"].values()) for h in sensor.status()["hooks"])  # noqa: E731
            report = []
            for container, steps in told:
                cgroup = box.cgroup(sensor) if container else os.stat(sensor.status()["cgroup"]["mount"] + own_cgroup(sensor)).st_ino

                def arrived():
                    missing, twice = missing_steps(steps, sensor.events(container=container) if container else sensor.events(container="host"))
                    return not lost_steps(sensor, cgroup, missing), (missing, twice)
                wait_for(arrived, 20, f"every act of {container or 'the host'} is recorded or counted as lost (seed {seed})\nlog {sensor.log}", every=1)
                time.sleep(1.2)  # repeats come when their window is swept
                events = sensor.events(container=container or "host")
                missing, twice = missing_steps(steps, events)
                assert not twice, f"seed {seed}: expected each act once, saw again {twice[:10]} of {len(steps)}\nlog {sensor.log}"
                ids = [int(e["id"]) for e in events]
                assert len(ids) == len(set(ids)), f"seed {seed}: event ids repeat"
                report.append(f"{container or 'host'}: {len([s for s in steps if s['act'] in STEP_ACTS])} acts, {len(missing)} missing")
            with capsys.disabled():
                print(f"\n  seed {seed}: {kills} kills, {down:.1f} s down; " + "; ".join(report) + f"; kernel lost {lost()}")
            (load.dir / "end").touch()
        (tmp_path / "end").touch()
    finally:
        if host.poll() is None:
            host.kill()
        host.wait()


@pytest.mark.deadline(240)
def test_killed_again_while_it_catches_up_doubles_nothing(new_sensor, docker):
    """A successor that is killed before it has passed over what its predecessor recorded must not leave that to be read again."""
    sensor = new_sensor()
    with Box(docker, "catch-up") as box, Box(docker, "catch-load") as load:
        n = box.start("/acts driver --log /ctl/driver.log --until /ctl/end --interval-ms 20")
        m = load.start("/acts flood exec,connect,paths --threads 2 --seconds 10000 >/ctl/flood")
        for i in range(8):
            time.sleep(0.5)
            sensor.kill()
            for _ in range(4):  # somewhere in its start, with more and more to pass over
                sensor.start(wait=False)
                time.sleep(random.uniform(0.1, 0.6))
                sensor.kill()
            sensor.start()
        (box.dir / "end").touch()
        box.wait(n)
        load.docker.docker("exec", load.name, "sh", "-c", "kill -TERM $(pidof acts)", check=False)
        load.wait(m, ok=None)
        steps, cgroup = lines(box.dir / "driver.log"), box.cgroup(sensor)

        def arrived():
            missing, twice = missing_steps(steps, sensor.events(container=box.name))
            return not lost_steps(sensor, cgroup, missing), (missing, twice)
        wait_for(arrived, 20, f"every act is recorded or counted as lost\nlog {sensor.log}", every=1)
        time.sleep(1.2)  # repeats come when their window is swept
        twice = missing_steps(steps, sensor.events(container=box.name))[1]
        assert not twice, f"expected each act once, saw again {twice[:10]} of {len(steps)}\nlog {sensor.log}"


def children(pid):
    return subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()


def programs():
    out = json.loads(subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, env=system_env()).stdout)
    return {p["id"] for p in out}


def test_clean_stop_leaves_nothing(build, docker):
    with sensor_env.Sensor(build, docker_host=docker.host) as sensor:
        inside = programs()
        pids = [sensor.pid] + [int(p) for p in children(sensor.pid)]
        mine = {f for p in pids for f in (f"/proc/{p}",)}
        assert len(pids) > 1, "expected the canary among the sensor's children"
        own = {int(l.rsplit(":", 1)[1]) for f in pathlib.Path(f"/proc/{sensor.pid}/fdinfo").iterdir() for l in f.read_text().splitlines() if l.startswith("prog_id:")}
        assert own & inside, "expected the sensor to hold programs"
        sensor.stop()
        assert not [p for p in mine if os.path.exists(p)], "expected no process to stay"
        assert f"{sensor.run_dir}" not in pathlib.Path("/proc/self/mountinfo").read_text()
        assert sorted(p.name for p in sensor.run_dir.iterdir()) == [], f"expected an empty run directory, saw {list(sensor.run_dir.iterdir())}"
        wait_for(lambda: (not own & programs(), own & programs()), 5, "the kernel programs are gone")


def test_second_sensor_on_the_same_run_directory_is_refused(new_sensor, build):
    sensor = new_sensor()
    r = subprocess.run(sensor.argv(), capture_output=True, text=True, timeout=30, env=system_env())
    assert r.returncode == 1 and "another sensor" in r.stderr and str(sensor.pid) in r.stderr, (r.returncode, r.stderr)
    assert sensor.status()["ready"] is True
    assert all(h["effective"] for h in sensor.status()["hooks"] if h["backend"] != "none")


def test_two_sensors_see_everything_both(new_sensor, docker):
    a, b = new_sensor(), new_sensor()
    with Box(docker, "twice") as box:
        steps = box.json("/acts steps --count 5")
        for sensor in (a, b):
            wait_for(lambda: (lambda m: (not m, m))(missing_steps(steps, sensor.events(container="twice"))[0]), 8, f"all steps\n{sensor.log_tail()}")
            assert not missing_steps(steps, sensor.events(container="twice"))[1]
    b.stop()
    with Box(docker, "once") as box:
        steps = box.json("/acts steps --count 3")
        wait_for(lambda: (lambda m: (not m, m))(missing_steps(steps, a.events(container="once"))[0]), 8, "all steps after the other sensor stopped")
