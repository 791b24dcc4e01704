/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who had the CPU, to the nanosecond.
 *
 * At each context switch the time since this CPU's previous stamp is charged to the task that
 * leaves. At that point the current task is still the leaving one, so helpers say all that is
 * needed and no kernel structure is read: the program runs on any kernel without its headers.
 *
 * Three things a reader of this file should know:
 *  - Time goes first into a small per-CPU write-back cache, and from there ("spill") into two
 *    hashes: cgroups, the truth, and processes, the names within it.
 *  - flush() does the same as a switch for a task that is still running. User space runs it on
 *    each CPU (BPF_PROG_TEST_RUN): on other CPUs it comes as an interrupt, on its own it runs with
 *    preemption off. sched_switch runs with interrupts off, so neither lands inside the other.
 *  - Everything is cumulative and pinned: a reader may come, die and return, and loses nothing.
 *
 * PROCESS_ROWS and CGROUP_ROWS are given by the loader.
 */
#include <linux/types.h>

#define CACHE_SLOTS 64 /* a power of two; 64 slots of 32 bytes fill half a page per CPU */
#define COMM_BYTES 16  /* TASK_COMM_LEN, part of the kernel's ABI */
#define CLONE_THREAD 0x00010000 /* include/uapi/linux/sched.h */
#define KTHREADD_TGID 2 /* parent of every kernel thread, in the initial pid namespace */

#define FLAG_KERNEL_THREAD 1

struct slot_t {
    u64 cgroup_id;
    u64 cpu_ns;
    u32 tgid;
    u32 generation;
    u64 reuses;
};

struct cpu_t {
    u64 start_ns; /* when this CPU's account began; 0 before its first stamp */
    u64 stamp_ns; /* up to when it has been charged */
    u64 idle_ns;
    u64 lost_ns;               /* time for which the cgroup table had no room */
    u64 failed_cgroup_updates;
    u64 failed_process_updates;
    u64 flush_ns; /* stamp_ns and idle_ns as they were at the newest flush */
    u64 flush_idle_ns;
    struct slot_t slots[CACHE_SLOTS];
};

struct process_key_t {
    u64 cgroup_id;
    u32 tgid;
    u32 generation; /* tells apart processes that were given the same pid */
};

struct current_t {
    u32 generation;
    u32 frees_to_skip; /* former owners of the pid whose free event is still to come */
};

struct identity_t {
    u64 start_boot_ns; /* CLOCK_BOOTTIME at birth, the clock of /proc/PID/stat */
    u64 ended_ns;      /* CLOCK_MONOTONIC; 0 while it lives */
    u32 tgid;
    u32 flags;
    char comm[COMM_BYTES];
};

struct totals_t {
    u64 epoch_ns; /* CLOCK_MONOTONIC when these counters began; written by the loader */
    u64 births;
    u64 reuses; /* a cache slot filled before the newest reuse of any pid is not trusted */
    u64 failed_births;
};

BPF_PERCPU_ARRAY(cpus, struct cpu_t, 1);
BPF_HASH(cgroups, u64, u64, CGROUP_ROWS);
BPF_HASH(processes, struct process_key_t, u64, PROCESS_ROWS);
BPF_HASH(identities, u32, struct identity_t, PROCESS_ROWS); /* by generation */
BPF_HASH(generations, u32, struct current_t, PROCESS_ROWS); /* by tgid */
BPF_ARRAY(totals, struct totals_t, 1);

/*
 * Adding to a row that may be being created on another CPU: whoever loses that race adds to the
 * winner's row. Written twice, since BCC rewrites map calls only where they name the map itself.
 */
static __always_inline int add_to_cgroup(u64 *key, u64 ns)
{
    u64 zero = 0;
    u64 *row = cgroups.lookup(key);

    if (!row) {
        cgroups.insert(key, &zero);
        row = cgroups.lookup(key);
    }
    if (!row)
        return 0;
    __sync_fetch_and_add(row, ns);
    return 1;
}

static __always_inline int add_to_process(struct process_key_t *key, u64 ns)
{
    u64 zero = 0;
    u64 *row = processes.lookup(key);

    if (!row) {
        processes.insert(key, &zero);
        row = processes.lookup(key);
    }
    if (!row)
        return 0;
    __sync_fetch_and_add(row, ns);
    return 1;
}

static __always_inline void spill(struct cpu_t *cpu, struct slot_t *slot)
{
    u64 ns = slot->cpu_ns;
    u64 cgroup_id = slot->cgroup_id;
    struct process_key_t key = {};

    if (ns == 0)
        return;
    slot->cpu_ns = 0;
    key.cgroup_id = cgroup_id;
    key.tgid = slot->tgid;
    key.generation = slot->generation;
    if (!add_to_cgroup(&cgroup_id, ns)) {
        cpu->failed_cgroup_updates++;
        cpu->lost_ns += ns;
        return; /* lost once: its process must not be charged as well */
    }
    if (!add_to_process(&key, ns))
        cpu->failed_process_updates++;
}

/* Charges the current task for the time since this CPU's previous stamp. */
static __always_inline void charge(struct cpu_t *cpu)
{
    u32 zero = 0;
    u64 now = bpf_ktime_get_ns();
    u64 ns = now - cpu->stamp_ns;
    u64 pid_tgid, cgroup_id;
    u32 tgid;
    struct slot_t *slot;
    struct totals_t *shared;
    struct current_t *current_owner;

    cpu->stamp_ns = now;
    if (cpu->start_ns == 0) {
        cpu->start_ns = now;
        return;
    }
    pid_tgid = bpf_get_current_pid_tgid();
    if (pid_tgid == 0) {
        cpu->idle_ns += ns;
        return;
    }
    tgid = pid_tgid >> 32;
    cgroup_id = bpf_get_current_cgroup_id();
    shared = totals.lookup(&zero);
    if (!shared)
        return; /* never: an array's first element exists */
    slot = &cpu->slots[tgid & (CACHE_SLOTS - 1)];
    if (slot->tgid != tgid || slot->cgroup_id != cgroup_id || slot->reuses != shared->reuses) {
        spill(cpu, slot);
        current_owner = generations.lookup(&tgid);
        slot->tgid = tgid;
        slot->cgroup_id = cgroup_id;
        slot->generation = current_owner ? current_owner->generation : 0;
        slot->reuses = shared->reuses;
    }
    slot->cpu_ns += ns;
}

int on_sched_switch(void *context)
{
    u32 zero = 0;
    struct cpu_t *cpu = cpus.lookup(&zero);

    if (cpu)
        charge(cpu);
    return 0;
}

int flush(void *context)
{
    u32 zero = 0;
    int i;
    struct cpu_t *cpu = cpus.lookup(&zero);

    if (!cpu)
        return 0;
    charge(cpu);
    for (i = 0; i < CACHE_SLOTS; i++) {
        spill(cpu, &cpu->slots[i]);
        /* Not trusted any longer: user space may retire its process, whose pid may then be reused. */
        cpu->slots[i].tgid = 0;
    }
    cpu->flush_ns = cpu->stamp_ns;
    cpu->flush_idle_ns = cpu->idle_ns;
    return 0;
}

int on_task_newtask(struct tracepoint__task__task_newtask *args)
{
    u32 zero = 0;
    u32 tgid = args->pid;
    struct totals_t *shared = totals.lookup(&zero);
    struct current_t owner = {};
    struct current_t *former;
    struct identity_t *former_identity;
    struct identity_t identity = {};

    if (!shared || (args->clone_flags & CLONE_THREAD))
        return 0;
    owner.generation = __sync_fetch_and_add(&shared->births, 1) + 1;
    identity.tgid = tgid;
    identity.start_boot_ns = bpf_ktime_get_boot_ns();
    if ((bpf_get_current_pid_tgid() >> 32) == KTHREADD_TGID)
        identity.flags = FLAG_KERNEL_THREAD;
    __builtin_memcpy(identity.comm, args->comm, COMM_BYTES);

    former = generations.lookup(&tgid);
    if (former) {
        /* The pid is used again before its former owner was retired, perhaps before it was freed. */
        owner.frees_to_skip = former->frees_to_skip;
        former_identity = identities.lookup(&former->generation);
        if (former_identity && former_identity->ended_ns == 0) {
            former_identity->ended_ns = bpf_ktime_get_ns();
            owner.frees_to_skip++;
        }
    }
    if (identities.update(&owner.generation, &identity) != 0) {
        __sync_fetch_and_add(&shared->failed_births, 1);
        /* Without an identity its time goes to the generation 0 of this pid: a name is lost, no time. */
        if (former) {
            owner.generation = 0;
            generations.update(&tgid, &owner);
            __sync_fetch_and_add(&shared->reuses, 1);
        }
        return 0;
    }
    if (generations.update(&tgid, &owner) != 0)
        __sync_fetch_and_add(&shared->failed_births, 1);
    if (former) /* from here on, no slot filled for the former owner is trusted */
        __sync_fetch_and_add(&shared->reuses, 1);
    return 0;
}

int on_task_rename(struct tracepoint__task__task_rename *args)
{
    u32 tgid = args->pid;
    struct current_t *owner = generations.lookup(&tgid); /* a thread that is no leader is not found */
    struct identity_t *identity;

    if (!owner)
        return 0;
    identity = identities.lookup(&owner->generation);
    if (identity)
        __builtin_memcpy(identity->comm, args->newcomm, COMM_BYTES);
    return 0;
}

/* Comes once per thread, after its last context switch; only that of the leader ends a process. */
int on_sched_process_free(struct tracepoint__sched__sched_process_free *args)
{
    u32 tgid = args->pid;
    struct current_t *owner = generations.lookup(&tgid);
    struct identity_t *identity;

    if (!owner)
        return 0;
    if (owner->frees_to_skip) {
        owner->frees_to_skip--;
        return 0;
    }
    identity = identities.lookup(&owner->generation);
    if (identity)
        identity->ended_ns = bpf_ktime_get_ns();
    return 0;
}
