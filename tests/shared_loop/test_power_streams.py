# SPDX-License-Identifier: Apache-2.0
"""The settings of power streams: their names, users and zones, and the words for wrong ones."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.calculator.settings import CalculatorSettings
from services.power.settings import PowerSettings
from wattline.errors import Fatal
from wattline.health import State, verdict
from wattline.pipeline import SERVICES, inputs_of, service_of
from wattline.power_streams import ONLY_POWER, ZONES, PowerStream, PowerStreams, parse_power_streams
from wattline.settings import CommonSettings, load
from wattline.wire.last import Heartbeat

_NAMES = st.from_regex(r"\Apower-[a-z0-9-]{1,32}\Z")
_STREAMS = st.builds(
    PowerStream,
    name=st.one_of(_NAMES, st.just("power")),
    zones=st.frozensets(st.sampled_from(ZONES), min_size=1),
    uid=st.one_of(st.none(), st.integers(0, 2**32 - 2)),
)


def as_text(stream):
    uid = "" if stream.uid is None else f":{stream.uid}"
    return f"{stream.name}{uid}={'+'.join(sorted(stream.zones))}"


@given(st.lists(_STREAMS, unique_by=lambda stream: stream.name, max_size=5))
def test_every_list_is_read_as_it_was_written(streams):
    """Names, users and zones come back; `power` is first, and there even if the list has not got it."""
    found = parse_power_streams(",".join(map(as_text, streams)))
    listed = {stream.name: stream for stream in streams}
    assert {one.name: one for one in found} == {"power": PowerStream("power", None)} | listed
    assert found.names[0] == "power"
    assert found.stages == (
        *("probe", *found.names),
        *("metadata", "calculator", "exporter"),
    )
    for stage in found.stages:
        assert (service_of(stage), inputs_of(stage)) == (
            ("power", ("probe",)) if stage in found.names else (stage, inputs_of(stage))
        )


@given(st.text(max_size=80))
def test_any_text_is_streams_or_an_error_in_words(text):
    """No other error escapes, and whatever is accepted has names that can be."""
    found = ONLY_POWER
    with contextlib.suppress(ValueError):
        found = parse_power_streams(text)
    assert all(service_of(name) == "power" for name in found.names)


def test_without_the_setting_power_alone_counts_with_every_zone():
    """As before there were several streams."""
    assert list(CommonSettings().streams) == list(ONLY_POWER)
    assert ONLY_POWER.stages == SERVICES
    assert ONLY_POWER.find("power").allows("whatever")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bmc=platform", "'bmc' is no name of a stream, expected power or power-NAME"),
        ("bmc=platform", "; did you mean power-bmc?"),
        ("power_bmc=platform", "; did you mean power-bmc?"),
        ("powr=dram", "; did you mean power?"),
        ("power-=platform", "'power-' is no name"),
        ("power-BMC=platform", "; did you mean power-bmc?"),
        (f"power-{'x' * 33}=platform", "is no name of a stream"),
        ("power-../x=platform", "is no name of a stream"),
        ("probe=platform", "'probe' is no name of a stream"),
        ("power-bmc", "power-bmc has no zones, expected some of package, "),
        ("power-bmc=", "power-bmc has no zones"),
        (
            "power-bmc=platfrom",
            "there is no zone 'platfrom'; did you mean platform? (in the zones of power-bmc)",
        ),
        ("power-bmc=platform+", "there is no zone ''"),
        ("power-bmc:bmc=platform", "'bmc' after power-bmc: is no number of a user"),
        ("power-bmc:4294967295=platform", "expected 0 to 4294967294"),
        ("power-bmc:٣=platform", "is no number of a user"),
        ("power-bmc=gpu,power-bmc=dram", "power-bmc is in it twice"),
        ("power=gpu,power=dram", "power is in it twice"),
        ("power-bmc=gpu,", "'' is no name of a stream"),
    ],
)
def test_a_wrong_list_is_explained(text, words):
    """Where the setting is from, what was expected, what was got, and what is wrong in it."""
    with pytest.raises(Fatal) as caught:
        load(CalculatorSettings, "calculator", [f"--power.streams={text}"], {})
    begin = "setting power.streams, from flag --power.streams: expected NAME[:UID]=ZONE+…"
    assert str(caught.value).startswith(begin)
    assert words in str(caught.value)
    assert caught.value.exit_code == Fatal.SETTINGS


@pytest.mark.parametrize(
    "name", ["bmc", "Power", "power-", "power-A", "power-a/b", "probe", f"power-{'a' * 33}"]
)
def test_a_wrong_name_is_refused(name):
    """The name is a directory's, so nothing but the two forms is one."""
    with pytest.raises(
        Fatal, match=r"setting name, from variable WATTLINE_NAME: expected power or power-NAME"
    ):
        load(PowerSettings, "power", [], {"WATTLINE_NAME": name})


@pytest.mark.parametrize(
    "top",
    [
        '"power.streams" = "power-bmc=gpu"\n',
        'power.streams = "power-bmc=gpu"\n',
        '[power]\nstreams = "power-bmc=gpu"\n',
    ],
)
def test_the_streams_may_stand_in_the_file(tmp_path, top):
    """With and without quotes: to TOML, the key without them is one of the table `power`."""
    path = tmp_path / "wattline.toml"
    path.write_text(top, encoding="utf-8")
    for settings_type, service in ((CalculatorSettings, "calculator"), (PowerSettings, "power")):
        settings = load(settings_type, service, [f"--config={path}"], {})[0]
        assert settings.streams.names == ("power", "power-bmc")


def test_a_stream_has_a_table_of_its_own(tmp_path):
    """Another power stream reads [power-bmc] and not [power]; other services pass both over."""
    path = tmp_path / "wattline.toml"
    path.write_text("[power]\ninterval-s = 2\n[power-bmc]\ninterval-s = 15\n", encoding="utf-8")

    def interval_s(*flags, **environ):
        return load(PowerSettings, "power", [f"--config={path}", *flags], environ)[0].interval_s

    assert interval_s() == 2
    assert interval_s("--name=power-bmc") == 15
    assert interval_s(WATTLINE_NAME="power-bmc") == 15
    assert interval_s("--name=power-gpu") == 1
    assert load(CalculatorSettings, "calculator", [f"--config={path}"], {})[0].interval_s == 1
    path.write_text("[power-bmc]\ninterval = 15\n", encoding="utf-8")
    with pytest.raises(Fatal, match=r"unknown key \[power-bmc\] interval; did you mean interval-s"):
        interval_s("--name=power-bmc")
    path.write_text("power-bmc = 3\n", encoding="utf-8")
    with pytest.raises(Fatal, match=r"expected a table \[power-bmc\], got a value"):
        interval_s()


def test_an_extra_stream_is_judged_as_power_is():
    """Its content advances, or it waits for the probe; the calculator does not wait for it."""
    s = 1_000_000_000
    now_ns = 10**12

    def beat(still_s):
        return Heartbeat(now_ns - s // 2, s, now_ns - still_s * s)

    stages = {stage: beat(1) for stage in SERVICES} | {"power-bmc": beat(30)}
    assert verdict("power-bmc", stages.get, now_ns).state is State.STUCK
    assert verdict("calculator", stages.get, now_ns).state is State.WORKING
    stages["probe"] = beat(30)
    assert verdict("power-bmc", stages.get, now_ns).state is State.WAITING
    assert verdict("power-gpu", stages.get, now_ns).state is State.MISSING


def test_streams_are_found_by_name():
    """No other service's name is one."""
    streams = PowerStreams([PowerStream("power", None), PowerStream("power-bmc", frozenset({"gpu"}), 7)])
    assert streams.uid_of("power-bmc") == 7
    assert streams.uid_of("calculator") is None
    assert streams.find("calculator") is None
    assert [one.name for one in streams.extra] == ["power-bmc"]
