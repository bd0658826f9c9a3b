"""Checks of a run beyond its own files: its data, its place, and what a report needs of it."""

from pathlib import Path
from typing import NotRequired, TypedDict

from benchmarks.records.files import RecordError
from benchmarks.records.json_files import check_kind
from benchmarks.records.paths import BASELINES, OLD_BASELINES, RECORD, run_path, runs_dir_of
from benchmarks.records.runs import Run


class _PlacedNames(TypedDict):
    datamodule: str
    model: str


class _PlacedData(TypedDict):
    id: str


class PlacedRecord(TypedDict):
    """What the places of a run and of its baseline rows follow from: the values are of the types of `Record` already."""

    names: _PlacedNames
    data: _PlacedData


class _ReportNames(TypedDict):
    datamodule: str
    network: str
    model: str


class _ReportSizes(TypedDict):
    test: int


class _ReportData(TypedDict):
    id: str
    sizes: _ReportSizes
    binarize: str
    dequantize: bool


class _ReportBudget(TypedDict):
    unit: str
    amount: int | float


class ReportRecord(TypedDict):
    """What a report needs of `run.json` besides: the values are of the types of `Record` already."""

    names: _ReportNames
    data: _ReportData
    budget: NotRequired[_ReportBudget | None]


# what to do if the data at hand are not those of a run
OTHER_DATA = "give the data at hand another name or another folder of runs: datamodule.name=NAME or runs_dir=FOLDER"


def check_data(run: Run, data_id: str) -> None:
    """Checks that the data at hand are those of a run.

    Raises:
        RecordError: if their id differs from the record's.
    """
    recorded = run.record["data"].get("id")
    if recorded != data_id:
        raise RecordError(
            f"{run.path}: the data differ: {recorded} in the record, {data_id} here; set data_dir, or folder for images "
            "of your own, to the folder of the recorded data"
        )


def check_place(run: Run) -> None:
    """Checks that a run lies where its record says, and that no link leads out of the folder of runs: scores are written there.

    Raises:
        RecordError: for another place, a link in the place of one of its folders, or a record that names no place.
    """
    expected = placed(run)
    folders = [run.path, *run.path.glob("*/")]
    for name in (BASELINES, OLD_BASELINES):
        baselines = expected.parents[2] / name
        folders += [baselines, *baselines.glob("*"), *baselines.glob("*/*"), *baselines.glob("*/*/*")]
    if links := [folder for folder in folders if folder.is_symlink()]:
        raise RecordError(f"{links[0]} is a link to another folder; scores are written inside the folder of runs only")


def placed(run: Run) -> Path:
    """The place of a run by its record, where the run lies, so that what is written beside it stays inside the folder of runs.

    Raises:
        RecordError: for a run that lies elsewhere, or a record that names no place.
    """
    check_kind(run.path / RECORD, run.record, PlacedRecord)
    names, config_id, seed = run.record["names"], run.record["config_id"], run.record["seed"]
    expected = run_path(runs_dir_of(run.path), names["datamodule"], names["model"], config_id, seed)
    if run.path.resolve() != expected.resolve():
        place = f"{names['datamodule']}/{names['model']}/{config_id}/seed={seed}"
        raise RecordError(f"{run.path} does not lie at <runs>/{place}, as its record says; move it there")
    return expected


def check_for_report(run: Run) -> None:
    """Checks that a record has the keys from which a report makes tables.

    Raises:
        RecordError: for a missing key, of the record or of the protocol of a sheet.
    """
    path = run.path / RECORD
    check_kind(path, run.record, ReportRecord)
    for sheet in run.sheets:
        split = sheet.protocol.get("split")
        if split not in run.record["data"]["sizes"]:
            raise RecordError(
                f"{path} lacks data.sizes.{split}, of the split of its sheet {sheet.filename}; move it away"
            )
        if sheet.protocol.get("encoder") and not isinstance(sheet.protocol.get("samples"), int):
            raise RecordError(f"{run.path / 'scores' / sheet.filename} lacks protocol.samples; move it away")
