// The server's API. An error carries the server's own sentence. A key, where one is wanted, lives in sessionStorage alone.

import { byId } from "./dom.js";

const KEY = "polyrec.key";
const TRIES = 4;
const PAUSE = 1000;
let asking = null;

/**
 * Ask the server and return its answer: JSON as a value, all else as text. A server that is too busy is asked again; nothing
 * happens twice, for events have ids. `quiet` asks nobody for a key.
 */
export async function ask(method, path, body, { signal, quiet = false } = {}) {
  for (let tries = 1; ; tries += 1) {
    const response = await send(method, path, body, signal);
    if (response.ok) return answered(response);
    const sentence = await refusal(response);
    if (response.status === 401 && !quiet && (await askForKey(sentence))) continue;
    if (response.status === 503 && tries < TRIES) {
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
      continue;
    }
    throw Object.assign(new Error(sentence), { status: response.status });
  }
}

async function send(method, path, body, signal) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key !== null) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  try {
    return await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is it running?");
  }
}

const answered = (response) =>
  response.headers.get("content-type").startsWith("application/json") ? response.json() : response.text();

async function refusal(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The server answered ${response.status} and did not say why.`;
  }
}

/** Open the dialog that asks for a key, once however many requests want one; the promise says whether one was given. */
function askForKey(sentence) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key");
    const input = byId("key-value");
    byId("key-why").textContent = sentence;
    byId("key-cancel").onclick = () => dialog.close("");
    dialog.returnValue = "";
    dialog.onclose = () => {
      const given = dialog.returnValue === "use";
      if (given) sessionStorage.setItem(KEY, input.value.trim());
      input.value = "";
      asking = null;
      resolve(given);
    };
    dialog.showModal();
  });
  return asking;
}
