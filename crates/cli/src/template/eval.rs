//! Nodes over values to text.

use super::functions::{self, is_true, show};
use super::parse::{Node, Operand, Pipeline};
use super::{Methods, TemplateError};
use serde_json::Value;

/// How a list of nodes ended.
#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Run<'a> {
    methods: Methods<'a>,
    variables: Vec<(String, Value)>,
}

/// Runs nodes over a value and appends what they print.
pub(super) fn run(
    nodes: &[Node],
    value: &Value,
    methods: Methods<'_>,
    out: &mut String,
) -> Result<(), TemplateError> {
    // `$` is the value the template began with.
    let mut run = Run { methods, variables: vec![(String::new(), value.clone())] };
    run.list(nodes, value, out).map(|_| ())
}

impl Run<'_> {
    fn list(&mut self, nodes: &[Node], dot: &Value, out: &mut String) -> Result<Flow, TemplateError> {
        let scope = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            flow = self.node(node, dot, out)?;
            if flow != Flow::On {
                break;
            }
        }
        self.variables.truncate(scope.max(1));
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value, out: &mut String) -> Result<Flow, TemplateError> {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Print(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    show(&value, out);
                }
            }
            Node::If { arms, otherwise } => {
                for (condition, body) in arms {
                    if is_true(&self.pipeline(condition, dot)?) {
                        return self.list(body, dot, out);
                    }
                }
                return self.list(otherwise, dot, out);
            }
            Node::With { value, body, otherwise } => {
                let value = self.pipeline(value, dot)?;
                if is_true(&value) {
                    return self.list(body, &value, out);
                }
                return self.list(otherwise, dot, out);
            }
            Node::Range { over, body, otherwise } => return self.range(over, body, otherwise, dot, out),
        }
        Ok(Flow::On)
    }

    fn range(
        &mut self,
        over: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
        out: &mut String,
    ) -> Result<Flow, TemplateError> {
        let value = self.commands(over, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(index, item)| (index.into(), item)).collect()
            }
            Value::Object(map) => map.into_iter().map(|(key, item)| (key.into(), item)).collect(),
            Value::Number(count) => {
                (0..count.as_u64().unwrap_or(0)).map(|index| (index.into(), index.into())).collect()
            }
            Value::Null => Vec::new(),
            other => return Err(TemplateError(format!("range can't iterate over {}", text(&other)))),
        };
        if items.is_empty() {
            return self.list(otherwise, dot, out);
        }
        for (key, item) in items {
            let scope = self.variables.len();
            match over.variables.as_slice() {
                [one] => self.variables.push((one.clone(), item.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
                _ => {}
            }
            let flow = self.list(body, &item, out)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
            match known {
                Some((_, slot)) if pipeline.assigns => *slot = value.clone(),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut last: Option<Value> = None;
        for command in &pipeline.commands {
            last = Some(self.command(command, last.take(), dot)?);
        }
        Ok(last.unwrap_or_default())
    }

    fn command(
        &mut self,
        command: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let Some((first, rest)) = command.split_first() else {
            return Err(TemplateError("missing value for command".into()));
        };
        let mut arguments =
            rest.iter().map(|operand| self.operand(operand, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(piped);
        match first {
            Operand::Function(name) => functions::call(name, &arguments),
            Operand::Fields(base, names) if !arguments.is_empty() => {
                let Some((method, path)) = names.split_last() else {
                    return Err(TemplateError("can't give arguments to non-function".into()));
                };
                let base = self.operand(base, dot)?;
                let base = field(&base, path, self.methods)?;
                (self.methods)(&base, method, &arguments).ok_or_else(|| {
                    TemplateError(format!("{method} has arguments but cannot be invoked as function"))
                })
            }
            operand if arguments.is_empty() => self.operand(operand, dot),
            _ => Err(TemplateError("can't give argument to non-function".into())),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Dot => Ok(dot.clone()),
            Operand::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| TemplateError(format!("undefined variable \"${name}\"")))
            }
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Group(pipeline) => self.pipeline(pipeline, dot),
            Operand::Fields(base, names) => {
                let base = self.operand(base, dot)?;
                field(&base, names, self.methods)
            }
        }
    }
}

/// Docker's templates name fields as its program does, which differs from the wire in capitals: `APIVersion`, `ApiVersion`.
fn spelt_otherwise<'a>(map: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    let begins_as_a_field = name.starts_with(|c: char| c.is_ascii_uppercase());
    let mut found = map.iter().filter(|(key, _)| begins_as_a_field && key.eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value)
}

/// Fields of Docker's that are maps of whatever keys: one that is not there is no mistake, but nothing.
const MAPS: [&str; 17] = [
    "Annotations",
    "Attributes",
    "Containers",
    "Data",
    "DriverOpts",
    "ExposedPorts",
    "Labels",
    "LogOpts",
    "Metadata",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields of Docker's that are not on the wire where they are nothing: `{{if .State.Health}}`.
const LEFT_OUT: [&str; 12] = [
    "GraphDriver",
    "Health",
    "Healthcheck",
    "Init",
    "Manifests",
    "Mounts",
    "Peers",
    "Services",
    "Shell",
    "Status",
    "StopTimeout",
    "UsageData",
];

/// Whether a name that is not there stands for nothing.
fn may_be_missing(names: &[String], index: usize) -> bool {
    let of_map = index > 0 && MAPS.contains(&names[index - 1].as_str());
    let name = names[index].as_str();
    let is_last = index + 1 == names.len();
    // What would be looked up in a map that is left out is not there either.
    of_map || (MAPS.contains(&name) && index > 0) || (is_last && LEFT_OUT.contains(&name))
}

fn field(value: &Value, names: &[String], methods: Methods<'_>) -> Result<Value, TemplateError> {
    let mut current = value;
    for (index, name) in names.iter().enumerate() {
        match current {
            Value::Null if may_be_missing(names, index) => return Ok(Value::Null),
            Value::Object(map) => match map.get(name).or_else(|| spelt_otherwise(map, name)) {
                Some(value) => current = value,
                None => {
                    return match methods(current, name, &[]) {
                        Some(value) => field(&value, &names[index + 1..], methods),
                        None if may_be_missing(names, index) => Ok(Value::Null),
                        None => Err(TemplateError(format!(
                            "executing \"\" at <.{}>: map has no entry for key \"{name}\"",
                            names.join(".")
                        ))),
                    };
                }
            },
            Value::Null => {
                return Err(TemplateError(format!(
                    "executing \"\" at <.{}>: nil data; no entry for key \"{name}\"",
                    names.join(".")
                )));
            }
            other => {
                return Err(TemplateError(format!(
                    "executing \"\" at <.{}>: can't evaluate field {name} in {}",
                    names.join("."),
                    text(other)
                )));
            }
        }
    }
    Ok(current.clone())
}

fn text(value: &Value) -> String {
    let mut out = String::new();
    show(value, &mut out);
    out
}
