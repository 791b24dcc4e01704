# SPDX-License-Identifier: Apache-2.0
"""The run directory that a command works on."""

from pathlib import Path

import pytest

from wattline.cli.choice import choose, decide, default_run, is_given
from wattline.cli.down import DownSettings
from wattline.cli.running import Found, Holder, Instance
from wattline.errors import Fatal
from wattline.settings import CommonSettings, load

DEFAULT, ONE, TWO = Path("/run/wattline"), Path("/run/one"), Path("/run/two")


def at(run):
    return Instance(run, (Holder("up", 7),))


def decided(run=DEFAULT, *, is_given=False, there=None, found=(), is_partial=False):
    elsewhere = Found(tuple(map(at, found)), is_partial)
    return decide(run, is_given=is_given, there=there, found=elsewhere)


def test_the_default_where_something_runs_there_or_nothing_anywhere():
    """Also if it is the one that was found."""
    assert decided(there=at(DEFAULT), found=[ONE]).run == DEFAULT
    assert decided().run == DEFAULT
    assert decided(found=[DEFAULT]) == decided()


def test_the_only_one_elsewhere_without_a_name():
    """It is used; there is nothing more to say."""
    choice = decided(found=[ONE])
    assert (choice.run, choice.instance, choice.hint) == (ONE, at(ONE), "")


def test_several_elsewhere_have_to_be_chosen_from():
    """A usage error that lists them with their flags."""
    with pytest.raises(Fatal, match="--run /run/one or --run /run/two") as failed:
        decided(found=[ONE, TWO])
    assert failed.value.exit_code == Fatal.USAGE


def test_a_name_is_taken_as_it_is():
    """Whatever runs elsewhere; the hint says where, and how to get there."""
    choice = decided(TWO, is_given=True, found=[ONE])
    assert (choice.run, choice.hint) == (TWO, "Wattline runs in /run/one: add --run /run/one")
    assert decided(DEFAULT, is_given=True, found=[ONE]).run == DEFAULT
    hint = decided(Path("/x"), is_given=True, found=[ONE, TWO]).hint
    assert hint == ("Wattline runs in /run/one and /run/two: add --run /run/one, or --run /run/two")


@pytest.mark.parametrize("name", ["wattline-replay-x1", "wl-selftest-12-x1"])
def test_a_replay_or_selftest_is_never_chosen_unasked(name):
    """It is named in the hint only."""
    run = Path("/run") / name
    choice = decided(found=[run])
    assert choice.run == DEFAULT
    assert f"--run {run}" in choice.hint
    assert decided(found=[run, ONE]).run == ONE


def test_what_could_not_be_seen_is_said():
    """An ordinary user learns that root would see more."""
    assert "root" in decided(is_partial=True).hint
    assert "root" not in decided().hint


def test_any_source_of_a_name_counts(tmp_path):
    """A flag, a variable or a file, though it be the default's own path; for all commands' settings."""
    config = tmp_path / "wattline.toml"
    config.write_text(f'run = "{default_run()}"\n', encoding="utf-8")
    named = (
        (["--run", str(default_run())], {}),
        ([], {"WATTLINE_RUN": str(default_run())}),
        (["--config", str(config)], {}),
    )
    for settings_type in (CommonSettings, DownSettings):
        for flags, variables in named:
            settings, _ = load(settings_type, "tap", flags, variables)
            assert settings.run == default_run()
            assert is_given(settings.run)
        for variables in ({}, {"WATTLINE_RUN": ""}):
            settings, _ = load(settings_type, "tap", [], variables)
            assert not is_given(settings.run)


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_is_no_run_directory(tmp_path, name):
    """Nor is what would be below one: 78, in one line."""
    (tmp_path / "file").touch()
    with pytest.raises(Fatal, match="is not a directory") as failed:
        choose(tmp_path / name, is_given=True, command="tap")
    assert failed.value.exit_code == Fatal.SETTINGS
