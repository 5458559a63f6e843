// Light or dark: that of the system, unless the visitor has chosen. The choice is all that the console stores.

const STORED = "aegis-console-theme";
/** @typedef {"system" | "light" | "dark"} Theme */

/** @returns {Theme} */
export function theme() {
  const stored = localStorage.getItem(STORED);
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** @param {Theme} choice */
export function chooseTheme(choice) {
  if (choice === "system") localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, choice);
  applyTheme();
}

export function applyTheme() {
  const choice = theme();
  if (choice === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", choice);
  dispatchEvent(new Event("themechange"));
}

/**
 * Calls `listener` when colours change.
 * @param {() => void} listener
 */
export function onThemeChange(listener) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  addEventListener("themechange", listener);
  system.addEventListener("change", listener);
  return () => {
    removeEventListener("themechange", listener);
    system.removeEventListener("change", listener);
  };
}
