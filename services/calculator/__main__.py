# SPDX-License-Identifier: Apache-2.0
"""Entry point of the service: `wattline calculator`."""

import os
import sys

# Sums of small columns need no threads of BLAS, whose buffers take megabytes. It looks when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from wattline.confine.limits import Limits
from wattline.service import main

from .loop import CalculatorStage
from .settings import CalculatorSettings

sys.exit(
    main(
        "calculator",
        CalculatorSettings,
        CalculatorStage,
        topics=("activity", "metadata", "power"),
        phase_ratio=0.5,
        # A recording may be another user's.
        limits=Limits(capabilities=lambda settings: ("CAP_DAC_READ_SEARCH",) if settings.replay else ()),
    )
)
