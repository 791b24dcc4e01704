/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where cgroups are: births and removals as the kernel tells them, so that one that lived for a moment has
 * its path. Only the default hierarchy (cgroup2) counts: ids of different hierarchies collide.
 */
#define PATH_BYTES 1024 /* TRACE_CGROUP_PATH_LEN: the kernel's own events have no longer ones */
#define BPF_F_NO_PREALLOC 1

struct path_t {
    char text[PATH_BYTES];
};

BPF_HASH(removals, u64, u64, CGROUP_ROWS); /* CLOCK_MONOTONIC of removal by cgroup id; 0 while it exists */
BPF_F_TABLE("hash", u64, struct path_t, paths, CGROUP_ROWS, BPF_F_NO_PREALLOC);
BPF_PERCPU_ARRAY(path_buffer, struct path_t, 1); /* too large for the stack */

int on_cgroup_mkdir(struct tracepoint__cgroup__cgroup_mkdir *args)
{
    u32 zero = 0;
    u64 id = args->id, alive = 0;
    struct path_t *path = path_buffer.lookup(&zero);
    struct totals_t *shared = totals.lookup(&zero);

    if (args->root != 0 || !path || !shared)
        return 0;
    bpf_probe_read_kernel_str(path->text, PATH_BYTES, (void *)args + (args->data_loc_path & 0xffff));
    if (paths.update(&id, path) != 0 || removals.update(&id, &alive) != 0)
        __sync_fetch_and_add(&shared->failed_paths, 1);
    return 0;
}

int on_cgroup_rmdir(struct tracepoint__cgroup__cgroup_rmdir *args)
{
    u64 id = args->id;
    u64 *removed_ns;

    if (args->root != 0)
        return 0;
    removed_ns = removals.lookup(&id);
    if (removed_ns)
        *removed_ns = bpf_ktime_get_ns();
    return 0;
}

/*
 * Adds a removed cgroup's row to its parent's departed row and frees it, in one call: whoever asks may die
 * before or after, not in between. Freed first, so that it works in a full table.
 */
int fold(void *context)
{
    u64 *args = context; /* cgroup id, socket, departed, parent's id */
    u32 zero = 0;
    struct cgroup_key_t from = {}, to = {};
    struct cpu_t *cpu = cpus.lookup(&zero);
    struct row_t *row, values;

    from.cgroup_id = args[0];
    from.socket = to.socket = args[1];
    from.departed = args[2];
    to.cgroup_id = args[3];
    to.departed = 1;
    row = cgroups.lookup(&from);
    if (!row || !cpu)
        return 0;
    values = *row;
    cgroups.delete(&from);
    if (!add_to_cgroup(&to, values.values)) {
        cpu->account.failed_cgroup_updates++;
        cpu->account.lost_ns += values.values[CPU_NS];
    }
    return 1;
}
