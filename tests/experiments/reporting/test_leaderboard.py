"""docs/leaderboard.md and the head in README.md say what records say, in the order of accuracy."""

import json
import lzma

import numpy as np
import pytest

from bccl_jax.evaluation import statistics
from experiments.designing import paper
from experiments.designing.design import Scale
from experiments.methods_page import DOCS
from experiments.records.reading import correct
from experiments.reporting import leaderboard
from tests.experiments.made_up import a_record, by_row

FULL = Scale(seeds=1, datasets=("cifar100",))
# Right of ten images of each class, by seed.
RIGHT = {
    "bcl": ([9, 6, 3], [9, 6, 6]),
    "scl": ([9, 6, 4], [9, 6, 4]),
    "kcl": ([4, 3, 2], [4, 4, 2]),
    "tsc": ([3, 3, 2],),
    "crt": ([2, 2, 2], [2, 2, 1]),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    found = []
    for name, of_seeds in RIGHT.items():
        cells = by_row("all_methods")[name]
        for cell, right in zip(cells, of_seeds, strict=False):
            record = a_record(cell, right, device="a chip, 2 of it")
            record["last"]["calibration_error"] = 5.0
            found.append(record)
    with lzma.open(folder / "a.jsonl.xz", "at") as file:
        file.writelines(json.dumps(record) + "\n" for record in found)
    cost = {
        "machine": {"device": "a chip", "cores": 3, "python": "3", "jax": "1.0", "commit": "abc"},
        "settings": {"backbone": "resnet32", "batch": 128, "side": 32, "dtype": "float32"},
        "rows": [{"method": "bcl", "to cross_entropy": 3.456, "seconds a step": 0.25}],
    }
    (folder / "step_cost_small.json").write_text(json.dumps(cost))
    return folder, found


@pytest.fixture(scope="module")
def written(records):
    return leaderboard.page(records[0])


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_both_are_what_they_would_be_written_as_now():
    folder = DOCS / "records"
    told = f"run {leaderboard.COMMAND}"
    assert (DOCS / "leaderboard.md").read_text(encoding="utf-8") == leaderboard.page(folder), told
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    assert readme == leaderboard.with_head(readme, folder), told


def test_rows_stand_in_the_order_of_their_means(written):
    rows = [
        cells(line)
        for line in written.splitlines()
        if line.startswith(tuple(f"| {n} |" for n in range(1, 9)))
    ]
    assert [row[1] for row in rows] == ["`bcl`", "`scl`", "`kcl`", "`tsc`", "`crt`"]
    assert rows[0][2] == f"**{np.mean([60, 70]):.2f} ± {np.std([60, 70], ddof=1):.2f}**"
    assert [row[7] for row in rows] == ["2", "2", "2", "1", "2"]
    assert [row[9] for row in rows] == ["3.46", *["–"] * 4]
    assert rows[0][10] == "a chip"


def test_differences_are_over_common_seeds_with_their_interval(records, written):
    first, second = records[1][:2], records[1][2:4]
    pairs = [correct(b).astype(int) - correct(a) for a, b in zip(first, second, strict=True)]
    low, high = (100 * bound for bound in statistics.interval(np.array(pairs)))
    line = next(line for line in written.splitlines() if "| `scl` |" in line)
    difference = np.mean([np.mean(pair) for pair in pairs]) * 100
    shown = f"{difference:+.2f} ({low:+.2f} to {high:+.2f})".replace("-", "−")
    assert cells(line)[8] == shown
    assert low < 0 < high
    # 6 of 10 less 8 of 30 in the only seed that both have.
    line = next(line for line in written.splitlines() if "| `tsc` |" in line)
    assert cells(line)[8].startswith(f"−{100 * (18 - 8) / 30:.2f}")


def test_what_is_not_told_apart_is_said(written):
    assert (
        "`bcl` is first. Not told apart from it (the interval does not lie below 0, or there is "
        "none): `scl`" in written
    )
    assert "at this size: `balanced_softmax`, `bccl`, `bccl_plus`" in written
    assert "- CIFAR-10-LT at 50, full size" in written


def test_the_seeds_in_common_say_what_an_interval_is_of(tmp_path):
    """Two rows of two seeds each, of which they share one: the second is ahead in it."""
    of_rows = {"bcl": {0: [9, 9, 9], 1: [5, 5, 4]}, "scl": {1: [7, 7, 7], 2: [5, 5, 5]}}
    found = []
    for name, of_seeds in of_rows.items():
        made = by_row("all_methods", Scale(seeds=3, datasets=("cifar100_small",)))[name]
        for seed, right in of_seeds.items():
            found.append(a_record(made[seed], right))
            found[-1]["last"]["calibration_error"] = 5.0
    with lzma.open(tmp_path / "a.jsonl.xz", "at") as file:
        file.writelines(json.dumps(record) + "\n" for record in found)
    page = leaderboard.page(tmp_path)
    row = cells(next(line for line in page.splitlines() if line.startswith("| 2 | `scl`")))
    assert row[8].startswith("+23.33 (+")
    assert "does not lie below 0, or there is none): `scl`. Where rows have one seed" in page


def test_printed_figures_stand_beside_full_size_alone(records, tmp_path):
    cell = next(cell for cell in by_row("all_methods", FULL)["proco"] if cell.seed == 0)
    record = a_record(cell, [6, 5, 4])
    record["last"]["calibration_error"] = 5.0
    with lzma.open(tmp_path / "a.jsonl.xz", "at") as file:
        file.write(json.dumps(record) + "\n")
    lines = leaderboard.page(tmp_path).splitlines()
    row = cells(next(line for line in lines if line.startswith("| 1 | `proco`")))
    assert row[8:11] == ["–", "–", "52.8"]
    only_printed = [cells(line)[1] for line in lines if line.startswith("| – |")]
    assert only_printed[:3] == ["`concutmix`", "`bccl`", "`cuda_bcl`"]
    assert not any("printed |" in line for line in leaderboard.page(records[0]).splitlines())


def test_the_readmes_head_is_the_first_five_of_three_seeds(records, tmp_path):
    text = f"before\n{leaderboard.BEGIN}\nold\n{leaderboard.END}\nafter\n"
    assert "|" not in leaderboard.with_head(text, records[0])
    rows = by_row("all_methods", Scale(seeds=3, datasets=("cifar100_small",)))
    with lzma.open(tmp_path / "a.jsonl.xz", "at") as file:
        for name, (right, *_) in RIGHT.items():
            file.writelines(json.dumps(a_record(cell, right)) + "\n" for cell in rows[name])
    renewed = leaderboard.with_head(text, tmp_path)
    assert renewed.startswith("before\n")
    assert renewed.endswith("\nafter\n")
    assert "old" not in renewed
    assert all(f"`{name}`" in renewed for name in RIGHT)
    with pytest.raises(ValueError, match="README.md lacks"):
        leaderboard.with_head("nothing", records[0])


def test_what_papers_print_of_their_own():
    """Entry by entry, as docs/methods.md cites them."""
    printed = {
        backbone: {
            name: [
                figures.get((data, factor), {}).get("all")
                for data in ("cifar100", "cifar10")
                for factor in (100.0, 50.0, 10.0)
            ]
            for name, figures in of_rows.items()
        }
        for backbone, of_rows in paper.OWN_PAPERS.items()
    }
    assert printed == {
        "resnet32": {
            "proco": [52.8, 57.1, 65.5, 85.9, 88.2, 91.9],
            "concutmix": [53.16, 57.40, 64.53, 86.07, 88.00, 91.42],
            "mislas": [47.0, 52.3, 63.2, 82.5, 85.7, 90.0],
        },
        "resnet32x4": {"glmc": [57.97, 63.78, 73.40, None, None, None]},
    }


def test_wide_networks_have_a_board_of_their_own(records, tmp_path):
    """With what is printed of the wide one, and none of the figures of ResNet-32."""
    wide = by_row("all_methods_wide", Scale(seeds=1))["bccl"]
    record = a_record(next(cell for cell in wide if cell.imbalance == 100), [6, 5, 4])
    record["last"]["calibration_error"] = 5.0
    with lzma.open(tmp_path / "a.jsonl.xz", "at") as file:
        file.write(json.dumps(record) + "\n")
    _, _, text = leaderboard.page(tmp_path).partition("## CIFAR-100-LT at 100, full size, four")
    rows = [cells(line) for line in text.splitlines() if line.startswith("| ")]
    assert [row[1] for row in rows[2:4]] == ["`bccl`", "`glmc`"]
    assert rows[2][8:11] == ["57.36", "−7.36", "–"]
    assert rows[3][8:11] == ["55.88", "–", "57.97"]
