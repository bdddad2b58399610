"""The dashboard's pictures: whole SVG, right places, whatever the numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from lib.features.recent_days import RecentDays
from lib.serving.dashboard import pictures
from lib.serving.dashboard.pictures import Marker

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def recent(days, volume=1_000_000):
    dates = np.arange(np.datetime64("2020-01-01"), np.datetime64("2020-01-01") + days)
    average = np.full(days, float(volume))
    average[: min(days - 1, 3)] = np.nan
    return RecentDays("A&B", "<x>", dates, np.full(days, volume), average, np.ones(days))


@pytest.mark.parametrize("days", [1, 2, 7, 60])
@pytest.mark.parametrize("volume", [0, 5, 10**12])
@pytest.mark.parametrize(("first", "last"), [(0, 0), (1, 1), (1, 21)])
def test_recent_volume_is_whole(days, volume, first, last):
    root = parsed(pictures.recent_volume(recent(days, volume), [Marker(first, last, volume, 0, 2 * volume, "<t>")]))
    assert len([rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "bar"]) == days
    assert "A&B" in root.get("aria-label")
    for name in ("x", "y", "cx", "cy", "height", "width"):
        assert all(
            np.isfinite(float(one.get(name))) and float(one.get(name)) >= 0 for one in root.iter() if one.get(name)
        )


def test_recent_volume_without_a_marker_shows_none():
    both = [parsed(pictures.recent_volume(recent(7), given)) for given in ([Marker(1, 1, 1, 0, 2, "a mark")], [])]
    assert [len(root.findall(f"{SVG}g")) for root in both] == [1, 0]
    assert ["a mark" in root.get("aria-label") for root in both] == [True, False]


@pytest.mark.parametrize("horizon", [0, 1, 5])
def test_a_marker_lies_on_the_session_it_is_for(horizon):
    """At horizon 0 on the last bar, at 1 one bar's width after it."""
    root = parsed(pictures.recent_volume(recent(10), [Marker(horizon, horizon, 5, 1, 9, "")]))
    bars = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "bar"]
    middles = [float(bar.get("x")) + float(bar.get("width")) / 2 for bar in bars]
    circle = root.find(f"{SVG}g/{SVG}circle")
    assert float(circle.get("cx")) == pytest.approx(middles[-1] + horizon * (middles[1] - middles[0]), abs=0.3)


def test_a_mean_spans_its_sessions_and_lies_under_the_narrower_ones():
    markers = [Marker(1, last, 5, 1, 9, "") for last in (1, 5, 21)]
    root = parsed(pictures.recent_volume(recent(60), markers))
    bars = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "bar"]
    step = float(bars[1].get("x")) - float(bars[0].get("x"))
    groups = root.findall(f"{SVG}g")
    assert [group.get("class") for group in groups] == ["mean", "mean", "prediction"]
    spans = [group.find(f"{SVG}rect") for group in groups[:2]]
    assert [float(span.get("width")) for span in spans] == pytest.approx([21 * step, 5 * step], abs=1)
    starts = [float(span.get("x")) for span in spans]
    assert starts == pytest.approx([float(bars[-1].get("x")) + step * 0.88] * 2, abs=0.3)


@pytest.mark.parametrize("numbers", [(0, (0, 0), 0.0), (5, (1, 9), 7.0), (10**15, (0, 10**16), 1.0)])
def test_interval_bar_is_in_order(numbers):
    prediction, interval, average = numbers
    root = parsed(pictures.interval_bar(prediction, interval, average))
    band = next(rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "band")
    point = float(root.find(f"{SVG}circle").get("cx"))
    assert 10 <= float(band.get("x")) <= point <= float(band.get("x")) + float(band.get("width")) + 0.1 <= 513
