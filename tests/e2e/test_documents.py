"""What SECURITY.md names is there: tests, files, functions, settings of tests."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
TEXT = (TOP / "SECURITY.md").read_text()
TESTS = sorted(set(re.findall(r"`((?:unit/|fuzz/)?\w+\.(?:py|c)(?:::\w+)?)`", TEXT)))


def test_many_tests_are_named():
    assert len(TESTS) > 60


@pytest.mark.parametrize("name", TESTS)
def test_a_test_that_is_named_is_there(name):
    path, _, function = name.partition("::")
    file = TOP / "tests" / (path if "/" in path else f"e2e/{path}")
    assert file.exists(), name
    if function:
        begin = r"^def {}\(" if path.endswith(".py") else r"^static void {}\("
        assert re.search(begin.format(re.escape(function)), file.read_text(), re.M), name


def test_sources_and_functions_that_are_named_are_there():
    named = re.findall(r"((?:router|auth-module|plugins|policy-daemon|packaging)/[\w./-]+\.[a-z-]+)((?:, [\w-]+\.c)*)"
                       r"(?: `(\w+)`)?", TEXT)
    assert len(named) > 25
    for path, more, function in named:
        files = [TOP / path, *((TOP / path).parent / other for other in re.findall(r"[\w-]+\.c", more))]
        assert all(file.exists() for file in files), (path, more)
        if function:
            assert any(re.search(rf"\b{function}\(", file.read_text()) for file in files), (path, function)


def test_places_in_the_page_that_are_linked_are_there():
    headings = {re.sub(r"[^\w -]", "", head).lower().replace(" ", "-") for head in re.findall(r"^#+ (.*)$", TEXT, re.M)}
    links = re.findall(r"\]\(#([\w-]+)\)", TEXT)
    assert links and set(links) <= headings
