"""Composes jobs of a sweep that differ in the seed once: Hydra takes a fifth of a second to compose a job."""

import copy
import os
import re
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from benchmarks.multirun.seeds import SEED

# what tells one seed from another, besides its word: the folder of its job
_FOLDER = "hydra.sweep.subdir="
_PLAIN = re.compile(r"0|[1-9][0-9]*")

# of this process: the job that was composed last, and the words that made it
_last: tuple[object, dict[str, str], DictConfig] | None = None


class SeedLoader:
    """Hydra's loader of configurations. A job like the one before, but for the seed, is a copy of that one.

    Args:
        loader: Hydra's own.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # of a copy that is not filled yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: Sequence[str]) -> DictConfig:
        """The configuration of a job, as Hydra composes it."""
        global _last
        own = _own_words(sweep_overrides)
        hydra = master_config.hydra
        common = [word for word in sweep_overrides if word not in own.values()]
        # the folder of a sweep has the time of its start: another sweep of this process may find other files
        place = os.getcwd(), str(hydra.sweep.dir), tuple(source.path for source in hydra.runtime.config_sources)
        key = (hydra.job.config_name, tuple(hydra.overrides.hydra), tuple(common), tuple(own), place)
        if _last is None or _last[0] != key or SEED not in own:
            composed: DictConfig = self._loader.load_sweep_config(master_config, list(sweep_overrides))
            _last = key, own, copy.deepcopy(composed)
            return composed
        config = copy.deepcopy(_last[2])
        _rename(config, {_last[1][part]: own[part] for part in own})
        with open_dict(config):
            config.seed = int(own[SEED].removeprefix(SEED))
            if _FOLDER in own:
                config.hydra.sweep.subdir = own[_FOLDER].removeprefix(_FOLDER)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config


def _own_words(words: Sequence[str]) -> dict[str, str]:
    """The words of a job that may differ between seeds, by what they begin with; empty for a seed that is no plain number."""
    own = {part: word for word in words for part in (SEED, _FOLDER) if word.startswith(part)}
    # 010 is a text to Hydra
    is_plain = all(_PLAIN.fullmatch(word.removeprefix(part)) for part, word in own.items())
    return (
        own if is_plain and len(set(own.values())) == len([w for w in words if w.startswith((SEED, _FOLDER))]) else {}
    )


def _rename(config: DictConfig, words: dict[str, str]) -> None:
    """Puts words in the place of others where Hydra lists them."""
    job, overrides = config.hydra.job, config.hydra.overrides
    for name in ("task", "hydra"):
        overrides[name] = [words.get(word, word) for word in overrides[name]]
    item, key = job.config.override_dirname.item_sep, job.config.override_dirname.kv_sep
    shown = {old.replace("=", key): new.replace("=", key) for old, new in words.items()}
    job.override_dirname = item.join(shown.get(word, word) for word in job.override_dirname.split(item))
