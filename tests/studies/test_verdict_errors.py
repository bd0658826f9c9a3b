"""Where every family is alike, no claim is decided more often than it says."""

import numpy as np
import pytest
import torch

from benchmarks.reporting.claim_files import load_claims
from benchmarks.studies.verdict_errors import KINDS, Kind, draw_answers, power, wrong_verdicts


@pytest.mark.parametrize("kind", KINDS)
def test_families_that_are_alike_get_no_verdict(kind: Kind) -> None:
    rng, claims = np.random.default_rng(torch.initial_seed() % 2**32), load_claims()
    wrong = sum(bool(wrong_verdicts(draw_answers(rng, claims, kind))) for _ in range(40))
    assert wrong <= 6, "5% of 40 reports, and three standard errors"


def test_families_that_are_far_apart_get_their_verdict() -> None:
    rng, claims = np.random.default_rng(torch.initial_seed() % 2**32), load_claims()
    assert min(power(rng, claims, 16.0, 15).values()) > 0.8
