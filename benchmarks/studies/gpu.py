"""python -m benchmarks.studies.gpu: what only a GPU can show, in steps of known length that fit a limited time.

Each step writes its result into reports/gpu/steps/, and a step with a result is not repeated. After each step,
reports/gpu/results.md and results.json hold every table. A step starts only if its estimated time is left; a step that takes
longer is stopped, and its training goes on from its checkpoint next time. docs/gpu.md says what each step shows.
The first steps of some parts run before the rest, so that a short time shows something of each.

    python -m benchmarks.studies.gpu                           all parts in the order of their value, for nine minutes
    python -m benchmarks.studies.gpu minutes=4 part=works      one part
    python -m benchmarks.studies.gpu minutes=2 size=tiny       every kind of step, on any machine
"""

from benchmarks.studies.words import study

PARTS = ("works", "speed", "scoring", "published", "findings")
# steps that run before all others: every family works, is compared with other loops, and has a run of the published table
FIRST = {"works": 5, "speed": 10, "published": 5}


@study(minutes=9, part=("all", *PARTS), size=("paper", "tiny"))
def main(minutes: int, part: str, size: str) -> None:
    # importing torch takes seconds, and a wrong word needs none
    from benchmarks.studies import gpu_findings, gpu_runs, gpu_speed, gpu_together
    from benchmarks.studies.ledger import Ledger
    from benchmarks.studies.place import prepared

    is_tiny = size == "tiny"
    with prepared(is_tiny, "gpu") as place:
        steps_of = {
            "works": lambda place: [*gpu_runs.works(place), *gpu_together.together(place)],
            "speed": gpu_speed.speed,
            "scoring": gpu_runs.scoring,
            "published": gpu_runs.published,
            "findings": gpu_findings.findings,
        }
        steps = {name: steps_of[name](place) for name in PARTS if part in ("all", name)}
        first = [step for name, number in FIRST.items() for step in steps.get(name, [])[:number]]
        rest = [step for of_part in steps.values() for step in of_part if step not in first]
        Ledger(place.folder, place.machine, is_usable=place.is_usable).run([*first, *rest], 60.0 * minutes)


if __name__ == "__main__":
    main()
