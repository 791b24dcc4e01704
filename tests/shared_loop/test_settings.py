# SPDX-License-Identifier: Apache-2.0
"""Settings: flags over variables over a file over defaults, and clear words about what is wrong."""

import socket
import string
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import field

from wattline.cli.down import DownSettings
from wattline.cli.up import UpSettings
from wattline.errors import Fatal
from wattline.settings import (
    CONFIG_VARIABLE,
    VARIABLES,
    CommonSettings,
    load,
    meaning,
    nearest,
    settings_of,
)


class SampleSettings(CommonSettings, kw_only=True, frozen=True):
    """One setting of each kind."""

    sample_text: Annotated[str, meaning("some text")] = field(default="plain", name="sample.text")
    sample_rows: Annotated[int, meaning("how many rows, 100% at most", ge=0, le=10**9)] = field(
        default=0, name="sample.rows"
    )
    sample_wait_s: Annotated[float, meaning("how long to wait", "s", ge=0)] = field(
        default=1.0, name="sample.wait-s"
    )
    sample_on: Annotated[bool, meaning("whether it is on")] = field(default=False, name="sample.on")
    sample_off: Annotated[bool, meaning("whether it is off")] = field(default=True, name="sample.off")
    sample_path: Annotated[Path, meaning("where it is")] = field(default=Path("/proc"), name="sample.path")


_words = st.text(string.ascii_letters + string.digits + "./ µ", min_size=1, max_size=10).filter(str.strip)
_VALUES = {
    "log-level": st.sampled_from(["debug", "info", "warning", "error"]),
    "node": _words,
    "interval-s": st.floats(0.02, 3600),
    "sample.text": _words,
    "sample.rows": st.integers(0, 10**9),
    "sample.wait-s": st.floats(0, 1e6),
    "sample.on": st.booleans(),
    "sample.off": st.booleans(),
    "sample.path": _words,
}
_SETTINGS = {setting.name: setting for setting in settings_of(SampleSettings)}


def as_text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_toml(value):
    return f'"{value}"' if isinstance(value, str) else as_text(value)


def loaded(argv=(), environ=None, toml=None, *, at=None):
    """The settings of the power service; `at`: where the settings file is to lie."""
    environ = dict(environ or {})
    if toml is not None:
        at.write_text(toml, encoding="utf-8")
        environ[CONFIG_VARIABLE] = str(at)
    return load(SampleSettings, "power", list(argv), environ)


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    return tmp_path_factory.mktemp("settings") / "wattline.toml"


@given(st.data())
def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(settings_file, data):
    """For every setting and every combination of origins, the strongest origin that says something wins."""
    given_values = data.draw(
        st.fixed_dictionaries(
            {
                name: st.fixed_dictionaries({}, optional=dict.fromkeys(("flag", "env", "toml"), values))
                for name, values in _VALUES.items()
            }
        )
    )
    argv, environ, lines = [], {}, []
    for name, origins in given_values.items():
        setting = _SETTINGS[name]
        if "flag" in origins:
            argv.append(f"{setting.flag}={as_text(origins['flag'])}")
        if "env" in origins:
            environ[setting.variable] = as_text(origins["env"])
        if "toml" in origins:
            lines.append(f"{name} = {as_toml(origins['toml'])}")
    settings, warnings = loaded(argv, environ, "\n".join(["[power]", *lines]), at=settings_file)
    for name, origins in given_values.items():
        setting = _SETTINGS[name]
        strongest = [origins[origin] for origin in ("flag", "env", "toml") if origin in origins]
        value = getattr(settings, setting.attribute)
        if strongest:
            assert value == (Path(strongest[0]) if setting.type.__origin__ is Path else strongest[0]), name
        elif name != "node":
            assert value == setting.default
    assert all("WATTLINE_SAMPLE_" in warning for warning in warnings)


def test_without_anything_said_the_defaults_hold():
    """No flag, no variable, no file: the defaults, and the host name as node."""
    settings, warnings = loaded()
    assert settings == SampleSettings()
    assert (settings.node, settings.interval_ns) == (socket.gethostname(), 1_000_000_000)
    assert warnings == []


def test_the_own_table_beats_the_top_of_the_file(settings_file):
    """What a service's table says holds for it alone; the top of the file is for all of them."""
    toml = 'node = "all"\ninterval-s = 5\n[power]\ninterval-s = 2\n[probe]\ninterval-s = 3\n'
    settings, _ = loaded(toml=toml, at=settings_file)
    assert (settings.node, settings.interval_s) == ("all", 2)


def test_dotted_keys_and_nested_tables_are_the_same(settings_file):
    """`sample.rows` may be written with a dot, or in a table of its own."""
    for toml in ("[power]\nsample.rows = 7", "[power.sample]\nrows = 7", '[power]\n"sample.rows" = 7'):
        assert loaded(toml=toml, at=settings_file)[0].sample_rows == 7


def test_the_config_flag_beats_its_variable(tmp_path, settings_file):
    """--config names another file than WATTLINE_CONFIG."""
    other = tmp_path / "other.toml"
    other.write_text("interval-s = 9", encoding="utf-8")
    settings, _ = loaded([f"--config={other}"], toml="interval-s = 5", at=settings_file)
    assert settings.interval_s == 9


def test_an_empty_variable_is_not_set():
    """Compose files and manifests pass empty variables on: they mean the default."""
    settings, warnings = loaded(
        environ={"WATTLINE_RUN": "", "WATTLINE_INTERVAL_S": "", "WATTLINE_CONFIG": "", "WATTLINE_NODE": ""}
    )
    assert settings == SampleSettings()
    assert warnings == []


@pytest.mark.parametrize(
    ("argv", "on", "off"),
    [
        ([], False, True),
        (["--sample.on"], True, True),
        (["--sample.on", "--sample.off=false"], True, False),
        (["--sample.off", "false", "--sample.on", "true"], True, False),
    ],
)
def test_a_switch_needs_no_value_and_may_have_one(argv, on, off):
    """--switch means true; --switch=false turns off what is on by default."""
    settings, _ = loaded(argv)
    assert (settings.sample_on, settings.sample_off) == (on, off)


@pytest.mark.parametrize("flag", ["--interval-s", "--sample.rows", "--sample.wait-s", "--sample.text"])
def test_what_is_no_switch_needs_its_value(flag, capsys):
    """A number whose default is 0 or 1 is no switch."""
    with pytest.raises(SystemExit) as caught:
        loaded([flag])
    assert caught.value.code == 2
    assert "expected one argument" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("toml", "named", "meant"),
    [
        ("intervals = 1", "unknown key intervals", "interval-s"),
        ("interval_s = 1", "unknown key interval_s", "interval-s"),
        ("[power]\nsample.row = 1", r"unknown key \[power\] sample\.row", r"sample\.rows"),
        ("[power]\nlog_level = 1", r"unknown key \[power\] log_level", "log-level"),
        ("[powr]\ninterval-s = 1", "unknown key powr", "power"),
        ("[power.sampel]\nrows = 1", r"unknown key \[power\] sampel\.rows", r"sample\.rows"),
        ("sample.rows = 1", "unknown key sample", ""),
    ],
)
def test_an_unknown_key_in_the_file_is_fatal(settings_file, toml, named, meant):
    """A key that nobody knows ends the service with 78, and names the known one most like it."""
    hint = f"; did you mean {meant}\\?" if meant else ""
    with pytest.raises(Fatal, match=f"settings file {settings_file}: {named}{hint}") as caught:
        loaded(toml=toml, at=settings_file)
    assert caught.value.exit_code == Fatal.SETTINGS == 78


def test_another_services_keys_are_not_ours_to_judge(settings_file):
    """One file serves all five: the tables of the others are left to them."""
    loaded(toml="[probe]\nanything.at-all = 1\n[exporter]\nx = 2", at=settings_file)


@pytest.mark.parametrize("toml", ["power = 5", "[[power]]\nx = 1", "probe = 'yes'"])
def test_a_services_name_that_is_no_table_is_fatal(settings_file, toml):
    """The name of a service can't be a key."""
    with pytest.raises(Fatal, match=r"expected a table \[(power|probe)\]"):
        loaded(toml=toml, at=settings_file)


@pytest.mark.parametrize(
    "content",
    [
        b"a = ",
        b"\xff\xfe",
        b"[power\n",
        b"x = 1\nx = 2",
        b"x = " + b"[" * 1000,
    ],
    ids=["no value", "no text", "no end", "twice", "depth"],
)
def test_a_broken_file_is_fatal(settings_file, content):
    """What is no TOML is named with its place, with exit code 78."""
    settings_file.write_bytes(content)
    with pytest.raises(Fatal, match=f"settings file {settings_file}: expected a TOML file") as caught:
        loaded([f"--config={settings_file}"])
    assert caught.value.exit_code == Fatal.SETTINGS


def test_keys_of_too_many_parts_are_fatal(settings_file):
    """However deep tables are nested."""
    settings_file.write_text("[power." + ".".join("a" * 500) + "]\nb = 1\n", encoding="ascii")
    with pytest.raises(Fatal, match=r"expected keys of at most 8 parts, got more in 'a\.a") as caught:
        loaded([f"--config={settings_file}"])
    assert caught.value.exit_code == Fatal.SETTINGS


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("# remark\n" * 10_000, "expected at most 65536 bytes, got more"),
        (".".join("a" * 2000) + " = 1\n", "expected lines of at most 1024 bytes, got one of 4003"),
    ],
)
def test_a_file_that_is_too_long_is_fatal(settings_file, content, words):
    """Reading a name of thousands of parts would take megabytes, so it is refused before."""
    settings_file.write_text(content)
    with pytest.raises(Fatal, match=f"settings file {settings_file}: {words}"):
        loaded([f"--config={settings_file}"])


def test_a_missing_file_is_fatal():
    """A settings file that was asked for must be there."""
    with pytest.raises(Fatal, match=r"settings file /no/such\.toml: No such file .*; expected a TOML file"):
        loaded(["--config=/no/such.toml"])


def test_a_directory_is_no_settings_file(tmp_path):
    """What can't be read is named with the reason, with exit code 78."""
    with pytest.raises(Fatal, match=f"settings file {tmp_path}: Is a directory; expected") as caught:
        loaded([f"--config={tmp_path}"])
    assert caught.value.exit_code == Fatal.SETTINGS


@pytest.mark.parametrize(
    ("name", "bad", "expected"),
    [
        ("interval-s", "0", "a number from 0.02 to 3600 (s)"),
        ("interval-s", "nan", "a number from 0.02 to 3600 (s)"),
        ("interval-s", "inf", "a number from 0.02 to 3600 (s)"),
        ("interval-s", "1s", "a number from 0.02 to 3600 (s)"),
        ("log-level", "loud", "one of debug, info, warning, error"),
        ("user", "root", "UID:GID as two numbers, e.g. 60603:60600"),
        ("user", "1000", "UID:GID as two numbers, e.g. 60603:60600"),
        ("sample.rows", "-1", "a whole number from 0 to 1000000000"),
        ("sample.rows", "1.5", "a whole number from 0 to 1000000000"),
        ("sample.wait-s", "inf", "a number of 0 or more (s)"),
        ("sample.on", "perhaps", "true or false"),
        ("die-with-parent", "2", "true or false"),
    ],
)
@pytest.mark.parametrize("origin", ["flag", "variable", "file"])
def test_a_bad_value_is_fatal(settings_file, name, bad, expected, origin):
    """A bad value ends the service with 78; the message names setting, origin, expected and got."""
    setting = _SETTINGS[name]
    arguments = {
        "flag": {"argv": [f"{setting.flag}={bad}"]},
        "variable": {"environ": {setting.variable: bad}},
        "file": {"toml": f'[power]\n{name} = "{bad}"', "at": settings_file},
    }[origin]
    with pytest.raises(Fatal) as caught:
        loaded(**arguments)
    named = {
        "flag": f"flag {setting.flag}",
        "variable": f"variable {setting.variable}",
        "file": f"file {settings_file}",
    }[origin]
    message = str(caught.value)
    assert caught.value.exit_code == Fatal.SETTINGS
    assert message == f"setting {name}, from {named}: expected {expected}, got {bad!r}"


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("run = 5", "expected a path, got 5"),
        ("run = ['/a']", "expected a path, got ['/a']"),
        ('run = "a\\u0000b"', r"expected a path, got 'a\x00b'"),
        ("node = 5", "expected a name of printable characters, got 5"),
        ("interval-s = true", "expected a number from 0.02 to 3600 (s), got True"),
        ("interval-s = [1]", "expected a number from 0.02 to 3600 (s), got [1]"),
    ],
)
def test_a_value_of_the_wrong_kind_is_fatal(settings_file, toml, words):
    """A value of a kind that only a file can hold is refused in the same words."""
    with pytest.raises(Fatal) as caught:
        loaded(toml=toml, at=settings_file)
    assert str(caught.value).endswith(words)
    assert caught.value.exit_code == Fatal.SETTINGS


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("WATTLINE_INTERVALS", "WATTLINE_INTERVAL_S"),
        ("WATTLINE_LOGLEVEL", "WATTLINE_LOG_LEVEL"),
        ("WATTLINE_PORT", ""),
        ("WATTLINE_SERVICE_HOST", ""),
        ("WATTLINE_PORT_28283_TCP_ADDR", ""),
    ],
)
def test_an_unknown_variable_is_a_warning(variable, meant):
    """Kubernetes sets variables of our prefix, so an unknown one is only warned of."""
    settings, warnings = loaded(environ={variable: "tcp://10.0.0.1:28283"})
    assert settings == SampleSettings()
    assert len(warnings) == 1
    assert warnings[0].startswith(f"unknown variable {variable} is ignored")
    assert not meant or f"; did you mean {meant}?" in warnings[0]


def test_the_variables_of_other_services_are_known():
    """One environment serves all five: none warns of another's variables."""
    assert loaded(environ={name: "" for name in VARIABLES if name != CONFIG_VARIABLE})[1] == []


def test_variables_without_our_prefix_are_left_alone():
    """What isn't ours is not looked at."""
    assert loaded(environ={"PATH": "/bin", "wattline_run": "/x", "XWATTLINE_RUN": "/y"}) == loaded()


@pytest.mark.parametrize("argv", [["--no-such"], ["--interval"], ["stray"], ["--sample.ro=1"]])
def test_an_unknown_flag_ends_with_usage_and_2(argv, capsys):
    """A wrong flag, a shortened one too, ends as argparse does: usage on standard error and exit code 2."""
    with pytest.raises(SystemExit) as caught:
        loaded(argv)
    assert caught.value.code == 2
    assert "usage: wattline power" in capsys.readouterr().err


def test_help_says_what_each_setting_means(capsys):
    """--help tells each setting's meaning, unit, default and variable, and ends with 0."""
    with pytest.raises(SystemExit) as caught:
        loaded(["--help"])
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for setting in settings_of(SampleSettings):
        unit = f" [{setting.unit}]" if setting.unit else ""
        assert (
            f"{setting.description}{unit} (default: {setting.default_text or 'none'}; {setting.variable})"
            in (text)
        )


@given(st.sampled_from(sorted(VARIABLES)), st.data())
def test_one_wrong_letter_is_understood(variable, data):
    """A known name with one letter changed leads back to it."""
    at = data.draw(st.integers(0, len(variable) - 1))
    wrong = variable[:at] + data.draw(st.sampled_from(string.ascii_uppercase)) + variable[at + 1 :]
    assert nearest(wrong, VARIABLES) == f"; did you mean {variable}?"


def test_a_name_like_nothing_gets_no_hint():
    """No guess is better than a bad one."""
    assert nearest("qqqqqqqq", ["interval-s", "node"]) == ""


def test_a_command_borrows_from_a_service_table(tmp_path):
    """`wattline down` finds the pins where the file tells the probe; the rest of that table is not for it."""
    file = tmp_path / "wattline.toml"
    file.write_text(
        '[probe]\nprobe.pin-path = "/sys/fs/bpf/elsewhere"\nprobe.keep = true\n[up]\nup.first-id = 5\n'
    )
    arguments = ["--config", str(file)]
    settings, _warnings = load(DownSettings, "down", arguments, {}, borrowed_table="probe")
    assert settings.probe_pin_path == Path("/sys/fs/bpf/elsewhere")
    settings, _warnings = load(UpSettings, "up", arguments, {})
    assert settings.up_first_id == 5
