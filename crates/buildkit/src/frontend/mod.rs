//! The frontend `dockerfile.v0`: gathers what a build needs from its client, and has our own builder execute it.

mod contexts;
mod definition;

use crate::BuildKit;
use crate::attributes::Attributes;
use crate::builds::{Build, Outcome};
use crate::caller::{Asked, Caller};
use crate::steps::Steps;
use crate::{place, questions};
use std::collections::BTreeMap;
use std::sync::Arc;
use wharf_build::dockerfile::Dockerfile;
use wharf_build::{CredentialsFor, NamedContext, Options};
use wharf_grpc::Status;
use wharf_grpc::proto::ops::Definition;

/// The name of our only frontend.
pub(crate) const NAME: &str = "dockerfile.v0";

/// One use of it.
pub(crate) struct Frontend<'a> {
    pub(crate) kit: &'a BuildKit,
    pub(crate) build: &'a Build,
    pub(crate) caller: Arc<Caller>,
}

/// What it says.
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) metadata: BTreeMap<String, Vec<u8>>,
}

impl Frontend<'_> {
    /// Builds, or answers a question about the Dockerfile.
    pub(crate) async fn solve(
        &self,
        given: &BTreeMap<String, String>,
        inputs: &BTreeMap<String, Definition>,
    ) -> Result<Answer, Status> {
        let attributes = Attributes::parse(given)?;
        let loaded = self.load(&attributes).await?;
        let name = attributes.filename.as_str();
        let file = Dockerfile::parse(&loaded.text)
            .map_err(|e| place::at(Status::invalid(e.to_string()), name, &loaded.text, e.line))?;
        if let Some(target) = &attributes.target
            && file.find(target, file.stages.len()).is_none()
        {
            return Err(Status::invalid(format!("target stage \"{target}\" could not be found")));
        }
        if let Some(question) = &attributes.question {
            let metadata = questions::answer(question, &file, &attributes, &loaded.text)?;
            return Ok(Answer { outcome: Outcome::Nothing, metadata });
        }
        self.refuse_imports(&attributes);
        let ignore = self.ignore(&attributes, &loaded).await?;
        let contexts = self.contexts(&attributes, inputs).await?;
        let context = match loaded.context {
            Some(context) => Arc::new(context),
            None => {
                let needs = self.needs(&attributes, &file, &contexts);
                self.context(&attributes, ignore.patterns(), needs).await?
            }
        };
        let options = self.options(&attributes, contexts);
        let is_plain = matches!(&file.stages[..], [only] if only.name.is_none());
        let steps = Steps::new(&self.build.progress, is_plain);
        let built = self
            .kit
            .builder
            .build_file(&loaded.text, context, &options, &steps.sink())
            .await
            .map_err(|e| steps.failed(&e, name, &loaded.text))?;
        Ok(Answer { outcome: Outcome::Image(built), metadata: BTreeMap::new() })
    }

    fn options(&self, attributes: &Attributes, contexts: BTreeMap<String, NamedContext>) -> Options {
        let caller = Arc::clone(&self.caller);
        let credentials: CredentialsFor = Arc::new(move |reference| {
            let (caller, domain) = (Arc::clone(&caller), reference.domain().to_owned());
            Box::pin(async move { caller.credentials(&domain).await })
        });
        let may = |what: &str| self.build.entitlements.iter().any(|given| given == what);
        Options {
            dockerfile: attributes.filename.clone(),
            args: attributes.args.clone(),
            labels: attributes.labels.clone(),
            target: attributes.target.clone(),
            no_cache: attributes.no_cache,
            no_cache_filter: attributes.no_cache_filter.clone(),
            pull: attributes.pull,
            platform: attributes.platform.clone(),
            network: attributes.network.clone(),
            host: attributes.host.clone(),
            credentials,
            contexts,
            session: Arc::new(Asked(Arc::clone(&self.caller))),
            insecure: may("security.insecure"),
            host_network: may("network.host"),
            ..Options::default()
        }
    }

    /// Caches elsewhere are not read: a build says so and goes on, as BuildKit does with one it cannot reach.
    fn refuse_imports(&self, attributes: &Attributes) {
        for import in &attributes.imports {
            let source = import.attrs.get("ref").or_else(|| import.attrs.get("src")).unwrap_or(&import.kind);
            let step = self.build.progress.step(format!("importing cache manifest from {source}"));
            step.failed("not supported: the cache is this engine's own");
        }
    }
}
