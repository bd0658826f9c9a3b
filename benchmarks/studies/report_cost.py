"""python -m benchmarks.studies.report_cost: the cost of a report of 10,000 runs, on synthetic records.

Every record has every score of genbench, a curve of 8 points, a configuration, an environment. Every second row has values by
example: 12 scores of 450 examples, as many as a run on the digits. Real runs have such values in every row. The first seed of
each row has pictures; no report opens the pictures of other seeds. The numbers are random. A run has the scores of the run 997
places before it: to draw and to pack scores takes longer than to report them.
`python -m benchmarks.studies.report_cost 2000` takes another number of runs.
"""

import contextlib
import io
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.records.columns import COLUMNS, COST
from benchmarks.records.examples import examples_path, write_examples
from benchmarks.records.files import SCHEMA
from benchmarks.records.paths import CONFIG, CURVE, PICTURES, RECORD, run_path
from benchmarks.records.runs import Score, ScoreSheet, write_sheet
from benchmarks.reporting.build import write_report
from benchmarks.studies.words import study

FAMILIES = ("ae", "vae", "gan", "wgan", "wgan_gp")
DATA = ("digits", "mnist", "fashion_mnist", "cifar10")
SEEDS = 10
# runs with scores of their own; a prime number, so that rows differ
DRAWN = 997
# the scores with values by example, in the rows of every second configuration
BY_EXAMPLE = (
    *("recon_mse", "recon_psnr", "recon_ssim", "inversion_mse", "inversion_psnr", "inversion_ssim"),
    *("elbo", "elbo_reconstruction", "elbo_kl", "elbo_bits_per_dim", "ais_quarter", "ais_rise"),
)
EXAMPLES = 450


@study(count=10_000)
def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with _timed(f"(making {count:,} records, not counted)"):
            make_records(root, count)
        out, printed = root / "report", io.StringIO()
        with _timed("a report of them, from reading to its files"), contextlib.redirect_stdout(printed):
            write_report([root], out, "cost")
        size = (out / "index.html").stat().st_size / 2**20
        own, forks = (
            resource.getrusage(who).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        what = printed.getvalue().splitlines()[-1].partition(": ")[2]
        print(
            f"{what}, a page of {size:.1f} MiB, a peak of {own:,.0f} MiB of memory, and of {forks:,.0f} MiB in a fork,"
        )
        print("which shares most of it")


def make_records(root: Path, count: int) -> None:
    """Writes `count` finished runs: families first, then seeds, data sets and configurations. Nothing is synced to the disk."""
    draw = random.Random(0)
    picture = io.BytesIO()
    Image.effect_noise((224, 224), 64).save(picture, format="PNG")
    with tempfile.TemporaryDirectory() as folder:
        drawn = list(_draw_sheets(Path(folder), min(count, DRAWN)))
        for i in range(count):
            family, seed = FAMILIES[i % 5], i // 5 % SEEDS
            data, number = DATA[i // (5 * SEEDS) % len(DATA)], i // (5 * SEEDS * len(DATA))
            config = f"{number:08x}"
            run = run_path(root, data, family, config, seed)
            (run / "scores").mkdir(parents=True)
            if seed == 0:
                for file in PICTURES.values():
                    (run / file).write_bytes(picture.getvalue())
            spent = {"images": 80_000, "seconds": draw.uniform(3, 5), "updates": 1250}
            (run / CONFIG).write_text(
                f"model:\n  _target_: models.{family}.X\n  optimizer:\n    lr: {1e-5 * (number + 1)}\n"
                + "    betas: [0.5, 0.999]\n"
                + "".join(f"  setting_{k}: {k}\n" for k in range(20))
                + f"datamodule: {{name: {data}, batch_size: 64}}\nbudget: {{unit: images, amount: 80000}}\n"
            )
            lines = ["images,seconds,updates,val_fid,val_recon_mse"]
            lines += [f"{625 * 2**k},{draw.random()},{10 * 2**k},{draw.random()},{draw.random()}" for k in range(8)]
            (run / CURVE).write_text("\n".join(lines) + "\n")
            sheet = drawn[i % len(drawn)]
            for path in (sheet, examples_path(sheet)) if number % 2 == 0 else (sheet,):
                shutil.copyfile(path, run / "scores" / path.name)
            record = (
                {"schema": SCHEMA, "status": "finished", "error": None, "seed": seed, "config_id": config}
                | {"search": None, "spent": spent}
                | {"names": {"datamodule": data, "network": "mlp", "model": family}}
                | {"command": f"python -m benchmarks.train model={family} datamodule={data} seed={seed}"}
                | {"budget": {"unit": "images", "amount": 80000}}
                | {"data": {"id": data, "sizes": {"test": 10000}, "binarize": "none", "dequantize": False}}
                | {"cost": {"train_seconds": spent["seconds"], "images_per_second": draw.uniform(1e4, 2e4)}}
                | {"environment": {"python": "3.11", "device": "cpu"}, "packages": {"torch": "2.15"}}
                | {"git": {"sha": "0" * 40}}
            )
            (run / RECORD).write_text(json.dumps(record, indent=2))


def _draw_sheets(folder: Path, count: int) -> Iterator[Path]:
    """Score sheets with random numbers, and values by example beside them."""
    draw, draw_arrays = random.Random(1), np.random.default_rng(0)
    names = [column.name for column in COLUMNS if column.part != COST]
    protocol = {"name": "quick", "split": "test", "samples": 1000, "examples": None, "encoder": "x-cnn"}
    for i in range(count):
        scores = [Score(name, draw.gauss(10, 1), "nats", False, 1000, {"encoder": "x-cnn"}) for name in names]
        sheet = write_sheet(folder / str(i), ScoreSheet(protocol, "0badcafe", "scored", scores))
        write_examples(sheet, {name: draw_arrays.normal(10, 3, EXAMPLES) for name in BY_EXAMPLE})
        yield sheet


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    start, before = time.perf_counter(), os.times()
    yield
    took, after = time.perf_counter() - start, os.times()
    own, forks = (sum(after[i] - before[i] for i in places) for places in ((0, 1), (2, 3)))
    # the rest is time of the disk and of other programs
    words = f"{took:6.2f} s; processor time: {own:.2f} s, and {forks:.2f} s in forks"
    print(f"{what:<45} {words}", file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
