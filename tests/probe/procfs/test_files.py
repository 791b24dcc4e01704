# SPDX-License-Identifier: Apache-2.0
"""Descriptors that are kept, and what a sample says of itself."""

import errno
import os
from pathlib import Path

import pytest

from services.probe.procfs.files import KeptFiles, read_start, read_whole

from .fake_machine import S, descriptors


def test_files_beyond_the_number_kept_are_read_all_the_same(tmp_path):
    """At most so many descriptors stay open; those of keys that are not asked for any more are closed."""
    paths = {number: str(tmp_path / str(number)) for number in range(5)}
    for number, path in paths.items():
        Path(path).write_text(str(number))
    before, files = descriptors(), KeptFiles(read_start, 3)
    for _reading in range(2):
        assert files.read(paths) == {number: b"%d" % number for number in range(5)}
        assert descriptors() == before + 3
    assert files.read({4: paths[4]}) == {4: b"4"}
    assert descriptors() == before + 1
    files.close()
    assert descriptors() == before


def test_an_error_that_does_not_mean_gone_is_told(tmp_path):
    """A failed read must not look as if the process had left: too many open files is an error."""
    path = tmp_path / "file"
    path.write_text("x")
    files = KeptFiles(read_start, 1)
    assert files.read({1: str(path), 2: str(tmp_path / "missing")}) == {1: b"x"}
    files.close()

    def read(_descriptor):
        raise OSError(errno.EIO, "broken")

    broken = KeptFiles(read, 1)
    before = descriptors()
    with pytest.raises(OSError, match="broken"):
        broken.read({1: str(path)})
    assert descriptors() == before


def test_long_files_are_read_to_their_end(tmp_path):
    """However many reads it takes."""
    path = tmp_path / "file"
    content = os.urandom(200_001)
    path.write_bytes(content)
    files = KeptFiles(read_whole, 1)
    assert files.read({1: str(path)}) == files.read({1: str(path)}) == {1: content}
    files.close()


def test_what_proc_cannot_tell_is_absent(machine):
    """Columns that eBPF fills and /proc can't are empty, which is not zero; the source says who it is."""
    machine.make("/a")
    machine.spawn(7, "/a")
    backend = machine.start()
    sample = backend.sample()
    for table in (sample.cgroups, sample.processes):
        assert len(table) > 0
        for name in (
            "socket",
            "frequency_cycles",
            "page_cache_hits",
            "net_tx_softirqs",
            "net_rx_softirqs",
            "block_softirqs",
        ):
            assert len(getattr(table, name)) == 0
        assert table.counts == table.counts_enabled_ns == table.counts_running_ns == []
    assert len(sample.cpus.socket) == len(sample.cpus.frequency_khz) == len(sample.counters) == 0
    assert [(source.name, source.up) for source in sample.sources] == [("procfs", True)]


def test_the_skew_is_the_time_that_reading_takes(machine):
    """From the first file read to the last."""
    backend = machine.start()
    times = iter([5 * S, 6 * S, 8 * S])
    backend._monotonic_ns = lambda: next(times)
    sample = backend.sample()
    assert (sample.mono_ns, sample.skew_ns) == (6 * S, 3 * S)
