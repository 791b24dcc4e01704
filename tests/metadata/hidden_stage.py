# SPDX-License-Identifier: Apache-2.0
"""Metadata as an ordinary user on a proc file system of its own, in its own mount namespace.

Arguments: DIRECTORY OPTIONS UID. Each line on standard input, PID START, is a frame with that process, whose
cgroup has no path; each line of output is what metadata then says, as JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from .machine import Stage, activity, own_containers

_NOBODYS_CGROUP = 2**40


def main() -> None:
    """Mount, give up root, answer."""
    place, options, uid = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    subprocess.run(["mount", "-t", "proc", "-o", options, "proc", str(place)], check=True)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    stage = Stage(place)
    for number, line in enumerate(sys.stdin, 1):
        pid, start = map(int, line.split())
        frame = stage.take(activity(number, [(_NOBODYS_CGROUP, pid, start, 0, "sh")]))
        said = [line for event in ("processes_hidden", "processes_visible") for line in stage.said(event)]
        sources = {source.name: (source.up, source.reason) for source in frame.sources}
        print(json.dumps([own_containers(frame).get(pid), sources["processes"], said]), flush=True)


if __name__ == "__main__":
    main()
