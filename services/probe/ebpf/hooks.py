# SPDX-License-Identifier: Apache-2.0
"""Choice of hooks: which of the program's functions go to which tracepoints, and of which kind. Pure."""

from collections.abc import Collection
from dataclasses import dataclass

from . import layout
from .btf import Btf


@dataclass(frozen=True)
class Hooks:
    """Tracepoints by function, and what the compiler has to be told of them.

    Classic ones are attached through perf_event_open(2), raw ones need bpf(2) alone.
    """

    raw: dict[str, str]
    classic: dict[str, str]  # as category/name
    defines: tuple[str, ...]

    @property
    def reads_structures(self) -> bool:
        """Whether the raw ones read fields of the kernel's structures."""
        return not self.classic


def raw_hooks(btf: Btf) -> Hooks:
    """Every hook of the raw kind. Raises ValueError if the kernel's BTF lacks one of the fields."""
    places = [f"-D{name}={btf.offset(*field)}" for name, field in layout.STRUCTURES.items()]
    named = {name: tracepoint.partition("/")[2] for name, tracepoint in layout.TRACEPOINTS.items()}
    return Hooks(
        raw={**_optional(btf.tracepoints), **named, **layout.RAW_TRACEPOINTS},
        classic={},
        defines=("-DWITH_STRUCTURES=1", *places),
    )


def classic_hooks(tracepoints: Collection[str]) -> Hooks:
    """Those that are given no fields of the classic kind. `tracepoints`: all that this kernel has."""
    return Hooks(
        raw={**_optional(tracepoints), **layout.RAW_TRACEPOINTS},
        classic=dict(layout.TRACEPOINTS),
        defines=("-DWITH_STRUCTURES=0",),
    )


def _optional(tracepoints: Collection[str]) -> dict[str, str]:
    return {
        name: tracepoint
        for name, tracepoint in layout.OPTIONAL_RAW_TRACEPOINTS.items()
        if tracepoint in tracepoints
    }
