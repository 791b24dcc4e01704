# SPDX-License-Identifier: Apache-2.0
"""Checks of a running unit: its user, its capabilities, the files that it sees, and where it may write."""

from collections.abc import Collection

from wattline.confine.capabilities import BITS

from .booted import Booted
from .restricted import GROUP, USERS
from .units import BMC, EACH, ROOT, words

NAMES = ("/etc/hosts", "/etc/nsswitch.conf")
UIDS = USERS | {BMC: 60610}
ACCOUNT = "/etc/wattline/bmc"
_FILES = (
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/wattline/wattline.env", "/etc/wattline/power-bmc.env"),
    ACCOUNT,  # seen, but not its content
)


def check_user(system: Booted, stage: str) -> None:
    """A stage runs as its own user in the common group, and no program gives it more."""
    status = system.status(EACH[stage])
    assert status["Uid"].split() == [str(UIDS[stage])] * 4
    assert status["Gid"].split() == [str(GROUP)] * 4
    assert status["NoNewPrivs"].strip() == "1"


def check_sight(system: Booted, unit: str, more: Collection[str] = ()) -> None:
    """A unit sees no files but its own, and nothing of the BMC's account, as root would read it.

    `more`: files in /etc that it may see; a directory, with all that is below it, ends in a slash.
    """
    inside = system.into(unit)
    etc = set(system.run(*inside, "find", "/etc", "-type", "f").stdout.split())
    below = tuple(path for path in more if path.endswith("/"))
    assert {path for path in etc if not path.startswith(below)} <= {*_FILES, *more}
    for place in ("/home", "/root", "/var/lib", "/run/systemd/private", "/run/systemd/journal", str(ROOT)):
        assert system.run(*inside, "ls", place, check=False).stdout == ""
    assert system.run(*inside, "cat", ACCOUNT, check=False).stdout == ""


def check_writable(system: Booted, stage: str) -> None:
    """Where a stage's user may write: as its unit says, its own /tmp, and the others' sockets to connect."""
    user = [f"--setuid={UIDS[stage]}", f"--setgid={GROUP}"]
    find = "find / -path /proc -prune -o -path /dev/* -prune -o -writable ! -type l -print"
    writable = system.run(*system.into(EACH[stage]), *user, *find.split(), check=False).stdout.split()
    binds = words(EACH[stage], "Service", "BindPaths")
    own = {"/tmp", "/var/tmp"} | {name.rpartition(":")[2] for name in binds}  # noqa: S108
    sockets = {f"/run/wattline/{other}/stream.sock" for other in EACH}
    outside = {path for path in writable if not any(path.startswith(f"{place}/") for place in own)}
    assert outside - sockets == own


def held(system: Booted, unit: str) -> set[str]:
    """The capabilities that are effective; `other` for those that Wattline has no name for."""
    bits = int(system.status(unit)["CapEff"], 16)
    return {name for name, bit in BITS.items() if bits >> bit & 1} | (
        {"other"} if bits & ~sum(1 << bit for bit in BITS.values()) else set()
    )
