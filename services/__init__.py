# SPDX-License-Identifier: Apache-2.0
"""The five services: one folder, one process."""
