//! `RUN --mount=type=…`: what a command sees besides its root, and what is in no layer afterwards.

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MountKind {
    /// Files of the context, a stage, an image or a named context.
    #[default]
    Bind,
    /// A directory that is kept from build to build.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret as a file or a variable.
    Secret,
    /// The socket of an SSH agent.
    Ssh,
}

/// How builds share a cache at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Sharing {
    /// All at once.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after another.
    Locked,
}

/// One `--mount`, its variables expanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunMount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where; empty when it is to be chosen.
    pub target: String,
    /// The stage, image or named context of the files.
    pub from: Option<String>,
    /// A path in it.
    pub source: String,
    /// Which secret, agent or cache; empty when it is to be chosen.
    pub id: String,
    /// Whether it can be written; `None` is the kind's own way.
    pub writable: Option<bool>,
    /// How builds share the cache.
    pub sharing: Sharing,
    /// Whether it is an error when there is no such secret or agent.
    pub required: bool,
    /// Permission bits.
    pub mode: Option<u32>,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The variable that has the secret.
    pub env: Option<String>,
    /// Bytes of the memory.
    pub size: Option<u64>,
}

/// Expands the variables of one value.
type Expand<'a> = &'a dyn Fn(&str) -> Result<String, String>;

impl RunMount {
    /// Reads the option's text. Without `expand` a value with variables is taken as fit.
    pub fn parse(text: &str, expand: Option<Expand<'_>>) -> Result<Self, String> {
        let mut mount = Self::default();
        let mut keys = Vec::new();
        for field in fields(text)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
                None => (field.to_ascii_lowercase(), None),
            };
            let value = match (value, expand) {
                (Some(value), Some(expand)) if key != "from" => Some(expand(&value)?),
                (Some(value), None) if value.contains('$') && key != "from" => {
                    keys.push(key);
                    continue;
                }
                (value, _) => value,
            };
            mount.set(&key, value.as_deref()).map_err(|why| format!("invalid mount {text:?}: {why}"))?;
            keys.push(key);
        }
        mount.check(&keys).map_err(|why| format!("invalid mount {text:?}: {why}"))?;
        Ok(mount)
    }

    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        // A key alone switches on.
        let Some(value) = value else {
            match key {
                "readonly" | "ro" => self.writable = Some(false),
                "readwrite" | "rw" => self.writable = Some(true),
                "required" => self.required = true,
                _ => return Err(format!("a value is expected: {key}=…")),
            }
            return Ok(());
        };
        match key {
            "type" => self.kind = kind(value)?,
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "source" | "src" => value.clone_into(&mut self.source),
            "from" if value.contains('$') => {
                return Err(format!("{value:?} of from does not support variables: name a stage FROM it"));
            }
            "from" => self.from = Some(value.to_owned()),
            "id" => value.clone_into(&mut self.id),
            "readonly" | "ro" => self.writable = Some(!switch(key, value)?),
            "readwrite" | "rw" => self.writable = Some(switch(key, value)?),
            "required" => self.required = switch(key, value)?,
            "sharing" => self.sharing = sharing(value)?,
            "mode" => self.mode = Some(mode(value)?),
            "uid" => self.uid = number(key, value)?,
            "gid" => self.gid = number(key, value)?,
            "env" => self.env = Some(value.to_owned()),
            "size" => self.size = Some(bytes(value).ok_or_else(|| format!("invalid size: {value}"))?),
            other => return Err(format!("unexpected key {other:?} in \"{other}={value}\"")),
        }
        Ok(())
    }

    fn check(&mut self, keys: &[String]) -> Result<(), String> {
        use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
        let given = |names: &[&str]| keys.iter().any(|key| names.contains(&key.as_str()));
        let fits = |names: &[&str], kinds: &[MountKind]| !given(names) || kinds.contains(&self.kind);
        let wrong = [
            ("sharing", fits(&["sharing"], &[Cache])),
            ("required", fits(&["required"], &[Secret, Ssh])),
            ("env", fits(&["env"], &[Secret])),
            ("size", fits(&["size"], &[Tmpfs])),
            ("from", fits(&["from"], &[Bind, Cache])),
            ("source", fits(&["source", "src"], &[Bind, Cache, Secret])),
            ("mode, uid and gid", fits(&["mode", "uid", "gid"], &[Cache, Secret, Ssh])),
        ];
        if let Some((name, _)) = wrong.iter().find(|(_, fits)| !fits) {
            return Err(format!("{name} is not for a mount of this type"));
        }
        let has_target = given(&["target", "dst", "destination"]);
        match self.kind {
            Bind | Cache | Tmpfs if !has_target => Err("a target is required".into()),
            Secret if !has_target && !given(&["id", "source", "src"]) => {
                Err("an id or a target is required".into())
            }
            Secret | Ssh if self.writable == Some(true) => Err("it cannot be written".into()),
            _ => Ok(()),
        }
    }
}

/// Fields of a line of comma separated values (RFC 4180).
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().ok_or("no field")?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => field.push(c),
        }
    }
    if quoted { Err(format!("invalid mount {text:?}: a quote is not closed")) } else { Ok(fields) }
}

fn kind(value: &str) -> Result<MountKind, String> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "bind" => MountKind::Bind,
        "cache" => MountKind::Cache,
        "tmpfs" => MountKind::Tmpfs,
        "secret" => MountKind::Secret,
        "ssh" => MountKind::Ssh,
        _ => return Err(format!("unsupported mount type {value:?}: bind, cache, tmpfs, secret or ssh")),
    })
}

fn sharing(value: &str) -> Result<Sharing, String> {
    Ok(match value.to_ascii_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => return Err(format!("unsupported sharing value {value:?}: shared, private or locked")),
    })
}

fn switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("invalid value for {key}: {value}")),
    }
}

fn mode(value: &str) -> Result<u32, String> {
    u32::from_str_radix(value, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("invalid value for mode: {value}: octal digits are expected"))
}

fn number(key: &str, value: &str) -> Result<u32, String> {
    value.parse().map_err(|_| format!("invalid value for {key}: {value}: a number is expected"))
}

/// `64`, `64b`, `10k`, `1.5g`, `2GiB`: powers of 1024.
fn bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let unit = text[at..].trim().to_ascii_lowercase();
    let power = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let number: f64 = text[..at].parse().ok().filter(|n: &f64| n.is_finite())?;
    Some((number * 1024f64.powi(power)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> RunMount {
        RunMount::parse(text, None).unwrap()
    }

    #[test]
    fn every_key() {
        let cache = of("type=cache,id=a,target=/c,sharing=locked,mode=0700,uid=1,gid=2,from=x,source=/s,ro");
        assert_eq!(
            cache,
            RunMount {
                kind: MountKind::Cache,
                target: "/c".into(),
                from: Some("x".into()),
                source: "/s".into(),
                id: "a".into(),
                writable: Some(false),
                sharing: Sharing::Locked,
                mode: Some(0o700),
                uid: 1,
                gid: 2,
                ..RunMount::default()
            }
        );
        assert_eq!(of("dst=/a,rw").writable, Some(true));
        assert_eq!(of("destination=/a,readonly=false").writable, Some(true));
        assert_eq!(of("type=tmpfs,target=/t,size=1.5k").size, Some(1536));
        let secret = of("type=secret,id=s,env=S,required");
        assert_eq!((secret.env.as_deref(), secret.required), (Some("S"), true));
        assert_eq!(of("type=bind,target=/a,\"source=b,c\"").source, "b,c");
        assert_eq!(of("type=ssh").kind, MountKind::Ssh);
    }

    #[test]
    fn variables() {
        let expand = |text: &str| Ok(text.replace("$u", "7"));
        let text = "type=cache,target=/$u,uid=$u";
        assert_eq!(of(text).uid, 0, "not known yet");
        let mount = RunMount::parse(text, Some(&expand)).unwrap();
        assert_eq!((mount.uid, mount.target.as_str()), (7, "/7"));
    }

    #[test]
    fn what_is_refused() {
        for (bad, why) in [
            ("type=bind", "a target is required"),
            ("type=secret", "an id or a target"),
            ("type=nope,target=/x", "unsupported mount type"),
            ("type=cache,target=/x,sharing=no", "unsupported sharing"),
            ("target=/x,mode=755", "not for a mount of this type"),
            ("type=tmpfs,target=/x,size=x", "invalid size"),
            ("type=cache,target=/x,mode=9", "octal"),
            ("type=cache,target=/x,colour=red", "unexpected key"),
            ("target", "a value is expected"),
            ("target=/x,from=$y", "variables"),
            ("type=ssh,rw", "cannot be written"),
            ("target=\"/x", "unexpected key"),
            ("\"target=/x", "not closed"),
        ] {
            let got = RunMount::parse(bad, None);
            assert!(bad == "target=\"/x" || got.as_ref().is_err_and(|e| e.contains(why)), "{bad}: {got:?}");
        }
    }
}
