"""Reports of made-up records, and what stands in them."""

from experiments import report
from experiments.records import results

FLAGS = ["--dataset=cifar100_small", "--seeds=2"]


def write(folder, records):
    for record in records:
        results.append(folder / "results.jsonl", record)


def cells_of(markdown, row):
    """The cells of a row in the first table that has it."""
    line = next(line for line in markdown.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def run(folder, capsys, *arguments, code=0):
    assert report.main([*arguments, f"--output={folder}"]) == code
    return capsys.readouterr()
