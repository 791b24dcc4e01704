# SPDX-License-Identifier: Apache-2.0
"""From a BMC's own time to CLOCK_MONOTONIC. Pure.

A BMC's clock may be wrong by hours, but it goes on steadily. Each answer's Date header bounds the distance
between the two clocks: the BMC wrote it after the request was sent and before its answer was there. The true
distance is within the bounds of every answer, so the bounds narrow to their intersection. The upper bound is
the smallest lag that any answer had.
"""

from dataclasses import dataclass

_S = 1_000_000_000
_RESOLUTION_NS = _S  # of a Date header (RFC 9110, section 5.6.7), which is rounded down
# Clocks drift apart: quartz is good to 100 ppm, and both have one.
_DRIFT_PPM = 200
# Bounds that miss each other by less are no jump: some web servers renew their Date once a second.
_SLACK_NS = _S


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request: CLOCK_MONOTONIC when it was sent and when the answer's header was there, and its Date.

    `date_ns`: nanoseconds since 1970 by the BMC's clock; None if the answer has no Date.
    """

    sent_ns: int
    received_ns: int
    date_ns: int | None = None


@dataclass(slots=True)
class BmcClock:
    """CLOCK_MONOTONIC minus the BMC's clock is `low_ns` to `high_ns`; `jumps`: how often it was set."""

    low_ns: int = 0
    high_ns: int = 0
    jumps: int = 0
    _noted_ns: int | None = None

    def note(self, exchange: Exchange) -> bool:
        """Take the bounds of an answer; True if the BMC's clock was set since the one before."""
        if exchange.date_ns is None:
            return False
        low_ns = exchange.sent_ns - exchange.date_ns - _RESOLUTION_NS
        high_ns = exchange.received_ns - exchange.date_ns
        noted_ns, self._noted_ns = self._noted_ns, exchange.received_ns
        if noted_ns is not None:
            drift_ns = max(0, exchange.received_ns - noted_ns) * _DRIFT_PPM // 1_000_000
            self.low_ns, self.high_ns = self.low_ns - drift_ns, self.high_ns + drift_ns
            both = max(low_ns, self.low_ns), min(high_ns, self.high_ns)
            if both[0] <= both[1]:
                self.low_ns, self.high_ns = both
                return False
            if both[0] - both[1] <= _SLACK_NS:
                middle_ns = (both[0] + both[1]) // 2
                self.low_ns = self.high_ns = middle_ns
                return False
            self.jumps += 1
        self.low_ns, self.high_ns = low_ns, high_ns
        return noted_ns is not None

    def answered_ns(self, exchange: Exchange) -> int:
        """CLOCK_MONOTONIC at which the BMC wrote the answer, as far as its Date says; else the middle."""
        if exchange.date_ns is None or self._noted_ns is None:
            return (exchange.sent_ns + exchange.received_ns) // 2
        at_ns = exchange.date_ns + (self.low_ns + self.high_ns + _RESOLUTION_NS) // 2
        return min(max(at_ns, exchange.sent_ns), exchange.received_ns)

    def mono_ns(self, bmc_ns: int, exchange: Exchange) -> int | None:
        """CLOCK_MONOTONIC of a time that an answer names; never after the answer. None without any Date."""
        if self._noted_ns is None:
            return None
        return min(bmc_ns + (self.low_ns + self.high_ns) // 2, exchange.received_ns)
