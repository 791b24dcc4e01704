# SPDX-License-Identifier: Apache-2.0
"""All that one scrape shows. Pure."""

from collections.abc import Iterator
from itertools import chain

from wattline import __version__

from . import exposition, kepler_0_8, self_metrics, wattline_metrics
from .inputs import Inputs
from .self_metrics import HttpCounts
from .superseded import fold_superseded


def text(inputs: Inputs, http: HttpCounts, architecture: str, now_ns: int) -> bytes:
    """The text of /metrics at this time. `architecture`: of the processor, as uname has it."""
    shown = inputs.without_old(now_ns)
    books = exposition.text(_books(shown, architecture))
    return books + self_metrics.text(shown, http, now_ns)


def _books(inputs: Inputs, architecture: str) -> Iterator[exposition.Family]:
    build = kepler_0_8.build_info(__version__, architecture)
    if inputs.energy is None:
        return iter([build])
    energy = fold_superseded(inputs.energy)
    return chain([build], kepler_0_8.families(energy, architecture), wattline_metrics.families(energy))
