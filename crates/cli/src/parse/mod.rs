//! Values of flags: parsed once, into what the API takes.

pub(crate) mod device;
pub(crate) mod duration;
pub(crate) mod env;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod platform;
pub(crate) mod ports;
pub(crate) mod size;
pub(crate) mod ulimit;
pub(crate) mod volume;

/// Splits `key=value`; without `=` the value is empty.
pub(crate) fn pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}

/// Fields of a comma-separated value, where a field may be quoted as in CSV (`"a,b"`).
pub(crate) fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let field = fields.last_mut().ok_or("no field")?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    if quoted { Err(format!("a quote is not closed in {text:?}")) } else { Ok(fields) }
}

/// A boolean as Go parses it.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid boolean {text:?}: true or false is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields() {
        assert_eq!(csv("a=1,\"b=2,3\",c").unwrap(), ["a=1", "b=2,3", "c"]);
        assert_eq!(csv("\"say \"\"hi\"\"\"").unwrap(), ["say \"hi\""]);
        assert!(csv("\"open").is_err());
    }
}
