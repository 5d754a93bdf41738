/* Draws the report from the JSON in #data. All fits were made by pare; here numbers are only chosen, scaled and shown.
 *
 * The state of the controls lives in the address (#form=v1&ratio=bytes&theme=dark), so that a view can be passed on.
 * Text from the ledger reaches the page as textContent, or escaped where plotly takes markup. */
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const controls = byId("controls").elements;

/* ---- small things ---- */

const lossNames = {l: "test cross-entropy, nats", factor: "loss / dense loss"};
const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
const fixed = (x, digits) => isNumber(x) ? x.toFixed(digits) : "–";
const percent = (x, digits = 1) => isNumber(x) ? (100 * x).toFixed(digits) + " %" : "–";
const count = (x) => isNumber(x) ? x.toLocaleString("en-US") : "–";
const significant = (x, digits = 4) => {
    if (!isNumber(x))
        return "–";
    const size = Math.abs(x);
    return x !== 0 && (size < 1e-4 || size >= 1e6) ? x.toExponential(digits - 1) : String(Number(x.toPrecision(digits)));
};
const probability = (p) => !isNumber(p) ? "–" : p < 1e-15 ? "< 1e-15" : p < 1e-3 ? p.toExponential(1) : p.toFixed(4);
const plusMinus = (x, digits) => isNumber(x) ? " ± " + x.toFixed(digits) : "";
const escape = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const classes = (...names) => names.filter(Boolean).join(" ");
const finite = (values) => values.filter(isNumber);

const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null)
        made.textContent = text;
    if (className)
        made.className = className;
    return made;
};

/* Colour and mark together tell methods apart. */
const palettes = {
    light: ["#0b62b8", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0e7490", "#be185d", "#4d5b6b"],
    dark: ["#6db3ff", "#ff9a6b", "#6fdc8c", "#c4a5ff", "#f5c04d", "#5fd7e8", "#ff8fc0", "#b4c0cc"],
};
const symbols = ["circle", "square", "diamond", "triangle-up", "star", "hexagon", "pentagon", "triangle-down"];
const dark = () => document.documentElement.dataset.theme === "dark";
const allMethods = [...new Set(data.runs.map((run) => run.method))].sort();
const methodIndex = (method) => Math.max(0, allMethods.indexOf(method));
const colourOf = (method) => method === null ? (dark() ? "#e5e8ec" : "#1b1f24")
    : palettes[dark() ? "dark" : "light"][methodIndex(method) % palettes.light.length];
const symbolOf = (method) => symbols[methodIndex(method) % symbols.length];
const backColour = () => getComputedStyle(document.documentElement).getPropertyValue("--back").trim();
const faint = (colour, alpha) => colour + Math.round(255 * alpha).toString(16).padStart(2, "0");

const ratioNames = {
    nominal: "nominal: of the method’s own unit", non_embedding: "of non-embedding parameters", parameters: "of all parameters",
    bytes: "of bytes", macs: "of multiply-adds",
};
const ratioLabels = {nominal: "nominal", non_embedding: "non-embedding", parameters: "parameters", bytes: "bytes", macs: "multiply-adds"};
const ratioOf = (run, kind) => kind === "nominal" ? run.ratio : run[kind];

/* ---- state ---- */

const state = {view: "0", model: "all", budget: "all", form: "v2", pool: "each", ratio: "nominal", loss: "l", band: "prediction", x: "linear",
    y: "linear"};

const readAddress = () => {
    for (const [key, value] of new URLSearchParams(location.hash.slice(1)))
        if (key in state && controls[key] && [...controls[key].options].some((option) => option.value === value))
            state[key] = value;
};

const writeAddress = () => {
    const parts = new URLSearchParams(state);
    parts.set("theme", document.documentElement.dataset.theme);
    history.replaceState(null, "", "#" + parts);
};

const view = () => data.views[Number(state.view)];
const viewRuns = () => view().runs.map((i) => data.runs[i]);
/* The model and the budget that were asked for. A control that names one that this view lacks counts as "all". */
const modelsOf = (runs) => [...new Map(runs.map((run) => [run.model, run.n_parameters ?? 0])).entries()]
    .sort((a, b) => a[1] - b[1] || a[0].localeCompare(b[0])).map(([model]) => model);
const budgetsOf = (runs) => [...new Set(runs.map((run) => run.recovery_tokens ?? 0))].sort((a, b) => a - b);
const chosenModel = () => viewRuns().some((run) => run.model === state.model) ? state.model : "all";
const chosenBudget = () => viewRuns().some((run) => String(run.recovery_tokens ?? 0) === state.budget) ? state.budget : "all";
const isShown = (model, tokens) => ["all", model].includes(chosenModel()) && (chosenBudget() === "all" || Number(chosenBudget()) === Math.round(tokens));
const shownRuns = () => viewRuns().filter((run) => isShown(run.model, run.recovery_tokens ?? 0));
const fitsOf = (form) => view()?.fits[state.ratio]?.[form];
/* The groups of the chosen form: one per method, or the pooled one alone (there is one method: that is both). */
const groups = () => {
    const all = (fitsOf(state.form)?.groups ?? []).filter((group) => group.fit);
    const pooled = all.filter((group) => group.method === null);
    return state.pool === "all" && pooled.length ? pooled : all.filter((group) => group.method !== null);
};

/* ---- charts ---- */

const plotConfig = {responsive: true, displaylogo: false, scrollZoom: false, doubleClick: "reset",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: {format: "svg", filename: "pare-report"}};

const narrow = () => window.innerWidth < 640;

/* On a phone a finger on the chart scrolls the page; the buttons above it zoom. */
const baseLayout = () => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true,
        title: {standoff: 8}, fixedrange: false};
    return {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: {color: colour("--text"), family: getComputedStyle(document.body).fontFamily, size: narrow() ? 12 : 13},
        margin: {l: narrow() ? 44 : 60, r: 12, t: narrow() ? 34 : 12, b: 44}, hovermode: "closest", dragmode: narrow() ? false : "zoom",
        hoverlabel: {align: "left", bgcolor: colour("--raised"), bordercolor: colour("--line"), font: {color: colour("--text"), size: 12}},
        modebar: {bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: colour("--accent")},
        legend: {orientation: "h", y: -0.18, yanchor: "top", x: 0, itemsizing: "constant"},
        xaxis: structuredClone(axis), yaxis: structuredClone(axis),
    };
};

const recoveryOf = (run) => run.recovery_tokens ? `${run.recovery_method ?? "training"}, ${count(run.recovery_tokens)} tokens` : "none";

/* ---- panels: a small chart for each model, with the same axes ---- */

const panelsMax = 12;
const panelsOf = (runs) => modelsOf(runs).slice(0, panelsMax).map((model, i) =>
    ({model, axis: i ? String(i + 1) : "", runs: runs.filter((run) => run.model === model)}));
const inPanel = (panel, trace) => ({...trace, xaxis: "x" + panel.axis, yaxis: "y" + panel.axis});

/* Puts each panel's axes into their place, copies of the layout's own; titles stand at the left and at the bottom alone. */
const arrange = (layout, panels, chart, rem) => {
    const columns = narrow() ? 1 : Math.min(panels.length, 3), rows = Math.ceil(panels.length / columns);
    chart.style.height = panels.length > 1 ? `${rem * rows + 6}rem` : "";
    const pixels = panels.length > 1 ? (rem * rows + 6) * 16 - 100 : chart.clientHeight - 60;
    const gapX = 0.05, gapY = rows > 1 ? 56 / pixels : 0;
    const width = (1 - gapX * (columns - 1)) / columns, height = (1 - gapY * (rows - 1)) / rows;
    layout.annotations = [];
    const {xaxis, yaxis} = layout;
    panels.forEach((panel, i) => {
        const column = i % columns, row = Math.floor(i / columns), left = column * (width + gapX), top = 1 - row * (height + gapY);
        const lowest = i + columns >= panels.length, x = structuredClone(xaxis), y = structuredClone(yaxis);
        Object.assign(x, {domain: [left, left + width], anchor: "y" + panel.axis});
        Object.assign(y, {domain: [Math.max(0, top - height), top], anchor: "x" + panel.axis});
        if (!lowest)
            delete x.title;
        if (column > 0)
            delete y.title;
        layout["xaxis" + panel.axis] = x;
        layout["yaxis" + panel.axis] = y;
        if (panels.length > 1)
            layout.annotations.push({text: `<b>${escape(panel.model)}</b>`, xref: "paper", yref: "paper", x: left, y: top, xanchor: "left",
                yanchor: "bottom", showarrow: false, font: {size: 12}});
    });
    layout.margin.t += panels.length > 1 ? 14 : 0;
    if (panels.length > 1) /* the layout's own is a share of a chart of one panel */
        layout.legend.y = -70 / pixels;
};

/* One entry in the legend for each name, whatever the panels that have it. */
const nameOnce = (traces) => {
    const seen = new Set();
    return traces.map((trace) => {
        if (trace.showlegend === false)
            return trace;
        const first = !seen.has(trace.legendgroup);
        seen.add(trace.legendgroup);
        return {...trace, showlegend: first};
    });
};

const hoverText = (run) => {
    const line = (name, text) => text === null || text === undefined || String(text).startsWith("–") ? null : `${name}: ${escape(text)}`;
    const perplexityError = isNumber(run.perplexity_error) ? " ± " + significant(run.perplexity_error, 3) : "";
    return [
        `<b>${escape(run.method)}</b>, r = ${significant(run.ratio)}${run.broken ? ", broken (above ln V)" : ""}`,
        escape(run.model),
        line("recovery", run.recovery_tokens ? recoveryOf(run) : "none (D = 0)"),
        line("cross-entropy", fixed(run.cross_entropy, 4) + plusMinus(run.cross_entropy_error, 4)),
        line("perplexity", significant(run.perplexity, 6) + perplexityError),
        line("times the dense model’s", fixed(run.cross_entropy / run.l0, 4)),
        line("removed of non-embedding", percent(run.non_embedding)),
        line("removed of parameters", percent(run.parameters)),
        line("removed of bytes", percent(run.bytes)),
        line("removed of multiply-adds", percent(run.macs)),
        run.kept_width ? `width: ${count(run.kept_width)} of ${count(run.dense_width)}` : null,
        `seed: ${escape(run.seed)}`,
        line("tokens per second", significant(run.tokens_per_s)),
        run.attempt > 1 ? `attempt: ${escape(run.attempt)}` : null,
    ].filter(Boolean).join("<br>");
};

const scale = (l, l0) => state.loss === "factor" ? l / l0 : l;

const pointTraces = (runs) => allMethods.map((method) => {
    const own = runs.filter((run) => run.method === method && isNumber(ratioOf(run, state.ratio)) && run.cross_entropy > 0);
    const colour = colourOf(method);
    return {
        type: "scatter", mode: "markers", name: escape(method), legendgroup: method, x: own.map((run) => ratioOf(run, state.ratio)),
        y: own.map((run) => scale(run.cross_entropy, run.l0)), text: own.map(hoverText), hovertemplate: "%{text}<extra></extra>",
        marker: {
            color: colour, size: 9, symbol: own.map((run) => run.broken ? "x-thin" : symbolOf(method)),
            line: {width: 1.2, color: own.map((run) => run.broken ? colour : backColour())},
        },
        error_y: {type: "data", array: own.map((run) => scale(run.cross_entropy_error ?? 0, run.l0)), color: colour, thickness: 1.2, width: 3,
            visible: own.some((run) => run.cross_entropy_error > 0)},
    };
}).filter((trace) => trace.x.length);

/* The curve where it was fitted is solid, elsewhere dotted; bands only shade. */
const curveTraces = (group, curve) => {
    const colour = colourOf(group.method);
    const name = escape(group.method ?? "all methods");
    const common = {type: "scatter", mode: "lines", legendgroup: group.method ?? "all", showlegend: group.method === null, name};
    const inside = curve.r.map((r) => r >= group.r_min - 1e-9 && r <= group.r_max + 1e-9);
    const near = curve.r.map((_, i) => !inside[i] || inside[i - 1] === false || inside[i + 1] === false);
    const values = curve.l.map((l) => isNumber(l) ? scale(l, curve.l0) : null);
    const traces = [];
    if (state.band !== "none") {
        const bound = (side) => curve[`${state.band}_${side}`].map((l) => isNumber(l) ? scale(l, curve.l0) : null);
        traces.push({...common, x: curve.r, y: bound("low"), line: {width: 0}, hoverinfo: "skip", showlegend: false},
            {...common, x: curve.r, y: bound("high"), line: {width: 0}, fill: "tonexty", fillcolor: faint(colour, 0.13), hoverinfo: "skip",
                showlegend: false});
    }
    const recovery = curve.d ? `, ${significant(curve.d)} million recovery tokens` : ", without recovery";
    const hovertemplate = `${name}, ${escape(curve.model)}${recovery}<br>${state.form} at r = %{x:.3f}: %{y:.4f}<extra></extra>`;
    traces.push({...common, x: curve.r, y: values.map((l, i) => inside[i] ? l : null), line: {color: colour, width: 2.2}, hovertemplate},
        {...common, x: curve.r, y: values.map((l, i) => near[i] ? l : null), line: {color: colour, width: 1.6, dash: "dot"}, hovertemplate,
            showlegend: false});
    return traces;
};

/* Horizontal lines: the dense model and, where loss is in nats, a uniform guess. */
const levelTraces = (runs, xs) => {
    const quiet = getComputedStyle(document.documentElement).getPropertyValue("--quiet").trim();
    const ends = [Math.min(...xs), Math.max(...xs)];
    const level = (y, i, name, dash) => ({type: "scatter", mode: "lines", x: ends, y: [y, y], name, legendgroup: name, showlegend: i === 0,
        line: {color: quiet, width: 1.2, dash}, hovertemplate: `${name}: %{y:.4f}<extra></extra>`});
    const distinct = (key) => [...new Set(finite(runs.map((run) => scale(run[key], run.l0))))].slice(0, 8);
    return [...distinct("l0").map((y, i) => level(y, i, "dense model", "dash")),
        ...distinct("ceiling").map((y, i) => level(y, i, "uniform guess, ln V", "dashdot"))];
};

const axisRange = (values, log, margin) => {
    const usable = finite(values).filter((value) => !log || value > 0).map((value) => log ? Math.log10(value) : value);
    if (!usable.length)
        return undefined;
    const low = Math.min(...usable), high = Math.max(...usable), pad = margin * (high - low || Math.abs(high) || 1);
    return [low - pad, high + pad];
};

const panelTraces = (panel) => {
    const points = pointTraces(panel.runs);
    const logX = state.x === "log";
    const xs = points.flatMap((trace) => trace.x).filter((x) => !logX || x > 0);
    const levels = xs.length ? levelTraces(panel.runs, logX ? xs : [0, ...xs]) : [];
    const curves = groups().flatMap((group) => group.curves.filter((curve) => curve.model === panel.model && isShown(curve.model, 1e6 * curve.d))
        .flatMap((curve) => curveTraces(group, curve)));
    return {points, levels, xs, all: [...curves, ...levels, ...points].map((trace) => inPanel(panel, trace))};
};

const drawLoss = () => {
    const runs = shownRuns(), panels = panelsOf(runs), drawn = panels.map(panelTraces);
    const logX = state.x === "log", logY = state.y === "log", layout = baseLayout();
    const xs = drawn.flatMap((panel) => panel.xs), ys = drawn.flatMap((panel) => [...panel.points, ...panel.levels].flatMap((trace) => trace.y));
    Object.assign(layout.xaxis, {type: state.x, title: {text: "r, " + ratioNames[state.ratio], standoff: 8},
        range: axisRange(logX ? xs : [0, ...xs], logX, 0.04)});
    Object.assign(layout.yaxis, {type: state.y, title: {text: lossNames[state.loss], standoff: 6}, range: axisRange(ys, logY, 0.05)});
    arrange(layout, panels, byId("chart-loss"), 17);
    const hidden = modelsOf(runs).length - panels.length;
    byId("panels-note").textContent = hidden > 0 ? `${panels.length} models are drawn, ${hidden} are not: choose one above.` : "";
    Plotly.react("chart-loss", nameOnce(drawn.flatMap((panel) => panel.all)), layout, plotConfig);
};

/* A line for each cut and kind of training, from the cut as it was left on. */
const recoveryLines = (runs) => {
    const keyOf = (run) => JSON.stringify([run.model_sha256, run.model, run.method, run.ratio, run.seed,
        run.kept_width, run.calibration_sha256, run.calibration_windows, run.calibration_length]);
    const start = new Map(runs.filter((run) => !run.recovery_tokens).map((run) => [keyOf(run), run]));
    const lines = new Map();
    for (const run of runs.filter((run) => run.recovery_tokens > 0)) {
        const key = keyOf(run) + run.recovery_method + run.recovery_sha256;
        if (!lines.has(key))
            lines.set(key, start.has(keyOf(run)) ? [start.get(keyOf(run))] : []);
        lines.get(key).push(run);
    }
    return [...lines.values()].map((line) => line.sort((a, b) => a.recovery_tokens - b.recovery_tokens));
};

const drawRecovery = () => {
    const ofModel = (run) => ["all", run.model].includes(chosenModel());
    const runs = viewRuns().filter((run) => run.ratio > 0 && run.cross_entropy > 0 && ofModel(run)), lines = recoveryLines(runs);
    byId("section-recovery").hidden = lines.length === 0;
    if (!lines.length)
        return;
    const kinds = [...new Set(lines.map((line) => line.at(-1).recovery_method))].sort(), dashes = ["solid", "dash", "dot"];
    const panels = panelsOf(lines.flat());
    const traces = panels.flatMap((panel) => lines.filter((line) => line[0].model === panel.model).map((line) => {
        const last = line.at(-1), kind = last.recovery_method, group = `${last.method}, ${kind}`;
        return inPanel(panel, {
            type: "scatter", mode: "lines+markers", name: escape(group), legendgroup: group,
            x: line.map((run) => run.recovery_tokens / 1e6), y: line.map((run) => scale(run.cross_entropy, run.l0)), text: line.map(hoverText),
            hovertemplate: "%{text}<extra></extra>", line: {color: colourOf(last.method), width: 1.4, dash: dashes[kinds.indexOf(kind) % 3]},
            marker: {color: colourOf(last.method), size: 7, symbol: symbolOf(last.method)},
        });
    }));
    const layout = baseLayout(), logY = state.y === "log";
    Object.assign(layout.xaxis, {title: {text: "recovery tokens, million", standoff: 8},
        range: axisRange([0, ...traces.flatMap((trace) => trace.x)], false, 0.04)});
    Object.assign(layout.yaxis, {type: state.y, title: {text: lossNames[state.loss], standoff: 6},
        range: axisRange(traces.flatMap((trace) => trace.y), logY, 0.05)});
    arrange(layout, panels, byId("chart-recovery"), 14);
    Plotly.react("chart-recovery", nameOnce(traces), layout, plotConfig);
};

const drawResiduals = () => {
    const traces = groups().flatMap((group) => allMethods.map((method) => {
        const own = group.residuals.filter((residual) => {
            const run = data.runs[residual.run];
            return run.method === method && isNumber(residual.relative_error) && isShown(run.model, run.recovery_tokens ?? 0);
        });
        const colour = colourOf(method);
        return {
            type: "scatter", mode: "markers", name: escape(method), x: own.map((residual) => residual.r),
            y: own.map((residual) => 100 * residual.relative_error),
            text: own.map((residual) => hoverText(data.runs[residual.run]) + `<br>fitted: ${fixed(residual.fitted, 4)}` +
                (residual.use === "used" ? "" : `<br>not fitted: ${escape(residual.use)}`)),
            hovertemplate: "%{text}<br>error of the fit: %{y:.2f} %<extra></extra>",
            marker: {color: colour, size: 8, symbol: own.map((residual) => symbolOf(method) + (residual.use === "used" ? "" : "-open"))},
            used: own.filter((residual) => residual.use === "used").map((residual) => 100 * residual.relative_error),
        };
    })).filter((trace) => trace.x.length);
    const layout = baseLayout();
    const logX = state.x === "log";
    Object.assign(layout.xaxis, {type: state.x, title: {text: "r, " + ratioNames[state.ratio], standoff: 8},
        range: axisRange([...(logX ? [] : [0]), ...traces.flatMap((trace) => trace.x)], logX, 0.04)});
    Object.assign(layout.yaxis, {title: {text: "fitted / measured − 1, %", standoff: 6}, zeroline: true, zerolinewidth: 2,
        range: axisRange([0, ...traces.flatMap((trace) => trace.used)], false, 0.15)});
    Plotly.react("chart-residuals", traces.map(({used, ...trace}) => trace), layout, plotConfig);
};

/* ---- tables ---- */

/* columns: [{name, text: (row) => shown, sort: (row) => key, left, wrap}]; a click on a head sorts when `sortable`. */
const fillTable = (table, columns, rows, {sortable = false, rowClass = () => ""} = {}) => {
    const head = element("tr"), body = element("tbody");
    const show = (sorted) => body.replaceChildren(...sorted.map((row) => {
        const line = element("tr", null, rowClass(row));
        for (const column of columns)
            line.append(element("td", column.text(row), classes(column.left && "text", column.wrap && "wrap", column.bad?.(row) && "bad")));
        return line;
    }));
    const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a ?? "").localeCompare(String(b ?? ""));
    for (const column of columns) {
        const cell = element("th", sortable ? null : column.name, column.left ? "text" : "");
        cell.scope = "col";
        if (sortable) {
            const button = element("button", column.name);
            button.type = "button";
            button.addEventListener("click", () => {
                const up = cell.getAttribute("aria-sort") !== "ascending";
                for (const other of head.children)
                    other.removeAttribute("aria-sort");
                cell.setAttribute("aria-sort", up ? "ascending" : "descending");
                show([...rows].sort((a, b) => (up ? 1 : -1) * compare(column.sort(a), column.sort(b))));
            });
            cell.append(button);
        }
        head.append(cell);
    }
    const top = element("thead");
    top.append(head);
    show(rows);
    table.replaceChildren(top, body);
};

const interval = (critical) => {
    if (!critical || !isNumber(critical.value))
        return "–";
    const ends = isNumber(critical.low) && isNumber(critical.high) ? ` [${fixed(critical.low, 3)}, ${fixed(critical.high, 3)}]` : "";
    return fixed(critical.value, 3) + ends + (critical.outside ? " (outside)" : "");
};

const drawForms = () => {
    const rows = [];
    for (const form of Object.keys(view().fits[state.ratio]))
        for (const group of fitsOf(form).groups ?? [])
            rows.push({form, method: group.method ?? "all methods", pooled: group.method === null, fit: group.fit, failure: group.failure});
    const error = (row) => finite([row.fit?.lost_model_error, row.fit?.lost_rolling_error, row.fit?.lost_point_error])[0] ?? Infinity;
    rows.sort((a, b) => a.pooled - b.pooled || a.method.localeCompare(b.method) || error(a) - error(b));
    const isFirst = (row) => rows.find((other) => other.method === row.method) === row;
    fillTable(byId("table-forms"), [
        {name: "method", left: true, text: (row) => row.method},
        {name: "form", left: true, text: (row) => row.form},
        {name: "results", text: (row) => row.fit ? row.fit.n : row.failure, wrap: false},
        {name: "other model", text: (row) => percent(row.fit?.lost_model_error)},
        {name: "mean of others", text: (row) => percent(row.fit?.baseline_lost_error)},
        {name: "larger r", text: (row) => percent(row.fit?.lost_rolling_error)},
        {name: "other result", text: (row) => percent(row.fit?.lost_point_error)},
        {name: "L, other model", text: (row) => percent(row.fit?.loo_model_error, 2)},
        {name: "at r = 0", text: (row) => isNumber(row.fit?.identity_error) ? `${fixed(1 + row.fit.identity_error, 3)} L₀` : "–"},
        {name: "5 % of L to r", text: (row) => fixed(row.fit?.r_carried, 2)},
        {name: "r at +10 %", text: (row) => interval(row.fit?.critical)},
        {name: "R² of loss", text: (row) => fixed(row.fit?.r2_loss, 4)},
        {name: "R² of fit", text: (row) => row.fit ? fixed(row.fit.r2, 4) + (row.fit.r2_kind ? `, ${row.fit.r2_kind}` : "") : "–"},
        {name: "adjusted", text: (row) => fixed(row.fit?.r2_adjusted, 4)},
        {name: "F", text: (row) => significant(row.fit?.f)},
        {name: "p of F", text: (row) => probability(row.fit?.f_p)},
    ], rows, {rowClass: (row) => classes(isFirst(row) && "first", isFirst(row) && isFinite(error(row)) && "best")});
};

const drawCoefficients = () => {
    const rows = (fitsOf(state.form)?.groups ?? []).flatMap((group) => (group.fit?.coefficients ?? [])
        .map((coefficient, i) => ({...coefficient, method: group.method ?? "all methods", first: i === 0, n: group.fit.n,
            errors: group.fit.errors, n_models: group.fit.n_models})));
    fillTable(byId("table-coefficients"), [
        {name: "method", left: true, text: (row) => row.method},
        {name: "results", text: (row) => row.n},
        {name: "coefficient", left: true, text: (row) => row.name},
        {name: "value", text: (row) => significant(row.value, 5)},
        {name: "standard error", text: (row) => significant(row.standard_error_clustered ?? row.standard_error, 3)},
        {name: "its kind", left: true, text: (row) => row.errors === "classical" ? "classical, one model" : `${row.errors}, ${row.n_models} models`},
        {name: "t", text: (row) => significant(row.t, 4)},
        {name: "p", text: (row) => probability(row.p)},
    ], rows, {rowClass: (row) => row.first ? "first" : ""});
    const fits = fitsOf(state.form);
    const failed = (fits?.groups ?? []).filter((group) => group.failure).map((group) => `${group.method ?? "all methods"}: ${group.failure}`);
    const notes = (fits?.groups ?? []).flatMap((group) => (group.fit?.notes ?? []).map((note) => `${group.method ?? "all methods"}: ${note}`));
    const chow = isNumber(fits?.pooling_p) ? `One law for all methods, compared with a law for each (Chow’s test, which takes results as independent): ` +
        `F = ${significant(fits.pooling_f)}, p: ${probability(fits.pooling_p)}` : "";
    const unseen = isNumber(fits?.pooled_lost_error) ? "On a model that was left out of the fit, one law for all methods misses the lost loss by " +
        `${percent(fits.pooled_lost_error)}, and a law for each method misses it by ${percent(fits.apart_lost_error)} (median)` : "";
    byId("coefficients-note").textContent = [fits?.failure, ...failed, ...notes, chow, unseen].filter(Boolean).join("\n");
    const equation = (fits?.equation ?? "").replaceAll("L0", "L₀").replaceAll("P0", "P₀").replaceAll("^2", "²");
    byId("equation").textContent = `${state.form}: ${equation}`;
};

const drawRuns = () => {
    const shown = data.runs.filter((run) => run.status === "done");
    byId("runs-note").textContent = `${count(data.n_done)} done, of which ${count(data.n_broken)} broken; ${count(data.n_failed)} failed. ` +
        "Click on the head of a column to sort the table.";
    fillTable(byId("table-runs"), [
        {name: "model", left: true, text: (run) => run.model, sort: (run) => run.model},
        {name: "method", left: true, text: (run) => run.method, sort: (run) => run.method},
        {name: "r", text: (run) => significant(run.ratio), sort: (run) => run.ratio},
        {name: "seed", text: (run) => run.seed, sort: (run) => run.seed},
        ...(data.runs.some((run) => run.recovery_tokens) ? [{name: "recovery", left: true, text: recoveryOf, sort: (run) => run.recovery_tokens}] : []),
        {name: "cross-entropy", text: (run) => fixed(run.cross_entropy, 4) + plusMinus(run.cross_entropy_error, 4),
            sort: (run) => run.cross_entropy, bad: (run) => run.broken},
        {name: "perplexity", text: (run) => significant(run.perplexity, 5), sort: (run) => run.perplexity},
        {name: "× dense", text: (run) => fixed(run.cross_entropy / run.l0, 3), sort: (run) => run.cross_entropy / run.l0},
        {name: "width", text: (run) => run.kept_width ? count(run.kept_width) : "–", sort: (run) => run.kept_width},
        {name: "non-embedding", text: (run) => percent(run.non_embedding), sort: (run) => run.non_embedding},
        {name: "parameters", text: (run) => percent(run.parameters), sort: (run) => run.parameters},
        {name: "bytes", text: (run) => percent(run.bytes), sort: (run) => run.bytes},
        {name: "multiply-adds", text: (run) => percent(run.macs), sort: (run) => run.macs},
        {name: "scored", text: (run) => count(run.tokens_scored), sort: (run) => run.tokens_scored},
        {name: "tokens/s", text: (run) => significant(run.tokens_per_s), sort: (run) => run.tokens_per_s},
        {name: "calibrate, s", text: (run) => fixed(run.seconds_calibrate, 1), sort: (run) => run.seconds_calibrate},
        {name: "evaluate, s", text: (run) => fixed(run.seconds_evaluate, 1), sort: (run) => run.seconds_evaluate},
        {name: "peak, MiB", text: (run) => fixed(run.max_rss_mib, 0), sort: (run) => run.max_rss_mib},
        {name: "finished", left: true, text: (run) => run.finished ?? "–", sort: (run) => run.finished},
    ], shown, {sortable: true});
};

const drawFailed = () => {
    const failed = data.runs.filter((run) => run.status === "failed");
    byId("section-failed").hidden = failed.length === 0;
    fillTable(byId("table-failed"), [
        {name: "model", left: true, text: (run) => run.model},
        {name: "method", left: true, text: (run) => run.method},
        {name: "r", text: (run) => significant(run.ratio)},
        {name: "seed", text: (run) => run.seed},
        {name: "attempt", text: (run) => run.attempt},
        {name: "kind", left: true, text: (run) => run.reason_code ?? "–"},
        {name: "reason", left: true, wrap: true, text: (run) => run.reason ?? "–"},
    ], failed);
};

/* ---- how it was measured ---- */

const facts = (title, runs, entries) => {
    const list = element("dl");
    for (const [name, key] of entries) {
        const values = [...new Set(runs.map(key).filter((value) => value !== null && value !== undefined && value !== ""))];
        if (!values.length)
            continue;
        list.append(element("dt", name), element("dd", values.slice(0, 6).join("; ") + (values.length > 6 ? `; and ${values.length - 6} more` : "")));
    }
    const box = element("div");
    box.append(element("h3", title), list);
    return box;
};

const drawMeasured = () => {
    const boxes = data.views.map((view) => {
        const runs = view.runs.map((i) => data.runs[i]), first = runs[0];
        return facts(`Evaluation: ${first.protocol ?? "?"}, ${count(runs.length)} results`, runs, [
            ["protocol", (run) => run.protocol], ["text", (run) => run.data], ["text, SHA-256", (run) => run.data_sha256],
            ["context", (run) => count(run.context)], ["windows", (run) => count(run.windows)], ["BOS rule", (run) => run.bos],
            ["tokens in the text", (run) => count(run.tokens_in_text)], ["tokens scored", (run) => count(run.tokens_scored)],
            ["weight type", (run) => run.weight_type],
        ]);
    });
    for (const model of [...new Set(data.runs.map((run) => run.model))])
        boxes.push(facts(`Model: ${model}`, data.runs.filter((run) => run.model === model), [
            ["architecture", (run) => run.architecture], ["file", (run) => run.model_path], ["SHA-256", (run) => run.model_sha256],
            ["bytes", (run) => count(run.model_bytes)], ["parameters", (run) => count(run.n_parameters)],
            ["non-embedding", (run) => count(run.n_non_embedding)], ["vocabulary", (run) => count(run.vocabulary)],
        ]));
    for (const method of allMethods)
        boxes.push(facts(`Method: ${method}`, data.runs.filter((run) => run.method === method), [
            ["calibrated on", (run) => run.calibration_text], ["its SHA-256", (run) => run.calibration_sha256],
            ["calibration", (run) => run.calibration_windows ? `${count(run.calibration_windows)} windows of ${count(run.calibration_length)} tokens` : "none"],
            ["widths are multiples of", (run) => count(run.multiple)],
            ["recovery", recoveryOf], ["recovered on", (run) => run.recovery_text], ["its windows, SHA-256", (run) => run.recovery_sha256],
        ]));
    boxes.push(facts("Program and machine", data.runs, [
        ["pare", (run) => run.version], ["commit", (run) => run.commit_id], ["kernels", (run) => run.kernels], ["BLAS", (run) => run.blas],
        ["threads", (run) => run.threads ? count(run.threads) : null], ["processor", (run) => run.processor],
    ]));
    byId("measured").replaceChildren(...boxes);
};

/* ---- tables that are larger than their place ---- */

const tellOfScrolling = () => {
    for (const box of document.querySelectorAll(".table")) {
        const right = box.scrollWidth > box.clientWidth + 1, down = box.scrollHeight > box.clientHeight + 1;
        let hint = box.previousElementSibling;
        if (!hint?.classList.contains("scrolls")) {
            hint = element("p", "", "note scrolls");
            box.before(hint);
            box.tabIndex = 0; /* so that the arrow keys scroll it */
        }
        hint.hidden = !right && !down;
        hint.textContent = right && down ? "↔ ↕ This table scrolls, sideways and down." : right ? "↔ This table scrolls sideways."
            : "↕ This table scrolls down.";
        box.classList.toggle("wide", right);
    }
};

/* ---- all together ---- */

const draw = () => {
    for (const article of document.querySelectorAll("#findings article"))
        article.hidden = article.dataset.view !== state.view;
    if (view()) {
        drawLoss();
        drawRecovery();
        drawResiduals();
        drawForms();
        drawCoefficients();
    }
    tellOfScrolling();
};

const showTheme = () => {
    byId("theme").textContent = dark() ? "☀ light" : "☾ dark";
};

/* The form that misses least of what it did not see, over all methods: what the page shows first. */
const bestForm = () => {
    const forms = view()?.fits.nominal ?? {};
    const error = (form) => {
        const errors = (forms[form].groups ?? []).filter((group) => group.method !== null && group.fit)
            .map(({fit}) => finite([fit.lost_model_error, fit.lost_rolling_error, fit.lost_point_error])[0]);
        return errors.length && errors.some(isNumber) ? finite(errors).reduce((sum, value) => sum + value, 0) / finite(errors).length : Infinity;
    };
    return Object.keys(forms).sort((a, b) => error(a) - error(b))[0] ?? state.form;
};

const addOptions = (select, entries) => select.replaceChildren(...entries.map(([value, text]) => {
    const option = element("option", text);
    option.value = value;
    return option;
}));

const start = () => {
    byId("origin").textContent = `From the ledger ${data.source ?? "?"}, ${data.created.replace("T", " ").replace("Z", " UTC")}, pare ${data.version}`;
    addOptions(controls.view, data.views.map((view, i) => {
        const first = data.runs[view.runs[0]];
        return [String(i), `${first.protocol ?? "?"}, ${first.data ?? "?"}, ${first.windows} windows (${view.runs.length} results)`];
    }));
    byId("control-view").hidden = data.views.length < 2;
    const fits = data.views[0]?.fits ?? {};
    addOptions(controls.ratio, Object.keys(fits).map((kind) => [kind, ratioLabels[kind] ?? kind]));
    const runs = data.views.flatMap((_, i) => data.views[i].runs.map((k) => data.runs[k])), models = modelsOf(runs), budgets = budgetsOf(runs);
    addOptions(controls.model, [["all", "all, a chart each"], ...models.map((model) => [model, model])]);
    addOptions(controls.budget, [["all", "all"], ...budgets.map((d) => [String(d), d ? `${count(d)} tokens` : "none (D = 0)"])]);
    byId("control-model").hidden = models.length < 2;
    byId("control-budget").hidden = budgets.length < 2;
    state.budget = budgets.length > 1 && budgets[0] === 0 ? "0" : "all"; /* one budget at a time is one cloud of marks */
    addOptions(controls.form, Object.keys(fits.nominal ?? {}).map((form) => [form, form]));
    state.form = bestForm();
    if (groups().length > 4) /* so many bands would hide each other */
        state.band = "none";
    readAddress();
    for (const key of Object.keys(state)) {
        controls[key].value = state[key];
        controls[key].addEventListener("change", () => {
            state[key] = controls[key].value;
            writeAddress();
            draw();
        });
    }
    byId("theme").addEventListener("click", () => {
        document.documentElement.dataset.theme = dark() ? "light" : "dark";
        writeAddress();
        showTheme();
        draw();
    });
    byId("controls").addEventListener("submit", (event) => event.preventDefault());
    for (const part of document.querySelectorAll(".results"))
        part.hidden = data.views.length === 0; /* every run failed */
    showTheme();
    drawRuns();
    drawFailed();
    drawMeasured();
    draw();
    addEventListener("resize", tellOfScrolling);
};

start();
})();
