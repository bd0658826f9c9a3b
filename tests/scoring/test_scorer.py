"""Scoring a model under a protocol: what fails leaves its reason, and the rest alone."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from benchmarks.metrics.base import Column, Ruler, Subject, Value
from benchmarks.records import columns as records
from benchmarks.records.runs import Score, ScoreSheet, read_sheets, write_sheet
from benchmarks.scoring.baselines import FittedGaussian, RealTrain
from benchmarks.scoring.protocol import Protocol
from benchmarks.scoring.restore import load_model
from benchmarks.scoring.scorer import Scorer
from datamodules.base import DataModule
from datamodules.digits import Digits
from datamodules.mixtures import GaussianMixture, ring
from models.game import GenerativeModel
from tests.conftest import ROOT, composed


def digits(**options: Any) -> Digits:
    return Digits(name="digits", batch_size=16, **options)


def scorer(*overrides: str, name: str = "quick", encoder: str | None = "digits-cnn") -> Scorer:
    """The protocol as it is, but for sizes of seconds."""
    small = (
        "protocol.samples=300",
        "protocol.metrics.ais.examples=4",
        "protocol.metrics.ais.temperatures=12",
        "protocol.metrics.ais.chains=3",
        # an estimate of seconds has not converged; here it is to have a number
        "protocol.metrics.ais.tolerance=1000",
        "protocol.metrics.ais.tuning_tolerance=1000",
        "protocol.metrics.inversion.examples=8",
        "protocol.metrics.inversion.steps=12",
        "protocol.metrics.iwae.examples=20",
        "protocol.metrics.anomaly.examples=10",
        "protocol.metrics.anomaly.inversion.steps=12",
    )
    described = OmegaConf.to_container(composed(f"protocol={name}", *small, *overrides).protocol, resolve=True)
    assert isinstance(described, dict)
    made = Protocol.from_config({str(k): v for k, v in described.items()}, encoder)
    return Scorer(made, torch.device("cpu"))


def model(name: str, *overrides: str) -> GenerativeModel:
    config = composed(f"model={name}", "network=mlp_narrow", *overrides)
    torch.manual_seed(0)
    return load_model(OmegaConf.to_container(config.model, resolve=True))


def scored(name: str, data: DataModule | None = None, made: Scorer | None = None, *overrides: str) -> ScoreSheet:
    subject = model(name, *overrides)
    with subject.scoring():
        return (made or scorer()).score(subject, data or digits())


def by_name(sheet: ScoreSheet) -> dict[str, Score]:
    return {score.name: score for score in sheet.scores}


OF_FEATURES = {column.name for metric in records.OF_FEATURES for column in records.columns_of(metric)}
FEATURES = {"fid", "kid", "precision", "recall", "density", "coverage"}
CODES = {
    "fid_fitted",
    "fid_fitted_gaussian",
    "reconstruction_fid",
    "moments_share",
    "shape_share",
    "interpolation_fid",
    "interpolation_fid_straight",
    "interpolation_fid_centred",
    "posterior_mmd",
    "active_units",
}
DECODER = {
    *("ais", "ais_quarter", "ais_rise", "ais_gap", "ais_gap_real", "ais_sigma", "bits_per_dim"),
    *("inversion_mse", "inversion_floor", "inversion_norm", "inversion_psnr", "inversion_ssim"),
}
BOUND = {"elbo", "elbo_reconstruction", "elbo_kl", "elbo_bits_per_dim", "iwae"}
ENCODER = {"recon_mse", "recon_psnr", "recon_ssim"} | CODES


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ae", FEATURES | DECODER | ENCODER),
        ("vae", FEATURES | DECODER | ENCODER | BOUND),
        ("gan", FEATURES | DECODER),
        ("wgan", FEATURES | DECODER),
        ("wgan_gp", FEATURES | DECODER),
    ],
)
def test_every_family_has_every_score_that_mathematics_allows_it(name: str, expected: set[str]) -> None:
    sheet = scored(name)
    found = {score.name for score in sheet.scores if score.value is not None}
    second = {f"{name}_random" for name in expected & OF_FEATURES}
    # an untrained autoencoder may have no gap between its prior and its codes to share
    shares = {name for name in expected | second | found if name.removesuffix("_random").endswith("_share")}
    assert found - {"fid_infinity", "fid_infinity_random"} - shares == (expected | second) - shares
    assert sheet.status == "scored"
    for score in sheet.scores:
        assert (score.value is None) == ("reason" in score.detail), score
        assert "broke_down" not in score.detail, score


@pytest.mark.parametrize("name", ["vae", "gan"])
def test_every_score_is_identical_to_the_bit_when_computed_twice(name: str) -> None:
    assert scored(name) == scored(name)


def test_the_row_of_real_training_data_shows_what_memorisation_looks_like() -> None:
    metrics = [f"+metric@protocol.metrics.{name}={name}" for name in ("memorisation", "mind")]
    made = scorer(*metrics, "protocol.samples=400", *(f"~protocol.metrics.{name}" for name in ("ais", "inversion")))
    real, gaussian = (by_name(made.score(make(digits()), digits())) for make in (RealTrain, FittedGaussian))
    for end in ("", "_random"):
        assert real[f"copied_share{end}"].value == 1
        assert real[f"authenticity{end}"].value == 0
        assert (real[f"c_t{end}"].value or 0) < -3
        assert 0.2 < real[f"authenticity{end}"].detail["held_out"] < 0.8
        assert 0 < (real[f"mind{end}"].value or 0) < (gaussian[f"mind{end}"].value or 0)
        assert (gaussian[f"copied_share{end}"].value or 0) < 0.1
        assert (gaussian[f"c_t{end}"].value or 0) > 0
    assert real["c_t"].detail["encoder"] == "digits-cnn"
    assert real["c_t_random"].detail["encoder"] == "random-cnn"


@pytest.mark.parametrize("data", ["mnist", "fashion_mnist"])
def test_quick_has_the_metrics_of_the_published_records(data: str) -> None:
    """A metric that is added to quick would leave the records without a protocol that scores more runs like them."""
    (path,) = (ROOT / "docs" / "records" / "families" / data / "_baselines").glob("*/real train")
    (sheet,) = read_sheets(path)
    assert set(composed("protocol=quick").protocol.metrics) == set(sheet.protocol["metrics"])


def test_a_left_out_class_gives_the_scores_of_anomaly() -> None:
    sheet = by_name(scored("vae", digits(leave_out=4)))
    for name in ("auroc_reconstruction", "auroc_inversion", "auroc_bound"):
        assert 0 <= (sheet[name].value or math.nan) <= 1
        assert sheet[name].detail["left_out"] == 4
    assert by_name(scored("gan", digits(leave_out=4)))["auroc_inversion"].value is not None


def test_dequantised_data_is_scored_in_bits() -> None:
    sheet = by_name(scored("vae", digits(dequantize=True)))
    for name in ("bits_per_dim", "elbo_bits_per_dim"):
        value = sheet[name].value
        assert value is not None
        assert value > 0
    assert by_name(scored("gan", digits(dequantize=True)))["bits_per_dim"].value is not None


def test_points_of_a_known_density_have_the_scores_of_known_truth() -> None:
    data = GaussianMixture(ring(8, 1.0), 0.01, 500, 400, name="ring", batch_size=16)
    made = scorer("datamodule=ring", encoder=None)
    sheet = by_name(scored("vae", data, made, "datamodule=ring"))
    for name in ("modes", "high_quality", "mode_kl", "wasserstein2", "sample_log_density", "ais", "inversion_mse"):
        assert sheet[name].value is not None, sheet[name]
    assert sheet["fid"].detail["reason"] == "points have no feature encoder"


def test_fewer_samples_than_dimensions_cost_fid_alone() -> None:
    sheet = by_name(scored("ae", made=scorer("protocol.samples=30")))
    assert sheet["fid"].value is None
    assert "30 samples for 32 dimensions: FID needs more samples than dimensions" in sheet["fid"].detail["reason"]
    assert sheet["kid"].value is not None
    assert sheet["recall"].value is not None
    assert sheet["reconstruction_fid"].value is not None


class Broken:
    """Samples of which one pixel is no number; reconstructions are fine."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        x = torch.rand(n, 1, 8, 8, generator=generator)
        x[0, 0, 3, 3] = math.nan
        return x

    def reconstruct(self, x: Tensor) -> Tensor:
        return x * 0.9


def test_samples_that_are_no_numbers_diverge_and_the_other_columns_survive() -> None:
    sheet = scorer().score(Broken(), digits())
    assert sheet.status == "diverged"
    scores = by_name(sheet)
    for name in FEATURES:
        assert scores[name].value is None
        assert scores[name].detail["reason"] == "the model's samples are not finite numbers"
    assert scores["recon_mse"].value is not None


class Failing(Ruler):
    """A metric with a fault of its own, and one whose detail holds what strict JSON does not."""

    columns: ClassVar[tuple[Column, ...]] = (
        Column("failing", "", True),
        Column("odd", "", True),
        Column("said", "", True),
    )

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def why_not(self, subject: Subject) -> str | None:
        return None

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        if self.fails:
            raise KeyError("lost")
        odd = Value(math.nan, 3, {"standard_error": math.nan, "rounds": [1.0, math.inf], "k": 2})
        return {"failing": Value(1.0, 3), "odd": odd, "said": "a reason of its own"}


def test_a_metric_that_fails_leaves_the_others_alone() -> None:
    made = scorer()
    rulers = {"failing": Failing(fails=True), "reconstruction": made.protocol.metrics["reconstruction"]}
    object.__setattr__(made.protocol, "metrics", rulers)
    scores = by_name(made.score(Broken(), digits()))
    assert scores["failing"].detail == {"reason": "KeyError: 'lost'", "broke_down": True}
    assert scores["recon_mse"].value is not None


class Counting(Ruler):
    """The number of its measurements so far."""

    columns: ClassVar[tuple[Column, ...]] = (Column("fid", "", False),)
    needs_features = True
    measured = 0

    def measure(self, subject: Subject) -> Mapping[str, Value | str]:
        self.measured += 1
        return {"fid": Value(float(self.measured), 1, {"encoder": subject.encoder.name})}


@pytest.mark.parametrize(("second", "times"), [("digits-cnn", 1), ("random-cnn", 2)])
def test_an_encoder_that_is_its_own_second_opinion_is_asked_once(second: str, times: int) -> None:
    made = scorer(f"protocol.second_encoder={second}")
    ruler = Counting()
    object.__setattr__(made.protocol, "metrics", {"fid": ruler})
    scores = by_name(made.score(Broken(), digits()))
    assert ruler.measured == times
    assert [scores[name].value for name in ("fid", "fid_random")] == [1, times]
    assert scores["fid_random"].detail["encoder"] == second


def test_a_number_that_is_none_is_a_reason_and_the_sheet_can_be_written(tmp_path: Path) -> None:
    made = scorer()
    object.__setattr__(made.protocol, "metrics", {"failing": Failing()})
    sheet = made.score(Broken(), digits())
    scores = by_name(sheet)
    assert scores["odd"].value is None
    assert scores["odd"].detail == {"standard_error": None, "rounds": [1.0, None], "k": 2, "reason": "is nan"}
    assert scores["said"].detail == {"reason": "a reason of its own"}
    assert json.loads(write_sheet(tmp_path, sheet).read_text())["status"] == "scored"


def test_each_metric_is_told_of_with_its_seconds() -> None:
    seconds: dict[str, float] = {}
    made = scorer()
    made.score(Broken(), digits(), seconds.__setitem__)
    assert list(seconds) == list(made.protocol.metrics)
    assert min(seconds.values()) >= 0


def test_what_decides_the_numbers_decides_the_protocols_id() -> None:
    ids = [
        scorer().id,
        scorer("protocol.samples=301").id,
        scorer("protocol.seed=1").id,
        scorer("protocol.metrics.ais.temperatures=13").id,
        scorer("protocol.split=val").id,
        scorer(name="full").id,
        scorer("protocol.second_encoder=null").id,
    ]
    assert len(set(ids)) == len(ids)
    assert scorer("protocol.name=other").id == ids[0]
    assert scorer("protocol.encoder_weights=somewhere").id == ids[0]


# -------------------------------------------------------------------------------------------------- calibration rows


def test_the_fitted_gaussian_has_the_training_datas_moments() -> None:
    data = GaussianMixture(ring(8, 1.0), 0.1, 5000, 100, name="ring", batch_size=16)
    x = torch.cat(list(data.batches("train", 512)))
    drawn = FittedGaussian(data).sample(200_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(0), x.mean(0), rtol=0, atol=0.01)
    torch.testing.assert_close(torch.cov(drawn.T), torch.cov(x.T), rtol=0, atol=0.01)


def test_a_fitted_gaussian_of_pixels_is_in_range_and_has_their_correlations() -> None:
    """Also where some pixels never change, and the covariance is singular."""
    data = digits()
    drawn = FittedGaussian(data).sample(4000, torch.Generator().manual_seed(1))
    assert drawn.shape == (4000, 1, 8, 8)
    assert 0 <= float(drawn.min()) <= float(drawn.max()) <= 1
    x = torch.cat(list(data.batches("train", 512))).flatten(1)
    bright = x.var(0) > 0.05
    ours, theirs = (torch.corrcoef(images.flatten(1)[:, bright].T).flatten() for images in (drawn, x))
    assert float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1]) > 0.95
    assert float(drawn.flatten(1)[:, x.var(0) == 0].abs().max()) < 1e-5
