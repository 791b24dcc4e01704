# SPDX-License-Identifier: Apache-2.0
"""A service that a command starts for a while: its log goes on to standard error, and it is not restarted."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Self

from wattline import isolated
from wattline.errors import Fatal

from .listening import listening_address

_STOP_S = 5.0  # a service promises to stop within 2 s
_saying = threading.Lock()


def say(text: str) -> None:
    """A line to standard error, whole: the threads that read logs write there too."""
    with _saying:
        print(text, file=sys.stderr, flush=True)


class Started:
    """`with Started("exporter", flags)`: stopped at the end if it still runs."""

    def __init__(self, service: str, flags: Sequence[str]) -> None:
        self.service = service
        self._address = ""
        self._address_known = threading.Event()
        # A session of its own: Ctrl-C at the terminal reaches the command alone, which stops it in order.
        self._process = subprocess.Popen(
            isolated.command(f"services.{service}", "--die-with-parent", *flags),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read_log, name=f"log of {service}", daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def address(self) -> str:
        """Where it listens, once it has said so. Raises Fatal if it ends without."""
        self._address_known.wait()
        if not self._address:
            self.wait()
            raise Fatal(f"the {self.service} ended without listening anywhere; its log is above")
        return self._address

    def wait(self) -> None:
        """Wait for its end. Raises Fatal, with its exit code, unless that was a clean one."""
        code = self._process.wait()
        self._reader.join(_STOP_S)
        if code:
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise Fatal(f"the {self.service} ended {how}; its log is above", max(code, Fatal.FAILED))

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_S)

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                text = line.decode("utf-8", "backslashreplace").rstrip("\n")
                say(f"{self.service:10} | {text}")
                if address := listening_address(text):
                    self._address = address
                    self._address_known.set()
        self._address_known.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()
