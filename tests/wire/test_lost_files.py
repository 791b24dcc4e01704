# SPDX-License-Identifier: Apache-2.0
"""A publisher whose files are removed or replaced, or whose file system is full. Run as root, to mount."""

import itertools
import re
import shutil
import stat
import subprocess
import time

import msgspec
import pytest

from wattline.errors import Retry
from wattline.wire.bus import Publisher, Subscriber, read_last
from wattline.wire.codec import decode
from wattline.wire.frames import PowerZones
from wattline.wire.rundir import ServiceDirectory
from wattline.wire.shared import SlotWriter, read

from . import make_fixtures

_PATIENCE_S = 20.0
_POWER = decode(make_fixtures.frames()["valid/power_full.frame"])


@pytest.fixture
def publisher(directory):
    one = Publisher(directory)
    yield one
    one.close()


@pytest.fixture
def send(publisher):
    """Publish the next frame."""
    numbers = itertools.count(1)

    def send_next():
        seq = next(numbers)
        publisher.publish(msgspec.structs.replace(_POWER, seq=seq, mono_ns=_POWER.epoch + seq), is_state=True)
        return seq

    return send_next


def heard(subscriber, send, *, connect=False):
    """Send until a frame that was sent after this call arrives."""
    deadline_s = time.monotonic() + _PATIENCE_S
    first = send()
    while True:
        assert time.monotonic() < deadline_s, "nothing arrived"
        if connect:
            subscriber.connect()
        subscriber.poll(20)
        if any(frame.seq >= first for frame in subscriber.receive()):
            return
        send()


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_lost_socket_is_made_anew_and_readers_return(directory, publisher, send, how):
    """Readers that were connected and readers that come later both hear the publisher again."""
    with Subscriber(directory.path.parent, ["power"]) as reader:
        heard(reader, send)
        assert publisher.faults == {}
        lost = directory.socket.lstat().st_ino
        directory.socket.unlink()
        if how == "replaced":
            directory.socket.touch()
        send()
        assert publisher.faults == {"socket_lost": f"{directory.socket} was removed or replaced: made anew"}
        info = directory.socket.lstat()
        assert stat.S_ISSOCK(info.st_mode)
        assert stat.S_IMODE(info.st_mode) == 0o770
        assert info.st_ino != lost
        heard(reader, send)
        with Subscriber(directory.path.parent, ["power"]) as later:
            heard(later, send, connect=True)
        assert publisher.faults == {}
    assert {path.name for path in directory.path.iterdir()} == {"last", "stream.sock"}


def test_a_publisher_without_its_directory_still_sends(directory, publisher, send):
    """Connected readers go on hearing it; both faults are named at each frame."""
    with Subscriber(directory.path.parent, ["power"]) as reader:
        heard(reader, send)
        shutil.rmtree(directory.path)
        heard(reader, send)
        assert set(publisher.faults) == {"last_not_kept", "socket_lost"}
        assert publisher.faults["socket_lost"].endswith(" can't be made anew: No such file or directory")


def test_closing_removes_the_socket_that_is_there(directory, send, publisher):
    """Also after it was made anew, and nothing else is left."""
    send()
    directory.socket.unlink()
    send()
    publisher.close()
    assert {path.name for path in directory.path.iterdir()} == {"last"}


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_lost_slot_file_is_made_anew(tmp_path, how):
    """A mapping of a removed file would keep frames that no reader can open."""
    path = tmp_path / "last"
    writer = SlotWriter(path)
    writer.write(b"one")
    path.unlink()
    if how == "replaced":
        path.write_bytes(b"something else")
    writer.write(b"two")
    assert read(path) == b"two"
    writer.close()


@pytest.fixture
def small_run(tmp_path):
    """A run directory on a tmpfs of 1 MiB."""
    place = tmp_path / "run"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0755", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(run):
    with (run / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            return


def large(seq):
    """A frame of 200 KB, for which `last` has to grow."""
    count = 100
    columns = {name: getattr(_POWER.zones, name) for name in _POWER.zones.__struct_fields__}
    one = {name: type(column)(column[:1] * count) for name, column in columns.items()}
    index = [str(number) for number in range(count)]
    zones = PowerZones(**{**one, "index": index, "model": ["m" * 2000] * count})
    return msgspec.structs.replace(_POWER, seq=seq, mono_ns=_POWER.epoch + seq, zones=zones)


def test_a_full_file_system_is_named_and_frames_are_sent(small_run):
    """`last` keeps the frame before; readers that are connected get the new one; room ends the fault."""
    directory = ServiceDirectory(small_run, "power")
    directory.prepare()
    publisher = Publisher(directory)
    publisher.publish(msgspec.structs.replace(_POWER, seq=1, mono_ns=1), is_state=True)
    fill(small_run)
    numbers = itertools.count(2)

    def send():
        seq = next(numbers)
        publisher.publish(large(seq), is_state=True)
        return seq

    with Subscriber(small_run, ["power"]) as reader:
        heard(reader, send)
    cause = publisher.faults.pop("last_not_kept")
    assert publisher.faults == {}
    size = r"0\.0 MiB of 1\.0 MiB free, 0\.\d MiB wanted"
    assert re.match(
        rf"No space left on device: the tmpfs at {small_run} is full: {size} for {directory.last}; ", cause
    )
    assert f"mount -o remount,size=… {small_run}" in cause
    assert read_last(directory).seq == 1
    (small_run / "filler").unlink()
    seq = send()
    assert publisher.faults == {}
    assert read_last(directory).seq == seq
    publisher.close()


def test_a_slot_file_that_cannot_grow_is_a_case_for_later(small_run):
    """The turn that needs it fails with the name of the file system; what was committed stays."""
    writer = SlotWriter(small_run / "ledger")
    writer.write(b"one")
    fill(small_run)
    with pytest.raises(Retry, match=f"^No space left on device: the tmpfs at {small_run} is full"):
        writer.write(bytes(300_000))
    assert read(small_run / "ledger") == b"one"
    writer.write(b"two")
    assert read(small_run / "ledger") == b"two"
    writer.close()


def test_a_file_system_without_inodes_is_full_too(tmp_path):
    """There may be bytes left, and no file to put them in."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs", tmp_path], check=True)
    try:
        writer = SlotWriter(tmp_path / "one")
        writer.write(b"one")
        with pytest.raises(Retry, match="is full: no inode of 2 inodes free, a file wanted for"):
            SlotWriter(tmp_path / "two").write(b"two")
        writer.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_restart_on_a_full_file_system_still_sends(small_run):
    """A publisher that can't even copy what its former run left sends all the same."""
    directory = ServiceDirectory(small_run, "power")
    directory.prepare()
    first = Publisher(directory)
    first.publish(msgspec.structs.replace(_POWER, seq=1, mono_ns=1), is_state=True)
    first.close()
    fill(small_run)
    second = Publisher(directory)
    second.publish(msgspec.structs.replace(_POWER, seq=2, mono_ns=2), is_state=True)
    assert second.frames_sent == 1
    assert "is full" in second.faults["last_not_kept"]
    assert read_last(directory).seq == 1
    second.close()
