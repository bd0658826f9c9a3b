"""python -m benchmarks.report: verdicts and leaderboards from records alone, as a page, Markdown, LaTeX, CSV and in the
terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from benchmarks.cli import folder_of, program, title_of
from benchmarks.errors import UserError, one_line, warn
from benchmarks.records.files import RecordError
from benchmarks.records.publishing import check_published
from benchmarks.records.roots import folders_of
from benchmarks.reporting.build import write_report
from benchmarks.reporting.filters import Only
from benchmarks.reporting.labels import parse_nicknames


@program("report", needs_torch=False)
def main(cfg: DictConfig) -> None:
    if not isinstance(cfg.min_seeds, int) or cfg.min_seeds < 2:
        raise UserError(f"min_seeds is {cfg.min_seeds!r}; expected a whole number of 2 or more")
    claims = None if cfg.claims is None else folder_of(cfg.claims, "claims")
    out, title, columns = folder_of(cfg.out, "out"), title_of(cfg.title), _columns(cfg.latex)
    only, nicknames = Only.of(cfg.only, cfg.without), parse_nicknames(cfg.nicknames)
    folders = folders_of(cfg.runs)
    for folder in folders:
        try:
            check_published(folder)
        except RecordError as error:  # the table can still be read
            warn(one_line(error))
    write_report(
        folders,
        out,
        title,
        claims,
        cfg.min_seeds,
        cfg.logger,
        only,
        nicknames,
        columns,
    )


def _columns(latex: Any) -> list[str]:
    """The columns of the LaTeX tables.

    Raises:
        UserError: for anything but null or a list of names.
    """
    columns = latex.get("columns") if isinstance(latex, Mapping) and not latex.keys() - {"columns"} else False
    names = [columns] if isinstance(columns, str) else [] if columns is None else columns
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise UserError(f"latex is {latex}; expected a list of columns, as in latex.columns=[fid,recon_mse]")
    return list(names)


if __name__ == "__main__":
    main()
