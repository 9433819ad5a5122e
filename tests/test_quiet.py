"""Libraries say nothing of themselves, also those that are imported only once something needs them."""

import subprocess
import sys

import pytest

LEVELS = """
import logging
from lpdseg.quiet import library, quiet

def level():
    return logging.getLogger("{name}").getEffectiveLevel()

with quiet():
    with quiet():
        library("{name}")
        print(level())
    print(level())
print(level())
"""


@pytest.mark.parametrize(("name", "inside", "own"), [("lightning_fabric", 30, 20), ("transformers", 40, 30)])
def test_a_library_imported_inside_is_quiet_until_the_end(name: str, inside: int, own: int) -> None:
    code = LEVELS.format(name=name)
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [int(line) for line in result.stdout.split()] == [inside, inside, own]
