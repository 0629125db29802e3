//! Questions about a Dockerfile instead of a build (`docker build --call`).

use crate::attributes::Attributes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use wharf_build::dockerfile::{Dockerfile, Instruction, MountKind, RunMount, Stage};
use wharf_grpc::Status;

/// The answer, as clients read it.
pub(crate) fn answer(
    question: &str,
    file: &Dockerfile,
    attributes: &Attributes,
    text: &str,
) -> Result<BTreeMap<String, Vec<u8>>, Status> {
    match question {
        "frontend.targets" => Ok(targets(file, attributes, text)),
        "frontend.outline" => Ok(outline(file, attributes, text)),
        other => Err(Status::unimplemented(format!(
            "{other} is not supported: frontend.targets and frontend.outline can be asked of a Dockerfile"
        ))),
    }
}

/// The stages that can be built.
fn targets(file: &Dockerfile, attributes: &Attributes, text: &str) -> BTreeMap<String, Vec<u8>> {
    let last = file.stages.len() - 1;
    let mut printed = String::from("TARGET\tBASE\n");
    let targets: Vec<Value> = file
        .stages
        .iter()
        .enumerate()
        .map(|(at, stage)| {
            let name = stage.name.clone().unwrap_or_default();
            // A string takes everything.
            let _ = writeln!(printed, "{name}\t{}", base(stage));
            let location = location(stage.statements[0].line);
            json!({ "name": name, "default": at == last, "base": base(stage), "location": location })
        })
        .collect();
    let list =
        json!({ "targets": targets, "sources": [STANDARD.encode(text)], "filename": attributes.filename });
    answered(&list, printed)
}

fn location(line: usize) -> Value {
    let line = json!({ "line": line });
    json!({ "ranges": [{ "start": line, "end": line }] })
}

fn answered(value: &Value, printed: String) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([
        ("result.json".to_owned(), value.to_string().into_bytes()),
        ("result.txt".to_owned(), printed.into_bytes()),
        ("version".to_owned(), b"1.0.0".to_vec()),
    ])
}

/// What a target can be given: arguments, secrets and agents; and the caches it uses.
fn outline(file: &Dockerfile, attributes: &Attributes, text: &str) -> BTreeMap<String, Vec<u8>> {
    let given = |name: &str| attributes.args.get(name).cloned().flatten();
    let global = |name: &str| given(name).or_else(|| file.globals.iter().find(|(n, _)| n == name)?.1.clone());
    let target = attributes.target(file);
    let name = file.stages[target].name.clone().unwrap_or_default();
    let mut found: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let arg = |name: &str, default: &Option<String>, line: usize| {
        let value = given(name).or_else(|| default.clone()).or_else(|| global(name));
        json!({ "name": name, "value": value.unwrap_or_default(), "location": location(line) })
    };
    for (name, default) in &file.globals {
        found.entry("args").or_default().push(arg(name, default, 1));
    }
    for at in file.needed(target, &global, &|name| attributes.contexts.contains_key(name)) {
        for statement in &file.stages[at].statements {
            match &statement.instruction {
                Instruction::Arg(pairs) => {
                    let args = pairs.iter().map(|(name, default)| arg(name, default, statement.line));
                    found.entry("args").or_default().extend(args);
                }
                Instruction::Run { mounts, .. } => {
                    for mount in mounts.iter().filter_map(|text| RunMount::parse(text, None).ok()) {
                        let (kind, name) = match mount.kind {
                            MountKind::Secret => ("secrets", or(&mount.id, &mount.target)),
                            MountKind::Ssh => ("ssh", or(&mount.id, "default")),
                            MountKind::Cache => ("cache", or(&mount.id, &mount.target)),
                            MountKind::Bind | MountKind::Tmpfs => continue,
                        };
                        let key = if kind == "cache" { "ID" } else { "name" };
                        found.entry(kind).or_default().push(json!({
                            key: name,
                            "required": mount.required,
                            "location": location(statement.line),
                        }));
                    }
                }
                _ => {}
            }
        }
    }
    let printed = format!("TARGET: {name}\n{}\n", serde_json::to_string(&found).unwrap_or_default());
    let mut value = json!({ "name": name, "sources": [STANDARD.encode(text)] });
    for (kind, list) in found {
        value[kind] = Value::from(list);
    }
    answered(&value, printed)
}

fn or<'a>(name: &'a str, other: &'a str) -> &'a str {
    if name.is_empty() { other } else { name }
}

fn base(stage: &Stage) -> &str {
    match &stage.statements[0].instruction {
        Instruction::From { image, .. } => image,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_and_unknown_questions() {
        let text = "FROM a AS one\nFROM one\n";
        let file = Dockerfile::parse(text).unwrap();
        let attributes = Attributes::default();
        let answered = answer("frontend.targets", &file, &attributes, text).unwrap();
        let list: Value = serde_json::from_slice(&answered["result.json"]).unwrap();
        assert_eq!(list["targets"][0]["name"], "one");
        assert_eq!(list["targets"][1]["default"], true);
        assert_eq!(list["targets"][1]["base"], "one");
        let text = "ARG G=1\nFROM a AS one\nARG A\nRUN --mount=type=secret,id=s,required --mount=type=ssh --mount=type=cache,target=/c x\n";
        let file = Dockerfile::parse(text).unwrap();
        let attributes = Attributes { args: [("A".to_owned(), Some("v".to_owned()))].into(), ..attributes };
        let answered = answer("frontend.outline", &file, &attributes, text).unwrap();
        let outline: Value = serde_json::from_slice(&answered["result.json"]).unwrap();
        assert_eq!((&outline["name"], &outline["args"][0]["value"]), (&json!("one"), &json!("1")));
        assert_eq!((&outline["args"][1]["name"], &outline["args"][1]["value"]), (&json!("A"), &json!("v")));
        assert_eq!(
            (&outline["secrets"][0]["name"], &outline["secrets"][0]["required"]),
            (&json!("s"), &json!(true))
        );
        assert_eq!(
            (&outline["ssh"][0]["name"], &outline["cache"][0]["ID"]),
            (&json!("default"), &json!("/c"))
        );
        let refused = answer("frontend.lint", &file, &attributes, text).unwrap_err();
        assert!(refused.message.starts_with("frontend.lint is not supported"));
    }
}
