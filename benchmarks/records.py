"""What the benchmarks left in their JSON files, with the figures that tables and plots show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stats import Quartiles, paired_ratios, quartiles


class NotMeasuredError(LookupError):
    """No benchmark of a run has this figure."""


@dataclass(frozen=True)
class Record:
    """One benchmark. info is what it recorded; see `bench`."""

    part: str
    name: str
    info: dict[str, Any]

    def seconds(self, who: str = "relprop") -> Quartiles:
        return quartiles(self._times(who))

    def ratio(self, other: str, who: str = "relprop") -> Quartiles:
        """The time of who over that of another, round by round."""
        return quartiles(paired_ratios(self._times(who), self._times(other)))

    @property
    def contenders(self) -> list[str]:
        return list(self.info.get("seconds", {}))

    def _times(self, who: str) -> list[float | None]:
        for name, times in self.info.get("seconds", {}).items():
            if name == who:
                return list(times)
        raise NotMeasuredError(f"{self.name} did not time {who}")


@dataclass(frozen=True)
class Results:
    """All parts that were run with one instruction set."""

    isa: str
    machines: dict[str, dict[str, Any]]  # by part
    records: list[Record]

    def find(self, part: str, **wanted: Any) -> Record:
        """The benchmark of a part whose record has these values.

        Raises:
            NotMeasuredError: there is none.
        """
        for record in self.of(part):
            if all(record.info.get(key) == value for key, value in wanted.items()):
                return record
        raise NotMeasuredError(f"{part}: {wanted}")

    def of(self, part: str, *keys: str) -> Iterator[Record]:
        """The benchmarks of a part that recorded these keys; one that failed may lack some."""
        for record in self.records:
            if record.part == part and all(key in record.info for key in keys):
                yield record


def load(folder: Path) -> Results:
    """The results of one instruction set; folder holds a JSON file per part."""
    machines, records = {}, []
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text())
        machines[file.stem] = content["machine_info"]["relprop"] | {"date": content["datetime"]}
        records += [
            Record(file.stem, item["name"], item["extra_info"]) for item in content["benchmarks"]
        ]
    return Results(folder.name, machines, records)
