"""Values by example: they come back as they were, bounded, and a file that cannot be trusted is as good as none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.records.examples import (
    MOST,
    MOST_BYTES,
    examples_path,
    forget_examples,
    write_examples,
)
from tests.records.fakes import Canary, example_scores

SHEET = "quick-1a2b3c4d.json"

Values = NDArray[np.float64]


def random() -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**31, ())))


def normal(n: int) -> Values:
    return random().normal(-20.0, 3.0, n)


def written(folder: Path, **values: Values) -> Path:
    """A run with values by example; its folder. A path of its own: what was read of a path is kept."""
    write_examples(folder / "scores" / SHEET, values)
    return folder


def test_values_of_several_runs_come_back_in_order(tmp_path: Path) -> None:
    values = [normal(50) for _ in range(3)]
    runs = [written(tmp_path / str(i), elbo=row, recon_mse=row**2) for i, row in enumerate(values)]
    read, n = example_scores(runs, SHEET, "elbo")
    assert read is not None
    np.testing.assert_allclose(read, np.stack(values), rtol=1e-7, err_msg="single precision is kept")
    assert n == 50
    squares, _ = example_scores(runs[::-1], SHEET, "recon_mse")
    assert squares is not None
    np.testing.assert_allclose(squares, np.stack(values[::-1]) ** 2, rtol=1e-7)


@pytest.mark.parametrize("n", [MOST - 1, MOST, MOST + 1, 3 * MOST])
def test_a_file_holds_the_first_examples_and_the_count_of_all(n: int, tmp_path: Path) -> None:
    values = normal(n)
    read, count = example_scores([written(tmp_path, elbo=values)], SHEET, "elbo")
    assert read is not None
    np.testing.assert_allclose(read, values[None, :MOST], rtol=1e-7)
    assert count == n, "the number of examples of the mean"


def test_a_file_is_small_and_beside_its_sheet(tmp_path: Path) -> None:
    written(tmp_path, **{f"score{i}": normal(2 * MOST) for i in range(20)})
    (path,) = tmp_path.rglob("*.*")
    assert path == examples_path(tmp_path / "scores" / SHEET)
    assert path.with_suffix(".json").name == SHEET
    assert path.stat().st_size < 20 * MOST * 4 + 20_000 < MOST_BYTES


def test_a_sheet_without_values_by_example_has_no_file(tmp_path: Path) -> None:
    written(tmp_path)
    assert not list(tmp_path.iterdir())
    assert example_scores([tmp_path], SHEET, "elbo") == (None, 0)


def test_a_score_or_a_run_that_has_none_has_none_for_all(tmp_path: Path) -> None:
    runs = [written(tmp_path / "a", elbo=normal(9)), written(tmp_path / "b", iwae=normal(9)), tmp_path / "missing"]
    assert example_scores(runs[:1], SHEET, "elbo")[1] == 9
    assert example_scores(runs[:1], SHEET, "iwae") == (None, 0)
    assert example_scores(runs[:1], "other-1a2b3c4d.json", "elbo") == (None, 0)
    assert example_scores(runs[:2], SHEET, "elbo") == (None, 0)
    assert example_scores([runs[0], runs[2]], SHEET, "elbo") == (None, 0)
    assert example_scores([], SHEET, "elbo") == (None, 0)


@pytest.mark.parametrize(("one", "other"), [(9, 10), (MOST + 1, MOST + 2), (MOST, MOST + 1)])
def test_runs_with_different_numbers_of_examples_are_not_paired(one: int, other: int, tmp_path: Path) -> None:
    """Also where the files hold as many of them."""
    runs = [written(tmp_path / "a", elbo=normal(one)), written(tmp_path / "b", elbo=normal(other))]
    assert example_scores(runs, SHEET, "elbo") == (None, 0)
    assert example_scores(runs[:1], SHEET, "elbo")[1] == one


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_one_value_that_is_no_number_makes_all_none(value: float, tmp_path: Path) -> None:
    """1e300 is infinite in single precision."""
    values = normal(20)
    values[random().integers(20)] = value
    with np.errstate(over="ignore"):
        run = written(tmp_path, elbo=values, iwae=normal(20))
    assert example_scores([run], SHEET, "elbo") == (None, 0)
    assert example_scores([run], SHEET, "iwae")[1] == 20


@pytest.mark.parametrize("n", [0, 1])
def test_a_spread_needs_two_examples(n: int, tmp_path: Path) -> None:
    assert example_scores([written(tmp_path, elbo=normal(n))], SHEET, "elbo") == (None, 0)


def forged(run: Path, **arrays: NDArray[np.generic]) -> tuple[Values | None, int]:
    """What is read of a file that someone else wrote."""
    path = examples_path(run / "scores" / SHEET)
    path.parent.mkdir(parents=True)
    with path.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return example_scores([run], SHEET, "elbo")


def test_a_truncated_file_is_as_good_as_none(tmp_path: Path) -> None:
    content = examples_path(written(tmp_path / "whole", elbo=normal(100)) / "scores" / SHEET).read_bytes()
    for end in random().integers(0, len(content), 20):
        path = examples_path(tmp_path / f"{end}" / "scores" / SHEET)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[:end])
        assert example_scores([tmp_path / f"{end}"], SHEET, "elbo") == (None, 0)


@pytest.mark.parametrize("content", [b"", b"plain text", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_file_of_another_kind_is_as_good_as_none(content: bytes, tmp_path: Path) -> None:
    path = examples_path(tmp_path / "scores" / SHEET)
    path.parent.mkdir()
    path.write_bytes(content)
    assert example_scores([tmp_path], SHEET, "elbo") == (None, 0)


@pytest.mark.parametrize("member", ["names", "counts", "score0"])
def test_nothing_is_unpickled(member: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    arrays = {"names": np.array(["elbo"]), "counts": np.array([5]), "score0": np.zeros(5, np.float32)}
    pickled = np.array([Canary(canary)], dtype=object)
    assert forged(tmp_path / "run", **arrays | {member: pickled}) == (None, 0)
    assert not canary.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"score0": np.zeros(MOST + 1, np.float32)},
        {"counts": np.array([4])},
        {"counts": np.array([np.inf])},
        {"score0": np.zeros(5, np.complex64)},
        {"score0": np.zeros((5, 5), np.float32)},
        {"score0": np.float32(1.0)},
        {"score0": np.array(["a", "b"])},
        {"counts": np.array([5, 6])},
        {"counts": np.array(5)},
        {"counts": np.array(["x"])},
        {"names": np.array(["elbo", "iwae"])},
        {"names": np.array("elbo")},
    ],
    ids=str,
)
def test_a_forged_file_is_as_good_as_none(change: dict[str, NDArray[np.generic]], tmp_path: Path) -> None:
    arrays = {"names": np.array(["elbo"]), "counts": np.array([5]), "score0": np.arange(5, dtype=np.float32)}
    assert forged(tmp_path / "whole", **arrays)[1] == 5
    assert forged(tmp_path / "forged", **arrays | change) == (None, 0)


def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path) -> None:
    """Zeros behind a whole archive change nothing that it holds."""
    run = written(tmp_path, elbo=normal(10))
    with examples_path(run / "scores" / SHEET).open("r+b") as stream:
        stream.truncate(MOST_BYTES + 1)
    assert example_scores([run], SHEET, "elbo") == (None, 0)


def test_a_file_that_changes_is_read_again_once_the_old_values_are_forgotten(tmp_path: Path) -> None:
    assert example_scores([tmp_path], SHEET, "elbo") == (None, 0)
    written(tmp_path, elbo=normal(7))
    forget_examples()
    assert example_scores([tmp_path], SHEET, "elbo")[1] == 7


def test_a_bit_flip_is_never_an_error(tmp_path: Path) -> None:
    content = examples_path(written(tmp_path / "whole", elbo=normal(500)) / "scores" / SHEET).read_bytes()
    for i, bit in enumerate(random().integers(0, 8 * len(content), 300)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << int(bit) % 8
        path = examples_path(tmp_path / f"{i}" / "scores" / SHEET)
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(flipped))
        example_scores([tmp_path / f"{i}"], SHEET, "elbo")
