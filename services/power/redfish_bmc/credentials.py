# SPDX-License-Identifier: Apache-2.0
"""The user and the password for a BMC, from a file or from the environment."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Failed

USER_VARIABLE, PASSWORD_VARIABLE = "WATTLINE_REDFISH_USER", "WATTLINE_REDFISH_PASSWORD"
_FILE_BYTES_MAX = 4096
# Reading for the group is allowed: that is how secrets are handed to a service's user.
_OTHERS = stat.S_IRWXO | stat.S_IWGRP


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of the BMC. Its text form shows no secret."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def read(path: str, environment: Mapping[str, str]) -> Credentials:
    """From the file, if one is named, else from the environment.

    Raises Failed, saying what is wrong; never anything of the content.
    """
    if path:
        return _of_file(Path(path))
    user, password = environment.get(USER_VARIABLE, ""), environment.get(PASSWORD_VARIABLE, "")
    if not user or not password:
        raise Failed(
            f"no credentials: set redfish.credentials-file, or {USER_VARIABLE} and {PASSWORD_VARIABLE}"
        )
    return Credentials(user, password)


def _of_file(path: Path) -> Credentials:
    where = f"credentials file {path}"
    try:
        # A pipe without a writer would hang the reader.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            data = os.read(descriptor, _FILE_BYTES_MAX + 1) if stat.S_ISREG(status.st_mode) else b""
        finally:
            os.close(descriptor)
    except PermissionError as error:
        cure = f"expected a file that uid {os.geteuid()} may read: chown it to that user, with mode 0600"
        raise Failed(f"{where}: {error.strerror}; {cure}") from None
    except OSError as error:
        raise Failed(f"{where}: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise Failed(f"{where}: expected a plain file")
    if status.st_mode & _OTHERS:
        raise Failed(
            f"{where}: expected mode 0600 or 0640, got {stat.S_IMODE(status.st_mode):04o}, so others can "
            "read or change it: chmod 600",
        )
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        lines = []
    if len(data) > _FILE_BYTES_MAX or len(lines) != 2 or not all(lines):  # noqa: PLR2004 user and password
        raise Failed(f"{where}: expected two lines in UTF-8, the user and the password")
    return Credentials(lines[0], lines[1])
