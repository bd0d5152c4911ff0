"""Faults: the fixtures of tests/e2e, with a system on small file systems of its own that is watched while
it breaks."""

import importlib.util
import sys
from pathlib import Path

import pytest

E2E = Path(__file__).resolve().parents[1] / "e2e"
sys.path.insert(0, str(E2E))

spec = importlib.util.spec_from_file_location("e2e_fixtures", E2E / "conftest.py")
e2e = sys.modules["e2e_fixtures"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)

from e2e_fixtures import (place, pytest_configure, pytest_report_header,  # noqa: E402, F401
                          pytest_runtest_makereport, tls, top)
from system import System  # noqa: E402


@pytest.fixture(scope="module")
def shared_system(top):  # noqa: F811
    with System(e2e.numbered(top)) as system:
        yield system


@pytest.fixture(scope="module")
def shared_shimmed(top):  # noqa: F811
    with System(e2e.numbered(top), shimmed=True) as system:
        yield system


@pytest.fixture
def shimmed(request, shared_shimmed):
    """With another clock and a slow disk."""
    shared_shimmed.begin()
    yield shared_shimmed
    shared_shimmed.set_shim()
    if getattr(request.node, "failed", False):
        print(shared_shimmed.logs())


@pytest.fixture
def system(request, shared_system):
    """All of it, running and well; what a test breaks must be well again when it ends."""
    shared_system.begin()
    yield shared_system
    if getattr(request.node, "failed", False):
        print(shared_system.logs())
