"""Report the figures as a Markdown table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarking.jobs import Settings, Size

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the table.

    Attributes:
        key: of its figure in the rows.
        title: its heading.
        form: format specification of its figures; "s" for text.
    """

    key: str
    title: str
    form: str = "s"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The figures of one benchmark.

    Attributes:
        machine: hardware and versions by their names.
        settings: common to all rows.
        columns: of the table; JSON has all figures.
        rows: figures by key; a figure that a row does not have is missing or None.
        notes: further sentences.
    """

    machine: Mapping[str, str]
    settings: Settings
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)

    def markdown(self) -> str:
        """Return machine, settings, table and notes. Columns without any figure are left out."""
        columns = [column for column in self.columns if any(row.get(column.key) is not None for row in self.rows)]
        cells = [[column.title for column in columns], ["---"] * len(columns)]
        cells += [[_cell(row.get(column.key), column.form) for column in columns] for row in self.rows]
        table = "\n".join("| " + " | ".join(row) + " |" for row in cells)
        return "\n\n".join([self._header(), table, *self.notes])

    def json(self) -> str:
        """Return everything as JSON."""
        rows = [{key: asdict(v) if isinstance(v, Size) else v for key, v in row.items()} for row in self.rows]
        facts = {"machine": self.machine, "settings": asdict(self.settings), "rows": rows, "notes": self.notes}
        return json.dumps(facts, indent=2)

    def _header(self) -> str:
        machine = "; ".join(f"{name} {text}" for name, text in self.machine.items())
        s = self.settings
        encoder = f", x264 {s.x264} in the same pipe" if s.x264 else ""
        threads = f"{s.threads} threads" if s.threads else "all threads"
        source = s.picture or "scikit-image's astronaut"
        turns = f"medians of {s.rounds} interleaved rounds"
        if s.frames:
            turns += f" of {s.frames} frames of {source}"
        return f"{machine}\n\n{s.scale} times, YUV420P8 to YUV420P8{encoder}, {threads}, {turns}"


def _cell(value: Any, form: str) -> str:
    return "" if value is None else format(str(value) if form == "s" else value, form)
