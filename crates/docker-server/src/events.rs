//! `GET /events`.

use crate::Api;
use crate::error::ApiResult;
use crate::params::{Filters, Params};
use crate::peer::Peer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::broadcast::error::RecvError;
use wharf_docker_api::types::system::{Actor, Event as WireEvent};
use wharf_engine::clock::now_ns;
use wharf_engine::events::Event;
use wharf_oci::reference::Reference;

const FILTERS: [&str; 9] =
    ["container", "event", "image", "label", "network", "type", "volume", "scope", "daemon"];

pub(crate) async fn events(State(api): State<Api>, params: Params, peer: Peer) -> ApiResult {
    let filters = params.filters(&FILTERS)?;
    let (since, until) = (params.moment("since")?, params.moment("until")?);
    let (past, mut live) = api.events.listen();
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::convert::Infallible>>(64);
    tokio::spawn(async move {
        let wanted = |event: &Event| matches(event, &filters) && until.is_none_or(|u| event.at_ns <= u);
        for event in past.iter().filter(|e| since.is_some_and(|s| e.at_ns >= s) && wanted(e)) {
            if sender.send(Ok(line(event))).await.is_err() {
                return;
            }
        }
        loop {
            let left =
                until.map(|u| std::time::Duration::from_nanos(u64::try_from(u - now_ns()).unwrap_or(0)));
            let end = async {
                match left {
                    Some(left) => tokio::time::sleep(left).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = live.recv() => match event {
                    Ok(event) if wanted(&event) => if sender.send(Ok(line(&event))).await.is_err() { return },
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                },
                () = end => return,
                () = sender.closed() => return,
            }
        }
    });
    let stream =
        futures_util::stream::unfold(receiver, |mut r| async { r.recv().await.map(|item| (item, r)) });
    let mut response: Response = peer.body(stream).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Something was pruned.
pub(crate) fn pruned(api: &Api, kind: &'static str, reclaimed: u64) {
    let attributes = [("reclaimed".to_owned(), reclaimed.to_string())].into();
    api.events.publish(kind, "prune", "", attributes);
}

fn matches(event: &Event, filters: &Filters) -> bool {
    let named = |kind: &str| {
        filters.allows(kind, |v| {
            event.kind == kind
                && (event.id == *v
                    || event.id.starts_with(v.as_str())
                    || event.attributes.get("name") == Some(v))
        })
    };
    filters.allows("type", |v| v == event.kind)
        && filters.allows("event", |v| event.action == *v || event.action.starts_with(&format!("{v}:")))
        && ["container", "network", "volume"].into_iter().all(named)
        && filters.allows("image", |v| is_of_image(event, v))
        && filters.allows("scope", |v| v == "local")
        && filters.labels(&event.attributes)
}

/// Whether it is of an image, or of a container of it: by its id, its name, or its name without the tag.
fn is_of_image(event: &Event, wanted: &str) -> bool {
    let name = match event.kind {
        "image" if event.id == wanted => return true,
        "image" => event.attributes.get("name"),
        _ => event.attributes.get("image"),
    };
    let bare = |name: &str| name.parse::<Reference>().map(|name| name.familiar_name());
    name.is_some_and(|name| name == wanted || bare(name).is_ok_and(|bare| bare == wanted))
}

fn line(event: &Event) -> Vec<u8> {
    let legacy = matches!(event.kind, "container" | "image");
    let wire = WireEvent {
        status: if legacy { event.action.clone() } else { String::new() },
        id: if legacy { event.id.clone() } else { String::new() },
        from: event
            .attributes
            .get("image")
            .filter(|_| event.kind == "container")
            .cloned()
            .unwrap_or_default(),
        kind: event.kind.to_owned(),
        action: event.action.clone(),
        actor: Actor { id: event.id.clone(), attributes: event.attributes.clone() },
        scope: "local".to_owned(),
        time: (event.at_ns / 1_000_000_000) as i64,
        time_nano: event.at_ns as i64,
    };
    // Wire types are plain data, which always serialise.
    let mut line = serde_json::to_vec(&wire).unwrap_or_default();
    line.push(b'\n');
    line
}
