"""The report's page in a real browser: no errors, sorting, filters, charts, and no raw NaN."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.records.files import write_json
from benchmarks.reporting.build import write_report
from tests.reporting.fakes import EVIL, add_run

BROWSER = os.environ.get("GENBENCH_BROWSER") or next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic", "--enable-logging=stderr"),
    *("--virtual-time-budget=20000", "--window-size=1200,30000"),
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here; set GENBENCH_BROWSER to one")

# what a person would do, and what they would see; its answer is put where the dumped page shows it
VISIT = """
<script>
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
// a chart is drawn after the frame in which it is first in view, or to be printed: a headless browser may have no frames
addEventListener("load", () => setTimeout(() => {
  dispatchEvent(new Event("beforeprint"));
  look();
}, 1500));
function look() {
  const seen = {};
  const shown = (element) => element.offsetParent !== null;
  const order = (table) => all("tbody th[scope=row]", table).map((cell) => cell.textContent);
  const table = all("table.sortable").find((t) => t.querySelector("[data-column=fid]"));
  const head = table.querySelector("[data-column=fid]");
  seen.before = order(table);
  head.querySelector("button").click();
  seen.ascending = order(table);
  seen.sorted = head.getAttribute("aria-sort");
  head.querySelector("button").click();
  seen.descending = order(table);
  seen.charts = all(".js-plotly-plot").filter(shown).length;
  seen.traces = all(".js-plotly-plot").map((plot) => plot.data.length);
  const links = all(".contents a, a.skip");
  seen.broken = links.filter((a) => !document.getElementById(a.hash.slice(1))).map((a) => a.hash);
  seen.contents = links.map((a) => a.textContent);
  seen.first = document.querySelector(".map, .strip").getBoundingClientRect().top + scrollY;
  const set = (name, value, on) => {
    const box = document.querySelector(`input[data-filter="${name}"][value="${value}"]`);
    if (box.checked !== on) box.click();
  };
  set("family", "gan", false);
  seen.rows = all("tbody th[scope=row]", table).filter(shown).map((cell) => cell.textContent);
  seen.fewer = all(".js-plotly-plot").map((plot) => plot.data.length);
  seen.regions = all(".map [data-family]").filter((g) => getComputedStyle(g).display !== "none").map((g) => g.dataset.family);
  seen.across = all(".across .map [data-family]").filter((g) => getComputedStyle(g).display !== "none")
    .flatMap((g) => [g.dataset.family, g.dataset.otherFamily ?? ""]);
  seen.figures = all(".gallery figure").filter(shown).length;
  set("family", "gan", true);
  all("details.fold").forEach((d) => { d.open = true; });  // undecided claims are folded
  const tally = () => all("[data-verdict]").map((count) => Number(count.textContent));
  const badges = () => all("[data-answer]").filter(shown).length;
  seen.tally = [[tally(), badges()]];
  set("datamodule", "mnist", false);
  seen.tally.push([tally(), badges()]);
  const sections = () =>
    [...new Set(all("main > section[data-datamodule]").filter(shown).map((s) => s.dataset.datamodule))];
  seen.sections = sections();
  set("datamodule", "mnist", true);
  seen.restored = sections();
  all("details").forEach((d) => { d.open = true; });
  set("family", "gan", false);
  seen.pairs = all(".comparisons tbody th").filter(shown).map((cell) => cell.textContent);
  seen.failures = all("section[aria-labelledby=failures] li").filter(shown).length;
  set("family", "gan", true);
  const trials = all("table.sortable").find((t) => t.caption.textContent.startsWith("Every trial"));
  const value = trials.querySelectorAll("thead button")[2];
  value.click();
  value.click();
  seen.trials = all("tbody tr", trials).map((row) => row.cells[2].firstChild.textContent);
  seen.why = all(".why li").map((item) => item.innerText);
  const kinds = all(".tabs button");
  seen.kinds = kinds.map((button) => button.textContent);
  kinds[1]?.click();
  seen.chosen = all("[data-kind]").filter(shown).map((kind) => kind.dataset.kind);
  const select = document.querySelector("[data-chart=curve] [data-axis=x]");
  select.value = "seconds";
  select.dispatchEvent(new Event("change"));
  seen.axis = document.querySelector("[data-chart=curve] .plot").layout.xaxis.title.text;
  // what can be clicked is a button, and what scrolls can be scrolled by keys
  seen.mouseOnly = all("table.sortable thead th").filter((th) => th.querySelector("button") === null).length
    + all("main *").filter((e) => e.onclick !== null || getComputedStyle(e).cursor === "pointer")
      .filter((e) => !e.closest("button, summary, a, label, select, .plot")).length
    + all(".scroll").filter((e) => e.scrollWidth > e.clientWidth && e.tabIndex !== 0).length;
  all(".scroll")[0].removeAttribute("tabindex");
  seen.control = all(".scroll").filter((e) => e.tabIndex !== 0).length;
  seen.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  seen.fits = all(".js-plotly-plot").filter(shown)
    .map((p) => Math.round(p.querySelector("svg").getBoundingClientRect().width) - p.clientWidth);
  seen.unlabelled = all(".js-plotly-plot").filter(shown)
    .flatMap((p) => [".xtick", ".ytick"].filter((axis) => all(`${axis} text`, p).length < 2));
  seen.text = document.body.innerText;
  const pre = document.createElement("pre");
  pre.id = "seen";
  pre.textContent = JSON.stringify(seen);
  document.body.append(pre);
}
</script>
"""


def visit(page: Path, tmp_path: Path, *flags: str) -> tuple[dict[str, Any], list[str]]:
    """What the visit saw, and what the browser's console said."""
    copy = page.parent / "visited.html"
    # after the page's own policy the visitor's script is let in as the page's own are: inline
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{VISIT}</body>"), encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [BROWSER, *FLAGS, *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", copy.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said is not None, done.stderr[-2000:]
    return json.loads(html.unescape(said[1])), [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def report(tmp_path: Path, sweep: Path, capsys: Any) -> Path:
    """A page of made-up runs on two data sets, with a search, a record full of markup, and one real sweep's pictures."""
    for seed in range(5):
        for model, fid in (("vae", 12.0), ("gan", 5.0), ("wgan", 30.0)):
            path = add_run(tmp_path / "runs", model, seed, {"fid": fid + seed, "elbo": None, "recon_mse": fid / 100})
            (path / "curve.csv").write_text("images,seconds,updates,val_fid\n10,1,1,9\n100,2,5,4\n1000,9,50,2\n")
            add_run(tmp_path / "runs", model, seed, {"fid": 2 * fid + seed, "recon_mse": fid / 100}, datamodule="noise")
    add_run(tmp_path / "runs", EVIL, 0, {"fid": None}, error=EVIL)
    add_run(tmp_path / "runs", "gan", 9, {}, status="diverged", error=f"the loss is nan {EVIL}")
    for path in (sweep / "runs").glob("digits/*/*/seed=0"):
        target = tmp_path / "runs" / "real" / path.relative_to(sweep / "runs")
        shutil.copytree(path, target, ignore=shutil.ignore_patterns("checkpoints"))
        record = json.loads((target / "run.json").read_text())
        record["names"]["datamodule"] = "mnist"
        (target / "run.json").write_text(json.dumps(record))
    search = tmp_path / "runs" / "digits" / "_searches" / "s-1"
    write_json(
        search / "search.json",
        {"schema": 1, "id": "1", "name": "s", "datamodule": "fashion_mnist", "network": "mlp", "select": "fid"}
        | {
            "higher_is_better": False,
            "protocol_id": "v",
            "sampler": "random",
            "command": f"python -m benchmarks.search {EVIL}",
        },
    )
    for i, value in enumerate([9.0, None, 7.0]):
        trial = {"model": "flow", "number": i, "params": {"lr": 0.1}, "value": value}
        trial |= {"status": "finished" if value is not None else "diverged", "reason": None if value else EVIL}
        write_json(search / "trials" / f"flow-{i}.json", {"schema": 1, **trial, "run": "digits/x", "config_id": "c"})
    write_report([tmp_path / "runs"], tmp_path / "out", "A report", None)
    return tmp_path / "out" / "index.html"


@needs_browser
@pytest.mark.parametrize("flags", [(), ("--force-dark-mode", "--window-size=390,9000")], ids=["desktop", "dark phone"])
def test_the_page_sorts_filters_and_draws_without_an_error(
    report: Path, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    seen, console = visit(report, tmp_path, *flags)
    assert console == []
    models = [row for row in seen["before"] if row not in ("real train", "pixel noise")]
    assert set(models) == {"vae", "gan", "wgan", EVIL}
    assert seen["ascending"] == ["gan", "vae", "wgan", EVIL], "a dash stays below whichever way is sorted"
    assert seen["descending"] == ["wgan", "vae", "gan", EVIL]
    assert seen["sorted"] == "ascending"
    assert seen["charts"] >= 3
    assert "gan" not in seen["rows"]
    assert sum(seen["fewer"]) < sum(seen["traces"])
    assert seen["figures"] > 0
    assert {"vae", "wgan"} <= set(seen["regions"])
    assert "gan" not in seen["regions"], "a filter reaches the maps too"
    assert seen["broken"] == [], "a link of the contents leads nowhere"
    assert {"Answer", "Verdicts", "Across data sets", "digits · mlp", "Runs without a result"} <= set(seen["contents"])
    assert seen["first"] < 900, "the first pictures are not on the first screen"
    assert set(seen["sections"]) == {"digits", "fashion_mnist", "noise", "digits|noise"}
    assert sorted(seen["restored"]) == ["digits", "digits|noise", "fashion_mnist", "mnist", "noise"]
    assert {"vae", "wgan"} <= set(seen["across"])
    assert "gan" not in seen["across"], "a filter reaches the charts across data sets"
    assert seen["pairs"]
    assert not [pair for pair in seen["pairs"] if "gan" in pair.split(" ")]
    assert seen["failures"] == 0, "the one that diverged is a GAN's"
    assert seen["trials"] == ["9", "7", "diverged"]
    assert f"MSE of {EVIL}: was not measured" in seen["why"]
    (whole, answers), (part, fewer) = seen["tally"]
    assert (sum(whole), sum(part)) == (answers, fewer), "the tally is of what is shown"
    assert 0 < fewer < answers
    assert "interpolations" in seen["kinds"]
    assert len(seen["chosen"]) == 1
    assert seen["axis"] == "seconds of training"
    assert seen["mouseOnly"] == 0, "something cannot be had with a keyboard"
    assert seen["control"] == 1
    assert seen["wide"] <= 0, "the page itself scrolls sideways"
    assert max(seen["fits"]) <= 1, "a chart is wider than its box"
    assert seen["unlabelled"] == [], "an axis has fewer than two labels"
    assert "NaN" not in seen["text"]
    assert "undefined" not in seen["text"]


def test_a_quickstarts_page_is_small_enough(sweep: Path) -> None:
    """Five models' pictures are five thirds of three; the library is most of it."""
    (page,) = (sweep / "reports").rglob("index.html")
    assert page.stat().st_size < 6 * 2**20
