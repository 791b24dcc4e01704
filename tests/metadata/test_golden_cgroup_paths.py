# SPDX-License-Identifier: Apache-2.0
"""Cgroup paths as hosts have them, and what each becomes: lines that change only on purpose.

`python -m tests.metadata.test_golden_cgroup_paths` writes them anew, for a human to compare.
"""

from pathlib import Path

import pytest

from services.metadata.cgroup_path import identify, identify_owned, is_unmatched, user_delegation

GOLDEN = Path(__file__).with_name("golden_cgroup_paths.txt")
IDS = {letter: f"{digit}1" * 32 for letter, digit in (("A", "a"), ("B", "b"))}
LINES = [
    line for line in GOLDEN.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
]
PATHS_MIN = 60


def real(path):
    """A path with 64 hex digits for A and B, where they stand for an id."""
    for letter, digits in IDS.items():
        for before in "-_/:":
            for after in ("/", ".", ""):
                ending = f"{before}{letter}{after}"
                if after or path.endswith(ending):
                    path = path.replace(ending, f"{before}{digits}{after}")
    return path


def short(text):
    for letter, digits in IDS.items():
        text = text.replace(digits, letter)
    return text


def golden(path):
    """A line: the path, then what it tells."""
    whole = real(path)
    identity = identify(whole)
    owned = identify_owned(whole, user_delegation(whole))
    told = {
        "container": owned.container_id,
        "runtime": identity.runtime,
        "name": identity.container_name,
        "pod": owned.pod_uid,
        "machine": owned.vm_id,
        "unit": owned.unit,
    }
    words = [f"{key}={short(value)}" for key, value in told.items() if value]
    nothing = "unmatched" if is_unmatched(whole, identity) else "nothing"
    return f"{path} => {' '.join(words) or nothing}"


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition(" => ")[0])
def test_a_path_becomes_what_its_line_says(line):
    """Container, machine, pod or unit by id, runtime and name; paths that tell nothing are seen as such."""
    assert golden(line.partition(" => ")[0]) == line


def test_there_are_enough_paths_and_each_is_there_once():
    """A table is as good as the paths that it has been tried on."""
    paths = [line.partition(" => ")[0] for line in LINES]
    assert len(paths) >= PATHS_MIN
    assert len({*paths}) == len(paths)


if __name__ == "__main__":
    text = GOLDEN.read_text(encoding="utf-8").splitlines()
    GOLDEN.write_text(
        "".join(f"{golden(line.partition(' => ')[0]) if line.startswith('/') else line}\n" for line in text),
        encoding="utf-8",
    )
