# SPDX-License-Identifier: Apache-2.0
"""Patterns of paths: the table's and those that the setting container-patterns adds."""

import re

import pytest

from services.metadata.added_places import PATTERNS_MAX, parse_container_patterns
from services.metadata.cgroup_path import identify
from services.metadata.place_pattern import parse
from services.metadata.places import CONTAINERS, MACHINES, SYSTEMS, compiled
from services.metadata.settings import MetadataSettings
from wattline.errors import Fatal
from wattline.settings import load

from .cost import least_s

A = "a1" * 32


def found(pattern, path):
    """(container id, name) by the table with one pattern more."""
    identity = identify(path, compiled([("batch", pattern)]))
    return identity.container_id, identity.container_name


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/batch/*/job-{number}", "/batch/blue/job-17/step", ("batch-17", "17")),
        ("/batch/*/job-{number}", "/x/batch/blue/job-17", ("", "")),
        ("batch/*/job-{number}", "/x/batch/blue/job-17", ("batch-17", "17")),
        ("/batch/*/job-{number}", "/batch/job-17", ("", "")),
        ("/batch/*/job-{number}", "/batch/blue/job-17b", ("", "")),
        ("render-{name}.scope", "/system.slice/render-web.scope", ("batch-web", "web")),
        ("render-{name}.scope", r"/system.slice/render-a\x2db.scope", ("batch-a-b", "a-b")),
        ("render-{name}", r"/render-a\x2db", (r"batch-a\x2db", r"a\x2db")),
        ("/jobs/{name}", "/jobs/any thing", ("batch-any thing", "any thing")),
        (
            "vm/{uuid}",
            "/vm/3f1c0d2e-1111-2222-3333-444444444444",
            ("3f1c0d2e-1111-2222-3333-444444444444", ""),
        ),
        ("mine-{hex64}", f"/x/mine-{A}", (A, "")),
        ("mine-{hex64}", f"/docker/{'b2' * 32}/mine-{A}", (A, "")),
        ("render-{name}", f"/docker/{A}/render-web", (A, "")),
        ("a.c-{number}", "/abc-1", ("", "")),
    ],
)
def test_a_pattern_adds_containers(pattern, path, expected):
    """Id and name as the pattern says; other paths, and what stands in a container, stay what they are."""
    assert found(pattern, path) == expected


def test_an_added_pattern_comes_before_the_table():
    """Who names the runtime of a path knows better than the table."""
    assert identify(f"/pool/{A}").runtime == "oci"
    assert identify(f"/pool/{A}", compiled([("batch", "pool/{hex64}")])).runtime == "batch"


BAD = [
    ("", "expected 1 to 200 characters"),
    ("a" * 201, "expected 1 to 200 characters"),
    ("a/b/c/d/e/f/g/h/{name}", "at most 8 components"),
    ("a//{name}", "empty component"),
    ("a/{number}/", "empty component"),
    ("job-{number}/step", "must be in the last component"),
    ("batch/*/job", "has no id"),
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
        ("batch", "'batch': expected RUNTIME=PATTERN"),
        ("Farm=a-{name}", "got runtime 'Farm'"),
        ("=a-{name}", "got runtime ''"),
        ("batch=a-{name},", "'': expected RUNTIME=PATTERN"),
        ("batch=a-{name},render={name}", "pattern '{name}' of render: it matches nearly every cgroup"),
        (",".join(["batch=a-{name}"] * (PATTERNS_MAX + 1)), f"at most {PATTERNS_MAX} patterns, got 33"),
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
    rows = [("batch", "/batch/*/job-{number}"), ("render", "render-{name}.scope")]
    text = "batch=/batch/*/job-{number}, render=render-{name}.scope"
    assert parse_container_patterns(text) == rows
    settings, _ = load(MetadataSettings, "metadata", [], {"WATTLINE_CONTAINER_PATTERNS": text})
    assert settings.added_places() == rows
    assert load(MetadataSettings, "metadata", [], {})[0].added_places() == []


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
