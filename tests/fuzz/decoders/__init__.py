# SPDX-License-Identifier: Apache-2.0
"""One module per decoder: its seeds, and what it promises."""
