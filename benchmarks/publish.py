"""python -m benchmarks.publish: a folder of records, report, checksums and commands, for a static host and for strangers."""

import os
from pathlib import Path

from omegaconf import DictConfig

from benchmarks.cli import program
from benchmarks.errors import UserError, fail
from benchmarks.records.files import RecordError, write_text
from benchmarks.records.merging import plan_merge, refusals
from benchmarks.records.parts import Part, bring, merging_into
from benchmarks.records.publishing import REPLAY, RUNS, SUMS, checksums, making_folder, use_default_folders
from benchmarks.records.roots import folders_of
from benchmarks.reporting.build import write_report
from benchmarks.reporting.replaying import replay_page


@program("publish", needs_torch=False)
def main(cfg: DictConfig) -> None:
    if not isinstance(cfg.out, str) or not cfg.out:
        raise UserError("out is needed, as in out=published/mnist")
    if not isinstance(cfg.pictures, bool):
        raise UserError(f"pictures is {cfg.pictures!r}; expected true or false")
    if isinstance(cfg.title, bool) or not isinstance(cfg.title, str | int | float) or not str(cfg.title).strip():
        raise UserError(f"title is {cfg.title!r}; expected a text, as in \"title='MNIST, five families'\"")
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
            report = write_report([RUNS], Path(), str(cfg.title))
            write_text(Path(REPLAY), replay_page(report))
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


if __name__ == "__main__":
    main()
