// Which page is shown. Links are ordinary links; those within the console do not reload it.

import { signal } from "@preact/signals";

export interface Route {
  path: string;
  query: URLSearchParams;
}

function read(): Route {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}

export const route = signal<Route>(read());

export function navigate(href: string, replace = false): void {
  if (href === location.pathname + location.search) return;
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  route.value = read();
}

/** Changes the query of this page. */
export function setQuery(query: URLSearchParams, replace = false): void {
  const text = query.toString();
  navigate(route.value.path + (text ? `?${text}` : ""), replace);
}

export function listen(): void {
  addEventListener("popstate", () => {
    route.value = read();
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.("a");
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (link.pathname.startsWith("/api/") || link.hash) return;
    event.preventDefault();
    navigate(link.pathname + link.search);
  });
}

export function turbineHref(id: string, query = ""): string {
  return `/turbine/${encodeURIComponent(id)}${query}`;
}

export function proofHref(id: string, query = ""): string {
  return `/proof/${encodeURIComponent(id)}${query}`;
}
