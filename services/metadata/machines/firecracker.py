# SPDX-License-Identifier: Apache-2.0
"""Arguments of Firecracker that tell a machine. Pure.

Source: firecracker --help, and docs/jailer.md in its repository.
"""

import re
from collections.abc import Sequence

from .guest import Guest, name_of_socket, options_of, uuid_of

HYPERVISOR = "firecracker"
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")  # what it accepts as --id
_DEFAULT_ID = "anonymous-instance"  # of each machine that is given none
_OF_MACHINES = frozenset({"--api-sock", "--config-file", "--id", "--no-api"})


def guest(arguments: Sequence[str]) -> Guest | None:
    """The machine of a command line; None if that runs none. Its id is its name, else its API socket's."""
    options = dict(reversed([*options_of(arguments)]))  # the first of a kind counts
    if _OF_MACHINES.isdisjoint(options):
        return None
    given = options.get("--id", "")
    key = given if _ID.fullmatch(given) and given != _DEFAULT_ID else ""
    return Guest(HYPERVISOR, key or name_of_socket(options.get("--api-sock", "")), uuid_of(key), key)
