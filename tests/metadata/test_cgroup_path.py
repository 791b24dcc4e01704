# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.cgroup_path import identify

A, B = "a1" * 32, "b2" * 32
CASES = [
    [part.strip().replace("A", A) if part.strip() == "A" else part.strip() for part in line.split("|")]
    for line in Path(__file__).with_name("fixtures_cgroup_paths.txt").read_text(encoding="ascii").splitlines()
    if line and not line.startswith("#")
]


def expand(text):
    """A and B, standing alone in a path, as 64 hex digits."""
    for letter, digits in (("A", A), ("B", B)):
        for before in "-/:":
            text = text.replace(f"{before}{letter}", f"{before}{digits}")
    return {"A": A, "B": B}.get(text, text)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_a_path_tells_its_container(case):
    """Each runtime's and each kubelet driver's layout gives container, runtime and pod; others give none."""
    path, container_id, runtime, pod_uid = (expand(part) for part in case)
    found = identify(path)
    assert (found.container_id, found.runtime, found.pod_uid) == (container_id, runtime, pod_uid)
    assert found.vm_id == ""


@given(st.text(max_size=300))
def test_any_path_is_answered(path):
    """A cgroup may have any name; none is an error."""
    identity = identify("/" + path)
    assert bool(identity.container_id) == bool(identity.runtime)
    assert not (identity.unit and (identity.container_id or identity.pod_uid or identity.vm_id))
