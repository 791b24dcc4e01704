# SPDX-License-Identifier: Apache-2.0
"""Starts and ends one program as it is told: python -m tests.cluster.keeper LOG COMMAND...

Words on standard input: start, stop (SIGTERM) and kill; each is answered with a line when it is done. Its own
end ends the program as well. So one test may end and start a program that many share, without its being
taken for what that test left.
"""

import subprocess
import sys
from pathlib import Path

_PATIENCE_S = 20


def main(log: str, *command: str) -> None:
    process = None
    with Path(log).open("ab") as output:
        try:
            for line in sys.stdin:
                word = line.strip()
                if word == "start":
                    process = subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
                    )
                elif process is not None:
                    process.kill() if word == "kill" else process.terminate()
                    process.wait(_PATIENCE_S)
                print(word, flush=True)
        finally:
            if process is not None:
                process.kill()
                process.wait()


main(*sys.argv[1:])
