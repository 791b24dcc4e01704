# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the probe besides what can in every service."""

from wattline.errors import Fatal


class Unavailable(Fatal):
    """eBPF can't be had here, as this machine or these privileges are; the message says why, and the cure."""


class Detached(Fatal):
    """The loaded program no longer runs: its pins were removed or their file system was unmounted."""
