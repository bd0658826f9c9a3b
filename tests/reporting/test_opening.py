"""What the page says first: a sentence for each pair of families, maps, and pictures side by side."""

import io
import math
import random
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import ConvexHull

from benchmarks.records.runs import find_runs
from benchmarks.records.schemas import MOST_VALUE
from benchmarks.reporting.claim_files import load_claims
from benchmarks.reporting.gallery import copy_pictures
from benchmarks.reporting.leaderboard import make_tables
from benchmarks.reporting.maps import LINE, MOST_BESIDE, Scale, _best_place, _names, hull, score_map
from benchmarks.reporting.newcomers import newcomers
from benchmarks.reporting.opening import Opening, openings
from benchmarks.reporting.page import page
from benchmarks.reporting.report import Report
from tests.reporting.fakes import EVIL, add_run


def opening_of(root: Path, min_seeds: int = 5) -> Opening:
    tables = make_tables(find_runs(root), min_seeds)
    families = list(dict.fromkeys(row.model for table in tables for row in table.models))
    (opening,) = openings(tables, copy_pictures(tables, root / "out"), families, min_seeds)
    return opening


def text_of(opening: Opening) -> list[str]:
    return [re.sub("<[^>]*>", "", sentence.text) for sentence in opening.sentences]


def test_a_sentence_names_what_each_family_does_better_and_the_first_is_of_vae_and_gan(tmp_path: Path) -> None:
    for seed in range(5):
        add_run(tmp_path, "ae", seed, {"fid": 40.0 + seed, "recon_mse": 0.05 + seed / 1e5})
        add_run(tmp_path, "vae", seed, {"fid": 20.0 + seed, "recon_mse": 0.1 + seed / 1e5})
        add_run(tmp_path, "gan", seed, {"fid": 5.0 + seed, "recon_mse": 0.3 + seed / 1e5})
    opening = opening_of(tmp_path)
    assert len(opening.sentences) == 3
    first = text_of(opening)[0]
    assert first.startswith(
        "VAE has the closer reconstructions (MSE 0.1000 against 0.3000), GAN the better samples (FID 7 "
    )
    assert "Not measured for both: latent space, likelihood" in first
    assert "within chance: cost (training speed 5 and 5 images/s)" in first.replace("Within", "within")
    assert opening.facts.startswith("15 runs on digits: AE, VAE, GAN, 5 seeds each, network mlp.")


def test_a_family_without_a_score_is_named_below_the_maps(tmp_path: Path) -> None:
    for seed in range(2):
        for model in ("ae", "vae", "gan"):
            add_run(tmp_path, model, seed, {"fid": 5.0 + seed, "elbo": None if model == "ae" else 3.0 + seed})
    opening = opening_of(tmp_path)
    assert len(opening.maps) == 1
    assert opening.absent == "AE has no ELBO: does not bound"


def test_chance_and_few_seeds_are_no_difference(tmp_path: Path) -> None:
    for seed in range(5):
        add_run(tmp_path, "vae", seed, {"fid": 10.0 + seed})
        add_run(tmp_path, "gan", seed, {"fid": 10.5 + seed})
    assert text_of(opening_of(tmp_path))[0].startswith("VAE and GAN: nothing is decided. ")
    assert "too few seeds (5, 6 are needed): samples (FID 12 and 12.50)" in text_of(opening_of(tmp_path, 6))[0].replace(
        "Too", "too"
    )


def test_of_several_rows_the_best_one_stands_for_its_family_and_the_page_says_so(tmp_path: Path) -> None:
    for seed in range(5):
        add_run(tmp_path, "gan", seed, {"fid": 5.0 + seed})
        add_run(tmp_path, "vae", seed, {"fid": 90.0 + seed}, config="c1", beta=1.0)
        add_run(tmp_path, "vae", seed, {"fid": 50.0 + seed}, config="c2", beta=4.0)
    opening = opening_of(tmp_path)
    assert "FID 7 against 52" in text_of(opening)[0]
    assert "best FID (digits-cnn, 1k) of each family" in opening.notes


def test_the_first_screen_has_pictures_maps_and_no_markup_of_a_record(tmp_path: Path) -> None:
    noise = io.BytesIO()
    Image.effect_noise((219, 219), 64).save(noise, format="PNG")
    for model, fid in (("vae", 20.0), (EVIL, 5.0)):
        for seed in range(5):
            path = add_run(tmp_path, model, seed, {"fid": fid + seed, "recon_mse": fid + seed})
            (path / "samples.png").write_bytes(noise.getvalue())
    opening = opening_of(tmp_path)
    assert [kind for strip in opening.strips for kind, _ in filter(None, strip.pictures)] == ["samples"] * 2
    (drawn,) = opening.maps
    assert drawn.count("<circle") == 10
    assert "<script" not in drawn + "".join(sentence.text for sentence in opening.sentences)
    tables = make_tables(find_runs(tmp_path))
    shown = page(Report(tables=tables, pictures=copy_pictures(tables, tmp_path / "out"), out=tmp_path / "out"))
    first = shown.index('<svg class="map"')
    assert shown.index('class="lead"') < shown.index('class="strip ') < first < shown.index('id="reading"')


def test_a_hull_is_scipys() -> None:
    points = [(random.gauss(0, 1), random.gauss(0, 1)) for _ in range(random.randint(3, 60))]
    corners = {points[i] for i in ConvexHull(np.array(points)).vertices}
    assert set(hull(points)) == corners
    assert hull([(1.0, 1.0)] * 3) == [(1.0, 1.0)]
    assert hull([(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]) == [(0.0, 0.0), (2.0, 2.0)]


TINY = [[1e-300, 1.0], [5e-324, MOST_VALUE], [0.0, 4e-323], [5e-324, 1e-320]]  # no honest score is so small


@pytest.mark.parametrize(
    "values", [[1.0, 2000.0], [-5.0, 7.0], [0.02, 0.021], [3.0, 3.0], [0.0, 0.0], [1e-9, 1e9], *TINY]
)
def test_a_scale_shows_every_value_and_has_ticks(values: list[float]) -> None:
    scale = Scale(values, 100.0, 0.0)
    assert all(0 <= scale(value) <= 100 for value in values)
    assert 1 <= len(scale.ticks) <= 20
    assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in scale.ticks)


def test_a_name_on_a_map_has_the_colour_of_its_family_and_stands_beside_a_point_of_it(tmp_path: Path) -> None:
    """A VAE's region is around the points of a GAN. Once, the name of the VAE stood on the region of another family."""
    for seed, (fid, mse) in enumerate([(100.0, 0.06), (13.0, 0.003), (6.0, 0.012), (6.5, 0.007)]):
        add_run(tmp_path, "vae", seed, {"fid": fid, "recon_mse": mse})
    for seed, (fid, mse) in enumerate([(3.0, 0.009), (3.5, 0.0095)]):
        add_run(tmp_path, "gan", seed, {"fid": fid, "recon_mse": mse})
    (table,) = make_tables(find_runs(tmp_path), 5)
    heads = {column.name: column for column in table.columns}
    svg = score_map(heads["recon_mse"], heads["fid"], table.models, ["gan", "vae"])
    # of each family first its region with its points, later its name with a square
    groups = re.findall(r'<g class="family-(\d)" data-family="(\w+)">(.*?)</g>', svg)
    spots, names = dict[str, list[list[float]]](), dict[str, tuple[float, float]]()
    for tint, family, content in groups:
        assert ["gan", "vae"][int(tint)] == family
        if square := re.search(r'<rect x="([\d.]+)" y="([\d.]+)"', content):
            names[family] = float(square[1]) + 20, float(square[2]) + 4
        else:
            spots[family] = [[float(a), float(b)] for a, b in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', content)]
    assert spots.keys() == names.keys() == {"gan", "vae"}
    for family, other in (("gan", "vae"), ("vae", "gan")):
        own, theirs = (min(math.dist(names[family], spot) for spot in spots[each]) for each in (family, other))
        assert own < theirs


def test_of_many_points_few_are_tried_as_places_of_a_name() -> None:
    """Distances from every place to every point of 10,000 rows took 4.7 GB."""
    pixels = [(random.uniform(100, 400), random.uniform(30, 180)) for _ in range(20 * MOST_BESIDE + 1)]
    tracemalloc.start()
    (name,) = _names({"vae": pixels}, ["vae"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 8 * 4 * MOST_BESIDE * len(pixels)
    assert "VAE" in name


@pytest.mark.parametrize("repeat", range(20))
def test_the_place_of_a_name_hides_the_fewest_points(repeat: int) -> None:
    """Against a loop over places and points. On a grid, many places are equally good, and the first of them is taken."""
    draw = random.Random(torch.initial_seed() + repeat)
    own, others, places = (
        [(float(draw.randrange(0, 400, 20)), float(draw.randrange(0, 200, 10))) for _ in range(n)]
        for n in (draw.randint(1, 9), draw.randint(0, 30), 40)
    )
    width = draw.uniform(20, 90)

    def badness(at: tuple[float, float]) -> tuple[int, int, float]:
        def distance(spot: tuple[float, float]) -> float:
            return math.hypot(max(0.0, abs(spot[0] - at[0]) - width / 2), max(0.0, abs(spot[1] - at[1]) - LINE / 2))

        near = min(map(distance, own))
        return sum(distance(spot) <= near + 2 for spot in others), sum(distance(spot) <= 2 for spot in own), near

    assert _best_place(places, width, own, others) == min(places, key=badness)


def test_a_page_of_many_families_has_a_wide_map_short_contents_and_no_list_of_reasons(tmp_path: Path) -> None:
    for i in range(10):
        for seed in range(5):
            scores: dict[str, float | None] = {"fid": 5.0 + i + seed / 9, "recon_mse": 0.1 + i / 50 + seed / 999}
            # the last two families have a bound
            add_run(tmp_path, f"family{i}" if i else "vae", seed, scores | {"elbo": 9.0 + seed if i > 7 else None})
    tables = make_tables(find_runs(tmp_path), 5)
    opening = opening_of(tmp_path)
    wide, narrow = opening.maps
    assert 'class="map wide" viewBox="0 0 840 480"' in wide
    assert 'class="map" viewBox="0 0 420 236"' in narrow
    xs, ys = ([float(value) for value in re.findall(rf'c{axis}="([\d.]+)"', wide)] for axis in "xy")
    assert max(xs) > 420 < 2 * max(ys), "the points use the room"
    assert len(re.findall('class="name"', wide)) == 10
    names = ", ".join(["VAE", *(f"family{i}" for i in range(1, 7))])
    assert opening.absent == f"{names} and family7 have no ELBO; the tables say why"
    text = page(Report(tables=tables, newcomers=newcomers(tables, load_claims(), 5)))
    assert ">9 more families against each baseline</a>" in text
    assert ">family1 against each baseline</a>" not in text
