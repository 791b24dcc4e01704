# SPDX-License-Identifier: Apache-2.0
"""Entry point of the service: `wattline probe`."""

import sys

from wattline.confine.limits import Limits
from wattline.service import main

from .capabilities import LOADING
from .loop import ProbeStage
from .settings import ProbeSettings

# It starts a compiler first, and gives up the rest once its program is loaded (choose.py).
sys.exit(
    main(
        "probe",
        ProbeSettings,
        ProbeStage,
        limits=Limits(capabilities=lambda _settings: LOADING, is_final=False),
    )
)
