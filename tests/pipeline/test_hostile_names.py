# SPDX-License-Identifier: Apache-2.0
"""A process may call itself anything: scrape, tap and logs stay whole."""

import subprocess
import sys
import urllib.request
from contextlib import ExitStack, contextmanager

from prometheus_client.parser import text_string_to_metric_families

from tests.load import in_cgroup

from .books import check_books
from .pipeline import Pipeline

# comm holds 15 bytes.
NAMES = [
    b"\xff\xfe\x80",
    b"\x1b[31mred\x1b[0m",
    b'q"uo\\te"s',
    b"two\nlines",
    b'x"} 1\nfake 2',
    b"\xe2\x80\xae\xe2\x80\xa8",
]
CALL_ITSELF = """
import ctypes, sys
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
print("done", flush=True)
sys.stdin.read()
"""


@contextmanager
def hostile_processes(cgroup):
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                in_cgroup(
                    cgroup,
                    [sys.executable, "-c", CALL_ITSELF, name.hex()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            for name in NAMES
        ]
        for process in running:
            assert process.stdout.readline() == b"done\n"
        yield {process.pid for process in running}


def test_no_name_breaks_anything(run_directory, pin_path, cgroup):
    """Each hostile process has its series; the scrape parses; tap and log lines are whole and printable."""
    # Started after the probe: a process that doesn't run while it watches has no row.
    with ExitStack() as stack:
        pipeline = stack.enter_context(Pipeline(run_directory, pin_path, interval_s="0.5"))
        pipeline.wait_ready()
        hostile = stack.enter_context(hostile_processes(cgroup))

        def all_named():
            found = pipeline.scrape()
            pids = {one.labels.get("pid") for one in found if one.name == "kepler_process_joules_total"}
            return {str(pid) for pid in hostile} <= pids

        pipeline.wait_until(all_named)
        check_books(pipeline.scrape())
        text = pipeline.fetch("/metrics").decode("utf-8")
        families = list(text_string_to_metric_families(text))
        samples = [sample for family in families for sample in family.samples]
        assert len({(s.name, tuple(sorted(s.labels.items()))) for s in samples}) == len(samples)
        assert not [sample for sample in samples if sample.name == "fake"]
        commands = {sample.labels.get("command", "") for sample in samples}
        assert {"\\xff\\xfe\\x80", "\\x1b[31mred\\x1b[0m", 'q"uo\\te"s', "two\\x0alines"} <= commands
        assert all(command.isprintable() for command in commands)
        tapped = subprocess.run(
            [sys.executable, "-m", "wattline.cli", "tap", "--rows", "--count", "6"],
            env=pipeline.environment,
            capture_output=True,
            check=True,
        ).stdout.decode("utf-8")
        assert all(line.isprintable() for line in tapped.split("\n"))
        assert "two\\x0alines" in tapped
        with urllib.request.urlopen(pipeline.url + "/", timeout=10) as response:
            assert response.status == 200
    assert all(line.isprintable() for line in pipeline.log)
