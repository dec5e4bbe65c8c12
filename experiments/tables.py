"""Tables of an experiment in Markdown."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from bccl_jax.data.long_tail import class_counts, shot_groups
from bccl_jax.evaluation.feature_space import PER_CLASS
from bccl_jax.reporting.console import ACCURACIES, SHOTS
from bccl_jax.reporting.remarks import named
from experiments import statistics
from experiments.design import get_config
from experiments.gathering import Comparison, Runs, Section, class_accuracies, measures
from experiments.statistics import Spread

SIGNIFICANT = 0.05
NONE = "–"
SPACES = {"backbone": "features of the backbone", "projector": "output of the projector"}
# The paper prints shot groups to 0.1 and may count another class more or less to a group.
_INCONSISTENT = 0.3
_SPLITS = {"test": "the test split", "validation": "a validation part of the training split"}


def markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def accuracies(section: Section) -> str:
    """Every row's accuracy, beside the paper's figures where it has some, and what to know of it.

    Args:
      section: with a record at least.

    Returns:
      A Markdown table and sentences.
    """
    printed = any(section.paper(runs.row) for runs in section.rows)
    headings = ["row", "seeds", *ACCURACIES.values(), f"all, best epoch ({_chosen_on(section)})"]
    if printed:
        headings.append("paper: all (many / medium / few)")
        if section.full_size:
            headings.append("minus the paper's")
        else:
            headings[-1] = f"paper, {paper_size(section)}: all (many / medium / few)"
    rows = []
    for runs in section.rows:
        cells = [row_name(runs, section), *_results(runs)]
        if printed:
            cells.append(_paper(section.paper(runs.row)))
            if section.full_size:
                cells.append(_signed(less_paper(section, runs)))
        rows.append(cells)
    split = _SPLITS[section.on]
    notes = [
        f"Accuracy in percent on {split}, last epoch, mean ± standard deviation over seeds.",
        tested(section),
    ]
    if printed and not section.full_size:
        notes.append(
            f"The paper's figures are of {paper_size(section)}, on the test split. These runs are "
            "not: only the order of the rows may be compared."
        )
    for runs in section.rows:
        average = paper_average(section, runs.row)
        if average is not None:
            notes.append(
                f"The paper's shot groups of {runs.row.name} average to {average:.2f} over the "
                f"classes, not to the {section.paper(runs.row)['all']:g} that it prints for all."
            )
    return markdown(headings, rows) + "\n\n" + " ".join(notes)


def tested(section: Section) -> str:
    """Says what the figures are means of, and which classes they do not tell of."""
    there = section.tested
    over = f"{there.sum():,} of {len(there):,} classes"
    if not section.untested:
        return f"top-1: share of the images; all: mean of the accuracies of {over}."
    lacking = (
        "no run evaluated"
        if section.alike
        else ("rows are means of different classes, for not every run evaluated")
    )
    return (
        f"top-1: share of the images; all: mean of the accuracies of {over}; {lacking} an image of "
        f"{named(section.untested)}."
    )


def row_name(runs: Runs, section: Section) -> str:
    """A row's name in a table, the reference's in bold."""
    if runs.row.name != section.experiment.reference:
        return runs.row.name
    axis = section.experiment.axis
    return f"**{runs.row.name}**" + (f" ({axis} {runs.row.value})" if axis else "")


def status(runs: Runs) -> str:
    """Why a row has no figures; "" if it has."""
    if runs.records:
        return ""
    if runs.row.method is None:
        return "not in this harness yet"
    return "not run" if runs.cells else "left out: it has a backbone of its own"


def _results(runs: Runs) -> list[str]:
    if not runs.records:
        return [NONE, status(runs), *[NONE] * len(ACCURACIES)]
    total, found = len(runs.cells), len(runs.records)
    seeds = str(found) if found == total else f"{found} of {total}"
    shown = [accuracy(runs.accuracy(name)) for name in ACCURACIES]
    return [seeds, *shown, accuracy(runs.accuracy("all", "best"))]


def accuracy(value: Spread | None) -> str:
    """A mean and its deviation to two decimals."""
    return plus_minus(value, "{:.2f}")


def plus_minus(value: Spread | None, form: str) -> str:
    """A mean and its deviation, if it has one, in a format such as "{:.1f}"."""
    if value is None:
        return NONE
    mean = _number(value.mean, form)
    return mean if value.deviation is None else f"{mean} ± {_number(value.deviation, form)}"


def _measure(value: Spread | None) -> str:
    """Three significant digits of the mean or its deviation, whichever is larger."""
    size = 0.0 if value is None else max(abs(value.mean), value.deviation or 0.0)
    decimals = 2 - math.floor(math.log10(size)) if size else 2
    return plus_minus(value, f"{{:.{max(decimals, 0)}f}}")


def _number(value: float, form: str) -> str:
    return form.format(value).replace("-", "−")


def _chosen_on(section: Section) -> str:
    chosen = section.records[0]["best"]["chosen_on"]
    if chosen == "test":
        return "chosen on the test set"
    return "chosen on this part" if section.on == "validation" else "chosen on the validation split"


def paper_size(section: Section) -> str:
    """The data set, backbone and epochs that the paper's figures are of."""
    config = get_config(section.paper_dataset, "bccl")
    return f"{section.paper_dataset}, {config.model.backbone}, {config.epochs} epochs"


def _paper(figures: dict[str, float]) -> str:
    if not figures:
        return NONE
    shots = [str(figures[shot]) for shot in SHOTS[1:] if shot in figures]
    return str(figures["all"]) + (f" ({' / '.join(shots)})" if shots else "")


def less_paper(section: Section, runs: Runs) -> float | None:
    """A row's accuracy less the paper's, percentage points; None unless both are of one size."""
    figures = section.paper(runs.row)
    if not figures or not runs.records or not section.full_size:
        return None
    return runs.accuracy("all").mean - figures["all"]


def paper_average(section: Section, row) -> float | None:
    """What the paper's shot groups of a row average to, where that is not what it prints for all.

    Of CIFAR-100-LT, whose classes are counted by a formula; None for other data sets.
    """
    figures = section.paper(row)
    if section.paper_dataset != "cifar100" or not figures.keys() >= set(SHOTS):
        return None
    groups = shot_groups(class_counts(100, 500, section.imbalance))
    average = sum(group.mean() * figures[shot] for shot, group in groups.items())
    return average if abs(average - figures["all"]) > _INCONSISTENT else None


def comparisons(section: Section) -> str:
    """Every row less the reference row, with an interval and p-values; "" if there is nothing.

    Args:
      section: with a record at least.

    Returns:
      A Markdown table and how to read it.
    """
    if not section.against_reference:
        return ""
    headings = [
        f"minus {section.experiment.reference}",
        "common seeds",
        "difference",
        "95 % interval",
        "p over seeds",
        "p over images",
    ]
    rows = [
        [
            found.row,
            str(len(found.seeds)),
            _signed(found.difference),
            NONE if found.low is None else f"{_signed(found.low)} to {_signed(found.high)}",
            probability(found.adjusted_seeds),
            probability(found.adjusted_images),
        ]
        for found in section.against_reference
    ]
    notes = [
        "Percentage points of all, seeds paired, the same images. p over seeds: paired t-test, "
        "would other training runs differ on these images? p over images: sign flips, would these "
        "networks differ on other images? The interval takes both seeds and images as drawn at "
        "random. Each column of p is adjusted by Holm over the rows, intervals are not; "
        f"{NONE} where seeds leave nothing to test."
    ]
    if any(len(found.seeds) == 1 for found in section.against_reference):
        notes.append("Of a single seed the interval tells of the images alone.")
    if not section.equal_classes:
        notes.append(
            "Classes have different numbers of images here: the difference is of the mean of the "
            "classes' accuracies, the interval and p over images are of the share of all images."
        )
    return markdown(headings, rows) + "\n\n" + " ".join(notes)


def _signed(value: float | None) -> str:
    return NONE if value is None else _number(value, "{:+.2f}")


def probability(p: float | None) -> str:
    """A p-value to three decimals."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def order(section: Section) -> str:
    """The order of the rows beside the paper's, and which neighbours can be told apart.

    Args:
      section: with a record at least.

    Returns:
      Markdown; "" for a single row.
    """
    ranked = section.in_order
    if len(ranked) < 2:
        return ""
    seeds = section.common_seeds
    partly = any(len(runs.records) > len(seeds) for runs in section.finished)
    over = f" over the seeds that all have ({', '.join(map(str, seeds))})" if partly else ""
    ours = ", ".join(_listed(ranked, lambda runs: runs.accuracy("all").mean))
    lines = [f"Order by mean{over}: {ours}."]
    both = [runs for runs in ranked if section.paper(runs.row)]
    if len(both) > 1:
        figures = [section.paper(runs.row)["all"] for runs in both]
        tau = statistics.kendall_tau([runs.accuracy("all").mean for runs in both], figures)
        theirs = sorted(both, key=lambda runs: -section.paper(runs.row)["all"])
        names = ", ".join(_listed(theirs, lambda runs: section.paper(runs.row)["all"]))
        agreement = "" if tau is None else f" Kendall's tau of the two: {_number(tau, '{:.2f}')}."
        lines[0] += f" The paper's, of these rows: {names}.{agreement}"
    lines[0] += " Neighbours, p adjusted over these alone:"
    lines += [f"- {_verdict(pair)}" for pair in section.adjacent]
    return "\n".join([lines[0], "", *lines[1:]])


def _listed(ranked: list[Runs], figure) -> list[str]:
    return [f"*{runs.row.name}* ({figure(runs):.2f})" for runs in ranked]


def _verdict(pair: Comparison) -> str:
    seeds, images = pair.adjusted_seeds, pair.adjusted_images
    named = f"*{pair.row}* over *{pair.reference}*, {_signed(pair.difference)}: "
    tested = f" (p over seeds {probability(seeds)}, over images {probability(images)})."
    by_seeds = seeds is not None and seeds < SIGNIFICANT
    by_images = images is not None and images < SIGNIFICANT
    if by_seeds and by_images:
        return named + "significant over seeds and over images" + tested
    if by_images:
        return named + "significant over images alone; other training runs may turn it" + tested
    if by_seeds:
        return named + "significant over seeds alone; other images may turn it" + tested
    return named + "not significant; their order is open" + tested


def feature_space(section: Section) -> str:
    """Measures of the feature space by shot group at the last epoch; "" where there are none.

    Args:
      section: with a record at least.

    Returns:
      A Markdown table for each space.
    """
    names = (*PER_CLASS, "global_uniformity", "rank_of_means")
    columns = (*SHOTS, "few_minus_many")
    parts = []
    for space, title in SPACES.items():
        found = {runs.row.name: measures(runs, space, names, columns) for runs in section.finished}
        found = {row: by_epoch for row, by_epoch in found.items() if by_epoch}
        rows = []
        for name in names:
            for row, by_epoch in found.items():
                value = by_epoch[max(by_epoch)][name]
                shown = [_measure(value[column]) for column in columns]
                rows.append([name.replace("_", " "), row, *shown])
        if rows:
            epochs = sorted({max(by_epoch) for by_epoch in found.values()})
            headings = ["measure", "row", *SHOTS, "few minus many"]
            parts.append(
                f"Of the {title}, epoch {', '.join(map(str, epochs))}:\n\n"
                + markdown(headings, rows)
            )
    if parts:
        parts.append(
            "Mean ± standard deviation over seeds, of the classes that have images enough to be "
            "measured. Spread, alignment: 0 for a class collapsed to a "
            "point. Nearest class: degrees. Uniformity: the lower, the emptier is the space around "
            "a class. Simplex gap: 0 under neural collapse. Definitions: "
            "`bccl_jax/evaluation/feature_space.py`."
        )
    return "\n\n".join(parts)


def provenance(section: Section) -> str:
    """What made the figures: code, configs, versions, device, data; and where records differ.

    Args:
      section: with a record at least.

    Returns:
      A Markdown list.
    """
    records = section.records
    commits = {record["commit"] or "unknown" for record in records}
    changed = " (+: files differed from it)" if "+" in "".join(commits) else ""
    config = records[0]["config"]
    counts = section.class_counts
    groups = " / ".join(str(int(group.sum())) for group in section.groups.values())
    hashes = [
        f"{runs.row.name} `{next(iter(runs.records.values()))['config_hash']}`"
        for runs in section.finished
    ]
    versions = [_versions(record) for record in records]
    training = sum(record["seconds"] for record in records)
    split = _SPLITS[section.on]
    lines = [
        f"code `{records[0]['code_hash']}`, commit {_each(commits)}{changed}",
        f"configs: {'; '.join(hashes)}",
        f"{_each(versions)}; {_each(record['device'] for record in records)}",
        f"{len(counts)} classes of {counts.max():,} to {counts.min():,} training images, "
        f"many / medium / few: {groups} classes; {records[0]['images']:,} images of {split}",
        f"{_each(_backbone(r) for r in records)}, {_each(str(r['last']['epoch']) for r in records)}"
        f" epochs, batch {config['batch_size']}; seeds {_each(str(r['seed']) for r in records)}",
        f"{len(records)} runs, {training:,.0f} s of training; last one finished "
        f"{max(record['finished'] for record in records)}",
    ]
    for what, values in {
        "devices": {record["device"] for record in records},
        "package versions": set(versions),
        "numbers of evaluation images": {str(record["images"]) for record in records},
        "numbers of classes with evaluation images": {
            str((~np.isnan(class_accuracies(record))).sum()) for record in records
        },
    }.items():
        if len(values) > 1:
            lines.append(f"**Runs of this table have different {what}**: {_each(values)}")
    return "\n".join(f"- {line}" for line in lines)


def _each(values: Iterable[str]) -> str:
    """The distinct values, comma-separated; shorter ones first, which puts numbers in order."""
    return ", ".join(sorted(set(values), key=lambda value: (len(value), value)))


def _versions(record: dict) -> str:
    return " ".join(f"{name} {version}" for name, version in record["versions"].items())


def _backbone(record: dict) -> str:
    return record["config"]["model.backbone"]


def missing(section: Section) -> str:
    """Which runs have no record; "" if none is missing."""
    names = [
        f"{runs.row.name} seed{'s' if len(runs.missing) > 1 else ''} "
        + ", ".join(map(str, runs.missing))
        for runs in section.rows
        if runs.missing
    ]
    return f"Runs without a record: {'; '.join(names)}." if names else ""
