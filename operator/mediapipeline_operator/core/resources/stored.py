"""JSON as the API server stores it: what a user wrote in a part that is passed on, less what the server drops.

The server's types leave out empty strings, lists and maps and `false` where these mean the same as absence. An applied
manifest that held them would differ from the live object for ever, and each pass would write again.
"""

from typing import Any

# Maps whose values are the user's own words: an empty string in them is kept.
_FREE_MAPS = frozenset({"matchLabels", "labels", "annotations", "limits", "requests"})
# Pointers in the server's types: empty differs from absent (storageClassName "" means: no dynamic provisioning).
_MEANINGFUL_WHEN_EMPTY = frozenset({"storageClassName", "volumeAttributesClassName", "optional"})


def as_stored(value: Any) -> Any:
    """`value` without what the server would leave out. Empty objects stay: `emptyDir: {}` means something."""
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if not _dropped(key, part)}
        return {key: part if key in _FREE_MAPS else as_stored(part) for key, part in kept.items()}
    if isinstance(value, list | tuple):
        return [as_stored(part) for part in value]
    return value


def _dropped(key: str, value: Any) -> bool:
    if value is None:
        return True
    if key in _MEANINGFUL_WHEN_EMPTY:
        return False
    if key in _FREE_MAPS:
        return not value
    return value in ("", [], ()) or value is False
