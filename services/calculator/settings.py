# SPDX-License-Identifier: Apache-2.0
"""What the calculator can be told."""

from typing import Annotated

from msgspec import field

from wattline.settings import CommonSettings, meaning


class CalculatorSettings(CommonSettings, kw_only=True, frozen=True):
    """Joules and usage per process and container, with books that close."""

    idle_policy: Annotated[
        str,
        meaning(
            "who is given idle energy: node (nobody, it stays the node's) or even (all containers alike)",
            pattern="^(node|even)$",
        ),
    ] = field(default="node", name="idle-policy")
    metadata_grace_s: Annotated[
        float,
        meaning("how long activity waits for metadata before its cgroups count as unknown", "s", ge=0, le=60),
    ] = field(default=2.0, name="metadata-grace-s")
