# SPDX-License-Identifier: Apache-2.0
"""Whether the kernel will let this process load and read eBPF."""

from pathlib import Path

from wattline.errors import Fatal

# Bits of CapEff; include/uapi/linux/capability.h. CAP_SYS_ADMIN includes the others (Linux 5.8).
_NEEDED = {"CAP_PERFMON": 38, "CAP_BPF": 39}
_SYS_ADMIN = 21


def require_capabilities() -> None:
    """Raises Fatal(PERMISSION) naming what is missing."""
    status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
    effective = int(next(line for line in status.splitlines() if line.startswith("CapEff")).split()[1], 16)
    if effective >> _SYS_ADMIN & 1:
        return
    missing = [name for name, bit in _NEEDED.items() if not effective >> bit & 1]
    if missing:
        raise Fatal(
            f"the probe needs {' and '.join(_NEEDED)}, missing: {', '.join(missing)}; start it as root, "
            "or give its container these capabilities",
            Fatal.PERMISSION,
        )
