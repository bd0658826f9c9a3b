"""How numbers and cells are written."""

import pytest

from benchmarks.reporting.cells import Cell, cell_text
from benchmarks.reporting.numbers import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.01235"),
        (1.0, "1"),
        (312.0, "312"),
        (-19.618, "-19.62"),
        (1234567.0, "1,234,567"),
        (3e-9, "3.00e-09"),
    ],
)
def test_numbers_have_four_digits_that_mean_something(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell(None), "—"),
        (Cell(12.345), "12.35"),
        (Cell(12.345, 0.0), "12.35"),
        (Cell(12.345, 1.26), "12.3 ± 1.3"),
        (Cell(1200.4, 250.0), "1,200 ± 250"),
        (Cell(0.01234, 0.00056), "0.01234 ± 0.00056"),
    ],
)
def test_a_mean_is_shown_to_the_place_of_its_deviation(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text
