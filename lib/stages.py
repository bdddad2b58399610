"""The stages of a study, one row each; everything else about a stage is its notebook, and derives from here.

Nothing is imported: the dashboard's kernels, which must stay small, import this module.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """One stage.

    Parameters
    ----------
    name : str
        Its notebook's name, ``NN_word``.
    title, question : str
        What its report is called, and what it answers.
    params : tuple of str
        The sections of the params file whose keys are its notebook's parameters.
    reads, makes : tuple of str
        Artifacts: properties of `lib.paths.StudyPaths`, or names of files in the study's folder. What it reads is
        made by the stages before it.
    retrained : bool
        Whether ``run.retrain`` says how often it runs again for newer prices. Forecasts are made by its saved models until then.
    """

    name: str
    title: str
    question: str
    params: tuple[str, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    retrained: bool = False


_ROWS = (
    Stage(
        "01_ingest",
        "Ingest",
        "Which raw rows are there, and which were set aside?",
        params=("archive", "compute", "ingest"),
        reads=(),  # the raw archive alone
        makes=("prices", "quarantine", "files"),
    ),
    Stage(
        "02_features",
        "Features",
        "What do the moving average and the rolling median look like?",
        params=("compute", "features"),
        reads=("prices", "files"),
        makes=("features", "recent", "feature_counts", "date_counts", "symbols"),
    ),
    Stage(
        "03_train",
        "Train",
        "What did the model learn?",
        params=("compute", "features", "train"),
        reads=("features",),
        makes=("model",),
        retrained=True,
    ),
    Stage(
        "04_evaluate",
        "Evaluate",
        "How wrong is it, and is it better than a plain average?",
        params=("compute", "train", "evaluate"),
        reads=("features", "model"),
        makes=("metrics",),
        retrained=True,
    ),
    Stage(
        "05_forecast",
        "Forecast",
        "How many shares will trade tomorrow, and how sure is that?",
        params=("compute", "forecast"),
        reads=("features", "recent", "date_counts"),
        makes=("walk_forward", "forecasts", "forecast_sums", "forecasts_csv", "forecast_metrics", "forecaster"),
        retrained=True,
    ),
)
STAGES = {row.name: row for row in _ROWS}  # in the order in which they run


def maker(artifact: str) -> str:
    """The stage that makes an artifact.

    Examples
    --------
    >>> maker("metrics")
    '04_evaluate'
    """
    return next(row.name for row in _ROWS if artifact in row.makes)


def before(stage: str) -> list[str]:
    """The stages whose artifacts ``stage`` is made from, directly or through others, in order.

    Examples
    --------
    >>> before("03_train")
    ['01_ingest', '02_features']
    """
    found: set[str] = set()
    for artifact in STAGES[stage].reads:
        found |= {maker(artifact), *before(maker(artifact))}
    return [name for name in STAGES if name in found]
