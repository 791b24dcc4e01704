# SPDX-License-Identifier: Apache-2.0
"""Strangers' names made harmless."""

import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wattline.wire.names import NAME_CHARACTERS_MAX, are_safe, safe_name, safe_names

anything = st.binary() | st.text(st.characters())


@given(anything)
@example("\ud800")
@example("x" * (NAME_CHARACTERS_MAX + 1))
@example("\n" * NAME_CHARACTERS_MAX)
def test_names_are_printable_text_in_utf_8(raw):
    """Whatever a stranger calls itself becomes printable, valid UTF-8 of bounded length."""
    name = safe_name(raw)
    assert name.isprintable()
    assert name.encode().decode() == name
    assert len(name) <= NAME_CHARACTERS_MAX


@given(anything)
@example(b"\xff\xfe")
@example("\x1b[2J")
def test_a_safe_name_stays_as_it_is(raw):
    """Making a name safe twice is the same as once, so every stage on its way may do it."""
    assert safe_name(safe_name(raw)) == safe_name(raw)


@given(st.lists(st.text(st.characters())))
@example(["x" * (NAME_CHARACTERS_MAX + 1)])
def test_what_counts_as_safe_is_what_stays(names):
    """The quick look at a whole column agrees with the work on each name."""
    assert are_safe(names) == (safe_names(names) == names)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"stress-ng", "stress-ng"),
        (b"bash\0\0\0", "bash"),
        (b"a\0b", "a"),
        (b"\xff\xfe", "\\xff\\xfe"),
        ("日本", "日本"),
        (b"caf\xc3\xa9", "café"),
        ("a\nb\tc", "a\\x0ab\\x09c"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202eexe.txt", "\\u202eexe.txt"),
        ("line\u2028break", "line\\u2028break"),
        ("nbsp\u00a0", "nbsp\\xa0"),
        ("\udc80", "\\udc80"),
        ("\U000e0001", "\\U000e0001"),
        ('quote"back\\slash', 'quote"back\\slash'),
        ("", ""),
    ],
)
def test_names_as_the_page_has_them(raw, expected):
    """The escapes that docs/wire.md promises."""
    assert safe_name(raw) == expected


def test_names_that_differ_only_by_what_is_escaped_stay_apart():
    """Two hostile names do not become one."""
    assert len(set(safe_names([b"a\x01", b"a\x02", b"a\xff", b"a"]))) == 4


def test_long_names_are_not_remembered():
    """Twenty thousand paths of 4 KB leave nothing in memory once their frame has gone."""
    tracemalloc.start()
    try:
        for number in range(20_000):
            safe_name(f"/{number}{'x' * 4000}")
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
