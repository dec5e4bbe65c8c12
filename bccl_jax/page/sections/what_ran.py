"""What was run, and how it came out."""

from collections.abc import Mapping
from typing import Any

from bccl_jax.page.markup import Markup, facts, joined, name, number, paragraph, table, tag
from bccl_jax.page.section import Section
from bccl_jax.page.told import Told
from bccl_jax.reporting.console import ACCURACIES
from bccl_jax.system.names import printable
from bccl_jax.system.progress import duration

# Of an evaluation, by what a table calls them.
COLUMNS = {
    **ACCURACIES,
    "calibration_error": "ECE",
    "worst_class": "worst class",
    "harmonic_mean": "harmonic mean",
    "geometric_mean": "geometric mean",
    "macro_f1": "macro F1",
}


def section(run: Told) -> Section:
    """The section of a run."""
    lacking = () if run.records else ("Epochs: a shared file has no record of them.",)
    return Section("What was run", (facts(_facts(run)), _figures(run), _changes(run)), lacking)


def _facts(run: Told) -> list[tuple[Any, Any]]:
    config, counts = run.config, run.class_counts
    asked = config["epochs"]
    state = f"{run.epoch:,} of {asked:,} epochs" if run.records else f"{asked:,} epochs"
    if run.records and not run.finished:
        state += "; the run has not ended"
    found = [
        ("Method", config["method.name"]),
        ("Data", joined((name(config["data.name"]), f", {counts.sum():,} training images"))),
        ("Backbone", config["model.backbone"]),
        ("Trained", state),
        ("Batch and learning rate", f"{config['batch_size']:,} and {_value(run, 'learning_rate')}"),
        ("Seed", config["seed"]),
    ]
    seconds = sum(record.get("seconds") or 0 for record in run.records)
    if seconds:
        found.append(("Time", duration(seconds)))
    if run.computed_on:
        on = run.computed_on[-1]["on"]
        cores = f", {on['cores']} cores" if "cores" in on else ""
        found.append(("Device", f"{on.get('devices', 1)} × {on.get('device', 'unknown')}{cores}"))
        found.append(("Versions", f"jax {on.get('jax', '?')}, jaxlib {on.get('jaxlib', '?')}"))
    return found


def _value(run: Told, key: str) -> str:
    return f"{run.config['optimizer.' + key]:g}"


def _figures(run: Told) -> Markup:
    rows = evaluations(run)
    if not rows:
        return paragraph("The run was not evaluated yet.")
    told = by_figure(rows, f"Figures on the {run.tested_on} images")
    note = (
        "Top-1 is the share of the images; all, many, medium and few are means of the classes' "
        "accuracies. ECE is the expected calibration error."
    )
    if "best" in run.results and run.results.get("chosen_on") == "test":
        note += " The best epoch was chosen on the test images: the last one is what to report."
    return joined((told, paragraph(note, class_="note")))


def by_figure(records: Mapping[Any, dict], caption: str) -> Markup:
    """A table of evaluations, a column each, as narrow as a phone; what none has is left out.

    Args:
      records: of evaluations, by the heads of their columns.
      caption: of the table.
    """
    rows = [
        [called, *(number(record.get(key)) for record in records.values())]
        for key, called in COLUMNS.items()
        if any(record.get(key) is not None for record in records.values())
    ]
    return table(["Percent", *records], rows, caption)


def evaluations(run: Told) -> dict[str, dict]:
    """Records of evaluations by how a table calls them."""
    found = {}
    if run.results:
        best = run.results.get("best_epoch")
        last = run.config["epochs"] if not run.records else run.epoch
        found[f"last (epoch {last})"] = run.results["last"]
        if "best" in run.results and best != last:
            found[f"best (epoch {best})"] = run.results["best"]
    if run.looked is not None and run.looked.which not in run.results:
        found[f"{run.looked.which} (epoch {run.looked.epoch})"] = run.figures.record
    if not found and run.figures is not None:
        found[f"epoch {run.figures.epoch}"] = run.figures.record
    return found


def _changes(run: Told) -> Markup:
    recipe, changed = run.changes
    whose = (
        joined(("the shipped recipe ", tag("code", recipe)))
        if recipe
        else "the defaults of the method, for no shipped recipe is for this data set"
    )
    if not changed:
        return paragraph("Every setting is that of ", whose, ".")
    rows = [
        [tag("code", key), tag("bdi", printable(str(there))), tag("bdi", printable(str(here)))]
        for key, (there, here) in changed.items()
    ]
    made = table(["Setting", "Recipe", "This run"], rows, "Settings that were changed", words=3)
    words = (
        "One setting is not that of "
        if len(rows) == 1
        else f"{len(rows)} settings are not those of "
    )
    return joined((paragraph(words, whose, "."), _folded(made, len(rows))))


def _folded(made: Markup, rows: int) -> Markup:
    """A long table is opened by who wants it."""
    if rows <= 12:
        return made
    return tag("details", tag("summary", f"All {rows} settings"), made)
