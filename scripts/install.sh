#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Installs Wattline from this checkout as a service of systemd, or removes exactly what it installed.
#
#   scripts/install.sh install      built by the caller, then copied as root
#   scripts/install.sh uninstall
#
# PREFIX (default /usr/local) and DESTDIR (default none: this machine) as usual. With a DESTDIR nothing but files below
# it is touched, and systemd is told nothing.
#
# Exit codes: 0 done, 1 failed, 2 usage, 77 not permitted. A failure is one line, with its cure.
set -eu
umask 022 # what is installed is for all users to read, whatever the caller's own files are

cd "$(dirname "$0")/.."
purpose=${1:-}
prefix=${PREFIX:-/usr/local}
prefix=${prefix%/}
destdir=${DESTDIR:-}

stages="probe power power-bmc metadata calculator exporter"
config=/etc/wattline
settings="wattline.env power-bmc.env" # files in it that are for the administrator to edit
library=$prefix/lib/wattline
program=$prefix/bin/wattline
# Where systemd looks: below these two prefixes, which leaves /etc to the administrator; else only in /etc.
case $prefix in
/usr | /usr/local) units=$prefix/lib/systemd/system sysusers=$prefix/lib/sysusers.d tmpfiles=$prefix/lib/tmpfiles.d ;;
*) units=/etc/systemd/system sysusers=/etc/sysusers.d tmpfiles=/etc/tmpfiles.d ;;
esac

say() { printf '==> %s\n' "$*"; }

fail() { # MESSAGE [EXIT CODE]
    printf 'install: %s\n' "$1" >&2
    exit "${2:-1}"
}

# A DESTDIR is the caller's own.
as_root() {
    if [ "$(id -u)" = 0 ] || [ -n "$destdir" ]; then
        "$@"
    else
        command -v sudo >/dev/null || fail "need root for '$*' and there is no sudo: run this as root" 77
        sudo "$@"
    fi
}

systemd_runs() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

unit_files() {
    echo wattline.service wattline.target
    for stage in $stages; do echo "wattline-$stage.service"; done
}

check_places() {
    for place in "$prefix" "${destdir:-/}"; do
        case $place in
        *[!A-Za-z0-9/._+-]*) fail "PREFIX and DESTDIR: expected letters, digits and /._+- only, got '$place'" 2 ;;
        /*) ;;
        *) fail "PREFIX and DESTDIR: expected absolute paths, got '$place'" 2 ;;
        esac
    done
    case $prefix/ in
    /home/* | /root/* | /run/* | /tmp/* | /var/tmp/*)
        fail "PREFIX $prefix: the units see nothing below it, choose one like /usr/local or /opt/wattline" 2
        ;;
    esac
    if [ -e "$destdir$library" ] && [ ! -e "$destdir$library/pyvenv.cfg" ]; then
        fail "$destdir$library is there and was not made by this script: remove it, or choose another PREFIX"
    fi
    if [ -e "$destdir$program" ] && [ "$(readlink "$destdir$program")" != ../lib/wattline/bin/wattline ]; then
        fail "$destdir$program is there and was not made by this script: remove it, or choose another PREFIX"
    fi
}

# Python 3.11 or newer that every user may run. The units see neither homes nor temporary directories.
find_python() {
    for candidate in ${PYTHON:-/usr/bin/python3 python3 python3.13 python3.12 python3.11}; do
        base=$("$candidate" -c 'import os, sys, venv, ensurepip
print(os.path.realpath(sys._base_executable) if sys.version_info >= (3, 11) else "")' 2>/dev/null) || continue
        case $base in
        /home/* | /root/* | /run/* | /tmp/* | /var/tmp/* | '') ;;
        *)
            echo "$base"
            return
            ;;
        esac
    done
}

# Build an environment that works at any path: nothing in it names the place where it was built.
build() {
    python=$(find_python)
    [ -n "$python" ] ||
        fail "expected Python 3.11 or newer with venv outside of homes, found none: apt-get install python3-venv"
    # A Python that is not the distribution's has to be put in the units' sight.
    python_tree=" $("$python" -c 'import sys; print(sys.base_prefix)')"
    [ "$python_tree" != " /usr" ] || python_tree=
    built=$work/wattline
    say "building an environment with $python"
    "$python" -m venv "$built"
    "$python" -m venv "$work/builder"
    pip "$work/builder" install --require-hashes -r requirements/build.txt
    pip "$work/builder" wheel --no-deps --no-build-isolation --wheel-dir "$work/wheels" .
    pip "$built" install --no-compile --require-hashes -r requirements/all.txt
    pip "$built" install --no-compile --require-hashes -r requirements/redfish.txt # for wattline-power-bmc.service
    pip "$built" install --no-compile --require-hashes -r requirements/kubernetes.txt # for pods' names
    pip "$built" install --no-compile --no-deps --no-index --find-links "$work/wheels" wattline
    [ -d /usr/lib/python3/dist-packages/bcc ] ||
        say "BCC is missing, so the probe will read /proc, which is coarser; the cure: apt-get install python3-bpfcc"
    trim
}

pip() {
    environment=$1
    shift
    "$environment/bin/python" -m pip --quiet --disable-pip-version-check --no-input "$@"
}

# Leaves out pip, and whatever names this place: first lines of programs, origins of compiled files.
trim() {
    # setuptools comes with older venvs only.
    pip "$built" uninstall --yes pip setuptools 2>/dev/null
    find "$built/bin" -mindepth 1 ! -name 'python*' -delete
    sed -i '/^command = /d' "$built/pyvenv.cfg"
    printf '%s\n' '#!/bin/sh' \
        '# Runs the Python beside it, wherever both lie.' \
        'exec "$(dirname "$(readlink -f "$0")")/python" -I -m wattline.cli "$@"' >"$built/bin/wattline"
    chmod 755 "$built/bin/wattline"
    "$built/bin/python" -m compileall -q -s "$built" -p "$library" "$built"/lib/python3*/site-packages >/dev/null
    chmod -R u=rwX,go=rX "$built"
}

# `put FILE PLACE`: a file of packaging/, with this PREFIX in place of the default one.
put() {
    sed -e "s|/usr/local/|$prefix/|g" -e "s|^BindReadOnlyPaths=$prefix/lib/wattline .*|&$python_tree|" \
        "packaging/$1" >"$work/file"
    as_root install -D -m 644 "$work/file" "$destdir$2"
}

# `put_settings FILE`: a file of packaging/, unless there is one. The environment keeps it as it was when it was new, for
# `remove_settings` to compare.
put_settings() {
    cp "packaging/$1" "$built/$1"
    if [ -e "$destdir$config/$1" ]; then
        say "leaving $config/$1 as it is"
        [ ! -e "$destdir$library/$1" ] || cp "$destdir$library/$1" "$built/$1"
    else
        as_root install -D -m 644 "packaging/$1" "$destdir$config/$1"
    fi
}

# `remove_settings FILE`: only one that is as it was installed.
remove_settings() {
    if cmp -s "$destdir$library/$1" "$destdir$config/$1"; then
        as_root rm "$destdir$config/$1"
    elif [ -e "$destdir$config/$1" ]; then
        say "keeping $destdir$config/$1, which was changed"
    fi
}

install_all() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    build
    for name in $settings; do put_settings "$name"; done
    say "installing to $destdir$library"
    as_root mkdir -p "$destdir$prefix/lib" "$destdir$prefix/bin"
    as_root rm -rf "$destdir$library.new" "$destdir$library.old"
    as_root cp -R --preserve=mode,timestamps "$built" "$destdir$library.new"
    [ ! -e "$destdir$library" ] || as_root mv "$destdir$library" "$destdir$library.old"
    as_root mv "$destdir$library.new" "$destdir$library"
    as_root rm -rf "$destdir$library.old"
    as_root ln -sfn ../lib/wattline/bin/wattline "$destdir$program"
    for unit in $(unit_files); do put "systemd/$unit" "$units/$unit"; done
    put sysusers.d/wattline.conf "$sysusers/wattline.conf"
    put tmpfiles.d/wattline.conf "$tmpfiles/wattline.conf"
    tell_systemd
}

tell_systemd() {
    if systemd_runs; then
        as_root systemd-sysusers "$sysusers/wattline.conf"
        as_root systemd-tmpfiles --create "$tmpfiles/wattline.conf"
        as_root systemctl daemon-reload
    elif [ -z "$destdir" ]; then
        say "systemd does not run here: the units are in place, the users are made when it does"
    fi
    say "installed. Settings are in $config/wattline.env. What to do next, as root:"
    say "    systemctl enable --now wattline           # all in one unit"
    say "    systemctl enable --now wattline.target    # or each stage as a user of its own"
    say "    systemctl restart wattline                # or wattline.target, where it runs already"
}

uninstall_all() {
    if [ ! -e "$destdir$library/pyvenv.cfg" ]; then
        say "nothing is installed in $destdir$library; name the PREFIX and DESTDIR that \`make install\` had"
        return
    fi
    if systemd_runs; then
        stop_units
    fi
    for name in $settings; do remove_settings "$name"; done
    [ ! -e "$destdir$config/bmc" ] || say "keeping $destdir$config/bmc, which has a BMC's password: remove it yourself"
    for unit in $(unit_files); do as_root rm -f "$destdir$units/$unit"; done
    as_root rm -f "$destdir$sysusers/wattline.conf" "$destdir$tmpfiles/wattline.conf" "$destdir$program"
    as_root rm -rf "$destdir$library" "$destdir$library.new" "$destdir$library.old"
    remove_empty "$config"
    # The directories of a distribution stay, even if they are empty.
    if [ -n "$destdir" ] || [ "$prefix" = /usr/local ]; then
        remove_empty "$units" "${units%/*}" "$sysusers" "$tmpfiles"
    fi
    if [ -n "$destdir" ]; then
        remove_empty /etc "$prefix/lib" "$prefix/bin" "$prefix" "${prefix%/*}"
    fi
    if systemd_runs; then
        as_root systemctl daemon-reload
        say "the users wattline-* and the group wattline stay, as files may be theirs: userdel and groupdel remove them"
    fi
    say "removed"
}

stop_units() {
    there=
    for unit in $(unit_files); do
        [ ! -e "$units/$unit" ] || there="$there $unit"
    done
    [ -n "$there" ] || return 0
    say "stopping and disabling$there"
    # shellcheck disable=SC2086 one word per unit
    as_root systemctl disable --now $there
    as_root rm -rf /run/wattline # the totals, which the units keep over a restart
    # Where the probe pinned its program, unless it was told to keep that.
    [ ! -d /sys/fs/bpf/wattline-units ] || as_root rmdir --ignore-fail-on-non-empty /sys/fs/bpf/wattline-units
}

remove_empty() {
    for directory in "$@"; do
        [ ! -d "$destdir$directory" ] || as_root rmdir --ignore-fail-on-non-empty "$destdir$directory"
    done
}

check_places
case $purpose in
install) install_all ;;
uninstall) uninstall_all ;;
*) fail "expected install or uninstall, got '$purpose': scripts/install.sh install|uninstall" 2 ;;
esac
