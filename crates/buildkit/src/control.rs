//! `moby.buildkit.v1.Control`: builds, their news, and what there is of a cache.

use crate::builds::{Build, Outcome};
use crate::error::said;
use crate::export::{check, export};
use crate::frontend::{Frontend, NAME};
use crate::sessions::Hello;
use crate::{BuildKit, describe};
use wharf_grpc::proto::control::{
    BuildHistoryRequest, CacheOptionsEntry, Exporter, InfoResponse, ListWorkersResponse, SolveRequest,
    SolveResponse, StatusRequest,
};
use wharf_grpc::proto::ops::Definition;
use wharf_grpc::proto::session::Empty;
use wharf_grpc::server::{Call, Reply};
use wharf_grpc::{Code, Status, relay};

impl BuildKit {
    /// One call of the service.
    pub(crate) async fn control(&self, method: &str, mut call: Call) -> Result<Reply, Status> {
        match method {
            "Solve" => {
                let answer = self.solve(call.messages.only().await?).await;
                answer.map(|answer| Reply::one(&answer)).map_err(said)
            }
            "Status" => self.news(call.messages.only().await?).await,
            "ListWorkers" => Ok(Reply::one(&ListWorkersResponse { record: vec![describe::worker(self)] })),
            "Info" => Ok(Reply::one(&InfoResponse { version: Some(describe::version()) })),
            "DiskUsage" => Ok(Reply::one(&self.disk_usage(call.messages.only().await?).await?)),
            "Prune" => self.prune(call.messages.only().await?).await,
            "ListenBuildHistory" => self.history(call.messages.only().await?),
            "UpdateBuildHistory" => Ok(Reply::one(&Empty {})),
            "Session" => self.session(call),
            method => Err(Status::unimplemented(format!("unknown method {method} for service Control"))),
        }
    }

    async fn solve(&self, request: SolveRequest) -> Result<SolveResponse, Status> {
        let (build, returned) =
            Build::new(&request.reference, request.session.clone(), request.entitlements.clone());
        // Before anything is refused: who asks for its news waits for it to come.
        let _entered = self.builds.enter(&request.reference, &build)?;
        check_entitlements(&build.entitlements)?;
        refuse_graph(request.definition.as_ref())?;
        let exporters = exporters(&request);
        check(&exporters)?;
        check_cache(request.cache.iter().flat_map(|cache| &cache.exports))?;
        // Nothing of it is collected between the last step and the names.
        let _building = self.builder.images.building().await;
        let outcome = match request.frontend.as_str() {
            // The client says what is to be built, call by call.
            "" => returned.await.map_err(|_| Status::new(Code::Cancelled, "the build was given up"))??,
            NAME => {
                let caller = self.sessions.find(&build.session).await?;
                let frontend = Frontend { kit: self, build: &build, caller };
                frontend.solve(&request.frontend_attrs, &request.frontend_inputs).await?.outcome
            }
            other => return Err(unknown_frontend(other)),
        };
        let Outcome::Image(_) = &outcome else { return Ok(SolveResponse::default()) };
        let caller = self.sessions.find(&build.session).await?;
        let exporter_response = export(self, &build, &caller, &exporters, outcome).await?;
        Ok(SolveResponse { exporter_response })
    }

    /// A session over a stream of this connection: `bake` shares one between its builds so.
    fn session(&self, call: Call) -> Result<Reply, Status> {
        let hello = Hello::parse(&call.metadata).map_err(Status::invalid)?;
        self.sessions.admit(&hello).map_err(|why| Status::new(Code::AlreadyExists, why))?;
        let (answers, reply) = Reply::many();
        let (ours, theirs) = tokio::io::duplex(relay::PIECE);
        tokio::spawn(relay::until_one_ends(theirs, answers.into_requests(), call.messages));
        let sessions = self.sessions.clone();
        tokio::spawn(async move {
            if let Err(e) = sessions.run(hello, ours).await {
                // A client that goes away in the middle is everyday life.
                tracing::debug!("a session over a stream: {e}");
            }
        });
        Ok(reply)
    }

    async fn news(&self, request: StatusRequest) -> Result<Reply, Status> {
        let build = self.builds.find(&request.reference).await?;
        let (answers, reply) = Reply::many();
        tokio::spawn(async move {
            let mut at = 0;
            loop {
                let next = tokio::select! {
                    next = build.progress.after(at) => next,
                    () = answers.left() => return,
                };
                let Some((news, until)) = next else { return };
                at = until;
                if !answers.send(&news).await {
                    return;
                }
            }
        });
        Ok(reply)
    }

    /// No build is remembered: a list is empty, and who waits for more waits.
    fn history(&self, request: BuildHistoryRequest) -> Result<Reply, Status> {
        let (answers, reply) = Reply::many();
        if !request.early_exit {
            tokio::spawn(async move { answers.left().await });
        }
        Ok(reply)
    }
}

/// What becomes of the result; older clients say it in two fields.
fn exporters(request: &SolveRequest) -> Vec<Exporter> {
    if !request.exporters.is_empty() || request.exporter.is_empty() {
        return request.exporters.clone();
    }
    vec![Exporter { kind: request.exporter.clone(), attrs: request.exporter_attrs.clone() }]
}

/// What a build may be allowed (`--allow`). A word that is mistyped allows nothing, and that is told before the first step.
fn check_entitlements(given: &[String]) -> Result<(), Status> {
    let is_known = |name: &str| {
        matches!(name, "security.insecure" | "network.host" | "device") || name.starts_with("device=")
    };
    match given.iter().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(unknown) => Err(Status::invalid(format!("unknown entitlement {unknown}"))),
    }
}

/// An image always says which steps it was made in: that is all that `inline` asks for.
fn check_cache<'a>(exports: impl IntoIterator<Item = &'a CacheOptionsEntry>) -> Result<(), Status> {
    match exports.into_iter().find(|export| export.kind != "inline") {
        None => Ok(()),
        Some(export) => Err(Status::unimplemented(format!(
            "cache export of type {} is not supported: the cache is this engine's own",
            export.kind
        ))),
    }
}

/// Low-level steps are not executed.
pub(crate) fn refuse_graph(definition: Option<&Definition>) -> Result<(), Status> {
    match definition {
        Some(definition) if !definition.def.is_empty() => {
            Err(Status::unimplemented(format!("LLB is not supported: only the frontend {NAME} is")))
        }
        _ => Ok(()),
    }
}

pub(crate) fn unknown_frontend(name: &str) -> Status {
    Status::unimplemented(format!("frontend {name} is not supported: only {NAME} is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_elsewhere_are_refused_by_name() {
        let export = |kind: &str| CacheOptionsEntry { kind: kind.to_owned(), ..CacheOptionsEntry::default() };
        assert!(check_cache([export("inline")].iter()).is_ok());
        let refused = check_cache([export("inline"), export("gha")].iter()).unwrap_err();
        assert!(refused.message.contains("type gha"));
    }

    #[test]
    fn what_a_build_may_is_known() {
        let given = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let known = ["network.host", "security.insecure", "device", "device=vendor.com/gpu=all"];
        check_entitlements(&given(&known)).unwrap();
        for unknown in ["", "foo", "network.hosts", "security.insecure=x"] {
            let refused = check_entitlements(&given(&["network.host", unknown])).unwrap_err();
            assert_eq!(refused.message, format!("unknown entitlement {unknown}"));
        }
    }

    #[test]
    fn graphs_are_refused() {
        assert!(refuse_graph(None).is_ok());
        assert!(refuse_graph(Some(&Definition::default())).is_ok());
        let graph = Definition { def: vec![vec![1]], ..Definition::default() };
        assert!(refuse_graph(Some(&graph)).is_err());
    }
}
