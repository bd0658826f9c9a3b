"""How a stranger checks a published folder: the checksums, the report, and the command that replays each row."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.records.commands import word_of
from benchmarks.records.configurations import reads_images
from benchmarks.records.publishing import ENCODERS, SUMS
from benchmarks.records.runs import Run
from benchmarks.reporting.exports import md, md_code
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import Row, Table


def replay_page(report: Report, encoders: Sequence[str] = ()) -> str:
    """The page, as Markdown. Every path is one below the published folder.

    Args:
        report: of the folder.
        encoders: those of the author's own that lie in the folder.
    """
    return "\n".join(_lines(report, encoders)) + "\n"


def replay_command(run: Run, path: Path, needs_images: bool) -> str | None:
    """The command that repeats the runs at a path; None for a row of a Python object, which its author alone can score again.

    Args:
        run: one of the runs.
        path: of a run or of a row.
        needs_images: whether the runs read a folder of images, whose place a record does not say.
    """
    words = ["python -m benchmarks.replay", word_of("runs", path.as_posix())]
    if run.is_external:
        kind = run.record["external"]["kind"]
        if kind == "python":
            return None
        words.append("generator=PATH trust=true" if kind == "generator" else "samples=PATH")
    return " ".join([*words, *(["folder=PATH"] if needs_images else [])])


def _lines(report: Report, encoders: Sequence[str]) -> Iterator[str]:
    runs = list({run.path: run for _, row in _rows(report) for run in row.runs}.values())
    yield from (f"# {md(report.title)}: how to check it", "", f"`index.html` is a report of {report.runs} runs.", "")
    yield from ("Made with:", "")
    yield from (f"- {line}" for line in _environments(runs))
    yield from ("", "In this folder, with genbench and these versions installed:", "", "```sh")
    yield f"sha256sum --check {SUMS}                              # no file was changed on the way"
    yield "python -m benchmarks.report runs=runs out=../again    # every table and verdict, from the records alone"
    yield from ("```", "")
    yield "A replay trains the runs of a row again and compares every score. On a processor of the same kind, with the same"
    yield "versions, the scores of runs on a CPU are equal to the bit. Elsewhere they are judged as one more seed of the row. The"
    yield "data are read from `data/`, or from `data_dir=FOLDER`; images of a folder from `folder=PATH`. A row from elsewhere is"
    yield "scored again from the file that was submitted, if you have it."
    if encoders:
        yield ""
        names = md(", ".join(encoders))
        yield f"Scores by {names} need the weights in `{ENCODERS}/`: put `GENBENCH_ENCODERS={ENCODERS}` before the command."
    yield ""
    yield "| data | row | seeds | command |"
    yield "| --- | --- | --- | --- |"
    for table, row in _rows(report):
        run, seeds = row.runs[0], len({run.path for run in row.runs})
        command = replay_command(run, run.path.parent, reads_images(run.path))
        repeat = md_code(command) if command else "a Python object: its author alone can score it again"
        yield f"| {md(table.datamodule)} | {md(row.label)} | {seeds} | {repeat} |"


def _rows(report: Report) -> Iterator[tuple[Table, Row]]:
    """Each row with runs once, although it may stand in the tables of several protocols."""
    seen = set[str]()
    for table in report.tables:
        for row in table.rows:
            if row.runs and (folder := row.runs[0].path.parent.as_posix()) not in seen:
                seen.add(folder)
                yield table, row


def _environments(runs: Sequence[Run]) -> Iterator[str]:
    """Each environment of the runs, the most frequent first."""
    found = Counter(_environment(run.record) for run in runs)
    for words, count in found.most_common():
        yield f"{words} ({count} runs)" if len(found) > 1 else words


def _environment(record: Mapping[str, Any]) -> str:
    environment, packages, git = (record.get(key) or {} for key in ("environment", "packages", "git"))
    environment = environment or (record.get("external") or {}).get("scored_on") or {}
    words = [f"genbench at commit {git['sha']}{' with changes' if git.get('dirty') else ''}"] if git.get("sha") else []
    words += [f"Python {environment['python']}"] if environment.get("python") else []
    words += [f"{name} {version}" for name, version in packages.items()]
    words += [str(environment[key]) for key in ("device", "processor", "cpu_capability") if environment.get(key)]
    return md(", ".join(words)) or "unknown versions"
