# SPDX-License-Identifier: Apache-2.0
"""The user's rules: what a file may say, and the words for what it may not."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.power import acpi, hwmon, hwmon_ampere, hwmon_grace, macsmc
from services.power.chip_rules import BUILT_IN, Rule
from services.power.chip_rules_file import load_rules
from services.power.settings import PowerSettings
from services.power.source import Former
from wattline.errors import Fatal


def load(tmp_path, text):
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return load_rules(str(path))


def test_no_file_is_the_built_in_table():
    """Without the setting nothing is read."""
    assert load_rules("") == BUILT_IN


def test_a_file_goes_before_the_built_in_table(tmp_path):
    """All keys of a rule, and rules in the file's order."""
    text = """
        [[rule]]
        chip = "ina226"
        zone = "platform"
        device = "1-0041"
        sensor = "power1"
        index = "{device}"

        [[rule]]
        chip = "apm_xgene"
        zone = "none"
        label = "CPU power"
    """
    assert load(tmp_path, text) == (
        Rule("ina226", "platform", device="1-0041", sensor="power1", index="{device}"),
        Rule("apm_xgene", "none", label="CPU power"),
        *BUILT_IN,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rule = 5", "expected tables [[rule]], got another value of rule"),
        ("rule = [1]", "expected tables [[rule]]"),
        ("[rule]\nchip='x'", "expected tables [[rule]]"),
        ("[[rules]]\nchip='x'", "unknown key 'rules'; did you mean rule?"),
        ("[[rule]]\nzone='package'", "rule 1: expected the key chip, got none"),
        ("[[rule]]\nchip='x'", "rule 1: expected the key zone, got none"),
        (
            "[[rule]]\nchip='x'\nzone='none'\n[[rule]]\nchip='x'\nzone='pakage'",
            "rule 2, key zone: expected one of",
        ),
        ("[[rule]]\nchip='x'\nzone='pakage'", "got 'pakage'; did you mean package?"),
        ("[[rule]]\nchip='x'\nzone='gpu'", "a zone other than gpu"),
        ("[[rule]]\nchip='x'\nzone='package'\nlable='y'", "unknown key 'lable'; did you mean label?"),
        ("[[rule]]\nchip='x'\nzone='package'\nlabel=5", "key label: expected a text of 1 to 64"),
        ("[[rule]]\nchip=''\nzone='package'", "key chip: expected a text of 1 to 64"),
        ('[[rule]]\nchip="a\\u0007"\nzone="package"', "printable characters"),
        (f"[[rule]]\nchip='{'x' * 65}'\nzone='package'", "key chip: expected a text of 1 to 64"),
        ("[[rule]]\nchip='x'\nzone='package'\nlabel='{n} of {n}'", "key label: expected {n} at most once"),
        ("[[rule]]\nchip='x'\nzone='package'\nsensor='temp1'", "a name such as power1, got 'temp1'"),
        ("[[rule]]\nchip='x'\nzone='package'\nindex='{socket}'", "got '{socket}'"),
        ("[[rule]]\nchip='x'\nzone='package'\nindex='{n'", "got '{n'"),
        ("[[rule]]\nchip='x'\nzone='package'\nindex='{n}'", "expected {n} in the label too, got ''"),
        ("[[rule]]\nchip='x'\nzone='package'\nindex='{package}'", "expected {n} in the label too"),
        ("[[rule]]\nchip='x'\nzone='none'\nindex='0'", "key index: expected none"),
        ("[[rule]\nchip='x'", "expected a TOML file: "),
        ("[[rule]]\nchip='x'\nchip='y'", "expected a TOML file: Cannot overwrite"),
        ("x = " + "[" * 5000, "expected "),
        ("# " + "x" * 70_000, "expected at most 65536 bytes, and 1024 in a line, got more"),
        ("# " + "x" * 2_000, "and 1024 in a line, got more"),
    ],
)
def test_the_words_for_a_wrong_file(tmp_path, text, words):
    """Which file, which rule and key, what was expected, what was got; exit code 78."""
    with pytest.raises(Fatal) as error:
        load(tmp_path, text)
    assert words in str(error.value)
    assert f"setting hwmon.rules, file {tmp_path / 'rules.toml'}: " in str(error.value)
    assert error.value.exit_code == Fatal.SETTINGS


def test_a_file_that_can_not_be_read(tmp_path):
    """No such file, a directory, or other bytes than UTF-8: said with the path."""
    with pytest.raises(Fatal, match=r"none\.toml: No such file .*; expected a TOML file that uid"):
        load_rules(str(tmp_path / "none.toml"))
    with pytest.raises(Fatal, match="Is a directory"):
        load_rules(str(tmp_path))
    (tmp_path / "latin").write_bytes(b"x = '\xe9'")
    with pytest.raises(Fatal, match="expected a TOML file in UTF-8, got byte 0xe9 at 5"):
        load_rules(str(tmp_path / "latin"))


@pytest.mark.parametrize("module", [hwmon, hwmon_ampere, hwmon_grace, acpi, macsmc])
def test_every_source_of_rules_refuses_a_wrong_file(tmp_path, module):
    """A wrong rule ends the service at its start, whichever of the sources is in use."""
    (tmp_path / "rules.toml").write_text("[[rule]]\n", encoding="ascii")
    chosen = PowerSettings(path_sysfs=tmp_path, hwmon_rules=str(tmp_path / "rules.toml"))
    with pytest.raises(Fatal, match="expected the key chip"):
        module.open_source(chosen, Former(), 1)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_rules_or_an_error(tmp_path, data):
    """Whatever stands in the file, there is a table of rules or the one error."""
    path = tmp_path / "any.toml"
    path.write_bytes(data)
    with contextlib.suppress(Fatal):
        assert load_rules(str(path))[-len(BUILT_IN) :] == BUILT_IN
