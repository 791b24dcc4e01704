# SPDX-License-Identifier: Apache-2.0
"""The system calls that a service may make, by name, with their numbers. Pure.

What a call does to files and to other processes still depends on user and capabilities. Left out is what no
service needs: running programs, tracing, signals to others, mounting, namespaces, keys, modules, io_uring,
opening files by handle, changing users and owners.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h. The second list, which
newer architectures share, leaves out calls that a later one includes.
"""

from collections.abc import Mapping

ARCHITECTURES = ("x86_64", "aarch64")  # as uname(2) calls them; the order of the numbers below
Numbers = tuple[int, int | None]

# A later call is as if the kernel were older: the C library then uses another (Linux 6.8: lsm_list_modules).
NEWEST = 461

FILES = {
    "access": (21, None),
    "chmod": (90, None),
    "close": (3, 57),
    "close_range": (436, 436),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "fadvise64": (221, 223),
    "fallocate": (285, 47),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fcntl": (72, 25),
    "fdatasync": (75, 83),
    "flock": (73, 32),
    "fstat": (5, 80),
    "fstatfs": (138, 44),
    "fsync": (74, 82),
    "ftruncate": (77, 46),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "ioctl": (16, 29),
    "lseek": (8, 62),
    "lstat": (6, None),
    "memfd_create": (319, 279),  # libffi, for callbacks
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "newfstatat": (262, 79),
    "open": (2, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "pwrite64": (18, 68),
    "pwritev": (296, 70),
    "read": (0, 63),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "readv": (19, 65),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "rmdir": (84, None),
    "stat": (4, None),
    "statfs": (137, 43),
    "statx": (332, 291),
    "umask": (95, 166),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "write": (1, 64),
    "writev": (20, 66),
}
MEMORY = {
    "brk": (12, 214),
    "madvise": (28, 233),
    "map_shadow_stack": (453, 453),  # a thread's second stack, on CPUs that check return addresses
    "membarrier": (324, 283),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "msync": (26, 227),
    "munmap": (11, 215),
}
WAITING = {
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "epoll_create": (213, None),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441),
    "epoll_wait": (232, None),
    "eventfd": (284, None),
    "eventfd2": (290, 19),
    "futex": (202, 98),
    "futex_waitv": (449, 449),
    "getitimer": (36, 102),
    "gettimeofday": (96, 169),
    "nanosleep": (35, 101),
    "pause": (34, None),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "pselect6": (270, 72),
    "restart_syscall": (219, 128),
    "select": (23, None),
    "setitimer": (38, 103),
    "time": (201, None),
}
SOCKETS = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "connect": (42, 203),
    "getpeername": (52, 205),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "listen": (50, 201),
    "recvfrom": (45, 207),
    "recvmmsg": (299, 243),
    "recvmsg": (47, 212),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setsockopt": (54, 208),
    "shutdown": (48, 210),
    "socket": (41, 198),
    "socketpair": (53, 199),
}
PROCESS = {
    "arch_prctl": (158, None),
    "capget": (125, 90),
    "clone": (56, 220),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "get_robust_list": (274, 100),
    "getcpu": (309, 168),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getgroups": (115, 158),
    "getpgid": (121, 155),
    "getpgrp": (111, None),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getpriority": (140, 141),
    "getrandom": (318, 278),
    "getresgid": (120, 150),
    "getresuid": (118, 148),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "getsid": (124, 156),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "kill": (62, 129),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigpending": (127, 136),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137),
    "sched_get_priority_max": (146, 125),
    "sched_get_priority_min": (147, 126),
    "sched_getaffinity": (204, 123),
    "sched_getattr": (315, 275),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "sched_setscheduler": (144, 119),  # libzmq ends the process if its threads can't
    "sched_yield": (24, 124),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "sigaltstack": (131, 132),
    "sysinfo": (99, 179),
    "tgkill": (234, 131),
    "times": (100, 153),
    "uname": (63, 160),
    "wait4": (61, 260),
    "waitid": (247, 95),
}
SERVICE: dict[str, Numbers] = {**FILES, **MEMORY, **WAITING, **SOCKETS, **PROCESS}
EBPF: dict[str, Numbers] = {"bpf": (321, 280), "perf_event_open": (298, 241)}
# The probe reads no other stage's frames. As root it could connect to every daemon's socket.
PROBE = {name: numbers for name, numbers in SERVICE.items() if name != "connect"}

# Answered as by a kernel without it (ENOSYS): the C library then calls clone, whose flags a filter can see.
ABSENT = {"clone3": (435, 435)}
SECCOMP = (317, 277)


def numbers(machine: str, calls: Mapping[str, Numbers]) -> dict[str, int]:
    """The numbers of these calls on an architecture. Raises KeyError for one that has no table."""
    if machine not in ARCHITECTURES:
        raise KeyError(machine)
    place = ARCHITECTURES.index(machine)
    found = {name: pair[place] for name, pair in calls.items()}
    return {name: number for name, number in found.items() if number is not None}
