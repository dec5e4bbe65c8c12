"""Rows compared: with the reference row, and each with the next best."""

from bccl_jax.evaluation import statistics

from ..records.comparing import Comparison
from ..records.gathering import Section
from ..records.runs import Runs
from .markdown import NONE, markdown, number, probability, signed

SIGNIFICANT = 0.05


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
            signed(found.difference),
            NONE if found.low is None else f"{signed(found.low)} to {signed(found.high)}",
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
        agreement = "" if tau is None else f" Kendall's tau of the two: {number(tau, '{:.2f}')}."
        lines[0] += f" The paper's, of these rows: {names}.{agreement}"
    lines[0] += " Neighbours, p adjusted over these alone:"
    lines += [f"- {_verdict(pair)}" for pair in section.adjacent]
    return "\n".join([lines[0], "", *lines[1:]])


def _listed(ranked: list[Runs], figure) -> list[str]:
    return [f"*{runs.row.name}* ({figure(runs):.2f})" for runs in ranked]


def _verdict(pair: Comparison) -> str:
    seeds, images = pair.adjusted_seeds, pair.adjusted_images
    named = f"*{pair.row}* over *{pair.reference}*, {signed(pair.difference)}: "
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
