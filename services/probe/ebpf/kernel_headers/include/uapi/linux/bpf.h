/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* BCC brings its own copy of the kernel's bpf.h; this one only satisfies the include. */
#include <linux/bpf_common.h>
