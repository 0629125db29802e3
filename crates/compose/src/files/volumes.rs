//! `volumes` of a service in their short form: `SOURCE:TARGET:OPTIONS`.

use super::node::{Node, Value};
use crate::error::Error;

const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];

/// The long form.
pub fn expand(text: &str, at: &Node) -> Result<Node, Error> {
    if text.is_empty() {
        return Err(at.wrong("invalid empty volume spec"));
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(at.wrong(format!("invalid spec: {text}: too many colons"))),
    };
    if target.is_empty() || (parts.len() > 1 && source.is_empty()) {
        return Err(at.wrong(format!("invalid spec: {text}: empty section between colons")));
    }
    let is_bind = source.starts_with(['.', '/', '~']);
    let mut long = Node::map([("type", Value::Text(if is_bind { "bind" } else { "volume" }.into()))], &at.at);
    if !source.is_empty() {
        long.set("source", Node::text(source, &at.at));
    }
    long.set("target", Node::text(target, &at.at));
    let mut bind = Node::map([], &at.at);
    let mut volume = Node::map([], &at.at);
    if is_bind {
        bind.set("create_host_path", Node::new(Value::Bool(true), &at.at));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => long.set("read_only", Node::new(Value::Bool(true), &at.at)),
            "rw" => {}
            "nocopy" => volume.set("nocopy", Node::new(Value::Bool(true), &at.at)),
            "z" | "Z" => bind.set("selinux", Node::text(option, &at.at)),
            "cached" | "delegated" | "consistent" => long.set("consistency", Node::text(option, &at.at)),
            _ if PROPAGATIONS.contains(&option) => bind.set("propagation", Node::text(option, &at.at)),
            _ => {
                if let Some(path) = option.strip_prefix("subpath=") {
                    volume.set("subpath", Node::text(path, &at.at));
                } else {
                    return Err(at.wrong(format!("invalid spec: {text}: unknown option {option:?}")));
                }
            }
        }
    }
    if is_bind {
        long.set("bind", bind);
    } else {
        if !bind.entries().is_empty() {
            long.set("bind", bind);
        }
        long.set("volume", volume);
    }
    Ok(long)
}
