# SPDX-License-Identifier: Apache-2.0
"""Arguments of Cloud Hypervisor that tell a machine. Pure.

Source: cloud-hypervisor --help, options --api-socket and --platform.
"""

from collections.abc import Sequence

from .guest import Guest, name_of_socket, options_of, uuid_of

HYPERVISOR = "cloud-hypervisor"
_OF_MACHINES = frozenset({"--api-socket", "--disk", "--firmware", "--kernel", "--restore"})


def guest(arguments: Sequence[str]) -> Guest | None:
    """The machine of a command line; None if that runs none. Its API socket gives it a name: it has none."""
    options = dict(reversed([*options_of(arguments)]))  # the first of a kind counts
    if _OF_MACHINES.isdisjoint(options):
        return None
    socket = options.get("--api-socket", "")
    path = socket if "=" not in socket else _value(socket, "path")
    uuid = uuid_of(_value(options.get("--platform", ""), "uuid"))
    return Guest(HYPERVISOR, name_of_socket(path), uuid, key=uuid)


def _value(text: str, key: str) -> str:
    pairs = (part.partition("=") for part in text.split(","))
    return next((value for name, _equals, value in pairs if name == key), "")
