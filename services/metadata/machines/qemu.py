# SPDX-License-Identifier: Apache-2.0
"""Arguments of QEMU that tell a machine's name and uuid. Pure.

Source: qemu(1), options -name, -uuid and -smbios.
"""

from collections.abc import Iterator, Sequence

from .guest import Guest, name_of, uuid_of

HYPERVISOR = "qemu"
# Options of a run that prints something and ends, and values that make another option do so.
_PRINTING = frozenset({"-h", "-help", "-version"})
_LISTS = frozenset({"-accel", "-cpu", "-device", "-machine", "-M"})
_HELP = frozenset({"help", "?"})
_NO_MACHINE = "none"  # libvirt starts such a QEMU to learn what it can do
_SYSTEM_INFORMATION = "1"  # the type of SMBIOS table that has the uuid


def guest(arguments: Sequence[str]) -> Guest | None:
    """The machine of a command line; None if that runs none.

    The first option of a kind counts: libvirt and Proxmox write theirs before a user's own.
    """
    name = uuid = of_smbios = ""
    for option, value in _options(arguments):
        if option in _PRINTING or (option in _LISTS and value in _HELP):
            return None
        if option in ("-machine", "-M") and _NO_MACHINE in _values(value, "type"):
            return None
        if option == "-name":
            name = name or next(_values(value, "guest"), "")
        elif option == "-uuid":
            uuid = uuid or uuid_of(value)
        elif option == "-smbios" and _SYSTEM_INFORMATION in _values(value, "type"):
            of_smbios = of_smbios or uuid_of(next(_values(value, "uuid"), ""))
    uuid = uuid or of_smbios
    return Guest(HYPERVISOR, name_of(name), uuid, key=uuid)


def has_machine_options(arguments: Sequence[str]) -> bool:
    """Whether a program whose name alone says little (`kvm`) is started as QEMU is."""
    return any(option in _OF_MACHINES for option, _value in _options(arguments))


_OF_MACHINES = frozenset(
    {"-M", "-cdrom", "-cpu", "-device", "-drive", "-enable-kvm", "-hda", "-kernel", "-m", "-machine", "-name"}
    | {"-nodefaults", "-smbios", "-smp", "-uuid"}
)


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, what follows it). QEMU takes one dash or two."""
    for at, argument in enumerate(arguments[1:], 1):
        if argument.startswith("-"):
            option = argument.removeprefix("-") if argument.startswith("--") else argument
            yield option, arguments[at + 1] if at + 1 < len(arguments) else ""


def _values(text: str, key: str) -> Iterator[str]:
    """Values of a key in `key=value,key=value`; the first key may be missing. Two commas stand for one."""
    for place, part in enumerate(text.replace(",,", "\0").split(",")):
        name, equals, value = part.partition("=")
        if not equals and not place:
            name, value = key, part
        if name == key and value:
            yield value.replace("\0", ",")
