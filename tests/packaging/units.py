# SPDX-License-Identifier: Apache-2.0
"""The unit files as systemd reads them: sections of options, each with its values line by line."""

from pathlib import Path

from wattline.pipeline import SERVICES

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "packaging/systemd"
ALL_IN_ONE = "wattline.service"
STAGES = {stage: f"wattline-{stage}.service" for stage in SERVICES}
BMC = "power-bmc"  # a second power stream, which is not enabled with the target
EACH = STAGES | {BMC: f"wattline-{BMC}.service"}

# Options of [Service] that say what runs and when; every other one restricts it.
_WHAT_RUNS = {
    "Type",
    "ExecStart",
    "Environment",
    "EnvironmentFile",
    "LoadCredential",
    "Restart",
    "RestartSec",
    "RestartPreventExitStatus",
    "KillMode",
    "TimeoutStopSec",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
}


def read(name: str) -> dict[str, dict[str, list[str]]]:
    """A unit file: values by option by section. configparser would refuse an option given twice."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in (SYSTEMD / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            option, _, value = line.partition("=")
            section.setdefault(option, []).append(value)
    return sections


def words(name: str, section: str, option: str) -> set[str]:
    """All words of an option's values."""
    return {word for value in read(name)[section].get(option, []) for word in value.split()}


def restrictions(name: str) -> dict[str, list[str]]:
    """The options that restrict a service."""
    return {option: values for option, values in read(name)["Service"].items() if option not in _WHAT_RUNS}
