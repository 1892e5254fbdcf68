"""What a person sees while something takes long: a line with the elapsed seconds for anything over two seconds."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

FIRST_LINE_SECONDS = 2.0
TERMINAL_REFRESH_SECONDS = 1.0
PLAIN_REFRESH_SECONDS = 15.0


class Progress(Protocol):
    """Where steps and remarks are shown."""

    def note(self, text: str) -> None:
        """A remark of one line."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """A step that may take long; shown with its elapsed seconds when it does."""


class Quiet:
    """Shows nothing."""

    def note(self, text: str) -> None:
        """Discards the remark."""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Runs the step without a word."""
        yield


class Lines:
    """Writes lines: on a terminal one line that counts seconds, elsewhere a new line every quarter of a minute."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()

    def note(self, text: str) -> None:
        """Writes one line."""
        self._write(f"{text}\n")

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Runs the step; speaks up after two seconds, then regularly, and once at its end."""
        finished = threading.Event()
        started = time.monotonic()
        ticker = threading.Thread(target=self._tick, args=(text, started, finished), daemon=True)
        ticker.start()
        outcome = "stopped"
        try:
            yield
            outcome = "done"
        finally:
            finished.set()
            ticker.join(timeout=1)
            self._close(text, outcome, time.monotonic() - started)

    def _tick(self, text: str, started: float, finished: threading.Event) -> None:
        wait_seconds = FIRST_LINE_SECONDS
        while not finished.wait(wait_seconds):
            self._write(self._line(f"{text} ... {time.monotonic() - started:.0f} s"))
            wait_seconds = TERMINAL_REFRESH_SECONDS if self._terminal else PLAIN_REFRESH_SECONDS

    def _close(self, text: str, outcome: str, elapsed_seconds: float) -> None:
        if elapsed_seconds >= FIRST_LINE_SECONDS:
            end = "\n" if self._terminal else ""
            self._write(self._line(f"{text}: {outcome} in {elapsed_seconds:.1f} s") + end)

    def _line(self, text: str) -> str:
        return f"\r\x1b[2K{text}" if self._terminal else f"{text}\n"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
