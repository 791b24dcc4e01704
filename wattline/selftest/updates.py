# SPDX-License-Identifier: Apache-2.0
"""When a counter changes: always, or at multiples of an update period only, as a real meter's does. Pure."""

from dataclasses import dataclass, field

from .law import Moment


@dataclass
class Updates:
    """The moment that the counters show, from the moments at which they are looked at.

    What was so at a multiple of the period, between two looks, is interpolated between these: nobody needs to
    be awake at each update.
    """

    period_ns: int  # 0: always up to date
    _seen: Moment = field(default_factory=lambda: Moment(0, {}), init=False)
    _shown: Moment = field(default_factory=lambda: Moment(0, {}), init=False)

    def shown(self, now: Moment) -> Moment:
        """What is shown now. Order: moments must not go back."""
        if not self.period_ns:
            return now
        update_ns = now.elapsed_ns - now.elapsed_ns % self.period_ns
        if update_ns > self._shown.elapsed_ns:
            self._shown = interpolated(self._seen, now, update_ns)
        self._seen = now
        return self._shown


def interpolated(before: Moment, after: Moment, elapsed_ns: int) -> Moment:
    """The moment at a time between two others; a CPU that was not there before had not been busy."""
    passed_ns, length_ns = elapsed_ns - before.elapsed_ns, after.elapsed_ns - before.elapsed_ns
    busy_ns = {}
    for cpu, until_ns in after.busy_ns.items():
        from_ns = before.busy_ns.get(cpu, 0)
        busy_ns[cpu] = from_ns + (until_ns - from_ns) * passed_ns // length_ns
    return Moment(elapsed_ns, busy_ns)
