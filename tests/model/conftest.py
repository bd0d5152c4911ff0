"""Tests against a model (model.py): random operations on the real thing and on the model, which
must come to the same. tests/run starts them with few examples, the same ones each time; tests/model/run
for as long as one likes, with others each time.

A failure is printed as the shortest steps that show it, with a line @reproduce_failure(...) which, put
before the test, repeats them. tests/model/run also prints the seed of each round: with --seed N it is
that round again."""

import importlib.util
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
for folder in ("model", "e2e", "cases"):
    sys.path.insert(0, str(TESTS / folder))

# The fixtures of the end-to-end tests, whose file is called conftest too.
spec = importlib.util.spec_from_file_location("e2e_conftest", TESTS / "e2e" / "conftest.py")
e2e_conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e_conftest)

pytest_configure = e2e_conftest.pytest_configure
top, place, tls = e2e_conftest.top, e2e_conftest.place, e2e_conftest.tls


@pytest.fixture(scope="module")
def folders():
    """Of one directory after the other; in memory, where there is room, for there are many."""
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="homing-model-", dir=memory if os.access(memory, os.W_OK) else None))
    path.chmod(0o755)
    yield (path / str(number) for number in itertools.count())
    shutil.rmtree(path, ignore_errors=True)
