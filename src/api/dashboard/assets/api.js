// HTTP requests to the daemon that served this page.

import { h } from "./dom.js";
import { sessionHeaders } from "./session.js";

/** Time after which the memory of a downloaded file is released. */
const DOWNLOAD_MS = 60_000;

/** An error response: its status, and `code` and `hint` of the problem document. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `unexpected HTTP status ${status}`);
    this.status = status;
    this.code = problem?.code;
    this.hint = problem?.hint;
  }
}

/** Returns a URL with query parameters; parameters without a value are omitted, arrays are repeated. */
export function buildUrl(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) if (one) query.append(name, one);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/**
 * Sends a request with the key of the session and returns the response; throws an `ApiError` unless the
 * status is 2xx. After a 401 the page gets the event `session-ended`.
 */
export async function request(path, parameters, options = {}) {
  const response = await fetch(buildUrl(path, parameters), {
    ...options,
    headers: { Accept: "application/json", ...sessionHeaders(), ...options.headers },
  });
  if (response.ok) return response;
  if (response.status === 401) dispatchEvent(new Event("session-ended"));
  let problem = null;
  try {
    problem = await response.json();
  } catch {
    // The status is enough.
  }
  throw new ApiError(response.status, problem);
}

/** As `request`, but returns the parsed JSON body. */
export async function requestJson(path, parameters, options) {
  const response = await request(path, parameters, options);
  const text = await response.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    throw new ApiError(response.status, { detail: "cannot parse the response as JSON" });
  }
}

/** Downloads a response as a file. A link could not send the key of the session. */
export async function download(name, path, parameters) {
  const response = await request(path, parameters);
  const href = URL.createObjectURL(await response.blob());
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), DOWNLOAD_MS);
}

/** Returns the query parameters that select a feature. */
export function featureParameters({ feature, project }) {
  return { feature, project };
}
