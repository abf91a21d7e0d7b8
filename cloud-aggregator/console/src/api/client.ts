// Requests to the service. A problem document becomes an error that says what it said.

import type { Page, Problem } from "./types.ts";

export const BASE = "/api/v1";
const TIMEOUT_MS = 20_000;

/** The service answered, and refused. */
export class Refused extends Error {
  readonly problem: Problem;
  constructor(problem: Problem) {
    const expected = problem.expected ? ` Expected ${problem.expected}${problem.found ? `, found ${problem.found}` : ""}.` : "";
    super(`${problem.detail || problem.title}${expected}`);
    this.problem = problem;
  }
}

/** The service did not answer. */
export class Unreachable extends Error {
  constructor(path: string) {
    super(`no answer to ${path}`);
  }
}

export type Parameters = Record<string, string | number | boolean | null | undefined>;

export function url(path: string, parameters: Parameters = {}): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, String(value));
  }
  const text = query.toString();
  return `${BASE}${path}${text ? `?${text}` : ""}`;
}

type Listener = (reached: boolean, serverDate: number | null) => void;
let listener: Listener = () => undefined;

/** Told after each request whether the service answered, and its clock to the second. */
export function onContact(tell: Listener): void {
  listener = tell;
}

async function request<T>(path: string, init: RequestInit, signal?: AbortSignal): Promise<T> {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), TIMEOUT_MS);
  const stop = (): void => timeout.abort();
  signal?.addEventListener("abort", stop);
  let response: Response;
  let text: string;
  try {
    response = await fetch(path, { ...init, signal: timeout.signal, cache: "no-store" });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    listener(false, null);
    throw new Unreachable(path);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
  // A proxy that finds nothing behind it is no answer of the service.
  const gone = response.status === 502 || response.status === 504;
  const date = Date.parse(response.headers.get("date") ?? "");
  listener(!gone, Number.isNaN(date) ? null : date);
  if (gone) throw new Unreachable(path);
  let body: unknown = null;
  try {
    body = text === "" ? null : JSON.parse(text);
  } catch {
    if (response.ok) throw new Refused(problem(response.status, `${path} answered with something other than JSON`));
  }
  if (response.ok) return body as T;
  throw new Refused(isProblem(body) ? body : problem(response.status, `${path}: ${response.status} ${response.statusText}`));
}

function problem(status: number, detail: string): Problem {
  return { type: "about:blank", title: "unexpected answer", status, detail };
}

function isProblem(body: unknown): body is Problem {
  return typeof body === "object" && body !== null && "title" in body;
}

export function get<T>(path: string, parameters: Parameters = {}, signal?: AbortSignal): Promise<T> {
  return request<T>(url(path, parameters), { headers: { accept: "application/json" } }, signal);
}

export function post<T>(path: string, body: unknown): Promise<T> {
  const headers = { accept: "application/json", "content-type": "application/json" };
  return request<T>(url(path), { method: "POST", headers, body: JSON.stringify(body) });
}

/** All pages of a list, at most `most` items. */
export async function all<T>(path: string, parameters: Parameters, most: number, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const page: Page<T> = await get<Page<T>>(path, { ...parameters, limit: Math.min(1000, most), cursor }, signal);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor !== null && items.length < most);
  return items;
}
