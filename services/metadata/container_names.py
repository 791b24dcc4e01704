# SPDX-License-Identifier: Apache-2.0
"""What containers are called, as their engine has told, and when to ask it. Pure: no I/O, no clock."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from wattline.wire.names import safe_name

from .cgroup_path import CgroupIdentity

# Runtimes in a path that may be Docker's: of the last three the path doesn't show which one it is.
_NAMED_RUNTIMES = ("docker", "kubernetes", "ecs", "oci")
_PAUSE_MIN_NS, PAUSE_MAX_NS = 10**9, 10 * 10**9  # after a failure, doubled with each
_ASKED_MAX = 100  # containers per question


def may_name(identity: CgroupIdentity) -> bool:
    """Whether the container may be the engine's, which knows ids without an owner only: it is root's."""
    return identity.runtime in _NAMED_RUNTIMES and "@" not in identity.container_id


@dataclass
class ContainerNames:
    """Each container is asked for once: a name that changed would tear its series.

    `trouble` is what was wrong with the last question; empty if nothing was.
    """

    trouble: str = ""
    _names: dict[str, str] = field(default_factory=dict)  # empty: the engine has no name for it
    _last: set[str] = field(default_factory=set)  # whose own question failed: others come first
    _asked_max: int = _ASKED_MAX
    _pause_ns: int = _PAUSE_MIN_NS
    _again_mono_ns: int = 0

    def unasked(self, container_ids: Collection[str]) -> list[str]:
        """Whom to ask for next, of those that there are; the others are forgotten."""
        self._names = {key: name for key, name in self._names.items() if key in container_ids}
        self._last &= {*container_ids}
        wanted = [key for key in container_ids if key not in self._names]
        return sorted(wanted, key=lambda key: (key in self._last, key))[: self._asked_max]

    def may_ask(self, now_mono_ns: int) -> bool:
        """Whether the last failure, if there was one, is long enough ago."""
        return now_mono_ns >= self._again_mono_ns

    def answer(self, asked: Collection[str], names: Mapping[str, str]) -> None:
        """What the engine said. Those it does not know are another's."""
        self.trouble, self._again_mono_ns, self._pause_ns = "", 0, _PAUSE_MIN_NS
        self._asked_max = min(2 * self._asked_max, _ASKED_MAX)
        self._names.update({key: safe_name(names.get(key, "")) for key in asked})

    def give_up(self, asked: Collection[str], trouble: str, now_mono_ns: int) -> None:
        """Unusable answer: halve the batch; a container that fails alone gets no name.

        So one container with a description that is too large, or strange, costs no other its name.
        """
        if not asked:
            self.fail(asked, trouble, now_mono_ns)
            return
        self.trouble = trouble
        if len(asked) == 1:
            self._names.update(dict.fromkeys(asked, ""))
        self._asked_max = max(1, len(asked) // 2)

    def fail(self, asked: Collection[str], trouble: str, now_mono_ns: int) -> None:
        """It gave no answer: wait, then ask for fewer; one that is alone with it comes last from now on.

        It may be away, or too slow for so many, or it fails at one of them.
        """
        self.trouble, self._again_mono_ns = trouble, now_mono_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, PAUSE_MAX_NS)
        if len(asked) == 1:
            self._last.update(asked)
        if asked:
            self._asked_max = max(1, len(asked) // 2)

    def name(self, container_id: str) -> str | None:
        """Its name; empty if the engine has none for it; None while it hasn't said."""
        return self._names.get(container_id)
