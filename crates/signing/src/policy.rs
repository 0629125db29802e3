//! Policies: which repositories take images only with which signatures. The first rule that fits a repository counts.

use crate::check::{Demand, Found, Named, Unverified, Verified, verify};
use crate::key::PublicKey;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use wharf_model::{Error, ErrorKind, Result};
use wharf_oci::digest::Digest;
use wharf_oci::pattern::Pattern;

/// What a rule wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// A signature by one of the keys.
    #[default]
    Signed,
    /// Nothing.
    Accept,
    /// Nothing is let through.
    Reject,
}

/// When a rule is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum At {
    /// When an image comes.
    Pull,
    /// When it is given a tag.
    Push,
}

/// A rule as a configuration file has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Patterns of repositories.
    pub repositories: Vec<Pattern>,
    /// What it wants.
    #[serde(default)]
    pub policy: Wanted,
    /// Files of public keys.
    #[serde(default)]
    pub keys: Vec<PathBuf>,
    /// So many of the keys have to have signed; one without it.
    #[serde(default)]
    pub threshold: Option<usize>,
    /// Annotations that the signature has to have.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Whether the signature has to name the repository that the image is in.
    #[serde(default)]
    pub same_repository: bool,
    /// When it is asked; both without it.
    #[serde(default)]
    pub at: Vec<At>,
}

/// A rule with its keys.
#[derive(Debug, Clone, PartialEq)]
struct Opened {
    rule: Rule,
    keys: Vec<PublicKey>,
}

/// Rules with their keys. None lets everything through.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy(Vec<Opened>);

/// An image that a policy is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The repository, as the rules name it.
    pub repository: &'a str,
    /// The digest of the manifest or index.
    pub digest: &'a Digest,
    /// What it is asked for by, to be shown.
    pub name: &'a str,
    /// The repository as signatures name it, where a rule wants them to.
    pub signed_as: Named<'a>,
}

impl Policy {
    /// Reads the keys of rules.
    ///
    /// # Errors
    /// `Invalid` for a key that cannot be read, and a rule that contradicts itself.
    pub fn open(rules: &[Rule]) -> Result<Self> {
        rules.iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// The files of all keys.
    pub fn files(rules: &[Rule]) -> impl Iterator<Item = &PathBuf> {
        rules.iter().flat_map(|rule| &rule.keys)
    }

    fn of(&self, repository: &str, at: At) -> Option<&Opened> {
        let names = spellings(repository);
        let fits = |pattern: &Pattern| {
            let pattern = Pattern(pattern.0.to_ascii_lowercase());
            names.iter().any(|name| pattern.fits(name))
        };
        let opened = self.0.iter().find(|o| o.rule.repositories.iter().any(fits))?;
        (opened.rule.at.is_empty() || opened.rule.at.contains(&at)).then_some(opened)
    }

    /// Whether signatures have to be looked for: a policy that wants none, or nothing at all, needs none.
    ///
    /// # Errors
    /// `Forbidden` when a rule rejects the repository.
    pub fn wants(&self, repository: &str, at: At) -> Result<bool> {
        let Some(opened) = self.of(repository, at) else { return Ok(false) };
        match opened.rule.policy {
            Wanted::Accept => Ok(false),
            Wanted::Signed => Ok(true),
            Wanted::Reject => Err(Error::new(
                ErrorKind::Forbidden,
                format!("the signature policy rejects {repository} (its rule for {})", opened.shown()),
            )),
        }
    }

    /// The signatures that make an image acceptable.
    ///
    /// # Errors
    /// `Forbidden`, naming repository, rule and keys.
    pub fn judge(&self, subject: &Subject<'_>, at: At, found: &[Found]) -> Result<Vec<Verified>> {
        if !self.wants(subject.repository, at)? {
            return Ok(Vec::new());
        }
        let Some(opened) = self.of(subject.repository, at) else { return Ok(Vec::new()) };
        let demand = Demand {
            digest: subject.digest,
            name: subject.name,
            keys: &opened.keys,
            threshold: opened.rule.threshold.unwrap_or(1),
            annotations: &opened.rule.annotations,
            repository: opened.rule.same_repository.then_some(subject.signed_as),
        };
        verify(found, &demand).map_err(|e| opened.refusal(subject, &e))
    }
}

impl Opened {
    fn shown(&self) -> String {
        self.rule.repositories.iter().map(|p| format!("{:?}", p.0)).collect::<Vec<_>>().join(", ")
    }

    fn refusal(&self, subject: &Subject<'_>, why: &Unverified) -> Error {
        let keys: Vec<&str> = self.keys.iter().map(PublicKey::name).collect();
        Error::new(
            ErrorKind::Forbidden,
            format!(
                "the signature policy refuses {}@{}: its rule for {} wants a signature by {}: {why}",
                subject.repository,
                subject.digest,
                self.shown(),
                keys.join(" or "),
            ),
        )
    }
}

/// What a repository is called where it is the same: hosts have no case, and a registry is at port 443 anyway.
fn spellings(repository: &str) -> Vec<String> {
    let name = repository.to_ascii_lowercase();
    let short =
        name.split_once('/').and_then(|(host, path)| Some(format!("{}/{path}", host.strip_suffix(":443")?)));
    std::iter::once(name).chain(short).collect()
}

fn open(rule: &Rule) -> Result<Opened> {
    let of = || rule.repositories.iter().map(|p| p.0.as_str()).collect::<Vec<_>>().join(", ");
    let refuse = |text: &str| Err(Error::invalid(format!("signatures: the rule for {:?}: {text}", of())));
    if rule.repositories.is_empty() {
        return Err(Error::invalid("signatures: a rule names no repositories"));
    }
    match rule.policy {
        Wanted::Signed if rule.keys.is_empty() => return refuse("it names no keys"),
        Wanted::Signed => {}
        _ if !rule.keys.is_empty() => return refuse("keys are for the policy \"signed\""),
        _ => {}
    }
    if rule.threshold.is_some_and(|threshold| threshold == 0 || threshold > rule.keys.len()) {
        return refuse("threshold is from 1 to the number of its keys");
    }
    let keys = rule.keys.iter().map(|path| PublicKey::read(path)).collect::<Result<Vec<_>>>()?;
    Ok(Opened { rule: rule.clone(), keys })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::sign;
    use crate::key::{PrivateKey, generate};

    fn rules(text: &str) -> Vec<Rule> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let dir = tempfile::tempdir().unwrap();
        let made = generate(b"").unwrap();
        let path = dir.path().join("k.pub");
        std::fs::write(&path, &made.public).unwrap();
        let path = path.display();
        let policy = Policy::open(&rules(&format!(
            r#"[{{"repositories": ["r/open/*"], "policy": "accept"}}, {{"repositories": ["r/later"], "keys": ["{path}"], "at": ["pull"]}},
                {{"repositories": ["r/*"], "keys": ["{path}"]}}, {{"repositories": ["*"], "policy": "reject"}}]"#
        )))
        .unwrap();
        assert!(!policy.wants("r/open/x", At::Pull).unwrap() && policy.wants("r/x", At::Push).unwrap());
        assert!(policy.wants("r/later", At::Pull).unwrap() && !policy.wants("r/later", At::Push).unwrap());
        for same in ["R/x", "r:443/x", "R:443/x"] {
            assert!(policy.wants(same, At::Push).unwrap(), "{same}");
        }
        assert!(policy.wants("r:444/x", At::Push).is_err());
        assert!(policy.wants("s/x", At::Pull).unwrap_err().full().contains("rejects s/x"));
        assert!(!Policy::default().wants("x", At::Pull).unwrap());
        let digest = Digest::sha256(b"x");
        let signed_as = Named::Whole("r/x");
        let subject = Subject { repository: "r/x", digest: &digest, name: "r/x:1", signed_as };
        let error = policy.judge(&subject, At::Pull, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        for part in ["r/x@sha256:", "\"r/*\"", "k.pub", "no signatures found"] {
            assert!(error.full().contains(part), "{part}: {}", error.full());
        }
        let key = PrivateKey::from_pem(&made.private, || Ok(vec![])).unwrap();
        let signed = sign(&key, "r/x", &digest, &BTreeMap::new()).unwrap();
        let found = [Found::Simple { payload: signed.payload, signature: signed.signature, keyless: false }];
        assert_eq!(policy.judge(&subject, At::Push, &found).unwrap().len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, said) in [
            (r#"[{"repositories": ["a"]}]"#, "names no keys"),
            (r#"[{"repositories": []}]"#, "no repositories"),
            (r#"[{"repositories": ["a"], "policy": "accept", "keys": ["k"]}]"#, "keys are for"),
            (r#"[{"repositories": ["a"], "keys": ["/nowhere/k.pub"]}]"#, "/nowhere/k.pub"),
            (r#"[{"repositories": ["a"], "keys": ["k"], "threshold": 2}]"#, "threshold"),
        ] {
            let error = Policy::open(&rules(text)).unwrap_err();
            assert!(error.full().contains(said), "{}", error.full());
        }
    }
}
