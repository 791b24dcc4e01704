# SPDX-License-Identifier: Apache-2.0
"""What BMCs do besides faulty figures: reboots, redirections, waits, sessions, clocks, other nodes."""

import pytest

from .authority import Authority
from .shapes import SYSTEM, V1, chassis
from .test_faults import KWH_STEP_UJ, LAW, law_uj
from .world import Rounds, S, credentials


def test_a_redirection_on_the_same_host_is_followed(bmc, clock):
    """It costs no reading."""
    with Rounds(bmc, clock) as source:
        bmc.fault = "redirect-here"
        assert source.rounds(3).state.up


def test_a_bmc_that_wants_slashes(bmc, clock):
    """One that redirects each path to the same one with a slash is asked that way after the first time."""
    with Rounds(bmc, clock) as source:
        bmc.fault, bmc.everywhere = "redirect-slash", True
        assert source.rounds(2).state.up
        bmc.seen[:] = []
        assert source.rounds(3).state.up
        assert len(bmc.seen) == 3


@pytest.mark.parametrize("how", ["said", "silent"])
def test_a_bmc_that_hangs_up_after_each_answer(bmc, clock, how):
    """Whether it says so or not, that costs no reading, and no login is sent twice."""
    bmc.hang_up, bmc.layout = how, "supplies"
    with Rounds(bmc, clock) as source:
        for _round in range(4):
            assert source.round().state.up
    assert (bmc.logins, bmc.sessions) == (1, {})


@pytest.mark.parametrize("figure", ["absurd", "sentinel"])
def test_absurd_figures_of_a_counter(bmc, clock, figure):
    """A counter that jumps up and back gives no energy but its own."""
    bmc.layout, bmc.law = "environment-energy", LAW
    with Rounds(bmc, clock) as source:
        source.rounds(5)
        bmc.fault = figure
        for _round in range(2):
            readings = source.round()
            assert not readings.state.up
        bmc.fault = ""
        (row,) = source.rounds(4).rows
        assert source.round().state.up
    assert row.energy_uj <= law_uj(bmc, row) + KWH_STEP_UJ


def test_a_counter_that_stands_still(bmc, clock):
    """Said once the step has taken longer than any node needs for it; what it shows later is counted."""
    bmc.layout, bmc.law = "environment-energy", LAW
    with Rounds(bmc, clock) as source:
        source.rounds(5)
        bmc.fault = "stale"
        assert source.rounds(20).state.up
        assert "hasn't changed" in source.rounds(6).state.reason
        bmc.fault = ""
        (row,) = source.rounds(2).rows
    assert abs(row.energy_uj - law_uj(bmc, row)) <= KWH_STEP_UJ


def test_whole_watts_that_stand_still(bmc, clock):
    """Taken for a node at rest for 20 periods, then said; later energy is not counted until they change."""
    with Rounds(bmc, clock) as source:
        bmc.fault = "stale"
        assert source.rounds(21).state.up
        readings = source.round()
        assert "hasn't changed for more than 600 s" in readings.state.reason
        (row,) = readings.rows
        assert row.energy_uj == 200_000_000 * 600


def test_a_reboot(bmc, clock):
    """Refused connections, then sessions that the BMC doesn't know: said, over by itself, nothing lost."""
    bmc.layout, bmc.law = "environment-energy", LAW
    with Rounds(bmc, clock) as source:
        source.rounds(5)
        bmc.down()
        for _round in range(4):
            assert "connection refused" in source.round().state.reason
        bmc.up()
        readings = source.round()
        assert readings.state.up
        (row,) = readings.rows
        assert abs(row.energy_uj - law_uj(bmc, row)) <= KWH_STEP_UJ
        assert [note.event for note in source.notes].count("redfish_back") == 1
    assert bmc.most_sessions == 1


def test_a_reboot_between_two_rounds(bmc, clock):
    """That nobody saw but by the sessions."""
    with Rounds(bmc, clock) as source:
        source.rounds(2)
        bmc.down()
        bmc.up()
        assert source.round().state.up


@pytest.mark.parametrize(("wish", "rounds"), [("60", 2), ("86400", 10), ("0", 1), ("nonsense", 1)])
def test_retry_after(bmc, clock, wish, rounds):
    """No request before the BMC wants one, but not longer than ten periods."""
    with Rounds(bmc, clock) as source:
        source.rounds(2)
        bmc.fault, bmc.retry_after = "503", wish
        source.round()
        bmc.fault, bmc.seen[:] = "", []
        for _round in range(rounds - 1):
            assert "HTTP 503" in source.round().state.reason
        assert bmc.seen == []
        assert source.round().state.up


def test_a_wrong_password_locks_no_account(bmc, clock):
    """Few logins, further and further apart; a right one in the file is taken without a restart."""
    with Rounds(bmc, clock) as source:
        account = bmc.authority.directory / "credentials"
        credentials(account, bmc.user, "wrong")
        assert "HTTP 401: the BMC refuses user or password" in source.round().state.reason
        source.rounds(39)
        assert bmc.refused <= 6
        credentials(account, bmc.user, bmc.password)
        assert source.rounds(10).state.up


def test_all_sessions_in_use(bmc, clock):
    """Said with its likely cause, tried again each period, without a session of ours left behind."""
    bmc.sessions = {name: name for name in ("a", "b", "c", "d")}
    with Rounds(bmc, clock) as source:
        assert "perhaps since all sessions are in use" in source.round().state.reason
        bmc.sessions.popitem()
        assert source.round().state.up
        assert len(bmc.sessions) == 4
    assert len(bmc.sessions) == 3


def test_logins_that_get_no_answer_are_few(bmc, clock):
    """Each may have made a session, and a BMC has four."""
    with Rounds(bmc, clock, redfish_timeout_s=0.1) as source:
        bmc.fault, bmc.everywhere = "hang", True
        answer = source.source._session._sessions
        source.source._session._sessions = lambda: (
            answer() if not bmc.fault else f"{V1}/SessionService/Sessions"
        )
        source.rounds(20)
        assert len([one for one in bmc.seen if one.startswith("POST")]) <= 4


def test_a_clock_that_is_set(bmc, clock):
    """Said once; energy and times go on."""
    bmc.layout, bmc.law, bmc.digits = "sensors", LAW, 3
    with Rounds(bmc, clock) as source:
        source.rounds(5)
        bmc.offset_ns += 7200 * S
        readings = source.rounds(5)
        assert readings.state.up
        (row,) = readings.rows
        assert [note.event for note in source.notes].count("redfish_clock") == 1
        assert abs(row.energy_uj - law_uj(bmc, row)) <= row.integration_uj + 400_000_000  # one second


def test_a_chassis_that_turns_up_later(bmc, clock):
    """Looked for in each round while there is none."""
    bmc.fault = "404"
    with Rounds(bmc, clock) as source:
        assert "none of the BMC's chassis" in source.rounds(2).state.reason
        bmc.fault = ""
        assert source.round().state.up


def test_a_second_node_on_the_bmc(bmc, clock):
    """Whose power is this node's can't be seen: nothing is published, and the setting is named."""
    tree = bmc.tree()
    other = chassis("N2", "Sled", systems=(f"{SYSTEM}2",))
    bmc.extra = {
        **other,
        f"{V1}/Chassis": {"Members": [{"@odata.id": path} for path in (*other, f"{V1}/Chassis/Self")]},
    }
    assert tree
    with Rounds(bmc, clock) as source:
        readings = source.round()
        assert not readings.rows
        assert "set redfish.chassis" in readings.state.reason
    with Rounds(bmc, clock, redfish_chassis="Self") as source:
        assert [row.zone.index for row in source.round().rows] == ["Self"]


def test_a_certificate_of_another_authority(bmc, clock, tmp_path):
    """Said at once with the cure; over once the right one is back. Nothing was sent to the other one."""
    other = Authority(tmp_path / "other")
    with Rounds(bmc, clock) as source:
        source.rounds(2)
        bmc.use(*other.certificate())
        bmc.seen[:] = []
        reason = source.round().state.reason
        assert "certificate" in reason
        assert "redfish.ca-file" in reason
        assert bmc.seen == []
        bmc.use(*bmc.authority.certificate())
        assert source.round().state.up
