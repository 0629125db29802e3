//! `use_api_socket`: the engine's socket and our credentials in a container, as mounts and configs of the project.

use super::resources::FileObject;
use super::service::{FileReference, ServiceVolume};
use super::{Map, Project};

/// The config with the credentials; no name in a file can be this one.
const CONFIG: &str = "#apisocket";
/// Where a container finds the socket.
const TARGET: &str = "/var/run/docker.sock";
/// The directory with the credentials, unless the service says another.
const DIRECTORY: &str = "/run/secrets/docker";

/// Gives services that ask for it the socket. `credentials` is the text of a client's configuration.
pub fn apply(
    project: &mut Project,
    socket: &str,
    credentials: impl FnOnce() -> Result<String, crate::Error>,
) -> Result<(), crate::Error> {
    let Project { services, configs, .. } = project;
    let asking = services.values_mut().filter(|service| service.use_api_socket);
    let mut is_asked = false;
    for service in asking {
        is_asked = true;
        service.volumes.push(ServiceVolume {
            kind: "bind".into(),
            source: socket.to_owned(),
            target: TARGET.into(),
            ..ServiceVolume::default()
        });
        service.environment.entry("DOCKER_CONFIG".into()).or_insert_with(|| Some(DIRECTORY.into()));
        service.configs.push(FileReference {
            source: CONFIG.into(),
            target: format!("{DIRECTORY}/config.json"),
            ..FileReference::default()
        });
    }
    if is_asked {
        let known: &mut Map<FileObject> = configs;
        known.insert(CONFIG.into(), FileObject { content: credentials()?, ..FileObject::default() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Service;

    #[test]
    fn only_those_that_ask() {
        let mut project = Project::default();
        project.services.insert("no".into(), Service::default());
        let unasked = || -> Result<String, crate::Error> { panic!("nobody asked") };
        apply(&mut project, "/s", unasked).unwrap();
        project.services.insert("yes".into(), Service { use_api_socket: true, ..Service::default() });
        apply(&mut project, "/s", || Ok("{}".into())).unwrap();
        assert_eq!(project.services["no"], Service::default());
        let yes = &project.services["yes"];
        assert_eq!(yes.volumes[0].source, "/s");
        assert_eq!(yes.environment["DOCKER_CONFIG"].as_deref(), Some("/run/secrets/docker"));
        assert_eq!(project.configs[&yes.configs[0].source].content, "{}");
    }
}
