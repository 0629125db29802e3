//! Compose files: two of them, one over the other, with variables filled in; and a text with variables alone.

use std::sync::Arc;
use wharf_compose::files::merge::merge;
use wharf_compose::files::{Environment, Node, canonical, dotenv, interpolate, yaml};
use wharf_compose::project::{Project, json, load, read, tree, yaml as written};

/// The first text is a file, the second, after a line of `%%`, one that goes over it.
pub(crate) fn compose(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, second) = text.split_once("\n%%\n").unwrap_or((&text, ""));
    let Some(mut base) = file(first) else { return };
    if let Some(over) = file(second)
        && merge(&mut base, over, &mut Vec::new()).is_err()
    {
        return;
    }
    base.settle();
    let Ok(project) = read::read::<Project>(&base, "") else { return };
    // What is printed is read again, and means the same.
    let shown = tree::of(&project);
    let text = written::text(&shown);
    let mut again = yaml::parse(&text, &Arc::from("printed")).expect("what is printed is YAML").remove(0);
    if again.entries().is_empty() {
        return;
    }
    canonical::canonical(&mut again).expect("what is printed is canonical");
    let again: Project = read::read(&again, "").expect("what is printed is read");
    assert_eq!(json::compact(&tree::of(&again)), json::compact(&shown), "{text}");
}

fn file(text: &str) -> Option<Node> {
    let environment: Environment =
        [("A".to_owned(), "a".to_owned()), ("E".to_owned(), String::new())].into_iter().collect();
    let mut document = yaml::parse(text, &Arc::from("fuzz")).ok()?.into_iter().next()?;
    if document.entries().is_empty() {
        return None;
    }
    interpolate::interpolate(&mut document, &environment, "").ok()?;
    canonical::canonical(&mut document).ok()?;
    load::check(&document).ok()?;
    document.remove("name");
    document.remove("include");
    Some(document)
}

pub(crate) fn variables(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lookup = |name: &str| match name.trim_start_matches(interpolate::QUIET) {
        "A" => Some("a$".to_owned()),
        "E" => Some(String::new()),
        _ => None,
    };
    if let Ok(filled) = interpolate::expand(&text, &mut lookup)
        && !text.contains('$')
    {
        assert_eq!(filled, text, "a text without variables stays as it is");
    }
    let _ = dotenv::parse(&text, &Arc::from("fuzz"), false, &|name| (name == "A").then(|| "a".to_owned()));
    let _ = dotenv::parse(&text, &Arc::from("fuzz"), true, &|_| None);
    let _ = canonical::shell_words(&text);
}
