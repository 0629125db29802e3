//! Questions about a Dockerfile instead of a build (`docker build --call`).

use crate::attributes::Attributes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use wharf_build::dockerfile::{Dockerfile, Instruction, Stage};
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
        other => Err(Status::unimplemented(format!(
            "{other} is not supported: frontend.targets is what can be asked of a Dockerfile"
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
            let line = json!({ "line": stage.statements[0].line });
            json!({
                "name": name,
                "default": at == last,
                "base": base(stage),
                "location": { "ranges": [{ "start": line, "end": line }] },
            })
        })
        .collect();
    let source = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let list = json!({ "targets": targets, "sources": [source], "filename": attributes.filename });
    BTreeMap::from([
        ("result.json".to_owned(), list.to_string().into_bytes()),
        ("result.txt".to_owned(), printed.into_bytes()),
        ("version".to_owned(), b"1.0.0".to_vec()),
    ])
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
        let refused = answer("frontend.lint", &file, &attributes, text).unwrap_err();
        assert!(refused.message.starts_with("frontend.lint is not supported"));
    }
}
