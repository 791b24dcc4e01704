# SPDX-License-Identifier: Apache-2.0
"""python -m wattline.cli: the same as the `wattline` script."""

import sys

from .main import main

sys.exit(main())
