# SPDX-License-Identifier: Apache-2.0
"""The two-slot file: whole payloads only, wherever its writer is killed.

The kills are simulated here, at every byte; test_shared_killed.py does it for real.
"""

import mmap
import os
import struct
import zlib

import pytest

from wattline.wire import shared
from wattline.wire.shared import Damaged, SlotWriter, read, slots

# Growing, shrinking, empty, just fitting, and outgrowing the file twice.
_PAYLOADS = [
    b"first",
    b"a longer second one " * 20,
    b"",
    b"x",
    bytes(range(256)) * 8,
    b"short again",
    b"p" * 8192,
    b"q" * 8193,  # no longer fits: a larger file
    b"r" * 100,
    b"s" * 40_000,  # and again
    b"end",
]


@pytest.fixture
def path(run_directory):
    return run_directory / "last"


@pytest.fixture(autouse=True)
def _small_files(monkeypatch):
    """Files so small that a few kilobytes make them grow."""
    monkeypatch.setattr(shared, "_CAPACITY_MIN", 2 * mmap.PAGESIZE)


class _SlowWriter(SlotWriter):
    """Stores byte by byte, and shows the file after each: that is what a kill there would leave."""

    def __init__(self, path, seen):
        self.seen = seen
        super().__init__(path)

    def _store(self, offset, data):
        for at in range(len(data)):
            super()._store(offset + at, data[at : at + 1])
            self.seen()


def test_a_writer_killed_at_any_byte_leaves_a_whole_payload(path):
    """After every single byte stored, a reader has the older payload or the newer one, never another."""
    expected: list[bytes] = []
    found: list[bytes] = []

    def look():
        if path.exists():
            found.append(read(path))
            assert found[-1] in expected, f"torn while {expected} was in the file"

    writer = _SlowWriter(path, look)
    for older, newer in zip([_PAYLOADS[0], *_PAYLOADS], _PAYLOADS, strict=False):
        expected[:] = [older, newer]
        found.clear()
        writer.write(newer)
        assert read(path) == newer
        if found and older != newer:  # the mark is stored last: until then the older one stands
            assert found.count(newer) <= 8, "the payload was valid before its mark was complete"
    writer.close()


def test_a_restarted_writer_killed_at_any_byte_leaves_the_old_payload(path):
    """A writer that goes on from an existing file does not lose what is in it before its first write."""
    first = SlotWriter(path)
    first.write(b"before the restart")
    first.close()

    def look():
        assert read(path) == b"before the restart"

    _SlowWriter(path, look).close()
    look()


class _Killed(Exception):  # noqa: N818 it is what happened
    pass


class _MortalWriter(SlotWriter):
    """Dies before the store after the last it is given."""

    stores_left = 1_000_000

    def _store(self, offset, data):
        if self.stores_left == 0:
            raise _Killed
        self.stores_left -= 1
        super()._store(offset, data)


@pytest.mark.parametrize("length", [0, 1, 7, 300, 8192, 8193])
def test_a_writer_goes_on_from_wherever_the_last_one_was_killed(path, length):
    """After a kill at any point of a write, the next writer keeps what is whole and writes on."""
    payload = b"\xa5" * length
    for stores in range(1_000):
        path.unlink(missing_ok=True)
        writer = _MortalWriter(path)
        writer.write(b"one")
        writer.write(b"two")
        writer.stores_left = stores
        killed = False
        try:
            writer.write(payload)
        except _Killed:
            killed = True
        writer.close()
        whole = b"two" if killed else payload
        assert read(path) == whole
        following = SlotWriter(path)
        assert read(path) == whole
        following.write(b"three")
        assert read(path) == b"three"
        following.close()
        if not killed:
            break
    assert 4 <= stores < 10


def test_the_layout_is_that_of_the_page(path):
    """Byte for byte what docs/wire.md says, read here without the module's own structures."""
    writer = SlotWriter(path)
    writer.write(b"one")
    writer.write(b"second")
    writer.close()
    data = path.read_bytes()
    magic, capacity = struct.unpack_from("<8sQ", data, 0)
    assert magic == b"WATTLN01"
    assert len(data) == 16 + 2 * (32 + capacity)
    for slot, (number, payload) in enumerate([(1, b"one"), (2, b"second")]):
        offset = 16 + slot * (32 + capacity)
        valid, sequence, length, checksum = struct.unpack_from("<QQQQ", data, offset)
        assert (valid, sequence, length) == (1, number, len(payload))
        assert data[offset + 32 : offset + 32 + length] == payload
        assert checksum == zlib.crc32(struct.pack("<QQ", sequence, length) + payload)


def test_the_older_slot_is_the_one_overwritten(path):
    """Both of the two latest payloads are in the file, newest first."""
    writer = SlotWriter(path)
    for number in range(5):
        writer.write(b"%d" % number)
    assert slots(path) == [(5, b"4"), (4, b"3")]
    writer.close()


def test_sequence_goes_on_after_a_restart(path):
    """A new writer's first payload is newer than the old writer's last."""
    for number in range(1, 4):
        writer = SlotWriter(path)
        writer.write(b"%d" % number)
        writer.close()
        assert slots(path)[0] == (number, b"%d" % number)


def test_sequence_begins_again_where_it_would_end(path):
    """A file whose sequence leaves no number to go on with keeps its payload, and takes more."""
    writer = SlotWriter(path)
    writer._sequence = 2**64 - 2
    writer.write(b"last")
    writer.close()
    assert slots(path) == [(2**64 - 1, b"last")]
    writer = SlotWriter(path)
    assert slots(path) == [(1, b"last")]
    writer.write(b"next")
    assert read(path) == b"next"
    writer.close()


def test_a_reader_keeps_reading_across_a_larger_file(path):
    """Whoever opened the former file finds the new one at the same path."""
    writer = SlotWriter(path)
    writer.write(b"small")
    before = path.stat().st_ino
    writer.write(b"L" * 100_000)
    assert path.stat().st_ino != before
    assert read(path) == b"L" * 100_000
    assert [entry.name for entry in path.parent.iterdir()] == ["last"]
    writer.close()


def test_a_full_disk_is_an_error_before_anything_is_lost(path, monkeypatch):
    """When a larger file can't be had, the payload in place stays, and nothing is left beside it."""

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    writer = SlotWriter(path)
    writer.write(b"kept")
    monkeypatch.setattr(shared.os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(b"x" * 100_000)
    assert read(path) == b"kept"
    assert [entry.name for entry in path.parent.iterdir()] == ["last"]
    writer.write(b"smaller")
    assert read(path) == b"smaller"
    writer.close()


def test_a_payload_no_reader_would_take_is_not_written(path, monkeypatch):
    """The limit on what a reader allocates is the writer's limit too."""
    monkeypatch.setattr(shared, "PAYLOAD_BYTES_MAX", 10)
    writer = SlotWriter(path)
    writer.write(b"x" * 10)
    with pytest.raises(ValueError, match="expected at most 10 bytes, got 11"):
        writer.write(b"x" * 11)
    assert read(path) == b"x" * 10
    monkeypatch.setattr(shared, "PAYLOAD_BYTES_MAX", 9)
    with pytest.raises(Damaged):
        read(path)
    writer.close()


def test_there_is_nothing_to_read_before_the_first_write(path):
    """A writer that has written nothing makes no file."""
    SlotWriter(path).close()
    with pytest.raises(FileNotFoundError):
        read(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda _data: b"",
        lambda data: data[:15],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"WATTLN02" + data[8:],
        lambda data: data[:8] + b"\xff" * 8 + data[16:],
        lambda data: data[:8] + bytes(8) + data[16:],
        lambda data: data[:16] + bytes(len(data) - 16),
        lambda data: data[:16] + b"\xff" * (len(data) - 16),
        lambda data: data[:48] + b"\0" + data[49:],  # the payload
        lambda data: data[:24] + b"\x02" + data[25:],  # the sequence
        lambda data: data[:32] + b"\x04" + data[33:],  # the length
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],  # the checksum
        lambda data: data[:16] + b"\x02" + data[17:],  # the mark
    ],
)
def test_a_damaged_file_is_said_to_be_one(path, damage):
    """Whatever happened to the bytes, the reader says Damaged, and a writer begins anew."""
    writer = SlotWriter(path)
    writer.write(b"one")
    writer.close()
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Damaged):
        read(path)
    writer = SlotWriter(path)
    writer.write(b"anew")
    writer.close()
    assert read(path) == b"anew"


@pytest.mark.parametrize("kind", ["directory", "link", "pipe", "socket"])
@pytest.mark.timeout(10)
def test_what_is_no_plain_file_is_not_read(path, kind):
    """Neither a link out of the directory is followed, nor a pipe waited for."""
    match kind:
        case "directory":
            path.mkdir()
        case "link":
            writer = SlotWriter(path.with_name("elsewhere"))
            writer.write(b"another's")
            writer.close()
            path.symlink_to(path.with_name("elsewhere"))
        case "pipe":
            os.mkfifo(path)
        case _:
            os.mknod(path, 0o140600)
    with pytest.raises(Damaged):
        read(path)


def test_a_file_shortened_while_it_is_read_does_not_kill_the_reader(path, monkeypatch):
    """Another user's file may be cut at any moment; a reader survives that (a mapping would not)."""
    writer = SlotWriter(path)
    writer.write(b"x" * 6000)
    writer.close()
    pread = os.pread
    monkeypatch.setattr(shared.os, "pread", lambda *arguments: (os.truncate(path, 20), pread(*arguments))[1])
    with pytest.raises(Damaged):
        read(path)


def test_a_link_in_place_of_the_directory_is_not_followed(run_directory):
    """The directory was checked before; a link that replaced it meanwhile leads elsewhere."""
    (run_directory / "power").mkdir()
    SlotWriter(run_directory / "power/last").write(b"one")
    (run_directory / "link").symlink_to("power")
    assert read(run_directory / "power/last") == b"one"
    with pytest.raises((Damaged, NotADirectoryError)):
        read(run_directory / "link/last")
