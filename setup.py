"""Build of the compiled engine. Metadata and tools live in pyproject.toml.

Environment switches: CACHEFLEET_DEBUG (assertions, -O1), CACHEFLEET_SANITIZE (ASAN and UBSAN),
CACHEFLEET_TRACE (line tracing for coverage), CACHEFLEET_TESTING (builds the `_testing` modules too; so do
in-place and editable builds), CACHEFLEET_NO_ENGINE (compiles nothing: for an image with the operator alone; the server
then only checks configurations. Such a wheel fits every platform, so never publish one beside those with the engine).
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

ROOT = Path("server")
JOBS = os.cpu_count() or 1
SANITIZE = bool(os.environ.get("CACHEFLEET_SANITIZE"))
TRACE = bool(os.environ.get("CACHEFLEET_TRACE"))
DEBUG = bool(os.environ.get("CACHEFLEET_DEBUG")) or SANITIZE or TRACE
DEVELOPMENT = "--inplace" in sys.argv or "editable_wheel" in sys.argv
ENGINE = not os.environ.get("CACHEFLEET_NO_ENGINE")
TESTING = bool(os.environ.get("CACHEFLEET_TESTING")) or DEVELOPMENT

cflags = ["-O2", "-g1", "-Wall", "-fno-strict-aliasing"]
ldflags: list[str] = []
macros: list[tuple[str, str | None]] = []
if DEBUG:
    cflags = ["-O1", "-g3", "-Wall", "-UNDEBUG", "-fno-omit-frame-pointer", "-fno-strict-aliasing"]
    macros = [("ENGINE_DEBUG", "1")]
if SANITIZE:
    flag = "-fsanitize=address,undefined"
    cflags += [flag, "-fno-sanitize=alignment"]
    ldflags += [flag]
if TRACE:
    macros += [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")]


def sources() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.pyx")) if TESTING or not path.stem.startswith("_testing")]


def extensions() -> list[Extension]:
    if not ENGINE:
        return []
    from Cython.Build import cythonize

    return cythonize(
        [extension(p) for p in sources()],
        include_path=["server"],
        build_dir=None if TRACE else ("build/cython-debug" if DEBUG else "build/cython"),
        nthreads=JOBS,
        emit_linenums=DEBUG,
        quiet="-q" in sys.argv,
        cache=os.environ.get("CYTHON_CACHE_DIR") or None,
        compiler_directives={
            "language_level": "3",
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "linetrace": TRACE,
            "show_performance_hints": False,
        },
    )


def extension(path: Path) -> Extension:
    return Extension(
        ".".join(path.with_suffix("").relative_to(ROOT).parts),
        [str(path)],
        include_dirs=["server/cachefleet_server/ds"],
        extra_compile_args=cflags,
        extra_link_args=ldflags,
        define_macros=macros,
        depends=[str(p) for p in ROOT.rglob("*.h")],
    )


setup(ext_modules=extensions(), options={"build_ext": {"parallel": JOBS}})
