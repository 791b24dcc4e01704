# SPDX-License-Identifier: Apache-2.0
"""Settings: flags over WATTLINE_* variables over a TOML file over defaults, into one typed struct.

A setting has one name in three spellings: --web.listen-address, WATTLINE_WEB_LISTEN_ADDRESS, and
`web.listen-address` in the file (under the service's table, or at the top for those all services have).
"""

import argparse
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from .clock import SPEED_PATTERN
from .errors import Fatal
from .wire.rundir import SERVICES

PREFIX = "WATTLINE_"
CONFIG_VARIABLE = "WATTLINE_CONFIG"
_TABLES = (*SERVICES, "up")
SettingsT = TypeVar("SettingsT", bound="CommonSettings")

# Variables of all services together: one service's environment may hold another's settings, and a service
# does not know the others. tests/docs proves this list complete.
VARIABLES = frozenset(
    PREFIX + name
    for name in [
        "CLOCK",
        "CONFIG",
        "DIE_WITH_PARENT",
        "DOCKER_SOCKET",
        "IDLE_POLICY",
        "IDLE_POWER",
        "INTERVAL_S",
        "LOG_LEVEL",
        "METADATA_GRACE_S",
        "NODE",
        "PATH_CGROUP",
        "PATH_PROCFS",
        "PATH_SYSFS",
        "PROBE_BACKEND",
        "PROBE_CGROUP_ROWS",
        "PROBE_COUNTERS",
        "PROBE_ENDED_S",
        "PROBE_KEEP",
        "PROBE_PIN_PATH",
        "PROBE_PROCESS_ROWS",
        "PROBE_UNDISTURBED_CPUS",
        "REPLAY",
        "REPLAY_SPEED",
        "RUN",
        "SHARE_METHOD",
        "TERMINATED_KEEP_S",
        "UP_FIRST_ID",
        "USER",
        "WEB_LISTEN_ADDRESS",
    ]
)


def meaning(text: str, unit: str = "", **limits: Any) -> Meta:
    """What a setting means, in which unit, within which limits (as msgspec.Meta has them)."""
    return Meta(description=text, extra={"unit": unit}, **limits)


class CommonSettings(Struct, kw_only=True, frozen=True):
    """What every service can be told."""

    run: Annotated[
        Path,
        meaning(
            "directory in shared memory where the services meet; one user's, or root's with a common group"
        ),
    ] = Path("/dev/shm/wattline")  # noqa: S108 shared memory is the point; its owner is checked
    node: Annotated[str, meaning("name of this node in every frame and metric; default: the host name")] = (
        field(default_factory=socket.gethostname)
    )
    interval_s: Annotated[
        float, meaning("time between two ticks; each service may have its own", "s", ge=0.02, le=3600)
    ] = field(default=1.0, name="interval-s")
    log_level: Annotated[
        str,
        meaning("least level printed: debug, info, warning or error", pattern="^(debug|info|warning|error)$"),
    ] = field(default="info", name="log-level")
    user: Annotated[
        str, meaning("started as root, go on as this UID:GID (numbers) once loaded", pattern=r"^(\d+:\d+)?$")
    ] = ""
    die_with_parent: Annotated[
        bool, meaning("stop when the process that started this one ends, however it ends")
    ] = field(default=False, name="die-with-parent")
    clock: Annotated[
        str,
        meaning(
            "whose time it goes by: monotonic (this machine's) or frames (that of the newest frame, of "
            "whichever boot and node: for the exporter of a replay)",
            pattern="^(monotonic|frames)$",
        ),
    ] = "monotonic"

    @property
    def interval_ns(self) -> int:
        """The interval in whole nanoseconds."""
        return round(self.interval_s * 1e9)


class ReplaySettings(CommonSettings, kw_only=True, frozen=True):
    """What a service can be told that may run on a recording instead of on its neighbours' streams."""

    replay: Annotated[
        str, meaning("recording to read instead of the streams, at whose end the service ends; default: none")
    ] = ""
    replay_speed: Annotated[
        str,
        meaning(
            "how many times as fast as it was recorded; 0 or max for as fast as possible",
            pattern=SPEED_PATTERN,
        ),
    ] = field(default="max", name="replay-speed")


@dataclass(frozen=True)
class Setting:
    """One setting as its spellings and its documentation need it."""

    attribute: str
    name: str
    type: Any
    default: Any
    description: str
    unit: str

    @property
    def flag(self) -> str:
        """As on the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """As in the environment."""
        return PREFIX + self.name.upper().replace(".", "_").replace("-", "_")

    @property
    def default_text(self) -> str:
        """The default as one would write it."""
        if callable(self.default):
            return "(host name)"
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


def settings_of(settings_type: type[Struct]) -> list[Setting]:
    """All settings of a service, in the order they are declared."""
    found = []
    for entry in msgspec.structs.fields(settings_type):
        metas = [meta for meta in getattr(entry.type, "__metadata__", ()) if isinstance(meta, Meta)]
        default = entry.default if entry.default is not msgspec.NODEFAULT else entry.default_factory
        found.append(
            Setting(
                attribute=entry.name,
                name=entry.encode_name,
                type=entry.type,
                default=default,
                description=(metas[0].description or "") if metas else "",
                unit=((metas[0].extra or {}).get("unit", "")) if metas else "",
            )
        )
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' for the known name most like `name`, or nothing."""
    import difflib  # noqa: PLC0415 what is hardly ever needed takes no memory in five processes

    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


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
    from_file = _from_file(Path(config), service, known, borrowed_table) if config else {}
    values: dict[str, Any] = {}
    for setting in known:
        for origin, value in (
            (f"flag {setting.flag}", flags.get(setting.attribute)),
            # An empty variable is how compose files and manifests say "not set".
            (f"variable {setting.variable}", environ.get(setting.variable) or None),
            (f"file {config}", from_file.get(setting.name)),
        ):
            if value is not None:
                values[setting.attribute] = _convert(setting, value, origin)
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


def _convert(setting: Setting, value: Any, origin: str) -> Any:
    try:
        return msgspec.convert(value, setting.type, strict=False, dec_hook=_to_path)
    except (msgspec.ValidationError, ValueError) as error:
        unit = f" in {setting.unit}" if setting.unit else ""
        raise Fatal(
            f"setting {setting.name} ({setting.description}{unit}), from {origin}: {error}; "
            f"got {value!r:.80}",
            Fatal.SETTINGS,
        ) from None


def _to_path(kind: type, value: object) -> object:
    if kind is not Path:
        raise NotImplementedError(f"settings of type {kind.__name__}")
    if not isinstance(value, str):
        raise ValueError(f"Expected a path, got {type(value).__name__}")  # noqa: TRY004 as msgspec wants it
    return Path(value)


def _from_file(path: Path, service: str, known: Sequence[Setting], borrowed_table: str) -> dict[str, Any]:
    """The values for one service: the common ones at the top, then those of its own table."""
    import tomllib  # noqa: PLC0415 as above

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Fatal(f"settings file {path}: {error}", Fatal.SETTINGS) from None
    common = {setting.name for setting in settings_of(CommonSettings)}
    top = {name: value for name, value in document.items() if name not in _TABLES}
    for name in _TABLES:
        if not isinstance(document.get(name, {}), dict):
            raise Fatal(f"settings file {path}: expected a table [{name}], got a value", Fatal.SETTINGS)
    own = _flatten(document.get(service, {}))
    for where, table, allowed in (("", top, common), (f"[{service}] ", own, {s.name for s in known})):
        for name in table:
            if name not in allowed:
                hint = nearest(name, allowed | (set() if where else set(_TABLES)))
                raise Fatal(f"settings file {path}: unknown key {where}{name}{hint}", Fatal.SETTINGS)
    wanted = {setting.name for setting in known}
    borrowed = _flatten(document.get(borrowed_table, {}))
    return {**top, **{name: value for name, value in borrowed.items() if name in wanted}, **own}


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat
