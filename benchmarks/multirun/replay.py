"""Trains a run again from its record, and compares every score."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks.errors import UserError, printable, warn
from benchmarks.records.checks import check_data
from benchmarks.records.files import RecordError
from benchmarks.records.paths import seeds_beside
from benchmarks.records.runs import Run, ScoreSheet, read_run
from benchmarks.reporting.next_seed import Outlier, judge_next, next_value
from benchmarks.reporting.numbers import number
from benchmarks.reporting.seed_statistics import ALPHA
from benchmarks.reporting.terminal import console_of_tables
from benchmarks.scoring.protocol import protocol_of
from benchmarks.scoring.restore import at_folders, check_parameters, load_data, set_threads
from benchmarks.scoring.trust import check_sheets, read_trusted_config
from benchmarks.training.configure import RunConfig
from benchmarks.training.record import commit, environment, packages
from benchmarks.training.run import train_and_score

Verdict = Literal["identical", "compared with the seeds", "one seed, no spread", "different"]


@dataclass(frozen=True)
class Comparison:
    """A recorded score and its replay. `expected` is the 95% interval of one more seed of the row, for this score alone."""

    name: str
    recorded: float | None
    replayed: float | None
    expected: tuple[float, float] | None

    @property
    def verdict(self) -> Verdict:
        if self.recorded == self.replayed:
            return "identical"
        if self.recorded is None or self.replayed is None:
            return "different"
        return "one seed, no spread" if self.expected is None else "compared with the seeds"


def replay(
    run: Run,
    out: Path,
    data_dir: str | None,
    accelerator: str | None = None,
    trust: Sequence[str] = (),
    of: int = 1,
    folder: str | None = None,
) -> bool:
    """Trains and scores a run again under `out`, prints the comparison, and returns whether the run was reproduced.

    A run on the CPU in the same environment, with a budget other than seconds, is reproduced if every score is identical.
    Any other run is reproduced if its scores are those of one more seed of its row, judged over all scores of a protocol
    together (`judge_next`), with 5% false alarms for all replays of a command together. A row of one seed has no spread: its
    differences are printed and decide nothing.

    Args:
        run: with its record and sheets.
        out: the folder of the new runs.
        data_dir: the folder of the data; None for the default of the programs.
        accelerator: Lightning's name; None for the recorded kind of device.
        trust: packages whose classes the user trusts besides genbench's own.
        of: the number of runs that share the rate of false alarms.
        folder: the folder of images to read, for runs on such a folder.

    Raises:
        UserError: for a record that names untrusted classes, or data that differ from the record's.
    """
    recorded_environment = run.record.get("environment") or {}
    config = recorded_config(run, out, data_dir, accelerator, trust, folder, str(out / "cache"))
    device = torch.device(config.device)
    set_threads(config.threads)
    present = environment(device) | packages()
    recorded = recorded_environment | (run.record.get("packages") or {})
    differences = list(environment_differences(recorded, present))
    # other code in the same environment must give the same scores: another commit is printed and does not relax the comparison
    recorded_commit = {"commit": run.record.get("git")}
    print_environment([*environment_differences(recorded_commit, {"commit": commit()}), *differences])
    data = load_data(config.parts.datamodule)
    check_data(run, data.info.id)
    is_timed = run.record["budget"]["unit"] == "seconds"
    if is_timed:
        warn("the budget is in seconds, and each training takes another number of steps: scores cannot be identical")
    comparisons, outliers = list[Comparison](), list[Outlier]()
    alpha = ALPHA / (of * max(1, len(run.sheets)))
    for sheet in run.sheets:
        again = _train_again(
            config.changed(protocol=protocol_of(sheet), extend=False).labelled(f"replay of {run.path.name}"), sheet
        )
        row = sheets_of_row(run, sheet.protocol_id)
        comparisons += compare(sheet, again, row)
        outliers += judge(again, row, alpha)
    print_comparison(comparisons, outliers)
    on_cpu = device.type == "cpu" and recorded.get("device") == "cpu"
    must_be_identical = on_cpu and not differences and not is_timed
    if must_be_identical:
        return all(comparison.verdict == "identical" for comparison in comparisons)
    return not any(c.verdict == "different" for c in comparisons) and not any(outlier.is_one for outlier in outliers)


def environment_differences(recorded: Mapping[str, Any], present: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Recorded facts that are different now: the key, the recorded value, the present value."""
    for key in sorted(recorded.keys() | present.keys()):
        # older records lack some keys; a fact that was not recorded cannot be compared
        if key in recorded and recorded[key] != present.get(key):
            yield key, recorded[key], present.get(key)


def compare(recorded: ScoreSheet, replayed: ScoreSheet, row: Sequence[ScoreSheet]) -> list[Comparison]:
    """Compares two sheets of one protocol, score by score.

    Args:
        recorded, replayed: the sheets.
        row: the sheets of every seed of the row under the protocol, the recorded sheet among them.
    """
    replayed_values = {score.name: score.value for score in replayed.scores}
    comparisons = []
    for score in recorded.scores:
        values = [s.value for sheet in row for s in sheet.scores if s.name == score.name and s.value is not None]
        expected = next_value(values) if len(values) > 1 else None
        comparisons.append(Comparison(score.name, score.value, replayed_values.get(score.name), expected))
    return comparisons


def judge(replayed: ScoreSheet, row: Sequence[ScoreSheet], alpha: float) -> list[Outlier]:
    """Judges a replay over all scores that it and every seed of the row have; nothing for a row of one seed."""
    values = {score.name: score.value for score in replayed.scores if score.value is not None}
    by_seed = [{score.name: score.value for score in sheet.scores if score.value is not None} for sheet in row]
    names = [name for name in values if all(name in scores for scores in by_seed)]
    if len(row) < 2 or not names:
        return []
    seeds = np.array([[scores[name] for name in names] for scores in by_seed])
    return [judge_next(seeds, np.array([values[name] for name in names]), alpha)]


def sheets_of_row(run: Run, protocol_id: str) -> list[ScoreSheet]:
    """The sheets of every seed of the run's row under a protocol."""
    runs = []
    for path in seeds_beside(run.path):
        with suppress(RecordError):  # a damaged record of another seed says nothing about this run
            runs.append(read_run(path))
    return [sheet for run in runs if run is not None for sheet in run.sheets if sheet.protocol_id == protocol_id]


def print_environment(differences: Sequence[tuple[str, Any, Any]]) -> None:
    """Prints what differs between the recorded environment and this one."""
    if not differences:
        print("      environment: the same")
    for key, recorded, present in differences:
        print(f"      environment: {printable(str(key))} was {printable(str(recorded))}, is {printable(str(present))}")


def print_comparison(comparisons: Sequence[Comparison], outliers: Sequence[Outlier] = ()) -> None:
    """Prints the number of identical scores, the scores that differ, and the judgement over all scores together."""
    different = [comparison for comparison in comparisons if comparison.verdict != "identical"]
    identical = len(comparisons) - len(different)
    print(f"      {identical} of {len(comparisons)} scores are bit-identical", flush=True)
    if not different:
        return
    table = RichTable("score", "recorded", "replayed", "difference", "95% of one more seed", "verdict", header_style="")
    for c in different:
        difference = None if c.recorded is None or c.replayed is None else c.replayed - c.recorded
        numbers = ["—" if value is None else number(value) for value in (c.recorded, c.replayed, difference)]
        expected = " to ".join(map(number, c.expected)) if c.expected is not None else "—"
        table.add_row(escape(printable(c.name)), *numbers, expected, c.verdict)
    console_of_tables().print(table)
    for outlier in outliers:
        verdict = "not one more seed of the row" if outlier.is_one else "as one more seed of the row"
        print(
            f"      over all scores together: {verdict} (mean t² {outlier.shift:.3g}, limit {outlier.shift_limit:.3g}; "
            f"largest |t| {outlier.largest:.3g}, limit {outlier.largest_limit:.3g})"
        )


def recorded_config(
    run: Run,
    runs_dir: Path,
    data_dir: str | None,
    accelerator: str | None,
    trust: Sequence[str],
    folder: str | None,
    cache_dir: str | None = None,
) -> RunConfig:
    """The configuration that trains a recorded run again, in another folder, on the recorded kind of device.

    Args:
        run: with its record and sheets.
        runs_dir: the folder of new runs.
        data_dir: the folder of the data; None for the default of the programs.
        accelerator: Lightning's name; None for the recorded kind of device.
        trust: packages whose classes the user trusts besides genbench's own.
        folder: the folder of images to read, for runs on such a folder.
        cache_dir: the folder of caches of images; None for one inside `data_dir`.

    Raises:
        UserError: for a record that names untrusted classes, a model that is too large, or a device that is not here.
    """
    document = read_trusted_config(run.path, trust)
    check_parameters(document["model"])
    check_sheets(run.sheets, trust)
    recorded_environment = run.record.get("environment") or {}
    document |= {"runs_dir": str(runs_dir), "data_dir": data_dir, "logger": None, "group": None, "search": None}
    for protocol in ("protocol", "curve"):  # nor which file of weights is read
        if isinstance(document.get(protocol), Mapping):
            document[protocol] = {**document[protocol], "encoder_weights": None}
    document["datamodule"] = at_folders(document["datamodule"], data_dir, cache_dir, folder)
    if accelerator is None and recorded_environment.get("device") == "cpu":
        accelerator = "cpu"  # "auto" would take a GPU that the recorded run did not have
    if accelerator is not None:
        document["trainer"] |= {"accelerator": accelerator}
    if document.get("threads") is None:  # the number of threads changes the last bits of sums
        document["threads"] = recorded_environment.get("threads")
    return RunConfig.of(document)


def _train_again(config: RunConfig, sheet: ScoreSheet) -> ScoreSheet:
    outcome = train_and_score(config)
    if outcome.status != "finished":
        raise UserError(f"the replay ended differently: {outcome.message}")
    run = read_run(config.path)
    assert run is not None
    again = next((other for other in run.sheets if other.protocol_id == sheet.protocol_id), None)
    if again is None:
        raise UserError(
            f"protocol {sheet.protocol['name']} ({sheet.protocol_id}) cannot be made again here: the weights of an encoder or "
            "the version of a metric is different"
        )
    return again
