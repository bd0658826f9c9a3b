"""python -m benchmarks.studies.verdict_errors: how often genbench's claims get a wrong verdict, and how often a right one.

Draws reports in which every family has the same distribution of every score, so that a "holds" or "does not hold" on a
difference is wrong (and a "does not hold" on an equality). Four kinds of data: normal scores; families of skewed scores beside
families that hardly vary; seeds that are lost; scores that share their test images. Then the same with families that
differ, for the power.
"""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.records.columns import BY_NAME
from benchmarks.records.examples import forget_examples, write_examples
from benchmarks.records.runs import Run
from benchmarks.reporting.claim_files import load_claims
from benchmarks.reporting.claims import Claims
from benchmarks.reporting.quantities import names_in
from benchmarks.reporting.seed_statistics import Array
from benchmarks.reporting.table import Row, Table
from benchmarks.reporting.verdicts import Answer, answer_all
from benchmarks.studies.words import study

SEEDS = 5
# several rows of the VAE, as `sweep=families` has
ROWS = (*(("vae", i) for i in range(3)), *((model, 0) for model in ("ae", "gan", "wgan", "wgan_gp")))
# the spread of a score over seeds, on the scale of its claims; of families that hardly vary
SPREAD, TIGHT = 0.3, 0.01
# the correlation of a score with the same score under another choice of the ruler
CORRELATION = 0.7
IMAGES = 32
LOST = 0.1
LOSING_SEEDS = 20
SKEWED = ("vae", "wgan")
LOSING = ("ae", "gan", "wgan", "wgan_gp")

Kind = Literal["normal", "skewed beside tight", "lost seeds", "skewed beside tight, lost seeds", "shared images"]
KINDS: tuple[Kind, ...] = (
    *("normal", "skewed beside tight", "lost seeds", "skewed beside tight, lost seeds", "shared images"),
)
# scores that are compared by difference; the others are compared by ratio
BY_DIFFERENCE = ("ais", "ais_quarter", "ais_rise", "posterior_mmd", "inversion_mse", "inversion_floor", "modes")


@study(reports=2_000)
def main(reports: int) -> None:
    claims = load_claims()
    print(
        f"{reports:,} reports of each kind, {SEEDS} seeds ({LOSING_SEEDS} where seeds are lost); every family alike: "
        "share of reports with a wrong verdict"
    )
    for kind in KINDS:
        rng = np.random.default_rng(0)
        wrong = Counter[str]()
        for _ in range(reports):
            mistakes = wrong_verdicts(draw_answers(rng, claims, kind))
            wrong["any"] += bool(mistakes)
            wrong.update(mistakes)
        most = ", ".join(f"{name} {count / reports:.2%}" for name, count in wrong.most_common(4) if name != "any")
        print(f"  {kind:<32} {wrong['any'] / reports:>7.2%}   {most}", flush=True)
    print("\nVAEs that are better than all others by some standard deviations (normal scores): share of right verdicts")
    for shift in (1.0, 2.0, 4.0, 8.0):
        rng = np.random.default_rng(1)
        shares = power(rng, claims, shift, max(1, reports // 10))
        print(f"  {shift:>4.0f} sd   " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()), flush=True)


def draw_answers(
    rng: np.random.Generator, claims: Claims, kind: Kind, shifts: Mapping[str, float] | None = None
) -> list[Answer]:
    """The answers to one drawn report on one data set.

    Args:
        rng: of the draws.
        claims: the claims.
        kind: of the data.
        shifts: in standard deviations, added to every score of a family.
    """
    with tempfile.TemporaryDirectory() as folder:
        rows = [_draw_row(rng, model, i, kind, (shifts or {}).get(model, 0.0), Path(folder)) for model, i in ROWS]
        data = {"id": "d", "sizes": {}, "binarize": "none", "dequantize": False}
        table = Table("digits", "mlp", data, {"name": "quick", "split": "test"}, "p", [], rows)
        answers = answer_all(claims, [table])
        forget_examples()
    return answers


def seeds_of(kind: Kind) -> int:
    """The number of seeds: enough that some are left where seeds are lost."""
    return LOSING_SEEDS if "lost" in kind else SEEDS


def wrong_verdicts(answers: Sequence[Answer]) -> list[str]:
    """The claims with a wrong verdict, where every family is alike."""
    return [
        answer.claim.name
        for answer in answers
        if answer.verdict == "does not hold" or (answer.verdict == "holds" and answer.claim.expect != "equal")
    ]


def power(rng: np.random.Generator, claims: Claims, shift: float, reports: int) -> dict[str, float]:
    """The share of right verdicts of two claims of one pair of models, where the VAE's scores are lower by a shift."""
    asked = ("vae_midpoints_decode_better", "vae_codes_follow_the_prior", "vae_samples_better_from_the_prior")
    right = Counter[str]()
    for _ in range(reports):
        for answer in draw_answers(rng, claims, "normal", {"vae": -shift}):
            right[answer.claim.name] += answer.claim.name in asked and answer.verdict == "holds"
    return {name: right[name] / reports for name in asked}


def _draw_row(rng: np.random.Generator, model: str, index: int, kind: Kind, shift: float, folder: Path) -> Row:
    label = model if not index else f"{model} ({index})"
    runs, measured = [], {}
    is_lost, seeds = "lost" in kind and model in LOSING, seeds_of(kind)
    names = _needed()
    by_score = {
        name: _draw_score(rng, model, kind) + shift * SPREAD for name in sorted({_root(name) for name in names})
    }
    # the same images for every row, and how well the family does on each of them: 0 over all images that there are
    of_images = 5 * np.sin(np.arange(IMAGES)) + rng.standard_normal(IMAGES)
    for seed in range(seeds):
        path = folder / label / f"seed={seed}"
        lost = is_lost and rng.random() < LOST
        runs.append(Run(path, {"seed": seed, "status": "diverged" if lost else "finished"}, []))
        if lost:
            continue
        scores = {}
        for name in names:
            own = SPREAD * np.sqrt(1 - CORRELATION**2) * rng.standard_normal() if name != _root(name) else 0.0
            share = CORRELATION if name != _root(name) else 1.0
            value = shift * SPREAD + share * (by_score[_root(name)][seed] - shift * SPREAD) + own
            scores[name] = float(value if name in BY_DIFFERENCE else np.exp(value))
        if kind == "shared images":
            scores["ais"] = _share_images(rng, path, scores["ais"] + of_images)
        measured[seed] = scores
    return Row(label, model, f"c{index}", runs, measured=measured)


def _draw_score(rng: np.random.Generator, model: str, kind: Kind) -> Array:
    """The score of each seed, of mean 0 on the scale of its claims."""
    seeds = seeds_of(kind)
    if kind.startswith("skewed"):
        if model in SKEWED:
            return SPREAD * (rng.exponential(size=seeds) - 1)
        return TIGHT * rng.standard_normal(seeds)
    return SPREAD * rng.standard_normal(seeds)


def _share_images(rng: np.random.Generator, path: Path, values: Array) -> float:
    """Writes AIS by image, and returns its mean."""
    values = values + 0.1 * rng.standard_normal(IMAGES)
    (path / "scores").mkdir(parents=True)
    write_examples(path / "scores" / "quick-p.json", {"ais": values})
    return float(values.mean())


@lru_cache
def _needed() -> list[str]:
    """Every score that genbench's claims need, in the order of the page."""
    needed = set[str]()
    for claim in load_claims().claims:
        for specification in claim.specifications:
            needed |= names_in(specification.left) | names_in(specification.right)
    return [name for name in BY_NAME if name in needed]


def _root(name: str) -> str:
    """The score that a score under another choice of the ruler is correlated with."""
    for ending in ("_random", "_straight", "_centred", "_gaussian", "_quarter"):
        name = name.replace(ending, "")
    return name


if __name__ == "__main__":
    main()
