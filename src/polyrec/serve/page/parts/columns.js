// The catalogue's columns: the one that names an item, and those shown beneath.

import { shorten, textOf } from "./dom.js";

const NAMES = ["title", "name", "label", "headline"];
const MOST_BENEATH = 3;

/** Return the column that names an item, or null. */
export function titleColumn(columns) {
  const matches = NAMES.map((name) => columns.find((column) => column.toLowerCase() === name));
  return matches.find((column) => column !== undefined) ?? null;
}

/** Return an item's name, or its key. */
export function titleOf(item, columns) {
  const text = textOf(item.columns[titleColumn(columns)]);
  return text === "" ? item.item : shorten(text, 120);
}

/** Return the text beneath a name: some other columns, shortened. */
export function beneath(item, columns) {
  const title = titleColumn(columns);
  const others = columns.filter((name) => name !== title).map((name) => shorten(textOf(item.columns[name]), 60));
  return others.filter((text) => text !== "").slice(0, MOST_BENEATH).join(" · ");
}
