"""Reports in Markdown with plots beside them, of a training or of a comparison.

What lives here: what a report says, and its files. What must not: how plots look (plots), how figures are found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from extproc.chat import Json
from extproc.training.card import share_by_source
from extproc.training.corpus import SMALL, Row
from extproc.training.fit import sample_weights
from extproc.training.judging import Judged
from extproc.training.plots import Line, plot_calibration, plot_roc, plot_sources
from extproc.training.study import Study, Task
from extproc.training.validate import Scored


def training_report(folder: Path, task: Task, studied: Study, model: Mapping[str, Any]) -> None:
    """Write the report of a training into a folder.

    Raises:
        OSError: it cannot be written.
    """
    texts = studied.texts
    rules = Scored(studied.rules, texts.attack, texts.source)
    lines = [Line("rules and model", studied.scored, studied.flagged), Line("rules alone", rules)]
    plot_roc(folder / "roc.png", lines)
    plot_calibration(folder / "calibration.png", studied.probability, texts.attack, texts.weight)
    plot_sources(folder / "sources.png", texts.sources, lines[:1])
    metrics = model["card"]["metrics"]
    head = (
        f"Trained {model['card']['date']} on {int(texts.usable.sum()):,} texts of {_used(model, 'training')} sources"
        f"{_evaluated(model)}. Every figure here is of a text whose source the model had not seen."
    )
    columns = (
        "The first column is what a threshold that suits these texts would reach. The other two are what one reaches "
        "that was chosen without the source: take those for what to expect."
    )
    by_source = (
        f"At the wanted {_percent(task.false_positives)} of false positives. Sources of fewer than {SMALL} texts are "
        "pale, and count in no average."
    )
    parts = [
        f"# {model['name']}",
        head,
        "## What it finds",
        _recall_table(metrics),
        columns,
        _others(metrics, model),
        "![Recall at low rates of false positives](roc.png)",
        "## By source",
        by_source,
        "![By source](sources.png)",
        _source_table(task, studied, model["card"]["sources"]),
        "## What a score means",
        "![Calibration](calibration.png)",
    ]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def judging_report(folder: Path, rows: Sequence[Row], judged: Sequence[Judged], told: Mapping[str, Json]) -> None:
    """Write the report of one or two detectors into a folder. ``told``: what ``--json`` prints.

    Raises:
        OSError: it cannot be written.
    """
    sources = sorted({row.source for row in rows})
    numbers = {name: at for at, name in enumerate(sources)}
    source = np.array([numbers[row.source] for row in rows], dtype=np.int64)
    attack = np.array([row.attack for row in rows], dtype=np.bool_)
    lines = [
        Line(each.candidate.name, Scored(np.array(each.scores), attack, source), np.array(each.flagged, dtype=np.bool_))
        for each in judged
    ]
    large = {kind: bool((np.bincount(source[attack == kind]) >= SMALL).any()) for kind in (True, False)}
    weights = sample_weights([(row.source, row.attack) for row in rows])
    parts = ["# " + " and ".join(each.candidate.name for each in judged)]
    if all(large.values()):
        plot_roc(folder / "roc.png", lines)
        parts.append("![Recall at low rates of false positives](roc.png)")
    else:
        parts.append(f"No source has {SMALL} texts of each label: there are no averages, and no curve of them.")
    plot_sources(folder / "sources.png", sources, lines)
    parts += [
        "## By source",
        f"Sources of fewer than {SMALL} texts are pale, and count in no average.",
        "![By source](sources.png)",
        "## What a score means",
    ]
    for number, line in enumerate(lines, 1):
        name = f"calibration-{number}.png"
        plot_calibration(folder / name, line.scored.evidence, attack, weights)
        parts += [f"{line.name}:", f"![Calibration]({name})"]
    if changed := told.get("difference"):
        first, second = (each.candidate.name for each in judged)
        parts += [f"## What changes from {second} to {first}", _changed(changed)]
    (folder / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _recall_table(metrics: Mapping[str, Any]) -> str:
    lines = [
        "| false positives | found | found, threshold from elsewhere | false positives then |",
        "|--:|--:|--:|--:|",
    ]
    for rate, found in metrics["recall"].items():
        nested = metrics["nested"][rate]
        cells = (_bounds(found), _bounds(nested["recall"]), _bounds(nested["false_positives"]))
        lines.append(f"| {rate} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _others(metrics: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    told = (
        f"The model's threshold is a score of {model['threshold']:.3f}. On the average a score is off by "
        f"{_percent(metrics['calibration_error'])} (expected calibration error)."
    )
    if hard := metrics.get("hard_others"):
        told += f" Of {hard['texts']:,} texts that look like attacks but are none, it flags {_bounds(hard)}."
    return told


def _source_table(task: Task, studied: Study, sources: Mapping[str, Any]) -> str:
    lines = ["| source | texts | flagged | 95 % interval | used for | licence |", "|---|--:|--:|--:|---|---|"]
    for (name, attack), share in share_by_source(task.rows, studied.flagged).items():
        low, high = share.interval()
        about = sources[name]
        lines.append(
            f"| {_cell(name)}, {'attacks' if attack else 'others'} | {share.texts:,} | {_percent(share.value)} | "
            f"{_percent(low)} to {_percent(high)} | {about['used']} | {_cell(about.get('licence', 'not said'))} |"
        )
    return "\n".join(lines)


def _changed(changed: Any) -> str:
    lines = ["| | difference | 95 % interval |", "|---|--:|--:|"]
    for name, what in (("recall", "attacks found"), ("false_positives", "false positives")):
        if found := changed[name]:
            lines.append(
                f"| {what} | {100 * found['value']:+.2f} | {100 * found['low']:+.2f} to {100 * found['high']:+.2f} |"
            )
    more, less = changed["newly_flagged"], changed["no_longer_flagged"]
    told = (
        f"In percentage points. Newly flagged: {len(more['attacks']):,} attacks and {len(more['others']):,} others; "
        f"no longer flagged: {len(less['attacks']):,} attacks and {len(less['others']):,} others."
    )
    return "\n".join(lines) + "\n\n" + told


def _used(model: Mapping[str, Any], use: str) -> int:
    return sum(source["used"] == use for source in model["card"]["sources"].values())


def _evaluated(model: Mapping[str, Any]) -> str:
    count = _used(model, "evaluation")
    return f", evaluated on {count} more" if count else ""


def _bounds(figure: Mapping[str, float]) -> str:
    return f"{_percent(figure['value'])} ({_percent(figure['low'])} to {_percent(figure['high'])})"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
