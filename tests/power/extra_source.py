# SPDX-License-Identifier: Apache-2.0
"""The power service with one more source: `python -m tests.power.extra_source FILE WAY FLAGS`."""

import importlib.util
import runpy
import sys
from pathlib import Path

from services.power import sources
from services.power.sources import Entry, Way


def add(path: Path, way: Way = Way.TICK) -> str:
    """Have the file's source in the table, in front of all; its name."""
    spec = importlib.util.spec_from_file_location(f"services.power.{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    sources.SOURCES = (Entry(module.SOURCE, path.stem, way), *sources.SOURCES)
    return module.SOURCE


if __name__ == "__main__":
    add(Path(sys.argv.pop(1)), Way(sys.argv.pop(1)))
    runpy.run_module("services.power", run_name="__main__")
