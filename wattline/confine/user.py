# SPDX-License-Identifier: Apache-2.0
"""Becoming another user for good."""

import os
from collections.abc import Sequence

from wattline.errors import Fatal

from . import capabilities
from .libc import prctl

_PR_SET_KEEPCAPS = 8  # include/uapi/linux/prctl.h


def become(user: str, groups: Sequence[int] = ()) -> None:
    """Become UID:GID, with no groups but these. Capabilities stay, to be given up next."""
    uid, gid = (int(part) for part in user.split(":"))
    if os.geteuid() != 0:
        if (os.geteuid(), os.getegid()) == (uid, gid):
            return
        raise Fatal(
            f"--user {user}: only root can change its user; this is uid {os.geteuid()}", Fatal.PERMISSION
        )
    prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups(groups)
    os.setresgid(gid, gid, gid)
    if uid:
        os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        # The number -1 (4294967295) means "leave it as it is" to the kernel.
        raise Fatal(f"--user {user}: the kernel did not take it, expected an ordinary number", Fatal.SETTINGS)
    prctl(_PR_SET_KEEPCAPS, 0)
    capabilities.use_permitted()
    os.umask(0o027)
