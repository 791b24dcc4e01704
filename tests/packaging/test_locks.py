# SPDX-License-Identifier: Apache-2.0
"""The locks in requirements/ against the names beside them and the bounds in pyproject.toml."""

import re
import tomllib
from collections import defaultdict
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from wattline.pipeline import SERVICES

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def entries(name: str) -> list[str]:
    """Of a lock, each with its hashes in one line."""
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if not line.startswith("#")]


def locked(name: str) -> list[Requirement]:
    return [Requirement(entry.partition("--hash")[0]) for entry in entries(name)]


def names(name: str) -> set[str]:
    """What a lock was made from."""
    lines = (REQUIREMENTS / f"{name}.in").read_text(encoding="utf-8").splitlines()
    return {line for line in lines if not line.startswith("#")}


def asked() -> list[Requirement]:
    """All that pyproject.toml asks for."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    listed = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["build-system"]["requires"],
        *chain.from_iterable(extras),
    ]
    return [Requirement(line) for line in listed if not line.startswith("wattline")]


def asked_by(*lines: str) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_each_list_of_names_has_its_lock():
    """And the other way round."""
    assert sorted(path.stem for path in REQUIREMENTS.glob("*.in")) == LOCKS
    assert {*SERVICES, "common", "all", "selftest", "dev", "build"} <= set(LOCKS)


@pytest.mark.parametrize("name", LOCKS)
def test_a_list_has_names_alone(name):
    """Bounds stand once, in pyproject.toml."""
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", line) for line in names(name))


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_what_was_asked_for(name):
    """Each name, one version of it for each Python, with hashes."""
    assert names(name) <= {one.name for one in locked(name)}
    for entry in entries(name):
        assert re.fullmatch(r"\S+==\S+( ; [^\\]+?)?\s+(--hash=sha256:[0-9a-f]{64}\s*)+", entry), entry


@pytest.mark.parametrize("name", [path.name for path in REQUIREMENTS.iterdir()])
def test_no_file_says_where_packages_come_from(name):
    """Neither an index nor a directory: the same packages come from whichever index a machine has."""
    text = (REQUIREMENTS / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "file:" not in text
    assert not re.search(r"^\s*-(?!-hash=sha256:)", text, flags=re.MULTILINE)
    assert not re.search(r"\b[a-z0-9-]+\.(org|com|io|net)\b", text)


def test_a_name_has_one_version_everywhere():
    """What the tests run with is what the images hold, to the hash."""
    found = defaultdict(set)
    for name in LOCKS:
        versions = defaultdict(set)
        for entry in entries(name):
            versions[entry.partition("==")[0]].add(" ".join(entry.split()))
        for distribution, listed in versions.items():
            found[distribution].add(frozenset(listed))
    assert [distribution for distribution, kinds in found.items() if len(kinds) > 1] == []


def test_pyproject_has_bounds_and_locks_keep_them():
    """Each dependency has an upper bound, and each locked version lies within."""
    everything = [one for name in LOCKS for one in locked(name)]
    for wanted in asked():
        assert any(bound.operator == "<" for bound in wanted.specifier), wanted
        found = [one for one in everything if one.name == canonicalize_name(wanted.name)]
        assert found, wanted
        for one in found:
            (version,) = (bound.version for bound in one.specifier)
            assert wanted.specifier.contains(version), one


def test_pyproject_and_the_lists_name_the_same():
    """`pip install .` brings what all.txt has; the extras what the locks of their names have."""
    extras = PROJECT["project"]["optional-dependencies"]
    assert asked_by(*PROJECT["project"]["dependencies"]) == names("all")
    assert asked_by(*extras["kubernetes"]) == names("kubernetes")
    assert asked_by(*extras["redfish"]) == names("redfish")
    assert asked_by(*extras["selftest"]) == names("selftest")
    assert asked_by(*extras["dev"]) - {"wattline"} == names("dev")
    assert asked_by(*PROJECT["build-system"]["requires"]) <= names("build")


def test_the_services_together_import_all():
    """all.in is the sum of the services' lists, and common.in what all of them have."""
    lists = [names(service) for service in SERVICES]
    assert set.union(*lists) == names("all")
    assert set.intersection(*lists) == names("common")
