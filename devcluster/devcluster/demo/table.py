"""The demo's live table (rich): one row a moment that matters, and a line for what happens now."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from devcluster.demo.observation import Observation
from devcluster.demo.story import Story

COLUMNS = ("TIME", "PHASE", "SESSIONS", "READY", "DESIRED", "DRAIN", "P95", "MISSED", "DATA", "SCALING")
ROWS = 14


def render(rows: Sequence[tuple[Story, Observation]], note: str, now: Observation) -> RenderableType:
    """The last rows as a table; below it the decision in the operator's own words. `note` says what is simulated."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for column in COLUMNS:  # where the terminal is narrow the words of the last column fold, and no number is cut
        justify: JustifyMethod = "right" if column in ("TIME", "P95", "MISSED") else "left"
        table.add_column(column, justify=justify, no_wrap=column != COLUMNS[-1], overflow="fold")
    for story, seen in rows[-ROWS:]:
        table.add_row(*cells(story, seen))
    last = now.decision.get("message", "")
    return Group(Text(note, style="yellow"), table, Text(f"operator: {last or 'no decision yet'}", style="cyan"))


def cells(story: Story, seen: Observation) -> list[str]:
    return [
        f"{seen.time_seconds:.0f} s",
        str(story.phase),
        f"{seen.load.connected}/{seen.load.wanted}",
        f"{seen.ready}/{seen.replicas}",
        str(seen.desired),
        str(seen.draining or "-"),
        seen.p95,
        "-" if seen.miss_per_mille is None else f"{seen.miss_per_mille / 10:.1f} %",
        seen.data_state,
        seen.summary,
    ]


def line(story: Story, seen: Observation) -> str:
    """One row as plain text, for output that is no terminal."""
    named = zip(COLUMNS, cells(story, seen), strict=True)
    return "  ".join(f"{name.lower()} {value}" for name, value in named)


def worth_a_row(previous: Observation | None, seen: Observation, every_seconds: float = 5) -> bool:
    """A new row for every change that a reader should see, and every few seconds otherwise."""
    if previous is None or seen.time_seconds - previous.time_seconds >= every_seconds:
        return True
    fields = ("ready", "desired", "draining", "data_state", "summary")
    return any(getattr(previous, name) != getattr(seen, name) for name in fields)
