//! The Dockerfile and the `.dockerignore` beside it or in the context.

use super::Frontend;
use crate::attributes::{Attributes, Source};
use crate::directory::Wanted;
use crate::error::status;
use crate::progress::Step;
use crate::upload;
use wharf_build::Context;
use wharf_build::ignore::Ignore;
use wharf_grpc::{Code, Status};

/// The Dockerfile, and what else came with it.
pub(super) struct Loaded {
    pub(super) text: String,
    /// Its own `.dockerignore`.
    pub(super) ignore: Option<String>,
    /// The context, when the Dockerfile came in it.
    pub(super) context: Option<Context>,
}

impl Frontend<'_> {
    pub(super) async fn load(&self, attributes: &Attributes) -> Result<Loaded, Status> {
        let name = attributes.filename.as_str();
        let step = self.build.progress.step(format!("[internal] load build definition from {name}"));
        let loaded = match (&attributes.context, &attributes.dockerfile) {
            (Some(Source::Url(url)), None) => self.load_remote(url, name).await,
            (_, local) => self.load_local(local.as_deref().unwrap_or("dockerfile"), name, &step).await,
        };
        step.ended(loaded)
    }

    /// The Dockerfile is in the context; an address may lead to a Dockerfile alone.
    async fn load_remote(&self, address: &str, name: &str) -> Result<Loaded, Status> {
        let fetched = upload::fetch(self.kit, &self.caller, address).await?;
        let name = fetched.dockerfile.as_deref().unwrap_or(name);
        let text = text(&fetched.context, name)?.ok_or_else(|| missing(name))?;
        Ok(Loaded { text, ignore: None, context: Some(fetched.context) })
    }

    async fn load_local(&self, local: &str, name: &str, step: &Step) -> Result<Loaded, Status> {
        let ignore = format!("{name}.dockerignore");
        // As BuildKit, which takes one in lower case as well.
        let (directory, base) = name.rsplit_once('/').map_or(("", name), |(d, base)| (d, base));
        let lower = (base == "Dockerfile").then(|| match directory {
            "" => "dockerfile".to_owned(),
            directory => format!("{directory}/dockerfile"),
        });
        let follow = [name.to_owned(), ignore.clone()].into_iter().chain(lower.clone()).collect();
        let wanted = Wanted { name: local.to_owned(), follow, ..Wanted::default() };
        let context = self.receive(&wanted, step, "transferring dockerfile:").await?;
        let mut found = text(&context, name)?;
        if let (None, Some(lower)) = (&found, lower) {
            found = text(&context, &lower)?;
        }
        let text_of_ignore = text(&context, &ignore)?;
        Ok(Loaded { text: found.ok_or_else(|| missing(name))?, ignore: text_of_ignore, context: None })
    }

    /// What of the context is left out. An archive has been filtered as it was read.
    pub(super) async fn ignore(&self, attributes: &Attributes, loaded: &Loaded) -> Result<Ignore, Status> {
        if let Some(text) = &loaded.ignore {
            return Ok(Ignore::parse(text));
        }
        match &attributes.context {
            Some(Source::Local(name)) => self.local_ignore(name, "[internal]", "transferring context:").await,
            _ => Ok(Ignore::default()),
        }
    }

    pub(super) async fn local_ignore(&self, name: &str, whose: &str, part: &str) -> Result<Ignore, Status> {
        const FILE: &str = ".dockerignore";
        let wanted = Wanted { name: name.to_owned(), follow: vec![FILE.to_owned()], ..Wanted::default() };
        let context = self.local(&wanted, &format!("{whose} load {FILE}"), part).await?;
        Ok(Ignore::parse(text(&context, FILE)?.as_deref().unwrap_or_default()))
    }
}

fn text(context: &Context, path: &str) -> Result<Option<String>, Status> {
    context.text(path).map_err(|e| status(&e))
}

fn missing(name: &str) -> Status {
    let message = format!("failed to read dockerfile: open {name}: no such file or directory");
    Status::new(Code::Unknown, message)
}
