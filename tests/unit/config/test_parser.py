"""Configuration files and command lines to lines of words."""

from __future__ import annotations

from pathlib import Path

import pytest

from cachefleet_server.config.parser import file_lines, option_lines
from cachefleet_server.errors import ConfigError

pytestmark = pytest.mark.unit


def words(arguments: list[str]) -> list[list[str]]:
    return [list(line.words) for line in option_lines(arguments)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["--port", "7000"], [["port", "7000"]]),
        (["--port 7000", "--hz", "20"], [["port", "7000"], ["hz", "20"]]),
        (["--save", "60", "1", "--port", "1"], [["save", "60", "1"], ["port", "1"]]),
        (["--save", "60 1 30 2"], [["save", "60 1 30 2"]]),
        (["--save", "--port", "1"], [["save", ""], ["port", "1"]]),
        (["--save"], [["save", ""]]),
        (["--save", ""], [["save", ""]]),
        (["--requirepass", "--odd"], [["requirepass", "--odd"]]),
        (["--bind", "127.0.0.1", "::1"], [["bind", "127.0.0.1", "::1"]]),
        (["--port"], [["port"]]),
    ],
)
def test_options(arguments: list[str], expected: list[list[str]]) -> None:
    assert words(arguments) == expected


def test_an_argument_before_any_option_is_refused() -> None:
    with pytest.raises(ConfigError, match="'7000'"):
        option_lines(["7000", "--port"])


def test_file(tmp_path: Path) -> None:
    (tmp_path / "extra-1.conf").write_text("hz 1\n")
    (tmp_path / "extra-2.conf").write_text("hz 2\n")
    file = tmp_path / "main.conf"
    includes = f"include {tmp_path}/extra-*.conf\ninclude {tmp_path}/none*.conf"
    file.write_text(f'# comment\n\n  port 1 \r\n{includes}\n\tdir "a b"')
    lines = [(Path(line.origin).name, line.number, line.words) for line in file_lines(str(file))]
    assert lines == [
        ("main.conf", 3, ("port", "1")),
        ("extra-1.conf", 1, ("hz", "1")),
        ("extra-2.conf", 1, ("hz", "2")),
        ("main.conf", 6, ("dir", "a b")),
    ]


def test_unbalanced_quotes_name_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text('port 1\nrequirepass "a\n')
    with pytest.raises(ConfigError) as caught:
        list(file_lines(str(file)))
    assert f"{file}, at line 2" in str(caught.value)
    assert "Unbalanced quotes in configuration line" in str(caught.value)


def test_a_missing_include_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("include nowhere.conf\n")
    with pytest.raises(ConfigError, match=r"can't open config file 'nowhere\.conf': No such file"):
        list(file_lines(str(file)))


def test_an_include_of_itself_ends(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text(f"include {file}\n")
    with pytest.raises(ConfigError, match="nested more than"):
        list(file_lines(str(file)))
