"""The program for a lent GPU: whole on a CPU at the smallest size; steps within their time; what is done is not repeated."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import UserError
from benchmarks.records.runs import Score
from benchmarks.studies.gpu_busy import watched
from benchmarks.studies.gpu_runs import tolerance
from benchmarks.studies.ledger import RESERVE, Ledger, OutOfTime, Step, Tables
from tests.conftest import run


def test_the_whole_program_runs_at_the_tiny_size_and_once(tmp_path: Path) -> None:
    words = ("minutes=240", "size=tiny")
    result = run("studies.gpu", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "reports" / "gpu"
    assert not (folder / "failed").exists(), (folder / "results.md").read_text()
    tables = json.loads((folder / "results.json").read_text())
    assert list(tables) == [
        "It works",
        "The same checkpoint scored on this device and on its CPU",
        "What trainer.deterministic=true buys",
        "Seeds together",
        "Speed of training",
        "Several seeds at once",
        "Lucic's protocol",
        "Scoring under protocol=full",
        "Published findings",
    ]
    # on a CPU everything is equal to the bit
    (works,) = tables["It works"]
    assert (works["largest weight difference after resuming"], works["after a replay"]) == (0, 0)
    assert works["replay says reproduced"] is True
    assert re.fullmatch(r"(\d\d) of \1", works["scores equal after a replay"])
    assert [row["difference"] for row in tables["The same checkpoint scored on this device and on its CPU"]] == [0]
    assert [row["largest weight difference of two runs"] for row in tables["What trainer.deterministic=true buys"]] == [
        0,
        0,
    ]
    (beside,) = tables["Seeds together"]
    assert beside["loop"] == "stacked"
    assert beside["largest weight difference from runs alone"] < 1e-3, "rounding, after one block of minibatches"
    assert {row["loop"] for row in tables["Speed of training"]} >= {"eager", "graphs", "bare eager"}
    assert all(row["images/s"] > 0 for row in tables["Speed of training"])
    assert all(row["10 seeds"] > 0 for row in tables["Several seeds at once"])
    assert list(folder.glob("runs/*/wgan_gp/*/seed=0/run.json"))
    assert not list(folder.glob("runs/*/wgan_gp/*/seed=0/checkpoints"))
    assert [row["run"] for row in tables["Published findings"]] == ["model.paired=True seed=0"]
    assert list(folder.glob("findings/rpgan/*/rpgan/*/seed=0/run.json"))
    assert "## Lucic's protocol" in (folder / "results.md").read_text()
    start = time.monotonic()
    again = run("studies.gpu", *words, cwd=tmp_path)
    assert time.monotonic() - start < 60
    assert re.fullmatch(r"(\d+) of \1 steps are done, about 0.0 minutes are left: .*\n", again.stdout)


def test_the_share_of_a_busy_gpu_is_read_while_a_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = tmp_path / "nvidia-smi"
    reader.write_text("#!/bin/sh\necho 'a warning'\necho 40\necho 60\nexec /bin/sleep 60\n")
    monkeypatch.setenv("PATH", str(tmp_path))  # without the reader of a machine that has a GPU
    with watched() as busy:
        assert busy.percent is None
        time.sleep(0.01)
    assert busy.percent is None  # a file that may not be executed is no reader
    reader.chmod(0o755)
    start = time.monotonic()
    with watched() as busy:
        time.sleep(1)
    assert busy.percent == 50
    assert time.monotonic() - start < 30


class Clock:
    """Seconds that pass only when a step takes them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def step(self, name: str, seconds: float, guess: float, kind: str = "") -> Step:
        def work() -> Tables:
            self.now += seconds
            return {"table": [{"step": name}]}

        return Step(name, kind or name, guess, work)


def test_a_step_starts_only_if_its_corrected_estimate_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    # the second kind takes twice what was guessed, so that the third of its steps no longer fits; a later, shorter step does
    steps = [clock.step("a", 10, 10), *(clock.step(f"b{i}", 40, 20, "b") for i in range(3)), clock.step("c", 5, 2)]
    ledger = Ledger(tmp_path, "a machine", clock)
    ledger.run(steps, 120)
    assert [ledger.result(step) is not None for step in steps] == [True, True, True, False, True]
    assert ledger.estimate(steps[3], steps) == 40
    assert clock.now <= 120
    assert "4 of 5 steps are done, about 0.7 minutes are left" in capsys.readouterr().out
    ledger.run(steps, 120)
    assert ledger.result(steps[3]) is not None
    assert clock.now == 10 + 3 * 40 + 5
    rows = json.loads((tmp_path / "results.json").read_text())["table"]
    assert [row["step"] for row in rows] == ["a", "b0", "b1", "b2", "c"]
    assert rows[0]["machine"] == "a machine"


def test_a_step_that_takes_too_long_is_stopped_and_waits(tmp_path: Path) -> None:
    def sleeps() -> Tables:
        time.sleep(60)
        return {}

    step = Step("slow", "slow", 0.1, sleeps)
    ledger = Ledger(tmp_path, "a machine")
    start = time.monotonic()
    ledger.run([step], 2.3)
    assert time.monotonic() - start < 30
    assert ledger.result(step) is None
    assert not issubclass(OutOfTime, Exception)


def test_a_step_that_goes_on_starts_with_a_piece_of_its_time_and_its_seconds_add_up(tmp_path: Path) -> None:
    clock, left = Clock(), [300.0]

    def work() -> Tables:
        taken = min(left[0], 130.0)
        clock.now, left[0] = clock.now + taken, left[0] - taken
        if left[0]:
            raise OutOfTime
        return {"table": [{"step": "long"}]}

    step = Step("long", "long", 300, work, goes_on=True)
    ledger = Ledger(tmp_path, "a machine", clock)
    for spent in (130, 260):
        ledger.run([step], 132)
        assert (ledger.result(step), ledger.estimate(step, [step])) == (None, 300 - spent)
    ledger.run([step], 132)
    result = ledger.result(step)
    assert result is not None
    assert result["seconds"] == 300
    Ledger(tmp_path / "whole", "a machine", clock).run([step], 60)  # less than a piece: it does not start
    assert not (tmp_path / "whole" / "steps").exists()


def test_a_step_that_fails_is_in_the_table_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = [RuntimeError("no kernel image\nis available")]

    def work() -> Tables:
        if faults:
            raise faults.pop()
        return {"table": [{"x": 1.5, "ok": True, "none": None}]}

    steps = [Step("one", "one", 1, work), Clock().step("two", 1, 1)]
    ledger = Ledger(tmp_path, "a machine")
    ledger.run(steps, 60)
    assert "error: one: RuntimeError: no kernel image is available" in capsys.readouterr().err
    assert "| one | RuntimeError: no kernel image is available | a machine |" in (tmp_path / "results.md").read_text()
    ledger.run(steps, 60)
    text = (tmp_path / "results.md").read_text()
    assert "Steps that failed" not in text
    assert "| 1.500 | yes | — | a machine |" in text


def test_a_device_that_is_lost_ends_the_command_and_the_step_that_failed_comes_last(tmp_path: Path) -> None:
    """In a process that an error inside of a kernel has cut off from the GPU, every later step would fail as well."""
    order: list[str] = []

    def step(name: str) -> Step:
        def work() -> Tables:
            order.append(name)
            if order == ["one"]:
                raise RuntimeError("an illegal memory access was encountered")
            return {"table": [{"step": name}]}

        return Step(name, name, 1, work)

    steps = [step("one"), step("two")]
    lost = Ledger(tmp_path, "a machine", is_usable=lambda: False)
    with pytest.raises(UserError, match="one left the device unusable to this process: run the same command again"):
        lost.run(steps, 60)
    assert "an illegal memory access" in (tmp_path / "results.md").read_text()
    lost.run(steps, 60)
    assert order == ["one", "two", "one"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_alarm_that_python_drops_rings_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in `__del__` is printed and forgotten."""
    monkeypatch.setattr("benchmarks.studies.ledger.AGAIN", 0.1)

    class Dropped:
        def __del__(self) -> None:
            time.sleep(1)

    def work() -> Tables:
        Dropped()
        time.sleep(20)
        return {}

    start = time.monotonic()
    Ledger(tmp_path, "a machine").run([Step("slow", "slow", 0.1, work)], 2.3)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("name", "detail", "expected"),
    [
        ("fid", {"standard_error": 5.0}, 0.1 + 1e-3),
        ("elbo", {"standard_error": 0.5}, 6 * 0.5**0.5 + 0.1),
        ("inversion_mse", {}, 2.02),
    ],
)
def test_tolerances_are_of_rounding_or_of_draws(name: str, detail: dict[str, Any], expected: float) -> None:
    score = Score(name, 10.0, "", False, 4, detail)
    assert tolerance(score, score) == pytest.approx(expected)
    assert RESERVE > 1
