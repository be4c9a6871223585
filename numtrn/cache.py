"""Small JSON records in the user's cache directory: written at once or not at all, never trusted blindly.

The directory is ``NUMTRN_CACHE_DIR``, else ``$XDG_CACHE_HOME/numtrn``, else ``~/.cache/numtrn``. Everything
in it can be lost or deleted at any time: whoever reads must do without. What the records mean is not known
here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numtrn.errors import CacheWarning

__all__ = ["location", "locked", "read", "signature", "write"]

SCHEMA = 1
VARIABLE = "NUMTRN_CACHE_DIR"
MOST_BYTES = 2**20
OTHERS = stat.S_IRWXG | stat.S_IRWXO
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


PATIENCE = 5.0
"""Seconds that a process waits for another one that writes the same record."""


class _UnusableError(Exception):
    """There is no cache to use; the text says why, and what to do."""


def location(name: str) -> str:
    """Path of a record, or why there is none."""
    try:
        return str(_path(name))
    except _UnusableError as problem:
        return str(problem)


def signature(name: str) -> tuple[int, ...] | None:
    """What changes whenever a record does; None without one. A look-up of microseconds."""
    try:
        found = os.lstat(_path(name))
    except (_UnusableError, OSError):
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size, found.st_mode, found.st_uid


def read(name: str) -> tuple[Any, str]:
    """A record, and a note on where it is or why it is None.

    A file that is damaged, of another owner, open to others or not a plain file is not used, but renamed to
    ``<name>.aside`` with a `CacheWarning`.
    """
    try:
        path = _path(name)
        _own_directory(path.parent)
        text = _text(path)
    except FileNotFoundError:
        return None, f"nothing is kept in {location(name)}"
    except _UnusableError as problem:
        return None, str(problem)
    except (OSError, ValueError) as problem:
        return None, _set_aside(path, str(problem))
    try:
        return _body(text), f"kept in {path}"
    except (ValueError, RecursionError) as problem:
        return None, _set_aside(path, str(problem))


def write(name: str, body: Any) -> str:
    """Keep a record; gives a note on where, or why it could not be kept."""
    import tempfile  # here, because writing is rare

    part: str | None = None
    try:
        path = _path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _own_directory(path.parent)
        handle, part = tempfile.mkstemp(prefix=f"{name}.", suffix=".part", dir=path.parent)  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({"schema": SCHEMA, "checksum": _checksum(body), "body": body}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)  # noqa: PTH105 - the one call documented as atomic
    except _UnusableError as problem:
        return f"not kept: {problem}"
    except OSError as problem:
        if part is not None:
            with contextlib.suppress(OSError):
                Path(part).unlink()
        return f"not kept: {problem}; {VARIABLE} names a directory that can be written"
    except BaseException:  # such as Ctrl-C: nothing half-written is left
        if part is not None:
            with contextlib.suppress(OSError):
                Path(part).unlink()
        raise
    return f"kept in {path}"


@contextlib.contextmanager
def locked(name: str) -> Iterator[bool]:
    """Keep other processes and threads that do the same from a record, which is read, changed and written.

    Gives whether they are kept from it: not without a cache, nor where the file system has no locks, nor
    where somebody else has it for longer than `PATIENCE`.
    """
    handle = _lock_file(name)
    try:
        yield handle is not None and _taken(handle)
    finally:
        if handle is not None:
            os.close(handle)  # which gives the lock back


def _lock_file(name: str) -> int | None:
    try:
        path = _path(f"{name}.lock")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _own_directory(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except (_UnusableError, OSError):
        return None


def _taken(handle: int) -> bool:
    """Whether the lock of a file is ours in time."""
    import fcntl

    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                return False
            time.sleep(0.005)
        except OSError:
            return False
        else:
            return True


def _path(name: str) -> Path:
    named, base = os.environ.get(VARIABLE, ""), os.environ.get("XDG_CACHE_HOME", "")
    if named:
        if not Path(named).is_absolute():
            raise _UnusableError(f"{VARIABLE}= takes an absolute path; got {named!r}")
        return Path(named) / name
    if Path(base).is_absolute():  # others are to be ignored (XDG Base Directory Specification)
        return Path(base) / "numtrn" / name
    try:
        home = Path.home()
    except RuntimeError:
        raise _UnusableError(f"this user has no home directory; {VARIABLE} names a place") from None
    return home / ".cache" / "numtrn" / name


def _own_directory(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise _UnusableError(f"{problem}; {VARIABLE} names another directory") from None
    if not stat.S_ISDIR(found.st_mode):
        raise _UnusableError(f"{path} is not a directory; {VARIABLE} names another one")
    if found.st_uid != os.geteuid() or found.st_mode & WRITABLE_BY_OTHERS:
        raise _UnusableError(
            f"the cache directory must be the user's own and writable by nobody else; {path} is of user "
            f"{found.st_uid} with mode {stat.S_IMODE(found.st_mode):o}. {VARIABLE} names another one"
        )


def _text(path: Path) -> str:
    """Contents of a file that only this user can have written; ValueError says what is wrong with it."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a plain file")
        if found.st_uid != os.geteuid():
            raise ValueError(f"it is of user {found.st_uid}, not of {os.geteuid()}")
        if found.st_mode & OTHERS:
            raise ValueError(f"its mode is {stat.S_IMODE(found.st_mode):o}, others than the user have access")
        if found.st_size > MOST_BYTES:
            raise ValueError(f"it has {found.st_size:,} bytes, the most is {MOST_BYTES:,}")
        return file.read(MOST_BYTES).decode("utf-8")


def _body(text: str) -> Any:
    record = json.loads(text)
    if not isinstance(record, dict) or set(record) != {"schema", "checksum", "body"}:
        raise ValueError("it is no record of numtrn")
    if record["schema"] != SCHEMA:
        raise ValueError(f"its schema is {record['schema']!r}, this version reads {SCHEMA}")
    if record["checksum"] != _checksum(record["body"]):
        raise ValueError("its checksum does not match")
    return record["body"]


def _checksum(body: Any) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _set_aside(path: Path, problem: str) -> str:
    aside = path.with_name(f"{path.name}.aside")
    try:
        os.replace(path, aside)  # noqa: PTH105
        done = f"It was renamed to {aside.name}"
    except OSError as failure:
        done = f"It could not be renamed ({failure.strerror}); delete it"
    note = f"{path} is not used: {problem}. {done}"
    warnings.warn(note, CacheWarning, stacklevel=4)
    return note
