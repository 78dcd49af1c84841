"""System calls of live containers: learned as they are made, told when they are new, and turned into a profile that the runtime enforces."""
import json
import time

import central_env
import pytest
from docker_env import BASE_IMAGE, wait_for
from test_models import SCALE, Service

LEAST = {"read", "write", "exit_group", "execve", "wait4"}  # of the shell, cat, wc and sleep, which are one file
WORK = "(while :; do cat /www/index.html; wc -c /www/index.html; sleep 0.1; done) >/dev/null 2>&1 &"


@pytest.fixture(scope="module")
def central():
    with central_env.Central() as c:
        c.set(SCALE)
        yield c


@pytest.fixture(scope="module")
def sensor(build, docker, central, backend):
    with central_env.connected_sensor(build, docker, central, backend, "--no-default-rules") as s:
        yield s


@pytest.fixture(scope="module")
def service(central, sensor, docker):
    s = Service(central, docker, 1)
    s.boxes[0].run(WORK)
    yield s
    s.close()


def calls(service, actor="/bin/busybox"):
    return {i["object"] for i in service.items(family="syscall") if i["actor"] == actor and i["standing"] in ("learned", "accepted")}


def settled(service, sensor):
    """Until nothing new came for some seconds."""
    seen = {"calls": set(), "since": time.monotonic()}

    def quiet():
        now = calls(service)
        if now != seen["calls"]:
            seen.update(calls=now, since=time.monotonic())
        return LEAST <= now and time.monotonic() - seen["since"] > 4, (now, sensor.status()["calls"])

    wait_for(quiet, 60, "the work's calls are learned")


def test_calls_are_learned_by_name_and_a_profile_of_them_works(service, sensor, central, docker, tmp_path):
    settled(service, sensor)
    status = sensor.status()["calls"]
    assert status["counted"] > 0 and status["counted"] <= status["calls"] and not status["lost"]["no_place"], status

    profile = tmp_path / "profile.json"
    central.cli("model", "export", "web", "--application", service.name, "--format", "seccomp", "--output", profile)
    allowed = {name for rule in json.loads(profile.read_text())["syscalls"] for name in rule["names"]}
    assert calls(service) <= allowed and not allowed & {"unshare", "ptrace", "mount", "bpf"}, allowed
    # the same work runs under it, and a call that was not learned is refused, though the capability for it is there
    again = "for i in 1 2 3; do cat /www/index.html; wc -c /www/index.html; sleep 0.1; done; unshare -u true; echo code $?"
    run = ["--rm", "--name", f"{service.name}-held", "--cap-add", "SYS_ADMIN"]
    out = docker.run(*run, "--security-opt", f"seccomp={profile}", BASE_IMAGE, "sh", "-c", again)
    assert out.count(" /www/index.html") == 3 and out.endswith("code 1"), out
    out = docker.run(*run, "--security-opt", "seccomp=unconfined", BASE_IMAGE, "sh", "-c", again)
    assert out.endswith("code 0"), "without the profile it is let through: " + out


def test_a_shell_and_new_calls_are_told_within_seconds_and_by_name(service, sensor):
    settled(service, sensor)
    service.post("lock")
    box = service.boxes[0]

    def told(what, act, match, limit=20.0, **more):
        begin = time.monotonic()
        box.run(act, ok=None)
        found = service.wait_finding(what, match)
        print(f"{what}: {time.monotonic() - begin:.1f} s: {found['output']}")
        return found

    # what the program itself never did: the sensor looks without a pause while there is something to learn
    found = told("a call of a known program", "for i in 1 2 3 4 5 6 7 8; do chroot / true; sleep 0.2; done", lambda f: "made the system call chroot" in f["output"])
    assert found["rule"] == "Model: new system calls" and "/bin/busybox made the system call chroot" in found["output"], found
    assert found["priority"].lower() in ("error", "warning"), found
    fields = service.root.get(f"/api/v1/findings/{found['id']}").json["output_fields"]
    assert fields["model.family"] == "syscall" and fields["model.object"] == "chroot", fields

    # a program that only attacks
    for act, call in (("ptrace.attach", "ptrace"), ("memfd_create.memfd_create", "memfd_create")):
        told(call, f"for i in 1 2 3; do /acts {act}; done", lambda f, call=call: f["rule"] == "Model: new system calls" and f"/acts made the system call {call}" in f["output"])
    assert all(" made the system call cat" not in f["output"] for f in service.findings())
