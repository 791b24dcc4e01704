# SPDX-License-Identifier: Apache-2.0
"""Entry point of the service: `wattline metadata`."""

import sys

from wattline.service import main

from .loop import MetadataStage
from .rights import LIMITS
from .settings import MetadataSettings

sys.exit(main("metadata", MetadataSettings, MetadataStage, topics=("activity",), limits=LIMITS))
