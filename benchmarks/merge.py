"""python -m benchmarks.merge: brings the records of several machines into one folder of runs."""

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from benchmarks.cli import program
from benchmarks.errors import UserError, fail, one_line, printable
from benchmarks.multirun.progress import time_left
from benchmarks.records.files import RecordError
from benchmarks.records.merging import plan_merge, refusals
from benchmarks.records.parts import Kind, Part, bring, merging_into
from benchmarks.records.roots import folders_of

# seconds between two lines of progress
EVERY = 5.0


@program("merge", needs_torch=False)
def main(cfg: DictConfig) -> None:
    sources, target = _folders(cfg)
    bad: list[RecordError] = []
    print(f"reading {', '.join(printable(str(source)) for source in sources)}", flush=True)
    parts = plan_merge(sources, target, cfg.checkpoints, bad.append, cfg.pictures)
    errors = refusals(bad, parts)
    for line in errors:
        fail(f"{line} (not merged)")
    todo = [part for part in parts if part.files and part.conflict is None]
    if cfg.dry_run:
        for part in todo:
            names = "" if part.is_new else f": {', '.join(name for name, _ in part.files)}"
            print(printable(f"{'bring' if part.is_new else 'complete'} {part.kind} {part.place}{names}"))
    brought = todo if cfg.dry_run or not todo else _merge(todo, target)
    known = sum(not part.files and part.conflict is None for part in parts)
    failed = len(errors) + len(todo) - len(brought)
    verbs = ("to bring", "to complete") if cfg.dry_run else ("brought", "completed")
    counts = [f"{_counted(brought, is_new)} {verb}" for is_new, verb in zip((True, False), verbs, strict=True)]
    print(f"{target}: {'; '.join(counts)}; {known} known before; {failed} not merged")
    if brought and not cfg.checkpoints:
        print("checkpoints stay behind; checkpoints=true brings them, which evaluate needs")
    if failed:
        raise SystemExit(1)


def _folders(cfg: DictConfig) -> tuple[list[Path], Path]:
    """The folders to merge, and the folder that they are merged into."""
    if cfg["from"] is None or not isinstance(cfg.to, str):
        raise UserError("from and to are needed, as in from=machine_a/runs to=runs")
    for key in ("checkpoints", "pictures", "dry_run"):
        if not isinstance(cfg[key], bool):
            raise UserError(f"{key} is {cfg[key]!r}; expected true or false")
    sources, target = folders_of(cfg["from"], "from"), Path(cfg.to)
    if target.exists() and not target.is_dir():
        raise UserError(f"to={target} is not a folder; set to=FOLDER to a folder of runs")
    for source, into in ((source.resolve(), target.resolve()) for source in sources):
        if source.is_relative_to(into) or into.is_relative_to(source):
            raise UserError(f"from={source} and to={target} lie in each other; set to=FOLDER to another folder of runs")
    return sources, target


def _merge(todo: Sequence[Part], target: Path) -> list[Part]:
    """Brings the parts, and returns those that were brought. Prints the progress of long merges."""
    brought = []
    with merging_into(target) as staging:
        start = shown = time.monotonic()
        for i, part in enumerate(todo, 1):
            try:
                bring(part, target, staging)
                brought.append(part)
            except RecordError as error:  # the other parts can still be merged
                fail(f"{one_line(error)} (not merged)")
            now = time.monotonic()
            if now - shown >= EVERY:
                shown = now
                left = time_left(now - start, i, len(todo) - i)
                print(f"[{i}/{len(todo)}] {printable(str(part.place))}{left}", flush=True)
    return brought


def _counted(parts: Sequence[Part], is_new: bool) -> str:
    """The number of runs, searches and baseline rows."""
    counts = Counter(part.kind for part in parts if part.is_new == is_new)
    words: dict[Kind, tuple[str, str]] = {
        "run": ("run", "runs"),
        "search": ("search", "searches"),
        "baseline": ("baseline row", "baseline rows"),
    }
    return ", ".join(f"{n} {words[kind][n > 1]}" for kind, n in sorted(counts.items())) or "nothing"


if __name__ == "__main__":
    main()
