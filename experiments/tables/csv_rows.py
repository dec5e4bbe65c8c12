"""Figures of an experiment as rows of a CSV file, for a program."""

import itertools
from typing import Any

import numpy as np

from bccl_jax.evaluation.label_shift import TEST_PRIORS
from bccl_jax.reporting.console import ACCURACIES, SHOTS

from ..records.gathering import Section
from ..records.label_shift import KINDS, label_shift
from ..records.printed import less_paper
from .low_classes import LOW
from .names import status


def csv_rows(name: str, section: Section) -> list[dict[str, Any]]:
    """The figures of a section, a dictionary a row with the same keys in each.

    Args:
      name: of the experiment.
      section: records or not.

    Returns:
      Numbers in full precision; "" where there is none. `*_averaged_*` are of the averaged weights,
      all else is of the raw ones. p-values are as tested (`p_*`) and as adjusted (`holm_*`).
    """
    against = {found.row: found for found in section.against_reference}
    rows = []
    for runs in section.rows:
        records = list(runs.records.values())
        line = {
            "experiment": name,
            "dataset": section.dataset,
            "imbalance": section.imbalance,
            "row": runs.row.name,
            "value": runs.row.value,
            "status": status(runs) or "run",
            "seeds": len(records),
            "seeds_asked": len(runs.cells),
        }
        for epoch, averaged in itertools.product(("last", "best"), (False, True)):
            for figure in (*ACCURACIES, *LOW):
                found = runs.accuracy(figure, epoch, averaged)
                column = f"{epoch}_{'averaged_' if averaged else ''}{figure}"
                line[column] = found and found.mean
                line[f"{column}_std"] = found and found.deviation
        shifted = label_shift(runs)
        for prior, kind in itertools.product(TEST_PRIORS, KINDS):
            found = shifted.get(prior, {}).get(kind)
            line[f"{prior}_{kind}"] = found and found.mean
            line[f"{prior}_{kind}_std"] = found and found.deviation
        line["classes"] = len(section.class_counts) if records else None
        line["classes_tested"] = int((~np.isnan(runs.per_class())).sum()) if records else None
        line["best_chosen_on"] = records[0]["best"]["chosen_on"] if records else None
        for shot in SHOTS:
            line[f"paper_{shot}"] = section.paper(runs.row).get(shot)
        line["less_paper"] = less_paper(section, runs)
        line["reference"] = section.experiment.reference
        found = against.get(runs.row.name)
        line |= {
            "difference": found and found.difference,
            "low": found and found.low,
            "high": found and found.high,
            "p_seeds": found and found.p_seeds,
            "holm_seeds": found and found.adjusted_seeds,
            "p_images": found and found.p_images,
            "holm_images": found and found.adjusted_images,
            "evaluated_on": records[0]["evaluated_on"] if records else None,
            "code_hash": records[0]["code_hash"] if records else None,
            "config_hash": records[0]["config_hash"] if records else None,
        }
        rows.append({key: "" if value is None else value for key, value in line.items()})
    return rows
