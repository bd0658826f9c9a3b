"""Which runs and searches a report is of: `only.model=[vae,gan] only.datamodule=mnist`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from benchmarks.errors import UserError
from benchmarks.records.configurations import read_config
from benchmarks.records.files import RecordError
from benchmarks.records.runs import Run
from benchmarks.records.searches import Search

ROW = "row="


@dataclass(frozen=True)
class Only:
    """The runs and searches to report. A run is reported if it matches one pattern of each key.

    Args:
        patterns: by key, names or globs; a key without patterns matches everything.
    """

    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> "Only":
        """From the keys of conf/report's `only`, each null, a name, a glob, or a list of them.

        Raises:
            UserError: for an unknown key, or a value of another kind.
        """
        patterns: dict[str, Sequence[str]] = {}
        for key, value in (keys or {}).items():
            words = (
                [] if value is None else list(value) if isinstance(value, Sequence) and not _is_word(value) else [value]
            )
            if key not in FACTS:
                raise UserError(f"only has no key {key}; expected one of {', '.join(FACTS)}")
            if not all(map(_is_word, words)):
                raise UserError(f"only.{key} is {value!r}; expected a name, a glob, or a list of them")
            if words:
                patterns[key] = [str(word) for word in words]
        return cls(patterns)

    def select(self, runs: Sequence[Run], searches: Sequence[Search]) -> tuple[list[Run], list[Search]]:
        """The runs and searches that match. Of a search, the trials of the models that match.

        Raises:
            UserError: if nothing matches. The message names what there is.
        """
        left_runs, left_searches = list(runs), list(searches)
        for key in self.patterns:
            kept = [run for run in left_runs if self._matches(key, FACTS[key](run))]
            kept_searches = [part for search in left_searches if (part := self._part(key, search)) is not None]
            if not kept and not kept_searches:
                there = sorted({fact for run in left_runs for fact in [FACTS[key](run)] if fact})
                more = f" and {len(there) - 8} more" if len(there) > 8 else ""
                expected = f"expected {'one of ' if there[1:] else ''}{', '.join(there[:8])}{more}"
                others = f" among those that match {', '.join(before)}" if (before := self._before(key)) else ""
                raise UserError(
                    f"only.{key}={','.join(self.patterns[key])} matches no run{others}; "
                    f"{expected if there else f'no run has a {key}'}"
                )
            left_runs, left_searches = kept, kept_searches
        return left_runs, left_searches

    def _matches(self, key: str, fact: str) -> bool:
        return any(fnmatchcase(fact, pattern) for pattern in self.patterns[key])

    def _part(self, key: str, search: Search) -> Search | None:
        """The part of a search that matches a key; None if no part does. Rows, budgets and ids are of runs alone."""
        if key == "model":
            trials = {model: trials for model, trials in search.trials.items() if self._matches(key, model)}
            return replace(search, trials=trials) if trials else None
        names = {"datamodule": "datamodule", "network": "network", "group": "name"}
        return search if key in names and self._matches(key, str(search.record[names[key]])) else None

    def _before(self, key: str) -> list[str]:
        keys = list(self.patterns)
        return [f"only.{other}" for other in keys[: keys.index(key)]]


EVERYTHING = Only()


def _is_word(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and value != ""


def _row(run: Run) -> str:
    """The row of conf/row that the command of a run names; empty without one."""
    words = str(run.record.get("command", "")).split()
    return next((word.lstrip("+").removeprefix(ROW) for word in words if word.lstrip("+").startswith(ROW)), "")


def _group(run: Run) -> str:
    """The sweep or search that trained a run, which its configuration names; empty for a run of its own."""
    try:
        return str(read_config(run.path).get("group") or "")
    except RecordError:
        return ""


def _budget(run: Run) -> str:
    budget = run.record.get("budget")
    return f"{budget['amount']:.12g} {budget['unit']}" if budget else ""


# what each key is compared with
FACTS: dict[str, Callable[[Run], str]] = {
    "datamodule": lambda run: str(run.record["names"]["datamodule"]),
    "network": lambda run: str(run.record["names"]["network"]),
    "model": lambda run: str(run.record["names"]["model"]),
    "row": _row,
    "group": _group,
    "budget": _budget,
    "config_id": lambda run: str(run.record["config_id"]),
}
