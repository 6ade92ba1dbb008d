// What opens beneath an item: why it stands there, and what is like it.

import { beneath, titleOf } from "./columns.js";
import { bar, make, number, percent, signed } from "./dom.js";
import { hue } from "./tasks.js";

const TINY = 1e-9;

/** Return a chart for each task of an explanation: what each feature adds, from the prediction where nothing is known. */
export function explanation(answer, model) {
  const charts = Object.entries(answer.tasks).map(([name, own]) => chart(name, own, hue(model, taskOf(model, name))));
  const note = "By integrated gradients, before calibration. Each feature's part leads from the prediction where nothing is known to this one.";
  return [make("div", { class: "charts" }, ...charts), make("p", { class: "muted" }, note)];
}

const taskOf = (model, name) => model.tasks.find((task) => name === task.name || name.startsWith(`${task.name}.`))?.name;

function chart(name, { prediction, baseline, contributions, gap }, kind) {
  const parts = Object.entries(contributions).filter(([, added]) => Math.abs(added) > TINY);
  const largest = Math.max(...parts.map(([, added]) => Math.abs(added)), TINY);
  const digits = Math.min(Math.max(2 - Math.floor(Math.log10(largest)), 0), 6);
  const row = ([feature, added]) =>
    make(
      "tr", {}, make("th", { scope: "row" }, feature),
      make("td", { class: "diverging" }, bar(0.5, 0.5 + added / largest / 2, added < 0 ? "less" : "more")),
      make("td", { class: "number" }, signed(added, digits)),
    );
  const silent = Object.keys(contributions).length - parts.length;
  const caption = make("caption", {}, make("b", { class: kind }, name.replace(".", ": ")), ` ${number(prediction)}`);
  const head = make("tr", {}, ...["Feature", "Bar", "Adds"].map((text) => make("th", { scope: "col" }, text)));
  const said = `${number(baseline)} where nothing is known, ${signed(prediction - baseline)} by what is. The parts miss ${percent(gap)} of that.`;
  const rest = silent === 0 ? "" : ` ${silent} more add nothing.`;
  const table = make("table", {}, caption, make("thead", { class: "unseen" }, head), make("tbody", {}, ...parts.map(row)));
  return make("figure", {}, table, make("figcaption", { class: "muted" }, said + rest));
}

/** Return the items like one, the likest first. */
export function likeness(answer, columns) {
  const row = (item) =>
    make(
      "li", {}, make("span", {}, titleOf(item, columns), make("span", { class: "muted" }, ` ${beneath(item, columns)}`)),
      bar(0, Math.max(item.cosine, 0)), make("span", { class: "number" }, number(item.cosine)),
    );
  return [make("ol", { class: "similar", "aria-label": "Similar items" }, ...answer.items.map(row)), make("p", { class: "muted" }, "Cosine of the items' vectors.")];
}
