"""What a metric measures: a model under a protocol on a split, with the samples, codes and features that metrics share."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from benchmarks.encoders.base import FeatureEncoder
from datamodules.contracts import Data, Split
from models.contracts import Composes, Decodes, Drawn, Encodes, Folds, Samples

# of the noise of `likelihood_examples`, equal for every model
DEQUANTIZATION_SEED = 4

Cache = Callable[[Mapping[str, Any], Callable[[], Tensor]], Tensor]


class NonFinite(Exception):
    """The model's samples are not finite numbers."""


@dataclass
class Subject:
    """A model, or an object with some of a model's capabilities, under one protocol on one split.

    Args:
        model: scored; its capabilities decide which metrics apply.
        data: the model is scored on them.
        split: the reference.
        samples: the number of draws for sample scores.
        examples: the number of examples of the split that are read; None for all.
        batch_size: of every pass through the encoders. It is pinned, because the results of some kernels depend on it.
        seed: of every draw.
        device: of the model.
        load_encoder: loads the feature encoder; called only if a metric asks for features.
        cache: keeps reference features. It takes what the features depend on and a function that computes them.
    """

    model: Any
    data: Data
    split: Split
    samples: int
    examples: int | None
    batch_size: int
    seed: int
    device: torch.device
    load_encoder: Callable[[], FeatureEncoder]
    cache: Cache = lambda key, compute: compute()
    _drawn: dict[int, Tensor] = field(default_factory=dict)
    _codes: dict[tuple[Split, int | None, bool], Tensor] = field(default_factory=dict)
    _made: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> FeatureEncoder:
        return self.load_encoder()

    @property
    def is_images(self) -> bool:
        return len(self.data.shape) == 3

    def real(self, limit: int | None = None) -> Iterator[Tensor]:
        """Batches (B, ...) of the reference split, or of its first `limit` examples, on the model's device."""
        yield from self._batches(self.split, self._at_most(limit))

    def _batches(self, split: Split, limit: int | None) -> Iterator[Tensor]:
        for x in self.data.batches(split, self.batch_size, limit):
            yield x.to(self.device)

    def likelihood_examples(self, split: Split, limit: int | None = None) -> Iterator[Tensor]:
        """Batches (B, ...) of a split as a density is measured on them, on the model's device.

        Grey images are dequantised (Theis et al. 2016, sec. 3.1): (g + u) / 256, g the grey value and u ~ U(0, 1) pinned noise.
        """
        if split == self.split:
            limit = self._at_most(limit)
        generator = torch.Generator().manual_seed(DEQUANTIZATION_SEED)
        for x in self.data.batches(split, self.batch_size, limit):
            if self.is_images and not (self.data.is_binary or self.data.dequantize):
                # just under 1, because float32 would round 255 + u up to 256
                noise = torch.rand(x.shape, generator=generator) * (1 - 2**-16)
                x = ((x * 255).round() + noise) / 256
            yield x.to(self.device)

    def _at_most(self, limit: int | None) -> int | None:
        """The number of examples of the reference split that are read; None for all."""
        return min((n for n in (limit, self.examples) if n is not None), default=None)

    def draw(self, n: int) -> Tensor:
        """Exactly n samples of the model, (n, ...) on the CPU, in the data's range. The samples are drawn once.

        Raises:
            NonFinite: for a sample that is not finite.
        """
        if isinstance(self.model, Drawn):
            return finite(self.model.drawn(n), "samples")
        if n not in self._drawn:
            model: Samples = self.model
            generator = torch.Generator().manual_seed(self.seed)
            sizes = [min(self.batch_size, n - start) for start in range(0, n, self.batch_size)]
            self._drawn[n] = torch.cat([model.sample(size, generator).float().cpu() for size in sizes])
        return finite(self._drawn[n], "samples")

    def decode(self, z: Tensor) -> Tensor:
        """Decoded latents, (n, Z) -> (n, ...) on the CPU, in batches.

        Raises:
            NonFinite: for a decoded latent that is not finite.
        """
        model: Decodes = self.model
        decoded = [model.decode(batch.to(self.device)).float().cpu() for batch in z.split(self.batch_size)]
        return finite(torch.cat(decoded), "decoded latents")

    @cached_property
    def folded_decode(self) -> Callable[[Tensor], Tensor]:
        """The model's `decode` on its device, (B, Z) -> (B, ...), for the chains of metrics: cheaper if the model can."""
        model: Decodes = self.model
        return model.folded_decode() if isinstance(model, Folds) else model.decode

    @cached_property
    def composed_decode(self) -> Callable[[Tensor], Tensor]:
        """The model's `decode` on its device, (B, Z) -> (B, ...), for searches of latents: as its parts if the model has them."""
        model: Decodes = self.model
        return model.composed_decode() if isinstance(model, Composes) else model.decode

    def codes(self, split: Split, limit: int | None = None, drawn: bool = False) -> Tensor:
        """The codes of the first `limit` examples of a split, or one draw of q(z|x) for each, (n, Z) on the CPU; made once."""
        key = (split, limit, drawn)
        if key not in self._codes:
            model: Encodes = self.model
            encode = model.draw_code if drawn else model.encode
            with seeded(self.seed, f"codes of {split}"):  # equal draws, whichever metric asks first
                batches = self.data.batches(split, self.batch_size, limit)
                self._codes[key] = torch.cat([encode(x.to(self.device)).float().cpu() for x in batches])
        return finite(self._codes[key], "codes")

    def once(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """What `make` makes, made once for the subject under every encoder."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    @cached_property
    def features(self) -> Tensor:
        """Features of `samples` samples, (samples, dim)."""
        return self.features_of(self.draw(self.samples))

    @cached_property
    def reference_features(self) -> Tensor:
        """Features of the reference split, (N, dim)."""
        return self._features_of_split(self.split, self.examples)

    def training_features(self, limit: int | None = None) -> Tensor:
        """Features of the first `limit` training examples, or of all of them, (N, dim)."""
        return self._features_of_split("train", limit)

    def of_training_features(self, what: Mapping[str, Any], compute: Callable[[], Tensor], limit: int | None) -> Tensor:
        """What depends on the training features alone, from the cache or computed.

        Args:
            what: the name of the result and its settings.
            compute: computes it.
            limit: of the training features.
        """
        return self.cache({**self._facts_of("train", limit), **what}, compute)

    def _features_of_split(self, split: Split, examples: int | None) -> Tensor:
        def compute() -> Tensor:
            return torch.cat([self.encoder(to_uint8(x)) for x in self._batches(split, examples)])

        return self.cache(self._facts_of(split, examples), compute)

    def _facts_of(self, split: Split, examples: int | None) -> dict[str, Any]:
        """Everything that decides the features of a split."""
        return {
            "data": self.data.info.id,
            "split": split,
            "examples": examples,
            "batch_size": self.batch_size,
            "encoder": self.encoder.checksum,
            "resizing": self.encoder.resizing,
            "device": self.device.type,
            # the number of threads changes the last bits of sums
            "threads": torch.get_num_threads() if self.device.type == "cpu" else None,
        }

    @cached_property
    def reconstruction_features(self) -> Tensor:
        """Features of the decoded codes of the reference split, (N, dim); of reconstructions if there is no code to decode."""
        if isinstance(self.model, Encodes) and isinstance(self.model, Decodes):
            return self.features_of(self.decode(self.codes(self.split, self.examples)))
        restored = torch.cat([self.model.reconstruct(x).float().cpu() for x in self.real()])
        return self.features_of(finite(restored, "reconstructions"))

    def under(self, load_encoder: Callable[[], FeatureEncoder]) -> "Subject":
        """The same subject, with the same samples and codes, under another feature encoder."""
        return replace(self, load_encoder=load_encoder)

    def features_of(self, images: Tensor) -> Tensor:
        """Features of images in [0, 1], (n, C, H, W) -> (n, dim)."""
        return torch.cat([self.encoder(to_uint8(batch)) for batch in images.split(self.batch_size)])

    def why_no_features(self) -> str | None:
        """Why there are no features of such data; None if there are."""
        if not self.is_images:
            return "points have no feature encoder"
        return self.encoder.why_not(self.data.shape)


def finite(x: Tensor, what: str) -> Tensor:
    """Returns x.

    Raises:
        NonFinite: for a number in x that is not finite.
    """
    if not x.isfinite().all():
        raise NonFinite(f"the model's {what} are not finite numbers")
    return x


def to_uint8(images: Tensor) -> Tensor:
    """From [0, 1] to the nearest of 256 grey values: round(clamp(x)·255).

    Truncation would make 63 of the 256 grey values one step darker.
    """
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seeds torch's global random numbers by (seed, purpose) within the block, and restores their state afterwards."""
    word = int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:7])
    # the device in use only: the state of another one would make a context there, of half a gigabyte
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(word)
        yield
