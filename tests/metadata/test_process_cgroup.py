# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.process_cgroup import container_of, uses_cgroup1

from .test_cgroup_path import expand

_TEXT = Path(__file__).with_name("fixtures_proc_cgroup.txt").read_text(encoding="ascii")
# (name, container id, runtime, pod uid, the file's text) each
CASES = [
    [*(part.strip() for part in heading.split("|")), lines]
    for heading, _, lines in (case.partition("\n") for case in _TEXT.split("\n== ")[1:])
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_process_tells_its_container(case):
    """Each runtime's lines in v1, hybrid and v2 give container, runtime and pod; a host's give none."""
    _name, container_id, runtime, pod_uid, text = case
    lines = "".join(f"{expand(line)}\n" for line in text.splitlines())
    found = container_of(lines)
    assert (found.container_id, found.runtime, found.pod_uid) == (expand(container_id), runtime, pod_uid)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_cgroup_v1_is_in_use_where_a_line_shows_it(case):
    """Any hierarchy besides 0 is cgroup v1's."""
    name, *_rest, text = case
    assert uses_cgroup1(text) == (not name.startswith("v2"))


@given(st.text(max_size=300), st.text(max_size=20))
def test_any_text_is_answered(text, name):
    """A cgroup may have any name, and a kernel of the future may have other lines; none is an error."""
    for given_text in (text, f"4:cpu:/{text}\n{text}", f"1:{name}:/docker/{name}\n0::/{text}"):
        found = container_of(given_text)
        assert bool(found.container_id) == bool(found.runtime)
        assert uses_cgroup1(given_text) in (True, False)


def test_a_name_with_strange_characters_ends_no_line():
    """Only a newline ends a line: what else looks like one may be part of a cgroup's name."""
    a = "a1" * 32
    for strange in ("\x85", "\u2028", "\r", "\x0b", "\x1c"):
        assert container_of(f"4:cpu:/docker/{a}{strange}\n") == container_of("")
