"""Small convolutional classifiers for small images; their penultimate layer is the feature space.

An Inception network was trained on photographs of 299 pixels and says little about an 8x8 digit. A classifier that was
trained on the training split of the data sees the differences between classes (Lucic et al. 2018 used one for MNIST too).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from benchmarks.encoders.passes import halved, in_pieces
from benchmarks.errors import UserError


class Classifier(nn.Module):
    """Two stages of two 3x3 convolutions, each halving the image, then features (B, dim), then class logits.

    Args:
        shape: (C, H, W), H and W at least 8.
        dim: features.
        width: channels of the first stage; the second has twice as many.
        classes: outputs.
    """

    def __init__(self, shape: Sequence[int], dim: int, width: int, classes: int = 10) -> None:
        super().__init__()
        c, h, w = shape
        self.features = nn.Sequential(
            *_stage(c, width),
            *_stage(width, 2 * width),
            nn.Flatten(),
            nn.Linear(2 * width * (h // 4) * (w // 4), dim),
            nn.ReLU(),
        )
        self.classify = nn.Sequential(nn.Dropout(0.3), nn.Linear(dim, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Images in [0, 1], (B, C, H, W), to logits (B, classes)."""
        logits: Tensor = self.classify(self.features(x))
        return logits


class ConvEncoder:
    """The features of a trained `Classifier`, with the card that says how it was trained."""

    resizing = "none"

    def __init__(self, card: dict[str, Any], classifier: Classifier, checksum: str, device: torch.device) -> None:
        self.name, self.dim, self.checksum = card["name"], card["dim"], checksum
        self.card = card
        classifier = classifier.eval().requires_grad_(False).to(device)
        self._layers, self._classify = list(classifier.features), classifier.classify
        # with its index: "cuda" alone can mean another GPU after Lightning has chosen one
        self.device = next(classifier.parameters()).device

    @classmethod
    def from_files(cls, card_path: Path, device: torch.device) -> "ConvEncoder":
        """From `<name>.json` and `<name>.safetensors` beside it.

        Raises:
            UserError: for missing weights, or weights with another checksum than the card's.
        """
        card = json.loads(card_path.read_text(encoding="utf-8"))
        weights = card_path.with_suffix(".safetensors")
        if not weights.is_file():
            raise UserError(f"{weights} is missing beside its card; restore the file")
        data = weights.read_bytes()
        checksum = hashlib.sha256(data).hexdigest()
        if checksum != card["sha256"]:
            raise UserError(
                f"{weights.name} has SHA-256 {checksum[:12]} and its card says {card['sha256'][:12]}: scores by it would "
                "not be comparable; restore the file"
            )
        # cards of before had ten classes always
        classifier = Classifier(card["shape"], card["dim"], card["width"], card.get("classes", 10))
        classifier.load_state_dict(load(data))
        return cls(card, classifier, checksum, device)

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        own = tuple(self.card["shape"])
        return None if shape == own else f"encoder {self.name} takes images of shape {own}, not {shape}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            return in_pieces(self._features, images.to(self.device)).cpu()

    def _features(self, images: Tensor) -> Tensor:
        """What the classifier's `features` gives, by the same arithmetic."""
        x = images.float() / 255
        for layer in self._layers:
            match layer:
                case nn.ReLU():
                    x.relu_()
                case nn.MaxPool2d():
                    x = halved(x)
                case _:
                    x = layer(x)
        return x

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> the predicted classes, (B,), on the CPU."""
        classes: Tensor = self._classify(self(images).to(self.device)).argmax(1)
        return classes.cpu()


def _stage(c_in: int, c_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
