"""Hostile names: what a process writes comes out byte for byte in JSON, truncation is said, and text for people is safe."""
import json
import os
import re
import subprocess

import pytest
import sensor_env
from test_containers import made_up_container, remove

ARGV_KEPT = 32768  # BH_ARGV_MAX
NASTY = [
    b'double"quote', b"single'quote", b"back\\slash", b"\\x41 \\u0041", b"new\nline", b'{"forged": "event"}\n{"type": "exec"}', b"tab\tcr\r",
    b"\x1b[31mred\x1b[0m", b"\x1b]0;title\x07", bytes(range(1, 32)), b"\x7f", b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf",
    "café 🚢".encode(), "\u202egpj.exe".encode(), "\u009b31m".encode(), b"", b" ", b"%s%n", b"a" * 4000,
]
# What must not reach a terminal: C0 but the newline at a line's end, DEL, C1, bidirectional controls.
UNSAFE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def original(text):
    """The bytes that an escaped JSON string stands for (src/base/escape.h): \\\\ is a backslash, \\xXX a byte, the rest UTF-8."""
    out, i = bytearray(), 0
    while i < len(text):
        if text[i] != "\\":
            out += text[i].encode()
            i += 1
        elif text[i + 1] == "\\":
            out += b"\\"
            i += 2
        else:
            assert text[i + 1] == "x", f"expected \\\\ or \\xXX after a backslash, saw {text[i:i + 4]!r}"
            out.append(int(text[i + 2:i + 4], 16))
            i += 4
    return bytes(out)


@pytest.fixture(scope="module")
def box():
    """A container without a runtime: a cgroup named like one."""
    path = made_up_container()
    yield path
    remove(path)


@pytest.fixture(scope="module")
def sensor(request, build, box):
    with sensor_env.Sensor(build, backend=request.config.getoption("--backend"), args=["--no-docker", "--fold-ms", "0"]) as s:
        s.box = box
        yield s


def inside(sensor, act):
    """act() in a process of its own in the container. Gives its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            (sensor.box / "cgroup.procs").write_text("0")
            act()
            os._exit(0)
        finally:
            os._exit(127)
    assert os.waitpid(pid, 0)[1] == 0, "expected the act to succeed"
    return pid


def spawn(sensor, path, argv, env=None):
    """Runs a program there with exact bytes, and waits."""
    return inside(sensor, lambda: os.execve(path, argv, env or {b"A": b"B"}))


def events_of(sensor, pid, *kinds, count=1):
    return [e for e in sensor.wait_events(lambda evs: len([e for e in evs if e["proc.pid"] == pid]) >= count, 15, f"{count} events {kinds} of process {pid}",
                                          type=",".join(kinds), container=sensor.box.name) if e["proc.pid"] == pid]


def exec_of(sensor, pid):
    return events_of(sensor, pid, "exec")[-1]


def test_arguments_and_environment_come_out_byte_for_byte(sensor):
    argv = [b"/bin/true", *NASTY]
    pid = spawn(sensor, b"/bin/true", argv, {b"NASTY%d" % i: v for i, v in enumerate(NASTY[:-1])})
    event = exec_of(sensor, pid)
    assert [original(a) for a in event["proc.args"]] == argv
    assert sorted(original(a) for a in event["proc.env"]) == sorted(b"NASTY%d=%s" % (i, v) for i, v in enumerate(NASTY[:-1]))
    assert not {"args_truncated", "env_truncated"} & set(event.get("flags", ()))


def test_arguments_longer_than_is_kept_are_cut_and_said(sensor):
    argv = [b"/bin/true", b"x" * (100 * 1024), b"last"]
    event = exec_of(sensor, spawn(sensor, b"/bin/true", argv))
    assert "args_truncated" in event["flags"], f"expected the cut to be said, saw {event.get('flags')}"
    kept = [original(a) for a in event["proc.args"]]
    total = len(b"\0".join(kept))
    assert kept[0] == b"/bin/true" and set(kept[1]) == {ord("x")} and len(kept) == 2, f"expected the beginning, saw {[a[:20] for a in kept]}"
    assert ARGV_KEPT - 4096 <= total <= ARGV_KEPT, f"expected about {ARGV_KEPT} bytes kept, saw {total}"


def test_arguments_of_exactly_what_is_kept_are_whole(sensor):
    argv = [b"/bin/true", b"y" * (ARGV_KEPT - len(b"/bin/true") - 2)]
    event = exec_of(sensor, spawn(sensor, b"/bin/true", argv))
    assert [original(a) for a in event["proc.args"]] == argv and "args_truncated" not in event.get("flags", ())


@pytest.mark.parametrize("name", [n for n in NASTY if n and len(n) < 256 and b"/" not in n], ids=lambda n: n.decode("ascii", "backslashreplace").encode("unicode_escape").decode()[:40])
def test_program_and_file_of_that_name_come_out_byte_for_byte(sensor, tmp_path, name):
    where = os.fsencode(tmp_path)
    program, file = os.path.join(where, b"p" + name), os.path.join(where, b"f" + name)
    with open("/bin/busybox", "rb") as source, open(program, "wb") as to:
        to.write(source.read())
    os.chmod(program, 0o755)
    pid = spawn(sensor, program, [b"true"])
    event = exec_of(sensor, pid)
    assert original(event["proc.exe"]) == program

    def act():
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        os.rename(file, file + b"2")
        os.unlink(file + b"2")
    mine = events_of(sensor, inside(sensor, act), "open", "rename", "unlink", count=3)
    opened = [e for e in mine if e["type"] == "open" and "O_CREAT" in e["open_flags"]][0]
    renamed, unlinked = (next(e for e in mine if e["type"] == t) for t in ("rename", "unlink"))
    assert original(opened["path"]) == file
    assert (original(renamed["path"]), original(renamed["path2"])) == (file, file + b"2")
    assert original(unlinked["path"]) == file + b"2"


def test_path_of_4096_bytes_comes_out_whole_and_a_deeper_one_is_cut_and_said(sensor, tmp_path):
    """4,095 bytes and a NUL is what one call takes; with chdir on the way there is no limit."""
    base = os.fsencode(tmp_path)
    parts = [b"d" * 199] * ((4095 - 201 - len(base)) // 200)
    path = b"/".join([base, *parts])
    whole = path + b"/" + b"f" * (4095 - len(path) - 1)
    deeper = b"/".join([path, b"e" * 199, b"e" * 199, b"deepest"])

    def act():
        os.chdir(base)
        for part in parts:
            os.mkdir(part)
            os.chdir(part)
        os.close(os.open(os.path.basename(whole), os.O_RDWR | os.O_CREAT, 0o600))
        os.close(os.open(whole, os.O_RDONLY))
        for _ in range(2):
            os.mkdir(b"e" * 199)
            os.chdir(b"e" * 199)
        os.close(os.open(b"deepest", os.O_RDWR | os.O_CREAT, 0o600))
    try:
        pid = inside(sensor, act)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / ("d" * 199)], check=True)
    *short, deep = [e for e in events_of(sensor, pid, "open", count=3) if "/ddd" in e.get("path", "")]
    assert len(whole) == 4095 and [original(e["path"]) for e in short] == [whole, whole]
    assert not any("path_truncated" in e.get("flags", ()) for e in short)
    seen = original(deep["path"])
    if seen != deeper:
        assert "path_truncated" in deep["flags"] and deeper.endswith(seen.lstrip(b"/")), f"expected the leading part cut and said, saw {deep.get('flags')} {seen[:80]!r}"
        assert len(seen) > 2048, f"expected most of it, saw {len(seen)} bytes"


def test_every_line_is_json_and_text_has_no_control_bytes(sensor):
    """After all the tests above: one JSON object a line, and text that no terminal interprets. Of their container: what the machine's others do meanwhile may be a lot."""
    exec_of(sensor, spawn(sensor, b"/bin/true", [b"/bin/true", *NASTY]))
    for kind in (None, "exec", "open"):
        filters = ["--container", sensor.box.name, *(["--type", kind] if kind else [])]
        out = sensor.cli("events", "--json", *filters).stdout
        assert out.endswith("\n")
        for line in out[:-1].split("\n"):
            json.loads(line)
        raw = out.encode()
        assert not re.search(rb"[\x00-\x09\x0b-\x1f]", raw), "expected no control byte in JSON"
        text = sensor.cli("events", *filters).stdout
        bad = UNSAFE.search(text)
        assert not bad, f"expected text without control characters, saw {text[max(0, bad.start() - 60):bad.start() + 20]!r}"
        assert text.count("\n") >= out.count("\n"), "expected one line an event"


def test_different_bytes_stay_different(sensor):
    values = [b"\xff", b"\\xff", b"\\\\xff", "ÿ".encode(), b"\\u00ff", b"\n", b"\\n"]
    event = exec_of(sensor, spawn(sensor, b"/bin/true", [b"/bin/true", *values]))
    assert len(set(event["proc.args"][1:])) == len(values), f"expected seven different strings, saw {event['proc.args'][1:]}"
    assert [original(a) for a in event["proc.args"][1:]] == values
