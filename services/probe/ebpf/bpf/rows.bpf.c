/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is counted, and the tables it ends up in.
 *
 * A row is a vector of cumulative values. Each CPU collects them in a small write-back cache, and from there
 * ("spill") adds them to two hashes: cgroups, the truth, and processes, the names within it. All of it is
 * pinned: a reader may come, die and return, and loses nothing.
 *
 * The files are compiled as one text in the order of layout.SOURCES. The loader gives PROCESS_ROWS,
 * CGROUP_ROWS, CPUS, COUNTERS (hardware counters, 0 to 4), and WITH_FREQUENCY, WITH_SELF_FLUSH,
 * WITH_PAGE_FENTRY and WITH_STRUCTURES (0 or 1); with the last one, the places of layout.STRUCTURES.
 */
#include <linux/types.h>

/* A power of two. The kernel takes at most 32 KiB a CPU for all of them, of 64 to 168 bytes each. */
#define CACHE_SLOTS (COUNTERS ? 128 : 256)
#define MILLION 1000000

enum value {
    CPU_NS,
    PAGE_CACHE_HITS, /* from here on, events in the order of enum event */
    NET_TX_SOFTIRQS,
    NET_RX_SOFTIRQS,
    BLOCK_SOFTIRQS,
    FREQUENCY_CYCLES,
};
enum event { PAGE_CACHE_HIT, NET_TX, NET_RX, BLOCK, EVENTS };

#define FIRST_EVENT PAGE_CACHE_HITS
#define FIRST_COUNTER (FREQUENCY_CYCLES + WITH_FREQUENCY)
#define VALUES (FIRST_COUNTER + 3 * COUNTERS) /* per counter: count, enabled ns, running ns */

struct row_t {
    u64 values[VALUES];
};

struct slot_t {
    u64 cgroup_id;
    u32 tgid; /* 0: not in use */
    u32 generation;
    u32 version; /* of the pids' owners, when it was filled */
    u32 unused;
    u64 values[VALUES];
};

struct perf_value_t { /* struct bpf_perf_event_value, part of the kernel's ABI */
    u64 count;
    u64 enabled_ns;
    u64 running_ns;
};

struct account_t {
    u64 stamp_ns;   /* up to when this CPU has been charged */
    u64 start_ns;   /* when its account began; 0 before its first stamp */
    u64 idle_ns;
    u64 offline_ns;
    u64 lost_ns;    /* time for which the cgroup table had no room */
    u64 failed_cgroup_updates;
    u64 failed_process_updates;
};

/*
 * What a CPU works with. Only that CPU touches it, with interrupts off, but for the events. What every switch
 * needs stands together.
 */
struct cpu_t {
    u64 events_bumped; /* changes when one of the events has changed */
    u64 seen_bumped;
    struct account_t account;
    u64 events[EVENTS]; /* bumped by hooks, which interrupts may split: only ever read here */
    u64 seen[EVENTS];
    u64 flushed; /* the newest request to flush itself that it has followed */
#if COUNTERS
    struct perf_value_t counters[COUNTERS];
#endif
    struct slot_t slots[CACHE_SLOTS];
};

struct cgroup_key_t {
    u64 cgroup_id;
    u32 socket;
    u32 departed; /* 1: what removed descendants used */
};

struct process_key_t {
    u64 cgroup_id;
    u32 tgid;
    u32 generation; /* tells apart processes that were given the same pid */
    u32 socket;
    u32 unused;
};

struct cpu_setting_t { /* written by user space, and by on_cpu_frequency */
    u32 socket;
    u32 khz;
};

BPF_PERCPU_ARRAY(cpus, struct cpu_t, 1);
BPF_PERCPU_ARRAY(accounts, struct account_t, 1); /* as they were at the CPU's newest flush */
BPF_ARRAY(epoch, u64, 1); /* CLOCK_MONOTONIC when the counters began; the loader writes it */
BPF_ARRAY(cpu_settings, struct cpu_setting_t, CPUS);
BPF_ARRAY(plugs, u64, CPUS); /* CLOCK_MONOTONIC of the newest step of plugging the CPU in */
BPF_ARRAY(counters_opened, u64, CPUS); /* and of when user space gave it perf events */
BPF_HASH(cgroups, struct cgroup_key_t, struct row_t, CGROUP_ROWS);
BPF_HASH(processes, struct process_key_t, struct row_t, PROCESS_ROWS);

static __always_inline struct cpu_setting_t *setting_of_this_cpu(void)
{
    u32 number = bpf_get_smp_processor_id();

    return cpu_settings.lookup(&number);
}

static __always_inline void add(struct row_t *row, u64 *values)
{
    int i;

#pragma unroll
    for (i = 0; i < VALUES; i++)
        if (values[i])
            __sync_fetch_and_add(&row->values[i], values[i]);
}

/*
 * Adding to a row that may be being created on another CPU: whoever loses that race adds to the winner's row.
 * Written twice, since BCC rewrites map calls only where they name the map itself.
 */
static __always_inline int add_to_cgroup(struct cgroup_key_t *key, u64 *values)
{
    struct row_t *row = cgroups.lookup(key);

    if (!row) {
        struct row_t fresh = {};

        cgroups.insert(key, &fresh);
        row = cgroups.lookup(key);
    }
    if (!row)
        return 0;
    add(row, values);
    return 1;
}

static __always_inline int add_to_process(struct process_key_t *key, u64 *values)
{
    struct row_t *row = processes.lookup(key);

    if (!row) {
        struct row_t fresh = {};

        processes.insert(key, &fresh);
        row = processes.lookup(key);
    }
    if (!row)
        return 0;
    add(row, values);
    return 1;
}

static __always_inline void spill(struct cpu_t *cpu, struct slot_t *slot)
{
    struct cpu_setting_t *setting = setting_of_this_cpu();
    struct cgroup_key_t cgroup = {};
    struct process_key_t process = {};
    int i;

    if (slot->tgid == 0)
        return;
    cgroup.cgroup_id = process.cgroup_id = slot->cgroup_id;
    cgroup.socket = process.socket = setting ? setting->socket : 0;
    process.tgid = slot->tgid;
    process.generation = slot->generation;
    if (!add_to_cgroup(&cgroup, slot->values)) {
        cpu->account.failed_cgroup_updates++;
        cpu->account.lost_ns += slot->values[CPU_NS]; /* lost once: its process must not be charged as well */
    } else if (!add_to_process(&process, slot->values)) {
        cpu->account.failed_process_updates++;
    }
#pragma unroll
    for (i = 0; i < VALUES; i++)
        slot->values[i] = 0;
    slot->tgid = 0;
}
