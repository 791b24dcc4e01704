#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Resolves requirements/*.in to requirements/*.txt, within the bounds of pyproject.toml. All files are resolved together
# first, so that each name has the same version everywhere.
#
#   scripts/lock.sh              keep the locked versions where the names and bounds allow it
#   scripts/lock.sh --upgrade    take the newest versions
set -eu

cd "$(dirname "$0")/.."
work=.cache/lock
python=${PYTHON:-python3}

compile() {
    "$work/venv/bin/uv" pip compile --quiet --no-config --universal --python-version 3.11 --no-emit-index-url "$@"
}

mkdir -p $work
"$python" -m venv --clear $work/venv
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/lock.txt

"$python" - >$work/bounds.txt <<'END'
import tomllib

with open("pyproject.toml", "rb") as opened:
    read = tomllib.load(opened)
extras = read["project"]["optional-dependencies"].values()
listed = [*read["build-system"]["requires"], *read["project"]["dependencies"], *sum(extras, [])]
print(*(line for line in listed if not line.startswith("wattline")), sep="\n")
END

# Versions that lie in the output file are what uv prefers.
case ${1:-} in
--upgrade) : >$work/together.txt ;;
*) sed -n 's/^\([a-z0-9-]*==[^\\]*\).*/\1/p' requirements/*.txt | sort -u >$work/together.txt ;;
esac
compile --output-file $work/together.txt --constraint $work/bounds.txt requirements/*.in

for names in requirements/*.in; do
    lock=${names%.in}.txt
    echo "$lock"
    rm -f $work/lock.txt
    compile --generate-hashes --no-annotate --no-header --constraint $work/together.txt --output-file $work/lock.txt "$names"
    { printf '# SPDX-License-Identifier: Apache-2.0\n# Made by `make lock`.\n' && cat $work/lock.txt; } >"$lock"
done
