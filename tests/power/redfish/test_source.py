# SPDX-License-Identifier: Apache-2.0
"""The source against a BMC with a law of power: energy, time, sessions, restarts and the end."""

import pytest

from services.power.source import Former

from .law import Law
from .server import SESSIONS
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


@pytest.mark.parametrize(("period_s", "connections"), [(30.0, 7), (3.0, 2)])
def test_a_connection_is_kept_over_rounds_that_follow_soon(bmc, clock, period_s, connections):
    """A TLS connection costs more than a round: one before the login, one for all, else one a round."""
    with Rounds(bmc, clock, redfish_period_s=period_s) as source:
        source.rounds(6)
        assert bmc.connections == connections


@pytest.mark.parametrize("hang_up", ["said", "silent"])
def test_a_kept_connection_that_the_bmc_closes_is_opened_anew(bmc, clock, hang_up):
    """No reading is missing, and nothing is logged."""
    bmc.layout, bmc.law, bmc.digits = "environment", SWING, 3
    with Rounds(bmc, clock, redfish_period_s=3.0) as source:
        source.rounds(2)
        bmc.hang_up = hang_up
        for _round in range(4):
            readings = source.round()
            assert readings.state.up, readings.state.reason
    (row,) = readings.rows
    assert row.mono_ns == clock.monotonic_ns() - 3 * S
    assert [note.event for note in source.notes] == ["zone_found", "redfish_meter"]


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


def test_a_restart_with_a_figure_that_is_too_low(bmc, clock):
    """A first reading below the former run's last one is an error, and the next right one no energy."""
    bmc.layout = "sensors-energy"
    with Rounds(bmc, clock) as source:
        (row,) = source.rounds(5).rows
    bmc.fault = "string"
    with Rounds(bmc, clock, Former(epoch=row.epoch, rows={row.zone: row})) as source:
        source.round()  # finds the counter only when it is right
        bmc.fault = ""
        source.source._session.get = _once_too_low(source.source._session.get)
        assert "the counter fell" in source.round().state.reason
        (after,) = source.rounds(2).rows
    assert abs(after.energy_uj - law_uj(bmc, after)) <= ERROR_UJ["sensors-energy"]


def _once_too_low(get):
    """The counter is 5 J when it is read for the first time after it was found."""
    asked = []

    def changed(path):
        resource = get(path)
        asked.append(path)
        is_second = path.endswith("/energy") and asked.count(path) == 2
        return {**resource, "Reading": 5} if is_second else resource

    return changed


def test_another_counter_is_not_taken_in_a_run(bmc, clock):
    """The difference between two counters would look like energy: the fault stays."""
    bmc.layout = "environment-energy"
    with Rounds(bmc, clock) as source:
        (before,) = source.rounds(3).rows
        tree = bmc.tree()["/redfish/v1/Chassis/Self/EnvironmentMetrics"]
        reading = {
            "EnergykWh": {"LifetimeReading": None, "Reading": tree["EnergykWh"]["LifetimeReading"] + 0.05}
        }
        bmc.extra = {"/redfish/v1/Chassis/Self/EnvironmentMetrics": reading}
        readings = source.rounds(25)
    assert "got null" in readings.state.reason
    assert list(readings.rows) == [before]


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


def test_begin_again_forgets_a_figure_that_has_not_changed(bmc, clock):
    """A counter that stands still has a reading of now, not the one from before another source took over."""
    bmc.layout = "environment-energy"
    with Rounds(bmc, clock) as source:
        source.rounds(3)
        bmc.fault = "stale"
        source.rounds(2)
        source.source.begin_again()
        now_ns = clock.monotonic_ns()
        (row,) = source.round().rows
        assert (row.energy_uj, row.epoch, row.mono_ns) == (0, now_ns, now_ns)


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
