"""Status is read back tolerantly: a restarted or newer operator must find its timers whatever else is in it."""

from mediapipeline_operator.api.status import MediaPipelineStatus


def test_an_empty_status_reads_as_defaults() -> None:
    assert MediaPipelineStatus.read({}).replicas == 0


def test_timers_survive_a_round_trip() -> None:
    timers = {"breachSince": "2026-01-02T03:04:05Z", "dataStateSince": "2026-01-02T03:00:00Z"}
    status = MediaPipelineStatus.read({"autoscaling": {"dataState": "Fresh", "timers": timers, "newField": 1}})
    assert status.autoscaling is not None
    assert status.autoscaling.timers is not None
    written = status.autoscaling.timers.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written == timers


def test_a_broken_part_is_left_out_and_the_rest_is_kept() -> None:
    status = MediaPipelineStatus.read({"latency": "high", "replicas": -1, "readyReplicas": 3, "image": "img"})
    assert (status.latency, status.replicas, status.ready_replicas, status.image) == (None, 0, 3, "img")


def test_decisions_use_the_names_from_and_to() -> None:
    status = MediaPipelineStatus.read({"autoscaling": {"decision": {"from": 2, "to": 3}}})
    assert status.autoscaling is not None
    assert status.autoscaling.decision is not None
    assert (status.autoscaling.decision.from_, status.autoscaling.decision.to) == (2, 3)
