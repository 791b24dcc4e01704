# SPDX-License-Identifier: Apache-2.0
"""The HTTP server, over real sockets."""

import contextlib
import http.client
import socket
import threading
import time

import pytest

from services.exporter.http import (
    CONNECTION_S_MAX,
    CONNECTIONS_MAX,
    HttpServer,
    Response,
    _resolve,
    accepts_gzip,
)
from wattline.errors import Fatal

TIMEOUT_S = 20  # for what should take milliseconds, on a starved machine


class Clock:
    now_s = 1000.0

    def __call__(self):
        return self.now_s


def answer(path, *, gzip_accepted):
    if path == "/bug":
        raise ValueError("seven")
    if path == "/large":
        return Response(200, bytes(50_000_000))
    return Response(200, f"{path} {gzip_accepted}\n".encode(), headers={"X-Own": "1"})


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    threads = set(threading.enumerate())
    one = HttpServer("127.0.0.1:0", answer, clock)
    one.start()
    yield one
    one.close()
    assert set(threading.enumerate()) == threads


def ask(server, path="/", method="GET", **headers):
    """(status, headers, body)."""
    host, port = server.address.split(":")
    with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()


@contextlib.contextmanager
def raw(server, sent):
    """A connection that has sent these bytes and nothing more."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_S) as connection:
        connection.sendall(sent)
        yield connection


def everything_from(connection):
    """What comes until the other side closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def test_get(server):
    """A GET gets the answer for its path without the query, with its own headers."""
    status, headers, body = ask(server, "/a?b=/c")
    assert (status, body) == (200, b"/a False\n")
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Own"] == "1"
    assert "Python" not in headers["Server"]


def test_head_is_get_without_the_body(server):
    """A HEAD has the headers of a GET, the length too, and no body."""
    _, of_get, _ = ask(server, "/a")
    with raw(server, b"HEAD /a HTTP/1.0\r\n\r\n") as connection:
        head, _, body = everything_from(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert body == b""
    assert f"Content-Length: {of_get['Content-Length']}\r\n".encode() in head


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_other_methods_are_refused(server, method):
    """Nothing but GET and HEAD is possible, and the refusal says so."""
    status, headers, _ = ask(server, "/", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    "sent", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x00\xff \x01\r\n\r\n", b"GET / HTTP/9\r\n\r\n"]
)
def test_nonsense_is_survived(server, sent):
    """What is no request is refused or cut, and the next request is answered."""
    with raw(server, sent) as connection:
        assert not everything_from(connection).startswith(b"HTTP/1.0 200")
    assert ask(server)[0] == 200
    assert server.take_errors() == []


def test_endless_headers_are_refused(server):
    """Lines and headers beyond all measure are refused rather than collected."""
    for sent in (b"GET /" + b"a" * 70_000, b"GET / HTTP/1.0\r\n" + b"a: b\r\n" * 1000 + b"\r\n"):
        with raw(server, sent) as connection:
            assert everything_from(connection)[9:12] in (b"414", b"431", b"")
    assert ask(server)[0] == 200


def test_slow_clients_block_nobody(server):
    """While some connections have said nothing or only half, a scraper is answered."""
    with contextlib.ExitStack() as stack:
        for sent in (b"", b"GET", b"GET / HTTP/1.1\r\nHost: a\r\n"):
            stack.enter_context(raw(server, sent))
        assert ask(server)[0] == 200


def test_slow_reader_blocks_nobody(server):
    """While one connection doesn't take its answer, a scraper gets the same."""
    with raw(server, b"GET /large HTTP/1.0\r\n\r\n"):
        assert len(ask(server, "/large")[2]) == 50_000_000


def test_too_many_connections_cut_the_oldest(server):
    """However many connections say nothing, a scraper is answered, at the cost of the oldest."""
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(raw(server, b"GET")) for _ in range(CONNECTIONS_MAX + 5)]
        assert ask(server)[0] == 200
        assert server.cut_off >= 5
        assert everything_from(silent[0]) == b""
        silent[-1].sendall(b" /late HTTP/1.0\r\n\r\n")
        assert everything_from(silent[-1]).endswith(b"/late False\n")


def test_slow_connection_is_cut(server, clock):
    """A connection that takes too long is cut, however busy it keeps us with single bytes."""
    with raw(server, b"GET /") as connection:
        assert ask(server)[0] == 200  # so that the server has surely seen the first
        clock.now_s += CONNECTION_S_MAX
        assert everything_from(connection) == b""
    assert server.cut_off == 1
    assert ask(server)[0] == 200


def test_bug_is_an_error_not_silence(server):
    """If making the answer fails, the client gets a 500 and the loop gets the cause, once."""
    status, _, body = ask(server, "/bug")
    assert status == 500
    assert b"seven" not in body
    assert server.take_errors() == ["ValueError: seven (asked for '/bug')"]
    assert server.take_errors() == []
    assert ask(server)[0] == 200


def test_answers_are_counted(server):
    """Answers are counted by their status."""
    for path in ("/a", "/a", "/bug"):
        ask(server, path)
    ask(server, "/a", "POST")
    assert server.responses == {200: 2, 500: 1, 405: 1}


def test_taken_port_is_fatal(server):
    """A second exporter on one address ends with a message that names the address and a cure."""
    with pytest.raises(Fatal, match="already in use") as caught:
        HttpServer(server.address, answer)
    assert server.address in str(caught.value)
    assert "--web.listen-address" in str(caught.value)


def test_foreign_address_is_fatal():
    """An address that this machine hasn't got can't be listened on (192.0.2.0/24 is nobody's: RFC 5737)."""
    with pytest.raises(Fatal, match=r"cannot listen on 192\.0\.2\.1:0"):
        HttpServer("192.0.2.1:0", answer)


def test_name_without_address_is_a_wrong_setting():
    """A host that has no address is a wrong setting."""
    with pytest.raises(Fatal, match="is no address of this machine") as caught:
        HttpServer("a..b:0", answer)
    assert caught.value.exit_code == Fatal.SETTINGS


def test_no_host_means_every_address():
    """Without a host it listens on every address, IPv6's and IPv4's where there are both."""
    assert _resolve(":7") in ((socket.AF_INET6, ("::", 7)), (socket.AF_INET, ("0.0.0.0", 7)))  # noqa: S104
    assert _resolve("[::1]:7")[0] == socket.AF_INET6


def test_close_frees_the_port(server):
    """After closing, open connections have ended and the address can be listened on again."""
    with raw(server, b"GET") as connection:
        assert ask(server)[0] == 200
        # The answered one is over for us a moment before it is for its thread.
        deadline_s = time.monotonic() + 10
        while len(server._server._open) > 1 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        server.close()
        assert everything_from(connection) == b""
        assert server.cut_off == 1
        assert not server.alive
        HttpServer(server.address, answer).close()


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("GZIP", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("br;q=1", False),
        ("gzip;q=0, *", False),
    ],
)
def test_accept_encoding(header, accepted):
    """Gzip is used if the header names it, or all, without refusing it."""
    assert accepts_gzip(header) is accepted
