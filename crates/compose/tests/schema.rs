//! The specification's JSON schema as an oracle: what it allows is read, what it does not is refused with a place.
//!
//! The schema is in the binary of Docker's plugin, where the host has that; without it the test says so and passes.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use serde_json::{Map, Value, json};
use std::path::PathBuf;
use wharf_compose::Error;
use wharf_compose::files::{canonical::canonical, yaml};
use wharf_compose::project::load::check;

/// Files of each kind.
const RUNS: u64 = 600;
/// Levels of objects in objects that are filled with more than they must have.
const DEPTH: usize = 6;

fn schema() -> Option<Value> {
    let beside = std::env::var_os("DOCKER_BIN")
        .map(|docker| PathBuf::from(docker).with_file_name("cli-plugins/docker-compose"));
    let usual =
        ["/usr/libexec/docker/cli-plugins/docker-compose", "/usr/lib/docker/cli-plugins/docker-compose"];
    let binary =
        std::fs::read(beside.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.is_file())?)
            .ok()?;
    let name = b"\"compose_spec.json\"";
    let at = binary.windows(name.len()).position(|bytes| bytes == name)?;
    let begin = binary[..at].iter().rposition(|byte| *byte == b'{')?;
    serde_json::Deserializer::from_slice(&binary[begin..]).into_iter().next()?.ok()
}

/// Numbers that are the same in each run (a linear congruence).
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }
}

struct Maker<'a> {
    root: &'a Value,
    chance: Chance,
}

/// Texts that mean more than the schema says: durations, sizes, ports.
fn text(key: &str) -> &'static str {
    match key {
        "interval" | "timeout" | "start_period" | "start_interval" | "delay" | "monitor" | "window"
        | "stop_grace_period" => "1m30s",
        "memory" | "mem_limit" | "mem_reservation" | "memswap_limit" | "shm_size" | "size" | "rate" => "10m",
        "ports" => "8080:80",
        "volumes" => "data:/data",
        "extra_hosts" => "host=10.0.0.1",
        "mode" => "0440",
        "count" => "all",
        "init" | "privileged" | "read_only" | "tty" | "stdin_open" | "external" | "internal"
        | "attachable" | "enable_ipv4" | "enable_ipv6" | "disable" | "no_cache" | "pull" | "nocopy"
        | "create_host_path" | "required" | "restart" | "attach" | "oom_kill_disable" => "true",
        "name" | "image" | "command" | "entrypoint" | "driver" => "word",
        _ => "5",
    }
}

impl Maker<'_> {
    fn value(&mut self, schema: &Value, key: &str, depth: usize) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let target = self.root.pointer(name.trim_start_matches('#')).unwrap();
            return self.value(target, key, depth);
        }
        if let Some(choices) = schema["oneOf"].as_array() {
            let choice = &choices[self.chance.below(choices.len())];
            return self.value(choice, key, depth);
        }
        if let Some(words) = schema["enum"].as_array() {
            return words[self.chance.below(words.len())].clone();
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => kinds[self.chance.below(kinds.len())].as_str().unwrap(),
            kind => kind.as_str().unwrap_or("object"),
        };
        match kind {
            "string" => json!(text(key)),
            "integer" | "number" => json!(1 + self.chance.below(90)),
            "boolean" => json!(self.chance.below(2) == 0),
            "null" => Value::Null,
            "array" => {
                let most = if depth < DEPTH { 2 } else { 1 };
                let mut items: Vec<Value> = (0..self.chance.below(most + 1))
                    .map(|_| self.value(&schema["items"], key, depth + 1))
                    .collect();
                items.dedup();
                json!(items)
            }
            _ => self.object(schema, key, depth),
        }
    }

    fn object(&mut self, schema: &Value, key: &str, depth: usize) -> Value {
        let mut made = Map::new();
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            if required.contains(&name.as_str()) || (depth < DEPTH && self.chance.below(6) == 0) {
                made.insert(name.clone(), self.value(inner, name, depth + 1));
            }
        }
        for (pattern, inner) in schema["patternProperties"].as_object().into_iter().flatten() {
            if pattern.starts_with("^x-") {
                if self.chance.below(8) == 0 {
                    made.insert("x-more".into(), json!({"any": ["thing", 1, null]}));
                }
            } else if depth < DEPTH && self.chance.below(2) == 0 {
                // Maps of the user's names; what a name stands for is named after the map.
                made.insert("nofile".into(), self.value(inner, key, depth + 1));
            }
        }
        Value::Object(made)
    }
}

fn read(file: &Value) -> Result<(), Error> {
    let mut document =
        yaml::parse(&serde_json::to_string_pretty(file).unwrap(), &"file.json".into())?.remove(0);
    document.remove("version");
    canonical(&mut document)?;
    check(&document)
}

/// What a schema stands for, through references and the first choice that is an object.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match (schema["$ref"].as_str(), schema["oneOf"].as_array()) {
        (Some(name), _) => resolved(root, root.pointer(name.trim_start_matches('#')).unwrap()),
        (_, Some(choices)) => choices
            .iter()
            .map(|choice| resolved(root, choice))
            .find(|choice| choice["properties"].is_object())
            .unwrap_or(schema),
        _ => schema,
    }
}

/// Puts an attribute that is not there into one of the objects that have attributes. Whether there was one.
fn spoil(root: &Value, schema: &Value, value: &mut Value, chance: &mut Chance) -> bool {
    let schema = resolved(root, schema);
    let Value::Object(map) = value else {
        return match value {
            Value::Array(items) => items.iter_mut().any(|item| spoil(root, &schema["items"], item, chance)),
            _ => false,
        };
    };
    let mut names: Vec<String> = map.keys().filter(|name| !name.starts_with("x-")).cloned().collect();
    if !names.is_empty() {
        let from = chance.below(names.len());
        names.rotate_left(from);
    }
    let inner = |name: &str| {
        let own = schema["properties"].get(name);
        own.or_else(|| {
            schema["patternProperties"]
                .as_object()?
                .iter()
                .find(|(pattern, _)| !pattern.starts_with("^x-"))
                .map(|(_, inner)| inner)
        })
    };
    if chance.below(3) > 0 {
        for name in &names {
            if let Some(inner) = inner(name)
                && spoil(root, inner, map.get_mut(name).unwrap(), chance)
            {
                return true;
            }
        }
    }
    let is_closed = schema["additionalProperties"] == json!(false) && schema["properties"].is_object();
    if is_closed {
        map.insert("not_there".into(), json!("at all"));
    }
    is_closed
}

#[test]
fn what_the_schema_allows_is_read_and_nothing_else() {
    let Some(root) = schema() else {
        println!("skipped: there is no Compose plugin on this host (beside DOCKER_BIN), and so no schema");
        return;
    };
    let mut refused = 0;
    for run in 0..RUNS {
        let mut maker = Maker { root: &root, chance: Chance(run) };
        let mut file = maker.value(&root, "", 0);
        file["services"]["web"] = maker.value(&root["definitions"]["service"], "web", 1);
        if let Err(error) = read(&file) {
            panic!("run {run}: {error}\n{}", serde_json::to_string_pretty(&file).unwrap());
        }
        if !spoil(&root, &root, &mut file, &mut Chance(run)) {
            continue;
        }
        refused += 1;
        match read(&file) {
            Err(Error::File { at, message }) => {
                assert!(
                    at.line > 0 && at.column > 0 && message.contains("not_there"),
                    "run {run}: {at}: {message}"
                );
            }
            Err(error) => panic!("run {run}: no place: {error}"),
            Ok(()) => panic!("run {run}: read\n{}", serde_json::to_string_pretty(&file).unwrap()),
        }
    }
    assert!(refused > RUNS / 2, "{refused}");
}

#[test]
fn attributes_are_those_of_the_schema() {
    let Some(root) = schema() else {
        println!("skipped: there is no Compose plugin on this host (beside DOCKER_BIN), and so no schema");
        return;
    };
    // Each attribute of the schema alone, with a value of a wrong kind, is refused where it stands.
    for (section, definition) in [
        ("services", "service"),
        ("networks", "network"),
        ("volumes", "volume"),
        ("secrets", "secret"),
        ("configs", "config"),
    ] {
        for name in root["definitions"][definition]["properties"].as_object().unwrap().keys() {
            let file = json!({section: {"one": {name: [[["wrong"]]]}}});
            match read(&file) {
                Err(Error::File { at, .. }) => assert!(at.line >= 3, "{section}.{name}: {at}"),
                other => panic!("{section}.{name}: {other:?}"),
            }
        }
    }
}
