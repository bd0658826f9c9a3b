"""The record of a row from elsewhere: one folder a seed, at the place of a run, with the checksum of what was submitted."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import UserError, printable
from benchmarks.external.about import About
from benchmarks.external.shapes import Range
from benchmarks.records.checks import OTHER_DATA
from benchmarks.records.configurations import config_id
from benchmarks.records.facts import UNKNOWN_NETWORK, facts_of
from benchmarks.records.files import write_text
from benchmarks.records.paths import CONFIG, run_path, seeds_beside
from benchmarks.records.runs import read_record, submission_of, write_record
from benchmarks.scoring.bench import Bench
from benchmarks.training.record import commit, environment, packages

MOST_REMARK = 200


@dataclass(frozen=True)
class Row:
    """One seed of a row from elsewhere.

    Args:
        kind: samples, generator or python.
        name: of the row.
        seed: of its training, or a number that tells its trainings apart.
        file: the name and the SHA-256 of what was submitted.
        command: that scores it.
        about: what the user says of its training.
        samples: how many were submitted; None if the model draws them.
        layout, range: of its images, as they were stored or given.
        prior, latent_dim: of its latents; None without latents.
        stated: the layout and the range that the user stated; None where they were found.
        remarks: what a reader of a table should know.
    """

    kind: str
    name: str
    seed: int
    file: tuple[str, str]
    command: str
    about: About = field(default_factory=About)
    samples: int | None = None
    layout: str | None = None
    range: str | None = None
    prior: str | None = None
    latent_dim: int | None = None
    stated: tuple[str | None, Range | None] = (None, None)
    remarks: Sequence[str] = ()

    def document(self, bench: Bench) -> dict[str, Any]:
        """The content of `config.yaml`: what decides the result, as far as it is known."""
        latents = {"prior": self.prior, "latent_dim": self.latent_dim} if self.latent_dim else {}
        said = {key: self.about[key] for key in ("network", "settings", "facts") if key in self.about}
        return {
            "names": self.names(bench),
            "model": {"external": self.kind, **latents, **said},
            "stated": {"layout": self.stated[0], "range": list(self.stated[1]) if self.stated[1] else None},
            "datamodule": dict(bench.datamodule),
            **({"budget": self.about["budget"]} if "budget" in self.about else {}),
            "feature_encoder": bench.feature_encoder,
            "seed": self.seed,
        }

    def names(self, bench: Bench) -> dict[str, str]:
        """The names of a record."""
        network = self.about.get("network", UNKNOWN_NETWORK)
        return {"datamodule": bench.data.name, "network": network, "model": self.name}

    def path(self, runs_dir: Path, bench: Bench) -> Path:
        """The folder of the row."""
        return run_path(runs_dir, bench.data.name, self.name, config_id(self.document(bench)), self.seed)


def claim_place(path: Path, row: Row, runs_dir: Path, data_id: str) -> bool:
    """Whether the row has a record at its place, below `runs_dir`, already.

    Raises:
        UserError: for a record of another submission or of other data at the place, or of the same one under another seed.
    """
    name, sha256 = row.file
    if path.resolve() != runs_dir.resolve() / path.relative_to(runs_dir):
        raise UserError(f"{path} leads to another folder through a link; move the link away")
    record = read_record(path)
    if record is not None and submission_of(record) != sha256:
        raise UserError(
            f"{path} holds another submission than {name} (SHA-256 {sha256[:12]}): choose another name or seed, or move the "
            "folder away"
        )
    if record is not None and (recorded := record["data"].get("id")) not in (None, data_id):
        raise UserError(f"{path} was scored on other data ({recorded}, not {data_id}); {OTHER_DATA}")
    for other in seeds_beside(path) if path.parent.is_dir() else ():
        if other != path.resolve() and submission_of(read_record(other) or {}) == sha256:
            raise UserError(
                f"{name} is scored as {other.name} already: each seed needs samples of a training of its own"
            )
    return record is not None


def write_row(path: Path, row: Row, bench: Bench) -> None:
    """Writes `config.yaml` and `run.json` of a row."""
    document, about = row.document(bench), row.about
    write_text(path / CONFIG, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    name, sha256 = row.file
    external = {
        "kind": row.kind,
        "file": {"name": printable(name)[:MOST_REMARK], "sha256": sha256},
        "samples": row.samples,
        "layout": row.layout,
        "range": row.range,
        "prior": row.prior if row.latent_dim else None,
        "latent_dim": row.latent_dim,
        "source": about.get("source"),
        "notes": about.get("notes"),
        "remarks": [printable(remark)[:MOST_REMARK] for remark in row.remarks],
        "scored_on": environment(bench.scorer.device),
    }
    said: dict[str, Any] = {key: about[key] for key in ("budget", "spent", "cost") if key in about}
    write_record(
        path,
        {
            "status": "finished",
            "error": None,
            "names": row.names(bench),
            "seed": row.seed,
            "config_id": config_id(document),
            "command": printable(row.command),
            **said,
            "data": asdict(bench.data.info) | {"id": bench.data.info.id},
            "packages": packages(),
            "git": commit(),
            "facts": facts_of({}, said) | dict(about.get("facts", {})),
            "external": external,
            "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        },
    )
