"""The words of a command line, as a user types them."""

from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from benchmarks.cli import quoted


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
