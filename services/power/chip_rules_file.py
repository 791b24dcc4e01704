# SPDX-License-Identifier: Apache-2.0
"""The user's own rules for hwmon chips, from a TOML file."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from wattline.errors import Fatal
from wattline.setting import nearest
from wattline.wire.names import are_safe

from .chip_rules import BUILT_IN, NONE, PLACEHOLDERS, ZONES, Rule

_FILE_BYTES_MAX, _LINE_BYTES_MAX = 65536, 1024
_TEXT_CHARACTERS_MAX = 64
_KEYS = ("chip", "zone", "label", "sensor", "device", "index")
_SENSOR = "(energy|power|in)[0-9]{1,4}"


def load_rules(path: str) -> tuple[Rule, ...]:
    """The rules of a file, then the built-in ones. `path`: empty for none.

    Raises Fatal(SETTINGS) saying which file, rule and key, expected, got.
    """
    if not path:
        return BUILT_IN
    document = _document(Path(path))
    for key in document:
        if key != "rule":
            _fail(path, f"unknown key {key!r:.80}{nearest(key, ('rule',))}; expected tables [[rule]]")
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        _fail(path, "expected tables [[rule]], got another value of rule")
    return (*(_rule(path, number, table) for number, table in enumerate(tables, 1)), *BUILT_IN)


def _rule(path: str, number: int, table: Mapping[str, Any]) -> Rule:
    where = f"rule {number}"
    for key, value in table.items():
        if key not in _KEYS:
            _fail(path, f"{where}: unknown key {key!r:.80}{nearest(key, _KEYS)}")
        is_text = isinstance(value, str) and 0 < len(value) <= _TEXT_CHARACTERS_MAX and are_safe([value])
        if not is_text:
            _fail(
                path,
                f"{where}, key {key}: expected a text of 1 to {_TEXT_CHARACTERS_MAX} printable characters, "
                f"got {value!r:.80}",
            )
    for key in ("chip", "zone"):
        if key not in table:
            _fail(path, f"{where}: expected the key {key}, got none")
    _check_zone(path, where, table["zone"])
    if not re.fullmatch(_SENSOR, table.get("sensor", "power1")):
        _fail(path, f"{where}, key sensor: expected a name such as power1, got {table['sensor']!r}")
    if table.get("label", "").count("{n}") > 1:
        _fail(path, f"{where}, key label: expected {{n}} at most once, got {table['label']!r}")
    _check_index(path, where, table)
    return Rule(**table)


def _check_zone(path: str, where: str, zone: str) -> None:
    if zone == "gpu":
        _fail(path, f"{where}, key zone: expected a zone other than gpu, which sources of GPUs have, got it")
    if zone not in ZONES:
        expected = ", ".join(ZONES)
        _fail(path, f"{where}, key zone: expected one of {expected}, got {zone!r}{nearest(zone, ZONES)}")


def _check_index(path: str, where: str, table: Mapping[str, str]) -> None:
    # The package of NUMA node n needs the node's number, which the label has.
    index = table.get("index", "0")
    if table["zone"] == NONE and "index" in table:
        _fail(path, f"{where}, key index: expected none, since zone {NONE} has no row")
    unknown = [one for one in re.findall(r"\{[^}]*\}?|\}", index) if one not in PLACEHOLDERS]
    if unknown:
        expected = ", ".join(PLACEHOLDERS)
        _fail(path, f"{where}, key index: expected placeholders among {expected}, got {unknown[0]!r}")
    needs_number = "{n}" in index or "{package}" in index
    if needs_number and "{n}" not in table.get("label", ""):
        _fail(path, f"{where}, key index: expected {{n}} in the label too, got {table.get('label', '')!r}")


def _is_long(data: bytes) -> bool:
    longest = max(map(len, data.splitlines()), default=0)
    return len(data) > _FILE_BYTES_MAX or longest > _LINE_BYTES_MAX


def _document(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 what is hardly ever needed takes no memory in every power process

    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        if not _is_long(data):
            return tomllib.loads(data.decode("utf-8"))
        got = f"expected at most {_FILE_BYTES_MAX} bytes, and {_LINE_BYTES_MAX} in a line, got more"
    except OSError as error:
        got = f"{error.strerror}; expected a TOML file that uid {os.geteuid()} may read"
    except UnicodeDecodeError as error:
        got = f"expected a TOML file in UTF-8, got byte {error.object[error.start]:#04x} at {error.start}"
    except RecursionError:
        got = "expected a TOML file of plain tables and values, got one nested too deep"
    except tomllib.TOMLDecodeError as error:
        got = f"expected a TOML file: {str(error)[:200]}"
    raise Fatal(f"setting hwmon.rules, file {path}: {got}", Fatal.SETTINGS)


def _fail(path: str, text: str) -> NoReturn:
    raise Fatal(f"setting hwmon.rules, file {path}: {text}", Fatal.SETTINGS)
