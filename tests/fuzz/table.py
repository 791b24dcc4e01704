# SPDX-License-Identifier: Apache-2.0
"""Every decoder that has a fuzzer, by name. Each works in a directory of its own."""

from collections.abc import Callable
from pathlib import Path

from .decoder import Decoder
from .decoders.docker_answers import docker_answers
from .decoders.frames import frames
from .decoders.http_requests import http_requests
from .decoders.ledgers import ledgers
from .decoders.paths import paths
from .decoders.powercap import powercap
from .decoders.proc_texts import proc_texts
from .decoders.recordings import recordings
from .decoders.settings_files import settings_files
from .decoders.slot_files import slot_files

DECODERS: dict[str, Callable[[Path], Decoder]] = {
    "frames": frames,
    "recordings": recordings,
    "ledger": ledgers,
    "slots": slot_files,
    "paths": paths,
    "docker": docker_answers,
    "sysfs": powercap,
    "proc": proc_texts,
    "settings": settings_files,
    "http": http_requests,
}
