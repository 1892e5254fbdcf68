"""What a child process is told on its command line."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Orders(BaseModel):
    """Numbers of inherited descriptors and what makes this child differ from its siblings.

    parent: process id of the front; control: its end of the tether; admin, http, frames: listening sockets, the last
    for the device process alone; device: a worker's address of that one; owner: the worker in session URLs; cpu: the
    one to run on, None for any; wanted_device: what the device process must find again, "" for anything.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    parent: int
    control: int
    admin: int
    http: int | None = None
    frames: int | None = None
    device: int | None = None
    owner: str = ""
    cpu: int | None = None
    wanted_device: str = ""
