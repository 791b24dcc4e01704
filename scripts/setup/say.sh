# SPDX-License-Identifier: Apache-2.0
#
# What setup.sh tells: progress, and failures in one line each.

say() { printf '==> %s\n' "$*"; }

# CODE WORDS...
fail_with() {
    code=$1
    shift
    printf 'setup: %s\n' "$*" >&2
    exit "$code"
}

fail() { fail_with 1 "$@"; }

# The line of a program's output that tells why it failed: what kept pip from its index, else the first error, else the
# last line.
reason_in() {
    reason=$(sed -n "s/.*connection broken by '\(.*\)': .*/no connection to the index (\1)/; s/<[^>]*>: //; /^no conn/p" "$1" |
        tail -n 1)
    [ -n "$reason" ] || reason=$(grep -m 1 -E '^(E|ERROR|Error|sudo|dpkg): ?.' "$1") ||
        reason=$(sed '/^[[:space:]]*$/d' "$1" | tail -n 1)
    printf '%s' "${reason:-it said nothing}" | cut -c 1-300
}

# WHAT CURE COMMAND...: runs it quietly; a failure is one line.
try() {
    what=$1 cure=$2
    shift 2
    log=$(mktemp)
    if "$@" >"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        reason=$(reason_in "$log")
        rm -f "$log"
        fail "$what: $reason. $cure"
    fi
}
