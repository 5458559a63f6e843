// Small charts of values a day, drawn by uPlot in the colours of the page. The same numbers are in a table for those
// who do not see the drawing.

import { useEffect, useRef } from "../vendor/hooks.js";
import uPlot from "../vendor/uplot.js";
import { html } from "../app/html.js";
import { onThemeChange } from "../app/theme.js";
import { formatDay } from "./time.js";
import { formatNumber } from "./values.js";

const HEIGHT = 132;

/**
 * The colour of a custom property as the canvas understands it.
 * @param {HTMLElement} element
 * @param {string} property
 */
function colour(element, property) {
  element.style.color = `var(${property})`;
  const computed = getComputedStyle(element).color;
  element.style.color = "";
  return computed;
}

/**
 * @param {HTMLElement} element
 * @param {number[]} times
 * @param {number[]} values
 * @param {"bars" | "line"} kind
 * @param {string} property
 */
function draw(element, times, values, kind, property) {
  const [stroke, fill, grid, text] = [property, `${property}-soft`, "--border", "--text-muted"].map((name) => colour(element, name));
  const font = `11px ${getComputedStyle(element).fontFamily}`;
  const top = roundUp(Math.max(2, ...values));
  const bars = uPlot.paths.bars?.({ size: [0.62, 18] });
  /** @type {any} */
  const axis = { stroke: text, font, grid: { show: false }, ticks: { show: false } };
  return new uPlot(
    {
      width: element.clientWidth,
      height: HEIGHT,
      padding: [8, 16, 0, 0],
      cursor: { show: false },
      legend: { show: false },
      scales: { x: { time: true, range: (_, from, to) => [from - 43_200, to + 43_200] }, y: { range: [0, top] } },
      axes: [
        { ...axis, size: 26, gap: 9, space: 64, values: (_, ticks) => ticks.map((tick) => label(tick)) },
        {
          ...axis, size: 52, gap: 6, grid: { show: true, stroke: grid, width: 1 }, splits: () => [0, top / 2, top],
          values: (_, ticks) => ticks.map((tick) => formatNumber(tick)),
        },
      ],
      series: [
        {},
        kind === "bars"
          ? { stroke: stroke ?? "", fill: stroke ?? "", width: 0, points: { show: false }, ...(bars ? { paths: bars } : {}) }
          : { stroke: stroke ?? "", fill: fill ?? "", width: 1.5, points: { show: false } },
      ],
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    },
    [times, values],
    element,
  );
}

/**
 * The next even number of which few digits are not zero.
 * @param {number} value
 */
function roundUp(value) {
  const unit = 10 ** Math.floor(Math.log10(value));
  const steps = unit > 1 ? [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10] : [2, 4, 6, 8, 10];
  const step = steps.find((factor) => factor * unit >= value) ?? 10;
  return step * unit;
}

/** @param {number} seconds */
function label(seconds) {
  return new Date(seconds * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
}

/**
 * @param {{ title: string, summary: string, days: string[], values: number[], kind?: "bars" | "line", colour?: string }} props
 */
export function DayChart({ title, summary, days, values, kind = "bars", colour: property = "--accent" }) {
  const holder = useRef(/** @type {HTMLDivElement | null} */ (null));
  const key = `${days.join()}${values.join()}`;
  useEffect(() => {
    const element = holder.current;
    if (!element) return undefined;
    const times = days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
    let plot = draw(element, times, values, kind, property);
    const redraw = () => {
      plot.destroy();
      plot = draw(element, times, values, kind, property);
    };
    const size = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
    size.observe(element);
    const forget = onThemeChange(redraw);
    return () => {
      forget();
      size.disconnect();
      plot.destroy();
    };
  }, [key, kind, property]);
  return html`<figure class="card chart">
    <figcaption><span class="chart-title">${title}</span><span class="chart-summary">${summary}</span></figcaption>
    <div ref=${holder} class="plot" aria-hidden="true"></div>
    <div class="visually-hidden"><table>
      <caption>${title}</caption>
      <thead><tr><th scope="col">Day (UTC)</th><th scope="col">${title}</th></tr></thead>
      <tbody>${days.map((day, index) => html`<tr key=${day}><td>${formatDay(day)}</td><td>${values[index]}</td></tr>`)}</tbody>
    </table></div>
  </figure>`;
}
