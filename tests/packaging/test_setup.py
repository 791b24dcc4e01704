# SPDX-License-Identifier: Apache-2.0
"""Set-up where something is missing, half-made or refused: it mends that, or says in one line what to do."""

import os
import shutil
import subprocess

import pytest

from .checkout import PYTHON, Checkout

NO_LIBRARIES = "#!/bin/sh\n"
# Prints the library once it was installed, which is when apt-get was asked to.
LIBRARY_IF_INSTALLED = """#!/bin/sh
echo "	libbcc.so.0 (libc6) => /x"
grep -q "install.* libfuse2t64" "$NOTES" && echo "	libfuse.so.2 (libc6) => /x"
exit 0
"""
# Of apt-cache: the packages that it knows; the last word is the one asked for.
KNOWS = """#!/bin/sh
for name; do :; done
case " {} " in *" $name "*) echo "Package: $name" ;; *) exit 100 ;; esac
"""
# As the real one: without that setting a failed download is a warning.
NO_NETWORK = """#!/bin/sh
echo "Err:1 http://deb.invalid/debian stable InRelease"
failed="Failed to fetch http://deb.invalid/debian/InRelease  Temporary failure"
case "$*" in
*Error-Mode=any*) echo "E: $failed" >&2; exit 100 ;;
*) echo "W: $failed" >&2 ;;
esac
"""

# Standard error of pip, which the line is made of.
NO_CONNECTION = """WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError('<pip.\
Connection object at 0x7f>: Failed to establish a new connection: no name')': /simple/numpy/
ERROR: Could not find a version that satisfies the requirement numpy (from versions: none)
ERROR: No matching distribution found for numpy"""


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def failed(result, *words, code=1):
    """It ended with this code, and one line of its errors has all these words."""
    assert result.returncode == code, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("setup: ")
    for word in words:
        assert word in line


def made(result, *words):
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "==> ready"
    for word in words:
        assert word in result.stdout


def test_what_is_installed_is_compared_with_its_hash(checkout):
    """Whatever pip fetches is in a lock; Wattline itself is built by what one has."""
    made(checkout.run(), "making a virtual environment in .venv")
    asked = [line for line in checkout.notes() if line.startswith("pip install")]
    assert [line.split()[-1] for line in asked] == ["requirements/build.txt", "requirements/all.txt", "."]
    assert all("--require-hashes" in line for line in asked[:-1])
    assert "--no-deps" in asked[-1]
    assert "--no-build-isolation" in asked[-1]


def test_nothing_is_done_twice(checkout):
    """When nothing is left it says nothing, and asks nothing of apt, sudo or pip; more is set up on top."""
    made(checkout.run())
    checkout.notes()
    result = checkout.run()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert checkout.notes() == []
    made(checkout.run("selftest"))
    assert checkout.run("run").stdout == ""


def test_what_set_up_goes_by_has_changed(checkout):
    """Other requirements: packages are installed anew, into the same environment."""
    made(checkout.run())
    with (checkout.path / "requirements/all.txt").open("a", encoding="utf-8") as lock:
        lock.write("# changed\n")
    result = checkout.run()
    made(result)
    assert "virtual environment" not in result.stdout


def test_without_root_and_sudo(checkout):
    """77, before anything is made. To lint needs no root."""
    checkout.stand_in("id", "#!/bin/sh\necho 1000\n")
    checkout.without("sudo")
    for purpose in ("run", "selftest", "test"):
        failed(checkout.run(purpose), "needs root", "no sudo", "run this as root", code=77)
    assert not (checkout.path / ".venv").exists()
    checkout.stand_in("ldconfig", NO_LIBRARIES)
    failed(checkout.run("dev"), "the package that has library libbcc.so.0 needs root", code=77)


def test_sudo_refuses(checkout):
    """Its own words are in the line."""
    checkout.stand_in("id", "#!/bin/sh\necho 1000\n")
    checkout.stand_in("sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    checkout.stand_in("ldconfig", NO_LIBRARIES)
    failed(checkout.run(), "apt-get update failed: sudo: a password is required")


def test_sudo_is_for_packages_alone(checkout):
    """A user's environment is made by the user."""
    checkout.stand_in("id", "#!/bin/sh\necho 1000\n")
    made(checkout.run())
    assert not [line for line in checkout.notes() if line.startswith("sudo")]


def test_package_lists_that_cannot_be_fetched(checkout):
    """An old list is not taken for a new one."""
    checkout.stand_in("ldconfig", NO_LIBRARIES)
    checkout.stand_in("apt-get", NO_NETWORK)
    failed(checkout.run(), "apt-get update failed: E: Failed to fetch", "Check the network")


def test_no_apt(checkout):
    """It says so if something is missing, and goes on if nothing is."""
    checkout.without("apt-get")
    checkout.without("apt-cache")
    made(checkout.run())
    checkout.stand_in("ldconfig", NO_LIBRARIES)
    failed(checkout.run("dev"), "library libbcc.so.0", "no apt-get", "docs/install.md")


def test_a_package_under_another_name(checkout):
    """The first one that apt knows is installed, once for all that it has."""
    checkout.stand_in("ldconfig", LIBRARY_IF_INSTALLED)
    checkout.stand_in("apt-cache", KNOWS.format("libfuse2t64"))
    made(checkout.run("selftest"), "installing Debian packages: libfuse2t64")


def test_no_package_of_any_name(checkout):
    """Program, packages tried, cure."""
    checkout.stand_in("ldconfig", LIBRARY_IF_INSTALLED)
    failed(
        checkout.run("selftest"), "library libfuse.so.2", "tried: libfuse2t64 libfuse2", "universe", "by hand"
    )


def test_a_package_without_the_program(checkout):
    """apt's success is no proof."""
    checkout.stand_in("ldconfig", LIBRARY_IF_INSTALLED)
    checkout.stand_in("apt-cache", KNOWS.format("libfuse2"))
    failed(checkout.run("selftest"), "expected library libfuse.so.2", "package libfuse2,", "by hand")


def test_apt_cannot_install(checkout):
    """The first error is in the line, not what came before or after."""
    checkout.stand_in("ldconfig", NO_LIBRARIES)
    checkout.stand_in("apt-cache", KNOWS.format("libbpfcc"))
    held = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt)"
    refuses = f'echo Reading\necho "{held}"\necho "E: again"\nexit 100\n'
    checkout.stand_in("apt-get", f'#!/bin/sh\ncase "$*" in *update) exit ;; esac\n{refuses}')
    failed(checkout.run(), "could not install libbpfcc: E: Could not get lock", "process 7")


def test_python_is_too_old(checkout):
    """What was found, what was expected, what was tried."""
    answers = '[ "$1" = --version ] && echo Python 3.9.2 && exit\necho Traceback >&2\nexit 1\n'
    checkout.stand_in("python3", f"#!/bin/sh\n{answers}")
    checkout.stand_in("apt-cache", KNOWS.format("python3-venv"))
    failed(checkout.run(), "expected Python 3.11 or newer", "found Python 3.9.2", "python3-venv")


def interrupted(path):
    """`python -m venv`, interrupted before it had pip."""
    shutil.rmtree(path)
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", path], check=True)


def empty(path):
    """The same, at its very beginning."""
    shutil.rmtree(path)
    path.mkdir()


def dangling(path):
    """The interpreter was removed from the machine."""
    (path / "bin/python").unlink()
    (path / "bin/python").symlink_to("/nonexistent/python3.11")


def other_version(path):
    """The distribution was upgraded."""
    (path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.2\n", encoding="utf-8")


def broken(path):
    """An interpreter of another machine."""
    (path / "bin/python").unlink()
    (path / "bin/python").write_bytes(b"\x7fELF")
    (path / "bin/python").chmod(0o755)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (interrupted, "it has no pip"),
        (empty, "it is incomplete"),
        (dangling, "its interpreter is gone"),
        (other_version, "it was made for Python 3.9, and its interpreter is now 3."),
        (broken, "its interpreter does not run"),
    ],
)
def test_an_environment_of_no_use_is_made_anew(checkout, harm, said):
    """It says why, also where everything had been set up; then all is as new."""
    made(checkout.run())
    harm(checkout.path / ".venv")
    made(checkout.run(), f"making the virtual environment in .venv anew: {said}")
    assert checkout.run().stdout == ""


def test_a_checkout_that_was_moved(checkout):
    """Its commands would start the interpreter at the old path."""
    made(checkout.run())
    checkout.path = checkout.path.rename(checkout.path.with_name("elsewhere"))
    made(checkout.run(), "anew: it was moved here from another path")


def test_killed_while_packages_were_installed(checkout):
    """What is half installed is not built upon."""
    result = checkout.run(PIP="os.kill(os.getppid(), signal.SIGKILL)")
    assert result.returncode == -9
    made(checkout.run(), "anew: its making was interrupted")


def test_the_index_cannot_be_reached(checkout):
    """One line for all of pip's; the environment is kept, and the next run goes on with it."""
    result = checkout.run(PIP=f"sys.exit({NO_CONNECTION!r})")
    failed(result, "no connection to the index", "Failed to establish a new connection", "Check the network")
    assert "0x7f" not in result.stderr
    assert "anew" not in checkout.run().stdout


def test_an_environment_of_another_user(checkout):
    """Where root once ran it: how to give way."""
    made(checkout.run())
    (checkout.path / ".venv/bin/python").unlink()
    checkout.stand_in("rm", '#!/bin/sh\ncase "$*" in "-rf .venv") echo denied >&2; exit 1 ;; esac\n')
    failed(checkout.run(), "belongs to another user", "sudo rm -r")


def test_with_an_umask_that_hides_everything(checkout):
    """What is installed is public: the services' users read it."""
    made(checkout.run(umask=0o077))
    for path in (checkout.path / ".venv").rglob("*"):
        assert path.is_symlink() or path.stat().st_mode & 0o044 == 0o044, path


def test_sudo_make_run_in_a_users_checkout(checkout):
    """All that is made belongs to the user; without sudo nothing is changed."""
    os.chown(checkout.path, 12345, 12346)
    made(checkout.run(SUDO_UID="12345", SUDO_GID="12346"))
    for path in (checkout.path / ".venv").rglob("*"):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (12345, 12346), path


def test_an_interrupted_download(checkout):
    """What lies in .cache and does not run is unpacked anew, with Debian 13's package of promtool's own."""
    answers = "#!/bin/sh\nexit 0\n"
    there = checkout.path / ".cache/prometheus/usr/bin"
    there.mkdir(parents=True)
    checkout._write(there / "prometheus", answers)
    (checkout.path / ".cache/prometheus_2_amd64.deb").write_text("half")
    checkout.stand_in("apt-cache", KNOWS.format("prometheus promtool"))
    fetches = 'case "$*" in *" download "*) touch prometheus.deb promtool.deb ;; esac\n'
    checkout.stand_in("apt-get", f'#!/bin/sh\necho "$*" >>"$NOTES"\n{fetches}')
    unpacks = f"printf '{answers}' >usr/bin/${{2%.deb}}\n/bin/chmod 755 usr/bin/*\n"
    checkout.stand_in("dpkg-deb", f"#!/bin/sh\nmkdir -p usr/bin\n{unpacks}")
    made(checkout.run("dev"), "unpacking Prometheus")
    assert [line for line in checkout.notes() if line.endswith(" download prometheus promtool")]
    for program in ("prometheus", "promtool"):
        assert subprocess.run([checkout.path / f".venv/bin/{program}"]).returncode == 0
