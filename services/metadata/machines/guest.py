# SPDX-License-Identifier: Apache-2.0
"""A virtual machine as its hypervisor's command line describes it. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from wattline.wire.names import safe_name

NAME_CHARACTERS_MAX = 200  # of a machine's name; longer ones are cut
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NIL = "00000000-0000-0000-0000-000000000000"  # hypervisors take it for none


@dataclass(frozen=True)
class Guest:
    """What a command line tells; empty where it tells nothing.

    `key` identifies the machine on its host as its maker meant it: its uuid, or Firecracker's `--id`. A name
    is no key, since several machines may have the same.
    """

    hypervisor: str
    name: str = ""
    uuid: str = ""
    key: str = ""


def arguments_of(command_line: bytes, *, is_whole: bool = True) -> list[str]:
    r"""The arguments in a /proc/PID/cmdline, in which each ends with a NUL. Bytes beyond UTF-8 become \xff.

    Empty for a process without any (a zombie, or one that has overwritten them). `is_whole`: False if only
    the beginning was read; then the last one, which may be cut, is left out.
    """
    parts = command_line.split(b"\0")
    if not is_whole or not parts[-1]:
        parts.pop()
    return [part.decode("utf-8", "backslashreplace") for part in parts]


def program_of(arguments: Sequence[str]) -> str:
    """The file name of the program, without the directories."""
    return arguments[0].rpartition("/")[2] if arguments else ""


def options_of(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, value) of long options, `--id web` or `--id=web`; the value is empty where there is none."""
    for at, argument in enumerate(arguments[1:], 1):
        if not argument.startswith("--") or argument == "--":
            continue
        option, equals, value = argument.partition("=")
        if not equals and at + 1 < len(arguments) and not arguments[at + 1].startswith("-"):
            value = arguments[at + 1]
        yield option, value


def name_of(text: str) -> str:
    """A name made safe and short."""
    return safe_name(text)[:NAME_CHARACTERS_MAX]


def uuid_of(text: str) -> str:
    """A uuid in lower case; empty if the text is none, or is all zeros."""
    uuid = text.lower()
    return uuid if _UUID.fullmatch(uuid) and uuid != _NIL else ""


# What people and runtimes call a socket when they put its machine into the directory.
_PLAIN_SOCKETS = frozenset({"api", "clh-api", "ch", "cloud-hypervisor", "fc", "firecracker", "socket", "vmm"})
_PLAIN_DIRECTORIES = frozenset({"", "run", "tmp", "root", "vm"})


def name_of_socket(path: str) -> str:
    """The name that the path of an API socket gives a machine; empty if it has none.

    `/run/web.sock` is web; `/run/vc/vm/web/clh-api.sock` too, since its file is called the same for all.
    """
    *above, file = path.split("/")
    stem = file.removesuffix(".sock").removesuffix(".socket")
    if stem not in _PLAIN_SOCKETS:
        return name_of(stem)
    named = [part for part in above if part not in _PLAIN_DIRECTORIES]
    return name_of(named[-1]) if named and named[-1] == above[-1] else ""
