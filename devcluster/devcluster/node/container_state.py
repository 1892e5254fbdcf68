"""What the node knows of one container; devcluster.node.status turns it into the API's words."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from devcluster.node.json_types import Json


@dataclass(frozen=True)
class Waiting:
    """Not running yet, or not again yet."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Running:
    """The program runs since ``started_at``."""

    started_at: datetime


@dataclass(frozen=True)
class Terminated:
    """The program ended, or could not be started (exit code 128, StartError)."""

    exit_code: int
    reason: str
    started_at: datetime
    finished_at: datetime
    container_id: str = ""
    message: str = ""


State = Waiting | Running | Terminated


@dataclass
class ContainerState:
    """One container's state; ``final`` says that a Terminated state will not be followed by a restart."""

    name: str
    image: str
    state: State = field(default_factory=lambda: Waiting("ContainerCreating"))
    last: Terminated | None = None
    restart_count: int = 0
    started: bool = False
    ready: bool = False
    final: bool = False
    container_id: str = ""

    def begin(self, container_id: str, now: datetime) -> None:
        """The program has been started."""
        self.state, self.container_id, self.started, self.ready = Running(now), container_id, False, False

    def end(self, exit_code: int, now: datetime, *, reason: str = "", message: str = "") -> None:
        """The program has ended."""
        started_at = self.state.started_at if isinstance(self.state, Running) else now
        reason = reason or ("Completed" if exit_code == 0 else "Error")
        self.state = Terminated(exit_code, reason, started_at, now, self.container_id, message)
        self.started = self.ready = False

    def wait_for_restart(self, waiting: Waiting) -> None:
        """The ended program waits for its next start."""
        if isinstance(self.state, Terminated):
            self.last = self.state
        self.state = waiting

    def count_restart(self) -> None:
        """The next start is a restart."""
        if isinstance(self.state, Terminated):
            self.last = self.state
        self.restart_count += 1


def parse_time(text: str) -> datetime:
    """RFC 3339 as the API writes it."""
    return datetime.fromisoformat(text)


def restored(container: Json, previous: Json | None, now: datetime, *, restart_policy: str) -> ContainerState:
    """The state of a container whose pod this node ran before it was itself restarted.

    A program that ran then has ended with the former agent: it counts as killed (137) and will be restarted.
    """
    state = ContainerState(container["name"], container["image"])
    if not previous:
        return state
    state.restart_count = previous.get("restartCount", 0)
    state.last = _terminated((previous.get("lastState") or {}).get("terminated"))
    current = previous.get("state") or {}
    ended = _terminated(current.get("terminated"))
    if ended and (restart_policy == "Never" or (restart_policy == "OnFailure" and ended.exit_code == 0)):
        state.state, state.final = ended, True
    elif running := current.get("running"):
        started_at = parse_time(running["startedAt"])
        message = "The node agent was restarted"
        state.last = Terminated(137, "Error", started_at, now, previous.get("containerID", ""), message)
        state.restart_count += 1
    elif ended:
        state.last, state.restart_count = ended, state.restart_count + 1
    return state


def _terminated(fields: Json | None) -> Terminated | None:
    if not fields:
        return None
    now = datetime.now(UTC).replace(microsecond=0)
    times = [parse_time(fields[key]) if fields.get(key) else now for key in ("startedAt", "finishedAt")]
    return Terminated(
        fields["exitCode"],
        fields.get("reason", "Error"),
        times[0],
        times[1],
        fields.get("containerID", ""),
        fields.get("message", ""),
    )
