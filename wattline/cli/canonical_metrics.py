# SPDX-License-Identifier: Apache-2.0
"""The part of a scrape that follows from the frames alone, to be compared byte for byte. Pure."""

import re

# What tells of the services that were scraped, of their machine, or of the moment.
_OF_THE_MOMENT = re.compile(
    r"wattline_(stage|exporter)_.*|(process|python)_.*|.*_age_seconds"
    r"|wattline_build_info|kepler_(exporter_)?build_info|kepler_node_(cpu_)?info"
)


def canonical(text: str) -> str:
    """The families in their order, each with its HELP and TYPE, without those of the moment."""
    return "".join(
        line for line in text.splitlines(keepends=True) if not _OF_THE_MOMENT.fullmatch(_family(line))
    )


def _family(line: str) -> str:
    """The name of the metric that a line belongs to."""
    if line.startswith("# "):
        return line.split(maxsplit=3)[2]
    return line.partition("{")[0].split()[0]
