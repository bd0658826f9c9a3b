"""python -m benchmarks.search: a search over hyper-parameters.

Every family gets the same number of trials; validation data choose the winners; fresh seeds confirm them.
"""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import program
from benchmarks.errors import UserError, fail
from benchmarks.multirun.seeds import check_size


@program("search")
def main(cfg: DictConfig) -> None:
    from benchmarks.multirun.crew import helpers
    from benchmarks.multirun.search import SearchProgram
    from benchmarks.multirun.settings import SearchSettings
    from benchmarks.reporting.build import write_report

    hydra = HydraConfig.get()
    if hydra.runtime.choices["launcher"] not in ("auto", "local"):
        raise UserError(
            "a search starts no jobs through a launcher: set workers=N, or start the same command elsewhere"
        )
    if check_size(cfg.seeds_per_job) != 1:
        raise UserError("seeds_per_job is for sweeps; a search trains each run alone: leave it out, or set workers=N")
    document: Any = OmegaConf.to_container(cfg, resolve=True)
    search = SearchProgram(SearchSettings.of(document), list(hydra.overrides.task))
    try:
        with helpers(search):
            search.search()
            search.confirm()
    finally:
        failures = search.failures
        for failure in [*search.diverged, *failures]:
            fail(failure)
    out = Path(cfg.reports_dir) / cfg.search_name
    with search.claims.claim("report", is_patient=True):  # another shell may run the same command
        write_report([*search.confirmed, search.folder], out, cfg.search_name, logger=cfg.logger)
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
