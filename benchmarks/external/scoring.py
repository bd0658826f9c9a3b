"""Scoring models from elsewhere: submitted files and exported generators of a command, and Python objects."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, fail, is_users, one_line, warn
from benchmarks.external.about import About, check_about, read_about
from benchmarks.external.checks import check_counts, remarks_on
from benchmarks.external.generators import of_generator
from benchmarks.external.python_models import fingerprint, of_python
from benchmarks.external.rows import Row, claim_place, write_row
from benchmarks.external.subjects import External, of_submission
from benchmarks.external.submission import read_submission
from benchmarks.external.words import Words, check_name, check_range
from benchmarks.records.locks import alone
from benchmarks.records.runs import ScoreSheet, read_sheets
from benchmarks.scoring.bench import Bench
from benchmarks.scoring.scorer import score_baselines, score_run
from benchmarks.training.pictures import save_pictures
from models.contracts import Prior


@dataclass(frozen=True)
class Checked:
    """A seed of a row that was read and checked, with its subject."""

    row: Row
    subject: External


def score_words(words: Words, bench: Bench, runs_dir: Path, command: str) -> tuple[list[Path], int]:
    """Checks and scores each file of a command, and writes its record and its sheet.

    A file that is refused costs one line; the others are scored.

    Returns:
        The folders of the scored seeds, and the number of refused files.
    """
    scored, failed = list[Path](), 0
    for i, path in enumerate(words.paths):
        print(f"[{i + 1}/{len(words.paths)}] {path}", flush=True)
        try:
            checked = check_file(words, i, bench, command)
            row = checked.row
            facts = [f"{row.samples:,} samples" if row.samples else "a generator", row.layout, row.range]
            print(f"      {', '.join(fact for fact in facts if fact)}")
            scored.append(record(checked, bench, runs_dir))
        except Exception as error:  # the other files can still be scored
            failed += 1
            fail(one_line(error) if is_users(error) else f"{path}: {type(error).__name__}: {one_line(error)}")
    return scored, failed


def check_file(words: Words, i: int, bench: Bench, command: str) -> Checked:
    """Reads and checks one file of a command.

    Raises:
        UserError: for a file that cannot be scored; the message says what is wrong and what to do.
    """
    file, subject, known = load_subject(words, words.paths[i], bench)
    known |= {"prior": words.prior, "stated": (words.layout, words.range)}
    return Checked(Row(words.kind, words.name, words.first_seed + i, file, command, words.about, **known), subject)


def load_subject(words: Words, path: Path, bench: Bench) -> tuple[tuple[str, str], External, dict[str, Any]]:
    """The subject of a file, with the file's name and SHA-256, and what a row says of it.

    Raises:
        UserError: as `check_file`.
    """
    data, protocol = bench.data, bench.scorer.protocol
    if words.kind == "generator":
        subject, form, sha256, dim = of_generator(path, data, words.latent_dim, words.prior, words.layout, words.range)
        known = {"layout": form.layout, "range": form.range, "latent_dim": dim, "remarks": form.remarks}
        return (path.name, sha256), subject, known
    submission = read_submission(path, data.shape, words.layout, words.range)
    check_counts(submission, protocol.samples, bench.examples, protocol.name, protocol.split)
    splits = {str(name): array for name, array in data.splits.items()}
    known = {
        "layout": submission.layout,
        "range": submission.range,
        "samples": len(submission.samples),
        "latent_dim": submission.latents.shape[1] if submission.latents is not None else None,
        "remarks": (*submission.remarks, *remarks_on(submission, splits, protocol.split)),
    }
    subject = of_submission(submission, data, protocol.split, protocol.examples, words.prior)
    return (submission.name, submission.sha256), subject, known


def record(checked: Checked, bench: Bench, runs_dir: Path) -> Path:
    """Scores a checked seed, unless it is scored, and writes its record, its pictures and its sheet.

    Raises:
        UserError: if its place holds another submission.
    """
    row, path = checked.row, checked.row.path(runs_dir, bench)
    is_known = claim_place(path, row, runs_dir, bench.data.info.id)
    for remark in row.remarks:
        warn(f"{row.file[0]}: {remark}")
    if is_known and bench.scorer.is_done(path):
        print(f"      {path} is scored under this protocol: nothing to do")
        return path
    with alone(path):
        if not is_known:
            save_pictures(path, checked.subject, bench.data, bench.scorer.protocol.split)
            write_row(path, row, bench)
        score_baselines(runs_dir, bench.data, bench.scorer)
        score_run(path, checked.subject, bench.data, bench.scorer)
    return path


def score_object(
    model: Any,
    config: Mapping[str, Any],
    name: str | None,
    runs_dir: Path | None,
    about: Mapping[str, Any] | str | Path | None,
    seed: int,
    prior: str | Prior,
    latent_dim: int | None,
    layout: str | None,
    value_range: tuple[float, float] | None,
) -> ScoreSheet:
    """The sheet of a Python object; its record is written if `runs_dir` is not None. `benchmarks.score` says the rest."""
    if (name is None) != (runs_dir is None):
        raise UserError("name and record belong together: record='runs' is the folder, and name names the row")
    said = _about(about)
    bench = Bench.of(config)
    subject, form, remarks = of_python(model, bench.data, prior, latent_dim, layout, check_range(value_range))
    if runs_dir is None:
        for remark in remarks:
            warn(remark)
        with subject.scoring():
            return bench.scorer.score(subject, bench.data)
    command = (
        f"benchmarks.score(model, {bench.data.name!r}, {bench.scorer.protocol.name!r}, name={name!r}, seed={seed})"
    )
    own_prior = getattr(subject, "prior", None)
    row = Row(
        kind="python",
        name=check_name(name),
        seed=seed,
        file=(type(model).__name__, fingerprint(subject, bench.data)),
        command=command,
        about=said,
        layout=form.layout if form else None,
        range=form.range if form else None,
        prior=type(own_prior).__name__.lower() if own_prior is not None else None,
        latent_dim=own_prior.dim if own_prior is not None else None,
        stated=(layout, check_range(value_range)),
        remarks=remarks,
    )
    path = record(Checked(row, subject), bench, runs_dir)
    return sheet_of(path, bench.scorer.id)


def sheet_of(path: Path, protocol_id: str) -> ScoreSheet:
    """The sheet of a run under a protocol."""
    return next(sheet for sheet in read_sheets(path) if sheet.protocol_id == protocol_id)


def _about(about: Mapping[str, Any] | str | Path | None) -> About:
    if about is None:
        return About()
    return check_about(about) if isinstance(about, Mapping) else read_about(Path(about))
