# SPDX-License-Identifier: Apache-2.0
"""What the stages cost and what went wrong in them, by prometheus-client. Pure.

A few dozen series for which floats are good enough; the books are in exposition.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from wattline import __version__
from wattline.wire.frames import SourceState, Status
from wattline.wire.names import safe_name

from .inputs import Inputs, is_fresh, stage_verdict

_NS_PER_S = 1e9


@dataclass(frozen=True)
class HttpCounts:
    """What the exporter's own HTTP server has done: responses by code, connections cut off."""

    responses: Mapping[int, int]
    cut_off: int


def text(inputs: Inputs, http: HttpCounts, now_ns: int) -> bytes:
    """The self-metrics at this time in the text format."""
    registry = CollectorRegistry()
    registry.register(_SelfMetrics(inputs, http, now_ns))
    return generate_latest(registry)


@dataclass(frozen=True, eq=False)  # the registry tells collectors apart by identity
class _SelfMetrics(Collector):
    inputs: Inputs
    http: HttpCounts
    now_ns: int

    def collect(self) -> Iterator[Metric]:
        """The families that have a sample."""
        # What a stage that has gone once used is no news of it: it keeps only its up and its last frame.
        alive = [status for status in self.inputs.statuses.values() if is_fresh(status, self.now_ns)]
        families = chain(
            [_BUILD_INFO, _source_up(self.inputs)],
            _last_frames(self.inputs, self.now_ns),
            _stage_families(alive),
            _http_families(self.http),
        )
        return (family for family in families if family.samples)


_BUILD_INFO = InfoMetricFamily(
    "wattline_build", "1; its labels say which build of Wattline this is.", {"version": __version__}
)


_PER_STAGE_COUNTERS: tuple[tuple[str, str, Callable[[Status], float]], ...] = (
    (
        "wattline_stage_cpu_seconds_total",
        "CPU time in seconds that the stage and its ended children used since its start.",
        lambda status: status.cpu_ns / _NS_PER_S,
    ),
    (
        "wattline_stage_frames_sent_total",
        "Frames that the stage published since its start.",
        lambda status: status.frames_sent,
    ),
    (
        "wattline_stage_late_ticks_total",
        "Ticks that the stage missed because it was late, since its start.",
        lambda status: status.late_ticks,
    ),
)
_PER_STAGE_AND_LABEL_COUNTERS: tuple[tuple[str, str, str, Callable[[Status], Mapping[str, int]]], ...] = (
    (
        "wattline_stage_frames_lost_total",
        "Frames of a topic that never reached the stage, since its start; they cost resolution, no joules.",
        "topic",
        lambda status: status.frames_lost,
    ),
    (
        "wattline_stage_frames_refused_total",
        "Messages that the stage refused because they were no good frames, since its start.",
        "reason",
        lambda status: status.frames_refused,
    ),
    (
        "wattline_stage_errors_total",
        "Errors that the stage met and survived, by event, since its start; its log has the causes.",
        "event",
        lambda status: status.errors,
    ),
)


def _stage_families(statuses: Sequence[Status]) -> Iterator[Metric]:
    for name, meaning, value_of in _PER_STAGE_COUNTERS:
        family = CounterMetricFamily(name, meaning, labels=["stage"])
        for status in statuses:
            family.add_metric([status.producer], value_of(status))
        yield family
    for name, meaning, label, counts_of in _PER_STAGE_AND_LABEL_COUNTERS:
        family = CounterMetricFamily(name, meaning, labels=["stage", label])
        for status in statuses:
            for key, count in _safe_keys(counts_of(status)).items():
                family.add_metric([status.producer, key], count)
        yield family
    failed = GaugeMetricFamily(
        "wattline_stage_failed_turns",
        "Turns of the stage that have failed since its content last advanced.",
        labels=["stage"],
    )
    for status in statuses:
        failed.add_metric([status.producer], status.failed_turns)
    yield failed
    useful = GaugeMetricFamily(
        "wattline_stage_last_useful_timestamp_seconds",
        "Unix time in seconds at which the stage's content last advanced.",
        labels=["stage"],
    )
    for status in statuses:
        if status.useful_mono_ns:
            useful_unix_ns = status.unix_ns - (status.mono_ns - status.useful_mono_ns)
            useful.add_metric([status.producer], useful_unix_ns / _NS_PER_S)
    yield useful
    memory = GaugeMetricFamily(
        "wattline_stage_memory_bytes", "Resident memory of the stage in bytes.", labels=["stage"]
    )
    for status in statuses:
        memory.add_metric([status.producer], status.memory_bytes)
    yield memory


def _safe_keys(counts: Mapping[str, int]) -> dict[str, int]:
    """The same with harmless keys, which the frame does not see to; counts of equal ones are added."""
    safe: dict[str, int] = {}
    for key, count in counts.items():
        safe[safe_name(key)] = safe.get(safe_name(key), 0) + count
    return safe


def _source_up(inputs: Inputs) -> Metric:
    family = GaugeMetricFamily(
        "wattline_source_up",
        "1 if the source of readings works, 0 if not; the log of its service says why.",
        labels=["source"],
    )
    for state in sources(inputs):
        family.add_metric([state.name], state.up)
    return family


def sources(inputs: Inputs) -> Iterable[SourceState]:
    """All sources, each once: one that is down for anybody is down."""
    found: dict[str, SourceState] = {}
    for frame in (inputs.energy, inputs.metadata):
        for state in frame.sources if frame is not None else ():
            if state.name not in found or not state.up:
                found[state.name] = state
    return found.values()


def _last_frames(inputs: Inputs, now_ns: int) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "wattline_stage_up",
        "1 if the stage's content advances, or only waits for another stage that has a fault, else 0.",
        labels=["stage"],
    )
    for stage in dict.fromkeys((*inputs.stages, *inputs.statuses)):
        up.add_metric([stage], stage_verdict(inputs, stage, now_ns).is_up)
    yield up
    last = GaugeMetricFamily(
        "wattline_stage_last_frame_timestamp_seconds",
        "Unix time in seconds of the latest frame that came from the stage, by topic.",
        labels=["stage", "topic"],
    )
    for frame in (inputs.energy, inputs.metadata, *inputs.statuses.values()):
        if frame is not None:
            last.add_metric([frame.producer, frame.topic], frame.unix_ns / _NS_PER_S)
    yield last


def _http_families(http: HttpCounts) -> Iterator[Metric]:
    responses = CounterMetricFamily(
        "wattline_exporter_responses_total",
        "Answers of the exporter's HTTP server since its start, by status code.",
        labels=["code"],
    )
    for code, count in sorted(http.responses.items()):
        responses.add_metric([str(code)], count)
    yield responses
    yield CounterMetricFamily(
        "wattline_exporter_connections_cut_total",
        "Connections that the exporter cut because they took too long or were too many, since its start.",
        value=http.cut_off,
    )
