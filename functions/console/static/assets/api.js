/* Requests to the public API. */

/** The API's base URL: this file is <base>/assets/api.js. */
const base = new URL("../", import.meta.url);
const TOKEN = "customers-and-orders.token";

/** A failed request, as its problem document (RFC 9457) describes it. */
export class Problem extends Error {
  constructor({ status = 0, title = "No answer", detail = "", errors = [], correlationId, access = null }) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.correlationId = correlationId;
    /** What the API requires before it answers: "token", "signature", or null. */
    this.access = access;
    /** The error of each field: `{"creditLimit.amount": "must be a number"}` */
    this.fields = Object.fromEntries(errors.map(({ field, message }) => [field, message]));
  }
}

/** With `wait`, the API may take so many seconds to answer with a result instead of a state on the way to it. */
export const get = (path, query = {}, wait = 0) => request("GET", path, { query, wait });
export const post = (path, body) => request("POST", path, { body });

/** The bearer token that is sent with each request, or null. Only this tab keeps it. */
export const token = () => sessionStorage.getItem(TOKEN);
export const useToken = (value) => sessionStorage.setItem(TOKEN, value);

/** A shell command that sends a signed request to an API that is protected by IAM. */
export function signedRequest() {
  const region = /\.execute-api\.([^.]+)\./.exec(base.hostname)?.[1] ?? "REGION";
  return `curl "${new URL("customers", base)}" \\
  --aws-sigv4 "aws:amz:${region}:execute-api" \\
  --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \\
  --header "X-Amz-Security-Token: $AWS_SESSION_TOKEN"`;
}

async function request(method, path, { query = {}, body, wait }) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) {
    if (value != null) url.searchParams.set(name, value);
  }
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (wait) headers.Prefer = `wait=${wait}`;
  if (token()) headers.Authorization = `Bearer ${token()}`;
  let response;
  try {
    response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Problem({ detail: "The API cannot be reached." });
  }
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  const { title = response.statusText || `Status ${response.status}`, detail, message, ...rest } = answer ?? {};
  const access = requiredAccess(response, detail ?? message);
  // API Gateway's own errors are {"message": "..."}.
  throw new Problem({ ...rest, status: response.status, title, detail: detail ?? message, access });
}

function requiredAccess(response, detail) {
  // API Gateway's error for an unsigned request to an API that is protected by IAM.
  const error = `${response.headers.get("x-amzn-errortype")} ${detail}`;
  if (/Missing ?Authentication ?Token/i.test(error)) return "signature";
  return response.status === 401 ? "token" : null;
}
