# SPDX-License-Identifier: Apache-2.0
"""Entry point: python -m services.calculator."""

import sys

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
