"""Visits: what users wanted, what they got, and plans that are refused."""

from pathlib import Path

import pytest

from devcluster.load.client import ClientSettings
from devcluster.load.statistics import SessionStatistics
from devcluster.load.visits import Played, Visit, VisitRunner, VisitSettings, most_at_once, read_visits

BEGAN = 1_000_000.0


def session(
    start: float, connect: float | None, end: float, *, refused: int = 0, killed: bool = False
) -> SessionStatistics:
    """Times in seconds of the run."""
    found = SessionStatistics("visit-0", "H264", inspected=False, started_time=BEGAN + start, connect_seconds=connect)
    found.rejections, found.ended_time = refused, BEGAN + end
    found.end_reason = "server closed" if killed else "client closed"
    return found


def played(*sessions: SessionStatistics, start: float = 10, end: float = 70) -> Played:
    return Played(Visit(start, end), sessions)


@pytest.mark.parametrize(
    ("one", "absent"),
    [
        (played(session(10, 1.5, 70)), 0),  # connecting is not absence
        (played(session(10.4, 1.5, 70)), 0),  # nor is a generator that was late
        (played(session(10, 20, 70, refused=4)), 20),
        (played(session(10, None, 70, refused=9)), 60),
        (played(), 60),
        (played(session(10, 1, 30, killed=True), session(31, 1, 70)), 1),
        (played(session(10, 1, 30, killed=True), session(31, 9, 70, refused=2)), 10),
        (played(session(10, 1.5, 72)), 0),  # closing takes a moment
    ],
)
def test_time_without_a_session(one: Played, absent: float) -> None:
    assert one.absent_seconds(BEGAN) == pytest.approx(absent)


def test_killed_sessions_are_counted() -> None:
    assert played(session(10, 1, 30, killed=True), session(31, 1, 70)).killed == 1
    assert played(session(10, 1, 70)).killed == 0


def test_most_at_once_counts_one_that_leaves_as_another_comes_once() -> None:
    assert most_at_once([Visit(0, 5), Visit(5, 9), Visit(6, 8)]) == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", "[[1]]", "[[5, 5]]", "[[-1, 5]]", '[["a", 2]]', "[[0, 1e400]]"])
def test_a_broken_plan_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "visits.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"visits\.json"):
        read_visits(path)


def test_more_than_the_generator_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "visits.json"
    path.write_text(str([[0, 10]] * 501))
    with pytest.raises(ValueError, match="501 visits at once"):
        read_visits(path)


def test_a_plan_is_read(tmp_path: Path) -> None:
    path = tmp_path / "visits.json"
    path.write_text("[[0, 10.5], [3, 4]]")
    assert read_visits(path) == (Visit(0, 10.5), Visit(3, 4))


def test_the_report_says_when_sessions_were_connected_within_their_visits() -> None:
    """A session without an end is one whose closing hung: the user had left all the same."""
    hung = session(40, 2, 0)
    hung.ended_time = None
    visits = [played(session(10, 1.5, 30, killed=True), session(31, 1, 72)), played(hung, start=40, end=90)]
    settings = VisitSettings(ClientSettings("http://127.0.0.1:1"), tuple(one.visit for one in visits), BEGAN)
    report = VisitRunner(settings)._report(visits)
    assert report["visits"][0] == {
        "start": 10,
        "end": 70,
        "offered": 10,
        "absentSeconds": 1,
        "killed": 1,
        "sessions": [[11.5, 30], [32, 70]],
    }
    assert report["visits"][1]["sessions"] == [[42, 90]]
    assert len(report["totals"]["endedByServer"]) == 1
