"""The words of a command line, as a user types them."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmarks.cli import quoted
from tests.conftest import run


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("photos (1)", "photos (1)"),
        ("a & b; it's #1", "a & b; it's #1"),
        ("odd, [x]=y 'q'", "odd, [x]=y 'q'"),
        ("~/my photos", "/home/me/my photos"),
        ("[~/a,b,~/c]", ["/home/me/a", "b", "/home/me/c"]),
        ("'quoted, by hand'", "quoted, by hand"),
        ("3e-4", 3e-4),
        ("x/~/y", "x/~/y"),
    ],
)
def test_paths_need_no_quotes_of_hydra(value: str, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert OverridesParser.create().parse_override(quoted(f"datamodule.folder={value}")).value() == read


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("report", "logger=null", "logger=null does not exist; expected one of"),
        ("report", "out=2026", "out is 2026; expected a folder, as in out=./NAME"),
        ("report", "claims=[a,b]", "claims is ['a', 'b']; expected a folder"),
        ("report", "title=null", "title is None; expected a text"),
        ("report", "nicknames=3", "nicknames is 3; expected a list"),
        ("report", "latex=fid", "latex is fid; expected a list of columns"),
        ("report", "latex.columns=3", "latex is {'columns': 3}; expected a list of columns"),
        ("status", "runs=[a,b]", "runs is ['a', 'b']; expected a folder"),
        ("replay", "out=null", "out is None; expected a folder"),
        ("train", "runs_dir=2026", "runs_dir is 2026; expected a folder"),
        ("train", "threads=0", "threads is 0; expected a whole number of 1 or more, or null"),
        (
            "train",
            "protocol.samples=[1,2]",
            "protocol.samples is [1, 2]; expected a number, as in protocol.samples=1000",
        ),
    ],
)
def test_a_value_of_another_kind_is_one_line(name: str, word: str, message: str, tmp_path: Path) -> None:
    result = run(name, word, cwd=tmp_path)
    (line,) = result.stderr.splitlines()
    assert (result.returncode, line.startswith("error: ")) == (1, True)
    assert message in line
    assert not list(tmp_path.iterdir())
