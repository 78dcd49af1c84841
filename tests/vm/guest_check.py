#!/usr/bin/env python3
"""Inside a VM: runs the BPF tests, then the real sensor beside the real acts program, per backend, and compares; then plays the evasions of tests/attacks.

Backend "auto" on a stock kernel must come to the preferred one for every hook that has it; "fallback" is the other. The acts run in a
container without a runtime: a cgroup v2 named as engines name theirs. Without --full the i386 program runs those forms that the
native one does not have and one of each kind; with it all of both. Without it a 7.x kernel has the sensor with the preferred backend alone.

Prints one "ok", "not ok" or "skip" line per check and ends with "N passed, N failed, N skipped"; exit status 1 on a
failure. Needs nothing but this tree, a build ($BH_BUILD) and python3. The logs of the sensor go to /out (the VM's log
folder on the host) where that exists.
"""
import contextlib
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "integration"), str(TESTS / "rules"), str(TESTS / "attacks"), str(TESTS / "vm")]
sys.dont_write_bytecode = True

import acts_match  # noqa: E402
import evasions  # noqa: E402
import families  # noqa: E402
import guest_box  # noqa: E402
import sensor_env  # noqa: E402

OUT = pathlib.Path("/out")
CGROUPS = pathlib.Path("/sys/fs/cgroup")
CONTAINER = "b0" * 32
BOXES = {kind: f"e{n}" * 32 for n, kind in enumerate(("before", "plain", "tmpfs", "mighty", "run", "forged"))}
FULL = "--full" in sys.argv[1:]
# The verifier of 7.x takes minutes for the fallback's programs under emulation, and the machine's own kernel, of nearly that age, runs them natively: without --full the sensor has the preferred backend alone there.
BACKENDS = ("auto", "fallback") if FULL or not os.uname().release.startswith("7.") else ("auto",)


UNSTEADY = 2  # as in tests/counts
ROUNDS = 4  # how often acts that the kernel skipped are performed again


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

    def unsteady(self, name, problems):
        """What failed and is tried once more (CONTRIBUTING.md); `problems` are those of the first try."""
        print(f"unsteady {name}: {' '.join(map(str, problems))}", flush=True)

    def result(self, name, problems):
        self.fail(name, problems) if problems else self.ok(name)


def say(text):
    print(f"# {time.monotonic():.1f} s: {text}", flush=True)


def end_left(proc):
    """What a program that broke off has left behind holds its output open, and whoever reads that would wait for it."""
    proc.wait()
    time.sleep(3)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(proc.pid, signal.SIGKILL)


def tap(program):
    """What a TAP producer said: its end, (verdict, title) of each test, and a line with those that took longest."""
    with tempfile.TemporaryFile("w+", errors="replace") as err:
        proc = subprocess.Popen([program, "--tap"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err, text=True, errors="replace", start_new_session=True)
        timer = threading.Timer(500, proc.kill)
        timer.start()
        threading.Thread(target=end_left, args=(proc,), daemon=True).start()
        out, lines, took = [], [], []
        begin = last = time.monotonic()
        for line in proc.stdout:
            out.append(line)
            verdict = re.match(r"(ok|not ok) \d+ ?-? ?(.*)$", line)
            if verdict:
                lines.append(verdict.groups())
                now = time.monotonic()
                took.append((now - last, verdict[2]))
                last = now
        proc.wait()
        timer.cancel()
        err.seek(0)
        r = subprocess.CompletedProcess(program, proc.returncode, "".join(out), err.read())
    return r, lines, f"{time.monotonic() - begin:.1f} s; the slowest " + ", ".join(f"{title.partition('# SKIP')[0].strip()} {s:.1f} s" for s, title in sorted(took, reverse=True)[:6])


def run_bpf_tests(results, build):
    """The test programs of tests/bpf, each a TAP producer."""
    for program in sorted(glob.glob(f"{build}/tests/bpf/test_*")):
        if not os.path.isfile(program) or not os.access(program, os.X_OK):
            continue
        short = os.path.basename(program)
        r, lines, times = tap(program)
        say(f"{short}: {times}")
        failed = [title for verdict, title in lines if verdict == "not ok"]
        if failed and len(failed) <= UNSTEADY or r.returncode != 0 and not failed:
            say(f"the first try of {short}, status {r.returncode}:")
            print("\n".join(f"# {line}" for line in (r.stdout + r.stderr).splitlines()[-30:]))
            r, lines, _ = tap(program)
            if r.returncode == 0:
                results.unsteady(short, failed or ["it broke off"])
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
    """Starts the sensor with one backend, performs acts natively and as i386 in the container, and compares."""
    sensor = sensor_env.Sensor(build, backend=backend, base_dir="/run", args=["--no-docker", "--fold-ms", "0"])
    image = guest_box.make_image(sensor.dir / "image", evasions.image_files(build, TESTS / "vm" / "guest.sh"))
    before = guest_box.GuestBox(sensor.dir, image, "before", BOXES["before"])
    try:
        before.run(evasions.BEFORE)
        say(f"backend {backend}: the sensor starts")
        sensor.start(deadline=400)  # programs of the preferred backend take minutes to load where others use the machine as well
        hooks = {h["type"]: h for h in sensor.status()["hooks"]}
        say(f"backend {backend}: ready")
        check_hooks(results, backend, hooks)
        for program in ("acts", "acts32"):
            events = check_acts(results, build, backend, hooks, sensor, program)
        own = [e for e in events if e.get("container.id", e.get("origin.id")) == CONTAINER]
        for kind, ids in sorted(families.missed(sensor, CONTAINER, own).items()):
            results.result(f"{backend} a rule for one call sees every form of {kind}", [f"expected every event told, missed {len(ids)}: {ids[:20]}"] if ids else [])
        check_evasions(results, backend, sensor, image, before)
        status = sensor.status()
        results.result(f"{backend} nothing lost", [f"{h['type']}: {h['lost']}" for h in status["hooks"] if any(h["lost"].values())])
        say(f"backend {backend}: recursion misses {status.get('recursion_misses')}")
        sensor.stop(deadline=60)
        sensor.check_sanitizers()
    finally:
        before.close()
        keep(sensor.log, f"sensor-{backend}.log")
        sensor.close()


def check_hooks(results, backend, hooks):
    for kind, hook in hooks.items():
        wanted = "fallback" if backend == "fallback" or (os.uname().release.startswith("5.10.") and kind == "perf_event_open") else "preferred"
        problems = []
        if hook["backend"] not in (wanted, "tracepoint"):
            problems.append(f"expected the {wanted} backend, saw {hook['backend']}: {hook.get('why')}")
        if not hook["effective"]:
            problems.append(f"it is not effective: {hook.get('refused') or hook.get('why')}")
        results.result(f"{backend} hook {kind}", problems)


def forms(build, program):
    """What to run: everything, but of the i386 program without --full what is its own and one form of each kind."""
    lists = [[json.loads(line) for line in subprocess.run([f"{build}/tests/bpf/{p}", "--list", "--json"], capture_output=True,
                                                          text=True, check=True).stdout.splitlines()] for p in ("acts", "acts32")]
    if FULL or program == "acts":
        return ["--all"]
    native = {acts_match.title(a) for a in lists[0]}
    seen, out = set(), []
    for a in lists[1]:
        if acts_match.title(a) not in native or (a["type"], a["counts"]) not in seen:
            seen.add((a["type"], a["counts"]))
            out.append(acts_match.title(a))
    return out


def perform(results, build, sensor, backend, program, which, again=""):
    """Performs acts in the container; what they say, and the events until then."""
    said = sensor.dir / f"{program}{again}.jsonl"
    # On a tmpfs: the overlay over the shared root has inode numbers of its own, other than the kernel's objects.
    where = sensor.dir / f"{program}{again}.d"
    where.mkdir()
    cgroup = CGROUPS / "docker" / CONTAINER
    cgroup.mkdir(parents=True, exist_ok=True)

    def enter():
        (cgroup / "cgroup.procs").write_text("0")
    own = sensor.dir / f"{program}{again}.bin" / program
    own.parent.mkdir()
    shutil.copy(f"{build}/tests/bpf/{program}", own)
    r = subprocess.run([own, "--dir", where, "--out", said, "--cgroup", cgroup, *which],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=600, preexec_fn=enter)
    results.result(f"{backend} {program}{again} performs", [] if r.returncode == 0 else [f"status {r.returncode}: {r.stderr[-2000:]}"])
    say(f"{backend} {program}{again} has performed")
    keep(said, f"{backend}-{program}{again}.jsonl")
    told = sensor.cli("events", "--json").stdout
    (sensor.dir / "events.jsonl").write_text(told)
    keep(sensor.dir / "events.jsonl", f"{backend}-{program}{again}-events.jsonl")
    events = [json.loads(line) for line in told.split("\n") if line]
    say(f"{len(events)} events")
    return acts_match.read_acts(said), events


def judge(acts, events, hooks):
    """For each act that this kernel has: (act, what is wrong with what was told of it)."""
    matcher = acts_match.Matcher(events, container=CONTAINER)
    place = {"kernel": tuple(int(n) for n in re.findall(r"\d+", os.uname().release)[:2]), "runtime": False}
    for act in acts:
        if act.get("crashed") or act["supported"]:
            known = [] if act.get("crashed") else acts_match.known_differences(act, hooks[act["type"]]["backend"], place)
            yield act, matcher.check(act, known)


def unseen(act, problems):
    """Whether an act that is wrong may have been skipped, in part or whole; one that was told twice was not."""
    return problems and not act.get("crashed") and not problems[0].startswith(acts_match.TWICE)


def check_acts(results, build, backend, hooks, sensor, program):
    """Gives all events up to then."""
    before = sensor.status()["recursion_misses"]
    acts, events = perform(results, build, sensor, backend, program, forms(build, program))
    for act in acts:
        if not act.get("crashed") and not act["supported"]:
            results.skip(f"{backend} {acts_match.name(act)}", act.get("why") or "this kernel does not have it")
    verdicts = list(judge(acts, events, hooks))
    # What the kernel skipped because a program was preempted on that CPU is counted, and not to be found: such an act is performed once more,
    # at most as many as were skipped meanwhile. Skips come in bursts and the repeats are skipped too, so it goes on for a few rounds.
    for attempt in range(1, ROUNDS + 1):
        if not any(problems for _, problems in verdicts):
            break
        time.sleep(2.5)  # the sensor asks the kernel each second
        now = sensor.status()["recursion_misses"]
        missed, before = now - before, now
        wrong = sorted({acts_match.title(act) for act, problems in verdicts if unseen(act, problems)})
        skipped, wrong = len(wrong) <= missed, wrong[:max(missed, UNSTEADY if attempt == 1 and len(wrong) <= UNSTEADY else 0)]
        if not wrong:
            break
        say(f"{missed} acts were skipped by the kernel and counted; once more: {' '.join(wrong)}")
        first = {acts_match.title(act): problems for act, problems in verdicts if problems}
        verdicts = [v for v in verdicts if v[0].get("crashed") or acts_match.title(v[0]) not in wrong]
        acts, events = perform(results, build, sensor, backend, program, wrong, f"-again{attempt}")
        again = list(judge(acts, events, hooks))
        for act, problems in again:
            if not skipped and not problems:
                results.unsteady(f"{backend} {acts_match.name(act)}", first.get(acts_match.title(act), []))
        verdicts += again
    for act, problems in verdicts:
        results.result(f"{backend} {acts_match.name(act)}", problems)
    return events


def play_evasions(sensor, image, before, which):
    """{evasion: (begin, end)}; each in a box of its kind, as test_rules_evasions.py does it in containers of an engine."""
    boxes, marks = {"before": before}, {}
    try:
        for kind in ("plain", "tmpfs", "mighty", "forged"):  # names are a runtime's, so that the last is like the first here
            boxes[kind] = guest_box.GuestBox(sensor.dir, image, kind, BOXES[kind])
        for box in boxes.values():
            box.run("true")
        for what in which:
            kind, command = evasions.EVASIONS[what][:2]
            begin = time.time_ns()
            if kind == "run":
                once = guest_box.GuestBox(sensor.dir, image, kind, BOXES[kind], command.split())
                once.proc.wait(60)
                once.close()
            else:
                boxes[kind].run(command)
            marks[what] = (begin, time.time_ns())
    finally:
        for kind, box in boxes.items():
            if kind != "before":
                box.close()
    return marks


def judge_evasions(sensor, backend, marks):
    """{evasion: what is wrong}."""
    names = sensor.dir / "names.yaml"
    names.write_text(f"{evasions.SWITCH}---\nappend_output:\n- extra_fields: [container.full_id]\n")
    rules = [a for path in [*sorted((sensor_env.REPO / "rules").glob("*.yaml")), names] for a in ("--rules", path)]
    out = sensor.cli("replay", sensor.data_dir / "recorder", *rules, "--all", "--json").stdout
    seen = [(f["rule"], f["output_fields"]) for f in map(json.loads, out.splitlines())]
    verdicts = {}
    for what, (first, last) in marks.items():
        kind, _, wanted, reason = evasions.EVASIONS[what]
        mine = {rule for rule, fields in seen if fields.get("container.full_id") == BOXES[kind] and first <= fields["evt.time"] <= last}
        if backend == "fallback" and reason:  # not told there, with the kernel's reason: if it is, the table is to be corrected
            verdicts[what] = [f"expected not to be told ({reason}), but it was: take the reason away"] if mine & set(wanted) else []
        else:
            verdicts[what] = [] if mine & set(wanted) else [f"expected one of {wanted}, saw {sorted(mine)}"]
    return verdicts


def chosen_evasions(backend):
    """Without --full each is played with one of the backends of a kernel, and with each backend on one of the four kernels at the least."""
    turn = (backend == "fallback") + os.uname().release.startswith("6.1.")
    return [what for n, what in enumerate(evasions.EVASIONS) if FULL or len(BACKENDS) == 1 or (n + turn) % 2 == 0]


def check_evasions(results, backend, sensor, image, opened):
    """opened: the box of kind "before", which was there before the sensor."""
    start, before = time.monotonic(), sensor.status()["recursion_misses"]
    marks = play_evasions(sensor, image, opened, chosen_evasions(backend))
    verdicts = judge_evasions(sensor, backend, marks)
    for attempt in range(1, ROUNDS + 1):  # as with the acts: what the kernel skipped is counted and cannot be told, and is done once more
        wrong = [what for what, problems in verdicts.items() if problems]
        if not wrong:
            break
        time.sleep(2.5)  # the sensor asks the kernel each second
        now = sensor.status()["recursion_misses"]
        missed, before = now - before, now
        skipped, wrong = len(wrong) <= missed, wrong[:max(missed, UNSTEADY if attempt == 1 and len(wrong) <= UNSTEADY else 0)]
        if not wrong:
            break
        say(f"{missed} acts were skipped by the kernel and counted; once more: {wrong}")
        again = judge_evasions(sensor, backend, play_evasions(sensor, image, opened, wrong))
        for what, problems in again.items():
            if not skipped and not problems:
                results.unsteady(f"{backend} told in spite of {' '.join(what)}", verdicts[what])
        verdicts |= again
    for what, problems in verdicts.items():
        results.result(f"{backend} told in spite of {' '.join(what)}", problems)
    say(f"backend {backend}: {len(marks)} evasions in {time.monotonic() - start:.1f} s; the slowest " +
        ", ".join(f"{' '.join(what)} {(b - a) / 1e9:.1f} s" for what, (a, b) in sorted(marks.items(), key=lambda m: m[1][0] - m[1][1])[:3]))


def keep(path, name):
    if OUT.is_dir() and pathlib.Path(path).exists():
        shutil.copy(path, OUT / name)


def main():
    results = Results()
    build = sensor_env.build_dir()
    steps = [("bpf", lambda: run_bpf_tests(results, build))]
    steps += [(f"{b} backend", lambda b=b: run_acts(results, build, b)) for b in BACKENDS]
    for name, step in steps:
        try:
            step()
        except Exception as e:  # one step's failure must not hide the others
            results.fail(name, [*str(e).splitlines()[:60], *traceback.format_exc().splitlines()[-6:]])
    say("done")
    print(f"{results.passed} passed, {results.failed} failed, {results.skipped} skipped")
    return 1 if results.failed else 0


sys.exit(main())
