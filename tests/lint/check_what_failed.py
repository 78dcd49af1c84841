"""check_what_failed.py: what tests/what_failed finds in the logs that the suites' tools write. TAP-like lines, then "N passed, N failed, N skipped"."""
import pathlib
import subprocess
import sys
import tempfile

TOOL = pathlib.Path(__file__).resolve().parents[1] / "what_failed"

NODE = """TAP version 13
# Subtest: a failed login is told
ok 1 - a failed login is told
  ---
  duration_ms: 1.2
  ...
# Subtest: the map draws what the API says
not ok 2 - the map draws what the API says
  ---
  duration_ms: 1.4
  failureType: 'testCodeFailure'
  error: |-
    expected one,

    saw two
  code: 'ERR_ASSERTION'
  name: 'AssertionError'
  stack: |-
    page (file:///ui/map.test.mjs:3:56)
    Test.run (node:internal/test_runner/test:796:25)
  ...
# Subtest: dark
    # Subtest: inner
    not ok 1 - inner
      ---
      error: 'too pale'
      ...
    1..1
not ok 3 - dark
  ---
  failureType: 'subtestsFailed'
  error: '1 subtest failed'
  ...
not ok 4 - later # TODO
"""
PYTEST = """=================================== FAILURES ===================================
___________________________________ test_bad ___________________________________
E   AssertionError: expected three
tests/a.py:4: AssertionError
=========================== short test summary info ============================
SKIPPED [1] tests/a.py:9: nothing failed here
ERROR tests/a.py::test_err - RuntimeError: no engine
FAILED tests/a.py::test_bad - AssertionError: expected three
===================== 1 failed, 1 passed, 1 error in 0.04s =====================
2 passed, 2 failed, 0 skipped
"""
MESON = """ 1/2 bulkhead:unit / base             OK               0.28s   4 subtests passed
 2/2 bulkhead:unit / bus              FAIL             3.16s   exit status 1
>>> /build/tests/unit/test_bus
stderr:
ERROR:../t.c:2:a: assertion failed ("x" == "y")
Summary of Failures:
 2/2 bulkhead:unit / bus              FAIL             3.16s   exit status 1
failed bulkhead:unit / bus: FAIL
4 passed, 1 failed, 0 skipped
"""
OURS = "ok - shellcheck dev\nnot ok - layers\n# sensor includes central\n# twice\nok - python a.py\nFAILED fuzz_json\n"


def told(log):
    with tempfile.NamedTemporaryFile("w") as f:
        f.write(log)
        f.flush()
        return subprocess.run([sys.executable, TOOL, f.name], capture_output=True, text=True, check=True).stdout.splitlines()


# name: (log, what is told)
CASES = {
    "node": (NODE, ["not ok 2 - the map draws what the API says", "  error: |-", "    expected one,", "    saw two", "    page (file:///ui/map.test.mjs:3:56)",
                    "    not ok 1 - inner", "      error: 'too pale'", "not ok 3 - dark"]),
    "pytest": (PYTEST, ["ERROR tests/a.py::test_err - RuntimeError: no engine", "FAILED tests/a.py::test_bad - AssertionError: expected three",
                        "E   AssertionError: expected three", "tests/a.py:4: AssertionError"]),
    "meson": (MESON, [" 2/2 bulkhead:unit / bus              FAIL             3.16s   exit status 1", "failed bulkhead:unit / bus: FAIL", "ERROR:../t.c:2:a: assertion failed (\"x\" == \"y\")"]),
    "our own": (OURS, ["not ok - layers", "# sensor includes central", "# twice", "FAILED fuzz_json"]),
    "a log without a failure": ("ok 1 - a failed login\n3 passed, 0 failed, 0 skipped\n", []),
    "an empty log": ("", []),
}


def main():
    failed = 0
    for name, (log, want) in CASES.items():
        got = told(log)
        failed += got != want
        print(("ok" if got == want else "not ok") + f" - what_failed tells of {name}" + ("" if got == want else f"\n# expected {want}\n# saw {got}"))
    got = told("".join(f"not ok {n} - number {n}\n  ---\n  error: 'why'\n" + "  more\n" * 50 + "  ...\n" for n in range(100)))
    bounded = len(got) == 61 and got[-1] == "… and 40 more"
    few = told("".join(f"not ok {n} - number {n}\n  ---\n" + "  more\n" * 50 + "  ...\n" for n in range(6)))
    fair = len(few) == 60 and [line for line in few if line.startswith("not ok")] == [f"not ok {n} - number {n}" for n in range(6)]
    for ok, name in ((bounded, "what_failed is bounded"), (fair, "what_failed gives each failure its share")):
        failed += not ok
        print(("ok - " if ok else "not ok - ") + name + ("" if ok else f"\n# saw {len(got)}, {got[-1]}, {len(few)}"))
    print(f"{len(CASES) + 2 - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
