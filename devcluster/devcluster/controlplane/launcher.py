"""Becomes another program that the kernel ends when the starting process dies, however it dies.

Run by path, isolated and without site packages, so that it costs some 20 ms:
`python -I -S launcher.py PARENT_PID SIGNAL PROGRAM [ARGUMENT...]`. A program of its own instead of a `preexec_fn`,
because Python code between fork and exec can deadlock when the parent has threads.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; survives execve


def main() -> None:
    """Asks for the signal, checks that the parent is still there, and execs the program."""
    parent_pid, death_signal = int(sys.argv[1]), int(sys.argv[2])
    program = sys.argv[3:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent_pid:  # it died before prctl: the signal will never come
        sys.exit("the starting process is gone")
    try:
        os.execvp(program[0], program)  # noqa: S606  an argument list, no shell
    except OSError as error:
        sys.exit(f"cannot run {program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
