# SPDX-License-Identifier: Apache-2.0
"""One wrong frame: rejected without a trace in the ledger, or accepted and then contradicted."""

import msgpack
import msgspec
import pytest

from services.calculator.columns import ImpossibleError
from services.calculator.odd_rows import CGROUP_ID_MAX, SOCKET_MAX, START_TICKS_MAX, without_odd_rows
from services.calculator.rules import Rules
from wattline.second_look import AGREEING
from wattline.wire.columns import U32, U64

from .desk import Desk, Watch
from .paper import ROOT, Paper
from .world import S

A = "a" * 64
PROCESS = (10, 100, 7)
METERS = (("package", 20), ("platform", 50))


class Attacked:
    """A well-behaved machine, and frames of it that a test makes wrong."""

    def __init__(self):
        self.machine = Paper(counts=False)
        self.machine.born(10, ROOT, A)
        for zone, idle_w in METERS:
            self.machine.meter(zone, "0", idle_w, per_cpu_s=9)
        self.desk = Desk(Rules(), Watch().check)
        self.refused = 0

    def second(self):
        """A second of true frames; what was refused of them is counted."""
        self.machine.run(S, {(PROCESS, 0): (0.5, 1, 1, 0)})
        self.desk.names.take_metadata(self.machine.metadata())
        self.activity(self.machine.activity())
        self.power(self.machine.power())
        self.desk.state.attribute(self.desk.rules)
        self.desk.ledger = self.desk.commit()
        self.desk.show(self.desk.tables())

    def activity(self, frame):
        try:
            self.desk.state.take_activity(frame, self.desk.names)
        except ImpossibleError:
            self.refused += 1

    def power(self, frame):
        self.refused += self.desk.state.take_power(frame, self.desk.rules)

    def seconds(self, count):
        for _second in range(count):
            self.second()

    def books(self):
        """The ledger without how long sources have been silent: time goes on, whatever frames say."""
        document = msgpack.unpackb(self.desk.commit())
        for column in ("silent_ns", "good"):
            del document["candidates"][column]
        del document["slots_now_ns"]
        return document

    def shown(self):
        tables = self.desk.tables()
        return (
            sum(tables["containers"].cpu_ns),
            [*tables["zones"].measured_uj],
            [*tables["zones"].watermark_mono_ns],
        )


def wrong_power(machine, **changes):
    """The frame of this moment with header fields, or `energy_uj` and `mono_ns` of all zones, changed."""
    frame = machine.power()
    zones = frame.zones
    if "more_uj" in changes:
        zones = msgspec.structs.replace(zones, energy_uj=U64(e + changes["more_uj"] for e in zones.energy_uj))
    if "later_ns" in changes:
        zones = msgspec.structs.replace(zones, mono_ns=U64(t + changes["later_ns"] for t in zones.mono_ns))
    later_ns = changes.get("later_ns", 0)
    return msgspec.structs.replace(
        frame, zones=zones, mono_ns=frame.mono_ns + later_ns, epoch=changes.get("epoch", frame.epoch)
    )


@pytest.mark.parametrize("more_uj", [10**12, 10**10])
def test_a_reading_that_is_too_high_leaves_no_trace(more_uj):
    """A megajoule more in a tenth of a second is rejected: the books are those of a machine without it."""
    attacked, spared = Attacked(), Attacked()
    for one in (attacked, spared):
        one.seconds(3)
    before = attacked.books()
    attacked.power(wrong_power(attacked.machine, more_uj=more_uj, later_ns=S // 10))
    assert attacked.refused == len(METERS)
    assert attacked.books() == before
    attacked.desk.kill()
    for one in (attacked, spared):
        one.seconds(3)
    assert attacked.shown() == spared.shown()
    assert attacked.refused == len(METERS)


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
def test_a_reading_that_was_accepted_is_not_kept_for_ever(is_killed):
    """A little too high to be impossible: the true readings below it win after three, as a gap."""
    attacked = Attacked()
    attacked.seconds(3)
    attacked.power(wrong_power(attacked.machine, more_uj=400 * 10**6, later_ns=S // 2))
    assert attacked.refused == 0
    attacked.desk.ledger = attacked.desk.commit()
    if is_killed:
        attacked.desk.kill()
    stood_uj = attacked.shown()[1]
    attacked.seconds(AGREEING)
    assert attacked.refused == (AGREEING - 1) * len(METERS)
    attacked.seconds(3)
    _cpu_ns, measured_uj, watermarks_ns = attacked.shown()
    assert min(watermarks_ns) == attacked.machine.now_ns
    assert all(now > then for now, then in zip(measured_uj, stood_uj, strict=True))
    assert [zone.meter.gaps for zone in attacked.desk.state.zones.zones.values()][:2] == [1, 1]


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
def test_an_epoch_that_was_accepted_is_not_kept_for_ever(is_killed):
    """A new epoch, as if power had begun again just now; then the old one goes on, and wins after three."""
    attacked = Attacked()
    attacked.seconds(3)
    now_ns = attacked.machine.now_ns
    wrong = wrong_power(attacked.machine, epoch=now_ns + S // 10, later_ns=S // 5)
    wrong.zones.energy_uj = U64([5] * len(wrong.zones))
    attacked.power(wrong)
    assert attacked.refused == 0
    attacked.desk.ledger = attacked.desk.commit()
    if is_killed:
        attacked.desk.kill()
    attacked.seconds(AGREEING)
    assert attacked.refused == (AGREEING - 1) * len(METERS)
    before_uj = attacked.shown()[1]
    attacked.seconds(2)
    _cpu_ns, measured_uj, watermarks_ns = attacked.shown()
    assert min(watermarks_ns) == attacked.machine.now_ns
    # Two seconds of 20 W + 9 W × 0.5, and none of what the old epoch had counted before.
    assert measured_uj[0] - before_uj[0] == pytest.approx(2 * 24.5e6, rel=0.01)


@pytest.mark.parametrize("is_killed", [False, True], ids=["alive", "killed"])
@pytest.mark.parametrize("wrong", ["epoch", "more", "processes"])
def test_activity_that_was_accepted_is_not_kept_for_ever(wrong, is_killed):
    """CPU time too high, or a new epoch: after three true frames it goes on, and counts no time twice."""
    attacked = Attacked()
    attacked.seconds(3)
    frame = attacked.machine.activity()
    frame.mono_ns += S // 10
    if wrong == "epoch":
        frame.epoch = frame.mono_ns - S // 20
        frame.cgroups.cpu_ns = U64([0] * len(frame.cgroups))
        frame.processes.cpu_ns = U64([0] * len(frame.processes))
    elif wrong == "more":
        frame.cgroups.cpu_ns = U64(ns + S // 5 for ns in frame.cgroups.cpu_ns)
    else:
        frame.processes.cpu_ns = U64(ns + S // 2 for ns in frame.processes.cpu_ns)
    attacked.activity(frame)
    assert attacked.refused == 0
    attacked.desk.state.attribute(attacked.desk.rules)
    attacked.desk.ledger = attacked.desk.commit()
    if is_killed:
        attacked.desk.kill()
    attacked.seconds(AGREEING + 1)
    cpu_ns = attacked.shown()[0]
    attacked.seconds(4)
    after_ns, _measured_uj, watermarks_ns = attacked.shown()
    assert after_ns - cpu_ns == 4 * S // 2
    assert min(watermarks_ns) == attacked.machine.now_ns


@pytest.mark.parametrize("column", ["cgroups", "processes"])
def test_a_cpu_does_no_more_than_time_passes(column):
    """CPU time beyond CPUs × elapsed is rejected as a whole frame, without a trace."""
    attacked = Attacked()
    attacked.seconds(3)
    before = attacked.desk.commit()
    frame = attacked.machine.activity()
    frame.mono_ns += S // 10
    getattr(frame, column).cpu_ns = U64(ns + 3600 * S for ns in getattr(frame, column).cpu_ns)
    attacked.activity(frame)
    assert attacked.refused == 1
    assert attacked.desk.commit() == before
    attacked.seconds(3)
    assert attacked.refused == 1


def test_a_dip_is_not_counted_twice():
    """A frame whose counters are all 0 is rejected; so nothing is counted again after it."""
    attacked = Attacked()
    attacked.seconds(3)
    cpu_ns = attacked.shown()[0]
    frame = attacked.machine.activity()
    frame.mono_ns += S // 10
    for table in (frame.cgroups, frame.processes):
        table.cpu_ns = U64([0] * len(table))
    attacked.activity(frame)
    assert attacked.refused == 1
    attacked.seconds(2)
    assert attacked.shown()[0] == cpu_ns + S


@pytest.mark.parametrize(
    ("column", "limit"),
    [
        ("cgroup_id", CGROUP_ID_MAX),
        ("socket", SOCKET_MAX),
        ("parent_id", CGROUP_ID_MAX),
        ("start_ticks", START_TICKS_MAX),
    ],
)
def test_odd_rows_are_left_out_and_the_rest_is_kept(column, limit):
    """Numbers that the books can't hold cost their row, not the frame; the largest ones they can are kept."""
    machine = Paper(counts=False)
    machine.born(10, ROOT, A)
    machine.run(S, {(PROCESS, 0): (0.5, 1, 1, 0)})
    kind = U32 if column == "socket" else U64
    for value in (limit, limit + 1, 2**32 - 1 if column == "socket" else 2**64 - 1):
        frame = machine.activity()
        name = {"parent_id": "paths", "start_ticks": "processes"}.get(column, "cgroups")
        table = getattr(frame, name)
        rows = len(table)
        setattr(table, column, kind([value, *getattr(table, column)[1:]]))
        kept, left_out = without_odd_rows(frame)
        assert left_out == (value > limit)
        assert len(getattr(kept, name)) == rows - left_out
        desk = Desk(Rules())
        desk.names.take_metadata(machine.metadata())
        desk.state.take_activity(kept, desk.names)
        assert desk.commit()


def test_zones_beyond_the_limit_are_rejected():
    """Zones stay in the books for good, so there is a limit to how many a stage can invent."""
    attacked = Attacked()
    attacked.seconds(2)
    for number in range(3):
        frame = attacked.machine.power()
        frame.mono_ns += number + 1
        names = [f"{number}-{row}" for row in range(100)]
        frame.zones = msgspec.structs.replace(
            frame.zones,
            **{
                column: value[:1] * 100 if isinstance(value, list) else type(value)([value[0]] * 100)
                for column in frame.zones.__struct_fields__
                for value in [getattr(frame.zones, column)]
                if value
            },
        )
        frame.zones.index = names
        attacked.power(frame)
    assert len(attacked.desk.state.zones.zones) == 256
    assert attacked.refused == 300 - (256 - 3)  # with package, platform and `other`
    attacked.seconds(2)
