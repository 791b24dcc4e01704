# SPDX-License-Identifier: Apache-2.0
"""Tests of the contract between services: docs/wire.md and wattline/wire."""
