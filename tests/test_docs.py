"""What the README says is so: its commands parse, its files exist, its table of params is the params model."""

from __future__ import annotations

import re
import shlex

import pytest

from lib import __main__ as command_line
from lib import params, paths, pipeline

README = (paths.ROOT / "README.md").read_text(encoding="utf-8")
BEGIN = "<!-- params: made by lib.params.table(), checked by tests/test_docs.py -->\n"
END = "<!-- end of params -->"


def shell_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_params_table_is_the_params_model():
    assert README.split(BEGIN)[1].split(END)[0] == params.table() + "\n"


def test_sample_params_file_lists_every_key_with_its_default_and_a_question():
    text = (paths.PARAMS / "sample.yaml").read_text(encoding="utf-8")
    assert params.load(paths.PARAMS / "sample.yaml") == params.Params()
    lines = text.splitlines()
    for key in params.table().splitlines()[2:]:
        section, name = key.split("`")[1].split(".")
        place = next(
            i
            for i, line in enumerate(lines)
            if line.startswith(f"  {name}:") and f"\n{section}:" in "\n".join(lines[:i])
        )
        assert lines[place - 1].strip().startswith("#"), name


@pytest.mark.parametrize("file", sorted(paths.PARAMS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_params_file_loads(file):
    assert params.load(file)


@pytest.mark.parametrize("command", shell_commands())
def test_commands_of_the_readme_exist(command):
    words = shlex.split(command)
    assert words[0] == "bash"
    assert (paths.ROOT / words[1]).is_file()
    if words[1] == "run_all.sh":
        options = command_line._parser().parse_args(["run", *words[2:]])
        for stage in filter(None, [options.start, options.only]):
            assert pipeline.stage_name(stage) in params.STAGES
        for key, value in options.overrides:
            params.load(paths.PARAMS / "sample.yaml", [(key, value)])


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", README)
    local = [link for link in links if "://" not in link]
    assert local
    for link in local:
        assert (paths.ROOT / link).exists(), link


def test_artifacts_of_the_readme_exist(sample_study):
    rows = README.split("| path | what |")[1].split("\n\n")[0]
    named = [name for row in rows.splitlines()[2:] for name in re.findall(r"`([\w./]+)`", row.split("|")[1])]
    assert len(named) > 8
    for name in named:
        assert (sample_study.folder / name).exists(), name
    for name in ("model.skops", "grid.npz", "model_card.md", "training.jsonl"):
        assert (sample_study.model / name).exists(), name
