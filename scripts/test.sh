#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The tests, as two runs of pytest beside each other where there are two CPUs, which takes little more than half the
# time: each run has names of its own on the machine, and what must be alone waits (tests/hygiene). With arguments, one
# run with these.
#
#   scripts/test.sh [ARGUMENTS OF PYTEST]
#
# Exit code: 0 if all have passed.
set -eu
cd "$(dirname "$0")/.."

# What mostly calculates; all else asks the kernel and waits.
calculating="tests/calculator tests/docs tests/exporter tests/fuzz tests/metadata tests/wire"

if [ $# -gt 0 ] || [ "$(nproc)" -lt 2 ]; then
    exec python -m pytest "$@"
fi
output=$(mktemp)
other=
finish() {
    [ -z "$other" ] || kill -INT "$other" 2>/dev/null || true
    [ -z "$other" ] || wait "$other" || true
    rm -f "$output"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
# shellcheck disable=SC2086 one word per directory
python -m pytest -p no:cacheprovider $calculating >"$output" 2>&1 &
other=$!
ignored=
for directory in $calculating; do ignored="$ignored --ignore=$directory"; done
result=0
# shellcheck disable=SC2086 as above
python -m pytest $ignored || result=$?
echo "==> the tests that calculate, which ran at the same time"
wait "$other" || result=$?
other=
cat "$output"
exit "$result"
