"""What can go wrong while getting a program.

BinaryError
├── BinaryUnavailableError   every source was tried; the message lists why each one could not help and how to go on
├── ChecksumError    a download differs from its published checksum; never ignored, never retried elsewhere
├── CacheError       the cache folder cannot be written, or its disk is full
└── CacheBusyError           another run held the lock of a product for too long
"""

from collections.abc import Sequence


class BinaryError(Exception):
    """Base of everything this package raises on purpose."""


class ChecksumError(BinaryError):
    """A downloaded file is not what its publisher says it is."""


class CacheError(BinaryError):
    """The cache folder cannot hold the program."""


class CacheBusyError(BinaryError):
    """Another run is installing the same product and does not finish."""


class BinaryUnavailableError(BinaryError):
    """No source has the program; `reasons` says why, one sentence a source."""

    def __init__(self, name: str, version: str, reasons: Sequence[str]) -> None:
        self.name = name
        self.reasons = tuple(reasons)
        listed = "".join(f"\n  - {reason}" for reason in reasons)
        super().__init__(
            f"cannot get {name} {version}:{listed}\n"
            f"To go on: connect this machine to the network (or set HTTPS_PROXY, GOPROXY, PIP_INDEX_URL), "
            f"or put {name} {version} into a folder and set KUBEBUILDER_ASSETS to that folder."
        )


class SourceUnavailableError(Exception):
    """One source cannot supply a program, so the next one is asked; the message is one line without its name."""


class NotOfferedError(SourceUnavailableError):
    """The source never has this program: not worth a remark."""
