# SPDX-License-Identifier: Apache-2.0
"""Each service runs with what its own lock installs, and nothing else."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from wattline.pipeline import SERVICES

# Imports every module of a service where all other third-party packages look as if they weren't installed.
IMPORT_ALL = """
import importlib, pkgutil, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"{name} is not in this service's lock", name=name)

service, *hidden = sys.argv[1:]
for name in hidden:
    sys.modules.pop(name, None)  # an environment's own set-up may have loaded it
sys.meta_path.insert(0, NotInstalled())
package = importlib.import_module(f"services.{service}")
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert "bcc" not in sys.modules, "BCC belongs to the loader's run, not to an import"
"""


ROOT = Path(__file__).parents[2]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(name: str) -> set[str]:
    """Names of the distributions in requirements/NAME.txt."""
    text = (ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z0-9-]+)==", text, flags=re.MULTILINE))


def hidden_from(service: str) -> list[str]:
    """Top-level modules of installed distributions that the service's lock doesn't bring."""
    allowed = locked(service) | {"wattline"}
    return [
        module
        for module, owners in metadata.packages_distributions().items()
        if not {normal(owner) for owner in owners} & allowed
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_only_its_own_lock(service):
    """Every module of a service can be imported where only requirements/SERVICE.txt is installed."""
    hidden = hidden_from(service)
    assert "hypothesis" in hidden
    assert ("prometheus_client" in hidden) == (service != "exporter")
    assert ("numpy" in hidden) == (service != "calculator")
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, service, *hidden], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
