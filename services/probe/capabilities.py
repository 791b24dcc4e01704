# SPDX-License-Identifier: Apache-2.0
"""The capabilities that the kernel asks of the probe: to load its program, and to read from it."""

from wattline.confine.capabilities import effective, has
from wattline.errors import Fatal

from .errors import Unavailable

_NEEDED = ("CAP_PERFMON", "CAP_BPF")
# Kept, where the probe has them, until its program is loaded:
# - CAP_SYS_ADMIN mounts tracefs and bpffs, and stands for both of the above before Linux 5.8.
# - CAP_SYS_RESOURCE raises the limit of locked memory, which includes maps before Linux 5.11.
# - CAP_DAC_READ_SEARCH lets another user than root read tracefs, and root the code in a home directory.
LOADING = (*_NEEDED, "CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_DAC_READ_SEARCH")


def require_capabilities() -> None:
    """Raises Unavailable naming what is missing."""
    have = effective()
    if has(have, "CAP_SYS_ADMIN"):
        return
    missing = [name for name in _NEEDED if not has(have, name)]
    if missing:
        raise Unavailable(
            f"eBPF needs {' and '.join(_NEEDED)}, missing: {', '.join(missing)}; start the probe as root, "
            "or give its container these capabilities (CAP_SYS_ADMIN where kernel or container engine don't "
            "know them)",
            Fatal.PERMISSION,
        )
