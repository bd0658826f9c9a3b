"""What a `torch.export` archive may hold before torch reads it. The check lowers the risk; it does not prove a file harmless.

torch.export.load (torch 2.15, torch/export/pt2_archive/_package.py and torch/_export/serde/serialize.py) unpickles without
restriction: weights and constants that are marked `use_pickle`, custom and opaque objects, archives of older versions, and
example inputs that `weights_only=True` refuses. It loads compiled libraries (`data/aotinductor`). It evaluates the texts of
symbolic sizes (sympy.sympify), looks up the targets of a graph by name in torch and operator, and writes Python code from names
and guards. All of this is refused here unless it has the form that torch.export.save gives an ordinary network of tensors.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, one_line

# a graph of some hundred nodes has less than a megabyte
MOST_JSON = 2**26
# below the one folder of an archive
_MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/(weights/weight_\d+|constants/tensor_\d+)"
    r"|data/weights/model_weights_config\.json|data/constants/model_constants_config\.json|data/sample_inputs/model\.pt"
)
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_TARGET = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|mod|neg|eq|ne|lt|le|gt|ge)|torch\.sym_\w+"
)
_NAME = re.compile(r"[A-Za-z_]\w{0,199}")
# symbols and whole-number arithmetic, as torch prints symbolic sizes
_EXPRESSION = re.compile(
    r"(Symbol|Integer|Add|Mul|Pow|Mod|FloorDiv|Max|Min|True|False|positive|nonnegative|integer"
    r"|[su]\d+|'[su]\d+'|\d+|[-+*/(),= ])*"
)


def check_archive(path: Path, content: bytes) -> bytes:
    """Checks the content of a .pt2, and returns the example inputs, which torch has to read without unpickling classes.

    Raises:
        UserError: for a file that is none, that is compressed, or that holds anything besides the tensors and the graph of an
            ordinary network.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _checked(archive)
    except UserError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile, RecursionError, NotImplementedError, KeyError) as error:
        raise UserError(
            f"{path} cannot be taken ({one_line(error)[:200]}); export it again with torch.export.save"
        ) from error


def _checked(archive: zipfile.ZipFile) -> bytes:
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        folder, _, name = entry.filename.partition("/")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError("it is compressed, and torch compresses nothing")
        if not folder or not _MEMBERS.fullmatch(name):
            raise ValueError(
                f"it holds {entry.filename[:80]!r}; only the graph and the plain tensors of a network are taken"
            )
        if name in members:
            raise ValueError(f"it holds {name!r} twice")
        members[name] = entry
    for name in (*_CONFIGS, "models/model.json", SAMPLE_INPUTS):
        if name not in members:
            raise ValueError(f"it lacks {name}")
    for name in _CONFIGS:
        for payload in _json(archive, members[name])["config"].values():
            if payload.get("use_pickle") is not False:
                raise ValueError("it holds a pickled tensor, which torch would unpickle without restriction")
    _check_program(_json(archive, members["models/model.json"]))
    return archive.read(members[SAMPLE_INPUTS])


def _check_program(program: Mapping[str, Any]) -> None:
    inputs = sum("user_input" in node for node in _mappings(program))
    if inputs != 1:
        raise ValueError(f"it takes {inputs} inputs; only maps from latents alone to images are taken")
    for device in (node["device"] for node in _mappings(program) if isinstance(node.get("device"), dict)):
        if device.get("type") != "cpu":
            raise ValueError(f"it is of the device {str(device.get('type'))[:20]!r}; move the network to the CPU first")
    if program.get("guards_code"):
        raise ValueError("it holds guards, which torch runs as Python code; export it with fewer dynamic shapes")
    for node in _mappings(program):
        target, name, expression = node.get("target"), node.get("name"), node.get("expr_str")
        if "inputs" in node and "outputs" in node and "target" in node and not _matches(_TARGET, target):
            raise ValueError(
                f"its graph calls {str(target)[:80]!r}; only torch.ops.aten and whole-number arithmetic are taken"
            )
        if name not in (None, "") and not _matches(_NAME, name):
            raise ValueError(f"its graph has the name {str(name)[:80]!r}, which is no identifier")
        if expression is not None and not _matches(_EXPRESSION, expression):
            raise ValueError(f"it has the symbolic size {str(expression)[:80]!r}, which torch would evaluate")
        if node.get("as_custom_obj") is not None or node.get("as_graph") is not None:
            raise ValueError("its graph holds an object or a graph of its own; export a plain network")


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _json(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Any:
    if entry.file_size > MOST_JSON:
        raise ValueError(f"{entry.filename} has {entry.file_size:,} bytes; at most {MOST_JSON:,} are expected")
    value = json.loads(archive.read(entry))
    if not isinstance(value, dict):
        raise ValueError(f"{entry.filename} is not an object")
    return value


def _mappings(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _mappings(child)
    elif isinstance(node, list):
        for child in node:
            yield from _mappings(child)
