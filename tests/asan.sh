#!/usr/bin/env bash
# Runs something with an engine that was compiled with the address and undefined-behaviour sanitizers.
#
#   tests/asan.sh [--seed=N]                            the unit tests of what is compiled
#   tests/asan.sh python tests/fuzz/fuzz_parser.py 60   any command, in the sanitized copy of the tree
#   tests/asan.sh --server python -m pytest tests/...   any command, here; only the servers that fleettest starts
#
# The copy is build/asan: the compiled modules of the working tree stay as they are. It is built incrementally.
# Leaks are not reported: CPython itself ends with memory it never frees.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$PWD/build/asan
python=${VENV:+$PWD/$VENV/bin/}python
case ${VENV:-} in /*) python=$VENV/bin/python ;; esac

asan=$(gcc -print-file-name=libasan.so) ubsan=$(gcc -print-file-name=libubsan.so)
for library in "$asan" "$ubsan"; do
  [ -e "$library" ] || { echo "asan: gcc has no $library; on Debian: apt-get install gcc libc6-dev" >&2; exit 1; }
done

mkdir -p "$tree"
tar -c --exclude='*.so' --exclude=__pycache__ setup.py pyproject.toml README.md LICENSE server operator tests |
  tar -x -C "$tree"
here=$PWD
cd "$tree"
# What the working tree no longer has must not be built or collected here.
find server operator tests -type f ! -name '*.so' ! -name '*.pyc' | while IFS= read -r file; do
  [ -e "$here/$file" ] || rm -f "$file" "${file%.pyx}".*.so
done
CACHEFLEET_SANITIZE=1 "$python" setup.py -q build_ext --inplace

# The compiler's own libraries come first, or its run time refuses to start inside an uninstrumented Python.
# What they find is written to files: pytest holds back what a process says, and loses it with the process.
reports=$tree/reports
rm -rf "$reports" && mkdir "$reports"
export ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=1:allocator_may_return_null=1:log_path=$reports/found"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:log_path=$reports/found"
if [ "${1:-}" = --server ]; then
  shift
  cd "$here"
  export FLEETTEST_SANITIZED="$tree" FLEETTEST_PRELOAD="$asan $ubsan"
else
  export LD_PRELOAD="$asan $ubsan" PYTHONMALLOC=malloc
  export PYTHONPATH="$tree/server:$tree/operator:$tree/tests/support"
fi
case ${1:---seed} in --seed*)
  set -- python -m pytest -q "$@" -p no:cacheprovider -o timeout=900 -m "not exhaustive and not alone" -n "$(($(nproc) > 1 ? 2 : 0))" \
    $(sed '/^#/d' tests/unit/sanitized) ;;
esac
if [ "$1" = python ]; then shift; set -- "$python" "$@"; fi
"$@" && code=0 || code=$?
unset LD_PRELOAD
# Also what nobody noticed; a warning of an allocation that was refused is none.
while IFS= read -r report; do
  cat "$report" >&2
  [ "$code" -ne 0 ] || code=1
done < <(grep -rlE 'ERROR: |runtime error: ' "$reports")
exit "$code"
