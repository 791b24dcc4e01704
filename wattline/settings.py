# SPDX-License-Identifier: Apache-2.0
"""Settings: flags over WATTLINE_* variables over a TOML file over defaults, into one typed struct.

A setting has one name in three spellings: --web.listen-address, WATTLINE_WEB_LISTEN_ADDRESS, and
`web.listen-address` in the file (under the service's table, or at the top for those all services have).
"""

import argparse
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from msgspec import Struct, field

from .clock import SPEED_PATTERN
from .errors import Fatal
from .log import LEVELS
from .pipeline import POWER, SERVICES, STREAM_NAME_FORM, is_extra_stream
from .power_streams import FORM, PowerStreams, check_stream_name, parse_power_streams
from .setting import Setting, meaning, nearest, settings_of
from .setting_owners import PREFIX, VARIABLES
from .wire.names import are_safe

__all__ = [
    "CONFIG_VARIABLE",
    "VARIABLES",
    "CommonSettings",
    "ReplaySettings",
    "Setting",
    "load",
    "meaning",
    "nearest",
    "settings_of",
]

CONFIG_VARIABLE = "WATTLINE_CONFIG"
_TABLES = (*SERVICES, "up")
# Of a settings file. The memory that tomllib takes grows with the square of a dotted name's length.
_FILE_BYTES_MAX, _LINE_BYTES_MAX = 65536, 1024
_NAME_PARTS_MAX = 8  # settings have two parts at most; deeper tables would only cost memory
SettingsT = TypeVar("SettingsT", bound="CommonSettings")


_ID_MAX = 2**32 - 2  # of a user or group; 2³² - 1 means "leave it as it is" to the kernel (man 2 setresuid)


def _check_node(text: str) -> None:
    if not text or not are_safe([text]):
        raise ValueError


def _check_user(text: str) -> None:
    ids = re.fullmatch("([0-9]{1,10}):([0-9]{1,10})", text)
    if text and (ids is None or max(int(ids[1]), int(ids[2])) > _ID_MAX):
        raise ValueError


def _check_speed(text: str) -> None:
    if re.fullmatch(SPEED_PATTERN, text) is None:
        raise ValueError


class CommonSettings(Struct, kw_only=True, frozen=True):
    """What every service can be told."""

    run: Annotated[
        Path,
        meaning(
            "directory in shared memory where the services meet; one user's, or root's with a common group"
        ),
    ] = Path("/dev/shm/wattline")  # noqa: S108 shared memory is the point; its owner is checked
    node: Annotated[
        str,
        meaning(
            "name of this node in every frame and metric; default: the host name",
            expected="a name of printable characters",
            check=_check_node,
        ),
    ] = field(default_factory=socket.gethostname)
    interval_s: Annotated[
        float, meaning("time between two ticks; each service may have its own", "s", ge=0.02, le=3600)
    ] = field(default=1.0, name="interval-s")
    log_level: Annotated[
        str, meaning("least level printed: debug, info, warning or error", choices=LEVELS)
    ] = field(default="info", name="log-level")
    user: Annotated[
        str,
        meaning(
            "started as root, go on as this UID:GID (numbers) once loaded",
            expected="UID:GID as two numbers, e.g. 60603:60600",
            check=_check_user,
        ),
    ] = ""
    die_with_parent: Annotated[
        bool, meaning("stop when the process that started this one ends, however it ends")
    ] = field(default=False, name="die-with-parent")
    clock: Annotated[
        str,
        meaning(
            "whose time it goes by: monotonic (this machine's) or frames (that of the newest frame, of "
            "whichever boot and node: for the exporter of a replay)",
            choices=("monotonic", "frames"),
        ),
    ] = "monotonic"

    power_streams: Annotated[
        str,
        meaning(
            "the power streams beside `power`, with the zones that each may publish and perhaps the number "
            "of its user: NAME[:UID]=ZONE+…, several with commas; power=ZONE+… limits `power` itself, which "
            "otherwise may publish every zone; default: `power` alone (in a replay: all in the recording)",
            expected=FORM,
            check=parse_power_streams,
        ),
    ] = field(default="", name="power.streams")

    @property
    def streams(self) -> PowerStreams:
        """The power streams that count."""
        return parse_power_streams(self.power_streams)

    @property
    def interval_ns(self) -> int:
        """The interval in whole nanoseconds."""
        return round(self.interval_s * 1e9)


class NamedSettings(CommonSettings, kw_only=True, frozen=True):
    """Settings of a service that may run several times at once, under different names."""

    name: Annotated[
        str,
        meaning(
            "name of this power stream: its directory in WATTLINE_RUN, its producer in frames, its name in "
            "logs; readers take it by `power.streams`",
            expected=STREAM_NAME_FORM,
            check=check_stream_name,
        ),
    ] = POWER


class ReplaySettings(CommonSettings, kw_only=True, frozen=True):
    """What a service can be told that may run on a recording instead of on its neighbours' streams."""

    replay: Annotated[
        str,
        meaning(
            "recording to read instead of the streams, at whose end the service ends; default: none",
            expected="a path",
        ),
    ] = ""
    replay_speed: Annotated[
        str,
        meaning(
            "how many times as fast as it was recorded; 0 or max for as fast as possible",
            expected="a number of 0 or more, e.g. 2 or 0.5, or max",
            check=_check_speed,
        ),
    ] = field(default="max", name="replay-speed")


def load(
    settings_type: type[SettingsT],
    service: str,
    argv: Sequence[str],
    environ: Mapping[str, str],
    borrowed_table: str = "",
) -> tuple[SettingsT, list[str]]:
    """(the settings, warnings about variables that nobody knows).

    `borrowed_table`: a command that needs some settings of a service finds them in that one's table.
    Raises Fatal(SETTINGS) saying which setting, from where, expected, got. A wrong flag ends in argparse's
    own way: usage and exit code 2.
    """
    known = settings_of(settings_type)
    flags = vars(_parser(service, settings_type, known).parse_args(argv))
    config = flags.pop("config", None) or environ.get(CONFIG_VARIABLE)
    table = service
    if issubclass(settings_type, NamedSettings):
        name = flags.get("name") or environ.get("WATTLINE_NAME") or service
        table = name if is_extra_stream(name) else service
    from_file = _from_file(Path(config), table, known, borrowed_table) if config else {}
    values: dict[str, Any] = {}
    for setting in known:
        for origin, value in (
            (f"flag {setting.flag}", flags.get(setting.attribute)),
            # An empty variable is how compose files and manifests say "not set".
            (f"variable {setting.variable}", environ.get(setting.variable) or None),
            (f"file {config}", from_file.get(setting.name)),
        ):
            if value is not None:
                values[setting.attribute] = setting.convert(value, origin)
                break
    warnings = [
        f"unknown variable {name} is ignored{nearest(name, VARIABLES)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in VARIABLES
    ]
    return settings_type(**values), warnings


def _parser(service: str, settings_type: type[Struct], known: Sequence[Setting]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"wattline {service}",
        description=settings_type.__doc__,
        epilog=f"Each flag has a variable ({PREFIX}INTERVAL_S for --interval-s) and a key in the TOML file.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=f"TOML file with settings ({CONFIG_VARIABLE})")
    for setting in known:
        unit = f" [{setting.unit}]" if setting.unit else ""
        text = f"{setting.description}{unit} (default: {setting.default_text or 'none'}; {setting.variable})"
        # Without a value a switch means true; with one it can also be turned off.
        extra: dict[str, Any] = {"nargs": "?", "const": "true"} if isinstance(setting.default, bool) else {}
        parser.add_argument(
            setting.flag,
            dest=setting.attribute,
            metavar=setting.unit.upper() or "VALUE",
            help=text.replace("%", "%%"),
            **extra,
        )
    return parser


def _from_file(path: Path, service: str, known: Sequence[Setting], borrowed_table: str) -> dict[str, Any]:
    """The values for one stage: the common ones at the top, then those of its own table."""
    document = _document(path)
    common = {setting.name for setting in settings_of(CommonSettings)}
    _lift(document, common)
    tables = {*_TABLES, *filter(is_extra_stream, document)}
    top = {name: value for name, value in document.items() if name not in tables}
    for name in sorted(tables):
        if not isinstance(document.get(name, {}), dict):
            raise Fatal(f"settings file {path}: expected a table [{name}], got a value", Fatal.SETTINGS)
    own = _flatten(path, document.get(service, {}))
    for where, table, allowed in (("", top, common), (f"[{service}] ", own, {s.name for s in known})):
        for name in table:
            if name not in allowed:
                hint = nearest(name, allowed | (set() if where else set(_TABLES)))
                raise Fatal(f"settings file {path}: unknown key {where}{name}{hint}", Fatal.SETTINGS)
    wanted = {setting.name for setting in known}
    borrowed = _flatten(path, document.get(borrowed_table, {}))
    return {**top, **{name: value for name, value in borrowed.items() if name in wanted}, **own}


def _lift(document: dict[str, Any], common: Iterable[str]) -> None:
    """Move common settings with a dot in their name to the top.

    To TOML, `power.streams = "…"` at the top is the key `streams` of the table `power`.
    """
    for name in common:
        table, dot, key = name.partition(".")
        inner = document.get(table)
        if dot and isinstance(inner, dict) and key in inner:
            document.setdefault(name, inner.pop(key))


def _too_long(data: bytes) -> str:
    """What of a settings file is too long, in words; empty if nothing is."""
    if len(data) > _FILE_BYTES_MAX:
        return f"expected at most {_FILE_BYTES_MAX} bytes, got more"
    longest = max(map(len, data.splitlines()), default=0)
    if longest > _LINE_BYTES_MAX:
        return f"expected lines of at most {_LINE_BYTES_MAX} bytes, got one of {longest}"
    return ""


def _document(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 what is hardly ever needed takes no memory in five processes

    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        got = _too_long(data)
        if not got:
            return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        why = error.strerror or str(error)
        got = f"{why}; expected a TOML file that uid {os.geteuid()} may read"
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        got = f"expected a TOML file in UTF-8, got byte {byte:#04x} at offset {error.start}"
    except RecursionError:
        got = "expected a TOML file of plain tables and values, got one nested too deep"
    except tomllib.TOMLDecodeError as error:
        got = f"expected a TOML file: {str(error)[:200]}"
    raise Fatal(f"settings file {path}: {got}", Fatal.SETTINGS)


def _flatten(path: Path, table: Mapping[str, Any], prefix: str = "", depth: int = 1) -> dict[str, Any]:
    """Values by dotted name. Raises Fatal for names with more parts than any setting has."""
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if not isinstance(value, dict):
            flat[prefix + name] = value
        elif depth == _NAME_PARTS_MAX:
            raise Fatal(
                f"settings file {path}: expected keys of at most {_NAME_PARTS_MAX} parts, "
                f"got more in {prefix + name!r:.80}",
                Fatal.SETTINGS,
            )
        else:
            flat.update(_flatten(path, value, f"{prefix}{name}.", depth + 1))
    return flat
