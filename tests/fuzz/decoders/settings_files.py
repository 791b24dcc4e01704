# SPDX-License-Identifier: Apache-2.0
"""Settings from a TOML file and from variables: the settings of each service, or Fatal."""

from pathlib import Path
from random import Random

from services.calculator.settings import CalculatorSettings
from services.exporter.settings import ExporterSettings
from services.metadata.settings import MetadataSettings
from services.power.settings import PowerSettings
from services.probe.settings import ProbeSettings
from tests.fuzz.decoder import Decoder, Input
from tests.fuzz.mutate import mutated
from wattline.cli.up import UpSettings
from wattline.errors import Fatal
from wattline.settings import VARIABLES, load, settings_of

TYPES = {
    "probe": ProbeSettings,
    "power": PowerSettings,
    "metadata": MetadataSettings,
    "calculator": CalculatorSettings,
    "exporter": ExporterSettings,
    "up": UpSettings,
}


def _document() -> bytes:
    """A file in which every setting stands with its default."""
    common = {setting.name for setting in settings_of(ExporterSettings)} & {
        setting.name for setting in settings_of(PowerSettings)
    }
    lines = ['node = "node-1"', "interval-s = 0.5"]
    for service, kind in TYPES.items():
        lines.append(f"[{service}]")
        own = [one for one in settings_of(kind) if one.name not in common and one.default_text]
        lines += [f"{setting.name} = {_value(setting.default)}" for setting in own]
    return "\n".join(lines).encode()


def _value(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if isinstance(default, int | float) else f'"{default}"'


SEEDS = (_document(), b"", b'run = "/dev/shm/x"\n[probe]\nprobe.keep = true\nprobe.counters = "cycles"\n')
WORDS = (
    b"=", b"[", b"]", b"[[", b"]]", b"[probe]", b"[up]", b'"', b'"""', b"{", b"}", b"nan", b"inf", b"-inf",
    b"true",
    b"1979-05-27T07:32:00Z", b"07:32:00", b"0x7fffffffffffffffffff", b"[" * 3000, b'"\\u0000"', b"1e309",
    b".",
    b"9" * 5000, b"'''", b"#", b"\r", b"\xff", b"node", b"interval-s", b"0-8191", b":0", b"[::1]:1",
    b"4294967295:0",
)  # fmt: skip


def make(chance: Random) -> bytes:
    """One more input."""
    return mutated(chance, SEEDS, WORDS)


def settings_files(place: Path) -> Decoder:
    path = place / "wattline.toml"
    variables = sorted(VARIABLES - {"WATTLINE_CONFIG"})

    def check(data: Input) -> None:
        """All services look at it, also where one of them refuses it."""
        assert isinstance(data, bytes)
        path.write_bytes(data)
        # A variable can't hold a NUL. What is no UTF-8 comes as surrogates.
        text = data.replace(b"\0", b"").decode("utf-8", "surrogateescape")
        words = text.split() or [""]
        environ = {name: words[number % len(words)] for number, name in enumerate(variables)}
        refused = None
        for service, kind in TYPES.items():
            for argv, names in ((["--config", str(path)], {}), ([], environ)):
                try:
                    load(kind, service, argv, names)
                except Fatal as error:
                    refused = error
        if refused is not None:
            raise refused

    return Decoder(make, check, (Fatal,))
