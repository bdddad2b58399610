#!/usr/bin/env bash
# Compile pyproject.toml into requirements.lock: exact versions and hashes for every supported Python, and no
# registry's address. Run it after changing pyproject.toml; lib/installer.txt (uv, and setuptools for PySpark's build) likewise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. lib/bootstrap.sh
compile() {
    "$STUDY_VENV/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"
}
compile lib/installer.in --output-file lib/installer.txt
compile --extra test --extra benchmark pyproject.toml --output-file requirements.lock
