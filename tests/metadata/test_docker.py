# SPDX-License-Identifier: Apache-2.0
"""Containers' names from an engine's socket, and what becomes of all else when it fails."""

import os
import socket
import stat
import subprocess
import sys

import pytest

from services.metadata.container_names import ASK_AGAIN_NS
from services.metadata.docker import DockerSocket
from wattline.errors import Retry

from .engine import FakeEngine
from .machine import ROOT, FakeProc, Stage, activity

A, B = "a1" * 32, "b2" * 32
ROWS = [(300, 20, 5, 0, "sh"), (301, 21, 5, 0, "sh")]
PATHS = {ROOT: "/", 300: f"/docker/{A}", 301: f"/docker/{B}"}


@pytest.fixture
def engine(tmp_path):
    with FakeEngine(tmp_path / "docker.sock") as engine:
        engine.containers = {A: ["/web_1"], B: ["/web_1/alias", "/db"]}
        yield engine


@pytest.fixture
def proc(tmp_path):
    return FakeProc(tmp_path / "proc", cgroup1=False, mount=tmp_path)


def told(frame):
    return dict(zip(frame.containers.container_id, frame.containers.container_name, strict=True))


def names_source(frame):
    return next(source for source in frame.sources if source.name == "docker")


def test_names_come_with_the_first_frame(engine, proc):
    """In the same answer as the container itself, once; a link's name is not the container's."""
    stage = Stage(proc.path, docker=str(engine.path))
    frame = stage.take(activity(1, ROWS, PATHS))
    assert told(frame) == {A: "web_1", B: "db"}
    assert names_source(frame).up
    assert told(stage.take(activity(2, ROWS, PATHS))) == told(frame)
    assert engine.asked == [None, [A, B]]


def test_nobody_is_asked_by_default(proc):
    """No socket, no names, and no source of them."""
    frame = Stage(proc.path).take(activity(1, ROWS, PATHS))
    assert told(frame) == {}
    assert [source.name for source in frame.sources] == ["cgroup2"]


def test_an_engine_that_comes_later_is_found(engine, proc, tmp_path):
    """Metadata starts without it, says so, and names all when it is there."""
    path = tmp_path / "later.sock"
    stage = Stage(proc.path, docker=str(path))
    frame = stage.take(activity(1, ROWS, PATHS))
    assert frame.cgroups.container_id == ["", A, B]
    assert told(frame) == {}
    assert "No such file" in names_source(frame).reason
    engine.path.rename(path)
    now_ns = ASK_AGAIN_NS * 10**6  # long after the stage's own start
    frame = stage.take(activity(now_ns, ROWS, PATHS))
    assert told(frame) == {A: "web_1", B: "db"}
    assert names_source(frame).up
    assert stage.errors == {"docker_unreachable": 1}


def test_names_outlive_their_engine(engine, proc):
    """One that fails takes nothing away, and is asked again after a while, not with each frame."""
    stage = Stage(proc.path, docker=str(engine.path))
    stage.take(activity(1, ROWS[:1], PATHS))
    engine.answer = (500, b'{"message":"no"}')
    for now_ns in (2, 3, 4):
        frame = stage.take(activity(now_ns, ROWS, PATHS | {302: "/docker/" + "c" * 64}))
        assert told(frame) == {A: "web_1", B: "db"}
    assert "status 500" in names_source(frame).reason
    assert stage.errors == {"docker_unreachable": 1}
    engine.answer = None
    frame = stage.take(activity(4 + ASK_AGAIN_NS, ROWS, PATHS))
    assert names_source(frame).up


def test_a_trouble_ends_though_nobody_is_to_be_named(engine, proc):
    """The source is up again as soon as the engine is."""
    engine.answer = (503, b"")
    stage = Stage(proc.path, docker=str(engine.path))
    engine.answer = None
    frame = stage.take(activity(ASK_AGAIN_NS * 10**6, [(ROOT, 20, 5, 0, "sh")], {ROOT: "/"}))
    assert names_source(frame).up
    assert engine.asked == [None, None]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, b'{"message":"page not found"}'), "status 404"),
        ((200, b"<html>"), "expected Docker's list of containers, got other JSON"),
        ((200, b'{"Id":"x"}'), "expected Docker's list of containers, got other JSON"),
        ((200, b'[{"Id":7}]'), "expected Docker's list of containers, got other JSON"),
        ((200, b"[" + b" " * 4_000_000), "at most 4000000 bytes"),
    ],
)
def test_bad_answers_are_refused_with_their_reason(engine, answer, said):
    """What answers there may be anything."""
    engine.answer = answer
    with pytest.raises(Retry, match=said):
        DockerSocket(str(engine.path)).names([A])


def test_containers_without_names_have_none(engine):
    """An engine need not have given any."""
    engine.answer = (200, b'[{"Id":"%s","Names":null},{"Id":"b"}]' % A.encode())
    assert DockerSocket(str(engine.path)).names([A]) == {A: "", "b": ""}


def test_silence_is_not_waited_for(engine):
    """Energy waits for names, but not for long."""
    engine.silent_s = 1
    with pytest.raises(Retry, match=r"no answer within 0\.5 s"):
        DockerSocket(str(engine.path)).ping()


def test_each_trouble_has_its_cure(tmp_path):
    """What is there is told apart: nothing, nobody who listens, no permission, something else."""
    path = tmp_path / "docker.sock"
    docker = DockerSocket(str(path))
    with pytest.raises(Retry, match="as this service sees it"):
        docker.ping()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        tmp_path.chmod(0o711)
        with pytest.raises(Retry, match=r"give user 65534 .*setfacl -m u:65534:rw"):
            as_nobody(docker.ping)
    with pytest.raises(Retry, match="does the engine run"):
        docker.ping()
    path.unlink()
    path.write_text("")
    with pytest.raises(Retry, match="does the engine run"):
        docker.ping()


@pytest.mark.parametrize(("docker_socket", "loaded"), [("", False), ("/run/docker.sock", True)])
def test_what_it_needs_is_loaded_beforehand(docker_socket, loaded):
    """Before the service becomes a user who can't read it any more, and only if it was asked for."""
    script = (
        "import sys; import services.metadata.loop; from services.metadata.settings import MetadataSettings; "
        f"MetadataSettings(docker_socket={docker_socket!r}).preload(); print('http.client' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == f"{loaded}\n"


def as_nobody(action):
    """Do it as a user who may do nothing (the tests run as root)."""
    os.seteuid(65534)
    try:
        action()
    finally:
        os.seteuid(0)
