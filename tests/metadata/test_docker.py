# SPDX-License-Identifier: Apache-2.0
"""Containers' names from an engine's socket, and what becomes of all else when it fails."""

import json
import os
import socket
import subprocess
import time

import pytest

from services.metadata.container_names import PAUSE_MAX_NS
from services.metadata.docker import BadAnswerError, DockerSocket, socket_group
from tests.readable import command
from wattline.errors import Retry

from .engine import FakeEngine, http
from .machine import ROOT, FakeProc, Stage, activity

A, B, C = "a1" * 32, "b2" * 32, "c3" * 32
ROWS = [(300, 20, 5, 0, "sh"), (301, 21, 5, 0, "sh")]
PATHS = {ROOT: "/", 300: f"/docker/{A}", 301: f"/docker/{B}"}
LATER_NS = 10**6 * PAUSE_MAX_NS  # long after any stage's own start


@pytest.fixture
def engine(run_directory):
    with FakeEngine(run_directory / "docker.sock") as engine:
        engine.containers = {A: ["/web_1"], B: ["/web_1/alias", "/db"]}
        yield engine


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path / "proc", cgroup1=False, mount=tmp_path)


def ask(path, *container_ids, seconds=0.5):
    return DockerSocket(str(path)).names(container_ids, time.monotonic() + seconds)


def told(frame):
    table = frame.containers
    return {one: name for one, name in zip(table.container_id, table.container_name, strict=True) if name}


def awaited(frame):
    table = frame.containers
    return {one for one, is_awaited in zip(table.container_id, table.is_awaited, strict=False) if is_awaited}


def names_source(frame):
    return next(source for source in frame.sources if source.name == "docker")


def test_names_come_with_the_first_frame(engine, proc):
    """In the same answer as the container itself, once; a link's name is not the container's."""
    stage = Stage(proc.path, docker=str(engine.path))
    frame = stage.take(activity(LATER_NS, ROWS, PATHS))
    assert told(frame) == {A: "web_1", B: "db"}
    assert names_source(frame).up
    assert told(stage.take(activity(LATER_NS + 1, ROWS, PATHS))) == told(frame)
    assert engine.asked == [None, [A, B]]


def test_many_are_named_with_one_frame(engine, proc):
    """As many questions as that takes."""
    many = {number: f"{number:064x}" for number in range(300, 550)}
    engine.containers = {name: [f"/{number}"] for number, name in many.items()}
    paths = {number: f"/docker/{name}" for number, name in many.items()}
    frame = Stage(proc.path, docker=str(engine.path)).take(activity(LATER_NS, ROWS, {ROOT: "/"} | paths))
    assert told(frame) == {name: str(number) for number, name in many.items()}


def test_only_its_own_runtimes_are_asked_for(engine, proc):
    """Docker knows nothing of another's containers."""
    paths = {
        ROOT: "/",
        300: f"/system.slice/cri-containerd-{A}.scope",
        301: f"/kubepods/podc0ffee00-0000-0000-0000-0000000000/{B}",
    }
    Stage(proc.path, docker=str(engine.path)).take(activity(LATER_NS, ROWS, paths))
    assert engine.asked == [None, [B]]


def test_nobody_is_asked_by_default(proc):
    """No socket, no names, and no source of them."""
    frame = Stage(proc.path).take(activity(LATER_NS, ROWS, PATHS))
    assert told(frame) == {}
    assert [source.name for source in frame.sources] == ["cgroup2"]


def test_an_engine_that_comes_later_is_found(engine, proc, run_directory):
    """Metadata starts without it, says so, and names all when it is there."""
    path = run_directory / "later.sock"
    stage = Stage(proc.path, docker=str(path))
    frame = stage.take(activity(1, ROWS, PATHS))
    assert frame.cgroups.container_id == ["", A, B]
    assert told(frame) == {}
    assert "No such file" in names_source(frame).reason
    engine.path.rename(path)
    frame = stage.take(activity(LATER_NS, ROWS, PATHS))
    assert told(frame) == {A: "web_1", B: "db"}
    assert names_source(frame).up
    assert stage.errors == {"docker_unreachable": 1}


def test_names_outlive_their_engine(engine, proc):
    """One that fails takes nothing away, and is asked again after a while, not with each frame."""
    stage = Stage(proc.path, docker=str(engine.path))
    stage.take(activity(LATER_NS, ROWS[:1], PATHS))
    engine.answer = http(b'{"message":"no"}', "500 Internal Server Error")
    for later_ns in (1, 2, 3):
        frame = stage.take(activity(LATER_NS + later_ns, ROWS, PATHS | {302: f"/docker/{C}"}))
        assert told(frame) == {A: "web_1", B: "db"}
    assert "500 Internal Server Error" in names_source(frame).reason
    assert stage.errors == {"docker_unreachable": 1}
    engine.answer = None
    frame = stage.take(activity(LATER_NS + PAUSE_MAX_NS, ROWS, PATHS))
    assert names_source(frame).up


def test_a_trouble_ends_though_nobody_is_to_be_named(engine, proc):
    """The source is up again as soon as the engine is."""
    engine.answer = http(b"", "503 Service Unavailable")
    stage = Stage(proc.path, docker=str(engine.path))
    engine.answer = None
    frame = stage.take(activity(LATER_NS, [(ROOT, 20, 5, 0, "sh")], {ROOT: "/"}))
    assert names_source(frame).up
    assert engine.asked == [None, None]


BAD = {
    "no JSON": b"<html>",
    "not a list": b'{"Id":"x"}',
    "an id that is none": b'[{"Id":7}]',
    "text that is none": b'[{"Id":"\xff\xfe"}]',
    "nested without end": b'[{"Id":"x","Labels":' + b"[" * 100_000,
    "more elements than all have": b"[" + b'{"Id":""},' * 10_000 + b'{"Id":""}]',
    "larger than all": b"[" + b" " * 4_000_000,
}


@pytest.mark.parametrize("what", BAD)
def test_bad_answers_are_refused(engine, proc, what):
    """Whatever the engine says, metadata goes on, and says what it got."""
    engine.answer = http(BAD[what])
    with pytest.raises(
        BadAnswerError, match=r"expected (Docker's list of|a description of|at most 4000000 bytes)"
    ):
        ask(engine.path, A)
    stage = Stage(proc.path, docker=str(engine.path))
    frame = stage.take(activity(LATER_NS, ROWS, PATHS))
    assert frame.cgroups.container_id == ["", A, B]
    assert told(frame) == {}
    assert not names_source(frame).up


@pytest.mark.parametrize("answer", [b"", b"220 mail ready\r\n", http(b"[]", "404 Not Found"), b"HTTP/1.0 2"])
def test_what_is_no_engine_is_asked_again_later(engine, answer):
    """It may be one later on."""
    engine.answer = answer
    with pytest.raises(Retry, match="expected Docker's API to answer with status 200, got"):
        ask(engine.path, A)


def test_one_bad_description_costs_nobody_else_a_name(engine, proc):
    """A stranger's container may be described by megabytes."""

    def answer(connection):
        bad = B in engine.asked[-1] if engine.asked[-1] else False
        connection.sendall(
            http(BAD["larger than all"] if bad else b'[{"Id":"%s","Names":["/web"]}]' % A.encode())
        )

    engine.answer = answer
    stage = Stage(proc.path, docker=str(engine.path))
    assert told(stage.take(activity(LATER_NS, ROWS, PATHS))) == {A: "web"}
    assert stage.errors == {"docker_answer_refused": 2}
    assert names_source(stage.take(activity(LATER_NS + 1, ROWS, PATHS))).up


def test_one_that_fails_costs_nobody_else_a_name(engine, proc):
    """Whatever the engine can't do with one of them: the others are asked for without it."""

    def answer(connection):
        asked = engine.asked[-1] or []
        found = b'[{"Id":"%s","Names":["/db"]}]' % B.encode() if B in asked else b"[]"
        connection.sendall(http(b"{}", "500 Internal Server Error") if A in asked else http(found))

    engine.answer = answer
    stage = Stage(proc.path, docker=str(engine.path))
    for round_ in range(3):
        frame = stage.take(activity(LATER_NS + round_ * PAUSE_MAX_NS, ROWS, PATHS))
    assert told(frame) == {B: "db"}
    assert engine.asked == [None, [A, B], [A], [B], [A]]


def test_a_slow_engine_names_all_in_time(engine, proc):
    """Fewer at a time; one that needs long for many is not said to be away because little time was left."""
    many = {number: f"{number:064x}" for number in range(300, 550)}
    paths = {number: f"/docker/{name}" for number, name in many.items()}

    def answer(connection):
        asked = engine.asked[-1] or []
        time.sleep(0.008 * len(asked))
        found = [{"Id": key, "Names": ["/" + key[-4:]]} for key in asked]
        connection.sendall(http(json.dumps(found).encode()))

    engine.answer = answer
    stage = Stage(proc.path, docker=str(engine.path))
    for round_ in range(30):
        frame = stage.take(activity(LATER_NS + round_ * PAUSE_MAX_NS, ROWS, {ROOT: "/"} | paths))
        if len(told(frame)) == len(many):
            break
    assert len(told(frame)) == len(many)
    assert names_source(stage.take(activity(LATER_NS + 31 * PAUSE_MAX_NS, ROWS, {ROOT: "/"} | paths))).up


def test_containers_without_names_have_none(engine):
    """An engine need not have given any."""
    engine.answer = http(b'[{"Id":"%s","Names":null},{"Id":"b"}]' % A.encode())
    assert ask(engine.path, A) == {A: "", "b": ""}
    engine.answer = http(b"null")
    assert ask(engine.path, A) == {}


def test_an_engine_that_drips_is_not_waited_for(engine):
    """A question has a time, not each byte of its answer."""

    def drip(connection):
        for byte in http(b"[]") * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    engine.answer = drip
    begun_s = time.monotonic()
    with pytest.raises(Retry, match="no answer in time"):
        ask(engine.path, A)
    assert time.monotonic() - begun_s < 5  # a thousand answers would take a quarter of an hour


def test_one_that_hangs_is_told_apart(run_directory):
    """Nobody accepts: at first that is silence, then there is no room for more."""
    path = run_directory / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(0)
        with pytest.raises(Retry, match="no answer in time"):
            ask(path, seconds=0.05)
        with pytest.raises(Retry, match="takes no more connections: does the engine hang"):
            ask(path, seconds=5)


def test_each_trouble_has_its_cure(run_directory):
    """What is there is told apart: nothing, nobody who listens, no socket."""
    path = run_directory / "docker.sock"
    with pytest.raises(Retry, match="as this service sees it"):
        ask(path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
    with pytest.raises(Retry, match="does the engine run"):
        ask(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(Retry, match="that is no socket"):
        ask(path)


AS_A_SERVICE = """
import sys, time
from services.metadata.docker import DockerSocket, socket_group
from wattline.confine.limits import Limits
path, keep = sys.argv[1:]
groups = socket_group(path) if keep == "keep" else ()
Limits(groups=lambda _settings: groups).change_rights("60602:60600", None)
try:
    print(DockerSocket(path).names(["aa"], time.monotonic() + 5))
except Exception as error:
    print(error)
"""


@pytest.mark.parametrize("keep", ["keep", "lose"])
def test_who_changes_its_user_keeps_the_sockets_group(run_directory, readable_directory, tmp_path, keep):
    """As `wattline up` starts it; without, the cure is told. The tests run as root."""
    with FakeEngine(run_directory / "docker.sock") as engine:
        engine.containers = {"aa": ["/web"]}
        os.chown(engine.path, 0, 60999)
        engine.path.chmod(0o660)
        program = tmp_path / "as_a_service.py"
        program.write_text(AS_A_SERVICE, encoding="utf-8")
        started = [*command(program, readable_directory, 60602, 60600), engine.path, keep]
        output = subprocess.run(started, capture_output=True, text=True, check=True).stdout
    if keep == "keep":
        assert output == "{'aa': 'web'}\n"
    else:
        assert "let user 60602 open it: by its group" in output
        assert f"setfacl -m u:60602:rw {engine.path}" in output


def test_roots_own_group_is_not_given_away(run_directory):
    """Nor any, where there is no socket or none is asked for."""
    path = run_directory / "docker.sock"
    assert socket_group(str(path)) == []
    assert socket_group("") == []
    path.touch()
    assert socket_group(str(path)) == []
    os.chown(path, 0, 60999)
    assert socket_group(str(path)) == [60999]
