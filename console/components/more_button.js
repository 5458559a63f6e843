// Loads the next page of a list.

import { useState } from "../vendor/hooks.js";
import { html } from "../app/html.js";

/** @param {{ load: () => Promise<void> }} props */
export function MoreButton({ load }) {
  const [state, setState] = useState("");
  const click = () => {
    setState("Loading…");
    load().then(() => setState(""), (error) => setState(`${error.message} Try again`));
  };
  return html`<p class="more"><button type="button" class="button" onClick=${click} disabled=${state === "Loading…"}>${state || "Show more"}</button></p>`;
}
