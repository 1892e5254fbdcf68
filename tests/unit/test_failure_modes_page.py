"""Each row of docs/failure-modes.md names a test, and each test that is named exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "failure-modes.md"
_HEADS = ("fault", "---")


def _rows() -> Iterator[tuple[str, str]]:
    """Fault and the cell that names its tests; what the heading of a table says of tests counts for its rows."""
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and not cells[0].startswith(_HEADS):
            yield cells[0], cells[-1]


def _tests() -> str:
    files = sorted((ROOT / "tests").rglob("*.py"))
    return "\n".join(f"{file.relative_to(ROOT / 'tests')}\n{file.read_text()}" for file in files)


def _names(cell: str) -> list[str]:
    return [name.strip("….") for name in re.findall(r"`([^`]+)`", cell)]


@pytest.fixture(scope="module")
def tests() -> str:
    return _tests()


@pytest.mark.parametrize(("fault", "cell"), list(_rows()))
def test_a_row_names_tests_that_exist(fault: str, cell: str, tests: str) -> None:
    names = _names(cell)
    folders = [name for name in names if name.startswith("tests/") and (ROOT / name).is_dir()]
    assert names, f"{fault!r} names no test"
    assert [name for name in names if name not in tests and name not in folders] == []
