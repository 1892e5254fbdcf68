"""The few Linux calls that Python 3.11 does not offer. Every failure is an OSError that names the call."""

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

# statvfs flags that a remount inside a user namespace must repeat, because the owner of the mount locked them
LOCKED_FLAGS = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME | os.ST_NODIRATIME | os.ST_RELATIME
_ST_TO_MS = {
    os.ST_NOSUID: 2,
    os.ST_NODEV: 4,
    os.ST_NOEXEC: 8,
    os.ST_NOATIME: 1024,
    os.ST_NODIRATIME: 2048,
    os.ST_RELATIME: 1 << 21,
}

PR_SET_PDEATHSIG = 1
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, call: str) -> None:
    if result != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{call}: {os.strerror(errno)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by CLONE_* ``flags``."""
    _check(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(descriptor: int, flags: int) -> None:
    """Join the namespace behind ``descriptor`` (an open /proc/PID/ns file)."""
    _check(_libc.setns(descriptor, flags), f"setns({flags:#x})")


def mount(source: str, target: str, filesystem: str, flags: int, data: str = "") -> None:
    """mount(2)."""
    arguments = [text.encode() or None for text in (source, target, filesystem)]
    _check(_libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), f"mount {source} on {target}")


def bind(source: str, target: str, *, recursive: bool = True, read_only: bool = False) -> None:
    """Show ``source`` at ``target`` as well; ``read_only`` holds for this view only."""
    mount(source, target, "", MS_BIND | (MS_REC if recursive else 0))
    if read_only:
        have = os.statvfs(target).f_flag & LOCKED_FLAGS
        keep = sum(ms for st, ms in _ST_TO_MS.items() if have & st)
        mount("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | keep)


def detach(target: str) -> None:
    """Unmount ``target`` and everything below it."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root folder; the old one is seen at ``put_old`` afterwards."""
    number = _SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(f"pivot_root: its number is not known for the machine type {os.uname().machine}")
    _check(_libc.syscall(number, new_root.encode(), put_old.encode()), f"pivot_root {new_root}")


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send ``signal_number`` to this process when its parent ends, until its credentials change."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
