"""Totals of a run: shares inside and outside of overloads, ends by the server."""

from devcluster.load.statistics import RecentRoundTrips, SessionStatistics, percentile, recent_returns, totals


def _session(name: str, seconds: range, returned_each: int) -> SessionStatistics:
    session = SessionStatistics(name, "VP8", inspected=False, connect_seconds=0.1)
    for at in seconds:
        for frame in range(10):
            session.count_sent(at + frame / 10)
            if frame < returned_each:
                session.count_returned(at + frame / 10, 0.02 * (frame + 1))
    return session


def test_frames_are_split_by_the_second_they_were_sent_in() -> None:
    report = totals([_session("a", range(100, 110), 10), _session("b", range(110, 120), 4)], [(110.0, 119.5)])
    assert report["outsideOverloads"]["framesSent"] == 100
    assert report["outsideOverloads"]["framesMissing"] == 0
    assert report["insideOverloads"]["framesMissing"] == 60
    assert report["insideOverloads"]["returnedShare"] == 0.4
    assert [second["framesReturned"] for second in report["seconds"]] == [10] * 10 + [4] * 10


def test_only_sessions_that_the_server_ended_are_listed() -> None:
    ended = [SessionStatistics(str(number), "H264", inspected=False) for number in range(4)]
    for session, reason in zip(ended, ("client closed", "server closed", "ICE lost", "rejected"), strict=True):
        session.end_reason, session.ended_time = reason, 5.0
    report = totals(ended)
    assert [(one["name"], one["reason"]) for one in report["endedByServer"]] == [
        ("1", "server closed"),
        ("2", "ICE lost"),
    ]
    assert report["connected"] == 0


def test_the_recent_share_leaves_out_what_may_still_be_under_way() -> None:
    session = _session("a", range(100, 110), 5)
    assert recent_returns([session], now=110.5) == (50, 25)
    assert recent_returns([session], now=200.0) == (0, 0)


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.95, 1.0)] == [50, 95, 100]
    assert percentile([], 0.5) is None
    assert percentile([7.0], 0.95) == 7.0


def test_recent_round_trips_forget() -> None:
    recent = RecentRoundTrips(window_seconds=5)
    recent.add(10, 0.1)
    recent.add(14, 0.2)
    assert recent.summary(14)["p50"] == 100
    assert recent.summary(16)["p50"] == 200
    assert recent.summary(30)["p50"] is None
