// The live page: fetches live.json every few seconds and shows it. Whatever comes from the program is set as text.
"use strict";

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const state = { by: "feature", sort: "dollars", down: true, filter: "", all: false, paused: false, data: null, failed: 0, timer: 0 };
const FEW = 12; // rows of a table, until somebody wants all of them
const FEW_LIMITS = 5;

// --- Words and numbers

const NONE = "–";
const plain = (number, digits = 0) => number.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const significant = (number, digits) => number.toLocaleString("en", { maximumSignificantDigits: digits });
const known = (number) => typeof number === "number";

function count(number) {
  if (!known(number)) return NONE;
  if (number < 99999.5) return plain(Math.round(number));
  const [unit, factor] = number < 999.5e3 ? ["k", 1e3] : number < 999.5e6 ? ["M", 1e6] : ["G", 1e9];
  return significant(number / factor, 3) + unit;
}
function compact(number) {
  if (number < 9.95) return number < 0.95 ? significant(number, 2) : plain(number, 1);
  return number < 999.5 ? plain(number) : number < 9995 ? `${plain(number / 1e3, 1)}k` : number < 999.5e3 ? `${plain(number / 1e3)}k` : count(number);
}
// Each of these gives [number, unit].
function rate(perSecond) {
  if (!known(perSecond)) return [NONE];
  if (perSecond >= 0.095 || perSecond === 0) return [compact(perSecond), "/s"];
  return perSecond * 60 >= 0.95 ? [significant(perSecond * 60, 2), "/min"] : [significant(perSecond * 3600, 2), "/h"];
}
function duration(seconds) {
  if (!known(seconds)) return [NONE];
  if (seconds < 0.9995) return [seconds < 0.00995 ? significant(seconds * 1e3, 2) : plain(seconds * 1e3), "ms"];
  if (seconds < 59.95) return [plain(seconds, seconds < 9.995 ? 2 : 1), "s"];
  return [`${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`, "min"];
}
function dollars(amount) {
  if (!known(amount)) return NONE;
  if (amount >= 999.5) return `$${amount < 99999.5 ? plain(amount) : count(amount)}`;
  if (amount >= 0.995 || amount === 0) return `$${plain(amount, 2)}`;
  return amount < 1e-6 ? "<$0.000001" : `$${amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: Math.min(6, 1 - Math.floor(Math.log10(amount))) })}`;
}
function share(part) {
  if (!known(part)) return [NONE];
  const percent = part * 100;
  return [percent === 0 || percent >= 9.95 ? plain(percent) : percent < 0.1 ? "<0.1" : plain(percent, 1), "%"];
}
function span(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return seconds < 3300 ? `${Math.round(seconds / 60)} min` : "hour";
}
const times = (factor) => `×${factor < 9.95 && factor >= 0.095 ? plain(factor, 1) : significant(factor, 2)}`;
const ago = (ms) => (ms < 5e3 ? "just now" : ms < 9e4 ? `${Math.round(ms / 1e3)} s ago` : `${Math.round(ms / 6e4)} min ago`);
const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const said = ([number, unit]) => (unit ? `${number}${unit === "%" || unit[0] === "/" ? "" : " "}${unit}` : number);

// How much more or less: [words, how it reads aloud, whether it is much]
function change(before, after) {
  if (!known(before) || !known(after) || (!before && !after)) return null;
  if (!before) return ["new", "new"];
  const factor = after / before;
  if (factor > 0.985 && factor < 1.015) return ["steady", "steady"];
  const much = factor >= 2 ? times(factor) : `${plain(Math.abs(factor - 1) * 100)}%`;
  const is = Math.abs(factor - 1) >= 0.1;
  return factor > 1 ? [`↑ ${much}`, `up ${much}`, is] : [`↓ ${much}`, `down ${much}`, is];
}

// --- Elements

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
function measure(element, [number, unit]) {
  const text = unit ? `${number}\u0000${unit}` : number;
  if (element.dataset.shown === text) return;
  element.dataset.shown = text;
  element.replaceChildren(number, ...(unit ? [make("span", { className: "unit" }, unit)] : []));
}
const named = (name) => (name ? make("span", { title: name }, name) : make("span", { className: "nameless" }, "not stated"));
const bar = (part) => {
  const drawn = make("div", { className: `bar${part >= 0.95 ? " full" : part >= 0.8 ? " high" : ""}`, ariaHidden: "true" });
  drawn.style.setProperty("--part", `${Math.min(100, part * 100)}%`);
  return drawn;
};
// A changed part of the page is replaced only when what it says has changed, so that nothing moves under a reader.
const last = new Map();
function changed(name, value) {
  const text = JSON.stringify(value);
  if (last.get(name) === text) return false;
  last.set(name, text);
  return true;
}

// --- The figures

function figure(name, value, note, shift, bad) {
  const place = $(`[data-figure="${name}"]`);
  measure($(".value", place), value);
  const target = $(".note", place);
  const text = JSON.stringify([note, shift, bad]);
  if (target.dataset.shown === text) return;
  target.dataset.shown = text;
  const parts = note ? [note] : [];
  if (shift && shift[0] !== "steady") {
    const tone = bad === undefined || !shift[2] ? "" : bad === shift[0].startsWith("↑") ? "worse" : "better";
    parts.push(make("span", { className: `change ${tone}`, ariaLabel: `${shift[1]} on the first half`, role: "img" }, shift[0]));
  }
  target.replaceChildren(...parts.flatMap((part, place) => (place ? [" · ", part] : [part])));
}

function figures({ total, halves, active, seconds }) {
  const shift = (name) => (halves && halves[0].requests ? change(halves[0][name], halves[1][name]) : null);
  const calls = total.requests;
  const early = seconds < 60; // too short a time to say what an hour costs
  figure("requests", rate(total.per_second), `${count(calls)} in all`, shift("per_second"));
  const shares = halves && halves.map((half) => half.error_share);
  const worse = shares && known(shares[0]) && known(shares[1]) && Math.abs(shares[0] - shares[1]) >= 0.005 ? change(...shares) : null;
  figure("errors", share(total.error_share), calls ? `${count(total.errors)} of ${count(calls)}` : "", worse, true);
  figure("p95", duration(total.p95), calls ? `P50 ${said(duration(total.p50))}` : "", shift("p95"), true);
  figure("first_chunk", duration(total.first_chunk_p95), known(total.first_chunk_p50) ? `P50 ${said(duration(total.first_chunk_p50))}` : calls ? "no streams yet" : "", shift("first_chunk_p95"), true);
  figure("active", [count(active)], total.stopped ? `${count(total.stopped)} stopped early` : "right now");
  const [into, out] = [total.input_per_second, total.output_per_second];
  figure("tokens", rate(known(into) ? into + out : null), calls ? `${said(rate(into))} in · ${said(rate(out))} out` : "");
  if (early || !known(total.dollars)) figure("cost", [dollars(total.dollars)], known(total.dollars) ? "so far" : calls ? "no price is known" : "");
  else figure("cost", [dollars(total.dollars_per_hour), "/h"], `${dollars(total.dollars)} in all`, shift("dollars_per_hour"), true);
  figure("month", [early ? NONE : dollars(total.dollars_per_month)], !known(total.dollars) ? "" : early ? "after the first minute" : "at this rate");
}

// --- The charts

const CHARTS = {
  requests: { lines: [["per_second", "all", "blue", true], ["errors_per_second", "failed", "red", true]], say: rate, unit: "requests per second" },
  latency: { lines: [["p95", "P95", "blue"], ["p50", "P50", "grey"], ["first_chunk_p50", "TTFT", "orange", false, "dot"]], say: duration, unit: "seconds" },
  tokens: { lines: [["input_per_second", "in", "blue", true], ["output_per_second", "out", "orange", true]], say: rate, unit: "tokens per second" },
  cost: { lines: [["dollars_per_hour", "per hour", "blue", true]], say: (value) => [dollars(value), known(value) ? "/h" : ""], unit: "dollars per hour" },
};
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name === "grey" ? "soft" : name}`).trim();
// plotly.js takes dates as UTC, and people do not.
const local = (ms) => new Date(ms - new Date(ms).getTimezoneOffset() * 6e4).toISOString().slice(0, 23);
let loading = null;

function library(drawing) {
  for (const id of drawing.placeholders) document.head.append(make("template", { id }));
  return new Promise((resolve, reject) => {
    document.head.append(make("script", { src: drawing.script, onload: () => resolve(window.Plotly), onerror: reject }));
  });
}

function charts({ drawing, charts: series }) {
  $("#undrawn").hidden = Boolean(drawing);
  $("#charts").classList.toggle("bare", !drawing);
  if (!drawing || !series.at.length) return;
  for (const [name, chart] of Object.entries(CHARTS)) caption(name, chart, series);
  loading ??= library(drawing);
  loading.then((plotly) => Object.entries(CHARTS).forEach(([name, chart]) => draw(plotly, name, chart, state.data.charts)), () => {
    loading = null; // the next refresh tries again
  });
}

function caption(name, { lines, say, unit }, series) {
  const place = $(`[data-chart="${name}"]`);
  const shown = lines.filter(([line]) => series[line].some(known));
  const now = shown.map(([line]) => said(say(series[line].at(-1))));
  if (!changed(`caption ${name}`, [shown.map(([line]) => line), now])) return;
  $(".legend", place).replaceChildren(
    ...shown.map(([, label, tone, , dash], index) => make("span", {}, make("i", { className: `${tone}${dash ? " dashed" : ""}` }), `${label} ${now[index]}`)),
  );
  const most = (line) => Math.max(...series[line].filter(known));
  write($(".unseen", place), `Chart of ${unit} since ${clock(series.at[0])}. ${shown.map(([line, label], index) => `${label}: ${now[index]} now, at most ${said(say(most(line)))}`).join("; ")}.`);
}

function draw(plotly, name, { lines, say }, series) {
  const x = series.at.map(local);
  const ink = colour("soft");
  const shown = lines.filter(([line]) => series[line].some(known));
  const traces = shown.map(([line, label, tone, filled, dash]) => ({
    x, y: series[line], name: label, type: "scatter", mode: x.length > 1 ? "lines" : "markers", text: series[line].map((value) => said(say(value))),
    hovertemplate: "%{text}", line: { color: colour(tone), width: 1.75, dash: dash || "solid" }, marker: { color: colour(tone), size: 6 },
    fill: filled ? "tozeroy" : "none", fillcolor: `${colour(tone)}1c`, connectgaps: false,
  }));
  const axis = { fixedrange: true, zeroline: false, color: ink, tickfont: { size: 11, color: ink }, showline: false, ticks: "outside", ticklen: 5, tickcolor: "transparent" };
  const layout = {
    margin: { l: 36, r: 2, t: 6, b: 20 }, showlegend: false, hovermode: "x unified", dragmode: false, paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 11 }, separators: ".,",
    hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("line"), font: { color: colour("ink"), size: 12 } },
    xaxis: { ...axis, type: "date", range: [x[0], x.at(-1)], showgrid: false, nticks: 4, tickformat: series.at.at(-1) - series.at[0] < 24e4 ? "%H:%M:%S" : "%H:%M", hoverformat: "%H:%M:%S" },
    yaxis: { ...axis, gridcolor: colour("line"), rangemode: "tozero", ...ticks(shown, series, say) },
  };
  plotly.react($(`[data-chart="${name}"] .plot`), traces, layout, { displayModeBar: false, responsive: true, doubleClick: false, showTips: false });
}

// Two to four round values, said as everywhere else on the page, but for what goes without saying.
function ticks(shown, series, say) {
  const most = Math.max(0, ...shown.flatMap(([line]) => series[line].filter(known)));
  if (!most) return { range: [0, 1], tickvals: [0], ticktext: [""] };
  const step = [1, 2, 2.5, 5, 10].map((part) => part * 10 ** Math.floor(Math.log10(most / 2))).findLast((part) => part <= most / 2);
  const values = Array.from({ length: Math.floor((most * 1.02) / step) }, (_, index) => (index + 1) * step);
  return { range: [0, most * 1.14], tickvals: [0, ...values], ticktext: ["", ...values.map((value) => tick(say(value)))] };
}

function tick([number, unit]) {
  const short = number.replace(/\.(\d*?)0+(?=\D|$)/, (_, digits) => (digits ? `.${digits}` : ""));
  return unit && unit[0] !== "/" ? `${short} ${unit}` : short;
}

// --- The table

const ADDITIVE = ["requests", "input", "output", "dollars"];
const LABELS = { requests: "requests", input: "input tokens", output: "output tokens", dollars: "cost" };
const COLUMNS = [
  ["name", ""],
  ["requests", "Requests", (row) => [count(row.requests)]],
  ["errors", "Errors", (row) => (row.errors ? [count(row.errors), said(share(row.errors / row.requests))] : [NONE])],
  ["p95", "P95", (row) => duration(row.p95)],
  ["active", "Active", (row) => [row.active ? count(row.active) : NONE]],
  ["input", "Tokens in", (row) => [count(row.input)]],
  ["output", "Tokens out", (row) => [count(row.output)]],
  ["dollars", "Cost", (row) => [dollars(row.dollars)]],
];
const columns = () => COLUMNS.filter(([name]) => state.by !== "agent" || (name !== "p95" && name !== "active"));

function shift(row) {
  if (!row.halves) return null;
  const [before, after] = known(row.halves.dollars_per_hour[1]) ? row.halves.dollars_per_hour : row.halves.per_second;
  return known(after) && after === 0 && before ? ["ended", "ended"] : change(before ?? 0, after);
}

function header(measured) {
  const key = [state.by, state.sort, state.down, measured, Boolean(state.data.halves)];
  if (!changed("header", key)) return;
  const cells = columns().map(([name, label]) => {
    const cell = make("th", { scope: "col" }, make("button", { type: "button", onclick: () => sort(name) }, label || state.by[0].toUpperCase() + state.by.slice(1)));
    cell.dataset.column = name;
    if (state.sort === name) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
    return cell;
  });
  const change = state.data.halves ? [make("th", { scope: "col", title: "Second half of the time against the first, by cost, or by requests without a price" }, "Change")] : [];
  const focused = document.activeElement?.closest("th")?.dataset.column;
  $("#table thead tr").replaceChildren(...cells, make("th", { scope: "col" }, `Share of ${LABELS[measured]}`), ...change);
  if (focused) $(`#table th[data-column="${focused}"] button`)?.focus();
}

function rows() {
  const found = state.data.tables[state.by];
  const wanted = found.filter((row) => (row.name || "not stated").toLowerCase().includes(state.filter));
  const sign = state.down ? -1 : 1;
  const rank = (row) => row[state.sort] ?? -1;
  wanted.sort((one, other) => (state.sort === "name" ? sign * one.name.localeCompare(other.name) : sign * (rank(one) - rank(other))) || other.requests - one.requests || one.name.localeCompare(other.name));
  return [found, wanted];
}

function table() {
  if (!state.data) return;
  if (!columns().some(([name]) => name === state.sort)) state.sort = "dollars";
  const [found, wanted] = rows();
  const priced = found.some((row) => row.dollars);
  const measured = ADDITIVE.includes(state.sort) && (state.sort !== "dollars" || priced) ? state.sort : priced ? "dollars" : "requests";
  const sum = found.reduce((total, row) => total + (row[measured] ?? 0), 0);
  header(measured);
  const shown = state.all || state.filter ? wanted : wanted.slice(0, FEW);
  if (changed("rows", [state.by, measured, sum, shown])) {
    $("#table tbody").replaceChildren(...shown.map((row) => line(row, measured, sum)));
    if (!shown.length) $("#table tbody").append(make("tr", {}, make("td", { className: "none", colSpan: 10 }, state.filter ? "Nothing has such a name." : "Nothing yet.")));
  }
  const more = wanted.length - shown.length;
  const button = $("#more");
  button.hidden = !(more > 0 || (state.all && !state.filter && wanted.length > FEW));
  write(button, more > 0 ? `Show all ${wanted.length}` : "Show fewer");
  write($("#counted"), state.filter ? `${wanted.length} of ${found.length}` : "");
}

function line(row, measured, sum) {
  const part = known(row[measured]) && sum ? row[measured] / sum : null;
  const cells = columns().slice(1).map(([name, , say]) => {
    const cell = make("td", { className: name === "errors" && row.errors >= 0.05 * row.requests && row.errors ? "worse" : "" });
    measure(cell, say(row));
    if (cell.textContent === NONE) cell.classList.add("none");
    return cell;
  });
  const drawn = make("div", {}, bar(0), make("span", {}, said(share(part))));
  drawn.firstChild.style.setProperty("--part", `${(part ?? 0) * 100}%`);
  const moved = state.data.halves ? [make("td", {}, shift(row)?.[0] ?? NONE)] : [];
  return make("tr", {}, make("th", { scope: "row" }, named(row.name)), ...cells, make("td", { className: "share" }, drawn), ...moved);
}

function sort(name) {
  state.down = state.sort === name ? !state.down : name !== "name";
  state.sort = name;
  table();
}

function choose(tab) {
  for (const each of $$("[role=tab]")) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
  }
  $("#panel").setAttribute("aria-labelledby", tab.id);
  state.by = tab.dataset.by;
  state.all = false;
  table();
}

// --- What changed, limits, errors, and what is worth fixing

const SAY = { cost: (value) => [dollars(value ?? 0), "/h"], errors: share, p95: duration, input: rate, output: rate, requests: rate };
const WHAT = { cost: "cost", errors: "share of errors", p95: "latency P95", input: "input tokens", output: "output tokens", requests: "requests" };

function changes({ movers, factors, halves, seconds, total }) {
  $("#changes").hidden = !halves || !total.requests;
  if (!halves || !changed("changes", [movers, factors, Math.round(seconds / 60)])) return;
  write($("#compared"), `second half of the last ${span(seconds)} against the first`);
  const body = $("#changes tbody");
  body.replaceChildren(...movers.map(({ by, name, what, before, after }) => make("tr", {},
    make("th", { scope: "row" }, make("span", { className: "soft" }, `${by} `), named(name)),
    make("td", {}, WHAT[what]),
    make("td", {}, make("span", { className: "soft" }, `${said(SAY[what](before ?? 0))} → `), said(SAY[what](after ?? 0))),
    make("td", { className: after > before ? (["requests", "input", "output"].includes(what) ? "" : "worse") : "" }, change(before ?? 0, after ?? 0)?.[0] ?? ""),
  )));
  $("#changes .quiet").hidden = movers.length > 0;
  const explained = factors && Math.abs(factors.cost - 1) >= 0.1;
  $("#factors").hidden = !explained;
  if (explained) {
    const strong = (factor) => make("b", {}, times(factor));
    $("#factors").replaceChildren("Cost ", strong(factors.cost), " = requests ", strong(factors.requests), " · tokens per request ", strong(factors.tokens_per_request), " · price per token ", strong(factors.dollars_per_token));
  }
}

function limits({ limits: found }) {
  $("#limits").hidden = !found.length;
  if (!changed("limits", found)) return;
  const sorted = [...found].sort((one, other) => (other.used ?? -1) - (one.used ?? -1));
  const accounts = new Set(found.map(({ provider, account }) => `${provider} ${account}`));
  const alone = accounts.size === new Set(found.map(({ provider }) => provider)).size; // one account each needs no name
  const used = sorted.filter((limit) => !known(limit.used) || limit.used >= 0.01).slice(0, FEW_LIMITS);
  $("#limits tbody").replaceChildren(...used.map((limit) => make("tr", {},
    make("th", { scope: "row" }, [limit.model || limit.provider, alone ? "" : limit.account].filter(Boolean).join(" · "), make("span", { className: "soft" }, ` ${limit.resource.replace("_", " ")}`)),
    make("td", {}, ...(known(limit.used) ? [bar(limit.used), make("span", { className: "part" }, said(share(limit.used)))] : [NONE])),
    make("td", { className: "soft" }, `${count(limit.remaining)} of ${count(limit.limit)} left`),
  )));
  const rest = sorted.filter((limit) => !used.includes(limit));
  const most = rest.length && rest[0].used >= 0.01 ? `at most ${said(share(rest[0].used))}` : "less than 1%";
  $("#limits .quiet").hidden = !rest.length;
  write($("#limits .quiet"), `${used.length ? `${rest.length} more` : found.length === 1 ? "One limit" : `${found.length} limits`}, ${most} used.`);
}

function errors({ errors: found, at }) {
  $("#errors").hidden = !found.length;
  if (!changed("errors", [found, Math.round(at / 5e3)])) return;
  $("#errors tbody").replaceChildren(...found.map(({ type, count: many, mostly, last: seen }) => make("tr", {},
    make("th", { scope: "row" }, type.replaceAll("_", " ")),
    make("td", {}, count(many)),
    make("td", { className: "wraps soft" }, [mostly.feature, mostly.model].filter(Boolean).join(" · ")),
    make("td", { className: "soft" }, ago(at - seen)),
  )));
}

const REASONS = {
  unknown_model: "no price", no_model: "no model", missing_usage: "usage unknown", missing_rate: "no rate",
  not_reported: "not reported", unrecognised: "not recognised", interrupted: "interrupted", inconsistent: "inconsistent",
};
function attention(data) {
  const calls = (many) => `${count(many)} ${many === 1 ? "call" : "calls"}`;
  const whose = ({ provider, model, reason }) => `${[provider, model].filter(Boolean).join(" · ") || "unknown"} (${REASONS[reason] ?? reason})`;
  const found = [
    ...data.unpriced.map((trouble) => [`${calls(trouble.count)} without a price: ${whose(trouble)}`, trouble.remedy]),
    ...data.missing.map((trouble) => [`${calls(trouble.count)} without usage: ${whose(trouble)}`, trouble.remedy]),
    ...data.overflow.map((trouble) => [`Label ${trouble.name}: ${count(trouble.count)} times folded into “other”`, trouble.remedy]),
    ...data.internal.map((trouble) => [`${count(trouble.count)} internal failures: ${trouble.name}`, trouble.remedy]),
  ];
  $("#attention").hidden = !found.length;
  if (!changed("attention", found)) return;
  $("#attention ul").replaceChildren(...found.map(([title, remedy]) => make("li", {}, make("strong", {}, title), make("p", {}, ...coded(remedy)))));
}
// `code` between backticks
const coded = (text) => text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : part));

// --- The page as a whole

function show(data) {
  state.data = data;
  const idle = !data.total.requests && !data.active;
  const service = data.service || "llmwatch";
  write($("#service"), service);
  if (document.title !== `${service} · llmwatch`) document.title = `${service} · llmwatch`;
  const whose = data.workers === null ? "this process" : data.workers === 1 ? "its one worker" : `all ${data.workers} workers`;
  write($("#scope"), `Last ${span(data.seconds)} of ${whose}`);
  write($("#version"), data.llmwatch);
  $("#empty").hidden = !idle;
  $("#charts").hidden = $("#shares").hidden = idle;
  figures(data);
  if (!idle) {
    charts(data);
    table();
  }
  changes(data);
  limits(data);
  errors(data);
  attention(data);
}

function freshness() {
  const top = $(".controls");
  top.classList.toggle("stale", state.failed > 0);
  top.classList.toggle("paused", state.paused);
  const at = state.data ? clock(state.data.at) : "";
  write($("#freshness [data-text]"), state.paused ? `Paused at ${at}` : state.failed ? `Last heard ${at}` : at && `Live, ${at}`);
}

function notice(text) {
  $("#notice").hidden = !text;
  write($("#notice"), text);
}

async function refresh() {
  clearTimeout(state.timer);
  if (state.paused || document.hidden) return;
  try {
    const answer = await fetch("live.json", { cache: "no-store", signal: AbortSignal.timeout(20000) });
    if (!answer.ok) throw new Error(answer.status === 401 ? "It asks for credentials again: reload the page." : `It answers with status ${answer.status}.`);
    const data = await answer.json();
    state.failed = 0;
    notice("");
    show(data);
  } catch (error) {
    state.failed += 1;
    if (state.failed > 1) notice(`No numbers come from the program any more. ${error.message.startsWith("It ") ? error.message : "It may have ended."}`);
  }
  freshness();
  const every = (state.data?.every ?? 3) * 1000;
  clearTimeout(state.timer);
  state.timer = setTimeout(refresh, Math.min(30000, every * 2 ** Math.min(4, state.failed)));
}

$("#pause").addEventListener("click", () => {
  state.paused = !state.paused;
  $("#pause").setAttribute("aria-pressed", String(state.paused));
  freshness();
  refresh();
});
$("#filter").addEventListener("input", (event) => {
  state.filter = event.target.value.trim().toLowerCase();
  table();
});
$("#more").addEventListener("click", () => {
  state.all = !state.all;
  table();
});
$("[role=tablist]").addEventListener("click", (event) => event.target.dataset.by && choose(event.target));
$("[role=tablist]").addEventListener("keydown", (event) => {
  const tabs = $$("[role=tab]");
  const here = tabs.indexOf(document.activeElement);
  const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const tab = tabs[(to + tabs.length) % tabs.length];
  choose(tab);
  tab.focus();
});
document.addEventListener("visibilitychange", refresh);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.data && show(state.data));
refresh();
