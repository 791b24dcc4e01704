# SPDX-License-Identifier: Apache-2.0
"""Every setting of every service says what it means, in which unit, and stands on the page."""

import importlib.util
import textwrap
from pathlib import Path

import pytest

from wattline.settings import CONFIG_VARIABLE, VARIABLES, CommonSettings, load, settings_of
from wattline.wire.rundir import SERVICES

_ROOT = Path(__file__).parents[2]
_SPEC = importlib.util.spec_from_file_location("settings_page", _ROOT / "scripts/settings_page.py")
settings_page = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(settings_page)

_DECLARED = {"all": CommonSettings, **settings_page.declared()}
_SETTINGS = {
    f"{owner} {setting.name}": setting
    for owner, settings_type in _DECLARED.items()
    for setting in (
        settings_of(settings_type) if owner == "all" else settings_page.own_settings(settings_type)
    )
}
# Numbers that count or name things have no unit.
_COUNTS = {"probe.process-rows", "probe.cgroup-rows", "up.first-id"}


def test_every_service_declares_its_settings():
    """All five services are on the page."""
    assert set(SERVICES) <= set(_DECLARED)


@pytest.mark.parametrize("setting", _SETTINGS.values(), ids=_SETTINGS.keys())
def test_every_setting_says_what_it_means(setting):
    """A setting has a description, which begins small and ends without a full stop, as --help shows it."""
    assert len(setting.description) > 10
    assert not setting.description.endswith(".")
    assert setting.description[0].islower()


@pytest.mark.parametrize("setting", _SETTINGS.values(), ids=_SETTINGS.keys())
def test_every_quantity_has_its_unit(setting):
    """A number has a unit and its name ends in it, unless it counts things; what is no number has none."""
    kind = getattr(setting.type, "__origin__", setting.type)
    if kind in (int, float) and setting.name not in _COUNTS:
        assert setting.unit
        assert setting.name.endswith(f"-{setting.unit}")
    else:
        assert setting.unit == ""


@pytest.mark.parametrize("setting", _SETTINGS.values(), ids=_SETTINGS.keys())
def test_every_setting_is_on_the_page(setting):
    """docs/settings.md names each setting, its variable and its meaning in one row."""
    rows = settings_page.PAGE.read_text(encoding="utf-8").splitlines()
    row = next((row for row in rows if row.startswith(f"| `{setting.name}` |")), "")
    assert f"`{setting.variable}`" in row
    assert setting.description in row


def test_the_page_is_what_its_script_writes():
    """docs/settings.md is generated: after a change of a setting, run scripts/settings_page.py."""
    assert settings_page.PAGE.read_text(encoding="utf-8") == settings_page.page()


def test_the_pages_example_is_a_settings_file(tmp_path):
    """The TOML on the page is accepted by every service and does what it says."""
    block = settings_page.PAGE.read_text(encoding="utf-8").split("in the file:\n\n")[1].split("\n\nOnly")[0]
    path = tmp_path / "wattline.toml"
    path.write_text(textwrap.dedent(block), encoding="utf-8")
    loaded = {service: load(_DECLARED[service], service, [f"--config={path}"], {})[0] for service in SERVICES}
    assert {settings.node for settings in loaded.values()} == {"rack3-n7"}
    assert loaded["calculator"].idle_policy == "even"
    assert loaded["probe"].probe_ended_s == 30


def test_the_known_variables_are_those_of_all_services():
    """VARIABLES in wattline/settings.py is complete and names none that is gone."""
    assert {setting.variable for setting in _SETTINGS.values()} | {CONFIG_VARIABLE} == VARIABLES


def test_no_two_settings_share_a_variable():
    """Two names must not become one variable, unless they are one setting."""
    names = {}
    for setting in _SETTINGS.values():
        assert names.setdefault(setting.variable, setting.name) == setting.name
