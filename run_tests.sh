#!/usr/bin/env bash
# Run every check and every test: bash run_tests.sh [what pytest takes, such as: tests/test_prices.py -k header]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. lib/bootstrap.sh
unset STUDY_OUTPUTS STUDY_ARCHIVE STUDY_TERMINAL STUDY_CALLER
if [ $# -eq 0 ]; then
    .venv/bin/ruff format --check --quiet . || { echo "run_tests: some files are not formatted: .venv/bin/ruff format ." >&2; exit 1; }
    .venv/bin/ruff check --quiet .
    .venv/bin/mypy
    .venv/bin/nbstripout --keep-id --verify notebooks/*.ipynb
    set -- -n 2 --dist loadgroup
fi
exec .venv/bin/python -m pytest "$@"
