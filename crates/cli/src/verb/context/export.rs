//! `context export`: a context with its certificates as a tar, which the docker client reads too.

use super::known;
use crate::config::contexts::{NamedEngine, Store, TLS_FILES, Tls, encode};
use crate::context::{Context, note, print};
use crate::failure::{Failure, Outcome};
use crate::stream::terminal::stdout_is_terminal;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

/// Flags of `context export`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTEXT", required = true, hide = true)]
    name: String,
    #[arg(value_name = "FILE", hide = true)]
    file: Option<String>,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (store, name) = (Store::of(&context.config_dir), options.name);
    let engine = known(&store, &name)?;
    let packed = pack(&engine, &store.tls_of(&name)?)?;
    let file = options.file.unwrap_or_else(|| format!("{name}.dockercontext"));
    if file == "-" {
        if stdout_is_terminal() {
            let why = "cowardly refusing to export to a terminal, please specify a file path";
            return Err(Failure::new(why));
        }
        print(packed)?;
        return Ok(0);
    }
    // It may hold a key.
    let opened = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&file);
    let written = opened.and_then(|mut opened| opened.write_all(&packed));
    written.map_err(|e| Failure::file("write", &file, &e))?;
    note(format!("Written file {file:?}"));
    Ok(0)
}

fn pack(engine: &NamedEngine, tls: &Tls) -> Result<Vec<u8>, Failure> {
    let meta = encode(engine)?;
    let packed = || -> io::Result<Vec<u8>> {
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, "meta.json", 0o644, Some(&meta))?;
        add(&mut tar, "tls", 0o700, None)?;
        if tls.iter().any(Option::is_some) {
            add(&mut tar, "tls/docker", 0o700, None)?;
        }
        for (file, content) in TLS_FILES.iter().zip(tls) {
            if let Some(content) = content {
                add(&mut tar, &format!("tls/docker/{file}"), 0o600, Some(content))?;
            }
        }
        tar.into_inner()
    };
    packed().map_err(|e| Failure::new(format!("pack the context: {e}")))
}

/// Adds a file, or a directory where there is no content.
fn add(tar: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, content: Option<&[u8]>) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(if content.is_some() {
        tar::EntryType::Regular
    } else {
        tar::EntryType::Directory
    });
    header.set_mode(mode);
    header.set_size(content.map_or(0, |c| c.len() as u64));
    tar.append_data(&mut header, name, content.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verb::context::import::unpack;

    #[test]
    fn what_is_packed_is_unpacked() {
        let mut engine = NamedEngine { name: "far".into(), ..NamedEngine::default() };
        engine.metadata.description = "some words".into();
        engine.metadata.other.insert("StackOrchestrator".into(), "swarm".into());
        for tls in [Tls::default(), [Some(b"a".to_vec()), None, Some(b"k".to_vec())]] {
            let packed = pack(&engine, &tls).unwrap();
            assert_eq!(unpack(&packed).unwrap(), (engine.clone(), tls.clone()));
            // Without the rest of the last block and what comes after it.
            let end = packed.iter().rposition(|byte| *byte != 0).unwrap() + 1;
            assert_eq!(unpack(&packed[..end]).unwrap(), (engine.clone(), tls));
        }
    }
}
