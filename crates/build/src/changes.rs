//! Instructions that change an image's configuration outside of a build: `--change` of import and commit.

use crate::dockerfile::{Dockerfile, Instruction};
use crate::executor::apply_to;
use wharf_model::{Error, Result};
use wharf_oci::image_config::Config;

/// Applies `CMD`, `ENTRYPOINT`, `ENV`, `EXPOSE`, `HEALTHCHECK`, `LABEL`, `ONBUILD`, `STOPSIGNAL`, `USER`, `VOLUME` and
/// `WORKDIR`, one instruction a text.
///
/// # Errors
/// `Invalid` for other instructions and for what cannot be read.
pub fn apply_changes(mut config: Config, changes: &[String]) -> Result<Config> {
    for text in changes {
        let word = text.split_whitespace().next().unwrap_or_default();
        let unfit = || Error::invalid(format!("{word} is not a valid change command"));
        let instruction = Dockerfile::parse_alone(text).map_err(|why| {
            if why.starts_with("unknown instruction") { unfit() } else { Error::invalid(why) }
        })?;
        config = match instruction {
            Instruction::Workdir(path) => {
                Config { working_dir: std::path::Path::new("/").join(path).display().to_string(), ..config }
            }
            Instruction::From { .. }
            | Instruction::Arg(_)
            | Instruction::Run { .. }
            | Instruction::Copy(_)
            | Instruction::Add(_)
            | Instruction::Maintainer(_)
            | Instruction::Shell(_) => return Err(unfit()),
            instruction => apply_to(config, &instruction, text)?,
        };
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_change_the_configuration() {
        let changes =
            ["ENV A=b", "CMD [\"x\", \"y\"]", "EXPOSE 80 90/udp", "WORKDIR w", "LABEL l=$A", "USER me"];
        let config = apply_changes(Config::default(), &changes.map(str::to_owned))
            .unwrap_or_else(|e| panic!("{}", e.full()));
        assert_eq!(config.env, ["A=b"]);
        assert_eq!(config.cmd.as_deref(), Some(&["x".to_owned(), "y".to_owned()][..]));
        assert_eq!(config.exposed_ports.into_iter().collect::<Vec<_>>(), ["80/tcp", "90/udp"]);
        assert_eq!((config.working_dir.as_str(), config.user.as_str()), ("/w", "me"));
        assert_eq!(config.labels.get("l").map(String::as_str), Some("b"));
        for bad in ["RUN x", "COPY a b", "NONSENSE", ""] {
            assert!(apply_changes(Config::default(), &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
