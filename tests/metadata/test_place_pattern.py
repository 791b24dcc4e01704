# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: the table's and those that the setting container-patterns adds."""

import re
import time

import pytest

from services.metadata.added_places import PATTERNS_MAX, parse_container_patterns
from services.metadata.cgroup_path import identify
from services.metadata.place_pattern import parse
from services.metadata.places import CONTAINERS, MACHINES, SYSTEMS, compiled
from services.metadata.settings import MetadataSettings
from wattline.errors import Fatal
from wattline.settings import load

A = "a1" * 32


def found(pattern, path):
    """(container id, name) by the table with one pattern more."""
    identity = identify(path, compiled([("farm", pattern)]))
    return identity.container_id, identity.container_name


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/farm/*/job-{number}", "/farm/blue/job-17/step", ("farm-17", "17")),
        ("/farm/*/job-{number}", "/x/farm/blue/job-17", ("", "")),
        ("farm/*/job-{number}", "/x/farm/blue/job-17", ("farm-17", "17")),
        ("/farm/*/job-{number}", "/farm/job-17", ("", "")),
        ("/farm/*/job-{number}", "/farm/blue/job-17b", ("", "")),
        ("acme-{name}.scope", "/system.slice/acme-web.scope", ("farm-web", "web")),
        ("acme-{name}.scope", r"/system.slice/acme-a\x2db.scope", ("farm-a-b", "a-b")),
        ("acme-{name}", r"/acme-a\x2db", (r"farm-a\x2db", r"a\x2db")),
        ("/jobs/{name}", "/jobs/any thing", ("farm-any thing", "any thing")),
        (
            "vm/{uuid}",
            "/vm/3f1c0d2e-1111-2222-3333-444444444444",
            ("3f1c0d2e-1111-2222-3333-444444444444", ""),
        ),
        ("mine-{hex64}", f"/x/mine-{A}", (A, "")),
        ("mine-{hex64}", f"/docker/{'b2' * 32}/mine-{A}", (A, "")),
        ("acme-{name}", f"/docker/{A}/acme-web", (A, "")),
        ("a.c-{number}", "/abc-1", ("", "")),
    ],
)
def test_a_pattern_adds_containers(pattern, path, expected):
    """Id and name as the pattern says; other paths, and what stands in a container, stay what they are."""
    assert found(pattern, path) == expected


def test_an_added_pattern_comes_before_the_table():
    """Who names the runtime of a path knows better than the table."""
    assert identify(f"/pool/{A}").runtime == "oci"
    assert identify(f"/pool/{A}", compiled([("farm", "pool/{hex64}")])).runtime == "farm"


BAD = [
    ("", "expected 1 to 200 characters"),
    ("a" * 201, "expected 1 to 200 characters"),
    ("a/b/c/d/e/f/g/h/{name}", "at most 8 components"),
    ("a//{name}", "empty component"),
    ("a/{number}/", "empty component"),
    ("job-{number}/step", "must be in the last component"),
    ("farm/*/job", "has no id"),
    ("{name}", "matches nearly every cgroup"),
    ("*/{name}", "matches nearly every cgroup"),
    ("a/{word}", "{word} is no placeholder"),
    ("a/{name", "expected a closing bracket for each opening one"),
    ("a/name}", "expected a closing bracket for each opening one"),
    ("a/{}", "{} is no placeholder"),
    ("a/xnamex", "has no id"),
    ("a/x*{name}", "at most one of * and {name}"),
    ("a/{name}{name}", "at most one of * and {name}"),
    ("a**b/{number}", "at most one of * and {name}"),
]


@pytest.mark.parametrize(("pattern", "why"), BAD)
def test_a_bad_pattern_is_refused_and_says_why(pattern, why):
    """What can't be a pattern, would match everything, or could take long to compare."""
    with pytest.raises(ValueError, match=re.escape(why)):
        parse(pattern)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("farm", "'farm': expected RUNTIME=PATTERN"),
        ("Farm=a-{name}", "got runtime 'Farm'"),
        ("=a-{name}", "got runtime ''"),
        ("farm=a-{name},", "'': expected RUNTIME=PATTERN"),
        ("farm=a-{name},acme={name}", "pattern '{name}' of acme: it matches nearly every cgroup"),
        (",".join(["farm=a-{name}"] * (PATTERNS_MAX + 1)), f"at most {PATTERNS_MAX} patterns, got 33"),
    ],
)
def test_a_bad_setting_ends_the_start(text, why):
    """One line names the setting, where it is from, what is expected, what there is, and the cure."""
    with pytest.raises(Fatal) as caught:
        load(MetadataSettings, "metadata", ["--container-patterns", text], {})
    message = str(caught.value)
    assert "setting container-patterns, from flag --container-patterns: expected RUNTIME=PATTERN" in message
    assert why in message


def test_a_good_setting_gives_its_rows():
    """Several patterns, by flag or variable; none by default."""
    rows = [("farm", "/farm/*/job-{number}"), ("acme", "acme-{name}.scope")]
    text = "farm=/farm/*/job-{number}, acme=acme-{name}.scope"
    assert parse_container_patterns(text) == rows
    settings, _ = load(MetadataSettings, "metadata", [], {"WATTLINE_CONTAINER_PATTERNS": text})
    assert settings.added_places() == rows
    assert load(MetadataSettings, "metadata", [], {})[0].added_places() == []


def least_s(call, text):
    times = []
    for _attempt in range(3):
        begun_s = time.thread_time()
        call(text)
        times.append(time.thread_time() - begun_s)
    return min(times)


@pytest.mark.parametrize(
    "pattern",
    [pattern for _name, pattern in (*CONTAINERS, *SYSTEMS, *MACHINES)]
    + ["a*a/aa{name}", "a{name}a", "{digits}{number}{digits}-{name}a"],
)
def test_no_component_takes_long(pattern):
    """Work grows with a component's length, whatever it repeats: eight times as long, not 64 times."""
    compiled_pattern = parse(pattern)
    parents = [""] * (len(compiled_pattern.parents) + 1)
    literal = pattern.rpartition("/")[2].partition("{")[0]

    def call(text):
        # Parents that match, as far as any text does: the last component is what is measured.
        compiled_pattern.component.fullmatch(text)
        for parent in compiled_pattern.parents:
            parent.fullmatch(text)
        compiled_pattern.find([*parents, text], len(parents))

    for word in ("a", "0", "-", ".", literal or "x", r"\x2d", ".scope", "0a-"):
        short, long = ((literal + word * size)[:size] + "!" for size in (20_000, 160_000))
        assert least_s(call, long) < 32 * max(least_s(call, short), 2e-4), word
