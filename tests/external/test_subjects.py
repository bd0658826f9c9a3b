"""Subjects from elsewhere: the same scores as the model itself has, and a reason for each score that they cannot have."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.distributions import Normal as Gaussian

import benchmarks
from benchmarks.errors import UserError
from benchmarks.external.about import About
from benchmarks.external.python_models import of_python
from benchmarks.external.scoring import check_file
from benchmarks.external.subjects import of_submission
from benchmarks.external.submission import read_submission
from benchmarks.external.words import Words
from benchmarks.records.runs import ScoreSheet
from benchmarks.scoring.bench import Bench
from benchmarks.scoring.restore import load_model
from models.game import GenerativeModel
from tests.conftest import composed
from tests.external.fakes import SAMPLES, TINY, Decoder, bench


@pytest.fixture(scope="module")
def tiny() -> Bench:
    return bench()


@pytest.fixture(scope="module")
def vae() -> GenerativeModel:
    return load_model(OmegaConf.to_container(composed("model=vae", "network=mlp_narrow").model, resolve=True))  # type: ignore[arg-type]


def numbers(sheet: ScoreSheet) -> dict[str, float]:
    return {name: value for name, value in sheet.values.items() if value is not None}


def reason(sheet: ScoreSheet, name: str) -> Any:
    return next(score.detail.get("reason") for score in sheet.scores if score.name == name)


def test_submitted_arrays_get_the_scores_of_the_model_that_made_them(
    tiny: Bench, vae: GenerativeModel, tmp_path: Path
) -> None:
    """Bit by bit: samples, reconstructions, codes and draws of q(z|x) are all that these rulers see of a model."""
    with vae.scoring():
        own = tiny.scorer.score(vae, tiny.data)
        generator = torch.Generator().manual_seed(tiny.scorer.protocol.seed)
        size = tiny.scorer.protocol.batch_size
        samples = torch.cat([vae.sample(min(size, SAMPLES - start), generator) for start in range(0, SAMPLES, size)])
        batches = list(tiny.data.batches("test", size))
        codes = torch.cat([vae.encode(x) for x in batches])
        restored = torch.cat([vae.reconstruct(x) for x in batches])
    np.savez(tmp_path / "a.npz", samples=samples, reconstructions=restored, latents=codes)
    submission = read_submission(tmp_path / "a.npz", tiny.data.shape)
    subject = of_submission(submission, tiny.data, "test", None)
    with subject.scoring():
        sheet = tiny.scorer.score(subject, tiny.data)
    expected = numbers(own)
    same = {"fid", "fid_infinity", "recon_mse", "recon_psnr", "recon_ssim", "reconstruction_fid", "active_units"}
    assert {name: numbers(sheet)[name] for name in same} == {name: expected[name] for name in same}
    assert numbers(sheet).keys() == same | {"posterior_mmd"}
    assert "no bound" in reason(sheet, "elbo")


def test_codes_alone_are_taken_for_points(tiny: Bench, tmp_path: Path) -> None:
    """Codes that are draws of the prior are as near to it as the prior is to itself."""
    n = len(tiny.data.splits["test"])
    np.savez(
        tmp_path / "a.npz", samples=torch.rand(SAMPLES, 8, 8), latents=torch.randn(n, 4), latent_draws=torch.rand(n, 4)
    )
    submission = read_submission(tmp_path / "a.npz", tiny.data.shape)
    subject = of_submission(submission, tiny.data, "test", None)
    x = next(tiny.data.batches("test", 7))
    torch.testing.assert_close(subject.encode(x.flip(0)), torch.from_numpy(submission.latents[:7]).flip(0))  # type: ignore[attr-defined, index]
    torch.testing.assert_close(subject.draw_code(x), torch.from_numpy(submission.latent_draws[:7]))  # type: ignore[attr-defined, index]
    with pytest.raises(ValueError, match="those of the test split alone were"):
        subject.encode(next(tiny.data.batches("train", 3)))  # type: ignore[attr-defined]


def test_binarised_data_take_a_submission(tmp_path: Path) -> None:
    binary = bench("datamodule.binarize=dynamic")
    test = binary.data.splits["test"]
    np.savez(tmp_path / "a.npz", samples=np.resize(test, (SAMPLES, 1, 8, 8)) > 128, reconstructions=test[::-1])
    words = Words("samples", (tmp_path / "a.npz",), "mine", About())
    remarks = check_file(words, 0, binary, "").row.remarks
    assert any("in the order of the split" in remark for remark in remarks)


def test_of_more_samples_a_pinned_part_is_scored(tiny: Bench, tmp_path: Path) -> None:
    ordered = np.repeat(np.arange(10, dtype=np.float32) / 10, 10)[:, None, None] * np.ones((1, 8, 8), np.float32)
    np.save(tmp_path / "a.npy", ordered)
    subject = of_submission(read_submission(tmp_path / "a.npy", (1, 8, 8)), tiny.data, "test", None)
    drawn: Tensor = subject.drawn(50)  # type: ignore[attr-defined]
    assert len(drawn.unique()) > 7, "a file that is sorted by class is not cut to its first classes"
    torch.testing.assert_close(drawn, subject.drawn(50))  # type: ignore[attr-defined]
    torch.testing.assert_close(subject.drawn(100), torch.from_numpy(ordered)[:, None])  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="100 samples were submitted, and 101 are needed"):
        subject.drawn(101)  # type: ignore[attr-defined]


# Python objects


def score(model: Any, *words: str, **options: Any) -> ScoreSheet:
    return benchmarks.score(model, "digits", overrides=[*TINY, *words], accelerator="cpu", **options)


def test_a_model_of_genbench_has_the_same_scores_as_an_object(tiny: Bench, vae: GenerativeModel) -> None:
    with vae.scoring():
        own = tiny.scorer.score(vae, tiny.data)
    vae.train()
    assert score(vae) == own
    assert vae.training


class Pixels:
    """Independent Gaussian pixels, in numpy and in [-1, 1]."""

    def sample(self, n: int) -> Any:
        return np.random.normal(0, 0.3, (n, 8, 8, 1)).clip(-1, 1)

    def log_prob(self, x: Tensor) -> Tensor:
        return Gaussian(0.5, 0.15).log_prob(x).flatten(1).sum(1)


def test_an_object_with_log_prob_has_an_exact_density(tiny: Bench) -> None:
    sheet = score(Pixels())
    rng = torch.Generator().manual_seed(4)
    x = torch.cat(list(tiny.data.batches("test", 4096)))
    x = ((x * 255).round() + torch.rand(x.shape, generator=rng) * (1 - 2**-16)) / 256
    expected = float(Pixels().log_prob(x).double().mean())
    assert numbers(sheet)["log_density"] == pytest.approx(expected, rel=1e-3)
    assert "exact" in reason(sheet, "elbo")
    assert score(Pixels()).values == sheet.values, "the global generators of numpy and torch are seeded"
    _, form, remarks = of_python(Pixels(), tiny.data)
    assert form is not None
    assert (form.layout, form.bounds) == ("NHWC", (-1, 1))
    assert remarks == []


class Autoencoder(Decoder):
    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


class NumpyDecoder:
    latent_dim = 3

    def decode(self, z: Tensor) -> Any:
        return np.tile(z.numpy()[:, :1, None, None] ** 2 % 1, (1, 1, 8, 8))


def test_capabilities_follow_from_methods(tiny: Bench) -> None:
    subject, _, _ = of_python(Autoencoder(), tiny.data)
    has = {
        name for name in ("sample", "decode", "encode", "draw_code", "reconstruct", "elbo") if hasattr(subject, name)
    }
    assert has == {"sample", "decode", "encode", "draw_code", "reconstruct"}
    assert subject.prior.dim == 2  # type: ignore[attr-defined]
    sheet = score(NumpyDecoder())
    assert "fid" in numbers(sheet)
    subject, _, _ = of_python(NumpyDecoder(), tiny.data)
    assert not hasattr(subject, "decode")
    assert "gives no gradients" in next(iter(subject.lacking.values()))


class Wrong:
    def __init__(self, **methods: Any) -> None:
        self.__dict__.update(methods)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("model.pt", "model is the path 'model.pt'; give the object itself"),
        (Wrong(), "has none of sample, decode, encode, reconstruct, log_prob"),
        (Wrong(sample=lambda n: torch.rand(n, 3, 8, 8)), "the number of channels is not 1"),
        (Wrong(sample=lambda n: torch.rand(n + 1, 1, 8, 8)), r"gives \(257, 1, 8, 8\) for 256 samples"),
        (Wrong(sample=lambda n: torch.full((n, 1, 8, 8), torch.nan)), "NaN or infinity in 256 of 256"),
        (Wrong(sample=lambda n: [1, 2]), "sample gives a list; expected a tensor"),
        (Wrong(sample=lambda n: 1 / 0), "does not sample .ZeroDivisionError"),
        (Wrong(sample=lambda n: 9 * torch.randn(n, 1, 8, 8)), "state range"),
        (Wrong(decode=lambda z: z), "dimension of the latents is not known"),
        (Wrong(encode=lambda x: (x, x)), "encode gives a tuple"),
        (Wrong(encode=lambda x: x), "encode gives .4, 1, 8, 8. for 4 examples"),
    ],
)
def test_an_object_that_does_not_fit_is_one_line(model: Any, said: str, tiny: Bench) -> None:
    with pytest.raises(UserError, match=said) as error:
        of_python(model, tiny.data)
    assert "\n" not in str(error.value)


def test_infinity_is_no_grey_value(tiny: Bench) -> None:
    subject, _, _ = of_python(Wrong(sample=lambda n: torch.rand(n, 1, 8, 8) / (n == 256)), tiny.data)
    assert subject.sample(2, torch.Generator()).isnan().all()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("most", "stated", "has_fid"), [(1.5, None, False), (1.0005, None, True), (1.5, (0, 1), True)])
def test_values_beyond_the_range_that_was_found_are_not_clipped_in_silence(
    most: float, stated: tuple[float, float] | None, has_fid: bool
) -> None:
    """The first 256 samples lie within 0 to 1."""
    drawn = 0

    def sample(n: int) -> Tensor:
        nonlocal drawn
        drawn += n
        return torch.rand(n, 1, 8, 8).index_fill(0, torch.tensor(n - 1), most if drawn > 256 else 1.0)

    sheet = score(Wrong(sample=sample), range=stated)
    assert (sheet.values["fid"] is not None) == has_fid
    reason = next(score.detail.get("reason", "") for score in sheet.scores if score.name == "fid")
    assert has_fid or "to 1.5, and the first that were tried lie within 0 to 1; state the range" in reason


def test_an_object_is_recorded_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Autoencoder()
    sheet = score(model, name="mine", record=tmp_path, about={"settings": {"width": 2}, "source": "a test"})
    run = benchmarks.load(tmp_path)
    assert run.scores == sheet.values
    assert run.record["external"]["file"]["name"] == "Autoencoder"
    assert set(run.pictures) == {
        "samples",
        "reconstructions",
        "interpolations",
        "code interpolations",
        "traversals",
        "nearest images",
        "training neighbours",
    }
    assert score(model, name="mine", record=tmp_path, about={"settings": {"width": 2}}) == sheet
    with pytest.raises(UserError, match="holds another submission than Autoencoder"):
        score(Autoencoder(), name="mine", record=tmp_path, about={"settings": {"width": 2}})
    with pytest.raises(UserError, match="scored as seed=0 already"):
        score(model, name="mine", record=tmp_path, about={"settings": {"width": 2}}, seed=1)
    with pytest.raises(UserError, match="name and record belong together"):
        score(model, name="mine")
    with pytest.raises(UserError, match="did you mean settings"):
        score(model, name="mine", record=tmp_path, about={"setings": {}})
    with pytest.raises(UserError, match="did you mean digits"):
        benchmarks.score(model, "digitss")


def test_a_module_is_scored_in_evaluation_mode(tiny: Bench) -> None:
    class Noisy(Decoder):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.9)

        def decode(self, z: Tensor) -> Tensor:
            return super().decode(self.dropout(z))

    model = Noisy()
    subject, _, _ = of_python(model, tiny.data)
    z = torch.randn(5, 2)
    with subject.scoring():
        torch.testing.assert_close(subject.decode(z), Decoder.decode(model, z))  # type: ignore[attr-defined]
    assert model.training
