"""Hydra's plugin of genbench: the basic sweeper, whose sweeps survive the death of a job's process.

Hydra takes plugins from the package `hydra_plugins` alone, and every Hydra program of an environment loads this file: when the
file is loaded, it imports nothing but Hydra.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.types import HydraContext


class PersistentBasicSweeper(BasicSweeper):
    """The basic sweeper, with a launcher that starts jobs again whose process died."""

    def setup(self, **parts: Any) -> None:
        from benchmarks.multirun.composing import SeedLoader
        from benchmarks.multirun.launching import persistent

        context = parts["hydra_context"]
        parts["hydra_context"] = HydraContext(SeedLoader(context.config_loader), context.callbacks)  # type: ignore[arg-type]
        super().setup(**parts)
        self.launcher = persistent(self.launcher, **parts)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Composes jobs until every word was in one of them. To compose each of many jobs takes hours; a job that is wrong only
        in its combination of words says so itself."""
        seen = set[str]()
        first = []
        for job in batch:
            words = {word for word in job if not word.startswith("seed=")}
            if not words <= seen or not first:
                first.append(job)
            seen |= words
        super().validate_batch_is_legal(first)
