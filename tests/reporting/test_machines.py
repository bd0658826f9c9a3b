"""Costs, and other scores that depend on the machine, are compared between equal machines only."""

from dataclasses import replace
from typing import Any

from benchmarks.reporting.alone import SPEEDS, TIMES, incomparable
from benchmarks.reporting.table import Row
from tests.reporting.test_specifications import with_facts
from tests.reporting.test_verdicts import FID, answer, around, row


def test_costs_on_different_machines_are_not_compared() -> None:
    def on(of: Row, device: str) -> Row:
        for run in of.runs:
            run.record["environment"] = {"device": device}
        return of

    text = "title: t\nquantity: 1000 / images_per_second\nleft: gan\nright: vae\nexpect: lower\n"
    gan, vae = (on(row(model, images_per_second=around(speed)), "cpu") for model, speed in (("gan", 20), ("vae", 10)))
    assert answer(text, gan, vae).verdict == "holds"
    on(gan, "NVIDIA H100")
    found = answer(text, gan, vae)
    assert (found.verdict, found.reason) == ("undecided", "gan and vae differ in device (NVIDIA H100 against cpu)")


def test_a_row_whose_seeds_ran_on_several_machines_has_no_comparable_cost() -> None:
    """Two families of equal speed, most seeds of one with one thread and most of the other with eight: once "holds"."""
    text = "title: t\nquantity: 1000 / images_per_second\nleft: gan\nright: vae\nexpect: lower\n"
    gan, vae = row("gan", images_per_second=around(20)), row("vae", images_per_second=around(10))
    for of, usual, other in ((gan, 8, 1), (vae, 1, 8)):
        for i, run in enumerate(of.runs):
            run.record["environment"] = {"threads": other if i == 0 else usual}
    found = answer(text, gan, vae)
    assert found.verdict == "undecided"
    assert "gan and vae differ in threads (1 or 8 in gan against 1 or 8 in vae)" in found.reason


def test_times_beside_other_work_decide_nothing() -> None:
    """Measured once: WGAN-GP against WGAN cost 1.74 alone, and 0.96 beside another job."""
    text = "title: t\nquantity: 1000 / images_per_second\nleft: gan\nright: vae\nexpect: lower\n"
    vae = row("vae", images_per_second=around(10), neighbours=[0.0] * 6)
    for busy, verdict in ((0.1, "holds"), (0.9, "undecided")):
        gan = row("gan", images_per_second=around(20), neighbours=[0.0] * 5 + [busy])
        found = answer(text, gan, vae)
        assert found.verdict == verdict
    assert "gan was trained beside other work, which kept up to 0.9 processors busy" in found.reason
    busy_too = row("vae", images_per_second=around(10), neighbours=[0.9] * 6)
    assert answer(text, gan, busy_too).reason.startswith(
        "gan and vae were trained beside other work, which kept up to 0.9"
    )
    busier = row("vae", images_per_second=around(10), neighbours=[1.3] * 6)
    assert answer(text, gan, busier).reason.startswith(
        "gan and vae were trained beside other work, which kept up to 1.3"
    )
    assert answer(text, busier, gan).reason.count("processors busy") == 1
    nickname = replace(busy_too, label="what was trained at night")
    assert "gan and what was trained at night were trained beside" in answer(text, gan, nickname).reason
    for run in gan.runs:
        run.record["environment"] = {"seeds_together": 3}
    assert "gan was trained 3 seeds at a time" in answer(text, gan, vae).reason
    gan = row("gan", fid=around(5), neighbours=[2.0] * 6)
    assert answer(FID, gan, row("vae", fid=around(50))).verdict == "holds", "a score does not depend on neighbours"


def test_speeds_that_were_measured_in_turns_are_compared_beside_other_work() -> None:
    def measured(of: Row, together: str) -> Row:
        costs: Any = {"together": together, "environment": {"device": "cpu"}}
        return replace(of, runs=[replace(run, costs=costs) for run in of.runs])

    text = "title: t\nquantity: 1000 / images_per_second\nleft: gan\nright: vae\nexpect: lower\n"
    gan, vae = (
        row(model, images_per_second=around(speed), neighbours=[1.9] * 6) for model, speed in (("gan", 20), ("vae", 10))
    )
    assert answer(text, gan, vae).verdict == "undecided"
    assert answer(text, measured(gan, "a"), measured(vae, "a")).verdict == "holds"
    found = answer(text, measured(gan, "a"), measured(vae, "b"))
    assert (found.verdict, found.reason) == ("undecided", "gan and vae differ in measurement of speeds (a against b)")
    assert answer(text, measured(gan, "a"), vae).verdict == "undecided", "one row was measured during training"
    seconds = text.replace("1000 / images_per_second", "train_seconds").replace("lower", "higher")
    slow, fast = (row(model, train_seconds=around(s), neighbours=[1.9] * 6) for model, s in (("gan", 20), ("vae", 10)))
    assert answer(seconds, measured(slow, "a"), measured(fast, "a")).verdict == "undecided", "those are of the training"
    quiet = [row(model, train_seconds=around(s), neighbours=[0.0] * 6) for model, s in (("gan", 20), ("vae", 10))]
    assert answer(seconds, *quiet).verdict == "holds"


def test_times_are_marked_only_among_rows_of_one_measurement() -> None:
    def measured(*ids: str, busy: float = 0.0) -> Row:
        of = row("gan", images_per_second=[1.0] * len(ids), neighbours=[busy] * len(ids))
        costs: Any = [{"together": id, "environment": {"device": "cpu"}} if id else None for id in ids]
        return replace(of, runs=[replace(run, costs=own) for run, own in zip(of.runs, costs, strict=True)])

    assert incomparable([measured("", ""), measured("", "")]) == set()
    assert incomparable([measured("", "", busy=1.0), measured("", "")]) == TIMES
    assert incomparable([measured("a", "a", busy=1.0), measured("a", "a")]) == {"train_seconds"}
    assert incomparable([measured("a", "a"), measured("a", "b")]) == SPEEDS
    assert incomparable([measured("a", "a"), measured("", "")]) == SPEEDS
    assert incomparable([measured("a", ""), measured("a", "", busy=1.0)]) == TIMES


def test_after_a_budget_of_seconds_every_score_depends_on_the_machine() -> None:
    """Two equal families, one minute each, one on a GPU and one on a CPU: once "holds"."""
    gan, vae = (
        with_facts(row(model, fid=around(fid)), budget="60 seconds") for model, fid in (("gan", 5), ("vae", 50))
    )
    for of in (gan, vae):
        for run in of.runs:
            run.record["environment"] = {"device": "cpu"}
    assert answer(FID, gan, vae).verdict == "holds"
    for run in gan.runs:
        run.record["environment"] = {"device": "NVIDIA H100"}
    assert answer(FID, gan, vae).reason == "gan and vae differ in device (NVIDIA H100 against cpu)"


def measured_in_turns(of: Row, together: str = "a", **environment: Any) -> Row:
    """A row whose finished runs were measured in turns."""
    costs: Any = {"together": together, "environment": {"device": "cpu"} | environment}
    runs = [replace(run, costs=costs) if run.status == "finished" else run for run in of.runs]
    return replace(of, runs=runs)


def test_a_row_without_speeds_hinders_no_comparison_of_the_others() -> None:
    """A row from elsewhere has no speeds, and nothing measures them."""
    gan, vae = (measured_in_turns(row(model, images_per_second=[1.0, 2.0])) for model in ("gan", "vae"))
    assert incomparable([gan, vae, row("mine", fid=[1.0, 2.0])]) == set()
    assert incomparable([gan, vae, row("mine", images_per_second=[1.0, 2.0])]) == SPEEDS, "speeds that its owner stated"


def test_speeds_of_one_measurement_on_other_machines_are_not_compared() -> None:
    """Runs of several numbers of threads in one command, or an id that was copied."""
    gan, vae = (row(model, images_per_second=[1.0, 2.0]) for model in ("gan", "vae"))
    for other in ({"threads": 8}, {"processor": "x"}, {"device": "NVIDIA H100"}):
        assert incomparable([measured_in_turns(gan), measured_in_turns(vae, **other)]) == SPEEDS


def test_a_measurement_does_not_depend_on_where_runs_were_trained() -> None:
    """Seeds that diverged on another machine, and budgets of seconds beside other work."""
    text = "title: t\nquantity: 1000 / images_per_second\nleft: gan\nright: vae\nexpect: lower\n"
    rows = []
    for model, speed in (("gan", 2000), ("vae", 10)):
        of = with_facts(row(model, images_per_second=around(speed, n=12), neighbours=[1.9] * 12), budget="9 seconds")
        for run in of.runs:
            run.record["environment"] = {"device": "NVIDIA H100"}
        lost = replace(of.runs[0], record={"seed": 12, "status": "diverged", "environment": {"device": "cuda"}})
        rows.append(measured_in_turns(replace(of, runs=[*of.runs, lost] if model == "gan" else of.runs)))
    found = answer(text, *rows)
    assert found.reason != "gan and vae differ in device (cpu or cuda in gan against cpu)"
    assert found.verdict == "holds"
    of_training = answer(text.replace("images_per_second", "(images_per_second * neighbours)"), *rows)
    assert of_training.verdict == "undecided", "other columns are of the training"
