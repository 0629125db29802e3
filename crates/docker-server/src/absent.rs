//! What Docker's API has and this engine has not: answers of an engine that is in no swarm and has no plugins.

use crate::error::{ApiError, ApiResult};
use crate::params::Params;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use axum::{Json, Router};

/// In Docker's words, by which its clients know.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// The routes.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let mut router = router
        .route("/swarm", any(no_swarm))
        .route("/swarm/init", post(|| unsupported("swarm mode")))
        .route("/swarm/join", post(|| unsupported("swarm mode")))
        .route("/swarm/{*rest}", any(no_swarm))
        .route("/plugins", get(plugins))
        .route("/plugins/{*rest}", any(plugin))
        .route("/containers/{id}/checkpoints", any(|| unsupported("checkpoints")))
        .route("/containers/{id}/checkpoints/{*rest}", any(|| unsupported("checkpoints")));
    for kind in ["nodes", "services", "tasks", "secrets", "configs"] {
        router = router
            .route(&format!("/{kind}"), any(no_swarm))
            .route(&format!("/{kind}/{{*rest}}"), any(no_swarm));
    }
    router
}

async fn no_swarm() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, NO_SWARM)
}

async fn plugins(params: Params) -> ApiResult {
    params.filters(&["capability", "enabled"])?.flag("enabled")?;
    Ok(Json(Vec::<()>::new()).into_response())
}

async fn plugin(Path(rest): Path<String>) -> ApiError {
    match rest.strip_suffix("/json") {
        Some(name) => ApiError::new(StatusCode::NOT_FOUND, format!("plugin \"{name}\" not found")),
        None => refusal("plugins"),
    }
}

async fn unsupported(what: &'static str) -> ApiError {
    refusal(what)
}

fn refusal(what: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_IMPLEMENTED, format!("{what}: not supported by this engine"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_do_not_clash() {
        let _ = routes(Router::<()>::new());
    }
}
