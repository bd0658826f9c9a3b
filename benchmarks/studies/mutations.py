"""Mutations of the files of a runs folder: what damage, mistakes and malice make of valid records.

Each mutation takes a file and a source of random numbers, changes the file on disk, and returns a few words about the change.
"""

import csv
import io
import json
import os
import random
import reprlib
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Mutation = Callable[[Path, random.Random], str]

MEGABYTE = 2**20


class Trap:
    """Where an attack would show: a file that code of a record would make, and a file that no report may show.

    Args:
        canary: made by code that a record names.
        secret: outside of the folder of runs; links point to it.
    """

    def __init__(self, canary: Path, secret: Path) -> None:
        self.canary, self.secret = canary, secret

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:  # of a pickle
        return Path.touch, (self.canary,)

    def values(self) -> list[Any]:
        """Values that a record should not have."""
        command = {"_target_": "os.system", "_args_": [f"touch {self.canary}"]}
        module = {"_target_": "torch.nn.utils._deprecation_utils.lazy_deprecated_import", "all": ["system"]}
        texts = [
            "",
            "x" * 300,
            "x" * MEGABYTE,
            "a\0b",
            "\x1b[2J",
            "\ud800",
            "a\nb",
            "é",
            "=1+1",
            "<script>alert(1)</script>",
        ]
        texts += [
            "../../../outside",
            str(self.secret),
            "${oc.env:HOME}",
            "nan",
            "0",
            "true",
            "{{ 7 * 7 }}",
            "[red]x[/red]",
        ]
        numbers = [0, -1, 1, 2**31, 2**63, 2**64, 10**400, -(10**400), 0.9, 1e-320, -0.0, 1e38, 1e70, 1e154, 1e308]
        numbers += [float("nan"), float("inf"), -float("inf")]
        nested: Any = []
        for _ in range(60):
            nested = [nested]
        return [*texts, *numbers, True, False, None, [], {}, [1, 2, 3], {"a": 1}, nested, command, module]


def mutations_of(path: Path, trap: Trap) -> list[Mutation]:
    """The mutations that suit a file; those of its content several times, as likely as those of its bytes."""
    of_content: list[Mutation] = []
    match path.suffix:
        case ".json":
            of_content = [_tree(trap, json.loads, _to_json), _tree(trap, json.loads, _to_json), _deep]
        case ".yaml":
            tree = _tree(trap, yaml.safe_load, _to_yaml)
            of_content = [tree, tree, tree, _alias_bomb, _long_number]
        case ".csv":
            of_content = [_cells(trap), _cells(trap)]
        case ".png":
            of_content = [_huge_picture]
        case ".npz" | ".ckpt":
            of_content = [_zip_bomb, _members]
    return [*of_content, *of_content, flip, flip, truncate, _random_bytes, _spliced, _large, *_kinds(trap)]


def flip(path: Path, rng: random.Random) -> str:
    """Flips some bits."""
    content = bytearray(path.read_bytes())
    count = rng.choice([1, 1, 2, 8, 64])
    for _ in range(count if content else 0):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"{count} bits flipped"


def truncate(path: Path, rng: random.Random) -> str:
    """Cuts the file anywhere."""
    content = path.read_bytes()
    end = rng.choice([0, rng.randrange(len(content) + 1), max(len(content) - 1, 0)])
    path.write_bytes(content[:end])
    return f"cut after {end} of {len(content)} bytes"


def _random_bytes(path: Path, rng: random.Random) -> str:
    path.write_bytes(rng.randbytes(rng.choice([1, 100, 10_000])))
    return "random bytes"


def _spliced(path: Path, rng: random.Random) -> str:
    """A part of the content a second time, somewhere else."""
    content = path.read_bytes()
    a, b, c = sorted(rng.randrange(len(content) + 1) for _ in range(3))
    path.write_bytes(content[:c] + content[a:b] + content[c:])
    return "a part twice"


def _large(path: Path, rng: random.Random) -> str:
    """36 MB of the same content."""
    content = path.read_bytes() or b"\n"
    path.write_bytes((content * (36 * MEGABYTE // len(content) + 1))[: 36 * MEGABYTE])
    return "36 MB"


def _kinds(trap: Trap) -> list[Mutation]:
    """Other kinds of files in the place of a file."""

    def replaced(words: str, make: Callable[[Path], object]) -> Mutation:
        def mutate(path: Path, rng: random.Random) -> str:
            path.unlink()
            make(path)
            return words

        return mutate

    return [
        replaced("missing", lambda path: None),
        replaced("a pipe", os.mkfifo),
        replaced("a folder", Path.mkdir),
        replaced("a link to a secret", lambda path: path.symlink_to(trap.secret)),
        replaced("a link to itself", lambda path: path.symlink_to(path)),
        replaced("a link to an endless file", lambda path: path.symlink_to("/dev/zero")),
    ]


def _tree(trap: Trap, read: Callable[[str], Any], write: Callable[[Any], bytes]) -> Mutation:
    """Another value, a missing key or a key too many, anywhere in a tree of mappings and lists."""

    def mutate(path: Path, rng: random.Random) -> str:
        tree = read(path.read_text(encoding="utf-8"))
        parent, key = rng.choice(list(places(tree)) or [([tree], 0)])
        value = rng.choice(trap.values())
        match rng.randrange(8):
            case 0:
                del parent[key]
                words = f"{key} is missing"
            case 1 if isinstance(parent, dict):
                parent["x" if rng.random() < 0.5 else "_target_"] = value
                words = "a key too many"
            case 2 if isinstance(parent, list):
                parent[:] = parent * rng.choice([2, 2000])
                words = f"{len(parent)} times"
            case _:
                parent[key] = value
                words = f"{key} = {reprlib.repr(value)}"
        path.write_bytes(write(tree))
        return words

    return mutate


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every mapping and list of a tree, with each of its keys."""
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from places(node[key])


def _to_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def _to_yaml(tree: Any) -> bytes:
    return yaml.safe_dump(tree).encode("utf-8", "surrogatepass")


def _deep(path: Path, rng: random.Random) -> str:
    text = path.read_text(encoding="utf-8").rstrip().removesuffix("}")
    path.write_text(f'{text}, "deep": {"[" * 100_000}{"]" * 100_000}}}', encoding="utf-8")
    return "100,000 levels"


def _alias_bomb(path: Path, rng: random.Random) -> str:
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    path.write_text("a0: &a0 [x]\n" + "\n".join(levels) + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    return "an alias bomb"


def _long_number(path: Path, rng: random.Random) -> str:
    number = rng.choice(["1:" * 200_000 + "1", "9" * 500_000, "0x" + "f" * 500_000, "0b" + "1" * 500_000, "1" * 4000])
    path.write_text(path.read_text(encoding="utf-8") + f"\nlong: {number}\n", encoding="utf-8")
    return f"a number of {len(number)} characters"


def _cells(trap: Trap) -> Mutation:
    def mutate(path: Path, rng: random.Random) -> str:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
        row = rng.choice(rows)
        value = rng.choice([value for value in trap.values() if isinstance(value, str | int | float)])
        row[rng.randrange(len(row))] = str(value)
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        path.write_bytes(out.getvalue().encode("utf-8", "surrogatepass"))
        return f"a cell {str(value)[:40]!r}"

    return mutate


def _huge_picture(path: Path, rng: random.Random) -> str:
    """A PNG of some kilobytes with 400 million pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    data = zlib.compress(bytes(20_000 * 2501))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return "400 megapixels"


def _zip_bomb(path: Path, rng: random.Random) -> str:
    """The same members compressed, and one more that unpacks to 256 MB."""
    with zipfile.ZipFile(path) as whole:
        members = {entry.filename: whole.read(entry) for entry in whole.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        for name, content in members.items():
            bomb.writestr(name, content)
        folder = next(iter(members)).partition("/")[0]
        bomb.writestr(f"{folder}/data/bomb" if path.suffix == ".ckpt" else "bomb.npy", bytes(256 * MEGABYTE))
    return "a zip bomb"


def _members(path: Path, rng: random.Random) -> str:
    """One member of an archive changed under a right checksum, so that the change reaches the reader."""
    with zipfile.ZipFile(path) as whole:
        members = {entry.filename: bytearray(whole.read(entry)) for entry in whole.infolist()}
    name = rng.choice([name for name, content in members.items() if content])
    for _ in range(rng.choice([1, 4, 32])):
        content = members[name]
        content[rng.randrange(min(len(content), 2000))] = rng.randrange(256)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(member, bytes(content))
    return f"{name} changed"
