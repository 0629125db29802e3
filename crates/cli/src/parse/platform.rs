//! `--platform`, where the API takes it in JSON.

use serde_json::json;

const SYSTEMS: [&str; 5] = ["linux", "windows", "darwin", "freebsd", "wasip1"];
const ARCHITECTURES: [&str; 11] =
    ["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm", "ppc64"];

/// `os[/arch[/variant]]` or an architecture alone, as the API's JSON.
pub(crate) fn platform(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let lower: Vec<String> = parts.iter().map(|part| part.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let (os, architecture, variant) = match lower[..] {
        [os] if SYSTEMS.contains(&os) => (os, std::env::consts::ARCH, ""),
        [architecture] if ARCHITECTURES.contains(&normal(architecture, "").0) => ("linux", architecture, ""),
        [_] => return Err(format!("{text:?}: unknown operating system or architecture: invalid argument")),
        [os, architecture] => (os, architecture, ""),
        [os, architecture, variant] => (os, architecture, variant),
        _ => return Err(format!("{text:?}: too many components in platform: invalid argument")),
    };
    let (architecture, variant) = normal(architecture, variant);
    let mut platform = json!({"architecture": architecture, "os": os});
    if !variant.is_empty() {
        platform["variant"] = variant.into();
    }
    Ok(platform.to_string())
}

/// The names that images have of architectures.
fn normal<'a>(architecture: &'a str, variant: &'a str) -> (&'a str, &'a str) {
    match (architecture, variant) {
        ("x86_64" | "x86-64", variant) => ("amd64", variant),
        ("i386" | "x86", _) => ("386", ""),
        ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms() {
        for (text, json) in [
            ("linux/amd64", r#"{"architecture":"amd64","os":"linux"}"#),
            ("x86_64", r#"{"architecture":"amd64","os":"linux"}"#),
            ("linux/arm", r#"{"architecture":"arm","os":"linux","variant":"v7"}"#),
            ("Linux/ARM64/v8", r#"{"architecture":"arm64","os":"linux"}"#),
            ("linux/arm/v6", r#"{"architecture":"arm","os":"linux","variant":"v6"}"#),
        ] {
            assert_eq!(platform(text).unwrap(), json, "{text}");
        }
        for bad in ["foo", "", "a/b/c/d"] {
            assert!(platform(bad).is_err(), "{bad}");
        }
    }
}
