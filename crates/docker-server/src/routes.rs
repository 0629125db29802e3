//! Which handler serves which path.

use crate::{
    Api, absent, build, build_cache, buildkit, containers, disk, events, gc, git, images, networks, system,
    volumes,
};
use axum::Router;
use axum::routing::{delete, get, post};

/// The router of the whole API.
pub fn router(api: Api) -> Router {
    use containers::{
        archive, attach, commit, create, exec, inspect, lifecycle, list, logs, stats, top, wait,
    };
    let router = Router::new()
        .route("/_ping", get(system::ping).head(system::ping))
        .route("/version", get(system::version))
        .route("/info", get(system::info))
        .route("/events", get(events::events))
        .route("/containers/json", get(list::list))
        .route("/containers/create", post(create::create))
        .route("/containers/prune", post(lifecycle::prune))
        .route("/containers/{id}", delete(lifecycle::remove))
        .route("/containers/{id}/{alias}", delete(lifecycle::unlink).fallback(system::not_found))
        .route("/containers/{id}/json", get(inspect::inspect))
        .route("/containers/{id}/start", post(lifecycle::start))
        .route("/containers/{id}/stop", post(lifecycle::stop))
        .route("/containers/{id}/restart", post(lifecycle::restart))
        .route("/containers/{id}/kill", post(lifecycle::kill))
        .route("/containers/{id}/pause", post(lifecycle::pause))
        .route("/containers/{id}/unpause", post(lifecycle::unpause))
        .route("/containers/{id}/rename", post(lifecycle::rename))
        .route("/containers/{id}/update", post(lifecycle::update))
        .route("/containers/{id}/resize", post(lifecycle::resize))
        .route("/containers/{id}/wait", post(wait::wait))
        .route("/containers/{id}/attach", post(attach::attach))
        .route("/containers/{id}/attach/ws", get(attach::attach_websocket))
        .route("/containers/{id}/logs", get(logs::logs))
        .route("/containers/{id}/top", get(top::top))
        .route("/containers/{id}/stats", get(stats::stats))
        .route("/containers/{id}/changes", get(archive::changes))
        .route("/containers/{id}/export", get(archive::export))
        .route("/containers/{id}/archive", get(archive::get).put(archive::put).head(archive::head))
        .route("/containers/{id}/exec", post(exec::create))
        .route("/exec/{id}/start", post(exec::start))
        .route("/exec/{id}/resize", post(exec::resize))
        .route("/exec/{id}/json", get(exec::inspect))
        .route("/commit", post(commit::commit))
        .route("/build", post(build::build))
        .route("/session", post(buildkit::session))
        .route("/grpc", post(buildkit::grpc))
        .route("/auth", post(images::login))
        .route("/images/json", get(images::list))
        .route("/images/create", post(images::create))
        .route("/images/load", post(images::load))
        .route("/images/get", get(images::save_many))
        .route("/images/search", get(images::remote::search))
        .route(
            "/distribution/{*rest}",
            get(images::remote::distribution).post(images::remote::post).put(images::remote::put),
        )
        .route("/git/commit", get(git::commit))
        .route("/git/files", get(git::files))
        .route("/images/check", post(images::check))
        .route("/images/prune", post(images::prune))
        .route("/images/{*rest}", get(images::get).post(images::post).delete(images::delete))
        .route("/networks", get(networks::list))
        .route("/networks/create", post(networks::create))
        .route("/networks/prune", post(networks::prune))
        .route("/networks/{id}/connect", post(networks::connect))
        .route("/networks/{id}/disconnect", post(networks::disconnect))
        .route("/networks/{id}", get(networks::inspect).delete(networks::remove))
        .route("/build/prune", post(build_cache::prune))
        .route("/system/gc", post(gc::run))
        .route("/system/df", get(disk::usage))
        .route("/volumes", get(volumes::list))
        .route("/volumes/create", post(volumes::create))
        .route("/volumes/prune", post(volumes::prune))
        .route("/volumes/{name}/rename", post(volumes::rename))
        .route("/volumes/{name}/clone", post(volumes::clone))
        .route("/volumes/{name}/archive", get(volumes::export).put(volumes::import))
        .route("/volumes/{name}", get(volumes::inspect).put(volumes::update).delete(volumes::remove));
    absent::routes(router)
        .fallback(system::not_found)
        .method_not_allowed_fallback(system::not_found)
        .with_state(api)
}
