"""What `ps` shows of this process: a title in the place of the command line, and never a password.

The kernel shows the memory into which it once put the arguments; /proc/self/stat says where that is. Writing there
needs no permission and no C, but there is no more room than the arguments took: a longer title is cut. Behind it is
the environment, which the C library still reads.

A password is on view from the start of the process until `hide_secrets`, some hundredths of a second. `<name>-file` and
the environment are the ways without that.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Final

NAME: Final = "cachefleet-server"
_PR_SET_NAME: Final = 15
_OPTION: Final = re.compile(rb"--[\"']?([^\s\"']+)[\"']?(\s+)?", re.DOTALL)


def hide_secrets(names: Container[str]) -> None:
    """Overwrites what follows the options of these names in the command line that others can see."""
    start, raw = _arguments()
    words = raw.split(b"\0")
    expected = False  # the word after an option that stands alone is its value, whatever it looks like
    hiding = False
    for index, word in enumerate(words):
        option = None if expected else _OPTION.match(word)
        expected = False
        if option is not None:
            hiding = option[1].decode("latin-1").lower() in names
            expected = hiding and option[2] is None
            if hiding:
                words[index] = word[: option.end()] + _stars(word[option.end() :])
        elif hiding:
            words[index] = _stars(word)
    _write(start, b"\0".join(words))


def set_title(text: str) -> None:
    start, raw = _arguments()
    if raw:
        title = text.encode("utf-8", "surrogateescape").replace(b"\0", b" ")[: len(raw) - 1]
        _write(start, title.ljust(len(raw), b"\0"))
    ctypes.CDLL(None).prctl(_PR_SET_NAME, NAME.encode(), 0, 0, 0)  # of which 15 bytes count


def expand(template: str, values: Mapping[str, str]) -> str:
    """`proc-title-template` with the variables that its rule in config/params.py admits."""
    return re.sub(r"\{([a-z-]+)\}", lambda match: values[match[1]], template).strip(" ")


def _stars(secret: bytes) -> bytes:
    """As long, without showing how long."""
    return b"***".ljust(len(secret), b"\0")[: len(secret)]


def _arguments() -> tuple[int, bytes]:
    """Address and content of the memory; nothing where the kernel does not tell."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # the line's fields 48 and 49; these begin with the third
        shown = Path("/proc/self/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return 0, b""
    raw = ctypes.string_at(start, end - start) if start else b""
    return start, raw if raw == shown else b""


def _write(start: int, content: bytes) -> None:
    if content:
        ctypes.memmove(start, content, len(content))
