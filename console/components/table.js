// Tables of data. Narrow screens scroll them sideways, by keyboard too.

import { html } from "../app/html.js";

/**
 * @template T
 * @typedef {object} Column
 * @property {string} title
 * @property {(row: T) => unknown} show
 * @property {string} [className]
 */

/**
 * @template T
 * @param {{ label: string, columns: Column<T>[], rows: T[], rowKey: (row: T) => string | number }} props
 */
export function Table({ label, columns, rows, rowKey }) {
  return html`<div class="table-scroll" role="region" aria-label=${label} tabindex="0">
    <table>
      <thead>
        <tr>${columns.map(({ title, className }) => html`<th scope="col" key=${title} class=${className}>${title}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr key=${rowKey(row)}>
          ${columns.map(({ title, show, className }) => html`<td key=${title} class=${className}>${show(row)}</td>`)}
        </tr>`)}
      </tbody>
    </table>
  </div>`;
}
