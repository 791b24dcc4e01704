# SPDX-License-Identifier: Apache-2.0
"""Which sources are in use, in which order, by the setting power.sources."""

import pytest

from services.power import sources
from services.power.choice import choose, is_named
from services.power.settings import PowerSettings
from services.power.sources import Entry, Way
from wattline.errors import Fatal
from wattline.settings import load


@pytest.fixture(autouse=True)
def _table(monkeypatch):
    table = (
        Entry("one", "one"),
        Entry("asked", "asked", by_default=False),
        Entry("two", "two", Way.WORKER),
        Entry("three", "three"),
        Entry("model", "model", Way.ESTIMATE),
    )
    monkeypatch.setattr(sources, "SOURCES", table)


def names(text):
    return [choice.entry.name for choice in choose(text)]


def ranks(text):
    return {choice.entry.name: choice.rank for choice in choose(text)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "one two three model"),
        ("  ", "one two three model"),
        ("three,one", "three one"),
        ("asked, model", "asked model"),
        ("+asked", "asked one two three model"),
        ("+three,+asked", "three asked one two model"),
        ("-two", "one three model"),
        ("-model,+three", "three one two"),
        ("-asked", "one two three model"),
    ],
)
def test_the_setting_chooses_sources(text, expected):
    """Plain names: exactly these; +: in front of the default ones; -: left out."""
    assert names(text) == expected.split()


def test_what_is_asked_for_is_shown():
    """By a plain name or by a +; not what is there by default."""
    shown = {choice.entry.name for choice in choose("+asked,-two") if choice.is_named}
    assert shown == {"asked"}
    assert is_named("+asked,-two", "asked")
    assert not is_named("+asked,-two", "one")
    assert not is_named("+asked,-two", "two")
    assert all(choice.is_named for choice in choose("one,two"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"one": 0, "two": 2, "three": 3, "model": 4}),
        ("two", {"two": 2}),
        ("+three", {"three": 0, "one": 2, "two": 3, "model": 4}),
        ("three,two", {"three": 2, "two": 3}),
    ],
)
def test_ranks_of_two_processes_can_be_compared(text, expected):
    """A rank is a place in the table, whichever other sources a process has; the setting deals them anew."""
    assert ranks(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("oen", "there is no source 'oen'; did you mean one?"),
        ("+xyz123", "there is no source 'xyz123'; there are one, asked, two, three, model"),
        ("one,one", "one stands there more than once"),
        ("+one,-one", "one stands there more than once"),
        ("one,-two", "either plain names or names with + or - may stand there, not both"),
        ("one,,two", "there is an item without a name"),
        ("-", "there is an item without a name"),
        ("++one", "'++one' has more than one sign"),
        ("model,one", "an estimate is used only while no meter has anything new, so it must stand last"),
        ("+model", "an estimate is used only while no meter has anything new, so it must stand last"),
        ("-one,-two,-three,-model", "no source is left"),
    ],
)
def test_a_wrong_setting_ends_the_service(text, said):
    """With exit code 78, the setting's name, where it is from, and what is wrong with it."""
    with pytest.raises(Fatal) as caught:
        load(PowerSettings, "power", [f"--power.sources={text}"], {})
    assert caught.value.exit_code == Fatal.SETTINGS
    assert str(caught.value).startswith("setting power.sources, from flag --power.sources: expected names")
    assert str(caught.value).endswith(f"got {text!r}: {said}")
