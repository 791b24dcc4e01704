# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.cli.as_user UID COMMAND…`: a `wattline` command as an ordinary user.

The interpreter may lie where only root can read, so everything is loaded before the user changes.
"""

import contextlib
import importlib
import io
import sys

from wattline.cli.main import COMMANDS, main

from .change_user import become


def _load(command: str) -> None:
    """Import what a command needs, by asking it for its help."""
    module = importlib.import_module(f"wattline.cli.{command}")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        module.main(["--help"])


if __name__ == "__main__":
    uid, *arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        _load(arguments[0])
    become(int(uid))
    sys.argv = ["wattline", *arguments]
    sys.exit(main())
