// HTTP requests to the daemon that served this page.

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

/** Sends a request and returns the parsed JSON body; throws an `ApiError` unless the status is 2xx. */
export async function requestJson(path, parameters, options = {}) {
  const response = await fetch(buildUrl(path, parameters), {
    ...options,
    headers: { Accept: "application/json", ...options.headers },
  });
  const text = await response.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) throw new ApiError(response.status, { detail: "cannot parse the response as JSON" });
  }
  if (!response.ok) throw new ApiError(response.status, body);
  return body;
}

/** Returns the query parameters that select a feature. */
export function featureParameters({ feature, project }) {
  return { feature, project };
}
