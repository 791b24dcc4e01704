# SPDX-License-Identifier: Apache-2.0
"""The filter in the kernel: what a confined process can do, and what it gets told."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from wattline.confine import seccomp
from wattline.confine.limits import filter_calls
from wattline.confine.system_calls import SERVICE
from wattline.log import Log

ROOT = Path(__file__).parents[2]

_CONFINED = """
from tests.confine.told import told
import faulthandler, os, signal, socket, subprocess, sys, threading
from wattline.confine import capabilities, seccomp, system_calls
begun, go_on = threading.Event(), threading.Event()
seen = []
def early():
    begun.set()
    go_on.wait()
    seen.append(open("/proc/thread-self/status").read())
thread = threading.Thread(target=early)
thread.start()
begun.wait()
capabilities.keep_only([])
seccomp.allow_only(system_calls.SERVICE)
go_on.set()
thread.join()
"""


_ZEROMQ = """
import msgspec, zmq
context = zmq.Context()
listening, connecting = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
place = f"ipc:///dev/shm/wl-{os.getpid()}-confined"
listening.bind(place)
connecting.connect(place)
connecting.send(msgspec.msgpack.encode(21))
print(msgspec.msgpack.decode(listening.recv()))
context.destroy(linger=0)
if os.path.exists(place[6:]):
    os.unlink(place[6:])
"""


def confined(code):
    """The output of a program that goes on confined, after the thread `early` was started."""
    done = subprocess.run(
        [sys.executable, "-c", _CONFINED + code], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("subprocess.run(['/bin/true'])", "EPERM"),
        ("os.execv('/bin/true', ['true'])", "EPERM"),
        ("os.fork()", "EPERM"),
        ("socket.socket(socket.AF_INET)", "EPERM"),
        ("socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", "EPERM"),
        ("socket.socket(socket.AF_UNIX)", "done"),
        ("os.kill(1, 15)", "EPERM"),
        ("os.kill(1, 0)", "done"),
        ("os.mknod('/dev/shm/node')", "EPERM"),
        ("os.chroot('/')", "EPERM"),
        ("os.symlink('/etc/shadow', '/dev/shm/link')", "EPERM"),
        ("os.chown('/dev/null', 0, 0)", "EPERM"),
        ("os.setuid(0)", "EPERM"),
        ("open('/etc/passwd').close()", "done"),
        ("os.listdir('/')", "done"),
        ("threading.Thread(target=print).start()", "done"),
        ("signal.setitimer(signal.ITIMER_REAL, 60)", "done"),
        ("faulthandler.dump_traceback_later(60, file=sys.stderr)", "done"),
    ],
)
def test_a_denied_call_is_an_error_and_no_kill(action, expected):
    """EPERM for what no service needs; files, threads and its own sockets go on working."""
    assert confined(f"print(told(lambda: {action}))")[-1] == expected


def test_threads_that_were_there_are_filtered_too():
    """Each thread, whichever was first, has the filter."""
    words = confined("print(seen[0])")
    assert words[words.index("Seccomp:") + 1] == "2"


@pytest.mark.parametrize(
    "code",
    ["import numpy; print(int(numpy.unique(numpy.arange(1000) % 7).sum()))", _ZEROMQ],
)
def test_libraries_work_that_are_imported_late(code):
    """numpy and ZeroMQ, whose threads set their own scheduling, loaded and used under the filter."""
    assert confined(code)[-1] == "21"


def test_where_it_cannot_be_had_one_warning_says_so(monkeypatch):
    """An architecture without a table: the service goes on."""
    monkeypatch.setattr(seccomp.os, "uname", lambda: type("Uname", (), {"machine": "riscv64"}))
    said = io.StringIO()
    filter_calls(Log("power", stream=said), SERVICE)
    (line,) = said.getvalue().splitlines()
    assert "WARNING power no_seccomp" in line
    assert "no table of system calls for riscv64" in line


def test_a_kernel_that_refuses_is_quoted(monkeypatch):
    """As inside of a container whose own filter forbids it."""

    def refuse(*_arguments):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(seccomp, "syscall", refuse)
    with pytest.raises(seccomp.Unfiltered, match="Operation not permitted"):
        seccomp.allow_only(SERVICE)
