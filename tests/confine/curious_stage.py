# SPDX-License-Identifier: Apache-2.0
"""A service, run by the real loop, that tries what none should: `python curious_stage.py FLAGS`.

It logs the outcome of each attempt. VICTIM in the environment: a file of root's.
"""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from wattline.confine.limits import Limits
from wattline.runtime import Runtime
from wattline.service import main
from wattline.settings import CommonSettings
from wattline.wire.frames import AnyFrame

_VICTIM = Path(os.environ["VICTIM"])


class CuriousSettings(CommonSettings, kw_only=True, frozen=True):
    """As all services have them."""


class CuriousStage:
    """Tries everything once, at its first tick."""

    def __init__(self, _settings: CuriousSettings, runtime: Runtime) -> None:
        self._runtime = runtime

    def on_frame(self, frame: AnyFrame) -> None:
        pass

    def on_tick(self, _now_ns: int) -> None:
        self._told("read", lambda: _VICTIM.read_text(encoding="ascii"))
        self._told("write", lambda: _VICTIM.write_text("changed", encoding="ascii"))
        self._told("run", lambda: subprocess.run(["/bin/true"], check=False))
        self._told("network", lambda: socket.socket(socket.AF_INET).close())
        self._told("own", lambda: (self._runtime.directory.path / "note").write_text("x", encoding="ascii"))

    def close(self) -> None:
        (self._runtime.directory.path / "note").unlink(missing_ok=True)

    def _told(self, name: str, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            self._runtime.log.info("tried", what=name, outcome=errno.errorcode[error.errno or 0])
        else:
            self._runtime.log.info("tried", what=name, outcome="done")


if __name__ == "__main__":
    sys.exit(main("power", CuriousSettings, CuriousStage, limits=Limits()))
