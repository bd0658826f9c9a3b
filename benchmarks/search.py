"""python -m benchmarks.search: a search over hyper-parameters.

Every family gets the same number of trials; validation data choose the winners; fresh seeds confirm them.
"""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from benchmarks.cli import program
from benchmarks.errors import fail


@program("search")
def main(cfg: DictConfig) -> None:
    from benchmarks.multirun.search import SearchProgram
    from benchmarks.multirun.settings import SearchSettings
    from benchmarks.reporting.build import write_report

    document: Any = OmegaConf.to_container(cfg, resolve=True)
    search = SearchProgram(SearchSettings.of(document), list(HydraConfig.get().overrides.task))
    try:
        search.search()
        confirmed = search.confirm()
    finally:
        for failure in [*search.diverged, *search.failures]:
            fail(failure)
    out = Path(cfg.reports_dir) / cfg.search_name
    write_report([*confirmed, search.folder], out, cfg.search_name, logger=cfg.logger)
    if search.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
