"""The Inception network of the FID paper (Heusel et al. 2017), through torch-fidelity; an optional extra."""

import hashlib
import io
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.encoders.fetching import local_or_fetched
from benchmarks.errors import UserError


class Inception:
    """2,048 features of torch-fidelity's port, which resizes to 299 pixels as TensorFlow 1 did, without antialiasing.

    Args:
        weights: a local file; None downloads the published file on first use and keeps it in torch's hub folder.
        device: where the network runs.

    Raises:
        UserError: if torch-fidelity is not installed, or the weights cannot be downloaded.
    """

    name = "inception"
    dim = 2048
    resizing = "299, bilinear as TensorFlow 1, no antialiasing"

    def __init__(self, weights: str | None, device: torch.device) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3
        except ImportError:
            raise UserError("encoder inception needs torch-fidelity: pip install 'genbench[inception]'") from None
        # the file's name ends in the first digits of its SHA-256
        prefix = URL_INCEPTION_V3.rsplit("-", 1)[1].removesuffix(".pth")
        path = local_or_fetched(weights, URL_INCEPTION_V3, "Inception's weights", prefix)
        content = path.read_bytes()
        self.checksum = hashlib.sha256(content).hexdigest()
        try:
            # torch-fidelity would unpickle any object in the file, so it gets a file of our own with the tensors alone
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            with tempfile.TemporaryDirectory() as folder:
                own = Path(folder) / "weights.pth"
                torch.save(state, own)
                network = FeatureExtractorInceptionV3(self.name, ["2048"], feature_extractor_weights_path=str(own))
        except Exception as error:  # torch raises several kinds for a file that is not a state dict of this network
            message = " ".join(str(error).split())[:200]
            raise UserError(f"{path} does not hold torch-fidelity's Inception weights: {message}") from error
        self._network = network.eval().requires_grad_(False).to(device)
        self.device = next(self._network.parameters()).device

    def why_not(self, shape: tuple[int, ...]) -> str | None:
        return None if len(shape) == 3 and shape[0] in (1, 3) else f"encoder inception takes images, not shape {shape}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.device)
        with torch.autocast(self.device.type, enabled=False):
            (features,) = self._network(images.expand(-1, 3, -1, -1))
        return torch.as_tensor(features).float().cpu()
