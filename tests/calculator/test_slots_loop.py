# SPDX-License-Identifier: Apache-2.0
"""The calculator's stage with several power streams: what it publishes and logs of them."""

from types import SimpleNamespace

import msgspec
import pytest

from services.calculator.absent import union
from services.calculator.loop import CalculatorStage
from services.calculator.settings import CalculatorSettings
from services.calculator.slots import WAS_AWAY
from wattline.wire.frames import UNREADABLE, ZONES_MAX, AbsentZones, SourceState

from .meters import ABSENT, HUNG, House, Meter
from .runtime import runtime_of
from .world import S


class Stage:
    """A house whose frames go to a stage; what it publishes and logs is kept."""

    def __init__(self, directory, meters):
        self.house = House(meters)
        self.published, self.logged = [], []
        log = SimpleNamespace(
            info=lambda event, **fields: self.logged.append((event, fields)), error=pytest.fail
        )
        self.runtime = runtime_of(
            self.house.paper,
            directory / "ledger",
            log=log,
            publish=lambda _kind, **fields: self.published.append(fields),
        )
        self.stage = self.start()

    def start(self):
        return CalculatorStage(CalculatorSettings(), self.runtime)

    def seconds(self, count):
        house = self.house
        for _second in range(count):
            house.paper.run(S, {})
            self.stage.on_frame(house.paper.metadata())
            self.stage.on_frame(house.paper.activity())
            for stream in dict.fromkeys(one.stream for one in house.meters):
                if stream not in house.dead:
                    frame = house.frame(stream)
                    source = SourceState(name=f"of {stream}", up=True)
                    self.stage.on_frame(msgspec.structs.replace(frame, sources=[source]))
            self.stage.on_tick(house.now_ns)


def test_sources_and_absent_zones_of_all_streams_are_handed_on(tmp_path):
    """A frame of one stream doesn't take away what another one has reported."""
    stage = Stage(tmp_path, [Meter("package", "0", "rapl"), Meter("platform", "0", "bmc", "power-bmc")])
    for meter in stage.house.meters:
        meter.state = ABSENT
    stage.seconds(2)
    last = stage.published[-1]
    assert [source.name for source in last["sources"]] == ["of power", "of power-bmc"]
    assert last["absent"].source == ["rapl", "bmc"]


def test_what_a_dead_stream_reported_is_dropped(tmp_path):
    """A minute after its last frame, its sources and absent zones are gone; its next one has them again."""
    stage = Stage(tmp_path, [Meter("package", "0", "rapl"), Meter("platform", "0", "bmc", "power-bmc")])
    stage.house.meter("bmc").state = ABSENT
    stage.seconds(5)
    stage.house.dead = {"power-bmc"}
    stage.seconds(58)
    assert stage.published[-1]["absent"].source == ["bmc"]
    stage.seconds(4)
    assert [source.name for source in stage.published[-1]["sources"]] == ["of power"]
    assert len(stage.published[-1]["absent"]) == 0
    stage.house.dead = set()
    stage.seconds(2)
    assert [source.name for source in stage.published[-1]["sources"]] == ["of power", "of power-bmc"]
    assert stage.published[-1]["absent"].source == ["bmc"]


def test_no_more_absent_zones_than_a_frame_may_have():
    """Of streams that have 400 together, the first 256 are handed on; one that two streams have, once."""

    def table(*indexes):
        return AbsentZones(
            source=["rapl"] * len(indexes),
            zone=["package"] * len(indexes),
            index=list(indexes),
            why=[UNREADABLE] * len(indexes),
            reason=["no"] * len(indexes),
        )

    first = [f"{number:03}" for number in range(200)]
    absent = union({"power-b": table("000", *(f"b{index}" for index in first)), "power-a": table(*first)})
    assert len(absent) == ZONES_MAX
    assert absent.index[:200] == first
    assert absent.index.count("000") == 1


def test_a_change_of_owner_is_one_line_with_its_reason(tmp_path):
    """Which slot, who counts it now, who did before, and why. The first owner is no change."""
    stage = Stage(
        tmp_path, [Meter("platform", "0", "bmc", "power-bmc"), Meter("platform", "1", "acpi", rank=1)]
    )
    stage.seconds(5)
    stage.house.meter("bmc").state = HUNG
    stage.seconds(20)
    assert [fields for event, fields in stage.logged if event == "owner"] == [
        {
            "zone": "platform 1",
            "source": "acpi",
            "stream": "power",
            "previous": "bmc (power-bmc)",
            "cause": WAS_AWAY,
        }
    ]


def test_a_dead_stream_is_noticed_at_ticks(tmp_path):
    """No frame of any power stream comes any more: the tick alone finds that the owner is away."""
    stage = Stage(
        tmp_path, [Meter("platform", "0", "bmc", "power-bmc"), Meter("platform", "1", "acpi", rank=1)]
    )
    stage.house.meter("acpi").period_ns = 60 * S
    stage.seconds(61)
    stage.house.dead = {"power-bmc", "power"}
    stage.seconds(10)
    assert [fields["source"] for event, fields in stage.logged if event == "owner"] == ["acpi"]


def test_spares_are_published(tmp_path):
    """Those that have no books too, with their stream and rank."""
    stage = Stage(
        tmp_path, [Meter("platform", "0", "bmc", "power-bmc"), Meter("platform", "1", "acpi", rank=3)]
    )
    stage.seconds(3)
    spares, zones = stage.published[-1]["spares"], stage.published[-1]["zones"]
    assert (spares.source, spares.stream, [*spares.rank]) == (["acpi"], ["power"], [3])
    assert (zones.zone, zones.source) == (["platform", "other"], ["bmc", "bmc"])
    assert ([*zones.is_owner], zones.stream) == ([1, 1], ["power-bmc", ""])
    stage.stage.close()
    stage.stage = stage.start()
    stage.seconds(2)
    assert stage.published[-1]["spares"].source == ["acpi"]
