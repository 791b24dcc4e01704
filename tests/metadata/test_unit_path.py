# SPDX-License-Identifier: Apache-2.0
"""Units of host processes, and the names of those that are new at each start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.metadata.unit_path import is_only_slices, kind_of, unit_of

UUID = "8f1c2d3e-4a5b-4c6d-8e7f-0123456789ab"
HEX = "0123456789abcdef" * 2
LONG = "a" * 248


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("run-u1.service", "run-u23.service", f"run-r{HEX}.service", "run-p1-i2.service"), "run-.service"),
        (("run-1.scope", "run-u77.scope"), "run-.scope"),
        (("run-u1-backup.service", "run-u22-backup.service"), "run-backup.service"),
        (("dbus-:1.2-org.x.Y@0.service", "dbus-:1.345-org.x.Y@17.service"), "dbus-org.x.Y@.service"),
        (("session-1.scope", "session-4711.scope", "session-c2.scope"), "session-.scope"),
        (("sshd@1-192.0.2.1:22-192.0.2.2:99.service", "sshd@22-[::1]:22-[::1]:5.service"), "sshd@.service"),
        (
            ("systemd-coredump@0-1-0.service", "systemd-coredump@17-4711-1000.service"),
            "systemd-coredump@.service",
        ),
        ((f"snap.a.b-{UUID}.scope", f"snap.a.b.{UUID}.scope"), "snap.a.b-.scope"),
        (("app-flatpak-org.x.Y-12.scope", "app-flatpak-org.x.Y-3456789.scope"), "app-flatpak-org.x.Y-.scope"),
        ((f"app-firefox@{HEX}.service",), "app-firefox@.service"),
        ((f"vte-spawn-{UUID}.scope",), "vte-spawn-.scope"),
        (("kitty-1-0.scope", "kitty-222-13.scope"), "kitty-.scope"),
        (("buildah-buildah1234.scope", "buildah-buildah567890.scope"), "buildah-buildah-.scope"),
        ((f"libpod-conmon-{HEX}{HEX}.scope",), "libpod-conmon-.scope"),
        (
            ("libcontainer-1234-systemd-test-x.scope", "libcontainer-7-systemd-test-x.scope"),
            "libcontainer-systemd-test-x.scope",
        ),
        ((r"a\x2d12\x2db-3-4-c-5.scope", r"a\x2d1\x2db-c-67.scope"), r"a\x2db-c-.scope"),
    ],
)
def test_names_that_are_new_at_each_start_are_one_unit(names, kind):
    """Else each start would open a series, for ever."""
    assert {kind_of(name) for name in names} == {kind}


@pytest.mark.parametrize(
    "name",
    [
        "cron.service",
        "postgresql@14-main.service",
        "getty@tty1.service",
        "user@1000.service",
        "php8.2-fpm.service",
        "k3s.service",
        "web-2.service",
        "web-2-blue.service",
        "app-python3.11-x.scope",
        "run-backup.service",
        "dbus-org.freedesktop.login1.service",
        "init.scope",
        "snap.lxd.daemon.service",
    ],
)
def test_names_that_stay_are_kept(name):
    """Digits alone make no name a passing one."""
    assert kind_of(name) == name


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/", ""),
        ("/system.slice", ""),
        ("/system.slice/cron.service", "cron.service"),
        ("/system.slice/cron.service/a.scope/b.service", "cron.service"),
        ("/a/cron.service", ""),
        ("/user.slice/user-1.slice/user@1.service/app.slice/x.service/y.scope", "x.service"),
        ("/user.slice/user-1.slice/user@1.service/app.slice", "user@1.service"),
        ("/user.slice/user-1.slice/user@1.service/tmp/x.service", "user@1.service"),
        ("/openrc.sshd/x", "openrc.sshd"),
        ("/openrc/sshd", "openrc.sshd"),
        ("/openrc", ""),
        ("/lxc.monitor/web1", "lxc.monitor"),
        (f"/{LONG}.service/x", ""),
        (f"/{LONG[:-1]}.service/x", f"{LONG[:-1]}.service"),
        ("/.service", ""),
    ],
)
def test_a_path_tells_its_unit(path, unit):
    """The first component that is no slice; below a user's systemd the user's own."""
    assert unit_of(path) == unit


def test_slices_alone_hold_nothing():
    """The root and slices need no name."""
    assert is_only_slices("/")
    assert is_only_slices("/user.slice/user-1.slice")
    assert not is_only_slices("/user.slice/x")


@given(st.text(max_size=300))
def test_any_path_is_answered(path):
    """A cgroup may have any name; none is an error, and a kind has itself for its kind."""
    unit = unit_of(f"/{path}.scope")
    assert unit == "" or "." in unit
    assert kind_of(unit) == unit or kind_of(kind_of(unit)) == kind_of(unit)
