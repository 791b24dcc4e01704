# SPDX-License-Identifier: Apache-2.0
"""The rights that a source must have to open its meter and to read it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wattline.confine.system_calls import Numbers


@dataclass(frozen=True)
class Needs:
    """`capabilities`: by name. `families`: of sockets. `calls`: system calls beyond those of every service.

    Source: wattline/confine, which limits a process to the union of what its sources need.
    """

    capabilities: tuple[str, ...] = ()
    families: tuple[int, ...] = ()
    calls: Mapping[str, Numbers] = field(default_factory=dict)
