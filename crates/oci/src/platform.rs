//! Platforms: `os[/architecture[/variant]]` (OCI image specification, image-index.md, "platform").

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a platform, in the words of Docker, which clients look for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlatformError {
    /// One word that names neither a system nor an architecture.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
    /// More parts than three.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Parts(String),
    /// A part with other signs than names have.
    #[error(
        "{part:?} is an invalid component of {text:?}: platform specifier component must match {:?}: invalid argument",
        "^[A-Za-z0-9_.-]+$"
    )]
    Component {
        /// The part.
        part: String,
        /// The whole.
        text: String,
    },
}

/// What an image runs on. Names are Go's (`amd64`, `arm64`), normalised when parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, `arm`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system, for Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features the image needs of the operating system.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// `v7` of `arm`, `v8` of `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// A platform without version and features.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.filter(|v| !v.is_empty()).map(str::to_owned),
            ..Self::default()
        }
        .normalised()
    }

    /// The platform Wharf runs on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, (std::env::consts::ARCH == "arm").then_some("v7"))
    }

    /// With Go's names, and without a variant that is the architecture's default.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.os = self.os.to_ascii_lowercase();
        let architecture = self.architecture.to_ascii_lowercase();
        let variant = self.variant.take().map(|v| v.to_ascii_lowercase());
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("i386" | "i686" | "x86", _) => ("386", None),
            ("aarch64" | "arm64", None | Some("v8" | "8")) => ("arm64", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) | ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("armel", _) | ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("powerpc64le", variant) => ("ppc64le", variant),
            (other, variant) => (other, variant),
        };
        self.variant = variant.map(str::to_owned);
        self.architecture = architecture.to_owned();
        self
    }

    /// How well an image for `offered` serves one who asks for `self`: 0 is exact, more is worse, `None` is
    /// not at all. ARM machines run older variants, amd64 machines run 386.
    pub fn rank(&self, offered: &Platform) -> Option<u32> {
        let offered = offered.clone().normalised();
        if self.os != offered.os {
            return None;
        }
        let level = |platform: &Platform| -> Option<u32> {
            let default = match platform.architecture.as_str() {
                "arm64" => "v8",
                "arm" => "v7",
                _ => "v1",
            };
            platform.variant.as_deref().unwrap_or(default).strip_prefix('v')?.parse().ok()
        };
        match (self.architecture.as_str(), offered.architecture.as_str()) {
            (a, b) if a == b => {
                if self.variant == offered.variant {
                    return Some(0);
                }
                level(self)?.checked_sub(level(&offered)?)
            }
            ("arm64", "arm") => Some(100 + 8_u32.checked_sub(level(&offered)?)?),
            ("amd64", "386") => Some(100),
            _ => None,
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    /// `linux/arm/v7`, or one word: an operating system or an architecture, the host's for the other.
    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |p: &&str| {
            !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if parts.len() > 3 {
            return Err(PlatformError::Parts(text.to_owned()));
        }
        if let Some(part) = parts.iter().find(|part| !valid(part)) {
            return Err(PlatformError::Component { part: (*part).to_owned(), text: text.to_owned() });
        }
        match parts[..] {
            [word]
                if matches!(
                    word.to_ascii_lowercase().as_str(),
                    "linux" | "windows" | "darwin" | "freebsd"
                ) =>
            {
                let host = Self::host();
                Ok(Self::new(word, &host.architecture, host.variant.as_deref()))
            }
            [word] => {
                let platform = Self::new("linux", word, None);
                let known =
                    ["amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64", "mips64le", "loong64"];
                if known.contains(&platform.architecture.as_str()) {
                    Ok(platform)
                } else {
                    Err(PlatformError::Unknown(text.to_owned()))
                }
            }
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError::Parts(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_normalises() {
        for (text, printed) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AARCH64/v8", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("arm64", "linux/arm64"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), printed);
        }
        for bad in ["", "linux/", "/amd64", "a/b/c/d", "nonsense", "linux/a b"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
        let why = |text: &str| text.parse::<Platform>().unwrap_err().to_string();
        assert_eq!(why("foo"), r#""foo": unknown operating system or architecture: invalid argument"#);
        assert_eq!(why("a/b/c/d"), r#""a/b/c/d": cannot parse platform specifier: invalid argument"#);
        let component = r#""" is an invalid component of "linux/": platform specifier component must match "^[A-Za-z0-9_.-]+$": invalid argument"#;
        assert_eq!(why("linux/"), component);
    }

    #[test]
    fn an_arm_host_takes_older_variants_only() {
        let host: Platform = "linux/arm/v7".parse().unwrap();
        let rank = |text: &str| host.rank(&text.parse().unwrap());
        assert_eq!(rank("linux/arm/v7"), Some(0));
        assert_eq!(rank("linux/arm/v6"), Some(1));
        assert_eq!(rank("linux/arm/v8"), None);
        assert_eq!(rank("linux/arm64"), None);
        assert_eq!(rank("windows/arm/v7"), None);
        let host: Platform = "linux/arm64".parse().unwrap();
        assert!(host.rank(&"linux/arm64/v8".parse().unwrap()) < host.rank(&"linux/arm/v7".parse().unwrap()));
    }
}
