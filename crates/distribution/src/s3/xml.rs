//! Just enough XML for a store's answers: elements by name, without attributes that matter.

/// The contents of all elements of a name, in order. None of these elements is in one of its own name.
pub(super) fn all<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(&begin)?;
        let (content, after) = after.split_once(&end)?;
        rest = after;
        Some(content)
    })
}

/// The content of the first element of a name.
pub(super) fn first<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    all(text, name).next()
}

/// Text as it is meant.
pub(super) fn text(escaped: &str) -> String {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((before, after)) = rest.split_once('&') {
        text.push_str(before);
        let Some((name, after)) = after.split_once(';') else {
            rest = after;
            continue;
        };
        match name {
            "amp" => text.push('&'),
            "lt" => text.push('<'),
            "gt" => text.push('>'),
            "quot" => text.push('"'),
            "apos" => text.push('\''),
            number => {
                let digits = number.strip_prefix('#').unwrap_or_default();
                let code = match digits.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => digits.parse().ok(),
                };
                text.extend(code.and_then(char::from_u32));
            }
        }
        rest = after;
    }
    text + rest
}

/// Text as it is written.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_text() {
        let answer = "<a><K><Key>x&amp;y</Key></K><K><Key>z&#x41;&#65;</Key></K><Key/></a>";
        let keys: Vec<String> = all(answer, "K").filter_map(|k| first(k, "Key")).map(text).collect();
        assert_eq!(keys, ["x&y", "zAA"]);
        assert_eq!(text(&escaped("<\"&>")), "<\"&>");
        assert_eq!((first("<a>", "a"), text("a & b")), (None, "a  b".to_owned()));
    }
}
