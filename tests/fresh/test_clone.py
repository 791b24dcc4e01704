# SPDX-License-Identifier: Apache-2.0
"""The README's first command on a fresh Debian, wherever the clone lies and whoever types it."""

import subprocess
from pathlib import Path

import pytest

from .first_joule import seconds_to_first_joule
from .root import USER, FreshRoot

ROOT = Path(__file__).parents[2]
# Where the clone lies: (directory, user, umask).
_PLACES = {
    "/root": ("/root", "root", "022"),
    "a user's home of mode 0700": (f"/home/{USER}", USER, "022"),
    "below a directory of mode 0750": ("/srv/team/src", "root", "022"),
    "umask 077": ("/opt", "root", "077"),
}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def root(request, tmp_path_factory):
    """A fresh Debian 12 or 13 with git, make and sudo, and the committed state to clone from."""
    with FreshRoot(request.param) as fresh:
        bundle = fresh.path / "srv/wattline.bundle"
        subprocess.run(["git", "bundle", "create", "-q", str(bundle), "HEAD"], cwd=ROOT, check=True)
        (fresh.path / "srv/team/src").mkdir(parents=True)
        (fresh.path / "srv/team").chmod(0o750)
        yield fresh


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", _PLACES)
def test_make_run_measures_joules_from_any_clone(root, tmp_path, place):
    """Joules rise, and no turn of any stage fails, at the first run and the second."""
    directory, user, umask = _PLACES[place]
    root.run("git", "clone", "-q", "/srv/wattline.bundle", "wattline", user=user, umask=umask, cwd=directory)
    where = {"user": user, "umask": umask, "cwd": f"{directory}/wattline"}
    if user == "root":
        del where["user"]
    for run in ("first", "second"):
        log = tmp_path / run
        seconds = seconds_to_first_joule(root, log, ("make", "run"), ".venv/bin/wattline", **where)
        print(f"{root._suite}, {place}: first joule {seconds:.1f} s after the {run} `make run`")
    if user != "root":
        left = root.run("find", ".", "-user", "root", "-not", "-path", "./.git/*", **where)
        assert left == "", "files of root in a user's clone"
