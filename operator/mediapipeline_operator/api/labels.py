"""Group, version, labels, annotations and field managers. They are API: never rename one."""

GROUP = "media.rtcscale.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "MediaPipeline"
PLURAL = "mediapipelines"

PIPELINE = f"{GROUP}/pipeline"  # on every child; the only label in selectors
DRAINING = f"{GROUP}/draining"  # on pods that take no new sessions
DRAIN_STARTED_AT = f"{GROUP}/drain-started-at"  # annotation beside DRAINING, RFC 3339
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
DRAINING_COST = "-1000"  # of a draining pod: of all unready ones it goes first
FIRST_COST = "-2000"  # of a draining pod that is empty while others still have sessions

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"

MANAGER = "mediapipeline-operator"  # server-side apply of children, and their managed-by label
STATUS_MANAGER = "mediapipeline-status"

COMPONENT_SIGNALLING = "signalling"
COMPONENT_METRICS = "metrics"
COMPONENT_MEDIA = "media"

HTTP_PORT = 8080
ADMIN_PORT = 9090
CONTAINER = "mediapod"


def for_child(pipeline: str, component: str) -> dict[str, str]:
    """The labels that every child of `pipeline` carries."""
    return {
        NAME: "mediapod",
        INSTANCE: pipeline,
        COMPONENT: component,
        PART_OF: "mediapipeline",
        MANAGED_BY: MANAGER,
        PIPELINE: pipeline,
    }


def selector(pipeline: str) -> dict[str, str]:
    """Selectors are immutable, so they hold this one label alone."""
    return {PIPELINE: pipeline}
