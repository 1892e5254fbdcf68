"""The process between the agent and one container.

It gives the container namespaces of its own (user, mount, pid), passes signals on, ends everything of the container
when the agent asks for it (SIGUSR1) or dies, and ends with the container's exit code (128 + n after signal n).

Protocol on the report descriptor: a line "pid NUMBER" with the container's process id and, only if the program could
not be started, a line "error REASON"; the end of file means that the program runs. The launch file holds a ``Launch``.
"""

import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from devcluster.node.launch import linux, root

START_FAILED_EXIT_CODE = 128
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2)
_WAITED = {*_FORWARDED, signal.SIGUSR1, signal.SIGCHLD}


@dataclass(frozen=True)
class Launch:
    """One container's program: ``isolated`` asks for namespaces, ``base`` is an empty folder for the new root.

    ``kept`` are host paths that the program needs even where a volume covers them.
    """

    argv: list[str]
    environment: dict[str, str]
    working_directory: str
    isolated: bool
    base: str
    mounts: list[root.Mount]
    kept: list[str]

    @classmethod
    def read(cls, path: str) -> "Launch":
        """Reads the launch file that devcluster.node.process wrote."""
        fields = json.loads(Path(path).read_text())
        fields["mounts"] = [root.Mount(**mount) for mount in fields["mounts"]]
        return cls(**fields)


def main(arguments: list[str]) -> int:
    """``run FILE REPORT_FD AGENT_PID`` | ``enter FILE PID COMMAND...`` | ``check BASE``."""
    mode, *rest = arguments
    if mode == "run":
        return run(Launch.read(rest[0]), int(rest[1]), int(rest[2]))
    if mode == "enter":
        return enter(Launch.read(rest[0]), int(rest[1]), rest[2:])
    return check(rest[0])


def run(launch: Launch, report: int, agent_pid: int) -> int:
    """Starts the container and waits for its end. Returns its exit code."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    try:
        if launch.isolated:
            _leave_user_and_pid_namespace()
        linux.die_with_parent(signal.SIGUSR1)
        if os.getppid() != agent_pid:
            return START_FAILED_EXIT_CODE
        child = os.fork()
    except OSError as error:
        os.write(report, f"error {error}\n".encode())
        return START_FAILED_EXIT_CODE
    if child == 0:
        _become_container(launch, report)
    os.write(report, f"pid {child}\n".encode())
    os.close(report)
    return _watch(child)


def _leave_user_and_pid_namespace() -> None:
    """As root a user namespace is not needed, and would hide the files of all other users."""
    if os.geteuid() == 0:
        try:
            linux.unshare(linux.CLONE_NEWPID)
        except PermissionError:
            pass  # root of a container without CAP_SYS_ADMIN: as an ordinary user
        else:
            return
    user, group = os.geteuid(), os.getegid()
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWPID)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _become_container(launch: Launch, report: int) -> None:
    """In the child: never returns."""
    try:
        os.setsid()
        if launch.isolated:
            linux.unshare(linux.CLONE_NEWNS)
            root.compose(launch.base, launch.mounts, launch.kept)
        linux.die_with_parent(signal.SIGKILL)
        os.set_inheritable(report, False)
        _execute(launch, launch.argv)
    except OSError as error:
        os.write(report, f"error {error}\n".encode())
    finally:
        os._exit(START_FAILED_EXIT_CODE)


def _execute(launch: Launch, argv: list[str]) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, programs expect the default
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.chdir(launch.working_directory)
    os.execvpe(argv[0], argv, launch.environment)  # noqa: S606  there is no shell on purpose


def _watch(child: int) -> int:
    while True:
        number = signal.sigwaitinfo(_WAITED).si_signo
        if number == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid == child:
                _kill_group(child)  # what the program left behind in its process group
                return _exit_code(status)
        elif number == signal.SIGUSR1:
            _kill_group(child)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)


def _kill_group(child: int) -> None:
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def enter(launch: Launch, pid: int, command: list[str]) -> int:
    """Runs ``command`` inside the container whose first process is ``pid``. Returns its exit code."""
    linux.die_with_parent(signal.SIGKILL)
    if launch.isolated:
        _join_namespaces(pid)
    child = os.fork()  # a pid namespace holds for children only
    if child == 0:
        try:
            linux.die_with_parent(signal.SIGKILL)
            _execute(launch, command)
        except OSError as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os._exit(126)
    return _exit_code(os.waitpid(child, 0)[1])


def _join_namespaces(pid: int) -> None:
    folder = Path(f"/proc/{pid}/ns")
    kinds = {"user": linux.CLONE_NEWUSER, "pid": linux.CLONE_NEWPID, "mnt": linux.CLONE_NEWNS}
    differing = {
        name: flag
        for name, flag in kinds.items()
        if (folder / name).readlink() != Path("/proc/self/ns", name).readlink()
    }
    descriptors = {flag: os.open(folder / name, os.O_RDONLY | os.O_CLOEXEC) for name, flag in differing.items()}
    for flag, descriptor in descriptors.items():
        linux.setns(descriptor, flag)
    linux.die_with_parent(signal.SIGKILL)  # joining a user namespace changed the credentials


def check(base: str) -> int:
    """Tries the namespaces and the new root. Exit code 0: they work; else 1 with the reason on standard error."""
    try:
        _leave_user_and_pid_namespace()
        child = os.fork()
        if child == 0:
            _check_root(base)
        return 1 if os.waitpid(child, 0)[1] else 0
    except OSError as error:
        print(error, file=sys.stderr)
        return 1


def _check_root(base: str) -> None:
    code = 1
    try:
        linux.unshare(linux.CLONE_NEWNS)
        root.compose(base, [root.Mount(base, "/run/devcluster-check/volume")], [])
        code = 0
    except OSError as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        os._exit(code)
