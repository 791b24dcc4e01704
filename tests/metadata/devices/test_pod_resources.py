# SPDX-License-Identifier: Apache-2.0
"""The thread that asks the kubelet's socket, against gRPC's own server and against its faults."""

import contextlib
import socket
import subprocess
import sys
import threading
import time

import grpc
import pytest

from services.metadata.cluster import pod_resources
from services.metadata.cluster.held_devices import ANSWER_BYTES_MAX, HeldDevice
from services.metadata.cluster.pod_resources import PodResources

from .kubelet import Kubelet, container, part, plugin, pod, until

GPU = "nvidia.com/gpu"
ONE = pod("train-0", "shop", container("main", plugin(GPU, "GPU-1")))
HELD = (HeldDevice("train-0", "shop", "main", GPU, ("GPU-1",)),)


class Asker:
    """A source under test, what it has counted, and a clock that a test can put on."""

    def __init__(self, path, answer_s: float = 5.0) -> None:
        self.counted: list[tuple[str, str]] = []
        self.later_s = 0.0
        self.source = PodResources(
            str(path),
            lambda event, cause: self.counted.append((event, str(cause))),
            period_s=0.02,
            answer_s=answer_s,
            clock=lambda: time.monotonic() + self.later_s,
        )

    def reason(self) -> str:
        """Why it is down, once it says so."""
        until(lambda: self.source.state().reason not in ("", pod_resources.NO_ANSWER_YET))
        return self.source.state().reason


@pytest.fixture
def asker(tmp_path):
    """Makes sources for the socket, and closes them."""
    made: list[Asker] = []

    def make(**options) -> Asker:
        made.append(Asker(tmp_path / "kubelet.sock", **options))
        return made[-1]

    yield make
    for one in made:
        one.source.close()
        assert not one.source._thread.is_alive()


@pytest.fixture
def kubelet(tmp_path):
    """A kubelet that isn't started yet."""
    one = Kubelet(tmp_path / "kubelet.sock")
    yield one
    one.stop()


@pytest.fixture
def raw(tmp_path):
    """Starts a server of plain bytes: each connection is given to a function."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "kubelet.sock"))
    threads = []

    def start(serve) -> None:
        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        serve(connection)

        listener.listen()
        threads.append(threading.Thread(target=accept))
        threads[0].start()

    start.listener = listener
    yield start
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_devices_of_a_real_server(kubelet, asker):
    """They come through gRPC's own server, again and again; the same object while nothing changes."""
    kubelet.answer = ONE
    kubelet.start()
    one = asker()
    until(lambda: one.source.state().up)
    held = one.source.devices()
    assert held == HELD
    asked = kubelet.asked
    until(lambda: kubelet.asked >= asked + 2)
    assert one.source.devices() is held
    kubelet.answer = b""
    until(lambda: one.source.devices() == ())
    assert one.source.state().up
    assert one.counted == []


@pytest.mark.parametrize(
    "status", [code for code in grpc.StatusCode if code != grpc.StatusCode.OK], ids=lambda code: code.name
)
def test_every_status_is_said(kubelet, asker, status):
    """By gRPC's word, with the server's own."""
    kubelet.reply = lambda context: context.abort(status, "so it is")
    kubelet.start()
    one = asker()
    assert f"kubelet.sock: {status.name}: so it is" in one.reason()
    assert one.counted[0] == ("pod_resources_refused", one.reason())


@pytest.mark.parametrize("wrong", [{"service": "v1alpha1.PodResourcesLister"}, {"method": "Get"}])
def test_an_older_kubelet(tmp_path, asker, wrong):
    """A server without this service or method: UNIMPLEMENTED, with the cure."""
    older = Kubelet(tmp_path / "kubelet.sock", **wrong).start()
    one = asker()
    assert "UNIMPLEMENTED" in one.reason()
    assert "1.20" in one.reason()
    older.stop()


def test_large_answers(kubelet, asker):
    """The largest is read, through many windows of flow control; one byte more is refused."""
    padding = ANSWER_BYTES_MAX - len(ONE) - 4
    kubelet.answer = ONE + part(9, bytes(padding))
    assert len(kubelet.answer) == ANSWER_BYTES_MAX
    kubelet.start()
    one = asker()
    until(lambda: one.source.state().up)
    assert one.source.devices() == HELD
    kubelet.answer += b"\x0a"
    assert f"at most {ANSWER_BYTES_MAX} bytes" in one.reason()
    assert one.counted[0][0] == "pod_resources_bad_answer"
    kubelet.answer = bytes(3_000_000)
    until(lambda: len(one.counted) > 5 or one.source.state() is None)
    assert f"at most {ANSWER_BYTES_MAX} bytes" in one.reason()
    assert one.source.devices() == HELD


def test_a_message_that_is_no_list(kubelet, asker):
    """Of gRPC, but of something else."""
    kubelet.answer = b"\x0a\xff"
    kubelet.start()
    one = asker()
    assert "expected a list of pods' resources: expected the rest of a number" in one.reason()


def test_a_kubelet_that_restarts(kubelet, asker):
    """Meanwhile the source is down, and its devices are known for a minute; then it goes on by itself."""
    kubelet.answer = ONE
    kubelet.start()
    one = asker()
    until(lambda: one.source.state().up)
    kubelet.stop()
    assert "does a kubelet run here?" in one.reason()
    assert one.source.devices() == HELD
    one.later_s = pod_resources.KEPT_S + 1
    assert one.source.devices() == ()
    kubelet.start()
    until(lambda: one.source.state().up)
    assert one.source.devices() == HELD


def test_a_kubelet_that_hangs(kubelet, asker):
    """After its deadline the call is given up and made anew; the loop never waits."""
    go_on = threading.Event()
    kubelet.reply = lambda _context: ONE if go_on.wait(10) else b""
    kubelet.start()
    one = asker(answer_s=0.2)
    until(lambda: kubelet.asked)
    began_s = time.monotonic()
    one.source.state()
    one.source.devices()
    assert time.monotonic() - began_s < 0.1
    # gRPC's server itself ends the call at the deadline that it was told, if it is the first to see it.
    assert "no answer within 0.2 s" in one.reason() or "DEADLINE_EXCEEDED" in one.reason()
    go_on.set()
    until(lambda: one.source.state().up)


def test_close_while_a_kubelet_hangs(kubelet, asker):
    """The thread ends at once, not at the deadline."""
    go_on = threading.Event()
    kubelet.reply = lambda _context: ONE if go_on.wait(10) else b""
    kubelet.start()
    one = asker(answer_s=30)
    until(lambda: kubelet.asked)
    began_s = time.monotonic()
    one.source.close()
    assert time.monotonic() - began_s < 0.5
    assert not one.source._thread.is_alive()
    assert one.counted == []
    go_on.set()


def test_close_between_two_calls(kubelet, tmp_path):
    """It doesn't wait for the next one."""
    kubelet.start()
    source = PodResources(str(tmp_path / "kubelet.sock"), lambda *_: None, period_s=60)
    until(lambda: source.state().up)
    began_s = time.monotonic()
    source.close()
    assert time.monotonic() - began_s < 0.5
    assert not source._thread.is_alive()


def replying(data: bytes):
    """A server that reads the call and says this."""

    def serve(connection: socket.socket) -> None:
        assert connection.recv(65536).startswith(b"PRI * HTTP/2.0")
        connection.sendall(data)

    return serve


def drip(connection: socket.socket) -> None:
    """Pings, one byte at a time, for ever."""
    ping = b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)
    connection.sendall(b"\0\0\0\x04\0\0\0\0\0")
    tick = threading.Event()
    while True:
        for at in range(len(ping)):
            connection.sendall(ping[at : at + 1])
            tick.wait(0.005)


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        # h2 takes this for the head of a frame of 4.7 MB, and waits for the rest.
        (replying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), ["closed before"]),
        (replying(b"\xff" * 2_000_000), [f"at most {ANSWER_BYTES_MAX} bytes", "closed before"]),
        (replying(bytes(5000)), ["expected HTTP/2"]),
        (lambda connection: connection.recv(10), ["closed before", "reset by peer"]),
        (lambda connection: connection.close(), ["closed before", "reset by peer"]),
        (drip, ["no answer within 0.3 s"]),
    ],
    ids=["http1", "endless", "zeros", "cut", "closed", "drip"],
)
def test_a_server_of_something_else(raw, asker, serve, said):
    """Each is said, and given up at the deadline at the latest."""
    raw(serve)
    one = asker(answer_s=0.3)
    assert any(word in one.reason() for word in said), one.reason()
    assert one.counted[0][0] in ("pod_resources_bad_answer", "pod_resources_unreachable")


def test_no_socket(tmp_path, asker):
    """Nothing there; then a file that is none; then a socket that nothing listens at."""
    one = asker()
    assert "No such file or directory: does a kubelet run here?" in one.reason()
    path = tmp_path / "kubelet.sock"
    path.write_text("")
    until(lambda: "the kubelet isn't running" in one.reason())
    path.unlink()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))
        until(lambda: "Connection refused" in one.reason())


def test_a_full_queue(raw, asker):
    """A listener that accepts nothing any more doesn't hold up the thread."""
    raw.listener.listen(0)
    with socket.socket(socket.AF_UNIX) as first:
        first.connect(raw.listener.getsockname())
        one = asker(answer_s=30)
        assert "it takes no more connections" in one.reason()


def test_another_user_may_not(tmp_path):
    """A user who may not open the socket is told so."""
    code = (
        "import os, sys, time\n"
        "import h2.config, h2.connection, h2.events\n"
        "from services.metadata.cluster.pod_resources import PodResources\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "source = PodResources(sys.argv[1], lambda *_: None)\n"
        "end = time.monotonic() + 20\n"
        "while source.state().reason == 'no answer yet' and time.monotonic() < end: time.sleep(0.01)\n"
        "print(source.state().reason)\n"
    )
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "kubelet.sock"))
        tmp_path.chmod(0o700)
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "kubelet.sock")],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert "Permission denied: the socket is root's, and user 65534 may not open it" in done.stdout, done


def test_without_the_package(asker, monkeypatch):
    """The cure is said."""
    monkeypatch.setitem(sys.modules, "h2", None)
    for name in [name for name in sys.modules if name.startswith("h2.")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install 'wattline[kubernetes]'" in asker().reason()


def test_an_unexpected_error(kubelet, asker, monkeypatch):
    """The thread outlives it."""
    monkeypatch.setattr(pod_resources, "read_answer", lambda _answer: 1 // 0)
    kubelet.start()
    one = asker()
    assert "unexpected ZeroDivisionError" in one.reason()
    monkeypatch.undo()
    until(lambda: one.source.state().up)
