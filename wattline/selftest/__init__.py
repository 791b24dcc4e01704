# SPDX-License-Identifier: Apache-2.0
"""A machine whose truth is known: meters that follow a law, loads of known size, and the comparison."""
