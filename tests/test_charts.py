"""The dashboard's pictures: whole SVG, right places, whatever the numbers."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from lib import charts
from lib.symbols import RecentDays

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
def test_recent_volume_is_whole(days, volume):
    root = parsed(charts.recent_volume(recent(days, volume), volume, (0, 2 * volume)))
    assert len([rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "bar"]) == days
    assert "A&B" in root.get("aria-label")
    for name in ("x", "y", "cx", "cy", "height", "width"):
        assert all(
            np.isfinite(float(one.get(name))) and float(one.get(name)) >= 0 for one in root.iter() if one.get(name)
        )


def test_recent_volume_without_a_prediction_shows_none():
    both = [parsed(charts.recent_volume(recent(7), *given)) for given in ((1, (0, 2)), (None, None))]
    assert [len(root.findall(f"{SVG}g")) for root in both] == [1, 0]
    assert ["prediction" in root.get("aria-label") for root in both] == [True, False]


@pytest.mark.parametrize("numbers", [(0, (0, 0), 0.0), (5, (1, 9), 7.0), (10**15, (0, 10**16), 1.0)])
def test_interval_bar_is_in_order(numbers):
    prediction, interval, average = numbers
    root = parsed(charts.interval_bar(prediction, interval, average))
    band = next(rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "band")
    point = float(root.find(f"{SVG}circle").get("cx"))
    assert 10 <= float(band.get("x")) <= point <= float(band.get("x")) + float(band.get("width")) + 0.1 <= 513


def test_surface_shows_the_share_of_the_average():
    """Left and low the model gives half the average, right and high three quarters."""
    surface = charts.Surface(lambda v, p: np.where(v > 1e5, 0.75 * v, 0.5 * v).astype("int64"), (1e3, 1e7), (1, 100))
    image = next(parsed(surface.picture).iter(f"{SVG}image"))
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image.get("href").partition(",")[2]))))
    assert pixels.shape[2] == 3
    assert (pixels[:, 0] == charts._COLOURS[0]).all()
    assert (pixels[:, -1] == charts._COLOURS[-1]).all()
    texts = [text.text for text in parsed(surface.picture).iter(f"{SVG}text")]
    assert {"50%", "75%", "$10", "10 k", "1 M"} <= set(texts)


def test_marker_is_where_the_inputs_are():
    surface = charts.Surface(lambda v, p: (0.5 * v).astype("int64"), (1e3, 1e7), (1, 100))

    def place(volume, price):
        circle = parsed(surface.marker(volume, price)).find(f"{SVG}circle")
        return float(circle.get("cx")), float(circle.get("cy"))

    image = next(parsed(surface.picture).iter(f"{SVG}image"))
    left, top, width, height = (float(image.get(name)) for name in ("x", "y", "width", "height"))
    assert place(1e3, 1) == pytest.approx((left, top + height))
    assert place(1e7, 100) == pytest.approx((left + width, top))
    assert place(1e5, 10) == pytest.approx((left + width / 2, top + height / 2))
    assert place(0, -5) == place(1e3, 1)
    assert place(1e15, 1e300) == place(1e7, 100)


@pytest.mark.parametrize("bounds", [(5.0, 5.0), (0.0, 0.0), (0.0, 1e15), (-3.0, 2.0)])
def test_surface_of_an_odd_range_is_whole(bounds):
    surface = charts.Surface(lambda v, p: np.zeros(len(v), "int64"), bounds, bounds)
    parsed(surface.picture)
    parsed(surface.marker(1.0, 1.0))
