// The catalogue's columns: which one names an item, and what is said beneath.

import { shorten, told } from "./dom.js";

const NAMES = ["title", "name", "label", "headline"];
const SAID_BENEATH = 3;

/** Return the column that names an item, or null. */
export function titleColumn(columns) {
  const found = NAMES.map((name) => columns.find((own) => own.toLowerCase() === name));
  return found.find((own) => own !== undefined) ?? null;
}

/** Return an item's name, or its key. */
export function titleOf(item, columns) {
  const text = told(item.columns[titleColumn(columns)]);
  return text === "" ? item.item : shorten(text, 120);
}

/** Return what is said beneath a name: some other columns, short. */
export function beneath(item, columns) {
  const title = titleColumn(columns);
  const others = columns.filter((name) => name !== title).map((name) => shorten(told(item.columns[name]), 60));
  return others.filter((text) => text !== "").slice(0, SAID_BENEATH).join(" · ");
}
