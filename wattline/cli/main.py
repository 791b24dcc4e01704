# SPDX-License-Identifier: Apache-2.0
"""`wattline COMMAND …`: finds the command; services are started as what they are, processes of their own."""

import errno
import importlib
import os
import sys

from wattline import __version__, isolated
from wattline.errors import Fatal
from wattline.pipeline import PIPELINE, SERVICES
from wattline.standard_streams import have_standard_streams
from wattline.time_namespace import require_kernels_clocks

COMMANDS = {
    "up": "run all five services and keep them running",
    "down": "stop them and remove whatever a crash left",
    "tap": "watch the frames they send each other",
    "record": "keep the frames that the calculator is sent in a file",
    "replay": "run the calculator and the exporter on such a file",
    "health": "tell whether a service works, by whether its content advances",
    "selftest": "measure a simulated machine whose truth is known, and say how far off it is",
}
# Commands that compare this process's clock with the times of frames.
_BY_THE_CLOCK = frozenset({"up", "tap", "record", "health", "selftest"})
_INTERRUPTED = 130  # as shells have it: 128 and SIGINT


def usage() -> str:
    """What can be typed."""
    width = max(map(len, (*COMMANDS, *SERVICES))) + 2
    lines = [f"wattline {__version__}: joules per process and container, with books that close", ""]
    lines += ["usage: wattline COMMAND [FLAG…]      (--help after a command tells its flags)", ""]
    lines += [f"  {name:{width}}{text}" for name, text in COMMANDS.items()]
    lines += ["", "one service alone:", ""]
    lines += [f"  {service.name:{width}}{service.text}" for service in PIPELINE]
    return "\n".join(lines)


def main() -> int:
    """Exit code of the command: 0 ok, 1 failed, 2 usage, 77 permission, 78 settings; 130 interrupted."""
    have_standard_streams()
    command, *arguments = sys.argv[1:] or ["--help"]
    try:
        return _run(command, arguments)
    except Fatal as error:
        print(f"wattline {command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough
        _discard_output()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _discard_output()
        print(f"wattline {command}: the output could not be written: {error.strerror}", file=sys.stderr)
        return Fatal.FAILED


def _run(command: str, arguments: list[str]) -> int:
    if command in SERVICES:
        service = isolated.command(f"services.{command}", *arguments)
        os.execv(service[0], service)
    if command in _BY_THE_CLOCK and not {"-h", "--help"} & set(arguments):
        require_kernels_clocks()
    if command in COMMANDS:
        code = int(importlib.import_module(f"wattline.cli.{command}").main(arguments))
        sys.stdout.flush()  # here, where a full disk can be told
        return code
    if command in ("--help", "-h", "help", "--version"):
        if arguments:
            raise Fatal(f"expected nothing after it, got {' '.join(arguments)!r:.80}", Fatal.USAGE)
        print(__version__ if command == "--version" else usage(), flush=True)
        return 0
    print(f"wattline: there is no command {command!r}\n\n{usage()}", file=sys.stderr)
    return Fatal.USAGE


def _discard_output() -> None:
    """What is left in the buffer must not fail again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
