//! Lists of things: a table by default, a template with `--format`, ids with `--quiet`.

use super::table::align;
use crate::failure::Failure;
use crate::template::{Template, TemplateError};
use serde_json::{Map, Value};

/// A kind of list: its columns and what is shown by default.
#[derive(Debug)]
pub(crate) struct Listing {
    /// Field and heading of every column a template may name.
    pub(crate) columns: &'static [(&'static str, &'static str)],
    /// The fields of the default table.
    pub(crate) table: &'static [&'static str],
}

/// One thing: a value for every column. `labels` serve `{{.Label "key"}}`.
#[derive(Debug)]
pub(crate) struct Row {
    /// An object; templates look at it as it is.
    cells: Value,
    pub(crate) labels: std::collections::BTreeMap<String, String>,
}

impl Row {
    /// A row of columns and values.
    pub(crate) fn new<const N: usize>(cells: [(&str, Value); N]) -> Self {
        let mut row = Self { cells: Value::Object(Map::new()), labels: Default::default() };
        row.extend(cells);
        row
    }

    /// More columns.
    pub(crate) fn extend<const N: usize>(&mut self, cells: [(&str, Value); N]) {
        for (field, value) in cells {
            self.cells[field] = value;
        }
    }

    /// The object of its columns.
    pub(crate) fn into_value(self) -> Value {
        self.cells
    }

    /// The row as JSON; Go escapes what HTML would take for its own.
    fn json(&self) -> String {
        let text = self.cells.to_string();
        text.replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e")
    }
}

impl Listing {
    /// The text of a list.
    pub(crate) fn show(&self, rows: &[Row], format: Option<&str>) -> Result<String, Failure> {
        let default;
        let format = match format {
            None | Some("" | "table") => {
                let fields: Vec<String> =
                    self.table.iter().map(|field| format!("{{{{.{field}}}}}")).collect();
                default = format!("table {}", fields.join("\t"));
                &default
            }
            Some("json" | "{{json .}}") => return Ok(rows.iter().map(|row| row.json() + "\n").collect()),
            Some(format) => format,
        };
        let format = unescape(format);
        let (is_table, text) = match format.strip_prefix("table") {
            Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t']) => (true, rest.trim_start()),
            _ => (false, format.as_str()),
        };
        let template = Template::parse(text)
            .map_err(|e| Failure::new(format!("failed to parse template: {}", e.bare())))?;
        let failed = |e: TemplateError| Failure::new(format!("failed to execute template: {}", e.bare()));
        let mut lines = Vec::new();
        if is_table {
            let headings = self.columns.iter().map(|(f, h)| ((*f).to_owned(), Value::from(*h))).collect();
            lines.push(template.run_with(&Value::Object(headings), &heading).map_err(failed)?);
        }
        for row in rows {
            let labels = &row.labels;
            let methods = |_: &Value, name: &str, arguments: &[Value]| match (name, arguments) {
                ("Label", [key]) => {
                    let key = key.as_str().unwrap_or_default();
                    Some(labels.get(key).map(String::as_str).unwrap_or_default().into())
                }
                _ => None,
            };
            lines.push(template.run_with(&row.cells, &methods).map_err(failed)?);
        }
        if is_table {
            return Ok(align(&lines));
        }
        Ok(lines.into_iter().fold(String::new(), |out, line| out + &line + "\n"))
    }
}

/// The heading of `{{.Label "com.example.tier"}}`: its last part.
fn heading(_: &Value, name: &str, arguments: &[Value]) -> Option<Value> {
    match (name, arguments) {
        ("Label", [key]) => {
            let last = key.as_str()?.rsplit('.').next()?;
            Some(last.replace(['-', '_'], " ").into())
        }
        _ => None,
    }
}

/// `\t` and `\n` as written on a command line.
pub(crate) fn unescape(format: &str) -> String {
    format.replace("\\t", "\t").replace("\\n", "\n")
}

/// Characters of an id that are shown.
pub(crate) const ID_WIDTH: usize = 12;

/// Filters as key and value.
pub(crate) fn pairs(filters: &[String]) -> Result<Vec<(&str, &str)>, Failure> {
    filters
        .iter()
        .map(|filter| {
            filter
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .ok_or_else(|| Failure::new(format!("invalid argument {filter:?} for \"-f, --filter\" flag: bad format of filter (expected name=value)")))
        })
        .collect()
}

/// The first characters.
pub(crate) fn cut(text: &str, width: usize) -> String {
    text.chars().take(width).collect()
}

/// The first characters, the last of them an ellipsis where something is missing.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    cut(text, width - 1) + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINGS: Listing =
        Listing { columns: &[("ID", "THING ID"), ("Name", "NAME")], table: &["ID", "Name"] };

    fn rows() -> [Row; 1] {
        let mut row = Row::new([("ID", "abc".into()), ("Name", "web".into())]);
        row.labels.insert("com.example.tier".into(), "front".into());
        [row]
    }

    #[test]
    fn formats() {
        let show = |format| THINGS.show(&rows(), format).unwrap();
        assert_eq!(show(None), "THING ID   NAME\nabc        web\n");
        assert_eq!(show(Some("table {{.Name}}\\t{{.ID}}")), "NAME      THING ID\nweb       abc\n");
        assert_eq!(show(Some("{{.Name}}")), "web\n");
        assert_eq!(show(Some("json")), "{\"ID\":\"abc\",\"Name\":\"web\"}\n");
        assert_eq!(show(Some("table {{.Label \"com.example.tier\"}}")), "tier\nfront\n");
        assert!(THINGS.show(&rows(), Some("{{.Nope}}")).is_err());
    }
}
