# SPDX-License-Identifier: Apache-2.0
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from wattline.wire.counts import scaled_count

MS = 1_000_000
numbers = st.integers(0, 2**64 - 1)
# A window: events seen, and for how much of the enabled time the counter had its turn.
windows = st.integers(1, 10**12).flatmap(
    lambda enabled_ns: st.tuples(numbers, st.just(enabled_ns), st.integers(1, enabled_ns))
)


@given(numbers, st.integers(1, 10**12))
def test_a_counter_that_counted_all_the_time_is_believed(count, enabled_ns):
    """With its turn for the whole window, the count itself is the answer."""
    assert scaled_count(count, enabled_ns, enabled_ns) == count


@given(windows)
def test_an_estimate_is_never_below_what_was_seen(window):
    """Events that were counted have happened; and the estimate is whole, within one of its exact value."""
    count, enabled_ns, running_ns = window
    estimate = scaled_count(*window)
    assert estimate >= count
    assert 0 <= Fraction(count * enabled_ns, running_ns) - estimate < 1


@given(st.integers(1, 10**12))
def test_a_counter_that_never_had_its_turn_says_nothing(enabled_ns):
    """Wanted and never scheduled is unknown, not 0; a window in which nobody wanted it has no events."""
    assert scaled_count(0, enabled_ns, 0) is None
    assert scaled_count(0, 0, 0) == 0


@given(st.lists(windows, min_size=1, max_size=20))
def test_a_window_in_pieces_is_bounded_like_the_whole(pieces):
    """One window or many: all lie between what the least and the most scaled piece makes of the sum."""
    count, enabled_ns, running_ns = map(sum, zip(*pieces, strict=True))
    scales = [Fraction(enabled, running) for _count, enabled, running in pieces]
    whole = scaled_count(count, enabled_ns, running_ns)
    summed = sum(scaled_count(*piece) for piece in pieces)
    assert count * min(scales) - 1 < whole <= count * max(scales)
    assert count * min(scales) - len(pieces) < summed <= count * max(scales)
    if len(set(scales)) == 1:
        assert 0 <= whole - summed < len(pieces)


@given(
    st.integers(0, 10**4),
    st.lists(st.tuples(st.integers(1, 1000), st.booleans()), min_size=1, max_size=50),
)
@example(3, [(4, True), (4, False)])
def test_a_steady_rate_is_found_through_any_turns(events_per_us, slices):
    """Whichever slices of the time the counter had, events at one rate are estimated in their number."""
    enabled_ns = sum(us * 1000 for us, _turn in slices)
    running_ns = sum(us * 1000 for us, turn in slices if turn)
    if running_ns:
        seen = events_per_us * running_ns // 1000
        assert scaled_count(seen, enabled_ns, running_ns) == events_per_us * enabled_ns // 1000


@given(st.integers(1, 10**6), st.lists(st.integers(1, 1000), min_size=2, max_size=30))
def test_what_rounding_costs_is_one_scaled_count(events, slices_us):
    """Counts are whole: what is seen is up to one short, and the estimate up to one scale of it."""
    enabled_ns, running_ns = 1000 * sum(slices_us), 1000 * slices_us[0]
    seen = events * running_ns // enabled_ns
    estimate = scaled_count(seen, enabled_ns, running_ns)
    assert events - Fraction(enabled_ns, running_ns) - 1 < estimate <= events


def test_totals_that_are_scaled_would_fall():
    """Why differences are scaled: cumulative columns whose share of running time rises, scaled, go down."""
    first, second = (100, 100 * MS, 10 * MS), (110, 200 * MS, 110 * MS)
    assert scaled_count(*second) < scaled_count(*first)
    difference = [now - before for now, before in zip(second, first, strict=True)]
    assert scaled_count(*first) + scaled_count(*difference) == 1010
