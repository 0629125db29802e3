//! `POST /images/check?name=&repair=`, beyond Docker: whether images are kept as they were stored.

use super::auth::by_registry;
use super::progress::MessageStream;
use crate::Api;
use crate::error::ApiResult;
use crate::params::Params;
use crate::peer::Peer;
use axum::extract::State;
use axum::http::HeaderMap;
use std::sync::Arc;
use wharf_docker_api::types::build::Message;
use wharf_docker_api::types::image::{CheckFinding, CheckSummary};
use wharf_engine::images::{Checked, Finding, LogIn, State as Became};

/// A message for each thing that is damaged, with a [`CheckFinding`] in `aux`; the last has a [`CheckSummary`]. Without names
/// all images are checked. With `repair` what is damaged is mended, with credentials from `X-Registry-Config`.
pub(crate) async fn check(
    State(api): State<Api>,
    params: Params,
    peer: Peer,
    headers: HeaderMap,
) -> ApiResult {
    let names: Vec<String> = params.all("name").into_iter().map(str::to_owned).collect();
    let known = by_registry(&headers);
    let log_in: LogIn = Arc::new(move |name| known.get(name.domain()).cloned().unwrap_or_default());
    let repair = params.flag("repair").then_some(log_in);
    let (stream, messages) = MessageStream::new();
    tokio::spawn(async move {
        let told = stream.clone();
        let tell = move |finding| told.send(found(finding));
        let checked = tokio::select! {
            checked = api.images.check(&names, repair, tell) => checked,
            () = stream.abandoned(peer) => return,
        };
        match checked {
            Ok(checked) => stream.send(summary(checked)),
            Err(e) => stream.error(e, 0),
        }
    });
    messages.answer().await
}

fn found(finding: Finding) -> Message {
    let (state, error) = match finding.state {
        Became::Damaged => ("damaged", String::new()),
        Became::Mended => ("mended", String::new()),
        Became::Lost(why) => ("lost", why),
    };
    let wire = CheckFinding {
        object: finding.object.name().to_owned(),
        digest: finding.digest.to_string(),
        image: finding.image,
        damage: finding.damage,
        state: state.to_owned(),
        error,
    };
    Message { aux: serde_json::to_value(wire).ok(), ..Message::default() }
}

fn summary(checked: Checked) -> Message {
    let wire = CheckSummary {
        images: checked.images,
        objects: checked.objects,
        bytes: checked.bytes,
        unverifiable: checked.unverifiable,
        damaged: checked.damaged,
        mended: checked.mended,
    };
    Message { aux: serde_json::to_value(wire).ok(), ..Message::default() }
}
