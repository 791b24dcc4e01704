# SPDX-License-Identifier: Apache-2.0
"""`wattline COMMAND …`: finds the command; services are started as what they are, processes of their own."""

import importlib
import os
import sys

from wattline import __version__
from wattline.errors import Fatal
from wattline.wire.rundir import SERVICES

COMMANDS = {
    "up": "run all five services and keep them running",
    "down": "stop them and remove whatever a crash left",
    "tap": "watch the frames they send each other",
    "record": "keep the frames that the calculator is sent in a file",
    "replay": "run the calculator and the exporter on such a file",
    "health": "tell whether a service is alive, by the age of its last frame",
    "selftest": "measure a simulated machine whose truth is known, and say how far off it is",
}
_SERVICE_TEXTS = {
    "probe": "what every process and cgroup did (eBPF)",
    "power": "energy of every zone (RAPL, else an estimate)",
    "metadata": "who each process and cgroup is",
    "calculator": "joules per workload, with books that close",
    "exporter": "Prometheus metrics over HTTP",
}


def usage() -> str:
    """What can be typed."""
    width = max(map(len, (*COMMANDS, *SERVICES))) + 2
    lines = [f"wattline {__version__}: joules per process and container, with books that close", ""]
    lines += ["usage: wattline COMMAND [FLAG…]      (--help after a command tells its flags)", ""]
    lines += [f"  {name:{width}}{text}" for name, text in COMMANDS.items()]
    lines += ["", "one service alone:", ""]
    lines += [f"  {name:{width}}{_SERVICE_TEXTS[name]}" for name in SERVICES]
    return "\n".join(lines)


def main() -> int:
    """Exit code of the command: 0 ok, 1 failed, 2 usage, 77 permission, 78 settings."""
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in SERVICES:
        os.execv(sys.executable, [sys.executable, "-m", f"services.{command}", *arguments])
    if command in COMMANDS:
        module = importlib.import_module(f"wattline.cli.{command}")
        try:
            return int(module.main(arguments))
        except Fatal as error:
            print(f"wattline {command}: {error}", file=sys.stderr)
            return error.exit_code
        except BrokenPipeError:
            # `| head` has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    if command in ("--help", "-h", "help"):
        print(usage())
        return 0
    if command == "--version":
        print(__version__)
        return 0
    print(f"wattline: there is no command {command!r}\n\n{usage()}", file=sys.stderr)
    return Fatal.USAGE
