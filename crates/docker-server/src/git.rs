//! Files of Git repositories for who cannot fetch them, beyond Docker's API.

use crate::Api;
use crate::containers::archive::{tar, written_body};
use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Serialize;
use wharf_build::NoSession;
use wharf_build::remote::Remote;
use wharf_git::{Access, Address, Repository};

/// `GET /git/commit`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Commit {
    commit: String,
}

fn remote(params: &Params) -> ApiResult<&str> {
    params
        .get("remote")
        .filter(|r| !r.is_empty())
        .ok_or_else(|| ApiError::bad_request("remote: an address is expected"))
}

/// `GET /git/commit?remote=ADDRESS`: the commit that an address means.
pub(crate) async fn commit(State(api): State<Api>, params: Params) -> ApiResult {
    let address = Address::parse(remote(&params)?)?;
    let access = Access { client: api.images.client().clone(), authorisation: None };
    let commit = Repository::new(address, access, &api.builder.scratch).commit().await?;
    Ok(Json(Commit { commit }).into_response())
}

/// `GET /git/files?remote=ADDRESS`: its files as a tar.
pub(crate) async fn files(State(api): State<Api>, params: Params) -> ApiResult {
    let (client, scratch) = (api.images.client(), &*api.builder.scratch);
    let files = Remote { client, scratch, session: &NoSession }.repository(remote(&params)?).await?;
    Ok(tar(written_body(move |out| files.write(out))))
}
