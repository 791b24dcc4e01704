#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Sets up what `make run` or `make test` needs on Debian or Ubuntu, says what it does, and does nothing twice. When
# nothing is left to do it says nothing, and needs no network.
#
#   scripts/setup.sh run         what Wattline runs with: Debian packages, and a virtual environment in .venv
#   scripts/setup.sh selftest    the same, and what `wattline selftest` uses
#   scripts/setup.sh dev         the same, and what the tests and the linters use
#   scripts/setup.sh test        as dev, for a start as root
#
# Exit codes: 0 ready, 1 failed, 2 usage, 77 not permitted. A failure is one line, with its cure.
set -eu

cd "$(dirname "$0")/.."
here=$(pwd -P)
venv=.venv
umask 022 # what is installed here is public, and must be readable for the services' users
PATH=$PATH:/usr/sbin:/sbin
export PATH

. scripts/setup/say.sh
. scripts/setup/apt.sh
. scripts/setup/venv.sh
. scripts/setup/unpack.sh

usage="usage: scripts/setup.sh run|selftest|test|dev"
purpose=${1:-}
case $purpose in
run | selftest | test) need_root_later ;;
dev) ;;
*) fail_with 2 "$usage; got '$purpose'" ;;
esac
[ "$purpose" = test ] && purpose=dev
case $purpose in
run) stamps="run" ;;
selftest) stamps="run selftest" ;;
dev) stamps="run selftest dev" ;;
esac

fault=$(venv_fault)
[ -z "$fault" ] && is_ready "$purpose" && exit 0

trap give_to_owner EXIT
want directory:/usr/lib/python3/dist-packages/bcc python3-bpfcc
want library:libbcc.so.0 libbpfcc
if [ "$purpose" != run ]; then
    want program:fusermount fuse3
    want library:libfuse.so.2 libfuse2t64 libfuse2
fi
if [ "$purpose" = dev ]; then
    # runc and busybox: real containers; QEMU: real virtual machines; stress-ng, hackbench and perf: load; systemd: its
    # tools check the units, and the long tests boot it.
    want program:git git
    want program:runc runc
    want static:busybox busybox-static
    want program:stress-ng stress-ng
    want program:hackbench rt-tests
    want program:systemd-analyze systemd
    want answer:perf linux-perf "linux-tools-$(uname -r)" linux-tools-generic
    want program:qemu-system-x86_64 qemu-system-x86
    # A Docker Engine that is there is left as it is: Debian's would replace another maker's.
    want program:dockerd docker.io
    want file:/usr/bin/docker docker-cli docker.io
    want file:/usr/bin/docker-compose docker-compose
    want module:yaml python3-yaml
    # The base of images where none can be pulled.
    want program:debootstrap debootstrap
    want file:/usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring
fi
install_wanted
need_python
need_venv "$fault"
install_python_packages "$purpose"
if [ "$purpose" = dev ]; then
    need_prometheus
    need_compose_2
fi
write_stamps
say "ready"
