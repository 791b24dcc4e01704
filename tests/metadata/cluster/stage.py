# SPDX-License-Identifier: Apache-2.0
"""A service with metadata's settings and rights that does nothing but ask a cluster. For test_process.py.

It logs `names` when they change, and what it holds of the package. Its arguments are metadata's; ACCOUNT in
the environment is the directory of the service account.
"""

import os
import sys
from pathlib import Path

from services.metadata.cluster import choice
from services.metadata.cluster.source import open_source
from services.metadata.rights import LIMITS
from services.metadata.settings import MetadataSettings
from tests.metadata.cluster.reading import read_pod
from wattline.runtime import Runtime
from wattline.service import main


class AskingStage:
    def __init__(self, settings: MetadataSettings, runtime: Runtime):
        self._runtime = runtime
        self._source = open_source(settings, runtime.log, runtime.count, read_pod=read_pod)
        self._said = ""

    def on_frame(self, frame):
        """None is asked for."""

    def on_tick(self, _now_ns):
        if self._source is None:
            self._say("off")
            return
        state = self._source.state()
        self._say(",".join(sorted(pod.name for pod in self._source.pods().values())) or state.reason)

    def close(self):
        if self._source is not None:
            self._source.close()

    def _say(self, what):
        if what != self._said:
            self._said = what
            loaded = [name for name in sys.modules if name.startswith("kubernetes")]
            models = [name for name in loaded if ".models" in name or ".api." in name]
            rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
            pss = next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:"))
            self._runtime.log.info("said", what=what, modules=len(loaded), models=len(models), pss_kb=pss)


if __name__ == "__main__":
    choice.SERVICE_ACCOUNT = Path(os.environ["ACCOUNT"])
    sys.exit(main("metadata", MetadataSettings, AskingStage, limits=LIMITS))
