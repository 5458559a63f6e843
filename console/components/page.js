// The frame of a page: its heading, which receives the focus when the visitor comes, and sections.

import { useEffect, useRef } from "../vendor/hooks.js";
import { serviceName } from "../app/page_settings.js";
import { html } from "../app/html.js";

/** Whether a page was shown before: the first one leaves the focus where the browser puts it. */
let hasNavigated = false;

/** @param {{ title: string, subtitle?: unknown, actions?: unknown, children?: unknown }} props */
export function Page({ title, subtitle, actions, children }) {
  const heading = useRef(/** @type {HTMLHeadingElement | null} */ (null));
  useEffect(() => {
    if (hasNavigated) heading.current?.focus();
    hasNavigated = true;
  }, []);
  useEffect(() => {
    document.title = `${title} · ${serviceName} console`;
  }, [title]);
  return html`
    <header class="page-header">
      <div>
        <h1 tabindex="-1" ref=${heading}>${title}</h1>
        ${subtitle && html`<div class="subtitle">${subtitle}</div>`}
      </div>
      ${actions && html`<div class="actions">${actions}</div>`}
    </header>
    ${children}
  `;
}

/** @param {{ title: string, note?: unknown, actions?: unknown, children?: unknown, className?: string }} props */
export function Section({ title, note, actions, children, className = "" }) {
  return html`<section class=${`section ${className}`}>
    <div class="section-header">
      <h2>${title}</h2>
      ${note && html`<span class="muted">${note}</span>`}
      ${actions && html`<div class="actions">${actions}</div>`}
    </div>
    ${children}
  </section>`;
}
