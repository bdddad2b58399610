"""The dashboard's pictures, as SVG text: pure functions, drawn anew at every keystroke.

SVG and not matplotlib, which takes longer to import than a page may take to open; and the page's style sheet colours the
shapes by their classes, so that one picture serves light and dark.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from lib.symbols import RecentDays

LEAST_VOLUME = 100  # shares a day: below, a picture of shares shows little but their rounding to whole numbers

# Dark blue to pale yellow, each step lighter than the last: read by every kind of colour vision, and in grey.
_COLOURS = np.array(
    [(20, 42, 92), (32, 84, 138), (40, 126, 154), (64, 166, 152), (128, 200, 138), (200, 226, 136), (252, 246, 178)],
    dtype="float64",
)


def short(value: float) -> str:
    """A count in three digits and a unit.

    Examples
    --------
    >>> [short(value) for value in (950, 12345, 3864436, 2.1e9)]
    ['950', '12.3 k', '3.86 M', '2.1 bn']
    """
    for factor, unit in ((1e12, " tn"), (1e9, " bn"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About ``count`` round numbers in a range: multiples of 1, 2 or 5 times a power of ten.

    Parameters
    ----------
    low, high : float
        The ends of the range, in the axis' unit.
    count : int
        How many steps to aim at.

    Returns
    -------
    list of float
        Ascending; ``low`` alone where ``high`` is not above it.

    Examples
    --------
    >>> round_ticks(0, 13.2e6)
    [0.0, 5000000.0, 10000000.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if multiple * power >= rough)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def recent_volume(
    recent: RecentDays,
    prediction: int | None,
    interval: tuple[int, int] | None,
    width: int = 520,
    height: int = 324,
) -> str:
    """A symbol's recent days, with the prediction at their right if there is one.

    Parameters
    ----------
    recent : RecentDays
    prediction : int or None
        Shares.
    interval : (int, int) or None
        Low and high, shares.
    width, height : int
        Size of the drawing's coordinates; the page scales it.

    Returns
    -------
    str
        An ``<svg>`` element with its own title and description.
    """
    left, right, top, bottom = 56, 100, 30, 34
    highest = max(*recent.volume.tolist(), *(interval or ()), prediction or 0, 1) * 1.06
    slot = (width - left - right) / len(recent.volume)  # a day's; the prediction stands apart, at the right

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * min(value / highest, 1)

    def x(index: float) -> float:
        return left + slot * (index + 0.5)

    parts = ['<text class="axis" x="0" y="13">shares a day</text>']
    for tick in round_ticks(0, highest):
        parts.append(f'<line class="grid" x1="{left}" x2="{width}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    for index, volume in enumerate(recent.volume.tolist()):
        parts.append(
            f'<rect class="bar" x="{x(index) - slot * 0.38:.1f}" width="{slot * 0.76:.1f}" y="{y(volume):.1f}" '
            f'height="{height - bottom - y(volume):.1f}"><title>{recent.dates[index]}: {volume:,} shares</title></rect>'
        )
    points = " ".join(
        f"{x(index):.1f},{y(value):.1f}"
        for index, value in enumerate(recent.vol_moving_avg.tolist())
        if math.isfinite(value)
    )
    parts.append(f'<polyline class="average" points="{points}"/>')
    if prediction is not None and interval is not None:
        place, low, high = width - right / 2, y(interval[0]), y(interval[1])
        parts.append(
            f'<g class="prediction"><line x1="{place:.1f}" x2="{place:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
            f'<line x1="{place - 5:.1f}" x2="{place + 5:.1f}" y1="{low:.1f}" y2="{low:.1f}"/>'
            f'<line x1="{place - 5:.1f}" x2="{place + 5:.1f}" y1="{high:.1f}" y2="{high:.1f}"/>'
            f'<circle cx="{place:.1f}" cy="{y(prediction):.1f}" r="5"/></g>'
            f'<text class="tick" x="{place:.1f}" y="{height - 10}" text-anchor="middle">predicted</text>'
        )
    days = [0, len(recent.dates) // 2, len(recent.dates) - 1] if len(recent.dates) > 6 else [0]
    for index, anchor in zip(days, ("start", "middle", "end"), strict=False):
        parts.append(
            f'<text class="tick" x="{x(index):.1f}" y="{height - 10}" text-anchor="{anchor}">{recent.dates[index]}</text>'
        )
    title = f"{recent.symbol}: volume of the last {len(recent.dates)} trading days"
    description = (
        f"Bars of daily volume to {recent.dates[-1]}, the latest {short(float(recent.volume[-1]))} shares; a line of its moving "
        f"average, the latest {short(float(recent.vol_moving_avg[-1]))}."
    )
    if prediction is not None and interval is not None:
        title += ", and the prediction"
        description += (
            f" The prediction is {short(prediction)}, its interval {short(interval[0])} to {short(interval[1])}."
        )
    return _svg(width, height, title, description, parts)


def interval_bar(prediction: int, interval: tuple[int, int], average: float) -> str:
    """The prediction inside its interval, beside the moving average, on one line from zero.

    Parameters
    ----------
    prediction : int
        Shares.
    interval : (int, int)
        Low and high, shares.
    average : float
        The moving average, shares a day.

    Returns
    -------
    str
        An ``<svg>`` element; what it shows is said in the text above it, so it is hidden from screen readers.
    """
    width, height, end = 520, 56, 510
    highest = max(interval[1], average, 1.0) * 1.08
    low, high, point, middle = (10 + (end - 10) * value / highest for value in (*interval, prediction, average))
    anchor = "end" if middle > width * 0.7 else "start"
    return (
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true"><rect class="track" x="10" y="14" width="{end - 10}" '
        f'height="10" rx="5"/><rect class="band" x="{low:.1f}" y="14" width="{max(high - low, 2):.1f}" height="10" rx="5"/>'
        f'<line class="mark" x1="{middle:.1f}" x2="{middle:.1f}" y1="8" y2="32"/>'
        f'<text x="{middle:.1f}" y="48" text-anchor="{anchor}">moving average</text>'
        f'<circle class="point" cx="{point:.1f}" cy="19" r="8"/></svg>'
    )


class Surface:
    """The model over both inputs, as a picture: the predicted volume as a share of its moving average.

    Both axes are logarithmic and span the training range; that of the volume begins at `LEAST_VOLUME` at least.

    Parameters
    ----------
    predict : callable
        ``predict(vol_moving_avg, adj_close_rolling_med)`` on float64 arrays, in shares.
    volumes, prices : (float, float)
        The training range of each input, in shares a day and in dollars.
    """

    _WIDTH, _HEIGHT = 520, 300
    _LEFT, _RIGHT, _TOP, _BOTTOM = 78, 16, 8, 92
    _COLUMNS, _ROWS = (132, 80)  # pixels; more show no more: the model is a table of about this size

    def __init__(
        self,
        predict: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]],
        volumes: Sequence[float],
        prices: Sequence[float],
    ) -> None:
        self._x = _log_axis((max(volumes[0], LEAST_VOLUME), volumes[1]))
        self._y = _log_axis(prices)
        across = np.exp(np.linspace(*self._x, self._COLUMNS))
        down = np.exp(np.linspace(*self._y[::-1], self._ROWS))
        volume, price = np.meshgrid(across, down)
        share = predict(volume.ravel(), price.ravel()).reshape(volume.shape) / volume
        # The rare extremes must not flatten the rest; a flat model must not divide by zero.
        self._low, high = (float(value) for value in np.quantile(share, (0.01, 0.99)))
        self._high = max(high, self._low + 0.01)
        self.picture = self._draw(share)

    def _draw(self, share: NDArray[np.float64]) -> str:
        position = np.clip((share - self._low) / (self._high - self._low), 0, 1) * (len(_COLOURS) - 1)
        pixels = _colours(position)
        width, height = (self._WIDTH - self._LEFT - self._RIGHT, self._HEIGHT - self._TOP - self._BOTTOM)
        place = f'x="{self._LEFT}" y="{self._TOP}" width="{width}" height="{height}" preserveAspectRatio="none"'
        parts = [f'<image href="{_png(pixels)}" {place}/>']
        for value in _decades(self._x):
            x = self._place_x(value)
            parts.append(
                f'<text class="tick" x="{x:.1f}" y="{self._TOP + height + 16}" text-anchor="middle">{short(value)}</text>'
            )
        for value in _decades(self._y):
            y = self._place_y(value)
            parts.append(
                f'<text class="tick" x="{self._LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">${short(value)}</text>'
            )
        middle = self._LEFT + width / 2
        parts.append(
            f'<text class="axis" x="{middle}" y="{self._TOP + height + 36}" text-anchor="middle">'
            "volume moving average, shares a day</text>"
        )
        parts.append(
            f'<text class="axis" transform="rotate(-90)" x="{-(self._TOP + height / 2)}" y="14" text-anchor="middle">'
            "median price</text>"
        )
        scale = _colours(np.linspace(0, 6, 120)[None, :])
        parts.append(
            f'<image href="{_png(scale)}" x="{middle - 120}" y="{self._HEIGHT - 36}" width="240" height="10" '
            'preserveAspectRatio="none"/>'
        )
        for shift, value in ((-120, self._low), (0, (self._low + self._high) / 2), (120, self._high)):
            parts.append(
                f'<text class="tick" x="{middle + shift}" y="{self._HEIGHT - 10}" text-anchor="middle">{value:.0%}</text>'
            )
        title = "Predicted volume as a share of its moving average, for every pair of inputs"
        description = (
            "A heat map over both inputs, on logarithmic axes; from dark blue, the volume is "
            f"{self._low:.0%} of its moving average or less, to pale yellow, {self._high:.0%} or more."
        )
        return _svg(self._WIDTH, self._HEIGHT, title, description, parts)

    def _place_x(self, value: float) -> float:
        return self._LEFT + (self._WIDTH - self._LEFT - self._RIGHT) * _share(value, self._x)

    def _place_y(self, value: float) -> float:
        return self._TOP + (self._HEIGHT - self._TOP - self._BOTTOM) * (1 - _share(value, self._y))

    def marker(self, vol_moving_avg: float, adj_close_rolling_med: float) -> str:
        """The layer that shows where a pair of inputs is.

        Parameters
        ----------
        vol_moving_avg : float
            Shares a day.
        adj_close_rolling_med : float
            Dollars.

        Returns
        -------
        str
            SVG, to lie on `picture`; inputs outside the training range are marked at its edge.
        """
        x, y = self._place_x(vol_moving_avg), self._place_y(adj_close_rolling_med)
        right, low = self._WIDTH - self._RIGHT, self._HEIGHT - self._BOTTOM
        label_x, anchor = (x - 14, "end") if x > self._WIDTH / 2 else (x + 14, "start")
        parts = [
            f'<line class="cross" x1="{self._LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<line class="cross" x1="{x:.1f}" x2="{x:.1f}" y1="{self._TOP}" y2="{low}"/>',
            f'<circle class="here" cx="{x:.1f}" cy="{y:.1f}" r="7"/>',
            f'<text class="here" x="{label_x:.1f}" y="{max(y - 9, self._TOP + 12):.1f}" text-anchor="{anchor}">you are here</text>',
        ]
        return f'<svg viewBox="0 0 {self._WIDTH} {self._HEIGHT}" aria-hidden="true">{"".join(parts)}</svg>'


def _log_axis(bounds: Sequence[float]) -> tuple[float, float]:
    low, high = max(float(bounds[0]), 1e-2), max(float(bounds[1]), 2e-2)
    return math.log(low), math.log(max(high, low * 1.01))


def _share(value: float, axis: tuple[float, float]) -> float:
    return min(max((math.log(max(value, 1e-9)) - axis[0]) / (axis[1] - axis[0]), 0.0), 1.0)


def _decades(axis: tuple[float, float]) -> list[float]:
    """Round values of a logarithmic axis: 1, 2, 5, 10, ... thinned to at most six."""
    powers = range(math.floor(axis[0] / math.log(10)), math.ceil(axis[1] / math.log(10)) + 1)
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        values = [multiple * 10.0**power for power in powers for multiple in multiples]
        values = [value for value in values if axis[0] <= math.log(value) <= axis[1]]
        if len(values) <= 7:
            return values
    return values[:: math.ceil(len(values) / 7)]


def _colours(position: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colours of positions 0 to 6 on the scale: uint8, one axis more than ``position``."""
    low = np.clip(position.astype("int64"), 0, len(_COLOURS) - 2)
    part = (position - low)[..., None]
    return np.rint(_COLOURS[low] * (1 - part) + _COLOURS[low + 1] * part).astype("uint8")


def _png(pixels: NDArray[np.uint8]) -> str:
    """A data URL of an RGB picture, shape (rows, columns, 3): https://www.w3.org/TR/png/."""
    rows, columns, _ = pixels.shape
    raw = np.concatenate([np.zeros((rows, 1), "uint8"), pixels.reshape(rows, columns * 3)], axis=1).tobytes()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0))
    content += chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _svg(width: int, height: int, title: str, description: str, parts: list[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}. {escape(description)}">'
        + "".join(parts)
        + "</svg>"
    )
