# SPDX-License-Identifier: Apache-2.0
"""Tests of what every service shares beside the wire: clock, log, settings and the run loop."""
