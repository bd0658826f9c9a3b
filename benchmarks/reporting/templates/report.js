"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---- colours and marks: a family has one colour and one mark everywhere; the mark helps readers who cannot tell the colours apart
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const COLORS = [0, 1, 2, 3, 4, 5, 6, 7].map((i) => css(`--family-${i}`));
  const MARKS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x"];
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const families = [];
  const familyIndex = (family) => {
    if (!families.includes(family)) families.push(family);
    return families.indexOf(family);
  };
  const color = (family) => COLORS[familyIndex(family) % COLORS.length];
  const mark = (family) => MARKS[familyIndex(family) % MARKS.length];
  data.tables.forEach((table) => table.rows.forEach((row) => row.baseline || familyIndex(row.family)));

  // ---- filters
  const chosen = (name) => {
    const boxes = all(`input[data-filter="${name}"]`);
    return boxes.length ? new Set(boxes.filter((box) => box.checked).map((box) => box.value)) : null;
  };
  // a value may name several choices, with | between them
  const passes = (set, value) => set === null || value === undefined || value === "" || value.split("|").some((part) => set.has(part));
  function filter() {
    const [datamodule, network, family] = ["datamodule", "network", "family"].map(chosen);
    all("[data-datamodule], [data-family]").forEach((element) => {
      const facts = element.dataset;
      // an attribute, because an element of a drawing has no property for it
      element.toggleAttribute("hidden", !(passes(datamodule, facts.datamodule) && passes(network, facts.network)
        && passes(family, facts.family) && passes(family, facts.otherFamily)));
    });
    all(".claim").forEach((claim) => {
      const answers = all("li[data-datamodule]", claim);
      claim.hidden = answers.length > 0 && answers.every((answer) => answer.hidden);
    });
    all("[data-verdict]").forEach((count) => {
      const answers = all("[data-answer]").filter((answer) => answer.dataset.answer === count.dataset.verdict);
      count.textContent = String(answers.filter((answer) => !answer.hidden).length);
    });
    draw();
  }
  all("input[data-filter]").forEach((box) => box.addEventListener("change", filter));

  // ---- sorting: numbers by their value, words by the alphabet; baseline rows and dashes stay below
  function key(row, index) {
    const cell = row.cells[index];
    if (cell.dataset.value !== undefined) return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "—" || text === "" ? null : text;
  }
  function sort(table, index, direction) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const known = rows.filter((row) => !row.classList.contains("baseline") && key(row, index) !== null);
    const dashes = rows.filter((row) => !row.classList.contains("baseline") && key(row, index) === null);
    known.sort((a, b) => {
      const [x, y] = [key(a, index), key(b, index)];
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", { numeric: true });
      return direction === "ascending" ? order : -order;
    });
    body.append(...known, ...dashes, ...rows.filter((row) => row.classList.contains("baseline")));
    all("thead th", table).forEach((head, i) => {
      if (i === index) head.setAttribute("aria-sort", direction);
      else head.removeAttribute("aria-sort");
    });
  }
  all("table.sortable").forEach((table) => {
    all("thead th", table).forEach((head, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        sort(table, index, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending");
      });
    });
  });

  // ---- pictures: one kind at a time
  all(".pictures").forEach((pictures) => {
    const kinds = all("[data-kind]", pictures);
    const bar = document.createElement("div");
    bar.className = "tabs";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Kind of picture");
    const show = (chosenKind) => kinds.forEach((kind, i) => {
      kind.hidden = kind !== chosenKind;
      bar.children[i].setAttribute("aria-pressed", String(kind === chosenKind));
    });
    kinds.forEach((kind) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = kind.dataset.kind;
      button.addEventListener("click", () => show(kind));
      bar.append(button);
    });
    pictures.prepend(bar);
    show(kinds[0]);
  });

  // ---- paper: what is folded is printed too, besides the commands of each run; a picture that waits to be scrolled to is loaded
  const folded = ".fold, .why, .comparisons, .opening details, .more";
  addEventListener("beforeprint", () => {
    all(folded).filter((details) => !details.open).forEach((details) => {
      details.open = true;
      details.dataset.closed = "";
    });
    all("img[loading=lazy]").forEach((image) => { image.loading = "eager"; });
  });
  addEventListener("afterprint", () => all("[data-closed]").forEach((details) => {
    details.open = false;
    delete details.dataset.closed;
  }));

  // ---- charts
  const SPENT = { images: "images shown", seconds: "seconds of training", updates: "generator updates" };
  function options(select, choices, preferred) {
    select.replaceChildren(...choices.map(([value, text]) => new Option(text, value)));
    const values = choices.map(([value]) => value);
    select.value = preferred.find((value) => values.includes(value)) ?? values[0];
    select.addEventListener("change", draw);
  }
  // the values that a logarithmic axis shows; null for a linear one
  function ifLog(values) {
    const isLog = values.length > 1 && values.every((value) => value > 0) && Math.max(...values) / Math.min(...values) > 8;
    return isLog ? values : null;
  }
  // plotly labels 20 between 10 and 100 as "2"
  function logTicks(values) {
    const [low, high] = [Math.log10(Math.min(...values)), Math.log10(Math.max(...values))];
    const digits = high - low > 2.5 ? [1] : high - low > 0.7 ? [1, 2, 5] : [1, 2, 3, 4, 5, 6, 7, 8, 9];
    const decades = Array.from({ length: Math.ceil(high) - Math.floor(low) + 2 }, (_, i) => Math.floor(low) - 1 + i);
    const tickvals = decades.flatMap((decade) => digits.map((digit) => Number(`${digit}e${decade}`)));
    return { tickvals, ticktext: tickvals.map((value) => value.toLocaleString("en", { maximumSignificantDigits: 3 })) };
  }
  function layout(x, y, logX, logY) {
    const axis = (title, log) => ({
      title: { text: title, standoff: 8 }, type: log ? "log" : "linear", gridcolor: css("--line"), zeroline: false,
      linecolor: css("--line"), automargin: true, ...(log ? { ...logTicks(log), minor: { ticks: "outside", ticklen: 3 } } : {}),
    });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: css("--ink"), size: 12 },
      margin: { l: 10, r: 10, t: 10, b: 10 }, xaxis: axis(x, logX), yaxis: axis(y, logY),
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", font: { size: 11 } }, hovermode: "closest",
      hoverlabel: { bgcolor: css("--paper"), font: { color: css("--ink") }, bordercolor: css("--line") },
    };
  }
  function plot(figure, traces, shape) {
    const target = figure.querySelector(".plot");
    Plotly.react(target, traces, shape, { displaylogo: false, displayModeBar: false });
  }
  const shown = (row) => row.baseline || passes(chosen("family"), row.family);
  const dash = (rows, row) => DASHES[rows.filter((other) => other.family === row.family).indexOf(row) % DASHES.length];
  const curveTitle = (table, name) => table.titles[name] ?? name.replaceAll("_", " ");

  function curveNames(table) {
    const names = new Set();
    table.rows.forEach((row) => row.curve.forEach((point) => Object.keys(point).forEach((name) => names.add(name))));
    return [...names].filter((name) => name.startsWith("val_"));
  }
  function drawCurve(figure, table) {
    const [x, y] = [figure.querySelector("[data-axis=x]").value, figure.querySelector("[data-axis=y]").value];
    const rows = table.rows.filter((row) => !row.baseline);
    const traces = [];
    const [widths, heights] = [[], []];
    rows.filter(shown).forEach((row) => {
      const points = row.curve.filter((point) => point[x] && point[y]);
      if (!points.length) return;
      widths.push(...points.map((point) => point[x][0]));
      heights.push(...points.map((point) => point[y][0]));
      traces.push({
        name: row.label, x: points.map((point) => point[x][0]), y: points.map((point) => point[y][0]), mode: "lines+markers",
        line: { color: color(row.family), dash: dash(rows, row), width: 2 }, marker: { symbol: mark(row.family), size: 7 },
        error_y: { array: points.map((point) => point[y][1] ?? 0), thickness: 1, width: 2, color: color(row.family) },
      });
    });
    plot(figure, traces, layout(SPENT[x], curveTitle(table, y), widths, ifLog(heights)));
  }
  function drawScatter(figure, table) {
    const [x, y] = [figure.querySelector("[data-axis=x]").value, figure.querySelector("[data-axis=y]").value];
    const title = (name) => table.columns.find((column) => column[0] === name)[1];
    const rows = table.rows.filter((row) => shown(row) && row.cells[x] && row.cells[y]);
    const traces = [];
    rows.forEach((row) => {
      const tint = row.baseline ? css("--soft") : color(row.family);
      const [xs, ys] = [row.seeds[x] ?? [], row.seeds[y] ?? []];
      if (xs.length > 1) {
        traces.push({
          name: row.label, x: xs, y: ys, mode: "markers", showlegend: false, opacity: 0.45, legendgroup: row.label,
          marker: { color: tint, symbol: mark(row.family), size: 6 }, hovertemplate: `${escapeHtml(row.label)}, one seed<extra></extra>`,
        });
      }
      traces.push({
        name: row.label, legendgroup: row.label, x: [row.cells[x][0]], y: [row.cells[y][0]], mode: "markers",
        marker: { color: tint, symbol: row.baseline ? "x-thin-open" : mark(row.family), size: 12, line: { width: row.baseline ? 2 : 0 } },
        error_x: { array: [row.cells[x][1] ?? 0], color: tint, thickness: 1 },
        error_y: { array: [row.cells[y][1] ?? 0], color: tint, thickness: 1 },
      });
    });
    plot(figure, traces, layout(title(x), title(y), ...[x, y].map((name) => ifLog(rows.map((row) => row.cells[name][0])))));
  }
  function drawSearch(figure, search) {
    const traces = [];
    const heights = [];
    const set = chosen("family");
    Object.entries(search.curves).filter(([family]) => passes(set, family)).forEach(([family, curve]) => {
      const points = curve.map((point, i) => [i + 1, point]).filter(([, point]) => point !== null);
      if (!points.length) return;
      const n = points.map(([i]) => i);
      heights.push(...points.map(([, point]) => point[0]));
      traces.push({
        x: [...n, ...[...n].reverse()], y: [...points.map(([, p]) => p[1]), ...points.map(([, p]) => p[2]).reverse()],
        fill: "toself", fillcolor: color(family) + "22", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: family,
      }, {
        name: family, legendgroup: family, x: n, y: points.map(([, p]) => p[0]), mode: "lines+markers",
        line: { color: color(family), width: 2 }, marker: { symbol: mark(family), size: 6 },
      });
    });
    const shape = layout("trials (n)", `expected best ${search.select}, validation`, null, ifLog(heights));
    plot(figure, traces, shape);
  }
  const escapeHtml = (text) => text.replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[c]);

  const drawings = [];
  function prepare() {
    all("[data-table]").forEach((charts) => {
      const table = data.tables[Number(charts.dataset.table)];
      const curve = charts.querySelector("[data-chart=curve]");
      const scores = curveNames(table);
      if (scores.length) {
        curve.hidden = false;
        options(curve.querySelector("[data-axis=y]"), scores.map((name) => [name, curveTitle(table, name)]), ["val_fid", "val_wasserstein2", "val_modes"]);
        options(curve.querySelector("[data-axis=x]"), Object.entries(SPENT), ["images"]);
        drawings.push([curve, () => drawCurve(curve, table)]);
      }
      const scatter = charts.querySelector("[data-chart=scatter]");
      const columns = table.columns;
      if (columns.length > 1) {
        scatter.hidden = false;
        options(scatter.querySelector("[data-axis=y]"), columns, ["fid", "wasserstein2"]);
        options(scatter.querySelector("[data-axis=x]"), columns, ["inversion_mse", "recon_mse"]);
        drawings.push([scatter, () => drawScatter(scatter, table)]);
      }
    });
    all("[data-search]").forEach((charts) => {
      const search = data.searches[Number(charts.dataset.search)];
      const figure = charts.querySelector("[data-chart=search]");
      figure.hidden = false;
      drawings.push([figure, () => drawSearch(figure, search)]);
    });
  }
  // a chart is drawn when it first comes into view, because a report may have many
  const seen = new Set();
  function draw() {
    drawings.forEach(([figure, drawChart]) => { if (seen.has(figure) && figure.offsetParent !== null) drawChart(); });
  }
  if (typeof Plotly !== "undefined") {
    prepare();
    const drawFirst = (figure) => {
      if (seen.has(figure)) return;
      seen.add(figure);
      drawings.find(([other]) => other === figure)[1]();
    };
    const watcher = new IntersectionObserver((entries) => entries.forEach((entry) => {
      if (entry.isIntersecting) drawFirst(entry.target);
    }), { rootMargin: "600px" });
    drawings.forEach(([figure]) => watcher.observe(figure));
    // a chart is resized with its box; a filter, a rotation or a zoom changes the box, not only the window
    const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
      if (target.classList.contains("js-plotly-plot") && target.offsetParent !== null) Plotly.Plots.resize(target);
    }));
    drawings.forEach(([figure]) => sizes.observe(figure.querySelector(".plot")));
    addEventListener("beforeprint", () => drawings.forEach(([figure]) => {
      if (figure.offsetParent !== null) drawFirst(figure);
    }));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
  // a browser that restores a page may also restore its checked filters
  addEventListener("pageshow", filter);
})();
