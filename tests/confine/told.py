# SPDX-License-Identifier: Apache-2.0
"""What the kernel says to an action; imported by programs before they confine themselves."""

import errno
from collections.abc import Callable


def told(action: Callable[[], object]) -> str:
    """The name of the error, or "done"."""
    try:
        action()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "done"
