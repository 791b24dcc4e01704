# SPDX-License-Identifier: Apache-2.0
"""One setting: its spellings, its meaning, which values it takes, and the words for a wrong one. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Meta, Struct

from .errors import Fatal
from .setting_owners import variable

_GOT_CHARACTERS_MAX = 80

Check = Callable[[str], object]


def meaning(
    text: str,
    unit: str = "",
    *,
    choices: Sequence[str] = (),
    expected: str = "",
    check: Check | None = None,
    **limits: Any,
) -> Meta:
    """The meaning of a setting, its unit, and the values that it takes.

    `choices`: all values there are. `expected`: the form of a text in words, with an example. `check`: raises
    ValueError, saying what is wrong, for a text that is not of that form. `limits`: as msgspec.Meta has them.
    """
    extra = {"unit": unit, "choices": tuple(choices), "expected": expected, "check": check}
    return Meta(description=text, extra=extra, **limits)


@dataclass(frozen=True)
class Setting:
    """One setting as its spellings, its documentation and its errors need it."""

    attribute: str
    name: str
    type: Any
    default: Any
    description: str
    unit: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    form: str = ""
    check: Check | None = None

    @property
    def flag(self) -> str:
        """As on the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """As in the environment."""
        return variable(self.name)

    @property
    def default_text(self) -> str:
        """The default as one would write it."""
        if callable(self.default):
            return "(host name)"
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)

    @property
    def allowed(self) -> str:
        """The values it takes, in short; empty for any text."""
        if self.choices:
            return ", ".join(self.choices)
        if self._kind is bool:
            return "true, false"
        if self.low is not None or self.high is not None:
            return self._range()
        return self.form or ("a path" if self._kind is Path else "")

    @property
    def expected(self) -> str:
        """The values it takes, as the end of "expected …"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self._kind is bool:
            return "true or false"
        if self._kind in (int, float):
            number = "a whole number" if self._kind is int else "a number"
            limits = self._range()
            between = f" {'from' if ' to ' in limits else 'of'} {limits}" if limits else ""
            return f"{number}{between}{f' ({self.unit})' if self.unit else ''}"
        return self.form or ("a path" if self._kind is Path else "text")

    @property
    def _kind(self) -> Any:
        return getattr(self.type, "__origin__", self.type)

    def _range(self) -> str:
        if self.low is None:
            return "" if self.high is None else f"up to {self.high}"
        return f"{self.low} or more" if self.high is None else f"{self.low} to {self.high}"

    def convert(self, value: Any, origin: str) -> Any:
        """A value as text or as TOML has it, in the setting's own type.

        Raises Fatal(SETTINGS) with the setting, `origin` (where the value is from), expected and got.
        """
        try:
            converted = msgspec.convert(value, self.type, strict=False, dec_hook=_to_path)
        except (msgspec.ValidationError, ValueError):
            raise self._wrong(value, origin, self._nearest(value)) from None
        if isinstance(converted, float) and not math.isfinite(converted):
            raise self._wrong(value, origin)
        if isinstance(converted, str) and "\0" in converted:
            raise self._wrong(value, origin, ": there is a NUL character in it")
        if self.choices and converted not in self.choices:
            raise self._wrong(value, origin, self._nearest(value))
        if self.check is not None:
            try:
                self.check(converted)
            except ValueError as error:
                raise self._wrong(value, origin, f": {error}" if str(error) else "") from None
        return converted

    def _nearest(self, value: Any) -> str:
        return nearest(value, self.choices) if isinstance(value, str) else ""

    def _wrong(self, value: Any, origin: str, more: str = "") -> Fatal:
        got = f"{value!r:.{_GOT_CHARACTERS_MAX}}"
        return Fatal(
            f"setting {self.name}, from {origin}: expected {self.expected}, got {got}{more}", Fatal.SETTINGS
        )


def settings_of(settings_type: type[Struct]) -> list[Setting]:
    """All settings of a service, in the order they are declared."""
    found = []
    for entry in msgspec.structs.fields(settings_type):
        metas = [meta for meta in getattr(entry.type, "__metadata__", ()) if isinstance(meta, Meta)]
        meta = metas[0] if metas else Meta()
        extra = meta.extra or {}
        default = entry.default if entry.default is not msgspec.NODEFAULT else entry.default_factory
        found.append(
            Setting(
                attribute=entry.name,
                name=entry.encode_name,
                type=entry.type,
                default=default,
                description=meta.description or "",
                unit=extra.get("unit", ""),
                choices=extra.get("choices", ()),
                low=meta.ge,
                high=meta.le,
                form=extra.get("expected", ""),
                check=extra.get("check"),
            )
        )
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' for the known name most like `name`, or nothing."""
    import difflib  # noqa: PLC0415 what is hardly ever needed takes no memory in five processes

    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def _to_path(kind: type, value: object) -> object:
    if kind is not Path:
        raise NotImplementedError(f"settings of type {kind.__name__}")
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("not a path")
    return Path(value)
