# SPDX-License-Identifier: Apache-2.0
"""Run a fuzzer, or one input of it again: python -m tests.fuzz DECODER [--seed S] [--input N].

Without --input: a campaign, whose outcome is one line of JSON on stdout.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from . import campaign
from .decoder import size_bytes
from .table import DECODERS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("decoder", choices=sorted(DECODERS))
    parser.add_argument("--seed", default="1")
    parser.add_argument("--input", type=int, metavar="NUMBER", help="only this one, with its traceback")
    parser.add_argument("--inputs", type=int, metavar="COUNT", help="end after so many")
    parser.add_argument("--seconds", type=float, help="end after this time (default without --inputs: 10)")
    parser.add_argument("--place", type=Path, help="an empty directory to work in")
    wanted = parser.parse_args()
    if wanted.place is None:
        with tempfile.TemporaryDirectory(prefix=f"wl-{os.getpid()}-", dir="/dev/shm") as place:
            return work(wanted, Path(place))
    return work(wanted, wanted.place)


def work(wanted: argparse.Namespace, place: Path) -> int:
    decoder = DECODERS[wanted.decoder](place)
    try:
        if wanted.input is not None:
            return again(decoder, wanted)
        seconds = wanted.seconds if wanted.seconds or wanted.inputs else 10.0
        outcome = campaign.run(decoder, wanted.seed, place / "progress", wanted.inputs, seconds)
    finally:
        decoder.close()
    print(json.dumps(asdict(outcome)))
    return 1 if outcome.faults else 0


def again(decoder, wanted: argparse.Namespace) -> int:
    data = campaign.input_of(decoder, wanted.seed, wanted.input)
    print(f"{size_bytes(data)} bytes: {data!r:.2000}", file=sys.stderr)
    try:
        decoder.decode(data)
    except decoder.errors as error:
        print(f"refused as documented: {type(error).__name__}: {error!s:.500}")
    else:
        print("accepted")
    return 0


sys.exit(main())
