#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hijack.py BUILD: an engine of its own with a container that is attacked and a neighbour of it, for the tests of pages. It says {"docker": SOCKET}, then answers each line of its standard input with
one of JSON:

    containers      starts both, and tells them; each visits a server on this node, a few times a second
    visits          how often each has been there
    begin           in by the web server; code into another process; a tool is dropped and run
    end OPTIONS     out to the node (OPTIONS: how its control groups are mounted), a rootkit planted there, the container killed and removed

Nothing of the node is changed: what is planted lands in a mount namespace that is thrown away. All of it ends with the standard input.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading

sys.dont_write_bytecode = True
for d in ("integration", "attacks"):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / d))

from boxes import Box  # noqa: E402
from docker_env import DockerEnv, die_with_parent, wait_for  # noqa: E402
from test_attacks import OUT, SHELL  # noqa: E402
from test_rules_default import IMAGE, KINDS, make_image  # noqa: E402

SCRATCH = "for d in /etc/cron.d; do mount -t tmpfs none $d; done; exec sleep 900"


class Server:
    """Counts who comes."""

    def __init__(self, address):
        self.socket, self.visits = socket.create_server((address, 0)), 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                self.socket.accept()[0].close()
                self.visits += 1
            except ConnectionError:
                self.visits += 1
            except OSError:
                return


class Play:
    def __init__(self, build, stack):
        self.stack = stack
        self.docker = stack.enter_context(DockerEnv())
        make_image(self.docker, build)
        # whose /etc the attacker writes to
        self.node = subprocess.Popen(["unshare", "-m", "sh", "-ec", f"mount -t tmpfs none /run; mkdir -p /run/e /run/w; mount -t overlay -o lowerdir=/etc,upperdir=/run/e,workdir=/run/w none /etc; {SCRATCH}"],
                                     stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        stack.callback(self.node.wait)
        stack.callback(self.node.kill)
        self.boxes, self.servers = {}, {}

    def containers(self):
        for name, kind in (("web", "mighty"), ("db", "plain")):
            server = self.servers[name] = Server(self.docker.subnet.replace(".0/24", ".1"))
            labels = ["--label", f"com.docker.compose.project=hijack-{self.docker.tag}", "--label", f"com.docker.compose.service={name}"]
            box = self.boxes[name] = Box(self.docker, f"{name}-{self.docker.tag}", *labels, *KINDS[kind], image=IMAGE)
            self.stack.callback(box.close)
            box.start("(while :; do /usr/bin/visit far {}:{}; sleep 0.3; done) &".format(*server.socket.getsockname()))
        # a browser drops its connections when an address changes, and new interfaces get theirs a second or two later
        wait_for(lambda: (lambda told: (not told, told))(subprocess.run(["ip", "-6", "-o", "addr", "show", "tentative"], capture_output=True, text=True, check=True).stdout), 20, "interfaces have their addresses")
        return {name: {"id": b.id, "name": b.name} for name, b in self.boxes.items()}

    def visits(self):
        return {name: s.visits for name, s in self.servers.items()}

    def begin(self):
        for command in (SHELL, "/acts --dir /tmp process_vm.writev", "cp /bin/busybox /opt/kit; /opt/kit true"):
            self.boxes["web"].run(command, ok=None)
        return {}

    def end(self, *options):
        out = OUT % "echo x >/etc/cron.d/bh-kit; echo x >/etc/ld.so.preload"
        self.boxes["web"].run(out.format(cgroup=" ".join(options), node=self.node.pid), ok=None)
        self.docker.remove(self.boxes["web"].name)
        return {}


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with contextlib.ExitStack() as stack:
        play = Play(pathlib.Path(sys.argv[1]).resolve(), stack)
        print(json.dumps({"docker": f"{play.docker.dir}/docker.sock"}), flush=True)
        for line in sys.stdin:
            name, *words = line.split()
            print(json.dumps({"containers": play.containers, "visits": play.visits, "begin": play.begin, "end": play.end}[name](*words)), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
