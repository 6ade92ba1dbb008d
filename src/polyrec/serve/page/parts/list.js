// The list: a row per item. A row keeps its node when it moves, and with it the focus and the open panel.

import { toolbar } from "./actions.js";
import { beneath, titleOf } from "./columns.js";
import { bar, make, number, percent, plural, setBar, unseen } from "./dom.js";
import { hue, scaled, tasksOf, value } from "./tasks.js";

const MOVE = { duration: 320, easing: "cubic-bezier(.2, .7, .2, 1)" };

/** Return functions that show lists in a node. Buttons call `act(item, event)` and `open(item, kind)`, which promises nodes. */
export function createList(node, model, groups, { act, open }) {
  let rows = new Map();
  let made = 0;

  /** Show items, with movements since a list of keys `before`. Return the numbers of items that moved up, down or are new. */
  function show(items, before) {
    const tops = new Map([...rows].map(([key, row]) => [key, row.node.getBoundingClientRect().top]));
    const focused = [...rows.values()].findIndex((row) => row.node.contains(document.activeElement));
    const pressed = focused < 0 ? -1 : [...rows.values()][focused].buttons.indexOf(document.activeElement);
    const tasks = tasksOf(model, items).filter((task) => task.kind !== "same");
    const next = new Map(items.map((item) => [item.item, rows.get(item.item) ?? createRow(item)]));
    const counts = { up: 0, down: 0, new: 0 };
    const lists = tasks.map((task) => items.map((item) => value(task, item)[1]));
    const scores = items.map((item) => item.score);
    items.forEach((item, place) => {
      const row = next.get(item.item);
      row.item = item;
      row.place.textContent = place + 1;
      showScores(row, tasks, lists, scores);
      const moved = movement(before, item.item, place);
      if (moved !== null) counts[moved[0]] += 1;
      mark(row, moved);
    });
    arrange([...next.values()].map((row) => row.node));
    rows = next;
    animate(tops);
    if (focused >= 0 && !node.contains(document.activeElement)) refocus(focused, pressed);
    return counts;
  }

  function createRow(item) {
    const title = titleOf(item, model.columns);
    const panel = make("div", { class: "panel", id: `panel-${(made += 1)}`, hidden: true });
    const tools = toolbar(title, groups, (event) => act(row.item, event), (kind) => toggle(row, kind));
    const row = { item, panel, opened: null, cells: [], fused: cell("score", "fused"), ...tools };
    row.place = make("span", { class: "place" });
    row.marker = make("span", { class: "marker" });
    row.chance = make("span", { class: "chance" });
    row.scores = make("dl", { class: "scores" }, row.fused.node);
    const what = make(
      "div", { class: "what" }, make("h3", {}, title), make("p", { class: "muted" }, beneath(item, model.columns), row.chance),
    );
    const rank = make("div", { class: "rank" }, row.place, row.marker);
    row.node = make("li", { class: "item" }, rank, what, row.scores, tools.node, panel);
    for (const button of Object.values(row.opens)) {
      button.setAttribute("aria-expanded", "false");
      button.setAttribute("aria-controls", panel.id);
    }
    return row;
  }

  function showScores(row, tasks, lists, scores) {
    if (row.cells.map(({ name }) => name).join() !== tasks.map((task) => task.name).join()) {
      row.cells = tasks.map((task) => cell(task.name, hue(model, task.name)));
      row.scores.replaceChildren(...row.cells.map((shown) => shown.node), row.fused.node);
    }
    tasks.forEach((task, place) => {
      const [label, prediction] = value(task, row.item);
      fill(row.cells[place], label, prediction, scaled(prediction, lists[place]));
    });
    fill(row.fused, "score", row.item.score, scaled(row.item.score, scores));
    const { propensity } = row.item;
    row.chance.textContent = propensity < 0.9995 ? `probability of this position: ${percent(propensity)}` : "";
  }

  async function toggle(row, kind) {
    const opened = row.opened === kind ? null : kind;
    row.opened = opened;
    for (const [name, button] of Object.entries(row.opens)) button.setAttribute("aria-expanded", String(name === opened));
    row.panel.hidden = opened === null;
    if (opened !== null) await read(row);
  }

  async function read(row) {
    const kind = row.opened;
    row.panel.setAttribute("aria-busy", "true");
    if (!row.panel.hasChildNodes()) row.panel.textContent = "Working …";
    const nodes = await open(row.item, kind).catch((error) => [make("p", { class: "error" }, error.message)]);
    if (row.opened !== kind) return;
    row.panel.replaceChildren(...nodes);
    row.panel.removeAttribute("aria-busy");
  }

  /** Reload the open explanations, after the history has changed. */
  const refill = () => [...rows.values()].filter((row) => row.opened === "why").forEach(read);

  function arrange(nodes) {
    [...node.children].filter((child) => !nodes.includes(child)).forEach((child) => child.remove());
    const keep = document.activeElement;
    nodes.forEach((child, place) => {
      if (node.children[place] !== child) node.insertBefore(child, node.children[place] ?? null);
    });
    if (nodes.some((child) => child.contains(keep))) keep.focus({ preventScroll: true });
  }

  function refocus(place, pressed) {
    const row = [...rows.values()][Math.min(place, rows.size - 1)];
    (row?.buttons[Math.max(pressed, 0)] ?? node.closest("section")).focus({ preventScroll: true });
  }

  function animate(tops) {
    if (tops.size === 0 || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const [key, row] of rows) {
      const way = tops.has(key) ? tops.get(key) - row.node.getBoundingClientRect().top : null;
      if (way === null) row.node.animate([{ opacity: 0 }, { opacity: 1 }], MOVE);
      else if (way !== 0) row.node.animate([{ transform: `translateY(${way}px)` }, { transform: "none" }], MOVE);
    }
  }

  return { show, refill, clear: () => show([], null) };
}

/** Make a cell of a row: a label, a number and a bar. */
function cell(name, kind) {
  const label = make("dt", {}, name);
  const text = make("span");
  const track = bar(0, 0);
  return { name, label, number: text, track, node: make("div", { class: `cell ${kind}` }, label, make("dd", {}, text, track)) };
}

function fill(target, label, value, share) {
  target.label.textContent = label;
  target.number.textContent = number(value);
  setBar(target.track, 0, share);
}

/** Return the direction and distance by which an item moved since another list, or null. */
function movement(before, key, place) {
  if (before === null) return null;
  const was = before.indexOf(key);
  if (was < 0) return ["new", 0];
  return was === place ? null : [was > place ? "up" : "down", Math.abs(was - place)];
}

const SIGNS = { up: "▲", down: "▼", new: "new" };

function mark(row, moved) {
  row.marker.className = moved === null ? "marker" : `marker ${moved[0]}`;
  if (moved === null) row.marker.replaceChildren();
  else if (moved[0] === "new") row.marker.replaceChildren(SIGNS.new);
  else {
    const shown = make("span", { "aria-hidden": "true" }, `${SIGNS[moved[0]]} ${moved[1]}`);
    row.marker.replaceChildren(shown, unseen(`${moved[0]} by ${plural(moved[1], "place")}`));
  }
}
