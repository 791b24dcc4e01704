# SPDX-License-Identifier: Apache-2.0
"""The simulated RAPL tree behaves as the kernel's, keeps to its law, and leaves nothing behind."""

import errno
import os
import time
from pathlib import Path

import pytest

from .simulated_rapl import SimulatedRapl, is_mounted

S = 1_000_000_000
PACKAGE = "class/powercap/intel-rapl:0"


@pytest.fixture
def mountpoint(tmp_path) -> Path:
    return tmp_path / "sys"


def read_uj(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def processes_of(mountpoint: Path) -> list[str]:
    """Command lines that name the mount point: the server's, and its fusermount's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(mountpoint) in command:
            found.append(command)
    return found


def assert_nothing_left(mountpoint: Path):
    deadline_s = time.monotonic() + 5
    while left := processes_of(mountpoint):
        assert time.monotonic() < deadline_s, f"left behind: {left}"
        time.sleep(0.01)
    assert not is_mounted(mountpoint)


def test_it_has_the_kernels_files(mountpoint):
    """Two sockets with subzones nested and linked at the top, and psys, each with its name and range."""
    with SimulatedRapl(mountpoint, {"sockets": 2, "psys": True}) as rapl:
        powercap = rapl.sysfs / "class/powercap"
        zones = {f"intel-rapl:{number}" for number in ("0", "0:0", "0:1", "1", "1:0", "1:1", "2")}
        assert {path.name for path in powercap.iterdir()} == zones
        names = {path.name: (path / "name").read_text(encoding="ascii") for path in powercap.iterdir()}
        assert names["intel-rapl:1"] == "package-1\n"
        assert (names["intel-rapl:0:0"], names["intel-rapl:1:1"], names["intel-rapl:2"]) == (
            "core\n",
            "dram\n",
            "psys\n",
        )
        assert (powercap / "intel-rapl:0:1").resolve() == powercap / "intel-rapl:0" / "intel-rapl:0:1"
        assert read_uj(powercap / "intel-rapl:0/max_energy_range_uj") == 262_143_328_850
        assert (powercap / "intel-rapl:0/energy_uj").stat().st_size > 0


def test_energy_is_idle_power_and_busy_power_times_time(mountpoint):
    """With 2 CPUs busy at 20 W each, half of it the other socket's, one that idles at 30 W draws 50 W."""
    zones = {f"package-{n}": {"idle_w": 30, "busy_w": 20} for n in (0, 1)}
    with SimulatedRapl(mountpoint, {"sockets": 2, "busy_cpus": 2, "zones": zones}) as rapl:
        readings = []
        deadline_ns = time.monotonic_ns() + S // 5
        while time.monotonic_ns() < deadline_ns:
            before_ns = time.monotonic_ns()
            readings.append((before_ns, read_uj(rapl.sysfs / PACKAGE / "energy_uj"), time.monotonic_ns()))
        first, last = readings[0], readings[-1]
        energy_uj = last[1] - first[1]
        shortest_ns, longest_ns = last[0] - first[2], last[2] - first[0]
        assert 50 * shortest_ns // 1000 - 1 <= energy_uj <= 50 * longest_ns // 1000 + 1


def test_busy_cpus_are_the_machines_own(mountpoint):
    """Without a constant, CPU time of /proc/stat counts: a spin of 0.3 s costs 0.3 s × busy power."""
    zones = {"package-0": {"idle_w": 0, "busy_w": 100}}
    with SimulatedRapl(mountpoint, {"zones": zones}) as rapl:
        path = rapl.sysfs / PACKAGE / "energy_uj"
        before_uj, spun_ns = read_uj(path), time.process_time_ns()
        while time.process_time_ns() - spun_ns < 3 * S // 10:
            pass
        # /proc/stat counts in ticks of 10 ms; others may have been busy as well
        assert read_uj(path) - before_uj >= 0.25 * 100 * 1_000_000


def test_a_zone_wraps_where_it_is_told(mountpoint):
    """Raw readings stay below the range; the log tells the wrap and all the energy."""
    zones = {"package-0": {"start_raw_uj": 999_999_000, "range_uj": 1_000_000_000}}
    with SimulatedRapl(mountpoint, {"busy_cpus": 0, "zones": zones}) as rapl:
        path = rapl.sysfs / PACKAGE / "energy_uj"
        while read_uj(path) > 500_000_000 or rapl.log()["package-0"]["reads"] < 3:
            pass
        log = rapl.log()["package-0"]
        assert log["first_raw_uj"] == 999_999_000
        assert log["wraps"] == 1
        wrapped_uj = log["last_raw_uj"] + 1_000_000_000 * log["wraps"]
        assert log["energy_uj"] == wrapped_uj - log["first_raw_uj"] > 0
        assert log["last_raw_uj"] < 1_000_000_000


def test_nothing_flows_once_it_is_frozen(mountpoint):
    """From then on every reading of a zone is the same, and is the last in the log."""
    with SimulatedRapl(mountpoint, {"psys": True}) as rapl:
        path = rapl.sysfs / "class/powercap/intel-rapl:1/energy_uj"
        moving = {read_uj(path) for _reading in range(5)}
        rapl.freeze()
        standing = {read_uj(path) for _reading in range(20)}
        assert len(moving) == 5
        assert len(standing) == 1
        assert standing == {rapl.log()["psys"]["last_raw_uj"]}
        assert rapl.log()["psys"]["reads"] == 25


def test_a_reading_in_pieces_is_never_torn(mountpoint):
    """Later offsets of an open file continue what offset 0 gave, and offset 0 gives it anew."""
    with SimulatedRapl(mountpoint) as rapl:
        descriptor = os.open(rapl.sysfs / PACKAGE / "energy_uj", os.O_RDONLY)
        for _reading in range(50):
            begin = os.pread(descriptor, 7, 0)
            rest = os.pread(descriptor, 57, 7)
            assert int(begin + rest) == rapl.log()["package-0"]["last_raw_uj"]
        assert os.pread(descriptor, 64, 0) != begin + rest
        os.close(descriptor)


def test_a_zone_can_fail_and_heal(mountpoint):
    """An open descriptor fails with the errno asked for, and works again afterwards."""
    with SimulatedRapl(mountpoint) as rapl:
        descriptor = os.open(rapl.sysfs / PACKAGE / "energy_uj", os.O_RDONLY)
        rapl.fail("package-0", "ENODEV")
        with pytest.raises(OSError, match="No such device") as failure:
            os.pread(descriptor, 64, 0)
        assert failure.value.errno == errno.ENODEV
        rapl.heal("package-0")
        assert os.pread(descriptor, 64, 0)
        os.close(descriptor)


def test_a_stopped_one_leaves_nothing(mountpoint):
    """No mount, no process."""
    with SimulatedRapl(mountpoint):
        assert is_mounted(mountpoint)
    assert_nothing_left(mountpoint)


def test_a_killed_one_leaves_nothing(mountpoint):
    """Not even after SIGKILL: no dead mount that would hang or fail whoever looks at it."""
    with SimulatedRapl(mountpoint) as rapl:
        rapl.process.kill()
        rapl.process.wait()
        rapl.wait_unmounted()
        assert_nothing_left(mountpoint)
        assert list(mountpoint.iterdir()) == []


def test_a_wrong_configuration_is_refused(mountpoint):
    """A zone that isn't there is named, and nothing stays behind."""
    with (
        pytest.raises(RuntimeError, match="package-7"),
        SimulatedRapl(mountpoint, {"zones": {"package-7": {}}}),
    ):
        pass
    assert_nothing_left(mountpoint)


def test_a_hidden_zone_is_not_there_until_it_is_shown(mountpoint):
    """With all within it; what was open is dead, as in the kernel's own sysfs."""
    with SimulatedRapl(mountpoint, {"sockets": 2, "hidden": ["package-1"]}) as rapl:
        powercap = rapl.sysfs / "class/powercap"
        assert sorted(entry.name for entry in powercap.iterdir()) == [
            *("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1"),
        ]
        assert not (powercap / "intel-rapl:1/energy_uj").exists()
        rapl.show("package-1")
        assert (powercap / "intel-rapl:1:0/name").read_text(encoding="ascii") == "core\n"
        with (powercap / "intel-rapl:1/energy_uj").open("rb", buffering=0) as opened:
            rapl.hide("package-1")
            with pytest.raises(OSError, match="No such device"):
                opened.read()
        assert not (powercap / "intel-rapl:1:0").is_symlink()


def test_a_mirror_shows_another_zones_counter(mountpoint):
    """One counter under two names; and a reading can be made wrong, which leaves the truth as it is."""
    config = {"sockets": 2, "busy_cpus": 0, "mirrors": {"package-1": "package-0"}}
    with SimulatedRapl(mountpoint, config) as rapl:
        first, second = (rapl.sysfs / f"class/powercap/intel-rapl:{number}/energy_uj" for number in (0, 1))
        readings = [read_uj(path) for path in (first, second, first, second)]
        assert readings == sorted(readings)
        rapl.freeze()
        assert read_uj(first) == read_uj(second)
        rapl.wrong("package-0", 1, -1000)
        assert read_uj(first) == read_uj(second) - 1000
        assert read_uj(first) == read_uj(second)
        assert rapl.log()["package-0"]["energy_uj"] == read_uj(first) - readings[0]
