"""One JSON file of what `doctor --probe` found, to be sent to the authors of numtrn. It calibrates the clock.

It holds what was printed and the samples behind it, and nothing that tells who or where: no names of users or
hosts, no serial numbers, no paths, and of the environment only the variables that matter to Neuron.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import platform
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["SCHEMA", "ReportError", "check", "scrubbed", "write"]

SCHEMA = "numtrn-report-1"

PATH = re.compile(r"(?<![\w.<])(?:~|[A-Za-z]:)?[/\\][^\s'\",;:()\[\]]+")
DEVICE = re.compile(r"/dev/neuron[0-9*]*|/sys/module/neuron/version|/dev/neuron\*")
SERIAL = re.compile(r"\bserial [^,\s]+")
HOST = re.compile(r"\bhost [^,\s]+")


class ReportError(Exception):
    """The file cannot be written; the text says why, and what to do."""


def check(path: Path) -> None:
    """Refuse a place before anything is measured.

    Raises
    ------
    ReportError
        Where the file is there already, or cannot be made.
    """
    if path.exists() or path.is_symlink():
        raise ReportError(f"{path} is there already, and a report overwrites nothing; name another file")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ReportError(f"there is no directory {folder} for the report; make it, or name another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ReportError(f"the directory {folder} cannot be written; name a file in another one")


def write(path: Path, body: dict[str, Any]) -> None:
    """Write the report, all of it or nothing.

    Raises
    ------
    ReportError
        As of `check`, and where writing fails.
    """
    check(path)
    text = json.dumps({"schema": SCHEMA, **scrubbed(body)}, indent=1, default=str, allow_nan=False) + "\n"
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)  # unlike a rename, this overwrites nothing
    except OSError as problem:
        raise ReportError(f"the report {path} cannot be written: {problem.strerror}") from problem
    finally:
        part.unlink(missing_ok=True)


def scrubbed(body: Any) -> Any:
    """The same without paths, names of users and hosts, and serial numbers in any text."""
    return _scrubbed(body, _clean(_names()))


def _scrubbed(body: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(body, dict):
        return {clean(str(key)): _scrubbed(value, clean) for key, value in body.items()}
    if isinstance(body, list | tuple):
        return [_scrubbed(value, clean) for value in body]
    return clean(body) if isinstance(body, str) else body


def _clean(names: dict[str, str]) -> Callable[[str], str]:
    def clean(text: str) -> str:
        text = SERIAL.sub("serial <serial>", HOST.sub("host <host>", text))
        text = PATH.sub(lambda found: found[0] if DEVICE.fullmatch(found[0]) else "<path>", text)
        for name, word in names.items():
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", word, text)
        return text

    return clean


def _names() -> dict[str, str]:
    """Names of this user and this host, and what stands for them."""
    found = {platform.node(): "<host>", platform.node().partition(".")[0]: "<host>"}
    with contextlib.suppress(KeyError, OSError):  # a user without a name
        found[getpass.getuser()] = "<user>"
    return {name: word for name, word in found.items() if len(name) > 2 and name != "numtrn"}
