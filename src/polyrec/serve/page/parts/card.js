// The model card: its subset of Markdown (headings, paragraphs, tables, code) as nodes.

import { make } from "./dom.js";

/** Return the nodes of a text in Markdown. */
export function render(text) {
  const blocks = text.split(/\n{2,}/).map((block) => block.trim()).filter((block) => block !== "");
  return blocks.map((block) => {
    const heading = /^(#{1,3}) (.*)$/.exec(block);
    if (heading !== null) return make(heading[1].length === 1 ? "h3" : "h4", {}, ...inline(heading[2]));
    return block.startsWith("|") ? table(block.split("\n")) : make("p", {}, ...inline(block));
  });
}

function table(lines) {
  const [head, ...rows] = lines.filter((line) => !/^[|\s:-]+$/.test(line)).map(cells);
  const row = (texts, tag, more) => make("tr", {}, ...texts.map((text) => make(tag, more, ...inline(text))));
  const body = rows.map((texts) => row(texts, "td", {}));
  const content = make("table", {}, make("thead", {}, row(head, "th", { scope: "col" })), make("tbody", {}, ...body));
  return make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": "Table" }, content);
}

/** Return the cells of a line; `\|` is a bar within a cell. */
const cells = (line) => line.slice(1, -1).split(/(?<!\\)\|/).map((text) => text.replaceAll("\\|", "|").trim());

const inline = (text) => text.split("`").map((part, place) => (place % 2 === 1 ? make("code", {}, part) : part));
