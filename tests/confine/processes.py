# SPDX-License-Identifier: Apache-2.0
"""What a process holds, as the kernel says it, in the words of the first table of docs/security.md."""

from pathlib import Path

from wattline.confine.capabilities import BITS

_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_SECCOMP = {"0": "all", "2": "filtered"}  # no filter, SECCOMP_MODE_FILTER


def threads(pid: int) -> list[dict[str, str]]:
    """/proc/PID/task/*/status of each thread."""
    texts = [path.read_text(encoding="utf-8") for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return [dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line) for text in texts]


def held(pid: int) -> list[str]:
    """User, permitted capabilities, bounding set, no new privileges, system calls; in all threads."""
    rows = {tuple(_cells(status)) for status in threads(pid)}
    assert len(rows) == 1, rows
    return list(rows.pop())


def _cells(status: dict[str, str]) -> list[str]:
    uids, gids = status["Uid"].split(), status["Gid"].split()
    assert len({*uids}) == len({*gids}) == 1  # real, effective, saved, file system
    bits = {name: int(status[name], 16) for name in _SETS}
    assert bits["CapPrm"] == bits["CapEff"]
    assert bits["CapInh"] == bits["CapAmb"] == 0
    return [
        f"{uids[0]}:{gids[0]}",
        _names(bits["CapPrm"]) or "none",
        _names(bits["CapBnd"]) or "empty",
        "yes" if status["NoNewPrivs"].strip() == "1" else "no",
        _SECCOMP[status["Seccomp"].strip()],
    ]


def _names(bits: int) -> str:
    names = {bit: f"`{name}`" for name, bit in BITS.items()}
    return " ".join(names.get(bit, f"capability {bit}") for bit in range(64) if bits >> bit & 1)
