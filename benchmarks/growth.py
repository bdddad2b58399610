"""How the whole study grows: seconds and peak memory on archives of 1/8 to 4 times Kaggle's size.

``python -m benchmarks.growth --to FILE``. Seconds should grow with the rows, and memory not at all. With ``--spark-master URL`` a cluster of this machine computes,
whose processes are no children of the run's, and what is measured is the driver.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console

from benchmarks import archive, study
from benchmarks.accounting import Usage
from benchmarks.harness import command_line, keep, machine, markdown, print_table
from benchmarks.pipeline import Extent, read_through
from lib.figures import style
from lib.stages import STAGES

SIZES = ("1/8", "1", "4")
Measured = tuple[str, Extent, dict[str, Usage]]  # an archive's size, how much is in it, and each stage's usage
HEADER = ("size", "M rows", "CSV GB", *(f"{stage} s" for stage in STAGES), "all s", "peak GB", "peak / the first")


def table(measured: Sequence[Measured]) -> list[list[str]]:
    """The measurements as rows of text, a header first.

    Examples
    --------
    >>> usage = Usage(wall=2.0, cpu=4.0, memory=10**9, processes=3)
    >>> table([("1", Extent(10, 4_000_000, 10**9), dict.fromkeys([*STAGES, study.WHOLE], usage))])[1][:4]
    ['1', '4.00', '1.00', '2.0']
    """
    first = measured[0][2][study.WHOLE].memory
    return [
        list(HEADER),
        *(
            [
                size,
                f"{extent.rows / 1e6:.2f}",
                f"{extent.bytes / 1e9:.2f}",
                *(f"{usages[stage].wall:.1f}" for stage in [*STAGES, study.WHOLE]),
                f"{usages[study.WHOLE].memory / 1e9:.2f}",
                f"{usages[study.WHOLE].memory / first:.2f}",
            ]
            for size, extent, usages in measured
        ),
    ]


@style.house_style
def figure(measured: Sequence[Measured]) -> Figure:
    """Seconds, and peak memory, over the archive's rows."""
    rows = [extent.rows / 1e6 for _, extent, _ in measured]
    seconds = [usages[study.WHOLE].wall for _, _, usages in measured]
    memory = [usages[study.WHOLE].memory / 1e9 for _, _, usages in measured]
    shown, above = style.new_figure("Time and memory over the archive's rows", "", "seconds", height=4.6)
    above.set_subplotspec(shown.add_gridspec(2, 1)[0])
    below = shown.add_subplot(2, 1, 2, sharex=above)
    above.plot(rows, seconds, "o-", color=style.BLUE)
    below.plot(rows, memory, "o-", color=style.ORANGE)
    below.set(xlabel="rows of the archive, in millions", ylabel="peak memory, GB")
    for axes in (above, below):
        axes.set_ylim(0, 1.1 * axes.dataLim.ymax)  # no point on the upper edge, which would cut it
    above.set_xlim(left=0)
    return style.described(
        shown,
        f"Two curves over the archive's rows, {rows[0]:.2f} to {rows[-1]:.2f} million. Seconds rise from {seconds[0]:.1f} to "
        f"{seconds[-1]:.1f}; peak memory goes from {memory[0]:.2f} to {memory[-1]:.2f} GB.",
    )


def read(found: Mapping[str, Any]) -> list[Measured]:
    """The measurements that were kept as JSON."""
    return [
        (one["size"], Extent(**one["archive"]), {name: Usage(**usage) for name, usage in one["usages"].items()})
        for one in found["sizes"]
    ]


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = command_line("growth", __doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help=f"times Kaggle's (default: {' '.join(SIZES)})")
    parser.add_argument("--work", type=Path, help="a folder with room for twice the largest archive")
    parser.add_argument(
        "--spark-master", default="", help="the URL of a standalone cluster on this machine: measure the driver"
    )
    options = parser.parse_args(arguments)
    console = Console()
    about = machine()
    measured: list[Measured] = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory(dir=options.work) as name:
            folder, work = Path(name, "archive"), Path(name, "work")
            archive.write(folder, Fraction(size))
            work.mkdir()
            usages = study.first_run(folder, work, console, options.spark_master)
            measured.append((size, read_through(folder), usages))
    lines = table(measured)
    title = f"{'the driver of ' if options.spark_master else ''}the whole study, {about['cores']} cores"
    print_table(console, title, lines)
    sizes = [{"size": size, "archive": extent, "usages": usages} for size, extent, usages in measured]
    text = f"{title}; load before the run {about['load']}\n\n{markdown(lines)}"
    keep(options.to, text, {"machine": about, "sizes": sizes})


if __name__ == "__main__":
    main()
