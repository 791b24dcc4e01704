# SPDX-License-Identifier: Apache-2.0
"""The check that a frame passes before a reader keeps anything of it: its speaker, its times, its sums."""

import time
from collections.abc import Callable, Iterator, Sequence

from wattline.boot import this_boot_id
from wattline.pipeline import PRODUCER_OF_TOPIC, service_of
from wattline.power_streams import ONLY_POWER, PowerStreams

from .columns import U64
from .frames import Activity, AnyFrame, Energy, Frame, Metadata, Power, Status
from .packed import FrameError

AHEAD_NS_MAX = 1_000_000_000  # all clocks of a boot are one clock; this much for a stage that was interrupted
# Where time comes from frames: a recording may have been interrupted, and a day covers such a pause.
REPLAY_AHEAD_NS_MAX = 86_400_000_000_000
INTERVAL_NS_MAX = (
    3_600_000_000_000  # as in the settings; beyond it, a stage that has ended would not be missed
)
SUM_MAX = 2**63  # what counters and their sums stay below; 2⁶³ µJ last a node of 1 kW for 290 years
# Nanoseconds since 1970 of the years 2001 and 2100: no machine runs for so long.
_UNIX_NS = range(10**18, 41 * 10**17)


class Guard:
    """Checks frames against the time and the boot of their reader."""

    def __init__(
        self,
        now_ns: Callable[[], int] = time.monotonic_ns,
        boot_id: Callable[[], str] = lambda: "",
        *,
        is_replay: bool = False,
        streams: PowerStreams | None = ONLY_POWER,
    ) -> None:
        """`now_ns`: the reader's time, 0 while it has none. `boot_id`: the boot of that time, if known.

        `is_replay`: the time is that of the newest frame. `streams`: the power streams that count; None for
        all, with every zone, as in a recording whose frames were checked when it was made.
        """
        self.streams = streams
        self._now_ns = now_ns
        self._boot_id = boot_id
        self._is_replay = is_replay

    def check(self, frame: AnyFrame, service: str | None = None) -> None:
        """Raise FrameError if a frame can't be right; `service`: in whose directory it was published."""
        if service is not None:
            check_speaker(frame, service)
            if self.streams is not None:
                check_allowed(frame, self.streams)
        boot_id, now_ns = self._boot_id(), self._now_ns()
        # In a replay a status is of the process that sent it, which lives by this machine's clock.
        if not (self._is_replay and isinstance(frame, Status)):
            if boot_id and frame.boot_id != boot_id:
                raise FrameError(
                    "other_boot",
                    f"{frame.topic}: expected boot_id {boot_id!r}, "
                    f"got {frame.boot_id!r:.60}; its clock is another",
                )
            ahead_ns = REPLAY_AHEAD_NS_MAX if self._is_replay else AHEAD_NS_MAX
            check_times(frame, now_ns + ahead_ns if now_ns else None)
        check_sums(frame)


def of_this_boot(streams: PowerStreams = ONLY_POWER) -> Guard:
    """A guard by this machine's clock and boot."""
    boot_id = this_boot_id()
    return Guard(boot_id=lambda: boot_id, streams=streams)


def check_speaker(frame: AnyFrame, service: str) -> None:
    """Raise FrameError unless a frame is its service's own: topic, producer and directory belong together."""
    own = service_of(service)
    if PRODUCER_OF_TOPIC.get(frame.topic, own) != own:
        raise FrameError(
            "forged",
            f"{frame.topic}: expected on the stream of {PRODUCER_OF_TOPIC[frame.topic]}, "
            f"got on that of {service}",
        )
    names = {"producer": frame.producer} | ({"service": frame.service} if isinstance(frame, Status) else {})
    for field, name in names.items():
        if name != service:
            raise FrameError(
                "forged", f"{frame.topic}: expected {field} {service!r} on its own stream, got {name!r:.60}"
            )


def check_allowed(frame: Frame, streams: PowerStreams) -> None:
    """Raise FrameError for a power frame of an unlisted stream, or with a zone that its stream may not have.

    Rows of `gpu_use` count as the zone gpu. Rows of `absent` may have no zone, as of a meter whose zone isn't
    known.
    """
    if not isinstance(frame, Power):
        return
    stream = streams.find(frame.producer)
    if stream is None:
        raise FrameError(
            "not_allowed",
            f"power: expected a stream of the setting power.streams ({', '.join(streams.names)}), got "
            f"{frame.producer!r:.60}",
        )
    if stream.zones is None:
        return
    zones = {*frame.zones.zone, *(zone for zone in frame.absent.zone if zone)}
    if len(frame.gpu_use):
        zones.add("gpu")
    if foreign := sorted(zones - stream.zones):
        raise FrameError(
            "not_allowed",
            f"power: expected {stream.name} to publish only {'+'.join(sorted(stream.zones))}, as the setting "
            f"power.streams says, got zone {foreign[0]!r:.60}",
        )


def check_times(frame: AnyFrame, latest_ns: int | None) -> None:
    """Raise FrameError for a time above `latest_ns` (if given), or above one that must come after it."""
    if frame.interval_ns > INTERVAL_NS_MAX:
        raise _wrong_time(frame, "interval_ns", frame.interval_ns, f"at most {INTERVAL_NS_MAX}")
    for name, earlier_ns, later_name, later_ns in _orders(frame):
        if earlier_ns > later_ns:
            raise _wrong_time(frame, name, earlier_ns, f"at most {later_name}, {later_ns}")
    if latest_ns is None:
        return
    for name, instants_ns in _instants(frame):
        if instants_ns and (latest := max(instants_ns)) > latest_ns:
            raise _wrong_time(frame, name, latest, f"a time of this boot, at most {latest_ns}")


def _orders(frame: AnyFrame) -> Iterator[tuple[str, int, str, int]]:
    """(field, its time, field that is no earlier, its time)."""
    yield "epoch", frame.epoch, "mono_ns", frame.mono_ns
    if isinstance(frame, Metadata):
        yield "covers_epoch", frame.covers_epoch, "covers_mono_ns", frame.covers_mono_ns
    elif isinstance(frame, Energy):
        yield "activity_epoch", frame.activity_epoch, "activity_mono_ns", frame.activity_mono_ns
    elif isinstance(frame, Power):
        yield "zones.epoch", max(frame.zones.epoch, default=0), "mono_ns", frame.mono_ns
        rows = zip(frame.zone_epochs(), frame.zones.mono_ns, frame.zones.energy_uj, strict=True)
        # A zone that has counted nothing may have been read before its epoch.
        begun = ((epoch, mono_ns) for epoch, mono_ns, energy_uj in rows if energy_uj)
        epoch, mono_ns = max(begun, key=lambda times: times[0] - times[1], default=(0, 0))
        yield "a zone's epoch", epoch, "the time of its reading", mono_ns


def _instants(frame: AnyFrame) -> Iterator[tuple[str, Sequence[int]]]:
    """(field, its times) of all that lie on CLOCK_MONOTONIC."""
    yield "mono_ns", (frame.mono_ns,)
    yield "run", (frame.run,)
    yield "useful_mono_ns", (frame.useful_mono_ns,)
    match frame:
        case Activity():
            yield "cpus.start_mono_ns", frame.cpus.start_mono_ns
            yield "cpus.stamp_mono_ns", frame.cpus.stamp_mono_ns
        case Power():
            yield "zones.mono_ns", frame.zones.mono_ns
        case Metadata():
            yield "covers_mono_ns", (frame.covers_mono_ns,)
        case Energy():
            yield "activity_mono_ns", (frame.activity_mono_ns,)
            yield "zones.watermark_mono_ns", frame.zones.watermark_mono_ns


def _wrong_time(frame: AnyFrame, name: str, instant_ns: int, expected: str) -> FrameError:
    if instant_ns in _UNIX_NS:
        return FrameError(
            "wrong_time", f"{frame.topic}: {name} is Unix time ({instant_ns}), expected CLOCK_MONOTONIC"
        )
    return FrameError("wrong_time", f"{frame.topic}: expected {name} to be {expected}, got {instant_ns}")


def check_sums(frame: AnyFrame) -> None:
    """Raise FrameError for books that don't close, or whose sums are larger than any machine's."""
    if not isinstance(frame, Energy):
        return
    containers = frame.containers
    for name, column in (
        ("containers.cpu_ns", containers.cpu_ns),
        ("containers.departed_cpu_ns", containers.departed_cpu_ns),
        ("processes.cpu_ns", frame.processes.cpu_ns),
    ):
        if (total := sum(column)) >= SUM_MAX:
            raise FrameError("wrong_sum", f"energy: expected a sum of {name} below 2^63, got {total}")
    _check_books(frame)


def _check_books(frame: Energy) -> None:
    """Per zone: measured = Σ containers (dynamic + idle) + Σ unattributed, and idle is a part of it.

    And in each container. So no sum of energies is above what was measured.
    """
    zones, containers, left = frame.zones, frame.containers, frame.unattributed
    given_uj = [sum(d) + sum(i) for d, i in zip(containers.dynamic_uj, containers.idle_uj, strict=True)]
    for row, energy_uj in zip(left.zone_row, left.energy_uj, strict=True):
        given_uj[row] += energy_uj
    for row, (measured_uj, idle_uj) in enumerate(zip(zones.measured_uj, zones.idle_uj, strict=True)):
        name = f"energy: zone {zones.zone[row]} {zones.index[row]} from {zones.source[row]}"
        if given_uj[row] != measured_uj:
            raise FrameError(
                "wrong_sum",
                f"{name:.200}: expected measured_uj {measured_uj} in containers and unattributed, "
                f"got {given_uj[row]}",
            )
        if idle_uj > measured_uj:
            raise FrameError(
                "wrong_sum", f"{name:.200}: expected idle_uj of at most {measured_uj}, got {idle_uj}"
            )
        if measured_uj >= SUM_MAX:
            raise FrameError("wrong_sum", f"{name:.200}: expected measured_uj below 2^63, got {measured_uj}")
        for whole, departed, listed in (
            (containers.dynamic_uj, containers.departed_dynamic_uj, frame.processes.dynamic_uj),
            (containers.idle_uj, containers.departed_idle_uj, frame.processes.idle_uj),
        ):
            _check_containers(frame, name, whole[row], departed[row], listed[row])


def _check_containers(frame: Energy, name: str, whole: U64, departed: U64, listed: U64) -> None:
    """Per container: its energy = Σ its processes + what departed ones used."""
    parts = list(departed)
    for row, energy_uj in zip(frame.processes.container_row, listed, strict=True):
        parts[row] += energy_uj
    for row, energy_uj in enumerate(whole):
        if parts[row] != energy_uj:
            raise FrameError(
                "wrong_sum",
                f"{name:.200}: expected {energy_uj} in the processes of container "
                f"{frame.containers.container_id[row]!r:.80} and departed ones, got {parts[row]}",
            )
