# SPDX-License-Identifier: Apache-2.0
"""Order, gaps and repeats, by values alone."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattline.wire.codec import decode
from wattline.wire.order import StreamOrder

from . import make_fixtures

_POWER = decode(make_fixtures.frames()["valid/power_empty.frame"])


def power(seq=0, mono_ns=0, run=1, epoch=1, **fields):
    return msgspec.structs.replace(_POWER, seq=seq, mono_ns=mono_ns, run=run, epoch=epoch, **fields)


def test_frames_in_order_are_all_used():
    """A stream without a fault loses and drops nothing."""
    order = StreamOrder()
    assert all(order.admit(power(seq=seq, mono_ns=seq)) for seq in range(10))
    assert order.lost == {}


def test_a_repeat_is_no_error():
    """The same frame again, as from `last` and then from the socket, is dropped and not counted."""
    order = StreamOrder()
    assert order.admit(power(seq=4, mono_ns=40))
    assert not order.admit(power(seq=4, mono_ns=40))
    assert order.admit(power(seq=5, mono_ns=50))
    assert order.lost == {}


def test_the_first_frame_seen_opens_no_gap():
    """Frames from before we came are not lost."""
    order = StreamOrder()
    assert order.admit(power(seq=1000, mono_ns=1))
    assert order.lost == {}


def test_missing_numbers_of_a_run_are_counted():
    """Lost frames are counted by the gap in seq within one run, by topic."""
    order = StreamOrder()
    for seq in (0, 1, 4, 5, 9):
        assert order.admit(power(seq=seq, mono_ns=seq))
    assert order.lost == {"power": 5}


def test_an_older_frame_is_dropped():
    """A reordered frame is not used, and the number after it opens no new gap."""
    order = StreamOrder()
    assert order.admit(power(seq=2, mono_ns=20))
    assert not order.admit(power(seq=1, mono_ns=10))
    assert order.admit(power(seq=3, mono_ns=30))
    assert order.lost == {}


def test_a_new_run_begins_its_numbers_anew():
    """A restarted publisher, counting from 0 in the same epoch, has lost nothing."""
    order = StreamOrder()
    assert order.admit(power(seq=700, mono_ns=10, run=1))
    assert order.admit(power(seq=0, mono_ns=20, run=2))
    assert order.admit(power(seq=2, mono_ns=30, run=2))
    assert order.lost == {"power": 1}


def test_a_late_frame_of_a_former_run_forgets_no_gap():
    """An old run's frame in between neither hides nor makes a loss in the new one."""
    order = StreamOrder()
    assert order.admit(power(seq=9, mono_ns=10, run=1))
    assert order.admit(power(seq=0, mono_ns=20, run=2))
    assert not order.admit(power(seq=8, mono_ns=9, run=1))
    assert order.admit(power(seq=3, mono_ns=30, run=2))
    assert order.lost == {"power": 2}


def test_epochs_order_before_time():
    """Counters that began again are newer, whatever their time; the former epoch's are older for good."""
    order = StreamOrder()
    assert order.admit(power(seq=0, mono_ns=1000, epoch=5))
    assert order.admit(power(seq=1, mono_ns=900, epoch=6))
    assert not order.admit(power(seq=2, mono_ns=2000, epoch=5))
    assert order.admit(power(seq=3, mono_ns=901, epoch=6))


def test_a_frame_sent_again_under_a_new_number_is_a_repeat():
    """The same instant under the next seq is dropped as a repeat, and its number is not missed later."""
    order = StreamOrder()
    assert order.admit(power(seq=0, mono_ns=10))
    assert not order.admit(power(seq=1, mono_ns=10))
    assert order.admit(power(seq=2, mono_ns=20))
    assert order.lost == {}


def test_another_boot_begins_a_new_stream():
    """After a reboot the clock begins again; a `last` from before it must not silence what comes now."""
    order = StreamOrder()
    assert order.admit(power(seq=50, mono_ns=10**15, epoch=10**14, boot_id="before"))
    assert order.admit(power(seq=0, mono_ns=10**9, epoch=10**8, boot_id="now"))
    assert order.admit(power(seq=1, mono_ns=2 * 10**9, epoch=10**8, boot_id="now"))
    assert order.lost == {}


@pytest.mark.parametrize("other", [{"producer": "power-2"}])
def test_producers_are_streams_of_their_own(other):
    """Two producers of a topic are ordered and counted apart, each by the name of its stream."""
    order = StreamOrder()
    assert order.admit(power(seq=0, mono_ns=100))
    assert order.admit(power(seq=7, mono_ns=50, **other))
    assert order.admit(power(seq=2, mono_ns=101))
    assert order.admit(power(seq=9, mono_ns=51, **other))
    assert order.lost == {"power": 1, "power-2": 1}


@given(st.lists(st.integers(0, 30), max_size=60))
def test_any_order_of_arrival_is_used_forwards_and_once(arrivals):
    """However frames are lost, repeated or reordered, what is used only goes forward."""
    order = StreamOrder()
    used = [seq for seq in arrivals if order.admit(power(seq=seq, mono_ns=seq))]
    assert used == sorted(set(used))
    if arrivals:
        assert used[-1] == max(arrivals)
        assert order.lost.get("power", 0) == max(arrivals) - arrivals[0] + 1 - len(used)
