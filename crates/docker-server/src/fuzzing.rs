//! Doors for `tests/fuzz` to what reads requests.

use crate::params::{Filters, Params};
use crate::{About, convert};

/// A body of `POST /containers/create`.
pub fn create(body: &[u8]) {
    let Ok(request) = serde_json::from_slice(body) else { return };
    let about = About {
        layers: String::new(),
        id: String::new(),
        version: String::new(),
        data_root: "/".into(),
        cgroup_version: 2,
        storage: String::new(),
        debug: false.into(),
        labels: Default::default(),
        log: wharf_model::container::LogSpec::default(),
        remaps_users: false,
        cdi_spec_dirs: Vec::new(),
        labels_containers: true,
    };
    if let Ok(spec) = convert::spec(request, &about) {
        let _ = wharf_model::container::validate(&spec);
    }
}

/// What follows the question mark of a request.
pub fn query(text: &str) {
    let params = Params::parse(text);
    let _ = (params.time("since"), params.moment("until"), params.number::<i64>("t"), params.flag("all"));
    if let Ok(filters) = params.filters(&["label", "until", "name", "dangling"]) {
        let _ = (filters.until(), filters.flag("dangling"), filters.labels(&Default::default()));
    }
    let _ = Filters::parse(text, &["label", "until"]);
}
