# SPDX-License-Identifier: Apache-2.0
"""The file of a recording: whatever ended or changed it, no frame that is not as it was comes out of it."""

import os
import resource
import signal
import stat
import struct
import subprocess
import sys
import tracemalloc
import zlib

import msgspec
import pytest

from tests.calculator.world import World
from wattline.errors import Fatal
from wattline.wire.codec import FRAME_BYTES_MAX, encode
from wattline.wire.recorded import RecordedFrames
from wattline.wire.recording import MAGIC, RecordingReader, RecordingWriter

PAYLOADS = [b"one", b"\x00" * 9, b"three, which is longer", b"4"]
# Where each record begins, and the end.
OFFSETS = [len(MAGIC) + sum(8 + len(payload) for payload in PAYLOADS[:count]) for count in range(5)]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "small.rec"
    with RecordingWriter(path) as writer:
        for payload in PAYLOADS:
            writer.write(payload)
    return path


def read(path):
    """(payloads, what is said of a torn end)."""
    with RecordingReader(path) as reader:
        return list(reader), reader.torn


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_what_was_written_is_read(recording):
    """Payloads come out as they went in, in their order."""
    assert read(recording) == (PAYLOADS, "")
    assert recording.stat().st_size == OFFSETS[-1]


def test_the_format_is_the_documented_one(recording):
    """A reader of a few lines in any language: a line, then length, CRC-32 and payload, little-endian."""
    data = recording.read_bytes()
    line, _, rest = data.partition(b"\n")
    assert line == b"wattline recording 1"
    found = []
    while rest:
        length, checksum = struct.unpack("<II", rest[:8])
        found.append(rest[8 : 8 + length])
        assert zlib.crc32(found[-1]) == checksum
        rest = rest[8 + length :]
    assert found == PAYLOADS


def test_cut_at_any_byte_it_is_read_up_to_the_last_whole_record(recording, tmp_path):
    """A torn end costs the record that it is in and no other, and is told with the byte where it begins."""
    data = recording.read_bytes()
    cut = tmp_path / "cut.rec"
    for size in range(len(data)):
        cut.write_bytes(data[:size])
        if size < len(MAGIC):
            with pytest.raises(Fatal, match=r"is no recording: it .*, expected"):
                read(cut)
            continue
        whole = max(count for count, offset in enumerate(OFFSETS) if offset <= size)
        payloads, torn = read(cut)
        assert payloads == PAYLOADS[:whole]
        assert (torn == "") == (size == OFFSETS[whole])
        assert not torn or f"from byte {OFFSETS[whole]} on" in torn


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_a_flipped_byte_anywhere_is_told_with_its_place(recording, tmp_path, mask):
    """A byte that changed, wherever, is an error that says in which record; those before it are read."""
    data = recording.read_bytes()
    flipped = tmp_path / "flipped.rec"
    for place in range(len(MAGIC), len(data)):
        flipped.write_bytes(data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :])
        before = max(count for count, offset in enumerate(OFFSETS) if offset <= place)
        payloads = []
        with (
            RecordingReader(flipped) as reader,
            pytest.raises(Fatal, match=rf"damaged: at byte {OFFSETS[before]} it has a (length|payload)"),
        ):
            payloads.extend(iter(reader))
        assert payloads == PAYLOADS[:before]


def test_a_torn_end_is_read_once(tmp_path, monkeypatch):
    """However large the last record: its checksum is made of its bytes once, not once for each of them."""
    path, present = tmp_path / "torn.rec", 3_000_000
    with RecordingWriter(path) as writer:
        writer.write(b"one")
        writer.write(bytes(present + 1000))
    path.write_bytes(path.read_bytes()[:-1000])
    calls, checked, real = 0, 0, zlib.crc32

    def counting(data, *value):
        nonlocal calls, checked
        calls, checked = calls + 1, checked + len(data)
        return real(data, *value)

    monkeypatch.setattr("wattline.wire.recording.zlib.crc32", counting)
    payloads, torn = read(path)
    assert payloads == [b"one"]
    assert f"{present + 8} bytes of which are there" in torn
    assert present <= checked < 1.1 * present
    assert calls < 1100


def test_a_length_that_lies_in_one_byte_is_damage(tmp_path):
    """With a whole record behind its head that is no torn end, however far the length lies beyond it."""
    path = tmp_path / "damaged.rec"
    with RecordingWriter(path) as writer:
        writer.write(b"x" * 300)
        writer.write(b"one more")
    data = bytearray(path.read_bytes())
    for place in range(1, 4):
        wrong = data.copy()
        wrong[len(MAGIC) + place] |= 0x02
        path.write_bytes(wrong)
        with pytest.raises(Fatal, match=f"damaged: at byte {len(MAGIC)} it has a length of"):
            read(path)


def test_the_cure_for_damage_works(recording, tmp_path):
    """The first bytes of a damaged recording, as many as the error says, are a whole one."""
    data = bytearray(recording.read_bytes())
    data[OFFSETS[2] + 8] ^= 1
    recording.write_bytes(data)
    with pytest.raises(Fatal, match=rf"head -c {OFFSETS[2]}\b"):
        read(recording)
    copy = tmp_path / "copy.rec"
    copy.write_bytes(data[: OFFSETS[2]])
    assert read(copy) == (PAYLOADS[:2], "")


def test_room_that_was_never_filled_is_a_torn_end(recording):
    """Zeros at the end, as a power cut may leave them, are a torn end; with more behind they are damage."""
    data = recording.read_bytes()
    recording.write_bytes(data + bytes(5000))
    payloads, torn = read(recording)
    assert payloads == PAYLOADS
    assert "5000 bytes" in torn
    recording.write_bytes(data + bytes(5000) + b"x")
    with pytest.raises(Fatal, match=f"at byte {OFFSETS[-1]} it has a length of 0"):
        read(recording)


def test_an_impossible_length_is_not_waited_for(recording):
    """A length above that of any frame is damage, not an end."""
    data = recording.read_bytes()
    recording.write_bytes(data + struct.pack("<II", FRAME_BYTES_MAX + 1, 0))
    with pytest.raises(Fatal, match=f"a length of {FRAME_BYTES_MAX + 1}, expected 1 to {FRAME_BYTES_MAX}"):
        read(recording)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no recording: it is empty"),
        (b"\x7fELF and so on", "is no recording: it begins with b'.x7fELF"),
        (
            b"wattline recording 2\nwhatever",
            "is a recording of version 2, expected 1: read it with the Wattline",
        ),
        (b"wattline recording x\n", "is no recording"),
        (MAGIC[:-1], "is no recording"),
    ],
)
def test_what_is_no_recording_is_told(tmp_path, content, said):
    """Another file, an empty one, one of a newer version: an error with what was expected and got."""
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(Fatal, match=said):
        RecordingReader(path)


def test_what_can_not_be_read_is_told(tmp_path):
    """A missing file, a directory and a pipe are told, and nobody waits for the pipe."""
    with pytest.raises(Fatal, match=r"there is no recording .*gone"):
        RecordingReader(tmp_path / "gone")
    with pytest.raises(Fatal, match="no plain file"):
        RecordingReader(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Fatal, match="no plain file"):
        RecordingReader(tmp_path / "pipe")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_it_is_private_whatever_the_umask(tmp_path, umask):
    """Mode 0600."""
    before = os.umask(umask)
    try:
        RecordingWriter(tmp_path / "a").close()
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "a") == 0o600


def test_an_existing_file_is_not_touched_unless_asked(recording):
    """Without `replace` it is refused and stays as it is; with it the new one is as private as any."""
    recording.chmod(0o644)
    with pytest.raises(Fatal, match="is there already"):
        RecordingWriter(recording)
    assert read(recording) == (PAYLOADS, "")
    RecordingWriter(recording, replace=True).close()
    assert read(recording) == ([], "")
    assert mode_of(recording) == 0o600


def test_no_link_is_followed(tmp_path, recording):
    """Somebody's link of that name leads nowhere, and only plain files are replaced."""
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    with pytest.raises(Fatal, match="is there already"):
        RecordingWriter(link)
    link.unlink()
    link.symlink_to(recording)
    with pytest.raises(Fatal, match="no plain file"):
        RecordingWriter(link, replace=True)
    assert not (tmp_path / "target").exists()
    assert read(recording) == (PAYLOADS, "")


def test_a_place_that_is_not_there_is_told(tmp_path):
    """The directory must be there."""
    with pytest.raises(Fatal, match=r"cannot make .*No such file or directory"):
        RecordingWriter(tmp_path / "no" / "a")


FILL_DISK = """
import sys
from pathlib import Path
from wattline.wire.recording import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]))
while True:
    writer.write(b"x" * 1000)
"""


def test_a_full_disk_leaves_whole_records(tmp_path):
    """No room: told with the number of frames there are, and none of them is cut."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))

    path = tmp_path / "a"
    result = subprocess.run(
        [sys.executable, "-c", FILL_DISK, path], preexec_fn=limit, capture_output=True, text=True
    )
    assert "it is whole up to its frame 9" in result.stderr
    assert read(path) == ([b"x" * 1000] * 9, "")


WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from wattline.wire.recording import RecordingWriter
writer = RecordingWriter(Path(sys.argv[1]))
writer.write(b"one")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_writer_has_written_all_that_it_was_given(tmp_path):
    """Nothing waits in the writer's memory."""
    result = subprocess.run([sys.executable, "-c", WRITE_AND_DIE, tmp_path / "a"])
    assert result.returncode == -signal.SIGKILL
    assert read(tmp_path / "a") == ([b"one"], "")


def test_memory_does_not_grow_with_the_recording(tmp_path):
    """Two hundred frames take the memory of a few."""
    path = tmp_path / "large"
    with RecordingWriter(path) as writer:
        for number in range(200):
            writer.write(bytes([number]) * 100_000)
    tracemalloc.start()
    try:
        with RecordingReader(path) as reader:
            assert sum(len(payload) for payload in reader) == 20_000_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_recorded_frames_are_those_a_subscriber_would_get(tmp_path):
    """Repeats and late frames are dropped, losses counted, what is no frame counted and passed over."""
    world = World()
    frames = []
    for _second in range(4):
        world.run(1, {(2, 10, 5): 0.5})
        frames.append(world.power())
    frames[3].seq = frames[2].seq + 3
    path = tmp_path / "a"
    with RecordingWriter(path) as writer:
        for payload in (
            b"no frame",
            *(encode(frames[number]) for number in (0, 1, 1, 2, 0, 3)),
            encode(world.activity()),
        ):
            writer.write(payload)
    with RecordedFrames(path, ["power"]) as recorded:
        assert recorded.first == frames[0]
        assert list(recorded) == frames
        assert recorded.lost == {"power": 2}
        assert recorded.refused == {"not_msgpack": 1}
    with pytest.raises(Fatal, match=r"without a frame of metadata \(not_msgpack.*was `wattline up` running"):
        RecordedFrames(path, ["metadata"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"epoch": 2**62}, "wrong_time"),
        ({"mono_ns": 2**62}, "wrong_time"),
        ({"producer": "metadata"}, "forged"),
    ],
)
def test_one_wrong_frame_does_not_end_a_recording(tmp_path, change, reason):
    """A frame that a live reader would refuse is refused here, and those after it are given."""
    world = World()
    path = tmp_path / "a"
    good = []
    with RecordingWriter(path) as writer:
        for second in range(6):
            world.run(1, {(2, 10, 5): 0.5})
            good.append(world.power())
            writer.write(encode(good[-1]))
            if second == 2:
                writer.write(encode(msgspec.structs.replace(good[-1], **change)))
    with RecordedFrames(path, ["power"]) as recorded:
        assert list(recorded) == good
        assert recorded.refused == {reason: 1}
