//! Query parameters.

use std::collections::BTreeMap;
use std::fmt;

/// Parameters of a call, in the order they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// No parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.push((name.to_owned(), value.to_string()));
        self
    }

    /// Adds a parameter that has a value.
    pub fn maybe(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds `name=1` when true.
    pub fn flag(self, name: &str, on: bool) -> Self {
        if on { self.with(name, 1) } else { self }
    }

    /// Adds `filters`, given as `key=value`, as JSON; nothing for none.
    pub fn filters<'a>(self, filters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut by_key: BTreeMap<&str, BTreeMap<&str, bool>> = BTreeMap::new();
        for (key, value) in filters {
            by_key.entry(key).or_default().insert(value, true);
        }
        if by_key.is_empty() {
            return self;
        }
        // Maps of strings always encode.
        self.with("filters", serde_json::json!(by_key))
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}=", if index == 0 { '?' } else { '&' })?;
            encode(f, value)?;
        }
        Ok(())
    }
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    // Writing to a string does not fail.
    let _ = encode(&mut text, name);
    text
}

fn encode(f: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let query = Query::new().with("t", "a/b:c d").flag("q", true).flag("x", false).maybe("n", Some(5));
        assert_eq!(query.to_string(), "?t=a%2Fb%3Ac%20d&q=1&n=5");
        assert_eq!(Query::new().to_string(), "");
        let filters = Query::new().filters([("label", "a=b"), ("label", "c"), ("status", "exited")]);
        assert_eq!(
            filters.to_string(),
            "?filters=%7B%22label%22%3A%7B%22a%3Db%22%3Atrue%2C%22c%22%3Atrue%7D%2C%22status%22%3A%7B%22exited%22%3Atrue%7D%7D"
        );
    }
}
