# SPDX-License-Identifier: Apache-2.0
"""Real perf events, of the kernel's CPU clock: their law is elapsed time."""

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.power import perf_event, rapl_perf
from services.power.settings import PowerSettings
from services.power.source import Former, Source
from wattline.confine import capabilities, seccomp, system_calls, user

from .perf_machine import PmuTree, former, rows_of
from .world import S

_LOOK_S = 10  # metered.LOOK_NS
_NOBODY = 65534


@pytest.fixture
def opened() -> Iterator[Callable[..., Source]]:
    """Open sources that are closed at the end."""
    with contextlib.ExitStack() as stack:

        def open_one(source: Source) -> Source:
            stack.callback(source.close)
            return source

        yield open_one


def timed(source: Source):
    """The rows of a reading, between the times before and after it."""
    before_ns = time.monotonic_ns()
    rows = rows_of(source.read(before_ns))
    return before_ns, rows, time.monotonic_ns()


def test_energy_of_two_packages_is_that_of_the_law(tmp_path, opened):
    """Two CPUs that stand for two packages: 1 W and 0.25 W of elapsed time, to 1 part in 10,000."""
    tree = PmuTree(tmp_path, cpumask="0-1")
    tree.cpus({0: (0, 0), 1: (1, 0)})
    tree.event("energy-pkg", scale="1e-9")
    tree.event("energy-ram", scale="0.25e-9")
    source = opened(rapl_perf.open_source(PowerSettings(path_sysfs=tmp_path), Former(), time.monotonic_ns()))
    early_ns, first, late_ns = timed(source)
    time.sleep(0.5)
    early_later_ns, second, late_later_ns = timed(source)
    assert set(second) == {("package", "0"), ("package", "1"), ("dram", "0"), ("dram", "1")}
    for zone, row in second.items():
        watts = 1 if zone[0] == "package" else 0.25
        counted_ns = (row.energy_uj - first[zone].energy_uj) * 1000 / watts
        assert (early_later_ns - late_ns) * 0.9999 <= counted_ns <= (late_later_ns - early_ns) * 1.0001 + 4000
        assert first[zone].mono_ns < row.mono_ns <= late_later_ns


def test_a_count_goes_on_from_where_it_was_opened(tmp_path, opened):
    """Energy is counted from the instant of opening, not from the first tick."""
    tree = PmuTree(tmp_path)
    tree.cpus({0: (0, 0)})
    tree.event("energy-pkg")
    before_ns = time.monotonic_ns()
    source = opened(rapl_perf.open_source(PowerSettings(path_sysfs=tmp_path), Former(), before_ns))
    time.sleep(0.05)
    (row,) = source.read(time.monotonic_ns()).rows
    assert 0.05e9 <= row.energy_uj * 1000 <= time.monotonic_ns() - before_ns
    assert row.epoch == before_ns


def test_real_events_over_a_change_of_cpu_and_a_restart(tmp_path, opened):
    """Another CPU in the mask: nothing is lost. A restart: a gap, with the law on both sides of it."""
    tree = PmuTree(tmp_path)
    tree.cpus({0: (0, 0), 1: (0, 0)})
    tree.event("energy-pkg")
    settings = PowerSettings(path_sysfs=tmp_path)
    began_ns = time.monotonic_ns()
    source = opened(rapl_perf.open_source(settings, Former(), began_ns))
    tree.cpumask("1")
    time.sleep(0.1)
    (row,) = source.read(time.monotonic_ns() + _LOOK_S * S).rows  # looks at the mask first
    assert row.gaps == 0
    assert 0.1e9 <= row.energy_uj * 1000 <= time.monotonic_ns() - began_ns
    before = former(source, time.monotonic_ns())
    (row,) = before.rows.values()
    source.close()
    time.sleep(0.1)
    again_ns = time.monotonic_ns()
    source = opened(rapl_perf.open_source(settings, before, again_ns))
    time.sleep(0.1)
    (last,) = source.read(time.monotonic_ns()).rows
    assert (last.gaps, last.epoch) == (1, row.epoch)
    assert 0.1e9 <= (last.energy_uj - row.energy_uj) * 1000 <= time.monotonic_ns() - again_ns


def test_a_real_event_is_closed_on_exec_and_at_the_end():
    """No program that is started later inherits a meter, and closing leaves no descriptor."""
    event = perf_event.CpuEvent(1, 0, 0)
    (descriptor,) = perf_descriptors()
    assert not os.get_inheritable(int(descriptor))
    event.close()
    assert not perf_descriptors()
    with pytest.raises(perf_event.EndedError):
        event.read()


def perf_descriptors() -> list[str]:
    return [one.name for one in Path("/proc/self/fd").iterdir() if one.is_symlink() and _is_perf(one)]


def _is_perf(link: Path) -> bool:
    try:
        return "perf_event" in str(link.readlink())
    except OSError:  # the listing's own descriptor
        return False


def test_a_user_without_the_right_learns_the_cure():
    """The kernel's own refusal names CAP_PERFMON and perf_event_paranoid, unless it lets everybody count."""
    paranoid = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text(encoding="ascii"))
    code, text = as_nobody([], system_calls.SERVICE | dict(perf_event.CALLS))
    assert code == (errno.EACCES if paranoid > 0 else 0)
    assert not code or ("CAP_PERFMON" in text and "perf_event_paranoid" in text and "CPU 0" in text)


def as_nobody(capabilities_kept: list[str], calls: dict[str, tuple[int, int | None]]) -> tuple[int, str]:
    """Count in a child that is confined as a service is: (errno, 0 if it works; the error's text)."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            user.become(f"{_NOBODY}:{_NOBODY}")
            capabilities.keep_only(capabilities_kept)
            seccomp.allow_only(calls)
            perf_event.CpuEvent(1, 0, 0).read()
            answer = [0, ""]
        except OSError as error:
            answer = [error.errno, str(error.strerror)]
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.waitpid(child, 0)
    code, text = json.loads(os.read(reader, 4096))
    os.close(reader)
    os.close(writer)
    return code, text


def test_what_it_needs_is_enough():
    """Another user with CAP_PERFMON alone counts, under the filter of system calls that `needs` opens."""
    calls = system_calls.SERVICE | dict(perf_event.CALLS)
    assert as_nobody([perf_event.CAPABILITY], calls) == (0, "")
    code, text = as_nobody([perf_event.CAPABILITY], system_calls.SERVICE)
    assert (code, "seccomp" in text) == (errno.EPERM, True)


def test_a_cpu_that_is_not_there_is_refused_with_the_reason():
    """The kernel's error for an absent CPU comes with what it means."""
    with pytest.raises(OSError, match=r"CPU 8000.*(offline|no such event)"):
        perf_event.CpuEvent(1, 0, 8000)
