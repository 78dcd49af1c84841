"""Evasions (ATTACKS.md B) against the default rules: for each, the rule that must tell it all the same. How calls are varied (B1-B4, B13) is test_rules_families.py.

As in test_rules_default.py all are done once, and the recording is replayed. What the fallback backend cannot see has the kernel's reason beside it and must not be seen, so that the test fails when it
starts to work. The suite vm plays the same list on stock kernels, with both backends.
"""
import json
import time

import pytest
import sensor_env
from boxes import Box
from evasions import EVASIONS
from test_rules_default import IMAGE, KINDS, RULES, make_image


@pytest.fixture(scope="module")
def played(request, docker, build):
    make_image(docker, build)
    boxes = {"before": Box(docker, "evades-before", image=IMAGE)}
    try:
        with sensor_env.Sensor(build, docker_host=docker.host, backend=request.config.getoption("--backend")) as sensor:
            for kind in ("plain", "tmpfs", "mighty"):
                boxes[kind] = Box(docker, f"evades-{kind}", *KINDS[kind], image=IMAGE)
            marks = {}
            for n, (what, (kind, command, _, _)) in enumerate(EVASIONS.items()):
                begin = time.time_ns()
                if kind == "run":
                    docker.docker("run", "--rm", "--name", f"evades-run-{n}", IMAGE, *command.split(), check=False)
                else:
                    boxes[kind].run(command, deadline=30, ok=None)
                marks[what] = (begin, time.time_ns())
            recording = sensor.data_dir / "recorder"
            sensor.stop()
            rules = [arg for path in sorted(RULES.glob("*.yaml")) for arg in ("--rules", path)]
            out = sensor.cli("replay", recording, *rules, "--all", "--json").stdout
        yield marks, out
    finally:
        for box in boxes.values():
            box.close()


@pytest.mark.deadline(240)
@pytest.mark.parametrize("what", sorted(EVASIONS), ids=" ".join)
def test_evasion_is_told(played, what, request):
    marks, out = played
    kind, _, rules, reason = EVASIONS[what]
    first, last = marks[what]
    seen = [f for f in map(json.loads, out.splitlines()) if str(f["output_fields"].get("container.name", "")).startswith(f"evades-{kind}")]
    mine = {f["rule"] for f in seen if first <= f["output_fields"]["evt.time"] <= last}
    if reason:
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    assert mine & set(rules), f"expected one of {rules}, saw {sorted(mine)}"
