//! `context import`: a context from the tar that `context export` writes, ours or the docker client's.

use crate::config::contexts::{NamedEngine, Store, TLS_FILES, Tls, check_name};
use crate::context::{Context, line, note};
use crate::failure::{Failure, Outcome};
use std::io::Read;

/// Bytes of an archive, and of a file in it, which may be sparse: a name, an address and three certificates take some KB.
const LIMIT: u64 = 10 << 20;

/// A tar is made of blocks of this size.
const BLOCK: usize = 512;

/// Flags of `context import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[arg(value_name = "CONTEXT", required = true, hide = true)]
    name: String,
    #[arg(value_name = "FILE", required = true, hide = true)]
    file: String,
}

pub(crate) async fn run(context: &Context, options: Options) -> Outcome {
    let (store, name) = (Store::of(&context.config_dir), options.name);
    check_name(&name)?;
    if store.find(&name).is_ok() {
        return Err(Failure::new(format!("context {name:?} already exists")));
    }
    let (engine, tls) = unpack(&read(&options.file)?)?;
    store.keep(&NamedEngine { name: name.clone(), ..engine }, &tls)?;
    line(&name)?;
    note(format!("Successfully imported context {name:?}"));
    Ok(0)
}

fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let failed = |e| Failure::file("read", file, &e);
    let mut content = Vec::new();
    let read = match file {
        "-" => std::io::stdin().take(LIMIT + 1).read_to_end(&mut content),
        path => std::fs::File::open(path).map_err(failed)?.take(LIMIT + 1).read_to_end(&mut content),
    };
    read.map_err(failed)?;
    if content.len() as u64 > LIMIT {
        return Err(Failure::new(format!("{file} is no context: it has more than {} MB", LIMIT >> 20)));
    }
    Ok(content)
}

pub(super) fn unpack(archive: &[u8]) -> Result<(NamedEngine, Tls), Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("read the context: {e}"));
    if archive.starts_with(b"PK") {
        return Err(Failure::new("read the context: a zip archive is not read, pack it as a tar"));
    }
    // The docker client's end with the last file's last byte, not with that of its block.
    let rest = archive.len().next_multiple_of(BLOCK) - archive.len();
    let (mut engine, mut tls) = (None, Tls::default());
    for entry in tar::Archive::new(archive.chain(&[0; BLOCK][..rest])).entries().map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        let (is_dir, mut content) = (entry.header().entry_type().is_dir(), Vec::new());
        entry.take(LIMIT + 1).read_to_end(&mut content).map_err(failed)?;
        if content.len() as u64 > LIMIT {
            return Err(Failure::new(format!("{name} in the context has more than {} MB", LIMIT >> 20)));
        }
        let of_tls = name.strip_prefix("tls/docker/");
        match (name.as_str(), of_tls.and_then(|file| TLS_FILES.iter().position(|f| *f == file))) {
            ("meta.json", _) => {
                let read = serde_json::from_slice::<NamedEngine>(&content);
                engine = Some(read.map_err(|e| Failure::new(format!("read meta.json: {e}")))?);
            }
            (_, Some(index)) => tls[index] = Some(content),
            ("tls" | "tls/docker", _) if is_dir => {}
            _ => return Err(Failure::new(format!("{name}: unexpected context file"))),
        }
    }
    let engine = engine.ok_or_else(|| Failure::new("invalid context: no metadata found"))?;
    Ok((engine, tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_context_is_refused() {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        tar.append_data(&mut header, "tls/other/key.pem", &b""[..]).unwrap();
        let other = tar.into_inner().unwrap();
        let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
        // Nothing but a hole of 1 GiB.
        let mut sparse = tar::Builder::new(Vec::new());
        let (mut header, size) = (tar::Header::new_gnu(), *b"10000000000\0");
        header.set_entry_type(tar::EntryType::GNUSparse);
        header.set_size(0);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.realsize = size;
        (gnu.sparse[0].offset, gnu.sparse[0].numbytes) = (size, *b"00000000000\0");
        sparse.append_data(&mut header, "meta.json", &b""[..]).unwrap();
        let sparse = sparse.into_inner().unwrap();
        for (archive, why) in [
            (&other[..], "tls/other/key.pem: unexpected context file"),
            (b"PK\x03\x04", "zip"),
            (&empty, "no metadata found"),
            (&sparse, "meta.json in the context has more than 10 MB"),
            (b"junk", "read the context"),
        ] {
            let message = unpack(archive).unwrap_err().message;
            assert!(message.contains(why), "{message}");
        }
    }
}
