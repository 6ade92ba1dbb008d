// Nodes and numbers. Text is inserted through text nodes only, so no text of a server is ever parsed as HTML.

export const byId = (id) => document.getElementById(id);

/** Make an element: attributes by name, listeners as `onclick: function`, children as nodes or texts; null is skipped. */
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

/** Make a text for screen readers only. */
export const unseen = (text) => make("span", { class: "unseen" }, text);

/** Make a bar that fills its track from `from` to `to` in [0, 1]; hidden from screen readers, as a number stands next to it. */
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

/** Return a number with about three digits. */
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

/** Return a number with its sign, with `digits` decimals if given. */
export function signed(value, digits) {
  const size = Math.abs(value);
  const text = digits === undefined ? number(size) : size.toFixed(digits);
  return Number(text) === 0 ? "0" : `${value > 0 ? "+" : "−"}${text}`;
}

export const percent = (share) => `${number(100 * share)} %`;

/** Return a value of a column as text. */
export function textOf(value) {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return value.map(textOf).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

export const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text);

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

/** Return a function that calls `run` once no call has followed for some milliseconds. */
export function debounced(run, milliseconds) {
  let timer;
  return (...parameters) => {
    clearTimeout(timer);
    timer = setTimeout(() => run(...parameters), milliseconds);
  };
}
