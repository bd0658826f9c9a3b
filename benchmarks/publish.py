"""python -m benchmarks.publish: a folder of records, report, checksums and commands, for a static host and for strangers."""

import json
import os
import shutil
from pathlib import Path

from omegaconf import DictConfig

from benchmarks.cli import program, title_of
from benchmarks.errors import UserError, fail, warn
from benchmarks.records.commands import without_folders
from benchmarks.records.files import RecordError, write_json, write_text
from benchmarks.records.merging import plan_merge, refusals
from benchmarks.records.parts import Part, bring, merging_into
from benchmarks.records.publishing import (
    ENCODERS,
    REPLAY,
    RUNS,
    SUMS,
    checksums,
    making_folder,
    sha256,
    use_default_folders,
)
from benchmarks.records.roots import folders_of
from benchmarks.records.schemas import NAME
from benchmarks.reporting.build import write_report
from benchmarks.reporting.replaying import replay_page
from benchmarks.reporting.report import Report

# the encoders that genbench brings
PACKAGED = Path(__file__).parent / "encoders"


@program("publish", needs_torch=False)
def main(cfg: DictConfig) -> None:
    if not isinstance(cfg.out, str) or not cfg.out:
        raise UserError("out is needed, as in out=published/mnist")
    if not isinstance(cfg.pictures, bool):
        raise UserError(f"pictures is {cfg.pictures!r}; expected true or false")
    title = title_of(cfg.title)
    sources, out = [folder.resolve() for folder in folders_of(cfg.runs)], Path(cfg.out).resolve()
    if inside := next((source for source in sources if source.is_relative_to(out)), None):
        raise UserError(f"runs={inside} lies in out={cfg.out}; set out=FOLDER to another folder")
    if outside := next((source for source in sources if out.is_relative_to(source)), None):
        raise UserError(
            f"out={cfg.out} lies in runs={outside}, whose runs it would double; set out=FOLDER to another folder"
        )
    bad: list[RecordError] = []
    with making_folder(out) as folder:
        parts = plan_merge(sources, folder / RUNS, False, bad.append, cfg.pictures)
        refused = refusals(bad, parts)
        for line in refused:
            fail(f"{line} (not published)")
        _bring([part for part in parts if part.conflict is None], folder / RUNS)
        here = Path.cwd()
        os.chdir(folder)  # the page and its commands name places in the folder
        try:
            report = write_report([RUNS], Path(), title)
            write_text(Path(REPLAY), replay_page(report, _bring_encoders(report)))
        finally:
            os.chdir(here)
        sums = checksums(folder)
        write_text(folder / SUMS, sums.text)
    print(f"{cfg.out}: {len(sums)} files; {cfg.out}/{REPLAY} says how to check them; SHA-256 of {SUMS}: {sums.own}")
    if refused:
        raise SystemExit(1)


def _bring(parts: list[Part], runs: Path) -> None:
    with merging_into(runs) as staging:
        for part in parts:
            bring(part, runs, staging)
            use_default_folders(runs / part.place)


def _bring_encoders(report: Report) -> list[str]:
    """Copies the encoders of the user's own that scored the tables of a report into the folder `ENCODERS` of this folder.

    Returns:
        Their names. An encoder that is not here, or has other weights by now, costs a warning.
    """
    used = {
        (str(name), str(table.protocol.get(f"{key}_checksum")))
        for table in report.tables
        for key in ("encoder", "second_encoder")
        if (name := table.protocol.get(key)) is not None
    }
    own = sorted((name, checksum) for name, checksum in used if NAME.fullmatch(name) and not _is_genbenchs(name))
    if not own:
        return []
    from benchmarks.encoders.base import own_folder  # imports torch, which takes seconds

    brought = []
    for name, checksum in own:
        card, weights = (own_folder() / f"{name}.{suffix}" for suffix in ("json", "safetensors"))
        try:
            facts = dict(json.loads(card.read_text(encoding="utf-8")))
            is_here = sha256(weights).startswith(checksum)
        except (OSError, ValueError, TypeError, RecordError):
            is_here = False
        if not is_here:
            warn(
                f"the encoder {name} with the checksum {checksum} is not in {own_folder()}: its scores cannot be replayed"
            )
            continue
        write_json(ENCODERS / card.name, facts | {"command": without_folders(str(facts.get("command")))})
        shutil.copyfile(weights, ENCODERS / weights.name)
        brought.append(name)
    return brought


def _is_genbenchs(name: str) -> bool:
    return name in ("dinov2", "inception", "random-cnn") or (PACKAGED / f"{name}.json").is_file()


if __name__ == "__main__":
    main()
