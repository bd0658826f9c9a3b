"""The report's page: one HTML file that needs no other file, with the charts' library inside."""

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from benchmarks.records.searches import Search, Trial
from benchmarks.reporting.across_charts import draw
from benchmarks.reporting.charts import search_chart, table_chart
from benchmarks.reporting.claims import Claim
from benchmarks.reporting.drawings import forest, specification_curve
from benchmarks.reporting.evidence import Group
from benchmarks.reporting.exports import BADGES
from benchmarks.reporting.labels import written
from benchmarks.reporting.numbers import number, p_text
from benchmarks.reporting.opening import openings
from benchmarks.reporting.points import effect_text
from benchmarks.reporting.questions import question_of, titles_in_order
from benchmarks.reporting.report import Report
from benchmarks.reporting.table import Table
from benchmarks.reporting.table_sections import link, table_sections, template_environment
from benchmarks.reporting.verdicts import Answer

# values and runs of a row that a verdict shows
MOST_SHOWN = 20
# families without claims that the contents name
MOST_NAMED = 3
ASSETS = resources.files("benchmarks.reporting") / "templates"


def page(report: Report) -> str:
    """The whole page."""
    return "".join(chain(page_start(report), table_sections(report), page_end(report)))


def page_start(report: Report) -> Iterator[str]:
    """The page before the sections of its tables: verdicts first. In pieces; everything that comes from a record is escaped."""
    tables, out = report.tables, report.out
    by_claim: dict[str, tuple[Claim, list[Answer]]] = {}
    for answer in report.answers:
        by_claim.setdefault(answer.claim.name, (answer.claim, []))[1].append(answer)
    families = list(dict.fromkeys(row.model for table in tables for row in table.models))
    openings_of_tables = openings(tables, report.pictures, families, report.min_seeds)
    environment = template_environment()
    environment.globals |= {
        "badges": BADGES,
        "effect_text": effect_text,
        "p_text": p_text,
        "number": number,
        "forest": forest,
        "specification_curve": specification_curve,
        "groups": _groups,
        "values_of": lambda group: _values_of(group, out),
        "written": written,
    }
    yield from environment.get_template("start.html.j2").generate(
        title=report.title,
        tables=tables,
        newcomers=report.newcomers,
        across=[draw(each, families) for each in report.across],
        families=families,
        openings=openings_of_tables,
        questions=_questions(by_claim.values()),
        contents=_contents(report, bool(openings_of_tables)),
        shared_by=report.shared_by,
        counts={verdict: sum(a.verdict == verdict for a in report.answers) for verdict in BADGES},
        filters=_filters(tables, report.searches),
        min_seeds=report.min_seeds,
        css=Markup((ASSETS / "report.css").read_text(encoding="utf-8")),
    )


def page_end(report: Report) -> Iterator[str]:
    """The page after the sections of its tables: searches, failures, and the data of the charts."""
    tables, searches, out = report.tables, report.searches, report.out
    charts = {"tables": [table_chart(table) for table in tables], "searches": [search_chart(s) for s in searches]}
    environment = template_environment()
    environment.globals |= {"number": number, "link": lambda path: link(path, out), "params": _params}
    yield from environment.get_template("end.html.j2").generate(
        searches=searches,
        failures=report.failures,
        copies=report.copies,
        script=Markup((ASSETS / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()) if tables or searches else "",
        data=_json(charts),
    )


def _questions(
    claims: Iterable[tuple[Claim, list[Answer]]],
) -> list[tuple[str, list[tuple[Claim, list[Answer]]], list[tuple[Claim, list[Answer]]]]]:
    """By question: the claims with a verdict, and those that are undecided everywhere."""
    by_title: dict[str, list[tuple[Claim, list[Answer]]]] = {}
    for claim, answers in claims:
        by_title.setdefault(question_of(claim), []).append((claim, answers))
    grouped = []
    for title in titles_in_order(list(by_title)):
        decided = [c for c in by_title[title] if any(answer.verdict != "undecided" for answer in c[1])]
        grouped.append((title, decided, [c for c in by_title[title] if c not in decided]))
    return grouped


def _contents(report: Report, has_opening: bool) -> list[tuple[str, str]]:
    """The sections of the page: their ids and titles."""
    contents = [("opening-1", "Answer")] if has_opening else []
    contents += [("claims", "Verdicts")] if report.answers else []
    if len(report.newcomers) > MOST_NAMED:
        contents += [("newcomer-1", f"{len(report.newcomers)} more families against each baseline")]
    else:
        contents += [
            (f"newcomer-{i}", f"{new.model} against each baseline") for i, new in enumerate(report.newcomers, 1)
        ]
    contents += [("across-1", "Across data sets")] if report.across else []
    contents += [("reading", "How to read")]
    contents += [(f"table-{i}", table.title) for i, table in enumerate(report.tables, 1)]
    contents += [(f"search-{i}", f"Search: {search.heading}") for i, search in enumerate(report.searches, 1)]
    contents += [("failures", "Runs without a result")] if report.failures else []
    return contents + ([("copies", "Copies under other seeds")] if report.copies else [])


def _filters(tables: Sequence[Table], searches: Sequence[Search]) -> dict[str, list[str]]:
    """The choices of each filter, in the order of the page; no filter with a single choice."""
    records = [search.record for search in searches]
    families = [row.model for table in tables for row in table.models]
    families += [model for search in searches for model in search.trials]
    choices = {
        "datamodule": dict.fromkeys([*(t.datamodule for t in tables), *(r["datamodule"] for r in records)]),
        "network": dict.fromkeys([*(t.network for t in tables), *(r["network"] for r in records)]),
        "family": dict.fromkeys(families),
    }
    return {name: list(values) for name, values in choices.items() if len(values) > 1}


def _params(trial: Trial) -> str:
    shown = {name: number(v) if isinstance(v, float) else v for name, v in trial.params.items()}
    return ", ".join(f"{name} = {value}" for name, value in shown.items())


def _groups(answer: Answer) -> list[Group]:
    """The groups of both sides behind an answer, each once."""
    sides = [side for point in answer.points for side in (point.left, point.right) if isinstance(side, Group)]
    return list({(group.label, group.runs, tuple(group.values)): group for group in sides}.values())


def _values_of(group: Group, out: Path) -> Markup:
    """The values of a row and links to its runs. Python builds the item faster than the template, and there may be thousands."""
    values = ", ".join(map(number, group.values[:MOST_SHOWN].tolist()))
    more = f" and {len(group.values) - MOST_SHOWN} more" if len(group.values) > MOST_SHOWN else ""
    links = [f'<a href="{escape(link(run, out))}">{_last_parts(run)}</a> ' for run in group.runs[:MOST_SHOWN]]
    return Markup(f"          <li>{escape(group.label)}: {values}{more}<br>\n{''.join(links)}</li>")


def _last_parts(run: Path) -> str:
    """The last two folders of a run, in HTML."""
    return f"{escape(run.parent.name)}/{escape(run.name)}"


def _json(value: Any) -> Markup:
    """Strict JSON for a script element, without characters that could end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
