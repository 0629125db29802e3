//! Requests of clients, and messages of the kernel and of the network.

pub(crate) fn create(data: &[u8]) {
    wharf_docker_server::fuzzing::create(data);
}

pub(crate) fn query(data: &[u8]) {
    wharf_docker_server::fuzzing::query(&String::from_utf8_lossy(data));
}

pub(crate) fn netlink(data: &[u8]) {
    wharf_network::fuzzing::netlink(data);
}

pub(crate) fn dns(data: &[u8]) {
    wharf_network::fuzzing::dns(data);
}

pub(crate) fn frames(data: &[u8]) {
    wharf_grpc::fuzzing::frames(data);
}

pub(crate) fn solve(data: &[u8]) {
    wharf_buildkit::fuzzing::solve(data);
}

pub(crate) fn directory(data: &[u8]) {
    wharf_buildkit::fuzzing::directory(data, &std::env::temp_dir());
}
