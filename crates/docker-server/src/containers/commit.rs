//! `POST /commit`: an image of a container.

use crate::convert::healthcheck;
use crate::error::{ApiError, ApiResult};
use crate::images::describe::{publish, reference};
use crate::params::{Params, json};
use crate::{Api, verify};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::collections::BTreeMap;
use wharf_build::apply_changes;
use wharf_docker_api::types::IdResponse;
use wharf_docker_api::types::container::Config;
use wharf_engine::images::{Commit, Image};
use wharf_model::ErrorKind;
use wharf_model::container::{ContainerRecord, merge_env};
use wharf_model::state::Status;
use wharf_oci::image_config::Config as ImageConfig;
use wharf_oci::reference::Reference;

pub(crate) async fn commit(State(api): State<Api>, params: Params, body: Body) -> ApiResult {
    let asked: Option<Config> = json(body).await?;
    let name = params.get("container").filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ApiError::bad_request("missing parameter: container"))?;
    let handle = api.containers.find(name)?;
    let record = handle.record();
    let changes: Vec<String> = params.all("changes").iter().map(ToString::to_string).collect();
    let commit = Commit {
        snapshot: record.id.to_string(),
        base: record.image.clone(),
        config: apply_changes(configured(record.image_config(), asked.unwrap_or_default())?, &changes)?,
        author: params.get("author").unwrap_or_default().to_owned(),
        comment: params.get("comment").unwrap_or_default().to_owned(),
        created_by: record.command().join(" "),
        reference: params.get("repo").map(|repo| reference(repo, params.get("tag"))).transpose()?,
    };
    let pauses = record.status == Status::Running && params.flag_or_true("pause");
    // It may have ended meanwhile: then there is nothing to pause.
    let pauses = pauses
        && match handle.pause(true).await {
            Err(e) if e.kind() != ErrorKind::Conflict => return Err(e.into()),
            paused => paused.is_ok(),
        };
    let (comment, target) = (commit.comment.clone(), commit.reference.clone());
    let made = api.images.commit_container(commit).await;
    if let Ok(image) = &made {
        tell(&api, &record, image, target, comment);
    }
    if pauses {
        // It may have ended meanwhile: then the commit is what matters.
        let resumed = handle.pause(false).await;
        if made.is_ok() && handle.record().status == Status::Paused {
            resumed?;
        }
    }
    let image = made?;
    Ok((StatusCode::CREATED, Json(IdResponse { id: image.id.to_string() })).into_response())
}

/// What happened to the image, and to the container.
fn tell(api: &Api, record: &ContainerRecord, image: &Image, target: Option<Reference>, comment: String) {
    publish(api, "create", &image.id, image.id.as_str());
    let target = target.map(|name| name.or_latest().familiar());
    if let Some(name) = &target {
        publish(api, "tag", &image.id, name);
    }
    let more =
        [("comment", comment), ("imageID", image.id.to_string()), ("imageRef", target.unwrap_or_default())];
    api.containers.publish("commit", record, &more);
}

/// The configuration of the request's body, completed by the container's.
fn configured(own: ImageConfig, asked: Config) -> ApiResult<ImageConfig> {
    let or = |asked: String, own: String| if asked.is_empty() { own } else { asked };
    let keys = |set: Option<BTreeMap<String, _>>| set.unwrap_or_default().into_keys().collect::<Vec<_>>();
    verify::environment(asked.env.iter().flatten())?;
    let mut config = own;
    config.user = or(asked.user, config.user);
    config.working_dir = or(asked.working_dir, config.working_dir);
    config.env = merge_env(&config.env, &asked.env.unwrap_or_default());
    config.exposed_ports.extend(keys(asked.exposed_ports));
    config.volumes.extend(keys(asked.volumes));
    config.labels.extend(asked.labels.unwrap_or_default().0);
    if let Some(entrypoint) = asked.entrypoint {
        (config.entrypoint, config.cmd) = (Some(entrypoint.0), None);
    }
    config.cmd = asked.cmd.map(|cmd| cmd.0).or(config.cmd);
    config.stop_signal = Some(asked.stop_signal).filter(|signal| !signal.is_empty()).or(config.stop_signal);
    config.healthcheck = asked.healthcheck.map(healthcheck).or(config.healthcheck);
    config.on_build.extend(asked.on_build.unwrap_or_default());
    Ok(config)
}
