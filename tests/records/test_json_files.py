"""JSON is read against a declared type, and one line names the file, the key, and what is expected."""

from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

import pytest
from msgspec import Meta

from benchmarks.records.files import SCHEMA, RecordError, write_json
from benchmarks.records.json_files import check_kind, read_json, read_plain_json
from benchmarks.records.schemas import Amount, Record, Text


class _Kind(TypedDict):
    schema: int
    name: str
    values: list[float | bool | None]


class _Three(TypedDict):
    schema: int
    a: int
    b: int
    c: int


class _Bounded(TypedDict):
    schema: int
    text: NotRequired[Text]
    amount: NotRequired[Amount]
    inner: NotRequired[dict[str, list[Annotated[int, Meta(ge=0, le=9)]]]]


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = {"schema": SCHEMA, "name": "β-VAE", "values": [0.1 + 0.2, None, True]}
    write_json(tmp_path / "x.json", record)
    assert read_json(tmp_path / "x.json", _Kind) == record


def test_every_missing_key_of_a_record_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"schema": SCHEMA, "b": 1})
    with pytest.raises(RecordError, match="lacks a, c; restore it"):
        read_json(tmp_path / "x.json", _Three)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe{", b'{"schema": 1', b"\x00" * 64])
def test_bytes_that_are_no_json_are_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_json(path, _Three)
    assert str(caught.value).startswith(f"{path} is ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"text": 3', "has text 3: expected str;"),
        ('"text": null', "has text None: expected str;"),
        (f'"text": "{"x" * 300}"', "expected str of length <= 200;"),
        ('"text": "a\\u0000"', "expected str matching regex"),
        ('"text": "a\\n"', "expected str matching regex"),
        ('"text": "\\ud800"', "is damaged"),
        ('"amount": -1', "has amount -1: expected int >= 0;"),
        ('"amount": true', "has amount True: expected int | float;"),
        ('"amount": 1e71', "has amount 1e+71: expected float <= 1e+70;"),
        ('"amount": 1e400', "expected a finite number"),
        (f'"amount": 1{"0" * 400}', "expected int <= "),
        (f'"amount": 1{"0" * 5000}', "expected a finite number"),
        ('"amount": NaN', "is damaged"),
        ('"amount": Infinity', "is damaged"),
        ('"inner": {"k": [1, "x"]}', "expected int;"),
        (f'"inner": {"[" * 10**5}{"]" * 10**5}', "expected object;"),
        (f'"unknown": {"[" * 10**5}{"]" * 10**5}', "is damaged"),
    ],
    ids=lambda text: text[:30],
)
def test_a_value_of_another_type_is_named_with_what_is_expected(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema": 1, ' + text + "}")
    with pytest.raises(RecordError) as caught:
        read_json(path, _Bounded)
    assert str(caught.value).startswith(f"{path} ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def test_keys_that_are_not_declared_are_ignored(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"schema": SCHEMA, "amount": 3, "of a newer version": {"x": [1]}})
    assert read_json(tmp_path / "x.json", _Bounded) == {"schema": SCHEMA, "amount": 3}


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"schema": SCHEMA, "amount": 80000})
    assert repr(read_json(tmp_path / "x.json", _Bounded)["amount"]) == "80000"


def test_json_without_a_schema(tmp_path: Path) -> None:
    class Plain(TypedDict):
        a: int

    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_plain_json(tmp_path / "x.json", Plain) == {"a": 1}
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(RecordError, match="lacks a"):
        read_plain_json(tmp_path / "x.json", Plain)


def test_a_part_is_named_by_its_place() -> None:
    with pytest.raises(RecordError, match=r"^x has part\[1\].text 3: expected str; "):
        check_kind(Path("x"), [{"schema": 1}, {"schema": 1, "text": 3}], list[_Bounded], "part")


@pytest.mark.parametrize("seed", ["0.9", "-1", "1e3", "true", "4294967296", '"0"', "null", "[0]"])
def test_a_seed_is_a_whole_number(seed: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    head = '"schema": 1, "status": "finished", "config_id": "c", "names": {}, "data": {}'
    path.write_text(f'{{{head}, "seed": {seed}}}')
    with pytest.raises(RecordError, match=r"has seed .*: expected int"):
        read_json(path, Record)
