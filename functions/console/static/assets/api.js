/* The public API, as any client uses it. */

/** Where the API is: this file comes from <base>/assets/. */
const base = new URL("../", import.meta.url);
const TOKEN = "customers-and-orders.token";

/** An answer that is no success, as a problem document (RFC 9457) tells of it. */
export class Problem extends Error {
  constructor({ status = 0, title = "No answer", detail = "", errors = [], correlationId }) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.correlationId = correlationId;
    /** What is wrong with each field: `{"creditLimit.amount": "must be a number"}` */
    this.fields = Object.fromEntries(errors.map(({ field, message }) => [field, message]));
  }
}

export const get = (path, query = {}) => request("GET", path, { query });
export const post = (path, body) => request("POST", path, { body });

/** The token is sent with every request from now on, for as long as the tab is there. */
export function useToken(token) {
  if (token) sessionStorage.setItem(TOKEN, token);
  else sessionStorage.removeItem(TOKEN);
}

async function request(method, path, { query = {}, body }) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query)) {
    if (value != null) url.searchParams.set(name, value);
  }
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(url, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Problem({ detail: "The API cannot be reached." });
  }
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401) dispatchEvent(new Event("unauthenticated"));
  const { title = response.statusText || `Status ${response.status}`, detail, message, ...rest } = answer ?? {};
  // API Gateway's own refusals are {"message": "..."}.
  throw new Problem({ ...rest, status: response.status, title, detail: detail ?? message });
}
