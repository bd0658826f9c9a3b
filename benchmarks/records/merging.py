"""What a merge of several folders of runs brings: what is new, and what known runs, searches and baseline rows lack.

A run lies at the same place below every folder of runs. Its record is written once, so copies of a run have equal records, and
their scores under one protocol are equal. Copies may have scores, pictures and checkpoints that other copies lack. A search may
have trials that another copy lacks. What disagrees is a conflict: it is named, and nothing of it is written.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.errors import one_line
from benchmarks.records.checkpoints import find_checkpoint
from benchmarks.records.checks import check_place
from benchmarks.records.configurations import read_config, with_default_folders
from benchmarks.records.copies import disagreement
from benchmarks.records.examples import examples_path
from benchmarks.records.files import RecordError, most_bytes, read_bytes
from benchmarks.records.locks import LOCK, is_held
from benchmarks.records.parts import Kind, Part
from benchmarks.records.paths import (
    CONFIG,
    COSTS,
    CURVE,
    PICTURES,
    RECORD,
    SEARCH,
    TRIALS,
    baselines_beside,
    baselines_path,
    checkpoint_path,
    runs_dir_of,
    runs_dir_of_search,
    search_path,
)
from benchmarks.records.roots import runs_below
from benchmarks.records.runs import Run, ScoreSheet, read_run, read_sheets, sha256_of
from benchmarks.records.searches import Search, Trial, find_searches, read_search

# baseline rows are scored on each machine, and machines round differently
BASELINES_AGREE = {"rel_tol": 1e-3, "abs_tol": 1e-6}

OnBad = Callable[[RecordError], None]
# files of a part by their names below its folder, in the order of writing
Files = dict[str, Path]


def plan_merge(
    sources: Sequence[Path], target: Path, with_checkpoints: bool, on_bad: OnBad, with_pictures: bool = True
) -> list[Part]:
    """What a merge brings, and its conflicts: searches after the runs of their trials, baseline rows first.

    Args:
        sources: runs, or folders of runs. They are only read.
        target: the folder of runs that they are merged into.
        with_checkpoints: whether checkpoints come along.
        on_bad: called for each record that cannot be read or does not lie at its place. It is left out.
        with_pictures: whether pictures come along.

    Raises:
        RecordError: if no source holds a run.
    """
    runs: dict[Path, list[Run]] = {}
    for run in runs_below(sources, on_bad):
        try:
            check_place(run)
        except RecordError as error:
            on_bad(error)
        else:
            runs.setdefault(run.path.resolve().relative_to(runs_dir_of(run.path)), []).append(run)
    searches: dict[Path, list[Search]] = {}
    for search in (search for source in sources for search in find_searches(source, on_bad)):
        try:
            searches.setdefault(_place_of_search(search), []).append(search)
        except RecordError as error:
            on_bad(error)
    return [
        *_baselines([run for copies in runs.values() for run in copies], target, on_bad),
        *(
            _planned("run", place, target, partial(_of_run, copies, target / place, with_checkpoints, with_pictures))
            for place, copies in sorted(runs.items())
        ),
        *(
            _planned("search", place, target, partial(_of_search, copies, target / place))
            for place, copies in sorted(searches.items())
        ),
    ]


def refusals(bad: Sequence[RecordError], parts: Sequence[Part]) -> list[str]:
    """A line for each record that cannot be read, and for each part in conflict."""
    conflicts = [f"{part.kind} {part.place}: {part.conflict}" for part in parts if part.conflict is not None]
    return [*map(one_line, bad), *conflicts]


def _planned(kind: Kind, place: Path, target: Path, files_of: Callable[[], Files]) -> Part:
    """The part of a place, with its files, or with the conflict that `files_of` raises."""
    folder = target / place
    try:
        if folder.resolve() != target.resolve() / place:
            raise RecordError(f"{folder} leads to another folder through a link")
        files = files_of()
        if links := [file for file in files.values() if file.is_symlink()]:
            raise RecordError(f"{links[0]} is a link to another file")
        for file in files.values():
            if (size := file.stat().st_size) > most_bytes(file):
                raise RecordError(f"{file} has {size:,} bytes; at most {most_bytes(file):,} are expected")
    except RecordError as error:
        return Part(kind, place, conflict=one_line(error))
    return Part(kind, place, tuple(files.items()), not folder.exists())


def _of_run(copies: Sequence[Run], folder: Path, with_checkpoints: bool, with_pictures: bool) -> Files:
    """The files of a run that the target lacks.

    Raises:
        RecordError: for copies that disagree, or a run that is being trained.
    """
    for path in (*(run.path for run in copies), folder):
        if is_held(path / LOCK):
            raise RecordError(f"{path} is being trained by another process")
    # an attempt that failed gives way to a result
    copies = [run for run in copies if run.status != "failed"] or list(copies)
    known = read_run(folder)
    if known is None and folder.exists():
        raise RecordError(f"{folder} holds a run that has not ended; finish the run, or move the folder away")
    if known is not None and known.status != copies[0].status:
        if copies[0].status == "failed":
            return {}
        if known.status == "failed":
            raise RecordError(f"{folder} holds a failed attempt; move the folder away")
    everywhere = [*copies, *([known] if known is not None else [])]
    if (reason := disagreement(everywhere)) is not None:
        raise RecordError(f"{' and '.join(str(run.path) for run in everywhere)}: {reason}")
    for name in (CONFIG, CURVE):
        paths = [path for run in everywhere if (path := run.path / name).is_file()]
        if len({_content(path) for path in paths}) > 1 and not (name == CONFIG and _are_alike(paths)):
            raise RecordError(f"{' and '.join(str(run.path) for run in everywhere)}: their {name} differ")
    files: Files = {}
    for run in copies:
        files = _files_of_run(run, with_pictures) | files
    if with_checkpoints and not checkpoint_path(folder).exists():
        files = _checkpoint_of(copies) | files
    # the record comes last
    record = {RECORD: files.pop(RECORD)}
    return {name: path for name, path in (files | record).items() if not (folder / name).exists()}


def _are_alike(configurations: Sequence[Path]) -> bool:
    """Whether configurations differ only in folders of a machine, which a published one lacks. The order of keys counts."""
    contents = [json.dumps(with_default_folders(read_config(path.parent)), default=str) for path in configurations]
    return len(set(contents)) == 1


def _content(path: Path) -> bytes:
    if path.is_symlink():
        raise RecordError(f"{path} is a link to another file")
    try:
        return read_bytes(path, most_bytes(path))
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({one_line(error)})") from error


def _files_of_run(run: Run, with_pictures: bool) -> Files:
    folder = run.path
    paths = [folder / name for name in (CONFIG, CURVE, COSTS, *(PICTURES.values() if with_pictures else ()))]
    paths += sorted(folder.glob("run.failed-*.json"))
    for sheet in sorted((folder / "scores").glob("*.json")):
        paths += [examples_path(sheet), sheet]
    return {path.relative_to(folder).as_posix(): path for path in (*paths, folder / RECORD) if path.is_file()}


def _checkpoint_of(copies: Sequence[Run]) -> Files:
    """The checkpoint that the record was made with, from the first copy that has one; nothing if no copy has any."""
    for run in copies:
        checkpoint = checkpoint_path(run.path)
        if checkpoint.is_file():
            sums = checkpoint.with_name("checksums.json")
            files = {f"checkpoints/{sums.name}": sums} if sums.is_file() else {}
            return files | {f"checkpoints/{checkpoint.name}": find_checkpoint(run.path, sha256_of(run.record))}
    return {}


def _of_search(copies: Sequence[Search], folder: Path) -> Files:
    """The trials that the target lacks, and the record of a search that it does not have.

    Raises:
        RecordError: for copies with other settings, or another result of the same trial.
    """
    known = [read_search(folder)] if (folder / SEARCH).exists() else []
    everywhere = [*copies, *known]
    # a longer search is the same search under another command
    settings = [{key: value for key, value in search.record.items() if key != "command"} for search in everywhere]
    paths = " and ".join(str(search.path) for search in everywhere)
    if any(other != settings[0] for other in settings):
        raise RecordError(f"{paths}: their {SEARCH} differ")
    trials: dict[tuple[str, int], Trial] = {}
    for trial in (trial for search in everywhere for group in search.trials.values() for trial in group):
        if trials.setdefault((trial.model, trial.number), trial) != trial:
            raise RecordError(f"{paths}: their trials {trial.model} {trial.number} differ")
    files: Files = {}
    for search in copies:
        paths_of = [search.path / SEARCH, *sorted((search.path / TRIALS).glob("*.json"))]
        files = {path.relative_to(search.path).as_posix(): path for path in paths_of} | files
    return {name: path for name, path in files.items() if not (folder / name).exists()}


def _baselines(runs: Sequence[Run], target: Path, on_bad: OnBad) -> Iterator[Part]:
    """The baseline rows of the data of some runs."""
    folders = {baselines_beside(run.path, run.record["data"]["id"]): run for run in runs}
    rows: dict[Path, list[Path]] = {}
    for folder, run in folders.items():
        into = baselines_path(Path(), run.record["names"]["datamodule"], folder.name)
        # an older target has the folder under its former name
        own = baselines_path(target, run.record["names"]["datamodule"], folder.name)
        into = own.relative_to(target) if own.is_dir() else into
        for row in sorted(folder.glob("*/")):
            rows.setdefault(into / row.name, []).append(row)
    for place, copies in sorted(rows.items()):
        try:
            sheets = {path: read_sheets(path) for path in copies}
        except RecordError as error:
            on_bad(error)
            continue
        yield _planned("baseline", place, target, partial(_of_baseline, sheets, target / place))


def _of_baseline(sheets: Mapping[Path, Sequence[ScoreSheet]], folder: Path) -> Files:
    """The score sheets of a baseline row that the target lacks.

    Raises:
        RecordError: for scores under one protocol that differ by more than machines round.
    """
    merged: dict[str, ScoreSheet] = {}
    for row in (*read_sheets(folder), *(sheet for each in sheets.values() for sheet in each)):
        if not _agree(merged.setdefault(row.filename, row), row):
            raise RecordError(f"{' and '.join(map(str, (*sheets, folder)))}: their scores in {row.filename} differ")
    files: Files = {}
    for path in sheets:
        files = {f"scores/{sheet.name}": sheet for sheet in sorted((path / "scores").glob("*.json"))} | files
    return {name: path for name, path in files.items() if not (folder / name).exists()}


def _agree(a: ScoreSheet, b: ScoreSheet) -> bool:
    values = [{score.name: score.value for score in sheet.scores} for sheet in (a, b)]
    return values[0].keys() == values[1].keys() and all(
        (value is None) == (other is None)
        and (value is None or other is None or math.isclose(value, other, **BASELINES_AGREE))
        for value, other in ((value, values[1][name]) for name, value in values[0].items())
    )


def _place_of_search(search: Search) -> Path:
    """The path of a search below the folder of runs.

    Raises:
        RecordError: if it does not lie where its record says, or through a link.
    """
    record, own = search.record, search.path.resolve()
    runs_dir = runs_dir_of_search(own)
    expected = search_path(runs_dir, str(record["datamodule"]), str(record["name"]), str(record["id"]))
    links = [path for path in (search.path, search.path / TRIALS) if path.is_symlink()]
    if own != expected.resolve() or links:
        raise RecordError(f"{search.path} does not lie where its record says; move it there")
    return own.relative_to(runs_dir)
