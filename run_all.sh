#!/usr/bin/env bash
# Run a study: bash run_all.sh [STUDY ...] [-p section.key value] ...    (bash run_all.sh --help tells the rest)
set -euo pipefail
export STUDY_CALLER=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")"
. lib/bootstrap.sh
exec "$STUDY_VENV/bin/python" -m lib run "$@"
