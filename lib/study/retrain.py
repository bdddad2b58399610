"""Whether trained models and their evaluation still stand beside newer prices: what ``run.retrain`` asks.

By the archive's last date, and not by the clock: the same archives in the same order give the same results on any day.
"""

from __future__ import annotations

import calendar
import datetime
import hashlib
import json
from collections.abc import Mapping

import pyarrow.compute as pc

from lib import paths, stage_records
from lib.stage_records import Kept, Record
from lib.stages import STAGES, before
from lib.storage.dataset import DatasetError, open_dataset
from lib.study import cache


def last_date(study: paths.StudyPaths) -> str:
    """The last date of the study's prices as ISO text; empty where there are none."""
    try:
        last = pc.max(open_dataset(study.files).read(["last_date"])["last_date"]).as_py()
    except (DatasetError, KeyError):
        return ""
    return "" if last is None else str(last)


def basis(stage: str, study: paths.StudyPaths) -> str:
    """A digest of the params and the code that what ``stage`` reads was made with: of all but the prices themselves."""
    found = {}
    for earlier in before(stage):
        if record := stage_records.read_record(study.stage_record(earlier)):
            found[earlier] = {
                name: value
                for name, value in record.ingredients.items()
                if name != cache.ARCHIVE and not name.startswith(cache.INPUT)
            }
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def due(then: str, now: str, every: str) -> bool:
    """Whether a week or a month has passed between two last dates.

    Parameters
    ----------
    then, now : str
        ISO dates. Where one is empty, or ``now`` comes first, the prices are not those of before: it is due.
    every : {"always", "weekly", "monthly"}

    Examples
    --------
    >>> [due("2013-02-28", now, "weekly") for now in ("2013-03-01", "2013-03-06", "2013-03-07", "2013-02-27")]
    [False, False, True, True]
    >>> [due("2013-01-31", now, "monthly") for now in ("2013-02-27", "2013-02-28")]
    [False, True]
    """
    if every == "always" or not (then and now) or now < then:
        return True
    return datetime.date.fromisoformat(now) >= next_time(datetime.date.fromisoformat(then), every)


def next_time(then: datetime.date, every: str) -> datetime.date:
    """The date a week or a month after another; the month's last day, where it has no such day."""
    if every == "weekly":
        return then + datetime.timedelta(days=7)
    year, month = divmod(12 * then.year + then.month, 12)
    return datetime.date(year, month + 1, min(then.day, calendar.monthrange(year, month + 1)[1]))


def kept(
    stage: str,
    every: str,
    now: Mapping[str, str],
    last: Record | None,
    artifacts_now: Mapping[str, str],
    study: paths.StudyPaths,
) -> Kept | None:
    """Why a stage need not run although what it reads has changed; None when it must, or nothing has changed.

    Parameters
    ----------
    every : {"always", "weekly", "monthly"}
        What ``run.retrain`` is.
    """
    if every == "always" or last is None or not STAGES[stage].retrained or artifacts_now != last.artifacts:
        return None
    changed = cache.changed(now, last)
    if not changed or not all(_prices_alone(name, study) for name in changed):
        return None
    if "forecaster" in STAGES[stage].makes and not study.forecaster.exists():
        return None
    if last.basis != basis(stage, study) or due(last.until, last_date(study), every):
        return None
    return Kept(every, {name: value for name, value in now.items() if name.startswith(cache.INPUT)})


def _prices_alone(ingredient: str, study: paths.StudyPaths) -> bool:
    """Whether an ingredient changes with the prices: an input, but not a model that was trained anew."""
    trained = {study.artifact(name).name for row in STAGES.values() if row.retrained for name in row.makes}
    return ingredient.startswith(cache.INPUT) and cache.artifact_of(ingredient) not in trained
