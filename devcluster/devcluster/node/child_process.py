"""Child processes on the event loop by pidfd: no thread and no signal handler for each."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

_CHUNK_BYTES = 65536
_LAST_OUTPUT_SECONDS = 2.0


class ChildProcess:
    """A started program in a session of its own; its output goes to ``on_output`` as it comes.

    Raises OSError when it cannot be started.
    """

    def __init__(
        self, argv: Sequence[str], on_output: Callable[[bytes], None], *, pass_descriptors: Sequence[int] = ()
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_output = on_output
        self._exit: asyncio.Future[int] = self._loop.create_future()
        self._end_of_output = asyncio.Event()
        self._output, writing = os.pipe()
        try:
            self._process = _start(argv, writing, pass_descriptors)
        except OSError:
            os.close(self._output)
            raise
        finally:
            os.close(writing)
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._read)
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the program has not ended yet."""
        return not self._exit.done()

    def _read(self) -> None:
        try:
            chunk = os.read(self._output, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._on_output(chunk)
        else:
            self._close_output()

    def _close_output(self) -> None:
        if not self._end_of_output.is_set():
            self._loop.remove_reader(self._output)
            os.close(self._output)
            self._end_of_output.set()

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._exit.set_result(self._process.wait())

    async def wait(self) -> int:
        """Waits for the end and the rest of the output. Returns the exit code, -n after signal n."""
        code = await asyncio.shield(self._exit)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._end_of_output.wait(), _LAST_OUTPUT_SECONDS)
        self._close_output()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless the program has ended."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def kill(self, timeout_seconds: float = 5.0) -> None:
        """SIGKILL, and waits for the end."""
        self.signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.wait(), timeout_seconds)


def _start(argv: Sequence[str], output: int, pass_descriptors: Sequence[int]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={},
        pass_fds=pass_descriptors,
        start_new_session=True,
    )
