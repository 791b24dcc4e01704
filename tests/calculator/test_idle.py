# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from services.calculator.idle import IdlePower

S = 1_000_000_000


def feed(idle, windows, idle_w=20.0, busy_w=15.0, cpus=2):
    for busy_cpus in windows:
        idle.observe(round((idle_w + busy_w * busy_cpus) * 1e6), S, round(busy_cpus * S), cpus * S)


def test_a_linear_machine_is_learned_exactly():
    """Where power is idle + watts per busy CPU, the idle power is found from loads that never were idle."""
    idle = IdlePower()
    feed(idle, [0.5, 0.5, 1.0, 1.0, 1.5, 1.5, 2.0, 2.0])
    assert abs(idle.learned().power_uw - 20_000_000) < 200_000


def test_a_machine_seen_only_idle_is_all_idle():
    """At utilisation 0 all power is idle power."""
    idle = IdlePower()
    feed(idle, [0.0] * 5)
    assert idle.learned().power_uw == 20_000_000


def test_a_machine_seen_only_busy_is_not_called_idle():
    """At full load nothing says what idle would be; nothing is then taken from those who ran."""
    idle = IdlePower()
    feed(idle, [2.0] * 5)
    assert idle.learned().power_uw == 0


def test_one_odd_window_does_not_set_it():
    """A single low reading in a bin of its own isn't trusted while others have been seen for long."""
    idle = IdlePower()
    feed(idle, [0.0] * 10 + [1.0] * 10)
    idle.observe(1, S, S // 2, 2 * S)
    assert abs(idle.learned().power_uw - 20_000_000) < 200_000


def test_old_observations_fade():
    """After a change of the machine's idle power the new one is learned."""
    idle = IdlePower()
    feed(idle, [0.0, 1.0] * 600)
    feed(idle, [0.0, 1.0] * 2400, idle_w=10.0)
    assert abs(idle.learned().power_uw - 10_000_000) < 500_000


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(1, 10**10), st.integers(0, 2 * 10**10)), max_size=50
    )
)
def test_it_is_never_negative_nor_above_what_was_seen(windows):
    """Whatever was observed, idle power lies between 0 and the highest mean power of any window."""
    idle = IdlePower()
    for energy_uj, time_ns, busy_ns in windows:
        idle.observe(energy_uj, time_ns, busy_ns, 2 * time_ns)
    highest = max((energy * S / time_ns for energy, time_ns, _busy in windows), default=0)
    assert 0 <= idle.learned().power_uw <= highest + 1


def test_doubt_is_as_wide_as_what_is_not_known():
    """Seen only at full load, idle power may be anything up to what was seen; and it says so."""
    idle = IdlePower()
    feed(idle, [2.0] * 5)
    assert idle.learned() == (0, 50_000_000, "provisional")
    feed(idle, [0.5, 1.0, 1.5] * 5)
    power_uw, doubt_uw, method = idle.learned()
    assert method == "learned"
    assert abs(power_uw - 20_000_000) < 10_000
    # As much as lies between the least power seen and idle.
    assert abs(doubt_uw - 7_500_000) < 10_000


def test_observed_min_is_keplers():
    """It falls only in windows in which both power and utilisation are the least so far."""
    idle = IdlePower()
    feed(idle, [1.0])
    assert idle.observed_min().power_uw == 35_000_000
    feed(idle, [2.0])
    idle.observe(1_000_000, S, S * 3 // 2, 2 * S)  # little power at more use
    assert idle.observed_min().power_uw == 35_000_000
    feed(idle, [0.5])
    assert idle.observed_min().power_uw == 27_500_000


def test_doubt_covers_a_bent_curve():
    """On a machine whose power is no line the estimate is off, by no more than its doubt."""
    for exponent in (0.7, 1.4):
        idle = IdlePower()
        for number in range(300):
            ratio = 0.3 + 0.6 * (number * 7 % 60) / 60
            power_w = 20 + 30 * ratio**exponent
            idle.observe(round(power_w * 1e6), S, round(ratio * 2 * S), 2 * S)
        power_uw, doubt_uw, _method = idle.learned()
        assert abs(power_uw - 20_000_000) > 1_000_000
        assert abs(power_uw - 20_000_000) <= doubt_uw
