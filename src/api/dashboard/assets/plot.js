// A plot of completeness and drift over time.

const WIDTH = 720;
const HEIGHT = 120;
const AXIS_X = 40;
const AXIS_Y = 86;
const TOP = 10;
const RIGHT_MARGIN = 8;
const BAND_HEIGHT = 8;
const SVG_NAMESPACE = "http://www.w3.org/2000/svg";

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG_NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  for (const child of children.flat()) element.append(child);
  return element;
}

/** Returns the share of required artifacts that are present, 1 if none are required. */
const share = ({ artifact_counts: counts }) => (counts.required ? counts.required_present / counts.required : 1);
const tone = ({ drift_state: state, drift_severity: severity }) => {
  if (state === "drifted") return severity === "error" ? "bad" : severity === "warning" ? "fair" : "dim";
  return state === "in_parity" ? "good" : "none";
};

/** Creates a plot of `snapshot_computed` events, oldest first; at least one is needed. */
export function plot(events) {
  const points = events.map((event) => ({
    at: new Date(event.emitted_at).getTime(), share: share(event.payload), tone: tone(event.payload),
  }));
  const from = points[0].at;
  const until = Math.max(Date.now(), points.at(-1).at, from + 1000);
  const x = (at) => AXIS_X + ((at - from) / (until - from)) * (WIDTH - AXIS_X - RIGHT_MARGIN);
  const y = (value) => AXIS_Y - value * (AXIS_Y - TOP);
  let line = "";
  for (const [index, point] of points.entries()) {
    const right = x(points[index + 1]?.at ?? until).toFixed(1);
    line += `${index ? "V" : `M${x(point.at).toFixed(1)},`}${y(point.share).toFixed(1)}H${right}`;
  }
  const bands = points.map((point, index) => svg("rect", {
    class: `band ${point.tone}`, x: x(point.at), y: AXIS_Y + BAND_HEIGHT,
    width: Math.max(1, x(points[index + 1]?.at ?? until) - x(point.at)), height: BAND_HEIGHT,
  }));
  const label = (text, [left, base], anchor = "end") => svg("text", { x: left, y: base, "text-anchor": anchor }, text);
  const last = events.at(-1).payload;
  const description = `Completeness and drift over time: now ${last.completeness_status}, `
    + `${Math.round(points.at(-1).share * 100)} percent of required artifacts are present, ${String(last.drift_state).replaceAll("_", " ")}.`;
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": description, class: "plot" },
    svg("path", { class: "axis", d: `M${AXIS_X},${TOP}V${AXIS_Y}H${WIDTH - RIGHT_MARGIN}` }),
    svg("path", { class: "line", d: line }),
    bands,
    label("100 %", [AXIS_X - 4, TOP + 6]), label("0 %", [AXIS_X - 4, AXIS_Y]), label("drift", [AXIS_X - 4, AXIS_Y + 16]),
    label(day.format(new Date(from)), [AXIS_X, HEIGHT - 4], "start"), label("now", [WIDTH - RIGHT_MARGIN, HEIGHT - 4]));
}
