"""Every reader of a runs folder, on any bytes, any JSON value and any mutation of a valid file: a valid object or its error."""

import json
import math
import string
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.errors import UserError
from benchmarks.records.checkpoints import listed
from benchmarks.records.checks import check_for_report
from benchmarks.records.configurations import flatten, read_config
from benchmarks.records.examples import MOST, examples_path, forget_examples, write_examples
from benchmarks.records.facts import facts_of
from benchmarks.records.files import RecordError
from benchmarks.records.outcomes import FILE, Outcome, read_outcome, write_outcome
from benchmarks.records.runs import (
    Run,
    Score,
    ScoreSheet,
    read_curve,
    read_record,
    read_sheets,
    write_record,
    write_sheet,
)
from benchmarks.records.schemas import MOST_VALUE
from benchmarks.records.searches import Trial, read_search, write_search, write_trial
from benchmarks.studies.mutations import places
from tests.records.fakes import example_scores

# fresh inputs each time, and few of them: the study of fuzzing tries more
quickly = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

RECORD: dict[str, Any] = {
    **{"schema": 1, "status": "finished", "seed": 3, "config_id": "0badcafe", "error": None, "command": "x"},
    "names": {"datamodule": "digits", "network": "mlp", "model": "vae"},
    "data": {"id": "d1", "sizes": {"train": 9, "test": 5}, "binarize": "none", "dequantize": False, "shape": [1, 8, 8]},
    "budget": {"unit": "images", "amount": 100},
    "spent": {"images": 100, "seconds": 1.5, "updates": 3},
    "cost": {"parameters": 7, "train_seconds": 0.5, "peak_memory_bytes": 2**30},
    "environment": {"python": "3.11", "device": "cpu", "threads": 1},
    **{"packages": {"torch": "2.15", "wandb": None}, "git": {"sha": "0" * 40, "dirty": False}},
    **{
        "search": {"id": "1", "role": "trial", "trial": 3},
        "checkpoint": {"sha256": "ab"},
        "facts": {"latent size": "2"},
        "external": {
            "kind": "samples",
            "file": {"name": "a.npz", "sha256": "0" * 64},
            "samples": 9,
            "remarks": ["odd"],
        },
    },
}
SHEET: dict[str, Any] = {
    **{"schema": 1, "protocol_id": "0badcafe", "status": "scored"},
    "protocol": {"name": "quick", "split": "test", "samples": 1000, "examples": None, "encoder": "x", "metrics": {}},
    "scores": [
        {
            "name": "fid",
            "value": 1.5,
            "unit": "",
            "higher_is_better": False,
            "n": 9,
            "detail": {"encoder": "x", "of": 3},
        },
        {"name": "elbo", "value": None, "unit": "nats", "higher_is_better": True, "n": 0, "detail": {"reason": "none"}},
    ],
}
SEARCH: dict[str, Any] = {
    **{"schema": 1, "id": "1", "name": "s", "datamodule": "digits", "network": "mlp", "select": "fid", "command": "c"},
    **{"higher_is_better": False, "protocol_id": "p", "sampler": "random"},
}
TRIAL: dict[str, Any] = {
    **{"schema": 1, "model": "gan", "number": 0, "params": {"lr": 0.1, "norm": "layer", "betas": [0.5, 0.9]}},
    **{"status": "finished", "value": 1.0, "run": "digits/gan/c/seed=0", "config_id": "c", "reason": None},
}
CONFIG = """model: {_target_: models.vae.VAE, beta: 1.0, prior: {_target_: models.priors.Normal, dim: 8}}
datamodule: {_target_: datamodules.digits.Digits, name: digits, batch_size: 64}
trainer: {precision: 32-true, devices: 1}
budget: {unit: images, amount: 100}
seed: 0
"""

numbers = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -(10**400), 2**63, 1e308, 5e-324, MOST_VALUE])
)
texts = st.one_of(st.text(), st.sampled_from(["\0", "x" * 300, "../x", "\ud800", "\x1b[2J", "a\n", "é"]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn, valid: Any) -> Any:
    """A tree with another value, a missing key or one key too many at a few places."""
    tree = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 3))):
        parent, key = draw(st.sampled_from(list(places(tree)) or [([tree], 0)]))
        match draw(st.integers(0, 3)):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[draw(texts)] = draw(values)
            case _:
                parent[key] = draw(values)
    return tree


def contents(valid: Any) -> st.SearchStrategy[bytes]:
    """Bytes, JSON values and damaged forms of a valid value, as the content of a file."""
    whole = json.dumps(valid).encode()
    cut = st.integers(0, len(whole)).map(lambda end: whole[:end])
    flipped = st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 7)).map(
        lambda at: whole[: at[0]] + bytes([whole[at[0]] ^ (1 << at[1])]) + whole[at[0] + 1 :]
    )
    trees = st.one_of(values, mutated(valid), mutated(valid)).map(lambda tree: json.dumps(tree).encode())
    return st.one_of(st.binary(), cut, flipped, trees, trees)


@contextmanager
def folder() -> Iterator[Path]:
    """An empty folder for one example."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def tries(read: Callable[[], Any], path: Path) -> Any:
    """What a reader returns; None for its documented error, which is one line that names the folder."""
    refused: list[str] = []
    found = None
    try:
        found = read()
    except RecordError as error:
        refused.append(str(error))
    assert not any("\n" in line or str(path) not in line or len(line) > 1000 for line in refused), refused
    return found


@quickly
@given(contents(RECORD))
def test_any_record_is_valid_or_refused(content: bytes) -> None:
    with folder() as path:
        (path / "run.json").write_bytes(content)
        record = tries(lambda: read_record(path), path)
        if record is not None:
            assert 0 <= record["seed"] < 2**32
            assert isinstance(record["seed"], int)
            assert record["status"] in ("finished", "diverged", "failed")
            assert all(math.isfinite(n) for n in (record.get("cost") or {}).values() if n is not None)
            if tries(lambda: check_for_report(Run(path, record, [])), path) is None:
                facts_of({}, record)


@quickly
@given(contents(SHEET))
def test_any_sheet_is_valid_or_refused(content: bytes) -> None:
    with folder() as path:
        (path / "scores").mkdir()
        (path / "scores" / "quick-0badcafe.json").write_bytes(content)
        for sheet in tries(lambda: read_sheets(path), path) or []:
            assert sheet.filename == "quick-0badcafe.json"
            for score in sheet.scores:
                assert score.value is None or abs(score.value) <= MOST_VALUE
                assert isinstance(score.detail.get("of", 0), int)


@quickly
@given(contents(SEARCH), contents(TRIAL), st.booleans())
def test_any_search_is_valid_or_refused(search: bytes, trial: bytes, is_search_valid: bool) -> None:
    with folder() as path:
        (path / "trials").mkdir()
        (path / "search.json").write_bytes(json.dumps(SEARCH).encode() if is_search_valid else search)
        (path / "trials" / "gan-0000.json").write_bytes(trial)
        found = tries(lambda: read_search(path), path)
        if found is not None:
            found.best("gan")
            assert isinstance(found.title, str)
            assert all((path / t.run).is_relative_to(path) for group in found.trials.values() for t in group)


@quickly
@given(contents({"path": "runs/x", "status": "finished", "message": "m"}), contents({"schema": 1, "sha256": ["ab"]}))
def test_any_outcome_and_any_list_of_checksums_are_valid_or_refused(outcome: bytes, checksums: bytes) -> None:
    with folder() as path:
        (path / FILE).write_bytes(outcome)
        (path / "checksums.json").write_bytes(checksums)
        found = tries(lambda: read_outcome(path / FILE), path)
        assert found is None or found.status in ("finished", "diverged", "failed")
        assert all(isinstance(text, str) for text in tries(lambda: listed(path / "last.ckpt"), path) or [])


as_yaml = mutated(yaml.safe_load(CONFIG)).map(lambda tree: yaml.safe_dump(tree).encode("utf-8", "surrogatepass"))
in_yaml = st.text(string.ascii_letters + string.digits + " \n\t:-[]{}&*!|>'\"#%@?,._~<=", max_size=60)


@quickly
@given(st.one_of(as_yaml, in_yaml.map(str.encode), in_yaml.map(lambda text: (CONFIG + text).encode()), st.binary()))
def test_any_configuration_is_read_or_refused(content: bytes) -> None:
    with folder() as path:
        (path / "config.yaml").write_bytes(content)
        config = tries(lambda: read_config(path), path)
        if config is not None:
            "".join(f"{key}{value}" for key, value in flatten(config)).encode()
            facts_of(config, RECORD)


@quickly
@given(st.one_of(st.binary(), st.text().map(lambda text: ("images,val_fid\n1,2\n" + text).encode("utf-8", "replace"))))
def test_any_curve_has_finite_numbers(content: bytes) -> None:
    with folder() as path:
        (path / "curve.csv").write_bytes(content)
        assert all(math.isfinite(value) for point in read_curve(path) for value in point.values())


@quickly
@given(st.data())
def test_any_file_of_examples_gives_finite_values_or_none(data: st.DataObject) -> None:
    with folder() as path:
        sheet = path / "scores" / "quick-0badcafe.json"
        write_examples(sheet, {"elbo": np.arange(50.0), "iwae": np.ones(50)})
        whole = bytearray(examples_path(sheet).read_bytes())
        for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
            whole[place] ^= 1 << data.draw(st.integers(0, 7))
        examples_path(sheet).write_bytes(
            whole[: data.draw(st.integers(0, len(whole)))] if data.draw(st.booleans()) else whole
        )
        forget_examples()
        read, n = example_scores([path], sheet.name, "elbo")
        assert read is None or (np.isfinite(read).all() and n >= read.shape[1] <= MOST)


# what is written comes back

lines = st.text(st.characters(exclude_categories=["Cs"]))

names = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=20)
finite = st.floats(-MOST_VALUE, MOST_VALUE)
printables = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=50)
scores = st.builds(
    Score,
    name=names,
    value=st.none() | finite,
    unit=printables,
    higher_is_better=st.none() | st.booleans(),
    n=st.integers(0, 2**40),
    detail=st.fixed_dictionaries({}, optional={"encoder": printables, "k": st.integers(0, 99), "other": finite}),
)
sets_of_scores = st.lists(scores, max_size=5, unique_by=lambda score: score.name)
protocols = st.fixed_dictionaries(
    {"name": names, "split": st.sampled_from(["val", "test"]), "metrics": st.just({"a": {}})}
)


@quickly
@given(st.builds(ScoreSheet, protocols, names, st.sampled_from(["scored", "diverged"]), sets_of_scores))
def test_a_sheet_comes_back_as_it_was_written(sheet: ScoreSheet) -> None:
    with folder() as path:
        write_sheet(path, sheet)
        assert read_sheets(path) == [sheet]


@quickly
@given(st.fixed_dictionaries({"seed": st.integers(0, 2**32 - 1), "command": lines}))
def test_a_record_comes_back_as_it_was_written(keys: dict[str, Any]) -> None:
    with folder() as path:
        write_record(path, RECORD | keys)
        assert read_record(path) == RECORD | keys


settings_drawn = st.dictionaries(
    names, st.none() | st.booleans() | st.integers(-(2**60), 2**60) | finite | names, max_size=3
)
trials = st.builds(
    Trial,
    model=names,
    number=st.integers(0, 9999),
    params=settings_drawn,
    status=names,
    value=st.none() | finite,
    run=names,
    config_id=names,
    reason=st.none() | printables,
)


@quickly
@given(trials)
def test_a_trial_comes_back_as_it_was_written(trial: Trial) -> None:
    with folder() as path:
        write_search(path, SEARCH)
        write_trial(path, trial)
        assert read_search(path).trials == {trial.model: [trial]}


@quickly
@given(
    st.builds(
        Outcome,
        names.map(Path),
        st.sampled_from(["finished", "failed"]),
        st.text(st.characters(exclude_categories=["Cs"])),
    )
)
def test_an_outcome_comes_back_as_it_was_written(outcome: Outcome) -> None:
    with folder() as path:
        write_outcome(path, outcome)
        assert read_outcome(path / FILE) == outcome


def test_the_valid_records_of_this_file_are_valid() -> None:
    with folder() as path:
        write_record(path, RECORD)
        (path / "scores").mkdir()
        (path / "scores" / "quick-0badcafe.json").write_text(json.dumps(SHEET))
        record = read_record(path)
        assert record == RECORD
        sheets = read_sheets(path)
        check_for_report(Run(path, RECORD, sheets))
        assert [score.value for score in sheets[0].scores] == [1.5, None]
        with pytest.raises(UserError):
            read_config(path)
