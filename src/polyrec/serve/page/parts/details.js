// The panels beneath an item: the explanation of its predictions, and similar items.

import { beneath, titleOf } from "./columns.js";
import { bar, make, number, percent, signed } from "./dom.js";
import { hue } from "./tasks.js";

const TINY = 1e-9;
const METHOD =
  "By integrated gradients, before calibration. " +
  "The contributions add up from the prediction where nothing is known to this one.";

/** Return a chart for each task of an explanation: the contribution of each feature, relative to the baseline prediction. */
export function explanation(answer, model) {
  const charts = Object.entries(answer.tasks).map(([name, task]) => chart(name, task, hue(model, taskOf(model, name))));
  return [make("div", { class: "charts" }, ...charts), make("p", { class: "muted" }, METHOD)];
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
  const title = make("b", { class: kind }, name.replace(".", ": "));
  const caption = make("caption", {}, title, ` ${number(prediction)}`);
  const head = make("tr", {}, ...["Feature", "Bar", "Adds"].map((text) => make("th", { scope: "col" }, text)));
  const known = `${number(baseline)} where nothing is known, ${signed(prediction - baseline)} by what is.`;
  const rest = silent === 0 ? "" : ` ${silent} more add nothing.`;
  const table = make("table", {}, caption, make("thead", { class: "unseen" }, head), make("tbody", {}, ...parts.map(row)));
  const missed = `The contributions miss ${percent(gap)} of that.`;
  return make("figure", {}, table, make("figcaption", { class: "muted" }, `${known} ${missed}${rest}`));
}

/** Return the items similar to one, the most similar first. */
export function likeness(answer, columns) {
  const row = (item) =>
    make(
      "li", {}, make("span", {}, titleOf(item, columns), make("span", { class: "muted" }, ` ${beneath(item, columns)}`)),
      bar(0, Math.max(item.cosine, 0)), make("span", { class: "number" }, number(item.cosine)),
    );
  const list = make("ol", { class: "similar", "aria-label": "Similar items" }, ...answer.items.map(row));
  return [list, make("p", { class: "muted" }, "Cosine of the items' vectors.")];
}
