//! Names of images, as far as a client must understand them.

/// The registry that names without one mean.
const DEFAULT_DOMAIN: &str = "docker.io";
/// The key under which its credentials are kept.
pub(crate) const DEFAULT_SERVER: &str = "https://index.docker.io/v1/";

/// The registry in a name.
pub(crate) fn domain(name: &str) -> &str {
    match name.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DEFAULT_DOMAIN,
    }
}

/// The key under which the credentials for a name's registry are kept.
pub(crate) fn server(name: &str) -> &str {
    server_of_domain(domain(name))
}

/// The key under which a registry's credentials are kept.
pub(crate) fn server_of_domain(domain: &str) -> &str {
    match domain {
        "" | DEFAULT_DOMAIN | "index.docker.io" | "registry-1.docker.io" => DEFAULT_SERVER,
        other => other,
    }
}

/// Repository and tag or digest; neither is added.
pub(crate) fn split(name: &str) -> (&str, Option<&str>) {
    if let Some((repository, digest)) = name.split_once('@') {
        return (repository, Some(digest));
    }
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    match name[slash..].rfind(':') {
        Some(colon) => (&name[..slash + colon], Some(&name[slash + colon + 1..])),
        None => (name, None),
    }
}

/// The name with `:latest` where it has neither tag nor digest.
pub(crate) fn tagged(name: &str) -> String {
    match split(name) {
        (_, Some(_)) => name.to_owned(),
        (repository, None) => format!("{repository}:latest"),
    }
}

/// The name as people write it: without the default registry.
pub(crate) fn familiar(name: &str) -> &str {
    name.strip_prefix("docker.io/library/").or_else(|| name.strip_prefix("docker.io/")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(domain("busybox"), "docker.io");
        assert_eq!(domain("team/app:1"), "docker.io");
        assert_eq!(domain("localhost/app"), "localhost");
        assert_eq!(domain("127.0.0.1:5000/team/app"), "127.0.0.1:5000");
        assert_eq!(server("team/app"), DEFAULT_SERVER);
        assert_eq!(split("127.0.0.1:5000/app"), ("127.0.0.1:5000/app", None));
        assert_eq!(split("127.0.0.1:5000/app:v1"), ("127.0.0.1:5000/app", Some("v1")));
        assert_eq!(split("app@sha256:ab"), ("app", Some("sha256:ab")));
        assert_eq!(tagged("app"), "app:latest");
        assert_eq!(familiar("docker.io/library/busybox"), "busybox");
    }
}
