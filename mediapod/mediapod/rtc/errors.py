"""What keeps an offer from being answered though it is fine.

MediaUnavailable
├── NoMediaPort   every media port is taken            (ice)
└── NoRelay       no TURN server lends an address      (relay)
"""


class MediaUnavailable(OSError):  # noqa: N818  says what is the case
    """There is no address for the media of another session. The message says why; public: what clients are told."""

    def __init__(self, message: str, public: str) -> None:
        super().__init__(message)
        self.public = public
