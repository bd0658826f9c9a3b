"""Checks of a submission against the data: what makes scores meaningless stops it, and what lowers trust is said on its row."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.external.submission import LATENTS, RECONSTRUCTIONS, SAMPLES, Submission

# of mean grey values between images and data: inverted images differ by more
MOST_SHIFT = 0.25
# pinned draws of which example a reconstruction is compared with
SHUFFLES = 0
AT_ONCE = 4096


def check_counts(submission: Submission, needed: int, examples: int, protocol: str, split: str) -> None:
    """Checks that there are as many samples, reconstructions and latents as a protocol compares.

    Args:
        submission: its arrays.
        needed: the number of samples.
        examples: the number of examples of the split that are read.
        protocol: its name.
        split: the name of the split.

    Raises:
        UserError: for too few samples, or for another number of reconstructions or latents.
    """
    check_samples(len(submission.samples), needed, protocol, submission.name)
    for name, array in ((RECONSTRUCTIONS, submission.reconstructions), (LATENTS, submission.latents)):
        if array is not None and len(array) != examples:
            raise UserError(
                f"{submission.name} has {len(array):,} {name}, and protocol {protocol} reads {examples:,} examples of the "
                f"{split} split: submit one of each example, in the order of benchmarks.data(NAME).splits['{split}']"
            )


def check_samples(count: int, needed: int, protocol: str, name: str) -> None:
    """Raises UserError for fewer samples than a protocol compares; the message says what to do."""
    if count < needed:
        raise UserError(
            f"{name} has {count:,} samples, and protocol {protocol} compares {needed:,}: submit {needed - count:,} more, choose "
            f"a protocol that compares fewer, or set protocol.samples={count} (a protocol of its own, whose numbers stand in a "
            "table of their own)"
        )


def remarks_on(submission: Submission, splits: Mapping[str, NDArray[Any]], split: str) -> Iterator[str]:
    """What a reader should know: duplicates, copies of the data, another brightness, reconstructions in another order.

    Args:
        submission: images, or points.
        splits: the data, uint8 (N, C, H, W) or float32 points (N, D).
        split: the reference.
    """
    samples, n = submission.samples, len(submission.samples)
    own = _digests(samples)
    if (duplicates := n - len(set(own))) > 0:
        yield f"{duplicates:,} of {n:,} samples are copies of other samples"
    if samples.ndim == 4:
        for name, array in splits.items():
            known = set(_digests(array))
            if copies := sum(digest in known for digest in own):
                yield f"{copies:,} of {n:,} samples are copies of images of the {name} split"
        yield from _brightness(SAMPLES, samples, splits["train"])
    restored = submission.reconstructions
    if restored is None:
        return
    examples = splits[split][: len(restored)]
    if restored.ndim == 4:
        yield from _brightness(RECONSTRUCTIONS, restored, examples)
    if _is_shuffled(restored, examples):
        yield "the reconstructions are no nearer to their own examples than to others: are they in the order of the split?"


def _digests(array: NDArray[Any]) -> Sequence[bytes]:
    """A digest of each image in 256 grey values, or of each point."""
    digests = []
    for start in range(0, len(array), AT_ONCE):
        part = array[start : start + AT_ONCE]
        part = _grey(part) if part.ndim == 4 else part
        digests += [hashlib.blake2b(x.tobytes(), digest_size=16).digest() for x in part]
    return digests


def _grey(images: NDArray[Any]) -> NDArray[np.uint8]:
    """As metrics see images: the nearest of 256 grey values."""
    return images if images.dtype == np.uint8 else (images * 255).round().astype(np.uint8)


def _brightness(what: str, images: NDArray[Any], data: NDArray[Any]) -> Iterator[str]:
    means = [_mean(images), _mean(data)]
    if abs(means[0] - means[1]) > MOST_SHIFT:
        yield (
            f"the mean grey value of the {what} is {means[0]:.2f}, and that of the data {means[1]:.2f}: are the {what} inverted, "
            "or in another range?"
        )


def _mean(images: NDArray[Any]) -> float:
    mean = float(images.mean(dtype=np.float64))
    return mean / 255 if images.dtype == np.uint8 else mean


def _is_shuffled(restored: NDArray[Any], examples: NDArray[Any]) -> bool:
    """Whether the error of reconstructions is about as large against other examples of the split."""
    if len(restored) < 10:
        return False

    def floats(array: NDArray[Any]) -> NDArray[np.float64]:
        return array.reshape(len(array), -1) / (255.0 if array.dtype == np.uint8 else 1.0)

    n = min(len(restored), 1000)
    x_hat, x = floats(restored[:n]), floats(examples[:n])
    other = x[np.random.default_rng(SHUFFLES).permutation(n)]
    return bool(((x_hat - x) ** 2).mean() > 0.9 * ((x_hat - other) ** 2).mean())
