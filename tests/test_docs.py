"""The documentation is so: what its pages say to type is typed here, as a new user would, and what they name exists.

Each page is followed from top to bottom in a copy of the repository of its own, which starts with the sample study run. A
comment before a code block says what it is, where it is no command to run:

- ``<!-- file: PATH -->``: the content of a file to write
- ``<!-- notebook: PATH -->``: a notebook to write, its cells parted by ``# %%``
- ``<!-- patch -->``: what `git apply` takes
- ``<!-- not run: REASON -->``
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import nbformat
import pytest
from serving_study import free_port
from test_hygiene import tracked
from tools import lacking, need

from benchmarks import __main__ as benchmarks
from docs import reference
from lib import __main__ as command_line
from lib import params, paths
from lib.data.layouts import LAYOUTS
from lib.stages import STAGES

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*paths.ROOT.glob("*.md"), *paths.ROOT.glob("docs/*.md"), *paths.ROOT.glob("benchmarks/*.md")])
BLOCK = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
FOLLOWED = [
    "README.md",
    "docs/own-data.md",
    "docs/every-day.md",
    "docs/data-frames.md",
    "docs/new-feature.md",
    "docs/new-stage.md",
    "docs/new-model.md",
    "docs/spark.md",
]
MINUTES = 8  # that one command may take on a busy machine


# The pages, followed


class Reader:
    """Does what a page says, in a copy of the repository.

    Parameters
    ----------
    clone : pathlib.Path
        The copy.
    """

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.ports = {"8000": str(free_port()), "8866": str(free_port())}
        self.server: subprocess.Popen | None = None
        self.done: list[str] = []

    def follow(self, page: str) -> None:
        """Do all of a page's code blocks, in order."""
        for block in BLOCK.finditer(page):
            mark, language, text = block["mark"] or "", block["language"], block["text"]
            kind, _, argument = mark.partition(": ")
            if kind == "file":
                (self.clone / argument).write_text(text, encoding="utf-8")
            elif kind == "notebook":
                nbformat.write(notebook(text), self.clone / argument)
            elif kind == "patch":
                self.patch(text)
            elif kind == "not run":
                assert argument, "say why it is not run"
            elif language == "bash":
                for line in text.splitlines():
                    self.type(line.partition("  #")[0].strip())
            else:
                assert language in ("mermaid", "text"), f"what is this block? {block.group()[:200]}"

    def type(self, command: str) -> None:
        """Type one command, and wait for its end; a server is left running."""
        self.done.append(command)
        for port, free in self.ports.items():
            command = command.replace(f":{port}", f":{free}")
        if command.startswith("bash serve.sh"):
            return self.serve(command)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STUDY_")}
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.clone,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60 * MINUTES,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        if command.startswith("curl") and "/predict" in command:
            assert done.stdout.strip().isdigit(), done.stdout
        elif command.startswith("curl"):
            assert json.loads(done.stdout)["forecasts"], done.stdout
        return None

    def serve(self, command: str) -> None:
        """Start the server on free ports, wait until it is ready, and open its dashboard."""
        api, dashboard = self.ports.values()
        self.server = subprocess.Popen(
            ["bash", "-c", f"exec {command} --api-port {api} --dashboard-port {dashboard}"],
            cwd=self.clone,
            env={name: value for name, value in os.environ.items() if not name.startswith("STUDY_")},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.server.stdout is not None
        output = "".join(iter(lambda: self.server.stdout.readline(), "Ctrl-C stops both.\n"))
        urls = dict(re.findall(r"^  (\S+) .*?(http\S+)$", output, re.MULTILINE))
        page = httpx.get(urls["dashboard"], timeout=90)
        assert page.status_code == 200 and "kernelId" in page.text, page.text[:500]
        assert "04_evaluate.html" in httpx.get(urls["reports"], timeout=30, follow_redirects=True).text

    def stop(self) -> None:
        """Stop the server as Ctrl-C does."""
        if self.server is not None:
            self.server.send_signal(signal.SIGINT)
            assert self.server.wait(60) == 0
            self.server = None

    def patch(self, text: str) -> None:
        """Apply a patch, unless it is applied already: in a repository in which the page was followed."""
        for options in (["--reverse", "--check"], []):
            done = subprocess.run(
                ["git", "apply", *options, "-"],
                cwd=self.clone,
                env={**os.environ, "GIT_CEILING_DIRECTORIES": str(self.clone.parent)},
                input=text,
                capture_output=True,
                text=True,
            )
            if done.returncode == 0:
                return
        self.insert(text, done.stderr)

    def insert(self, text: str, refusal: str) -> None:
        """Add a patch's lines as a reader does by hand: beside the lines that they stand beside, whatever others have added there since."""
        names = re.findall(r"^\+\+\+ b/(.+)$", text, re.MULTILINE)
        for name, hunks in zip(names, re.split(r"^--- a/.*\n\+\+\+ .*\n", text, flags=re.MULTILINE)[1:], strict=True):
            path = self.clone / name
            for hunk in re.split(r"^@@ .*\n", hunks, flags=re.MULTILINE)[1:]:
                lines = [line if line.strip() else " \n" for line in hunk.splitlines(keepends=True)]
                assert not any(line.startswith("-") for line in lines), f"{refusal}\n{text}"
                runs = [
                    "".join(line[1:] for line in run) for _, run in itertools.groupby(lines, key=lambda line: line[0])
                ]
                first = lines[0].startswith("+")
                for number in range(0 if first else 1, len(runs), 2):
                    before, added, after = (
                        runs[number - 1] if number else "",
                        runs[number],
                        "".join(runs[number + 1 : number + 2]),
                    )
                    content = path.read_text(encoding="utf-8")
                    if added in content:
                        continue
                    if before.strip() and content.count(before) == 1:
                        content = content.replace(before, before + added)
                    else:
                        assert after.strip() and content.count(after) == 1, f"{refusal}\n{text}"
                        content = content.replace(after, added + after)
                    path.write_text(content, encoding="utf-8")


def test_a_patch_is_applied_beside_what_others_have_added(tmp_path):
    (tmp_path / "list.py").write_text("A = [\n    1,\n    2,\n]\n\n\nB = 3\n")
    patch = "--- a/list.py\n+++ b/list.py\n@@ -1,4 +1,5 @@\n A = [\n     1,\n     2,\n+    9,\n ]\n"
    reader = Reader(tmp_path)
    reader.patch(patch)
    once = (tmp_path / "list.py").read_text()
    assert once == "A = [\n    1,\n    2,\n    9,\n]\n\n\nB = 3\n"
    (tmp_path / "list.py").write_text(once.replace("    9,\n", "    7,\n"))
    reader.patch(patch)
    assert (tmp_path / "list.py").read_text() == once.replace("    9,\n", "    9,\n    7,\n")
    with pytest.raises(AssertionError, match="patch"):
        reader.patch(patch.replace("     1,", "     5,").replace(" ]\n", " }\n").replace("9", "8"))


def test_a_patch_of_several_additions_puts_each_at_its_place(tmp_path):
    (tmp_path / "made.py").write_text(
        "A = {\n    1: one,\n    8: other,\n}\n\n\ndef other():\n    pass\n\n\ndef one():\n    pass\n"
    )
    patch = (
        "--- a/made.py\n+++ b/made.py\n@@ -1,7 +1,12 @@\n A = {\n     1: one,\n+    9: mine,\n }\n \n \n"
        "+def mine():\n+    pass\n+\n+\n def one():\n     pass\n"
    )
    Reader(tmp_path).patch(patch)
    made = (tmp_path / "made.py").read_text()
    assert made == (
        "A = {\n    1: one,\n    9: mine,\n    8: other,\n}\n\n\ndef mine():\n    pass\n\n\n"
        "def other():\n    pass\n\n\ndef one():\n    pass\n"
    )
    blank = (
        "--- a/made.py\n+++ b/made.py\n@@ -9,2 +9,6 @@\n \n \n+def last():\n+    pass\n+\n+\n def one():\n     pass\n"
    )
    Reader(tmp_path).patch(blank.replace("-9,2", "-90,2"))
    assert "def last():\n    pass\n\n\ndef one():" in (tmp_path / "made.py").read_text()


def notebook(text: str) -> nbformat.NotebookNode:
    """A notebook from cells that ``# %%`` parts; ``[markdown]`` or a tag may follow it."""
    cells = []
    for number, cell in enumerate(text.split("# %%")[1:]):
        kind, _, source = cell.partition("\n")
        if kind.strip() == "[markdown]":
            made = nbformat.v4.new_markdown_cell(re.sub(r"^# ?", "", source.strip(), flags=re.MULTILINE))
        else:
            made = nbformat.v4.new_code_cell(source.strip(), metadata={"tags": kind.split()})
        cells.append({**made, "id": f"cell-{number}"})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return nbformat.from_dict({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def reader(tmp_path, sample_outputs):
    """A reader in a copy of the repository, in which the sample study has been run."""
    if not (Path(sys.prefix) / "stamp").exists():
        lacking("this Python is not the .venv that run_all.sh makes")
    clone = tmp_path / "market-study"
    for name in tracked():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(paths.ROOT / name, clone / name)
    (clone / ".venv").symlink_to(sys.prefix)
    shutil.copytree(sample_outputs / "sample", clone / "outputs" / "sample")
    if (paths.ROOT / ".mypy_cache").is_dir():  # or `bash lib/checks.sh` takes a minute
        shutil.copytree(paths.ROOT / ".mypy_cache", clone / ".mypy_cache")
    reader = Reader(clone)
    yield reader
    if reader.server is not None:
        reader.stop()


def reads(reader: Reader, name: str) -> str:
    """What pandas says of a study's dataset in the copy: its rows and columns as JSON."""
    code = (
        "import pandas, json; frame = pandas.read_parquet('outputs/NAME'); first = frame.dropna().index[0]; "
        "print(json.dumps({'symbols': sorted(frame['Symbol'].unique()), 'whole from row': int(first)}))"
    )
    return json.loads(
        subprocess.check_output([sys.executable, "-c", code.replace("NAME", name)], cwd=reader.clone, text=True)
    )


@pytest.mark.timeout(1200)
def test_readme_followed_by_a_new_user(reader):
    need("curl", shutil.which("curl"))
    reader.follow(README)
    reader.stop()
    commands = [" ".join(command.split()[:2]) for command in reader.done]
    assert commands[:2] == ["bash run_all.sh", "bash serve.sh"]
    # The last command on mine sets the window back.
    assert reads(reader, "mine/features") == {
        "symbols": ["AAPL", "FB", "GOOG", "IBM", "MSFT", "OWN"],
        "whole from row": 29,
    }
    history = (reader.clone / "outputs/mine/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["params"]["features"]["window"] for line in history] == [20, 30]


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", FOLLOWED[1:])
def test_page_followed_by_a_new_user(reader, page):
    reader.follow((paths.ROOT / page).read_text(encoding="utf-8"))
    assert reader.done
    made = {
        "docs/new-stage.md": "weekdays.csv",
        "docs/new-feature.md": "features",
        "docs/new-model.md": "model/model_card.md",
    }.get(page)
    assert made is None or (reader.clone / "outputs/sample" / made).exists()
    if page == "docs/every-day.md":
        followed_every_day(reader)


def followed_every_day(reader: Reader) -> None:
    """Each new day has run what it changes and no more, and the server answers with the last."""
    history = (reader.clone / "outputs/daily/history.jsonl").read_text().splitlines()
    ran = [[stage["name"] for stage in json.loads(line)["stages"] if stage["status"] == "run"] for line in history]
    assert ran == [[*STAGES]] + 2 * [[name for name, row in STAGES.items() if not row.retrained]]
    answer = httpx.get(f"http://127.0.0.1:{reader.ports['8000']}/forecast?symbol=AAPL", timeout=30).json()
    assert answer["as_of"] == "2013-03-05"


def test_exit_codes_of_every_day_are_the_command_line_s():
    page = (paths.ROOT / "docs/every-day.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\d[\d, ]*) \|", page, re.MULTILINE)
    assert [code for line in listed for code in line.split(", ")] == re.findall(r"\b\d+\b", command_line.EXIT_CODES)


@pytest.mark.parametrize("name", ["crontab", "market-study.service", "github-workflow.yml"])
def test_commands_that_the_clock_starts_are_taken(name):
    text = (paths.ROOT / "deploy/every-day" / name).read_text(encoding="utf-8")
    typed = re.findall(r"\bbash run_all\.sh ([^\n>]*)", re.sub(r"#.*", "", text))
    assert typed
    for words in typed:
        assert command_line._parsed(["run", *words.split()]).studies == ["mine"]


# What the pages say


def test_the_readme_counts_the_layouts():
    assert f"[{len(LAYOUTS)} layouts](docs/own-data.md)" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(paths.ROOT).as_posix())
def test_commands_are_there(page):
    text = page.read_text(encoding="utf-8")
    for script in re.findall(r"\bbash ([\w./]+)", text):
        assert (paths.ROOT / script).is_file(), script
    for module in re.findall(r"\bpython -m ([\w.]+)", text):
        path = paths.ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_make_has_what_contributing_says():
    if shutil.which("make") is None:
        lacking("make is not installed")
    named = re.findall(r"`make (\w+)", (paths.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) >= 10
    listed = subprocess.check_output(["make"], cwd=paths.ROOT, text=True)
    assert {line.split("\t")[0] for line in listed.splitlines()} == {*named, "help"}
    for target in named:
        subprocess.run(["make", "--dry-run", target], cwd=paths.ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(paths.ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, link


def test_every_page_of_docs_is_in_its_index():
    index = (paths.ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in paths.ROOT.glob("docs/*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name


def test_reference_is_made_from_the_code():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.text(), "run: .venv/bin/python -m docs.reference"
    page = reference.ARCHITECTURE.read_text(encoding="utf-8")
    assert page == reference.between(page, reference.MODULES, reference.modules()), (
        "run: .venv/bin/python -m docs.reference"
    )


def test_the_table_of_layouts_is_made_from_the_code():
    page = reference.OWN_DATA.read_text(encoding="utf-8")
    assert page == reference.between(page, reference.LAYOUTS, reference.layout_table()), (
        "run: .venv/bin/python -m docs.reference"
    )


def test_every_module_and_folder_is_in_the_table_of_modules():
    named = set(re.findall(r"^\| `([^`]+)`", reference.modules(), re.MULTILINE))
    files = {name for name in tracked() if name.count("/") == 0 and name.endswith(".sh")}
    files |= {
        name for name in tracked() if re.fullmatch(r"lib/[\w/]+\.(py|sh)", name) and not name.endswith("__init__.py")
    }
    folders = {f"{Path(name).parts[0]}/" for name in tracked() if "/" in name and not name.startswith(".")} - {"lib/"}
    assert named >= files | folders
    assert all((paths.ROOT / name).exists() for name in named)


def test_outputs_of_the_reference_exist(sample_study):
    listed = re.findall(r"^\| `([^`]+)` \| (?:0\d_\w+|the run) \|", reference.text(), re.MULTILINE)
    assert len(listed) > 12
    for name in listed:
        elsewhere = name == sample_study.datasets_url.name  # of a study whose datasets are on object storage
        assert (sample_study.folder / name).exists() != elsewhere, name
    here = {path.name for path in sample_study.folder.iterdir() if not path.name.startswith(".")} - {"stages"}
    assert here <= {Path(name).parts[0] for name in listed}


def test_environment_variables_of_the_reference_are_used():
    code = "".join(path.read_text(encoding="utf-8") for path in [*paths.LIB.rglob("*.py"), *paths.LIB.glob("*.sh")])
    for name in reference.VARIABLES:
        assert re.search(rf"\b{name}\b", code), name


def test_sample_params_file_lists_every_key_with_its_default_and_a_question():
    text = (paths.PARAMS / "sample.yaml").read_text(encoding="utf-8")
    assert params.load(paths.PARAMS / "sample.yaml") == params.Params()
    lines = text.splitlines()
    for key, *_ in reference.param_rows():
        section, name = key.strip("`").split(".")
        index = next(
            i
            for i, line in enumerate(lines)
            if line.startswith(f"  {name}:") and f"\n{section}:" in "\n".join(lines[:i])
        )
        assert lines[index - 1].strip().startswith("#"), name


@pytest.mark.parametrize("file", sorted(paths.PARAMS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_params_file_loads(file):
    assert params.load(file)


# Figures


def test_results_of_the_readme_are_in_results_md():
    results = benchmarks.RESULTS.read_text(encoding="utf-8")
    block = README.split(benchmarks.BEGIN)[1].split(benchmarks.END)[0]
    assert block.strip() and block in results, "run: .venv/bin/python -m benchmarks"
    section = README.split("## How fast")[1].split("\n## ")[0].replace(block, "")
    assert not re.search(r"\d", section.replace("benchmarks/", "")), "a figure that no command measured"


@pytest.mark.parametrize(
    ("marks", "made", "artifact", "count"),
    [
        (reference.PREDICTORS, reference.predictors, "metrics", len(reference.SHOWN) * len(reference.SPLITS)),
        (reference.FORECASTS, reference.forecasts, "forecast_metrics", 3 * (len(reference.FORECAST_BASELINES) + 2)),
    ],
    ids=["model", "forecasts"],
)
def test_tables_of_the_readme_are_the_sample_study(sample_study, marks, made, artifact, count):
    table = README.split(marks[0])[1].split(marks[1])[0]
    measured = made(json.loads(getattr(sample_study, artifact).read_text(encoding="utf-8")))
    number = re.compile(r"\d\.\d{3}")
    assert number.sub("", table) == number.sub("", measured), "run: .venv/bin/python -m docs.reference"
    # The last digits may depend on the processor's mathematics.
    errors = [[float(found) for found in number.findall(text)] for text in (table, measured)]
    assert len(errors[0]) == count
    assert errors[0] == pytest.approx(errors[1], abs=0.005), "run: .venv/bin/python -m docs.reference"


# Docstrings


def public_classes() -> list[tuple[str, ast.ClassDef]]:
    """Public classes of lib, with their modules."""
    return [
        (path.stem, node)
        for path in sorted(paths.LIB.rglob("*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def public_functions() -> list[tuple[str, ast.FunctionDef]]:
    """Public functions of lib, and public methods of its public classes, with their modules."""
    owners = [(path.stem, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(paths.LIB.rglob("*.py"))]
    found = []
    for module, owner in [*owners, *public_classes()]:
        for node in owner.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
                continue
            # A method without a docstring of its own may have its base class's.
            if ast.get_docstring(node) or not getattr(owner, "bases", []):
                found.append((module, node))
    return found


def parameters(function: ast.FunctionDef) -> list[str]:
    """The names of a function's parameters, but for a method's own object."""
    given = function.args
    rest = [argument for argument in (given.vararg, given.kwarg) if argument]
    names = [argument.arg for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]]
    return [name for name in names if name not in ("self", "cls")]


def fields(owner: ast.ClassDef) -> list[str]:
    """What a class is made from: the parameters of its ``__init__``, or a dataclass's public fields."""
    for node in owner.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return parameters(node)
    if not any("dataclass" in ast.unparse(decorator) for decorator in owner.decorator_list):
        return []
    names = [node.target.id for node in owner.body if isinstance(node, ast.AnnAssign)]
    return [name for name in names if not name.startswith("_")]


def check_docstring(name: str, text: str | None, given: list[str]) -> None:
    """There is a summary; every parameter listed exists, and every entry says more than the signature."""
    assert text, f"{name} has no docstring"
    assert re.match(r"[^\n]+[.:?)](\n\n|$)|[^\n]+[.:]$", text), f"{name}: the first line is a summary"
    sections = dict(re.findall(r"^(\w+)\n-+\n((?:.*\n?)*?)(?=^\w+\n-+\n|\Z)", text, re.MULTILINE))
    named = re.findall(r"^((?:\*{0,2}\w+, )*\*{0,2}\w+)(?: :.*)?$", sections.get("Parameters", ""), re.MULTILINE)
    unknown = {word.strip("*") for names in named for word in names.split(", ")} - {*given}
    assert not unknown, f"{name} has no parameter {', '.join(sorted(unknown))}"
    for section in ("Parameters", "Returns", "Yields"):
        for entry in re.findall(r"^\S.*\n?(?:^[ \n].*\n?)*", sections.get(section, ""), re.MULTILINE):
            head, _, description = entry.partition("\n")
            assert description.strip() or "{" in head, f"{name}: {head!r} under {section} only repeats the signature"


@pytest.mark.parametrize(
    ("module", "function"), [pytest.param(*one, id=f"{one[0]}.{one[1].name}") for one in public_functions()]
)
def test_docstring_of_function_says_more_than_its_signature(module, function):
    check_docstring(f"{module}.{function.name}", ast.get_docstring(function), parameters(function))


@pytest.mark.parametrize(
    ("module", "owner"), [pytest.param(*one, id=f"{one[0]}.{one[1].name}") for one in public_classes()]
)
def test_docstring_of_class_says_more_than_its_signature(module, owner):
    check_docstring(f"{module}.{owner.name}", ast.get_docstring(owner), fields(owner))
