"""The questions that people ask of generative models: they group the verdicts, and the page opens with their answers."""

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.records.columns import BY_NAME, COST, OTHER, SECOND
from benchmarks.reporting.claims import Claim
from benchmarks.reporting.quantities import names_in


class Question(NamedTuple):
    """A question.

    Args:
        title: in a word or two.
        parts: of the leaderboard whose scores answer the question.
        columns: the scores that answer the question in the opening of the page; the first one that both models have.
        better: what the better model has, in words.
    """

    title: str
    parts: tuple[str, ...]
    columns: tuple[str, ...]
    better: str


QUESTIONS = (
    Question("Samples", ("Samples", SECOND), ("fid", "wasserstein2", "modes"), "the better samples"),
    # the encoder's reconstruction if both have one; every decoder can be searched
    Question("Reconstruction", ("Reconstruction",), ("recon_mse", "inversion_mse"), "the closer reconstructions"),
    Question("Latent space", ("The detour",), ("posterior_mmd",), "the codes nearer to the prior"),
    Question("Likelihood", ("Likelihood",), ("ais", "elbo"), "the higher likelihood"),
    Question("Cost", (COST,), ("images_per_second",), "the faster training"),
)
OTHER_QUESTIONS = "Other questions"


def question_of(claim: Claim) -> str:
    """The title of the question that a claim belongs to. A claim that needs a score of the latent space is about the latter."""
    names = sorted(names_in(claim.quantity) | names_in(claim.right_quantity or claim.quantity))
    parts = {BY_NAME[name].part if name in BY_NAME else OTHER for name in names}
    titles = [question.title for question in QUESTIONS if parts & set(question.parts)]
    return "Latent space" if "Latent space" in titles else titles[0] if titles else OTHER_QUESTIONS


def titles_in_order(titles: Sequence[str]) -> list[str]:
    """Titles of questions in the order of the page, each once."""
    order = [*(question.title for question in QUESTIONS), OTHER_QUESTIONS]
    return sorted(set(titles), key=order.index)
