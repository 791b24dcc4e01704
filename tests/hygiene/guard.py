# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin that removes what a test left, and fails the test if it would have passed.

The same at the end of the run, which comes after Ctrl-C, SIGTERM and SIGHUP as well.
"""

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from . import neighbours, removal, started, traces

_GRACE_S, _GRACE_AFTER_FAILURE_S = 5.0, 0.5  # what was stopped may take this long to be gone
_POLL_S = 0.02
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Belongings:
    """What this run has on the machine at one moment."""

    children: dict[int, started.Child]
    traces: set[traces.Trace]

    def beyond(self, before: "Belongings") -> list[str]:
        """What has come since, in words."""
        children = [
            f"process {pid} ({child.command}{', not waited for' * child.is_zombie})"
            for pid, child in self.children.items()
            if pid not in before.children
        ]
        return children + [str(trace) for trace in sorted(self.new_traces(before))]

    def new_traces(self, before: "Belongings") -> set[traces.Trace]:
        """Those that have come since; not those of a wider fixture that grows, as an engine does."""
        owners = {trace.owner for trace in before.traces}
        return {trace for trace in self.traces - before.traces if trace.owner not in owners}


_temporary = pytest.StashKey[Path]()
_at_start = pytest.StashKey[Belongings]()
_before = pytest.StashKey[Belongings]()
_has_failed = pytest.StashKey[bool]()
_is_inside = pytest.StashKey[bool]()


def look(config: pytest.Config) -> Belongings:
    """What there is now."""
    return Belongings(started.children(), traces.found(config.stash[_temporary]))


def clean(config: pytest.Config, before: Belongings, grace_s: float) -> list[str]:
    """Wait for things to go by themselves, then remove them; in words, what had to be removed."""
    deadline_s = time.monotonic() + grace_s
    while left := (now := look(config)).beyond(before):
        if time.monotonic() > deadline_s:
            removal.end_children(before.children)
            removal.remove(look(config).new_traces(before))
            # What only its process could give up has gone with it; a socket of our own stays.
            stuck = look(config).beyond(Belongings(before.children, before.traces | now.traces))
            return left + [f"{what}, which cannot be removed" for what in stuck]
        time.sleep(_POLL_S)
    started.forget_ended()
    return []


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session):
    """Begin to remember what is started; a signal that ends us is Ctrl-C by another name."""
    started.become_subreaper()
    started.record()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    config = session.config
    config.stash[_temporary] = Path(config._tmp_path_factory.getbasetemp())
    config.stash[_is_inside] = "PYTEST_CURRENT_TEST" in os.environ  # a run that a test has started
    if neighbours.is_alone_at_start():
        _remove_of_ended_runs(config.stash[_temporary])
    config.stash[_at_start] = look(config)


def _remove_of_ended_runs(temporary):
    left = sorted(traces.of_ended_runs(temporary))
    removal.remove(left)
    if left:
        print(f"left behind by runs that were killed, and removed: {'; '.join(map(str, left))}")


def _interrupt(number, _frame):
    raise KeyboardInterrupt(signal.Signals(number).name)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """Wait for other runs outside the test's own timeout."""
    if item.config.stash[_is_inside]:
        return (yield)
    with neighbours.among_neighbours(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item):
    item.stash[_before], item.stash[_has_failed] = look(item.config), False
    return (yield)


@pytest.fixture(autouse=True)
def _what_was_there(request):
    """What fixtures of wider scopes have is theirs until they end."""
    request.node.stash[_before] = look(request.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    item.stash[_has_failed] |= call.excinfo is not None and not call.excinfo.errisinstance(
        pytest.skip.Exception
    )
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """After the last finalizer: whatever is left is removed."""
    has_failed = item.stash[_has_failed]
    try:
        result = yield
    except BaseException:
        has_failed = True
        raise
    finally:
        grace_s = _GRACE_AFTER_FAILURE_S if has_failed else _GRACE_S
        left = clean(item.config, item.stash[_before], grace_s)
        if left:
            item.add_report_section("teardown", "left behind and removed", "\n".join(left))
    if left and not has_failed:
        pytest.fail(f"left behind: {'; '.join(left)}", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_keyboard_interrupt():
    """A second Ctrl-C may end the fixtures' own cleaning, but not pytest's words about the first."""
    with _deaf():
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    """Likewise after the last fixture, whatever ended the run."""
    try:
        return (yield)
    finally:
        if _at_start in session.config.stash:
            _finish(session)


def _finish(session):
    with _deaf():
        left = clean(session.config, session.config.stash[_at_start], _GRACE_S)
    if left:
        print(f"\nleft behind by the run, and removed: {'; '.join(left)}", file=sys.stderr)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@contextlib.contextmanager
def _deaf():
    """No signal that asks us to end is heard meanwhile."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
