"""All verdicts on one screen: a line for each claim, a column for each data set."""

import re
from dataclasses import replace

from benchmarks.reporting.claim_files import parse_claim
from benchmarks.reporting.summary import verdicts_markdown
from benchmarks.reporting.verdicts import answer_all
from tests.reporting.test_specifications import MIDPOINTS, PATH
from tests.reporting.test_verdicts import FID, around, row, table


def test_every_claim_has_a_line_and_every_data_set_a_column() -> None:
    ae = row("ae", fid=around(100), fid_straight=around(100), fid_centred=around(100))
    vae = row("vae", fid=around(53), fid_straight=around(125), fid_centred=around(85))
    here = table(ae, vae, row("gan", fid=around(10)))
    there = replace(here, datamodule="mnist", rows=[ae, vae])
    samples = parse_claim("samples", FID.replace("right: vae", "right: vae\nscale: ratio"))
    claims = [samples, parse_claim("midpoints", MIDPOINTS, {"path": PATH})]
    lines = verdicts_markdown(answer_all(claims, [here, there])).splitlines()
    assert lines[:2] == ["| claim | digits | mnist |", "| --- | --- | --- |"]
    assert [line.split(" | ")[1:] for line in lines[2:4]] == [["holds", "— |"], ["depends", "depends |"]]
    of_samples, of_midpoints = (line.split(" | ") for line in lines[-2:])
    assert re.fullmatch(r"✓ 0\.1[89]\d* \(0\.1[89]\d* to 0\.1[89]\d*\)", of_samples[1])
    assert re.match(r"± 0\.5\d* to 1\.2\d*; path; 2 of 3 passed, 1 failed", of_midpoints[1])


def test_a_data_set_with_two_protocols_has_two_columns() -> None:
    first = table(row("gan", fid=around(10)), row("vae", fid=around(53)))
    second = replace(first, protocol=first.protocol | {"name": "full"}, protocol_id="p9")
    heads = verdicts_markdown(answer_all([parse_claim("samples", FID)], [first, second])).splitlines()[0]
    assert heads == "| claim | digits · full | digits · quick |"
