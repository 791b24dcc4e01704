/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who a pid is: births, names and ends of processes, as state rather than as events, so that none is missed
 * while the reader is away. Each process gets a generation, which keeps a reused pid apart.
 *
 * on_task_newtask, on_task_rename and on_sched_process_free come in two kinds. Raw ones (WITH_STRUCTURES) are
 * given a task and read its fields, at the places that the running kernel's BTF tells. They need no
 * perf_event_open(2), which many kernels refuse (docs/decisions/0020-raw-tracepoints.md). Classic ones are given
 * the fields; they are for kernels without BTF.
 *
 * The kernel runs no hook of the classic kind on a CPU that is inside another one, or in the middle of an
 * operation on a map (bpf_prog_active), so now and then an event is missed; measured: 6 in 1000 ends of a fork
 * storm. A birth that was missed is made good when the process leaves a CPU for the first time; an end by the
 * reader, who looks after those whose leader has exited, which a hook of the raw kind tells and none misses.
 */
#define COMM_BYTES 16           /* TASK_COMM_LEN, part of the kernel's ABI */
#define CLONE_THREAD 0x00010000 /* include/uapi/linux/sched.h */
#define KTHREADD_TGID 2         /* parent of every kernel thread, in the initial pid namespace */
/* A thread may leave its CPU for the last time shortly after its process's leader was freed. */
#define LAST_SWITCH_NS (100 * 1000000ULL)

#define GENERATION_MAX 0x7fffffff /* above are those of processes that were there before */

#define FLAG_KERNEL_THREAD 1
#define FLAG_UNSEEN_BIRTH 2  /* start_boot_ns is when it was first seen, after its birth */
#define FLAG_LEADER_EXITED 4 /* no end yet: it is a zombie, or its other threads go on */

struct owner_t {
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
    u64 births;
    u64 unseen_births;
    u64 failed_births; /* no room for an identity */
    u64 failed_paths;  /* no room for a cgroup's path */
};

BPF_HASH(identities, u32, struct identity_t, PROCESS_ROWS); /* by generation */
BPF_HASH(owners, u32, struct owner_t, PROCESS_ROWS);        /* by tgid: who has it now */
BPF_ARRAY(totals, struct totals_t, 1);
/* Changes when a pid is reused: a slot filled before is not trusted. Apart from totals, which every birth
 * writes, since every switch reads it. */
BPF_ARRAY(versions, u32, 1);

static __always_inline void new_version(void)
{
    u32 zero = 0;
    u32 *version = versions.lookup(&zero);

    if (version)
        __sync_fetch_and_add(version, 1);
}

/* The generation of a new owner of a pid, or 0 if there is no room: then a name is lost, no time. */
static __always_inline u32 admit(u32 tgid, struct identity_t *identity, u32 frees_to_skip, int is_reuse)
{
    u32 zero = 0;
    struct totals_t *shared = totals.lookup(&zero);
    struct owner_t owner = {};

    if (!shared)
        return 0; /* never: an array's first element exists */
    owner.frees_to_skip = frees_to_skip;
    owner.generation = (__sync_fetch_and_add(&shared->births, 1) + 1) & GENERATION_MAX;
    if (owner.generation == 0 || identities.insert(&owner.generation, identity) != 0) {
        owner.generation = 0;
    } else if (owners.update(&tgid, &owner) != 0) {
        identities.delete(&owner.generation);
        owner.generation = 0;
    }
    if (owner.generation == 0) {
        __sync_fetch_and_add(&shared->failed_births, 1);
        owners.delete(&tgid); /* nobody rather than the former owner */
    }
    if (is_reuse)
        new_version();
    return owner.generation;
}

/* A process that leaves a CPU and of whose birth we know nothing. Threads but the leader share its tgid. */
static __always_inline u32 admit_unseen(u32 tgid, int is_reuse)
{
    u32 zero = 0;
    struct totals_t *shared = totals.lookup(&zero);
    struct identity_t identity = {};

    if (shared)
        __sync_fetch_and_add(&shared->unseen_births, 1);
    identity.tgid = tgid;
    identity.flags = FLAG_UNSEEN_BIRTH;
    identity.start_boot_ns = bpf_ktime_get_boot_ns();
    bpf_get_current_comm(identity.comm, sizeof(identity.comm));
    return admit(tgid, &identity, 0, is_reuse);
}

static __always_inline u32 generation_of(u32 tgid, u64 now)
{
    struct owner_t *owner = owners.lookup(&tgid);
    struct identity_t *identity;

    if (!owner)
        return admit_unseen(tgid, 0);
    identity = identities.lookup(&owner->generation);
    if (identity && identity->ended_ns && now - identity->ended_ns > LAST_SWITCH_NS)
        return admit_unseen(tgid, 1);
    return owner->generation;
}

/* A process was born; `identity` has its tgid and name. Its parent is current. */
static __always_inline void born(struct identity_t *identity)
{
    u32 tgid = identity->tgid;
    struct identity_t *former_identity;
    struct owner_t *former;
    u32 frees_to_skip = 0;

    identity->start_boot_ns = bpf_ktime_get_boot_ns();
    if ((bpf_get_current_pid_tgid() >> 32) == KTHREADD_TGID)
        identity->flags = FLAG_KERNEL_THREAD;
    former = owners.lookup(&tgid);
    if (former) {
        /* The pid is used again before its former owner was retired, perhaps before it was freed. */
        frees_to_skip = former->frees_to_skip;
        former_identity = identities.lookup(&former->generation);
        if (former_identity && former_identity->ended_ns == 0) {
            former_identity->ended_ns = bpf_ktime_get_ns();
            frees_to_skip++;
        }
    }
    admit(tgid, identity, frees_to_skip, former != 0);
}

/* A task has a new name; `comm` has COMM_BYTES. */
static __always_inline void renamed(u32 pid, const char *comm)
{
    struct owner_t *owner = owners.lookup(&pid); /* a thread that is no leader is not found */
    struct identity_t *identity;

    if (!owner)
        return;
    identity = identities.lookup(&owner->generation);
    if (identity && identity->ended_ns == 0)
        __builtin_memcpy(identity->comm, comm, COMM_BYTES);
}

int on_sched_process_exit(void *context)
{
    u64 pid_tgid = bpf_get_current_pid_tgid();
    u32 tgid = pid_tgid >> 32;
    struct owner_t *owner;
    struct identity_t *identity;

    if ((u32)pid_tgid != tgid)
        return 0;
    owner = owners.lookup(&tgid);
    if (!owner)
        return 0;
    identity = identities.lookup(&owner->generation);
    if (identity)
        identity->flags |= FLAG_LEADER_EXITED;
    return 0;
}

/* Comes once per thread, after its last context switch; only that of the leader ends a process. */
static __always_inline void freed(u32 pid)
{
    struct owner_t *owner = owners.lookup(&pid);
    struct identity_t *identity;

    if (!owner)
        return;
    if (owner->frees_to_skip) {
        owner->frees_to_skip--;
        return;
    }
    identity = identities.lookup(&owner->generation);
    if (identity && identity->ended_ns == 0)
        identity->ended_ns = bpf_ktime_get_ns();
}

#if WITH_STRUCTURES
static __always_inline u32 pid_of(u64 task)
{
    u32 pid = 0;

    bpf_probe_read_kernel(&pid, sizeof(pid), (void *)(task + TASK_PID));
    return pid;
}

int on_task_newtask(void *context)
{
    u64 *args = context; /* task, clone flags */
    struct identity_t identity = {};

    if (args[1] & CLONE_THREAD)
        return 0;
    identity.tgid = pid_of(args[0]);
    bpf_probe_read_kernel(identity.comm, COMM_BYTES, (void *)(args[0] + TASK_COMM));
    born(&identity);
    return 0;
}

int on_task_rename(void *context)
{
    u64 *args = context; /* task, new name */
    char comm[COMM_BYTES] = {};

    bpf_probe_read_kernel_str(comm, COMM_BYTES, (void *)args[1]);
    renamed(pid_of(args[0]), comm);
    return 0;
}

int on_sched_process_free(void *context)
{
    u64 *args = context; /* task */

    freed(pid_of(args[0]));
    return 0;
}
#else
int on_task_newtask(struct tracepoint__task__task_newtask *args)
{
    struct identity_t identity = {};

    if (args->clone_flags & CLONE_THREAD)
        return 0;
    identity.tgid = args->pid;
    __builtin_memcpy(identity.comm, args->comm, COMM_BYTES);
    born(&identity);
    return 0;
}

int on_task_rename(struct tracepoint__task__task_rename *args)
{
    char comm[COMM_BYTES]; /* a pointer into the context itself is refused */

    __builtin_memcpy(comm, args->newcomm, COMM_BYTES);
    renamed(args->pid, comm);
    return 0;
}

int on_sched_process_free(struct tracepoint__sched__sched_process_free *args)
{
    freed(args->pid);
    return 0;
}
#endif
