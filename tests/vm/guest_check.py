#!/usr/bin/env python3
"""Inside a VM: runs the BPF tests, then the real sensor beside the real acts program, per backend, and compares.

Prints one "ok", "not ok" or "skip" line per check and ends with "N passed, N failed, N skipped"; exit status 1 on a
failure. Needs nothing but this tree, a build ($BH_BUILD) and python3. The logs of the sensor go to /out (the VM's log
folder on the host) where that exists.
"""
import glob
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import traceback

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "integration"))
sys.dont_write_bytecode = True

import acts_match  # noqa: E402
import sensor_env  # noqa: E402

OUT = pathlib.Path("/out")


class Results:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, name):
        self.passed += 1
        print(f"ok {name}", flush=True)

    def fail(self, name, problems):
        self.failed += 1
        print(f"not ok {name}")
        for p in problems:
            for line in str(p).splitlines():
                print(f"# {line}")
        sys.stdout.flush()

    def skip(self, name, why):
        self.skipped += 1
        print(f"skip {name}: {why}", flush=True)

    def result(self, name, problems):
        self.fail(name, problems) if problems else self.ok(name)


def run_bpf_tests(results, build):
    """The test programs of tests/bpf, each a TAP producer."""
    for program in sorted(glob.glob(f"{build}/tests/bpf/test_*")):
        if not os.path.isfile(program) or not os.access(program, os.X_OK):
            continue
        short = os.path.basename(program)
        r = subprocess.run([program, "--tap"], capture_output=True, text=True, errors="replace", timeout=600)
        lines = re.findall(r"^(ok|not ok) \d+ ?-? ?(.*)$", r.stdout, re.M)
        for verdict, title in lines:
            title, _, skip = title.partition("# SKIP")
            if skip or "# SKIP" in title:
                results.skip(f"{short} {title.strip()}", skip.strip() or "no reason given")
            elif verdict == "ok":
                results.ok(f"{short} {title}")
            else:
                results.fail(f"{short} {title}", (r.stdout + r.stderr).splitlines()[-30:])
        if r.returncode != 0 and not any(v == "not ok" for v, _ in lines) or not lines:
            results.fail(f"{short} ran to its end", [f"status {r.returncode}", *(r.stdout + r.stderr).splitlines()[-30:]])


def run_acts(results, build, backend):
    """Starts the sensor with one backend, performs every act natively and as i386, and compares."""
    with sensor_env.Sensor(build, backend=backend, base_dir="/run") as sensor:
        try:
            status = sensor.status()
            print(f"# backend {backend}: {json.dumps(status)[:2000]}", flush=True)
            for program in ("acts", "acts32"):
                check_acts(results, build, backend, sensor, program)
        except AssertionError:
            keep(sensor.log, f"sensor-{backend}.log")
            raise
        keep(sensor.log, f"sensor-{backend}.log")


def check_acts(results, build, backend, sensor, program):
    said = sensor.dir / f"{program}.jsonl"
    # On a tmpfs: the overlay over the shared root has inode numbers of its own, other than the kernel's objects.
    where = sensor.dir / f"{program}.d"
    where.mkdir()
    r = subprocess.run([f"{build}/tests/bpf/{program}", "--all", "--dir", where, "--out", said], stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, errors="replace", timeout=600)
    results.result(f"{backend} {program} --all", [] if r.returncode == 0 else [f"status {r.returncode}: {r.stderr[-2000:]}"])
    acts = acts_match.read_acts(said)
    keep(said, f"{backend}-{program}.jsonl")
    wanted = [a for a in acts if a.get("supported") and a["counts"]]

    def all_there(events):
        matcher = acts_match.Matcher(events)
        return all(matcher.candidates(a) for a in wanted)
    try:
        events = sensor.wait_events(all_there, 60, f"an event for each of {len(wanted)} acts")
    except AssertionError:
        events = sensor.events()  # some are missing: each act says so for itself below
    (sensor.dir / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    keep(sensor.dir / "events.jsonl", f"{backend}-{program}-events.jsonl")
    matcher = acts_match.Matcher(events)
    for act in acts:
        title = f"{backend} {acts_match.name(act)}"
        if not act.get("crashed") and not act["supported"]:
            results.skip(title, act.get("why") or "this kernel does not have it")
        else:
            results.result(title, matcher.check(act))


def keep(path, name):
    if OUT.is_dir() and pathlib.Path(path).exists():
        shutil.copy(path, OUT / name)


def main():
    results = Results()
    build = sensor_env.build_dir()
    steps = [("bpf", lambda: run_bpf_tests(results, build))]
    steps += [(f"{b} backend", lambda b=b: run_acts(results, build, b)) for b in ("preferred", "fallback")]
    for name, step in steps:
        try:
            step()
        except Exception as e:  # one step's failure must not hide the others
            results.fail(name, [*str(e).splitlines()[:60], *traceback.format_exc().splitlines()[-6:]])
    print(f"{results.passed} passed, {results.failed} failed, {results.skipped} skipped")
    return 1 if results.failed else 0


sys.exit(main())
