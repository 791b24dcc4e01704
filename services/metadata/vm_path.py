# SPDX-License-Identifier: Apache-2.0
"""Which virtual machine a cgroup belongs to, told from its path alone. Pure; the table is the knowledge.

Told are libvirt's guests under QEMU, by the names that Kepler v0.8 gives them: machine-qemu-NUMBER-NAME. The
number is libvirt's, and new at each start of the guest; old versions of libvirt give none.
"""

import re

# What a guest's own cgroup is called, and whether systemd has escaped the name in it. Everything below it
# (libvirt, emulator, vcpu0, iothread1) belongs to the guest.
# Source: libvirt's page on control groups (a scope where systemd-machined registers the guest, else
# NAME.libvirt-qemu); systemd.unit(5) on escaping.
_GUESTS: tuple[tuple[re.Pattern[str], bool], ...] = (
    (re.compile(r"machine(?:-|\\x2d)qemu(?:-|\\x2d)(?P<guest>.+)\.scope", re.DOTALL), True),
    (re.compile(r"(?:qemu-(?=\d+-))?(?P<guest>.+)\.libvirt-qemu", re.DOTALL), False),
)
# Bytes that can't stand in a unit's name. Several in a row may be one character of UTF-8.
_ESCAPED = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")


def vm_id(path: str) -> str:
    """The virtual machine that a cgroup belongs to; empty if the path shows none.

    The outermost: its host made it, and whatever it makes below it is still its own.
    """
    if "qemu" not in path:  # nearly no path has it
        return ""
    for part in path.split("/"):  # not at colons, as for containers: a guest may have some in its name
        for pattern, is_escaped in _GUESTS:
            match = pattern.fullmatch(part)
            if match:
                return "machine-qemu-" + (_unescaped(match["guest"]) if is_escaped else match["guest"])
    return ""


def _unescaped(name: str) -> str:
    return _ESCAPED.sub(_characters, name)


def _characters(escaped: re.Match[str]) -> str:
    return bytes.fromhex(escaped[0].replace("\\x", "")).decode("utf-8", "backslashreplace")
