"""What was predicted of many pictures, as lines for a person, CSV or JSON."""

import csv
import io
import json
import pathlib
from collections.abc import Iterator, Sequence

from bccl_jax.system.names import printable
from bccl_jax.use.given import Item
from bccl_jax.use.model import Model, Top
from bccl_jax.use.output import write_whole

KINDS = (".csv", ".json")


def write(path: pathlib.Path, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all.

    Raises:
      BcclError: it cannot be written.
    """
    write_whole(path, text.encode())


class Listing:
    """The most probable classes of each picture; names are as `system.names.printable` has them.

    Args:
      model: that predicted.
      items: the pictures.
      top: their classes.
    """

    def __init__(self, model: Model, items: Sequence[Item], top: Top):
        self._model = model
        names = [printable(item.name) for item in items]
        self.broken = [(names[position], top.broken[position]) for position in sorted(top.broken)]
        sound = (name for position, name in enumerate(names) if position not in top.broken)
        classes = [[printable(model.classes[k]) for k in row] for row in top.classes.tolist()]
        # Of float32 no more digits say anything.
        probabilities = [[float(f"{p:.6g}") for p in row] for row in top.probabilities.tolist()]
        self._rows = list(zip(sound, classes, probabilities, strict=True))

    def __len__(self) -> int:
        return len(self._rows)

    def lines(self) -> Iterator[str]:
        """A line for each picture."""
        for name, classes, probabilities in self._rows:
            told = zip(classes, probabilities, strict=True)
            yield f"{name}  {', '.join(f'{kind} {100 * p:.2f} %' for kind, p in told)}"

    def csv(self) -> str:
        """picture,class_1,probability_1,class_2,... with a header."""
        number = len(self._rows[0][1]) if self._rows else 0
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        columns = [f"{column}_{i + 1}" for i in range(number) for column in _COLUMNS]
        writer.writerow(["picture", *columns])
        for name, classes, probabilities in self._rows:
            pairs = zip(classes, probabilities, strict=True)
            writer.writerow([name, *(value for pair in pairs for value in pair)])
        return stream.getvalue()

    def json(self) -> str:
        """An object of the run, its classes, the pictures, and those that are broken."""
        found = {
            "run": repr(self._model),
            "classes": [printable(name) for name in self._model.classes],
            "pictures": [
                {"picture": name, "classes": classes, "probabilities": probabilities}
                for name, classes, probabilities in self._rows
            ],
            "broken": [{"picture": name, "reason": reason} for name, reason in self.broken],
        }
        return json.dumps(found, indent=1) + "\n"


_COLUMNS = ("class", "probability")
