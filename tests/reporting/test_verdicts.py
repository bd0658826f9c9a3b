"""Answers to claims: what makes a claim hold, fail, or stay open."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.errors import UserError
from benchmarks.records.runs import Run, Score, ScoreSheet
from benchmarks.records.searches import Search, Trial
from benchmarks.reporting.build import write_report
from benchmarks.reporting.claim_files import parse_choice, parse_claim
from benchmarks.reporting.claims import Claims, Side
from benchmarks.reporting.points import effect_text
from benchmarks.reporting.table import Row, Table
from benchmarks.reporting.verdicts import Answer, answer_all

FID = "title: t\nquantity: fid\nleft: gan\nright: vae\nexpect: lower\n"


def row(model: str, config: str = "c1", **columns: list[float]) -> Row:
    """A row with one run a value; every column has as many."""
    seeds = range(len(next(iter(columns.values()))))
    runs = [Run(Path(f"runs/digits/{model}/{config}/seed={i}"), {"seed": i, "status": "finished"}, []) for i in seeds]
    measured = {i: {name: values[i] for name, values in columns.items()} for i in seeds}
    return Row(model if config == "c1" else f"{model} ({config})", model, config, runs, measured=measured)


def table(*rows: Row, split: str = "test", datamodule: str = "digits") -> Table:
    data = {"id": "d1", "sizes": {}, "binarize": "none", "dequantize": False}
    return Table(datamodule, "mlp", data, {"name": "quick", "split": split}, "p1", [], list(rows))


def around(mean: float, n: int = 6, spread: float = 0.1) -> list[float]:
    return (mean + spread * torch.randn(n).clamp(-2, 2)).tolist()


def answer(text: str, *rows: Row, **options: Any) -> Answer:
    (found,) = answer_all([parse_claim("c", text)], [table(*rows)], **options)
    return found


def test_a_difference_beyond_chance_holds_or_does_not() -> None:
    rows = row("gan", fid=around(5)), row("vae", fid=around(9))
    found = answer(FID, *rows)
    assert (found.verdict, found.where) == ("holds", "digits · quick")
    assert answer(FID.replace("lower", "higher"), *rows).verdict == "does not hold"
    pair = found.decisive
    assert pair is not None
    a, b = (np.array(r.values("fid")) for r in rows)
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert pair.effect == pytest.approx(a.mean() - b.mean())
    assert (pair.low, pair.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(3 * expected.pvalue / 2), "three statements are tested, each one-sided"
    assert {path.parts[2] for path in found.runs} == {"gan", "vae"}
    assert len(found.runs) == 12


def test_equal_rows_are_undecided() -> None:
    values = around(5)
    found = answer(FID, row("gan", fid=values), row("vae", fid=values[::-1]))
    assert (found.verdict, found.reason) == ("undecided", "a difference within chance, at 5% for 1 tests together")


def test_too_few_seeds_decide_nothing_however_far_apart() -> None:
    found = answer(FID, row("gan", fid=around(5, n=4)), row("vae", fid=around(900)))
    assert (found.verdict, found.reason) == ("undecided", "gan has 4 seeds, 5 are needed")
    assert found.p is None
    assert answer(FID, row("gan", fid=around(5, n=4)), row("vae", fid=around(900)), min_seeds=4).verdict == "holds"


def test_every_model_of_a_side_must_pass() -> None:
    text = FID.replace("left: gan", "left: [gan, wgan]")
    good, bad, vae = row("gan", fid=around(5)), row("wgan", fid=around(12)), row("vae", fid=around(9))
    assert answer(text, good, row("wgan", fid=around(4)), vae).verdict == "holds"
    found = answer(text, good, bad, vae)
    assert found.verdict == "does not hold"
    assert found.decisive is not None
    assert found.decisive.left.label == "wgan"
    missing = answer(text, good, vae)
    assert missing.verdict == "undecided", "a sentence of two is not shown by one"
    assert missing.reason == "holds where it was tested; not tested: wgan (no such scores)"
    assert answer(text, bad, vae).verdict == "does not hold", "one that fails refutes it"


def test_a_row_with_too_few_seeds_is_named_and_decides_nothing() -> None:
    """One run that somebody tried does not take the verdict from rows that have seeds enough."""
    gan, vae, tried = row("gan", fid=around(5)), row("vae", fid=around(9)), row("vae", "c2", fid=[1.0])
    found = answer(FID, gan, vae, tried)
    assert (found.verdict, len(found.points)) == ("holds", 1)
    assert found.reason == "not included: vae (c2) has 1 seeds, 5 are needed"
    assert answer(FID, row("gan", fid=around(50)), vae, tried).verdict == "does not hold"
    both = FID.replace("left: gan", "left: [gan, wgan]")
    unknown = answer(both, gan, row("wgan", fid=[5.0]), vae)
    assert unknown.verdict == "undecided"
    assert unknown.reason.startswith("holds where it was tested; not tested: wgan has 1 seeds, 5 are needed")
    assert answer(both, row("gan", fid=around(50)), row("wgan", fid=[5.0]), vae).verdict == "does not hold"


def test_ratios_are_of_geometric_means() -> None:
    text = FID + "scale: ratio\n"
    found = answer(text, row("gan", fid=[4.0, 1.0, 2.0, 3.0, 2.5]), row("vae", fid=[8.0, 2.0, 4.0, 6.0, 5.0]))
    assert found.decisive is not None
    assert found.decisive.effect == pytest.approx(0.5)
    assert found.decisive.low < 0.5 < found.decisive.high
    open_ = answer(text, row("gan", fid=[-1.0, 1, 2, 3, 4]), row("vae", fid=around(5)))
    assert open_.verdict == "undecided"
    assert open_.reason == "a ratio needs values above 0, and some values are not"


def test_against_a_number() -> None:
    text = "title: t\nquantity: fid / fid_fitted\nleft: ae\nright: 1.5\nexpect: higher\nscale: ratio\n"
    found = answer(text, row("ae", fid=around(30), fid_fitted=around(10)))
    assert found.verdict == "holds"
    assert found.decisive is not None
    words = effect_text(found.claim, found.decisive).split()
    assert words[:2] == ["ae", "has"]
    assert float(words[2].rstrip(",")) == pytest.approx(3, abs=0.1)
    assert words[3:5] == ["against", "1.500"]
    assert answer(text, row("ae", fid=around(11), fid_fitted=around(10))).verdict == "does not hold"
    assert parse_claim("c", text.replace("1.5", "15e-1")).right == 1.5, "YAML 1.1 reads it as text"


def test_equal_means_within_a_margin_and_its_opposite() -> None:
    text = FID.replace("lower", "equal") + "scale: ratio\nmargin: 1.25\n"
    vae = row("vae", fid=around(10))
    assert answer(text, row("gan", fid=around(10.2)), vae).verdict == "holds"
    assert answer(text, row("gan", fid=around(20)), vae).verdict == "does not hold"
    noisy = answer(text, row("gan", fid=[9.0, 14, 10, 15, 8]), vae)
    assert (noisy.verdict, noisy.reason) == ("undecided", "the interval extends beyond the margin")


def test_a_margin_has_to_be_exceeded() -> None:
    rows = row("gan", fid=around(5)), row("vae", fid=around(9))
    assert answer(FID + "margin: 3\n", *rows).verdict == "holds"
    assert answer(FID + "margin: 5\n", *rows).verdict == "does not hold"


def test_spread_is_compared_by_distances_from_the_median() -> None:
    text = FID + "statistic: spread\n"
    found = answer(text, row("gan", fid=around(5, n=20, spread=0.01)), row("vae", fid=around(5, n=20, spread=3)))
    assert found.verdict == "holds"
    assert found.claim.subject == "spread of FID over seeds"


@pytest.mark.parametrize(
    ("expect", "words"),
    [("lower", "the test is passed at 5% alone, but not"), ("higher", "the opposite is shown at 5% alone")],
)
def test_a_difference_that_only_misses_the_corrected_level_is_not_called_chance(expect: str, words: str) -> None:
    claim = parse_claim("c", FID.replace("lower", expect))
    values = np.array([-1.2, -0.7, 0.0, 0.7, 1.2])
    rows = [row(model, fid=(mean + values).tolist()) for model, mean in (("gan", 5.0), ("vae", 6.8))]
    (found,) = answer_all(Claims([claim], ("digits", "mnist", "grid")), [table(*rows)])
    assert found.verdict == "undecided"
    assert found.reason.startswith(words)
    assert "at 5% for 3 tests together" in found.reason


def test_tests_that_split_but_miss_the_corrected_level_are_not_called_chance() -> None:
    path = parse_choice("path", "title: path\noptions: {circle: {}, straight: {fid: fid_straight}}")
    claim = parse_claim("c", f"{FID}choices: [path]\n", {"path": path})
    values = np.array([-1.2, -0.7, 0.0, 0.7, 1.2])
    gan = row("gan", fid=(5.0 + values).tolist(), fid_straight=(7.1 + values).tolist())
    vae = row("vae", fid=(7.1 + values).tolist(), fid_straight=(5.0 + values).tolist())
    (found,) = answer_all(Claims([claim], ("digits", "mnist", "grid")), [table(gan, vae)])
    assert found.verdict == "undecided"
    assert found.reason.startswith(
        "1 of 2 tests are passed and 1 failed, each at 5%: they split, but not clearly enough at 5%"
    )


def test_what_costs_the_same_under_every_protocol_is_answered_once() -> None:
    rows = row("gan", images_per_second=around(5)), row("vae", images_per_second=around(9))
    claim = parse_claim("c", FID.replace("quantity: fid", "quantity: 1 / images_per_second"))
    assert len(answer_all([claim], [table(*rows), table(*rows)])) == 1
    for tables in ([table(rows[1]), table(*rows)], [table(*rows), table(rows[1])]):
        (found,) = answer_all([claim], tables)
        assert found.verdict == "does not hold", "the table that has both sides answers it"


def test_tables_of_one_name_are_told_apart() -> None:
    rows = row("gan", fid=around(5)), row("vae", fid=around(9))
    first = table(*rows)
    second = replace(first, protocol_id="p2")
    found = answer_all([parse_claim("c", FID)], [first, second, table(*rows, datamodule="mnist")])
    name = "digits · quick (data d1, protocol {})"
    assert [a.where for a in found] == [name.format("p1"), name.format("p2"), "mnist · quick"]


def test_another_quantity_on_the_right() -> None:
    text = "title: t\nquantity: ais\nleft: vae\nright: gan\nright_quantity: ais + ais_gap\nexpect: higher\n"
    vae = row("vae", ais=around(100), ais_gap=around(50))
    assert answer(text, vae, row("gan", ais=around(80), ais_gap=around(5))).verdict == "holds"
    assert answer(text, vae, row("gan", ais=around(80), ais_gap=around(30))).verdict == "does not hold"


def test_a_model_with_several_configurations_is_chosen_by_its_settings(tmp_path: Path) -> None:
    first, second = row("vae", fid=around(9)), row("vae", "c2", fid=around(2))
    for config, beta in (("c1", 1.0), ("c2", 4.0)):
        (tmp_path / config).mkdir()
        (tmp_path / config / "config.yaml").write_text(f"model: {{beta: {beta}}}\n")
    first, second = (
        replace(each, runs=[Run(tmp_path / each.config_id, run.record, []) for run in each.runs])
        for each in (first, second)
    )
    gan = row("gan", fid=around(5))
    both = answer(FID, gan, first, second)
    assert both.verdict == "depends", "one row of the model passes and the other fails"
    assert both.reason.startswith("holds with right row: vae; does not hold with right row: vae (c2); 1 of 2 tests")
    for written in ("1.0", "1", "1e0", '"1"'):
        chosen = FID.replace("right: vae", f"right: {{model: vae, where: {{model.beta: {written}}}}}")
        assert answer(chosen, gan, first, second).verdict == "holds"
    (tmp_path / "c2" / "config.yaml").write_text("{")
    assert answer(chosen, gan, first, second).verdict == "holds", "a damaged configuration is in no claim"


def test_validation_scores_baselines_and_other_data_answer_nothing() -> None:
    rows = row("gan", fid=around(5)), row("vae", fid=around(9))
    claim = parse_claim("c", FID + "datamodules: [mnist]\n")
    (found,) = answer_all([claim], [table(*rows)])
    assert (found.verdict, found.where) == ("undecided", "—")
    assert found.reason == "no scored runs on mnist have FID of gan and of vae"
    (found,) = answer_all([parse_claim("c", FID)], [table(*rows, split="val")])
    assert found.where == "—"
    assert not Side("real train").matches(Row("real train", "real train", "", is_baseline=True))


def test_many_tests_are_shown_evenly_over_their_effects() -> None:
    noise = around(0)
    gans = [row("gan", f"c{i}", fid=[i + e for e in noise]) for i in range(2, 102)]
    found = answer(FID, *gans, row("vae", fid=around(130)))
    assert found.verdict == "holds"
    assert (found.tests, len(found.points)) == (100, 60)
    assert [found.points[i].left.label for i in (0, -1)] == ["gan (c2)", "gan (c101)"]
    assert found.decisive is not None
    assert found.decisive.left.label == "gan (c101)"


def test_trials_of_a_search_are_the_values(tmp_path: Path) -> None:
    protocol = {"name": "selection", "split": "val"}
    trials: dict[str, list[Trial]] = {"gan": [], "vae": []}
    runs = []
    for model, spread in (("gan", 0.01), ("vae", 2.0)):
        for i, value in enumerate(around(3, n=20, spread=spread)):
            path = tmp_path / "runs" / "digits" / model / str(i)
            sheet = ScoreSheet(protocol, "v1", "scored", [Score("fid", value, "", False, 9)])
            runs.append(Run(path, {"seed": 0, "status": "finished", "search": {"role": "trial"}}, [sheet]))
            trials[model].append(Trial(model, i, {}, "finished", value, f"digits/{model}/{i}", "c"))
    record = {"name": "s", "datamodule": "digits", "network": "mlp", "protocol_id": "v1", "sampler": "random"}
    search = Search(tmp_path / "runs" / "digits" / "_searches" / "s-1", record, trials)
    claim = parse_claim("c", FID + "statistic: spread\nover: trials\n")
    (found,) = answer_all([claim], [], [search], runs)
    assert (found.verdict, found.where) == ("holds", "digits · mlp (s)")
    assert found.decisive is not None
    assert found.decisive.left.label == "gan (20 trials)"
    # the search of another root, with its own 5% and its own p-value; a search of one root is no other search's test
    elsewhere = tmp_path / "other" / "digits"
    others = [replace(run, path=elsewhere / run.path.relative_to(tmp_path / "runs" / "digits")) for run in runs]
    for run, other in zip(runs, others, strict=True):
        (score,) = run.sheets[0].scores
        assert score.value is not None
        other.sheets[:] = [ScoreSheet(protocol, "v1", "scored", [Score("fid", 3 + 1e-3 * score.value, "", False, 9)])]
    same = Search(elsewhere / "_searches" / "s-1", record, trials)
    assert same.title == search.title
    both = answer_all(Claims([claim, claim]), [], [search, same], [*runs, *others])
    alone = [answer_all(Claims([claim, claim]), [], [each], [*runs, *others])[0] for each in (search, same)]
    assert [each.adjusted_p for each in both[:2]] == [each.adjusted_p for each in alone]
    assert len({each.where for each in both}) == 2
    trials["vae"].append(Trial("vae", 20, {}, "finished", None, "digits/vae/20", "c", "its samples are no numbers"))
    (open_,) = answer_all([claim], [], [search], runs)
    assert open_.verdict == "undecided"
    assert "1 of 21 trials of vae (20 trials) have no value" in open_.reason
    trials["vae"].pop()
    record["sampler"] = "tpe"
    (guided,) = answer_all([claim], [], [search], runs)
    assert guided.verdict == "undecided"
    assert "not drawn at random" in guided.reason
    (none,) = answer_all([claim], [], [])
    assert none.reason == "no search has these models; run python -m benchmarks.search"


def test_a_new_claim_is_a_yaml(sweep: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "mine.yaml").write_text(FID.replace("title: t", "title: My own sentence"))
    write_report([sweep / "runs"], tmp_path / "out", "x", claims=tmp_path, min_seeds=2)
    assert "My own sentence" in capsys.readouterr().out
    for name in ("index.html", "leaderboard.md", "leaderboard.tex", "claims.csv"):
        text = (tmp_path / "out" / name).read_text()
        assert "My own sentence" in text
        assert "digits · quick" in text.replace(r" $\cdot$ ", " · ")


@pytest.mark.parametrize("expect", ["lower", "equal\nmargin: 1.2"])
def test_ratios_too_large_or_too_small_for_a_float_are_answered(expect: str) -> None:
    text = FID.replace("lower", expect) + "scale: ratio\n"
    for large, small in ((1e300, 1e-300), (1e-300, 1e300)):
        rows = row("gan", fid=[large * v for v in around(1)]), row("vae", fid=[small * v for v in around(1)])
        assert answer(text, *rows).verdict == ("holds" if large < 1 and expect == "lower" else "does not hold")
    rows = row("gan", fid=[1e-200, 1e200, 1.0, 1e100, 1e-100]), row("vae", fid=around(1))
    assert answer(text, *rows).verdict == "undecided"


@pytest.mark.parametrize("margin", [".nan", ".inf", "-.inf"])
def test_a_margin_is_a_finite_number(margin: str) -> None:
    with pytest.raises(UserError, match="expected a finite number"):
        parse_claim("c", f"{FID}margin: {margin}\n")


def test_one_lost_seed_is_not_the_reason_of_a_difference_within_chance() -> None:
    values = around(5, n=20)
    gan = row("gan", fid=values)
    lost = replace(gan, measured={**gan.measured, 3: {}})
    found = answer(FID, lost, row("vae", fid=values[::-1]))
    assert found.reason.startswith("a difference within chance")
    assert answer(FID, lost, row("vae", fid=around(900, n=20))).verdict == "holds"


def test_a_row_that_lost_the_score_of_every_seed_is_not_left_out_silently() -> None:
    """A score that another row of the model has applies to the model."""
    good, vae, lost = row("gan", fid=around(5)), row("vae", fid=around(9)), row("gan", "c2", kid=around(1))
    found = answer(FID, good, lost, vae)
    assert (found.verdict, found.reason) == (
        "undecided",
        "holds where it was tested; not tested: 6 of 6 seeds of gan (c2) are lost",
    )


def test_the_number_of_seeds_is_of_the_statement_that_is_open() -> None:
    """Of two tests that are failed, the clearer one says nothing of the seeds that both need."""
    claims = [parse_claim(f"c{i}", FID.replace("fid", f"q{i}" if i else "fid")) for i in range(300)]
    vae, weak = row("vae", fid=[1.0, 2, 3, 4, 5]), row("gan", "c2", fid=[4.5, 5.5, 6.5, 7.5, 8.5])
    alone, *_ = answer_all(claims, [table(weak, vae)])
    assert alone.reason.endswith("13 seeds per side decide in 4 of 5 cases")
    both, *_ = answer_all(claims, [table(row("gan", fid=[8.5, 9.5, 10.5, 11.5, 12.5]), weak, vae)])
    assert both.reason == "the opposite is shown at 5% alone, but not at 5% for 300 tests together"


def test_another_protocol_that_takes_the_costs_changes_no_verdict() -> None:
    """The claim on costs is answered where most values are, and its p-value is no step of the correction for others."""
    cost = parse_claim("a", FID.replace("fid", "train_seconds"))
    rows = [
        row("gan", fid=[1.0, 2, 3, 4, 5], train_seconds=around(5, n=5)),
        row("vae", fid=[4.6, 5.6, 6.6, 7.6, 8.6], train_seconds=around(9, n=5)),
    ]
    larger = [row("gan", train_seconds=around(5)), row("vae", train_seconds=around(9))]
    other = replace(table(*larger), protocol={"name": "standard", "split": "test"}, protocol_id="p2")
    _, before = answer_all([cost, parse_claim("b", FID)], [table(*rows)])
    moved, after = answer_all([cost, parse_claim("b", FID)], [table(*rows), other])
    assert moved.where == "digits · standard"
    assert before.adjusted_p == after.adjusted_p


def test_two_quantities_of_one_row_are_of_the_same_seeds() -> None:
    """Quantities that move against each other: independent seeds would show the difference, and these seeds do not."""
    text = FID.replace("left: gan", "left: ae").replace("right: vae", "right: ae\nright_quantity: fid_fitted")
    low, high = [9.0, 9.5, 10.0, 10.5, 11.0], [12.9, 12.4, 11.9, 11.4, 10.9]
    assert answer(FID, row("gan", fid=low), row("vae", fid=high)).verdict == "holds"
    found = answer(text, row("ae", fid=low, fid_fitted=high))
    assert found.verdict == "undecided"
    assert found.p == pytest.approx(3 * stats.ttest_rel(low, high, alternative="less").pvalue)
    assert found.decisive is not None
    assert (found.decisive.low, found.decisive.high) == pytest.approx(
        stats.ttest_rel(low, high).confidence_interval(0.95)
    )
    assert answer(text, row("ae", fid=low, fid_fitted=[v + 9 for v in around(10, n=5)])).verdict == "holds"
