"""pyproject.toml, requirements.lock, environment.yml and what is installed agree; the bootstrap fails in one line."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lib import paths

PYPROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
LOCK = (paths.ROOT / "requirements.lock").read_text()


def locked(*groups: str) -> dict[str, str]:
    """Version by name of what the lock's groups, or all of them, install on this machine."""
    found = {}
    sections = dict(re.findall(r"^# group: (\w+)\n(.*?)(?=^# group: |\Z)", LOCK, re.MULTILINE | re.DOTALL))
    assert list(sections) == ["run", "test", "benchmark"]
    text = "".join(sections[group] for group in groups or sections)
    for name, version, marker in re.findall(r"^([\w.-]+)==(\S+)(?: ; (.+?))?\s*\\?$", text, re.MULTILINE):
        if not marker or Marker(marker.rstrip("\\ ")).evaluate():
            found[canonicalize_name(name)] = version
    return found


def direct() -> list[Requirement]:
    listed = [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["test"],
        *PROJECT["optional-dependencies"]["benchmark"],
    ]
    wanted = [Requirement(text) for text in listed]
    return [requirement for requirement in wanted if not requirement.marker or requirement.marker.evaluate()]


def test_lock_satisfies_every_direct_dependency():
    versions = locked()
    for requirement in direct():
        assert requirement.specifier.contains(Version(versions[canonicalize_name(requirement.name)])), requirement


def test_what_is_installed_is_what_the_lock_says():
    added = [group for group in ("test", "benchmark") if (Path(sys.prefix) / f"stamp.{group}").exists()]
    assert len(locked("run")) > 100
    for name, version in locked("run", *added).items():
        assert importlib.metadata.version(name) == version, name


def test_each_package_is_in_the_group_that_names_it():
    given = {"run": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    for group, texts in given.items():
        needed = [wanted for wanted in map(Requirement, texts) if not wanted.marker or wanted.marker.evaluate()]
        # What tests name may be in `run` already, for some package there needs it.
        held = locked("run") | locked(group)
        assert {canonicalize_name(wanted.name) for wanted in needed} <= held.keys(), group
    assert not {"polars", "duckdb", "pytest", "ruff", "mypy"} & locked("run").keys()


def test_types_are_checked_alike_without_the_packages_of_the_benchmark():
    """`make check` in a new clone, where nobody has run a benchmark."""
    skipped = [
        name
        for entry in PYPROJECT["tool"]["mypy"]["overrides"]
        if "follow_imports" in entry
        for name in entry["module"]
    ]
    for wanted in map(Requirement, PROJECT["optional-dependencies"]["benchmark"]):
        assert f"{wanted.name}.*" in skipped


def test_lock_is_hashed_and_names_no_registry():
    assert "://" not in LOCK
    assert LOCK.count("==") > 100
    for entry in re.split(r"\n(?=\S)", LOCK.strip()):
        assert "--hash=sha256:" in entry or re.sub("^# .*\n?", "", entry) == "", entry


def test_conda_environment_takes_the_same_wheels():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    plain = [item for item in environment["dependencies"] if isinstance(item, str)]
    assert f"python {PROJECT['requires-python']}" in plain
    assert any(item.startswith("openjdk") for item in plain)
    assert "pip" in plain
    assert {"pip": ["-r requirements.lock"]} in environment["dependencies"]


def test_this_python_is_supported():
    assert (3, 11) <= sys.version_info[:2] < (3, 15)


def bootstrap(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    for name in ("lib/bootstrap.sh", "lib/installer.txt", "requirements.lock"):
        shutil.copy(paths.ROOT / name, folder / name)
    return subprocess.run(
        ["/bin/bash", "-c", ". lib/bootstrap.sh"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def tools(folder: Path, **python_scripts: str) -> str:
    """A PATH with the few tools that the bootstrap needs, and the Pythons given as scripts."""
    folder.mkdir()
    for tool in ("cat", "sha256sum", "flock", "mv", "env", "mkdir", "dirname", "sed"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    for name, script in python_scripts.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
    return str(folder)


def test_no_supported_python_is_one_line_and_exit_code_2(tmp_path):
    done = bootstrap(tmp_path / "clone", PATH=tools(tmp_path / "bin", python3="exit 1"))
    assert done.returncode == 2
    assert done.stderr.startswith("bootstrap: no Python 3.11 to 3.14 found: install one")
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_venv_module_is_one_line_and_exit_code_2(tmp_path):
    script = 'case "$2" in *"import venv"*) exit 1;; *) exit 0;; esac'
    done = bootstrap(tmp_path / "clone", PATH=tools(tmp_path / "bin", python3=script))
    assert done.returncode == 2
    assert "has no venv module: install it (Debian: apt-get install python3-venv)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_finished_environment_is_left_alone(tmp_path):
    clone = tmp_path / "clone"
    bootstrap(clone, PATH=tools(tmp_path / "bin", python3="exit 1"))
    stamp = subprocess.run(
        "{ sed -n '/^# group: run$/,/^# group: /p' requirements.lock; cat lib/installer.txt lib/bootstrap.sh; } | sha256sum",
        shell=True,
        cwd=clone,
        capture_output=True,
        text=True,
    ).stdout
    (clone / ".venv").mkdir()
    (clone / ".venv" / "stamp").write_text(f"{stamp}{clone}\n")
    (clone / ".venv" / "bin").mkdir()
    python = clone / ".venv" / "bin" / "python"
    python.symlink_to(sys.executable)

    def again() -> subprocess.CompletedProcess[str]:
        environment = {"PATH": tools(tmp_path / f"bin-{python.exists()}", python3="exit 1")}
        # Its packages are this environment's: a link to a Python alone would not find them.
        environment |= {"PYTHONPATH": os.pathsep.join(sys.path)}
        command = ["/bin/bash", "-c", ". lib/bootstrap.sh"]
        return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)

    done = again()
    assert (done.returncode, done.stderr) == (0, "")
    # The Python that it was made with is gone: it is made anew, or here would be.
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert again().returncode == 2


def test_a_clone_that_cannot_be_written_says_what_to_set(tmp_path):
    # A folder in the lock's place: root may write anywhere, so that permissions would not do here.
    (tmp_path / "clone" / ".venv.lock").mkdir(parents=True)
    done = bootstrap(tmp_path / "clone", PATH=tools(tmp_path / "bin", python3="exit 1"))
    assert done.returncode == 2
    assert "set STUDY_VENV (the packages, 2 GB) and STUDY_OUTPUTS (the results) to folders that are" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "script", ["run_all.sh", "run_tests.sh", "serve.sh", "lib/bootstrap.sh", "lib/checks.sh", "lib/lock.sh", ".ci/run"]
)
def test_shell_scripts_parse(script):
    subprocess.run(["bash", "-n", paths.ROOT / script], check=True)
