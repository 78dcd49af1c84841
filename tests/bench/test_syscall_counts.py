# SPDX-License-Identifier: Apache-2.0
"""bench/syscall-counts: what it makes of recordings, made ones and (where they are) real ones."""
import gzip
import json
import pathlib
import random
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDINGS = ROOT.parent / "shared/data/container-cve"
CALLS = ["accept", "close", "execve", "openat", "read", "setuid", "write"]


def counts(directory, *args):
    out = subprocess.run([ROOT / "bench/syscall-counts", "--json", "-", directory, *args], capture_output=True, text=True)
    return out, json.loads(out.stdout[out.stdout.index("\n{"):]) if out.returncode == 0 else None


def recording(directory, attack, name="made"):
    """Four runs of a server under load; `attack` changes the counts of windows 250 to 254."""
    rng = random.Random(7)
    (directory / "compact").mkdir()
    rows = ["part,run,win," + ",".join(CALLS)]
    for run in range(1, 5):
        for win in range(300):
            n = rng.randint(2, 9)
            row = {"accept": n, "close": 2 * n, "openat": n, "read": 3 * n, "write": n}
            if 250 <= win <= 254:
                row.update(attack)
            rows.append(f"{'train' if win < 200 else 'test'},{run},{win}," + ",".join(str(row.get(c, 0)) for c in CALLS))
    (directory / f"compact/{name}.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode() + b"\n"))
    (directory / "timing.csv").write_text("cve,run,start_win,end_win\n" + "".join(f"{name},{run},250,254\n" for run in range(1, 5)))


@pytest.mark.parametrize("attack", [{"execve": 1, "setuid": 1}, {"openat": 400}, {"accept": 2, "read": 27}], ids=["never-made", "more-than-ever", "out-of-proportion"])
def test_made_attacks_are_found_and_nothing_else(tmp_path, attack):
    recording(tmp_path, attack)
    out, figures = counts(tmp_path)
    assert figures is not None, out.stderr
    for way in ("all_runs", "held_out"):
        assert figures[way]["runs"] == 4
        assert figures[way]["detection_rate"] == 1, figures[way]
        assert figures[way]["window_fpr"] <= 0.01, figures[way]
        assert figures[way]["delay_median_s"] == 0


def test_nothing_is_found_where_nothing_is(tmp_path):
    recording(tmp_path, {})
    assert counts(tmp_path)[1]["all_runs"]["detected"] == 0


@pytest.mark.parametrize("spoil, says", [
    (lambda d: (d / "compact/made.csv.gz").write_bytes(b"not gzip at all"), "made.csv.gz"),
    (lambda d: (d / "compact/made.csv.gz").write_bytes(gzip.compress(b"part,run,win,read\ntrain,1,0\n")), "made.csv.gz:2: another number of columns"),
    (lambda d: (d / "compact/made.csv.gz").write_bytes(gzip.compress(b"part,run,win,read\ntrain,1,0,-5\n")), "made.csv.gz:2: a number was expected"),
    (lambda d: (d / "compact/made.csv.gz").write_bytes(gzip.compress(b"part,run,win,read\ntrain,900,0,5\n")), "made.csv.gz:2: a number was expected"),
    (lambda d: (d / "timing.csv").unlink(), "timing.csv"),
    (lambda d: (d / "compact/made.csv.gz").unlink(), "holds no .csv.gz"),
], ids=["no-gzip", "columns", "negative", "run", "no-timing", "no-files"])
def test_files_of_another_form_are_refused_by_place(tmp_path, spoil, says):
    recording(tmp_path, {})
    spoil(tmp_path)
    out, _ = counts(tmp_path)
    assert out.returncode == 1 and says in out.stderr, out.stderr


@pytest.mark.skipif(not (RECORDINGS / "timing.csv").exists(), reason="needs ../shared/data/container-cve")
def test_recorded_attacks_are_found_with_few_false_alarms():
    _, figures = counts(RECORDINGS)
    assert figures["all_runs"]["detection_rate"] >= 0.85
    assert figures["all_runs"]["window_fpr"] <= 0.001
    assert figures["held_out"]["detection_rate"] >= 0.8
    assert figures["bytes_max"] <= 80 * 1024
