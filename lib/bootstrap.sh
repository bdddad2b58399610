# Make the environment from requirements.lock, or do nothing when it is already that. Sourced, from the repository's root,
# by run_all.sh, run_tests.sh and serve.sh. Afterwards `"$STUDY_VENV/bin/python"` has every package of the lock, and finds
# `lib` from any folder: in JupyterLab, VS Code, papermill, nbconvert and Voilà too.
#
# BOOTSTRAP_GROUPS, set by the script that sources this, names the groups of the lock that it needs beside `run`: test, benchmark.
# PYTHON=/path/to/python3.12 chooses the interpreter; the first of 3.11 to 3.14 that is found is taken otherwise.
# STUDY_VENV=/path/to/folder puts the environment elsewhere; it is .venv otherwise.

export STUDY_VENV="${STUDY_VENV:-.venv}"

bootstrap_fail() { echo "bootstrap: $*" >&2; exit 2; }

bootstrap_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    bootstrap_fail "no Python 3.11 to 3.14 found: install one (Debian: apt-get install python3 python3-venv; or conda env create -f environment.yml)"
}

bootstrap_install() {
    local python
    python=$(bootstrap_python) || exit 2
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        bootstrap_fail "$python has no venv module: install it (Debian: apt-get install python3-venv)"
    echo "bootstrap: installing the locked packages into $STUDY_VENV (once; a few minutes on a slow line)" >&2
    "$python" -m venv --clear "$STUDY_VENV" || bootstrap_fail "$python could not make $STUDY_VENV"
    # Compiled at install: the first import of everything is two to three times quicker.
    unset PYTHONDONTWRITEBYTECODE
    "$STUDY_VENV/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --require-hashes -r lib/installer.txt ||
        bootstrap_fail "pip could not install lib/installer.txt: is a package index reachable?"
    bootstrap_group run
    # Python reads a .pth file at every start, and puts the folders in it on its path.
    pwd >"$("$STUDY_VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/market_study.pth"
    MPLCONFIGDIR="$STUDY_VENV/matplotlib" "$STUDY_VENV/bin/python" -c 'import matplotlib.font_manager' # makes the list of fonts, once
}

# Install one group of the lock. It is complete, so that no dependency need be looked for.
bootstrap_group() {
    local locked="$STUDY_VENV/$1.txt"
    bootstrap_locked "$1" >"$locked"
    # uv reads neither pip's settings nor, unless told, the system's certificates.
    if ! env UV_SYSTEM_CERTS=1 UV_COMPILE_BYTECODE=1 ${PIP_INDEX_URL:+UV_DEFAULT_INDEX="$PIP_INDEX_URL"} \
        "$STUDY_VENV/bin/uv" pip install --quiet --python "$STUDY_VENV/bin/python" --no-deps --require-hashes \
        --build-constraints lib/installer.txt -r "$locked"; then
        echo "bootstrap: uv could not install $locked; trying pip" >&2
        "$STUDY_VENV/bin/python" -m pip --disable-pip-version-check --no-input install --quiet --no-deps --require-hashes \
            --no-build-isolation -r "$locked" || bootstrap_fail "neither uv nor pip could install $locked: see the messages above"
    fi
}

bootstrap_locked() { sed -n "/^# group: $1\$/,/^# group: /p" requirements.lock; }

bootstrap_digest() { sha256sum 2>/dev/null || shasum -a 256; }

# What the environment was made from, and the folder that it finds `lib` in.
bootstrap_stamp() {
    { bootstrap_locked run; cat lib/installer.txt lib/bootstrap.sh; } | bootstrap_digest
    # An environment that is a link belongs to another checkout; this one's scripts run in their own folder, which comes first.
    if [ -L "$STUDY_VENV" ]; then sed -n 2p "$STUDY_VENV/stamp"; else pwd; fi
}

# Also whether its Python is still there, and still the one that the packages were installed for.
bootstrap_done() {
    [ "$(cat "$STUDY_VENV/stamp" 2>/dev/null)" = "$1" ] &&
        "$STUDY_VENV/bin/python" -c 'import importlib.util as i, sys; sys.exit(not i.find_spec("numpy"))' 2>/dev/null
}

# The groups that this start needs and that are not installed, or not as the lock has them now.
bootstrap_missing() {
    local group
    for group in ${BOOTSTRAP_GROUPS:-}; do
        [ "$(cat "$STUDY_VENV/stamp.$group" 2>/dev/null)" = "$(bootstrap_locked "$group" | bootstrap_digest)" ] || echo "$group"
    done
}

bootstrap() {
    local stamp group
    stamp=$(bootstrap_stamp)
    bootstrap_done "$stamp" && [ -z "$(bootstrap_missing)" ] && return
    # Two starts at once: the second waits here, and finds the work done.
    mkdir -p "$(dirname "$STUDY_VENV")" 2>/dev/null || true
    { exec 9>"$STUDY_VENV.lock"; } 2>/dev/null ||
        bootstrap_fail "cannot write $STUDY_VENV.lock; make the folder writable, or set STUDY_VENV (the packages, 2 GB) and STUDY_OUTPUTS (the results) to folders that are, such as: STUDY_VENV=~/market-study/venv STUDY_OUTPUTS=~/market-study/outputs bash run_all.sh"
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    if ! bootstrap_done "$stamp"; then
        bootstrap_install
        printf '%s\n' "$stamp" >"$STUDY_VENV/stamp.new" && mv "$STUDY_VENV/stamp.new" "$STUDY_VENV/stamp"
    fi
    for group in $(bootstrap_missing); do
        echo "bootstrap: adding what $group needs" >&2
        bootstrap_group "$group"
        bootstrap_locked "$group" | bootstrap_digest >"$STUDY_VENV/stamp.$group"
    done
    exec 9>&-
}

bootstrap
