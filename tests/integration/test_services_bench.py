"""bench/services: a small world recorded, attacks among its work, and judged by the models. The long form is `dev bench services`."""
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVICES = ROOT / "bench/services"


def run(build, *args):
    import os
    r = subprocess.run([sys.executable, SERVICES, *map(str, args)], capture_output=True, text=True, timeout=170, env=dict(os.environ, BH_BUILD=str(build), PYTHONDONTWRITEBYTECODE="1"))
    assert r.returncode == 0, r.stdout + r.stderr
    return r.stdout


@pytest.fixture(scope="module")
def recording(build, tmp_path_factory):
    out = tmp_path_factory.mktemp("services")
    run(build, "record", out, "--small", "--learn", 0.15, "--normal", 0.1, "--replicas", 2, "--gap", 0.5, "--tail", 2)
    return out


def judged(build, recording, tmp_path):
    run(build, "--json", tmp_path / "out.json", "replay", "--no-rules", recording)
    return json.loads((tmp_path / "out.json").read_text())["results"][0]


@pytest.mark.deadline(180)
def test_each_attack_is_named_and_normal_work_is_no_grave_matter(build, recording, tmp_path):
    result = judged(build, recording, tmp_path)
    assert {a["id"]: a["named"] for a in result["attacks"]} == {"S-dropper": True, "S-passwd": True, "S-sideways": True, "S-outside": True}, result["attacks"]
    assert result["grave"] == [], result["grave"]
    assert result["hours_learned"] > 0 and result["hours_locked"] > 0 and result["total"]["undecodable"] == 0, result["total"]


def test_the_matching_can_fail(build, recording, tmp_path):
    """Another truth: what was not done is not named."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "services.cap").symlink_to(recording / "services.cap")
    with open(other / "truth.jsonl", "w") as f:
        for line in open(recording / "truth.jsonl"):
            row = json.loads(line)
            if row["what"] == "attack":
                row["acts"] = [r"exec\|[^|]*\|/usr/bin/never-run"]
            f.write(json.dumps(row) + "\n")
    result = judged(build, other, tmp_path)
    assert [a["named"] for a in result["attacks"]] == [False] * 4 and all(a["any"] for a in result["attacks"]), result["attacks"]
