# SPDX-License-Identifier: Apache-2.0
"""A scrape as numbers, as `wattline selftest` reads it."""

from wattline.selftest.scrape import Series, read

__all__ = ["Series", "read"]
