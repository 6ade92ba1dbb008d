// Nodes and numbers. Text reaches the page through text nodes alone, so nothing that a server says is ever read as HTML.

export const byId = (id) => document.getElementById(id);

/** Make an element: attributes by name, listeners as `onclick: function`, children as nodes or texts; null is left out. */
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Text for those who do not see the page. */
export const unseen = (text) => make("span", { class: "unseen" }, text);

/** A bar that fills a share of its track, from `from` to `to` in [0, 1]; what it says stands beside it as a number. */
export function bar(from, to, kind = "") {
  const fill = make("span", { class: `fill ${kind}` });
  const track = make("span", { class: "track", "aria-hidden": "true" }, fill);
  setBar(track, from, to);
  return track;
}

export function setBar(track, from, to) {
  const fill = track.firstChild;
  fill.style.left = `${100 * Math.min(from, to)}%`;
  fill.style.width = `${100 * Math.abs(to - from)}%`;
}

/** A number of three digits or so. */
export function number(value) {
  const size = Math.abs(value);
  let text;
  if (!Number.isFinite(value)) return "–";
  if (size === 0) text = "0";
  else if (size < 0.0001) text = value.toExponential(1);
  else if (size < 1) text = value.toFixed(Math.min(2 - Math.floor(Math.log10(size)), 6));
  else if (size < 100) text = value.toFixed(2);
  else text = value.toLocaleString("en", { maximumFractionDigits: 0 });
  return text.replaceAll("-", "−");
}

/** A number with its sign; with `digits`, so many after the point. */
export function signed(value, digits) {
  const size = Math.abs(value);
  const text = digits === undefined ? number(size) : size.toFixed(digits);
  return Number(text) === 0 ? "0" : `${value > 0 ? "+" : "−"}${text}`;
}

export const percent = (share) => `${number(100 * share)} %`;

/** A value of a column as text. */
export function told(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(told).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text);

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** Return a function that runs another once it has not been called for some milliseconds. */
export function debounced(run, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...given), milliseconds);
  };
}
