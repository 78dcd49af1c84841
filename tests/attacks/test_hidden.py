"""Processes that the kernel runs and /proc does not show. Mounts over /proc/PID are made in a mount namespace of the sensor's own, so that nobody else's view changes and all of them end with it."""
import contextlib
import pathlib
import secrets
import urllib.parse

import central_env
import pytest
import sensor_env
from boxes import Box
from docker_env import wait_for
from test_incidents import MIGHTY, incident, rules_of, wait_incident

RULE = "Host integrity: hidden process"


class Apart(sensor_env.Sensor):
    """A sensor in a mount namespace of its own."""

    def argv(self):
        return ["unshare", "--mount", "--propagation", "private", *super().argv()]


@pytest.fixture
def sensor(build, docker, central, backend):
    with Apart(build, docker_host=docker.host, backend=backend, args=["--bus", f"unix:{central.run_dir}/central/bus.sock"]) as s:
        wait_for(lambda: (s.status()["bus"]["state"] == "connected", s.status()["bus"]), 20, "the sensor is connected")
        look_again(s, 1)
        yield s


def look_again(sensor, times=2):
    """Until so many looks have begun and ended since."""
    before = sensor.status()["integrity"]["processes"]["looks"]
    return wait_for(lambda: (sensor.status()["integrity"]["processes"]["looks"] >= before + times, sensor.status()["integrity"]), 30 + 16 * times, f"{times} looks at the node")["processes"]


def hidden(central, **filters):
    """All findings of hidden processes."""
    answer = central.root().get("/api/v1/findings?" + urllib.parse.urlencode({"limit": 500, "kind": "integrity", **filters}))
    assert answer.status == 200, answer
    return [f for f in answer.json["findings"] if "hidden" in f["rule"]]


@contextlib.contextmanager
def two(docker, *options):
    name = f"bh-hid-{secrets.token_hex(3)}"
    with Box(docker, name, *options) as a, Box(docker, f"{name}-beside", *options) as b:
        yield a, b


def test_process_below_a_mount_is_one_finding_of_its_container(central, sensor, docker):
    with two(docker, *MIGHTY) as (box, beside):
        beside.start("sleep 1000")
        program = "/tmp/busybox\") of x"
        box.run(f"cp /bin/busybox '{program}'; '{program}' sleep 1000 >/dev/null 2>&1 & echo $! >/ctl/pid; exec nsenter -t {sensor.pid} -m /bin/mount -t tmpfs -o size=4k hider /proc/$!")
        pid = int((box.dir / "pid").read_text())
        found = wait_for(lambda: (len(hidden(central)) == 1, hidden(central)), 60, "the process below the mount is found")[0]
        assert found["rule"] == RULE and found["priority"] == "critical" and found["container_name"] == box.name, found
        assert {"host", "integrity", "mitre_defense_evasion", "T1564", "T1564.013"} == set(found["tags"]), found
        # what an attacker named stays in its quotes
        assert f'hidden process on the node: "busybox\\") of x" (pid {pid}, started 20' in found["output"], found
        assert f'of container "{box.name}": a mount lies over /proc/{pid} (tmpfs hider), mounted by "' in found["output"] and found["output"].endswith(f'from container "{box.name}"'), found
        fields = central.root().get(f"/api/v1/findings/{found['id']}").json["output_fields"]
        assert int(fields["proc.pid"]) == pid and fields["proc.exepath"] == program and fields["proc.name"] == 'busybox") of x', fields
        assert fields["integrity.mount"] == f"/proc/{pid}" and fields["integrity.mount_of"] == "tmpfs hider" and "(pid " in fields["integrity.mounted_by"], fields
        story = wait_incident(central, box.name, lambda i: RULE in rules_of(incident(central, i["id"])))
        assert [line["rule"] for line in story["timeline"]].count(RULE) == 1, story
        # told once, however often it is looked at
        now = look_again(sensor)
        assert now["hidden"] == 1 and now["told"] == 1 and now["list"] == "kernel" and not now["problem"], now
        assert len(hidden(central)) == 1 and hidden(central)[0]["count"] == 1, hidden(central)
        # none where there was nobody hidden, and not on the node's own /proc
        assert not hidden(central, container=beside.name)
        assert f" /proc/{pid} " not in pathlib.Path("/proc/self/mountinfo").read_text()


def test_storm_of_short_processes_is_quiet(central, sensor, docker):
    before, told = len(hidden(central)), sensor.status()["integrity"]["processes"]["told"]
    with two(docker) as (box, beside):
        storms = [(b, b.start("i=0; while [ ! -e /ctl/stop ]; do /bin/true & /bin/sh -c '/bin/true; /bin/true'; i=$((i+1)); done; wait; echo $i")) for b in (box, beside)]
        try:
            look_again(sensor, 3)
        finally:
            for b, _ in storms:
                (b.dir / "stop").touch()
        runs = sum(int(b.wait(n)) for b, n in storms)
    now = look_again(sensor, 1)
    assert runs > 50, f"there was no storm: {runs}"
    assert now["hidden"] == 0 and now["told"] == told and len(hidden(central)) == before, (now, hidden(central))
