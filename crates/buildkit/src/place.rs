//! Where in the Dockerfile a failure is, for clients that show the lines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use wharf_grpc::Status;
use wharf_grpc::proto::ops::Any;

/// What BuildKit calls the detail that says it.
const KIND: &str = "github.com/moby/buildkit/errdefs.Source+json";

/// Adds the lines of the instruction that begins at `line`, counted from 1.
pub(crate) fn at(mut status: Status, filename: &str, text: &str, line: usize) -> Status {
    if line == 0 {
        return status;
    }
    let end = last_line(text, line);
    let position = |line: usize| json!({ "line": line });
    let source = json!({
        "info": {
            "filename": filename,
            "data": STANDARD.encode(text),
            "language": "Dockerfile",
        },
        "ranges": [{ "start": position(line), "end": position(end) }],
    });
    status.details.push(Any { type_url: KIND.to_owned(), value: source.to_string().into_bytes() });
    status
}

/// An instruction goes on where a line ends with a backslash.
fn last_line(text: &str, line: usize) -> usize {
    let goes_on = |text: &&str| text.trim_end().ends_with('\\') || text.trim_start().starts_with('#');
    line + text.lines().skip(line - 1).take_while(goes_on).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_instruction() {
        let text = "FROM a\nRUN one \\\n  # why\n  two\nRUN x\n";
        assert_eq!((last_line(text, 1), last_line(text, 2), last_line(text, 5)), (1, 4, 5));
        let status = at(Status::invalid("why"), "Dockerfile", text, 2);
        let shown = String::from_utf8(status.details[0].value.clone()).unwrap();
        assert!(shown.contains(r#""ranges":[{"end":{"line":4},"start":{"line":2}}]"#), "{shown}");
        assert!(at(Status::invalid("why"), "Dockerfile", text, 0).details.is_empty());
    }
}
