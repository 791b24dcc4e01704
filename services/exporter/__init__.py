# SPDX-License-Identifier: Apache-2.0
"""Exporter: the books as Prometheus metrics."""
