"""What the dashboard's tabs are made of: a guard for callbacks, groups of widgets, a field that picks a symbol, and texts."""

from __future__ import annotations

import base64
import functools
import logging
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import ipywidgets as widgets

from lib.serving.dashboard.symbol_search import exact, label, matches
from lib.serving.live_model import NotMadeError

log = logging.getLogger("market-study")

_LISTED = 5  # matches that a message names


def guarded(callback: Callable[..., None]) -> Callable[..., None]:
    """Show a plain message in a tab's ``failure`` when a method of it fails: Jupyter would send the visitor a traceback."""

    @functools.wraps(callback)
    def run(self: Any, *arguments: Any) -> None:
        # At the start and not at the end: a method that this one calls may have failed, and said so.
        if self.failure.value:
            self.failure.value = ""
        try:
            callback(self, *arguments)
        except NotMadeError as error:
            self.failure.value = notice(str(error))
        except Exception:
            log.exception("%s failed", callback.__qualname__)
            self.failure.value = notice("Something went wrong on the server; reload the page to continue.")

    return run


class SymbolPicker:
    """A field that takes a ticker or a part of a name, and its message.

    Parameters
    ----------
    names : mapping of str to str
        Security names by symbol.
    name : str
        Names the field to the page: ``field-NAME`` is its class.
    picked : callable
        Called with the symbol whenever another one is picked, and with None when there is none any more.

    Attributes
    ----------
    symbol : str or None
        The one that is picked.
    """

    def __init__(self, names: Mapping[str, str], name: str, picked: Callable[[str | None], None]) -> None:
        self.names = names
        self.symbol: str | None = None
        self._picked = picked
        self.message = html("message")
        self.field = widgets.Combobox(
            description="Symbol",
            placeholder="A ticker or a name",
            options=[label(*pair) for pair in names.items()],
            continuous_update=True,
        )
        self.field.add_class("field").add_class(f"field-{name}")
        self.field.observe(self._changed, "value")
        self.field.on_msg(self._entered)

    def pick(self, text: str) -> bool:
        """Pick the symbol that ``text`` is; says whether there is one."""
        symbol = exact(self.names, text)
        if symbol is not None:
            self.field.value = label(symbol, self.names[symbol])
        return symbol is not None

    def _changed(self, change: Mapping[str, Any]) -> None:
        symbol = exact(self.names, change["new"])
        if symbol is None:
            self.message.value = self._found(change["new"])
        elif symbol != self.symbol:
            name = self.names[symbol]
            # The field may say the name already.
            self.message.value = f'<p class="hint">{escape(name)}</p>' if name not in change["new"] else ""
        if symbol != self.symbol:
            self.symbol = symbol
            self._picked(symbol)

    def _found(self, text: str) -> str:
        if not text.strip():
            return ""
        found = matches(self.names, text)
        if not found:
            return '<p class="hint">No such symbol in this study.</p>'
        listed = ", ".join(escape(label(symbol, self.names[symbol])) for symbol in found[:_LISTED])
        if len(found) == 1:
            return f'<p class="hint">Enter takes {listed}.</p>'
        more = f" and {len(found) - _LISTED:,} more" if len(found) > _LISTED else ""
        return f'<p class="hint">{listed}{more}</p>'

    def _entered(self, _: widgets.Widget, content: Mapping[str, Any], __: list[Any]) -> None:
        if content.get("event") == "submit" and len(found := matches(self.names, self.field.value)) == 1:
            self.pick(found[0])


def text_field(name: str, description: str, value: str = "") -> widgets.Text:
    """A field of one line; ``field-NAME`` is its class."""
    return (
        widgets.Text(value, description=description, continuous_update=True)
        .add_class("field")
        .add_class(f"field-{name}")
    )


def set_class(widget: widgets.Widget, name: str, on: bool) -> None:
    """Give a widget a class, or take it away: a field is ``invalid`` (the page tells assistive technology), a card ``absent``."""
    (widget.add_class if on else widget.remove_class)(name)


def html(name: str, value: str = "") -> widgets.HTML:
    """Markup of a class of its own."""
    return widgets.HTML(value).add_class(name)


def heading(text: str) -> widgets.HTML:
    """A card's heading."""
    return html("heading", f"<h2>{escape(text)}</h2>")


def group(names: str, children: list[widgets.Widget]) -> widgets.Box:
    """Widgets in a box with some classes."""
    box = widgets.Box(children)
    for name in names.split():
        box.add_class(name)
    return box


def notice(text: str) -> str:
    """A sentence that stands out; nothing for an empty one."""
    return f'<p class="notice">{escape(text)}</p>' if text else ""


def legend(*entries: tuple[str, str]) -> str:
    """What the shapes of a chart are: a key's class and its text, each."""
    return "".join(f"<span><span class='key key-{key}'></span>{escape(text)}</span>" for key, text in entries)


def download_link(content: bytes, filename: str, text: str, classes: str = "") -> str:
    """A link that saves a CSV file, which the page holds."""
    data = base64.b64encode(content).decode()
    chosen = f' class="{classes}"' if classes else ""
    return (
        f'<a{chosen} download="{escape(filename)}" href="data:text/csv;charset=utf-8;base64,{data}">{escape(text)}</a>'
    )
