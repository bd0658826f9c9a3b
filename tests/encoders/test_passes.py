"""The passes of small encoders against the layers that they stand for."""

import pytest
import torch
from torch.nn import functional as F

from benchmarks.encoders import passes
from benchmarks.encoders.base import FOLDER, load_encoder
from benchmarks.encoders.passes import halved, in_pieces
from tests.encoders.fakes import CPU, images


@pytest.mark.parametrize("shape", [(3, 2, 6, 8), (1, 1, 7, 5), (2, 3, 2, 9)])
def test_halved_images_are_those_of_a_maximum_pool(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert torch.equal(halved(x), F.max_pool2d(x, 2))


def test_pieces_hold_so_many_pixels_and_keep_the_order() -> None:
    sizes = list[int]()

    def network(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return part.flatten(1)

    for side, expected in ((100, [4, 4, 1]), (300, [1] * 9), (20, [9])):
        sizes.clear()
        x = torch.randn(9, 2, side, side)
        assert torch.equal(in_pieces(network, x), x.flatten(1))
        assert sizes == expected


@pytest.mark.parametrize("name", [*sorted(path.stem for path in FOLDER.glob("*.json")), "random-cnn"])
def test_features_do_not_depend_on_the_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load_encoder(name, None, CPU)
    side = 8 if name.startswith("digits") else 28
    x = images(30, 1, side, side)
    together = encoder(x)
    monkeypatch.setattr(passes, "PIXELS", 7 * side**2)
    torch.testing.assert_close(encoder(x), together)
