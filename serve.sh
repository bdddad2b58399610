#!/usr/bin/env bash
# Serve a study: bash serve.sh [STUDY] [--run] ...    (bash serve.sh --help tells the rest)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. lib/bootstrap.sh
exec "$STUDY_VENV/bin/python" -m lib serve "$@"
