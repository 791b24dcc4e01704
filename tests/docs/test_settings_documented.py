# SPDX-License-Identifier: Apache-2.0
"""Every setting of every service says what it means, in which unit, and stands on the page."""

import importlib.util
import textwrap
from pathlib import Path

import pytest

from wattline.errors import Fatal
from wattline.pipeline import SERVICES
from wattline.setting_owners import COMMON, OWNERS, SECRETS, VARIABLES, variable
from wattline.settings import CONFIG_VARIABLE, CommonSettings, load, settings_of

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
_OWNERS = frozenset((*SERVICES, "up"))  # whose names are tables of the file
_EVERY = {
    f"{owner} {setting.name}": (owner, settings_type, setting)
    for owner, settings_type in _DECLARED.items()
    for setting in settings_of(settings_type)
}
# Texts that some setting might stumble over; a name or a path may well be one of them.
_ODD_TEXTS = (
    "",
    "no such thing",
    "-1",
    "nan",
    "inf",
    "1e999",
    "$HOME",
    "^(a|b)$",
    "1,2:3-4",
    "9" * 5000,
    "٣",
)
_NO_TEXTS = ("[1]", "[]", "5.5", "-1", "true", "2024-01-01", "nan", '"a\\u0000b"', '"^(a|b)$"')
_JARGON = ("^", "\\d", "$", "Expected `", "matching", "regex", "float", "`str`", "Traceback")
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
    """VARIABLES in wattline/setting_owners.py is complete and names none that is gone."""
    secrets = {variable(name) for name in SECRETS}
    assert {setting.variable for setting in _SETTINGS.values()} | secrets | {CONFIG_VARIABLE} == VARIABLES


def test_secrets_have_no_flag_and_are_named_on_the_page():
    """A password in an argument list could be read by all users; the page names its variable."""
    page = settings_page.PAGE.read_text(encoding="utf-8")
    for name in SECRETS:
        assert name not in {setting.name for setting in _SETTINGS.values()}
        assert variable(name) in page


def test_each_setting_has_the_owners_that_declare_it():
    """OWNERS names for each setting the services that have it, so that `up` hands its flag to these."""
    declared = {}
    for service in SERVICES:
        for setting in settings_page.own_settings(_DECLARED[service]):
            declared.setdefault(setting.name, []).append(service)
    assert {name: tuple(owners) for name, owners in declared.items()} == OWNERS
    assert {setting.name for setting in settings_of(CommonSettings)} | {"config"} == set(COMMON)


def test_no_two_settings_share_a_variable():
    """Two names must not become one variable, unless they are one setting."""
    names = {}
    for setting in _SETTINGS.values():
        assert names.setdefault(setting.variable, setting.name) == setting.name


@pytest.mark.parametrize(("owner", "settings_type", "setting"), _EVERY.values(), ids=_EVERY.keys())
def test_a_wrong_value_of_any_setting_is_told_in_words(tmp_path, owner, settings_type, setting):
    """Any value either loads or ends with 78 and one line: setting, origin, expected, got."""
    path = tmp_path / "wattline.toml"
    table = f"[{owner}]\n" if owner in _OWNERS else ""
    flags = [([f"{setting.flag}={text}"], {}, f"flag {setting.flag}") for text in _ODD_TEXTS]
    variables = [([], {setting.variable: text}, f"variable {setting.variable}") for text in _ODD_TEXTS]
    files = [
        ([f"--config={path}"], {}, f"file {path}", f"{table}{setting.name} = {raw}") for raw in _NO_TEXTS
    ]
    refused = []
    for arguments, environment, origin, *content in (*flags, *variables, *files):
        path.write_text("".join(content), encoding="utf-8")
        try:
            load(settings_type, owner, arguments, environment)
        except Fatal as error:
            refused.append((origin, error))
    assert refused
    for origin, error in refused:
        words, got, _value = str(error).partition(", got ")
        assert words == f"setting {setting.name}, from {origin}: expected {setting.expected}"
        assert got
        assert error.exit_code == Fatal.SETTINGS
        assert "\n" not in str(error)
        assert not [jargon for jargon in _JARGON if jargon in words.replace(str(path), "")]


def test_a_value_among_few_is_told_with_the_nearest():
    """A typing error in one of the choices is answered with the one that was meant."""
    with pytest.raises(Fatal) as caught:
        load(_DECLARED["calculator"], "calculator", ["--idle-policy", "usge"], {})
    assert str(caught.value) == (
        "setting idle-policy, from flag --idle-policy: expected one of node, even, usage, requests, "
        "got 'usge'; did you mean usage?"
    )


@pytest.mark.parametrize(
    ("service", "flag", "value", "words"),
    [
        ("power", "interval-s", "abc", "expected a number from 0.02 to 3600 (s), got 'abc'"),
        ("power", "user", "root", "expected UID:GID as two numbers, e.g. 60603:60600, got 'root'"),
        ("power", "user", "4294967295:0", "expected UID:GID as two numbers, e.g. 60603:60600, got"),
        ("power", "die-with-parent", "2", "expected true or false, got '2'"),
        ("power", "path.sysfs", "", "expected a path, got ''"),
        ("power", "node", "a\x1b[0m", r"expected a name of printable characters, got 'a\x1b[0m'"),
        ("probe", "probe.process-rows", "1.5", "expected a whole number from 64 to 1048576, got '1.5'"),
        ("probe", "probe.ended-s", "inf", "expected a number from 0 to 31536000 (s), got 'inf'"),
        ("probe", "probe.counters", "cycle", "there is no counter 'cycle'; did you mean cycles?"),
        ("probe", "probe.counters", "cycles,cycles", "expected at most 4 different names out of cycles, "),
        (
            "probe",
            "probe.undisturbed-cpus",
            "isolatd",
            "expected isolated or a list of CPUs, e.g. 2-5,8, got",
        ),
        ("probe", "probe.undisturbed-cpus", "5-2", "'5-2' is neither a CPU's number nor a range"),
        ("probe", "probe.undisturbed-cpus", "0-9999", "'0-9999' is neither a CPU's number nor a range"),
        ("calculator", "replay-speed", "fast", "expected a number of 0 or more, e.g. 2 or 0.5, or max, got"),
        ("calculator", "idle-power", "pakage=3", "there is no zone 'pakage'"),
        ("calculator", "idle-power", "leaned", "neither a method nor ZONE=WATTS; did you mean learned?"),
        ("exporter", "web.listen-address", "::1:9", "expected HOST:PORT, [IPV6]:PORT or :PORT, got '::1:9'"),
        ("exporter", "web.listen-address", "localhost", "got 'localhost': there is no port in it"),
    ],
)
def test_wrong_values_in_words(service, flag, value, words):
    """The words say what is expected, in what form, and where it helps what is wrong with it."""
    with pytest.raises(Fatal) as caught:
        load(_DECLARED[service], service, [f"--{flag}={value}"], {})
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"setting {flag}, from flag --{flag}: expected ")
