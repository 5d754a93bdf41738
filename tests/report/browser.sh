#!/bin/sh
# Opens a report in headless Chromium, checks that it is drawn, and takes a picture of it.
set -eu

usage="usage: tests/report/browser.sh REPORT.html OUT.png [WIDTH [FRAGMENT]]
Opens REPORT.html at WIDTH pixels (default 1280; 390 is a phone) with the page's state in FRAGMENT (such as
theme=dark&form=v1), and checks: every control works, no error on the console, both charts drawn with as many marks as there are runs, tables filled,
no sideways scrolling, nothing asked from the network. OUT.png gets the picture. Exit: 0 good, 1 bad, 77 no chromium here."
case "${1:-}" in
-h | --help) echo "$usage"; exit 0 ;;
esac
[ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
report=$(readlink -f "$1") picture=$2 width=${3:-1280} fragment=${4:-}
browser=$(command -v chromium || command -v chromium-browser || true)
[ -n "$browser" ] || { echo "browser.sh: skipped: chromium is not installed"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# A copy with a probe at its end: it works every control, hides a method by its legend and shows it again, and tells what was drawn in
# an attribute that --dump-dom shows. A headless window has a least width, so pages run in a frame of exactly the wanted one.
cp "$report" "$work/page.html"
cp "$report" "$work/probe.html"
cat >>"$work/probe.html" <<'PROBE'
<script>
"use strict";
(async () => {
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const count = (selector) => document.querySelectorAll(selector).length;
    const marks = () => count("#chart-loss .scatterlayer .point");
    const press = (target) => ["mousedown", "mouseup"].forEach((type) => target.dispatchEvent(new MouseEvent(type, {bubbles: true, button: 0})));
    await pause(1000);
    const data = JSON.parse(document.getElementById("data").textContent), root = document.documentElement;
    const budget = document.querySelector("#controls [name=budget]");
    budget.value = "all"; /* at first only what was not recovered is shown */
    budget.dispatchEvent(new Event("change"));
    await pause(500);
    let least = marks(), options = 0;
    const panels = document.querySelectorAll("#chart-loss .subplot").length, models = new Set(data.views[0]?.runs.map((i) => data.runs[i].model)).size;
    const overflowing = [...document.querySelectorAll(".table")].filter((box) => box.clientWidth > 0 && box.scrollWidth > box.clientWidth + 1);
    const untold = overflowing.filter((box) => !(box.previousElementSibling.classList.contains("scrolls") && !box.previousElementSibling.hidden)).length;
    let hints = 0; /* what a mark tells when it is pointed at */
    for (const trace of document.getElementById("chart-loss").data)
        hints += (trace.text ?? []).filter((text) => /recovery: /.test(text)).length;
    for (const select of document.querySelectorAll("#controls select")) {
        const before = select.value;
        for (const value of [...[...select.options].map((option) => option.value), before]) {
            select.value = value;
            select.dispatchEvent(new Event("change"));
            options++;
            if (!["view", "model", "budget", "ratio", "x"].includes(select.name)) /* a logarithmic axis has no place for the dense model, r = 0 */
                least = Math.min(least, marks());
        }
    }
    for (let i = 0; i < 2; i++)
        document.getElementById("theme").click();
    document.querySelector("#table-runs th:nth-child(5) button").click();
    await pause(1000);
    const toggles = document.querySelectorAll("#chart-loss .legendtoggle");
    press(toggles[toggles.length - 1]);
    await pause(1500);
    const hidden = marks();
    press(toggles[toggles.length - 1]);
    await pause(1500);
    const facts = {
        marks: marks(), least, hidden, options, curves: count("#chart-loss .scatterlayer path.js-line"),
        bands: count("#chart-loss .scatterlayer .js-fill"), residuals: count("#chart-residuals .scatterlayer .point"),
        errorbars: count("#chart-loss .errorbar"), rows: count("#table-runs tbody tr"), done: data.n_done,
        failed: count("#table-failed tbody tr"), wantfailed: data.n_failed, forms: count("#table-forms tbody tr"),
        coefficients: count("#table-coefficients tbody tr"), theme: root.dataset.theme, inner: innerWidth, scroll: root.scrollWidth,
        inview: data.views[0]?.runs.length ?? 0, panels, models, untold, hints, loaded: performance.getEntriesByType("resource").length, height: root.scrollHeight,
    };
    parent.postMessage("PROBE " + Object.entries(facts).map((entry) => entry.join("=")).join(" "), "*");
})();
</script>
PROBE
for page in page probe; do
    cat >"$work/frame-$page.html" <<FRAME
<!doctype html><meta charset="utf-8"><style>body{margin:0}iframe{border:0;display:block;width:${width}px;height:${HEIGHT:-4200}px}</style>
<iframe src="$page.html#$(printf %s "$fragment" | sed 's/&/\&amp;/g')"></iframe><p id="probe"></p>
<script>addEventListener("message", (event) => { document.getElementById("probe").textContent = event.data; });</script>
FRAME
done

run() { # page, more options
    page=$1
    shift
    "$browser" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --user-data-dir="$work/profile" --allow-file-access-from-files --hide-scrollbars \
        --enable-logging=stderr --window-size="$width,${HEIGHT:-4200}" --virtual-time-budget=30000 "$@" "file://$work/frame-$page.html"
}

run probe --dump-dom >"$work/dom" 2>"$work/log" || { cat "$work/log" >&2; echo "browser.sh: chromium failed" >&2; exit 1; }
run page --screenshot="$work/picture.png" >"$work/shot" 2>&1 || { cat "$work/shot" >&2; exit 1; }
mv "$work/picture.png" "$picture"

bad=0
complain() {
    echo "browser.sh: $*" >&2
    bad=1
}
if grep -a "CONSOLE" "$work/log" >"$work/console"; then
    cat "$work/console" >&2
    complain "the console is not silent"
fi
probe=$(sed -n 's/.*id="probe">PROBE \([a-zA-Z0-9= ]*\)<.*/\1/p' "$work/dom")
[ -n "$probe" ] || { echo "browser.sh: the page's script did not end" >&2; exit 1; }
echo "$probe"
for fact in $probe; do
    eval "fact_${fact%%=*}='${fact#*=}'"
done
[ "$fact_marks" -ge "$fact_inview" ] || complain "$fact_marks marks drawn for $fact_inview runs"
[ "$fact_least" -ge "$fact_inview" ] || complain "a control left $fact_least marks of $fact_inview"
[ "$fact_hidden" -lt "$fact_marks" ] || complain "the legend hides nothing"
[ "$fact_panels" -eq "$fact_models" ] || complain "$fact_panels charts for $fact_models models"
[ "$fact_untold" -eq 0 ] || complain "$fact_untold tables scroll without a word"
[ "$fact_hints" -ge "$fact_inview" ] || complain "$fact_hints of $fact_inview marks tell their recovery"
[ "$fact_curves" -gt 0 ] || complain "no curve drawn"
[ "$fact_residuals" -gt 0 ] || complain "no residual drawn"
[ "$fact_rows" -eq "$fact_done" ] || complain "$fact_rows rows for $fact_done runs"
[ "$fact_failed" -eq "$fact_wantfailed" ] || complain "$fact_failed failed runs told of $fact_wantfailed"
[ "$fact_forms" -gt 0 ] && [ "$fact_coefficients" -gt 0 ] || complain "no law in the tables"
[ "$fact_scroll" -le "$fact_inner" ] || complain "the page is $fact_scroll pixels wide in a window of $fact_inner"
[ "$fact_loaded" -eq 0 ] || complain "$fact_loaded things were loaded"
case "$fragment" in
*theme=dark*) [ "$fact_theme" = dark ] || complain "the theme is $fact_theme" ;;
esac
exit $bad
