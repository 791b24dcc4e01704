# SPDX-License-Identifier: Apache-2.0
"""A source for tests that needs rights of every kind, and says in its state which of its attempts failed."""

import ctypes
import errno
import fcntl
import os
import socket

from services.power.channel import Found
from services.power.metered import Metered
from services.power.needs import Needs
from services.power.settings import PowerSettings
from services.power.source import Former, Source

SOURCE = "rights"
_REQUEST = 0x1260  # BLKGETSIZE, which a directory doesn't know
_PERSONALITY = {"x86_64": 135, "aarch64": 92}
_QUERY = 0xFFFFFFFF


def needs(settings: PowerSettings) -> Needs:
    if settings.log_level == "debug":  # so that a test can do without
        return Needs()
    return Needs(("CAP_PERFMON",), (socket.AF_INET,), {"personality": (135, 92)}, (_REQUEST,))


def open_source(_settings: PowerSettings, former: Former, now_ns: int) -> Source:
    return Metered(SOURCE, lambda: Found(why_none=" ".join(map(_outcome, _ATTEMPTS))), former, now_ns)


def _ask_personality() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_PERSONALITY[os.uname().machine], _QUERY) < 0:
        raise OSError(ctypes.get_errno(), "personality")


def _ask_directory() -> None:
    descriptor = os.open("/", os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _REQUEST)
    finally:
        os.close(descriptor)


def _outcome(attempt) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


_ATTEMPTS = (lambda: socket.socket(socket.AF_INET).close(), _ask_personality, _ask_directory)
