# SPDX-License-Identifier: Apache-2.0
"""python -m services.probe."""

import sys

from wattline.service import main

from .loop import ProbeStage
from .settings import ProbeSettings

sys.exit(main("probe", ProbeSettings, ProbeStage))
