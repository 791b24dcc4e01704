# SPDX-License-Identifier: Apache-2.0
"""Output that never blocks: full pipes, readers that pause, readers that have gone."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.pipeline import Pipeline
from wattline.cli.output import Output

_FLOOD = 40_000  # lines of 100 bytes: far more than a pipe and the buffer hold


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        os.close(descriptor)


def read_all(reader):
    """What is in a pipe until nothing more comes for a while; the writer is still open."""
    os.set_blocking(reader, False)
    data, quiet = b"", 0
    while quiet < 20:
        try:
            data += os.read(reader, 1 << 20)
            quiet = 0
        except BlockingIOError:
            quiet += 1
            time.sleep(0.01)
    return data


def test_lines_come_in_order(pipe):
    """Before and after the thread is started, each line once."""
    reader, writer = pipe
    output = Output(writer)
    output.put("zero")
    assert os.read(reader, 100) == b"zero\n"
    output.start()
    for number in range(100):
        output.put(f"line {number}")
    output.close()
    assert os.read(reader, 100_000).decode().splitlines() == [f"line {number}" for number in range(100)]


def test_lines_for_a_full_pipe_are_dropped_and_counted(pipe):
    """The writer goes on; what arrives later says where and how many lines are missing, to the line."""
    reader, writer = pipe
    output = Output(writer)
    output.start()
    for number in range(_FLOOD):
        output.put(f"{number:099}")
    arrived = read_all(reader)
    output.put("after")
    output.close()
    arrived += read_all(reader)
    expected, missing = 0, 0
    *lines, last = arrived.decode().splitlines()
    for line in lines:
        if found := re.fullmatch(r"\((\d+) lines are missing here: the output was not read\)", line):
            missing += int(found[1])
            expected += int(found[1])
        else:
            assert int(line) == expected
            expected += 1
    assert last == "after"
    assert expected == _FLOOD
    assert _FLOOD - missing < 20_000  # no more was held than the bound and the pipe


def test_a_reader_that_has_gone_costs_only_its_lines():
    """A closed pipe is no reason to end."""
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(writer)
    output.start()
    output.put("an unread line")
    output.close()
    os.close(writer)


def test_up_stops_though_its_output_is_not_read(run_directory, pin_path):
    """A full pipe: `up` still answers SIGTERM, stops all five and removes its pins."""
    pipeline = Pipeline(run_directory, pin_path, interval_s="0.2")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb"):
        while True:
            try:
                os.write(writer, b"x" * 4096)
            except BlockingIOError:
                break
        os.set_blocking(writer, True)
        process = subprocess.Popen(
            [sys.executable, "-m", "wattline.cli", "up"],
            env=pipeline.environment,
            stdout=writer,
            stderr=writer,
            start_new_session=True,
        )
        os.close(writer)
        try:
            deadline_s = time.monotonic() + 30
            while not (run_directory / "exporter/last").exists():
                assert time.monotonic() < deadline_s
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
        finally:
            process.kill()
            process.wait()
    assert not pin_path.exists()
    assert not list(run_directory.glob("*/pid"))


def test_up_without_standard_streams(run_directory, pin_path):
    """Started with all three closed: the pipeline runs, nothing else gets their numbers, SIGTERM ends it."""
    pipeline = Pipeline(run_directory, pin_path)
    closed = 'exec "$@" <&- >&- 2>&-'
    command = ["sh", "-c", closed, "sh", sys.executable, "-m", "wattline.cli", "up"]
    process = subprocess.Popen(command, env=pipeline.environment)
    try:
        last = run_directory / "exporter" / "last"
        deadline_s = time.monotonic() + 60
        while not last.exists() and process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert last.exists(), process.poll()
        streams = {str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)}
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    assert streams == {"/dev/null"}
