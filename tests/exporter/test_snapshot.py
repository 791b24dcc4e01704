# SPDX-License-Identifier: Apache-2.0
"""What scrapers see, and how often it changes."""

import gzip
import threading

import pytest

from services.exporter.inputs import Inputs
from services.exporter.snapshot import LEAST_AGE_NS, Snapshots

from .frames import small, status


class Clock:
    def __init__(self):
        self.now_ns = 10 * LEAST_AGE_NS

    def __call__(self):
        return self.now_ns


class Renderer:
    """A text that tells which rendering it is."""

    def __init__(self):
        self.calls = 0

    def __call__(self, inputs, taken_ns):
        self.calls += 1
        return f"{self.calls} {id(inputs)} {taken_ns}\n".encode()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def render():
    return Renderer()


@pytest.fixture
def snapshots(clock, render):
    return Snapshots(render, clock)


def news():
    return Inputs(energy=small())


def test_text_is_made_when_asked_for_and_once(snapshots, render):
    """Offering frames costs no text; the first scraper makes it, later ones and gzip get the same bytes."""
    snapshots.offer(news())
    snapshot = snapshots.current()
    assert render.calls == 0
    first = snapshot.text()
    assert snapshots.current().text() is first
    assert gzip.decompress(snapshots.current().gzipped()) == first
    assert render.calls == 1


def test_changes_at_most_once_a_second(snapshots, clock):
    """However many frames come, scrapers see a new snapshot one second after the one before, not sooner."""
    first = snapshots.current()
    seen = []
    for _step in range(40):
        clock.now_ns += LEAST_AGE_NS // 10
        snapshots.offer(news())
        snapshots.current()
        if snapshots.current() is not first and (not seen or seen[-1] is not snapshots.current()):
            seen.append(snapshots.current())
    assert [snapshot.taken_ns - first.taken_ns for snapshot in seen] == [
        LEAST_AGE_NS * second for second in (1, 2, 3, 4)
    ]


def test_changes_only_when_a_frame_has_come(snapshots, clock):
    """Without news the snapshot stays, however old; with news it is the newest at the next scrape."""
    first = snapshots.current()
    clock.now_ns += 1000 * LEAST_AGE_NS
    assert snapshots.current() is first
    snapshots.offer(news())
    newest = news()
    snapshots.offer(newest)
    assert snapshots.current().inputs is newest


def test_snapshot_never_changes(snapshots, clock):
    """Who holds a snapshot keeps its text, whatever comes later."""
    snapshots.offer(news())
    held = snapshots.current()
    text = held.text()
    clock.now_ns += 2 * LEAST_AGE_NS
    snapshots.offer(news())
    assert snapshots.current().text() != text
    assert held.text() is text


def test_inputs_never_change():
    """Taking a frame in makes new inputs and leaves the old ones as they are."""
    before = Inputs().with_frame(status("probe"))
    after = before.with_frame(status("power")).with_frame(small())
    assert set(before.statuses) == {"probe"}
    assert before.energy is None
    assert set(after.statuses) == {"probe", "power"}


def test_two_scrapers_at_once_get_one_text(clock):
    """Two scrapers at the same time make one text between them; meanwhile the loop can offer."""
    rendering, finish = threading.Event(), threading.Event()
    calls = []

    def render(_inputs, _taken_ns):
        calls.append(1)
        rendering.set()
        assert finish.wait(10)
        return b"text\n"

    snapshots = Snapshots(render, clock)
    texts = []
    scrapers = [threading.Thread(target=lambda: texts.append(snapshots.current().text())) for _ in range(2)]
    for scraper in scrapers:
        scraper.start()
    assert rendering.wait(10)
    snapshots.offer(news())  # would hang here if it waited for the text
    snapshots.current()  # and so would another scraper's choice
    finish.set()
    for scraper in scrapers:
        scraper.join(10)
    assert texts == [b"text\n", b"text\n"]
    assert len(calls) == 1
