//! What looks like a password or a key, before it leaves the machine with `compose publish`.
//!
//! The kinds are those that Docker's scanner knows. A finding is a question to the user, no refusal: some are wrong.

use regex_lite::Regex;

/// Kinds of keys, and what they look like. Where one has a group, that is the secret itself.
const PATTERNS: [(&str, &str); 20] = [
    ("AWS access key", r"\b(?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA)[0-9A-Z]{16}\b"),
    ("AWS secret key", r#"(?i)aws.{0,20}(?:secret|key).{0,20}['"=:\s]([0-9a-z/+]{40})(?:['"\s]|$)"#),
    ("Artifactory token", r"\bAKC[a-zA-Z0-9]{10,}|\bAP[0-9A-F][a-zA-Z0-9]{8,}\b"),
    ("Azure storage key", r"(?i)AccountKey=([0-9a-z+/=]{80,100})"),
    ("basic authentication", r"(?i)\bbasic\s+([a-z0-9+/]{8,}={0,2})(?:['\x22\s]|$)"),
    ("bearer token", r"(?i)\bbearer\s+([a-z0-9_\-.=~+/]{16,})"),
    ("password in an address", r"[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[^\s:/@'\x22]*:([^\s:/@'\x22$]{3,})@"),
    ("GitHub token", r"\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{20,}"),
    ("GitLab token", r"\bglpat-[A-Za-z0-9_\-]{20,}"),
    ("JSON web token", r"\beyJ[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]{10,}\.[A-Za-z0-9_\-]*"),
    ("MailChimp key", r"\b[0-9a-f]{32}-us[0-9]{1,2}\b"),
    ("npm token", r"\bnpm_[A-Za-z0-9]{36}\b|//.+/:_authToken=\s*[A-Za-z0-9\-]{20,}"),
    ("private key", r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"),
    ("SendGrid key", r"\bSG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}\b"),
    (
        "Slack token",
        r"\bxox[abposr]-[A-Za-z0-9\-]{10,}|https://hooks\.slack\.com/services/T[A-Za-z0-9_/]{10,}",
    ),
    ("Square token", r"\bsq0(?:csp|atp)-[0-9A-Za-z_\-]{22,43}"),
    ("Stripe key", r"\b(?:r|s)k_(?:live|test)_[0-9A-Za-z]{20,}"),
    ("Twilio key", r"\b(?:AC|SK)[0-9a-f]{32}\b"),
    ("Google API key", r"\bAIza[0-9A-Za-z_\-]{35}\b"),
    (
        "keyword",
        r#"(?i)(?:^|[\s'"{,\-])[a-z0-9_.\-]*(?:passw(?:or)?d|passphrase|secret|api_?key|access_?key|private_?key|auth_?token|token|credentials?)[a-z0-9_]*['"]?\s*[:=]\s*['"]?([^\s'"{}\[\],$][^\s'",$]{2,})"#,
    ),
];
/// Values of keywords that say nothing: what is meant to be filled in, paths, switches.
const HARMLESS: [&str; 8] = ["true", "false", "null", "none", "changeme", "example", "/", "./"];

/// Finds kinds of secrets.
pub(super) struct Scanner(Vec<(&'static str, Regex)>);

impl Scanner {
    /// With all kinds.
    pub(super) fn new() -> Self {
        // Each of the patterns is compiled in the tests.
        Self(PATTERNS.iter().filter_map(|(kind, text)| Some((*kind, Regex::new(text).ok()?))).collect())
    }

    /// What a line has, if anything.
    pub(super) fn kind(&self, line: &str) -> Option<&'static str> {
        let found = |(kind, pattern): &(&'static str, Regex)| {
            let captures = pattern.captures(line)?;
            let value = captures.get(1).map_or("", |group| group.as_str()).to_ascii_lowercase();
            let is_harmless = *kind == "keyword"
                && HARMLESS
                    .iter()
                    .any(|word| value == *word || word.ends_with('/') && value.starts_with(word));
            (!is_harmless).then_some(*kind)
        };
        self.0.iter().find_map(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind() {
        let scanner = Scanner::new();
        assert_eq!(scanner.0.len(), PATTERNS.len(), "all patterns are well-formed");
        let long = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8";
        // Put together here, so that no tool takes them for real ones.
        let lines = [
            ("AWS access key", format!("A: AKIA{}", "IOSFODNN7EXAMPLE")),
            ("AWS secret key", format!("aws_secret_key = {long}s9T0")),
            ("Artifactory token", format!("x: AKC{}", "p5aaaaaaaaaaa")),
            ("Azure storage key", format!("AccountKey={}==", "a".repeat(86))),
            ("basic authentication", "Authorization: Basic dXNlcjpwYXNzd29yZA==".to_owned()),
            ("bearer token", format!("header: Bearer {long}")),
            ("password in an address", "DB: postgres://me:hunter22@db/x".to_owned()),
            ("GitHub token", format!("x: ghp_{long}")),
            ("GitLab token", format!("x: glpat-{long}")),
            ("JSON web token", format!("x: eyJhbGciOiJIUzI1NiJ9.{long}.{long}")),
            ("MailChimp key", format!("x: {}-us12", "0a".repeat(16))),
            ("npm token", format!("x: npm_{long}")),
            ("private key", format!("-----BEGIN EC {} KEY-----", "PRIVATE")),
            ("SendGrid key", format!("x: SG.{}.{long}1234567", &long[..22])),
            ("Slack token", format!("x: xoxb-{long}")),
            ("Square token", format!("x: sq0atp-{}", &long[..22])),
            ("Stripe key", format!("x: sk_live_{long}")),
            ("Twilio key", format!("x: AC{}", "0a".repeat(16))),
            ("Google API key", format!("x: AIza{}", &long[..35])),
            ("keyword", "      POSTGRES_PASSWORD: hunter2".to_owned()),
            ("keyword", "      - API_KEY=abcdef".to_owned()),
        ];
        for (kind, line) in lines {
            assert_eq!(scanner.kind(&line), Some(kind), "{line}");
        }
    }

    #[test]
    fn what_is_no_secret() {
        let scanner = Scanner::new();
        for line in [
            "POSTGRES_PASSWORD: ${PASSWORD}",
            "PASSWORD_FILE: /run/secrets/password",
            "secrets:",
            "  - source: token",
            "image: registry.example/ghp_x:1",
            "-----BEGIN CERTIFICATE-----",
            "url: https://user@example.org/",
            "TOKEN: \"\"",
            "use_secret: true",
        ] {
            assert_eq!(scanner.kind(line), None, "{line}");
        }
    }
}
