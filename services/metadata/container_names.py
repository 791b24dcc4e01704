# SPDX-License-Identifier: Apache-2.0
"""What containers are called, as their engine has told, and when to ask it. Pure: no I/O, no clock."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from wattline.wire.frames import MetadataContainers

ASK_AGAIN_NS = 10 * 1_000_000_000  # after a failure
_ASKED_MAX = 100  # containers per question; more wait for the next frame


@dataclass
class ContainerNames:
    """Each container is asked for once: a name that changed would tear its series.

    `trouble` is why the last question failed; empty if it did not.
    """

    trouble: str = ""
    _names: dict[str, str] = field(default_factory=dict)  # empty: the engine doesn't know it
    _again_ns: int = 0

    def unasked(self, container_ids: Collection[str]) -> list[str]:
        """Whom to ask for, of those that there are; the others are forgotten."""
        self._names = {key: name for key, name in self._names.items() if key in container_ids}
        return sorted(key for key in container_ids if key not in self._names)[:_ASKED_MAX]

    def may_ask(self, now_ns: int) -> bool:
        """Whether the last failure, if there was one, is long enough ago."""
        return not self.trouble or now_ns >= self._again_ns

    def answer(self, asked: Collection[str], names: Mapping[str, str]) -> None:
        """What the engine said. Those it does not know are another's."""
        self.trouble = ""
        self._names.update({key: names.get(key, "") for key in asked})

    def fail(self, trouble: str, now_ns: int) -> None:
        """It said nothing."""
        self.trouble, self._again_ns = trouble, now_ns + ASK_AGAIN_NS

    def table(self) -> MetadataContainers:
        """As the metadata frame has it, by id."""
        told = sorted((key, name) for key, name in self._names.items() if name)
        return MetadataContainers(
            container_id=[key for key, _name in told], container_name=[name for _key, name in told]
        )
