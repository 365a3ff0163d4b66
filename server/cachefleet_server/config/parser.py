"""From configuration text and command line to lines of words. Knows no parameter by name.

Sources, later ones win: the file (or standard input for `-`), the environment (secrets only, see config.py), the
command line. `include` works in files at any place and takes globs; a glob that matches nothing is no error.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cachefleet_parameters.text import MARGIN, line_words, quote, split_words
from cachefleet_server.errors import ConfigError
from cachefleet_server.files import read_source
from cachefleet_server.version import __version__

INCLUDE_DEPTH_MAX = 16


@dataclass(frozen=True, slots=True)
class Line:
    """One directive: where it stands, as written, and its words (the name first)."""

    origin: str  # a path, "standard input", "environment" or "command line"
    number: int  # from 1; in a command line the number of the option
    text: str
    words: tuple[str, ...]

    def error(self, complaint: str) -> ConfigError:
        """The error that stops a start at this line."""
        return ConfigError(
            f"\n*** FATAL CONFIG FILE ERROR (Version {__version__}) ***\n"
            f"Reading the configuration file {self.origin}, at line {self.number}\n"
            f">>> '{self.text}'\n{complaint}"
        )


def file_lines(path: str, *, folder: str = "", depth: int = 0) -> Iterator[Line]:
    """The directives of a file and of those that it includes.

    Relative paths of includes begin in `folder`: that of the start, whatever the working directory is by now.
    """
    try:
        text = read_source(path)
    except OSError as error:
        raise ConfigError(f"Fatal error, can't open config file '{path}': {error.strerror}") from None
    yield from text_lines(text, path, folder=folder, depth=depth)


def text_lines(text: str, origin: str, *, folder: str = "", depth: int = 0) -> Iterator[Line]:
    """The directives of a text; includes are followed."""
    for number, raw in enumerate(text.split("\n"), 1):
        words = line_words(raw)
        line = Line(origin, number, raw.strip(MARGIN), tuple(words or ()))
        if words is None:
            raise line.error("Unbalanced quotes in configuration line")
        if not words:
            continue
        if words[0].lower() == "include" and len(words) == 2:
            if depth >= INCLUDE_DEPTH_MAX:
                raise line.error(f"Includes are nested more than {INCLUDE_DEPTH_MAX} deep")
            yield from _included(words[1].partition("\0")[0], folder, depth + 1)
        else:
            yield line


def _included(pattern: str, folder: str, depth: int) -> Iterator[Line]:
    names = sorted(glob.glob(pattern, root_dir=folder or None)) if glob.has_magic(pattern) else [pattern]
    for name in names:
        yield from file_lines(os.path.join(folder, name), folder=folder, depth=depth)


def option_lines(arguments: Sequence[str]) -> list[Line]:
    """The directives of a command line: `--name value ...`, or both in one argument as "--name value".

    An option that stands alone takes the next argument as its value whatever it looks like; `--save` followed by
    another option or by nothing is `save ""`.
    """
    options: list[list[str]] = []
    after_value = True
    for index, argument in enumerate(arguments):
        if after_value and argument.startswith("--"):
            words = split_words(argument[2:])
            options.append(words if words else [argument[2:]])
            after_value = len(options[-1]) > 1
            last = index + 1 == len(arguments)
            if options[-1] == ["save"] and (last or arguments[index + 1].startswith("--")):
                options[-1].append("")
                after_value = True
        elif options:
            options[-1].append(argument)
            after_value = True
        else:
            raise ConfigError(f"The argument '{argument}' is not an option: options start with '--'")
    return [
        Line("command line", number, " ".join([words[0], *map(quote, words[1:])]), tuple(words))
        for number, words in enumerate(options, 1)
    ]
