# SPDX-License-Identifier: Apache-2.0
"""New readings, repeated ones and old ones."""

import pytest

from services.power.channel import Kind
from services.power.redfish_bmc.renewal import Falls, Renewal

from ..world import S

P = 30 * S


def taken(renewal, readings, *, stamp=None, has_fraction=False):
    """What came of readings a period apart: True, False, or "old"."""
    found = []
    for number, value in enumerate(readings):
        try:
            mark = stamp[number] if stamp else ""
            found.append(renewal.take(value, mark, has_fraction=has_fraction, asked_ns=1000 * S + number * P))
        except ValueError:
            found.append("old")
    return found


def test_whole_watts_may_stay_the_same_for_minutes():
    """A node at rest shows 212 W again and again: each is a reading, up to 20 periods."""
    assert taken(Renewal(Kind.GAUGE, P), [212] * 21) == [True] * 21
    assert taken(Renewal(Kind.GAUGE, P), [212] * 23 + [213]) == [True] * 21 + ["old"] * 2 + [True]


def test_a_figure_with_decimals_that_stays_the_same_is_old():
    """It is no new reading, and after a period and a half it is said."""
    assert taken(Renewal(Kind.GAUGE, P), [1, 2, 2, 2, 3], has_fraction=True) == [
        True,
        True,
        False,
        "old",
        True,
    ]


def test_a_figures_own_time_decides():
    """With a time of its own it is new if that is new, whatever the value; and old if that stands still."""
    stamps = ["a", "b", "b", "b", "c", "d"]
    assert taken(Renewal(Kind.GAUGE, P), [5] * 6, stamp=stamps) == [True, True, False, "old", True, True]


def test_a_counter_is_new_when_it_has_changed():
    """A step of 3.6 kJ lasts 12 minutes at 5 W; after that it stands still."""
    renewal = Renewal(Kind.COUNTER, P, step_uj=3_600_000_000)
    assert taken(renewal, [7] * 26 + [8]) == [True] + [False] * 24 + ["old"] + [True]


def test_a_slow_bmcs_own_period_is_learned():
    """A figure that changes at each third round is renewed each 90 s, and is not read in between."""
    renewal = Renewal(Kind.GAUGE, P)
    values = [number // 3 for number in range(60)]
    found = taken(renewal, values)
    assert renewal.renewal_ns == 3 * P
    assert found[-9:] == [True, False, False] * 3


def test_a_fast_bmcs_period_is_ours():
    """A figure that changes each round, but for some equal ones, has our period."""
    renewal = Renewal(Kind.GAUGE, P)
    taken(renewal, [1, 2, 3, 3, 4, 5, 5, 5, 6, 7, 8, 9])
    assert renewal.renewal_ns == P


@pytest.mark.parametrize("kind", list(Kind))
def test_a_learned_period_moves_the_limit(kind):
    """A BMC that renews each 90 s is not called old after 45 s."""
    renewal = Renewal(kind, P)
    values = [number // 3 for number in range(60)]
    assert "old" not in taken(renewal, values)[6 * 3 :]


def test_one_reading_that_is_too_low_is_an_error():
    """The next right one must not look like energy; a reset counts once the counter has gone on from it."""
    falls, found = Falls(), []
    for value in (100, 101, 7, 102, 7, 7, 7, 7, 103, 0, 1, 1, 2, 3):
        try:
            falls.take(value)
            found.append(value)
        except ValueError:
            found.append(None)
    assert found == [100, 101, None, 102, None, None, None, None, 103, None, None, None, 2, 3]
