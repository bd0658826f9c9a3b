"""python -m benchmarks.studies.fuzz: damaged and hostile runs folders, and what reports and evaluations make of them.

Trains four tiny runs in a temporary folder. Then, for some seconds, copies the folder, mutates a few of its files
(`benchmarks.studies.mutations`), and builds a report of the copy or evaluates it, in this process. Counts tracebacks, code
that a record ran, writes outside of the folders that were named, secrets that a report shows, cases over the bounds of time
and memory, and reports that one bad run destroyed. Each case depends on the seed and its number alone. Exit status 1 if
anything is found.

    python -m benchmarks.studies.fuzz              60 seconds, seed 0
    python -m benchmarks.studies.fuzz 600 7        600 seconds, seed 7
"""

import contextlib
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.table import Table

from benchmarks.errors import UserError, is_users
from benchmarks.records.paths import search_path
from benchmarks.records.searches import Trial, write_search, write_trial
from benchmarks.reporting.build import write_report
from benchmarks.studies.mutations import Trap, mutations_of
from benchmarks.studies.watching import TooLong, at_most, forget_peak_memory, peak_memory, watching
from benchmarks.studies.words import study

# one cheap metric is enough: what is mutated is read before any metric
METRICS = (
    *("inversion", "bound", "iwae", "ais", "kid", "neighbours", "anomaly"),
    *("fitted_fid", "reconstruction_fid", "interpolation_fid"),
)
PROTOCOL = ("protocol.samples=100", "protocol.second_encoder=null", *(f"~protocol.metrics.{name}" for name in METRICS))
TRAINING = (
    *("-m", "model=ae,gan", "seed=0,1", "network=mlp_narrow", "trainer=cpu", "threads=1", "budget.amount=1300"),
    *("datamodule.block_size=4", "curve_points=2", *PROTOCOL),
)
# of a case: a hundred times what a report or an evaluation of four tiny runs takes, and more than any honest file needs
MOST_SECONDS = 60.0
MOST_MEMORY = 2**30
FINDINGS = ("tracebacks", "executions", "outside", "secrets", "over time", "over memory", "lost reports")
SECRET = "the secret of another folder"


@dataclass
class Found:
    """The number of cases of each program, and the findings with their cases."""

    cases: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, str, str]] = field(default_factory=list)
    slowest: float = 0.0
    largest: int = 0

    def count(self, program: str, kind: str) -> int:
        return sum((program, kind) == finding[:2] for finding in self.findings)


@study(seconds=60, seed=0)
def main(seconds: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder) / "trained")
        found = fuzz(Path(folder) / "trained" / "runs", Path(folder) / "work", seconds, seed)
    print_found(found)
    if found.findings:
        raise SystemExit(1)


def train(folder: Path) -> None:
    """Trains the tiny runs in a process of its own, and adds an invented search.

    Raises:
        UserError: if training fails.
    """
    folder.mkdir(parents=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    command = [sys.executable, "-m", "benchmarks.train", *TRAINING]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"the tiny runs could not be trained: {done.stderr[-400:]}")


def add_search(runs: Path) -> None:
    """Adds a search whose trials are the runs."""
    search = search_path(runs, "digits", "fuzz", "0badcafe")
    facts = {"id": "0badcafe", "name": "fuzz", "datamodule": "digits", "network": "mlp_narrow", "select": "fid"}
    facts |= {"protocol_id": "0badcafe", "sampler": "random", "command": "python -m benchmarks.search"}
    write_search(search, facts | {"higher_is_better": False})
    for number, record in enumerate(sorted(runs.rglob("run.json"))):
        run = record.parent.relative_to(runs)
        params = {"lr": 10.0**-number, "n_critic": number}
        write_trial(search, Trial(run.parts[1], number, params, "finished", 1.0 + number, run.as_posix(), run.parts[2]))


def fuzz(runs: Path, work: Path, seconds: float, seed: int) -> Found:
    """Mutates copies of a runs folder until the time is over, and looks at what the programs make of each.

    Args:
        runs: a folder of finished and scored runs on the digits.
        work: an empty or missing folder for the copies.
        seconds: the time; at least one case of each program is tried.
        seed: of the cases.
    """
    found, start, i = Found(), time.monotonic(), 0
    work.mkdir(parents=True, exist_ok=True)
    with mock.patch.dict(os.environ, {"GENBENCH_CACHE": str(work / "cache"), "COLUMNS": "200"}):
        for run in (_report, _evaluate):  # libraries are loaded, and caches filled, before anything is watched
            _copy(runs, work / "whole" / "runs")
            run(work / "whole")
            shutil.rmtree(work / "whole")
        while i < 4 or time.monotonic() - start < seconds:
            program, run = ("evaluate", _evaluate) if i % 4 == 0 else ("report", _report)
            rng = random.Random(f"{seed} {i}")
            case = work / f"case{i}"
            _copy(runs, case / "runs")
            if program == "evaluate":
                for scores in (case / "runs").rglob("scores"):
                    shutil.rmtree(scores)
            else:
                add_search(case / "runs")
            trap = Trap(case / "canary", work / "secret.txt")
            trap.secret.write_text(SECRET, encoding="utf-8")
            changes = _mutate(case, work / "cache", trap, rng)
            found.cases[program] += 1
            for kind, what in _judge(run, case, work, trap, found):
                found.findings.append((program, kind, f"case {i} ({'; '.join(changes)}): {what}"))
            shutil.rmtree(case)
            i += 1
    return found


def print_found(found: Found) -> None:
    """Prints the findings and the table of their numbers."""
    for program, kind, what in found.findings:
        print(f"{program}, {kind}: {what}")
    table = Table("program", "cases", *FINDINGS)
    for program, cases in sorted(found.cases.items()):
        table.add_row(program, str(cases), *(str(found.count(program, kind)) for kind in FINDINGS))
    Console(width=130).print(table)
    print(
        f"the slowest case took {found.slowest:.1f} s; the largest needed {found.largest / 2**20:.0f} MiB more than none"
    )


def _copy(runs: Path, to: Path) -> None:
    shutil.copytree(runs, to, ignore=shutil.ignore_patterns("lock", ".sweeps"))


def _mutate(case: Path, cache: Path, trap: Trap, rng: random.Random) -> list[str]:
    """Mutates files of every run but one, of what lies beside the runs, and sometimes of caches; words for each change."""
    runs = sorted(record.parent for record in (case / "runs").rglob("run.json"))
    whole = rng.choice(runs)
    files = [path for path in sorted((case / "runs").rglob("*")) if path.is_file() and whole not in path.parents]
    files += [path for path in sorted(cache.rglob("*")) if path.is_file()] if rng.random() < 0.2 else []
    by_kind: dict[str, list[Path]] = {}
    for path in files:  # of each kind of file as many: most files are pictures
        kind = path.name if path.suffix == ".json" and not path.name.startswith("quick-") else path.suffix
        by_kind.setdefault(kind, []).append(path)
    changes = []
    for _ in range(rng.choice([1, 2, 4, 8, 16])):
        paths = by_kind[rng.choice(sorted(by_kind))]
        if paths:  # each file once: the next mutation would have to read what the last one made
            path = paths.pop(rng.randrange(len(paths)))
            changes.append(f"{path.relative_to(cache.parent)}: {rng.choice(mutations_of(path, trap))(path, rng)}")
    if rng.random() < 0.05:
        name = rng.choice([b"\xff\xfe", b"a\x1b[2J", b"a\nb", "β".encode()])
        renamed = rng.choice([run for run in runs if run != whole])
        renamed.rename(renamed.with_name(os.fsdecode(name)))
        changes.append(f"{renamed} renamed to {name!r}")
    return changes


def _judge(run: Callable[[Path], str], case: Path, work: Path, trap: Trap, found: Found) -> Iterator[tuple[str, str]]:
    """Runs a program on a case, and yields what is wrong."""
    forget_peak_memory()
    before, start = peak_memory(), time.monotonic()
    output = ""
    with watching([case, work / "cache"], case / "runs") as watch:
        try:
            with at_most(MOST_SECONDS):
                output = run(case)
        except TooLong:
            yield "over time", f"more than {MOST_SECONDS:.0f} s"
        except BaseException as error:
            frames = " < ".join(
                f"{Path(f.filename).name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__))
            )
            if not (isinstance(error, Exception) and is_users(error)):
                yield "tracebacks", f"{type(error).__name__}: {str(error)[:200]!r} at {frames[:200]}"
            elif run is _report:  # one run is whole
                yield "lost reports", str(error)[:300]
    memory = peak_memory() - before
    found.slowest, found.largest = max(found.slowest, time.monotonic() - start), max(found.largest, memory)
    yield from (("executions", what) for what in watch.executions[:3])
    yield from (("outside", what) for what in watch.outside[:3])
    if memory > MOST_MEMORY:
        yield "over memory", f"{memory / 2**20:.0f} MiB"
    if trap.canary.exists():
        yield "executions", "the canary"
    if trap.secret.read_text(encoding="utf-8") != SECRET:
        yield "outside", "the secret was changed"
    written = [path for path in (case / "out").rglob("*") if path.is_file()]
    if SECRET in output or any(SECRET.encode() in path.read_bytes() for path in written):
        yield "secrets", "the content of a file outside is shown"
    if "\x1b" in output:
        yield "tracebacks", "control characters reach the terminal"
    for line in output.splitlines():
        if "Traceback" in line or re.search(r"^error: .*: \w*(Error|Exception): ", line):
            yield "tracebacks", line[:300]


def _report(case: Path) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        write_report([case / "runs"], case / "out", "fuzz")
    return out.getvalue()


def _evaluate(case: Path) -> str:
    from benchmarks import evaluate

    out = io.StringIO()
    words: Sequence[str] = ("runs=runs", "accelerator=cpu", *PROTOCOL)
    with (
        contextlib.chdir(case),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(out),
        mock.patch.object(sys, "argv", ["benchmarks/evaluate.py", *words]),
        contextlib.suppress(SystemExit),
    ):
        evaluate.main()
    return out.getvalue()


if __name__ == "__main__":
    main()
