# SPDX-License-Identifier: Apache-2.0
"""Find BCC's Python module where the distribution installed it.

BCC is not on PyPI (the package of that name there is another thing), so an environment made by venv, pipx or
uv does not have it. Only this one module is taken from the distribution's directory: all others there may be
older than those that Wattline was installed with.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

# Debian and Ubuntu; then Fedora, SUSE and Arch; then BCC built from source.
_INSTALLED = (
    "lib/python3/dist-packages",
    "lib/python3.*/site-packages",
    "lib64/python3.*/site-packages",
    "local/lib/python3*/dist-packages",
    "local/lib/python3*/site-packages",
)
_ONLY_BCC_HAS = "libbcc.py"


def make_importable(usr: Path = Path("/usr")) -> None:
    """Let `import bcc` find BCC: the environment's, else the distribution's. Raises ImportError."""
    spec = importlib.util.find_spec("bcc")
    if spec is not None and any(Path(place, _ONLY_BCC_HAS).is_file() for place in _places(spec)):
        return
    for package in _installed(usr):
        _load(package)
        return
    looked_at = ", ".join(str(usr / pattern) for pattern in _INSTALLED)
    raise ImportError(f"no module bcc in this environment, nor in {looked_at}")


def _places(spec: importlib.machinery.ModuleSpec) -> list[str]:
    return list(spec.submodule_search_locations or ())


def _installed(usr: Path) -> Iterator[Path]:
    for pattern in _INSTALLED:
        for directory in sorted(usr.glob(pattern), reverse=True):
            if (directory / "bcc" / _ONLY_BCC_HAS).is_file():
                yield directory / "bcc"


def _load(package: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        "bcc", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["bcc"]
        raise
