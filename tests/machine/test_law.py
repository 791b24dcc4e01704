# SPDX-License-Identifier: Apache-2.0
"""The simulated meter's law, by values alone: energy, noise, updates, wraps, sockets, kernel formats."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattline.selftest.awake import Awake
from wattline.selftest.busy import cpuacct_usage, parse_idle, parse_stat, parse_usage_percpu
from wattline.selftest.law import Law, Moment, Noise
from wattline.selftest.sockets import given as given_sockets
from wattline.selftest.sockets import split
from wattline.selftest.updates import Updates
from wattline.selftest.zones import zones_of

S = 1_000_000_000
MS = 1_000_000
SILENT = Noise(0, 0, MS)


def test_energy_is_idle_power_and_busy_power_of_its_own_cpus():
    """20 W for 10 s, and 15 W for 3 s of CPU 0: CPU 1, on another socket, costs this zone nothing."""
    law = Law(20_000_000, 15_000_000, frozenset({0}), SILENT)
    assert law.energy_uj(Moment(10 * S, {0: 3 * S, 1: 7 * S})) == 245_000_000


def test_zones_have_their_own_laws_and_cpus():
    """Each zone of a socket follows that socket's CPUs, with its own figures; psys follows all."""
    config = {"psys": True, "zones": {"package-1": {"idle_w": 30, "busy_w": 2}}}
    zones = zones_of(config, [frozenset({0}), frozenset({1})])
    moment = Moment(S, {0: S, 1: S // 2})
    energy_uj = {name: zone.law.energy_uj(moment) for name, zone in zones.items()}
    assert energy_uj["package-0"] == 35_000_000
    assert energy_uj["package-1"] == 31_000_000
    assert energy_uj["package-1/dram"] == 4_750_000
    assert energy_uj["psys"] == 90_000_000


@given(st.integers(0, 20_000_000), st.integers(0, 2**40), st.lists(st.integers(0, 50 * MS), max_size=20))
def test_noise_is_bounded_repeatable_and_never_makes_the_counter_fall(noise_uw, seed, steps_ns):
    """Whatever the seed, the amplitude up to idle power, and the moments at which it is read."""
    law = Law(20_000_000, 15_000_000, frozenset({0}), Noise(noise_uw, seed, 7 * MS))
    elapsed_ns = last_uj = 0
    for step_ns in steps_ns:
        elapsed_ns += step_ns
        energy_uj = law.energy_uj(Moment(elapsed_ns, {0: 0}))
        assert last_uj <= energy_uj <= elapsed_ns * (20_000_000 + noise_uw) // S
        last_uj = energy_uj
    again = Law(20_000_000, 15_000_000, frozenset({0}), Noise(noise_uw, seed, 7 * MS))
    assert again.energy_uj(Moment(elapsed_ns, {0: 0})) == last_uj
    assert law.energy_uj(Moment(0, {0: 0})) == 0


def test_noise_is_constant_within_a_period_and_wavers_between():
    """Power of a period is one number; of many, the mean is near 0 and both signs are there."""
    noise = Noise(1_000_000, 5, 10 * MS)
    for period in range(3):
        start_ns = period * 10 * MS
        in_ms = [noise.energy_uw_ns(start_ns + ms * MS) for ms in range(11)]
        assert {after - before for before, after in pairwise(in_ms)} == {noise.power_uw(period) * MS}
    powers = [noise.power_uw(period) for period in range(2000)]
    assert abs(sum(powers) / len(powers)) < 60_000  # 5 standard errors
    assert min(powers) < -900_000 < 900_000 < max(powers)


def test_two_zones_and_two_seeds_waver_differently():
    """No zone's noise is another's."""
    zones = zones_of({"noise_w": 1}, [frozenset({0}), frozenset({1})])
    others = zones_of({"noise_w": 1, "seed": 1}, [frozenset({0}), frozenset({1})])
    seen = [zone.law.noise.power_uw(3) for zone in [*zones.values(), *others.values()]]
    assert len(set(seen)) == len(seen)


def test_noise_beyond_idle_power_is_refused():
    """It could make the counter fall."""
    with pytest.raises(ValueError, match="would fall"):
        zones_of({"zones": {"package-0": {"idle_w": 1, "noise_w": 1.5}}}, [frozenset({0})])


def test_a_counter_changes_at_multiples_of_its_period_only():
    """Seen at 250 and 620 ms, of a period of 100 ms: as at 200 and at 600, busy time interpolated."""
    updates = Updates(100 * MS)
    assert updates.shown(Moment(99 * MS, {0: 9 * MS})) == Moment(0, {})
    # of 99 to 250 ms 101 have passed, in which 100 ÷ 151 of 151 ms were busy at once
    assert updates.shown(Moment(250 * MS, {0: 160 * MS})) == Moment(200 * MS, {0: 110 * MS})
    assert updates.shown(Moment(299 * MS, {0: 160 * MS})) == Moment(200 * MS, {0: 110 * MS})
    assert updates.shown(Moment(620 * MS, {0: 160 * MS, 1: 321 * MS})) == Moment(
        600 * MS, {0: 160 * MS, 1: 301 * MS}
    )


@given(st.integers(1, 30 * MS), st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 100)), min_size=1))
def test_what_is_shown_never_falls_nor_runs_ahead(period_ns, steps):
    """At any moments: never more than is true, never less than it was, never older than a period."""
    updates = Updates(period_ns)
    elapsed_ns = busy_ns = 0
    last = Moment(0, {0: 0})
    for step_ns, percent in steps:
        elapsed_ns += step_ns
        busy_ns += step_ns * percent // 100
        shown = updates.shown(Moment(elapsed_ns, {0: busy_ns}))
        assert shown.elapsed_ns % period_ns == 0
        assert elapsed_ns - period_ns < shown.elapsed_ns <= elapsed_ns
        assert last.busy_ns.get(0, 0) <= shown.busy_ns.get(0, 0) <= busy_ns
        assert last.elapsed_ns <= shown.elapsed_ns
        last = shown


def test_a_counter_wraps_at_its_range_and_the_log_tells_it():
    """From its start value modulo the range, however far energy has gone before the first reading."""
    figures = {"idle_w": 1, "busy_w": 0, "start_raw_uj": 900, "range_uj": 1000}
    zone = zones_of({"zones": {"package-0": figures}}, [frozenset({0})])["package-0"]
    at_uj = [Moment(uj * 1000, {0: 0}) for uj in (5_000, 5_099, 5_100, 7_150)]
    assert [zone.serve(moment) for moment in at_uj] == [900, 999, 0, 50]
    log = zone.log()
    assert (log["wraps"], log["energy_uj"], log["reads"]) == (3, 2_150, 4)
    assert (log["first_uj"], log["last_uj"]) == (5_000, 7_150)


def test_cpus_are_split_in_blocks_by_those_that_run():
    """A machine with room for eight of which five run: the rest are on the last socket."""
    assert split(2, range(5), range(8)) == [frozenset({0, 1}), frozenset({2, 3, 4, 5, 6, 7})]
    assert split(1, range(2), range(2)) == [frozenset({0, 1})]
    assert split(3, range(2), range(2)) == [frozenset(), frozenset({0}), frozenset({1})]


def test_cpus_of_sockets_are_as_given():
    """Interleaved ones, as some machines number them; a CPU on two sockets or on none is refused."""
    assert given_sockets([[0, 2], [1, 3]], 2, range(4)) == [frozenset({0, 2}), frozenset({1, 3})]
    for wrong in ([[0, 1], [1, 2, 3]], [[0], [1, 2]], [[0, 1, 2, 3]]):
        with pytest.raises(ValueError, match="expected 2 lists"):
            given_sockets(wrong, 2, range(4))


def test_the_kernels_formats():
    """cpuacct.usage_percpu, and /proc/stat's lines by CPU."""
    assert parse_usage_percpu("10 20 0 \n") == {0: 10, 1: 20, 2: 0}
    stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 100 7 4 5 6 1 0\ncpu3 1 0 0 0 0 0 0 0 0 0\nintr 5 1\n"
    assert parse_stat(stat) == {0: 210 * MS, 3: 10 * MS}
    assert parse_idle(stat) == {0: 1070 * MS, 3: 0}


def test_awake_is_what_does_not_idle_and_never_falls():
    """Idle time comes in steps of 10 ms: at most one is taken for awake, however often one looks."""
    awake = Awake()
    assert awake.observe(0, {0: 500 * MS}) == {0: 0}
    for ms in range(1, 101):  # idle all the time
        assert awake.observe(ms * MS, {0: (500 + ms // 10 * 10) * MS})[0] == min(ms, 9) * MS
    assert awake.observe(150 * MS, {0: 600 * MS}) == {0: 50 * MS}


def test_a_cpu_that_is_off_is_not_awake():
    """Away from 10 to 60 ms, and its idle time begins anew: 10 ms before and 5 ms after."""
    awake = Awake()
    awake.observe(0, {0: 0, 1: 70 * MS})
    assert awake.observe(10 * MS, {0: 0, 1: 70 * MS}) == {0: 10 * MS, 1: 10 * MS}
    assert awake.observe(40 * MS, {0: 0}) == {0: 40 * MS, 1: 10 * MS}
    assert awake.observe(60 * MS, {0: 0, 1: 0})[1] == 10 * MS
    assert awake.observe(65 * MS, {0: 0, 1: 0})[1] == 15 * MS


def test_the_finest_account_is_that_of_the_whole_machine(tmp_path):
    """Only a cpuacct hierarchy that is mounted from its root, wherever and with whatever it is joined."""
    mount = tmp_path / "cpu,cpuacct"
    mount.mkdir()
    (mount / "cpuacct.usage_percpu").write_text("1 2\n")
    (tmp_path / "self").mkdir()
    mountinfo = tmp_path / "self/mountinfo"
    escaped = str(mount).replace(" ", r"\040")
    line = f"30 25 0:26 {{}} {escaped} rw,nosuid - cgroup cgroup rw,cpu,cpuacct\n"
    mountinfo.write_text("24 1 0:22 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n" + line.format("/"))
    assert cpuacct_usage(tmp_path) == mount / "cpuacct.usage_percpu"
    mountinfo.write_text(line.format("/docker/abc"))
    assert cpuacct_usage(tmp_path) is None
