"""Replay's test finds shifts, and raises few false alarms whatever the scores have in common."""

import numpy as np
import pytest
import torch

from benchmarks.studies.replay_power import SCORES, share


@pytest.mark.parametrize("correlation", [0.0, 0.6, 1.0])
def test_false_alarms_are_rare_and_a_shift_of_every_score_is_found(correlation: float) -> None:
    rng = np.random.default_rng(torch.initial_seed() % 2**32)
    assert share(rng, correlation, 0, SCORES, draws=400) < 0.085, "5%, and three standard errors"
    assert share(rng, correlation, 4, SCORES, draws=200) > 0.45
    assert share(rng, correlation, 8, SCORES, draws=100) > 0.9
