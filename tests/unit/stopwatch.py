"""A clock of a test."""

from mediapipeline_operator.shell.clock import Clock


class Stopwatch(Clock):
    """Stands until it is set."""

    seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds
