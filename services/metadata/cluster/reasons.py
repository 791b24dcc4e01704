# SPDX-License-Identifier: Apache-2.0
"""Errors of sockets, TLS and HTTP in words. Pure."""

import http.client
import socket

from .access import Server

_RETRY_AFTER_S_MAX = 30


def cause_of(error: BaseException) -> BaseException:
    """The error of a socket or of HTTP below urllib3's own."""
    seen = [error]
    while True:
        here = seen[-1]
        inner = [one for one in (*here.args, here.__cause__, here.__context__) if isinstance(one, Exception)]
        inner = [one for one in inner if one not in seen]
        if isinstance(here, OSError) or not inner:
            return here
        seen.append(inner[0])


def is_timeout(error: BaseException) -> bool:
    """Whether time was up."""
    return isinstance(cause_of(error), TimeoutError)


def is_cut(error: BaseException) -> bool:
    """Whether the peer has closed the connection before its answer."""
    return isinstance(
        cause_of(error), http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError
    )


def words_of(error: BaseException, server: Server) -> str:
    """An error of a socket or of HTTP."""
    if isinstance(error, socket.gaierror):
        return f"the host's name has no address ({error.strerror})"
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused: {server.what} isn't running there"
    if isinstance(error, http.client.HTTPException):
        return f"no proper HTTP answer ({type(error).__name__})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"no proper HTTP answer ({type(error).__name__})"


def retry_after_s(text: str) -> float:
    """A Retry-After header in seconds, at most 30; 0 for anything but a number."""
    return min(int(text[:9]), _RETRY_AFTER_S_MAX) if text.isascii() and text.isdigit() else 0
