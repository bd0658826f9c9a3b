"""Where records lie below the folder of runs.

<runs_dir>/<datamodule>/<model>/<config id>/seed=<n>/      a run
<runs_dir>/<datamodule>/_baselines/<data id>/<row>/        scores of a baseline row
<runs_dir>/<datamodule>/_searches/<name>-<id>/             a search
"""

from pathlib import Path

# the files of a run and of a search
RECORD = "run.json"
CONFIG = "config.yaml"
CURVE = "curve.csv"
# speeds that were measured after training
COSTS = "costs.json"
SEARCH = "search.json"

BASELINES = "_baselines"
# the name that earlier versions of genbench gave the folder; such folders are still read and completed
OLD_BASELINES = "_calibration"
SEARCHES = "_searches"
TRIALS = "trials"
SEED = "seed="
# the folder in which a merge copies a run before the run appears at its place
STAGING = ".merging"
# folders that hold no runs
NO_RUNS = frozenset({"checkpoints", "scores", "wandb", BASELINES, OLD_BASELINES, SEARCHES, STAGING})

# the picture files of a run, by kind
PICTURES = {
    "samples": "samples.png",
    "reconstructions": "reconstructions.png",
    "nearest images": "nearest_images.png",
    "training neighbours": "training_neighbours.png",
    "interpolations": "interpolations.png",
    "code interpolations": "code_interpolations.png",
    "traversals": "traversals.png",
}


def run_path(runs_dir: Path, datamodule: str, model: str, config_id: str, seed: int) -> Path:
    """The folder of a run."""
    return runs_dir / datamodule / model / config_id / f"{SEED}{seed}"


def runs_dir_of(run: Path) -> Path:
    """The folder of runs that a run lies in."""
    return _datamodule_folder(run).parent


def seeds_beside(run: Path) -> list[Path]:
    """The folders of every seed of a run's configuration, the run itself included, in order of their names."""
    return sorted(record.parent for record in run.resolve().parent.glob(f"{SEED}*/{RECORD}"))


def checkpoint_path(run: Path) -> Path:
    """The checkpoint that a run resumes from and is scored by."""
    return run / "checkpoints" / "last.ckpt"


def baselines_path(runs_dir: Path, datamodule: str, data_id: str) -> Path:
    """The folder of the baseline rows of a data set."""
    return _baselines_in(runs_dir / datamodule, data_id)


def baselines_beside(run: Path, data_id: str) -> Path:
    """The folder of the baseline rows that were scored on the data of a run."""
    return _baselines_in(_datamodule_folder(run), data_id)


def search_path(runs_dir: Path, datamodule: str, name: str, search_id: str) -> Path:
    """The folder of a search."""
    return runs_dir / datamodule / SEARCHES / f"{name}-{search_id}"


def trials_path(search: Path) -> Path:
    """The folder of the trials of a search."""
    return search / TRIALS


def may_hold_a_search(folder: str) -> bool:
    """Whether a search may lie below a folder of this name: searches lie beside runs and beside trials, never inside."""
    return folder not in (TRIALS, STAGING) and not folder.startswith(SEED)


def runs_dir_of_search(search: Path) -> Path:
    """The folder of runs that a search lies in."""
    return _above(search if len(search.parents) > 2 else search.resolve(), 3)


def _datamodule_folder(run: Path) -> Path:
    return _above(run.resolve(), 3)


def _above(path: Path, levels: int) -> Path:
    """The folder so many levels above a path; the root of the file system if there are fewer: a run may lie anywhere."""
    folders = [path, *path.parents]
    return folders[min(levels, len(folders) - 1)]


def _baselines_in(folder: Path, data_id: str) -> Path:
    new, old = folder / BASELINES / data_id, folder / OLD_BASELINES / data_id
    return old if old.is_dir() and not new.is_dir() else new
