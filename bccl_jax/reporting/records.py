"""metrics.jsonl: one JSON object for each epoch, readable by anything."""

import json
import pathlib


def read(path: pathlib.Path) -> list[dict]:
    """Returns the records of a file, none if it is missing; half a last line is left out."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


class Records:
    """The records of a run, in memory and in its file.

    Args:
      path: the file.
      step: records of later steps, which a resumed run makes anew, are dropped.
    """

    def __init__(self, path: pathlib.Path, step: int):
        self._path = path
        self.rows = [record for record in read(path) if record["step"] <= step]
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        unfinished.replace(path)

    def append(self, record: dict) -> None:
        """Adds a record and writes it through to the file."""
        self.rows.append(record)
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")
