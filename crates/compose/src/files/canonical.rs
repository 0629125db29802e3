//! Short forms into long ones, so that files can be merged: each list that stands for a mapping becomes one.

use super::node::{Entry, Node, Value};
use super::{ports, volumes};
use crate::error::Error;

/// The same of a file whose variables stay as they are written: what has one in a short form stays short.
pub fn canonical_with_variables(file: &mut Node) -> Result<(), Error> {
    let Some(services) = file.get_mut("services") else { return canonical(file) };
    let mut kept = Vec::new();
    for service in services.entries_mut() {
        for key in KEPT {
            let has_variable = |node: &Node| node.scalar().is_some_and(|text| text.contains('$'));
            let is_kept = |node: &Node| {
                matches!(key, "command" | "entrypoint") && matches!(node.value, Value::Text(_))
                    || has_variable(node)
                    || node.items().iter().any(has_variable)
            };
            if service.node.get(key).is_some_and(is_kept)
                && let Some(node) = service.node.remove(key)
            {
                kept.push((service.key.clone(), key, node));
            }
        }
    }
    canonical(file)?;
    for (name, key, node) in kept {
        if let Some(service) = file.get_mut("services").and_then(|services| services.get_mut(&name)) {
            service.set(key, node);
        }
    }
    Ok(())
}

/// What may be short with variables in it.
const KEPT: [&str; 5] = ["command", "entrypoint", "ports", "volumes", "devices"];

/// Brings a whole file into its long form.
pub fn canonical(file: &mut Node) -> Result<(), Error> {
    for (section, each) in SECTIONS {
        let Some(section) = file.get_mut(section) else { continue };
        for entry in section.entries_mut() {
            each(&mut entry.node)?;
        }
    }
    if let Some(includes) = file.get_mut("include") {
        for item in includes.items_mut() {
            wrap(item, "path");
            list(item, "path");
            list(item, "env_file");
        }
    }
    Ok(())
}

type Each = fn(&mut Node) -> Result<(), Error>;

const SECTIONS: [(&str, Each); 5] = [
    ("services", service),
    ("networks", resource),
    ("volumes", resource),
    ("secrets", resource),
    ("configs", resource),
];

/// A service alone.
pub fn service(service: &mut Node) -> Result<(), Error> {
    key_values(service, "environment")?;
    for key in ["labels", "annotations", "sysctls", "storage_opt"] {
        labels(service, key)?;
    }
    for key in ["dns", "dns_search", "tmpfs", "label_file"] {
        list(service, key);
    }
    for key in ["expose", "group_add"] {
        texts(service, key);
    }
    for key in ["command", "entrypoint"] {
        words(service, key)?;
    }
    set_of(service, "networks", |_| Value::Null)?;
    set_of(service, "models", |_| Value::Null)?;
    set_of(service, "depends_on", |_| Value::Map(Vec::new()))?;
    if let Some(needed) = service.get_mut("depends_on") {
        each_value(needed, |how| {
            how.or_set("condition", Value::Text("service_started".into()));
            how.or_set("required", Value::Bool(true));
            Ok(())
        })?;
    }
    extra_hosts(service)?;
    if let Some(extends) = service.get_mut("extends") {
        wrap(extends, "service");
    }
    for key in ["secrets", "configs"] {
        each(service, key, |item| {
            wrap(item, "source");
            Ok(())
        })?;
    }
    env_files(service)?;
    service_ports(service)?;
    service_volumes(service)?;
    each(service, "devices", device)?;
    if let Some(networks) = service.get_mut("networks") {
        each_value(networks, |network| key_values(network, "driver_opts"))?;
    }
    if let Some(gpus) = service.get_mut("gpus")
        && gpus.as_text() == Some("all")
    {
        gpus.value = Value::List(vec![Node::map([("count", Value::Int(-1))], &gpus.at)]);
    }
    each(service, "gpus", device_request)?;
    if let Some(check) = service.get_mut("healthcheck")
        && let Some(test) = check.get_mut("test")
        && let Value::Text(text) = &test.value
    {
        let both = ["CMD-SHELL", text].map(|word| Node::text(word, &test.at));
        test.value = Value::List(both.into());
    }
    if let Some(logging) = service.get_mut("logging") {
        key_values(logging, "options")?;
    }
    for key in ["post_start", "pre_stop"] {
        each(service, key, hook)?;
    }
    if let Some(provider) = service.get_mut("provider")
        && let Some(options) = provider.get_mut("options")
    {
        each_value(options, |value| {
            if let Some(text) = value.scalar() {
                value.value = Value::List(vec![Node::text(text, &value.at)]);
            }
            value.items_mut().iter_mut().for_each(to_text);
            Ok(())
        })?;
    }
    if let Some(build) = service.get_mut("build") {
        self::build(build)?;
    }
    if let Some(deploy) = service.get_mut("deploy") {
        self::deploy(deploy)?;
    }
    if let Some(develop) = service.get_mut("develop") {
        each(develop, "watch", |watch| {
            list(watch, "ignore");
            list(watch, "include");
            watch.get_mut("exec").map_or(Ok(()), hook)
        })?;
    }
    Ok(())
}

fn build(build: &mut Node) -> Result<(), Error> {
    wrap(build, "context");
    key_values(build, "args")?;
    labels(build, "additional_contexts")?;
    labels(build, "labels")?;
    extra_hosts(build)?;
    each(build, "secrets", |item| {
        wrap(item, "source");
        Ok(())
    })?;
    for key in ["provenance", "sbom"] {
        if let Some(value) = build.get_mut(key) {
            to_text(value);
        }
    }
    if let Some(ssh) = build.get_mut("ssh") {
        list_of_scalar(ssh);
        key_values(build, "ssh")?;
    }
    Ok(())
}

fn deploy(deploy: &mut Node) -> Result<(), Error> {
    labels(deploy, "labels")?;
    if let Some(resources) = deploy.get_mut("resources") {
        each_value(resources, |side| each(side, "devices", device_request))?;
    }
    Ok(())
}

fn hook(hook: &mut Node) -> Result<(), Error> {
    words(hook, "command")?;
    key_values(hook, "environment")
}

fn device_request(request: &mut Node) -> Result<(), Error> {
    if let Some(count) = request.get_mut("count") {
        match &count.value {
            Value::Text(text) if text == "all" => count.value = Value::Int(-1),
            Value::Text(text) if text.parse::<i64>().is_err() => {
                return Err(
                    count.wrong(format!("invalid value {text:?} for 'count': it is a number or \"all\""))
                );
            }
            _ => {}
        }
    }
    labels(request, "options")
}

fn device(device: &mut Node) -> Result<(), Error> {
    let Some(text) = device.as_text() else { return Ok(()) };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [both] => (*both, *both, "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => return Err(device.wrong(format!("confusing device mapping {text:?}: use the long form"))),
    };
    let entries = [("source", source), ("target", target), ("permissions", permissions)];
    *device = Node::map(entries.map(|(key, text)| (key, Value::Text(text.into()))), &device.at);
    Ok(())
}

fn service_ports(service: &mut Node) -> Result<(), Error> {
    let Some(ports) = service.get_mut("ports") else { return Ok(()) };
    let Value::List(items) = &mut ports.value else { return Ok(()) };
    let mut long = Vec::with_capacity(items.len());
    for mut item in std::mem::take(items) {
        match &item.value {
            Value::Text(_) | Value::Int(_) => {
                let text = item.scalar().unwrap_or_default();
                let mut found = ports::expand(&text, &item)?;
                found.iter_mut().for_each(|port| port.tag = item.tag);
                long.append(&mut found);
            }
            Value::Map(_) => {
                if let Some(published) = item.get_mut("published") {
                    to_text(published);
                }
                item.or_set("mode", Value::Text("ingress".into()));
                item.or_set("protocol", Value::Text("tcp".into()));
                long.push(item);
            }
            _ => {
                return Err(
                    item.wrong(format!("ports must be a string, a number or a mapping, not {}", item.kind()))
                );
            }
        }
    }
    *items = long;
    Ok(())
}

fn service_volumes(service: &mut Node) -> Result<(), Error> {
    each(service, "volumes", |item| {
        if let Some(text) = item.as_text() {
            let tag = item.tag;
            *item = volumes::expand(text, item)?;
            item.tag = tag;
            return Ok(());
        }
        if let Some(volume) = item.get_mut("volume") {
            labels(volume, "labels")?;
        }
        Ok(())
    })
}

fn env_files(service: &mut Node) -> Result<(), Error> {
    list(service, "env_file");
    each(service, "env_file", |item| {
        wrap(item, "path");
        item.or_set("required", Value::Bool(true));
        Ok(())
    })
}

/// `host=address` and `host:address`, or a mapping to one address or several.
fn extra_hosts(owner: &mut Node) -> Result<(), Error> {
    let Some(hosts) = owner.get_mut("extra_hosts") else { return Ok(()) };
    let at = hosts.at.clone();
    if let Value::List(items) = &hosts.value {
        let mut map = Node { value: Value::Map(Vec::new()), at, tag: hosts.tag };
        for item in items {
            let text = item
                .as_text()
                .ok_or_else(|| item.wrong(format!("extra_hosts must be strings, not {}", item.kind())))?;
            let pair = text.split_once('=').or_else(|| text.split_once(':'));
            let (host, address) =
                pair.ok_or_else(|| item.wrong(format!("invalid host {text:?}: it is not host=address")))?;
            let address = address.trim();
            let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
            let address = Node::text(address, &item.at);
            match map.get_mut(host.trim()) {
                Some(Node { value: Value::List(known), .. }) => known.push(address),
                _ => map.set(host.trim(), Node::new(Value::List(vec![address]), &item.at)),
            }
        }
        *hosts = map;
        return Ok(());
    }
    each_value(hosts, |value| {
        list_of_scalar(value);
        Ok(())
    })
}

/// A network, volume, secret or config of the top level.
fn resource(resource: &mut Node) -> Result<(), Error> {
    labels(resource, "labels")?;
    key_values(resource, "driver_opts")?;
    let Some(external) = resource.get_mut("external") else { return Ok(()) };
    if let Value::Map(_) = external.value {
        let at = external.at.clone();
        let name = external.get("name").cloned();
        *external = Node::new(Value::Bool(true), &at);
        if let Some(name) = name {
            if resource.get("name").is_some() {
                return Err(name.wrong("both name and external.name are given: use name only"));
            }
            resource.set("name", name);
        }
    }
    Ok(())
}

/// A text becomes a mapping with it under one key.
fn wrap(node: &mut Node, key: &'static str) {
    if let Value::Text(text) = &node.value {
        let tag = node.tag;
        *node = Node::map([(key, Value::Text(text.clone()))], &node.at);
        node.tag = tag;
    }
}

/// A text becomes a list of one.
fn list(owner: &mut Node, key: &str) {
    if let Some(node) = owner.get_mut(key) {
        list_of_scalar(node);
    }
}

fn list_of_scalar(node: &mut Node) {
    if let Value::Text(_) = node.value {
        let item = Node::new(std::mem::take(&mut node.value), &node.at);
        node.value = Value::List(vec![item]);
    }
}

/// Numbers of a list become texts.
fn texts(owner: &mut Node, key: &str) {
    if let Some(node) = owner.get_mut(key) {
        node.items_mut().iter_mut().for_each(to_text);
    }
}

fn to_text(node: &mut Node) {
    if let Some(text) = node.scalar() {
        node.value = Value::Text(text);
    }
}

fn each(
    owner: &mut Node,
    key: &str,
    mut change: impl FnMut(&mut Node) -> Result<(), Error>,
) -> Result<(), Error> {
    owner.get_mut(key).map_or(Ok(()), |node| node.items_mut().iter_mut().try_for_each(&mut change))
}

fn each_value(node: &mut Node, mut change: impl FnMut(&mut Node) -> Result<(), Error>) -> Result<(), Error> {
    node.entries_mut().iter_mut().try_for_each(|entry| change(&mut entry.node))
}

/// A command: a text is cut into words as a shell would.
fn words(owner: &mut Node, key: &str) -> Result<(), Error> {
    let Some(node) = owner.get_mut(key) else { return Ok(()) };
    let Value::Text(text) = &node.value else { return Ok(()) };
    let words = shell_words(text)
        .ok_or_else(|| node.wrong(format!("invalid command line string {text:?}: a quote is not closed")))?;
    node.value = Value::List(words.into_iter().map(|word| Node::text(word, &node.at)).collect());
    Ok(())
}

/// Words as a POSIX shell cuts them, without expansions.
pub fn shell_words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut begun) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            '\'' => loop {
                match chars.next()? {
                    '\'' => break,
                    c => word.push(c),
                }
            },
            '"' => loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => match chars.next()? {
                        c @ ('"' | '\\' | '$' | '`') => word.push(c),
                        c => word.extend(['\\', c]),
                    },
                    c => word.push(c),
                }
            },
            '\\' => word.push(chars.next()?),
            c => word.push(c),
        }
        begun = true;
    }
    if begun {
        words.push(word);
    }
    Some(words)
}

/// A list of names becomes a mapping of them.
fn set_of(owner: &mut Node, key: &str, value: impl Fn(&Node) -> Value) -> Result<(), Error> {
    let Some(node) = owner.get_mut(key) else { return Ok(()) };
    let Value::List(items) = &node.value else { return Ok(()) };
    let entry = |item: &Node| {
        let key = item.as_text().ok_or_else(|| {
            item.wrong(format!("{key} must be a list of strings, and this is {}", item.kind()))
        })?;
        Ok(Entry {
            key: key.to_owned(),
            at: item.at.clone(),
            node: Node { value: value(item), at: item.at.clone(), tag: item.tag },
        })
    };
    node.value = Value::Map(items.iter().map(entry).collect::<Result<_, Error>>()?);
    Ok(())
}

/// Pairs of texts: a key alone has an empty one.
fn labels(owner: &mut Node, key: &str) -> Result<(), Error> {
    key_values(owner, key)?;
    let Some(node) = owner.get_mut(key) else { return Ok(()) };
    each_value(node, |value| {
        if value.value == Value::Null {
            value.value = Value::Text(String::new());
        }
        Ok(())
    })
}

/// `KEY=value` of a list become a mapping, values of a mapping texts. A key alone has no value.
fn key_values(owner: &mut Node, key: &str) -> Result<(), Error> {
    let Some(node) = owner.get_mut(key) else { return Ok(()) };
    match &mut node.value {
        Value::List(items) => {
            let mut map: Vec<Entry> = Vec::with_capacity(items.len());
            for item in items {
                let text = item.as_text().ok_or_else(|| {
                    item.wrong(format!("{key} must be a list of strings, and this is {}", item.kind()))
                })?;
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Value::Text(value.to_owned())),
                    None => (text, Value::Null),
                };
                let entry = Entry {
                    key: name.to_owned(),
                    at: item.at.clone(),
                    node: Node { value, at: item.at.clone(), tag: item.tag },
                };
                match map.iter_mut().find(|known| known.key == entry.key) {
                    Some(known) => *known = entry,
                    None => map.push(entry),
                }
            }
            node.value = Value::Map(map);
        }
        Value::Map(entries) => {
            for entry in entries {
                if matches!(entry.node.value, Value::List(_) | Value::Map(_)) {
                    return Err(entry.node.wrong(format!(
                        "{key}.{} must be a string, number, boolean or null, not {}",
                        entry.key,
                        entry.node.kind()
                    )));
                }
                to_text(&mut entry.node);
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        let cut = |text: &str| shell_words(text).map(|words| words.join("|"));
        assert_eq!(cut("a 'b c' \"d \\\" $e\" f\\ g ''").as_deref(), Some("a|b c|d \" $e|f g|"));
        assert_eq!(cut(""), Some(String::new()));
        assert_eq!(cut("a 'b"), None);
    }
}
