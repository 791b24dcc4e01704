/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What BCC's own header asks of a kernel's configuration. */
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_64BIT 1
