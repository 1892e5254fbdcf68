"""What follows from an object's fields, worked out once for each object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class derived(Generic[T]):  # noqa: N801  used like property
    """functools.cached_property without the lock that it has until Python 3.12: a dozen of them are read in each pass,
    and half of their time went into locks. Two threads may both work the value out.
    """

    def __init__(self, work: Callable[[Any], T]) -> None:
        self._work = work
        self._name = work.__name__
        self.__doc__ = work.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> derived[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> derived[T] | T:
        """Found before this descriptor from the second time on, as it is in the object's own dictionary."""
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._work(instance)
        return value
