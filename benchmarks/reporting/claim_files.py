"""Reads claims: a file of conf/claim is a claim, a file of conf/claim/choices a choice of the ruler."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from benchmarks.errors import UserError
from benchmarks.reporting.claims import Choice, Claim, Claims, Option, Scores, Side, as_text
from benchmarks.reporting.quantities import as_number, names_in

# the file beside the claims that names the data sets of their family
FAMILY = "_family"
# spreads need many values: with 5 seeds and a true ratio of deviations of 10, a test finds 13 of 100 differences
SPREAD_SEEDS = 20


def load_claims(folder: Path | None = None) -> Claims:
    """The claims of a folder of yaml files, or genbench's own claims.

    The name of a folder of `conf/finding` stands for it: the claims of a published finding, which share an error rate of 5%.
    `choices/` in the folder holds the choices that the claims name; a choice that is not there is genbench's own.

    Raises:
        UserError: for a folder without claims, or a file that is not a claim. The message names the file and the mistake.
    """
    own: Traversable = resources.files("conf") / "claim"
    findings = resources.files("conf") / "finding"
    root = own if folder is None else folder
    if not root.is_dir() and folder is not None and len(folder.parts) == 1 and (findings / folder.name).is_dir():
        root = findings / folder.name
    if not root.is_dir():
        names = ", ".join(sorted(entry.name for entry in findings.iterdir() if entry.is_dir()))
        raise UserError(
            f"{root} is not a folder; set claims=FOLDER to a folder of yaml files such as conf/claim, or to one of {names}"
        )
    texts = dict(_yamls(root))
    family = _parsed("claims", texts.pop(FAMILY, "{}"))
    if not texts:
        raise UserError(f"{root} holds no yaml file; a claim is a yaml file such as those of conf/claim")
    choices = {name: parse_choice(name, text) for at in (own, root) for name, text in _yamls(at / "choices")}
    claims = [parse_claim(name, text, choices) for name, text in texts.items()]
    datamodules = family.get("datamodules", [])
    if not isinstance(datamodules, list) or family.keys() - {"datamodules"}:
        raise UserError(f"{root}/{FAMILY}.yaml: expected the key datamodules with a list of data modules")
    return Claims(sorted(claims, key=lambda claim: (claim.order, claim.name)), tuple(map(str, datamodules)))


def parse_claim(name: str, text: str, choices: Mapping[str, Choice] | None = None) -> Claim:
    """Parses the text of a claim's file.

    Args:
        name: of the file.
        text: of the file.
        choices: that the claim may name.

    Raises:
        UserError: for text that is not a claim.
    """
    keys = _parsed(f"claim {name}", text)
    known = {f.name for f in fields(Claim)} - {"name"}
    if unknown := sorted(map(str, set(keys) - known)):
        raise UserError(f"claim {name}: unknown key {unknown[0]}; expected {', '.join(sorted(known))}")
    if missing := [key for key in ("title", "quantity", "left", "right", "expect") if key not in keys]:
        raise UserError(f"claim {name}: {missing[0]} is missing")
    _check_kinds(name, keys)
    right = as_number(keys["right"])
    keys["left"] = _sides(name, keys["left"])
    keys["right"] = _sides(name, keys["right"]) if right is None else right
    keys["datamodules"] = tuple(keys.get("datamodules") or ())
    keys["choices"] = tuple(_choice(name, word, choices or {}) for word in keys.get("choices") or ())
    keys["must_beat"] = _floors(name, keys.get("must_beat"))
    keys["must_exceed"] = _least(name, keys.get("must_exceed"))
    if keys.get("statistic") == "spread":
        keys.setdefault("min_seeds", SPREAD_SEEDS)
    claim = Claim(name, **keys)
    for specification in claim.specifications:
        for is_right in (False, True):
            names_in(specification.quantity_of(is_right), name)
    _check_test(claim)
    return claim


def parse_choice(name: str, text: str) -> Choice:
    """Parses the text of a choice's file: `title`, `options`, and `note`.

    An option is a mapping from scores to the scores in their place, or two such mappings, `left` and `right`.

    Raises:
        UserError: for text that is not a choice.
    """
    keys = _parsed(f"choice {name}", text)
    options = keys.get("options")
    if not isinstance(options, dict) or not options or keys.keys() - {"title", "options", "note"}:
        raise UserError(f"choice {name}: expected title, note, and options: a mapping from labels to scores")
    parsed = []
    for label, scores in options.items():
        if not isinstance(scores, dict):
            raise UserError(f"choice {name}: option {label!r} is {scores!r}; expected a mapping from scores to scores")
        by_side = scores if scores and scores.keys() <= {"left", "right"} else {"left": scores, "right": scores}
        left, right = (_scores(name, by_side.get(side) or {}) for side in ("left", "right"))
        parsed.append(Option(str(label), left, right))
    return Choice(name, str(keys.get("title", name)), tuple(parsed), str(keys.get("note", "")))


def _check_kinds(name: str, keys: Mapping[str, Any]) -> None:
    for key, choices in {
        "expect": ("higher", "lower", "equal"),
        "scale": ("difference", "ratio"),
        "statistic": ("mean", "spread"),
        "over": ("seeds", "trials"),
    }.items():
        if key in keys and keys[key] not in choices:
            raise UserError(f"claim {name}: {key} is {keys[key]!r}; expected {' or '.join(choices)}")
    texts = ("title", "quantity", "right_quantity", "unit", "source", "note")
    for key, kinds, expected in [
        *((key, (str,), "a text") for key in texts),
        ("margin", (int, float), "a number"),
        ("order", (int,), "a whole number"),
        ("min_seeds", (int,), "a whole number"),
        ("datamodules", (list,), "a list of data modules, as in [ring, grid]"),
        ("choices", (list,), "a list of choices, as in [path, encoder]"),
    ]:
        if key in keys and (not isinstance(keys[key], kinds) or isinstance(keys[key], bool)):
            raise UserError(f"claim {name}: {key} is {keys[key]!r}; expected {expected}")


def _check_test(claim: Claim) -> None:
    name, is_number = claim.name, isinstance(claim.right, float)
    if claim.statistic == "spread" and (claim.scale == "ratio" or is_number):
        raise UserError(f"claim {name}: spreads are compared by difference and between models only")
    if claim.expect == "equal" and (claim.margin is None or claim.margin <= 0):
        raise UserError(f"claim {name}: expect: equal needs a margin above 0")
    if claim.over == "trials" and any(side.where for _, side in claim.sides):
        raise UserError(f"claim {name}: where does not work over trials, because trials differ in their settings")
    if claim.over == "trials" and (claim.choices or claim.must_beat or claim.must_exceed):
        raise UserError(f"claim {name}: choices, must_beat and must_exceed do not work over trials")
    if claim.left == claim.right and claim.right_quantity in ("", claim.quantity):
        raise UserError(f"claim {name}: left and right are the same; set right_quantity to another quantity")
    if claim.min_seeds is not None and claim.min_seeds < 2:
        raise UserError(f"claim {name}: min_seeds is {claim.min_seeds}; expected 2 or more")
    needs_factor = claim.scale == "ratio" and claim.margin is not None and claim.margin <= 1
    if needs_factor or (claim.scale == "ratio" and isinstance(claim.right, float) and claim.right <= 0):
        raise UserError(f"claim {name}: on the scale of ratios, a margin is a factor above 1 and a number is above 0")
    if claim.margin is not None and not math.isfinite(claim.margin):
        raise UserError(f"claim {name}: margin is {claim.margin}; expected a finite number")


def _parsed(what: str, text: str) -> dict[str, Any]:
    try:
        keys = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{what}: {' '.join(str(error).split())}") from error
    if not isinstance(keys, dict):
        raise UserError(f"{what}: expected keys and values")
    return keys


def _sides(name: str, sides: Any) -> tuple[Side, ...]:
    parsed = []
    for side in sides if isinstance(sides, list) else [sides]:
        if isinstance(side, str):
            parsed.append(Side(side))
        elif isinstance(side, dict) and {"model"} <= side.keys() <= {"model", "where"}:
            where = side.get("where") or {}
            if not isinstance(where, dict):
                raise UserError(f"claim {name}: where is {where!r}; expected keys and values")
            # as text, so that a side can be a key of a dictionary whatever the values are
            parsed.append(Side(str(side["model"]), tuple((str(k), as_text(v)) for k, v in where.items())))
        else:
            raise UserError(f"claim {name}: {side!r} is not a model; expected a name, or model and where")
    if not parsed:
        raise UserError(f"claim {name}: a side is empty; expected a model's name")
    return tuple(parsed)


def _choice(name: str, word: Any, choices: Mapping[str, Choice]) -> Choice:
    if word not in choices:
        raise UserError(f"claim {name}: choice {word!r} does not exist; expected one of {', '.join(choices) or 'none'}")
    return choices[word]


def _floors(name: str, node: Any) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    if not isinstance(node, dict) or not node:
        raise UserError(
            f"claim {name}: must_beat is {node!r}; expected a score and a baseline row, as in fid: pixel noise"
        )
    return tuple((str(score), str(row)) for score, row in node.items())


def _least(name: str, node: Any) -> tuple[str, float] | None:
    if node is None:
        return None
    number = as_number(next(iter(node.values()))) if isinstance(node, dict) and len(node) == 1 else None
    if number is None:
        raise UserError(f"claim {name}: must_exceed is {node!r}; expected a score and a number, as in elbo_kl: 1")
    return str(next(iter(node))), number


def _scores(name: str, node: Any) -> Scores:
    if not isinstance(node, dict):
        raise UserError(f"choice {name}: {node!r} is not a mapping from scores to scores")
    for score, place in node.items():
        if not str(score).isidentifier() or not isinstance(place, str):
            raise UserError(f"choice {name}: {score!r}: {place!r} does not name a score and what stands in its place")
        names_in(place, f"choice {name}")
    return tuple((str(score), place) for score, place in node.items())


def _yamls(folder: Traversable) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if not entry.name.endswith(".yaml"):
            continue
        try:
            yield entry.name.removesuffix(".yaml"), entry.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{entry} cannot be read ({' '.join(str(error).split())})") from error
