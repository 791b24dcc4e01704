# SPDX-License-Identifier: Apache-2.0
"""Which CPUs are on which simulated socket. Pure."""

from collections.abc import Collection, Sequence
from itertools import pairwise


def split(sockets: int, online: Collection[int], possible: Collection[int]) -> list[frozenset[int]]:
    """The CPUs in contiguous blocks of nearly equal size, by socket; those that are off are on the last.

    Only CPUs that run count for the size: a virtual machine may have room for many more than it has.
    """
    if sockets < 1:
        raise ValueError(f"sockets: expected 1 or more, got {sockets}")
    order = sorted(online)
    bounds = [len(order) * number // sockets for number in range(sockets + 1)]
    blocks = [frozenset(order[first:end]) for first, end in pairwise(bounds)]
    return [*blocks[:-1], blocks[-1] | (frozenset(possible) - frozenset(order))]


def given(cpus: Sequence[Collection[int]], sockets: int, possible: Collection[int]) -> list[frozenset[int]]:
    """The sockets as a configuration lists them.

    Raises ValueError unless each is there and every CPU is on exactly one.
    """
    listed = sorted(cpu for socket in cpus for cpu in socket)
    if len(cpus) != sockets or listed != sorted(possible):
        raise ValueError(
            f"cpus: expected {sockets} lists with each of the CPUs {sorted(possible)} in one, got {cpus}"
        )
    return [frozenset(socket) for socket in cpus]
