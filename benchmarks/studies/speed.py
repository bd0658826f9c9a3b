"""python -m benchmarks.studies.speed: the speed of training on this machine, as ratios to other loops, and what else a run costs.

Two loops that are compared run in turns in one process. Where one thread does all work, seconds are of the processor, so that
programs beside the study cost nothing. Each step writes its result into reports/speed/steps/, and a step with a result is not
repeated: remove the folder to measure again. reports/speed/results.md and results.json hold every table of the command. A step
starts only if its estimated time is left; the same command goes on later. docs/speed.md explains the tables.

    python -m benchmarks.studies.speed                               everything that fits into ten minutes
    python -m benchmarks.studies.speed part=loops model=vae          one part, one family: genbench's loop beside other loops
    python -m benchmarks.studies.speed part=compiled network=mlp     what compiled losses would give
    python -m benchmarks.studies.speed part=scoring minutes=30       what scoring a run costs, metric by metric
    python -m benchmarks.studies.speed part=inversion minutes=20     searches of latents under standard, beside longer ones
    python -m benchmarks.studies.speed minutes=2 size=tiny           every kind of step at the smallest size
"""

import os

from benchmarks.studies.words import choices, study

PARTS = ("loops", "start", "costs", "growth", "compiled", "bf16", "seeds", "scoring", "inversion")


@study(
    minutes=10,
    part=("all", *PARTS),
    model=("five", *choices("model")),
    network=("three", *choices("network")),
    threads=1,
    size=("paper", "tiny"),
)
def main(minutes: int, part: str, model: str, network: str, threads: int, size: str) -> None:
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # torch's profiler complains of a missing GPU
    # importing torch takes seconds, and a wrong word needs none
    from benchmarks.scoring.restore import set_threads
    from benchmarks.studies import speed_costs, speed_loops, speed_scoring
    from benchmarks.studies.ledger import Ledger
    from benchmarks.studies.place import FAMILIES, Target, prepared

    is_tiny = size == "tiny"
    set_threads(threads)
    families = ("wgan_gp",) if is_tiny else FAMILIES
    networks = ("mlp",) if is_tiny else ("mlp", "dcgan_narrow", "dcgan")
    targets = [
        Target(f, n)
        for n in (networks if network == "three" else (network,))
        for f in (families if model == "five" else (model,))
    ]
    with prepared(is_tiny, "speed", "cpu") as place:
        makers = {
            "loops": speed_loops.loops,
            "start": speed_costs.start,
            "costs": speed_costs.costs,
            "growth": speed_costs.growth,
            "compiled": speed_loops.compiled,
            "bf16": speed_loops.bf16,
            "seeds": speed_loops.seeds,
            "scoring": speed_scoring.scoring,
            "inversion": speed_scoring.inversion,
        }
        chosen = [step for name in PARTS if part in ("all", name) for step in makers[name](place, targets)]
        Ledger(place.folder, place.machine).run(chosen, 60.0 * minutes)
        print((place.folder / "results.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
