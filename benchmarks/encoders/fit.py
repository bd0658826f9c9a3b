"""Trains a feature encoder on a data set's training split and writes its weights and its card."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from benchmarks.encoders.cnn import Classifier
from benchmarks.records.files import replacing, write_text


@dataclass(frozen=True)
class Fit:
    """The training of an encoder: Adam, a one-cycle schedule (Smith & Topin 2019), random shifts of up to 1/14 of the width.

    A small data set has smaller batches, so that an epoch has eight steps or more.
    """

    seed: int
    dim: int
    width: int
    epochs: int
    lr: float
    batch_size: int = 128


def encoder_name(data_name: str) -> str:
    """The name of the encoder of a data set."""
    return f"{data_name.replace('_', '-')}-cnn"


def fit_encoder(data: Any, fit: Fit, device: str, out: Path, command: str) -> dict[str, Any]:
    """Writes `<name>-cnn.safetensors` and `<name>-cnn.json` into `out`; returns the card.

    The encoder learns from the training split only. The test accuracy is recorded, and nothing is chosen by it.
    """
    torch.manual_seed(fit.seed)
    splits = data.labelled()
    images, labels = (torch.from_numpy(np.array(a)).to(device) for a in splits["train"])
    classes = 1 + max(int(labels.max()) for _, labels in splits.values())
    # channels_last makes convolutions of few channels a third faster
    classifier = Classifier(data.shape, fit.dim, fit.width, classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(classifier.parameters())
    batch_size = min(fit.batch_size, max(1, len(images) // 8))
    steps = fit.epochs * (len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=fit.lr, total_steps=steps)
    for _ in track(range(fit.epochs), f"training {data.name}-cnn", transient=True):
        for index in torch.randperm(len(images)).split(batch_size):
            if len(index) < batch_size:
                continue
            x = _shift(images[index].float() / 255).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(classifier(x), labels[index], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    card = {
        "name": encoder_name(data.name),
        "shape": list(data.shape),
        "classes": classes,
        "dim": fit.dim,
        "width": fit.width,
        "trained_on": data.info.id,
        "train_images": len(images),
        "test_images": len(splits["test"][0]),
        "test_accuracy": accuracy(classifier, splits["test"], device),
        "largest_class": float(np.bincount(splits["test"][1]).max() / len(splits["test"][1])),
        "settings": asdict(fit),
        "command": command,
    }
    state = {key: value.cpu().contiguous() for key, value in classifier.state_dict().items()}
    weights = save(state)
    with replacing(out / f"{card['name']}.safetensors") as temporary:
        temporary.write_bytes(weights)
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    write_text(out / f"{card['name']}.json", json.dumps(card, indent=2) + "\n")
    return card


@torch.no_grad()
def accuracy(classifier: Classifier, split: tuple[NDArray[np.uint8], NDArray[np.int64]], device: str) -> float:
    """The share of images that the classifier recognises, in evaluation mode."""
    classifier.eval()
    images, labels = (torch.from_numpy(np.array(a)) for a in split)
    right = 0
    for x, y in zip(images.split(500), labels.split(500), strict=True):
        right += int((classifier(x.to(device).float() / 255).argmax(1).cpu() == y).sum())
    return right / len(images)


def _shift(x: Tensor) -> Tensor:
    """The minibatch shifted by a random whole number of pixels, with repeated edges. (B, C, H, W)."""
    most = max(1, x.shape[-1] // 14)
    dy, dx = torch.randint(-most, most + 1, (2,)).tolist()
    padded = F.pad(x, (most, most, most, most), mode="replicate")
    h, w = x.shape[-2:]
    return padded[..., most + dy : most + dy + h, most + dx : most + dx + w]
