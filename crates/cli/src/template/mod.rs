//! Go templates, as far as `--format` needs them (Go's text/template with Docker's functions).
//!
//! A template is parsed once and run over JSON values:
//!
//! ```text
//! {{.Names}}: {{json .Ports}}      {{range .Mounts}}{{.Source}}{{"\n"}}{{end}}
//! {{if eq .State "running"}}…{{else}}…{{end}}     {{(index .Ports 0).PublicPort}}
//! ```

mod eval;
mod functions;
mod parse;

use serde_json::Value;
use std::fmt;

/// A parsed template.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// What is wrong with a template, or with running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError(pub(crate) String);

impl TemplateError {
    /// The error as Go's library words it.
    pub(crate) fn bare(&self) -> String {
        format!("template: :1: {}", self.0)
    }

    /// Whether the template itself is wrong, rather than that the value lacks something.
    pub(crate) fn is_syntax(&self) -> bool {
        !self.0.starts_with("executing") && !self.0.starts_with("error calling")
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template parsing error: {}", self.bare())
    }
}

impl std::error::Error for TemplateError {}

/// Methods of the value a template runs over: `{{.Label "x"}}`. `None` when there is no such method.
pub(crate) type Methods<'a> = &'a dyn Fn(&Value, &str, &[Value]) -> Option<Value>;

impl Template {
    /// Parses. The error is that of the user's template, not of the value.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { nodes: parse::parse(text)? })
    }

    /// Runs over a value.
    pub(crate) fn run(&self, value: &Value) -> Result<String, TemplateError> {
        self.run_with(value, &|_, _, _| None)
    }

    /// Runs over a value that has methods.
    pub(crate) fn run_with(&self, value: &Value, methods: Methods<'_>) -> Result<String, TemplateError> {
        let mut out = String::new();
        eval::run(&self.nodes, value, methods, &mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let value = json!({
            "Name": "web", "Count": 3, "Size": 1.5, "Up": true, "Nothing": null,
            "List": ["a", "b"], "Empty": [], "Map": {"k 1": "v1", "k2": {"x": "y"}},
            "Ports": [{"Private": 80, "Public": 8080}, {"Private": 81, "Public": 0}],
        });
        assert_eq!(Template::parse(template).unwrap().run(&value).unwrap(), expected, "{template}");
    }

    #[test]
    fn fields_and_text() {
        check("plain", "plain");
        check("{{.Name}}!", "web!");
        check("{{ .Map.k2.x }}", "y");
        check("a {{- .Name -}} b", "awebb");
        check("{{/* nothing */}}x", "x");
        check(
            "{{.}}",
            "map[Count:3 Empty:[] List:[a b] Map:map[k 1:v1 k2:map[x:y]] Name:web \
              Nothing:<no value> Ports:[map[Private:80 Public:8080] map[Private:81 Public:0]] Size:1.5 Up:true]",
        );
        check("{{\"a\\tb\"}}{{`c\\t`}}{{1}}{{true}}", "a\tbc\\t1true");
    }

    #[test]
    fn control() {
        check("{{if .Up}}yes{{else}}no{{end}}", "yes");
        check("{{if .Empty}}yes{{else if eq .Count 3}}three{{else}}no{{end}}", "three");
        check("{{range .List}}<{{.}}>{{end}}", "<a><b>");
        check("{{range $i, $v := .List}}{{$i}}={{$v}} {{end}}", "0=a 1=b ");
        check("{{range $k, $v := .Map}}{{$k}},{{end}}", "k 1,k2,");
        check("{{range .Empty}}x{{else}}none{{end}}", "none");
        check("{{with .Map.k2}}{{.x}}{{$.Name}}{{end}}", "yweb");
        check("{{$n := .Name}}{{range .List}}{{$n}}{{end}}", "webweb");
        check("{{range .Ports}}{{if .Public}}{{.Public}}{{continue}}{{end}}-{{break}}{{end}}", "8080-");
    }

    #[test]
    fn functions() {
        check("{{json .List}}", "[\"a\",\"b\"]");
        check("{{.List | json}}", "[\"a\",\"b\"]");
        check("{{join .List \", \"}}", "a, b");
        check("{{upper .Name}}{{lower \"AB\"}}{{title .Name}}", "WEBabWeb");
        check("{{len .List}} {{len .Name}} {{len .Map}}", "2 3 2");
        check("{{index .Map \"k 1\"}} {{index .List 1}} {{(index .Ports 0).Public}}", "v1 b 8080");
        check("{{index .Map \"k2\" \"x\"}}", "y");
        check("{{println .Name .Count}}", "web 3\n");
        check("{{printf \"%-5s|%03d|%q|%v|%%\" .Name .Count .Name .List}}", "web  |003|\"web\"|[a b]|%");
        check("{{split .Name \"e\"}}", "[w b]");
        check("{{truncate .Name 2}}{{pad .Name 1 2}}", "we web  ");
        check("{{if and .Up (gt .Count 2) (not .Empty)}}ok{{end}}", "ok");
        check("{{or .Empty .Name}}", "web");
        check("{{eq .Name \"x\" \"web\"}} {{ne 1 2}} {{lt 1 2}} {{ge .Size 2}}", "true true true false");
        check("{{slice .Name 1 3}}", "eb");
    }

    #[test]
    fn what_may_be_missing_is_nothing() {
        let value = json!({
            "Config": {"Labels": {"a": "b"}}, "State": {"Status": "running"}, "Options": null,
            "NetworkSettings": {"Networks": {"n1": {"IPAddress": "10.0.0.1"}}},
        });
        let run = |text: &str| Template::parse(text).unwrap().run(&value);
        for (template, expected) in [
            ("{{.Config.Labels.a}} {{.Config.Labels.b}}", "b <no value>"),
            ("{{.Options.x}}", "<no value>"),
            ("{{.NetworkSettings.Networks.n2.IPAddress}}", "<no value>"),
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
            ("{{with .Config.Healthcheck}}x{{end}}{{if .Config.Labels.c}}y{{end}}", ""),
        ] {
            assert_eq!(run(template).unwrap(), expected, "{template}");
        }
        for mistake in ["{{.State.Health.Status}}", "{{.Config.Nope}}", "{{.Nope.Labels}}"] {
            assert!(run(mistake).unwrap_err().to_string().contains("map has no entry"), "{mistake}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let parse = |text: &str| Template::parse(text).unwrap_err().to_string();
        assert!(parse("{{.Name").contains("unclosed action"));
        assert!(parse("{{if .X}}").contains("unexpected EOF"));
        assert!(parse("{{end}}").contains("unexpected {{end}}"));
        assert!(parse("{{nosuch .X}}").contains("function \"nosuch\" not defined"));
        let error = Template::parse("{{.Nope}}").unwrap().run(&json!({"Name": 1})).unwrap_err();
        assert!(error.to_string().contains("map has no entry for key \"Nope\""), "{error}");
    }

    #[test]
    fn methods() {
        let template = Template::parse("{{.Label \"a\"}}").unwrap();
        let methods = |_: &Value, name: &str, arguments: &[Value]| {
            (name == "Label").then(|| json!(format!("<{}>", arguments[0].as_str().unwrap())))
        };
        assert_eq!(template.run_with(&json!({}), &methods).unwrap(), "<a>");
    }
}
