"""No sister call, compatible form or ring request evades a rule that names another call of its family (ATTACKS.md B1-B5, B10, B11, B13), on this kernel; the suite vm does the same on others."""
import pathlib
import sys

import pytest
from boxes import Box

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "rules"))
import families  # noqa: E402


@pytest.mark.deadline(240)
def test_a_rule_for_one_call_sees_every_form(docker, new_sensor, build):
    sensor = new_sensor(args=["--fold-ms", "0"])
    with Box(docker, "families", "--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt", "seccomp=unconfined", "-v", f"{build}/tests/bpf:/bpf:ro") as box:
        for program in ("acts", "acts32"):
            box.run(f"mkdir /tmp/{program}; /bpf/{program} --dir /tmp/{program} --all >/dev/null 2>&1; true", deadline=120)
        seen = families.missed(sensor, "families")
    wrong = {kind: ids for kind, ids in seen.items() if ids}
    assert not wrong, f"expected every event to be told by the rule of its family, missed {wrong}"
    assert len(seen) >= 35, f"expected acts of most families, saw {sorted(seen)}"
