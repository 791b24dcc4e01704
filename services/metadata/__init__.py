# SPDX-License-Identifier: Apache-2.0
"""Metadata: who each process and cgroup is."""
