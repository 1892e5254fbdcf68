"""--load: a named shape, or a CSV file with the columns seconds,sessions."""

from __future__ import annotations

import csv
import math
from itertools import pairwise
from pathlib import Path

import typer

from mediapipeline_operator.core.simulation.loads import SHAPES, Lengths, Shape, piecewise

COLUMNS = ("seconds", "sessions")
MOST_ROWS = 100_000
LONGEST_SECONDS = 7 * 86400


def shape_of(text: str, mean_session_seconds: float | None) -> tuple[Shape, bool]:
    """(shape, whether its values are sessions and not shares of a peak). Raises typer.BadParameter."""
    if text in SHAPES:
        shape = SHAPES[text]
        if mean_session_seconds is None:
            return shape, False
        return Shape(shape.duration_seconds, shape.curve, Lengths(mean_session_seconds), shape.cuts), False
    path = Path(text)
    if not path.is_file():
        raise typer.BadParameter(f"--load {text}: neither a file nor one of {', '.join(SHAPES)}")
    points = read_points(path)
    lengths = Lengths(300.0 if mean_session_seconds is None else mean_session_seconds)
    return Shape(math.ceil(points[-1][0]), piecewise(*points), lengths), True


def read_points(path: Path) -> list[tuple[float, float]]:
    """Points of a CSV file by time. Raises typer.BadParameter, which names the row."""
    points = []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        if rows.fieldnames is None or not set(COLUMNS) <= set(rows.fieldnames):
            raise typer.BadParameter(f"{path}: the first line must name the columns {','.join(COLUMNS)}")
        for number, row in enumerate(rows, start=2):
            points.append(_point(path, number, row))
            if number > MOST_ROWS:
                raise typer.BadParameter(f"{path}: more than {MOST_ROWS} rows")
    if len(points) < 2 or any(later[0] <= earlier[0] for earlier, later in pairwise(points)):
        raise typer.BadParameter(f"{path}: seconds must rise, in two rows or more")
    return points


def _point(path: Path, number: int, row: dict[str, str]) -> tuple[float, float]:
    try:
        seconds, sessions = (float(row[name]) for name in COLUMNS)
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(f"{path}, line {number}: {row} has no number for {' and '.join(COLUMNS)}") from error
    if not 0 <= seconds <= LONGEST_SECONDS or not 0 <= sessions <= 1e6:
        raise typer.BadParameter(f"{path}, line {number}: seconds 0 to {LONGEST_SECONDS}, sessions 0 to 1000000")
    return seconds, sessions
