"""The hijack and kill: in through a hole of the shop, into another process, out to the node, a rootkit planted, the container killed. `./dev demo --attack` plays it once and prints what Bulkhead tells of it.

All of it is harmless: the node's process that is written to is a sleep of the demo, what is planted goes into a directory of the demo that the container sees as the node's root.
"""
import json
import pathlib
import shutil
import subprocess
import tempfile
import time

HELD = 60  # seconds to wait for the story


class Attack:
    """Made before the shop: .overrides are what its api needs to be a container that can be escaped from, as too many are."""

    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="bulkhead-demo-node-"))
        (self.root / "etc" / "cron.d").mkdir(parents=True)
        self.victim = subprocess.Popen(["sleep", "100000"], stdin=subprocess.DEVNULL)
        self.overrides = {"api": {"HostConfig": {"PidMode": "host", "CapAdd": ["SYS_PTRACE", "SYS_ADMIN"], "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"], "Binds": [f"{self.root}:/host"]}}}

    def close(self):
        self.victim.kill()
        self.victim.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    def steps(self):
        """(what an attacker does, the command that goes through the hole)"""
        return [
            ("in through the command injection, and a look around", "id; cat /etc/shadow >/dev/null"),
            ("code into another process", "sleep 5 & dd if=/dev/zero of=/proc/$!/mem bs=1 count=1 conv=notrunc 2>/dev/null; true"),
            ("a tool of the attacker's is dropped and run", "cp /bin/true /usr/local/bin/.kit; /usr/local/bin/.kit"),
            ("out of the container: into a process of the node", f"dd if=/dev/zero of=/proc/{self.victim.pid}/mem bs=1 count=1 conv=notrunc 2>/dev/null; true"),
            ("the rootkit: a job and a library for every program of the node", "echo '* * * * * root /x' >/host/etc/cron.d/kit; echo /x.so >/host/etc/ld.so.preload"),
        ]

    def play(self, shop, say):
        """Gives the name of the container that was killed."""
        hit = None
        for what, command in self.steps():
            say(f"attack: {what}")
            hit = shop.exploit_command_injection(command)
        info = shop.engine.call("GET", f"/containers/{hit.container}/json")
        say("attack: the container is killed and removed")
        shop.engine.remove(f"/containers/{info['Id']}", force="true", v="true")
        shop.form.again("shop", "api")
        return info["Name"].lstrip("/")


def story(bulkhead, container, stop):
    """What `bulkhead incident` says of it, and its number; None: nothing within HELD seconds."""
    argv = [bulkhead.program, "--run-dir", str(bulkhead.run_dir)]
    end = time.monotonic() + HELD
    while time.monotonic() < end and not stop.wait(0.5):
        listed = subprocess.run([argv[0], "incidents", "--json", "--container", container, *argv[1:]], capture_output=True, text=True, check=False)
        found = [json.loads(line) for line in listed.stdout.splitlines()]
        # the last act is in it
        if found and "persistence" in found[0]["tactics"]:
            told = subprocess.run([argv[0], "incident", str(found[0]["id"]), *argv[1:]], capture_output=True, text=True, check=False)
            return told.stdout, found[0]["id"]
    return None
