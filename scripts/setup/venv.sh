# SPDX-License-Identifier: Apache-2.0
#
# Python, and the virtual environment: made, found to be of no use, made anew.

index_cure="Check the network and pip's settings (pip config list), then run this again"

can_make_venv() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Python 3.11 or newer: the one in the PATH if it will do, else the distribution's. Sets `python`.
find_python() {
    for python in python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        command -v "$python" >/dev/null && can_make_venv "$python" && return
    done
    python=
}

need_python() {
    find_python
    if [ -z "$python" ]; then
        refresh_lists "Python 3.11 or newer with venv"
        choose_package "Python" python3-venv
        install_packages python3 python3-venv
        find_python
    fi
    [ -n "$python" ] && return
    for package in python3.14-venv python3.13-venv python3.12-venv python3.11-venv; do
        if apt_knows $package; then
            install_packages $package
            find_python
            break
        fi
    done
    [ -n "$python" ] || fail "expected Python 3.11 or newer with venv, found $(python3 --version 2>&1), and apt has no" \
        "newer one (tried python3-venv to python3.14-venv). Install a newer one by hand, then run this again"
}

# Why the environment is of no use; nothing if it is fine. A few milliseconds, since each start asks.
venv_fault() {
    if [ ! -e $venv ] && [ ! -L $venv ]; then
        echo "there is none"
    elif [ -e $venv/.unfinished ]; then
        echo "its making was interrupted"
    elif [ -L $venv/bin/python ] && [ ! -e $venv/bin/python ]; then
        echo "its interpreter is gone"
    elif [ ! -x $venv/bin/python ] || [ ! -f $venv/pyvenv.cfg ]; then
        echo "it is incomplete"
    else
        made_for=$(sed -n 's/^version\(_info\)\{0,1\} *= *\([0-9]*\.[0-9]*\).*/\2/p' $venv/pyvenv.cfg)
        is_now=$($venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || is_now=
        if [ -z "$is_now" ]; then
            echo "its interpreter does not run"
        elif [ "$made_for" != "$is_now" ]; then
            echo "it was made for Python $made_for, and its interpreter is now $is_now"
        elif [ "${is_now%%.*}" -lt 3 ] || [ "${is_now#*.}" -lt 11 ]; then
            echo "its Python is $is_now, older than 3.11"
        elif [ ! -f $venv/bin/pip ] || [ ! -d "$venv/lib/python$is_now/site-packages/pip" ]; then
            echo "it has no pip"
        elif ! head -n 3 $venv/bin/pip | grep -qF "$here/$venv/bin/"; then
            echo "it was moved here from another path"
        fi
    fi
}

# FAULT, of venv_fault
need_venv() {
    if [ -n "$1" ]; then
        if [ "$1" = "there is none" ]; then
            say "making a virtual environment in $venv"
        else
            say "making the virtual environment in $venv anew: $1"
            keep_others_venv
            rm -rf $venv 2>/dev/null || fail "could not remove $venv, of which a part belongs to another user." \
                "Run sudo rm -r $here/$venv, then run this again"
        fi
        mkdir $venv 2>/dev/null || fail "could not make $here/$venv: it belongs to another user, or the disk is full." \
            "Run this as the owner of the checkout"
        : >$venv/.unfinished
        try "$python could not make a virtual environment in $venv" "Mend that, then run this again" \
            "$python" -m venv $venv
    elif [ ! -w $venv ]; then
        fail "$venv belongs to another user. Run sudo rm -r $here/$venv, then run this again"
    fi
}

# An environment without a mark of ours was made by somebody else, and may hold what is wanted elsewhere.
keep_others_venv() {
    for mark in $venv/.ready-* $venv/.unfinished; do
        [ ! -e "$mark" ] || return 0
    done
    aside=$venv.old.$$
    say "keeping the former one as $aside"
    mv $venv "$aside"
}

# WHAT ARGUMENTS...
pip_install() {
    label=$1
    shift
    try "pip could not install $label" "$index_cure" $venv/bin/python -m pip install --quiet --no-input \
        --disable-pip-version-check --retries 2 --timeout 15 "$@"
}

# Locked versions, each compared with its hash. A program that is killed here leaves .unfinished behind; one that says
# it failed has left the environment as it was.
install_python_packages() {
    say "installing Python packages ($1)"
    : >$venv/.unfinished
    trap 'rm -f $venv/.unfinished; give_to_owner' EXIT
    pip_install "what builds Wattline" --require-hashes -r requirements/build.txt
    pip_install "what Wattline imports" --require-hashes -r requirements/all.txt
    if [ "$1" != run ]; then
        pip_install "what builds fusepy" --require-hashes -r requirements/selftest-build.txt
        pip_install fusepy --require-hashes --no-build-isolation -r requirements/selftest.txt
    fi
    if [ "$1" = dev ]; then
        pip_install redfish --require-hashes -r requirements/redfish.txt
        pip_install kubernetes --require-hashes -r requirements/kubernetes.txt
        pip_install "the tests and linters" --require-hashes -r requirements/dev.txt
    fi
    pip_install Wattline --no-deps --no-build-isolation --editable .
    # Now, by the owner of the checkout: root would leave files that are root's.
    $venv/bin/python -m compileall -q wattline services >/dev/null 2>&1 || true
    rm $venv/.unfinished
    trap give_to_owner EXIT
}

# What was set up from, as a number: a change of any of it means there is something to do.
inputs() { cat pyproject.toml scripts/setup.sh scripts/setup/*.sh requirements/*.txt | cksum; }

is_ready() { [ "$(cat "$venv/.ready-$1" 2>/dev/null)" = "$(inputs)" ]; }

write_stamps() {
    for stamp in $stamps; do
        inputs >"$venv/.ready-$stamp"
    done
}

# `sudo make run` in a user's checkout: what was made there is the user's.
give_to_owner() {
    if is_root && [ -n "${SUDO_UID:-}" ] && [ "$(stat -c %u .)" = "$SUDO_UID" ]; then
        find . -xdev -path ./.git -prune -o -user 0 -exec chown -h "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" {} + 2>/dev/null || true
    fi
}
