# SPDX-License-Identifier: Apache-2.0
"""Probe: what every process and cgroup did."""
