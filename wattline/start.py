# SPDX-License-Identifier: Apache-2.0
"""Run a module of this very copy of Wattline: python -I /…/wattline/start.py MODULE [ARGUMENT…].

Every process that Wattline starts is started so (`wattline.isolated`). `-I` keeps the current directory, the
user's packages and PYTHONPATH off the search path; the code is found from this file's own place. A folder
called `services` or `wattline` anywhere else is never run, even by root in a stranger's directory.
"""

import os
import runpy
import sys

_WATTLINE = os.path.dirname(os.path.realpath(__file__))  # noqa: PTH120 pathlib is not needed to begin


def _search_here_first() -> None:
    """Put this copy before any installed package, after the standard library."""
    home = os.path.dirname(_WATTLINE)  # noqa: PTH120
    packages = [
        number
        for number, entry in enumerate(sys.path)
        if entry.rstrip("/").endswith(("site-packages", "dist-packages"))
    ]
    sys.path.insert(packages[0] if packages else len(sys.path), home)
    # Root must not leave files of its own in a checkout that belongs to a user.
    sys.dont_write_bytecode = os.geteuid() != os.stat(_WATTLINE).st_uid  # noqa: PTH116


def _full_name(module: str) -> str:
    """`services.probe` as it is called here: the wheel has the services inside of `wattline`."""
    installed = os.path.isdir(os.path.join(_WATTLINE, "services"))  # noqa: PTH112, PTH118
    return f"wattline.{module}" if installed and module.startswith("services.") else module


if __name__ == "__main__":
    _search_here_first()
    del sys.argv[0]
    runpy.run_module(_full_name(sys.argv[0]), run_name="__main__", alter_sys=True)
