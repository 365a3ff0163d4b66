"""Rules of the tree that no linter knows: sizes, openings, what must not be written where.

A rule is broken only by an entry in EXCEPTIONS, with the reason in words. An entry that is no longer needed fails too.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd", ".h", ".c")
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_COLUMNS_MAX = 120

# (rule, "path" or "path:function") -> reason
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("sleep", "tests/integration/test_aof_faults.py"): "the moment of the kill is what the test draws",
}

CYTHON_FUNCTION = re.compile(
    r"^(\s*)(?:async def|def|cdef|cpdef)\s(?!class\b|struct\b|enum\b|union\b|extern\b).*?(\w+)\("
)


def tracked() -> list[Path]:
    """Source files, generated ones aside."""
    roots = ("server", "operator", "tests")
    found = [p for root in roots for p in (ROOT / root).rglob("*") if p.suffix in SUFFIXES]
    return sorted(p for p in found if not (p.suffix == ".c" and p.with_suffix(".pyx").exists()))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def judge(rule: str, found: list[tuple[str, str]]) -> None:
    """Compares what was found (place, detail) with the exceptions of this rule."""
    excused = {place for r, place in EXCEPTIONS if r == rule}
    wrong = [f"{place}: {detail}" for place, detail in found if place not in excused]
    assert not wrong, "\n".join([f"{rule}:", *wrong])
    stale = excused - {place for place, _ in found}
    assert not stale, f"exceptions to '{rule}' that are not needed any more: {sorted(stale)}"


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """(function, lines) of a Python or Cython file."""
    if path.suffix == ".py":
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1
        return
    lines = path.read_text().split("\n")
    for start, line in enumerate(lines):
        if match := CYTHON_FUNCTION.match(line):
            yield match[2], _cython_extent(lines, start, len(match[1]))


def _cython_extent(lines: list[str], start: int, indent: int) -> int:
    last, depth = start, 0
    for at in range(start, len(lines)):
        code = lines[at].split("#")[0]
        if at > start and depth == 0 and code.strip() and len(code) - len(code.lstrip()) <= indent:
            break
        if code.strip():
            last = at
        if at == start or depth > 0:  # a signature over several lines
            depth += code.count("(") - code.count(")")
    return last - start + 1


def test_file_length() -> None:
    lengths = [(name(p), len(p.read_text().splitlines())) for p in tracked()]
    judge("file length", [(n, f"{k} lines, at most {FILE_LINES_MAX}") for n, k in lengths if k > FILE_LINES_MAX])


def test_function_length() -> None:
    found = []
    for path in tracked():
        if path.suffix in (".py", ".pyx", ".pxd"):
            found += [
                (f"{name(path)}:{function}", f"{k} lines, at most {FUNCTION_LINES_MAX}")
                for function, k in functions(path)
                if k > FUNCTION_LINES_MAX
            ]
    judge("function length", found)


def test_line_length() -> None:
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if len(line) > LINE_COLUMNS_MAX:
                found.append((name(path), f"line {number} has {len(line)} columns"))
    judge("line length", found)


def test_every_module_opens_with_its_theory() -> None:
    found = []
    for path in tracked():
        text = path.read_text().lstrip()
        if path.name != "__init__.py" and not text.startswith(('"""', 'r"""', "/*", "#!", "//")):
            found.append((name(path), "does not begin with a docstring or comment that says what it holds"))
    judge("opening", found)


def test_no_print_in_the_server() -> None:
    """Output goes through log.py; the command line in __main__.py talks to a person."""
    found = []
    call = re.compile(r"^\s*print\(", re.MULTILINE)
    for path in (ROOT / "server").rglob("*.py*"):
        if path.suffix in (".py", ".pyx") and path.name != "__main__.py" and call.search(path.read_text()):
            found.append((name(path), "print("))
    judge("print", found)


def test_no_fixed_sleeps_in_tests() -> None:
    """Tests wait for conditions (fleettest.wait); a fixed sleep is slow on a good day and wrong on a bad one.

    A sleep inside a `while` is the pause of such a wait.
    """
    found = []
    for path in (ROOT / "tests").rglob("*.py"):
        tree = parsed(path)
        loops = {id(n) for loop in ast.walk(tree) if isinstance(loop, ast.While) for n in ast.walk(loop)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or id(node) in loops:
                continue
            if ast.unparse(node.func).split(".")[-1] == "sleep" and ast.unparse(node.args[0]) != "0":
                found.append((name(path), f"line {node.lineno}: {ast.unparse(node)}"))
    judge("sleep", found)


def test_what_is_slow_or_alone_says_why() -> None:
    """The gate prints the reasons."""
    found = []
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = parsed(path)
        given = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args}
        found += [
            f"{name(path)}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and id(node) not in given
            if ast.unparse(node) in ("pytest.mark.slow", "pytest.mark.alone")
        ]
    assert not found, "without a reason"


def test_no_packages_where_they_break_imports() -> None:
    """`operator/` must never shadow the standard library's module; test folders are no packages (importlib mode)."""
    assert not (ROOT / "operator" / "__init__.py").exists()
    inits = [name(p) for p in (ROOT / "tests").rglob("__init__.py")]
    assert inits == ["tests/support/fleettest/__init__.py"]
    assert not [name(p) for p in (ROOT / "tests").rglob("operator") if p.is_dir()]


def test_every_source_folder_is_a_package() -> None:
    for root in ("server/cachefleet_parameters", "server/cachefleet_server", "operator/cachefleet_operator"):
        folders = {p.parent for p in (ROOT / root).rglob("*.py*") if p.suffix in (".py", ".pyx", ".pxd", ".pyi")}
        assert not [name(f) for f in folders if not (f / "__init__.py").exists()]


def test_no_left_over_marks() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    mine = Path(__file__)
    found = [(name(p), m[0]) for p in tracked() if p != mine for m in marks.finditer(p.read_text())]
    judge("left-over mark", found)


def test_bits_of_the_engine_have_names() -> None:
    """Flags are bits of enums in .pxd files; Python gets them from the engine, as ClientFlag. Sizes are whole units."""
    found = []
    for path in tracked():
        if path.suffix != ".py" or not name(path).startswith(("server/", "tests/unit/")):
            continue
        tree = parsed(path)
        checked = [tree] if name(path).startswith("server/") else [n for n in tree.body if isinstance(n, ast.Assign)]
        for node in (n for part in checked for n in ast.walk(part) if isinstance(n, ast.BinOp)):
            match node:
                case ast.BinOp(ast.Constant(1), ast.LShift(), ast.Constant(int(bit))) if bit % 10 and bit < 63:
                    found.append((name(path), f"line {node.lineno}: 1 << {bit}"))
                case ast.BinOp(ast.BinOp(_, ast.RShift(), _), ast.BitAnd(), ast.Constant(1)):
                    found.append((name(path), f"line {node.lineno}: a bit by its number"))
    judge("bits", found)


def test_facade_has_a_stub() -> None:
    server = ROOT / "server" / "cachefleet_server"
    if (server / "engine.pyx").exists():
        assert (server / "engine.pyi").exists()


def test_cython_extents() -> None:
    """The rule's own parser on a signature over two lines, a nested block and a comment."""
    text = ["cdef int f(int a,", "           int b) noexcept nogil:", "    if a:", "", "        return b", "# end", "x"]
    assert _cython_extent(text, 0, 0) == 5
    assert CYTHON_FUNCTION.match("cdef struct entry_t:") is None
    match = CYTHON_FUNCTION.match("cdef inline uint8_t* g(x):")
    assert match is not None
    assert match[2] == "g"
