"""Ours beside the task's usual solution (`benchmarks.peers.usual_peer`), from the raw archive to a saved model.

``python -m benchmarks.usual --fraction 1/20 --to FILE``. Ours is the whole study as a user runs it, notebooks, checks, figures and pages included; the usual
solution runs stage by stage, each a process of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from benchmarks import agreement, archive, study
from benchmarks.accounting import Usage
from benchmarks.harness import archive_options, command_line, keep, machine, markdown, print_table
from benchmarks.pipeline import read_through, run_stage
from lib.stages import STAGES

MODEL_STAGES = {"01_ingest": "prices", "02_features": "features", "03_train": "model"}  # ours, and the usual solution's
ALL = "archive to model"
HEADER = ("our stage", "the usual solution's", "ours s", "usual s", "ours / usual: time", "peak memory")
MEDIAN = "adj_close_rolling_med"


def table(usages: Mapping[str, Mapping[str, Usage]]) -> list[list[str]]:
    """The usages of ``ours`` and ``usual`` by stage as rows of text, a header first.

    Examples
    --------
    >>> ours, usual = Usage(1.0, 1.0, 10**9, 2), Usage(4.0, 8.0, 2 * 10**9, 2)
    >>> both = {"ours": dict.fromkeys(MODEL_STAGES, ours), "usual": dict.fromkeys(MODEL_STAGES.values(), usual)}
    >>> table(both)[-1]
    ['archive to model', '', '3.0', '12.0', '0.25', '0.50']
    """
    lines = [list(HEADER)]
    each = {own: {own: usual} for own, usual in MODEL_STAGES.items()}
    for title, stages in (each | {ALL: MODEL_STAGES}).items():
        ours, usual = (
            [usages[name][stage] for stage in which] for name, which in (("ours", stages), ("usual", stages.values()))
        )
        wall = [sum(usage.wall for usage in side) for side in (ours, usual)]
        memory = [max(usage.memory for usage in side) for side in (ours, usual)]
        ratios = (f"{mine / theirs:.2f}" for mine, theirs in (wall, memory))
        lines.append([title, stages.get(title, ""), f"{wall[0]:.1f}", f"{wall[1]:.1f}", *ratios])
    others = [name for name in usages["ours"] if name in STAGES and name not in MODEL_STAGES]
    return lines + [[name, "has none", f"{usages['ours'][name].wall:.1f}", "", "", ""] for name in others]


def summary(found: Mapping[str, Any]) -> str:
    """What the table does not say: the models' sizes, and the medians that differ."""
    ours, usual = found["model_bytes"]["ours"], found["model_bytes"]["usual"]
    share = found["medians"]["different"] / found["medians"]["compared"]
    return (
        f"The usual solution's model is {usual / 1e6:,.0f} MB, ours {ours / 1e6:.2f} MB. "
        f"Of {found['medians']['compared']:,} medians of whole windows, `percentile_approx` has {share:.0%} different."
    )


def run(fraction: Fraction, work: Path, console: Console) -> dict[str, Any]:
    """Run both on a synthetic archive of that size; what was found."""
    folder = work / "archive"
    archive.write(folder, fraction)
    extent = read_through(folder)
    usages: dict[str, dict[str, Usage]] = {"usual": {}}
    (work / "study").mkdir()
    usages["ours"] = study.first_run(folder, work / "study", console)
    read_through(folder)
    (work / "usual").mkdir()
    for stage in MODEL_STAGES.values():
        usages["usual"][stage] = run_stage(["usual_peer"], stage, folder, work / "usual")
        console.print(f"the usual solution, {stage}: {usages['usual'][stage].wall:.1f} s")
    ours = work / "study" / "outputs" / "study"
    return {
        "machine": machine(),
        "archive": extent,
        "usages": usages,
        "model_bytes": {
            name: sum(path.stat().st_size for path in (made / "model").iterdir() if path.suffix != ".md")
            for name, made in (("ours", ours), ("usual", work / "usual"))
        },
        "medians": _medians(ours / "features", work / "usual" / "features"),
    }


def _medians(ours: Path, usual: Path) -> dict[str, int]:
    """How many medians of whole windows both have, and how many of them differ."""
    found = agreement.compare(ours, usual, (MEDIAN,))
    missing = pa.array(found.missing_symbols, pa.string())
    reference = agreement.dataset(ours).to_table(columns=[MEDIAN], filter=~pc.field("Symbol").isin(missing))
    # A window that is not whole has no median in ours, and one in the usual solution: that is a choice, and no difference.
    partial = reference[MEDIAN].null_count
    different = found.differences[MEDIAN].rows if MEDIAN in found.differences else partial
    return {"compared": reference.num_rows - partial, "different": different - partial}


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = command_line("usual", __doc__)
    archive_options(parser)
    options = parser.parse_args(arguments)
    console = Console()
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        found = run(options.fraction, Path(name), console)
    lines = table(found["usages"])
    print_table(console, f"{found['archive'].rows:,} rows", lines)
    console.print(summary(found))
    keep(options.to, f"{markdown(lines)}\n{summary(found)}\n", found)


if __name__ == "__main__":
    main()
