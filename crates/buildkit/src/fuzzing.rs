//! Doors for `tests/fuzz` to what reads requests and directories of clients.

use crate::attributes::Attributes;
use crate::directory::entry;
use crate::sessions::Hello;
use crate::{export, inputs};
use std::collections::HashMap;
use std::path::Path;
use wharf_build::context::Gather;
use wharf_grpc::proto::control::SolveRequest;
use wharf_grpc::proto::files::Packet;
use wharf_grpc::{HeaderMap, Message};

/// A request for a build.
pub fn solve(data: &[u8]) {
    let Ok(request) = SolveRequest::decode(data) else { return };
    let _ = (Attributes::parse(&request.frontend_attrs), export::check(&request.exporters));
    for definition in request.frontend_inputs.values().chain(&request.definition) {
        let _ = inputs::image_of(definition);
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = request.session.parse() {
        headers.insert("X-Docker-Expose-Session-Uuid", value);
    }
    let _ = Hello::parse(&headers);
}

/// A directory, packet by packet, each with its length before it.
pub fn directory(mut data: &[u8], scratch: &Path) {
    let Ok(mut gather) = Gather::new(scratch) else { return };
    let (mut places, mut number) = (HashMap::new(), 0);
    while let Ok(packet) = Packet::decode_length_delimited(&mut data) {
        if let Some(stat) = packet.stat {
            if let Ok(Some(entry)) = entry(stat)
                && let Ok(place) = gather.add(entry)
            {
                places.insert(number, place);
            }
            number += 1;
        } else if let Some(place) = places.get_mut(&packet.id) {
            let _ = gather.write(place, &packet.data);
            gather.close(place);
        }
        if data.is_empty() {
            break;
        }
    }
    let context = gather.finish();
    for (path, ..) in context.files() {
        assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
    }
}
