# SPDX-License-Identifier: Apache-2.0
"""What the calculator's stage knows of its service, on a machine on paper."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from .paper import Paper
from .world import S


def runtime_of(paper: Paper, ledger: Path, **instead: object) -> SimpleNamespace:
    """A runtime whose frames go nowhere, and for which any error fails the test; `instead`: other parts."""
    parts = {
        "directory": SimpleNamespace(ledger=ledger),
        "node": "paper",
        "boot_id": "boot",
        "interval_ns": S,
        "now_ns": lambda: paper.now_ns,
        "log": SimpleNamespace(info=lambda *_a, **_k: None, error=pytest.fail),
        "count": lambda *words, **_fields: pytest.fail(str(words)),
        "publish": lambda *_a, **_k: None,
        "mark_useful": lambda: None,
    }
    return SimpleNamespace(**parts | instead)
