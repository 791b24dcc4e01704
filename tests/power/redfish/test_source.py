# SPDX-License-Identifier: Apache-2.0
"""The source against a BMC with a law of power: energy, time, sessions, restarts and the end."""

import socket
import threading
import time
from dataclasses import replace

import pytest

from services.power import redfish
from services.power.needs import Needs
from services.power.settings import PowerSettings
from services.power.source import Former
from wattline.errors import Fatal

from .bmc import SESSIONS, Bmc, Law
from .shapes import CHASSIS, LAYOUTS, Readings, chassis, root
from .world import PERIOD_S, Rounds, S

COUNTERS = ("environment-energy", "one-supply", "sensors-energy")
# Of a sensor with a time of its own: 1 J, and half a second of 350 W, since a Date has whole seconds.
ERROR_UJ = {"sensors-energy": 176_000_000}  # else a step of 0.001 kWh
SWING = Law(low_uw=150_000_000, swing_uw=200_000_000, half_ns=7 * 60 * S)


def law_uj(bmc, row):
    """What the node used between a row's first reading and its last one."""
    return bmc.law.energy_uj(row.mono_ns) - bmc.law.energy_uj(row.epoch)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - set(COUNTERS) - {"outputs-alone", "power-average"}))
def test_a_powers_energy_is_the_laws(bmc, clock, layout):
    """Within the integration error that the row states, and the rounding of the BMC's figures to 1 mW."""
    bmc.layout, bmc.law, bmc.digits = layout, SWING, 3
    with Rounds(bmc, clock) as source:
        readings = source.rounds(30)
    (row,) = readings.rows
    assert readings.state.up
    assert row.mono_ns - row.epoch >= 28 * PERIOD_S * S
    rounding_uj = 1000 * (row.mono_ns - row.epoch) // S
    assert abs(row.energy_uj - law_uj(bmc, row)) <= row.integration_uj + rounding_uj
    assert row.integration_uj < row.energy_uj // 20
    assert row.gaps == 0


@pytest.mark.parametrize("layout", COUNTERS)
def test_a_counters_energy_is_the_laws(bmc, clock, layout):
    """To one step of the counter."""
    bmc.layout, bmc.law, bmc.digits = layout, SWING, 3
    with Rounds(bmc, clock) as source:
        readings = source.rounds(30)
    (row,) = readings.rows
    assert abs(row.energy_uj - law_uj(bmc, row)) <= ERROR_UJ.get(layout, 3_600_000_000)
    assert (row.gaps, row.integration_uj) == (0, 0)


def test_a_mean_is_placed_in_the_middle_of_its_interval(bmc, clock):
    """A mean of 60 s that is there at t is the power at t - 30 s."""
    bmc.layout = "power-average"
    with Rounds(bmc, clock) as source:
        now_ns = clock.monotonic_ns()
        (row,) = source.round().rows
    assert row.mono_ns == now_ns - 30 * S


def test_a_sensor_is_placed_by_its_own_time(bmc, clock):
    """A BMC that reads its sensors each 2 minutes has four times less rows, each at its reading's time."""
    bmc.layout, bmc.law, bmc.digits, bmc.renewal_ns = "sensors", SWING, 3, 120 * S
    with Rounds(bmc, clock) as source:
        times = {source.round().rows[0].mono_ns for _round in range(60)}
        period_ns = source.round().rows[0].period_ns
    assert len(times) in (15, 16)
    assert period_ns == 120 * S
    # The first ones are placed by a Date of one second.
    assert all(abs(at_ns % (120 * S) - (60 * S)) >= 58 * S for at_ns in times)


def test_the_log_says_what_is_measured(bmc, clock):
    """Input or output, of the moment or a mean, where and how often: the frames have no room for it."""
    bmc.layout = "power-average"
    with Rounds(bmc, clock) as source:
        source.rounds(3)
    (note,) = [note for note in source.notes if note.event == "redfish_meter"]
    assert note.cause == "platform 1: mean input power of 60 s"
    assert note.fields["averaged_s"] == 60
    assert note.fields["period_s"] == PERIOD_S
    assert "PowerMetrics/AverageConsumedWatts" in note.fields["at"]


def test_two_chassis_are_two_rows(bmc, clock):
    """Chassis of one node that don't contain each other add; each is a row with its id."""
    first, second = (LAYOUTS["environment"](Readings(watts, 1)) for watts in (300, 100))
    renamed = {path.replace("Self", "GPUs"): body for path, body in second.items() if "Self" in path}
    body = chassis("GPUs", "Expansion")[f"{CHASSIS}/GPUs"]
    body["EnvironmentMetrics"] = {"@odata.id": f"{CHASSIS}/GPUs/EnvironmentMetrics"}
    bmc.extra = first | renamed | root("Self", "GPUs") | {f"{CHASSIS}/GPUs": body}
    with Rounds(bmc, clock) as source:
        rows = source.rounds(2).rows
    assert {row.zone.index: row.energy_uj for row in rows} == {"Self": 9_000_000_000, "GPUs": 3_000_000_000}


def test_one_login_for_all_rounds(bmc, clock):
    """And one log-out at the end: a BMC has few sessions."""
    with Rounds(bmc, clock) as source:
        source.rounds(30)
        assert (bmc.logins, len(bmc.sessions)) == (1, 1)
    assert not bmc.sessions
    assert bmc.seen[-1] == f"DELETE {SESSIONS}/0"


def test_an_expired_session_costs_no_reading(bmc, clock):
    """The BMC says 401 to a session that it has ended; a login follows in the same round."""
    with Rounds(bmc, clock) as source:
        source.rounds(2)
        for _time in range(5):
            bmc.sessions.clear()
            assert source.round().state.up
    assert bmc.most_sessions == 1


def test_basic_authentication_makes_no_session(bmc, clock):
    """By a setting, for BMCs whose sessions are broken."""
    with Rounds(bmc, clock, redfish_auth="basic") as source:
        assert source.rounds(3).state.up
    assert (bmc.logins, bmc.sessions) == (0, {})


def test_a_restart_goes_on_from_the_former_row(bmc, clock):
    """In the same epoch, without a gap if it took less than three periods."""
    bmc.layout = "environment-energy"
    with Rounds(bmc, clock) as source:
        (row,) = source.rounds(5).rows
    with Rounds(bmc, clock, Former(epoch=row.epoch, rows={row.zone: row})) as source:
        assert source.source.resumed
        (after,) = source.rounds(5).rows
    assert (after.epoch, after.gaps) == (row.epoch, 0)
    assert abs(after.energy_uj - law_uj(bmc, after)) <= 3_600_000_000


def test_a_former_row_stays_while_the_bmc_is_away(bmc, clock):
    """A start without the BMC, and a second one, lose nothing of the former run's energy."""
    bmc.layout = "environment-energy"
    with Rounds(bmc, clock) as source:
        (row,) = source.rounds(5).rows
    bmc.down()
    with Rounds(bmc, clock, Former(epoch=row.epoch, rows={row.zone: row})) as source:
        readings = source.rounds(3)
        assert list(readings.rows) == [row]
        assert source.source.zones == [row.zone]
        assert not readings.state.up
        bmc.up()
        (after,) = source.rounds(3).rows
    assert after.epoch == row.epoch
    assert abs(after.energy_uj - law_uj(bmc, after)) <= 3_600_000_000


def test_begin_again_starts_at_nothing(bmc, clock):
    """After another source has taken over, no reading of before counts."""
    with Rounds(bmc, clock) as source:
        source.rounds(3)
        source.source.begin_again()
        clock.advance(60)
        (row,) = source.round().rows
        assert (row.energy_uj, row.epoch) == (0, row.mono_ns)
        (row,) = source.round().rows
        assert row.energy_uj == 200_000_000 * PERIOD_S


def test_opening_asks_nothing(bmc, clock):
    """The service's own thread opens the source: no request may hang it."""
    source = Rounds(bmc, clock)
    source.source.close()
    assert bmc.seen == []


@pytest.mark.parametrize("everywhere", [False, True])
def test_close_while_a_request_hangs(bmc, clock, everywhere):
    """Close, from another thread, ends the request, logs out if the BMC answers, and takes below 2 s."""
    source = Rounds(bmc, clock, redfish_timeout_s=30)
    source.round()
    bmc.fault, bmc.everywhere = "hang", everywhere
    ended = []
    reader = threading.Thread(target=lambda: ended.append(source.source.read(clock.monotonic_ns())))
    reader.start()
    asked = len(bmc.seen)
    while len(bmc.seen) == asked:
        time.sleep(0.005)
    begun_s = time.monotonic()
    source.source.close()
    took_s = time.monotonic() - begun_s
    reader.join(5)
    assert not reader.is_alive()
    assert took_s < 1.6
    assert "closed" in ended[0].state.reason
    assert bool(bmc.sessions) == everywhere


def test_close_while_connecting(authority, clock):
    """A BMC whose address swallows packets: its listening queue is full, so that connect waits."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        Bmc(authority, now_ns=clock.monotonic_ns) as bmc,
    ):
        kept = [socket.socket() for _one in range(2)]
        for one in kept:
            one.setblocking(False)  # noqa: FBT003 no keyword
            one.connect_ex(full.getsockname())
        url = f"https://127.0.0.1:{full.getsockname()[1]}"
        source = Rounds(bmc, clock, redfish_url=url, redfish_timeout_s=30)
        reader = threading.Thread(target=lambda: source.source.read(clock.monotonic_ns()))
        reader.start()
        time.sleep(0.1)
        begun_s = time.monotonic()
        source.source.close()
        reader.join(5)
        for one in kept:
            one.close()
        assert not reader.is_alive()
        assert time.monotonic() - begun_s < 1.6


def test_close_waits_for_a_login(bmc, clock):
    """A login that is being answered is let through, so that its session can be ended."""
    source = Rounds(bmc, clock, redfish_timeout_s=30)
    begun = threading.Event()
    session = source.source._session
    answer = session._answer

    def slow(method, path, body=None):
        if method == "post":
            begun.set()
            time.sleep(0.1)
        return answer(method, path, body)

    session._answer = slow
    reader = threading.Thread(target=lambda: source.source.read(clock.monotonic_ns()))
    reader.start()
    begun.wait(5)
    session._transport.send = _after_stop(session._transport)
    source.source.close()
    reader.join(5)
    assert bmc.sessions == {}


def _after_stop(transport):
    """The login was sent just before the stop."""
    send = type(transport).send

    def sent(request, **limits):
        stopped, transport._is_stopped = (
            transport._is_stopped,
            transport._is_stopped and request.method != "POST",
        )
        try:
            return send(transport, request, **limits)
        finally:
            transport._is_stopped = stopped or transport._is_stopped

    return sent


def test_no_url_no_source():
    """Without a setting there is nothing, and the words say how to have it."""
    source = redfish.open_source(PowerSettings(), Former(), 1)
    readings = source.read(2)
    source.close()
    assert not readings.rows
    assert "set redfish.url" in readings.state.reason
    assert not readings.state.up
    assert redfish.needs(PowerSettings()) == Needs()


def test_needs_and_period(bmc, clock):
    """Sockets for the network, no capability; the period is a setting's."""
    with Rounds(bmc, clock) as source:
        needs = redfish.needs(source.settings)
        assert set(needs.families) == {socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
        assert needs.capabilities == ()
        assert redfish.period_ns(source.settings) == 30 * S


def test_a_machine_without_the_package(bmc, clock, monkeypatch):
    """The reason says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "redfish", None)
    with Rounds(bmc, clock) as source:
        assert "pip install 'wattline[redfish]'" in source.round().state.reason


def test_an_address_with_a_path_is_refused():
    """At the start, with what was expected."""
    settings = PowerSettings(redfish_url="https://bmc/ui")
    with pytest.raises(Fatal, match="expected https://HOST"):
        redfish.open_source(settings, Former(), 1)


def test_rows_of_other_sources_are_left_alone(bmc, clock):
    """A former frame has rows of RAPL too."""
    with Rounds(bmc, clock) as source:
        (row,) = source.round().rows
    other = replace(row, zone=replace(row.zone, source="acpi"))
    bmc.down()
    with Rounds(bmc, clock, Former(rows={other.zone: other})) as source:
        assert not source.round().rows
