"""Scores a row from elsewhere again: it cannot be trained again, but its sheets follow from the file that was submitted."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.errors import UserError
from benchmarks.external.scoring import load_subject
from benchmarks.external.words import PRIORS, Kind, Words, check_range
from benchmarks.multirun.replay import Comparison, compare, environment_differences, print_comparison, print_environment
from benchmarks.records.checks import check_data
from benchmarks.records.configurations import read_config
from benchmarks.records.merging import BASELINES_AGREE
from benchmarks.records.runs import Run, ScoreSheet
from benchmarks.scoring.bench import Bench
from benchmarks.scoring.protocol import protocol_of
from benchmarks.scoring.restore import at_folders, choose_device, set_threads
from benchmarks.scoring.trust import check_part, check_sheets
from benchmarks.training.record import environment, packages


def score_again(
    run: Run,
    files: Sequence[tuple[Kind, Path]],
    data_dir: str | None,
    accelerator: str | None = None,
    trust: Sequence[str] = (),
    folder: str | None = None,
    trusts_generators: bool = False,
) -> bool:
    """Scores the file of a row again under the protocols of its sheets, prints the comparison, and returns whether they agree.

    On the CPU in the same environment, every score must be identical; elsewhere, equal up to a thousandth.

    Args:
        run: of a row from elsewhere, with its sheets.
        files: kinds and paths, among which the row's file is found by its checksum.
        data_dir, folder: of the data; None for the default of the programs.
        accelerator: Lightning's name; None for the recorded kind of device.
        trust: packages whose classes the user trusts besides genbench's own.
        trusts_generators: whether the user vouches for exported generators.

    Raises:
        UserError: for a row without a file, or if no file has its checksum.
    """
    external = run.record["external"]
    file, kind = external.get("file") or {}, external["kind"]
    what = f"{run.path} is a row from elsewhere and cannot be trained again"
    if kind == "python":
        raise UserError(f"{what}; it was scored from a Python object, so its author alone can score it again")
    own = [(k, path) for k, path in files if k == kind]
    submitted = f"{file.get('name')}, SHA-256 {str(file.get('sha256'))[:12]}"
    if not own:
        raise UserError(f"{what}; to score its file again ({submitted}), add {kind}=PATH")
    if kind == "generator" and not trusts_generators:
        raise UserError(f"{what}; to load its generator, which may run code, add trust=true")
    scored_on = external.get("scored_on") or {}
    recorded = {**scored_on, **(run.record.get("packages") or {})}
    device = accelerator or ("cpu" if scored_on.get("device") == "cpu" else "auto")
    set_threads(scored_on.get("threads"))
    present = environment(torch.device(choose_device(device))) | packages()
    differences = list(environment_differences(recorded, present))
    print_environment(differences)
    must_be_identical = not differences and present["device"] == "cpu"
    comparisons = list[Comparison]()
    config = _config(run, data_dir, folder, trust)
    for sheet in run.sheets:
        comparisons += compare(sheet, _again(run, sheet, config, own, device, submitted), [])
    print_comparison(comparisons)
    return all(_agrees(comparison, must_be_identical) for comparison in comparisons)


def _config(run: Run, data_dir: str | None, folder: str | None, trust: Sequence[str]) -> dict[str, Any]:
    """The configuration of a row, with what it names checked, and the user's folders."""
    config = read_config(run.path)
    check_part(config.get("datamodule"), "datamodule", trust)
    check_sheets(run.sheets, trust)
    return {**config, "datamodule": at_folders(config["datamodule"], data_dir, folder=folder)}


def _again(
    run: Run, sheet: ScoreSheet, config: dict[str, Any], files: Sequence[tuple[Kind, Path]], device: str, submitted: str
) -> ScoreSheet:
    keys = {"accelerator": device, "protocol": protocol_of(sheet), "datamodule": config["datamodule"]}
    bench = Bench.of(keys | {"feature_encoder": config.get("feature_encoder")})
    check_data(run, bench.data.info.id)
    if bench.scorer.id != sheet.protocol_id:
        raise UserError(
            f"protocol {sheet.protocol['name']} ({sheet.protocol_id}) cannot be made again here: the weights of an encoder or "
            "the version of a metric is different"
        )
    for kind, path in files:
        words = _words(run, config, kind, path)
        (_, sha256), subject, _ = load_subject(words, path, bench)
        if sha256 == run.record["external"]["file"]["sha256"]:
            with subject.scoring():
                return bench.scorer.score(subject, bench.data)
    raise UserError(f"none of {len(files)} files is the one that {run.path} was scored from ({submitted})")


def _words(run: Run, config: dict[str, Any], kind: Kind, path: Path) -> Words:
    """What the record says of how its file is read. The values come from a file of others and are checked."""
    stated = config.get("stated")
    stated = stated if isinstance(stated, dict) else {}
    layout, prior = stated.get("layout"), run.record["external"].get("prior") or "normal"
    if prior not in PRIORS or not (layout is None or isinstance(layout, str)):
        raise UserError(f"{run.path} has a prior or a layout that cannot be read; restore the record")
    return Words(kind, (path,), "", {}, layout=layout, range=check_range(stated.get("range")), prior=prior)


def _agrees(comparison: Comparison, must_be_identical: bool) -> bool:
    a, b = comparison.recorded, comparison.replayed
    if must_be_identical or a is None or b is None:
        return a == b
    return math.isclose(a, b, **BASELINES_AGREE)
