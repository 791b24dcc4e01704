# SPDX-License-Identifier: Apache-2.0
"""What the calculator imports after its start: nothing, for its user may not be able to read it then."""

import subprocess
import sys

# Two windows with sockets, taken by what loop.py has imported.
SCRIPT = """
import sys
from services.calculator import loop
from tests.calculator.use import Usage
from tests.calculator.world import World

def numpys():
    return {name for name in sys.modules if name.partition(".")[0] == "numpy"}

before, world, book = numpys(), World(), Usage()
for _ in range(2):
    world.run(1, {(2, 10, 100): 0.25})
    book.advance(world.activity())
print(*sorted(numpys() - before))
"""


def test_numpy_is_imported_whole_at_the_start():
    """Its parts that are imported at first use are not used."""
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []
