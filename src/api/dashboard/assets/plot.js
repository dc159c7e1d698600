// Completeness and drift over time, as a small plot.

const WIDTH = 720;
const HEIGHT = 120;
const LEFT = 40;
const BASE = 86;
const TOP = 10;
const SVG = "http://www.w3.org/2000/svg";

function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

const share = ({ artifact_counts: counts }) => (counts.required ? counts.required_present / counts.required : 1);
const tone = ({ drift_state: state, drift_severity: severity }) => {
  if (state === "drifted") return severity === "error" ? "bad" : severity === "warning" ? "fair" : "dim";
  return state === "in_parity" ? "good" : "none";
};

/** A plot of the states that these events announced, oldest first. */
export function plot(events) {
  const points = events.map((event) => ({
    at: new Date(event.emitted_at).getTime(), share: share(event.payload), tone: tone(event.payload),
  }));
  const from = points[0].at;
  const until = Math.max(Date.now(), points.at(-1).at, from + 1000);
  const x = (at) => LEFT + ((at - from) / (until - from)) * (WIDTH - LEFT - 8);
  const y = (value) => BASE - value * (BASE - TOP);
  let line = "";
  for (const [place, point] of points.entries()) {
    const right = x(points[place + 1]?.at ?? until).toFixed(1);
    line += `${place ? "V" : `M${x(point.at).toFixed(1)},`}${y(point.share).toFixed(1)}H${right}`;
  }
  const bands = points.map((point, place) => s("rect", {
    class: `band ${point.tone}`, x: x(point.at), y: BASE + 8,
    width: Math.max(1, x(points[place + 1]?.at ?? until) - x(point.at)), height: 8,
  }));
  const label = (text, place, anchor = "end") => s("text", { x: place[0], y: place[1], "text-anchor": anchor }, text);
  const last = events.at(-1).payload;
  const said = `Completeness and drift over time: now ${last.completeness_status}, `
    + `${Math.round(points.at(-1).share * 100)} percent of what is required is there, ${String(last.drift_state).replaceAll("_", " ")}.`;
  const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  return s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": said, class: "plot" },
    s("path", { class: "axis", d: `M${LEFT},${TOP}V${BASE}H${WIDTH - 8}` }),
    s("path", { class: "line", d: line }),
    ...bands,
    label("100 %", [LEFT - 4, TOP + 6]), label("0 %", [LEFT - 4, BASE]), label("drift", [LEFT - 4, BASE + 16]),
    label(day.format(new Date(from)), [LEFT, HEIGHT - 4], "start"), label("now", [WIDTH - 8, HEIGHT - 4]));
}
