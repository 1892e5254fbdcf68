"""A mailbox of capacity one between a producer (any thread) and one consumer on the event loop: the newest item
wins.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class MailboxClosed(Exception):  # noqa: N818  the normal end of a path, as StopIteration is
    """Raised by `get` once the mailbox is closed; nothing will arrive any more."""


class Mailbox(Generic[T]):
    """Holds at most one item. `put` never waits: it replaces an unread item and hands that to `on_superseded`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_superseded: Callable[[T], None]) -> None:
        self._loop = loop
        self._on_superseded = on_superseded
        self._lock = threading.Lock()
        self._item: T | None = None
        self._closed = False
        self._arrived = asyncio.Event()

    def put(self, item: T) -> None:
        """Store `item` as the newest one. Callable from any thread;
        after `close` the item counts as superseded at once.
        """
        with self._lock:
            replaced, wake = (item, False) if self._closed else (self._item, self._item is None)
            if not self._closed:
                self._item = item
        if replaced is not None:
            self._on_superseded(replaced)
        if wake:
            self._wake()

    def close(self) -> None:
        """End the mailbox: an unread item counts as superseded, a waiting `get` raises MailboxClosed."""
        with self._lock:
            self._closed, unread, self._item = True, self._item, None
        if unread is not None:
            self._on_superseded(unread)
        self._wake()

    async def get(self) -> T:
        """The newest item, as soon as there is one. Raises MailboxClosed. One consumer at a time."""
        while True:
            with self._lock:
                item, self._item = self._item, None
                if item is not None:
                    return item
                if self._closed:
                    raise MailboxClosed
                self._arrived.clear()
            await self._arrived.wait()

    def _wake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.set)
