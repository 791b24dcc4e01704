# SPDX-License-Identifier: Apache-2.0
"""A container that only cgroup v1 knows, through the whole pipeline."""

import time

from tests.machine.cgroup1_container import Cgroup1Container

from .books import check_books
from .metrics import Series
from .pipeline import Pipeline

_NAME = "kepler_container_bpf_cpu_time_ms_total"


def cpu_ms(series: list[Series], container_id: str) -> float:
    return float(
        sum(one.value for one in series if one.name == _NAME and one.labels["container_id"] == container_id)
    )


def test_a_container_of_cgroup1_gets_its_cpu_time(run_directory, pin_path, tmp_path):
    """A process that lives longer than a tick in such a container is charged to it, though it is in the root.

    Against its own account in cgroup v1, from when metadata may have asked it.
    """
    with Pipeline(run_directory, pin_path, interval_s="0.5") as pipeline:
        pipeline.wait_ready()
        script = "i=0; while [ $i -lt 4000000 ]; do i=$((i+1)); done; exec sleep 3600"
        with Cgroup1Container(tmp_path / "containers", script) as container:
            ours_ms, before_ms = 0.0, -1.0
            while ours_ms != before_ms or not ours_ms:
                before_ms = ours_ms
                time.sleep(2)  # the exporter changes once a second
                series = pipeline.scrape()
                ours_ms = cpu_ms(series, container.container_id)
            kernels_ms = container.cpu_ns() / 1_000_000
    check_books(series)
    print(f"container: {ours_ms} ms, cgroup v1 says {kernels_ms} ms")
    assert kernels_ms > 1000
    assert 0.8 * kernels_ms < ours_ms < 1.2 * kernels_ms
    assert pipeline.said("containers_by_process")
