"""What made the figures, and where records differ."""

from collections.abc import Iterable

import numpy as np

from ..records.gathering import Section
from ..records.reading import batch_size, class_accuracies
from .names import SPLITS


def made_with(section: Section) -> str:
    """What made the figures: code, configs, versions, device, data; and where records differ.

    Args:
      section: with a record at least.

    Returns:
      A Markdown list.
    """
    records = section.records
    commits = {record["commit"] or "unknown" for record in records}
    changed = " (+: files differed from it)" if "+" in "".join(commits) else ""
    counts = section.class_counts
    groups = " / ".join(str(int(group.sum())) for group in section.groups.values())
    hashes = [
        f"{runs.row.name} `{next(iter(runs.records.values()))['config_hash']}`"
        for runs in section.finished
    ]
    versions = [_versions(record) for record in records]
    training = sum(record["seconds"] for record in records)
    split = SPLITS[section.on]
    lines = [
        f"code `{records[0]['code_hash']}`, commit {each(commits)}{changed}",
        f"configs: {'; '.join(hashes)}",
        f"{each(versions)}; {each(record['device'] for record in records)}",
        f"{len(counts)} classes of {counts.max():,} to {counts.min():,} training images, "
        f"many / medium / few: {groups} classes; {records[0]['images']:,} images of {split}",
        f"{each(_backbone(r) for r in records)}, {each(str(r['last']['epoch']) for r in records)}"
        f" epochs, batch {each(str(batch_size(r)) for r in records)}; "
        f"seeds {each(str(r['seed']) for r in records)}",
        f"{len(records)} runs, {training:,.0f} s of training; last one finished "
        f"{max(record['finished'] for record in records)}",
    ]
    for what, values in {
        "devices": {record["device"] for record in records},
        "package versions": set(versions),
        "numbers of training images": {str(sum(record["class_counts"])) for record in records},
        "numbers of evaluation images": {str(record["images"]) for record in records},
        "numbers of classes with evaluation images": {
            str((~np.isnan(class_accuracies(record))).sum()) for record in records
        },
    }.items():
        if len(values) > 1:
            lines.append(f"**Runs of this table have different {what}**: {each(values)}")
    return "\n".join(f"- {line}" for line in lines)


def each(values: Iterable[str]) -> str:
    """The distinct values, comma-separated; shorter ones first, which puts numbers in order."""
    return ", ".join(sorted(set(values), key=lambda value: (len(value), value)))


def _versions(record: dict) -> str:
    return " ".join(f"{name} {version}" for name, version in record["versions"].items())


def _backbone(record: dict) -> str:
    return record["config"]["model.backbone"]
