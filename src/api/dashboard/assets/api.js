// Requests to the daemon that this page came from.

/** What the daemon said when it refused. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the daemon answered ${status}`);
    this.status = status;
    this.code = problem?.code;
    this.hint = problem?.hint;
  }
}

/** An address with parameters; those without a value are left out. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) if (one) query.append(name, one);
  }
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** Asks for JSON. */
export async function ask(path, parameters, options = {}) {
  const response = await fetch(address(path, parameters), {
    ...options,
    headers: { Accept: "application/json", ...options.headers },
  });
  const text = await response.text();
  let body = null;
  try {
    body = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) throw new Refused(response.status, { detail: "the answer is no JSON" });
  }
  if (!response.ok) throw new Refused(response.status, body);
  return body;
}

/** Parameters that mean a feature. */
export function meaning(of) {
  return { feature: of.feature, project: of.project };
}
