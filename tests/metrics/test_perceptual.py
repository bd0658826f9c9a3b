"""LPIPS through torchmetrics, on weights made here."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import squeezenet1_1

from benchmarks.metrics.perceptual import LPIPS, prepare
from tests.metrics.fakes import FakeData, FakeReconstructor, FakeSampler, subject


def test_small_grey_images_are_made_what_the_network_takes() -> None:
    assert prepare(torch.rand(2, 1, 28, 28)).shape == (2, 3, 64, 64)
    assert prepare(torch.rand(2, 3, 96, 30)).shape == (2, 3, 96, 64)
    large = torch.rand(2, 3, 80, 80)
    assert torch.equal(prepare(large), large)


def test_lpips_is_zero_for_what_is_equal_and_grows_with_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a network of random weights, in the place where torchvision looks for the trained ones."""
    (tmp_path / "checkpoints").mkdir()
    torch.save(squeezenet1_1().state_dict(), tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    class Noisy:
        def __init__(self, noise: float) -> None:
            self.noise = noise

        def reconstruct(self, x: Tensor) -> Tensor:
            return (x + self.noise * torch.randn_like(x)).clamp(0, 1)

    data = FakeData(torch.rand(6, 1, 28, 28))
    ruler = LPIPS(network="squeeze")
    values = [ruler.measure(subject(Noisy(noise), data, batch_size=4))["recon_lpips"] for noise in (0.0, 0.05, 0.5)]
    assert values[0].value == pytest.approx(0.0, abs=1e-6)
    assert values[0].value < values[1].value < values[2].value
    assert (values[0].n, values[0].detail) == (6, {"network": "squeeze"})


def test_weights_that_cannot_be_fetched_are_a_reason_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    told = r"squeeze weights could not be downloaded \(no network\); put them into .*, from https://.*/squeezenet1_1-.*\.pth"
    with pytest.raises(OSError, match=told):
        LPIPS(network="squeeze").measure(subject(FakeReconstructor(), FakeData(torch.rand(3, 1, 28, 28))))


def test_it_applies_to_images_and_encoders() -> None:
    assert LPIPS().why_not(subject(FakeReconstructor(), FakeData(torch.rand(3, 2)))) == "points are not images"
    no_encoder = LPIPS().why_not(subject(FakeSampler((1, 8, 8)), FakeData(torch.rand(3, 1, 8, 8))))
    assert no_encoder == "the model has no encoder"
    with pytest.raises(ValueError, match="network is 'resnet'"):
        LPIPS(network="resnet")  # type: ignore[arg-type]
