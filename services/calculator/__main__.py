# SPDX-License-Identifier: Apache-2.0
"""Entry point: python -m services.calculator."""

import os
import sys

# Sums of small columns need no threads of BLAS, whose buffers take megabytes. It looks when it is loaded.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

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
    )
)
