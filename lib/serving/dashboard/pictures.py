"""The dashboard's pictures, as SVG text: pure functions, drawn anew at every keystroke.

SVG and not matplotlib, which takes longer to import than a page may take to open; and the page's style sheet colours the
shapes by their classes, so that one picture serves light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from lib.features.recent_days import RecentDays
from lib.text import short


@dataclass(frozen=True)
class Marker:
    """A predicted volume and its range, on the sessions that it is for.

    Parameters
    ----------
    first, last : int
        Sessions after the symbol's latest day, which is 0; equal for one session's volume, else the mean of several.
    value, low, high : int
        Shares a day.
    text : str
        What it is, for a tooltip and for screen readers.
    """

    first: int
    last: int
    value: int
    low: int
    high: int
    text: str


def round_ticks(high: float) -> list[float]:
    """About five round numbers from 0 to ``high``: multiples of 1, 2 or 5 times a power of ten.

    Examples
    --------
    >>> round_ticks(13.2e6)
    [0.0, 5000000.0, 10000000.0]
    """
    power = 10.0 ** math.floor(math.log10(high / 4))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if multiple * power >= high / 4)
    return [index * step for index in range(math.floor(high / step) + 1)]


def recent_volume(recent: RecentDays, markers: Sequence[Marker] = (), width: int = 760, height: int = 320) -> str:
    """A symbol's recent days as bars, with what is predicted where the sessions are that it is for.

    Parameters
    ----------
    markers : sequence of Marker
        The widest are drawn first, the others on them.
    width, height : int
        Size of the drawing's coordinates; the page scales it.

    Returns
    -------
    str
        An ``<svg>`` element with its own title and description.
    """
    left, right, top, bottom = 58, 12, 30, 34
    days = len(recent.volume)
    slots = days + max((marker.last for marker in markers), default=0)
    highest = max(*recent.volume.tolist(), *(marker.high for marker in markers), 1) * 1.06
    slot = (width - left - right) / slots

    def y(value: float) -> float:
        return height - bottom - (height - top - bottom) * min(value / highest, 1)

    def x(index: float) -> float:
        return left + slot * (index + 0.5)

    parts = ['<text class="axis" x="0" y="13">shares a day</text>']
    if slots > days:
        start = x(days - 0.5)
        parts.append(
            f'<rect class="future" x="{start:.1f}" width="{width - right - start:.1f}" y="{top}" height="{height - top - bottom}"/>'
        )
    for tick in round_ticks(highest):
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
    for marker in sorted(markers, key=lambda marker: marker.first - marker.last):
        parts.append(_marker(marker, x(days - 1 + marker.first), x(days - 1 + marker.last), slot, y))
    ticks = {0: "start", days // 2: "middle", days - 1: "end"} if days > 6 else {0: "start"}
    if width < 500:
        ticks.pop(days // 2, None)  # there is no room for it
    for index, anchor in ticks.items():
        parts.append(
            f'<text class="tick" x="{x(index):.1f}" y="{height - 10}" text-anchor="{anchor}">{recent.dates[index]}</text>'
        )
    title = f"{recent.symbol}: volume of the last {days} trading days"
    description = (
        f"Bars of daily volume to {recent.dates[-1]}, the latest {short(float(recent.volume[-1]))} shares; a line of its moving "
        f"average, the latest {short(float(recent.vol_moving_avg[-1]))}."
    )
    if markers:
        title += ", and what is predicted"
        description += "".join(f" {marker.text}." for marker in markers)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}. {escape(description)}">'
        + "".join(parts)
        + "</svg>"
    )


def both_widths(recent: RecentDays, markers: Sequence[Marker], width: int, height: int) -> str:
    """`recent_volume` for a wide page, and again for a telephone, where the other's letters would be too small to read."""
    wide, narrow = (recent_volume(recent, markers, *size) for size in ((width, height), (380, 260)))
    return f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>'


def _marker(marker: Marker, start: float, end: float, slot: float, y: Callable[[float], float]) -> str:
    low, value, high = y(marker.low), y(marker.value), y(marker.high)
    title = f"<title>{escape(marker.text)}</title>"
    if marker.first < marker.last:
        edge = slot / 2
        across = f'x1="{start - edge:.1f}" x2="{end + edge:.1f}"'
        return (
            f'<g class="mean">{title}<rect x="{start - edge:.1f}" width="{end - start + slot:.1f}" y="{high:.1f}" '
            f'height="{low - high:.1f}"/><line {across} y1="{value:.1f}" y2="{value:.1f}"/></g>'
        )
    cap = 5
    return (
        f'<g class="prediction">{title}<line x1="{start:.1f}" x2="{start:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        f'<line x1="{start - cap:.1f}" x2="{start + cap:.1f}" y1="{low:.1f}" y2="{low:.1f}"/>'
        f'<line x1="{start - cap:.1f}" x2="{start + cap:.1f}" y1="{high:.1f}" y2="{high:.1f}"/>'
        f'<circle cx="{start:.1f}" cy="{value:.1f}" r="5"/></g>'
    )


def interval_bar(prediction: int, interval: tuple[int, int], average: float) -> str:
    """An ``<svg>`` of the prediction inside its interval, beside the moving average, on one line from zero, in shares.

    What it shows is said in the text above it, so it is hidden from screen readers.
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
