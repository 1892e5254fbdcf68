"""A bounded queue for encoded frames, which refer to the ones before them: it drops to the next keyframe or nothing."""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from mediapod.rtc.bitstream import Codec, is_keyframe


class Encoded(Protocol):
    """What the queue reads of a frame."""

    @property
    def codec(self) -> Codec:
        """Its codec."""

    @property
    def data(self) -> bytes:
        """The encoded picture."""


E = TypeVar("E", bound=Encoded)


class FrameChain(Generic[E]):
    """Holds at most `capacity` frames in order. One frame too many drops all of them and everything up to the next
    keyframe: later frames refer to the dropped ones. Not thread-safe.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames: deque[E] = deque()
        self._await_keyframe = False

    def __len__(self) -> int:
        return len(self._frames)

    def push(self, frame: E) -> list[E]:
        """Append a frame; returns what had to go, the frame itself included. Not empty: a keyframe is needed."""
        if self._await_keyframe and not is_keyframe(frame.codec, frame.data):
            return [frame]
        self._await_keyframe = False
        if len(self._frames) < self._capacity:
            self._frames.append(frame)
            return []
        self._await_keyframe = True
        return [*self.clear(), frame]

    def pop(self) -> E:
        """The oldest frame. Raises IndexError."""
        return self._frames.popleft()

    def clear(self) -> list[E]:
        """Empty the queue; returns what was in it."""
        frames = list(self._frames)
        self._frames.clear()
        return frames
