# SPDX-License-Identifier: Apache-2.0
"""The labels of pods that a setting chooses. Pure.

Source: Kubernetes, "Labels and Selectors", syntax: an optional prefix (a DNS name of at most 253 characters)
and a slash, then a name of at most 63 characters.
"""

import re

LABELS_MAX = 16
_PREFIX_MAX, _NAME_MAX = 253, 63
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


def parse_labels(text: str) -> tuple[str, ...]:
    """The names in a list with commas, in its order.

    Raises ValueError, saying what is wrong, for a list that is too long and for a name that no label has.
    """
    if not text:
        return ()
    names = tuple(one.strip() for one in text.split(","))
    for name in names:
        _check(name)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice} is there twice")
    if len(names) > LABELS_MAX:
        raise ValueError(f"there are {len(names)}; at most {LABELS_MAX} can be chosen")
    return names


def _check(label: str) -> None:
    prefix, slash, name = label.rpartition("/")
    if not label:
        raise ValueError("there is an empty name in it")
    if slash and (len(prefix) > _PREFIX_MAX or not _PREFIX.fullmatch(prefix)):
        raise ValueError(f"{label!r:.80}: what is before the / is no DNS name of lower-case letters")
    if len(name) > _NAME_MAX:
        raise ValueError(f"{label!r:.80}: a label's name has at most {_NAME_MAX} characters")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{label!r:.80}: a label's name has letters, digits, '-', '_' and '.', with a letter or digit at "
            "both ends"
        )
