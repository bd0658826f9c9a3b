"""The encoder of pinned random weights."""

import torch

from benchmarks.encoders.base import load_encoder
from benchmarks.encoders.random import SHA256
from benchmarks.metrics.base import to_uint8
from benchmarks.metrics.frechet import fid_of
from datamodules.digits import Digits


def test_the_random_encoder_is_pinned_and_takes_every_small_image() -> None:
    encoder = load_encoder("random-cnn", None, torch.device("cpu"))
    assert encoder.checksum.startswith(SHA256[:16])
    for shape in [(1, 8, 8), (1, 28, 28), (3, 32, 32)]:
        images = torch.randint(256, (5, *shape), dtype=torch.uint8)
        features = encoder(images)
        assert features.shape == (5, encoder.dim)
        torch.testing.assert_close(
            features, torch.cat([encoder(image[None]) for image in images]), rtol=1e-4, atol=1e-4
        )
        assert encoder.why_not(shape) is None
    assert "up to 4 channels" in (encoder.why_not((5, 8, 8)) or "")
    assert encoder.why_not((1, 4, 4)) is not None


def test_the_random_encoder_tells_digits_from_noise_and_from_a_mean() -> None:
    """A feature space that no class has shaped still orders what anybody would order."""
    encoder = load_encoder("random-cnn", None, torch.device("cpu"))
    data = Digits(name="digits", batch_size=64)
    train, test = (to_uint8(torch.cat(list(data.batches(split, 500)))) for split in ("train", "test"))
    noise = torch.randint(256, test.shape, dtype=torch.uint8)
    blurred = test.float().mean(0, keepdim=True).expand_as(test).to(torch.uint8)
    reference = encoder(test)
    real, mean, random = (fid_of(reference, encoder(images)) for images in (train, blurred, noise))
    assert real < 0.1 * mean
    assert real < 0.1 * random
