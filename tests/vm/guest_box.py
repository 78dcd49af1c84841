"""Inside a VM: containers without a runtime. A root of its own on an overlay, namespaces and a cgroup named as engines name theirs: what the kernel programs see of one is the same."""
import io
import os
import pathlib
import shutil
import subprocess
import tarfile

import docker_env

CGROUPS = pathlib.Path("/sys/fs/cgroup")
# $1: the box's directory, $2: the image's, $3: kind; then the command. What is mounted goes with the mount namespace.
ENTER = r"""
set -e
mount -t overlay -o lowerdir=$2,upperdir=$1/upper,workdir=$1/work overlay $1/root
cd $1/root
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
ln -s /proc/self/fd dev/fd
mkdir -p ctl .old
mount --bind $1/ctl ctl
case $3 in
tmpfs) mount -t tmpfs tmpfs tmp;;
mighty) mkdir host; mount --bind / host;;
esac
shift 3
pivot_root . .old
exec chroot . /bin/busybox env -i PATH=/bin /bin/busybox sh -c 'umount -l /.old; exec "$@"' sh "$@"
"""
LOOP = 'while read -r n line; do sh -c "$line" >/ctl/out.$n 2>/ctl/err.$n; echo $? >/ctl/status.$n; done </ctl/in'


def make_image(where, files):
    """The image's files, unpacked: the lower layer of all boxes."""
    where.mkdir()
    with tarfile.open(fileobj=io.BytesIO(docker_env.make_base_image_tar(files))) as tar:
        tar.extractall(where)
    return where


class GuestBox:
    """A container with a shell in it that runs what it is told, as boxes.Box; with a command it runs that, and ends."""

    def __init__(self, base, image, kind, ident, command=None):
        self.id, self.kind = ident, kind
        self.dir = base / f"box-{kind}-{ident[:4]}"
        for name in ("upper", "work", "root", "ctl"):
            (self.dir / name).mkdir(parents=True)
        os.mkfifo(self.dir / "ctl" / "in")
        self._in = os.open(self.dir / "ctl" / "in", os.O_RDWR | os.O_CLOEXEC)
        self._n = 0
        self.cgroup = CGROUPS / "docker" / ident
        self.cgroup.mkdir(parents=True, exist_ok=True)

        def enter():
            (self.cgroup / "cgroup.procs").write_text("0")
        argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", ENTER, "sh", self.dir, image, kind]
        self.proc = subprocess.Popen([*map(str, argv), *(command or ["sh", "-c", LOOP])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=enter)

    def run(self, command, deadline=60):
        self._n += 1
        os.write(self._in, f"{self._n} {command}\n".encode())
        status = self.dir / "ctl" / f"status.{self._n}"

        def ended():
            assert self.proc.poll() is None, f"the box {self.kind} ended: {self.proc.stdout.read()!r}"
            return status.exists() and status.read_text().endswith("\n")
        docker_env.wait_for(ended, deadline, f"command {command!r} in the box {self.kind} ends", every=0.02)

    def close(self):
        self.proc.kill()  # unshare does not heed SIGTERM; its child, the first process of the namespace, dies with it, and all others with that
        self.proc.wait(10)
        self.proc.stdout.close()
        os.close(self._in)
        docker_env.wait_for(self._removed, 10, f"the cgroup {self.cgroup} can be removed", every=0.05)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _removed(self):
        try:
            self.cgroup.rmdir()
            return True
        except OSError:
            return False
