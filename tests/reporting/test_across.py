"""What a report says across data sets: which tables and runs it reads, and what the page shows."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.records.paths import BASELINES
from benchmarks.records.runs import find_runs, write_sheet
from benchmarks.reporting.across import Across, across_data_sets
from benchmarks.reporting.across_charts import draw
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.page import page
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import Table
from tests.reporting.fakes import EVIL, add_run, sheet

DATA = ("digits", "mnist")


def add_families(root: Path, families: dict[str, tuple[float, float]], seeds: int = 5) -> None:
    """For each family its FID on both data sets; the protocols differ in their encoder only."""
    for model, fids in families.items():
        for data, fid in zip(DATA, fids, strict=True):
            for seed in range(seeds):
                scores = {"fid": fid + 0.1 * seed, "recon_mse": 1 / fid + 0.001 * seed}
                add_run(root, model, seed, scores, datamodule=data, protocol_id=f"p-{data}")


def add_baselines(root: Path, real: float, noise: float) -> None:
    for data in DATA:
        for name, fid in (("real train", real), ("pixel noise", noise)):
            found = sheet({"fid": fid}, f"p-{data}", f"{data}-cnn")
            write_sheet(root / data / BASELINES / "d1" / name, found)


def across_of(root: Path, min_seeds: int = 5) -> list[Across]:
    return across_data_sets(make_tables(find_runs(root), min_seeds), min_seeds)


def test_data_sets_that_were_scored_alike_are_compared_though_their_encoders_differ(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 9.0), "gan": (10.0, 9.02), "wgan": (30.0, 3.0)})
    add_baselines(tmp_path, 1.0, 100.0)
    (across,) = across_of(tmp_path)
    assert across.data_sets == list(DATA)
    assert set(across.families) == {"vae", "gan", "wgan"}
    samples = across.compared[0]
    assert {family: rank.value for family, rank in samples.ranks.items()} == {"vae": 2, "gan": 2, "wgan": 2}
    by_pair = {(pair.better, pair.other): pair.probability.value for pair in samples.pairs}
    # on mnist, a run of the VAE is better than one of the GAN if its seed is not larger: 15 of 25
    assert by_pair["gan", "vae"] == pytest.approx((1 + 10 / 25) / 2)
    assert all(pair.probability.value >= 0.5 for pair in samples.pairs)
    cost = next(compared for compared in across.compared if compared.question == "Cost")
    assert all(rank.value == 2 for rank in cost.ranks.values()), "equal costs share a rank"


@pytest.mark.parametrize("change", ["one data set", "another network", "another protocol", "another sample count"])
def test_what_was_not_scored_alike_is_not_compared(change: str, tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 9.0), "gan": (10.0, 12.0)})
    tables = make_tables(find_runs(tmp_path), 5)
    assert len(tables) == 2
    other = tables[1]
    changed: dict[str, Table] = {
        "another network": _with(other, network="dcgan"),
        "another protocol": _with(other, protocol={**other.protocol, "seed": 7}),
        "another sample count": _with(other, protocol={**other.protocol, "samples": 50}),
    }
    assert across_data_sets(tables, 5)
    assert not across_data_sets([tables[0], changed[change]] if change in changed else tables[:1], 5)


def test_data_sets_that_share_an_encoder_besides_their_own_are_compared_under_each(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 9.0), "gan": (10.0, 12.0)})
    own = make_tables(find_runs(tmp_path), 5)
    shared = [_with(table, protocol={**table.protocol, "encoder": "inception"}) for table in own]
    both = across_data_sets([*own, *shared], 5)
    assert [[table.protocol["encoder"] for table in across.tables] for across in both] == [
        ["digits-cnn", "mnist-cnn"],
        ["inception", "inception"],
    ]
    assert len(across_data_sets([own[0], shared[1]], 5)) == 1, "one table a data set: all are compared"


def _with(table: Table, **changes: object) -> Table:
    return Table(**{**{name: getattr(table, name) for name in table.__dataclass_fields__}, **changes})


def test_lost_runs_count_as_worst(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 20.0), "gan": (10.0, 10.0)})
    for seed in (5, 6, 7, 8, 9):
        add_run(tmp_path, "gan", seed, {}, status="diverged", datamodule="mnist", error="nan", protocol_id="p-mnist")
    (across,) = across_of(tmp_path)
    samples = across.compared[0]
    assert samples.ranks["gan"].value == 1.5
    (pair,) = samples.pairs
    assert (pair.better, pair.probability.value) == ("gan", pytest.approx((1 + 0.5) / 2))
    front = next(front for front in across.fronts if front.table.datamodule == "mnist")
    assert {row.model: is_on for row, _, _, is_on in front.rows} == {"vae": True, "gan": False}


def test_a_column_that_some_finished_run_lacks_is_left_out_and_named(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 9.0), "gan": (10.0, 12.0)})
    add_run(tmp_path, "gan", 5, {"fid": 11.0, "recon_mse": None}, datamodule="mnist", protocol_id="p-mnist")
    (across,) = across_of(tmp_path)
    assert [compared.question for compared in across.compared] == ["Samples", "Cost"]
    assert "MSE is left out: some finished runs of GAN have no number." in across.notes


def test_times_beside_other_work_are_not_ranked_and_no_best_time_is_marked(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 9.0), "gan": (10.0, 9.02)})
    path = tmp_path / "mnist" / "gan" / "c1" / "seed=3" / "run.json"
    record = json.loads(path.read_text())
    for neighbours, is_said in ((0.2, True), (0.9, False)):
        path.write_text(json.dumps(record | {"cost": record["cost"] | {"neighbours": neighbours}}))
        (across,) = across_of(tmp_path)
        speed = [compared.column.name for compared in across.compared if compared.column.name == "images_per_second"]
        assert bool(speed) == is_said
        assert any("trained beside other work" in note for note in across.notes) != is_said
        of_mnist = next(table for table in make_tables(find_runs(tmp_path), 5) if table.datamodule == "mnist")
        cells = [row.cells["images_per_second"] for row in of_mnist.models]
        assert any(cell.is_best or cell.rank for cell in cells) == is_said
        assert any(row.cells["fid"].is_best for row in of_mnist.models), "scores do not depend on neighbours"


def test_families_that_are_not_everywhere_or_have_few_seeds_are_left_out_and_named(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 9.0), "gan": (10.0, 12.0)})
    add_families(tmp_path, {"wgan": (5.0, 5.0)}, seeds=3)
    add_run(tmp_path, "ae", 0, {"fid": 1.0}, datamodule="mnist", protocol_id="p-mnist")
    (across,) = across_of(tmp_path)
    assert across.families == ["vae", "gan"]
    assert "Not on every data set, and left out: AE." in across.notes
    assert "Fewer than 5 seeds on a data set, and left out: WGAN." in across.notes


def test_profiles_are_between_noise_and_real_data(tmp_path: Path) -> None:
    """A FID of 10 between 1 and 100 is half of the way on a logarithmic scale."""
    add_families(tmp_path, {"vae": (10.0, 10.0), "gan": (3.0, 3.0)})
    assert not across_of(tmp_path)[0].compared[0].profiles, "without baselines there is no scale"
    add_baselines(tmp_path, 1.0, 100.0)
    samples = across_of(tmp_path)[0].compared[0]
    assert samples.is_log
    shares = dict(zip(samples.thresholds, (e.value for e in samples.profiles["vae"]), strict=True))
    assert all(share == 0 for score, share in shares.items() if score > 0.501)
    assert all(share == 1 for score, share in shares.items() if score < 0.49)
    assert not across_of(tmp_path)[0].compared[1].profiles, "a reconstruction has no baselines"


def test_baselines_of_one_order_of_magnitude_give_a_linear_scale(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (10.0, 10.0), "gan": (6.0, 6.0)})
    add_baselines(tmp_path, 5.0, 15.0)
    samples = across_of(tmp_path)[0].compared[0]
    assert not samples.is_log
    shares = [
        e.value for score, e in zip(samples.thresholds, samples.profiles["vae"], strict=True) if 0.47 < score < 0.49
    ]
    assert shares, "the score of 10 to 10.4 is 0.5 to 0.46"
    assert all(0 < share < 1 for share in shares)


def test_the_page_shows_it_where_there_are_two_data_sets_and_escapes_names(tmp_path: Path) -> None:
    add_families(tmp_path, {"vae": (20.0, 9.0), EVIL: (10.0, 12.0)})
    add_baselines(tmp_path, 1.0, 100.0)
    tables = make_tables(find_runs(tmp_path), 5)
    across = across_data_sets(tables, 5)
    text = page(Report(tables=tables, across=across))
    assert text.count('id="across-1"') == 1
    assert '<a href="#across-1">Across data sets</a>' in text
    assert 'data-datamodule="digits|mnist"' in text
    assert EVIL not in text
    alone = page(Report(tables=tables[:1], across=across_data_sets(tables[:1], 5)))
    assert "Across data sets" not in alone
    drawn = draw(across[0], ["vae", EVIL])
    fid = next(
        figure for figure, front in zip(drawn.fronts, across[0].fronts, strict=True) if front.across.name == "recon_mse"
    )
    assert len(fid.front) == 2, "one is better in each score"
    places = [tuple(map(float, at)) for at in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', fid.drawing)]
    (stairs,) = re.findall(r'class="front" d="([^"]+)"', fid.drawing)
    for x, y in places:
        assert f"{x:.1f}" in stairs
        assert f"{y:.1f}" in stairs
