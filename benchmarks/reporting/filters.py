"""Which runs and searches a report is of: `only.model=[vae,gan] only.datamodule=mnist without.config_id=4c8104c8`."""

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
# the keys that searches have too, and their names in the record of a search
OF_SEARCHES = {"datamodule": "datamodule", "network": "network", "group": "name"}


@dataclass(frozen=True)
class Only:
    """The runs and searches to report: those that match one pattern of each key, and none that are excluded.

    Args:
        patterns: by key, names or globs; a key without patterns matches everything.
        without: by key, names or globs; a run that matches any of them is left out.
    """

    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    without: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, only: Mapping[str, Any], without: Mapping[str, Any] | None = None) -> "Only":
        """From the keys `only` and `without` of conf/report, each of whose keys is null, a name, a glob, or a list of them.

        Raises:
            UserError: for an unknown key, or a value of another kind.
        """
        return cls(_patterns("only", only), _patterns("without", without))

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
        return self._exclude(left_runs, left_searches)

    def _exclude(self, runs: Sequence[Run], searches: Sequence[Search]) -> tuple[list[Run], list[Search]]:
        """The runs and searches that `without` leaves.

        Raises:
            UserError: if it leaves nothing, or if a key excludes nothing: a misspelt name must not go unnoticed.
        """
        left_runs, left_searches = list(runs), list(searches)
        for key, patterns in self.without.items():
            named = f"without.{key}={','.join(patterns)}"
            kept = [run for run in left_runs if not _matches(patterns, FACTS[key](run))]
            kept_searches = [part for search in left_searches if (part := _rest(key, patterns, search)) is not None]
            if kept == left_runs and kept_searches == left_searches:
                there = sorted({fact for run in left_runs if (fact := FACTS[key](run))})
                raise UserError(f"{named} matches no run; there is {', '.join(there[:8]) or 'none with that key'}")
            if not kept and not kept_searches:
                raise UserError(f"{named} leaves no run")
            left_runs, left_searches = kept, kept_searches
        return left_runs, left_searches

    def _matches(self, key: str, fact: str) -> bool:
        return _matches(self.patterns[key], fact)

    def _part(self, key: str, search: Search) -> Search | None:
        """The part of a search that matches a key; None if no part does. Rows, budgets and ids are of runs alone."""
        if key == "model":
            trials = {model: trials for model, trials in search.trials.items() if self._matches(key, model)}
            return replace(search, trials=trials) if trials else None
        return search if key in OF_SEARCHES and self._matches(key, str(search.record[OF_SEARCHES[key]])) else None

    def _before(self, key: str) -> list[str]:
        keys = list(self.patterns)
        return [f"only.{other}" for other in keys[: keys.index(key)]]


EVERYTHING = Only()


def _patterns(name: str, keys: Mapping[str, Any] | None) -> dict[str, Sequence[str]]:
    """The patterns of each key that has any."""
    patterns: dict[str, Sequence[str]] = {}
    for key, value in (keys or {}).items():
        words = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        if key not in FACTS:
            raise UserError(f"{name} has no key {key}; expected one of {', '.join(FACTS)}")
        if value is None:
            continue
        # an empty text is often a variable of a shell that is not set: it must not stand for all runs, which may be removed
        if not words or not all(map(_is_word, words)):
            raise UserError(f"{name}.{key} is {value!r}; expected a name, a glob, or a list of them; null for all")
        patterns[key] = [str(word) for word in words]
    return patterns


def _matches(patterns: Sequence[str], fact: str) -> bool:
    return any(fnmatchcase(fact, pattern) for pattern in patterns)


def _rest(key: str, patterns: Sequence[str], search: Search) -> Search | None:
    """The part of a search that a key does not exclude; None if nothing is left."""
    if key == "model":
        trials = {model: trials for model, trials in search.trials.items() if not _matches(patterns, model)}
        return search if len(trials) == len(search.trials) else replace(search, trials=trials) if trials else None
    is_excluded = key in OF_SEARCHES and _matches(patterns, str(search.record[OF_SEARCHES[key]]))
    return None if is_excluded else search


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
