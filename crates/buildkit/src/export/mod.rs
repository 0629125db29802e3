//! What becomes of an image: one file for each kind of place.

mod archive;
mod files;
mod image;
mod writer;

use crate::BuildKit;
use crate::attributes::is_true;
use crate::builds::{Build, Outcome};
use crate::caller::Caller;
use http::{HeaderName, HeaderValue};
use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_engine::images::Image;
use wharf_grpc::proto::control::Exporter;
use wharf_grpc::{HeaderMap, Status};
use wharf_oci::reference::Reference;

/// Says which of several outputs a stream to the client is.
const OUTPUT: HeaderName = HeaderName::from_static("buildkit-attachable-exporter-id");
/// Outputs of one build: each is work, and more than a few are a mistake.
const MOST: usize = 16;

/// What the exporters say, under the names that clients know.
type Said = BTreeMap<String, String>;

/// One output of a build.
struct Export<'a> {
    kit: &'a BuildKit,
    build: &'a Build,
    caller: &'a Arc<Caller>,
    image: Arc<Image>,
    attrs: &'a BTreeMap<String, String>,
    /// Its place among the outputs.
    at: usize,
}

/// What is known before anything is built: the kinds of all outputs.
pub(crate) fn check(exporters: &[Exporter]) -> Result<(), Status> {
    if exporters.len() > MOST {
        return Err(Status::invalid(format!("{} outputs are more than {MOST}", exporters.len())));
    }
    for exporter in exporters {
        let attr = |name: &str| exporter.attrs.get(name).map_or("", String::as_str);
        match exporter.kind.as_str() {
            "moby" | "image" if is_true(attr("push-by-digest")) => {
                return Err(Status::unimplemented(
                    "push-by-digest is not supported: push the image by a name",
                ));
            }
            "docker" | "oci" if attr("tar") == "false" => {
                return Err(Status::unimplemented(format!(
                    "the output {} as a directory (tar=false) is not supported: take the archive",
                    exporter.kind
                )));
            }
            "moby" | "image" | "docker" | "oci" | "local" | "tar" => {}
            kind => return Err(Status::unimplemented(format!("exporter \"{kind}\" could not be found"))),
        }
        names(&exporter.attrs)?;
    }
    Ok(())
}

/// Does all of them.
pub(crate) async fn export(
    kit: &BuildKit,
    build: &Build,
    caller: &Arc<Caller>,
    exporters: &[Exporter],
    outcome: Outcome,
) -> Result<Said, Status> {
    let mut said = Said::new();
    let Outcome::Image(image) = outcome else { return Ok(said) };
    for (at, exporter) in exporters.iter().enumerate() {
        let export = Export { kit, build, caller, image: Arc::clone(&image), attrs: &exporter.attrs, at };
        let more = match exporter.kind.as_str() {
            "local" => export.files().await,
            "tar" => export.tar().await,
            "docker" | "oci" => export.archive(&exporter.kind).await,
            _ => export.image().await,
        };
        said.extend(more?);
    }
    Ok(said)
}

impl Export<'_> {
    fn attr(&self, name: &str) -> &str {
        self.attrs.get(name).map_or("", String::as_str)
    }

    /// What a stream to the client is told of this output.
    fn metadata(&self) -> HeaderMap {
        HeaderMap::from_iter([(OUTPUT, HeaderValue::from(self.at))])
    }

    /// What is said of every image.
    fn said(&self, names: &[Reference]) -> Said {
        let id = self.image.id.to_string();
        let mut said = Said::from([
            ("containerimage.config.digest".to_owned(), id.clone()),
            ("containerimage.digest".to_owned(), id),
        ]);
        if !names.is_empty() {
            said.insert("image.name".to_owned(), listed(names));
        }
        said
    }
}

fn listed(names: &[Reference]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The names an image shall get, as they were given.
fn names(attrs: &BTreeMap<String, String>) -> Result<Vec<Reference>, Status> {
    let all = attrs.get("name").map_or("", String::as_str).split(',').filter(|name| !name.is_empty());
    all.map(|name| {
        let parsed = name.parse::<Reference>();
        parsed.map_err(|e| Status::invalid(format!("failed to parse {name:?} as the image's name: {e}")))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_had_is_said_before_the_build() {
        let exporter = |kind: &str, attrs: &[(&str, &str)]| Exporter {
            kind: kind.to_owned(),
            attrs: attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        assert!(check(&[exporter("moby", &[("name", "a,b:1")]), exporter("local", &[])]).is_ok());
        for (kind, name, value) in [
            ("what", "", ""),
            ("moby", "push-by-digest", "true"),
            ("oci", "tar", "false"),
            ("moby", "name", "A:"),
        ] {
            assert!(check(&[exporter(kind, &[(name, value)])]).is_err(), "{kind} {name}={value}");
        }
        assert!(check(&vec![exporter("moby", &[]); MOST + 1]).is_err());
    }
}
