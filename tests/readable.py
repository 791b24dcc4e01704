# SPDX-License-Identifier: Apache-2.0
"""Python programs that go on as another user, from code that it can read wherever this tree lies."""

import shutil
import sys
from pathlib import Path

from wattline.cli.readable_copy import code_for
from wattline.isolated import HERE

_BEGIN = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def command(program: Path, directory: Path, uid: int, gid: int) -> list[str]:
    """What runs a program of the tests so that this user can read it and all that it imports.

    `directory`: one that the user can enter; copies of the program and, where need be, of Wattline go there.
    """
    code = code_for(uid, gid, print, directory / "code")
    copy = directory / program.name
    shutil.copyfile(program, copy)
    copy.chmod(0o644)
    if code is HERE:
        return [sys.executable, str(copy)]
    return [code.python, "-I", "-S", "-c", _BEGIN, str(code.start.parents[1]), str(copy)]
