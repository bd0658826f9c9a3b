"""python -m benchmarks.replay: trains runs again from their records alone, and compares every score."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import hydra
from omegaconf import DictConfig
from rich.table import Table as RichTable

from benchmarks.cli import prepare
from benchmarks.errors import UserError, exits_cleanly, fail, is_users, one_line, warn
from benchmarks.leaderboard import number
from benchmarks.report import console_of_tables, left_out
from benchmarks.runs import RecordError, Run, ScoreSheet, find_runs, read_config, read_run
from benchmarks.statistics import next_value

Verdict = Literal["identical", "within the seeds' spread", "one seed, no spread", "different"]


@exits_cleanly
def main() -> None:
    prepare("replay")
    _hydra_main()


@hydra.main(config_path="pkg://conf", config_name="replay", version_base="1.3")
@exits_cleanly  # inside Hydra too, which would print a traceback
def _hydra_main(cfg: DictConfig) -> None:
    found = find_runs(Path(cfg.runs), on_bad=left_out)
    runs = [run for run in found if run.status == "finished" and run.sheets]
    if not runs:
        raise UserError(
            f"{cfg.runs} holds no run that is finished and scored; set runs=PATH to one or to a folder of them"
        )
    failed = 0
    for i, run in enumerate(runs, 1):
        print(f"[{i}/{len(runs)}] {run.path}", flush=True)
        try:
            failed += not replay(run, Path(cfg.out), cfg.data_dir, cfg.accelerator)
        except Exception as error:  # the others can still be replayed
            failed += 1
            fail(one_line(error) if is_users(error) else f"{type(error).__name__}: {one_line(error)}")
    if failed:
        fail(f"{failed} of {len(runs)} runs were not reproduced")
        raise SystemExit(1)


@dataclass(frozen=True)
class Comparison:
    """A score as it was recorded and as it came out again; `expected` is where one more seed of the row would lie."""

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
        if self.expected is None:
            return "one seed, no spread"
        low, high = self.expected
        return "within the seeds' spread" if low <= self.replayed <= high else "different"


def replay(run: Run, out: Path, data_dir: str, accelerator: str | None = None) -> bool:
    """Trains and scores a run again under `out`, prints the comparison, and says whether it was reproduced.

    Reproduced means: identical, where training ran on the CPU in the same environment on a budget that is not of
    seconds; elsewhere no score outside of where one more seed of the row would lie (95% for all scores of a protocol
    together). A row of one seed has no such place: its differences are printed, and decide nothing.

    Raises:
        UserError: where the record cannot be replayed: it names classes that are not genbench's, its data are others.
    """
    from benchmarks.provenance import commit, environment, packages
    from benchmarks.scoring import check_record, choose_device, load_data, set_threads
    from benchmarks.training import path_of, train_and_score

    config = read_config(run.path)
    check_record(config, run.sheets)
    config |= {"runs_dir": str(out), "data_dir": data_dir, "logger": None, "group": None, "search": None}
    if "data_dir" in config["datamodule"]:
        config["datamodule"] = config["datamodule"] | {"data_dir": data_dir}
    if "cache_dir" in config["datamodule"]:
        config["datamodule"] = config["datamodule"] | {"cache_dir": str(out / "cache")}
    if accelerator is None and (run.record.get("environment") or {}).get("device") == "cpu":
        accelerator = "cpu"  # "auto" would take a GPU that the record did not have
    if accelerator is not None:
        config["trainer"] = config["trainer"] | {"accelerator": accelerator}
    recorded_threads = (run.record.get("environment") or {}).get("threads")
    if config.get("threads") is None:  # how a sum is split between threads shows in its last bit
        config["threads"] = recorded_threads

    import torch

    device = torch.device(choose_device(config["trainer"]["accelerator"]))
    set_threads(config)
    here = environment(device) | packages()
    there = (run.record.get("environment") or {}) | (run.record.get("packages") or {})
    differences = list(environment_differences(there, here))
    # other code in the same environment has to give the same scores, or it is not the code that made them
    recorded_commit = {"commit": run.record.get("git")}
    print_environment([*environment_differences(recorded_commit, {"commit": commit()}), *differences])
    data = load_data(config)
    if data.info.id != run.record["data"]["id"]:
        raise UserError(
            f"the data differ: {run.record['data']['id']} in the record, {data.info.id} here; set data_dir to those it had"
        )
    is_timed = run.record["budget"]["unit"] == "seconds"
    if is_timed:
        warn(
            "its budget is in seconds, which pay for another number of steps each time: identical scores cannot be had"
        )
    found = []
    for sheet in run.sheets:
        config["protocol"] = protocol_of(sheet)
        outcome = train_and_score(config, f"replay of {run.path.name}")
        if outcome.status != "finished":
            raise UserError(f"the replay ended differently: {outcome.message}")
        again = read_run(path_of(config))
        assert again is not None
        new = next((its for its in again.sheets if its.protocol_id == sheet.protocol_id), None)
        if new is None:
            raise UserError(
                f"protocol {sheet.protocol['name']} ({sheet.protocol_id}) cannot be made again here: its encoder's weights "
                "are other ones"
            )
        found += compare(sheet, new, siblings(run, sheet.protocol_id))
    print_comparison(found)
    on_cpu = device.type == "cpu" and there.get("device") == "cpu"
    must_be_identical = on_cpu and not differences and not is_timed
    return all(c.verdict == "identical" or (not must_be_identical and c.verdict != "different") for c in found)


def environment_differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What was recorded and is another here: the key, the recorded value, the present one."""
    for key in sorted(there.keys() | here.keys()):
        # older records lack some keys: what was not recorded is no difference that one could know
        if key in there and there[key] != here.get(key):
            yield key, there[key], here.get(key)


def compare(recorded: ScoreSheet, replayed: ScoreSheet, others: Sequence[ScoreSheet]) -> list[Comparison]:
    """Score by score.

    Args:
        recorded, replayed: under the same protocol.
        others: of every seed of the row under it, the recorded one among them.
    """
    new = {score.name: score.value for score in replayed.scores}
    judged = sum(score.value is not None for score in recorded.scores)
    found = []
    for score in recorded.scores:
        values = [s.value for sheet in others for s in sheet.scores if s.name == score.name and s.value is not None]
        expected = next_value(values, of=judged) if len(values) > 1 else None
        found.append(Comparison(score.name, score.value, new.get(score.name), expected))
    return found


def siblings(run: Run, protocol_id: str) -> list[ScoreSheet]:
    """The sheets of every seed of the run's row under a protocol."""
    rows = []
    for path in sorted(run.path.resolve().parent.glob("seed=*/run.json")):
        with suppress(RecordError):  # a damaged neighbour says nothing of this run
            rows.append(read_run(path.parent))
    return [sheet for row in rows if row is not None for sheet in row.sheets if sheet.protocol_id == protocol_id]


def protocol_of(sheet: ScoreSheet) -> dict[str, Any]:
    """The configuration that makes a sheet's protocol again."""
    described = {key: value for key, value in sheet.protocol.items() if key != "encoder_checksum"}
    return {**described, "encoder_weights": None}


def print_environment(differences: Sequence[tuple[str, Any, Any]]) -> None:
    if not differences:
        print("      environment: the same")
    for key, recorded, present in differences:
        print(f"      environment: {key} was {recorded}, is {present}")


def print_comparison(found: Sequence[Comparison]) -> None:
    """The scores that differ, and how many do not."""
    different = [comparison for comparison in found if comparison.verdict != "identical"]
    print(f"      {len(found) - len(different)} of {len(found)} scores are identical to the bit", flush=True)
    if not different:
        return
    table = RichTable("score", "recorded", "replayed", "difference", "expected of a seed", "verdict", header_style="")
    for c in different:
        off = None if c.recorded is None or c.replayed is None else c.replayed - c.recorded
        numbers = ["—" if value is None else number(value) for value in (c.recorded, c.replayed, off)]
        expected = " to ".join(map(number, c.expected)) if c.expected is not None else "—"
        table.add_row(c.name, *numbers, expected, c.verdict)
    console_of_tables().print(table)


if __name__ == "__main__":
    main()
