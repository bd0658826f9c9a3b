"""The step that trains seeds together on this device, beside the same seeds alone."""

import contextlib
import io
import shutil
from functools import partial

from benchmarks.records.runs import read_record
from benchmarks.studies.gpu_runs import difference, empty
from benchmarks.studies.ledger import Step, Tables
from benchmarks.studies.place import CHEAP, FAMILIES, Place
from benchmarks.training.configure import configure_seeds
from benchmarks.training.run import train_and_score
from benchmarks.training.seeds import train_together

SEEDS = (0, 1, 2)


def together(place: Place) -> list[Step]:
    """Each family, with layers and with convolutions."""
    families = FAMILIES[-1:] if place.is_tiny else FAMILIES
    networks = ("mlp",) if place.is_tiny else ("mlp", "dcgan")
    return [
        Step(f"together-{n}-{f}", "together", 10.0, partial(_together, place, f, n)) for n in networks for f in families
    ]


def _together(place: Place, family: str, network: str) -> Tables:
    """One block of minibatches: rounding has not grown yet."""
    work = empty(place.folder / "work" / f"together-{network}-{family}")
    words = [f"model={family}", "datamodule=noise", f"network={network}", "budget.amount=1280", *CHEAP, place.trainer]
    runs = {}
    for how in ("alone", "together"):
        composed = configure_seeds([*place.words(*words), f"runs_dir={work / how}"], SEEDS).values()
        configs = [config.changed(protocol={**config.parts.protocol, "metrics": {}}) for config in composed]
        with contextlib.redirect_stdout(io.StringIO()):
            if how == "together":
                train_together(configs)
            for config in configs:
                train_and_score(config)
        runs[how] = [config.path for config in configs]
    record = read_record(runs["together"][0]) or {}
    largest = max(difference(*pair) for pair in zip(runs["alone"], runs["together"], strict=True))
    shutil.rmtree(work)
    row = {"model": family, "network": network, "seeds": len(SEEDS), "loop": record.get("loop")}
    return {"Seeds together": [{**row, "largest weight difference from runs alone": largest}]}
