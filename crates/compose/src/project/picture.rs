//! A picture of a project: services in columns, each right of what it needs, with their images, ports and networks.

use super::{Project, Service};
use crate::plan::order;
use std::collections::BTreeMap;
use std::fmt::Write;

const WIDTH: usize = 200;
const LINE: usize = 16;
const GAP_X: usize = 70;
const GAP_Y: usize = 24;
const MARGIN: usize = 24;
/// One colour for each network, in turn.
const COLOURS: [&str; 8] =
    ["#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#ff9da6", "#9d755d"];

/// The lines below a service's name.
fn lines(service: &Service) -> Vec<String> {
    let mut lines = vec![service.image.clone()];
    for port in &service.ports {
        let published = if port.published.is_empty() { "any" } else { &port.published };
        lines.push(format!("{published} → {}/{}", port.target, port.protocol));
    }
    for volume in service.volumes.iter().filter(|volume| !volume.source.is_empty()) {
        lines.push(format!("{} : {}", volume.source.rsplit('/').next().unwrap_or_default(), volume.target));
    }
    if service.replicas() != 1 {
        lines.push(format!("× {}", service.replicas()));
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        text.to_owned()
    } else {
        text.chars().take(most - 1).chain(['…']).collect()
    }
}

struct Place {
    x: usize,
    y: usize,
    height: usize,
}

/// As an SVG document; services are told apart by their `image`, also those that are built.
pub fn svg(project: &Project) -> String {
    let levels = order::levels(project);
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    let mut bottom = 0;
    for (column, level) in levels.iter().enumerate() {
        let mut y = MARGIN + 2 * LINE;
        for name in level {
            let height = 2 * LINE + LINE * lines(&project.services[*name]).len();
            places.insert(name, Place { x: MARGIN + column * (WIDTH + GAP_X), y, height });
            y += height + GAP_Y;
        }
        bottom = bottom.max(y);
    }
    let colour: BTreeMap<&str, &str> =
        project.networks.keys().map(String::as_str).zip(COLOURS.iter().copied().cycle()).collect();
    let width = 2 * MARGIN + levels.len().max(1) * (WIDTH + GAP_X) - GAP_X;
    let height = bottom + LINE * (colour.len() + 1);
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"{MARGIN}\" font-size=\"16\" font-weight=\"bold\">{}</text>\n\
         <defs><marker id=\"to\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\">\
         <path d=\"M0 0 8 4 0 8z\" fill=\"#555\"/></marker></defs>\n",
        escaped(&project.name)
    );
    for (name, service) in &project.services {
        let from = &places[name.as_str()];
        for (needed, how) in &service.depends_on {
            let Some(to) = places.get(needed.as_str()) else { continue };
            let (x1, y1, x2, y2) = (from.x, from.y + from.height / 2, to.x + WIDTH, to.y + to.height / 2);
            let bend = GAP_X / 2;
            let dashes = if how.required.0 { "" } else { " stroke-dasharray=\"4 3\"" };
            let _ = writeln!(
                out,
                "<path d=\"M{x1} {y1} C{} {y1} {} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#555\" marker-end=\"url(#to)\"{dashes}>\
                 <title>{} needs {}: {}</title></path>",
                x1.saturating_sub(bend),
                x2 + bend,
                escaped(name),
                escaped(needed),
                escaped(&how.condition)
            );
        }
    }
    for (name, service) in &project.services {
        boxed(&mut out, name, service, &places[name.as_str()], &colour);
    }
    for (index, (network, colour)) in colour.iter().enumerate() {
        let y = bottom + LINE * index;
        let _ = writeln!(
            out,
            "<rect x=\"{MARGIN}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"{y}\">{}</text>",
            y.saturating_sub(9),
            MARGIN + 16,
            escaped(network)
        );
    }
    out + "</svg>\n"
}

fn boxed(out: &mut String, name: &str, service: &Service, place: &Place, colour: &BTreeMap<&str, &str>) {
    let Place { x, y, height } = place;
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"#f4f6f8\" stroke=\"#889\"/>\
         <text x=\"{}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        x + 10,
        y + LINE + 2,
        escaped(&cut(name, 26))
    );
    for (index, line) in lines(service).iter().enumerate() {
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" fill=\"#445\">{}</text>",
            x + 10,
            y + LINE * (index + 2) + 4,
            escaped(&cut(line, 30))
        );
    }
    for (index, network) in service.networks.keys().enumerate() {
        let fill = colour.get(network.as_str()).copied().unwrap_or("#999");
        let _ = writeln!(
            out,
            "<rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{fill}\"><title>{}</title></rect>",
            x + WIDTH - 16 - index * 14,
            y + 8,
            escaped(network)
        );
    }
}

/// As a graph for Graphviz.
pub fn dot(project: &Project) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = format!("digraph {} {{\n  layout=dot;\n  node [shape=box];\n", quoted(&project.name));
    for (name, service) in &project.services {
        let label = std::iter::once(name.clone()).chain(lines(service)).collect::<Vec<_>>().join("\n");
        let _ = writeln!(out, "  {} [label={}];", quoted(name), quoted(&label).replace('\n', "\\n"));
        for needed in service.depends_on.keys() {
            let _ = writeln!(out, "  {} -> {};", quoted(name), quoted(needed));
        }
    }
    out + "}\n"
}
