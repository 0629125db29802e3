//! Instructions that change an image's configuration outside of a build: `--change` of import and commit.

use crate::dockerfile::{Dockerfile, Instruction};
use crate::executor::apply_to;
use wharf_model::{Error, Result};
use wharf_oci::image_config::Config;

/// The instructions that a change may be.
const ALLOWED: [&str; 11] = [
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Applies instructions of [`ALLOWED`]. All texts together are one file, as Docker has it: a text may have several
/// instructions, comments and continued lines.
///
/// # Errors
/// `Invalid` for other instructions and for what cannot be read.
pub fn apply_changes(mut config: Config, changes: &[String]) -> Result<Config> {
    if changes.is_empty() {
        return Ok(config);
    }
    let allowed = |name: &str| ALLOWED.contains(&name);
    // The number of a line says nothing of a text that came alone.
    let statements =
        Dockerfile::parse_changes(&changes.join("\n"), &allowed).map_err(|e| Error::invalid(e.why))?;
    for statement in statements {
        config = match &statement.instruction {
            Instruction::Workdir(path) => {
                Config { working_dir: std::path::Path::new("/").join(path).display().to_string(), ..config }
            }
            instruction => apply_to(config, instruction, &statement.text)?,
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
    }

    #[test]
    fn a_text_may_have_several_instructions() {
        let changes = ["# ports\nEXPOSE 8000\nCMD [\"py\"]".to_owned(), "ENV a=1 \\\n b=2".to_owned()];
        let config = apply_changes(Config::default(), &changes).unwrap_or_else(|e| panic!("{}", e.full()));
        assert_eq!(config.exposed_ports.into_iter().collect::<Vec<_>>(), ["8000/tcp"]);
        assert_eq!(config.cmd, Some(vec!["py".to_owned()]));
        assert_eq!(config.env, ["a=1", "b=2"]);
    }

    #[test]
    fn what_is_no_change_is_refused_in_dockers_words() {
        for (bad, why) in [
            ("RUN x", "RUN is not a valid change command"),
            ("COPY a b", "COPY is not a valid change command"),
            ("NONSENSE", "NONSENSE is not a valid change command"),
            ("USER", "USER requires exactly one argument"),
            ("EXPOSE abc", "Invalid containerPort: abc"),
            ("", "file with no instructions"),
            ("\n\n", "file with no instructions"),
        ] {
            let answer = apply_changes(Config::default(), &[bad.to_owned()]);
            assert_eq!(answer.unwrap_err().full(), why, "{bad:?}");
        }
    }
}
