"""The tests' own Docker Engine: what it starts works, and nothing of it stays."""
import os
import signal
import subprocess
import sys

import docker_env
import pytest


def test_containers_reach_each_other_and_the_engine_survives_a_restart(docker):
    web = docker.run("-d", "--name", "env-web", docker_env.BASE_IMAGE, "httpd", "-f", "-h", "/www")
    try:
        if docker.bridge:
            address = docker.inspect(web)["NetworkSettings"]["IPAddress"]
            page = docker.run("--rm", docker_env.BASE_IMAGE, "wget", "-qO-", f"http://{address}/")
            assert page == "hello", f"expected the page of {address}, saw {page!r}"
        else:
            assert docker.docker("exec", web, "cat", "/www/index.html").stdout == "hello\n"
    finally:
        docker.remove(web)


def test_engine_taken_down_with_running_containers_leaves_nothing():
    with docker_env.DockerEnv() as env:
        env.import_base_image()
        env.docker("network", "create", "n") if env.bridge else None
        env.run("-d", docker_env.BASE_IMAGE, "sleep", "1000")
        paused = env.run("-d", docker_env.BASE_IMAGE, "sleep", "1000")
        env.docker("pause", paused)
    assert env.leftovers() == []


def test_engine_whose_daemons_were_killed_leaves_nothing():
    with docker_env.DockerEnv() as env:
        env.import_base_image()
        env.run("-d", docker_env.BASE_IMAGE, "sleep", "1000")
        for proc in (env._dockerd, env._containerd):
            proc.send_signal(signal.SIGKILL)
            proc.wait(10)
    assert env.leftovers() == []


def test_daemons_end_when_the_test_process_is_killed():
    code = ("import docker_env, os, signal; e = docker_env.DockerEnv().start(); print(e.dir, e._dockerd.pid, "
            "e._containerd.pid, flush=True); signal.pause()")
    proc = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, PYTHONPATH=os.path.dirname(docker_env.__file__)))
    env = docker_env.DockerEnv()
    try:
        directory, dockerd, containerd = proc.stdout.readline().split()
        proc.kill()
        for pid in (dockerd, containerd):
            docker_env.wait_for(lambda: not os.path.exists(f"/proc/{pid}/exe"), 20, f"daemon {pid} ends after its test process")
    finally:
        proc.kill()
        proc.wait()
        # The killed process could not clear up: do it in its place.
        env.dir = docker_env.pathlib.Path(directory)
        env.tag = env.dir.name.split("-")[1]
        env.bridge = f"bht{env.tag}"
        env._rules = [["FORWARD", f, env.bridge, "-j", "ACCEPT"] for f in ("-i", "-o")]
        env.close()
    assert env.leftovers() == []


def test_waiting_ends_with_what_is_true_and_a_pair_is_never_true_by_itself():
    answers = iter([([], "nothing"), (0, "nought"), (None, "none"), (["x"], "one")])
    assert docker_env.wait_for(lambda: next(answers), 5, every=0) == "one"
    assert docker_env.wait_for(lambda: (True, None)) is None
    assert docker_env.wait_for(lambda: [1]) == [1]
    for never in ((False, "seen"), ([], "seen"), ""):
        with pytest.raises(AssertionError, match="a wish"):
            docker_env.wait_for(lambda never=never: never, 0, "a wish")
