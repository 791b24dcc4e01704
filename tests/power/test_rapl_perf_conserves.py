# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to perf events, no energy is counted twice, and what is missing is stated."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.power import rapl_perf_counter, rapl_perf_zones, zone_meter
from services.power.rapl_perf import RaplPerf
from services.power.settings import PowerSettings
from services.power.source import Former

from .perf_machine import FakePmu, PmuTree, Ticks
from .world import RANGE_UJ, RaplTree

_NS_PER_UJ = 1000  # at 1 W


class Machine:
    """A package of two CPUs that draws 1 W, by perf and, if it is shown, by sysfs."""

    def __init__(self, sysfs: Path, clock: Ticks):
        self.clock = clock
        self.begun_ns = clock.now_ns
        self.tree = PmuTree(sysfs)
        self.tree.cpus({0: (0, 0), 1: (0, 0)})
        self.tree.event("energy-pkg")
        self.rapl = RaplTree(sysfs)
        self.zone = self.rapl.zone("intel-rapl:0", "package-0")
        self.cpu = 0
        self.pmu = FakePmu(clock)
        self.source = self._open(Former())

    @property
    def truth_uj(self) -> int:
        return (self.clock.now_ns - self.begun_ns) // _NS_PER_UJ

    def _open(self, former: Former) -> RaplPerf:
        self._show()
        settings = PowerSettings(power_sources="rapl-perf", path_sysfs=self.tree.sysfs)
        return RaplPerf(settings, former, self.clock.now_ns, open_event=self.pmu.open)

    def _show(self):
        """A counter that begins near its end."""
        self.rapl.set("intel-rapl:0", (RANGE_UJ - 20_000_000 + self.truth_uj) % RANGE_UJ)

    def end(self):
        for event in self.pmu.live:
            event.is_ended = True

    def offline(self, *, is_moved: bool):
        """The CPU that counts goes offline; the kernel moves the event, or doesn't."""
        for event in self.pmu.live:
            if not is_moved and event.stopped_ns is None:
                event.stopped_ns = self.clock.now_ns
        self.cpu = 1 - self.cpu
        self.tree.cpumask(str(self.cpu))

    def hide(self):
        """Another counter, as far as its reader can tell: nothing is bridged."""
        (self.zone / "max_energy_range_uj").write_text("99999999999\n", encoding="ascii")

    def restart(self):
        (row,) = self.read()
        self.source.close()
        self.clock.advance(3)
        self.source = self._open(Former(row.epoch, {row.zone: row}, 0, row.mono_ns))

    def undergo(self, operation: tuple):
        match operation:
            case ("tick", ms):
                self.clock.advance(ms / 1000)
            case ("end",):
                self.end()
            case ("moved",):
                self.offline(is_moved=True)
            case ("offline",):
                self.offline(is_moved=False)
            case ("restart",):
                self.restart()
            case ("end", "restart"):
                self.end()
                self.restart()
            case ("hide",):
                self.hide()

    def read(self):
        self.clock.advance(0.001)  # no two readings are at the same time
        self._show()
        return self.source.read(self.clock.now_ns).rows


def allowed_uj(due_uj: int) -> int:
    return 5000 + due_uj // 100


_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), st.integers(1, 20_000)),
        st.sampled_from([("end",), ("moved",), ("offline",), ("restart",), ("end", "restart"), ("hide",)]),
    ),
    max_size=12,
)


@settings(max_examples=150)
@given(_OPERATIONS)
def test_energy_never_exceeds_the_truth_and_falls_short_only_by_stated_gaps(operations):
    """1 W is 1 W over ended events, offline CPUs and restarts: without a gap, to the microjoule.

    An event that has just stopped with its CPU is noticed 5 ms later.
    """
    clock = Ticks()
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        for module in (rapl_perf_counter, rapl_perf_zones, zone_meter):
            patch.setattr(module, "time", clock)
        machine = Machine(Path(directory), clock)
        energy_uj = gaps = 0
        has_stopped = False
        for operation in operations:
            machine.undergo(operation)
            has_stopped = has_stopped or operation == ("offline",)
            (row,) = machine.read()
            assert energy_uj <= row.energy_uj <= machine.truth_uj
            assert row.gaps >= gaps
            if not row.gaps:
                due_uj = (row.mono_ns - machine.begun_ns) // _NS_PER_UJ
                assert row.energy_uj == due_uj or (
                    has_stopped and due_uj - row.energy_uj <= allowed_uj(due_uj)
                )
            energy_uj, gaps = row.energy_uj, row.gaps
        machine.source.close()
