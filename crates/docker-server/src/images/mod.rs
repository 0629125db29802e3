//! `/images` and `/auth`.

mod auth;
mod check;
mod copy;
pub(crate) mod describe;
mod progress;
pub(crate) mod remote;
mod transfer;

pub(crate) use auth::{by_registry as credentials_by_registry, login};
pub(crate) use check::check;
pub(crate) use describe::{list, wire_removed};
pub(crate) use progress::MessageStream;
pub(crate) use transfer::{create, load, platforms, prune, save_many};

use crate::Api;
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use crate::peer::Peer;
use crate::version::Version;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};

/// `GET /images/NAME/json|history|get`: a name has slashes of its own, so the last part tells what is wanted.
pub(crate) async fn get(
    State(api): State<Api>,
    Path(rest): Path<String>,
    params: Params,
    version: Version,
) -> ApiResult {
    match rest.rsplit_once('/') {
        Some((name, "json")) => {
            api.images.resolve_for(name, &platforms(&params, "platform")?)?;
            describe::inspect(&api, name, version)
        }
        Some((name, "history")) => {
            api.images.resolve_for(name, &platforms(&params, "platform")?)?;
            describe::history(&api, name)
        }
        Some((name, "get")) => transfer::save(api, vec![name.to_owned()], &params),
        _ => {
            Err(ApiError::new(StatusCode::NOT_FOUND, format!("/images/{rest} is not served by this engine")))
        }
    }
}

/// `POST /images/NAME/push|tag`.
pub(crate) async fn post(
    State(api): State<Api>,
    Path(rest): Path<String>,
    params: Params,
    peer: Peer,
    headers: HeaderMap,
) -> ApiResult {
    match rest.rsplit_once('/') {
        Some((name, "push")) => transfer::push(api, name, &params, peer, &headers),
        Some((name, "tag")) => describe::tag(&api, name, &params),
        _ => {
            Err(ApiError::new(StatusCode::NOT_FOUND, format!("/images/{rest} is not served by this engine")))
        }
    }
}

/// `DELETE /images/NAME`.
pub(crate) async fn delete(State(api): State<Api>, Path(name): Path<String>, params: Params) -> ApiResult {
    api.images.resolve_for(&name, &platforms(&params, "platforms")?)?;
    describe::remove(api, name, params.flag("force")).await
}
