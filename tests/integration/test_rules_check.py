"""`bulkhead rules check` and `rules fields`: no sensor, no root."""
import json
import pathlib
import re
import subprocess

import pytest

UNSAFE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
PUBLIC = pathlib.Path(__file__).resolve().parents[3] / "shared/falco"
GOOD = "- rule: r\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: INFO\n"


@pytest.fixture
def rules(build):
    def run(*args):
        done = subprocess.run([build / "src/cli/bulkhead", "rules", *map(str, args)], capture_output=True, text=True, timeout=60)
        assert not UNSAFE.search(done.stdout + done.stderr), "control characters reach the terminal"
        return done
    return run


def test_good_file_passes_and_is_counted(rules, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD + "- rule: q\n  desc: d\n  condition: evt.type=open\n  output: o\n  priority: INFO\n  enabled: false\n- macro: m\n  condition: evt.type=x\n")
    done = rules("check", tmp_path / "a.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rules (1 enabled), 1 macro, 0 lists: 0 errors, " in done.stdout
    assert f"{tmp_path}/a.yaml:12:3: warning: " in done.stdout


def test_every_error_of_every_file_is_said_with_its_place(rules, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("evt.type", "evt.typo"))
    (tmp_path / "b.yaml").write_text(GOOD + "- rule: s\n  desc: d\n  condition: evt.type=open and (\n  output: o\n  priority: HIGH\n")
    done = rules("check", tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "none.yaml")
    assert done.returncode == 1
    assert f"{tmp_path}/b.yaml:10:13: error: " in done.stdout
    assert f"{tmp_path}/none.yaml: error: No such file" in done.stdout
    # rule r of the first file is replaced by the second's: its error is gone with it
    assert "evt.typo" not in done.stdout
    done = rules("check", tmp_path / "a.yaml")
    assert re.search(r"a\.yaml:3:14: error: .*evt\.type", done.stdout)


def test_json_says_the_same(rules, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("evt.type", "evt.typo").replace("- rule: r", '- rule: "r\\e[1m"'))
    done = rules("check", "--json", tmp_path / "a.yaml")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["ok"], told["rules"], told["enabled"], told["errors"]) == (False, 1, 0, 1)
    (problem,) = told["problems"]
    assert (problem["severity"], problem["line"], problem["column"], problem["code"]) == ("error", 3, 14, "LOAD_ERR_COMPILE_CONDITION")
    assert problem["file"] == str(tmp_path / "a.yaml")


def test_patterns_are_compiled(rules, tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD.replace("evt.type=open", 'evt.type=open and proc.name regex "(a"'))
    done = rules("check", tmp_path / "a.yaml")
    assert done.returncode == 1
    assert re.search(r"a\.yaml:3:\d+: error: .*parenthes", done.stdout), done.stdout


def test_wrong_usage(rules):
    assert rules("check").returncode == 2
    assert rules("nothing").returncode == 2
    assert rules().returncode == 2


def test_public_rules_load(rules):
    files = [PUBLIC / "falco_rules.yaml", PUBLIC / "falco-incubating_rules.yaml"]
    if not all(f.exists() for f in files):
        pytest.skip(f"the public rule files are not in {PUBLIC}")
    done = rules("check", "--json", *files)
    told = json.loads(done.stdout)
    assert done.returncode == 0, told["problems"]
    assert (told["rules"], told["errors"]) == (56, 0)


def test_fields_are_listed(rules):
    done = rules("fields")
    assert done.returncode == 0
    assert re.search(r"^proc\.aname\[N\?\] +text ", done.stdout, re.M)
    rows = [json.loads(line) for line in rules("fields", "--json", "fd.").stdout.splitlines()]
    assert rows and all(r["name"].startswith("fd.") and r["meaning"] for r in rows)
