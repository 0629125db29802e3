//! One file over another: mappings by key, lists one after the other, and what the specification says otherwise.

use super::node::{Node, Tag, Value};
use crate::error::Error;

/// Merges a file or service over another. `path` is where in the project they stand.
pub fn merge(base: &mut Node, over: Node, path: &mut Vec<String>) -> Result<(), Error> {
    if over.tag == Tag::Override {
        *base = Node { tag: Tag::None, ..over };
        return Ok(());
    }
    if base.tag == Tag::Reset || base.value == Value::Null {
        *base = over;
        return Ok(());
    }
    match rule(path) {
        Rule::Replace => {
            *base = over;
            return Ok(());
        }
        Rule::Logging if different(base, &over, "driver") => {
            *base = over;
            return Ok(());
        }
        _ => {}
    }
    let position = over.at.clone();
    match (&mut base.value, over.value) {
        // Nothing said over something with parts changes nothing.
        (Value::Map(_) | Value::List(_), Value::Null) => {}
        (Value::Map(_), Value::Map(entries)) => {
            for entry in entries {
                if entry.node.tag == Tag::Reset {
                    base.remove(&entry.key);
                    continue;
                }
                path.push(entry.key.clone());
                match base.get_mut(&entry.key) {
                    Some(known) => merge(known, entry.node, path)?,
                    None => {
                        let Value::Map(known) = &mut base.value else { break };
                        known.push(entry);
                    }
                }
                path.pop();
            }
        }
        (Value::List(items), Value::List(more)) => {
            if rule(path) == Rule::Pools {
                pools(items, more, path)?;
            } else {
                items.extend(more.into_iter().filter(|item| item.tag != Tag::Reset));
            }
        }
        (Value::Map(_) | Value::List(_), other) => {
            // A single limit over two, or the other way round, is a new one.
            if path.iter().rev().nth(1).is_some_and(|key| key == "ulimits") {
                base.value = other;
                base.at = position;
            } else {
                let message = format!(
                    "cannot override {}: it was {} and is {} here",
                    path.join("."),
                    base.kind(),
                    Node::new(other, &position).kind()
                );
                return Err(Error::at(&position, message));
            }
        }
        (_, other) => {
            base.value = other;
            base.at = position;
        }
    }
    unique(base, path);
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    Merge,
    /// The last one counts as a whole.
    Replace,
    /// Options belong to their driver.
    Logging,
    /// Pools of addresses are merged by their subnet.
    Pools,
}

fn rule(path: &[String]) -> Rule {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "logging"] => Rule::Logging,
        ["networks", _, "ipam", "config"] => Rule::Pools,
        _ => Rule::Merge,
    }
}

fn different(base: &Node, over: &Node, key: &str) -> bool {
    matches!((base.get(key), over.get(key)), (Some(a), Some(b)) if a.value != b.value)
}

fn pools(items: &mut Vec<Node>, more: Vec<Node>, path: &mut Vec<String>) -> Result<(), Error> {
    for pool in more {
        let subnet = pool.get("subnet").and_then(Node::scalar);
        let same = items
            .iter_mut()
            .find(|known| subnet.is_some() && known.get("subnet").and_then(Node::scalar) == subnet);
        match same {
            Some(known) => {
                path.push("0".into());
                merge(known, pool, path)?;
                path.pop();
            }
            None => items.push(pool),
        }
    }
    Ok(())
}

/// Of items that are about the same thing the last one counts, in the first one's place.
pub fn unique(node: &mut Node, path: &[String]) {
    let Some(key) = path.last() else { return };
    let Value::List(items) = &mut node.value else { return };
    let identity: fn(&Node) -> Option<String> = match key.as_str() {
        "volumes" => |item| item.get("target")?.scalar(),
        "devices" if path.len() == 3 => |item| item.get("target")?.scalar(),
        "secrets" | "configs" => |item| item.get("target").or_else(|| item.get("source"))?.scalar(),
        "env_file" => |item| item.get("path")?.scalar(),
        // A short one has a variable in it that stays.
        "ports" => |item| match item.value {
            Value::Map(_) => {
                let part = |key: &str| item.get(key).and_then(Node::scalar).unwrap_or_default();
                let published = item.get("published").and_then(Node::scalar);
                Some(format!("{}|{:?}|{}|{}", part("host_ip"), published, part("target"), part("protocol")))
            }
            _ => item.scalar(),
        },
        "cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "expose" | "links" | "aliases"
        | "link_local_ips" | "profiles" | "tmpfs" | "label_file" | "tags" | "platforms" | "group_add"
        | "security_opt" => Node::scalar,
        _ => return,
    };
    let mut known: Vec<(String, usize)> = Vec::new();
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    for item in std::mem::take(items) {
        let name = identity(&item);
        match name.as_ref().and_then(|name| known.iter().find(|(known, _)| known == name)) {
            Some((_, at)) => kept[*at] = item,
            None => {
                if let Some(name) = name {
                    known.push((name, kept.len()));
                }
                kept.push(item);
            }
        }
    }
    *items = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{canonical::canonical, yaml};

    fn merged(base: &str, over: &str) -> Result<Node, Error> {
        let read = |text: &str| {
            let mut node = yaml::parse(text, &"f".into()).unwrap().remove(0);
            canonical(&mut node).unwrap();
            node
        };
        let mut base = read(base);
        merge(&mut base, read(over), &mut Vec::new())?;
        base.settle();
        Ok(base)
    }

    fn web(node: &Node, key: &str) -> String {
        let value = node.get("services").and_then(|s| s.get("web")).and_then(|s| s.get(key));
        fn show(node: &Node) -> String {
            match &node.value {
                Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
                Value::Map(entries) => entries
                    .iter()
                    .map(|e| format!("{}={}", e.key, show(&e.node)))
                    .collect::<Vec<_>>()
                    .join(" "),
                _ => node.scalar().unwrap_or_else(|| "null".into()),
            }
        }
        value.map_or("-".into(), show)
    }

    #[test]
    fn rules() {
        let base = "services: {web: {image: a, command: [x], environment: [A=1, B=2], ports: ['80:80'], dns: 1.1.1.1, volumes: ['a:/x', 'b:/y'], cap_add: [A]}}";
        let over = "services: {web: {image: b, command: y z, environment: {B: 3}, ports: ['80:80', '81:81'], dns: 2.2.2.2, volumes: ['c:/x'], cap_add: [A, B]}}";
        let node = merged(base, over).unwrap();
        assert_eq!(web(&node, "image"), "b");
        assert_eq!(web(&node, "command"), "[y,z]");
        assert_eq!(web(&node, "environment"), "A=1 B=3");
        assert_eq!(web(&node, "ports").matches("target").count(), 2);
        assert_eq!(web(&node, "dns"), "[1.1.1.1,2.2.2.2]");
        assert!(web(&node, "volumes").starts_with("[type=volume source=c target=/x"));
        assert_eq!(web(&node, "cap_add"), "[A,B]");
    }

    #[test]
    fn tags() {
        let base = "services: {web: {image: a, ports: ['80:80'], environment: [A=1, B=2], command: x}}";
        let over = "services: {web: {ports: !override ['81:81'], environment: {A: !reset null}, command: !reset null}}";
        let node = merged(base, over).unwrap();
        assert!(web(&node, "ports").contains("target=81") && !web(&node, "ports").contains("target=80"));
        assert_eq!((web(&node, "environment").as_str(), web(&node, "command").as_str()), ("B=2", "-"));
        assert!(
            merged("services: {web: {deploy: {replicas: 1}}}", "services: {web: {deploy: [1]}}").is_err()
        );
    }
}
