// Light or dark: the system's preference, until somebody chooses.

import { signal } from "@preact/signals";

export type Theme = "light" | "dark";
const prefers = matchMedia("(prefers-color-scheme: dark)");

function current(): Theme {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === "light" || chosen === "dark" ? chosen : prefers.matches ? "dark" : "light";
}

export const theme = signal<Theme>(current());

prefers.addEventListener("change", () => {
  theme.value = current();
});

export function toggleTheme(): void {
  const next: Theme = theme.value === "dark" ? "light" : "dark";
  document.documentElement.dataset["theme"] = next;
  theme.value = next;
  remember("theme", next);
}

/** Small choices that outlive the tab; without storage they live as long as the tab. */
export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Private mode or no quota: nothing else depends on it.
  }
}

export function recall(name: string): string | null {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}
