# SPDX-License-Identifier: Apache-2.0
"""The measurements' own arithmetic, and that they run: a figure from a harness that nobody tested is worth nothing."""
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

import lib  # noqa: E402
import subjects  # noqa: E402


def part(name):
    """A part of the harness as a module: they are programs without a suffix."""
    loader = importlib.machinery.SourceFileLoader(f"bench_{name}", str(BENCH / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def run(*args, **options):
    return subprocess.run([sys.executable, BENCH / "run", *args], capture_output=True, text=True, **options)


# ---- figures ----

def test_spread_is_median_and_extremes():
    assert lib.spread([3, 1, 100]) == {"median": 3, "min": 1, "max": 100, "n": 3}
    assert lib.spread([1, 2])["median"] == 1.5
    with pytest.raises(ValueError):
        lib.spread([])


def test_ratios_are_taken_within_a_round():
    # each round at half the speed, whatever the machine did meanwhile: the ratio of medians would be another
    assert lib.ratios([50, 5, 500], [100, 10, 1000]) == {"median": 0.5, "min": 0.5, "max": 0.5, "n": 3}
    kept = lib.ratios([90, 80, 100], [100, 100, 100])
    assert (kept["min"], kept["median"], kept["max"]) == (0.8, 0.9, 1.0)
    with pytest.raises(ValueError):
        lib.ratios([1, 2], [1])


def test_more_is_of_medians():
    assert lib.more([300, 310, 9000], [100, 110, 120]) == 200


def test_numbers_for_people():
    assert [lib.human(n) for n in (3.14159, 312.7, 9876, 12345, 123456, 2500000, 123456789)] == ["3.1", "313", "9,876", "12.3 k", "123 k", "2,500 k", "123 M"]
    assert lib.table(["a", "b"], [["one", 2], ["x", 30]]) == ["a     b", "one   2", "x    30"]


# ---- instructions ----

ANNOTATED = """
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
713,216,942 (100.0%)  PROGRAM TOTALS

649,147,000 (91.02%)  ./nptl/./nptl/pthread_create.c:start_thread [/usr/lib/x86_64-linux-gnu/libc.so.6]
391,253,395 (54.86%)  /some/build/../src/sensor/pipeline.c:run [/some/build/bench/bench-path]
 20,000,000 ( 2.80%)  /some/build/../src/process/table.c:bh_process_update [/some/build/bench/bench-path]
 10,000,000 ( 1.40%)  /some/build/../src/process/enrich.c:bh_process_enrich'2 [/some/build/bench/bench-path]
 30,000,000 ( 4.21%)  /some/build/../src/process/enrich.c:bh_process_enrich [/some/build/bench/bench-path]
  1,000,000 ( 0.14%)  ???:another_bh_event_encode [/usr/lib/elsewhere.so]
"""


def test_stages_are_read_from_callgrind():
    instructions = part("instructions")
    stages = instructions.stages(instructions.inclusive(ANNOTATED), 10000)
    assert stages == {"total": 64914.7, "sensor thread": 39125.3, "process": 5000.0}


def test_rise_over_the_bound_fails():
    compare = part("instructions").compare
    then = {"total": 1000.0, "decode": 100.0}
    assert compare({"total": 1099.0, "decode": 109.0}, then, 0.10) == ([], [])
    problems, _ = compare({"total": 1000.0, "decode": 111.0}, then, 0.10)
    assert len(problems) == 1 and problems[0].startswith("decode:") and "+11.0 %" in problems[0]
    assert len(compare({"total": 1101.0, "decode": 100.0}, then, 0.10)[0]) == 1


def test_another_compiler_has_a_wider_bound():
    instructions = part("instructions")
    compare = instructions.compare
    assert compare({"total": 1200.0}, {"total": 1000.0}, instructions.BOUND_ELSEWHERE) == ([], [])
    assert len(compare({"total": 1300.0}, {"total": 1000.0}, instructions.BOUND_ELSEWHERE)[0]) == 1


def test_stage_that_vanished_is_said_and_the_total_must_be_there():
    compare = part("instructions").compare
    problems, remarks = compare({"total": 1000.0}, {"total": 1000.0, "encode": 10.0}, 0.10)
    assert not problems and "encode" in remarks[0]
    assert compare({}, {"total": 1000.0}, 0.10)[0]


def test_fall_is_worth_a_remark():
    problems, remarks = part("instructions").compare({"total": 500.0}, {"total": 1000.0}, 0.10)
    assert not problems and "--update" in remarks[0]


def test_instructions_per_event_have_not_risen():
    out = subprocess.run([BENCH / "instructions"], capture_output=True, text=True, timeout=150)
    print(out.stdout, out.stderr)
    if out.returncode == 77:
        pytest.skip(out.stdout.strip())
    assert out.returncode == 0, out.stdout + out.stderr


@pytest.mark.full
@pytest.mark.deadline(1500)
def test_instructions_of_kernel_programs_have_not_risen():
    out = subprocess.run([BENCH / "instructions", "--kernel"], capture_output=True, text=True)
    print(out.stdout, out.stderr)
    if out.returncode == 77:
        pytest.skip(out.stdout.strip())
    assert out.returncode == 0, out.stdout + out.stderr


# ---- what is compared ----

def test_audit_rules_cover_the_hooks():
    def calls(rules, arch):
        return {int(n) for rule in rules if f"arch={arch}" in rule for n in rule[rule.index("-S") + 1].split(",")}
    container, host = subjects.audit_rules(True), subjects.audit_rules(False)
    openat, execve, connect, mmap, ptrace = 257, 59, 42, 9, 101
    assert {openat, execve, connect, mmap, ptrace} <= calls(container, "b64")
    # on the host the sensor records no opens; each of its other hooks is there in both
    assert {execve, connect, ptrace} <= calls(host, "b64") and openat not in calls(host, "b64")
    assert calls(host, "b64") < calls(container, "b64")
    assert {11, 5} <= calls(container, "b32")  # 32-bit execve and open
    for rule in container:  # not each mapping, only executable ones
        assert "arch=b32" in rule or (str(mmap) in rule[rule.index("-S") + 1].split(",")) == ("a2&4" in rule)


def test_kinds_without_an_audit_rule_exist():
    kinds = {row[1] for row in subjects.table_rows("bpf/include/event_types.tbl.h", "BH_EVENT_TYPE", 4)}
    assert set(subjects.NOT_AUDITED) <= kinds


# ---- the frame ----

def test_unknown_part_is_refused_with_the_names():
    out = run("nonsense")
    assert out.returncode == 2 and "no part nonsense" in out.stderr and "cost" in out.stderr


def test_list_names_each_part_and_each_explains_itself():
    names = [line.split()[0] for line in run("--list").stdout.splitlines()]
    assert {"cost", "hooks", "path", "rate", "vm", "instructions"} <= set(names)
    for name in names:
        out = subprocess.run([BENCH / name, "--help"], capture_output=True, text=True, timeout=60)
        assert out.returncode == 0 and "--json" in out.stdout, f"{name} --help: expected status 0 and --json, saw {out.returncode}: {out.stdout}{out.stderr}"


def test_options_behind_a_part_are_its_own():
    split = part("run").split
    names = ["cost", "path"]
    assert split([], names) == ([], [])
    assert split(["--quick"], names) == (["--quick"], [])
    assert split(["cost", "path", "--quick", "--json", "x"], names) == (["cost", "path", "--quick", "--json", "x"], [])
    assert split(["cost", "--loads", "path", "--json", "x", "--quick"], names) == (["cost", "--json", "x"], ["--loads", "path", "--quick"])
    assert split(["path", "--events=5", "--json=x"], names) == (["path", "--json=x"], ["--events=5"])
    assert split(["cost", "--help"], names) == (["cost"], ["--help"])
    assert split(["nonsense", "--json"], names) == (["nonsense", "--json"], [])


def test_facts_say_which_machine():
    facts = lib.machine()
    assert {"cpu", "cpus", "kernel", "mitigations", "governor", "load_average_at_start", "compiler", "commit"} <= set(facts)
    assert facts["cpus"] >= 1 and facts["kernel"] == os.uname().release


def test_part_that_fails_fails_the_run(tmp_path):
    # no program of that build: each part must say so and not go on
    out = run("path", "--json", str(tmp_path / "x.json"), env=dict(os.environ, BH_BUILD=str(tmp_path)))
    assert out.returncode != 0 and "run ./dev build" in out.stdout + out.stderr


# ---- short runs of the real thing ----

def test_path_replays_without_loss(tmp_path):
    file = tmp_path / "result.json"
    out = run("path", "--events", "20000", "--rounds", "2", "--json", str(file))
    assert out.returncode == 0, out.stdout + out.stderr
    result = json.loads(file.read_text())["parts"]["path"]
    assert result["events"] == 40000 and result["lost"] == 0
    assert 0 < result["drain_ns_per_event"] < result["cpu_ns_per_event"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="loads kernel programs: needs root")


@needs_root
def test_cost_compares_in_one_run(tmp_path):
    file = tmp_path / "result.json"
    out = run("cost", "--seconds", "0.2", "--rounds", "1", "--loads", "getppid,open,talk", "--subjects", "floor,bulkhead", "--json", str(file), timeout=150)
    assert out.returncode == 0, out.stdout + out.stderr
    whole = json.loads(file.read_text())
    result = whole["parts"]["cost"]
    assert whole["machine"]["kernel"] == os.uname().release
    rows = {(r["load"], r["where"]): r for r in result["loads"]}
    assert set(rows) == {(load, where) for load in ("getppid", "open", "talk") for where in ("host", "container")}
    for row in rows.values():
        for name in ("floor", "bulkhead"):
            side = row["with"][name]
            assert len(row["without"]["per_second"]["values"]) == side["kept"]["n"] == 1
            assert side["kept"]["min"] <= side["kept"]["median"] <= side["kept"]["max"]
    # what the loads did in the container was seen
    assert all(r["generated"] > 0 and r["events"] > 0 for s in result["subjects"] if s["name"] == "bulkhead" for r in s["rounds"])
    assert "throughput kept" in out.stdout and not list(pathlib.Path("/sys/fs/cgroup").glob(f"*/bulkhead-bench-{os.getpid()}"))


@needs_root
def test_floor_is_an_empty_program_while_it_lasts():
    def names():
        return {p["id"]: p.get("name") for p in json.loads(subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, text=True, check=True, env=lib.ENV).stdout)}

    floor = subjects.Floor()
    floor.start(None)
    mine = int(re.search(r"^prog_id:\s*(\d+)", lib.read(f"/proc/self/fdinfo/{floor.link}"), re.M)[1])
    attached = names().get(mine)
    assert floor.stop() == {}
    until = time.monotonic() + 30
    while mine in names() and time.monotonic() < until:  # the kernel frees it a little later
        time.sleep(0.05)
    assert attached == "bench_floor" and mine not in names()


@needs_root
def test_hooks_tells_what_an_act_pays(tmp_path):
    file = tmp_path / "result.json"
    out = run("hooks", "--seconds", "0.1", "--acts", "fork", "--no-sweep", "--json", str(file), timeout=150)
    assert out.returncode == 0, out.stdout + out.stderr
    host = json.loads(file.read_text())["parts"]["hooks"]["acts"][0]
    assert host["ns_per_act"] > 0 and host["programs"]["tp_fork"]["calls_per_act"] >= 1
