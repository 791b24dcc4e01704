/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What happens between two switches. These hooks run with interrupts on, so that a flush may land inside one:
 * they only ever add to counters of their CPU, whose differences the next switch or flush charges.
 */
#define SOFTIRQ_NET_TX 2 /* include/linux/interrupt.h; fixed since Linux 2.6 */
#define SOFTIRQ_NET_RX 3
#define SOFTIRQ_BLOCK 4

static __always_inline int bump(enum event event)
{
    u32 zero = 0;
    struct cpu_t *cpu = cpus.lookup(&zero);

    if (!cpu)
        return 0;
    cpu->events[event]++;
    cpu->events_bumped++;
    return 0;
}

int on_softirq_entry(void *context)
{
    u64 *args = context; /* vector */

    if (args[0] == SOFTIRQ_NET_TX)
        return bump(NET_TX);
    if (args[0] == SOFTIRQ_NET_RX)
        return bump(NET_RX);
    if (args[0] == SOFTIRQ_BLOCK)
        return bump(BLOCK);
    return 0;
}

/* Pages looked up in the page cache for reading: one event for each batch of adjoining ones. */
int on_page_read(void *context)
{
    return bump(PAGE_CACHE_HIT);
}

#if WITH_PAGE_FENTRY
/* The same where there is no such tracepoint, one for each folio. BCC attaches it by the name that its macro makes:
 * other versions expect other names, and 0.31 crashes on a name without a module. */
KFUNC_PROBE(folio_mark_accessed)
{
    return bump(PAGE_CACHE_HIT);
}
#endif

int on_page_dirtied(void *context)
{
    return bump(PAGE_CACHE_HIT);
}

int on_cpu_frequency(void *context)
{
    u64 *args = context; /* frequency in kHz, CPU */
    u32 number = args[1];
    struct cpu_setting_t *setting = cpu_settings.lookup(&number);

    if (setting)
        setting->khz = args[0];
    return 0;
}

/* Steps of plugging a CPU in that another CPU does for it: until then it was not there. */
int on_cpu_plug_step(void *context)
{
    u64 *args = context; /* CPU, target state, this step's state, function */
    u32 number = args[0];
    u64 *plugged_ns = plugs.lookup(&number);

    if (plugged_ns && number != bpf_get_smp_processor_id() && (int)args[1] > (int)args[2]) {
        *plugged_ns = bpf_ktime_get_ns();
        new_version(); /* its cache was not flushed all the while */
    }
    return 0;
}
