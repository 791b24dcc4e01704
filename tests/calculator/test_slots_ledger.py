# SPDX-License-Identifier: Apache-2.0
"""The choice of owners in the ledger: older ledgers, damaged ones, and absurd frames."""

import time
import tracemalloc

import msgpack
import msgspec
import pytest

from services.calculator.ledger_file import LedgerFile
from services.calculator.ledger_read import from_document
from services.calculator.ledger_tables import LedgerDocument
from services.calculator.ledger_write import to_document
from services.calculator.slots import CANDIDATES_MAX, PERIOD_NS_MAX, STREAMS_MAX
from wattline.wire import shared
from wattline.wire.codec import pack, unpack
from wattline.wire.columns import U32, U64
from wattline.wire.frames import PowerZones

from .meters import GOOD, HUNG, House, Meter
from .world import S

NEW_TABLES = ("curve_points", "candidates", "candidate_points")
NEW_FIELDS = (
    "other_next_source",
    "other_next_index",
    "other_until_ns",
    "other_forgotten_ns",
    "slots_now_ns",
)
NEW_COLUMNS = (
    "stream",
    "takeovers",
    "base_gaps",
    "integration_uj",
    "told_integration_uj",
    "base_integration_uj",
)


def house_with_a_spare():
    """A platform whose owner hangs, a package, and a spare of the platform."""
    house = House(
        [
            Meter("package", "0", "rapl-sysfs"),
            Meter("platform", "0", "redfish", "power-bmc"),
            Meter("platform", "0", "acpi", rank=2),
        ]
    )
    house.seconds(10)
    house.meter("redfish").state = HUNG
    house.seconds(3)
    return house


def test_the_choice_outlives_the_calculator():
    """Everything of it is the same after a commit; silence counts from where it was."""
    house = house_with_a_spare()
    before = msgpack.unpackb(house.desk.commit())
    house.kill()
    assert msgpack.unpackb(house.desk.commit()) == before
    house.seconds(6)
    assert house.owner() == ["acpi"]
    assert house.holes() == []


def test_an_older_ledger_goes_on_without_a_break():
    """Its zones are counted on from their last reading: no gap, no new series, and no time twice."""
    house = House([Meter("package", "0", "rapl-sysfs"), Meter("platform", "0", "acpi")])
    house.seconds(10)
    document = msgpack.unpackb(house.desk.commit())
    for name in (*NEW_TABLES, *NEW_FIELDS):
        del document[name]
    for column in NEW_COLUMNS:
        del document["zones"][column]
    del document["curves"]["begun_ns"]
    house.desk.ledger = msgpack.packb(document)
    house.desk.kill(house.paper.metadata())
    house.seconds(10)
    zones = house.desk.tables()["zones"]
    assert [*zones.gaps] == [0] * len(zones)
    assert [*zones.takeovers] == [0] * len(zones)
    assert zones.zone == ["package", "platform", "other"]
    assert [*zones.measured_uj][:2] == [20 * 50_000_000] * 2
    assert [*zones.is_owner] == [1, 1, 1]


def test_an_older_ledger_with_two_sources_of_one_slot_keeps_both_totals():
    """Both were counted; from now on one of them owns the slot, and the other one stays where it is."""
    house = House([Meter("platform", "a", "redfish"), Meter("psys", "b", "acpi")])
    house.seconds(5)
    document = msgpack.unpackb(house.desk.commit())
    for name in (*NEW_TABLES, *NEW_FIELDS):
        del document[name]
    document["zones"]["zone"] = ["platform" if zone == "psys" else zone for zone in document["zones"]["zone"]]
    house.meter("acpi").zone = "platform"
    house.desk.ledger = msgpack.packb(document)
    house.desk.kill(house.paper.metadata())
    house.look = lambda: None
    house.seconds(5)
    assert house.owner() == ["redfish"], "of equal rank and stream: by index"
    zones = house.desk.tables()["zones"]
    measured_uj = dict(zip(zones.source, zones.measured_uj, strict=True))
    assert measured_uj == {"redfish": 10 * 50_000_000, "acpi": 5 * 50_000_000}


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("candidate_points", "candidate_row", 2**32 - 1),
        ("candidates", "stream", []),
        ("curve_points", "curve_row", 77),
        ("candidates", "is_nothing", None),
    ],
)
def test_a_damaged_choice_is_set_aside(tmp_path, table, column, value):
    """Rows that point nowhere, and columns of other lengths: said, moved aside, never fatal."""
    house = house_with_a_spare()
    document = msgpack.unpackb(house.desk.commit())
    if isinstance(value, int):
        document[table][column] = ["u32", U32([value] * len(document[table]["mono_ns"][1][::8])).tobytes()]
    elif value is not None:
        document[table][column] = value
    else:
        document[table] = 7
    writer = shared.SlotWriter(tmp_path / "ledger")
    writer.write(msgpack.packb(document))
    writer.close()
    said = []
    assert LedgerFile(tmp_path / "ledger", "paper", "boot").recover(said.append) is None
    assert len(said) == 1


def with_states(state):
    """A house whose sources all have a state in the ledger; one of them has never been counted."""
    house = house_with_a_spare()
    spare = Meter("package", "0", "rapl-perf", "power-b", rank=1)
    spare.begin(house.now_ns)
    house.meters.append(spare)
    house.seconds(1)
    document = to_document(house.desk.state, "paper", "boot")
    document.candidates.state[:] = type(document.candidates.state)([state] * len(document.candidates))
    return house, unpack(pack(document), LedgerDocument)


@pytest.mark.parametrize("state", [0, 4, 8, 12])
def test_a_ledger_without_owners_can_be_gone_on_from(state):
    """They are chosen again, and each series begins where those before it ended."""
    house, document = with_states(state)
    house.desk.state = from_document(document)
    house.seconds(10)
    assert house.owner() == ["acpi"]
    assert house.owner("package") == ["rapl-sysfs"]


@pytest.mark.parametrize("state", [1, 2, 3, 5, 7, 15, 255])
def test_owners_that_contradict_each_other_are_refused(state):
    """Two of one slot, one without a zone in the books, or one that is counted and no owner."""
    with pytest.raises(ValueError, match="candidate"):
        from_document(with_states(state)[1])


def attack(stream, number, now_ns, seq, **columns):
    """256 zones of a stream, all of them absurd."""
    house = House([Meter("package", "0", f"evil-{number}", stream)])
    house.paper.now_ns, house.paper.seq = now_ns, seq
    frame = house.frame(stream)
    rows = 256
    zones = PowerZones(
        zone=["platform"] * rows,
        index=[f"{stream}-{row}" for row in range(rows)],
        source=[f"evil-{number}"] * rows,
        provenance=["measured"] * rows,
        model=[""] * rows,
        error_ratio_ppm=U32([0] * rows),
        mono_ns=U64([now_ns] * rows),
        energy_uj=U64([0] * rows),
        raw=U64([0] * rows),
        raw_range=U64([0] * rows),
        raw_epoch=U64([0] * rows),
        gaps=U32([2**32 - 1] * rows),
        rank=U32([columns["rank"]] * rows),
        period_ns=U64([columns["period_ns"]] * rows),
        integration_uj=U64([2**64 - 1] * rows),
    )
    return msgspec.structs.replace(frame, zones=zones)


@pytest.mark.parametrize("period_ns", [0, 2**63])
def test_absurd_frames_of_many_streams_switch_nothing(period_ns):
    """Ranks and periods beyond reason, 256 zones from each of 20 streams: bounded, and the owner stays."""
    house = House([Meter("platform", "0", "redfish")])
    house.seconds(3)
    tracemalloc.start()
    begun_s = time.process_time()
    try:
        for _second in range(2):
            house.seconds(1)
            for number in range(20):
                frame = attack(
                    f"power-{number}",
                    number,
                    house.now_ns,
                    house.paper.seq,
                    rank=2**32 - 1,
                    period_ns=period_ns,
                )
                house.desk.state.take_power(frame, house.desk.rules)
        house.kill()
        house.seconds(3)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
    print(f"{(time.process_time() - begun_s) / 40 * 1000:.1f} ms a frame, traced")
    slots = house.desk.state.zones.slots
    assert house.owner() == ["redfish"]
    assert len(slots.candidates) <= 1 + STREAMS_MAX * CANDIDATES_MAX
    assert max(one.row.period_ns for one in slots.candidates.values()) <= PERIOD_NS_MAX
    assert house.holes() == []
    assert len(house.desk.tables()["spares"]) <= 256
    assert house.changes == []


def test_streams_beyond_reason_are_refused():
    """Rows of a seventeenth stream are rejected and counted; those of the first ones go on."""
    house = House([Meter("package", str(number), "rapl", f"power-{number:02}") for number in range(20)])
    frames = [house.frame(f"power-{number:02}") for number in range(20)]
    refused = [house.desk.state.take_power(frame, house.desk.rules) for frame in frames]
    assert refused == [0] * STREAMS_MAX + [1] * (20 - STREAMS_MAX)


def test_a_period_of_zero_is_the_frames_interval():
    """And one of more than an hour is an hour: an owner that has died is missed."""
    house = House(
        [Meter("platform", "0", "redfish", period_ns=2**63), Meter("platform", "1", "acpi", rank=1)]
    )
    house.seconds(2)
    (owner,) = house.desk.state.zones.slots.owners()
    assert owner.row.period_ns == PERIOD_NS_MAX
    (spare,) = house.desk.state.zones.slots.spares()
    assert spare.row.period_ns == S
    assert house.meter("acpi").state == GOOD


def test_a_stream_of_ever_new_zones_is_bounded():
    """Other names in each frame: no more of a stream are known than a frame may have, and owners stay."""
    house = House([Meter("platform", "0", "redfish")])
    house.seconds(3)
    for number in range(4):
        house.seconds(1)
        frame = attack("power-0", number, house.now_ns, house.paper.seq, rank=2**32 - 1, period_ns=0)
        house.desk.state.take_power(frame, house.desk.rules)
    slots = house.desk.state.zones.slots
    assert len(slots.candidates) == 1 + CANDIDATES_MAX
    house.seconds(10)
    frame = attack("power-0", 9, house.now_ns, house.paper.seq, rank=2**32 - 1, period_ns=0)
    house.desk.state.take_power(frame, house.desk.rules)
    assert {one.name[2] for one in slots.spares()} == {"evil-9"}, "those that are away make room"
    assert len(slots.candidates) == 1 + CANDIDATES_MAX
    assert house.owner() == ["redfish"]
