#!/usr/bin/env bash
# Compile pyproject.toml into requirements.lock: exact versions and hashes for every supported Python, and no registry's
# address. It has three groups: what running a study needs, what tests add, and what benchmarks add. Run it after changing
# pyproject.toml; lib/installer.txt (uv, and setuptools for PySpark's build) likewise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. lib/bootstrap.sh
compile() {
    "$STUDY_VENV/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate "$@"
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
compile lib/installer.in --output-file lib/installer.txt
# All groups together first, from the versions that are locked: each group then takes its part of them.
cp requirements.lock "$scratch/all.txt"
compile --extra test --extra benchmark pyproject.toml "$@" --output-file "$scratch/all.txt"
compile --constraints "$scratch/all.txt" pyproject.toml --output-file "$scratch/run.txt"
compile --constraints "$scratch/all.txt" --extra test pyproject.toml --output-file "$scratch/test.txt"
"$STUDY_VENV/bin/python" - "$scratch" >"$scratch/requirements.lock" <<'PYTHON'
import re
import sys
from pathlib import Path

held: set[str] = set()
for group, file in (("run", "run"), ("test", "test"), ("benchmark", "all")):
    print(f"# group: {group}")
    for entry in re.split(r"\n(?=\S)", Path(sys.argv[1], f"{file}.txt").read_text().strip()):
        if entry not in held:
            held.add(entry)
            print(entry)
PYTHON
mv "$scratch/requirements.lock" requirements.lock
