"""What the checks found: rows that each part writes as it goes, so that one that dies keeps them, and their table."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OK, FAILED, MISSED, NOT_RUN = "ok", "FAILED", "aim missed", "not run"
NEEDS_CUDA = "needs CUDA"


@dataclass(frozen=True)
class Row:
    """One check. `bound` is what the figure was held against; `why` is longer and stands above the table."""

    part: str
    name: str
    state: str
    figure: str = ""
    bound: str = ""
    why: str = ""


class Report:
    """The rows of one part, and figures by name for the JSON file."""

    def __init__(self, path: Path, part: str) -> None:
        self.path, self.part = path, part

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def row(self, name: str, state: str, figure: str = "", bound: str = "", why: str = "") -> None:
        row = Row(self.part, name, state, figure, bound, " ".join(why.split())[:400])
        print(f"  {row.name}: {row.state} {row.figure} {row.why}".rstrip(), file=sys.stderr, flush=True)
        self._write({"row": asdict(row)})

    def data(self, name: str, value: Any) -> None:
        """A figure or more, of whatever shape."""
        self._write({"data": {"part": self.part, "name": name, "value": value}})

    def at_most(self, name: str, value: float, bound: float, why: str = "") -> None:
        """Not above the bound; what is no number is above every bound."""
        self.row(name, OK if value <= bound else FAILED, f"{value:.1e}", f"at most {bound:g}", why)

    def holds(self, name: str, is_so: bool, figure: str = "", bound: str = "", why: str = "") -> None:
        self.row(name, OK if is_so else FAILED, figure, bound, why)

    def aim(self, name: str, is_so: bool, figure: str, bound: str) -> None:
        """What is aimed at and is no error where it is missed."""
        self.row(name, OK if is_so else MISSED, figure, bound)

    def not_run(self, name: str, why: str = NEEDS_CUDA) -> None:
        self.row(name, NOT_RUN, why if len(why) < 30 else "", "", why if len(why) >= 30 else "")

    @contextlib.contextmanager
    def check(self, name: str) -> Iterator[None]:
        """What goes wrong inside is a failed row, and the next check goes on."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.row(name, FAILED, type(error).__name__, "", str(error) or repr(error))


def read(path: Path) -> tuple[list[Row], list[dict[str, Any]]]:
    """All rows and all data of a run so far."""
    rows, data = [], []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        entry = json.loads(line)
        if "row" in entry:
            rows.append(Row(**entry["row"]))
        else:
            data.append(entry["data"])
    return rows, data


def table(rows: list[Row]) -> str:
    """A line for each check; above, each reason why some did not pass, with the first of them."""
    cells = [(row.part, row.name[:48], row.figure[:30], row.bound[:34], row.state) for row in rows]
    widths = [max((len(cell[i]) for cell in cells), default=0) for i in range(5)]
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if row.why and row.state != OK:
            reasons.setdefault(row.why, []).append(f"{row.part}, {row.name}")
    lines = [
        f"{'; '.join(names[:2])}{f' and {len(names) - 2} more' * (len(names) > 2)}: {why}"
        for why, names in reasons.items()
    ]
    lines += [""] * bool(lines)
    lines += ["  ".join(text.ljust(width) for text, width in zip(cell, widths)).rstrip() for cell in cells]
    return "\n".join(lines)


def summary(rows: list[Row]) -> str:
    count = {state: sum(row.state == state for row in rows) for state in (OK, FAILED, MISSED, NOT_RUN)}
    return ", ".join(f"{number} {state}" for state, number in count.items() if number or state in (OK, FAILED))
