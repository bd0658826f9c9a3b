"""No loss and no metric mixes the CPU with the GPU, on a GPU that is pretended."""

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmarks.scoring.scorer import make_scorer
from models.game import GenerativeModel
from tests.conftest import choices, composed
from tests.pretended import GPU, Mixed, is_on_gpu, move, pretended_gpu, put

SMALL = (
    *("network=mlp_narrow", "datamodule.leave_out=3", "protocol.samples=70", "protocol.examples=70"),
    *("protocol.metrics.ais.temperatures=4", "protocol.metrics.ais.chains=2", "protocol.metrics.ais.examples=3"),
    *(
        "protocol.metrics.ais.simulated=2",
        "protocol.metrics.ais.tuning_examples=2",
        "protocol.metrics.ais.tuning_rounds=1",
    ),
    *(
        "protocol.metrics.inversion.steps=2",
        "protocol.metrics.inversion.examples=4",
        "protocol.metrics.iwae.examples=4",
    ),
    *("protocol.metrics.iwae.k=3", "protocol.metrics.fitted_fid.components=1", "protocol.metrics.fitted_fid.codes=60"),
    *("protocol.metrics.anomaly.examples=4", "protocol.metrics.anomaly.inversion.steps=2"),
)


def model_on_gpu(name: str) -> GenerativeModel:
    model: GenerativeModel = instantiate(composed(f"model={name}", *SMALL).model, _convert_="all")
    move(model)
    model._device = GPU
    return model


def test_what_is_mixed_is_found() -> None:
    with pretended_gpu():
        there, here = torch.ones(2, device="cuda"), torch.ones(2)
        assert (there.device.type, (2 * there).device.type, there.cpu().device.type) == ("cuda", "cuda", "cpu")
        assert is_on_gpu(here.to(there.device) + there)
        assert is_on_gpu(there[torch.arange(1)])
        drawn = torch.Generator()
        mixes = (
            *(lambda: there + here, lambda: torch.cat([here, there]), there.numpy, lambda: np.asarray(there)),
            *(lambda: there.__array__(), lambda: torch.rand(2, generator=drawn, device="cuda")),
            lambda: torch.multinomial(there, 1, generator=drawn),
        )
        for mix in mixes:
            with pytest.raises(Mixed):
                mix()


@pytest.mark.parametrize("name", choices("model"))
def test_losses_stay_on_the_gpu(name: str) -> None:
    with pretended_gpu():
        model = model_on_gpu(name)
        x = put(torch.rand(4, 1, 8, 8), True)
        assert all(is_on_gpu(player.loss(x)) for player in model.players())


def test_every_metric_keeps_devices_apart() -> None:
    """On a VAE, which every metric of images applies to."""
    config = composed("model=vae", *SMALL)
    data = instantiate(config.datamodule, _convert_="all")
    protocol = OmegaConf.to_container(config.protocol, resolve=True)
    with pretended_gpu():
        model = model_on_gpu("vae")
        with model.scoring():
            sheet = make_scorer(protocol, config.feature_encoder, torch.device("cuda")).score(model, data)
    broken = [score.detail["reason"] for score in sheet.scores if "broke_down" in score.detail]
    assert not broken
    assert sum(score.value is not None for score in sheet.scores) > 30
