//! Docker Engine API: routes, wire to domain, errors to statuses.
#![forbid(unsafe_code)]
