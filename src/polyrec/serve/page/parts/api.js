// The server's API. An error carries the server's message. An API key, if required, is kept in sessionStorage only.

import { byId } from "./dom.js";

const KEY = "polyrec.key";
const TRIES = 4;
const PAUSE = 1000;
let asking = null;

/**
 * Send a request and return the answer: JSON as a value, anything else as text. If the server is busy, the request is repeated,
 * which is safe because events have ids. `quiet` suppresses the dialog for a key.
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
    return `The server answered ${response.status} without a reason.`;
  }
}

/** Open the dialog for a key, once for all concurrent requests; the promise resolves to whether a key was given. */
function askForKey(sentence) {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key");
    const input = byId("key-value");
    byId("key-why").textContent = sentence;
    byId("key-cancel").onclick = () => dialog.close("");
    dialog.returnValue = "";
    dialog.onclose = () => {
      const isGiven = dialog.returnValue === "use";
      if (isGiven) sessionStorage.setItem(KEY, input.value.trim());
      input.value = "";
      asking = null;
      resolve(isGiven);
    };
    dialog.showModal();
  });
  return asking;
}
