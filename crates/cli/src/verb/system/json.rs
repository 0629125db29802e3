//! JSON as the engine wrote it, indented.

/// Indents JSON and keeps the order of its keys. The text must be valid.
pub(super) fn indent(text: &str, depth: usize) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = depth;
    let mut in_string = false;
    let mut escaped = false;
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    while let Some(c) = chars.next() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|next| next.is_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_strings_are_kept() {
        let text = r#"{"b":1,"a":[],"c":{ },"d":["x:,{}\"",{"e":null}]}"#;
        let expected = "{\n    \"b\": 1,\n    \"a\": [],\n    \"c\": {},\n    \"d\": [\n        \"x:,{}\\\"\",\n        {\n            \"e\": null\n        }\n    ]\n}";
        assert_eq!(indent(text, 0), expected);
    }
}
