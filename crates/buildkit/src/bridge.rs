//! `moby.buildkit.v1.frontend.LLBBridge`: how buildx steers its own build. It asks for `dockerfile.v0`, and gives the result back.

use crate::builds::{Build, Outcome};
use crate::control::{refuse_graph, unknown_frontend};
use crate::error::said;
use crate::frontend::{Frontend, NAME};
use crate::inputs::definition_of;
use crate::{BuildKit, describe};
use std::sync::Arc;
use wharf_grpc::proto::gateway::{
    InputsResponse, PongResponse, Ref, Reference, Result as Found, ReturnRequest, SolveRequest, SolveResponse,
};
use wharf_grpc::proto::session::Empty;
use wharf_grpc::server::{Call, Reply};
use wharf_grpc::{Code, Status};

/// Says which build a call is about.
const BUILD: &str = "buildkit-controlapi-buildid";

impl BuildKit {
    /// One call of the service.
    pub(crate) async fn bridge(&self, method: &str, mut call: Call) -> Result<Reply, Status> {
        let name = call.metadata.get(BUILD).and_then(|id| id.to_str().ok()).unwrap_or_default();
        let build = self.builds.find(name).await?;
        match method {
            "Ping" => Ok(Reply::one(&pong(self))),
            "Solve" => {
                let request = call.messages.only().await?;
                tokio::select! {
                    answer = self.solve_part(&build, request) => answer.map(|answer| Reply::one(&answer)).map_err(said),
                    () = build.ended() => Err(Status::new(Code::Cancelled, "context canceled")),
                }
            }
            "Return" => {
                give_back(&build, call.messages.only().await?);
                Ok(Reply::one(&Empty {}))
            }
            // A result is there before it has a name.
            "Evaluate" | "Warn" => Ok(Reply::one(&Empty {})),
            "Inputs" => Ok(Reply::one(&InputsResponse::default())),
            method => Err(Status::unimplemented(format!("{method} of a build's results is not supported"))),
        }
    }

    async fn solve_part(&self, build: &Arc<Build>, request: SolveRequest) -> Result<SolveResponse, Status> {
        refuse_graph(request.definition.as_ref())?;
        match request.frontend.as_str() {
            "" => return Ok(SolveResponse { result: Some(Found::default()) }),
            NAME => {}
            other => return Err(unknown_frontend(other)),
        }
        let caller = self.sessions.find(&build.session).await?;
        let frontend = Frontend { kit: self, build, caller };
        let answer = frontend.solve(&request.frontend_opt, &request.frontend_inputs).await?;
        let definition = match &answer.outcome {
            Outcome::Image(image) => Some(definition_of(image)),
            Outcome::Nothing => None,
        };
        let reference = Ref { id: build.keep(answer.outcome), definition };
        let result = Found { reference: Some(Reference::One(reference)), metadata: answer.metadata };
        Ok(SolveResponse { result: Some(result) })
    }
}

fn give_back(build: &Build, request: ReturnRequest) {
    if let Some(error) = request.error {
        return build.give_back(Err(error.into()));
    }
    let name = match request.result.and_then(|result| result.reference) {
        None => None,
        Some(Reference::Old(name)) => Some(name),
        Some(Reference::One(reference)) => Some(reference.id),
        Some(Reference::OldMap(map)) => map.refs.into_values().next(),
        Some(Reference::Map(map)) => map.refs.into_values().next().map(|reference| reference.id),
    };
    build.give_back(match name.filter(|name| !name.is_empty()) {
        Some(name) => build.result(&name),
        None => Ok(Outcome::Nothing),
    });
}

fn pong(kit: &BuildKit) -> PongResponse {
    PongResponse {
        frontend_caps: describe::caps(&describe::BRIDGE),
        llb_caps: describe::caps(&describe::BUILD),
        workers: vec![describe::worker(kit)],
    }
}
