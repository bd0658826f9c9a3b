"""Which jobs of a sweep are seeds of one configuration, so that one process can train them together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmarks.errors import UserError

# what the word of a seed begins with
SEED = "seed="


def groups_of_seeds(jobs: Mapping[int, Sequence[str]], size: int) -> list[list[int]]:
    """Jobs that differ in the seed alone, in groups of `size` at most.

    Args:
        jobs: the words of each job by its number.
        size: at least 1.

    Returns:
        The numbers of the jobs; each job is in one group. Groups of one configuration are neighbours.
    """
    alike: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, words in jobs.items():
        alike[tuple(sorted(word for word in words if not word.startswith(SEED)))].append(number)
    return [numbers[i : i + size] for numbers in alike.values() for i in range(0, len(numbers), size)]


def seed_of(words: Sequence[str]) -> int | None:
    """The seed that the words of a job name; None if they name none, or another thing than a number."""
    named = [word.removeprefix(SEED) for word in words if word.startswith(SEED)]
    return int(named[-1]) if named and named[-1].isdecimal() else None


def with_seed(words: Sequence[str], seed: int) -> list[str]:
    """The words of a job with another seed."""
    return [f"{SEED}{seed}" if word.startswith(SEED) else word for word in words]


def check_size(size: object) -> int:
    """The number of seeds that a job trains.

    Raises:
        UserError: unless it is a whole number of 1 or more.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UserError(f"seeds_per_job is {size!r}; expected a whole number of 1 or more")
    return size
