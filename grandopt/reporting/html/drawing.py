"""From a matplotlib figure to SVG that lives inside an HTML page.

Why matplotlib: its SVG is drawn when the page is written, so the page needs no script at all. It opens at
once, prints as vectors, cannot fail in a browser's console, and leaves no script data into which a name
could be injected. The libraries that come as Python packages and draw in the browser put 1.3 MB (Bokeh) or
4.8 MB (Plotly) of script into every file. What is lost is zooming; the numbers stand in tables.

Colours are names in the page's style sheet (light, dark and print differ there). matplotlib only knows
fixed colours, so each name is drawn in a colour of its own and replaced in the SVG.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from grandopt.reporting.log import one_line

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

INK, MUTED, GRID = "#010101", "#010102", "#010103"
BEFORE, AFTER, OTHER, BAD, SECOND = "#010104", "#010105", "#010106", "#010107", "#010108"
COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BEFORE: "var(--before)",
    AFTER: "var(--after)",
    OTHER: "var(--other)",
    BAD: "var(--bad)",
    SECOND: "var(--second)",
}

# Inches of 72 units each. Wide enough for a column on a desk, and still legible at 360 pixels.
WIDTH = 4.5
ROW = 0.21

STYLE: dict[RcKeyType, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "grandopt",
    "text.parse_math": False,
    "font.size": 10.0,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    "legend.labelspacing": 0.25,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
}

SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
REFERENCE = re.compile(r"url\(#([^)]+)\)")
COLOUR = re.compile("|".join(COLOURS))


class Drawings:
    """The charts of one page. `count` keeps their identifiers apart. Not for several threads at once."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def chart(self, height: float, description: str) -> Iterator[Chart]:
        """A chart of `height` inches to draw on; when the block ends, `svg` of it is ready for the page.

        `description` is what a screen reader says in its place.
        """
        self.count += 1
        with matplotlib.rc_context(), warnings.catch_warnings():
            # The browser draws the text, with fonts of its own; only its width is estimated here.
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
            matplotlib.rcParams.update(STYLE)
            chart = Chart(height)
            yield chart
            chart.finish(f"c{self.count}-", description)


class Chart:
    """One figure with one pair of axes; `svg` is there when its block has ended."""

    def __init__(self, height: float) -> None:
        self.figure = Figure(figsize=(WIDTH, height), layout="constrained")
        self.axes: Axes = self.figure.add_subplot()
        self.svg = Markup("")

    def finish(self, prefix: str, description: str) -> None:
        """Turn the figure into SVG whose identifiers begin with `prefix`."""
        self.figure.patch.set_visible(False)
        self.axes.patch.set_visible(False)
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        root = ElementTree.fromstring(buffer.getvalue())
        _clean(root, prefix)
        root.set("class", "chart")
        root.set("role", "img")
        root.set("aria-label", one_line(description))
        for size in ("width", "height"):
            root.attrib.pop(size, None)
        # Safe: made by a serializer that escapes text and attributes.
        self.svg = Markup(ElementTree.tostring(root, encoding="unicode"))


def _clean(root: ElementTree.Element, prefix: str) -> None:
    """Drop what only a file of its own needs, and make the rest fit a page with other drawings in it."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{SVG}style" or not child.tag.startswith(SVG) or child.tag == f"{SVG}metadata":
                parent.remove(child)
    used = {name for element in root.iter() for name in _references(element)}
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
        identifier = element.attrib.pop("id", None)
        if identifier in used:
            element.set("id", prefix + identifier)
        target = element.attrib.pop(HREF, None)
        if target is not None:
            element.set("href", "#" + prefix + target.removeprefix("#"))
        for name, value in element.items():
            value = REFERENCE.sub(rf"url(#{prefix}\1)", value) if "url(#" in value else value
            if name == "style":  # presentation attributes could not hold a name of the style sheet
                value = COLOUR.sub(lambda match: COLOURS[match[0]], value)
            element.set(name, value)


def _references(element: ElementTree.Element) -> Iterator[str]:
    for name, value in element.items():
        if name == HREF:
            yield value.removeprefix("#")
        else:
            yield from REFERENCE.findall(value)
