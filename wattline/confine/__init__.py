# SPDX-License-Identifier: Apache-2.0
"""Giving up what a service does not need: user, capabilities, and system calls."""
