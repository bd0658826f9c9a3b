"""python -m benchmarks.studies.scoring_cost: the cost of scoring on this machine, beside independent implementations.

Prints ratios of times measured in one process, and whether the results are equal. Writes no file. Needs `genbench[dev]`
for the other implementations.

    python -m benchmarks.studies.scoring_cost                 the columns of samples, at 64 and 2,048 dimensions; FID's arithmetic
    python -m benchmarks.studies.scoring_cost part=ais        100 images x 16 chains x 1,000 temperatures on an MNIST-sized MLP
    python -m benchmarks.studies.scoring_cost part=decoder    a gradient of log p(x|z) beside autograd's; cost of `ais`
    python -m benchmarks.studies.scoring_cost part=leapfrog   the error of AIS by leapfrog steps and temperatures
    python -m benchmarks.studies.scoring_cost part=limit      FID∞ at 2,048 dimensions beside a FID for each part and one FID
    python -m benchmarks.studies.scoring_cost part=memory     50,000 against 50,000 features of 2,048 dimensions
"""

import contextlib
import io
import itertools
import os
import resource
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import linregress
from torch import Tensor, nn

from benchmarks.errors import UserError
from benchmarks.metrics.annealing import Settings, forward, log_mean_weight, tune
from benchmarks.metrics.chains import Target
from benchmarks.metrics.frechet import fid_of, frechet_distance, frechet_infinity, moments
from benchmarks.metrics.kernel import polynomial, squared_mmd
from benchmarks.metrics.neighbours import manifold_scores
from benchmarks.studies.words import study
from models.networks import mlp
from models.networks.dcgan import Decoder
from models.networks.folding import folded
from models.priors import Normal

SAMPLES, NEIGHBOURS = 10_000, 5
ALTERNATIONS = 15


@study(part=("samples", "ais", "decoder", "leapfrog", "limit", "memory"))
def main(part: str) -> None:
    warnings.simplefilter("ignore")
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    parts = {"samples": samples, "ais": ais, "decoder": decoder, "leapfrog": leapfrog, "limit": limit, "memory": memory}
    parts[part]()


def samples() -> None:
    """All columns of samples, on computed features; and FID's arithmetic alone."""
    for dim in (64, 2048):
        torch.manual_seed(dim)
        # 16 directions, because natural features have few; in more, every ball would be empty
        mix = torch.randn(16, dim)
        real = (torch.randn(SAMPLES, 16) @ mix).relu()
        fake = (1.05 * torch.randn(SAMPLES, 16) @ mix).relu() + 0.05 * torch.rand(SAMPLES, dim)
        compare(real, fake)


def compare(real: Tensor, fake: Tensor) -> None:
    """Prints the cost of each column on features (N, D), by genbench and by torchmetrics and prdc."""
    try:
        from prdc import compute_prdc
        from torchmetrics.image.fid import _compute_fid
        from torchmetrics.image.kid import KernelInceptionDistance, poly_mmd
    except ImportError:
        raise UserError("this needs prdc and torchmetrics: pip install 'genbench[dev]'") from None
    n, dim = real.shape

    class Identity(nn.Module):
        num_features = dim

        def forward(self, x: Tensor) -> Tensor:
            return x

    def their_kid() -> float:
        metric = KernelInceptionDistance(feature=Identity(), subsets=100, subset_size=1000)
        metric.real_features, metric.fake_features = [real], [fake]
        return float(metric.compute()[0])

    def their_prdc() -> dict[str, float]:
        with contextlib.redirect_stdout(io.StringIO()):
            return compute_prdc(real.numpy(), fake.numpy(), nearest_k=NEIGHBOURS)

    def our_limit() -> float:
        sizes = torch.linspace(max(n // 10, 2 * dim), n, 15).round().int().tolist()
        return frechet_infinity(real, fake, sizes, torch.Generator().manual_seed(0))[0]

    columns: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "FID": (lambda: fid_of(real, fake), lambda: their_fid(real, fake)),
        "KID (theirs: 100 subsets of 1,000)": (lambda: squared_mmd(real, fake, polynomial)[0], their_kid),
        "precision, recall, density, coverage": (lambda: manifold_scores(real, fake, NEIGHBOURS), their_prdc),
    }
    table = Table("column", "genbench [s]", "theirs [s]", "ratio", "results")
    our_total = their_total = 0.0
    for name, (ours, theirs) in columns.items():
        (value, seconds), (other, their_seconds) = _timed(ours), _timed(theirs)
        our_total, their_total = our_total + seconds, their_total + their_seconds
        table.add_row(name, *_ratio(seconds, their_seconds), _results(value, other))
    table.add_row("these", *_ratio(our_total, their_total), "")
    limit, seconds = _timed(our_limit)
    table.add_row("FID∞ (theirs: none)", f"{seconds:.2f}", "", "", f"{limit:.6g}")
    table.add_row("all", *_ratio(our_total + seconds, their_total), "")
    print(f"\n{n:,} samples against {n:,}, {dim:,} dimensions")
    Console(width=130).print(table)
    few = slice(0, 2000)
    ours_few, theirs_few = squared_mmd(real[few], fake[few], polynomial)[0], float(poly_mmd(real[few], fake[few]))
    print(f"KID over all pairs of 2,000, which torchmetrics can do as well: {ours_few:.6g} and {theirs_few:.6g}")
    parts = [*moments(real), *moments(fake)]
    value, seconds = _timed(lambda: float(frechet_distance(*parts)))
    other, their_seconds = _timed(lambda: float(_compute_fid(*parts)))
    times = ", ".join(_ratio(seconds, their_seconds))
    print(f"FID's arithmetic alone, ours [s], torchmetrics' compute [s]: {times}; {_results(value, other)}")


def their_fid(real: Tensor, fake: Tensor) -> float:
    """torchmetrics' FID of features, (N, D) and (M, D)."""
    from torchmetrics.image.fid import _compute_fid

    parts = [part for x in (real, fake) for part in (x.double().mean(0), torch.cov(x.double().T))]
    return float(_compute_fid(*parts))


def ais() -> None:
    """AIS on the decoder of 10 latents of Wu et al. 2017. The weights are untrained: they do not change the cost of a step."""
    torch.manual_seed(0)
    widths = [10, 64, 256, 256, 1024, 784]
    layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), nn.Tanh())]
    decoder = nn.Sequential(*layers[:-1], nn.Sigmoid()).requires_grad_(False)
    with torch.no_grad():
        x = decoder(torch.randn(100, 10)) + 0.1 * torch.randn(100, 784)
    settings = Settings(chains=16, temperatures=1000, leapfrog=5)
    generator = torch.Generator().manual_seed(0)
    target = Target(decoder, Normal(10), x, 0.1, settings.chains)
    plan, tuning = _timed(lambda: tune(target, settings, generator, "tuning"))
    run, seconds = _timed(lambda: forward(target, plan, settings.leapfrog, generator, "AIS"))
    value = float(log_mean_weight(run.log_weights).mean())
    print(f"100 images x 16 chains x 1,000 temperatures x 5 leapfrog steps: tuning {tuning / 60:.1f} min, ", end="")
    print(f"measuring {seconds / 60:.1f} min; {value:.1f} nats, {run.acceptance:.2f} of the proposals taken")


def decoder() -> None:
    """The gradient of log p(x|z) for 16 chains of n images: by autograd, as at commit 0d3c183, and as AIS takes it now."""
    torch.manual_seed(0)
    convolutions = Decoder(64, (1, 28, 28), width=16, norm="batch")
    for name, network in {
        "dcgan_narrow": convolutions,
        "mlp": mlp.Decoder(64, (1, 28, 28), [400, 400], "batch"),
    }.items():
        network(torch.randn(256, 64))  # statistics of batch norms
        gradient_costs(name, nn.Sequential(network, nn.Sigmoid()).eval())


def gradient_costs(name: str, network: nn.Module) -> None:
    """Prints the costs of a gradient through a decoder, and what they make of the whole metric."""
    # a function that is not made of layers is left to autograd
    ways: dict[str, Callable[[Tensor], Tensor]] = {"autograd": lambda z: network(z), "now": folded(network)}
    table = Table("images", "by autograd [ms]", "now [ms]", "ratio", "difference of gradients", title=name)
    costs = dict[int, tuple[float, float]]()
    for n in (8, 32):
        x, z = torch.rand(n, 1, 28, 28), torch.randn(16 * n, 64)
        targets = {way: Target(function, Normal(64), x, 0.1, 16) for way, function in ways.items()}
        gradients, times = {}, {way: list[float]() for way in targets}
        for _ in range(ALTERNATIONS):  # in turns, because other work on the machine comes and goes
            for way, target in targets.items():
                start = time.process_time()
                gradients[way] = target.at(z).gradient
                times[way].append(1e3 * (time.process_time() - start))
        costs[n] = slow, fast = statistics.median(times["autograd"]), statistics.median(times["now"])
        plain = gradients["autograd"]
        # of the median latent: where a unit of ReLU is within rounding of 0, its gradient is either of two
        difference = float(((plain - gradients["now"]).norm(dim=1) / plain.norm(dim=1)).median())
        table.add_row(str(n), f"{slow:.1f}", f"{fast:.1f}", f"{fast / slow:.2f}", f"{difference:.1g}")
    print("processor milliseconds, medians")
    Console(width=130).print(table)
    whole_metric(costs)


def whole_metric(costs: Mapping[int, tuple[float, float]]) -> None:
    """Prints the cost of AIS under `standard` by rounds of the search for σ, as a share of the cost at commit 0d3c183.

    Args:
        costs: of a gradient for 16 chains of 8 and of 32 images, by autograd and now.
    """
    # transitions of 8 and of 32 images, 5 gradients each; the former are counted at that commit
    former = 1749 * costs[8][0] + 624 * costs[32][0]
    temperatures, few, pilots = 320, 80, 2 * 40
    measuring, gaps = pilots + few + temperatures, pilots + 4 * few
    for rounds in (1, 2, 3):
        search = few + pilots + rounds * temperatures
        share = (measuring * costs[32][1] + (search + gaps) * costs[8][1]) / former
        print(f"AIS with {rounds} rounds of the search: {share:.2f} of the cost at 0d3c183")


def leapfrog() -> None:
    """What AIS lacks on probabilistic PCA, whose log p(x) is exact, by leapfrog steps L and temperatures T. 16 chains."""
    torch.manual_seed(0)
    weight, sigma = torch.randn(64, 10), 0.1  # the posterior is far narrower than the prior
    x = torch.randn(64, 10) @ weight.T + sigma * torch.randn(64, 64)
    covariance = weight.double() @ weight.double().T + sigma**2 * torch.eye(64, dtype=torch.float64)
    exact = torch.distributions.MultivariateNormal(torch.zeros(64).double(), covariance).log_prob(x.double())
    target = Target(lambda z: z @ weight.T, Normal(10), x, sigma, chains=16)
    table = Table("leapfrog steps", "temperatures", "product", "exact minus AIS in nats, two seeds")
    for steps, temperatures in ((10, 160), (5, 320), (3, 533), (2, 800), (1, 1600), (2, 400), (2, 320)):
        settings = Settings(16, temperatures, steps)
        lacking = []
        for seed in range(2):
            generator = torch.Generator().manual_seed(seed)
            run = forward(target, tune(target, settings, generator, "tuning"), steps, generator, "AIS")
            lacking.append(float((exact - log_mean_weight(run.log_weights)).mean()))
        values = ", ".join(f"{value:.2f}" for value in lacking)
        table.add_row(str(steps), str(temperatures), str(steps * temperatures), values)
    Console(width=130).print(table)


def limit() -> None:
    """Processor seconds of FID∞ through 15 parts of 10,000 samples at 2,048 dimensions, of a FID for each part, of one FID."""
    torch.manual_seed(2048)
    mix = torch.randn(16, 2048)
    real, fake = ((scale * torch.randn(SAMPLES, 16) @ mix).relu() for scale in (1.0, 1.05))
    fake += 0.05 * torch.rand(SAMPLES, 2048)
    sizes = torch.linspace(4096, SAMPLES, 15).round().int().tolist()

    def by_parts() -> float:
        generator, reference = torch.Generator().manual_seed(0), moments(real)
        parts = (fake[torch.randperm(SAMPLES, generator=generator)[:size]] for size in sizes)
        distances = [float(frechet_distance(*reference, *moments(part))) for part in parts]
        return float(linregress([1 / size for size in sizes], distances).intercept)

    def shared() -> float:
        return frechet_infinity(real, fake, sizes, torch.Generator().manual_seed(0))[0]

    ways = {
        "FID∞": shared,
        "by a FID for each part": by_parts,
        "FID": lambda: fid_of(real, fake),
        "torchmetrics' FID": lambda: their_fid(real, fake),
    }
    for name, function in ways.items():
        start = time.process_time()
        value = function()
        print(f"{name}: {time.process_time() - start:.1f} processor seconds, {value:.12g}", flush=True)


def memory() -> None:
    """Peak memory of the neighbour search and of KID, beside the memory of the features alone."""
    torch.manual_seed(0)
    mix = torch.randn(16, 2048)
    real, fake = (torch.randn(50_000, 16) @ mix for _ in range(2))
    print(f"before: {_peak():.2f} GiB, of which features {2 * real.nbytes / 2**30:.2f}")
    scores, seconds = _timed(lambda: manifold_scores(real, fake, NEIGHBOURS))
    print(f"{scores} in {seconds / 60:.1f} min, peak {_peak():.2f} GiB")
    (value, error), seconds = _timed(lambda: squared_mmd(real, fake, polynomial))
    print(f"KID {value:.4g} ± {error:.2g} in {seconds / 60:.1f} min, peak {_peak():.2f} GiB")


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    value = function()
    return value, time.perf_counter() - start


def _ratio(ours: float, theirs: float) -> tuple[str, str, str]:
    return f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.1f} times as fast"


def _results(ours: Any, theirs: Any) -> str:
    if isinstance(theirs, dict):
        worst = max(abs(getattr(ours, name) - float(value)) for name, value in theirs.items())
        return f"largest difference {worst:.1g}"
    return f"{ours:.6g} and {theirs:.6g}"


def _peak() -> float:
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / 2**20


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
