# SPDX-License-Identifier: Apache-2.0
"""What the calculator can be told."""

from typing import Annotated

from msgspec import field

from wattline.settings import ReplaySettings, meaning

from .rules import EVEN, MODEL, NODE, RATIO, REQUESTS, USAGE, Rules, parse_idle_power


class CalculatorSettings(ReplaySettings, kw_only=True, frozen=True):
    """Joules and usage per process and container, with books that close."""

    idle_policy: Annotated[
        str,
        meaning(
            "who is given idle energy: node (it stays with the node), even (all containers alike), "
            "usage (by what they use) or requests (by their CPU requests; it stays with the node while these "
            "aren't known)",
            choices=(NODE, EVEN, USAGE, REQUESTS),
        ),
    ] = field(default="node", name="idle-policy")
    idle_power: Annotated[
        str,
        meaning(
            "where idle power comes from: learned, observed-min (as Kepler's), or watts by zone, as "
            "package=12.5,dram-1=3 (zones that aren't named are learned)",
            expected="learned, observed-min or watts by zone, e.g. package=12.5,dram-1=3",
            check=parse_idle_power,
        ),
    ] = field(default="learned", name="idle-power")
    share_method: Annotated[
        str,
        meaning(
            "how dynamic energy is shared: ratio (by what tells the zone's use best) or model (by costs "
            "learned from the node's power; as ratio until it has learned)",
            choices=(RATIO, MODEL),
        ),
    ] = field(default="ratio", name="share-method")
    terminated_keep_s: Annotated[
        float,
        meaning(
            "how long an ended container keeps its series before it is folded into `terminated`",
            "s",
            ge=1,
            le=31_536_000,
        ),
    ] = field(default=300.0, name="terminated-keep-s")
    metadata_grace_s: Annotated[
        float,
        meaning("how long activity waits for metadata before its cgroups count as unknown", "s", ge=0, le=60),
    ] = field(default=2.0, name="metadata-grace-s")

    def rules(self) -> Rules:
        """How the books are kept."""
        method, fixed_uw = parse_idle_power(self.idle_power)
        return Rules(
            self.idle_policy, method, self.share_method, round(self.terminated_keep_s * 1e9), fixed_uw
        )
