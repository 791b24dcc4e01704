# SPDX-License-Identifier: Apache-2.0
"""A fresh Debian in a directory, on this machine's kernel: what a newcomer has before the README."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.machine.debian import base, pip_configuration

_CERTIFICATES = "/etc/ssl/certs/host.pem"
# Mounts of its own; the host's processes, network and kernel. Shared memory and eBPF pins are its own, so
# that the defaults can be used. pivot_root, since some programs refuse to work in a chroot.
_ENTER = """
set -eu
mount --bind "$1" "$1"
for part in proc sys dev; do mount --rbind "/$part" "$1/$part"; done
mount -t tmpfs -o mode=1777 shm "$1/dev/shm"
mount -t bpf -o mode=0700 bpf "$1/sys/fs/bpf"
mount -t tmpfs -o mode=755 run "$1/run"
mkdir -p "$1/.old"
cd "$1"
pivot_root . .old
umount -l /.old
echo entered
exec sleep infinity
"""
USER = "alice"


class FreshRoot:
    """`with FreshRoot("bookworm") as root`: removed at the end, with all that runs in it."""

    def __init__(self, suite: str) -> None:
        self._suite = suite

    def __enter__(self) -> Self:
        self.path = Path(tempfile.mkdtemp(prefix=f"wl-{os.getpid()}-{self._suite}-", dir="/var/tmp"))
        self.path.chmod(0o755)
        try:
            self._unpack()
            self._holder = subprocess.Popen(
                ["unshare", "--mount", "--propagation=private", "sh", "-c", _ENTER, "enter", str(self.path)],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._holder.stdout.readline() == "entered\n"
            self.install("git", "make", "sudo", "ca-certificates")
            self._add_user()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        if hasattr(self, "_holder"):
            self._holder.kill()
            self._holder.wait()
            self._holder.stdout.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def _unpack(self) -> None:
        subprocess.run(["tar", "-C", str(self.path), "-xf", str(base(self._suite))], check=True)
        for name in ("resolv.conf", "hosts"):
            shutil.copyfile(f"/etc/{name}", self.path / "etc" / name)
        text, certificate = pip_configuration(_CERTIFICATES)
        (self.path / "etc/pip.conf").write_text(text, encoding="utf-8")
        if certificate is not None:
            target = self.path / _CERTIFICATES.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(certificate, target)

    def _add_user(self) -> None:
        """An ordinary user with sudo, whose home only the user may enter."""
        self.run("useradd", "--create-home", "--shell", "/bin/sh", USER)
        (self.path / "home" / USER).chmod(0o700)
        rule = self.path / "etc/sudoers.d" / USER
        rule.write_text(f"{USER} ALL=(ALL:ALL) NOPASSWD: ALL\n", encoding="ascii")
        rule.chmod(0o440)

    def command(
        self, words: Sequence[str], *, user: str = "root", umask: str = "022", cwd: str = "/"
    ) -> list[str]:
        """What runs a command in it. Web port 0: the kernel chooses a free one."""
        home = "/root" if user == "root" else f"/home/{user}"
        environment = [
            f"HOME={home}",
            f"USER={user}",
            "LANG=C.UTF-8",
            f"PATH={home}/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "WATTLINE_WEB_LISTEN_ADDRESS=127.0.0.1:0",
            f"SSL_CERT_FILE={_CERTIFICATES}",
            "DEBIAN_FRONTEND=noninteractive",
        ]
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        shell = ["sh", "-c", f'umask {umask} && cd {cwd} && exec "$@"', "sh", *words]
        inside = ["nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt", "env", "-i", *environment]
        return [*inside, *become, *shell]

    def run(self, *words: str, **where: str) -> str:
        """Run to its end; its output. Fails the test if it fails."""
        result = subprocess.run(
            self.command(words, **where),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == 0, f"{words} ended with {result.returncode}:\n{result.stdout[-4000:]}"
        return result.stdout

    def install(self, *packages: str) -> None:
        """Install Debian packages."""
        self.run("apt-get", "update", "-q")
        self.run("apt-get", "install", "-qy", "--no-install-recommends", *packages)

    @contextlib.contextmanager
    def started(self, log: Path, *words: str, **where: str) -> Iterator[subprocess.Popen]:
        """Run in the background, with its output in a file; ended at the end if it still runs."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command(words, **where),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(30)
