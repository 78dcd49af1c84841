"""Evasions (ATTACKS.md B) against the default rules: for each, the rule that must tell it all the same. How calls are varied (B1-B4, B13) is test_rules_families.py.

As in test_rules_default.py all are done once, and the recording is replayed. What the fallback backend cannot see has the kernel's reason beside it and must not be seen, so that the test fails when it
starts to work. The suite vm plays the same list on stock kernels, with both backends.
"""
import json
import time

import docker_env
import pytest
import sensor_env
from boxes import Box
from evasions import BEFORE, DRIFT, EVASIONS, SHADOW, SWITCH
from test_rules_default import IMAGE, KINDS, RULES, make_image

FORGED, FORGED_IMAGE = "k8s_kube-proxy_kube-proxy-x_kube-system", "registry.k8s.io/kube-proxy:v1.30.0"
FORGED_LABELS = ["--label", "io.kubernetes.pod.namespace=kube-system", "--label", "io.kubernetes.pod.name=kube-proxy-x", "--label", "io.kubernetes.container.name=kube-proxy"]
# Kernels of tests/vm have no binfmt_misc. What is registered is the machine's, and is taken back.
HERE = {("B6", "program's format of one's own"): (
    "mighty", "mount -t binfmt_misc none /mnt; cp /bin/busybox /opt/b6i; echo x >/opt/x.bhx; chmod 755 /opt/x.bhx; echo ':bh-test:E::bhx::/opt/b6i:' >/mnt/register; /opt/x.bhx; echo -1 >/mnt/bh-test; umount /mnt",
    [DRIFT], None)}
PLAYED = EVASIONS | HERE


@pytest.fixture(scope="module")
def played(request, docker, build, tmp_path_factory):
    make_image(docker, build)
    boxes = {"before": Box(docker, "evades-before", image=IMAGE)}
    switch = tmp_path_factory.mktemp("rules") / "switch.yaml"
    switch.write_text(SWITCH)
    try:
        boxes["before"].run(BEFORE)
        with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend")) as sensor:
            for kind in ("plain", "tmpfs", "mighty"):
                boxes[kind] = Box(docker, f"evades-{kind}", *KINDS[kind], image=IMAGE)
            docker.docker("tag", IMAGE, FORGED_IMAGE)
            boxes["forged"] = Box(docker, FORGED, *FORGED_LABELS, image=FORGED_IMAGE)
            marks = {}
            for n, (what, (kind, command, _, _)) in enumerate(PLAYED.items()):
                begin = time.time_ns()
                if kind == "run":
                    docker.docker("run", "--rm", "--name", f"evades-run-{n}", IMAGE, *command.split(), check=False)
                else:
                    boxes[kind].run(command, deadline=30, ok=None)
                marks[what] = (begin, time.time_ns())
            recording = sensor.data_dir / "recorder"
            sensor.stop()
            rules = [arg for path in [*sorted(RULES.glob("*.yaml")), switch] for arg in ("--rules", path)]
            out = sensor.cli("replay", recording, *rules, "--all", "--json").stdout
        yield marks, out
    finally:
        for box in boxes.values():
            box.close()


@pytest.mark.deadline(240)
@pytest.mark.parametrize("what", sorted(PLAYED), ids=" ".join)
def test_evasion_is_told(played, what, request):
    marks, out = played
    kind, _, rules, reason = PLAYED[what]
    first, last = marks[what]
    seen = [f for f in map(json.loads, out.splitlines()) if str(f["output_fields"].get("container.name", "")).startswith(FORGED if kind == "forged" else f"evades-{kind}")]
    mine = {f["rule"] for f in seen if first <= f["output_fields"]["evt.time"] <= last}
    if reason:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    assert mine & set(rules), f"expected one of {rules}, saw {sorted(mine)}"


def test_a_race_for_the_path_hides_nothing(new_sensor, docker, build):
    """B1: each open is told with the file that it got, whatever the path says before and after; of 2,000 that race with another thread."""
    make_image(docker, build)
    sensor = new_sensor(args=["--fold-ms", "0"])
    with Box(docker, "races", image=IMAGE) as box:
        words = box.run("/usr/bin/visit swap 2000", deadline=60).split()
        shadow, other = int(words[1]), int(words[3])
        assert shadow + other >= 2000 and min(shadow, other) > 20, f"expected both to be got, saw {words}"

        def told(path):
            return sum(e["count"] for e in sensor.events(container="races", type="open") if e.get("path") == path and e.get("result", 0) >= 0 and e["proc.exe"] == "/usr/bin/visit" and "O_CREAT" not in e.get("open_flags", ""))
        docker_env.wait_for(lambda: (told("/etc/shadow") >= shadow, told("/etc/shadow")), 10, f"{shadow} opens of /etc/shadow")
        assert told("/etc/shadow") == shadow
        rules = [arg for path in sorted(RULES.glob("*.yaml")) for arg in ("--rules", path)]
        found = [f for f in map(json.loads, sensor.cli("replay", sensor.data_dir / "recorder", *rules, "--all", "--json").stdout.splitlines()) if f["rule"] == SHADOW and f["output_fields"]["container.name"] == "races"]
        assert len(found) == shadow, f"expected {shadow} findings, saw {len(found)}"
