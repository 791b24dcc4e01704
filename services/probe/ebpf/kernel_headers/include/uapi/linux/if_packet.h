/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* BCC includes this file; nothing in it is needed. */
