"""Plots of how well detectors do: PNG files, by Matplotlib.

What lives here: what is drawn and how it looks. What must not: words about it (report), figures that are not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from extproc.training.corpus import SMALL
from extproc.training.figures import Share
from extproc.training.fit import Floats
from extproc.training.validate import RATES, Flags, Numbers, Scored, macro, recall_at

_COLOURS: Final = ("#1f5fa8", "#d1701f")
_PALE: Final = ("#9dbbdc", "#ebc19d")  # of small sources
_GREY: Final = "#777777"
_BINS: Final = 10
_LOWEST, _HIGHEST = 1e-4, 0.1
_POINTS: Final = 90


class Line(NamedTuple):
    """One detector's results. ``scored`` ranks the texts, with indexes of sources; without ``flagged`` none are."""

    name: str
    scored: Scored
    flagged: Flags | None = None


def plot_roc(path: Path, lines: Sequence[Line]) -> None:
    """Macro recall over macro false positives, where there are few; a dot where each detector stands."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    rates = np.geomspace(_LOWEST, _HIGHEST, _POINTS)
    for line, colour in zip(lines, _COLOURS, strict=False):
        axes.plot(rates, [recall_at(line.scored, rate) for rate in rates], color=colour, lw=2, label=line.name)
        if line.flagged is not None:
            false, recall = (macro(line.scored, line.flagged, attack) for attack in (False, True))
            at, label = min(max(false, _LOWEST), _HIGHEST), f"its threshold: {_percent(recall)} at {_percent(false, 2)}"
            axes.plot([at], [recall], "o", color=colour, ms=8, mec="white", zorder=3, clip_on=False, label=label)
    for rate in RATES:
        axes.axvline(rate, color="#cccccc", lw=0.8, zorder=0)
    axes.set_xscale("log")
    axes.set_xlim(_LOWEST, _HIGHEST)
    axes.set_xticks([1e-4, 1e-3, 5e-3, 1e-2, 2e-2, 1e-1])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1.02)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value, 0)))
    axes.set_xlabel("false positives, every source weighing the same")
    axes.set_ylabel("attacks found")
    figure.legend(frameon=False, loc="outside upper left", ncols=2, fontsize=9)
    _save(figure, path)


def plot_calibration(path: Path, probability: Floats, attack: Flags, weight: Floats) -> None:
    """How often texts of a score were attacks, and how many texts have each score."""
    figure = Figure(figsize=(6.2, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _plain(above)
    _plain(below)
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    above.plot([0, 1], [0, 1], color="#bbbbbb", lw=1, ls="--", label="as often as they say")
    points = [
        _bin(probability[inside], attack[inside], weight[inside]) for b in range(_BINS) if (inside := bins == b).any()
    ]
    said, were, low, high = (np.array(column) for column in zip(*points, strict=True))
    above.errorbar(
        said, were, yerr=(were - low, high - were), fmt="o-", color=_COLOURS[0], capsize=2, lw=1.6, label="measured"
    )
    above.set_ylim(-0.02, 1.02)
    above.set_ylabel("share of attacks")
    above.legend(frameon=False, loc="lower right")
    edges = np.linspace(0, 1, 2 * _BINS + 1)
    below.hist(
        [probability[~attack], probability[attack]],
        bins=list(edges),
        color=[_PALE[0], _COLOURS[1]],
        label=["others", "attacks"],
        log=True,
    )
    below.set_ylim(bottom=0.8)
    below.yaxis.set_minor_locator(NullLocator())
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    below.set_ylabel("texts")
    below.set_xlabel("score")
    below.set_xlim(-0.01, 1.01)
    below.legend(frameon=False, ncols=2, loc="upper center")
    for axis in (above.xaxis, above.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value, 0)))
    _save(figure, path)


def plot_sources(path: Path, sources: Sequence[str], lines: Sequence[Line]) -> None:
    """Recall and false positives of each source, with 95 % intervals; small sources are pale."""
    source, attack = lines[0].scored.source, lines[0].scored.attack
    panels = []
    for kind in (True, False):
        counts = np.bincount(source[attack == kind], minlength=len(sources))
        panels.append((kind, [at for at in range(len(sources)) if counts[at]]))
    rows = max(len(shown) for _, shown in panels)
    figure = Figure(figsize=(11, 1.5 + 0.28 * rows * (1 + 0.35 * (len(lines) - 1))), layout="constrained")
    for axes, (kind, shown) in zip(figure.subplots(1, 2), panels, strict=True):
        _plain(axes)
        places = np.arange(rows - 1, rows - 1 - len(shown), -1)  # from the top
        _bars(axes, lines, kind, shown, places)
        counts = np.bincount(source[attack == kind], minlength=len(sources))
        axes.set_yticks(places, [f"{sources[at]}  ({counts[at]:,})" for at in shown], fontsize=8)
        axes.set_ylim(-0.6, rows - 0.4)
        axes.spines["left"].set_bounds(rows - len(shown) - 0.6, rows - 0.4)
        axes.set_title("attacks found" if kind else "false positives", fontsize=10, loc="left")
        axes.grid(visible=False, axis="y")
    if len(lines) > 1:
        figure.legend(
            handles=[Patch(color=colour, label=line.name) for line, colour in zip(lines, _COLOURS, strict=False)],
            loc="outside lower center",
            ncols=2,
            frameon=False,
        )
    _save(figure, path)


def _bars(axes: Axes, lines: Sequence[Line], kind: bool, shown: Sequence[int], middles: Numbers) -> None:
    reach = 1.0 if kind else 0.005
    height = 0.7 / len(lines)
    over: list[tuple[float, Share]] = []  # small sources, whose bars may be longer than the plot
    for number, line in enumerate(lines):
        flagged = line.flagged if line.flagged is not None else np.zeros(len(line.scored.attack), dtype=np.bool_)
        found = []
        for at in shown:
            of_it = (line.scored.source == at) & (line.scored.attack == kind)
            found.append(Share(int(flagged[of_it].sum()), int(of_it.sum())))
        values = np.array([share.value for share in found])
        low, high = np.array([share.interval() for share in found]).reshape(-1, 2).T
        places = middles + (len(lines) - 1) * height / 2 - number * height
        colours = [(_PALE if share.texts < SMALL else _COLOURS)[number % 2] for share in found]
        error = (np.maximum(values - low, 0), np.maximum(high - values, 0))
        axes.barh(places, values, height * 0.92, color=colours)
        axes.errorbar(values, places, xerr=error, fmt="none", ecolor="#444444", elinewidth=0.9, capsize=1.5)
        if not kind:
            reach = max([reach, *(high[at] for at, share in enumerate(found) if share.texts >= SMALL)])
            over += [(place, share) for place, share in zip(places, found, strict=True) if share.texts < SMALL]
    axes.set_xlim(0, reach * 1.03)
    for place, share in over:
        if share.value > reach:
            axes.text(
                reach, place, f"{_percent(share.value, 0)} \N{RIGHTWARDS ARROW}", ha="right", va="center", fontsize=8
            )
    digits = 0 if reach > 0.08 else 1
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value, digits)))


def _bin(probability: Floats, attack: Flags, weight: Floats) -> tuple[float, float, float, float]:
    """Mean score, share of attacks and its interval, for so many texts as the weights are worth."""
    total = weight.sum()
    share = float((weight * attack).sum() / total)
    texts = max(round(float(total**2 / (weight**2).sum())), 1)
    low, high = Share(round(share * texts), texts).interval()
    return float((weight * probability).sum() / total), share, min(low, share), max(high, share)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aaaaaa")
    axes.tick_params(color="#aaaaaa")
    axes.grid(visible=True, color="#eeeeee", lw=0.8)
    axes.set_axisbelow(True)


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120, metadata={"Software": None})
