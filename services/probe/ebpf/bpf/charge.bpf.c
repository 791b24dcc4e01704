/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who had the CPU, to the nanosecond.
 *
 * At each context switch the time since this CPU's previous stamp is charged to the task that leaves. At that
 * point the current task is still the leaving one, so helpers say all that is needed and no kernel structure
 * is read: the program runs on any kernel without its headers.
 *
 * flush() does the same as a switch for a task that is still running. User space runs it on each CPU
 * (BPF_PROG_TEST_RUN): on other CPUs it comes as an interrupt, on its own it runs with preemption off.
 * sched_switch runs with interrupts off, so neither lands inside the other.
 */

/* Unplugging and plugging a CPU takes longer than this. */
#define LEAST_OFFLINE_NS MILLION

/* Counts the requests that CPUs flush themselves; see on_sched_switch. */
BPF_ARRAY(flush_requests, u64, 1);

#if COUNTERS
/*
 * Perf events of each CPU, counter by counter. Declared by hand: the flag keeps the events when the loader,
 * who opened them, exits.
 */
#define BPF_F_PRESERVE_ELEMS 0x800
struct perf_events_table_t {
    int key;
    u32 leaf;
    int (*perf_counter_value)(int, void *, u32);
    u32 max_entries;
    int flags;
};
__attribute__((section("maps/perf_array"))) struct perf_events_table_t perf_events = {
    .max_entries = COUNTERS * CPUS,
    .flags = BPF_F_PRESERVE_ELEMS,
};
#endif

/* What the counters did since they were last read here, to a row's values (or to nobody, if idle). */
static __always_inline void take_counters(struct cpu_t *cpu, u64 *values)
{
#if COUNTERS
    u32 number = bpf_get_smp_processor_id();
    int i;

#pragma unroll
    for (i = 0; i < COUNTERS; i++) {
        struct perf_value_t *last = &cpu->counters[i];
        struct perf_value_t now = {};

        if (perf_events.perf_counter_value(i * CPUS + number, &now, sizeof(now)) != 0)
            continue;
        if (now.enabled_ns < last->enabled_ns) {
            /* Another event, which began at 0: this CPU was unplugged meanwhile. */
            last->count = 0;
            last->enabled_ns = 0;
            last->running_ns = 0;
        }
        if (values) {
            values[FIRST_COUNTER + 3 * i] += now.count - last->count;
            values[FIRST_COUNTER + 3 * i + 1] += now.enabled_ns - last->enabled_ns;
            values[FIRST_COUNTER + 3 * i + 2] += now.running_ns - last->running_ns;
        }
        *last = now;
    }
#endif
}

/* Events since the previous switch are the leaving task's; those of an idle CPU are nobody's. */
static __always_inline void take_events(struct cpu_t *cpu, u64 *values)
{
    int i;

    cpu->seen_bumped = cpu->events_bumped;
#pragma unroll
    for (i = 0; i < EVENTS; i++) {
        u64 now = cpu->events[i];

        if (values)
            values[FIRST_EVENT + i] += now - cpu->seen[i];
        cpu->seen[i] = now;
    }
}

/* The slot of a process in the cache, emptied first if it was another's; where the tables are looked into. */
static __always_inline struct slot_t *slot_of(struct cpu_t *cpu, u32 tgid, u64 cgroup_id, u64 now)
{
    u32 zero = 0;
    u32 *version = versions.lookup(&zero);
    struct slot_t *slot = &cpu->slots[tgid & (CACHE_SLOTS - 1)];

    if (!version)
        return 0; /* never: an array's first element exists */
    if (slot->tgid == tgid && slot->cgroup_id == cgroup_id && slot->version == *version)
        return slot;
    spill(cpu, slot);
    slot->version = *version; /* before the owner is asked for: a newer one then shows */
    slot->generation = generation_of(tgid, now);
    slot->tgid = tgid;
    slot->cgroup_id = cgroup_id;
    return slot;
}

/* Time since a stamp in which this CPU was idle, or, where it is long enough for that, not there at all. */
static __always_inline void charge_idle(struct cpu_t *cpu, u64 since, u64 now)
{
    u32 number = bpf_get_smp_processor_id();
    u64 *plugged_ns;

    if (now - since > LEAST_OFFLINE_NS) {
        plugged_ns = plugs.lookup(&number);
        if (plugged_ns && *plugged_ns > since && *plugged_ns < now) {
            cpu->account.offline_ns += *plugged_ns - since;
            since = *plugged_ns;
        }
    }
    cpu->account.idle_ns += now - since;
}

/* Charges the current task for the time since this CPU's previous stamp. */
static __always_inline void charge(struct cpu_t *cpu)
{
    u64 now = bpf_ktime_get_ns();
    u64 since = cpu->account.stamp_ns;
    u64 pid_tgid;
    struct slot_t *slot;

    cpu->account.stamp_ns = now;
    pid_tgid = bpf_get_current_pid_tgid();
    if (cpu->account.start_ns == 0 || pid_tgid == 0) {
        if (cpu->account.start_ns == 0)
            cpu->account.start_ns = now;
        else
            charge_idle(cpu, since, now);
        if (cpu->events_bumped != cpu->seen_bumped)
            take_events(cpu, 0);
        take_counters(cpu, 0);
        return;
    }
    slot = slot_of(cpu, pid_tgid >> 32, bpf_get_current_cgroup_id(), now);
    if (!slot)
        return;
    slot->values[CPU_NS] += now - since;
    if (cpu->events_bumped != cpu->seen_bumped)
        take_events(cpu, slot->values);
#if WITH_FREQUENCY
    {
        struct cpu_setting_t *setting = setting_of_this_cpu();

        if (setting)
            slot->values[FREQUENCY_CYCLES] += (now - since) * setting->khz / MILLION;
    }
#endif
    take_counters(cpu, slot->values);
}

static __always_inline void spill_all(struct cpu_t *cpu)
{
    u32 zero = 0;
    struct account_t *published = accounts.lookup(&zero);
    int i;

    /* A slot is given up even if its process goes on: user space may retire a process, whose pid may then
     * be reused without a new version. */
    for (i = 0; i < CACHE_SLOTS; i++)
        spill(cpu, &cpu->slots[i]);
    if (published)
        *published = cpu->account;
}

int on_sched_switch(void *context)
{
    u32 zero = 0;
    struct cpu_t *cpu = cpus.lookup(&zero);

    if (!cpu)
        return 0;
    charge(cpu);
#if WITH_SELF_FLUSH
    /* For CPUs that must not be interrupted: they flush themselves when they switch anyway. */
    {
        u64 *request = flush_requests.lookup(&zero);

        if (request && cpu->flushed != *request) {
            cpu->flushed = *request;
            spill_all(cpu);
        }
    }
#endif
    return 0;
}

int flush(void *context)
{
    u32 zero = 0;
    struct cpu_t *cpu = cpus.lookup(&zero);

    if (!cpu)
        return 0;
    charge(cpu);
    spill_all(cpu);
    return 0;
}
