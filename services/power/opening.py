# SPDX-License-Identifier: Apache-2.0
"""How each source in use is opened, and the rights that they need.

A source's module is imported here, and only if the source is used.
"""

import functools
from importlib import import_module
from types import ModuleType

from wattline.confine.arguments import NO_NETWORK
from wattline.confine.limits import Limits

from .choice import Choice, choose
from .guarded import Use
from .needs import Needs, union
from .settings import PowerSettings
from .source import Former, Source
from .sources import Entry, Way
from .worker import Worker


def uses(settings: PowerSettings) -> list[Use]:
    """The sources in use, the preferred one first."""
    return [_use(choice, settings) for choice in choose(settings.power_sources)]


def limits() -> Limits[PowerSettings]:
    """The rights that the process keeps: those that its sources need, and no more."""
    return Limits(
        capabilities=lambda settings: needs_of(settings).capabilities,
        families=lambda settings: (*NO_NETWORK, *needs_of(settings).families),
        calls=lambda settings: needs_of(settings).calls,
        ioctls=lambda settings: needs_of(settings).ioctls,
    )


@functools.cache
def needs_of(settings: PowerSettings) -> Needs:
    """The needs of all sources in use. Looked up once, as a source may look at the machine to tell them."""
    return union(needs_of_one(choice.entry, settings) for choice in choose(settings.power_sources))


def needs_of_one(entry: Entry, settings: PowerSettings) -> Needs:
    """The needs of one source, on this machine."""
    tell = getattr(module_of(entry), "needs", None)
    needs = Needs() if tell is None else tell(settings)
    if not isinstance(needs, Needs):
        raise TypeError(f"source {entry.name}: expected needs() to return Needs, got {type(needs).__name__}")
    return needs


def module_of(entry: Entry) -> ModuleType:
    """A source's module."""
    return import_module(f".{entry.module}", __package__)


def _use(choice: Choice, settings: PowerSettings) -> Use:
    entry = choice.entry

    def opened(former: Former, now_ns: int) -> Source:
        source: Source = module_of(entry).open_source(settings, former, now_ns)
        return source

    def in_worker(former: Former, now_ns: int) -> Source:  # noqa: ARG001 the worker opens it at its own time
        period_ns: int = module_of(entry).period_ns(settings)
        return Worker(entry.name, opened, former, period_ns)

    open_ = in_worker if entry.way is Way.WORKER else opened
    return Use(entry.name, choice.rank, entry.way, open_, is_named=choice.is_named)
