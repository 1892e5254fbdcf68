"""Named steps with their durations, shown while they run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console


class Steps:
    """Durations in seconds by step. Each step prints a line when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Runs a step; its name is printed at its end with the time that it took, or when it failed."""
        began = time.monotonic()
        done = False
        try:
            yield
            done = True
        finally:
            self.seconds[name] = time.monotonic() - began
            mark = "[green]done[/]" if done else "[red]failed[/]"
            self._console.print(f"  {mark} {name} [dim]({self.seconds[name]:.1f} s)[/]", soft_wrap=True)

    def note(self, text: str) -> None:
        self._console.print(f"  [dim]{text}[/]", soft_wrap=True)
