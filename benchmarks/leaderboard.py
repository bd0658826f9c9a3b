"""Records to tables: grouped by what may be compared, one row a model, a mean and a spread over training seeds."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.errors import fail, warn
from benchmarks.runs import CALIBRATION, RecordError, Run, Score, ScoreSheet, Status, read_config, read_sheets
from benchmarks.statistics import Difference

# the parts of a table that fit a page, with their columns in order; columns of other metrics stand in a part of their own
PARTS = {
    "Samples": (
        *("fid", "fid_infinity", "kid", "precision", "recall", "density", "coverage"),
        *("modes", "high_quality", "mode_kl", "wasserstein2", "sample_log_density"),
    ),
    "Likelihood": (
        *("elbo", "elbo_reconstruction", "elbo_kl", "iwae", "ais", "ais_gap"),
        *("elbo_bits_per_dim", "bits_per_dim"),
    ),
    "Reconstruction": (
        *("recon_mse", "recon_psnr", "recon_ssim", "recon_lpips"),
        *("inversion_mse", "inversion_psnr", "inversion_ssim"),
    ),
    "The detour": (
        *("fid_fitted", "fid_fitted_gaussian", "reconstruction_fid", "interpolation_fid"),
        *("posterior_mmd", "active_units"),
    ),
    "Anomaly": ("auroc_reconstruction", "auroc_inversion", "auroc_bound"),
    "Other scores": (),
    "Cost": (
        *("spent_images", "spent_updates", "train_seconds", "images_per_second"),
        *("sampling_images_per_second", "parameters", "peak_memory"),
    ),
}
TITLES = {
    "fid": "FID",
    "fid_infinity": "FID∞",
    "kid": "KID",
    "high_quality": "high quality",
    "mode_kl": "mode KL",
    "wasserstein2": "W₂",
    "sample_log_density": "log p of samples",
    "elbo": "ELBO",
    "elbo_reconstruction": "E log p(x|z)",
    "elbo_kl": "KL",
    "iwae": "IWAE",
    "ais": "AIS",
    "ais_gap": "AIS gap",
    "elbo_bits_per_dim": "ELBO",
    "bits_per_dim": "AIS",
    "recon_mse": "MSE",
    "recon_psnr": "PSNR",
    "recon_ssim": "SSIM",
    "recon_lpips": "LPIPS",
    "inversion_mse": "inversion MSE",
    "inversion_psnr": "inversion PSNR",
    "inversion_ssim": "inversion SSIM",
    "fid_fitted": "FID, fitted mixture",
    "fid_fitted_gaussian": "FID, fitted Gaussian",
    "reconstruction_fid": "FID, reconstructions",
    "interpolation_fid": "FID, midpoints",
    "posterior_mmd": "MMD² to the prior",
    "auroc_reconstruction": "AUROC, reconstruction",
    "auroc_inversion": "AUROC, inversion",
    "auroc_bound": "AUROC, bound",
    "spent_images": "images seen",
    "spent_updates": "updates",
    "train_seconds": "training",
    "images_per_second": "training speed",
    "sampling_images_per_second": "sampling speed",
    "peak_memory": "peak memory",
}
FAMILY_ORDER = ("ae", "vae", "gan", "wgan", "wgan_gp")
CALIBRATION_ORDER = ("real train", "fitted Gaussian")


@dataclass(slots=True)
class Cell:
    """A column of a row: mean and standard deviation over seeds, or why there is none.

    Where there are seeds enough, `uncertainty.add` gives it the 95% bootstrap interval of the mean, and the rank among
    the table's models with the interval of that. `is_tied`: it is not the best, nor is it significantly worse.
    """

    mean: float | None
    deviation: float | None = None
    n: int = 0
    reason: str | None = None
    is_best: bool = False
    missing: int = 0
    interval: tuple[float, float] | None = None
    rank: tuple[int, int, int] | None = None
    is_tied: bool = False


@dataclass(frozen=True)
class ColumnHead:
    """What a column is called and how its numbers are to be read."""

    name: str
    title: str
    unit: str
    higher_is_better: bool | None


@dataclass
class Row:
    """One configuration of a model, over its seeds; or a calibration row, which has none."""

    label: str
    model: str
    config_id: str
    runs: list[Run] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    is_calibration: bool = False
    diverged: set[Path] = field(default_factory=set)
    # of each finished run, by its seed: its scores and costs that have a number
    measured: dict[int, dict[str, float]] = field(default_factory=dict)

    def values(self, column: str) -> list[float]:
        """One number a seed."""
        return self._by_column.get(column, [])

    @cached_property
    def _by_column(self) -> dict[str, list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for scores in self.measured.values():
            for column, value in scores.items():
                found[column].append(value)
        return dict(found)

    def ended(self, run: Run) -> Status:
        """How one of its runs ended; one whose samples are no numbers has diverged, whatever its losses were."""
        return "diverged" if run.path in self.diverged else run.status

    def count(self, status: Status) -> int:
        """How many seeds ended so."""
        return sum(self.ended(run) == status for run in self.runs)

    def why_not(self, column: str) -> str:
        """Why there is no number in a column."""
        cell = self.cells.get(column)
        if cell is not None and cell.reason:
            return cell.reason
        if self.runs and not self.count("finished"):
            return f"no seed finished ({self.seeds.removeprefix('0, ')})"
        return "was not measured"

    def has_any(self, columns: Sequence[ColumnHead]) -> bool:
        return any(self.cells[c.name].mean is not None for c in columns if c.name in self.cells)

    @cached_property
    def seeds(self) -> str:
        """How many seeds ended how, in words."""
        if self.is_calibration:
            return "—"
        counts = Counter(map(self.ended, self.runs))
        said = [f"{n} {status}" for status in ("diverged", "failed") if (n := counts[status])]
        return ", ".join([str(counts["finished"]), *said])


@dataclass(frozen=True)
class Comparison:
    """Two rows in one column: a less b, and the p-value after Holm's correction over the column's comparisons."""

    column: str
    a: str
    b: str
    difference: Difference
    adjusted_p: float


@dataclass
class Table:
    """Rows that may be compared: one data set, one network, one protocol."""

    datamodule: str
    network: str
    data: dict[str, Any]
    protocol: dict[str, Any]
    protocol_id: str
    columns: list[ColumnHead]
    rows: list[Row]
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def models(self) -> list[Row]:
        """Its rows without those that calibrate it."""
        return [row for row in self.rows if not row.is_calibration]

    @property
    def parts(self) -> list[tuple[str, list[ColumnHead], list[Row]]]:
        """The table in pieces that fit a page, each with the calibration rows that have a number in it."""
        if not self.columns:  # no run has a score: how they ended is still to be seen
            return [("Runs", [], self.rows)]
        place = {name: part for part, names in PARTS.items() for name in names}
        parts = []
        for part in PARTS:
            columns = [column for column in self.columns if place.get(column.name, "Other scores") == part]
            rows = [row for row in self.rows if not row.is_calibration or row.has_any(columns)]
            parts.append((part, columns, rows))
        return [part for part in parts if part[1]]

    @property
    def title(self) -> str:
        return f"{self.datamodule} · {self.network}"

    @property
    def slug(self) -> str:
        return "-".join([self.datamodule, self.network, self.data["id"], self.protocol_id])

    @property
    def notes(self) -> str:
        """What the numbers depend on, in a sentence."""
        protocol, data = self.protocol, self.data
        parts = [f"protocol {protocol['name']} ({self.protocol_id})", f"{protocol['split']} split"]
        if protocol.get("encoder"):
            reference = min(data["sizes"][protocol["split"]], protocol.get("examples") or math.inf)
            parts.append(f"{protocol['samples']:,} samples against {reference:,} real images")
        parts.append(f"data {data['id']}")
        if data.get("leave_out") is not None:
            parts.append(f"class {data['leave_out']} left out")
        if data["binarize"] != "none":
            parts.append(f"{data['binarize']} binarisation")
        if data["dequantize"]:
            parts.append("dequantised")
        budgets = {budget_text(run.record) for row in self.models for run in row.runs} - {None}
        if budgets:
            parts.append(f"budget {budgets.pop()} each" if len(budgets) == 1 else "budgets DIFFER between its rows")
        return ", ".join(parts)


def tables(runs: Sequence[Run]) -> list[Table]:
    """Every table that the runs make. Runs that were never scored stand in a table of their own, without scores."""
    groups: dict[tuple[str, str, str, str], list[tuple[Run, ScoreSheet | None]]] = defaultdict(list)
    unscored = []
    for run in _once_each(runs):
        if run.is_trial:
            continue
        for sheet in run.sheets:
            if not run.was_trial or sheet.protocol["split"] == "test":
                groups[_key(run, sheet.protocol_id)].append((run, sheet))
        if not run.sheets:
            unscored.append(run)
    # what has no scores (it diverged, or failed) belongs in every table of its data and network
    for run in unscored:
        at_home = [key for key in groups if key[:3] == _key(run, "")[:3]] or [_key(run, "none")]
        for key in at_home:
            groups[key].append((run, None))
    return [_table(members) for _, members in sorted(groups.items(), key=lambda item: item[0])]


def _once_each(runs: Iterable[Run]) -> Iterator[Run]:
    """One run of each seed: a copy, or a replay beside its original, would count as another seed."""
    seen: dict[tuple[str, ...], Run] = {}
    for run in runs:
        key = (*_key(run, ""), run.record["names"]["model"], run.record["config_id"], str(run.record["seed"]))
        first = seen.setdefault(key, run)
        if first is run:
            yield run
        else:
            warn(f"{run.path} is the same run as {first.path}, which counts")


def number(value: float) -> str:
    """Four significant digits, thousands separated; never an exponent where a person would not write one."""
    if not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1000 or value == round(value):
        return f"{value:,.0f}"
    digits = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}" if digits <= 6 else f"{value:.2e}"


def cell_text(cell: Cell) -> str:
    """ "mean ± deviation", the mean alone where there is no deviation, or a dash; "(2 of 3)" where a seed has no value."""
    if cell.missing and cell.mean is not None:
        return f"{cell_text(replace(cell, missing=0))} ({cell.n} of {cell.n + cell.missing})"
    if cell.mean is None:
        return "—"
    if not cell.deviation:  # one seed, or a count that is the same for all
        return number(cell.mean)
    # the deviation to two digits, the mean to the same place
    digits = max(0, 1 - math.floor(math.log10(cell.deviation)))
    if digits > 6:
        return f"{number(cell.mean)} ± {cell.deviation:.1e}"
    return f"{cell.mean:,.{digits}f} ± {cell.deviation:,.{digits}f}"


def budget_text(record: Mapping[str, Any]) -> str | None:
    """What a run was given, in words; None where its record does not say."""
    budget = record.get("budget")
    return f"{number(budget['amount'])} {budget['unit']}" if budget else None


def flatten(node: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    """A nested configuration as dotted keys and their values."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from flatten(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], node


def _key(run: Run, protocol_id: str) -> tuple[str, str, str, str]:
    names = run.record["names"]
    return names["datamodule"], run.record["data"]["id"], names["network"], protocol_id


def _table(members: list[tuple[Run, ScoreSheet | None]]) -> Table:
    first = members[0][0]
    sheet = next((sheet for _, sheet in members if sheet is not None), None)
    by_config: dict[tuple[str, str], list[tuple[Run, ScoreSheet | None]]] = defaultdict(list)
    for run, its_sheet in members:
        by_config[run.record["names"]["model"], run.record["config_id"]].append((run, its_sheet))
    labels = _labels({key: group[0][0] for key, group in by_config.items()})
    rows, scores = [], list[Score]()
    for (model, config_id), group in by_config.items():
        diverged = {run.path for run, its_sheet in group if its_sheet and its_sheet.status == "diverged"}
        all_scored = [(run, _scores(run, its_sheet)) for run, its_sheet in group]
        scores += [score for _, its in all_scored for score in its]
        scored = [(run, its) for run, its in all_scored if run.status == "finished"]
        measured = {
            int(run.record["seed"]): {score.name: score.value for score in its if score.value is not None}
            for run, its in scored
        }
        cells = _cells([its for _, its in scored])
        its_runs = [run for run, _ in group]
        rows.append(Row(labels[model, config_id], model, config_id, its_runs, cells, False, diverged, measured))
    rows.sort(key=lambda row: (_place(FAMILY_ORDER, row.model), row.label))
    _mark_best(rows, sheet)
    if sheet is not None:
        rows += _calibration_rows(first, sheet)
    return Table(
        datamodule=first.record["names"]["datamodule"],
        network=first.record["names"]["network"],
        data=first.record["data"],
        protocol=sheet.protocol if sheet else {"name": "none", "split": "test"},
        protocol_id=sheet.protocol_id if sheet else "none",
        columns=_columns(scores, rows),
        rows=rows,
    )


def _scores(run: Run, sheet: ScoreSheet | None) -> list[Score]:
    """The run's scores and its cost, which is in its record."""
    if sheet is None:
        return []
    spent, cost = run.record.get("spent", {}), run.record.get("cost", {})
    memory = cost.get("peak_memory_bytes")
    values = {
        "spent_images": (spent.get("images"), "", None),
        "spent_updates": (spent.get("updates"), "", None),
        "train_seconds": (cost.get("train_seconds"), "s", False),
        "images_per_second": (cost.get("images_per_second"), "images/s", True),
        "sampling_images_per_second": (cost.get("sampling_images_per_second"), "images/s", True),
        "parameters": (cost.get("parameters"), "", None),
        "peak_memory": (None if memory is None else memory / 2**20, "MiB", False),
    }
    return sheet.scores + [Score(name, value, unit, better, 1) for name, (value, unit, better) in values.items()]


def _cells(sheets: Iterable[Sequence[Score]]) -> dict[str, Cell]:
    by_name: dict[str, list[Score]] = defaultdict(list)
    for scores in sheets:
        for score in scores:
            by_name[score.name].append(score)
    return {name: _cell(scores) for name, scores in by_name.items()}


def _cell(scores: Sequence[Score]) -> Cell:
    values = [score.value for score in scores if score.value is not None]
    if not values:
        return Cell(None, reason=next((s.detail["reason"] for s in scores if "reason" in s.detail), None))
    mean = math.fsum(values) / len(values)
    # what statistics.stdev gives, whose fractions would take most of the time of a large report
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    return Cell(mean, deviation, len(values), missing=len(scores) - len(values))


def _mark_best(rows: Sequence[Row], sheet: ScoreSheet | None) -> None:
    direction = {score.name: score.higher_is_better for score in (sheet.scores if sheet else [])}
    direction |= {
        "train_seconds": False,
        "images_per_second": True,
        "sampling_images_per_second": True,
        "peak_memory": False,
    }
    for name, higher in direction.items():
        means = [row.cells[name].mean for row in rows if name in row.cells and row.cells[name].mean is not None]
        if higher is None or len(means) < 2:
            continue
        best = max(means) if higher else min(means)  # type: ignore[type-var]  # None was left out above
        for row in rows:
            cell = row.cells.get(name)
            if cell is not None and cell.mean == best:
                cell.is_best = True


def _calibration_rows(run: Run, sheet: ScoreSheet) -> list[Row]:
    """The rows that were scored beside the runs on the same data under the same protocol."""
    # runs/<datamodule>/<model>/<config id>/seed=<n>
    folder = run.path.resolve().parents[2] / CALIBRATION / run.record["data"]["id"]
    rows = []
    for path in sorted(folder.glob("*/")):
        try:
            sheets = read_sheets(path)
        except RecordError as error:
            fail(f"{error} (left out)")
            continue
        same = [its.scores for its in sheets if its.protocol_id == sheet.protocol_id]
        rows += [Row(path.name, path.name, "", cells=_cells([scores]), is_calibration=True) for scores in same]
    return sorted(rows, key=lambda row: _place(CALIBRATION_ORDER, row.label))


def _columns(scores: Sequence[Score], rows: Sequence[Row]) -> list[ColumnHead]:
    """Every column that has a number in any row."""
    heads: dict[str, tuple[Score, str]] = {}
    for score in scores:
        if score.name not in heads or (score.value is not None and heads[score.name][0].value is None):
            heads[score.name] = (score, _title(score))
    filled = {name for row in rows for name, cell in row.cells.items() if cell.mean is not None}
    order = [name for names in PARTS.values() for name in names]
    place = {name: i for i, name in enumerate(order)}
    names = sorted((n for n in heads if n in filled), key=lambda n: place.get(n, len(place)))
    return [ColumnHead(n, heads[n][1], heads[n][0].unit, heads[n][0].higher_is_better) for n in names]


def _title(score: Score) -> str:
    title = TITLES.get(score.name, score.name.replace("_", " "))
    if score.value is None:
        return title
    detail = score.detail
    facts = [
        detail.get("encoder"),
        f"of {detail['of']:,}" if "of" in detail else None,
        f"k = {detail['neighbours']}" if "neighbours" in detail else None,
        f"K = {detail['k']:,}" if "k" in detail else None,
        f"{detail['temperatures']:,} temperatures" if "temperatures" in detail else None,
    ]
    if any(key in detail for key in ("encoder", "k", "temperatures", "steps")) and "of" not in detail:
        facts.append(_thousands(score.n))
    said = ", ".join(fact for fact in facts if fact)
    return f"{title} ({said})" if said else title


def _thousands(n: int) -> str:
    return f"{n // 1000}k" if n >= 1000 and n % 1000 == 0 else str(n)


def _place(order: Sequence[str], name: str) -> tuple[int, str]:
    """Those that are in the order first, the others by name."""
    return (order.index(name) if name in order else len(order), name)


def _labels(firsts: Mapping[tuple[str, str], Run]) -> dict[tuple[str, str], str]:
    """The model's name; where it has several configurations, with the keys in which they differ."""
    labels = {}
    by_model: dict[str, list[tuple[str, Run]]] = defaultdict(list)
    for (model, config_id), run in firsts.items():
        by_model[model].append((config_id, run))
    for model, variants in by_model.items():
        if len(variants) == 1:
            labels[model, variants[0][0]] = model
            continue
        flat = {config_id: dict(flatten(config)) for config_id, run in variants if (config := _decisive(run.path))}
        labels |= {(model, config_id): f"{model} ({config_id})" for config_id, _ in variants}
        keys = sorted({key for values in flat.values() for key in values})
        differing = [key for key in keys if len({repr(values.get(key)) for values in flat.values()}) > 1]
        # a key's last word, where that says which it is
        short = {key: key.rsplit(".", 1)[-1] for key in differing}
        names = {key: word if list(short.values()).count(word) == 1 else key for key, word in short.items()}
        for config_id, values in flat.items() if 0 < len(differing) <= 4 else ():
            said = [f"{names[key]}={_brief(values.get(key))}" for key in differing]
            labels[model, config_id] = f"{model} ({', '.join(said)})"
        its = [labels[model, config_id] for config_id in flat]
        for config_id in flat:  # values that differ in their fourth digit only
            if its.count(labels[model, config_id]) > 1:
                labels[model, config_id] = f"{model} ({config_id})"
    return labels


def _brief(value: Any) -> str:
    """A setting as a label has room for it: numbers to three digits."""
    if isinstance(value, list):
        return f"[{', '.join(map(_brief, value))}]"
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else str(value)


def _decisive(path: Path) -> dict[str, Any]:
    """Nothing where it cannot be read, which is said: a row can be labelled by its id."""
    try:
        config = read_config(path)
    except RecordError as error:
        fail(f"{error} (its row goes by its id)")
        return {}
    return {key: config.get(key, {}) for key in ("model", "datamodule", "budget")}
