"""python -m benchmarks.studies.replay_power: false alarms and power of replay's test of one run against the seeds of its row.

Draws five seeds and one more of 20 normal scores with a common correlation; the last is shifted in all scores or in one.
"""

import numpy as np

from benchmarks.reporting.next_seed import judge_next
from benchmarks.reporting.seed_statistics import Array
from benchmarks.studies.words import study

DRAWS, SEEDS, SCORES = 2_000, 5, 20
CORRELATIONS = (0.0, 0.5, 0.9, 1.0)
SHIFTS = (0, 1, 2, 3, 4, 6, 8)


@study()
def main() -> None:
    rng = np.random.default_rng(0)
    print(
        f"share of replays that are found to differ, {SEEDS} seeds, {SCORES} scores, {DRAWS:,} draws, false alarms set to 5%"
    )
    heads = " ".join(f"{f'{shift} sd':>8}" for shift in SHIFTS)
    print(f"{'correlation':<12} {'shifted':<12} {heads}")
    for correlation in CORRELATIONS:
        for shifted, name in ((SCORES, "all scores"), (1, "one score")):
            shares = [share(rng, correlation, shift, shifted) for shift in SHIFTS]
            print(f"{correlation:<12} {name:<12} " + " ".join(f"{s:>8.1%}" for s in shares))


def share(rng: np.random.Generator, correlation: float, shift: float, shifted: int, draws: int = DRAWS) -> float:
    """The share of draws in which the run after the seeds is found to be of another distribution."""
    found = 0
    for _ in range(draws):
        runs = _correlated(rng, correlation)
        runs[-1, :shifted] += shift
        found += judge_next(runs[:-1], runs[-1]).is_one
    return found / draws


def _correlated(rng: np.random.Generator, correlation: float) -> Array:
    common, own = rng.standard_normal((SEEDS + 1, 1)), rng.standard_normal((SEEDS + 1, SCORES))
    runs: Array = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    return runs


if __name__ == "__main__":
    main()
