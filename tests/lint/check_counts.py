#!/usr/bin/env python3
"""check_counts.py: tests/counts on reports made here: what a second try changes and what it does not. Exit status 1 when something is wrong."""
import json
import pathlib
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parent.parent / "counts"


def log(path, **programs):
    """meson's log of programs: name="OK" | "FAIL" | "TIMEOUT"."""
    path.write_text("".join(json.dumps({"name": f"bulkhead:unit / {n}", "stdout": "", "result": r}) + "\n" for n, r in programs.items()))
    return path


def report(path, of="integration.test_x", **tests):
    """tests: name="passed" | "failed" | "error" | "skipped", all of the class `of`."""
    inner = {"passed": "", "failed": '<failure message="no"/>', "error": '<error message="no"/>', "skipped": '<skipped message="why"/>'}
    path.write_text("<testsuites><testsuite>" + "".join(f'<testcase classname="{of}" name="{n}">{inner[r]}</testcase>' for n, r in tests.items()) + "</testsuite></testsuites>")
    return path


def tool(*args):
    r = subprocess.run([sys.executable, TOOL, *args], capture_output=True, text=True, check=False)
    return r.returncode, r.stdout.strip()


def main():
    passed = failed = 0

    def expect(what, got, want):
        nonlocal passed, failed
        passed, failed = passed + (got == want), failed + (got != want)
        print(f"ok - counts: {what}" if got == want else f"not ok - counts: {what}\n# {got!r}, not {want!r}")

    with tempfile.TemporaryDirectory() as d:
        d = pathlib.Path(d)
        (d / "integration").mkdir()
        (d / "integration" / "test_x.py").touch()
        first = report(d / "1.xml", a="failed", b="passed", c="skipped")
        expect("one try", tool("junit", first), (0, "skip integration.test_x.c: why\n1 passed, 1 failed, 1 skipped"))
        expect("a second that passes", tool("junit", first, report(d / "2.xml", a="passed")), (0, "unsteady integration.test_x.a\nskip integration.test_x.c: why\n2 passed, 0 failed, 1 skipped"))
        expect("a second that fails", tool("junit", first, report(d / "2.xml", a="failed")), (0, "skip integration.test_x.c: why\n1 passed, 1 failed, 1 skipped"))
        expect("a second that is skipped", tool("junit", first, report(d / "2.xml", a="skipped"))[1].splitlines()[-1], "1 passed, 1 failed, 1 skipped")
        expect("a second without it", tool("junit", first, report(d / "2.xml", z="passed"))[1].splitlines()[-1], "1 passed, 1 failed, 1 skipped")
        expect("names", tool("again", first, d), (0, f"{d}/integration/test_x.py::a"))
        expect("none failed", tool("again", report(d / "3.xml", a="passed"), d)[0], 1)
        expect("two failed", tool("again", report(d / "3.xml", a="failed", b="error"), d)[0], 0)
        expect("too many failed", tool("again", report(d / "3.xml", a="failed", b="failed", c="error"), d), (1, ""))
        expect("reports joined", tool("join", d / "5.xml", report(d / "3.xml", a="failed", b="skipped"), report(d / "4.xml", "integration.test_y", a="passed")), (0, ""))
        expect("counts of all that was joined", tool("junit", d / "5.xml"), (0, "skip integration.test_x.b: why\n1 passed, 1 failed, 1 skipped"))
        expect("one of them missing", tool("join", d / "5.xml", d / "3.xml", d / "none.xml")[0], 1)
        (d / "integration" / "test_x.py").unlink()
        expect("no such file", tool("again", first, d), (1, ""))
        ran, of = log(d / "1.json", p="FAIL", q="OK"), "bulkhead.bulkhead:unit / p"
        cases = report(d / "4.xml", of, a="failed", b="passed")
        expect("a program", tool("meson", ran, cases), (0, "failed bulkhead:unit / p: FAIL\n1 passed, 1 failed, 0 skipped"))
        report(d / "2.junit.xml", of, a="passed", b="passed", c="passed")  # c was not reached before
        expect("a program that passes then", tool("meson", ran, cases, log(d / "2.json", p="OK")), (0, f"unsteady {of}.a\nunsteady bulkhead:unit / p: FAIL\n3 passed, 0 failed, 0 skipped"))
        expect("a program that fails again", tool("meson", ran, cases, log(d / "2.json", p="TIMEOUT"))[1].splitlines()[-1], "1 passed, 1 failed, 0 skipped")
        expect("a program that died has no case", tool("meson", log(d / "1.json", p="TIMEOUT"), report(d / "4.xml", of, b="passed"), log(d / "2.json", p="FAIL"))[1].splitlines()[-1], "1 passed, 1 failed, 0 skipped")
        expect("programs", tool("programs", ran), (0, "p"))
        expect("no program failed", tool("programs", log(d / "1.json", q="OK", r="SKIP"))[0], 1)
        expect("too many programs failed", tool("programs", log(d / "1.json", p="FAIL", q="FAIL", r="TIMEOUT")), (1, ""))
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


sys.exit(main())
