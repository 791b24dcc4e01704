# SPDX-License-Identifier: Apache-2.0
"""What `wattline selftest` lets pass, and what not."""

import pytest

from wattline.selftest import truth
from wattline.selftest.truth import Residual

S = 1_000_000_000
W = 1_000_000
CLOSED = Residual(9, {"package": 0, "dram": 0})


@pytest.mark.parametrize(
    ("wattline_j", "passes"),
    [
        (90.0, True),
        (90.8, True),
        (89.2, True),
        (91.0, False),
        (89.0, False),
        (155.7, False),
        (66.6, False),
        (0, False),
    ],
)
def test_a_container_may_be_one_percent_off(wattline_j, passes):
    """6 CPU seconds at 15 W are 90 J; half as much again, or a quarter too little, is broken attribution."""
    assert truth.container("", 6 * S, 15 * W, int(wattline_j * 1e6), 0).passes is passes


def test_stolen_time_is_allowed_for_upward_only():
    """0.1 s stolen at 15 W, and two ticks of doubt: 1.8 J more than the limit of 0.9 J, and none less."""
    for wattline_j, passes in ((92.6, True), (92.8, False), (89.2, True), (89.0, False)):
        assert truth.container("", 6 * S, 15 * W, int(wattline_j * 1e6), S // 10).passes is passes


def test_a_container_that_did_nothing_proves_nothing():
    """A load that never ran must not pass for one that was measured well."""
    assert not truth.container("", 0, 15 * W, 0, 0).passes


def test_the_node_must_be_the_meters_to_the_microjoule():
    """One is too much, one is too little."""
    assert truth.node("", 10**9, 10**9).passes
    assert not truth.node("", 10**9, 10**9 + 1).passes
    assert not truth.node("", 10**9, 10**9 - 1).passes


def test_idle_power_may_be_two_percent_off():
    """Of 20 W, 0.4 W; not known is not passed."""
    assert truth.idle("", 20 * W, 20_390_000).passes
    assert not truth.idle("", 20 * W, 20_410_000).passes
    assert not truth.idle("", 20 * W, 0).passes


def test_books_must_have_been_seen_and_closed():
    """A residual of a microjoule in one scrape of one zone fails; so does having seen none."""
    assert CLOSED.passes
    assert not Residual(9, {"package": 0, "dram": -1}).passes
    assert not Residual(0, {}).passes
    assert not Residual(9, {}).passes


def test_one_failure_fails_all_and_is_shown():
    """The table names who, what was true, what was measured, and the verdict, a line each."""
    good = truth.container("30% of CPU 1", 6 * S, 15 * W, 90_100_000, S // 10)
    bad = truth.container("60% of CPU 0", 12 * S, 15 * W, 133_200_000, 0)
    assert truth.passes([good], CLOSED)
    assert not truth.passes([good, bad], CLOSED)
    assert not truth.passes([good], Residual(9, {"package": 1}))
    assert not truth.passes([], CLOSED)
    head, first, second, books = truth.table([good, bad], CLOSED)
    assert head.split() == ["truth", "Wattline", "error", "limit"]
    assert (
        first.split()[-9:] == ["90.000", "J", "90.100", "J", "+0.111%", "1%", "+", "1.80", "J", "PASS"][-9:]
    )
    assert second.split()[-6:] == ["J", "133.200", "J", "-26.000%", "1%", "FAIL"]
    assert books.startswith("node - containers - unattributed, 9 scrapes")
    assert books.endswith("PASS")
