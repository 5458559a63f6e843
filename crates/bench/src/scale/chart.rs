//! The curves as SVG: a panel for each metric, a line for each store. Text stays text, and colours follow the scheme of
//! the reader; lines differ in their marks too.

use std::fmt::Write as _;

use super::metric::{METRICS, Metric, number};
use super::panel::{HEIGHT, Panel, WIDTH};
use super::point::Point;
use crate::scratch::StoreKind;

const COLUMNS: usize = 2;
/// Around the plotted area of a panel: labels of values on the left, title on top, labels of users below.
const LEFT: f64 = 70.0;
const TOP: f64 = 44.0;
const PANEL_WIDTH: f64 = LEFT + WIDTH + 40.0;
const PANEL_HEIGHT: f64 = TOP + HEIGHT + 56.0;
const LEGEND_HEIGHT: f64 = 36.0;

const STYLE: &str = "
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px }
.axis { stroke: #57606a; fill: none }
.grid { stroke: #d0d7de; fill: none }
.sqlite { stroke: #0550ae; fill: #0550ae }
.mongodb { stroke: #bc4c00; fill: #bc4c00 }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .axis { stroke: #9198a1 }
  .grid { stroke: #30363d }
  .sqlite { stroke: #58a6ff; fill: #58a6ff }
  .mongodb { stroke: #f0883e; fill: #f0883e }
  .line { fill: none }
}
";

/// The name of a store for readers.
pub(super) fn store_name(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Sqlite => "embedded",
        StoreKind::Mongodb => "MongoDB",
    }
}

pub(super) fn svg(points: &[Point]) -> Result<String, std::fmt::Error> {
    let (columns, rows) = (as_f64(COLUMNS), as_f64(METRICS.len().div_ceil(COLUMNS)));
    let (width, height) = (columns * PANEL_WIDTH, LEGEND_HEIGHT + rows * PANEL_HEIGHT);
    let mut svg = String::new();
    writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">"#
    )?;
    writeln!(svg, "<title>Figures of the service by number of users</title>\n<style>{STYLE}</style>")?;
    for (index, store) in StoreKind::ALL.iter().enumerate() {
        let x = LEFT + as_f64(index) * 130.0;
        let line = r#"class="line" d="M0 18h28""#;
        writeln!(svg, r#"<g class="{}" transform="translate({x} 0)"><path {line}/>"#, store.as_str())?;
        mark(&mut svg, *store, 14.0, 18.0)?;
        writeln!(svg, r#"</g><text x="{}" y="22">{}</text>"#, x + 36.0, store_name(*store))?;
    }
    for (index, metric) in METRICS.iter().enumerate() {
        let x = as_f64(index % COLUMNS) * PANEL_WIDTH + LEFT;
        let y = LEGEND_HEIGHT + as_f64(index / COLUMNS) * PANEL_HEIGHT + TOP;
        writeln!(svg, r#"<g transform="translate({x} {y})">"#)?;
        panel(&mut svg, metric, points)?;
        writeln!(svg, "</g>")?;
    }
    writeln!(svg, "</svg>")?;
    Ok(svg)
}

fn panel(svg: &mut String, metric: &Metric, points: &[Point]) -> std::fmt::Result {
    let users = points.iter().map(Point::users_as_f64);
    let panel = Panel::of(users, points.iter().map(|point| (metric.value)(&point.figures)));
    writeln!(svg, r#"<text class="title" x="0" y="-16">{}, {}</text>"#, metric.title, metric.unit)?;
    for value in panel.ticks() {
        let (y, label) = (panel.y(value), number(value));
        writeln!(svg, r#"<path class="grid" d="M0 {y:.1}h{WIDTH}"/>"#)?;
        writeln!(svg, r#"<text x="-8" y="{:.1}" text-anchor="end">{label}</text>"#, y + 4.0)?;
    }
    for power in panel.powers() {
        let (x, label) = (panel.x(power), number(power));
        writeln!(svg, r#"<path class="axis" d="M{x:.1} {HEIGHT}v5"/>"#)?;
        writeln!(svg, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{label}</text>"#, HEIGHT + 20.0)?;
    }
    writeln!(svg, r#"<path class="axis" d="M0 0v{HEIGHT}h{WIDTH}"/>"#)?;
    let (middle, below) = (WIDTH / 2.0, HEIGHT + 38.0);
    writeln!(svg, r#"<text x="{middle}" y="{below}" text-anchor="middle">users</text>"#)?;
    for store in StoreKind::ALL {
        curve(svg, *store, &panel, metric, points)?;
    }
    Ok(())
}

fn curve(
    svg: &mut String,
    store: StoreKind,
    panel: &Panel,
    metric: &Metric,
    points: &[Point],
) -> std::fmt::Result {
    let of_store = points.iter().filter(|point| point.store == store);
    let at: Vec<_> = of_store
        .map(|point| (panel.x(point.users_as_f64()), panel.y((metric.value)(&point.figures))))
        .collect();
    if at.is_empty() {
        return Ok(());
    }
    writeln!(svg, r#"<g class="{}">"#, store.as_str())?;
    let line: Vec<_> = at.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
    writeln!(svg, r#"<path class="line" d="M{}"/>"#, line.join("L"))?;
    for (x, y) in at {
        mark(svg, store, x, y)?;
    }
    writeln!(svg, "</g>")
}

/// A circle or a square.
fn mark(svg: &mut String, store: StoreKind, x: f64, y: f64) -> std::fmt::Result {
    match store {
        StoreKind::Sqlite => writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="4"/>"#),
        StoreKind::Mongodb => {
            writeln!(svg, r#"<rect x="{:.1}" y="{:.1}" width="8" height="8"/>"#, x - 4.0, y - 4.0)
        }
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
