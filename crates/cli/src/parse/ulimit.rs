//! `--ulimit`.

use wharf_docker_api::types::host_config::Ulimit;

const NAMES: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Parses `name=soft[:hard]`; `-1` and `unlimited` are no limit.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text {
        "unlimited" => Ok(-1),
        text => text.parse::<i64>().map_err(|_| format!("invalid ulimit value in {name}={limits}: {text:?}")),
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard >= 0 && (soft > hard || soft == -1) {
        return Err(format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parse = |text| ulimit(text).map(|u| (u.name, u.soft, u.hard));
        assert_eq!(parse("nofile=1024:2048"), Ok(("nofile".into(), 1024, 2048)));
        assert_eq!(parse("core=0"), Ok(("core".into(), 0, 0)));
        assert_eq!(parse("memlock=-1:-1"), Ok(("memlock".into(), -1, -1)));
        for bad in ["nofile", "x=1", "nofile=2:1", "nofile=a"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
