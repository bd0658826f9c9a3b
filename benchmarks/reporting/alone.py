"""Times of a run beside other work are no times of a run alone, and nothing is stated of them."""

from collections.abc import Iterable, Mapping

# what is slower beside other work
TIMES = frozenset({"train_seconds", "images_per_second", "sampling_images_per_second"})
# the processors that other programs may keep busy meanwhile: what a system does by itself
MOST_NEIGHBOURS = 0.25


def ran_alone(rows: Iterable[Mapping[int, Mapping[str, float]]]) -> bool:
    """Whether other programs left the machine to every run, as far as the records say.

    Args:
        rows: the scores and costs of each row, by seed.
    """
    return all(values.get("neighbours", 0.0) <= MOST_NEIGHBOURS for row in rows for values in row.values())
