"""A process that traces its child at each system call, leaves its control group before each, and lets the child go on whenever it stops: run in a container as `tracer.py FILE`. The child counts in FILE."""
import ctypes
import glob
import os
import signal
import sys
import time

SEIZE, INTERRUPT, SYSCALL = 0x4206, 0x4207, 24
WALL = 0x40000000

ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 4
ptrace.restype = ctypes.c_long


def count():
    n = 0
    while True:
        n += 1
        with open(sys.argv[1], "w") as f:
            f.write(str(n))
        time.sleep(0.01)


def leave():
    for path in glob.glob("/cg/cgroup.procs") + glob.glob("/cg/*/cgroup.procs"):  # what is not there would be made: on a hybrid machine /cg itself is no group
        try:
            with open(path, "w") as f:
                f.write(str(os.getpid()))
        except OSError:
            pass


for ignored in (signal.SIGTERM, signal.SIGHUP, signal.SIGCONT, signal.SIGTSTP):
    signal.signal(ignored, signal.SIG_IGN)
child = os.fork()
if not child:
    count()
if ptrace(SEIZE, child, 0, 0) or ptrace(INTERRUPT, child, 0, 0):
    sys.exit(f"cannot trace: {os.strerror(ctypes.get_errno())}")
while True:
    leave()
    _, status = os.waitpid(child, WALL)
    if not os.WIFSTOPPED(status):
        sys.exit(0)
    stop = os.WSTOPSIG(status)
    ptrace(SYSCALL, child, 0, 0 if status >> 16 or stop in (signal.SIGTRAP, signal.SIGSTOP) else stop)
