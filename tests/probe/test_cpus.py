# SPDX-License-Identifier: Apache-2.0
"""CPUs that come and go, and CPUs that must not be disturbed."""

import sys
import time
from pathlib import Path

import pytest

from services.probe.ebpf import cpus
from services.probe.ebpf.layout import Features
from tests.load import SPIN, in_cgroup, kernel_cpu_us
from tests.probe.rows import cgroup_value, charged_ns, elapsed_ns, wait_for
from tests.probe.service import start

MS = 1_000_000
ONLINE = Path("/sys/devices/system/cpu/cpu1/online")


@pytest.fixture
def unplug():
    """Unplugs and plugs CPU 1; it is plugged again at the end whatever happens."""
    yield lambda on: ONLINE.write_text(f"{int(on)}\n", encoding="ascii")
    ONLINE.write_text("1\n", encoding="ascii")


def spin_on(cgroup, cpu):
    return in_cgroup(cgroup, ["taskset", "-c", str(cpu), sys.executable, "-c", SPIN, "3600"])


@pytest.mark.alone
@pytest.mark.parametrize(
    "features", [Features(), Features(counters=("cpu_clock",))], ids=["plain", "counters"]
)
def test_a_cpu_that_was_unplugged_was_not_idle(load_reader, cgroup, unplug, features):
    """While CPU 1 is away it is charged nothing, not even idle time; its counters go on when it returns."""
    reader = load_reader(features=features)
    before = reader.sample()
    unplug(on=False)
    away = reader.sample()
    time.sleep(0.5)
    still_away = reader.sample()
    unplug(on=True)
    with spin_on(cgroup, 1):
        time.sleep(0.5)
        after = reader.sample()
        time.sleep(0.5)
        last = reader.sample()
    assert still_away.cpus.stamp_mono_ns[1] == away.cpus.stamp_mono_ns[1]
    assert after.cpus.offline_ns[1] > 450 * MS
    assert after.cpus.offline_ns[0] == 0
    assert after.cpus.idle_ns[1] - before.cpus.idle_ns[1] < 600 * MS
    for sample in (before, away, still_away, after, last):
        assert abs(charged_ns(sample) - elapsed_ns(sample)) < MS + len(sample.cpus) * sample.skew_ns
    # One CPU only was there in this interval: Σ = 1 × elapsed.
    alone_ns = charged_ns(still_away) - charged_ns(away)
    assert abs(alone_ns - (still_away.mono_ns - away.mono_ns)) < MS + away.skew_ns + still_away.skew_ns
    if features.counters:
        row = list(last.cgroups.cgroup_id).index(cgroup.stat().st_ino)
        cpu_ns = last.cgroups.cpu_ns[row]
        # Between its return and the next sample the CPU has no counter yet.
        assert 0.4 * cpu_ns < last.cgroups.counts[0][row] < 1.01 * cpu_ns


@pytest.mark.alone
def test_a_cpu_plugged_in_while_nobody_reads_gets_its_counters(load_reader, cgroup, unplug):
    """A reader that comes later gives a CPU its counters that the loader, or a former reader, could not."""
    unplug(on=False)
    reader = load_reader(features=Features(counters=("cpu_clock",)))
    unplug(on=True)
    reader.sample()
    with spin_on(cgroup, 1):
        wait_for(lambda: kernel_cpu_us(cgroup) > 400_000)
        sample = reader.sample()
    row = list(sample.cgroups.cgroup_id).index(cgroup.stat().st_ino)
    assert sample.cgroups.counts[0][row] > 0.9 * sample.cgroups.cpu_ns[row] > 300 * MS


@pytest.mark.alone
def test_an_undisturbed_cpu_is_charged_when_it_switches(load_reader, cgroup):
    """A CPU left alone is not flushed; what ran there appears after its next switch, and nothing is lost."""
    reader = load_reader(undisturbed={1}, self_flush=True)
    with in_cgroup(cgroup, ["taskset", "-c", "1", "chrt", "-f", "1", sys.executable, "-c", SPIN, "0.8"]):
        time.sleep(0.3)
        during = [reader.sample() for _ in range(3)]
        time.sleep(1.5)
        reader.sample()
        time.sleep(0.3)
        after = reader.sample()
    assert after.cpus.stamp_mono_ns[1] > during[-1].cpus.stamp_mono_ns[1]
    assert all(sample.skew_ns < 100 * MS for sample in during)
    assert cgroup_value(after, cgroup) > 790 * MS
    assert charged_ns(after) - elapsed_ns(after) + MS + after.skew_ns > 0


def test_undisturbed_cpus_are_never_run_on(load_reader, monkeypatch):
    """The flush is called on every CPU but those."""
    from services.probe.ebpf import bpf_syscall as bpf  # noqa: PLC0415

    reader = load_reader(undisturbed={0}, self_flush=True)
    called, run_on_cpu = [], bpf.run_on_cpu
    monkeypatch.setattr(bpf, "run_on_cpu", lambda fd, cpu: (called.append(cpu), run_on_cpu(fd, cpu)))
    reader.sample()
    assert called == [1]


def test_isolated_cpus_are_found(tmp_path):
    """Both of the kernel's lists count; where it has none, none are isolated."""
    directory = tmp_path / "devices/system/cpu"
    directory.mkdir(parents=True)
    assert cpus.undisturbed(tmp_path) == set()
    (directory / "isolated").write_text("2-3\n", encoding="ascii")
    (directory / "nohz_full").write_text("5,7-8\n", encoding="ascii")
    assert cpus.undisturbed(tmp_path) == {2, 3, 5, 7, 8}
    (directory / "nohz_full").write_text("  (null)\n", encoding="ascii")
    assert cpus.undisturbed(tmp_path) == {2, 3}


def test_a_tree_of_meters_alone_is_no_tree_of_cpus(tmp_path):
    """A sysfs that has no CPUs, as a simulated meter's, leaves the probe with the kernel's own."""
    assert cpus.tree(tmp_path) == Path("/sys")
    assert cpus.tree(Path("/sys")) == Path("/sys")


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        ("--probe.undisturbed-cpus", "two", "a list of CPUs, e.g. 2-5,8"),
        ("--probe.counters", "cycles,cycle", "'cycle'"),
        ("--probe.counters", "cycles,cycles", "a name is in it twice"),
        ("--probe.backend", "bpf", "auto, ebpf, procfs"),
    ],
)
def test_a_bad_setting_is_told(run_directory, pin_path, flag, value, expected):
    """What, expected and got; exit code 78."""
    probe = start(run_directory, pin_path, flag, value)
    output, _errors = probe.communicate(timeout=20)
    assert probe.returncode == 78
    assert flag.lstrip("-") in output
    assert expected in output
