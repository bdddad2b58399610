#!/usr/bin/env bash
# What must hold before a commit: format, lint, types, layers, and notebooks without outputs.
# `bash lib/checks.sh --fix` formats code and notebooks instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
BOOTSTRAP_GROUPS=test
. lib/bootstrap.sh
bin="$STUDY_VENV/bin"
# Beside the outputs: what JupyterLab, VS Code and papermill write into a notebook that they save.
strip=(--keep-id --extra-keys "
    metadata.language_info.codemirror_mode metadata.language_info.file_extension metadata.language_info.mimetype
    metadata.language_info.nbconvert_exporter metadata.language_info.pygments_lexer metadata.language_info.version
    metadata.papermill metadata.toc metadata.vscode cell.metadata.deletable cell.metadata.editable cell.metadata.jupyter
    cell.metadata.papermill cell.metadata.slideshow cell.metadata.trusted cell.metadata.vscode")
if [ "${1:-}" = --fix ]; then
    "$bin/nbstripout" "${strip[@]}" notebooks/*.ipynb
    "$bin/ruff" format .
    "$bin/ruff" check --fix .
    exit
fi
"$bin/ruff" format --check --quiet . || { echo "checks: some files are not formatted: make format" >&2; exit 1; }
"$bin/ruff" check --quiet .
"$bin/mypy"
"$bin/lint-imports" --no-cache >"$STUDY_VENV/layers.txt" 2>&1 || { cat "$STUDY_VENV/layers.txt" >&2; exit 1; }
"$bin/nbstripout" "${strip[@]}" --verify notebooks/*.ipynb || { echo "checks: a notebook has outputs or an editor's notes: make format" >&2; exit 1; }
