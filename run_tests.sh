#!/usr/bin/env bash
# Run every check and every test: bash run_tests.sh [what pytest takes, such as: tests/test_prices.py -k header]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
BOOTSTRAP_GROUPS="test ${CI:+benchmark}"
. lib/bootstrap.sh
unset STUDY_OUTPUTS STUDY_ARCHIVE STUDY_TERMINAL STUDY_CALLER
if [ $# -eq 0 ]; then
    bash lib/checks.sh
    # A thread that spins while it waits for the others takes a core from the other processes.
    export OMP_WAIT_POLICY=passive
    # Four keep two cores busy: a test waits for a kernel, a server or a browser; with three they stood idle for a tenth of the time.
    set -- -n 4 --dist loadgroup
fi
exec "$STUDY_VENV/bin/python" -m pytest "$@"
