# SPDX-License-Identifier: Apache-2.0
"""The stage on a proc file system on paper, with hypervisors among the processes."""

import tracemalloc

import pytest

from services.metadata.machines import machines
from services.metadata.machines.names import SETTLE_NS
from tests.calculator.world import S
from wattline.wire.frames import PROCESS_ENDED

from .machine import FakeProc, Stage, activity

U = "c7a5fdbd-edaf-9455-926a-d65c16db1809"
A, B = "a1" * 32, "b2" * 32
QEMU = "qemu-system-x86"
LIBVIRT, PROXMOX = r"/machine.slice/machine-qemu\x2d1\x2dweb.scope/libvirt", "/qemu.slice/101.scope"
WORD = "hunter2"


class Proc(FakeProc):
    """Processes with a command line and an owner."""

    def __init__(self, path, *, cgroup1=False):
        super().__init__(path, cgroup1=cgroup1)

    def run(self, pid, start, *arguments, uid=0, parent=1, cgroup="/"):
        self.start(pid, start, cgroup)
        line = b"".join(argument.encode("utf-8", "surrogateescape") + b"\0" for argument in arguments)
        (self.path / str(pid) / "cmdline").write_bytes(line)
        status = f"Name:\tp\nPPid:\t{parent}\nUid:\t{uid}\t0\t0\t0\n"
        (self.path / str(pid) / "status").write_text(status, encoding="ascii")

    def end(self, pid):
        for file in (self.path / str(pid)).iterdir():
            file.unlink()
        (self.path / str(pid)).rmdir()


@pytest.fixture
def proc(tmp_path):
    return Proc(tmp_path / "proc")


def own(frame):
    """Machine by pid, of processes that have one of their own."""
    rows = frame.processes
    return {pid: found for pid, found in zip(rows.pid, rows.vm_id, strict=False) if found}


def called(frame):
    """Name, uuid and hypervisor by machine."""
    rows = frame.machines
    empty = [""] * len(rows)
    columns = zip(rows.vm_name, rows.uuid or empty, rows.hypervisor or empty, strict=True)
    return dict(zip(rows.vm_id, columns, strict=True))


def test_a_guest_of_libvirt_has_its_cgroups_id_and_its_processs_name(proc):
    """The cgroup says which machine it is, the command line what it is called; one id, not two."""
    proc.run(7, 100, "/usr/bin/qemu-system-x86_64", "-name", "guest=web-server,debug-threads=on", "-uuid", U)
    proc.run(8, 100, "/usr/bin/kvm", "-id", "101", "-name", "db", "-smbios", f"type=1,uuid={U}")
    rows = [(2, 7, 100, 0, QEMU), (3, 8, 100, 0, "kvm")]
    frame = Stage(proc.path).take(activity(S, rows, {2: f"{LIBVIRT}/emulator", 3: PROXMOX}))
    assert own(frame) == {}
    assert frame.cgroups.vm_id == ["machine-qemu-1-web", "qemu-101"]
    assert called(frame) == {
        "machine-qemu-1-web": ("web-server", U, "qemu"),
        "qemu-101": ("db", U, "qemu"),
    }


def test_a_guest_without_a_cgroup_is_a_machine_of_its_own(proc):
    """On the host and in a container: its id has its uuid, else pid and start, and its owner."""
    line = ("qemu-system-x86_64", "-name", "web", "-uuid", U)
    proc.run(7, 100, *line)
    proc.run(8, 100, *line, uid=1000)
    proc.run(9, 100, *line, uid=107)
    proc.run(10, 100, "firecracker", "--api-sock", "/run/fire.sock", uid=1000)
    comms = {7: QEMU, 8: QEMU, 9: QEMU, 10: "firecracker"}
    rows = [(3 if pid == 9 else 2, pid, 100, 0, comm) for pid, comm in comms.items()]
    frame = Stage(proc.path).take(activity(S, rows, {2: "/", 3: f"/docker/{A}"}))
    assert own(frame) == {
        7: f"qemu-{U}",
        8: f"qemu-{U}@1000",
        9: f"qemu-{U}@107",
        10: "firecracker-10.100@1000",
    }
    assert called(frame)[f"qemu-{U}@107"] == ("web", U, "qemu")
    assert called(frame)["firecracker-10.100@1000"] == ("fire", "", "firecracker")
    assert frame.cgroups.container_id == ["", A]
    assert frame.cgroups.vm_id == []


def test_the_oldest_of_two_with_one_uuid_has_the_id(proc):
    """The order of rows means nothing."""
    for pid, start in ((7, 300), (8, 200)):
        proc.run(pid, start, "qemu-system-x86_64", "-uuid", U)
    rows = [(2, 7, 300, 0, QEMU), (2, 8, 200, 0, QEMU)]
    assert own(Stage(proc.path).take(activity(S, rows, {2: "/"}))) == {7: "qemu-7.300", 8: f"qemu-{U}"}


def test_a_restart_of_metadata_changes_no_id_and_no_name(proc):
    """Though the other machine of that uuid has ended meanwhile, and the name would be another now."""
    for pid, start in ((7, 300), (8, 200)):
        proc.run(pid, start, "qemu-system-x86_64", "-uuid", U, "-name", f"vm{pid}")
    rows = [(2, 7, 300, 0, QEMU), (2, 8, 200, 0, QEMU)]
    before = Stage(proc.path).take(activity(S, rows, {2: "/"}))
    proc.end(8)
    proc.run(7, 300, "qemu-system-x86_64", "-uuid", U, "-name", "other")
    after = Stage(proc.path, earlier=before).take(activity(2 * S, rows[:1], {2: "/"}))
    assert own(after) == {7: "qemu-7.300"} == {7: own(before)[7]}
    assert called(after) == {"qemu-7.300": ("vm7", U, "qemu")}


def test_a_restart_of_metadata_knows_a_machine_by_any_name(proc):
    """It may have renamed itself since, or have ended with energy that is still to be attributed."""
    for pid in (7, 8, 9):
        proc.run(pid, 100, "qemu-system-x86_64", "-name", f"vm{pid}")
    rows = [(2, pid, 100, 0, QEMU) for pid in (7, 8, 9)]
    before = Stage(proc.path).take(activity(S, rows, {2: "/"}))
    proc.end(8)
    proc.end(9)
    stage = Stage(proc.path, earlier=before)
    rows = [(2, 7, 100, 0, "web"), (2, 8, 100, PROCESS_ENDED, QEMU)]
    for second in (2, 3):
        frame = stage.take(activity(second * S, rows, {2: "/"}))
        assert own(frame) == {7: "qemu-7.100", 8: "qemu-8.100"}
        assert called(frame) == {f"qemu-{pid}.100": (f"vm{pid}", "", "qemu") for pid in (7, 8)}
    assert not stage._stage._machines._ids.waiting()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_name_of_a_previous_run_is_no_later_machines(proc, is_there):
    """Ids by cgroup come again (Proxmox' 101): the next machine of that id has a name of its own."""
    proc.run(7, 100, "/usr/bin/kvm", "-id", "101", "-name", "db", "-uuid", U)
    rows, paths = [(3, 7, 100, 0, "kvm")], {3: PROXMOX}
    before = Stage(proc.path).take(activity(S, rows, paths))
    stage = Stage(proc.path, earlier=before)
    for second in range(2, 15):
        frame = stage.take(activity(second * S, *((rows, paths) if is_there else ([], {}))))
        assert called(frame) == ({"qemu-101": ("db", U, "qemu")} if is_there else {})
    proc.end(7)
    for second in range(15, 1000, 20):
        frame = stage.take(activity(second * S, []))
    assert called(frame) == {}
    proc.run(9, 900, "/usr/bin/kvm", "-id", "101", "-name", "web")
    frame = stage.take(activity(1000 * S, [(4, 9, 900, 0, "kvm")], {4: PROXMOX}))
    assert called(frame) == {"qemu-101": ("web", "", "qemu")}


def test_another_name_of_a_process_changes_no_name_of_its_machine(proc):
    """Nor does it make the row go: what it says then is no hypervisor's command line."""
    proc.run(7, 100, "qemu-system-x86_64", "-uuid", U, "-name", "web")
    stage = Stage(proc.path)
    stage.take(activity(S, [(2, 7, 100, 0, QEMU)], {2: "/"}))
    proc.run(7, 100, "something else")
    frame = stage.take(activity(2 * S, [(2, 7, 100, 0, "qemu-kvm")], {2: "/"}))
    assert (own(frame), called(frame)) == ({7: f"qemu-{U}"}, {f"qemu-{U}": ("web", U, "qemu")})


def test_each_is_asked_once(proc, monkeypatch):
    """Frames that bring nothing new read nothing; another name of the process does, and its id stays."""
    looks = []
    real = machines.ask
    monkeypatch.setattr(machines, "ask", lambda path, *key: looks.append(key) or real(path, *key))
    proc.run(7, 100, "qemu-system-x86_64", "-uuid", U)
    stage = Stage(proc.path)
    for second in range(1, 200):
        frame = stage.take(activity(second * S, [(2, 7, 100, 0, QEMU), (2, 9, 100, 0, "bash")], {2: "/"}))
    assert looks == [(7, 100)]
    proc.run(7, 100, "qemu-kvm", "-name", "x")
    frame = stage.take(activity(200 * S, [(2, 7, 100, 0, "qemu-kvm")], {2: "/"}))
    assert looks == [(7, 100)] * 2
    assert own(frame) == {7: f"qemu-{U}"}


def test_a_wrapper_is_asked_again(proc, monkeypatch):
    """A script of the same name starts the hypervisor in its place; looks become rare, and don't end."""
    looks = []
    real = machines.ask
    monkeypatch.setattr(machines, "ask", lambda path, *key: looks.append(key) or real(path, *key))
    proc.run(7, 100, "/bin/sh", "/usr/local/bin/qemu-system-x86_64", "-uuid", U)
    stage = Stage(proc.path)
    row = [(2, 7, 100, 0, QEMU)]
    for second in range(1, 300):
        assert own(stage.take(activity(second * S, row, {2: "/"}))) == {}
    assert 5 <= len(looks) <= 12
    proc.run(7, 100, "/usr/bin/qemu-system-x86_64", "-uuid", U)
    frames = [stage.take(activity(second * S, row, {2: "/"})) for second in range(300, 370)]
    assert own(frames[-1]) == {7: f"qemu-{U}"}


def test_a_machine_is_remembered_after_its_end(proc):
    """Its last energy may be attributed minutes later; then id and name are dropped."""
    proc.run(7, 100, "qemu-system-x86_64", "-uuid", U, "-name", "web")
    stage = Stage(proc.path)
    stage.take(activity(S, [(2, 7, 100, 0, QEMU)], {2: "/"}))
    stage.take(activity(2 * S, [(2, 7, 100, PROCESS_ENDED, QEMU)], {2: "/"}))
    proc.end(7)
    late = stage.take(activity(300 * S, [(2, 9, 100, 0, "bash")], {2: "/"}))
    assert (own(late), called(late)) == ({7: f"qemu-{U}"}, {f"qemu-{U}": ("web", U, "qemu")})
    later = stage.take(activity(400 * S, [(2, 9, 100, 0, "bash")], {2: "/"}))
    assert (own(later), called(later)) == ({}, {})
    proc.run(8, 900, "qemu-system-x86_64", "-uuid", U)
    new = stage.take(activity(401 * S, [(3, 8, 900, 0, QEMU)], {3: f"/docker/{A}"}))
    assert own(new) == {8: f"qemu-{U}"}  # the id is free


def test_one_that_has_ended_is_not_asked(proc):
    """Activity lists it for some frames more."""
    proc.run(7, 100, "qemu-system-x86_64", "-uuid", U)
    assert own(Stage(proc.path).take(activity(S, [(2, 7, 100, PROCESS_ENDED, QEMU)], {2: "/"}))) == {}


def test_the_rest_of_a_long_command_line_is_not_read(proc):
    """A process can make its own as long as its stack may grow."""
    proc.run(7, 100, "qemu-system-x86_64", "-uuid", U, "x" * 20_000_000)
    tracemalloc.start()
    try:
        frame = Stage(proc.path).take(activity(S, [(2, 7, 100, 0, QEMU)], {2: "/"}))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert own(frame) == {7: f"qemu-{U}"}
    assert peak_bytes < 5_000_000


def test_a_hypervisor_that_moves_into_its_cgroup_is_that_machine(proc):
    """Its own id belongs to what it used before; the machine of the cgroup has its name."""
    proc.run(7, 100, "qemu-system-x86_64", "-uuid", U, "-name", "web")
    stage = Stage(proc.path)
    stage.take(activity(S, [(2, 7, 100, 0, QEMU)], {2: "/"}))
    frame = stage.take(activity(2 * S, [(2, 7, 100, 0, QEMU), (3, 7, 100, 0, QEMU)], {2: "/", 3: LIBVIRT}))
    assert called(frame)["machine-qemu-1-web"] == ("web", U, "qemu")


def test_a_machine_of_cgroup_v1_has_its_name(tmp_path):
    """Where the process itself says in which machine it is."""
    proc = Proc(tmp_path / "proc", cgroup1=True)
    proc.run(7, 100, "qemu-system-x86_64", "-name", "web-server", cgroup=LIBVIRT)
    frame = Stage(proc.path).take(activity(S, [(1, 7, 100, 0, QEMU)], {1: "/"}))
    assert own(frame) == {7: "machine-qemu-1-web"}
    assert called(frame) == {"machine-qemu-1-web": ("web-server", "", "qemu")}


def test_a_machine_whose_process_cannot_be_read_is_called_by_its_path(proc):
    """No command line, no bare machine; libvirt's have the name that their cgroup has."""
    stage = Stage(proc.path)
    row = [(2, 7, 100, 0, QEMU), (3, 8, 100, 0, QEMU)]
    stage._stage._machines._names.look({}, 0, {}.get)
    for _frame in range(3):
        frame = stage.take(activity(S, row, {2: "/", 3: LIBVIRT}))
        assert (own(frame), called(frame)) == ({}, {})
    names = stage._stage._machines._names
    names.look(stage._stage._directory.machines(), frame.mono_ns + SETTLE_NS, {}.get)
    assert names.table().vm_name == ["web"]


def test_nothing_of_a_command_line_is_said(proc):
    """It may hold a password: neither the log nor the frame has more of it than name and uuid."""
    proc.run(7, 100, "qemu-system-x86_64", "-name", "web", "-object", f"secret,id=s,data={WORD}")
    for pid in range(100, 170):
        proc.run(pid, 1, "qemu-system-x86_64", "-vnc", WORD, uid=1000)
    stage = Stage(proc.path)
    rows = [(2, 7, 100, 0, QEMU), *((2, pid, 1, 0, QEMU) for pid in range(100, 170))]
    frame = stage.take(activity(S, rows, {2: "/"}))
    assert called(frame)["qemu-7.100"] == ("web", "", "qemu")
    assert len(own(frame)) == 1 + 64
    assert WORD not in repr(frame)
    assert WORD not in stage.log.stream.getvalue()
    assert len(stage.said("machines_limit")) >= 1


def test_a_crowd_is_asked_bit_by_bit(proc, monkeypatch):
    """No frame asks more than a hundred, and those that came to nothing wait behind new ones."""
    looks = []
    real = machines.ask
    monkeypatch.setattr(machines, "ask", lambda path, *key: looks.append(key) or real(path, *key))
    rows = [(2, pid, 1, 0, QEMU) for pid in range(100, 350)]
    for _cgroup, pid, start, *_rest in rows:
        proc.run(pid, start, "/bin/sh", "qemu-system-x86_64")
    stage = Stage(proc.path)
    counts = []
    for second in (1, 2, 3):
        before = len(looks)
        stage.take(activity(second * S, rows, {2: "/"}))
        counts.append(len(looks) - before)
    assert counts == [100, 100, 100]
    assert {pid for pid, _start in looks} == {*range(100, 350)}


def test_those_that_rename_themselves_hold_up_no_new_one(proc):
    """A user's hundred processes that have another name in each frame; a machine comes after them."""
    crowd = range(100, 200)
    for pid in crowd:
        proc.run(pid, 1, "qemu-system-x86_64", "-name", "x", uid=1000)
    stage = Stage(proc.path)
    for second in range(1, 6):
        rows = [(2, pid, 1, 0, f"qemu-system-{second}") for pid in crowd]
        if second == 3:
            proc.run(7, 100, "qemu-system-x86_64", "-uuid", U)
        if second >= 3:
            rows.append((2, 7, 100, 0, QEMU))
        frame = stage.take(activity(second * S, rows, {2: "/"}))
    assert own(frame)[7] == f"qemu-{U}"


def test_a_machine_beyond_the_limit_has_an_id_once_there_is_room(proc, monkeypatch):
    """Not never, for the one time that it was asked."""
    monkeypatch.setattr("services.metadata.machines.ids.MACHINES_MAX", 2)
    rows = [(2, pid, pid, 0, QEMU) for pid in (7, 8, 9)]
    for pid in (7, 8, 9):
        proc.run(pid, pid, "qemu-system-x86_64", "-name", "x", uid=1000)
    stage = Stage(proc.path)
    assert own(stage.take(activity(S, rows, {2: "/"}))).keys() == {7, 8}
    proc.end(7)
    for second in range(2, 1000, 20):
        frame = stage.take(activity(second * S, rows[1:], {2: "/"}))
    assert own(frame) == {8: "qemu-8.8@1000", 9: "qemu-9.9@1000"}
    assert len(stage.said("machines_limit")) > 0
