# SPDX-License-Identifier: Apache-2.0
"""JSON resources: decoding within bounds, and looking things up in what may have any shape. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NoReturn

Resource = Mapping[str, Any]
Resources = Mapping[str, Resource | None]  # by path; None: the BMC has no such resource

BYTES_MAX = 512 * 1024  # of one resource: the largest known (Power of a large server) have about 100 KB
_PATH_CHARACTERS_MAX = 512
_MEMBERS_MAX = 64  # of a collection; racks have more, one node's BMC has fewer


def decode(data: bytes) -> Resource:
    """A resource. Raises ValueError, saying what is wrong, for anything but one JSON object.

    Numbers with decimals are exact (Decimal), so that their resolution can be seen.
    """
    try:
        value = json.loads(data, parse_float=_exact, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("expected JSON of moderate depth, got arrays or objects nested too deep") from None
    except UnicodeDecodeError:
        raise ValueError("expected JSON in UTF-8, got other bytes") from None
    except ValueError:
        raise ValueError("expected JSON, got something else") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, got {type(value).__name__}")  # noqa: TRY004
    return value


def _exact(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError("its exponent has too many digits") from None


def _refuse(_text: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def at(resource: object, keys: Sequence[str | int]) -> Any:
    """The value at these keys; None if there is none, as for null."""
    for key in keys:
        if isinstance(resource, Mapping) and isinstance(key, str):
            resource = resource.get(key)
        elif isinstance(resource, list) and isinstance(key, int) and 0 <= key < len(resource):
            resource = resource[key]
        else:
            return None
    return resource


def text_at(resource: object, *keys: str) -> str:
    """The text at these keys; empty if there is none."""
    value = at(resource, keys)
    return value if isinstance(value, str) else ""


def link(resource: object, *keys: str) -> str:
    """The path that a link leads to; empty if there is none or it isn't one of this BMC's own."""
    return own_path(text_at(resource, *keys, "@odata.id"))


def links(resource: object, *keys: str) -> list[str]:
    """The paths of a list of links (Members, Links.Contains)."""
    value = at(resource, keys)
    found = [link(one) for one in value[:_MEMBERS_MAX]] if isinstance(value, list) else []
    return [path for path in found if path]


def own_path(path: str) -> str:
    """The path if it is a plain one of a resource, without a trailing slash; else empty.

    It becomes part of a request: no other host, no control characters, no way out of /redfish/.
    """
    plain = path.isascii() and path.isprintable() and len(path) <= _PATH_CHARACTERS_MAX
    if not plain or not path.startswith("/redfish/") or "//" in path or "/.." in path:
        return ""
    if any(character in path for character in ' "<>\\^`{|}?#'):
        return ""
    return path.rstrip("/")


def is_in_use(resource: object) -> bool:
    """False for a part that says it is absent or off: then it has no reading."""
    return text_at(resource, "Status", "State") not in ("Absent", "Disabled", "UnavailableOffline")


def numbered(resource: object, key: str) -> Iterator[tuple[int, Any]]:
    """The entries of an array with their places."""
    value = at(resource, (key,))
    if isinstance(value, list):
        yield from enumerate(value[:_MEMBERS_MAX])
