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

/* A cgroup of the default hierarchy was made; `text`: its path, somewhere in the kernel's memory. */
static __always_inline void cgroup_made(u64 id, void *text)
{
    u32 zero = 0;
    u64 alive = 0;
    struct path_t *path = path_buffer.lookup(&zero);
    struct totals_t *shared = totals.lookup(&zero);

    if (!path || !shared)
        return;
    bpf_probe_read_kernel_str(path->text, PATH_BYTES, text);
    if (paths.update(&id, path) != 0 || removals.update(&id, &alive) != 0)
        __sync_fetch_and_add(&shared->failed_paths, 1);
}

static __always_inline void cgroup_removed(u64 id)
{
    u64 *removed_ns = removals.lookup(&id);

    if (removed_ns)
        *removed_ns = bpf_ktime_get_ns();
}

/* In two kinds, as those of identities.bpf.c. */
#if WITH_STRUCTURES
static __always_inline u64 word_at(u64 address)
{
    u64 word = 0;

    bpf_probe_read_kernel(&word, sizeof(word), (void *)address);
    return word;
}

static __always_inline u64 id_of(u64 cgroup)
{
    return word_at(word_at(cgroup + CGROUP_NODE) + NODE_ID);
}

/* Number of a cgroup's hierarchy, 0 being the default one. */
static __always_inline u32 hierarchy_of(u64 cgroup)
{
    return (u32)word_at(word_at(cgroup + CGROUP_ROOT) + ROOT_HIERARCHY);
}

int on_cgroup_mkdir(void *context)
{
    u64 *args = context; /* cgroup, path */

    if (hierarchy_of(args[0]) == 0)
        cgroup_made(id_of(args[0]), (void *)args[1]);
    return 0;
}

int on_cgroup_rmdir(void *context)
{
    u64 *args = context; /* cgroup, path */

    if (hierarchy_of(args[0]) == 0)
        cgroup_removed(id_of(args[0]));
    return 0;
}

/*
 * Which fields of our own task and cgroup read the same as the kernel's helpers tell them: 1 for the pid, 2 for
 * the name, 4 for the cgroup's id, 8 for its hierarchy. The loader runs it before anything is attached.
 */
int check_structures(void *context)
{
    u64 task = (u64)bpf_get_current_task();
    u64 cgroup = word_at(word_at(task + TASK_CGROUPS) + SET_CGROUP);
    u64 own[COMM_BYTES / 8] = {}, read[COMM_BYTES / 8] = {};
    int right = 0;

    bpf_get_current_comm(own, COMM_BYTES);
    bpf_probe_read_kernel(read, COMM_BYTES, (void *)(task + TASK_COMM));
    if (pid_of(task) == (u32)bpf_get_current_pid_tgid())
        right |= 1;
    if (own[0] == read[0] && own[1] == read[1])
        right |= 2;
    if (id_of(cgroup) == bpf_get_current_cgroup_id())
        right |= 4;
    if (hierarchy_of(cgroup) == 0)
        right |= 8;
    return right;
}
#else
int on_cgroup_mkdir(struct tracepoint__cgroup__cgroup_mkdir *args)
{
    if (args->root == 0)
        cgroup_made(args->id, (void *)args + (args->data_loc_path & 0xffff));
    return 0;
}

int on_cgroup_rmdir(struct tracepoint__cgroup__cgroup_rmdir *args)
{
    if (args->root == 0)
        cgroup_removed(args->id);
    return 0;
}
#endif

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
