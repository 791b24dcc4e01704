# SPDX-License-Identifier: Apache-2.0
"""The BMC's time on our clock."""

from hypothesis import given
from hypothesis import strategies as st

from services.power.redfish_bmc.clock import BmcClock, Exchange
from services.power.redfish_bmc.transport import date_ns, retry_after_s

from ..world import S

MS = 1_000_000


def exchange(sent_ns: int, there_ns: int, back_ns: int, offset_ns: int) -> Exchange:
    """A request that took so long each way, and the Date of a clock that is `offset_ns` ahead of ours."""
    bmc_ns = sent_ns + there_ns + offset_ns
    return Exchange(sent_ns, sent_ns + there_ns + back_ns, bmc_ns - bmc_ns % S)


lags = st.tuples(st.integers(0, 20 * S), st.integers(0, 20 * S))


@given(st.lists(lags, min_size=1, max_size=30), st.integers(-(10**18), 10**18))
def test_the_true_offset_is_always_within_the_bounds(ways, offset_ns):
    """Whatever the lags, and however wrong the BMC's clock, while it isn't set."""
    offset_ns += 2 * 10**18
    clock = BmcClock()
    for number, (there_ns, back_ns) in enumerate(ways):
        assert not clock.note(exchange(number * 60 * S, there_ns, back_ns, offset_ns))
        assert clock.low_ns <= -offset_ns <= clock.high_ns


@given(st.lists(lags, min_size=1, max_size=9), lags)
def test_an_answers_time_lies_between_question_and_answer(ways, last):
    """Its Date makes it finer, never impossible."""
    clock = BmcClock()
    for number, way in enumerate([*ways, last]):
        one = exchange(number * 60 * S, *way, 10**18)
        clock.note(one)
        assert one.sent_ns <= clock.answered_ns(one) <= one.received_ns


def test_a_slow_answer_is_placed_by_its_date():
    """After some fast answers, one that was on its way back for 20 s is placed to a second."""
    clock = BmcClock()
    for number in range(20):
        clock.note(exchange(number * 30 * S + number * 77 * MS, 2 * MS, 2 * MS, 10**18))
    late = exchange(700 * S, 5 * MS, 20 * S, 10**18)
    clock.note(late)
    assert abs(clock.answered_ns(late) - 700 * S) <= S


def test_a_reading_with_a_time_of_its_own_is_placed_by_it():
    """A sensor that was read 20 s before the answer has that time, to the bounds of the clock."""
    clock = BmcClock()
    for number in range(40):
        now = exchange(number * 30 * S + number * 77 * MS, 2 * MS, 2 * MS, 10**18)
        clock.note(now)
        assert now.sent_ns <= clock.answered_ns(now) <= now.received_ns
    placed_ns = clock.mono_ns(now.sent_ns + 10**18 - 20 * S, now)
    assert abs(placed_ns - (now.sent_ns - 20 * S)) < S // 5
    assert clock.mono_ns(now.sent_ns + 10**18 + 3600 * S, now) == now.received_ns


def test_a_clock_that_is_set_is_noticed():
    """In both directions, at once; afterwards the new time counts."""
    clock = BmcClock()
    for jump_s in (0, 5, -7200, 3):
        offset_ns = 10**18 + jump_s * S
        assert clock.note(exchange(30 * S, MS, MS, offset_ns)) == (jump_s != 0)
        assert not clock.note(exchange(60 * S, MS, MS, offset_ns))
        assert clock.low_ns <= -offset_ns <= clock.high_ns
    assert clock.jumps == 3


def test_a_clock_that_drifts_is_followed():
    """100 ppm over a day is 9 s, and no jump."""
    clock = BmcClock()
    for number in range(2880):
        now_ns = number * 30 * S
        offset_ns = 10**18 + now_ns // 10_000
        assert not clock.note(exchange(now_ns, MS, MS, offset_ns))
        assert clock.low_ns - MS <= -offset_ns <= clock.high_ns + MS


def test_without_a_date_the_middle_counts():
    """An answer without a Date lies between question and answer."""
    clock = BmcClock()
    one = Exchange(10 * S, 12 * S)
    assert not clock.note(one)
    assert clock.answered_ns(one) == 11 * S
    assert clock.mono_ns(5, one) is None


def test_dates():
    """A header that is no date, or one of nowhere, is none."""
    assert date_ns("Tue, 14 Nov 2023 22:13:20 GMT") == 1_700_000_000 * S
    for wrong in ("", "soon", "Tue, 99 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 99999 22:13:20 GMT", "1"):
        assert date_ns(wrong) is None


def test_retry_after():
    """Seconds, or a time by the BMC's own clock; anything else is no wish."""
    now = "Tue, 14 Nov 2023 22:13:20 GMT"
    assert retry_after_s("120", now) == 120
    assert retry_after_s("Tue, 14 Nov 2023 22:14:20 GMT", now) == 60
    assert retry_after_s("Tue, 14 Nov 2023 22:14:20 GMT", "") == 0
    assert retry_after_s("9" * 40, now) == 86400
    for wrong in ("", "-5", "soon", "²", "Tue, 14 Nov 2022 22:14:20 GMT"):
        assert retry_after_s(wrong, now) == 0
