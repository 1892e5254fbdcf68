"""Child processes end when they should, however their parent ends, and strangers are left alone."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster.controlplane.processes import (
    ChildProcess,
    Command,
    ProcessError,
    ProcessRecord,
    ProcessTable,
    log_tail,
    start_process,
    stop_recorded,
    wait_until,
)

SLEEP = ("sleep", "600")
DEAF = ("/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ChildProcess]:
    child = start_process(Command("sleeper", SLEEP), tmp_path)
    yield child
    child.stop()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., ChildProcess]]:
    """`started(command)`: a child that is stopped with the test, also when that fails."""
    children: list[ChildProcess] = []

    def start(command: Command) -> ChildProcess:
        children.append(start_process(command, tmp_path))
        return children[-1]

    yield start
    for child in children:
        child.stop()


Started = Callable[[Command], ChildProcess]


def _running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between opening and reading
        return False
    return state not in "ZX"


def test_a_child_is_recorded_while_it_runs(sleeper: ChildProcess, tmp_path: Path) -> None:
    assert sleeper.alive()
    assert ProcessTable(tmp_path).find("sleeper") == sleeper.record
    sleeper.stop()
    assert not sleeper.alive()
    assert ProcessTable(tmp_path).read() == []


def test_stopping_twice_is_harmless(sleeper: ChildProcess) -> None:
    sleeper.stop()
    sleeper.stop()


def test_a_deaf_child_is_killed_after_its_time(started: Started) -> None:
    child = started(Command("deaf", DEAF))
    assert wait_until(lambda: "ready" in log_tail(child.log_path), 60)
    child.stop(timeout_seconds=0.2)
    assert not _running(child.pid)


def test_grandchildren_end_with_the_group(started: Started) -> None:
    script = "sleep 60 & echo $!; trap '' TERM; wait; wait"
    child = started(Command("family", ("/bin/sh", "-c", script)))
    assert wait_until(lambda: log_tail(child.log_path) != "", 60)
    grandchild = int(log_tail(child.log_path))
    child.stop(timeout_seconds=0.2)
    assert wait_until(lambda: not _running(grandchild), 30)


def test_output_goes_to_the_log_of_its_name(started: Started, tmp_path: Path) -> None:
    command = Command("talker", ("/bin/sh", "-c", "echo $WORD; echo error >&2"), {"WORD": "hello"})
    child = started(command)
    assert wait_until(lambda: not child.alive(), 60)
    assert child.log_path == tmp_path / "logs" / "talker.log"
    assert log_tail(child.log_path) == "hello\nerror"
    assert log_tail(child.log_path, lines=1) == "error"


def test_a_program_that_does_not_exist_is_named_in_the_log(started: Started) -> None:
    child = started(Command("ghost", ("/nonexistent/ghost",)))
    assert wait_until(lambda: not child.alive(), 60)
    assert "cannot run /nonexistent/ghost: No such file or directory" in log_tail(child.log_path)


def test_a_program_that_does_not_exist_is_named_at_once_when_untied(tmp_path: Path) -> None:
    with pytest.raises(ProcessError, match="cannot start ghost"):
        start_process(Command("ghost", ("/nonexistent/ghost",)), tmp_path, tie_to_parent=False)


def test_a_child_outlives_the_thread_that_asked_for_it(started: Started) -> None:
    children: list[ChildProcess] = []
    thread = threading.Thread(target=lambda: children.append(started(Command("child", SLEEP))))
    thread.start()
    thread.join()
    assert not wait_until(lambda: not children[0].alive(), 0.5)


PARENT = """
import sys
from pathlib import Path
from devcluster.controlplane.processes import Command, start_process
child = start_process(Command("child", ("sleep", "600")), Path(sys.argv[1]), tie_to_parent=sys.argv[2] == "tied")
print(child.pid, flush=True)
sys.stdin.read()
"""


def _killed_parent(data_dir: Path, how: str) -> int:
    with subprocess.Popen(
        (sys.executable, "-c", PARENT, str(data_dir), how), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        # the launcher has set the death signal once it has become the program
        assert wait_until(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", 60)
        parent.kill()
    return pid


def test_a_tied_child_ends_with_a_killed_parent(tmp_path: Path) -> None:
    pid = _killed_parent(tmp_path, "tied")
    assert wait_until(lambda: not _running(pid), 30)


def test_an_untied_child_outlives_its_parent_until_somebody_cleans_up(tmp_path: Path) -> None:
    pid = _killed_parent(tmp_path, "free")
    assert not wait_until(lambda: not _running(pid), 0.3)
    assert stop_recorded(tmp_path) == ["child"]
    assert not _running(pid)
    assert ProcessTable(tmp_path).read() == []


def test_a_stranger_with_a_recorded_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
        ProcessTable(tmp_path).add(ProcessRecord("old", stranger.pid, start_ticks=1, log="old.log"))
        assert stop_recorded(tmp_path) == []
        assert stranger.poll() is None
        assert ProcessTable(tmp_path).read() == []
        os.kill(stranger.pid, signal.SIGKILL)


def test_only_the_named_processes_are_stopped(started: Started, tmp_path: Path) -> None:
    children = [started(Command(name, SLEEP)) for name in ("first", "second")]
    assert stop_recorded(tmp_path, ("second",)) == ["second"]
    assert [child.alive() for child in children] == [True, False]


def test_the_table_is_plain_json(sleeper: ChildProcess, tmp_path: Path) -> None:
    (entry,) = json.loads((tmp_path / "processes.json").read_text())["processes"]
    assert entry["pid"] == sleeper.pid
    assert set(entry) == {"name", "pid", "start_ticks", "log"}
