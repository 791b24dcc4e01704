# SPDX-License-Identifier: Apache-2.0
"""What a frame must be before a reader keeps anything of it, by values alone."""

import msgspec
import pytest

from wattline.pipeline import PRODUCER_OF_TOPIC
from wattline.wire.codec import decode, encode
from wattline.wire.columns import U64
from wattline.wire.packed import FrameError
from wattline.wire.plausible import AHEAD_NS_MAX, REPLAY_AHEAD_NS_MAX, Guard

from . import make_fixtures

_FRAMES = {
    topic: decode(make_fixtures.frames()[f"valid/{topic}_full.frame"])
    for topic in ("activity", "metadata", "energy", "status")
} | {"power": decode(make_fixtures.frames()["valid/power_full_4.frame"])}
_NOW_NS = _FRAMES["power"].mono_ns + 500_000_000
_LATEST_NS = _NOW_NS + AHEAD_NS_MAX
_S = 1_000_000_000


def service_of(frame):
    return PRODUCER_OF_TOPIC.get(frame.topic, frame.producer)


def reason(frame, **guard):
    """The reason word for which a frame is refused, and the words; empty if it is accepted."""
    try:
        Guard(**({"now_ns": lambda: _NOW_NS} | guard)).check(frame, service_of(frame))
    except FrameError as error:
        return error.reason, str(error)
    return "", ""


def changed(frame, path, value):
    """The frame with a field, or the first row of a column, changed."""
    table, _, column = path.partition(".")
    if not column:
        return msgspec.structs.replace(frame, **{table: value})
    rows = getattr(frame, table)
    values = [value, *getattr(rows, column)[1:]]
    return msgspec.structs.replace(frame, **{table: msgspec.structs.replace(rows, **{column: U64(values)})})


@pytest.mark.parametrize("frame", _FRAMES.values(), ids=_FRAMES)
def test_a_true_frame_is_accepted(frame):
    """Published frames pass, on their own boot and where the boot isn't known."""
    assert reason(frame) == ("", "")
    assert reason(frame, boot_id=lambda: frame.boot_id) == ("", "")


_TIMES = [
    *((topic, name) for topic in _FRAMES for name in ("mono_ns", "run", "useful_mono_ns")),
    ("activity", "cpus.start_mono_ns"),
    ("activity", "cpus.stamp_mono_ns"),
    ("power", "zones.mono_ns"),
    ("metadata", "covers_mono_ns"),
    ("energy", "activity_mono_ns"),
    ("energy", "zones.watermark_mono_ns"),
]


@pytest.mark.parametrize(("topic", "name"), _TIMES)
def test_no_time_lies_ahead(topic, name):
    """Every time in a frame may be a second ahead of its reader's clock, and no more."""
    frame = _FRAMES[topic]
    assert reason(changed(frame, name, _LATEST_NS))[0] == ""
    for value in (_LATEST_NS + 1, 2**62, 2**64 - 1):
        word, text = reason(changed(frame, name, value))
        assert word == "wrong_time"
        assert f"{topic}: expected {name} to be" in text
        assert str(value) in text


@pytest.mark.parametrize(
    ("topic", "name", "limit"),
    [
        *((topic, "epoch", "mono_ns") for topic in _FRAMES),
        ("power", "zones.epoch", "mono_ns"),
        ("metadata", "covers_epoch", "covers_mono_ns"),
        ("energy", "activity_epoch", "activity_mono_ns"),
    ],
)
def test_an_epoch_lies_before_its_time(topic, name, limit):
    """Counters began before they were read."""
    frame = _FRAMES[topic]
    if topic == "power":  # a zone that has counted something has an order of its own, below
        zones = msgspec.structs.replace(frame.zones, energy_uj=U64(bytes(8 * len(frame.zones))))
        frame = msgspec.structs.replace(frame, zones=zones)
    at = getattr(frame, limit)
    assert reason(changed(frame, name, at))[0] == ""
    for value in (at + 1, 2**62):
        assert reason(changed(frame, name, value))[0] == "wrong_time"


@pytest.mark.parametrize(
    ("topic", "name"), [*_TIMES, ("power", "epoch"), ("power", "zones.epoch"), ("metadata", "covers_epoch")]
)
def test_unix_time_is_called_by_its_name(topic, name):
    """The commonest mistake of a new stage is told in words."""
    word, text = reason(changed(_FRAMES[topic], name, 1_790_000_000_000_000_000))
    assert word == "wrong_time"
    assert f"{topic}: {name} is Unix time (1790000000000000000), expected CLOCK_MONOTONIC" in text


@pytest.mark.parametrize("topic", _FRAMES)
def test_a_stage_that_ends_is_missed_within_some_hours(topic):
    """A frame that promises the next one in a year would make its stage look alive for so long."""
    hour_ns = 3600 * _S
    assert reason(changed(_FRAMES[topic], "interval_ns", hour_ns))[0] == ""
    for value in (hour_ns + 1, 2**64 - 1):
        assert reason(changed(_FRAMES[topic], "interval_ns", value))[0] == "wrong_time"


def test_frames_of_another_boot_are_refused():
    """Their clock is another, so none of their times can be compared."""
    word, text = reason(_FRAMES["power"], boot_id=lambda: "this boot")
    assert word == "other_boot"
    assert "'this boot'" in text


@pytest.mark.parametrize("topic", [topic for topic in _FRAMES if topic != "status"])
def test_a_replay_bounds_the_time_by_its_frames(topic):
    """A recording may pause for a day, and may begin at any time."""
    at = _FRAMES[topic].mono_ns
    replay = {"is_replay": True}
    assert reason(changed(_FRAMES[topic], "mono_ns", 2**62), now_ns=lambda: 0, **replay)[0] == ""
    now = {"now_ns": lambda: at}
    assert reason(changed(_FRAMES[topic], "mono_ns", at + REPLAY_AHEAD_NS_MAX), **now, **replay)[0] == ""
    assert (
        reason(changed(_FRAMES[topic], "mono_ns", at + REPLAY_AHEAD_NS_MAX + 1), **now, **replay)[0]
        == "wrong_time"
    )


def test_books_that_do_not_close_are_refused():
    """A calculator whose sums are wrong is not shown."""
    energy = _FRAMES["energy"]
    wrong = changed(energy, "zones.measured_uj", energy.zones.measured_uj[0] + 1)
    word, text = reason(wrong)
    assert word == "wrong_sum"
    assert "zone package 0 from rapl_sysfs: expected measured_uj" in text


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("containers", "departed_dynamic_uj"),
        ("containers", "departed_idle_uj"),
        ("processes", "dynamic_uj"),
        ("processes", "idle_uj"),
    ],
)
def test_containers_that_do_not_close_are_refused(table, column):
    """What the processes of a container used is its own energy, to the microjoule, in each zone."""
    energy = _FRAMES["energy"]
    for zone in range(len(energy.zones)):
        wrong = decode(encode(energy))
        getattr(getattr(wrong, table), column)[zone][0] += 1
        word, text = reason(wrong)
        assert word == "wrong_sum"
        assert "in the processes of container" in text


def test_idle_energy_is_a_part_of_what_was_measured():
    """More idle than measured would make dynamic energy negative."""
    energy = _FRAMES["energy"]
    assert reason(changed(energy, "zones.idle_uj", energy.zones.measured_uj[0] + 1))[0] == "wrong_sum"


@pytest.mark.parametrize("column", ["dynamic_uj", "idle_uj", "departed_dynamic_uj", "departed_idle_uj"])
def test_no_energy_of_a_container_is_beyond_the_books(column):
    """Readers add up these columns, so one that says more than was measured is refused."""
    energy = _FRAMES["energy"]
    columns = [U64(one) for one in getattr(energy.containers, column)]
    columns[0][0] = 2**64 - 1
    containers = msgspec.structs.replace(energy.containers, **{column: columns})
    assert reason(msgspec.structs.replace(energy, containers=containers))[0] == "wrong_sum"


@pytest.mark.parametrize("name", ["containers.cpu_ns", "containers.departed_cpu_ns", "processes.cpu_ns"])
def test_sums_fit_into_64_bits(name):
    """A reader can add up any column."""
    energy = _FRAMES["energy"]
    assert reason(changed(energy, name, 2**64 - 1))[0] == "wrong_sum"
    assert reason(changed(energy, name, 2**62))[0] == ""


@pytest.mark.parametrize("name", ["epoch", "zones.epoch"])
def test_a_zone_has_counted_nothing_before_its_epoch(name):
    """A reading from before the epoch holds no energy of it; one without energy may be as old."""
    frame = _FRAMES["power"]
    at_ns = frame.zones.mono_ns[0]
    with_epochs = changed(changed(frame, "zones.epoch", 0), "zones.energy_uj", 5)
    zones = msgspec.structs.replace(with_epochs.zones, epoch=U64(bytes(8 * len(frame.zones))))
    whole = msgspec.structs.replace(with_epochs, zones=zones)
    assert reason(changed(whole, name, at_ns))[0] == ""
    word, text = reason(changed(whole, name, at_ns + 1))
    assert word == "wrong_time"
    assert f"expected a zone's epoch to be at most the time of its reading, {at_ns}, got {at_ns + 1}" in text
    nothing = changed(whole, "zones.energy_uj", 0)
    if len(frame.zones) == 1 or name == "zones.epoch":
        assert reason(changed(nothing, name, at_ns + 1))[0] == ""
