# SPDX-License-Identifier: Apache-2.0
"""The power stage as a whole: which source it takes, what it publishes, and how it goes on when restarted."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from services.power import loop, zone_meter
from services.power.loop import PowerStage
from services.power.meters import SILENT_MAX
from services.power.settings import PowerSettings
from services.power.source import utc
from wattline.wire.codec import decode, encode
from wattline.wire.columns import U64
from wattline.wire.frames import SourceState

from .world import RANGE_UJ, Clock, FakeRuntime, RaplTree, S, activity, rows

PACKAGE, DRAM = ("package", "0"), ("dram", "0")


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(zone_meter, "time", clock)
    monkeypatch.setattr(loop, "time", clock)
    return clock


@pytest.fixture
def tree(tmp_path) -> RaplTree:
    tree = RaplTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", energy_uj=1_000_000)
    tree.zone("intel-rapl:0/intel-rapl:0:0", "dram", energy_uj=2_000_000)
    return tree


class Node:
    """Runs of the stage, one after the other."""

    def __init__(self, sysfs, clock):
        self.settings = PowerSettings(path_sysfs=sysfs)
        self.clock = clock
        self.runtime = FakeRuntime()
        self.stage = PowerStage(self.settings, self.runtime)

    def tick(self, seconds=1.0):
        self.clock.advance(seconds)
        self.stage.on_tick(self.clock.now_ns)
        return self.runtime.frames[-1]

    def restart(self):
        self.stage.close()
        self.clock.advance(0.1)
        self.runtime = self.runtime.restarted()
        self.stage = PowerStage(self.settings, self.runtime)


@pytest.fixture
def node(tree, clock):
    node = Node(tree.sysfs, clock)
    yield node
    node.stage.close()


@pytest.fixture
def bare(tmp_path, clock):
    """A machine without a meter."""
    node = Node(tmp_path / "empty", clock)
    yield node
    node.stage.close()


def test_a_meter_is_preferred_to_the_estimate(node):
    """With RAPL nothing is estimated, not even the zones that RAPL has not."""
    node.stage.on_frame(activity(node.clock.now_ns, [S]))
    frame = node.tick()
    assert set(rows(frame)) == {PACKAGE, DRAM}
    assert frame.sources == [SourceState(name="rapl-sysfs", up=True)]
    assert "no_meter" not in node.runtime.text.getvalue()


def test_rows_are_in_canonical_order_and_survive_the_wire(node, tree):
    """By zone, index and source, whatever the order in sysfs."""
    for number in (1, 2, 3):
        tree.zone(f"intel-rapl:{number}", f"package-{4 - number}", energy_uj=number * 100_000_000)
    node.restart()
    frame = node.tick()
    names = list(zip(frame.zones.zone, frame.zones.index, frame.zones.source, strict=True))
    assert names == sorted(names)
    assert len(names) == 5
    assert decode(encode(frame)) == frame


def test_the_epoch_is_when_counting_began(node, clock):
    """Before the first reading, and the same in every frame of a run."""
    begun_ns = clock.now_ns
    assert {node.tick().epoch for _tick in range(3)} == {begun_ns}


def test_a_restart_goes_on_from_the_last_raw_reading(node, tree):
    """Same epoch, and the energy of the pause is in the first reading."""
    tree.set("intel-rapl:0", 11_000_000)
    before = node.tick()
    node.restart()
    tree.set("intel-rapl:0", 41_000_000)
    after = node.tick(30)
    assert after.epoch == before.epoch
    assert rows(before)[PACKAGE]["energy_uj"] == 10_000_000
    assert rows(after)[PACKAGE]["energy_uj"] == 40_000_000
    assert rows(after)[PACKAGE]["gaps"] == 0
    assert "resumed=True" in node.runtime.text.getvalue()


def test_a_wrap_during_the_pause_is_counted(node, tree):
    """The counter fell while nobody looked: it wrapped once, for it can't have twice."""
    tree.set("intel-rapl:0/intel-rapl:0:0", RANGE_UJ - 1_000_000)
    node.stage.close()
    node.stage = PowerStage(node.settings, node.runtime)
    before = rows(node.tick())[DRAM]
    tree.set("intel-rapl:0/intel-rapl:0:0", 4_000_000)
    node.clock.advance(100)
    node.restart()
    after = rows(node.tick())[DRAM]
    assert (before["energy_uj"], after["energy_uj"]) == (0, 5_000_000)
    assert after["gaps"] == 0


def test_a_pause_too_long_for_the_counter_is_a_gap(node, tree):
    """Energy stays, the gap is counted and said, and the zone goes on in the same epoch."""
    tree.set("intel-rapl:0", 11_000_000)
    before = node.tick()
    stopped = utc(
        before.zones.mono_ns[1] - before.mono_ns
    )  # the wall clock begins with the run's first frame
    node.clock.advance(RANGE_UJ / 1e9 + 1)  # at 1 kW
    node.restart()
    tree.set("intel-rapl:0", 31_000_000)
    after = node.tick()
    assert after.epoch == before.epoch
    assert (rows(after)[PACKAGE]["gaps"], rows(after)[DRAM]["gaps"]) == (1, 0)  # dram draws less: later
    assert rows(after)[PACKAGE]["energy_uj"] == 10_000_000 + 20_000_000
    assert node.runtime.errors == {}  # it was stopped, and that is no error
    (line,) = (line for line in node.runtime.text.getvalue().splitlines() if " gap " in line)
    assert " INFO power gap " in line
    assert f"package 0: energy between the stop at {stopped} and this start is not counted" in line


def test_a_pause_too_long_without_a_stop_is_an_error(node):
    """A power service that was held up for as long is warned of, and counted."""
    node.tick()
    frame = node.tick(RANGE_UJ / 1e9 + 1)
    assert rows(frame)[PACKAGE]["gaps"] == 1
    assert node.runtime.errors == {"gap": 1}
    assert "WARNING power gap" in node.runtime.text.getvalue()
    assert "package 0: no reading for 262 s or longer" in node.runtime.text.getvalue()


def test_a_zone_that_was_not_in_the_last_frame_begins_a_new_epoch(node, tree, clock):
    """It may have been counted before; under the old epoch it would go backwards. The others go on."""
    tree.set("intel-rapl:0", 11_000_000)
    before = node.tick()
    tree.zone("intel-rapl:1", "package-1", energy_uj=700_000_000)
    node.restart()
    begun_again_ns = clock.now_ns
    after = node.tick()
    assert after.epoch == before.epoch
    assert rows(after)["package", "1"]["epoch"] == begun_again_ns > before.epoch
    assert rows(after)["package", "1"]["energy_uj"] == 0
    assert rows(after)[PACKAGE]["epoch"] == before.epoch
    assert rows(after)[PACKAGE]["energy_uj"] == 10_000_000


def test_a_zone_that_is_away_over_a_restart_never_goes_backwards(node, tree):
    """Whatever happens to a zone, its energy within one epoch only rises."""
    counter = tree.powercap / "intel-rapl:0/intel-rapl:0:0/energy_uj"
    seen = []
    for raw_uj in (4_000_000, None, None, 9_000_000, 12_000_000):
        node.restart()
        counter.unlink(missing_ok=True)
        if raw_uj is not None:
            counter.write_text(f"{raw_uj}\n", encoding="ascii")
        node.restart()
        frame = node.tick()
        if DRAM in rows(frame):
            seen.append((rows(frame)[DRAM]["epoch"], rows(frame)[DRAM]["energy_uj"]))
    assert len(seen) == 5
    assert seen == sorted(seen)


@pytest.mark.parametrize(("column", "largest"), [("energy_uj", 2**64 - 1), ("gaps", 2**32 - 1)])
def test_counters_without_room_to_count_begin_again(node, tree, column, largest):
    """Whatever another stage has left in `last`, the frames go on: under a new epoch."""
    before = node.tick()
    getattr(before.zones, column)[0] = largest
    node.restart()
    for seconds in (1, 10**6):  # the second pause is a gap
        tree.set("intel-rapl:0", 50_000_000)
        after = node.tick(seconds)
    assert after.epoch > before.epoch
    assert rows(after)[PACKAGE]["energy_uj"] == 49_000_000
    assert rows(after)[PACKAGE]["gaps"] == 1


def test_a_zone_that_is_silent_at_a_restart_is_waited_for(node, tree):
    """In the same epoch, with its last row until it is back; then nothing of it is missing."""
    counter = tree.powercap / "intel-rapl:0/intel-rapl:0:0/energy_uj"
    before = node.tick()
    counter.write_text("", encoding="ascii")
    node.restart()
    silent = node.tick()
    assert rows(silent)[DRAM] == rows(before)[DRAM]
    assert not silent.sources[0].up
    tree.set("intel-rapl:0/intel-rapl:0:0", 9_000_000)
    after = node.tick()
    assert after.epoch == silent.epoch == before.epoch
    assert rows(after)[DRAM]["energy_uj"] == 7_000_000


@pytest.mark.parametrize("last", ["", f"{RANGE_UJ + 1}", "1502000000"])
def test_a_kill_at_a_frame_without_a_reading_loses_nothing(node, tree, last):
    """Unreadable, refused or put off: the last believed row stays, and the next run goes on from it."""
    counter = tree.powercap / "intel-rapl:0/intel-rapl:0:0/energy_uj"
    before = node.tick()
    for _second in range(2):
        counter.write_text(last, encoding="ascii")
        node.tick()
        node.restart()
    counter.write_text("41000000", encoding="ascii")
    after = rows(node.tick())[DRAM]
    assert after["epoch"] == rows(before)[DRAM]["epoch"]
    assert (after["energy_uj"], after["gaps"]) == (39_000_000, 0)


def test_rows_that_stay_do_not_keep_a_silent_meter_in_use(node, tree, clock):
    """After five readings without a new one the estimate takes over; the rows end, and no time is in both."""
    metered = node.tick()
    for path in ("intel-rapl:0", "intel-rapl:0/intel-rapl:0:0"):
        (tree.powercap / path / "energy_uj").write_text("", encoding="ascii")
    for _second in range(SILENT_MAX):
        assert set(node.tick().zones.source) == {"rapl-sysfs"}
    for second in (1, 2):
        node.stage.on_frame(activity(clock.now_ns, [second * S]))
        frame = node.tick()
    assert set(frame.zones.source) == {"trained_power_model"}
    assert min(frame.zone_epochs()) > max(metered.zones.mono_ns)


def test_unreadable_rapl_is_said_and_estimated(tree, clock, monkeypatch):
    """Without the right to read, estimates; the state of RAPL says why, and the log how to change it."""

    def refuse(path, *_arguments):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(zone_meter.os, "open", refuse)
    node = Node(tree.sysfs, clock)
    node.stage.on_frame(activity(clock.now_ns, [S]))
    frame = node.tick()
    assert set(rows(frame)) == {(zone, "estimator0") for zone in ("package", "dram", "platform")}
    rapl, estimator = frame.sources
    assert (rapl.name, rapl.up) == ("rapl-sysfs", False)
    assert "start power as root" in rapl.reason
    assert estimator == SourceState(name="trained_power_model", up=True)
    lines = node.runtime.text.getvalue().splitlines()
    assert len([line for line in lines if "no_meter" in line]) == 1
    (why,) = (line for line in lines if "source_not_used source=rapl-sysfs" in line)
    assert "start power as root" in why
    node.stage.close()


def test_from_estimate_to_meter_is_another_series(bare, tree, clock):
    """When RAPL is there after a restart, its zones begin at 0 in a new epoch, without the model's."""
    bare.stage.on_frame(activity(clock.now_ns, [S]))
    before = bare.tick()
    bare.settings = PowerSettings(path_sysfs=tree.sysfs)
    bare.restart()
    after = bare.tick()
    assert min(after.zone_epochs()) > max(before.zones.mono_ns)
    assert set(after.zones.source) == {"rapl-sysfs"}


def test_a_meter_that_appears_ends_the_estimate(bare, clock):
    """Its zones are in the next frame, in epochs of their own; the estimate has no row any more."""
    bare.stage.on_frame(activity(clock.now_ns, [S]))
    estimated = bare.tick()
    tree = RaplTree(bare.settings.path_sysfs)
    tree.zone("intel-rapl:0", "package-0", energy_uj=5_000_000)
    bare.stage.on_frame(activity(clock.now_ns, [2 * S]))
    first = bare.tick()
    assert set(estimated.zones.source) == {"trained_power_model"}
    assert set(first.zones.source) == {"rapl-sysfs"}
    assert first.epoch == estimated.epoch
    assert rows(first)[PACKAGE]["energy_uj"] == 0
    assert rows(first)[PACKAGE]["epoch"] > max(estimated.zones.mono_ns)
    assert first.sources == [SourceState(name="rapl-sysfs", up=True)]
    tree.set("intel-rapl:0", 35_000_000)
    bare.stage.on_frame(activity(clock.now_ns, [3 * S]))
    assert rows(bare.tick())[PACKAGE]["energy_uj"] == 30_000_000
    assert "rapl-sysfs has zones now" in bare.runtime.text.getvalue()


def test_the_estimate_takes_over_when_every_meter_has_gone(node, tree, clock):
    """After five frames without a zone, and never for a time that the meter has counted or counts later."""
    tree.set("intel-rapl:0", 11_000_000)
    metered = node.tick()
    shutil.move(tree.powercap, tree.sysfs / "gone")
    silent = []
    for second in range(SILENT_MAX):
        node.stage.on_frame(activity(clock.now_ns, [second * S]))
        silent.append(node.tick())
    assert [len(frame.zones) for frame in silent] == [0] * SILENT_MAX
    assert [[state.name for state in frame.sources] for frame in silent] == [["rapl-sysfs"]] * SILENT_MAX
    for second in (6, 7):
        node.stage.on_frame(activity(clock.now_ns, [second * S]))
        estimated = node.tick()
    assert set(estimated.zones.source) == {"trained_power_model"}
    assert min(estimated.zone_epochs()) > max(metered.zones.mono_ns)
    assert [state.up for state in estimated.sources] == [False, True]
    tree.powercap.parent.mkdir(exist_ok=True)
    shutil.move(tree.sysfs / "gone", tree.powercap)
    tree.set("intel-rapl:0", 99_000_000)
    back = node.tick()
    assert set(back.zones.source) == {"rapl-sysfs"}
    assert rows(back)[PACKAGE]["energy_uj"] == 0
    assert rows(back)[PACKAGE]["epoch"] > max(estimated.zones.mono_ns)


def test_a_meter_that_is_silent_for_a_moment_goes_on(node, tree):
    """Fewer missing frames than that switch nothing, and cost no energy."""
    node.tick()
    shutil.move(tree.powercap, tree.sysfs / "gone")
    for _second in range(SILENT_MAX - 1):
        assert len(node.tick().zones) == 0
    shutil.move(tree.sysfs / "gone", tree.powercap)
    tree.set("intel-rapl:0", 31_000_000)
    after = node.tick()
    assert rows(after)[PACKAGE]["energy_uj"] == 30_000_000
    assert after.zones.epoch == U64()


def test_absent_zones_are_in_the_frame(node, tree):
    """A zone that can't be read is named with its reason, also over the wire."""
    (tree.powercap / "intel-rapl:0/energy_uj").write_text("", encoding="ascii")
    frame = decode(encode(node.tick()))
    assert (frame.absent.source, frame.absent.zone, frame.absent.index) == (
        ["rapl-sysfs"],
        ["package"],
        ["0"],
    )
    assert frame.absent.why == ["unreadable"]
    assert "expected decimal microjoules" in frame.absent.reason[0]


def test_a_frame_without_zones_is_a_heartbeat(bare):
    """Nothing can be told, and that is published."""
    frame = bare.tick()
    assert len(frame.zones) == 0
    assert [state.up for state in frame.sources] == [False, False]
    assert bare.tick().mono_ns > frame.mono_ns


def test_the_start_without_a_meter_warns_once(bare):
    """One short line, also behind the name that `wattline up` prints: an estimate, and the page about it."""
    bare.tick()
    bare.tick()
    lines = bare.runtime.text.getvalue().splitlines()
    (warning,) = (line for line in lines if "WARNING" in line)
    assert len("calculator | " + warning) <= 160
    page = re.search(r"estimated from CPU time, .*; see (docs/\S+\.md)", warning)[1]
    assert (Path(__file__).parents[2] / page).exists()
    (why,) = (line for line in lines if "source_not_used" in line)
    assert " INFO power source_not_used source=rapl-sysfs " in why
    assert "modprobe intel_rapl_msr" in why


def test_a_probe_that_was_stopped_is_no_error(bare, clock):
    """The time between its stop and its new start is not counted: said once, without a word of loss."""
    bare.stage.on_frame(activity(clock.now_ns, [S]))
    bare.tick()
    clock.advance(10)
    bare.stage.on_frame(activity(clock.now_ns, [S], epoch=clock.now_ns - 2 * S))
    frame = bare.tick(0)
    assert set(frame.zones.gaps) == {1}
    assert bare.runtime.errors == {}
    (line,) = (line for line in bare.runtime.text.getvalue().splitlines() if " gap " in line)
    # Its wall clock is 0 at the frame's time: 11 s and 2 s before that.
    expected = (utc(-11 * S), utc(-2 * S))
    assert " INFO power gap " in line
    assert "energy between the probe's last sample at {} and its new start at {} is".format(*expected) in line
    assert "lost" not in line


def test_an_estimate_goes_on_after_a_restart(bare, clock):
    """Same epoch; the pause is estimated from the CPU time that passed in it."""
    bare.stage.on_frame(activity(clock.now_ns, [0]))
    bare.tick()
    bare.stage.on_frame(activity(clock.now_ns, [S]))
    before = bare.tick(0)
    bare.restart()
    clock.advance(8.9)
    bare.stage.on_frame(activity(clock.now_ns, [10 * S]))
    after = bare.tick(0)
    assert after.epoch == before.epoch
    for key, row in rows(after).items():
        assert row["energy_uj"] == pytest.approx(10 * rows(before)[key]["energy_uj"], abs=10)
        assert row["gaps"] == 0


def test_an_estimate_follows_the_activity(bare, clock):
    """Published when activity comes, once an interval; at the tick only if none has come."""
    sent = []
    for second in range(4):
        bare.stage.on_frame(activity(clock.now_ns, [second * S]))
        bare.stage.on_frame(activity(clock.now_ns + 1, [second * S]))
        sent.append(len(bare.runtime.frames))
        bare.tick()
    assert sent == [1, 2, 3, 4]
    frames = bare.runtime.frames
    assert [frame.zones.mono_ns[0] for frame in frames] == [clock.now_ns - n * S for n in (4, 3, 2, 1)]
    bare.tick()
    assert len(bare.runtime.frames) == 5


def test_activity_of_another_boot_is_ignored(bare, clock):
    """Its times mean nothing on this clock."""
    bare.stage.on_frame(activity(clock.now_ns, [S], boot_id="another"))
    assert len(bare.tick().zones) == 0


def test_a_vanished_zone_is_counted_and_said(node, tree, monkeypatch):
    """Its row stays as it was while the others go on, errors count it, and the log names it."""
    before = node.tick()
    pread = os.pread

    def without_dram(descriptor, *arguments):
        if os.fstat(descriptor).st_ino == gone.stat().st_ino:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return pread(descriptor, *arguments)

    gone = tree.powercap / "intel-rapl:0/intel-rapl:0:0/energy_uj"
    monkeypatch.setattr(zone_meter.os, "pread", without_dram)
    frame = node.tick()
    assert rows(frame)[DRAM] == rows(before)[DRAM]
    assert rows(frame)[PACKAGE]["mono_ns"] > rows(before)[PACKAGE]["mono_ns"]
    assert frame.absent.zone == ["dram"]
    assert not frame.sources[0].up
    assert node.runtime.errors == {"unreadable": 1}
    assert "No such device" in node.runtime.text.getvalue()
