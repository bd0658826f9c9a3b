"""The steps that train the published findings (docs/findings.md) at the sizes of their papers, run by run."""

from collections.abc import Iterator, Sequence
from functools import partial

from hydra import compose

from benchmarks.multirun.sweep import jobs_of
from benchmarks.studies.gpu_runs import recorded
from benchmarks.studies.ledger import Step, Tables
from benchmarks.studies.place import Place

# presets of conf/sweep, the shortest first; the last needs CIFAR-10. gan_losses waits for an equal search on MNIST
SWEEPS = (
    *("pacgan_stacked", "rpgan", "real_nvp", "fitted_density", "pacgan", "likelihoods", "two_stage", "bounds"),
    "flow_matching",
)
# what a captured loop of these networks is guessed to train in a second; the first runs of a sweep correct it
IMAGES_PER_SECOND = 20_000


def findings(place: Place) -> list[Step]:
    """Every run of the sweeps of full size. A run that is cut off goes on from its checkpoint next time."""
    steps = [
        Step(
            f"finding-{sweep}-{'-'.join(word.rpartition('=')[2] for word in job)}",
            f"finding {sweep}",
            amount / IMAGES_PER_SECOND,
            partial(_finding, place, sweep, job),
            goes_on=True,
        )
        for sweep in (SWEEPS[1:2] if place.is_tiny else SWEEPS)
        for amount, job in _jobs(sweep)
    ]
    return steps[:1] if place.is_tiny else steps


def _jobs(sweep: str) -> Iterator[tuple[int, Sequence[str]]]:
    """The images that each run of a preset trains on, and the words of the run, in the order of its seeds."""
    cfg = compose("train", overrides=[f"sweep={sweep}"], return_hydra_config=True)
    jobs = jobs_of([f"{key}={value}" for key, value in cfg.hydra.sweeper.params.items()])
    for job in sorted(jobs, key=lambda job: int(job[-1].removeprefix("seed="))):
        yield int(cfg.budget.amount), job


def _finding(place: Place, sweep: str, job: Sequence[str]) -> Tables:
    words = place.words(f"sweep={sweep}", *job, place.trainer)
    record, scores = recorded(words, place.folder / "findings" / sweep)
    row = {"sweep": sweep, "run": " ".join(job), "status": record["status"]}
    columns = {"FID": "fid", "modes": "modes", "IWAE bound": "iwae", "bits/dim": "density_bits_per_dim"}
    row |= {title: scores.get(name) for title, name in columns.items()}
    row |= {"loop": record["loop"], "seconds": record["cost"]["train_seconds"]}
    return {"Published findings": [row]}
