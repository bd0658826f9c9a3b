"""Weights that are fetched on first use and kept in torch's hub folder."""

from pathlib import Path

import torch

from benchmarks.errors import UserError, one_line


def fetched(url: str, title: str, sha256_prefix: str | None = None) -> Path:
    """The file of an address, downloaded unless it was before.

    Args:
        url: of the weights; data, never code.
        title: of the weights, for messages.
        sha256_prefix: the first digits of the published checksum, which is compared before the file is put in place.

    Raises:
        UserError: if the file cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix=sha256_prefix)
        except Exception as error:
            raise UserError(
                f"{title} could not be downloaded ({one_line(error)[:120]}); download {url} elsewhere and put it at {path}, "
                "or set protocol.encoder_weights=PATH"
            ) from error
    return path


def local_or_fetched(weights: str | None, url: str, title: str, sha256_prefix: str | None = None) -> Path:
    """The user's file of weights, or the fetched one.

    Raises:
        UserError: for a file that does not exist, or cannot be downloaded.
    """
    path = Path(weights) if weights else fetched(url, title, sha256_prefix)
    if not path.is_file():
        raise UserError(f"protocol.encoder_weights is {path}, which is not a file; give {title}, or leave the key out")
    return path
