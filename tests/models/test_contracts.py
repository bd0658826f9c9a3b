"""One property test over every family: whatever file is added to conf/model/ is held to the same contract."""

from functools import lru_cache
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from models.contracts import Bounds, Composes, Decodes, Densities, Elbo, Encodes, Folds, Reconstructs, Samples
from models.game import GenerativeModel
from tests.conftest import SMALL, choices, composed_model, quickstart

SETTINGS = [
    ("digits", "mlp", []),
    ("mnist", "dcgan_narrow", []),
    ("cifar10", "resnet", ["model.trunk.width=8", "model.decoder.width=8"]),
    ("ring", "mlp", []),
]
# the families of `make run` are tried on all of them, every other family on images with convolutions and on points
EVERY = [
    pytest.param(model, *setting, id=f"{model}-{setting[0]}-{setting[1]}")
    for model in choices("model")
    for setting in (SETTINGS if model in quickstart() else SETTINGS[1::2])
]


# what a family cannot do without: a code of ten categories does not fit into two latents
NEEDS = {("infogan", "ring"): ["latent_dim=16"]}


def make(model: str, datamodule: str, network: str, extra: list[str]) -> tuple[GenerativeModel, tuple[int, ...]]:
    extra = [*NEEDS.get((model, datamodule), []), *SMALL.get(model, []), *extra]
    config = composed_model(f"model={model}", f"datamodule={datamodule}", f"network={network}", *extra)
    made = instantiate(config.model, _convert_="all")
    made.configure_model()
    return made, tuple(config.shape)


@lru_cache
def _made(model: str, datamodule: str, network: str, extra: tuple[str, ...]) -> tuple[GenerativeModel, tuple[int, ...]]:
    return make(model, datamodule, network, [*extra])


def shared(model: str, datamodule: str, network: str, extra: list[str]) -> tuple[GenerativeModel, tuple[int, ...]]:
    """One model for all tests of a setting, in training mode and without gradients."""
    made, shape = _made(model, datamodule, network, tuple(extra))
    made.train().zero_grad()
    return made, shape


def examples(shape: tuple[int, ...], n: int = 8) -> Tensor:
    return torch.rand(n, *shape)


@pytest.mark.parametrize(("model", "datamodule", "network", "extra"), EVERY)
def test_samples_have_the_datas_shape_and_range(model: str, datamodule: str, network: str, extra: list[str]) -> None:
    made, shape = shared(model, datamodule, network, extra)
    assert isinstance(made, Samples)
    with made.scoring():
        drawn = made.sample(6, torch.Generator().manual_seed(1))
        again = made.sample(6, torch.Generator().manual_seed(1))
    assert drawn.shape == (6, *shape)
    assert drawn.dtype == torch.float32
    assert torch.equal(drawn, again)
    if len(shape) == 3:
        assert drawn.min() >= 0
        assert drawn.max() <= 1


@pytest.mark.parametrize(("model", "datamodule", "network", "extra"), EVERY)
def test_every_family_decodes_its_prior_and_folds_its_decoder(
    model: str, datamodule: str, network: str, extra: list[str]
) -> None:
    made, shape = shared(model, datamodule, network, extra)
    assert isinstance(made, Decodes)
    assert isinstance(made, Folds)
    assert isinstance(made, Composes)
    z = made.prior.sample(3)
    assert made.decode(z).shape == (3, *shape)
    with made.scoring():
        torch.testing.assert_close(made.folded_decode()(z), made.decode(z), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(made.composed_decode()(z), made.decode(z), rtol=1e-4, atol=1e-5)
        if network.startswith("mlp"):
            assert torch.equal(made.composed_decode()(z), made.decode(z))


@pytest.mark.parametrize(("model", "datamodule", "network", "extra"), EVERY)
def test_capabilities_keep_their_shapes(model: str, datamodule: str, network: str, extra: list[str]) -> None:
    made, shape = shared(model, datamodule, network, extra)
    x = examples(shape)
    with made.scoring():
        if isinstance(made, Reconstructs):
            first, second = made.reconstruct(x), made.reconstruct(x)
            assert first.shape == x.shape
            assert torch.equal(first, second)
        if isinstance(made, Encodes):
            codes = made.encode(x)
            assert codes.shape == made.draw_code(x).shape == (8, made.prior.dim)
            assert torch.equal(made.decode(codes), made.reconstruct(x))
        if isinstance(made, Bounds):
            elbo = made.elbo(x)
            assert isinstance(elbo, Elbo)
            assert elbo.reconstruction.shape == elbo.kl.shape == (8,)
            # draws of a KL without a closed form may be negative, and their mean is not
            draws = torch.stack([made.elbo(x).kl for _ in range(8)])
            assert (draws.mean(0) >= -1e-4 - 8 * draws.std(0) / 8**0.5).all()
            assert made.log_weights(x, 3).shape == (3, 8)
        if isinstance(made, Densities):
            assert made.log_prob(x).shape == (8,)


@pytest.mark.parametrize(("model", "datamodule", "network", "extra"), EVERY)
def test_each_players_loss_moves_all_that_it_owns(model: str, datamodule: str, network: str, extra: list[str]) -> None:
    made, shape = shared(model, datamodule, network, extra)
    for player in made.players():
        made.zero_grad()
        loss = player.loss(examples(shape))
        assert loss.shape == ()
        assert loss.isfinite()
        loss.backward()
        for name, weight in player.modules.named_parameters():
            # the last bias of a Wasserstein critic cancels between real and fake
            assert weight.grad is not None, f"{player.name}: {name} gets no gradient"
            assert weight.grad.isfinite().all()


@pytest.mark.parametrize("model", choices("model"))
def test_no_weight_stays_where_it_starts(model: str) -> None:
    """A gradient that is 0 at the start, as that of a factor of 0, must not be 0 for ever."""
    # all four rectified units of the small flow may be dead at once, and then their network is
    made, shape = make(model, "ring", "mlp", ["model.flow.width=32"] if model == "real_nvp" else [])
    before = {name: weight.detach().clone() for name, weight in made.named_parameters()}
    turns = [(player, player.optimizer(player.modules.parameters())) for player in made.players()]
    for _ in range(3):
        for player, optimizer in turns:
            made.zero_grad()
            player.loss(examples(shape)).backward()
            optimizer.step()
    still = {name for name, weight in made.named_parameters() if torch.equal(weight, before[name])}
    # the last bias of a critic cancels between real and fake
    assert still <= {"critic.1.bias"}


@pytest.mark.parametrize(("model", "datamodule", "network", "extra"), EVERY)
def test_one_player_samples_and_players_share_nothing(
    model: str, datamodule: str, network: str, extra: list[str]
) -> None:
    made, _ = shared(model, datamodule, network, extra)
    owned = [{id(w) for w in player.modules.parameters()} for player in made.players()]
    assert sum(map(len, owned)) == len(set().union(*owned)) == len(list(made.parameters()))
    decoder = {id(w) for w in made.decoder.parameters()}
    (sampling,) = [own for own, player in zip(owned, made.players(), strict=True) if player.samples]
    assert decoder <= sampling


@pytest.mark.parametrize("model", choices("model"))
def test_the_critics_turn_leaves_no_graph_through_the_generator(model: str) -> None:
    """A player that owns the encoder is no critic: a reconstruction goes through the decoder."""
    made, shape = shared(model, "digits", "mlp", [])
    encoder = {id(w) for w in getattr(made, "encoder", nn.Identity()).parameters()}
    for player in made.players():
        if not player.samples and not encoder & {id(w) for w in player.modules.parameters()}:
            made.zero_grad()
            player.loss(examples(shape)).backward()
            assert all(w.grad is None for w in made.decoder.parameters())


@pytest.mark.parametrize("model", choices("model"))
def test_scoring_puts_everything_back(model: str) -> None:
    made, _ = make(model, "digits", "mlp", ["model.ema_decay=0.9"])
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.train()
    with made.scoring():
        assert not made.decoder.training
        assert not torch.is_grad_enabled()
        made.sample(4, torch.Generator())
    assert all(module.training for module in made.modules())
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


BAD_OPTIONS: list[tuple[str, list[str], str]] = [
    ("vae", ["model.beta=-1"], "model.beta is -1"),
    ("vae", ["model.prior._target_=models.priors.Uniform"], "model.prior is Uniform"),
    ("gan", ["model.generator_loss=hinge"], "model.generator_loss is 'hinge'"),
    ("gan", ["model.n_critic=0"], "model.n_critic is 0"),
    ("wgan", ["model.clip=0"], "model.clip is 0"),
    ("wgan_gp", ["model.penalty=-1"], "model.penalty is -1"),
    ("wgan_gp", ["model.trunk.norm=batch"], "no batch norm"),
    ("ae", ["model.ema_decay=1.5"], "model.ema_decay is 1.5"),
    ("dragan", ["model.noise=-1"], "model.noise is -1"),
    ("dragan", ["model.trunk.norm=batch"], "a DRAGAN's critic takes no batch norm"),
    ("began", ["model.lambda_k=0"], "model.lambda_k is 0"),
    ("rpgan", ["model.gamma=-1"], "model.gamma is -1"),
    ("rpgan", ["model.paired=maybe"], "model.paired is 'maybe'; expected true or false"),
    ("rpgan", ["model.trunk.norm=batch"], "a RpGAN's critic takes no batch norm"),
    ("pacgan", ["model.packing=0"], "model.packing is 0"),
    ("improved_gan", ["model.generator_loss=hinge"], "model.generator_loss is 'hinge'"),
    ("improved_gan", ["model.kernels=0"], "model.kernels is 0"),
    ("infogan", ["model.information=-1"], "model.information is -1"),
    ("infogan", ["latent_dim=11"], "set latent_dim to 12 or more"),
    ("infogan", ["model.prior.categories=1"], "has 1 categories"),
    ("iwae", ["model.k=0"], "model.k is 0"),
    ("iaf", ["model.steps=0"], "model.steps is 0"),
    ("iaf", ["model.width=3"], "model.width is 3"),
    ("vampprior", ["model.prior.pseudo_inputs=0"], "model.prior.pseudo_inputs is 0"),
    ("two_stage", ["model.first_stage=1"], "model.first_stage is 1"),
    ("rae", ["model.beta=-1"], "model.beta is -1"),
    ("rae", ["model.prior.components=0"], "model.prior.components is 0"),
    ("wae", ["model.penalty=-1"], "model.penalty is -1"),
    ("aae", ["model.reconstruction_weight=0"], "model.reconstruction_weight is 0"),
    ("vae_gan", ["model.gamma=-1"], "model.gamma is -1"),
    ("vae_gan", ["model.prior._target_=models.priors.Uniform"], "model.prior is Uniform"),
    ("two_stage", ["model.prior._target_=models.priors.Uniform"], "model.prior is Uniform"),
]


@pytest.mark.parametrize(("model", "options", "message"), BAD_OPTIONS)
def test_a_bad_option_is_refused_by_name(model: str, options: list[str], message: str) -> None:
    config = composed_model(f"model={model}", *options)
    with pytest.raises(Exception, match=message) as caught:
        instantiate(config.model, _convert_="all")
    assert isinstance(caught.value.__cause__, ValueError)


def test_minimax_and_non_saturating_generators_differ() -> None:
    def gradient(loss: str) -> Tensor:
        torch.manual_seed(0)
        made: Any = make("gan", "digits", "mlp", [f"model.generator_loss={loss}"])[0]
        made.generator_loss(examples((1, 8, 8))).backward()
        return torch.cat([w.grad.flatten() for w in made.decoder.parameters()])

    saturating, other = gradient("minimax"), gradient("non_saturating")
    assert not torch.allclose(saturating, other)
    # at an untrained discriminator, D = 1/2 nearly, both point the same way
    assert torch.nn.functional.cosine_similarity(saturating, other, dim=0) > 0.5
