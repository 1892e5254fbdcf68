"""How long a container that ended waits before it is started again."""

from dataclasses import dataclass


@dataclass
class RestartBackOff:
    """The kubelet's law: none for the first restart, then ``initial_seconds`` doubling up to ``limit_seconds``.

    It starts over when the container then ran for longer than twice the limit (k8s.io/client-go/util/flowcontrol).
    """

    initial_seconds: float = 10.0
    limit_seconds: float = 300.0
    _next_seconds: float | None = None
    _started_at: float = 0.0

    def wait_seconds(self, finished_at: float) -> float:
        """To be called once for each end of the container, at monotonic time ``finished_at`` (seconds)."""
        expired = finished_at - self._started_at > 2 * self.limit_seconds
        wait = 0.0 if self._next_seconds is None or expired else self._next_seconds
        self._next_seconds = min(2 * wait, self.limit_seconds) if wait else self.initial_seconds
        self._started_at = finished_at + wait
        return wait


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that ended with ``exit_code`` runs again under the pod's restartPolicy."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)
