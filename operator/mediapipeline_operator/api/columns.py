"""What `kubectl get mediapipelines` prints; columns with priority 1 only with `-o wide`."""

_READY = '.status.conditions[?(@.type=="Ready")].status'


def _column(name: str, kind: str, path: str, description: str, *, wide: bool = False) -> dict[str, str | int]:
    column: dict[str, str | int] = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": 1} if wide else column


PRINTER_COLUMNS = [
    _column("Ready", "string", _READY, "Whether the pipeline serves and its children are current."),
    _column("Replicas", "integer", ".status.replicas", "Live pods."),
    _column("Desired", "integer", ".status.desiredReplicas", "What scaling wants now."),
    _column("Sessions", "string", ".status.sessions.summary", "Active sessions / capacity."),
    _column("P95", "string", ".status.latency.summary", "p95 of the frame age, missed frames included."),
    _column("Scaling", "string", ".status.autoscaling.summary", "What scaling does."),
    _column("Age", "date", ".metadata.creationTimestamp", "Age of the resource."),
    _column("Device", "string", ".spec.compute.device", "Where frames are processed.", wide=True),
    _column("Miss", "integer", ".status.latency.missPerMille", "Missed frames, per mille.", wide=True),
    _column("Data", "string", ".status.autoscaling.dataState", "How far measurements can be trusted.", wide=True),
    _column("Image", "string", ".status.image", "The image of the pods.", wide=True),
]
