"""What the file of a claim may say, and the arithmetic of quantities."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.errors import UserError
from benchmarks.reporting.claim_files import load_claims, parse_claim
from benchmarks.reporting.quantities import evaluate
from tests.conftest import CONF, choices

FID = "title: t\nquantity: fid\nleft: gan\nright: vae\nexpect: lower\n"


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("fid", 4.0),
        ("fid / fid_fitted", 2.0),
        ("-log(fid) + sqrt(fid) * abs(-3)", -np.log(4) + 6),
        ("1000 / speed", None),
        ("fid / zero", None),
        ("log(zero)", None),
    ],
)
def test_a_quantity_is_arithmetic_of_scores(quantity: str, value: float | None) -> None:
    assert evaluate(quantity, {"fid": 4.0, "fid_fitted": 2.0, "zero": 0.0}) == (
        None if value is None else pytest.approx(value)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("fid", "__import__('os').system('true')"), "has something other than names"),
        (("fid", "fid.real"), "has something other than names"),
        (("fid", "fid +"), "is not an expression"),
        (("lower", "better"), "expect is 'better'; expected higher or lower or equal"),
        (("lower", "equal"), "expect: equal needs a margin"),
        (("lower", "equal\nmargin: -1"), "expect: equal needs a margin above 0"),
        (("lower", "lower\nmargin: x"), "margin is 'x'; expected a number"),
        (("lower", "lower\ndatamodules: mnist"), "datamodules is 'mnist'; expected a list"),
        (("quantity: fid", "quantity: 5"), "quantity is 5; expected a text"),
        (("left: gan", "left: [{model: gan, where: 3}]"), "where is 3; expected keys and values"),
        (("left: gan", "over: trials\nleft: {model: gan, where: {a: 1}}"), "where does not work over trials"),
        (("title: t", "tittle: t"), "unknown key tittle"),
        (("left: gan\n", ""), "left is missing"),
        (("left: gan", "left: []"), "a side is empty"),
        (("left: gan", "left: [{where: 3}]"), "is not a model"),
        (("lower", "lower\nscale: ratio\nmargin: 0.5"), "a factor above 1"),
        (("right: vae", "right: 3\nstatistic: spread"), "spreads are compared by difference"),
        (("title: t", "title: [t"), "claim c: "),
    ],
)
def test_what_is_no_claim_is_said_in_a_line(change: tuple[str, str], said: str) -> None:
    with pytest.raises(UserError, match=r"^claim c: ") as error:
        parse_claim("c", FID.replace(*change))
    assert said in str(error.value)


FINDINGS = sorted(path.name for path in (CONF / "finding").iterdir() if path.is_dir())


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_published_finding_is_claims_with_a_source_and_models_that_exist(finding: str) -> None:
    found = load_claims(Path(finding))
    assert found.claims
    assert set(found.datamodules) <= set(choices("datamodule"))
    for claim in found.claims:
        assert re.search(r"\b(19|20)\d\d, (table|sec)", claim.source), claim.name
        assert {side.model for _, side in claim.sides} <= set(choices("model"))


def test_genbenchs_claims_name_its_models_and_columns() -> None:
    claims = load_claims().claims
    assert len(claims) >= 9
    assert [claim.order for claim in claims] == sorted(claim.order for claim in claims)
    models = {side.model for claim in claims for side in claim.left}
    models |= {side.model for claim in claims if not isinstance(claim.right, float) for side in claim.right}
    assert models <= set(choices("model"))
    assert {claim.name for claim in claims} == set(choices("claim")) - {"_family"}
    assert all(claim.source for claim in claims)


def test_a_folder_of_claims_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a folder; .* or to one of .*pacgan"):
        load_claims(tmp_path / "none")
    with pytest.raises(UserError, match="holds no yaml file"):
        load_claims(tmp_path)
