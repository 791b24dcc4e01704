# SPDX-License-Identifier: Apache-2.0
"""Frames as `wattline tap` prints them."""

from pathlib import Path

import pytest

from wattline.cli.frame_text import line, rows
from wattline.wire.codec import decode

VALID = Path(__file__).parents[1] / "wire/fixtures/valid"


def published(name):
    return decode((VALID / f"{name}.frame").read_bytes())


def shown(frame, wanted):
    """Rows of a table as they are shown, each by column name; those asked for have no empty cell."""
    lines = iter(rows(frame))
    heading = next(text for text in lines if text.startswith(f"  {wanted} (")) and next(lines).split()
    count = len(getattr(frame, wanted))
    return [dict(zip(heading, next(lines).split(), strict=True)) for _row in range(count)]


@pytest.mark.parametrize("path", sorted(VALID.glob("*.frame")), ids=lambda path: path.stem)
def test_every_published_frame_can_be_shown(path):
    """Whatever is in a frame or missing from it: one line for it, and a line for each row of each table."""
    frame = decode(path.read_bytes())
    assert "\n" not in line(frame)
    lines = list(rows(frame))
    tables = [text for text in lines if text.endswith(" rows)")]
    count = sum(len(getattr(frame, text.split()[0])) for text in tables)
    assert len([text for text in lines if text.startswith("    ")]) == count + len(tables)


def test_zones_are_shown_with_their_source():
    """A zone that several sources measure stands there once for each, with the source's name."""
    text = line(published("power_full_5"))
    zones = published("power_full_5").zones
    for name, index, source in zip(zones.zone, zones.index, zones.source, strict=True):
        assert f"{name}/{index} {source} " in text


def test_columns_of_counters_are_named_by_them():
    """In activity a count stands under its counter's name."""
    row = shown(published("activity_full_2"), "cgroups")[1]
    assert row["counts[cycles]"] == "700000000"
    assert row["counts[cache_misses]"] == "90000"
    assert row["counts_running_ns[cycles]"] == "300000000"
    assert row["cgroup_id"] == "1355"


def test_columns_of_zones_are_numbered():
    """In energy a figure stands under its zone's row number."""
    first, second = shown(published("energy_full"), "processes")
    assert (first["dynamic_uj[0]"], first["dynamic_uj[1]"]) == ("10000000", "999000")
    assert (second["dynamic_uj[0]"], second["dynamic_uj[1]"]) == ("27000000", "3600000")


@pytest.mark.parametrize(
    "name", ["activity_full", "activity_optional_columns_empty", "activity_optional_columns_left_out"]
)
def test_what_is_absent_is_left_out(name):
    """A column that the publisher has nothing to say in isn't shown, neither as zeros nor as a heading."""
    frame = published(name)
    for row in shown(frame, "cgroups"):
        assert "cpu_ns" in row
        assert "page_cache_hits" not in row
    assert all("socket" not in row for row in shown(frame, "processes"))
    assert all("frequency_khz" not in row for row in shown(frame, "cpus"))


def test_processes_are_counted_once():
    """The line counts processes and cgroups, not their rows, of which each has one per socket."""
    assert "4 processes in 3 cgroups" in line(published("activity_full_2"))


def test_containers_known_by_process_count():
    """The line of metadata counts containers that only a process's own column names."""
    assert "2 containers" in line(published("metadata_full_2"))


def test_machines_are_counted_where_there_are_any():
    """The lines of metadata and energy count virtual machines, and mention none where there are none."""
    assert "2 containers, 3 virtual machines, 3 processes" in line(published("metadata_full_3"))
    assert "2 containers, 2 virtual machines, 3 processes" in line(published("energy_full_2"))
    for name in ("metadata_full_2", "energy_full", "energy_optional_columns_left_out"):
        assert "virtual" not in line(published(name))


def test_containers_are_counted_once():
    """A container with virtual machines has several rows, and those that have ended are none any more."""
    assert len(published("energy_full_2").containers) == 6
    assert "; 2 containers," in line(published("energy_optional_columns_left_out"))


def test_the_line_says_what_was_shared_by():
    """Each zone of energy with what it was shared by, where that is told."""
    text = line(published("energy_full_2"))
    assert "package/0 100.000000 J (idle 60.000000, by model), platform" in text
    assert "other/chassis-1 60.000000 J (idle 50.000000);" in text
    assert "(idle 60.000000)," in line(published("energy_full"))


def test_users_of_gpus_are_counted():
    """The line of power counts processes that use GPUs, without the row of those that have gone."""
    assert line(published("power_full_2")).endswith("; 1 processes on 1 GPUs")
    assert "GPUs" not in line(published("power_full"))


def test_new_columns_are_shown_where_they_are():
    """What an older stage doesn't tell is neither a column of zeros nor a heading."""
    new, old = ("\n".join(rows(published(name))) for name in ("energy_full_2", "energy_full"))
    for told in (
        "share_by",
        "observed-min",
        "idle_doubt_uw",
        "disagreement_uj",
        "machine-qemu-1-db",
        "terminated",
    ):
        assert told in new
        assert told not in old
    assert "  activity_skew_ns = 21000\n" in new
    use = shown(published("power_full_2"), "gpu_use")
    assert [(row["pid"], row["busy_ns"]) for row in use] == [("0", "20000000"), ("918", "900000000")]
