"""An archive of evidence on a busy node: all that was asked for is listed, and the part of the chain that it has is whole by itself."""
import ctypes
import hashlib
import io
import json
import pathlib
import re
import subprocess
import tarfile
import time

import pytest
import sensor_env
from central_env import Central, proto

sodium = ctypes.CDLL("libsodium.so.23")
ITEMS = 3000
WANTED = range(500, 2500)  # more than a page of the API


class Chain:
    """Signed lines as a node writes them; its keys are not made from one another, which nobody can see."""

    def __init__(self, node):
        self.node, self.seq, self.prev = node, 0, ""
        self.key = self.name = None
        self.new_key()
        self.name = self.key[0]

    def new_key(self):
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        assert sodium.crypto_sign_keypair(public, secret) == 0
        old, self.key = self.key, (public.raw.hex(), secret.raw)
        return old

    def line(self, kind, **facts):
        self.seq += 1
        public, secret = self.new_key()
        text = json.dumps({"v": 1, "chain": self.name, "seq": self.seq, "time_ns": time.time_ns(), "node": self.node, "prev": self.prev, "key": public, "next": self.key[0], "kind": kind, **facts},
                          separators=(",", ":"))
        signature = ctypes.create_string_buffer(64)
        message = b"bulkhead-evidence-1\n" + text.encode()
        assert sodium.crypto_sign_detached(signature, None, message, ctypes.c_ulonglong(len(message)), secret) == 0
        line = f"{text} {signature.raw.hex()}"
        self.prev = hashlib.sha256(line.encode()).hexdigest()
        return line


@pytest.fixture
def central():
    with Central() as c:
        yield c


def members(body):
    tar = tarfile.open(fileobj=io.BytesIO(body))
    return {m.name: tar.extractfile(m).read() for m in tar}


def verify(*args):
    return subprocess.run([sensor_env.program(sensor_env.build_dir(), "bulkhead"), "evidence", "verify", *map(str, args)], capture_output=True, text=True, timeout=60)


def test_an_archive_lists_all_and_its_part_of_the_chain_is_whole(central, tmp_path):
    assert sodium.sodium_init() >= 0
    node, root, chain = central.node("node-1"), central.root(), Chain("node-1")
    for n in range(ITEMS):
        of = "wanted" if n + 1 in WANTED else "other"
        node.publish("evidence", proto(f1=chain.line("process", container={"id": of, "name": of}, why="a test")))
        if n % 500 == 499:
            node.wait_acked(deadline=60)
    heads = tmp_path / "heads"
    heads.write_bytes(root.get("/api/v1/evidence/heads").body)

    answer = root.get("/api/v1/evidence/export?container=wanted")
    assert answer.status == 200, answer
    files = members(answer.body)
    manifest = json.loads(files["manifest.json"])
    assert [i["seq"] for i in manifest["items"]] == list(reversed(WANTED)) and not manifest["more_items"] and manifest["max_items"] >= len(WANTED) and manifest["chains_in_parts"] == 0, manifest
    lines = files["log"].decode().splitlines()
    assert [json.loads(x.rsplit(" ", 1)[0])["seq"] for x in lines] == list(range(WANTED[0], ITEMS + 1)), len(lines)
    archive = tmp_path / "x.tar"
    archive.write_bytes(answer.body)
    for more in ((), ("--heads", heads)):
        done = verify(archive, *more)
        assert done.returncode == 0 and "whole" in done.stdout and f"from item {WANTED[0]} on" in done.stdout, done
    # what somebody takes out of it is found, and heads that were kept elsewhere find the end that is cut off
    for gone, more, found in ((700, (), "removed"), (len(lines) - 1, ("--heads", heads), "truncated")):
        log = ("\n".join(lines[:gone] + lines[gone + 1:]) + "\n").encode()
        bad = tmp_path / "bad.tar"
        with tarfile.open(bad, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, data in {**files, "log": log}.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        done = verify(bad, *more)
        assert done.returncode == 1 and found in done.stdout, done

    # what the documentation gives to verify it without Bulkhead
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    text = (pathlib.Path(sensor_env.REPO) / "docs" / "evidence.md").read_text()
    program = re.search(r"```python\n(.*?)```", text, re.S)[1]
    done = subprocess.run(["/usr/bin/python3", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    (tmp_path / "log").write_text("\n".join(lines[:700] + lines[701:]) + "\n")
    done = subprocess.run(["/usr/bin/python3", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "removed" in done.stderr, done
