#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# boot.sh SPACE CHECKOUT: systemd as process 1 of new namespaces, on this machine's own files. What it and its services
# write goes to memory and is gone with it. Called in namespaces of its own: mount, pid, cgroup, network, UTS and IPC.
set -eu
space=$1 checkout=$2
root=$space/root

mount -t tmpfs -o mode=755 tmpfs "$space"
mkdir "$space/written" "$space/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$space/written,workdir=$space/work" overlay "$root"

mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys" # the kernel's settings are the machine's
mount -t sysfs sysfs "$root/sys"
mount -t tracefs -o mode=700 tracefs "$root/sys/kernel/tracing"
mount -t bpf -o mode=700 bpf "$root/sys/fs/bpf" # one of its own, as systemd mounts it
umount "$root/sys/fs/cgroup" 2>/dev/null || true
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root$checkout"
mount --bind "$checkout" "$root$checkout" # may be a mount of its own

# Nothing of what this machine would start.
for directory in "$root"/etc/systemd/system "$root"/lib/systemd/system; do
    find "$directory" -maxdepth 1 -name '*.wants' -exec rm -r {} +
done
find "$root/lib/systemd/system-generators" -mindepth 1 -delete
: >"$root/etc/machine-id"

cd "$root"
pivot_root . mnt
umount -l /mnt
# As systemd makes it on a machine, but not in a container: it mounts credentials elsewhere, and they have to come here.
mount --make-rshared /
exec env -i container=wattline-test PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    /lib/systemd/systemd --system --unit=basic.target >/dev/null 2>&1 </dev/null
